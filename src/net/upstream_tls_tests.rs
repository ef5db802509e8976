//! What TLS towards the server promises, against servers with every kind of certificate.

use std::{fs, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
        sign::CertifiedKey,
    },
};

use super::*;

/// A CA in a file, and certificates of it.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Made {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn made(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Made {
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Made { certificate, key }
    }

    /// As files, read again.
    fn identity(&self, name: &str) -> Identity {
        let made = self.made(name, ExtendedKeyUsagePurpose::ClientAuth);
        let place = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        fs::write(place("crt"), made.certificate.pem()).unwrap();
        fs::write(place("key"), made.key.serialize_pem()).unwrap();
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(place("key"), owner).unwrap();
        Identity::read(&place("crt"), &place("key")).unwrap()
    }
}

impl Made {
    fn for_server(name: &str) -> (Authority, Self) {
        let authority = Authority::new();
        let made = authority.made(name, ExtendedKeyUsagePurpose::ServerAuth);
        (authority, made)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.certificate.der())
    }

    fn key(&self) -> rustls_pki_types::PrivateKeyDer<'static> {
        rustls_pki_types::PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    fn server(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(tls::provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], self.key())
            .unwrap()
    }
}

/// Shows a certificate whose key it does not have.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Connects to a server of this configuration; one that was let in says hello, or what it heard of the client.
async fn meet(server: ServerConfig, tls: UpstreamTls) -> Result<(Stream, Vec<u8>), SecureError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let serving = async {
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let mut stream = acceptor.accept(accepted).await.ok()?;
        let name = stream.get_ref().1.server_name().unwrap_or("no name");
        let said = format!("hello {name}");
        stream.write_all(said.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()
    };
    let (met, _served) = tokio::join!(
        async {
            let mut stream = tls.secure(Stream::Tcp(socket)).await?;
            let mut read = Vec::new();
            let read_all = stream.read_to_end(&mut read).await;
            read_all.map_err(SecureError::Handshake)?;
            Ok((stream, read))
        },
        serving
    );
    met
}

#[tokio::test]
async fn a_server_is_who_its_ca_says_it_is() {
    let (authority, made) = Made::for_server("db.example.com");
    let tls = UpstreamTls::verified("db.example.com", &authority.file(), None).unwrap();
    let (stream, heard) = meet(made.server(), tls).await.unwrap();
    assert_eq!(heard, b"hello db.example.com");
    assert_eq!(stream.server_certificate(), Some(made.fingerprint()));
    // ECDSA with SHA-256: the same hash twice
    let end_point = stream.server_end_point().unwrap();
    assert_eq!(end_point.as_bytes(), made.fingerprint().0);
}

#[tokio::test]
async fn a_certificate_for_another_name_or_of_another_ca_is_refused() {
    let (authority, made) = Made::for_server("db.example.com");
    let tls = UpstreamTls::verified("other.example.com", &authority.file(), None).unwrap();
    let error = meet(made.server(), tls).await.unwrap_err().to_string();
    assert!(error.contains("another `name`"), "{error}");
    let elsewhere = Authority::new();
    let tls = UpstreamTls::verified("db.example.com", &elsewhere.file(), None).unwrap();
    let error = meet(made.server(), tls).await.unwrap_err().to_string();
    assert!(error.contains("not from a CA"), "{error}");
}

#[tokio::test]
async fn a_pinned_certificate_needs_neither_name_nor_ca() {
    let (_, made) = Made::for_server("whoever");
    let tls = UpstreamTls::pinned(made.fingerprint(), None).unwrap();
    let (_, heard) = meet(made.server(), tls).await.unwrap();
    assert_eq!(heard, b"hello no name", "and no name is sent");
}

#[tokio::test]
async fn another_certificate_than_the_pinned_is_refused_and_told() {
    let (_, made) = Made::for_server("db.example.com");
    let tls = UpstreamTls::pinned(Fingerprint([7; 32]), None).unwrap();
    let error = meet(made.server(), tls).await.unwrap_err().to_string();
    assert!(error.contains(&made.fingerprint().to_string()), "{error}");
}

#[tokio::test]
async fn the_pinned_certificate_is_worth_nothing_without_its_key() {
    let (_, made) = Made::for_server("db.example.com");
    let (_, other) = Made::for_server("db.example.com");
    let key = tls::provider().key_provider.load_private_key(other.key());
    let stolen = CertifiedKey::new(vec![made.certificate.der().clone()], key.unwrap());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = ServerConfig::builder_with_provider(tls::provider().into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Impostor(Arc::new(stolen.clone()))));
        let tls = UpstreamTls::pinned(made.fingerprint(), None).unwrap();
        assert!(meet(server, tls).await.is_err(), "{version:?}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let (authority, made) = Made::for_server("db.example.com");
    let clients = Authority::new();
    let asking = || {
        let mut roots = RootCertStore::empty();
        roots.add(clients.issuer.der().clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), tls::provider().into());
        ServerConfig::builder_with_provider(tls::provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![made.certificate.der().clone()], made.key())
            .unwrap()
    };
    let verified =
        |identity| UpstreamTls::verified("db.example.com", &authority.file(), identity).unwrap();
    let ours = clients.identity("gateway.example.com");
    assert!(meet(asking(), verified(Some(ours))).await.is_ok());
    assert!(meet(asking(), verified(None)).await.is_err());
}

#[tokio::test]
async fn a_look_takes_any_certificate_and_tells_which() {
    let (_, made) = Made::for_server("db.example.com");
    let look = UpstreamTls::for_a_look().unwrap();
    let (stream, _) = meet(made.server(), look).await.unwrap();
    assert_eq!(stream.server_certificate(), Some(made.fingerprint()));
}

#[test]
fn a_file_without_certificates_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, "hello").unwrap();
    let error = UpstreamTls::verified("db.example.com", &file, None).unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
}
