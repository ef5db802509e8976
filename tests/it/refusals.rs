//! Who is not let in, what they are told, and what the database notices of it: nothing.

use crate::harness::{
    Gateway, Login, Postgres, Raw, Relay,
    gateway::{Plan, SHOP},
    http, node, psql, python, raw, wait_until,
};

/// A database behind a relay that sees every connection, and a gateway before it.
fn watched(policy: &str) -> (Relay, Gateway) {
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), policy);
    (upstream, gateway)
}

/// psql's words for a refusal without libpq's own prefix.
fn fatal(stderr: &str) -> &str {
    stderr
        .split_once("FATAL:  ")
        .expect(stderr)
        .1
        .lines()
        .next()
        .unwrap()
}

#[test]
fn a_client_that_leaves_to_ask_for_a_password_was_refused_by_nobody() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    let mut login = gateway.shop();
    login.password = String::new();
    assert!(
        psql(&login, "select 1")
            .failed()
            .contains("no password supplied")
    );
    let line = gateway.logged(&[("event", "left"), ("reason", "allowed")]);
    assert!(line["ref"].is_null(), "nothing was refused: {line}");
    let told = http::get(gateway.admin, "/status.json").unwrap().body;
    assert!(told.contains(r#""refused":[]"#), "{told}");
    let refused = gateway.metric("doorward_decisions_total", &[("decision", "deny")]);
    assert_eq!(refused, 0.0);
}

#[test]
fn a_stranger_never_reaches_the_database() {
    let (upstream, gateway) = watched(SHOP);
    let door = gateway.seen_from([127, 0, 0, 66]);
    for (user, database) in [("app", "shop"), ("postgres", "postgres"), ("nobody", "x")] {
        let refused = psql(&Login::new(door.port, user, database), "select 1");
        let text = fatal(refused.failed()).to_owned();
        let (constant, reference) = text.rsplit_once(' ').unwrap();
        assert_eq!(constant, "doorward: connection not allowed, ref");
        assert_eq!(reference.len(), 8, "{text}");
    }
    let mut silent = Raw::connect_from([127, 0, 0, 67], gateway.port);
    let mut plain = Raw::connect_from([127, 0, 0, 68], gateway.port);
    plain.send(&raw::startup(&[("user", "app"), ("database", "shop")]));
    assert_eq!(plain.refusal().field('C').as_deref(), Some("28000"));
    silent.half_close();
    silent.rest();
    assert_eq!(upstream.connected(), 0, "not even a socket");
    wait_until("four refusals", || {
        (gateway.refused("no_origin") >= 4.0).then_some(())
    });
    assert_eq!(
        psql(&gateway.shop(), "select 1").worked(),
        "1",
        "who may come in still can"
    );
    assert_eq!(upstream.spoken_to(), 1);
}

#[test]
fn a_stranger_reads_the_same_whatever_would_be_refused() {
    let policy = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [app], databases: [shop], exclusive: true}
deny:
  - {name: bad-user, users: [mallory]}
";
    let (upstream, gateway) = watched(policy);
    let texts: Vec<String> = ["app", "mallory", "somebody", "postgres"]
        .iter()
        .enumerate()
        .map(|(number, user)| {
            let last = u8::try_from(number).unwrap() + 100;
            let door = gateway.seen_from([127, 0, 0, last]);
            let refused = psql(&Login::new(door.port, user, "shop"), "select 1");
            let words = refused.failed().split_once("FATAL:  ").unwrap().1;
            words.rsplit_once("ref ").unwrap().0.to_owned()
        })
        .collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(upstream.connected(), 0);
    let reasons = ["exclusive_user", "deny_rule", "no_origin"];
    assert!(
        reasons.iter().all(|reason| gateway.refused(reason) >= 1.0),
        "the operator sees the truth"
    );
}

#[test]
fn a_stranger_may_get_no_word_at_all() {
    let (upstream, gateway) = watched(&format!("{SHOP}strangers: {{answer: drop}}\n"));
    let mut stranger = Raw::connect_from([127, 0, 0, 9], gateway.port);
    assert_eq!(stranger.rest(), b"");
    gateway.until_metric("doorward_decisions_total", &[("reason", "no_origin")], 1.0);
    assert_eq!(upstream.connected(), 0);
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
}

#[test]
fn strangers_can_be_answered_in_full() {
    let (_upstream, gateway) = watched(&format!("{SHOP}strangers: {{answer: explain}}\n"));
    let door = gateway.seen_from([127, 0, 0, 9]);
    let refused = psql(&Login::new(door.port, "app", "shop"), "select 1");
    let text = refused.failed();
    assert!(
        text.contains("127.0.0.9") && text.contains("[no_origin]"),
        "{text}"
    );
}

/// A claim of a known address, and the reason for which it has to be refused.
struct Case {
    user: &'static str,
    database: &'static str,
    sslmode: &'static str,
    reason: &'static str,
}

const CASES: &[Case] = &[
    Case {
        user: "app",
        database: "shop",
        sslmode: "disable",
        reason: "tls_required",
    },
    Case {
        user: "other",
        database: "shop",
        sslmode: "verify-full",
        reason: "user_not_allowed",
    },
    Case {
        user: "app",
        database: "hr",
        sslmode: "verify-full",
        reason: "database_not_allowed",
    },
    Case {
        user: "vip",
        database: "shop",
        sslmode: "verify-full",
        reason: "exclusive_user",
    },
    Case {
        user: "mallory",
        database: "shop",
        sslmode: "verify-full",
        reason: "deny_rule",
    },
    Case {
        user: "late",
        database: "shop",
        sslmode: "verify-full",
        reason: "expired",
    },
    Case {
        user: "asleep",
        database: "shop",
        sslmode: "verify-full",
        reason: "inactive",
    },
    Case {
        user: "replicator",
        database: "shop",
        sslmode: "verify-full",
        reason: "replication_not_allowed",
    },
];

const POLICY: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [app, mallory], databases: [shop]}
  - {name: elsewhere, from: [192.0.2.1], users: [vip], databases: [shop], exclusive: true}
  - {name: guest, from: [127.0.0.1], users: [late], databases: [shop], expires: \"2020-01-01T00:00:00Z\"}
  - {name: spare, from: [127.0.0.1], users: [asleep], databases: [shop], active: false}
  - {name: replica, from: [127.0.0.1], users: [replicator], replication: physical}
deny:
  - {name: bad-user, users: [mallory]}
";

#[test]
fn a_known_address_is_told_what_failed_and_the_database_hears_nothing() {
    let (upstream, gateway) = watched(POLICY);
    for case in CASES {
        let login = Login::new(gateway.port, case.user, case.database).sslmode(case.sslmode);
        let refused = psql(&login, "select 1");
        let text = refused.failed();
        assert!(
            text.contains(&format!("[{}]", case.reason)),
            "{text} should say {}",
            case.reason
        );
        assert!(
            text.contains("127.0.0.1") && text.contains(", ref "),
            "{text}"
        );
        // `database "shop" does not exist` is what Rails reads out of a message with the name in it
        let ours = text.split_once("FATAL:  ").unwrap().1;
        for name in [case.user, case.database] {
            assert!(!ours.contains(name), "the text names {name}: {ours}");
        }
        gateway.until_metric("doorward_decisions_total", &[("reason", case.reason)], 1.0);
    }
    assert_eq!(upstream.connected(), 0);
    let line = gateway.logged(&[("event", "refused"), ("reason", "user_not_allowed")]);
    assert!(line.to_string().contains("127.0.0.1"), "{line}");
}

#[test]
fn drivers_show_the_reason_in_the_message_they_show() {
    let (_upstream, gateway) = watched(POLICY);
    let login = Login::new(gateway.port, "other", "shop");
    let script = "import psycopg\n\
                  try: psycopg.connect('')\n\
                  except psycopg.OperationalError as e: print(e.sqlstate, str(e))";
    assert!(
        python(&login, script)
            .worked()
            .contains("[user_not_allowed]")
    );
    let script = "const { Client } = require('pg'); const e = process.env;\n\
                  new Client({host: 'localhost', ssl: {ca: require('fs').readFileSync(e.PGSSLROOTCERT)}}).connect()\n\
                  .catch(x => console.log(x.code, x.message))";
    let shown = node(&login, script).worked().to_owned();
    assert!(
        shown.starts_with("28000 ") && shown.contains("[user_not_allowed]"),
        "{shown}"
    );
}

#[test]
fn sslmode_prefer_tries_twice_and_is_one_refusal_with_one_reason() {
    let (upstream, gateway) = watched(POLICY);
    let total = || gateway.metric("doorward_decisions_total", &[]);
    // the second try counts as the first only if it comes at once, which a busy machine may not manage each time
    let mut number = 0;
    wait_until("two tries that count as one", || {
        number += 1;
        let (user, before) = (format!("other{number}"), total());
        let refused = psql(
            &Login::new(gateway.port, &user, "shop").sslmode("prefer"),
            "select 1",
        );
        assert!(
            refused.failed().contains("[user_not_allowed]"),
            "{refused:?}"
        );
        gateway.until_metric("doorward_openings_in_progress", &[], 0.0);
        wait_until("it is counted", || (total() > before).then_some(()));
        (total() - before < 1.5).then_some(())
    });
    assert_eq!(gateway.refused("tls_required"), 0.0);
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn a_server_that_asks_for_no_proof_lets_nobody_in() {
    // `trust` in pg_hba for the gateway's address: the server believes the gateway, and the gateway does not
    let policy = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [trusted, app], databases: [shop]}
";
    let (_upstream, gateway) = watched(policy);
    let refused = psql(&Login::new(gateway.port, "trusted", "shop"), "select 1");
    let text = refused.failed();
    assert!(
        text.contains("[authentication_missing]") && text.contains("pg_hba.conf"),
        "{text}"
    );
    assert_eq!(refused.stdout, "");
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");

    let gateway = Gateway::start(
        &Postgres::shared().address(),
        &format!("{policy}require: {{authentication: false}}\n"),
    );
    let trusted = Login::new(gateway.port, "trusted", "shop");
    assert_eq!(
        psql(&trusted, "select 1").worked(),
        "1",
        "who lifts the floor gets what he asks for"
    );
}

#[test]
fn nobody_becomes_a_superuser_by_any_user() {
    let policy = "origins:\n  - {name: all, from: [127.0.0.1]}\n";
    let (upstream, gateway) = watched(policy);
    let superuser = Login::new(gateway.port, "postgres", "shop").password("super");
    assert!(
        psql(&superuser, "select 1")
            .failed()
            .contains("[user_not_allowed]")
    );
    assert_eq!(upstream.connected(), 0);
    let named = "origins:\n  - {name: all, from: [127.0.0.1]}\n  - {name: dba, from: [127.0.0.1], users: [postgres]}\n";
    gateway.reload(named);
    assert_eq!(psql(&superuser, "select session_user").worked(), "postgres");
    let unprotected = format!("{policy}protected_users: []\n");
    gateway.reload(&unprotected);
    assert_eq!(psql(&superuser, "select session_user").worked(), "postgres");
}

#[test]
fn a_listener_can_be_out_of_bounds() {
    let server = Postgres::shared();
    let second = crate::harness::free_port();
    let mut plan = Plan::new(&server.address());
    let side = format!(
        "  - {{name: side, protocol: postgres, listen: \"127.0.0.1:{second}\", upstream: \"{}\"}}\ntls:",
        server.address()
    );
    plan.head = plan.head.replacen("tls:", &side, 1);
    let gateway = plan.start(&SHOP.replace("from:", "listeners: [pg], from:"));
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
    let mut side = gateway.shop();
    side.port = second;
    assert!(
        psql(&side, "select 1")
            .failed()
            .contains("[listener_not_allowed]")
    );
}

#[test]
fn a_decision_is_one_for_every_way_in() {
    // plain, after SSLRequest, direct, after a refused GSSENCRequest, by protocol 3.2: the same answer
    let (upstream, gateway) = watched(&format!("{POLICY}require: {{tls: false}}\n"));
    let claim = [("user", "other"), ("database", "shop")];
    let older = raw::startup(&claim);
    let mut newer = older.clone();
    newer[7] = 2;
    let mut gss = Raw::connect(gateway.port);
    gss.send(&raw::GSSENC_REQUEST);
    assert_eq!(gss.byte(), b'N');
    let mut gss_then_tls = Raw::connect(gateway.port);
    gss_then_tls.send(&raw::GSSENC_REQUEST);
    assert_eq!(gss_then_tls.byte(), b'N');
    gss_then_tls.send(&raw::SSL_REQUEST);
    assert_eq!(gss_then_tls.byte(), b'S');
    let config = crate::harness::tls::client(&["postgresql"]);
    let gss_then_tls = gss_then_tls
        .handshake(std::sync::Arc::clone(&config))
        .unwrap()
        .0;
    let direct = Raw::connect(gateway.port).handshake(config).unwrap().0;
    let ways = [
        Raw::connect(gateway.port),
        gss,
        // what follows in clear after a refusal within TLS would pass for the same client's second try
        Raw::encrypted([127, 0, 0, 1], gateway.port),
        gss_then_tls,
        direct,
    ];
    for (number, mut way) in (1_u8..).zip(ways) {
        way.send(if number % 2 == 0 { &newer } else { &older });
        let refusal = way.refusal();
        assert_eq!(refusal.field('C').as_deref(), Some("28000"));
        assert!(refusal.field('M').unwrap().contains("[user_not_allowed]"));
        drop(way);
        let reason = [("reason", "user_not_allowed")];
        gateway.until_metric("doorward_decisions_total", &reason, f64::from(number));
    }
    assert_eq!(upstream.connected(), 0);
}
