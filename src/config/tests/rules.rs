//! The keys of rules that say more than an address: hosts, networks, proofs, limits.

use super::*;
use crate::policy::{Ban, Ceiling, OriginLimits, Proof, Validity, Verdict};

const SETS: &str = "networks:\n  office: {addresses: [198.51.100.0/28]}\n  cloud: {addresses: [192.0.2.0/24], shared: true}\n  wide: {addresses: [10.0.0.0/7]}\n";

#[test]
fn an_origin_may_name_hosts_and_networks() {
    let loaded = good(&format!(
        "{DOOR}{SETS}{}",
        origin("from: [{network: office}, {host: ERP.partner.example., private: true}]")
    ));
    let origin = &loaded.rules.origins[0];
    let expected = [
        From::Set("office".into()),
        From::Host {
            name: "erp.partner.example".into(),
            inward: true,
        },
    ];
    assert_eq!(origin.from, expected);
    assert_eq!(loaded.rules.networks.len(), 3);
}

#[test]
fn every_condition_and_limit_of_an_origin_is_read() {
    let hash = "ab".repeat(32);
    let loaded = good(&format!(
        "{DOOR}{}",
        origin(&format!(
            "from: [any], proof: {{certificate: {{dns: '*.a.example', uri: 'spiffe://e.com/ns/', sha256: '{hash}', issuer: 'sha256:{hash}'}}}}, \
             tls: {{min: '1.3'}}, expect: {{rtt: 2500us}}, on_revoke: close, note: n, \
             limits: {{connections: 1, new_per_minute: 2, session: 8h, failed_auth_per_minute: 3}}"
        ))
    ));
    let origin = &loaded.rules.origins[0];
    let proof = Proof {
        dns: Some("*.a.example".to_owned()),
        uri: Some("spiffe://e.com/ns/".to_owned()),
        cn: None,
        sha256: Some([0xab; 32]),
        issuer: Some([0xab; 32]),
    };
    assert_eq!(origin.proof, Some(proof));
    let limits = OriginLimits {
        connections: Some(1),
        new_per_minute: Some(2),
        session: Some(Duration::from_secs(8 * 60 * 60)),
        failed_auth_per_minute: 3,
    };
    assert_eq!(origin.limits, limits);
    assert_eq!(origin.tls_min, Some(TlsVersion::V1_3));
    assert_eq!(origin.expected_rtt, Some(Duration::from_micros(2500)));
    assert_eq!(origin.on_revoke, Some(OnRevoke::Close));
    assert_eq!(origin.note.as_deref(), Some("n"));
}

#[test]
fn who_means_everybody_needs_a_proof_that_counts() {
    let proof = "proof: {certificate: {dns: a.example}}";
    good(&format!(
        "{DOOR}{}",
        origin(&format!("from: [any], {proof}"))
    ));
    refuses(
        &origin(&format!("from: [any], observe: true, {proof}")),
        "`any` is everybody on the internet: it needs a proof of identity / its proof is on trial (`observe`), so it counts as none",
    );
    let sets = |from: &str| format!("{SETS}{}", origin(from));
    good(&format!(
        "{DOOR}{}",
        sets(&format!("from: [{{network: cloud}}], {proof}"))
    ));
    refuses(
        &sets("from: [{network: cloud}]"),
        "network \"cloud\" is shared with strangers: it needs a proof of identity",
    );
    refuses(
        &sets("from: [{network: wide}]"),
        "`10.0.0.0/7` is too wide without a proof of identity / /8 is the widest",
    );
    refuses(
        &sets("from: [{network: ofice}]"),
        "there is no network \"ofice\" / did you mean `office`?",
    );
}

#[test]
fn the_word_of_dns_is_not_enough_for_a_superuser() {
    refuses(
        &origin("from: [{host: a.example}], users: [postgres]"),
        "`postgres` is protected: the word of DNS for a.example is not enough for it",
    );
    let proof = "proof: {certificate: {dns: a.example}}";
    let proved = origin(&format!(
        "from: [{{host: a.example}}], users: [postgres], {proof}"
    ));
    good(&format!("{DOOR}{proved}"));
}

#[test]
fn a_proof_that_cannot_be_read_is_refused_and_none_is_empty() {
    for (proof, expected) in [
        ("{}", "`proof` needs `certificate`"),
        (
            "{certificate: {}}",
            "a proof says what the certificate must be / any certificate of the CA would do",
        ),
        (
            "{certificate: {dns: 192.0.2.1}}",
            "`192.0.2.1` is not a DNS name / a certificate proves a name, not an address",
        ),
        (
            "{certificate: {dns: 'a.*.example'}}",
            "`a.*.example` is not a DNS name / `*.` stands for the first label alone",
        ),
        (
            "{certificate: {uri: 'spiffe:///ns'}}",
            "`spiffe:///ns` is not a URI / it names no domain",
        ),
        (
            "{certificate: {uri: 'example.com'}}",
            "`example.com` is not a URI / it has no scheme",
        ),
        ("{certificate: {sha256: abc}}", "`abc` is not a SHA-256"),
        ("{certificate: {dsn: a.example}}", "did you mean `dns`?"),
        ("{password: x}", "`proof` has no key `password`"),
    ] {
        refuses(
            &origin(&format!("from: [10.0.0.1], proof: {proof}")),
            expected,
        );
    }
}

#[test]
fn a_network_is_written_here_or_published_by_others() {
    let found = |network: &str, expected: &str| {
        refuses(&format!("networks:\n  a: {network}\norigins: []"), expected);
    };
    found(
        "{}",
        "a network says which addresses it has / neither `addresses` nor `file`",
    );
    found("{addresses: []}", "the list is empty");
    found("{addresses: [any]}", "`any` is no network");
    found("{addresses: [10.0.0.1/8]}", "it has host bits");
    found(
        "{addresses: [10.0.0.1], key: a}",
        "`key` belongs to a `file`",
    );
    found("{file: /x}", "a network needs `format`");
    found(
        "{file: /x, format: plian}",
        "`plian` is not a format that is known / did you mean `plain`?",
    );
    found(
        "{file: /x, format: github-meta}",
        "this format has several lists in its file: `key` names one",
    );
    found("{file: /nonexistent/x, format: plain}", "/nonexistent/x");
    refuses(
        "networks:\n  a: {addresses: [10.0.0.1]}\n  a: {addresses: [10.0.0.2]}\norigins: []",
        "there are two networks \"a\" / the first is on line 5",
    );
}

#[test]
fn a_deny_rule_names_certificates_and_networks_and_no_host() {
    let hash = "cd".repeat(32);
    let loaded = good(&format!(
        "{DOOR}{SETS}origins: []\ndeny:\n  - {{name: a, certificates: ['sha256:{hash}'], from: [{{network: cloud}}]}}\n"
    ));
    assert_eq!(loaded.rules.deny[0].certificates, [[0xcd; 32]]);
    assert_eq!(loaded.rules.deny[0].from, [From::Set("cloud".into())]);
    refuses(
        "deny:\n  - {name: a, from: [{host: a.example}]}",
        "a deny rule names no host / it would let everybody in while DNS does not answer",
    );
    refuses(
        "deny:\n  - {name: a, certificates: []}",
        "`certificates` is empty",
    );
    refuses(
        "deny:\n  - {name: a, certificates: [x]}",
        "`x` is not a SHA-256",
    );
}

#[test]
fn what_holds_for_everybody_is_read() {
    let loaded = good(&format!(
        "{DOOR}observe: {{until: 2026-12-01T00:00:00Z, from: ['fd00::/8', 192.0.2.0/24]}}\n\
         strangers: {{ban: {{after: 3, within: 2m, for: 1h}}}}\n\
         temporary: {{max: 168h, users: [a], databases: [any]}}\norigins:\n"
    ));
    let rules = loaded.rules;
    let observe = rules.observe.unwrap();
    assert_eq!(
        observe.from,
        ["fd00::/8", "192.0.2.0/24"].map(|text| text.parse().unwrap())
    );
    assert_eq!(
        observe.until,
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_083_200)
    );
    let ban = Ban {
        after: 3,
        within: Duration::from_secs(120),
        length: Duration::from_secs(3600),
    };
    assert_eq!(rules.strangers.ban, ban);
    let ceiling = Ceiling {
        max: Duration::from_secs(168 * 3600),
        users: Names::Listed(vec!["a".to_owned()]),
        databases: Names::Any,
    };
    assert_eq!(rules.temporary, ceiling);
    let default = good(&format!(
        "{DOOR}observe: {{until: 2026-12-01T00:00:00Z}}\norigins:\n"
    ));
    let observe = default.rules.observe.unwrap();
    for (address, observed) in [
        ("10.1.2.3", true),
        ("192.168.0.1", true),
        ("127.0.0.1", true),
        ("fd12::1", true),
        ("::1", true),
        ("192.0.2.1", false),
        ("2001:db8::1", false),
    ] {
        assert_eq!(
            observe.covers(address.parse().unwrap()),
            observed,
            "{address}"
        );
    }
    assert_eq!(default.rules.strangers.ban, Ban::default());
    assert_eq!(default.rules.temporary, Ceiling::default());
}

#[test]
fn a_test_is_a_claim_and_what_is_expected_of_it() {
    let hash = "cd".repeat(32);
    let loaded = good(&format!(
        "{DOOR}tests:\n  - {{from: 10.0.0.1, user: a, expect: allow}}\n  \
         - {{at: 1970-01-01T00:00:09Z, from: '::1', user: b, database: c, listener: pg, certificate: {{dns: A.example, uri: [x, y], cn: n, sha256: '{hash}', issuer: '{hash}'}}, expect: deny, origin: o, reason: expired}}\n  \
         - {{from: 10.0.0.1, user: r, tls: 1.2, replication: true, expect: allow}}\norigins:\n"
    ));
    let [plain, full, replica] = loaded.rules.tests.as_slice() else {
        panic!("three tests");
    };
    assert_eq!((plain.line, plain.at), (5, None));
    assert_eq!(
        plain.claim.database.as_deref(),
        Some("a"),
        "as PostgreSQL does"
    );
    assert_eq!(plain.claim.tls, None);
    assert_eq!(plain.expected.verdict, Verdict::Allow);
    assert_eq!(
        (&plain.expected.origin, &plain.expected.reason),
        (&None, &None)
    );
    assert_eq!(
        full.at,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9))
    );
    assert_eq!(full.claim.database.as_deref(), Some("c"));
    assert_eq!(
        full.claim.tls,
        Some(TlsVersion::V1_3),
        "a certificate comes with TLS"
    );
    let certificate = full.claim.certificate.as_ref().unwrap();
    assert_eq!(certificate.dns, ["a.example"]);
    assert_eq!(certificate.uri, ["x", "y"]);
    assert_eq!(certificate.sha256, [0xcd; 32]);
    assert_eq!(certificate.issuers, [[0xcd; 32]]);
    assert_eq!(certificate.validity_at(SystemTime::now()), Validity::Valid);
    assert_eq!(full.expected.origin.as_deref(), Some("o"));
    assert_eq!(full.expected.reason.as_deref(), Some("expired"));
    assert_eq!(replica.claim.replication, Some(Replication::Physical));
    assert_eq!(
        (replica.claim.database.as_deref(), replica.claim.tls),
        (None, Some(TlsVersion::V1_2))
    );
}

#[test]
fn a_balancer_is_nobodys_client() {
    let door = DOOR.replace("upstream:", "proxy_protocol: {from: [10.0.0.5]}, upstream:");
    let sets = "networks:\n  lan: {addresses: [10.0.0.0/24]}\n";
    let told = |from: &str| {
        let file = format!("{door}{sets}{}", origin(&format!("from: [{from}]")));
        problems(&file)
    };
    for from in ["10.0.0.5", "10.0.0.0/8", "{network: lan}"] {
        let told = told(from);
        assert!(
            told[0].contains("10.0.0.5 is a balancer of listener \"pg\""),
            "{from}: {told:?}"
        );
    }
    assert!(told("10.0.0.4").is_empty());
}
