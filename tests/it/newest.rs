//! The newest PostgreSQL and the newest libpq: longer keys, direct TLS, versions of the protocol that are not there yet.

use std::fs;

use crate::harness::{
    Gateway, Login, Postgres, Raw,
    clients::{Environ, python_started},
    gateway::SHOP,
    newest_psql, node, postgres,
    postgres::Release,
    process::of_tree,
    process::run,
    psql, python, raw, wait_until,
};

const WHO: &str = "select session_user || '@' || current_database()";

const TEXT: &str = "\
origins:
  - {name: text, from: [127.0.0.1], users: [by_text], databases: [shop]}
";

#[test]
fn every_driver_is_admitted_to_the_newest_server() {
    let Some(server) = Postgres::newest() else {
        return;
    };
    let gateway = Gateway::start(&server.address(), SHOP);
    let login = gateway.shop();
    assert_eq!(psql(&login, WHO).worked(), "app@shop");
    assert_eq!(newest_psql(&login, WHO).worked(), "app@shop");
    let script = format!(
        "import asyncio, os, ssl, asyncpg, pg8000.dbapi, psycopg, psycopg2\n\
         trust = ssl.create_default_context(cafile=os.environ['PGSSLROOTCERT'])\n\
         to = dict(user='app', database='shop', password='secret', host='localhost', port=int(os.environ['PGPORT']))\n\
         async def ask():\n\
         \x20   c = await asyncpg.connect(ssl=trust, **to); print(await c.fetchval({WHO:?})); await c.close()\n\
         asyncio.run(ask())\n\
         for c in (pg8000.dbapi.connect(ssl_context=trust, **to), psycopg.connect(''), psycopg2.connect('')):\n\
         \x20   k = c.cursor(); k.execute({WHO:?}); print(k.fetchone()[0])"
    );
    let said = python(&login, &script);
    assert_eq!(said.worked(), "app@shop\n".repeat(4).trim_end());
    let script = format!(
        "const e = process.env, ssl = {{ca: require('fs').readFileSync(e.PGSSLROOTCERT)}}, {{Client}} = require('pg');\n\
         const sql = require('postgres')({{host: 'localhost', port: e.PGPORT, ssl}});\n\
         (async () => {{ const c = new Client({{ssl}}); await c.connect();\n\
         console.log(Object.values((await c.query({WHO:?})).rows[0])[0]); await c.end();\n\
         console.log(Object.values((await sql.unsafe({WHO:?}))[0])[0]); await sql.end() }})()"
    );
    assert_eq!(node(&login, &script).worked(), "app@shop\napp@shop");
}

#[test]
fn the_newest_libpq_negotiates_with_the_server_as_if_nobody_stood_between() {
    let Some(newest) = Postgres::newest() else {
        return;
    };
    // what is asked for, and what comes of it at each server, oldest first
    let cases = [
        ("", "", ["3.0", "3.0"]),
        ("", "3.2", ["3.0", "3.2"]),
        ("", "latest", ["3.0", "3.2"]),
        ("3.2", "latest", ["-", "3.2"]),
        ("3.0", "3.0", ["3.0", "3.0"]),
    ];
    for (at, server) in [Postgres::shared(), newest].into_iter().enumerate() {
        let gateway = Gateway::start(&server.address(), SHOP);
        for (min, max, version) in cases {
            for negotiation in ["postgres", "direct"] {
                let login = [("PGMINPROTOCOLVERSION", min), ("PGMAXPROTOCOLVERSION", max)]
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .fold(gateway.shop(), |login, (name, value)| {
                        login.with(name, value)
                    })
                    .with("PGSSLNEGOTIATION", negotiation);
                let ended = newest_psql(&login, "\\conninfo");
                if version[at] == "-" {
                    assert!(ended.failed().contains("protocol version"), "{ended:?}");
                } else {
                    let wanted = format!("Protocol Version|{}", version[at]);
                    assert!(ended.worked().contains(&wanted), "{min}..{max}: {ended:?}");
                }
            }
        }
    }
}

#[test]
fn versions_that_are_not_there_yet_are_negotiated_once() {
    for server in Postgres::all() {
        let gateway = Gateway::start(&server.address(), TEXT);
        for (minor, option) in [
            (9999_u16, Some("_pq_.test_protocol_negotiation")),
            (9999, None),
            (2, Some("_pq_.test_protocol_negotiation")),
            (0, Some("_pq_.test_protocol_negotiation")),
        ] {
            let mut parameters = vec![("user", "by_text"), ("database", "shop")];
            parameters.extend(option.map(|name| (name, "")));
            let mut packet = raw::startup(&parameters);
            packet[6..8].copy_from_slice(&minor.to_be_bytes());
            let through = negotiated(&mut Raw::encrypted([127, 0, 0, 1], gateway.port), &packet);
            let direct = negotiated(&mut Raw::connect(server.port), &packet);
            assert_eq!(through, direct, "3.{minor} {option:?}");
            let (kinds, told, _key) = through;
            assert_eq!(kinds.matches('v').count(), 1, "{kinds}");
            assert!(kinds.starts_with('v'), "{kinds}");
            let named = option.unwrap_or_default().as_bytes();
            assert!(told[8..].starts_with(named), "{told:?}");
        }
    }
}

/// Logs in: the kinds of all messages up to the first `ReadyForQuery`, settings told once; the negotiation; the key's length.
fn negotiated(client: &mut Raw, packet: &[u8]) -> (String, Vec<u8>, usize) {
    client.send(packet);
    let (mut kinds, mut told, mut key) = (String::new(), Vec::new(), 0);
    loop {
        let message = client.message().unwrap();
        if !(message.kind == 'S' && kinds.ends_with('S')) {
            kinds.push(message.kind);
        }
        match message.kind {
            'v' => told = message.payload,
            'R' if message.payload == [0, 0, 0, 3] => client.send(&raw::framed(b'p', b"secret\0")),
            'K' => key = message.payload.len() - 4,
            'Z' => return (kinds, told, key),
            'E' => panic!("{:?}", message.field('M')),
            _ => {}
        }
    }
}

#[test]
fn a_session_of_the_newest_protocol_is_revoked_and_told_so() {
    for server in Postgres::all() {
        let gateway = Gateway::start(&server.address(), TEXT);
        let mut packet = raw::startup(&[("user", "by_text"), ("database", "shop")]);
        packet[7] = 2;
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        let (.., key) = negotiated(&mut client, &packet);
        let longer = server.release == Release::Newest;
        assert_eq!(key, if longer { 32 } else { 4 });
        gateway.reload(&TEXT.replace("127.0.0.1", "127.0.0.9"));
        assert_eq!(client.refusal().field('C').as_deref(), Some("57P01"));
    }
}

#[test]
fn a_whole_server_is_copied_and_its_changes_are_followed() {
    let Some(server) = Postgres::newest() else {
        return;
    };
    let policy = "\
origins:
  - {name: replica, from: [127.0.0.1], users: [replicator], replication: physical}
  - {name: changes, from: [127.0.0.1], users: [replicator], databases: [shop], replication: logical}
";
    let gateway = Gateway::start(&server.address(), policy);
    let replica = Login::new(gateway.port, "replicator", "shop");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let mut backup = of_tree(&postgres::tree(), "usr/lib/postgresql/18/bin/pg_basebackup");
    backup.args([
        "--checkpoint=fast",
        "--wal-method=stream",
        "--no-sync",
        "-D",
    ]);
    run(replica.environ(backup.arg(&copy))).worked();
    assert_eq!(fs::read_to_string(copy.join("PG_VERSION")).unwrap(), "18\n");
    assert!(copy.join("pg_wal").read_dir().unwrap().count() > 1);
    let script = "\
import psycopg2, psycopg2.extras as x
c = psycopg2.connect('', connection_factory=x.LogicalReplicationConnection).cursor()
c.create_replication_slot('doorward', output_plugin='test_decoding')
c.start_replication(slot_name='doorward', decode=True)
print('following', flush=True)
class Enough(Exception): pass
def told(message):
    if 'hello' in message.payload: print(message.payload); raise Enough
try: c.consume_stream(told)
except Enough: pass";
    let following = python_started(&replica, script);
    wait_until("a slot is followed", || {
        let sql = "select 1 from pg_replication_slots where slot_name = 'doorward' and active";
        (server.sql(sql) == "1").then_some(())
    });
    let login = Login::new(server.port, "postgres", "shop").password("super");
    psql(
        &login,
        "create table said (it text); insert into said values ('hello')",
    )
    .worked();
    let ended = following.end();
    assert!(ended.worked().contains("hello"), "{ended:?}");
    wait_until("the slot is left", || {
        let dropped = server.psql("select pg_drop_replication_slot('doorward')");
        dropped.status.success().then_some(())
    });
}
