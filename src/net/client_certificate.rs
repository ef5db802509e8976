//! What a client shows of itself in the handshake, and what stands in it. Floor 1.
//!
//! The handshake proves that the client has the key to what it shows, and nothing else: what that is worth is
//! `client_trust`'s to say and the policy's to judge. So a client with a foreign or revoked certificate is told so in its
//! own protocol, where a broken handshake would leave it guessing.

use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::{
    self, DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::EndEntityCert;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::{Fingerprint, tls};
use crate::policy::{Certificate, Validity};

/// Why nothing is read from a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("its chain is longer than {MAX_CHAIN} certificates or {MAX_CHAIN_BYTES} bytes")]
    TooLong,
    #[error("it bears more than {MAX_NAMES} names")]
    TooManyNames,
    #[error("it is not X.509")]
    NotX509,
}

/// What is written in the first certificate of a chain. Nobody is believed yet.
pub(super) fn read(shown: &[CertificateDer<'_>]) -> Result<Certificate, Unreadable> {
    let bytes: usize = shown.iter().map(|der| der.len()).sum();
    if shown.len() > MAX_CHAIN || bytes > MAX_CHAIN_BYTES {
        return Err(Unreadable::TooLong);
    }
    let leaf = shown.first().ok_or(Unreadable::NotX509)?;
    let (_, x509) = X509Certificate::from_der(leaf).map_err(|_garbled| Unreadable::NotX509)?;
    let alternative = x509.subject_alternative_name();
    let alternative = alternative.map_err(|_garbled| Unreadable::NotX509)?;
    let names = alternative.map_or(&[][..], |names| &names.value.general_names);
    if names.len() > MAX_NAMES {
        return Err(Unreadable::TooManyNames);
    }
    let dns = names.iter().filter_map(dns_name);
    let uri = names.iter().filter_map(uri_name);
    Ok(Certificate {
        dns: dns.map(str::to_ascii_lowercase).collect(),
        uri: uri.map(str::to_owned).collect(),
        cn: common_name(&x509),
        ends: tls::not_after(leaf).ok_or(Unreadable::NotX509)?,
        chain: shown.iter().map(|der| der.to_vec()).collect(),
        ..unread(leaf)
    })
}

/// A certificate of which nothing is known but its bytes. It proves nothing, and never will.
pub(super) fn unread(leaf: &CertificateDer<'_>) -> Certificate {
    Certificate {
        dns: Vec::new(),
        uri: Vec::new(),
        cn: None,
        sha256: Fingerprint::of(leaf).0,
        issuers: Vec::new(),
        ends: SystemTime::UNIX_EPOCH,
        validity: Validity::Untrusted,
        chain: Vec::new(),
    }
}

/// Asks for a certificate, takes any and none, and insists on the key to what could prove anything.
#[derive(Debug)]
pub(super) struct AsksForAny {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AsksForAny {
    /// `hints` are the names of the CAs by which a client may choose.
    pub(super) fn with_hints(hints: &[DistinguishedName]) -> Self {
        Self {
            hints: hints.to_vec(),
            algorithms: tls::provider().signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for AsksForAny {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if proves_nothing(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if proves_nothing(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether webpki cannot read it, as with version 1: then no CA vouches for it either (`client_trust` asks the same). Whose key it
/// holds does not matter; a client without another certificate that needs none is still admitted.
fn proves_nothing(certificate: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(certificate).is_err()
}

/// A name with other characters than a DNS name has is none, whatever its CA thinks.
fn dns_name<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'*');
    if let GeneralName::DNSName(name) = name {
        (!name.is_empty() && name.bytes().all(is_name)).then_some(*name)
    } else {
        None
    }
}

fn uri_name<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name {
        uri.bytes().all(|c| c.is_ascii_graphic()).then_some(*uri)
    } else {
        None
    }
}

/// None as well where there are several, for which of them is meant is anybody's guess.
fn common_name(x509: &X509Certificate<'_>) -> Option<String> {
    let mut names = x509.subject().iter_common_name();
    let only = names.next().filter(|_| names.next().is_none())?;
    let name = only.as_str().ok()?;
    (!name.chars().any(char::is_control)).then(|| name.to_owned())
}

const MAX_CHAIN: usize = 8;
const MAX_CHAIN_BYTES: usize = 64 * 1024;
const MAX_NAMES: usize = 100;

#[cfg(test)]
#[path = "client_certificate_tests.rs"]
mod tests;
