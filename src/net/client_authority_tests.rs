//! What the clients' CA promises.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::{
    net::{Fault, authority::DAY, tls::Identity},
    policy::Validity,
};

/// A CA, and a folder for what it hands out.
struct Office {
    folder: TempDir,
    ca: ClientAuthority,
}

fn office() -> Office {
    let folder = tempfile::tempdir().unwrap();
    let ca = ClientAuthority::new(folder.path().join("clients"));
    assert!(ca.found(now()).unwrap());
    Office { folder, ca }
}

/// A full second, as certificates count.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn wish(name: &str) -> Wish {
    Wish {
        name: name.to_owned(),
        uris: Vec::new(),
        cn: None,
        life: 365 * DAY,
    }
}

impl Office {
    fn issue(&self, wish: &Wish) -> Result<Written, IssueError> {
        self.ca.issue(wish, self.folder.path(), now())
    }

    fn fault(&self, presented: &Presented, at: SystemTime) -> Option<Fault> {
        self.ca.trust().unwrap().fault(&presented.chain, at)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_issued_is_believed_until_it_ends() {
    let office = office();
    let written = office.issue(&wish("Shop.example.com")).unwrap();
    let certificate = &written.presented.certificate;
    assert_eq!(certificate.dns, ["shop.example.com"]);
    assert_eq!(certificate.cn.as_deref(), Some("shop.example.com"));
    assert_eq!(certificate.ends, now() + 365 * DAY);
    assert_eq!(office.fault(&written.presented, now()), None);
    let late = office.fault(&written.presented, now() + 366 * DAY);
    assert_eq!(late, Some(Fault::Ended));
    let trust = office.ca.trust().unwrap();
    let seen = trust.certificate(&written.presented.chain, now()).unwrap();
    assert_eq!(seen.validity, Validity::Valid);
    assert_eq!(seen.issuers, [office.ca.presented().unwrap().key]);
    let identity = Identity::read(&written.certificate, &written.key).unwrap();
    assert!(identity.fits(), "the key is the certificate's");
}

#[test]
fn a_wish_may_name_uris_and_another_common_name() {
    let office = office();
    let uri = "spiffe://example.com/ns/reports".to_owned();
    let written = office.issue(&Wish {
        uris: vec![uri.clone()],
        cn: Some("report user".to_owned()),
        ..wish("reports")
    });
    let certificate = written.unwrap().presented.certificate;
    assert_eq!(certificate.dns, ["reports"]);
    assert_eq!(certificate.uri, [uri]);
    assert_eq!(certificate.cn.as_deref(), Some("report user"));
}

#[test]
fn keys_are_for_one_user_alone() {
    let office = office();
    let written = office.issue(&wish("a")).unwrap();
    assert_eq!(mode(&written.key), 0o600);
    assert_eq!(mode(&office.ca.files.at("ca.key")), 0o600);
    assert_eq!(mode(&office.ca.ca()), 0o644);
    assert_eq!(mode(&office.ca.list()), 0o644);
}

#[test]
fn nothing_is_overwritten() {
    let office = office();
    let first = office.issue(&wish("a")).unwrap();
    let kept = || [&first.certificate, &first.key].map(|path| fs::read(path).unwrap());
    let before = kept();
    let error = office.issue(&wish("A")).unwrap_err();
    assert!(matches!(error, IssueError::Exists(_)), "{error}");
    fs::remove_file(&first.key).unwrap();
    let error = office.issue(&wish("a")).unwrap_err();
    assert!(matches!(error, IssueError::Exists(_)), "{error}");
    assert!(
        !first.key.exists(),
        "no key is left without its certificate"
    );
    fs::write(&first.key, &before[1]).unwrap();
    assert_eq!(before, kept());
    assert_eq!(office.ca.issued().unwrap().len(), 1);
    let ca = fs::read(office.ca.ca()).unwrap();
    assert!(!office.ca.found(now()).unwrap(), "there is a CA");
    assert_eq!(ca, fs::read(office.ca.ca()).unwrap());
}

#[test]
fn what_is_revoked_is_not_believed_any_more_and_the_rest_is() {
    let office = office();
    let [a, b] = ["a", "b"].map(|name| office.issue(&wish(name)).unwrap().presented);
    let revoked = office.ca.revoke("A", now() + DAY).unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(office.fault(&a, now() + DAY), Some(Fault::Revoked));
    assert_eq!(office.fault(&b, now() + DAY), None);
    let again = office.ca.revoke("a", now() + 2 * DAY).unwrap();
    assert!(again.is_empty(), "it is revoked");
    office
        .ca
        .revoke(&b.serial.to_string().to_uppercase(), now() + 3 * DAY)
        .unwrap();
    assert_eq!(office.fault(&a, now() + 3 * DAY), Some(Fault::Revoked));
    assert_eq!(office.fault(&b, now() + 3 * DAY), Some(Fault::Revoked));
    let issued = office.ca.issued().unwrap();
    let mut since: Vec<_> = issued.iter().map(|one| one.revoked.unwrap()).collect();
    since.sort();
    assert_eq!(since, [now() + DAY, now() + 3 * DAY]);
}

#[test]
fn a_name_takes_back_all_that_bears_it_and_a_serial_number_one() {
    let office = office();
    let elsewhere = tempfile::tempdir().unwrap();
    let old = office.issue(&wish("laptop")).unwrap().presented;
    let new = office.ca.issue(&wish("laptop"), elsewhere.path(), now());
    let new = new.unwrap().presented;
    office.ca.revoke(&old.serial.to_string(), now()).unwrap();
    assert_eq!(office.fault(&new, now()), None);
    let revoked = office.ca.revoke("laptop", now()).unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(office.fault(&new, now()), Some(Fault::Revoked));
    let error = office.ca.revoke("desktop", now()).unwrap_err();
    assert!(matches!(error, IssueError::Unknown(_)), "{error}");
}

#[test]
fn a_lost_list_is_not_made_anew_for_it_would_forget_what_was_revoked() {
    let office = office();
    office.issue(&wish("a")).unwrap();
    for lost in ["", "no list"] {
        fs::write(office.ca.list(), lost).unwrap();
        for error in [
            office.ca.found(now()).unwrap_err(),
            office.ca.issued().unwrap_err(),
            office.ca.revoke("a", now()).unwrap_err(),
        ] {
            assert!(matches!(error, IssueError::Lost(_)), "{error}");
        }
    }
}

#[test]
fn nothing_is_issued_without_a_ca_nor_beyond_its_end() {
    let office = office();
    let ca_ends = office.ca.presented().unwrap().certificate.ends;
    let long = Wish {
        life: 36500 * DAY,
        ..wish("a")
    };
    let written = office.issue(&long).unwrap();
    assert_eq!(written.presented.certificate.ends, ca_ends);
    let late = office.ca.issue(&wish("b"), office.folder.path(), ca_ends);
    assert!(matches!(late.unwrap_err(), IssueError::Ended(_)));
    let none = ClientAuthority::new(office.folder.path().join("none"));
    let error = none
        .issue(&wish("b"), office.folder.path(), now())
        .unwrap_err();
    assert!(matches!(error, IssueError::NoAuthority(_)), "{error}");
    assert!(!none.files.path().exists(), "and nothing is made");
}

#[test]
fn a_name_that_is_none_makes_no_certificate() {
    let office = office();
    for name in [
        "",
        "*.example.com",
        "../a",
        "a b",
        "-a",
        "a..b",
        "ä",
        &"a".repeat(64),
    ] {
        let error = office.issue(&wish(name)).unwrap_err();
        assert!(matches!(error, IssueError::BadName(_)), "{name}: {error}");
    }
    for uri in ["", "no scheme", "spiffe://exämple", "a"] {
        let uris = vec![uri.to_owned()];
        let error = office.issue(&Wish { uris, ..wish("a") }).unwrap_err();
        assert!(matches!(error, IssueError::BadUri(_)), "{uri}: {error}");
    }
    for cn in ["", "a\nb", &"a".repeat(65)] {
        let cn = Some(cn.to_owned());
        let error = office.issue(&Wish { cn, ..wish("a") }).unwrap_err();
        assert!(matches!(error, IssueError::BadCommonName(_)), "{error}");
    }
    assert!(office.ca.issued().unwrap().is_empty());
}

#[test]
fn a_long_name_is_a_dns_name_and_no_common_name() {
    let office = office();
    let name = ["a".repeat(60), "b".repeat(60)].join(".");
    let certificate = office.issue(&wish(&name)).unwrap().presented.certificate;
    assert_eq!((certificate.dns, certificate.cn), (vec![name], None));
}
