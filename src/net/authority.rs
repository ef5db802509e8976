//! A CA that is kept in a folder: its certificate, its key, and a lock on both. Floor 1.
//!
//! There are two: that of the listeners (`certificate`) and that of the clients (`client_authority`). They share no key, so
//! that neither can vouch for what is the other's.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{Fingerprint, tls::TlsError};

/// The files of a CA. The folder can be passed through, so that `ca.crt` can be read; the key is for its owner alone.
#[derive(Clone, Debug)]
pub(super) struct CaFolder {
    folder: PathBuf,
}

/// A CA that can sign.
pub(super) type Ca = Issuer<'static, KeyPair>;

/// What keeps a CA from its work. One sentence each, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot use {path}: {error}; doorward's user must be able to write there")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{0} is damaged: restore it, or remove {1} too and a new CA is made, which everybody who trusts this one must then be given"
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

impl CaFolder {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the folder and keeps others out who would change it at the same time, until this is dropped.
    pub(super) fn lock(&self) -> Result<File, AuthorityError> {
        make_folder(&self.folder).map_err(|error| self.io("", error))?;
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

    /// The kept CA; `None` if there is none at all.
    pub(super) fn kept(&self) -> Result<Option<Ca>, AuthorityError> {
        let (at_certificate, at_key) = (self.at(CERTIFICATE), self.at(KEY));
        // without the certificate nobody can have trusted the key: it is the rest of a start that was broken off
        let Some(pem) = self.read(CERTIFICATE)? else {
            return Ok(None);
        };
        let key = self.read(KEY)?;
        let key = key.and_then(|pem| KeyPair::from_pem(&pem).ok());
        let Some(key) = key else {
            return Err(AuthorityError::Damaged(at_key, at_certificate));
        };
        let damaged = || AuthorityError::Damaged(at_certificate.clone(), at_key.clone());
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        let certificate = certificate.map_err(|_garbled| damaged())?;
        if !is_key_of(&certificate, &key) {
            return Err(damaged());
        }
        let ca = Issuer::from_ca_cert_der(&certificate, key).map_err(|_garbled| damaged())?;
        Ok(Some(ca))
    }

    /// A new CA of this name, for one purpose, with a mark in its name that no other CA has.
    pub(super) fn found(
        &self,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
        now: SystemTime,
    ) -> Result<Ca, AuthorityError> {
        let key = KeyPair::generate()?;
        let mark = Fingerprint::of_bytes(&key.subject_public_key_info()).to_string();
        let mark: String = mark.chars().take(8).collect();
        let today = date_time_ymd(1970, 1, 1) + since_epoch(now);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let name = format!("{name} of {}, {mark}", today.date());
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = today - SKEW;
        params.not_after = today + CA_LIFE;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![purpose];
        let certificate = params.self_signed(&key)?;
        self.write(KEY, &key.serialize_pem(), 0o600)?;
        self.write(CERTIFICATE, &certificate.pem(), 0o644)?;
        Ok(Issuer::new(params, key))
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<String>, AuthorityError> {
        match fs::read_to_string(self.at(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io(name, error)),
        }
    }

    pub(super) fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), AuthorityError> {
        write_atomically(&self.at(name), text.as_bytes(), mode)
            .map_err(|error| self.io(name, error))
    }

    pub(super) fn io(&self, name: &str, error: io::Error) -> AuthorityError {
        AuthorityError::Io {
            path: self.at(name),
            error,
        }
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

fn is_key_of(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| {
        parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
    })
}

/// The time as certificates have it.
pub(super) fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// What those are given who shall believe the CA.
pub(super) const CERTIFICATE: &str = "ca.crt";
pub(super) const KEY: &str = "ca.key";
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far a client's clock may be behind ours.
pub(super) const SKEW: Duration = DAY;
const CA_LIFE: Duration = DAY.saturating_mul(3650);
