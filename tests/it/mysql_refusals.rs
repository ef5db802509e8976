//! Who is not let in to MySQL, what clients show of it, and what the server notices: nothing that it would count.

use crate::harness::{
    Account, Client, Ended, Gateway, Kind, Mysql, Raw, Relay, Rogue,
    gateway::SHOP,
    mariadb, mysql,
    mysql_clients::{Tls, newest_mariadb},
    mysql_raw::{Refusal, Response},
    node, python, wait_until,
};

const POLICY: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [app, mallory], databases: [shop]}
  - {name: elsewhere, from: [192.0.2.1], users: [vip], databases: [shop], exclusive: true}
  - {name: guest, from: [127.0.0.1], users: [late], databases: [shop], expires: \"2020-01-01T00:00:00Z\"}
  - {name: spare, from: [127.0.0.1], users: [asleep], databases: [shop], active: false}
deny:
  - {name: bad-user, users: [mallory]}
  - {name: bad-place, from: [127.0.0.66]}
";

/// A claim of a known address, and how it has to be refused.
struct Case {
    user: &'static str,
    database: &'static str,
    encrypted: bool,
    reason: &'static str,
    number: u16,
    state: &'static str,
    /// How the servers themselves begin, which is what drivers and people look for.
    begins: &'static str,
}

const fn case(
    (user, database, encrypted): (&'static str, &'static str, bool),
    reason: &'static str,
    (number, state): (u16, &'static str),
    begins: &'static str,
) -> Case {
    Case {
        user,
        database,
        encrypted,
        reason,
        number,
        state,
        begins,
    }
}

const DENIED: (u16, &str) = (1045, "28000");

const CASES: [Case; 7] = [
    case(
        ("app", "shop", false),
        "tls_required",
        (3159, "HY000"),
        "Connections using insecure transport are prohibited",
    ),
    case(
        ("other", "shop", true),
        "user_not_allowed",
        DENIED,
        "Access denied for user 'other'",
    ),
    case(
        ("app", "hr", true),
        "database_not_allowed",
        (1044, "42000"),
        "Access denied for user 'app'",
    ),
    case(
        ("vip", "shop", true),
        "exclusive_user",
        DENIED,
        "Access denied for user 'vip'",
    ),
    case(
        ("mallory", "shop", true),
        "deny_rule",
        DENIED,
        "Access denied for user 'mallory'",
    ),
    case(
        ("late", "shop", true),
        "expired",
        DENIED,
        "Access denied for user 'late'",
    ),
    case(
        ("asleep", "shop", true),
        "inactive",
        DENIED,
        "Access denied for user 'asleep'",
    ),
];

fn refused(gateway: &Gateway, case: &Case) -> Refusal {
    let mut client = if case.encrypted {
        Client::encrypted(gateway.port)
    } else {
        Client::greeted(gateway.port)
    };
    client.claim(&Response::of(case.user, case.database));
    let refusal = client.raw.err();
    assert_eq!(refusal.sequence, client.next, "{refusal:?}");
    refusal
}

#[test]
fn a_known_address_is_told_what_failed_in_the_servers_own_words_and_ours() {
    let server = Rogue::content();
    let gateway = Gateway::mysql(&server.address(), POLICY);
    for case in &CASES {
        let refusal = refused(&gateway, case);
        let text = &refusal.text;
        assert_eq!(
            (refusal.number, refusal.state.as_deref()),
            (case.number, Some(case.state)),
            "{text}"
        );
        assert!(text.starts_with(case.begins), "{text}");
        assert!(text.contains(&format!("[{}]", case.reason)), "{text}");
        assert!(
            text.contains("127.0.0.1") && text.contains(", ref "),
            "{text}"
        );
        gateway.until_metric("doorward_decisions_total", &[("reason", case.reason)], 1.0);
        let line = gateway.logged(&[("event", "refused"), ("reason", case.reason)]);
        assert!(line.to_string().contains(case.user), "{line}");
    }
    assert_eq!(
        server.claims(),
        Vec::<Vec<u8>>::new(),
        "the server hears of none of them"
    );
    wait_until("each is ended by a login that fails", || {
        (server.junk() >= CASES.len()).then_some(())
    });
}

#[test]
fn a_stranger_is_refused_in_place_of_the_greeting_and_costs_the_server_nothing() {
    let relay = Relay::before(Mysql::shared(Kind::Debian).port);
    let gateway = Gateway::mysql(&relay.address(), POLICY);
    let at_rest = relay.connected();
    let mut texts = Vec::new();
    for last in [9, 10, 66] {
        let refusal = Raw::connect_from([127, 0, 0, last], gateway.port).err();
        // with a mark of its own for the state, the oldest command line would print that for text
        assert_eq!(
            (refusal.number, refusal.sequence, &refusal.state),
            (1130, 0, &None),
            "{refusal:?}"
        );
        texts.push(refusal.text.rsplit_once("ref ").unwrap().0.to_owned());
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert!(!texts[0].contains("127.0.0"), "{texts:?}");
    // who says something before hearing anything is told the same
    let mut hasty = Raw::connect_from([127, 0, 0, 11], gateway.port);
    hasty.try_send(&Response::of("app", "shop").encode()).ok();
    assert_eq!(hasty.err().number, 1130);
    assert_eq!(relay.connected(), at_rest, "not even a socket");
    for (reason, times) in [("no_origin", 3.0), ("deny_rule", 1.0)] {
        gateway.until_metric("doorward_decisions_total", &[("reason", reason)], times);
    }
}

#[test]
fn strangers_can_be_told_more_or_nothing() {
    let server = Rogue::content();
    let gateway = Gateway::mysql(
        &server.address(),
        &format!("{SHOP}strangers: {{answer: explain}}\n"),
    );
    let told = Raw::connect_from([127, 0, 0, 9], gateway.port).err();
    assert!(
        told.text.contains("127.0.0.9") && told.text.contains("[no_origin]"),
        "{told:?}"
    );
    gateway.reload(&format!("{SHOP}strangers: {{answer: drop}}\n"));
    let mut dropped = Raw::connect_from([127, 0, 0, 9], gateway.port);
    assert_eq!(dropped.rest(), b"");
}

#[test]
fn every_client_shows_the_words_of_a_refusal() {
    let gateway = Gateway::mysql(&Mysql::shared(Kind::Debian).address(), POLICY);
    let stranger = gateway.seen_from([127, 0, 0, 9]);
    let cases = [
        (stranger.port, "app", "1130", "connection not allowed, ref "),
        (gateway.port, "other", "1045", "[user_not_allowed]"),
    ];
    for (port, user, number, words) in cases {
        let account = Account::new(port, user, "shop");
        let shown = |ended: Ended| {
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(said.contains(number) && said.contains(words), "{said}");
            assert!(
                !said.contains("#HY000") && !said.contains("#28000"),
                "{said}"
            );
        };
        for client in [mariadb, newest_mariadb, mysql] {
            shown(client(&account, "select 1"));
        }
        shown(python(
            &account.clone().tls(Tls::Verified),
            "import os, pymysql\n\
             e = os.environ\n\
             try: pymysql.connect(host=e['DB_HOST'], port=int(e['DB_PORT']), user=e['DB_USER'], password=e['DB_PASSWORD'], ssl={'ca': e['DB_CA']})\n\
             except pymysql.Error as wrong: print(wrong.args)",
        ));
        shown(node(
            &account,
            "const e = process.env\n\
             require('mysql2').createConnection({host: e.DB_HOST, port: e.DB_PORT, user: e.DB_USER, password: e.DB_PASSWORD,\n\
             ssl: {ca: require('fs').readFileSync(e.DB_CA)}}).connect(wrong => { console.log(wrong.errno, wrong.message); process.exit() })",
        ));
    }
}

#[test]
fn a_wrong_password_is_the_servers_to_refuse_and_is_written_nowhere() {
    for server in Mysql::all() {
        let gateway = Gateway::mysql(&server.address(), SHOP);
        let account = gateway.account().password("not-the-secret");
        let refused = mariadb(&account, "select 1");
        let words = refused.failed();
        assert!(
            words.contains("ERROR 1045") && !words.contains("doorward"),
            "{:?}: {words}",
            server.kind
        );
        gateway.until_metric("doorward_auth_failures_total", &[("origin", "shop")], 1.0);
        assert!(!gateway.said().concat().contains("not-the-secret"));
    }
}
