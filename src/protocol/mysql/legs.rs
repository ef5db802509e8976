//! What each end believes of its leg, and so how a password travels. Floor 2.
//!
//! `caching_sha2_password` and `sha256_password` send the password itself over a leg that hides it, and under RSA over one that
//! does not. Each end looks at its own leg.

use std::net::IpAddr;

use crate::{
    net::Stream,
    wire::mysql::{code, plugin},
};

/// What lies between us and one end, as that end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Tls,
    Unix,
    /// TCP that does not leave the machine. To the end it is a way like any other in clear.
    Loopback,
    Clear,
}

impl Way {
    pub fn of(stream: &Stream) -> Self {
        match stream {
            Stream::Tls(_) => Self::Tls,
            Stream::Unix(_) => Self::Unix,
            Stream::Tcp(socket) => match socket.peer_addr() {
                Ok(peer) if peer.ip().to_canonical().is_loopback() => Self::Loopback,
                Ok(_) | Err(_) => Self::Clear,
            },
        }
    }

    /// The same for a client from this address: a balancer on this machine is not where its clients are.
    pub(super) fn seen_from(self, address: IpAddr) -> Self {
        if self == Self::Loopback && !address.is_loopback() {
            Self::Clear
        } else {
            self
        }
    }

    /// Whether an end sends a password of this plugin as it is. To `caching_sha2_password` a unix socket is as good as TLS
    /// (`is_secure_transport`), to the older `sha256_password` it is not.
    const fn hides(self, plugin: Plugin) -> bool {
        match self {
            Self::Tls => true,
            Self::Unix => matches!(plugin, Plugin::CachingSha2),
            Self::Loopback | Self::Clear => false,
        }
    }

    /// Whether nobody between can listen.
    const fn is_private(self) -> bool {
        !matches!(self, Self::Clear)
    }
}

/// The ways to both ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Legs {
    pub(super) client: Way,
    pub(super) upstream: Way,
}

impl Legs {
    pub(super) const fn mediation(self, plugin: Plugin) -> Mediation {
        match (self.client.hides(plugin), self.upstream.hides(plugin)) {
            (true, false) => Mediation::Seal,
            (false, true) => Mediation::Open,
            (true, true) | (false, false) => Mediation::None,
        }
    }

    /// Whether a password may pass as it is.
    pub(super) const fn private(self) -> bool {
        self.client.is_private() && self.upstream.is_private()
    }
}

/// What is done with a password on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mediation {
    None,
    /// The client sends it as it is, the server wants it under RSA.
    Seal,
    /// The client sends it under RSA, the server wants it as it is.
    Open,
}

/// Plugins whose exchange the gateway must understand; others are relayed unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugin {
    CachingSha2,
    Sha256,
    /// Sends the password as it is, whatever the leg.
    Cleartext,
    Other,
}

impl Plugin {
    pub(super) fn of(name: &str) -> Self {
        match name {
            plugin::CACHING_SHA2 => Self::CachingSha2,
            plugin::SHA256 => Self::Sha256,
            _ if CLEARTEXT
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name)) =>
            {
                Self::Cleartext
            }
            _ => Self::Other,
        }
    }

    /// What asks the server for its RSA key.
    pub(super) const fn key_request(self) -> &'static [u8] {
        match self {
            Self::CachingSha2 => &[code::CACHING_SHA2_ASK_KEY],
            Self::Sha256 => &[code::SHA256_ASK_KEY],
            Self::Cleartext | Self::Other => &[],
        }
    }
}

/// Plugins that send the password as it is (LDAP and others, PAM).
const CLEARTEXT: [&str; 2] = [plugin::CLEAR, plugin::DIALOG];
