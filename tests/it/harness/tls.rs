//! TLS for raw clients and for tokio-postgres.

use std::{
    io::{self, Write},
    net::TcpStream,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use aws_lc_rs::digest;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ALL_VERSIONS, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned,
        SupportedProtocolVersion,
    },
};

use super::{
    Authority, Raw,
    raw::{SSL_REQUEST, Wire},
};

/// Trusts the tests' authority and offers these protocols (ALPN).
pub(crate) fn client(protocols: &[&str]) -> Arc<ClientConfig> {
    client_with(protocols, ALL_VERSIONS)
}

/// The same, by these versions of TLS alone.
pub(crate) fn client_with(
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots())
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Arc::new(config)
}

/// Trusts the same, and shows a certificate.
pub(crate) fn client_showing(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder().with_root_certificates(roots());
    Arc::new(config.with_client_auth_cert(chain, key).unwrap())
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(Authority::shared().root()).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    roots
}

impl Raw {
    /// `SSLRequest`, `S`, handshake.
    pub(crate) fn encrypted(source: [u8; 4], port: u16) -> Self {
        Self::encrypted_by(source, port, client(&[]))
    }

    pub(crate) fn encrypted_by(source: [u8; 4], port: u16, config: Arc<ClientConfig>) -> Self {
        let mut raw = Self::connect_from(source, port);
        raw.send(&SSL_REQUEST);
        assert_eq!(raw.byte(), b'S');
        raw.handshake(config).unwrap().0
    }

    /// The handshake on a socket on which it is due; the certificate's fingerprint bytes and the version come along.
    pub(crate) fn handshake(
        self,
        config: Arc<ClientConfig>,
    ) -> io::Result<(Self, CertificateDer<'static>, ProtocolVersion)> {
        self.handshake_behind(&[], config)
    }

    /// The same, with plain bytes that go out in one segment with the `ClientHello`.
    pub(crate) fn handshake_behind(
        self,
        plain: &[u8],
        config: Arc<ClientConfig>,
    ) -> io::Result<(Self, CertificateDer<'static>, ProtocolVersion)> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
        let mut socket: TcpStream = self.socket.try_clone().unwrap();
        let mut first = plain.to_vec();
        connection.write_tls(&mut first)?;
        socket.write_all(&first)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let leaf = connection.peer_certificates().unwrap()[0]
            .clone()
            .into_owned();
        let version = connection.protocol_version().unwrap();
        let stream: Box<dyn Wire> = Box::new(StreamOwned::new(connection, socket));
        Ok((
            Self {
                stream,
                socket: self.socket,
            },
            leaf,
            version,
        ))
    }
}

/// tokio-postgres with rustls: the connectors of other crates misread certificates, and bind nothing.
#[derive(Clone)]
pub(crate) struct Rustls(pub(crate) Arc<ClientConfig>);

pub(crate) struct Secured(tokio_rustls::client::TlsStream<tokio_postgres::Socket>);

impl MakeTlsConnect<tokio_postgres::Socket> for Rustls {
    type Stream = Secured;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> io::Result<Self> {
        Ok(self.clone())
    }
}

impl TlsConnect<tokio_postgres::Socket> for Rustls {
    type Stream = Secured;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

    fn connect(self, stream: tokio_postgres::Socket) -> Self::Future {
        let name = ServerName::try_from("localhost").unwrap();
        Box::pin(async move {
            let connect = TlsConnector::from(self.0).connect(name, stream);
            Ok(Secured(connect.await?))
        })
    }
}

impl tokio_postgres::tls::TlsStream for Secured {
    /// The certificates of the tests are signed with SHA-256.
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates().unwrap();
        let hash = digest::digest(&digest::SHA256, &certificates[0]);
        ChannelBinding::tls_server_end_point(hash.as_ref().to_vec())
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
