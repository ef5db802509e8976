//! What `doorward check` finds out about certificates and revocation lists in files. Floor 5.

use std::{
    collections::HashMap,
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use super::said::Said;
use crate::{
    config::{Settings, TlsFiles},
    net::{
        ClientTrust, Fingerprint,
        certificate::Authority,
        tls::{self, Identity, TlsError},
    },
    server::status::rfc3339,
};

/// Looks at what clients are shown, and at who vouches for them.
pub(super) fn files(settings: &Settings, now: SystemTime) -> Vec<Said> {
    let tls = &settings.tls;
    let pairs: Vec<_> = tls.files.iter().chain(&tls.further).collect();
    let mut said: Vec<_> = pairs.iter().filter_map(|files| pair(files, now)).collect();
    said.extend(never_seen(settings));
    said.extend(client_authorities(settings, now));
    said
}

/// The certificate that clients see who want no name of another, where it is one of the operator's.
pub(super) fn own_certificate(settings: &Settings) -> Option<Fingerprint> {
    let files = settings.tls.files.as_ref()?;
    let identity = Identity::read(&files.certificate, &files.key).ok()?;
    identity.fingerprint()
}

/// That a certificate ends soon.
pub(super) fn ending(
    code: &'static str,
    whose: &str,
    ends: SystemTime,
    now: SystemTime,
) -> Option<Said> {
    let ends_at = rfc3339(ends);
    let message = if ends <= now {
        format!("{whose} has ended at {ends_at}")
    } else {
        format!("{whose} ends at {ends_at}")
    };
    (ends < now + CERTIFICATE_SOON).then(|| Said::warning(code, message))
}

fn pair(files: &TlsFiles, now: SystemTime) -> Option<Said> {
    let TlsFiles { certificate, key } = files;
    let (certificate_at, key_at) = (certificate.display(), key.display());
    let identity = match Identity::read(certificate, key) {
        Ok(identity) => identity,
        // the daemon's user may read what this one may not
        Err(TlsError::Unreadable { path, error })
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            let error = TlsError::Unreadable { path, error };
            return Some(Said::warning("W-UNREADABLE", error.to_string()));
        }
        Err(error) => return Some(Said::error(error.to_string())),
    };
    if !identity.fits() {
        let message = format!("the key {key_at} does not fit the certificate {certificate_at}");
        return Some(Said::error(message));
    }
    let ends = identity.ends().ok()?;
    let whose = format!("the certificate {certificate_at}");
    let said = ending("W-CERTIFICATE-ENDS", &whose, ends, now)?;
    Some(said.hint("clients that look at it refuse it afterwards; a new one is taken in by itself"))
}

/// Further certificates that no client gets to see, or not by all of their names.
fn never_seen(settings: &Settings) -> Vec<Said> {
    let tls = &settings.tls;
    let own = Authority::new(&settings.state_dir).ca();
    let own = own.with_file_name("server.crt");
    let first = tls.files.as_ref().map_or(&own, |files| &files.certificate);
    let mut holders: HashMap<String, &Path> = HashMap::new();
    for name in names(first).unwrap_or_default() {
        holders.insert(name, first);
    }
    let mut said = Vec::new();
    for TlsFiles { certificate, .. } in &tls.further {
        let Some(names) = names(certificate) else {
            continue;
        };
        let at = certificate.display();
        if names.is_empty() {
            let message = format!("the certificate {at} is never shown: it is for no DNS name");
            said.push(Said::warning("W-CERTIFICATE-UNSEEN", message));
        }
        for name in names {
            match holders.get(&name) {
                Some(holder) => {
                    let first = holder.display();
                    let message = format!(
                        "{first} and {at} are both for {name}: clients that want it see the first"
                    );
                    said.push(Said::warning("W-CERTIFICATE-UNSEEN", message));
                }
                None => drop(holders.insert(name, certificate)),
            }
        }
    }
    said
}

/// The DNS names of a certificate; `None` where it cannot be read, which is told elsewhere.
fn names(certificate: &Path) -> Option<Vec<String>> {
    let chain = tls::certificates(certificate).ok()?;
    chain.first().map(tls::dns_names)
}

/// Whom we are to believe of clients.
fn client_authorities(settings: &Settings, now: SystemTime) -> Option<Said> {
    let ca = settings.tls.client_ca.as_deref()?;
    match ClientTrust::read(ca, settings.tls.crl.as_deref()) {
        Ok(trust) => {
            let ends = trust.lists_end()?;
            let message = format!(
                "a revocation list of tls.crl ends at {}: from then on no certificate of its CA is believed",
                rfc3339(ends)
            );
            (ends < now + LIST_SOON).then(|| Said::warning("W-CRL-ENDS", message))
        }
        // the daemon's user may read what this one may not
        Err(TlsError::Unreadable { path, error })
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            let error = TlsError::Unreadable { path, error };
            Some(Said::warning("W-UNREADABLE", error.to_string()))
        }
        Err(error) => Some(Said::error(error.to_string())),
    }
}

/// How long before its end a revocation list is warned of.
const LIST_SOON: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// The same of a certificate: whoever renews them by a timer does so earlier.
const CERTIFICATE_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    use super::*;
    use crate::config::{Overrides, load};

    /// Writes a certificate for these names, and its key.
    fn issue(folder: &Path, file: &str, names: &[&str]) -> PathBuf {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let (certificate, key) = (folder.join(file), folder.join(format!("{file}.key")));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        certificate
    }

    fn settings(folder: &Path, files: &[&str]) -> Settings {
        let here = folder.display();
        let keys = |file: &&str| format!("{{certificate: {here}/{file}, key: {here}/{file}.key}}");
        let keys: Vec<_> = files.iter().map(keys).collect();
        let text = format!(
            "version: 1\nlisteners:\n  - {{name: pg, protocol: postgres, listen: '127.0.0.1:0', upstream: '127.0.0.1:1'}}\ntls: {{certificates: [{}]}}\nstate_dir: {here}\n",
            keys.join(", ")
        );
        let file = folder.join("allowlist.yaml");
        fs::write(&file, text).unwrap();
        load(&file, &Overrides::default()).unwrap().settings
    }

    #[test]
    fn a_name_of_two_certificates_and_one_without_names_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        issue(here, "a", &["one.example", "two.example"]);
        issue(here, "b", &["three.example", "TWO.example"]);
        issue(here, "c", &["192.0.2.1"]);
        let now = SystemTime::now();
        assert_eq!(files(&settings(here, &["a"]), now), []);
        let said = files(&settings(here, &["a", "b", "c"]), now);
        let words: Vec<_> = said.iter().map(Said::words).collect();
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(words[0].contains("are both for two.example"), "{words:?}");
        assert!(words[1].contains("/c is never shown"), "{words:?}");
    }

    #[test]
    fn the_name_of_a_certificate_of_our_own_is_taken_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tls")).unwrap();
        issue(folder.path(), "tls/server.crt", &["one.example"]);
        issue(folder.path(), "a", &["one.example"]);
        let said = files(&settings(folder.path(), &["a"]), SystemTime::now());
        assert_eq!(said.len(), 1, "{said:?}");
    }

    #[test]
    fn a_key_of_another_certificate_and_a_near_end_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        issue(here, "a", &["one.example"]);
        issue(here, "b", &["two.example"]);
        // rcgen's certificates end in 4096
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(67_090_000_000);
        let said = files(&settings(here, &["a"]), far);
        assert_eq!(said[0].code, Some("W-CERTIFICATE-ENDS"), "{said:?}");
        fs::copy(here.join("b.key"), here.join("a.key")).unwrap();
        let said = files(&settings(here, &["a"]), SystemTime::now());
        assert!(said[0].message.contains("does not fit"), "{said:?}");
    }

    #[test]
    fn a_missing_ca_of_clients_is_an_error_as_a_missing_certificate_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path(), &[]);
        settings.tls.client_ca = Some(folder.path().join("none.crt"));
        let said = files(&settings, SystemTime::now());
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0].severity, crate::config::Severity::Error);
    }

    #[test]
    fn an_end_is_told_two_weeks_before_and_ever_after() {
        let now = SystemTime::UNIX_EPOCH + 100 * CERTIFICATE_SOON;
        let told = |ends| ending("W-X", "it", ends, now).map(|said| said.message);
        assert_eq!(told(now + CERTIFICATE_SOON), None);
        let soon = told(now + CERTIFICATE_SOON - Duration::from_secs(1));
        assert!(soon.unwrap().starts_with("it ends at"));
        assert!(told(now).unwrap().starts_with("it has ended"));
    }
}
