//! Strangers: who fails too often is not heard for a while, and who is let in only by an observation is counted.

use std::{thread, time::Duration};

use crate::harness::{
    Gateway, Mysql, Postgres, Raw, Relay,
    client_ca::ClientCa,
    gateway::{Plan, SHOP},
    mariadb, mysql, psql, raw, wait_until,
};

const BAN: &str = "strangers: {ban: {after: 3, within: 1m, for: 15m}}\n";

/// Whether a connection from there gets an answer to its startup packet.
fn is_heard(gateway: &Gateway, source: [u8; 4]) -> bool {
    let mut client = Raw::connect_from(source, gateway.port);
    client
        .try_send(&raw::startup(&[("user", "x"), ("database", "y")]))
        .ok();
    !client.rest().is_empty()
}

#[test]
fn a_stranger_that_fails_too_often_is_not_heard_and_everybody_else_is() {
    let gateway = Gateway::start(&Postgres::shared().address(), &format!("{SHOP}{BAN}"));
    for _ in 0..3 {
        assert!(is_heard(&gateway, [127, 0, 0, 9]));
    }
    gateway.until_metric("doorward_bans", &[], 1.0);
    assert!(!is_heard(&gateway, [127, 0, 0, 9]));
    assert!(is_heard(&gateway, [127, 0, 0, 10]), "a neighbour");
    wait_until("a refusal of the banned", || {
        (gateway.refused("banned") >= 1.0).then_some(())
    });
    gateway.logged(&[("event", "banned"), ("client", "127.0.0.9")]);
    let banned = gateway.metric("doorward_bans_total", &[]);
    assert_eq!(banned, 1.0);
}

#[test]
fn a_banned_stranger_that_comes_seldom_reads_one_constant_text() {
    // its own login would do: the ban is why it may not come in
    let ca = ClientCa::new();
    let shown = ca.issue("job.example.com", &[]);
    let policy = format!(
        "origins:\n  - {{name: job, from: [any], proof: {{certificate: {{dns: job.example.com}}}}, users: [app], databases: [shop]}}\n{BAN}"
    );
    let plan = Plan::new(&Postgres::shared().address()).believing(&ca);
    let gateway = plan.start(&policy);
    let login = gateway.shop().showing(&shown);
    assert_eq!(psql(&login, "select 1").worked(), "1");
    for _ in 0..3 {
        assert!(is_heard(&gateway, [127, 0, 0, 1]));
    }
    gateway.until_metric("doorward_bans", &[], 1.0);
    thread::sleep(Duration::from_secs(5));
    let told = psql(&login, "select 1");
    let told = told.failed();
    assert!(
        told.contains("[banned]"),
        "a CA of ours vouches for it: {told}"
    );
    assert!(
        !is_heard(&gateway, [127, 0, 0, 1]),
        "and not as often as it comes"
    );
    thread::sleep(Duration::from_secs(5));
    let mut client = Raw::connect(gateway.port);
    client.send(&raw::startup(&[("user", "x"), ("database", "y")]));
    let refusal = client.refusal();
    assert_eq!(refusal.field('C').as_deref(), Some("28000"));
    let text = refusal.field('M').unwrap();
    let (constant, reference) = text.rsplit_once(' ').unwrap();
    assert_eq!(constant, "doorward: connection not allowed, ref");
    wait_until("the reference leads to the ban", || {
        let why = gateway.command(&["why", "--ref", reference]);
        why.stdout.contains("banned").then_some(())
    });
}

#[test]
fn a_known_address_is_never_banned_however_often_it_fails() {
    let gateway = Gateway::start(&Postgres::shared().address(), &format!("{SHOP}{BAN}"));
    let mut wrong = gateway.shop();
    wrong.user = "nobody".to_owned();
    for _ in 0..6 {
        assert!(is_heard(&gateway, [127, 0, 0, 1]));
        assert!(
            psql(&wrong, "select 1")
                .failed()
                .contains("[user_not_allowed]")
        );
    }
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
    assert_eq!(gateway.metric("doorward_bans", &[]), 0.0);
}

#[test]
fn a_ban_ends_by_itself_and_a_rule_for_the_address_ends_it_at_once() {
    let short = BAN.replace("15m", "2s");
    let gateway = Gateway::start(&Postgres::shared().address(), &format!("{SHOP}{short}"));
    for source in [[127, 0, 0, 9], [127, 0, 0, 10]] {
        for _ in 0..3 {
            is_heard(&gateway, source);
        }
    }
    gateway.until_metric("doorward_bans", &[], 2.0);
    gateway.reload(&format!(
        "{}{BAN}",
        SHOP.replace("127.0.0.1]", "127.0.0.1, 127.0.0.10]")
    ));
    assert!(is_heard(&gateway, [127, 0, 0, 10]), "it is mentioned now");
    assert!(!is_heard(&gateway, [127, 0, 0, 9]));
    wait_until("the ban is over", || {
        thread::sleep(Duration::from_millis(200));
        is_heard(&gateway, [127, 0, 0, 9]).then_some(())
    });
}

/// From these addresses everything is let in that would be refused.
fn observing(rest: &str) -> String {
    format!("observe: {{until: \"2099-01-01T00:00:00Z\", from: [127.0.0.0/8]}}\n{rest}")
}

#[test]
fn a_session_that_only_an_observation_admits_is_counted_and_named() {
    let policy = observing("origins: [{name: far, from: [192.0.2.1]}]\n");
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
    let labels = [("origin", "_none"), ("reason", "no_origin")];
    gateway.until_metric("doorward_would_deny_total", &labels, 1.0);
    let closed = gateway.metric("doorward_connections_closed_total", &[("origin", "_none")]);
    assert_eq!(closed, 1.0, "it has a row of its own");
    gateway.logged(&[
        ("event", "would_deny"),
        ("reason", "no_origin"),
        ("user", "app"),
    ]);
    gateway.logged(&[
        ("event", "closed"),
        ("origin", "_none"),
        ("would_deny", "no_origin"),
    ]);
    // an observation that is over is no right to stay
    let mut session = Raw::encrypted([127, 0, 0, 1], gateway.port);
    session.log_in("by_text", "shop");
    gateway.reload("origins: [{name: far, from: [192.0.2.1]}]\n");
    assert_eq!(session.refusal().field('C').as_deref(), Some("57P01"));
}

#[test]
fn the_mysql_server_hears_of_a_stranger_only_once_it_is_admitted() {
    let observed = observing(SHOP);
    let shared = "\
networks:
  runners: {addresses: [127.0.0.0/8], shared: true}
origins:
  - {name: job, from: [{network: runners}], proof: {certificate: {dns: job.example.com}}, users: [app]}
";
    for server in Mysql::all() {
        let relay = Relay::before(server.port);
        for (policy, comes_in) in [(&*observed, true), (shared, false)] {
            let gateway = Plan::mysql(&relay.address(), "").start(policy);
            let door = gateway.seen_from([127, 0, 0, 9]);
            let mut account = gateway.account();
            account.port = door.port;
            // the gateway asks the server for its own sake once
            wait_until("the server was heard", || {
                gateway
                    .metric("doorward_upstream_up", &[])
                    .eq(&1.0)
                    .then_some(())
            });
            let at_rest = relay.connected();
            let silent = Raw::connect_from([127, 0, 0, 9], gateway.port);
            let mut greeted = Raw::connect_from([127, 0, 0, 9], gateway.port);
            assert!(greeted.packet().unwrap().refusal().is_none(), "a greeting");
            assert_eq!(
                relay.connected(),
                at_rest,
                "{:?}: not even a socket",
                server.kind
            );
            drop((silent, greeted));
            for client in [mysql, mariadb] {
                let asked = client(&account, "select 1");
                if comes_in {
                    assert_eq!(asked.worked(), "1", "{:?}", server.kind);
                } else {
                    assert!(
                        asked.failed().contains("connection not allowed"),
                        "{asked:?}"
                    );
                }
            }
            assert_eq!(relay.connected() > at_rest, comes_in, "{:?}", server.kind);
        }
    }
}
