//! TLS of the listeners: which certificate a client sees, and whether it is asked for one of its own. Floor 1.
//!
//! A client that names the host it wants (SNI) sees the first certificate that is for that name; all others see the first there
//! is. libpq names nothing that looks like an address.

use std::{collections::HashMap, fmt, sync::Arc};

use rustls_pki_types::CertificateDer;
use tokio_rustls::rustls::{
    self, ServerConfig,
    server::{
        ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

use super::{
    ClientTrust, EndPoint, Fingerprint,
    client_certificate::AsksForAny,
    tls::{self, ALPN, Identity, TlsError},
};
use crate::policy::TlsVersion;

/// What the handshakes of all listeners need: TLS from a version to 1.3, `postgresql` as the application protocol, no resumption of
/// any kind. It would outlive a change of certificates or of the CAs that vouch for clients (CVE-2025-23419, CVE-2025-68121), and
/// database clients never ask for it.
pub struct DoorTls {
    quiet: Arc<ServerConfig>,
    asking: Arc<ServerConfig>,
    shelf: Arc<Shelf>,
}

/// What a client has seen of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub fingerprint: Fingerprint,
    /// What a login can be bound to.
    pub end_point: Option<EndPoint>,
}

impl DoorTls {
    /// Clients see `first`, or of the others the first that is for the name that they want. `clients` says whom a certificate of
    /// a client could help.
    ///
    /// # Errors
    /// A key that does not fit its certificate, or is of a kind that nobody uses here.
    pub fn new(
        first: Identity,
        further: Vec<Identity>,
        min: TlsVersion,
        clients: &ClientTrust,
    ) -> Result<Self, TlsError> {
        let shelf = Arc::new(Shelf::new(first, further)?);
        let quiet = config(&shelf, min, Arc::new(NoClientAuth))?;
        let asking = if clients.asks() {
            let asks = AsksForAny::with_hints(clients.hints());
            config(&shelf, min, Arc::new(asks))?
        } else {
            Arc::clone(&quiet)
        };
        Ok(Self {
            quiet,
            asking,
            shelf,
        })
    }

    /// For one handshake. `asks`: the client is asked for a certificate, where there is a CA that could vouch for it.
    pub fn config(&self, asks: bool) -> Arc<ServerConfig> {
        Arc::clone(if asks { &self.asking } else { &self.quiet })
    }

    /// What a client sees that wants the server of this name, or has named none.
    pub fn shown(&self, server_name: Option<&str>) -> Arc<Shown> {
        Arc::clone(&self.shelf.choose(server_name).shown)
    }
}

#[cfg(test)]
impl DoorTls {
    /// One for `localhost`, and the certificate that clients can trust.
    pub(crate) fn made() -> (Self, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = made.signing_key.serialize_der();
        let key = rustls_pki_types::PrivateKeyDer::try_from(key).unwrap();
        let identity = Identity::made(vec![made.cert.der().clone()], key);
        let clients = ClientTrust::default();
        let door = Self::new(identity, Vec::new(), TlsVersion::V1_2, &clients);
        (door.unwrap(), made.cert.der().clone())
    }
}

impl fmt::Debug for DoorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DoorTls").finish_non_exhaustive()
    }
}

fn config(
    shelf: &Arc<Shelf>,
    min: TlsVersion,
    asks: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(tls::provider());
    let shelf: Arc<Shelf> = Arc::clone(shelf);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(tls::versions(min))
        .map_err(TlsError::Unfit)?
        .with_client_cert_verifier(asks)
        .with_cert_resolver(shelf);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The certificates there are, by the names that they are for.
#[derive(Debug)]
struct Shelf {
    first: Arc<Held>,
    exact: HashMap<String, Arc<Held>>,
    /// By what follows the star and its dot.
    below: HashMap<String, Arc<Held>>,
}

/// A certificate with its chain and key, ready to be shown.
#[derive(Debug)]
struct Held {
    key: Arc<CertifiedKey>,
    shown: Arc<Shown>,
}

impl Shelf {
    fn new(first: Identity, further: Vec<Identity>) -> Result<Self, TlsError> {
        let hold = |identity: Identity| -> Result<_, TlsError> {
            let names = identity.names();
            Ok((names, Arc::new(Held::new(identity)?)))
        };
        let (names, first) = hold(first)?;
        let further: Vec<_> = further.into_iter().map(hold).collect::<Result<_, _>>()?;
        let mut shelf = Self {
            first: Arc::clone(&first),
            exact: HashMap::new(),
            below: HashMap::new(),
        };
        for (names, held) in std::iter::once((names, first)).chain(further) {
            for name in names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut shelf.below, parent.to_owned()),
                    None => (&mut shelf.exact, name),
                };
                map.entry(name).or_insert_with(|| Arc::clone(&held));
            }
        }
        Ok(shelf)
    }

    fn choose(&self, server_name: Option<&str>) -> &Arc<Held> {
        let found = server_name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let parent = name.split_once('.').map(|(_label, parent)| parent);
            let by_star = || parent.and_then(|parent| self.below.get(parent));
            self.exact.get(&name).or_else(by_star)
        });
        found.unwrap_or(&self.first)
    }
}

impl Held {
    fn new(identity: Identity) -> Result<Self, TlsError> {
        let key = identity.certified()?;
        let leaf = key.cert.first();
        let leaf = leaf.ok_or(TlsError::Unfit(rustls::Error::NoCertificatesPresented))?;
        Ok(Self {
            shown: Arc::new(Shown::of(leaf)),
            key: Arc::new(key),
        })
    }
}

impl Shown {
    fn of(leaf: &CertificateDer<'_>) -> Self {
        Self {
            fingerprint: Fingerprint::of(leaf),
            end_point: EndPoint::of(leaf),
        }
    }
}

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let held = self.choose(hello.server_name());
        Some(Arc::clone(&held.key))
    }
}

#[cfg(test)]
#[path = "door_tls_tests.rs"]
mod tests;
