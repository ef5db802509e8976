//! A certificate in a file, as an operator looks at it. Floor 1.

use std::{fmt, path::Path};

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    Fingerprint, client_certificate,
    tls::{self, TlsError},
};
use crate::policy::Certificate;

/// What stands in the first certificate of a PEM file. Nobody has said what it is worth.
#[derive(Clone, Debug)]
pub struct Presented {
    /// All of the file, as a client would show it.
    pub chain: Vec<CertificateDer<'static>>,
    pub certificate: Certificate,
    pub serial: Serial,
    /// The name of whoever made it, in its own words.
    pub issuer: String,
    /// SHA-256 of its public key (DER): what `proof.certificate.issuer` wants of a CA.
    pub key: [u8; 32],
}

/// A serial number, without leading zeros. Shown in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(Vec<u8>);

impl Presented {
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let chain = tls::certificates(path)?;
        let odd = |error| TlsError::Odd {
            path: path.to_owned(),
            error,
        };
        let certificate = client_certificate::read(&chain).map_err(odd)?;
        let not_x509 = || odd(client_certificate::Unreadable::NotX509);
        let leaf = chain.first().ok_or_else(not_x509)?;
        let (_, x509) = X509Certificate::from_der(leaf).map_err(|_garbled| not_x509())?;
        Ok(Self {
            certificate,
            serial: Serial::of(x509.raw_serial()),
            // it goes to a terminal
            issuer: x509.issuer().to_string().replace(char::is_control, "?"),
            key: Fingerprint::of_bytes(x509.public_key().raw).0,
            chain,
        })
    }

    /// Whether it bears this name or this serial number.
    pub fn is_called(&self, whom: &str) -> bool {
        let Certificate { dns, uri, cn, .. } = &self.certificate;
        self.serial.is(whom)
            || dns.iter().any(|name| name.eq_ignore_ascii_case(whom))
            || uri.iter().chain(cn).any(|name| name == whom)
    }
}

impl Serial {
    /// Of a number as X.509 has it: big-endian, with a leading zero where it would look negative.
    pub(super) fn of(raw: &[u8]) -> Self {
        let bytes = raw.iter().copied().skip_while(|byte| *byte == 0);
        Self(bytes.collect())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is written so, by us or as OpenSSL writes it.
    fn is(&self, text: &str) -> bool {
        let digits = text.chars().filter(|c| *c != ':');
        let digits: String = digits.collect();
        digits.eq_ignore_ascii_case(&self.to_string())
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
