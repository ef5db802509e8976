//! The gateway's own small authority: a CA and a certificate made at the first start and kept. Floor 1.
//!
//! Clients trust the CA's certificate, so the CA is never replaced by itself; the server's certificate below it is
//! renewed when its names change or its end is near.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::extensions::GeneralName;

use super::tls::{self, Identity, TlsError};

/// Where the authority's files are. The folder can be passed through, so that `ca.crt` can be copied to clients; the keys
/// are for doorward's user alone.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
}

/// What keeps the authority from a certificate. One sentence each, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot use {path}: {error}; doorward's user must be able to write there")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{0} is damaged: restore it, or remove {1} too and a new CA is made, which every client must then be given"
    )]
    Damaged(PathBuf, PathBuf),
    #[error("cannot make a certificate: {0}")]
    Unmade(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl AuthorityError {
    /// A matter of file permissions, not of contents.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Io { error, .. } => error.kind() == io::ErrorKind::PermissionDenied,
            Self::Tls(error) => error.is_permission(),
            Self::Damaged(..) | Self::Unmade(_) => false,
        }
    }
}

impl Authority {
    /// The authority in the folder `tls` of the state directory; nothing is made yet.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            folder: state_dir.join("tls"),
        }
    }

    /// The certificate that clients must be given, as `sslrootcert` or under another name.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The server's certificate for exactly these names and addresses: the kept one, or a new one if there is none, it is
    /// for other names, or it ends within 30 days of `now`.
    pub fn identity(
        &self,
        names: &BTreeSet<String>,
        now: SystemTime,
    ) -> Result<Identity, AuthorityError> {
        make_folder(&self.folder).map_err(|error| self.io("", error))?;
        // two gateways that start at once on one state directory would mix their files
        let _lock = self.lock()?;
        let (certificate, key) = (self.at("server.crt"), self.at("server.key"));
        if is_good(&certificate, names, now) {
            match Identity::read(&certificate, &key) {
                Ok(identity) if identity.fits() => return Ok(identity),
                Err(error) if error.is_permission() && key.exists() => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
        }
        self.issue(names, now)?;
        Ok(Identity::read(&certificate, &key)?)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn io(&self, name: &str, error: io::Error) -> AuthorityError {
        AuthorityError::Io {
            path: self.at(name),
            error,
        }
    }

    fn lock(&self) -> Result<File, AuthorityError> {
        let lock = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(self.at(".lock"))?;
            file.lock().map(|()| file)
        };
        lock().map_err(|error| self.io(".lock", error))
    }

    fn issue(&self, names: &BTreeSet<String>, now: SystemTime) -> Result<(), AuthorityError> {
        let issuer = self.issuer(now)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        // names that clients check stand in the alternative names; the subject is for people
        params
            .distinguished_name
            .push(DnType::CommonName, "Doorward");
        let today = date_time_ymd(1970, 1, 1) + since_epoch(now);
        params.not_before = today - SKEW;
        params.not_after = today + SERVER_LIFE;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        // the key first: a crash in between leaves a pair that does not fit, and that is made anew
        self.write("server.key", &key.serialize_pem(), 0o600)?;
        self.write("server.crt", &certificate.pem(), 0o644)
    }

    /// The kept CA, or a new one if there is none at all.
    fn issuer(&self, now: SystemTime) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
        let (at_certificate, at_key) = (self.ca(), self.at("ca.key"));
        let certificate = self.read("ca.crt")?;
        // without the certificate nobody can have trusted the key: it is the rest of a start that was broken off
        let Some(certificate) = certificate else {
            return self.found(now);
        };
        let key = self.read("ca.key")?;
        let key = key.and_then(|pem| KeyPair::from_pem(&pem).ok());
        let Some(key) = key else {
            return Err(AuthorityError::Damaged(at_key, at_certificate));
        };
        if !is_key_of(&certificate, &key) {
            return Err(AuthorityError::Damaged(at_certificate, at_key));
        }
        Issuer::from_ca_cert_pem(&certificate, key)
            .map_err(|_damaged| AuthorityError::Damaged(at_certificate, at_key))
    }

    fn found(&self, now: SystemTime) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
        let key = KeyPair::generate()?;
        let today = date_time_ymd(1970, 1, 1) + since_epoch(now);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let name = format!("Doorward private CA of {}", today.date());
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = today - SKEW;
        params.not_after = today + CA_LIFE;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key)?;
        self.write("ca.key", &key.serialize_pem(), 0o600)?;
        self.write("ca.crt", &certificate.pem(), 0o644)?;
        Ok(Issuer::new(params, key))
    }

    fn read(&self, name: &str) -> Result<Option<String>, AuthorityError> {
        match fs::read_to_string(self.at(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io(name, error)),
        }
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), AuthorityError> {
        write_atomically(&self.at(name), text.as_bytes(), mode)
            .map_err(|error| self.io(name, error))
    }
}

/// Writes a file so that a reader, or a start after a power cut, sees the old contents or the new, never a part.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    let write = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(mode)
            .open(&new)?;
        file.write_all(bytes)?;
        // whatever the umask
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write()?;
    // the rename itself must last, too
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Makes the folder and those above it; others may pass through, not look around.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(folder)
}

fn is_good(path: &Path, names: &BTreeSet<String>, now: SystemTime) -> bool {
    let Some(certificate) = CertificateDer::from_pem_file(path).ok() else {
        return false;
    };
    let lasts = tls::not_after(&certificate).is_some_and(|end| now + RENEW_BEFORE < end);
    lasts && alternative_names(&certificate).as_ref() == Some(names)
}

fn alternative_names(certificate: &CertificateDer<'_>) -> Option<BTreeSet<String>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => ip(bytes).map(|ip| ip.to_string()),
            GeneralName::OtherName(..)
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

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn is_key_of(certificate: &str, key: &KeyPair) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(certificate.as_bytes()) else {
        return false;
    };
    x509_parser::parse_x509_certificate(&certificate).is_ok_and(|(_, parsed)| {
        parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
    })
}

fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far a client's clock may be behind ours.
const SKEW: Duration = DAY;
const CA_LIFE: Duration = DAY.saturating_mul(3650);
/// Under the 398 days that some clients put up with.
const SERVER_LIFE: Duration = DAY.saturating_mul(365);
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);

#[cfg(test)]
mod tests {
    use super::{super::ClientTrust, *};
    use crate::policy::TlsVersion;

    fn names(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_a_certificate_and_the_next_ones_keep_it() {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::new(state.path());
        let names = names(&["db.example.com", "localhost", "127.0.0.1", "::1"]);
        let now = SystemTime::now();
        let first = authority.identity(&names, now).unwrap();
        assert!(first.fits());
        first
            .server_config(TlsVersion::V1_2, &ClientTrust::default())
            .unwrap();
        let kept = |name: &str| fs::read_to_string(authority.at(name)).unwrap();
        let before = ["ca.crt", "ca.key", "server.crt", "server.key"].map(kept);
        authority.identity(&names, now + 30 * DAY).unwrap();
        assert_eq!(
            before,
            ["ca.crt", "ca.key", "server.crt", "server.key"].map(kept)
        );
    }

    #[test]
    fn keys_are_for_one_user_and_the_ca_for_everybody() {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::new(state.path());
        authority
            .identity(&names(&["localhost"]), SystemTime::now())
            .unwrap();
        assert_eq!(mode(&authority.at("ca.key")), 0o600);
        assert_eq!(mode(&authority.at("server.key")), 0o600);
        assert_eq!(mode(&authority.ca()), 0o644);
        assert_eq!(mode(&authority.folder), 0o711);
    }

    #[test]
    fn other_names_or_a_near_end_renew_the_certificate_under_the_same_ca() {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::new(state.path());
        let now = SystemTime::now();
        let ends = |names: &BTreeSet<String>, now| {
            let identity = authority.identity(names, now).unwrap();
            identity.ends().unwrap()
        };
        let first = ends(&names(&["localhost"]), now);
        let ca = fs::read_to_string(authority.ca()).unwrap();
        let certificate = fs::read_to_string(authority.at("server.crt")).unwrap();
        ends(&names(&["localhost", "db.example.com"]), now);
        assert_ne!(
            certificate,
            fs::read_to_string(authority.at("server.crt")).unwrap()
        );
        let later = ends(&names(&["localhost", "db.example.com"]), now + 340 * DAY);
        assert!(later > first + 300 * DAY);
        assert_eq!(ca, fs::read_to_string(authority.ca()).unwrap());
    }

    #[test]
    fn the_ca_vouches_for_servers_alone_and_for_no_other_ca() {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::new(state.path());
        authority
            .identity(&names(&["localhost"]), SystemTime::now())
            .unwrap();
        let ca = CertificateDer::from_pem_file(authority.ca()).unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(&ca).unwrap();
        let basic = ca.basic_constraints().unwrap().unwrap().value;
        assert_eq!((basic.ca, basic.path_len_constraint), (true, Some(0)));
        let usage = ca.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth && !usage.any);
    }

    #[test]
    fn a_damaged_ca_is_never_replaced_in_silence() {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::new(state.path());
        let now = SystemTime::now();
        authority.identity(&names(&["localhost"]), now).unwrap();
        fs::write(authority.at("ca.key"), "no key").unwrap();
        assert!(
            authority.identity(&names(&["localhost"]), now).is_ok(),
            "the kept certificate still serves"
        );
        let error = authority
            .identity(&names(&["other.example.com"]), now)
            .err()
            .unwrap();
        assert!(error.to_string().contains("ca.key is damaged"), "{error}");
    }

    #[test]
    fn a_damaged_server_certificate_is_made_anew() {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::new(state.path());
        let now = SystemTime::now();
        authority.identity(&names(&["localhost"]), now).unwrap();
        let other = KeyPair::generate().unwrap().serialize_pem();
        for broken in [other.as_str(), "no key"] {
            fs::write(authority.at("server.key"), broken).unwrap();
            let identity = authority.identity(&names(&["localhost"]), now).unwrap();
            assert!(identity.fits());
        }
    }
}
