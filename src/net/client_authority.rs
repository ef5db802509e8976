//! A small private CA for clients, since public ones make no certificates for them any more. Floor 1.
//!
//! It needs no daemon. What it has issued is kept beside it, so that it can be listed and taken back by name; what is taken
//! back stands in the revocation list alone, which is therefore never made anew from nothing.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::{
    ClientTrust, Fingerprint, Presented, Serial,
    authority::{AuthorityError, CERTIFICATE, Ca, CaFolder, KEY, SKEW, make_folder, since_epoch},
    tls::{self, TlsError},
};

/// The CA in a folder. Nothing is made before [`ClientAuthority::found`].
#[derive(Clone, Debug)]
pub struct ClientAuthority {
    files: CaFolder,
}

/// What a certificate shall say.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The DNS name, which the files are named after.
    pub name: String,
    pub uris: Vec<String>,
    /// Where absent it is the name, for people to read.
    pub cn: Option<String>,
    /// Never longer than the CA's own.
    pub life: Duration,
}

/// A certificate that was handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    pub presented: Presented,
    pub revoked: Option<SystemTime>,
}

/// Where a new certificate was written.
#[derive(Clone, Debug)]
pub struct Written {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub presented: Presented,
}

/// Why the CA does not do what it was asked. One sentence each, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("there is no CA for clients in {}: make one with `doorward cert init`", _0.display())]
    NoAuthority(PathBuf),
    #[error("the CA in {} has ended: found another one in another folder", _0.display())]
    Ended(PathBuf),
    #[error(
        "`{0}` is no name for a certificate: give a DNS name without a wildcard, as laptop or shop.example.com"
    )]
    BadName(String),
    #[error("`{0}` is no URI for a certificate: give one as spiffe://example.com/shop")]
    BadUri(String),
    #[error("`{0}` is no common name: give 1 to 64 printable characters")]
    BadCommonName(String),
    #[error("{} is there already, and nothing is overwritten: move it away, or give another folder with --out", _0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {error}", path.display())]
    Unwritten { path: PathBuf, error: io::Error },
    #[error("no certificate for `{0}` was issued here: `doorward cert list` shows those that were")]
    Unknown(String),
    #[error("{} is missing or damaged: restore it, for what is revoked stands nowhere else", _0.display())]
    Lost(PathBuf),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl IssueError {
    /// A matter of file permissions, not of contents.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Unwritten { error, .. } => error.kind() == io::ErrorKind::PermissionDenied,
            Self::Authority(error) => error.is_permission(),
            Self::NoAuthority(_)
            | Self::Ended(_)
            | Self::BadName(_)
            | Self::BadUri(_)
            | Self::BadCommonName(_)
            | Self::Exists(_)
            | Self::Unknown(_)
            | Self::Lost(_) => false,
        }
    }
}

impl ClientAuthority {
    /// Of the state directory, where no other is named.
    pub const FOLDER: &str = "clients";
    /// What is kept in the folder.
    pub const FILES: [&str; 4] = [CERTIFICATE, KEY, LIST, RECORDS];

    pub fn new(folder: PathBuf) -> Self {
        Self {
            files: CaFolder::new(folder),
        }
    }

    /// What `tls.client_ca` names.
    pub fn ca(&self) -> PathBuf {
        self.files.at(CERTIFICATE)
    }

    /// What `tls.crl` names.
    pub fn list(&self) -> PathBuf {
        self.files.at(LIST)
    }

    /// Makes the CA and an empty revocation list. What is there is left as it is, and then the answer is false.
    pub fn found(&self, now: SystemTime) -> Result<bool, IssueError> {
        let _lock = self.files.lock()?;
        if self.files.kept()?.is_some() {
            self.revoked()?;
            return Ok(false);
        }
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        let ca = self.files.found("Doorward client CA", purpose, now)?;
        self.write_list(&ca, &[], now)?;
        Ok(true)
    }

    /// What this CA and its list say of other certificates.
    pub fn trust(&self) -> Result<ClientTrust, TlsError> {
        ClientTrust::read(&self.ca(), Some(&self.list()))
    }

    /// The CA's own certificate.
    pub fn presented(&self) -> Result<Presented, TlsError> {
        Presented::read(&self.ca())
    }

    /// Makes a certificate and its key, and writes both into the folder `out`, never over another file.
    pub fn issue(&self, wish: &Wish, out: &Path, now: SystemTime) -> Result<Written, IssueError> {
        let key = KeyPair::generate().map_err(AuthorityError::from)?;
        let mut params = wish.params(&key)?;
        let ca = self.kept()?;
        let _lock = self.files.lock()?;
        let ca_ends = self.presented().map_err(AuthorityError::from)?;
        let ca_ends = ca_ends.certificate.ends;
        if ca_ends <= now {
            return Err(IssueError::Ended(self.files.path().to_owned()));
        }
        let ends = now
            .checked_add(wish.life)
            .map_or(ca_ends, |end| end.min(ca_ends));
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since_epoch(now) - SKEW;
        params.not_after = epoch + since_epoch(ends);
        let made = params.signed_by(&key, &ca);
        let pem = made.map_err(AuthorityError::from)?.pem();
        let at = |end: &str| out.join(format!("{}.{end}", wish.name.to_ascii_lowercase()));
        let (at_certificate, at_key) = (at("crt"), at("key"));
        make_folder(out).map_err(|error| IssueError::Unwritten {
            path: out.to_owned(),
            error,
        })?;
        create(&at_key, &key.serialize_pem(), 0o600)?;
        let written = create(&at_certificate, &pem, 0o644).and_then(|()| {
            let presented = Presented::read(&at_certificate).map_err(AuthorityError::from)?;
            self.record(&presented.serial, &pem)?;
            Ok(presented)
        });
        match written {
            Ok(presented) => Ok(Written {
                certificate: at_certificate,
                key: at_key,
                presented,
            }),
            Err(error) => {
                // a key whose certificate nobody could take back is not to be left lying about
                let _gone = fs::remove_file(&at_key);
                if !matches!(error, IssueError::Exists(_)) {
                    let _gone = fs::remove_file(&at_certificate);
                }
                Err(error)
            }
        }
    }

    /// All that was issued here, by the end of its time.
    pub fn issued(&self) -> Result<Vec<Issued>, IssueError> {
        self.kept()?;
        let revoked = self.revoked()?;
        let folder = self.files.at(RECORDS);
        let unreadable = |error| IssueError::from(self.files.io(RECORDS, error));
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(unreadable)?,
        };
        let mut issued = Vec::new();
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_none_or(|end| end != "crt") {
                continue;
            }
            let presented = Presented::read(&path).map_err(AuthorityError::from)?;
            let on_list = revoked
                .iter()
                .find(|entry| entry.serial == presented.serial);
            issued.push(Issued {
                revoked: on_list.map(|entry| entry.since),
                presented,
            });
        }
        issued.sort_by_key(|one| (one.presented.certificate.ends, one.presented.serial.clone()));
        Ok(issued)
    }

    /// Takes back what has this serial number, or all that bears this name. What was taken back before is not among the
    /// answer.
    pub fn revoke(&self, whom: &str, now: SystemTime) -> Result<Vec<Presented>, IssueError> {
        let ca = self.kept()?;
        let _lock = self.files.lock()?;
        let mut revoked = self.revoked()?;
        let named: Vec<_> = self
            .issued()?
            .into_iter()
            .filter(|one| one.presented.is_called(whom))
            .collect();
        if named.is_empty() {
            return Err(IssueError::Unknown(whom.to_owned()));
        }
        let fresh = named.into_iter().filter(|one| one.revoked.is_none());
        let fresh: Vec<_> = fresh.map(|one| one.presented).collect();
        if !fresh.is_empty() {
            revoked.extend(fresh.iter().map(|presented| Entry {
                serial: presented.serial.clone(),
                since: now,
            }));
            self.write_list(&ca, &revoked, now)?;
        }
        Ok(fresh)
    }

    fn kept(&self) -> Result<Ca, IssueError> {
        let none = || IssueError::NoAuthority(self.files.path().to_owned());
        self.files.kept()?.ok_or_else(none)
    }

    fn record(&self, serial: &Serial, pem: &str) -> Result<(), IssueError> {
        let folder = self.files.at(RECORDS);
        make_folder(&folder).map_err(|error| self.files.io(RECORDS, error))?;
        create(&folder.join(format!("{serial}.crt")), pem, 0o644)
    }

    /// What the list says.
    fn revoked(&self) -> Result<Vec<Entry>, IssueError> {
        let lost = || IssueError::Lost(self.list());
        let pem = self.files.read(LIST)?.ok_or_else(lost)?;
        let der = CertificateRevocationListDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_garbled| lost())?;
        let (_, parsed) = CertificateRevocationList::from_der(&der).map_err(|_garbled| lost())?;
        let entries = parsed.iter_revoked_certificates();
        entries
            .map(|entry| {
                Some(Entry {
                    serial: Serial::of(entry.raw_serial()),
                    since: tls::at_second(entry.revocation_date.timestamp())?,
                })
            })
            .collect::<Option<_>>()
            .ok_or_else(lost)
    }

    /// The list holds until the CA ends: it is written when somebody takes something back, and not by a clock.
    fn write_list(&self, ca: &Ca, revoked: &[Entry], now: SystemTime) -> Result<(), IssueError> {
        let ends = self.presented().map_err(AuthorityError::from)?;
        let time = |at: SystemTime| date_time_ymd(1970, 1, 1) + since_epoch(at);
        let entries = revoked.iter().map(|entry| RevokedCertParams {
            serial_number: SerialNumber::from_slice(entry.serial.bytes()),
            revocation_time: time(entry.since),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: time(now),
            next_update: time(ends.certificate.ends),
            // it only ever grows
            crl_number: SerialNumber::from(revoked.len() as u64 + 1),
            issuing_distribution_point: None,
            revoked_certs: entries.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = params.signed_by(ca).and_then(|list| list.pem());
        let pem = pem.map_err(AuthorityError::from)?;
        Ok(self.files.write(LIST, &pem, 0o644)?)
    }
}

/// A line of the revocation list.
struct Entry {
    serial: Serial,
    since: SystemTime,
}

impl Wish {
    fn params(&self, key: &KeyPair) -> Result<CertificateParams, IssueError> {
        let name = self.name.to_ascii_lowercase();
        if !is_dns_name(&name) {
            return Err(IssueError::BadName(self.name.clone()));
        }
        let cn = match &self.cn {
            Some(cn) if is_common_name(cn) => Some(cn.clone()),
            Some(cn) => return Err(IssueError::BadCommonName(cn.clone())),
            None => Some(name.clone()).filter(|name| is_common_name(name)),
        };
        let mut params = CertificateParams::new([name]).map_err(AuthorityError::from)?;
        for uri in &self.uris {
            let bad = || IssueError::BadUri(uri.clone());
            let known = uri.contains(':') && uri.bytes().all(|c| c.is_ascii_graphic());
            let text = uri.as_str().try_into().map_err(|_not_ascii| bad())?;
            params.subject_alt_names.push(SanType::URI(text));
            if !known {
                return Err(bad());
            }
        }
        params.distinguished_name = DistinguishedName::new();
        if let Some(cn) = cn {
            params.distinguished_name.push(DnType::CommonName, cn);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial_of(key));
        Ok(params)
    }
}

/// Eight bytes that are as random as the key, and short enough to be read out.
fn serial_of(key: &KeyPair) -> SerialNumber {
    let Fingerprint([first, rest @ ..]) = Fingerprint::of_bytes(&key.subject_public_key_info());
    // a number of eight bytes and above zero, however it is written
    let first = first & 0x3f | 0x40;
    let bytes: Vec<_> = [first].into_iter().chain(rest).take(8).collect();
    SerialNumber::from_slice(&bytes)
}

fn create(path: &Path, text: &str, mode: u32) -> Result<(), IssueError> {
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.create_new(true).write(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        let path = path.to_owned();
        if error.kind() == io::ErrorKind::AlreadyExists {
            IssueError::Exists(path)
        } else {
            IssueError::Unwritten { path, error }
        }
    })
}

/// Labels of letters, digits and inner hyphens or underscores.
fn is_dns_name(name: &str) -> bool {
    let is_edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 253
        && name.split('.').all(|label| {
            let mut bytes = label.bytes();
            let all = bytes
                .clone()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
            label.len() <= 63 && all && is_edge(bytes.next()) && is_edge(label.bytes().next_back())
        })
}

/// X.520 gives it 64 characters.
fn is_common_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=64).contains(&length) && !name.chars().any(char::is_control)
}

const LIST: &str = "ca.crl";
/// What was issued, by serial number.
const RECORDS: &str = "issued";

#[cfg(test)]
#[path = "client_authority_tests.rs"]
mod tests;
