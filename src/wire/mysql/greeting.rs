//! What the server says first: its greeting, or that it does not want to talk. Floor 0.

use super::{Capabilities, Extended, Flavor, NameRule, fields::Fields};

/// The first packet of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FirstPacket {
    Greeting(Greeting),
    /// An ERR packet in place of a greeting (too many connections, a blocked host): it has no SQLSTATE.
    Refused {
        errno: u16,
        payload: Vec<u8>,
    },
}

/// `Protocol::HandshakeV10`, which can be shown to clients with other capability bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Greeting {
    payload: Vec<u8>,
    /// Where the version's zero byte is: all the rest has a fixed place behind it.
    version_end: usize,
    connection_id: u32,
    capabilities: Capabilities,
    extended: Extended,
    charset: u8,
    status: u16,
    nonce: [u8; NONCE],
    plugin: String,
}

/// What a greeting promised, in short: a client's answer is read by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub names: NameRule,
    pub capabilities: Capabilities,
    pub extended: Extended,
}

impl Offer {
    /// What is on offer when TLS has been taken: all of it but TLS.
    #[must_use]
    pub const fn inside_tls(self) -> Self {
        Self {
            capabilities: self.capabilities.without(Capabilities::SSL),
            ..self
        }
    }
}

/// Why a first packet is neither a greeting nor a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAGreeting {
    #[error("the server's first packet is no greeting of MySQL")]
    Layout,
    #[error("the server speaks version {0} of the protocol; only 10 is spoken here")]
    Version(u8),
    #[error("the server is too old: it has no authentication plugins (MySQL before 5.5.7)")]
    TooOld,
}

impl FirstPacket {
    pub fn parse(payload: &[u8]) -> Result<Self, NotAGreeting> {
        match payload {
            [0xff, low, high, ..] => Ok(Self::Refused {
                errno: u16::from_le_bytes([*low, *high]),
                payload: payload.to_vec(),
            }),
            [10, ..] => Greeting::parse(payload).map(Self::Greeting),
            [version, ..] => Err(NotAGreeting::Version(*version)),
            [] => Err(NotAGreeting::Layout),
        }
    }
}

impl Greeting {
    fn parse(payload: &[u8]) -> Result<Self, NotAGreeting> {
        let read = Self::read(payload).ok_or(NotAGreeting::Layout)?;
        if !read.capabilities.has(REQUIRED) {
            return Err(NotAGreeting::TooOld);
        }
        Ok(read)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(payload);
        fields.u8()?;
        let version_end = fields.until_nul()?.end;
        let connection_id = fields.u32()?;
        let first: [u8; FIRST] = fields.bytes()?;
        fields.u8()?;
        let low = fields.u16()?;
        let charset = fields.u8()?;
        let status = fields.u16()?;
        let high = fields.u16()?;
        let length = fields.u8()?;
        let [_, _, _, _, _, _, extended @ ..] = fields.bytes::<10>()?;
        let second: [u8; NONCE - FIRST] = fields.bytes()?;
        let capabilities = Capabilities::from_bits(u32::from(low) | u32::from(high) << 16);
        let mut plugin = "";
        if capabilities.has(Capabilities::PLUGIN_AUTH) {
            // the nonce's own zero byte counts; a longer nonce is no server's that is known
            if usize::from(length) != NONCE + 1 || fields.u8()? != 0 {
                return None;
            }
            // an early 5.5 has no zero byte here
            let rest = fields.rest();
            let name = rest.split(|byte| *byte == 0).next()?;
            plugin = str::from_utf8(name).ok()?;
        }
        let mut nonce = [0; NONCE];
        for (place, byte) in nonce.iter_mut().zip(first.iter().chain(&second)) {
            *place = *byte;
        }
        Some(Self {
            payload: payload.to_vec(),
            version_end,
            connection_id,
            capabilities,
            extended: if capabilities.has(Capabilities::MYSQL) {
                Extended::default()
            } else {
                Extended::from_bits(u32::from_le_bytes(extended))
            },
            charset,
            status,
            nonce,
            plugin: plugin.to_owned(),
        })
    }

    /// What `KILL` names this connection by.
    pub const fn connection_id(&self) -> u32 {
        self.connection_id
    }

    /// As the server writes it, MariaDB's `5.5.5-` included. Not always UTF-8 by rule, but by custom.
    pub fn version(&self) -> &[u8] {
        self.payload.get(1..self.version_end).unwrap_or_default()
    }

    /// Which of the two it is: only MariaDB leaves [`Capabilities::MYSQL`] clear.
    pub const fn flavor(&self) -> Flavor {
        if self.capabilities.has(Capabilities::MYSQL) {
            Flavor::MySql
        } else {
            Flavor::MariaDb
        }
    }

    /// What this server makes of names.
    pub fn names(&self) -> NameRule {
        NameRule::of(self.flavor(), self.version())
    }

    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    pub const fn extended(&self) -> Extended {
        self.extended
    }

    pub const fn charset(&self) -> u8 {
        self.charset
    }

    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The 20 bytes that a password is proven with, unless a later switch brings others.
    pub const fn nonce(&self) -> &[u8; NONCE] {
        &self.nonce
    }

    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// What a client is offered by [`Self::shown`] with the same arguments.
    pub fn offer(&self, tls: bool, compression: bool) -> Offer {
        let mut capabilities = self.capabilities.without(Capabilities::SSL);
        if tls {
            capabilities = capabilities.with(Capabilities::SSL);
        }
        if !compression {
            capabilities = capabilities.without(Capabilities::COMPRESSION);
        }
        Offer {
            names: self.names(),
            capabilities,
            extended: self.extended,
        }
    }

    /// The payload for a client: the server's own bytes, with other bits where TLS and compression are told. TLS is the gateway's
    /// to offer, whether or not the server has any.
    pub fn shown(&self, tls: bool, compression: bool) -> Vec<u8> {
        let [a, b, c, d] = self
            .offer(tls, compression)
            .capabilities
            .bits()
            .to_le_bytes();
        let mut payload = self.payload.clone();
        patch(&mut payload, self.version_end + 14, &[a, b]);
        patch(&mut payload, self.version_end + 19, &[c, d]);
        payload
    }

    /// The same server's greeting for a connection that the gateway greets by itself. `random` becomes the nonce, in the bytes that
    /// a server would choose from (1 to 127 without `$`: clients take the nonce for a text).
    #[must_use]
    pub fn ours(&self, connection_id: u32, random: [u8; NONCE]) -> Self {
        let nonce = random.map(|byte| match byte & 0x7f {
            0 => 1,
            b'$' => b'%',
            fine => fine,
        });
        let mut greeting = Self {
            connection_id,
            nonce,
            ..self.clone()
        };
        let (first, second) = nonce.split_at(FIRST);
        let payload = &mut greeting.payload;
        patch(payload, self.version_end + 1, &connection_id.to_le_bytes());
        patch(payload, self.version_end + 5, first);
        patch(payload, self.version_end + 32, second);
        greeting
    }
}

/// Writes over bytes that were read from there before.
fn patch(payload: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = payload.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// How much of the nonce stands in front.
const FIRST: usize = 8;
const NONCE: usize = 20;
/// Without these a session cannot be told who it is in one way only.
const REQUIRED: Capabilities = Capabilities::PROTOCOL_41
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::PLUGIN_AUTH);

#[cfg(test)]
#[path = "greeting_tests.rs"]
mod tests;
