//! What a MySQL listener may say, and what each protocol is refused of the other's.

use std::path::PathBuf;

use super::*;
use crate::config::{
    Compression, Listener, Negotiation, ProtectUpstream, Protocol, TlsFiles, UpstreamProxyProtocol,
    UpstreamTls,
};

const POSTGRES: &str =
    "  - {name: pg, protocol: postgres, listen: '127.0.0.1:6432', upstream: '127.0.0.1:5432'}\n";

fn door(keys: &str) -> String {
    format!(
        "version: 1\nlisteners:\n  - {{name: my, protocol: mysql, listen: '127.0.0.1:6306', {keys}}}\n"
    )
}

fn local() -> String {
    door("upstream: /run/mysqld")
}

fn listener(keys: &str) -> Listener {
    let loaded = good(&format!(
        "{}origins:\n  - {{name: a, from: [10.0.0.1]}}\n",
        door(keys)
    ));
    (*loaded.settings.listeners[0]).clone()
}

/// Holds a whole file against the one problem it must have.
fn refused(text: &str, expected: &str) {
    let found = problems(text);
    assert!(
        found.iter().any(|problem| problem.contains(expected)),
        "{text}\nexpected: {expected}\nfound: {found:#?}"
    );
    assert!(read(text).is_err(), "{text} was let through");
}

#[test]
fn a_mysql_listener_needs_no_more_than_a_postgresql_one() {
    let listener = listener("upstream: /run/mysqld");
    assert_eq!(listener.protocol, Protocol::Mysql);
    assert_eq!(listener.upstream_tls, UpstreamTls::Off);
    assert_eq!(listener.protect_upstream, ProtectUpstream::Greeting);
    assert_eq!(listener.upstream_proxy_protocol, UpstreamProxyProtocol::Off);
    assert_eq!(listener.compression, Compression::Masked);
}

#[test]
fn every_key_of_a_mysql_listener_is_read() {
    let listener = listener(
        "upstream: 'db.example.com:3306', upstream_tls: {mode: verify-full, ca: /ca.pem}, protect_upstream: strict, upstream_proxy_protocol: v2, compression: masked",
    );
    assert_eq!(
        listener.upstream_tls,
        UpstreamTls::VerifyFull {
            name: "db.example.com".to_owned(),
            ca: PathBuf::from("/ca.pem"),
            identity: None,
            negotiation: Negotiation::Request,
        },
        "the host is the name where none is given"
    );
    assert_eq!(listener.protect_upstream, ProtectUpstream::Strict);
    assert_eq!(listener.upstream_proxy_protocol, UpstreamProxyProtocol::V2);
}

#[test]
fn a_pin_is_read_as_tools_print_it() {
    let digits = "ab".repeat(32);
    let colons = ["AB"; 32].join(":");
    for pin in [
        digits.clone(),
        format!("sha256:{digits}"),
        colons.clone(),
        format!("sha256:{colons}"),
    ] {
        let keys = format!(
            "upstream: '127.0.0.1:3306', upstream_tls: {{mode: pin, pin: '{pin}', certificate: /a, key: /b}}"
        );
        let pinned = UpstreamTls::Pin {
            sha256: [0xab; 32],
            identity: Some(TlsFiles {
                certificate: PathBuf::from("/a"),
                key: PathBuf::from("/b"),
            }),
            negotiation: Negotiation::Request,
        };
        assert_eq!(listener(&keys).upstream_tls, pinned, "{pin}");
    }
}

#[test]
fn tls_to_the_server_that_cannot_work_is_refused() {
    let there = "upstream: 'db.example.com:3306'";
    let here = "upstream: /run/mysqld/mysqld.sock";
    for (upstream, tls, expected) in [
        (there, "{}", "`upstream_tls` needs `mode`"),
        (there, "{mode: verify}", "`verify` is not a mode"),
        (there, "{mode: verify-full}", "`upstream_tls` needs `ca`"),
        (there, "{mode: pin}", "`upstream_tls` needs `pin`"),
        (
            there,
            "{mode: pin, pin: abc}",
            "`abc` is not a SHA-256 / 3 digits / 64 hexadecimal digits",
        ),
        (there, "{mode: pin, pin: xyz}", "`xyz` is not a SHA-256"),
        (
            there,
            "{mode: off, ca: /ca.pem}",
            "`ca` says nothing where the mode is `off`",
        ),
        (
            there,
            "{mode: pin, name: db, pin: abc}",
            "`name` says nothing where the mode is `pin`",
        ),
        (
            there,
            "{mode: verify-full, ca: /ca.pem, pin: abc}",
            "`pin` says nothing where the mode is `verify-full`",
        ),
        (
            there,
            "{mode: verify-full, ca: ca.pem}",
            "`ca.pem` is not an absolute path",
        ),
        (
            there,
            "{mode: verify-full, ca: /ca.pem, name: '*.example.com'}",
            "`*.example.com` is neither a host name nor an address",
        ),
        (
            there,
            "{mode: verify-full, ca: /ca.pem, key: /key.pem}",
            "a certificate and its key go together",
        ),
        (
            there,
            "{mode: pin, pin: abc, negotiation: request}",
            "`negotiation` is for postgres only",
        ),
        (
            here,
            "{mode: verify-full, ca: /ca.pem}",
            "there is no TLS over a unix socket",
        ),
    ] {
        refused(&door(&format!("{upstream}, upstream_tls: {tls}")), expected);
    }
    refused(&door(there), "nothing is said of TLS to it");
}

#[test]
fn no_protocol_is_given_a_key_of_the_other() {
    for key in ["allow_plain_cancel", "cancel_on_disconnect", "identify"] {
        refused(
            &door(&format!("upstream: /run/mysqld, {key}: true")),
            &format!("`{key}` is for postgres only"),
        );
    }
    for key in [
        "protect_upstream: strict",
        "upstream_proxy_protocol: v2",
        "compression: masked",
    ] {
        let text = format!(
            "version: 1\nlisteners:\n{}",
            POSTGRES.replace('}', &format!(", {key}}}"))
        );
        refused(&text, "is for mysql only");
    }
    for key in [
        "protect_upstream: yes",
        "upstream_proxy_protocol: yes",
        "compression: zstd",
    ] {
        refused(&door(&format!("upstream: /s, {key}")), "it is one of");
    }
}

#[test]
fn an_origin_has_the_rights_of_its_protocol() {
    let text = format!(
        "{}{}",
        local(),
        origin("from: [10.0.0.1], users: [replica], replication: true, local_infile: true")
    );
    let rule = &good(&text).rules.origins[0];
    assert_eq!(rule.replication, Some(Replication::Commands));
    assert!(rule.local_infile);

    refused(
        &format!(
            "{}{}",
            local(),
            origin("from: [10.0.0.1], replication: physical")
        ),
        "listener \"my\" speaks MySQL / the right to MySQL's replication commands is `replication: true`",
    );
    refuses(
        &origin("from: [10.0.0.1], local_infile: true"),
        "`local_infile` is for MySQL / listener \"pg\" speaks PostgreSQL",
    );
    let both = format!("{}{POSTGRES}", local());
    let on = |keys: &str| format!("{both}{}", origin(&format!("from: [10.0.0.1], {keys}")));
    refused(
        &on("listeners: [my, pg], replication: true"),
        "listener \"pg\" speaks PostgreSQL / PostgreSQL knows physical and logical",
    );
    good(&on("listeners: [my, pg], local_infile: true"));
    good(&on("listeners: [my], replication: true"));
}

#[test]
fn a_name_is_as_long_as_the_server_allows() {
    let named = |listeners: &str, key: &str, characters: usize| {
        let (both, name) = (format!("{}{POSTGRES}", local()), "é".repeat(characters));
        let keys = format!("from: [10.0.0.1], listeners: [{listeners}], {key}: [{name}]");
        format!("{both}{}", origin(&keys))
    };
    for (listeners, key, most, limit) in [
        (
            "my",
            "databases",
            64,
            "65 characters; the server's limit is 64",
        ),
        (
            "my",
            "users",
            128,
            "129 characters; the server's limit is 128",
        ),
        ("pg", "users", 31, "64 bytes; the server's limit is 63"),
        ("pg, my", "users", 31, "64 bytes; the server's limit is 63"),
    ] {
        good(&named(listeners, key, most));
        refused(&named(listeners, key, most + 1), limit);
    }
    let codes = |characters| {
        let warnings = good(&named("my", "users", characters)).warnings;
        warnings.iter().map(|w| w.code).collect::<Vec<_>>()
    };
    assert_eq!((codes(32), codes(33)), (vec![], vec![Some("W-LONG-USER")]));
}

#[test]
fn a_deny_rule_may_name_whomever_one_of_the_servers_can_have() {
    let deny = |characters: usize| {
        let (rule, name) = (origin("from: [10.0.0.1]"), "u".repeat(characters));
        format!("{rule}\ndeny:\n  - {{name: d, users: [{name}]}}\n")
    };
    good(&format!("{}{}", local(), deny(128)));
    refused(&format!("{}{}", local(), deny(129)), "limit is 128");
    refuses(&deny(64), "the server's limit is 63");
}

#[test]
fn who_is_passed_on_unread_is_held_to_nothing() {
    let unread = door("upstream: /run/mysqld, compression: passthrough");
    for (keys, asks) in [
        ("users: [a], replication: true", "users"),
        ("databases: [a], replication: true", "databases"),
        (
            "users: [a], exclusive: true, replication: true",
            "users, exclusive",
        ),
        ("users: [any]", "no replication"),
    ] {
        refused(
            &format!("{unread}{}", origin(&format!("from: [10.0.0.1], {keys}"))),
            &format!("this origin could not be held to / {asks} / `compression: masked`"),
        );
    }
    let loaded = good(&format!(
        "{unread}{}",
        origin("from: [10.0.0.1], replication: true")
    ));
    let codes: Vec<_> = loaded.warnings.iter().map(|w| w.code).collect();
    assert_eq!(codes, [Some("W-UNREAD")]);
    // an origin of another listener is held to what it says
    good(&format!(
        "{unread}{POSTGRES}{}",
        origin("from: [10.0.0.1], listeners: [pg], users: [a]")
    ));
}

#[test]
fn a_run_without_a_file_speaks_mysql_too() {
    let run = FlagListener {
        protocol: "mysql".to_owned(),
        upstream: "127.0.0.1:3306".to_owned(),
        listen: vec!["127.0.0.1:6306".to_owned()],
        allow: vec!["10.0.0.0/8".to_owned()],
    };
    let loaded = from_flags(&run, &Overrides::default()).unwrap();
    assert_eq!(loaded.settings.listeners[0].protocol, Protocol::Mysql);
}
