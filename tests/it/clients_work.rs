//! Unchanged clients reach the database through the gateway, over TLS that they verify in full.

use std::sync::Arc;

use crate::harness::{
    Gateway, Login, Postgres, Raw,
    gateway::{Plan, SHOP},
    node, psql, python, raw, tls,
    tls::Rustls,
};

const WHO: &str = "select session_user || '@' || current_database()";

fn gateway() -> Gateway {
    Gateway::start(&Postgres::shared().address(), SHOP)
}

#[test]
fn psql_is_admitted_over_verified_tls() {
    let gateway = gateway();
    assert_eq!(psql(&gateway.shop(), WHO).worked(), "app@shop");
    let wrong_password = psql(&gateway.shop().password("wrong"), WHO);
    assert!(
        wrong_password
            .failed()
            .contains("password authentication failed"),
        "{wrong_password:?}"
    );
}

#[test]
fn the_database_may_see_whom_a_session_is_for_and_the_log_keeps_the_clients_word() {
    let server = Postgres::shared();
    let mut plan = Plan::new(&server.address());
    plan.head = plan
        .head
        .replacen("upstream:", "identify: application_name, upstream:", 1);
    let gateway = plan.start("origins:\n  - {name: all, from: [127.0.0.0/8], users: [app, replicator], databases: [shop]}\n  - {name: replica, from: [127.0.0.1], users: [replicator], databases: [shop], replication: logical}\n");
    let shown = |login: &Login| psql(login, "show application_name").worked().to_owned();
    assert_eq!(shown(&gateway.shop()), "psql - 127.0.0.1");
    let far = gateway.seen_from([127, 0, 0, 9]);
    let named = Login::new(far.port, "app", "shop").with("PGAPPNAME", "Kasse \u{e9}\u{e9}");
    // what the server makes of other characters than ASCII is its own affair
    assert!(shown(&named).ends_with(" - 127.0.0.9"), "{}", shown(&named));
    let long = Login::new(far.port, "app", "shop").with("PGAPPNAME", &"x".repeat(70));
    assert_eq!(shown(&long), format!("{} - 127.0.0.9", "x".repeat(51)));
    let line = gateway.logged(&[("event", "closed"), ("application", "psql")]);
    assert!(line.to_string().contains("127.0.0.1"), "{line}");
    let standby = Login::new(gateway.port, "replicator", "shop").with("PGAPPNAME", "standby1");
    let script = "import psycopg2, psycopg2.extras as x\n\
                  c = psycopg2.connect('', connection_factory=x.LogicalReplicationConnection).cursor()\n\
                  c.execute('show application_name'); print(c.fetchone()[0])";
    assert_eq!(python(&standby, script).worked(), "standby1");
    let text = std::fs::read_to_string(gateway.file()).unwrap();
    let without = text.replace("identify: application_name, ", "");
    std::fs::write(gateway.file(), without).unwrap();
    gateway.command(&["reload"]).worked();
    assert_eq!(shown(&gateway.shop()), "psql");
}

#[test]
fn psycopg_is_admitted() {
    let gateway = gateway();
    let script =
        format!("import psycopg\nprint(psycopg.connect('').execute({WHO:?}).fetchone()[0])");
    assert_eq!(python(&gateway.shop(), &script).worked(), "app@shop");
}

#[test]
fn psycopg_is_admitted_by_direct_tls_and_by_a_newer_protocol() {
    let gateway = gateway();
    let script = format!(
        "import psycopg\n\
         for more in ('sslnegotiation=direct', 'max_protocol_version=3.2', 'max_protocol_version=latest sslnegotiation=direct'):\n\
         \x20   print(psycopg.connect(more).execute({WHO:?}).fetchone()[0])"
    );
    assert_eq!(
        python(&gateway.shop(), &script).worked(),
        "app@shop\n".repeat(3).trim_end()
    );
}

#[test]
fn psycopg2_is_admitted() {
    let gateway = gateway();
    let script = format!(
        "import psycopg2\nc = psycopg2.connect('').cursor(); c.execute({WHO:?}); print(c.fetchone()[0])"
    );
    assert_eq!(python(&gateway.shop(), &script).worked(), "app@shop");
}

#[test]
fn asyncpg_and_pg8000_are_admitted() {
    let gateway = gateway();
    let script = format!(
        "import asyncio, os, ssl, asyncpg, pg8000.dbapi as pg\n\
         trust = ssl.create_default_context(cafile=os.environ['PGSSLROOTCERT'])\n\
         to = dict(user='app', database='shop', password='secret', host='localhost', port=int(os.environ['PGPORT']))\n\
         async def ask():\n\
         \x20   c = await asyncpg.connect(ssl=trust, **to); print(await c.fetchval({WHO:?})); await c.close()\n\
         asyncio.run(ask())\n\
         c = pg.connect(ssl_context=trust, **to).cursor(); c.execute({WHO:?}); print(c.fetchone()[0])"
    );
    assert_eq!(
        python(&gateway.shop(), &script).worked(),
        "app@shop\napp@shop"
    );
}

#[test]
fn node_postgres_is_admitted_by_a_verifying_address() {
    let gateway = gateway();
    let script = format!(
        "const {{ Client }} = require('pg'); const e = process.env;\n\
         const at = `postgres://app:secret@localhost:${{e.PGPORT}}/shop?sslmode=verify-full&sslrootcert=${{e.PGSSLROOTCERT}}`;\n\
         (async () => {{ const c = new Client(at); await c.connect();\n\
         console.log(Object.values((await c.query({WHO:?})).rows[0])[0]); await c.end() }})()"
    );
    assert_eq!(node(&gateway.shop(), &script).worked(), "app@shop");
}

#[test]
fn postgres_js_is_admitted() {
    let gateway = gateway();
    let script = format!(
        "const e = process.env, ca = require('fs').readFileSync(e.PGSSLROOTCERT);\n\
         const sql = require('postgres')({{host: 'localhost', port: e.PGPORT, ssl: {{ca}}}});\n\
         (async () => {{ console.log(Object.values((await sql.unsafe({WHO:?}))[0])[0]); await sql.end() }})()"
    );
    assert_eq!(node(&gateway.shop(), &script).worked(), "app@shop");
}

#[tokio::test]
async fn tokio_postgres_is_admitted() {
    let gateway = gateway();
    let config: tokio_postgres::Config = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=app password=secret dbname=shop sslmode=require",
        gateway.port
    )
    .parse()
    .unwrap();
    let (client, connection) = config.connect(Rustls(tls::client(&[]))).await.unwrap();
    let connection = tokio::spawn(connection);
    let row = client.query_one(WHO, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "app@shop");
    drop(client);
    connection.await.unwrap().unwrap();
}

#[test]
fn every_password_method_is_relayed() {
    let policy = "\
origins:
  - {name: all, from: [127.0.0.1], users: [app, by_md5, by_text], databases: [shop]}
";
    let gateway = Gateway::start(&Postgres::shared().address(), policy);
    for user in ["app", "by_md5", "by_text"] {
        let login = Login::new(gateway.port, user, "shop");
        assert_eq!(psql(&login, WHO).worked(), format!("{user}@shop"));
    }
}

#[test]
fn a_client_that_offers_channel_binding_or_does_not_is_admitted_and_one_that_requires_it_says_why_not()
 {
    let gateway = gateway();
    let with = |binding| psql(&gateway.shop().with("PGCHANNELBINDING", binding), WHO);
    assert_eq!(with("prefer").worked(), "app@shop");
    assert_eq!(with("disable").worked(), "app@shop");
    assert!(with("require").failed().contains("channel binding"));
}

#[test]
fn the_upstream_may_be_a_name_a_unix_socket_or_its_folder() {
    let server = Postgres::shared();
    let folder = server.socket_folder();
    let socket = folder.join(format!(".s.PGSQL.{}", server.port));
    let name = format!("localhost:{}", server.port);
    for upstream in [&*name, folder.to_str().unwrap(), socket.to_str().unwrap()] {
        let gateway = Gateway::start(upstream, SHOP);
        assert_eq!(psql(&gateway.shop(), WHO).worked(), "app@shop");
    }
}

#[test]
fn a_database_that_is_not_named_is_the_users() {
    let server = Postgres::shared();
    let policy = "\
origins:
  - {name: by-text, from: [127.0.0.1], users: [by_text], databases: [by_text]}
";
    let gateway = Gateway::start(&server.address(), policy);
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.send(&raw::startup(&[("user", "by_text")]));
    client.expect('R');
    client.send(&raw::framed(b'p', b"secret\0"));
    // it believes the password, and then finds no such database
    assert_eq!(client.message().unwrap().payload, [0; 4]);
    assert_eq!(
        client.refusal().field('C').as_deref(),
        Some("3D000"),
        "the server's own no"
    );
}

#[test]
fn large_values_and_copies_come_through_unchanged_in_both_directions() {
    let gateway = gateway();
    let script = "\
import psycopg, hashlib, random
data = random.Random(7).randbytes(20_000_000)
with psycopg.connect('') as c:
    assert c.execute('select %b::bytea', [data]).fetchone()[0] == data
    c.execute('create temp table t (b bytea)')
    with c.cursor().copy('copy t from stdin (format binary)') as copy:
        copy.set_types(['bytea'])
        for i in range(0, len(data), 777_777): copy.write_row([data[i:i + 777_777]])
    back = b''.join(row[0] for row in c.execute('select b from t'))
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()
    with c.cursor().copy('copy (select i, repeat(chr(65 + i % 26), i % 300) from generate_series(1, 40000) i) to stdout') as copy:
        rows = b''.join(copy).split(b'\\n')[:-1]
    assert [int(r.split(b'\\t')[0]) for r in rows] == list(range(1, 40001))
print('same')";
    assert_eq!(python(&gateway.shop(), script).worked(), "same");
}

#[test]
fn pipelines_notifications_and_prepared_statements_work() {
    let gateway = gateway();
    let script = "\
import psycopg
with psycopg.connect('', autocommit=True) as c, psycopg.connect('', autocommit=True) as d:
    with c.pipeline():
        cursors = [c.execute('select %s::int', [i], prepare=True) for i in range(500)]
    assert [k.fetchone()[0] for k in cursors] == list(range(500))
    c.execute('listen news'); d.execute(\"notify news, 'hello'\")
    print(next(c.notifies(timeout=20)).payload)";
    assert_eq!(python(&gateway.shop(), script).worked(), "hello");
}

#[test]
fn replication_is_a_right_of_its_own() {
    let policy = "\
origins:
  - {name: replica, from: [127.0.0.1], users: [replicator], replication: physical}
  - {name: shop, from: [127.0.0.1], users: [app], databases: [shop]}
";
    let gateway = Gateway::start(&Postgres::shared().address(), policy);
    let replica = Login::new(gateway.port, "replicator", "shop");
    let script = "import psycopg2, psycopg2.extras as x\n\
                  c = psycopg2.connect('', connection_factory=x.PhysicalReplicationConnection).cursor()\n\
                  c.execute('IDENTIFY_SYSTEM'); print(len(c.fetchone()))";
    assert_eq!(python(&replica, script).worked(), "4");
    let ordinary = psql(&replica, "select 1");
    assert!(
        ordinary.failed().contains("replication_not_allowed"),
        "{ordinary:?}"
    );
    for spelling in ["true", "TRUE", "t", "tr", "on", "yes", "y", "1", "database"] {
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        let parameters = [
            ("user", "app"),
            ("database", "shop"),
            ("replication", spelling),
        ];
        client.send(&raw::startup(&parameters));
        let refusal = client.refusal().field('M').unwrap();
        assert!(
            refusal.contains("[replication_not_allowed]"),
            "{spelling}: {refusal}"
        );
    }
}

#[test]
fn the_server_logs_in_whom_the_gateway_decided_on() {
    // what an opening might say in two ways: either it is refused, or both sides read it alike
    let server = Postgres::shared();
    let policy = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text, other], databases: [shop, hr]}
";
    let gateway = Gateway::start(&server.address(), policy);
    let users = [
        "by_text",
        "other",
        "by_text ",
        "BY_TEXT",
        "\"by_text\"",
        "by_text\u{e9}",
        "",
    ];
    let databases = [
        "shop",
        "hr",
        "shop\u{301}",
        "SHOP",
        "dbname=hr",
        "",
        "postgres",
    ];
    let extras: [&[(&str, &str)]; 7] = [
        &[],
        &[("user", "by_text")],
        &[("database", "hr")],
        &[("options", "-c search_path=x")],
        &[("application_name", "user=other\u{7f}")],
        &[("User", "other")],
        &[("_pq_.unknown", "1"), ("client_encoding", "UTF8")],
    ];
    let config = tls::client(&[]);
    let (mut admitted, mut refused) = (0, 0);
    for (number, user) in users.iter().enumerate() {
        for database in &databases {
            for extra in extras {
                let mut parameters = vec![("user", *user), ("database", *database)];
                parameters.splice(number % 2..number % 2, extra.iter().copied());
                match session(&gateway, Arc::clone(&config), &parameters) {
                    Some(who) => {
                        admitted += 1;
                        let database = if database.is_empty() { user } else { database };
                        assert_eq!(who, format!("{user}@{database}"), "{parameters:?}");
                        let claim = [
                            ("event", "closed"),
                            ("user", *user),
                            ("database", *database),
                        ];
                        gateway.logged(&claim);
                    }
                    None => refused += 1,
                }
            }
        }
    }
    assert!(
        admitted >= 6 && refused >= 100,
        "{admitted} admitted, {refused} refused"
    );
}

/// Opens, and asks the server who it thinks this is: `None` if anybody refuses.
fn session(
    gateway: &Gateway,
    config: Arc<tokio_rustls::rustls::ClientConfig>,
    parameters: &[(&str, &str)],
) -> Option<String> {
    let mut client = Raw::connect(gateway.port);
    client.send(&raw::SSL_REQUEST);
    assert_eq!(client.byte(), b'S');
    let (mut client, ..) = client.handshake(config).unwrap();
    client.send(&raw::startup(parameters));
    loop {
        let message = client.message()?;
        match message.kind {
            'E' => return None,
            'R' if message.payload[..4] == [0, 0, 0, 3] => {
                client.send(&raw::framed(b'p', b"secret\0"));
            }
            // other methods than clear text are not spoken here: `other` proves itself in other tests
            'R' if message.payload[..4] != [0, 0, 0, 0] => return None,
            'Z' => break,
            _ => {}
        }
    }
    client.query("select session_user || '@' || current_database()");
    let row = client.expect('D').payload;
    Some(String::from_utf8_lossy(&row[6..]).into_owned())
}
