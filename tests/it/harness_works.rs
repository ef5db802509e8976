//! The harness itself, straight at the server: what the other tests take for granted.

use std::path::Path;

use crate::harness::{
    Login, Postgres, Raw, Relay, newest_psql, node, psql, python, raw, wait_until,
};

fn direct(user: &str, database: &str) -> Login {
    Login::new(Postgres::shared().port, user, database).sslmode("disable")
}

#[test]
fn every_client_reaches_a_server() {
    let login = direct("app", "shop");
    assert_eq!(psql(&login, "select session_user").worked(), "app");
    let script =
        "import psycopg, psycopg2\nprint(psycopg.connect('').execute('select 1').fetchone()[0])";
    assert_eq!(python(&login, script).worked(), "1");
    let script = "const { Client } = require('pg'); (async () => { const c = new Client({ssl: false}); await c.connect(); \
                  console.log((await c.query('select 1 as one')).rows[0].one); await c.end() })()";
    assert_eq!(node(&login, script).worked(), "1");
}

#[test]
fn raw_bytes_log_in() {
    let mut client = Raw::connect(Postgres::shared().port);
    client.log_in("by_text", "shop");
    client.query("select 1");
    assert_eq!(client.expect('D').payload, b"\0\x01\0\0\0\x011");
}

#[test]
fn a_server_trusts_only_whom_it_should() {
    let psql = |login: &Login| psql(login, "select 1").code();
    assert_eq!(psql(&direct("trusted", "shop").password("wrong")), 0);
    assert_eq!(psql(&direct("app", "shop").password("wrong")), 2);
    assert_eq!(psql(&direct("by_md5", "shop")), 0);
}

#[test]
fn the_servers_that_speak_tls_verify_and_are_verified() {
    for server in Postgres::all() {
        let login = Login::new(server.port, "tls_only", "shop");
        let asked = psql(
            &login,
            "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
        );
        assert_eq!(asked.worked(), "t");
        let bound = login.clone().with("PGCHANNELBINDING", "require");
        assert_eq!(psql(&bound, "select 1").worked(), "1");
        let clear = psql(&login.sslmode("disable"), "select 1");
        assert!(clear.failed().contains("pg_hba.conf"), "{clear:?}");
    }
    let server = Postgres::without_tls();
    let login = Login::new(server.port, "app", "shop");
    let refused = psql(&login, "select 1");
    assert!(
        refused.failed().contains("does not support SSL"),
        "{refused:?}"
    );
    assert_eq!(psql(&login.sslmode("disable"), "select 1").worked(), "1");
}

#[test]
fn the_newest_server_and_its_client_speak_the_newest_protocol() {
    let Some(server) = Postgres::newest() else {
        return;
    };
    let login = Login::new(server.port, "app", "shop")
        .with("PGMINPROTOCOLVERSION", "3.2")
        .with("PGMAXPROTOCOLVERSION", "3.2")
        .with("PGSSLNEGOTIATION", "direct");
    assert!(
        newest_psql(&login, "show server_version")
            .worked()
            .starts_with("18")
    );
    let said = newest_psql(&login, "\\conninfo");
    assert!(said.worked().contains("Protocol Version|3.2"), "{said:?}");
}

#[test]
fn a_relay_counts_gives_an_address_and_cuts() {
    let relay = Relay::from_address([127, 0, 0, 77], Postgres::shared().port);
    let mut client = Raw::connect(relay.port);
    client.send(&raw::startup(&[("user", "app"), ("database", "shop")]));
    let refusal = client.refusal();
    assert!(
        refusal.field('M').unwrap().contains("127.0.0.77"),
        "{refusal:?}"
    );
    assert_eq!(relay.spoken_to(), 1);
    let mut client = Raw::connect(relay.port);
    wait_until("the second connection", || {
        (relay.connected() == 2).then_some(())
    });
    relay.cut();
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_server_of_ones_own_ends_with_its_owner() {
    let releases = Postgres::all().into_iter().map(|server| server.release);
    for release in releases {
        let server = Postgres::start_of(release, &[]);
        let process = server.process();
        assert_eq!(server.sql("select 1"), "1");
        let folder = server.socket_folder();
        drop(server);
        assert!(!Path::new(&format!("/proc/{process}")).exists());
        assert!(!folder.exists());
    }
}
