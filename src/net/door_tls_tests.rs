//! Which certificate whom is shown, and what is never done.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::PrivateKeyDer;

use super::*;

/// A certificate for these names, without a common name.
fn identity(names: &[&str]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut certificate = CertificateParams::new(names).unwrap();
    certificate.distinguished_name = DistinguishedName::new();
    let certificate = certificate.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Identity::made(vec![certificate.der().clone()], key)
}

fn door(identities: &[&[&str]]) -> (DoorTls, Vec<Fingerprint>) {
    let mut identities: Vec<_> = identities.iter().map(|names| identity(names)).collect();
    let fingerprints = identities.iter().map(|one| one.fingerprint().unwrap());
    let fingerprints = fingerprints.collect();
    let first = identities.remove(0);
    let clients = ClientTrust::default();
    let door = DoorTls::new(first, identities, TlsVersion::V1_2, &clients).unwrap();
    (door, fingerprints)
}

#[test]
fn nothing_is_resumed_and_the_protocol_is_named() {
    let (door, _) = door(&[&["db.example.com"]]);
    for asks in [false, true] {
        let config = door.config(asks);
        assert_eq!(config.send_tls13_tickets, 0);
        assert!(!config.session_storage.can_cache());
        assert!(!config.ticketer.enabled());
        assert_eq!(config.alpn_protocols, [b"postgresql".to_vec()]);
    }
}

#[test]
fn a_client_is_shown_the_first_certificate_for_the_name_that_it_wants() {
    let (door, certificates) = door(&[
        &["one.example.com", "192.0.2.1"],
        &["Two.example.com", "*.example.org", "one.example.com"],
        &["db.example.org", "two.example.com"],
    ]);
    for (name, which) in [
        (None, 0),
        (Some("one.example.com"), 0),
        (Some("two.example.com"), 1),
        (Some("TWO.example.com"), 1),
        (Some("two.example.com."), 1),
        (Some("any.example.org"), 1),
        // the whole name is more than a star
        (Some("db.example.org"), 2),
        // a star is one label
        (Some("a.b.example.org"), 0),
        (Some("example.org"), 0),
        (Some("*.example.org"), 1),
        (Some("elsewhere.example"), 0),
        (Some("localhost"), 0),
        (Some(""), 0),
        (Some("."), 0),
    ] {
        assert_eq!(
            door.shown(name).fingerprint,
            certificates[which],
            "{name:?}"
        );
    }
}
