//! What is refused, and in which words.

use super::*;

#[test]
fn a_mistyped_key_or_word_is_told_what_was_meant() {
    for (block, expected) in [
        (
            "origin: []",
            "4:1 an allowlist has no key `origin` / did you mean `origins`?",
        ),
        ("limits: {per-source: 1}", "did you mean `per_source`?"),
        (
            "log: {level: warning}",
            "`warning` is not a log level / did you mean `warn`?",
        ),
        (
            "strangers: {answer: silent}",
            "it is one of quiet, explain, drop",
        ),
        ("sessions: {on_revoke: drian}", "did you mean `drain`?"),
        ("frobnicate: 1", "there are version, listeners"),
    ] {
        refuses(block, expected);
    }
    refuses(&origin("form: [10.0.0.1]"), "did you mean `from`?");
    refuses(
        &origin("from: [10.0.0.1], listeners: [pgg]"),
        "there is no listener \"pgg\"",
    );
}

#[test]
fn an_address_that_two_programs_could_read_differently_is_refused() {
    for (from, expected) in [
        (
            "10.0.0.300/24",
            "`10.0.0.300/24` is not an address range / octet 300 is larger than 255",
        ),
        (
            "010.0.0.1",
            "octet 010 begins with 0: some read it as octal",
        ),
        (
            "10.0.0.1/8",
            "it has host bits / the network is 10.0.0.0/8, the one address is 10.0.0.1",
        ),
        ("10.0.0.0/255.0.0.0", "write /8"),
        ("10.0.0.0/08", "/08 is no prefix length"),
        ("10.0.0.0/33", "the longest is /32"),
        ("10.0.0.0/", "/ is no prefix length"),
        ("10.2", "an IPv4 address has four numbers"),
        ("0x7f.1", "a string is never taken for a host name"),
        (
            "'::ffff:10.0.0.1'",
            "IPv4 in IPv6's clothes; write 10.0.0.1",
        ),
        ("'::ffff:10.0.0.0/104'", "IPv4 in IPv6's clothes"),
        (
            "'fe80::1%eth0'",
            "a zone means something on one machine only",
        ),
        (
            "'fe80::%eth0/64'",
            "a zone means something on one machine only",
        ),
        (
            "shop.example.com",
            "a string is never taken for a host name",
        ),
        ("10.0.0.1-10.0.0.9", "a range is written as its networks"),
        ("0.0.0.0", "everybody is `any`"),
        (
            "any",
            "`any` is everybody on the internet: it needs a proof of identity",
        ),
        (
            "0.0.0.0/0",
            "`0.0.0.0/0` is too wide without a proof of identity",
        ),
        ("10.0.0.0/7", "/8 is the widest"),
        ("'2001:c00::/23'", "/24 is the widest"),
        ("''", "is not an address"),
        ("~", "this is nothing; an address was expected"),
        ("[10.0.0.1]", "this is a list; an address was expected"),
    ] {
        refuses(&origin(&format!("from: [{from}]")), expected);
    }
    for from in [
        "10.0.0.0/8",
        "'2001:d00::/24'",
        "100.65.0.1",
        "'::1'",
        "255.255.255.255",
    ] {
        good(&format!("{DOOR}{}", origin(&format!("from: [{from}]"))));
    }
}

/// Keys of the file, and what they are told.
const MEANINGLESS: &[(&str, &str)] = &[
    (
        "limits: {opening: 30}",
        "`30` is not a duration / the unit is missing",
    ),
    ("limits: {opening: 0s}", "`0s` is too short"),
    ("limits: {opening: 25h}", "a day at most"),
    (
        "limits: {opening: 99999999999999999999h}",
        "is not a duration",
    ),
    ("limits: {openings: 0}", "`0` is too little / at least 1"),
    ("limits: {openings: -1}", "`-1` is not a number"),
    ("limits: {openings: 4294967296}", "larger than 4294967295"),
    (
        "limits: {refusals_explained: 200}",
        "a number a second: 200/s",
    ),
    (
        "limits: 5",
        "`limits` is a mapping / this is a single value",
    ),
    (
        "require: {tls: yes}",
        "`yes` is not true or false / write true",
    ),
    ("require: {tls: }", "`tls` has no value"),
    ("state_dir: var/lib", "`var/lib` is not an absolute path"),
    (
        "state_dir: [a]",
        "this is a list; a single value was expected",
    ),
    (
        "tls: {certificate: /a}",
        "a certificate and its key go together",
    ),
    (
        "tls: {certificates: [{certificate: /a}]}",
        "a certificate of `tls` needs `key`",
    ),
    (
        "tls: {certificates: [{certificate: a, key: /b}]}",
        "`a` is not an absolute path",
    ),
    (
        "tls: {certificates: /a}",
        "a list of certificates and their keys was expected",
    ),
    (
        "tls: {min: 1.1}",
        "`1.1` is not a version of TLS that is spoken here",
    ),
    (
        "tls: {names: ['a b']}",
        "`a b` is neither a host name nor an address",
    ),
    ("admin: {http: 9432}", "the port is missing"),
    (
        "admin: {http: '127.0.0.1:6432'}",
        "cannot both be listened on",
    ),
    (
        "tls: {crl: /a}",
        "a revocation list says nothing without the CA that made it",
    ),
    (
        "audit: {required: true}",
        "an audit that is required needs a file",
    ),
    ("metrics: {max_origins: 0}", "`0` is too little"),
    (
        "metrics: {max_origins: 5001}",
        "`5001` is too much / 5000 at most",
    ),
    ("resolver: {servers: ['ns:53']}", "`ns` is no octet"),
    (
        "resolver: {servers: ['0.0.0.0:53']}",
        "is not the address of a server",
    ),
    ("resolver: {server: []}", "did you mean `servers`?"),
    ("deny:\n  - {name: x}", "a deny rule says whom it means"),
    ("deny: [x]", "a deny rule is a mapping"),
    ("version: 1", "`version` is there twice"),
    ("? [a]\n: 1", "a key is a name, not a list"),
    ("observe: {from: [10.0.0.0/8]}", "`observe` needs `until`"),
    (
        "observe: {until: 2026-12-01T00:00:00Z, from: [any]}",
        "`any` is no network",
    ),
    (
        "observe: {until: 2026-12-01T00:00:00Z, from: [0.0.0.0/1]}",
        "0.0.0.0/1 is too wide to be observed / /8 is the widest",
    ),
    ("observe: {until: tomorrow}", "`tomorrow` is not a time"),
    ("strangers: {ban: {after: 0}}", "`0` is too little"),
    ("strangers: {ban: {for: 25h}}", "a day at most"),
    ("temporary: {max: 0s}", "`0s` is too short"),
    ("temporary: {max: 800h}", "31 days at most"),
    ("temporary: {users: []}", "`users` is empty"),
    ("tests: [{user: a, expect: deny}]", "a test needs `from`"),
    (
        "tests: [{from: 10.0.0.1, user: a}]",
        "a test needs `expect`",
    ),
    (
        "tests: [{from: 10.0.0.0/8, user: a, expect: deny}]",
        "`10.0.0.0/8` is not an address",
    ),
    (
        "tests: [{from: 10.0.0.1, user: a, expect: no}]",
        "`no` is not what is expected",
    ),
    (
        "tests: [{from: 10.0.0.1, user: a, expect: deny, reason: expried}]",
        "`expried` is not a reason / did you mean `expired`?",
    ),
    (
        "tests: [{from: 10.0.0.1, user: a, expect: allow, reason: expired}]",
        "`expired` cannot be why this is expected",
    ),
    (
        "tests: [{from: 10.0.0.1, user: a, expect: deny, listener: my}]",
        "there is no listener \"my\"",
    ),
    (
        "tests: [{from: 10.0.0.1, user: a, expect: deny, tls: false, certificate: {dns: b}}]",
        "a certificate is shown in an encrypted connection",
    ),
    (
        "tests: [{from: 10.0.0.1, user: a, expect: deny, at: noon}]",
        "`noon` is not a time",
    ),
];

#[test]
fn values_that_mean_nothing_are_refused() {
    for (block, expected) in MEANINGLESS {
        refuses(block, expected);
    }
}

#[test]
fn an_origin_that_would_surprise_is_refused() {
    let long = "u".repeat(64);
    for (keys, expected) in [
        ("users: [a]", "an origin needs `from`"),
        ("from: []", "`from` names nobody"),
        ("from: 10.0.0.1", "write [10.0.0.1]"),
        (
            "from: [10.0.0.1], users: []",
            "`users` is empty / nobody would fit",
        ),
        (
            "from: [10.0.0.1], users: [any, x]",
            "`any` stands beside other users",
        ),
        (
            "from: [10.0.0.1], exclusive: true",
            "an exclusive origin names its users",
        ),
        (
            "from: [10.0.0.1], exclusive: true, users: [any]",
            "an exclusive origin names its users",
        ),
        (
            "from: [10.0.0.1], replication: logical",
            "logical replication names its databases",
        ),
        (
            "from: [10.0.0.1], replication: true",
            "PostgreSQL knows physical and logical",
        ),
        (
            "from: [10.0.0.1], expires: 2026-11-22T18:00:00",
            "the zone is missing",
        ),
        ("from: [10.0.0.1], expires: 2026-11-22", "is not a time"),
        ("from: [10.0.0.1], expires: tomorrow", "is not a time"),
        (
            "from: [10.0.0.1], limits: {connections: 0}",
            "an origin is switched off by `active: false`",
        ),
        (
            "from: [10.0.0.1], note: [a]",
            "this is a list; a text was expected",
        ),
        (
            &format!("from: [10.0.0.1], users: [{long}]"),
            "64 bytes; the server's limit is 63",
        ),
        (
            "from: [10.0.0.1], users: [\"a\\0\"]",
            "there is a control character in it",
        ),
        ("from: [10.0.0.1], users: ['']", "it is empty"),
    ] {
        refuses(&origin(keys), expected);
    }
    refuses(
        "origins:\n  - {name: Shop, from: [10.0.0.1]}",
        "`S` does not belong in it",
    );
    refuses("origins:\n  - {from: [10.0.0.1]}", "an origin needs `name`");
    refuses(
        "origins:\n  - {name: a, from: [10.0.0.1]}\n  - {name: a, from: [10.0.0.2]}",
        "6:12 there are two origins \"a\" / the first is on line 5",
    );
}

/// Keys of a listener, and what they are told.
const IMPOSSIBLE_LISTENERS: &[(&str, &str)] = &[
    (
        "listen: '0.0.0.0:5432', upstream: '127.0.0.1:5432'",
        "a listener would dial itself",
    ),
    (
        "listen: '127.0.0.1:5432', upstream: 'localhost:5432'",
        "a listener would dial itself",
    ),
    (
        "listen: '127.0.0.1:1', upstream: '0.0.0.0:5432'",
        "this machine is 127.0.0.1:5432",
    ),
    (
        "listen: '127.0.0.1:1', upstream: '[::]:5432'",
        "this machine is [::1]:5432",
    ),
    (
        "listen: '127.0.0.1:1', upstream: 'db:5432'",
        "nothing is said of TLS to it",
    ),
    (
        "listen: '127.0.0.1:1', upstream: '10.0.0.1:5432'",
        "nothing is said of TLS to it",
    ),
    (
        "listen: '127.0.0.1:1', upstream: 'db:5432', upstream_tls: {mode: verify-full}",
        "`upstream_tls` needs `ca`",
    ),
    (
        "listen: '127.0.0.1:1', upstream: 'db:5432', upstream_tls: {mode: verify-full, ca: /a, negotiation: first}",
        "`first` is not a way to begin TLS",
    ),
    (
        "listen: '127.0.0.1:1', upstream: 'db:5432', upstream_tls: {mode: off, negotiation: direct}",
        "`negotiation` says nothing where the mode is `off`",
    ),
    (
        "listen: '127.0.0.1:1', upstream: /run/postgresql, upstream_tls: {mode: verify-full, ca: /a}",
        "there is no TLS over a unix socket",
    ),
    (
        "listen: '127.0.0.1:1', upstream: /a, proxy_protocol: {from: [any]}",
        "`any` is no network",
    ),
    (
        "listen: '127.0.0.1:1', upstream: /a, proxy_protocol: {from: []}",
        "the list is empty",
    ),
    (
        "listen: '127.0.0.1:1', upstream: /a, proxy_protocol: {from: [0.0.0.0/0]}",
        "0.0.0.0/0 is too wide for balancers / /8 is the widest",
    ),
    (
        "listen: '127.0.0.1:1', upstream: /a, proxy_protocol: {}",
        "`proxy_protocol` needs `from`",
    ),
    (
        "listen: '127.0.0.1:1', upstream: '127.0.0.1'",
        "the port is missing",
    ),
    (
        "listen: '127.0.0.1:1', upstream: '127.0.0.01:1'",
        "octet 01 begins with 0",
    ),
    (
        "listen: '127.0.0.1:1', upstream: 'a b:1'",
        "`a b` is no host name",
    ),
    ("listen: '127.0.0.1:1', upstream: 'db:0'", "port 0 is none"),
    (
        "listen: [], upstream: /run/postgresql",
        "there is no address to listen on",
    ),
    (
        "listen: ':1', upstream: /run/postgresql",
        "all of IPv4 is 0.0.0.0:1",
    ),
    (
        "listen: 'db:1', upstream: /run/postgresql",
        "`db` is no octet",
    ),
    (
        "listen: '::1:5', upstream: /run/postgresql",
        "an IPv6 address stands in brackets",
    ),
    (
        "listen: '1.1.1.1:65536', upstream: /run/postgresql",
        "larger than 65535",
    ),
    (
        "listen: ['0.0.0.0:1', '127.0.0.1:1'], upstream: /run/postgresql",
        "cannot both be listened on",
    ),
    ("listen: '0.0.0.0:1'", "a listener needs `upstream`"),
];

#[test]
fn a_listener_that_cannot_work_is_refused() {
    let listener = |keys: &str| {
        format!("version: 1\nlisteners:\n  - {{name: pg, protocol: postgres, {keys}}}\n")
    };
    for (keys, expected) in IMPOSSIBLE_LISTENERS {
        let found = problems(&listener(keys));
        assert!(
            found.iter().any(|p| p.contains(expected)),
            "{keys}: {found:#?}"
        );
        assert!(read(&listener(keys)).is_err(), "{keys}");
    }
    for keys in [
        "listen: ['0.0.0.0:5432', '[::]:5432'], upstream: /run/postgresql",
        "listen: '192.0.2.1:5432', upstream: '127.0.0.1:5432'",
        "listen: '127.0.0.1:0', upstream: '[::1]:5432'",
        "listen: '127.0.0.1:1', upstream: 'db.example.com:5432', upstream_tls: {mode: off}",
        "listen: '127.0.0.1:1', upstream: 'db.example.com:5432', upstream_tls: {mode: verify-full, ca: /a}",
    ] {
        good(&listener(keys));
    }
}

#[test]
fn with_several_listeners_an_origin_says_which() {
    let two = "version: 1\nlisteners:\n  - {name: a, protocol: postgres, listen: '127.0.0.1:1', upstream: /a}\n  - {name: b, protocol: postgres, listen: '127.0.0.1:2', upstream: /b}\n";
    let found = problems(&format!(
        "{two}origins:\n  - {{name: x, from: [10.0.0.1]}}\n"
    ));
    assert_eq!(
        found,
        ["6:6 an origin says which listeners it may use / `listeners` is missing / there are a, b"]
    );
    let loaded = good(&format!(
        "{two}origins:\n  - {{name: x, from: [10.0.0.1], listeners: [b]}}\n"
    ));
    assert_eq!(
        loaded.rules.origins[0].listeners,
        Names::Listed(vec!["b".into()])
    );
    let twins = two.replace("name: b", "name: a");
    assert!(problems(&twins)[0].contains("there are two listeners \"a\" / the first is on line 3"));
}
