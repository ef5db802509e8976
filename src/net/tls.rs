//! Certificates and keys: from PEM files to what a listener's handshake needs. Floor 1.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject,
};
use tokio_rustls::rustls::{
    self, CipherSuite, ClientConfig, ConfigBuilder, SupportedProtocolVersion,
    client::WantsClientCert,
    crypto::{CryptoProvider, aws_lc_rs},
    sign::CertifiedKey,
};
use x509_parser::extensions::GeneralName;

use super::{Fingerprint, client_certificate::Unreadable};
use crate::policy::TlsVersion;

/// A certificate with its chain, and the key to it.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Where the certificate was read, for messages.
    place: PathBuf,
}

/// Why there is no TLS to offer. One sentence each, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {}", because(error))]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path} is a private key that everybody on this machine may read: chmod o= {path}")]
    Exposed { path: PathBuf },
    #[error("{0} is larger than any certificate, key or revocation list")]
    TooLarge(PathBuf),
    #[error("{0} holds no PEM certificate")]
    NoCertificate(PathBuf),
    #[error("{0} holds no PEM private key without a pass phrase")]
    NoKey(PathBuf),
    #[error(
        "the key does not fit the certificate {0}: give the key that the certificate was made for"
    )]
    Mismatch(PathBuf),
    #[error("the certificate {path} cannot be used: {error}")]
    Unusable { path: PathBuf, error: rustls::Error },
    #[error("{path} is of no use: {error}")]
    Odd { path: PathBuf, error: Unreadable },
    #[error("{path} cannot vouch for clients: {error}")]
    BadAuthority { path: PathBuf, error: String },
    #[error("{0} holds no PEM revocation list")]
    NoRevocationList(PathBuf),
    #[error("{path} holds a revocation list that cannot be used: {error}")]
    BadRevocationList { path: PathBuf, error: String },
    #[error("the end of {0} cannot be read from it: it is not an X.509 certificate")]
    NotX509(PathBuf),
    #[error("`{0}` is no name that a certificate can be for")]
    NotAName(String),
    #[error("TLS cannot be set up: {0}")]
    Unfit(rustls::Error),
}

impl TlsError {
    fn unusable(path: PathBuf, error: rustls::Error) -> Self {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            Self::Mismatch(path)
        } else {
            Self::Unusable { path, error }
        }
    }

    /// A matter of file permissions, not of contents.
    pub const fn is_permission(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Exposed { .. })
    }
}

impl Identity {
    /// Reads PEM files. A key that others than owner and group may read is refused.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let (pem, mode) = read_bounded(key, MAX_PEM)?;
        if mode & OTHERS != 0 {
            return Err(TlsError::Exposed {
                path: key.to_owned(),
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_not_a_key| TlsError::NoKey(key.to_owned()))?;
        Ok(Self {
            chain,
            key,
            place: certificate.to_owned(),
        })
    }

    /// Whether the key is the certificate's.
    pub fn fits(&self) -> bool {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider()).is_ok()
    }

    /// When the certificate ends.
    pub fn ends(&self) -> Result<SystemTime, TlsError> {
        let leaf = self.chain.first();
        leaf.and_then(not_after)
            .ok_or_else(|| TlsError::NotX509(self.place.clone()))
    }

    #[cfg(test)]
    pub(crate) fn made(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self {
            chain,
            key,
            place: PathBuf::from("made.crt"),
        }
    }

    /// The certificate as clients know it that pin one.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.chain.first().map(Fingerprint::of)
    }

    /// The DNS names that it is for, in lower case.
    pub fn names(&self) -> Vec<String> {
        self.chain.first().map(dns_names).unwrap_or_default()
    }

    /// Shows itself to a server that asks for it.
    pub(super) fn shown_to_servers(
        self,
        config: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<ClientConfig, TlsError> {
        let place = self.place;
        config
            .with_client_auth_cert(self.chain, self.key)
            .map_err(|error| TlsError::unusable(place, error))
    }

    /// Ready to be shown to clients.
    pub(super) fn certified(self) -> Result<CertifiedKey, TlsError> {
        CertifiedKey::from_der(self.chain, self.key, &provider())
            .map_err(|error| TlsError::unusable(self.place, error))
    }
}

fn because(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "there is no such file".to_owned(),
        Some(libc::EACCES) => {
            "doorward's user may not; make its group the file's, and chmod g+r".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The end of a certificate's validity; `None` if it is not X.509.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    at_second(parsed.validity().not_after.timestamp())
}

/// The time that X.509 counts in seconds.
pub(super) fn at_second(seconds: i64) -> Option<SystemTime> {
    let seconds = Duration::from_secs(u64::try_from(seconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds)
}

/// The default provider with AES-128-GCM before the rest: the fastest suite wherever the processor has AES.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| !AES_128_GCM.contains(&suite.suite()));
    provider
}

/// The certificates of a PEM file: one at least.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (pem, _) = read_bounded(path, MAX_PEM)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| TlsError::NoCertificate(path.to_owned()))
}

/// The revocation lists of a PEM file: one at least.
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let (pem, _) = read_bounded(path, MAX_LISTS)?;
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    all.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| TlsError::NoRevocationList(path.to_owned()))
}

/// The DNS names that a server's certificate is for, in lower case: its alternative names alone, for clients look at no others.
pub fn dns_names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) else {
        return Vec::new();
    };
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let names = alternative.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => {
                Some(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
            }
            GeneralName::IPAddress(_)
            | GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::URI(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => None,
        })
        .collect()
}

pub(super) fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::V1_2 => &SINCE_1_2,
        TlsVersion::V1_3 => &SINCE_1_3,
    }
}

fn read_bounded(path: &Path, max: u64) -> Result<(Vec<u8>, u32), TlsError> {
    let unreadable = |error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    };
    // nobody waits for the other end of a pipe: it holds nothing
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > max {
        return Err(TlsError::TooLarge(path.to_owned()));
    }
    Ok((bytes, mode))
}

/// The registered name of PostgreSQL's protocol (RFC 7301, IANA).
pub const ALPN: &[u8] = b"postgresql";
/// Plaintext and ciphertext that a TLS connection may hold back for a slow peer: as much as the relay reads at once, so that its
/// records go out in one call. A connection that holds nothing back has no such buffer.
pub const BUFFER: usize = 64 * 1024;
const AES_128_GCM: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];
static SINCE_1_2: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];
static SINCE_1_3: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
/// The permission bits of everybody else.
const OTHERS: u32 = 0o007;
const MAX_PEM: u64 = 1 << 20;
/// A CA of many clients has many to take back.
const MAX_LISTS: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use tokio_rustls::rustls::SupportedCipherSuite;

    use super::*;

    fn files(folder: &Path, certificate: &str, key: &str, mode: u32) -> (PathBuf, PathBuf) {
        let (at_certificate, at_key) = (folder.join("server.crt"), folder.join("server.key"));
        fs::write(&at_certificate, certificate).unwrap();
        fs::write(&at_key, key).unwrap();
        fs::set_permissions(&at_key, Permissions::from_mode(mode)).unwrap();
        (at_certificate, at_key)
    }

    fn self_signed() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["db.example.com".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_key_that_everybody_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed();
        let (at_certificate, at_key) = files(folder.path(), &certificate, &key, 0o644);
        let error = Identity::read(&at_certificate, &at_key).err().unwrap();
        assert!(error.is_permission(), "{error}");
        fs::set_permissions(&at_key, Permissions::from_mode(0o640)).unwrap();
        assert!(Identity::read(&at_certificate, &at_key).is_ok());
    }

    #[test]
    fn a_key_of_another_certificate_is_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, _) = self_signed();
        let (_, other_key) = self_signed();
        let (certificate, key) = files(folder.path(), &certificate, &other_key, 0o600);
        let identity = Identity::read(&certificate, &key).unwrap();
        let error = identity.certified().unwrap_err();
        assert!(matches!(error, TlsError::Mismatch(_)), "{error}");
        assert!(!error.is_permission());
    }

    #[test]
    fn a_file_that_is_missing_or_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = files(folder.path(), "hello", "hello", 0o600);
        let error = Identity::read(&certificate, &key).err().unwrap();
        assert!(error.to_string().contains("server.crt"), "{error}");
        let error = Identity::read(&folder.path().join("none.crt"), &key);
        assert!(error.err().unwrap().to_string().contains("none.crt"));
    }

    #[test]
    fn aes_128_comes_first() {
        let suites: Vec<_> = provider()
            .cipher_suites
            .iter()
            .map(SupportedCipherSuite::suite)
            .collect();
        assert_eq!(suites.first(), Some(&CipherSuite::TLS13_AES_128_GCM_SHA256));
    }
}
