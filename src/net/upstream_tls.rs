//! TLS towards the server: who it must prove to be, and what we show of ourselves. Floor 1.
//!
//! The handshake is asked for in the server's own protocol, which this module does not know: it is handed a connection on
//! which the server waits for a `ClientHello`.

use std::{fmt, io, net::Ipv4Addr, path::Path, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector, TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
        SignatureScheme,
        client::{
            Resumption, WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    },
};

use super::{
    Stream,
    tls::{self, Identity, TlsError},
};
use crate::policy::TlsVersion;

/// SHA-256 of a certificate (DER). Shown as `openssl x509 -fingerprint -sha256` and MySQL's clients write it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// What a TLS handshake with the server needs. Nothing is resumed: it would outlive a change of the terms.
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    negotiation: Negotiation,
}

/// How TLS with a PostgreSQL server begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Negotiation {
    /// The server is asked for it in clear (`SSLRequest`).
    #[default]
    Request,
    /// The handshake is the first that the server hears: PostgreSQL 17 and later.
    Direct,
}

/// Why the connection to the server could not be secured. `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    #[error("a unix socket has no TLS here")]
    NotTcp,
    #[error("the TLS handshake with the server failed: {}", because(_0))]
    Handshake(#[source] io::Error),
}

impl UpstreamTls {
    /// The server's certificate is for `name`, a host name or an address, and comes from a CA of the PEM file `ca`.
    pub fn verified(name: &str, ca: &Path, identity: Option<Identity>) -> Result<Self, TlsError> {
        let unusable = |error| TlsError::Unusable {
            path: ca.to_owned(),
            error,
        };
        let mut roots = RootCertStore::empty();
        for certificate in tls::certificates(ca)? {
            roots.add(certificate).map_err(unusable)?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), tls::provider().into())
                .build()
                .map_err(|error| unusable(rustls::Error::General(error.to_string())))?;
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_neither| TlsError::NotAName(name.to_owned()))?;
        Self::new(verifier, name, identity)
    }

    /// The server's certificate is this one, whatever is written in it.
    pub fn pinned(certificate: Fingerprint, identity: Option<Identity>) -> Result<Self, TlsError> {
        Self::new(Pin::new(Some(certificate)), nameless(), identity)
    }

    /// Any certificate will do: to look at what a server shows, never for a client's session.
    pub fn for_a_look() -> Result<Self, TlsError> {
        Self::new(Pin::new(None), nameless(), None)
    }

    fn new(
        verifier: Arc<dyn ServerCertVerifier>,
        name: ServerName<'static>,
        identity: Option<Identity>,
    ) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(tls::provider().into())
            .with_protocol_versions(tls::versions(TlsVersion::V1_2))
            .map_err(TlsError::Unfit)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(identity) => identity.shown_to_servers(config)?,
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            name,
            negotiation: Negotiation::Request,
        })
    }

    /// The same for a PostgreSQL server, which is told its protocol in the handshake.
    #[must_use]
    pub fn with_postgres(mut self, negotiation: Negotiation) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = vec![tls::ALPN.to_vec()];
        self.negotiation = negotiation;
        self
    }

    pub const fn negotiation(&self) -> Negotiation {
        self.negotiation
    }

    fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.config))
    }

    /// Shakes hands on a connection on which the server waits for it.
    ///
    /// # Errors
    /// The server is not who it must be, or refuses us.
    pub async fn secure(&self, stream: Stream) -> Result<Stream, SecureError> {
        let Stream::Tcp(socket) = stream else {
            return Err(SecureError::NotTcp);
        };
        let limit = |connection: &mut rustls::ClientConnection| {
            connection.set_buffer_limit(Some(tls::BUFFER));
        };
        let shaking = self
            .connector()
            .connect_with(self.name.clone(), socket, limit);
        let stream = shaking.await.map_err(SecureError::Handshake)?;
        Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
    }
}

/// What a server shows that waits for a handshake on this connection, which ends with it.
pub async fn shown_certificate(stream: Stream) -> Result<Option<Fingerprint>, SecureError> {
    async fn of<S>(tls: &UpstreamTls, stream: S) -> Result<Option<Fingerprint>, SecureError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = tls.connector().connect(tls.name.clone(), stream);
        let stream = shaking.await.map_err(SecureError::Handshake)?;
        let chain = stream.get_ref().1.peer_certificates();
        Ok(chain.and_then(|chain| chain.first()).map(Fingerprint::of))
    }
    let tls = UpstreamTls::for_a_look().map_err(|_never| SecureError::NotTcp)?;
    match stream {
        Stream::Tcp(socket) => of(&tls, socket).await,
        Stream::Unix(socket) => of(&tls, socket).await,
        Stream::Tls(_) => Err(SecureError::NotTcp),
    }
}

impl Fingerprint {
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self::of_bytes(certificate)
    }

    /// The digest of any bytes, a public key (DER) for one.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").finish_non_exhaustive()
    }
}

/// Knows the server by its certificate alone. That it has the key to it is still proved in every handshake.
#[derive(Debug)]
struct Pin {
    certificate: Option<Fingerprint>,
    provider: CryptoProvider,
}

/// The server has shown another certificate.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is {shown}, not the pinned one")]
struct NotPinned {
    shown: Fingerprint,
}

impl Pin {
    fn new(certificate: Option<Fingerprint>) -> Arc<Self> {
        Arc::new(Self {
            certificate,
            provider: tls::provider(),
        })
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(certificate);
        if self.certificate.is_none_or(|pinned| pinned == shown) {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherError(Arc::new(NotPinned { shown }));
        Err(CertificateError::Other(other).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// In the operator's words where it is known what to do.
fn because(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let Some(rustls::Error::InvalidCertificate(fault)) = cause else {
        return error.to_string();
    };
    // with an authority of the same name and another key it is the signature that fails
    if let CertificateError::UnknownIssuer | CertificateError::BadSignature = fault {
        "its certificate is not from a CA of the file that `ca` names".to_owned()
    } else if let CertificateError::NotValidForName
    | CertificateError::NotValidForNameContext { .. } = fault
    {
        format!("its certificate is for another `name`: {fault}")
    } else if let CertificateError::Other(OtherError(cause)) = fault {
        cause.to_string()
    } else {
        fault.to_string()
    }
}

/// A name that is not sent to the server: addresses never are.
fn nameless() -> ServerName<'static> {
    Ipv4Addr::UNSPECIFIED.into()
}

#[cfg(test)]
#[path = "upstream_tls_tests.rs"]
mod tests;
