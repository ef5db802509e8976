//! The gateway's own small authority: a CA and a certificate made at the first start and kept. Floor 1.
//!
//! Clients trust the CA's certificate, so the CA is never replaced by itself; the server's certificate below it is
//! renewed when its names change or its end is near.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::extensions::GeneralName;

pub use super::authority::{AuthorityError, make_folder, write_atomically};
use super::{
    authority::{CERTIFICATE, Ca, CaFolder, DAY, KEY, SKEW, since_epoch},
    tls::{self, Identity},
};

/// The CA that vouches for this gateway, and its certificate for listeners.
#[derive(Clone, Debug)]
pub struct Authority {
    files: CaFolder,
}

impl Authority {
    /// Of the state directory.
    pub const FOLDER: &str = "tls";
    /// What is kept in the folder.
    pub const FILES: [&str; 4] = [CERTIFICATE, KEY, SERVER_CERTIFICATE, SERVER_KEY];

    /// The authority in its folder of the state directory; nothing is made yet.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            files: CaFolder::new(state_dir.join(Self::FOLDER)),
        }
    }

    /// The certificate that clients must be given, as `sslrootcert` or under another name.
    pub fn ca(&self) -> PathBuf {
        self.files.at(CERTIFICATE)
    }

    /// The server's certificate for exactly these names and addresses: the kept one, or a new one if there is none, it is
    /// for other names, or it ends within 30 days of `now`.
    pub fn identity(
        &self,
        names: &BTreeSet<String>,
        now: SystemTime,
    ) -> Result<Identity, AuthorityError> {
        // two gateways that start at once on one state directory would mix their files
        let _lock = self.files.lock()?;
        let (certificate, key) = (self.files.at(SERVER_CERTIFICATE), self.files.at(SERVER_KEY));
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

    fn issue(&self, names: &BTreeSet<String>, now: SystemTime) -> Result<(), AuthorityError> {
        let ca = self.issuer(now)?;
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
        let certificate = params.signed_by(&key, &ca)?;
        // the key first: a crash in between leaves a pair that does not fit, and that is made anew
        self.files.write(SERVER_KEY, &key.serialize_pem(), 0o600)?;
        self.files
            .write(SERVER_CERTIFICATE, &certificate.pem(), 0o644)
    }

    /// The kept CA, or a new one if there is none at all.
    fn issuer(&self, now: SystemTime) -> Result<Ca, AuthorityError> {
        if let Some(kept) = self.files.kept()? {
            return Ok(kept);
        }
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        self.files.found("Doorward private CA", purpose, now)
    }
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

const SERVER_CERTIFICATE: &str = "server.crt";
const SERVER_KEY: &str = "server.key";
/// Under the 398 days that some clients put up with.
const SERVER_LIFE: Duration = DAY.saturating_mul(365);
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

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
        first.certified().unwrap();
        let kept = |name: &str| fs::read_to_string(authority.files.at(name)).unwrap();
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
        assert_eq!(mode(&authority.files.at("ca.key")), 0o600);
        assert_eq!(mode(&authority.files.at("server.key")), 0o600);
        assert_eq!(mode(&authority.ca()), 0o644);
        assert_eq!(mode(authority.files.path()), 0o711);
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
        let certificate = fs::read_to_string(authority.files.at("server.crt")).unwrap();
        ends(&names(&["localhost", "db.example.com"]), now);
        assert_ne!(
            certificate,
            fs::read_to_string(authority.files.at("server.crt")).unwrap()
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
        fs::write(authority.files.at("ca.key"), "no key").unwrap();
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
            fs::write(authority.files.at("server.key"), broken).unwrap();
            let identity = authority.identity(&names(&["localhost"]), now).unwrap();
            assert!(identity.fits());
        }
    }
}
