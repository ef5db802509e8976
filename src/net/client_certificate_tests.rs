//! What the handshake proves of a client's certificate, and what it leaves to the policy.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls_pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
        client::ResolvesClientCert,
        sign::CertifiedKey,
        version::{TLS12, TLS13},
    },
};

use super::*;
use crate::{
    net::{ClientTrust, DoorTls, Stream, tls::Identity},
    policy::TlsVersion,
};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A chain below a CA and the key to it.
fn certified(ca: &Ca, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    (certificate, key)
}

fn signing(certificate: &rcgen::Certificate, key: &KeyPair) -> CertifiedKey {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = tls::provider().key_provider.load_private_key(key).unwrap();
    CertifiedKey::new(vec![certificate.der().clone()], key)
}

/// A client of its CA, which is a server's too in these tests.
fn client_of(ca: &Ca) -> CertifiedKey {
    let (certificate, key) = certified(ca, ExtendedKeyUsagePurpose::ClientAuth);
    signing(&certificate, &key)
}

/// Both ends of a server's terms: the server's own, and whom it believes.
fn server(ca: &Ca, asks: bool) -> (Arc<ServerConfig>, ClientTrust) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (certificate, key) = certified(ca, ExtendedKeyUsagePurpose::ServerAuth);
    fs::write(at("ca.crt"), ca.pem()).unwrap();
    fs::write(at("server.crt"), certificate.pem()).unwrap();
    fs::write(at("server.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(at("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let trust = if asks {
        ClientTrust::read(&at("ca.crt"), None).unwrap()
    } else {
        ClientTrust::default()
    };
    let identity = Identity::read(&at("server.crt"), &at("server.key")).unwrap();
    let tls = DoorTls::new(identity, Vec::new(), TlsVersion::V1_2, &trust).unwrap();
    (tls.config(true), trust)
}

/// Shows what it has been given, key or no key, and remembers what it was asked for.
#[derive(Debug)]
struct Shows {
    what: Option<Arc<CertifiedKey>>,
    asked: Mutex<Option<Vec<Vec<u8>>>>,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let hints = hints.iter().map(|hint| hint.to_vec()).collect();
        *self.asked.lock().unwrap() = Some(hints);
        self.what.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What the server's end holds after a handshake, if there was one, and what the client was asked for.
async fn meet(
    (config, ca): (Arc<ServerConfig>, &Ca),
    shown: Option<CertifiedKey>,
    version: &'static SupportedProtocolVersion,
) -> (Option<Stream>, Option<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap());
    let (socket, accepted) = tokio::join!(socket, listener.accept());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let resolver = Arc::new(Shows {
        what: shown.map(Arc::new),
        asked: Mutex::new(None),
    });
    let client = ClientConfig::builder_with_provider(tls::provider().into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesClientCert>);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(config);
    let (served, met) = tokio::join!(
        acceptor.accept(accepted.unwrap().0),
        connector.connect(name, socket.unwrap())
    );
    if let Ok(met) = met {
        let client = Stream::Tls(Box::new(TlsStream::Client(met)));
        assert!(client.client_chain().is_empty(), "this end is the client");
    }
    let stream = served.ok().map(TlsStream::Server).map(Box::new);
    let asked = resolver.asked.lock().unwrap().clone();
    (stream.map(Stream::Tls), asked)
}

#[tokio::test]
async fn what_a_client_shows_is_known_after_the_handshake() {
    let ca = authority("clients");
    let (config, trust) = server(&ca, true);
    for version in [&TLS12, &TLS13] {
        let shown = client_of(&ca);
        let chain = shown.cert.clone();
        let (stream, _) = meet((Arc::clone(&config), &ca), Some(shown), version).await;
        let stream = stream.unwrap();
        assert_eq!(stream.client_chain(), chain);
        assert_eq!(stream.server_certificate(), None);
        let fault = trust.fault(stream.client_chain(), SystemTime::now());
        assert_eq!(fault, None);
    }
}

#[tokio::test]
async fn a_foreign_certificate_or_none_ends_no_handshake() {
    let (ca, other) = (authority("clients"), authority("others"));
    let (config, trust) = server(&ca, true);
    for version in [&TLS12, &TLS13] {
        let (stream, _) = meet((Arc::clone(&config), &ca), None, version).await;
        assert!(stream.unwrap().client_chain().is_empty());
        let (stream, _) = meet((Arc::clone(&config), &ca), Some(client_of(&other)), version).await;
        let seen = trust.certificate(stream.unwrap().client_chain(), SystemTime::now());
        let seen = seen.unwrap();
        assert_eq!(seen.validity, Validity::Untrusted);
        assert_eq!(seen.dns, ["localhost"], "so that the log can name it");
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_gets_nobody_through_the_handshake() {
    let ca = authority("clients");
    let (config, _) = server(&ca, true);
    for version in [&TLS12, &TLS13] {
        let (certificate, _) = certified(&ca, ExtendedKeyUsagePurpose::ClientAuth);
        let stolen = signing(&certificate, &KeyPair::generate().unwrap());
        let (stream, asked) = meet((Arc::clone(&config), &ca), Some(stolen), version).await;
        assert!(stream.is_none() && asked.is_some());
    }
}

#[tokio::test]
async fn clients_are_asked_by_the_names_of_our_cas_or_not_at_all() {
    let ca = authority("clients");
    let name = {
        let (_, x509) = X509Certificate::from_der(ca.der()).unwrap();
        x509.subject().as_raw().to_vec()
    };
    for version in [&TLS12, &TLS13] {
        let (config, _) = server(&ca, true);
        let (_, asked) = meet((config, &ca), Some(client_of(&ca)), version).await;
        assert_eq!(asked, Some(vec![name.clone()]));
        let (config, _) = server(&ca, false);
        let (stream, asked) = meet((config, &ca), Some(client_of(&ca)), version).await;
        assert_eq!(asked, None);
        assert!(stream.unwrap().client_chain().is_empty());
    }
}

/// A certificate of an old version, whose names can be read, and one that is none at all.
fn unreadable(ca: &Ca) -> [CertifiedKey; 2] {
    let (certificate, key) = certified(ca, ExtendedKeyUsagePurpose::ClientAuth);
    let mut der = certificate.der().to_vec();
    let version = der.windows(5).position(|bytes| bytes == [0xa0, 3, 2, 1, 2]);
    der[version.unwrap() + 4] = 1;
    let key = signing(&certificate, &key).key;
    [der, b"no certificate".to_vec()]
        .map(|der| CertifiedKey::new(vec![der.into()], Arc::clone(&key)))
}

#[tokio::test]
async fn a_certificate_that_nobody_can_read_ends_no_handshake_and_proves_nothing() {
    let ca = authority("clients");
    let (config, trust) = server(&ca, true);
    for version in [&TLS12, &TLS13] {
        for shown in unreadable(&ca) {
            let (stream, _) = meet((Arc::clone(&config), &ca), Some(shown), version).await;
            let stream = stream.unwrap();
            let seen = trust.certificate(stream.client_chain(), SystemTime::now());
            assert_eq!(seen.unwrap().validity, Validity::Untrusted);
        }
    }
}
