//! What the settings ask of certificates: the one that clients see, from files or of the gateway's own authority, and those
//! that servers must show. Floor 4.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use super::status::{CertificateStatus, FurtherCertificate, Lasts};
use crate::{
    config::{self, Listener, Protocol, Settings, TlsFiles},
    net::{
        ClientTrust, DoorTls, Fingerprint, Negotiation, UpstreamTls,
        certificate::{Authority, AuthorityError},
        kernel,
        tls::{Identity, TlsError},
    },
};

/// The certificates that clients see, ready for handshakes.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    pub(super) tls: Arc<DoorTls>,
    /// Of whoever names no other.
    first: Held,
    further: Vec<Held>,
    /// The CA that clients must be given, where it is our own.
    pub(super) ca: Option<PathBuf>,
}

/// What is told of one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    names: Vec<String>,
    ends: SystemTime,
}

impl Certificates {
    /// Reads the files, or takes the authority's certificate, which is made or renewed if need be. Blocks on files.
    /// Clients are asked for what `clients` can judge.
    pub(super) fn of(
        settings: &Settings,
        clients: &ClientTrust,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let (identity, ca) = if let Some(files) = &settings.tls.files {
            (Identity::read(&files.certificate, &files.key)?, None)
        } else {
            let authority = Authority::new(&settings.state_dir);
            let identity = authority.identity(&names(settings), now)?;
            (identity, Some(authority.ca()))
        };
        let further = settings.tls.further.iter();
        let further = further.map(|files| Identity::read(&files.certificate, &files.key));
        let further: Vec<_> = further.collect::<Result<_, _>>()?;
        let held = further.iter().map(Held::of).collect::<Result<_, _>>()?;
        Ok(Self {
            first: Held::of(&identity)?,
            further: held,
            tls: Arc::new(DoorTls::new(identity, further, settings.tls.min, clients)?),
            ca,
        })
    }

    /// When the first of them ends that does.
    pub(super) fn ends(&self) -> SystemTime {
        let further = self.further.iter().map(|held| held.ends);
        further.fold(self.first.ends, SystemTime::min)
    }

    /// Whether others are shown than by these.
    pub(super) fn differ(&self, other: &Self) -> bool {
        (&self.first, &self.further) != (&other.first, &other.further)
    }

    pub(super) fn status(&self, now: SystemTime) -> CertificateStatus {
        let ca = self.ca.as_ref().map(|path| path.display().to_string());
        let further = self.further.iter().map(|held| FurtherCertificate {
            names: held.names.clone(),
            lasts: Lasts::until(held.ends, now),
        });
        CertificateStatus {
            lasts: Lasts::until(self.first.ends, now),
            ca,
            further: further.collect(),
        }
    }
}

impl Held {
    fn of(identity: &Identity) -> Result<Self, TlsError> {
        Ok(Self {
            names: identity.names(),
            ends: identity.ends()?,
        })
    }
}

/// Whom we believe that they vouch for clients. What is the same as `kept` is that very value: sessions need not be judged
/// again. Blocks on files.
pub(super) fn client_trust(
    settings: &Settings,
    kept: &Arc<ClientTrust>,
) -> Result<Arc<ClientTrust>, AuthorityError> {
    let tls = &settings.tls;
    let read = tls
        .client_ca
        .as_deref()
        .map(|ca| ClientTrust::read(ca, tls.crl.as_deref()));
    let read = read.transpose()?.unwrap_or_default();
    Ok(if read == **kept {
        Arc::clone(kept)
    } else {
        Arc::new(read)
    })
}

/// The files that these are made of, which may change by themselves.
pub(super) fn files(settings: &Settings) -> Vec<PathBuf> {
    let pair = |files: &TlsFiles| [files.certificate.clone(), files.key.clone()];
    let tls = &settings.tls;
    let upstream = settings.listeners.iter().map(|door| &door.upstream_tls);
    let upstream = upstream.flat_map(|way| match way {
        config::UpstreamTls::Off => Vec::new(),
        config::UpstreamTls::VerifyFull { ca, identity, .. } => {
            let pair = identity.iter().flat_map(pair);
            pair.chain([ca.clone()]).collect()
        }
        config::UpstreamTls::Pin { identity, .. } => identity.iter().flat_map(pair).collect(),
    });
    let own = tls.files.iter().chain(&tls.further).flat_map(pair);
    let clients = tls.client_ca.iter().chain(&tls.crl).cloned();
    own.chain(clients).chain(upstream).collect()
}

/// What the listeners' servers must prove, each beside its listener. Blocks on files.
pub(super) fn upstream_tls(
    settings: &Settings,
) -> Result<Vec<Option<UpstreamTls>>, AuthorityError> {
    let listeners = settings.listeners.iter();
    let ways = listeners.map(|listener| way(listener));
    Ok(ways.collect::<Result<_, TlsError>>()?)
}

/// What the server of one of them must prove.
pub(crate) fn way(listener: &Listener) -> Result<Option<UpstreamTls>, TlsError> {
    let identity = |files: &Option<TlsFiles>| {
        let files = files.as_ref();
        files
            .map(|files| Identity::read(&files.certificate, &files.key))
            .transpose()
    };
    let (tls, negotiation) = match &listener.upstream_tls {
        config::UpstreamTls::Off => return Ok(None),
        config::UpstreamTls::VerifyFull {
            name,
            ca,
            identity: files,
            negotiation,
        } => (
            UpstreamTls::verified(name, ca, identity(files)?)?,
            negotiation,
        ),
        config::UpstreamTls::Pin {
            sha256,
            identity: files,
            negotiation,
        } => (
            UpstreamTls::pinned(Fingerprint(*sha256), identity(files)?)?,
            negotiation,
        ),
    };
    Ok(Some(match listener.protocol {
        Protocol::Postgres => tls.with_postgres(match negotiation {
            config::Negotiation::Request => Negotiation::Request,
            config::Negotiation::Direct => Negotiation::Direct,
        }),
        Protocol::Mysql => tls,
    }))
}

/// What the own certificate is made for: the configured names, else this machine's name, `localhost` and the addresses
/// that are listened on.
fn names(settings: &Settings) -> BTreeSet<String> {
    if !settings.tls.names.is_empty() {
        return settings
            .tls
            .names
            .iter()
            .map(|name| one_form(name))
            .collect();
    }
    let listened = settings
        .listeners
        .iter()
        .flat_map(|listener| &listener.listen)
        .flat_map(|address| match address.ip() {
            ip if ip.is_unspecified() => LOOPBACK.to_vec(),
            ip => vec![ip],
        });
    let host = kernel::host_name().filter(|name| is_dns_name(name));
    listened
        .map(|ip| ip.to_string())
        .chain(host)
        .chain(["localhost".to_owned()])
        .collect()
}

/// An address as the certificate gives it back, so that the kept one is found to fit.
fn one_form(name: &str) -> String {
    name.parse::<IpAddr>()
        .map_or_else(|_a_name| name.to_owned(), |ip| ip.to_string())
}

fn is_dns_name(name: &str) -> bool {
    let letters = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
    !name.is_empty() && name.bytes().all(letters)
}

/// What an unspecified address can be reached by, whatever else there is.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form_and_host_names_are_left_alone() {
        assert_eq!(one_form("2001:DB8:0::1"), "2001:db8::1");
        assert_eq!(one_form("db.example.com"), "db.example.com");
        assert!(is_dns_name("db-1.example.com") && !is_dns_name("db_1") && !is_dns_name(""));
    }
}
