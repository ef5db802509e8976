//! Bounds: what one origin, one source and everybody together may take.

use crate::harness::{
    Gateway, Login, Mysql, Postgres, Raw, Relay, mysql_clients::Tls, node, psql, raw, wait_until,
};

const FEW: &str = "\
origins:
  - {name: few, from: [127.0.0.1], users: [by_text], databases: [shop], limits: {connections: 2}}
";

fn session(gateway: &Gateway) -> Raw {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.log_in("by_text", "shop");
    client
}

#[test]
fn a_full_origin_refuses_and_takes_again_when_a_place_is_free() {
    let gateway = Gateway::start(&Postgres::shared().address(), FEW);
    let one = session(&gateway);
    let mut two = session(&gateway);
    let login = Login::new(gateway.port, "by_text", "shop");
    let refused = psql(&login, "select 1");
    assert!(
        refused.failed().contains("[limit_connections]"),
        "{refused:?}"
    );
    let mut third = Raw::encrypted([127, 0, 0, 1], gateway.port);
    third.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
    assert_eq!(third.refusal().field('C').as_deref(), Some("53300"));
    two.query("select 1");
    two.expect('Z');
    drop(one);
    wait_until("a free place", || {
        psql(&login, "select 1").status.success().then_some(())
    });
    assert_eq!(
        gateway.metric("doorward_connections_limit", &[("origin", "few")]),
        2.0
    );
}

#[test]
fn when_one_origin_is_full_the_next_complete_match_takes_the_session() {
    let policy = format!("{FEW}  - {{name: rest, from: [127.0.0.0/8], users: [by_text]}}\n");
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    let _three = [session(&gateway), session(&gateway), session(&gateway)];
    gateway.until_metric("doorward_connections", &[("origin", "few")], 2.0);
    gateway.until_metric("doorward_connections", &[("origin", "rest")], 1.0);
}

#[test]
fn a_lower_limit_ends_no_live_session() {
    let gateway = Gateway::start(&Postgres::shared().address(), FEW);
    let mut both = [session(&gateway), session(&gateway)];
    gateway.reload(&FEW.replace("connections: 2", "connections: 1"));
    for client in &mut both {
        client.query("select 1");
        client.expect('Z');
    }
    let login = Login::new(gateway.port, "by_text", "shop");
    assert!(
        psql(&login, "select 1")
            .failed()
            .contains("[limit_connections]")
    );
}

#[test]
fn one_source_cannot_take_all_openings() {
    let upstream = Relay::before(Postgres::shared().port);
    let policy = format!("{FEW}limits: {{openings: 16, per_source: 4}}\n");
    let gateway = Gateway::start(&upstream.address(), &policy);
    let held: Vec<Raw> = (0..4)
        .map(|_| Raw::connect_from([127, 0, 0, 50], gateway.port))
        .collect();
    gateway.until_metric("doorward_openings_in_progress", &[("listener", "pg")], 4.0);
    let mut fifth = Raw::connect_from([127, 0, 0, 50], gateway.port);
    assert_eq!(fifth.rest(), b"", "the fifth of one source");
    // strangers from everywhere cannot take the quarter that is kept for known addresses
    let crowd: Vec<Raw> = (60..90)
        .map(|last| Raw::connect_from([127, 0, 0, last], gateway.port))
        .collect();
    let login = Login::new(gateway.port, "by_text", "shop");
    assert_eq!(psql(&login, "select 1").worked(), "1");
    assert!(gateway.refused("limit_global") >= 1.0);
    drop((held, crowd));
    gateway.until_metric("doorward_openings_in_progress", &[("listener", "pg")], 0.0);
    assert_eq!(upstream.spoken_to(), 1);
}

#[test]
fn explained_refusals_of_strangers_have_a_budget() {
    let policy = format!("{FEW}limits: {{refusals_explained: 2/s}}\n");
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    let answers = (0..20_u8).map(|last| {
        let mut stranger = Raw::connect_from([127, 0, 1, last], gateway.port);
        stranger
            .try_send(&raw::startup(&[("user", "x"), ("database", "y")]))
            .ok();
        !stranger.rest().is_empty()
    });
    let explained = answers.filter(|spoke| *spoke).count();
    assert!((2..15).contains(&explained), "{explained} of 20 got a text");
    gateway.until_metric("doorward_decisions_total", &[("reason", "no_origin")], 20.0);
}

#[test]
fn a_descriptor_shortage_is_survived() {
    let mut plan = crate::harness::gateway::Plan::new(&Postgres::shared().address());
    let file = plan.folder.path().join("allowlist.yaml");
    std::fs::write(&file, format!("{}{FEW}", plan.head)).unwrap();
    plan.environment.clear();
    let mut command = std::process::Command::new("prlimit");
    command.args(["--nofile=48:48", "setpriv", "--pdeathsig", "KILL"]);
    command
        .arg(env!("CARGO_BIN_EXE_doorward"))
        .arg("run")
        .arg("--config")
        .arg(file);
    let mut gateway = plan.spawn(&mut command);
    gateway.until_healthy();
    let mut live = session(&gateway);
    let crowd: Vec<Raw> = (1..80)
        .map(|last| Raw::connect_from([127, 0, 2, last], gateway.port))
        .collect();
    for _ in 0..50 {
        live.query("select 1");
        live.expect('Z');
    }
    drop(crowd);
    let login = Login::new(gateway.port, "by_text", "shop");
    wait_until("the door is open again", || {
        psql(&login, "select 1").status.success().then_some(())
    });
    assert!(gateway.metric("doorward_accept_errors_total", &[]) >= 1.0);
}

#[test]
fn an_origin_takes_so_many_new_sessions_a_minute() {
    let policy = FEW.replace("connections: 2", "new_per_minute: 2");
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    let mut live = session(&gateway);
    drop(session(&gateway));
    let login = Login::new(gateway.port, "by_text", "shop");
    let refused = psql(&login, "select 1");
    assert!(refused.failed().contains("[limit_rate]"), "{refused:?}");
    live.query("select 1");
    live.expect('Z');
    let rest = format!("{policy}  - {{name: rest, from: [127.0.0.0/8], users: [by_text]}}\n");
    gateway.reload(&rest);
    assert_eq!(psql(&login, "select 1").worked(), "1", "by the next origin");
}

#[test]
fn who_guesses_passwords_waits_and_no_other_user_does() {
    let policy = "\
origins:
  - {name: few, from: [127.0.0.1], users: [app, other], databases: [shop], limits: {failed_auth_per_minute: 2}}
";
    let gateway = Gateway::start(&Postgres::shared().address(), policy);
    let guess = gateway.shop().password("wrong");
    for _ in 0..2 {
        assert!(
            psql(&guess, "select 1")
                .failed()
                .contains("password authentication failed")
        );
    }
    let refused = psql(&gateway.shop(), "select 1");
    assert!(refused.failed().contains("[limit_rate]"), "{refused:?}");
    let other = Login::new(gateway.port, "other", "shop");
    assert_eq!(psql(&other, "select 1").worked(), "1");
    assert_eq!(gateway.metric("doorward_bans", &[]), 0.0, "it is known");
}

#[test]
fn a_password_is_not_guessed_by_changing_users_either() {
    let policy = "\
require: {tls: false}
origins:
  - {name: few, from: [127.0.0.1], users: [app, other], databases: [shop], limits: {failed_auth_per_minute: 2}}
";
    for server in Mysql::all() {
        let gateway = Gateway::mysql(&server.address(), policy);
        let script = "const mysql = require('mysql2/promise'), e = process.env;\n\
             const as = (user, password) => ({user, password, database: 'shop'});\n\
             (async () => { for (const password of ['no', 'never', 'secret']) {\n\
               const c = await mysql.createConnection({host: e.DB_HOST, port: +e.DB_PORT, ...as('app', 'secret')});\n\
               try { await c.changeUser(as('other', password)); console.log('in') }\n\
               catch (wrong) { console.log(wrong.message.includes('limit_rate')) }\n\
               c.destroy() } })()";
        let said = node(&gateway.account().tls(Tls::Off), script);
        assert_eq!(
            said.worked().trim(),
            "false\nfalse\ntrue",
            "{:?}",
            server.kind
        );
    }
}

#[test]
fn a_session_lasts_as_long_as_its_origin_lets_it() {
    let policy = FEW.replace("connections: 2", "session: 2s");
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    let (mut idle, mut busy) = (session(&gateway), session(&gateway));
    busy.query("begin");
    busy.expect('Z');
    let told = idle.refusal();
    assert_eq!(told.field('C').as_deref(), Some("57P01"));
    let text = told.field('M').unwrap();
    assert!(
        text.contains("as long as") && text.contains("[expired]"),
        "{text}"
    );
    for end in ["select 1", "commit"] {
        busy.query(end);
        busy.expect('Z');
    }
    assert_eq!(busy.refusal().field('C').as_deref(), Some("57P01"));
    let login = Login::new(gateway.port, "by_text", "shop");
    assert_eq!(psql(&login, "select 1").worked(), "1", "another may begin");
    // the limit reaches live sessions by a reload, too
    let long = FEW.replace("connections: 2", "session: 1h");
    gateway.reload(&long);
    let mut live = session(&gateway);
    gateway.reload(&policy);
    assert_eq!(live.refusal().field('C').as_deref(), Some("57P01"));
}
