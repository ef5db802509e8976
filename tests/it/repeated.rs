//! A query that is asked again for each row is found while somebody watches, whichever driver asks and however it does so; and
//! a worker that asks the same for each of its pages is not blamed. The scripts do everything three times: a machine under load may
//! think between two queries for once.

use std::{collections::BTreeSet, thread, time::Duration};

use serde_json::Value;

use crate::harness::{
    Ended, Gateway, Mysql, Postgres,
    clients::Environ,
    gateway::SHOP,
    mysql_clients::{Tls, php},
    node, python,
};

const POSTGRES_IN_PYTHON: &str = "\
import asyncio, os, ssl, time, asyncpg, psycopg, psycopg2, pg8000.dbapi as pg
trust = ssl.create_default_context(cafile=os.environ['PGSSLROOTCERT'])
to = dict(user='app', database='shop', password='secret', host='localhost', port=int(os.environ['PGPORT']))
def page(c, times, list='select id from generate_series(1, 40) id', row='select pg_sleep(0.003), %s'):
    c.execute(list); c.fetchall()
    for n in range(times): c.execute(row, (n,)); c.fetchall()
async def ask():
    c = await asyncpg.connect(ssl=trust, **to)
    await c.fetch('select id from generate_series(1, 40) id')
    for n in range(33): await c.fetch('select pg_sleep(0.003), $1::bigint', n)
    await c.close()
for again in range(3):
    page(psycopg2.connect('').cursor(), 30)
    page(psycopg.connect('').cursor(), 31, row='select pg_sleep(0.003), %s::int')
    page(pg.connect(ssl_context=trust, **to).cursor(), 32, row='select pg_sleep(0.003), cast(%s as text)')
    asyncio.run(ask())
    # the first thing of a session, and something is done with each row
    c = psycopg.connect('', autocommit=True).cursor()
    for n in range(36): c.execute('select pg_sleep(0.003), %s::oid', (n,)); time.sleep(0.001)
# no loop over rows: written, in pages of their own, thought about, or alone
c = psycopg.connect('', autocommit=True).cursor()
c.execute('create temp table t (a int)')
for n in range(40): c.execute('insert into t select %s from pg_sleep(0.003)', (n,))
c.execute('select 2')
for n in range(40): c.execute('select pg_sleep(0.003), %s::smallint', (n,)); time.sleep(0.008)
for n in range(40): c.execute('select 3'); c.execute('select pg_sleep(0.003), %s::numeric', (n,))
";

const POSTGRES_IN_NODE: &str = "\
const { Client } = require('pg'), e = process.env;
const at = `postgres://app:secret@localhost:${e.PGPORT}/shop?sslmode=verify-full&sslrootcert=${e.PGSSLROOTCERT}`;
const ca = require('fs').readFileSync(e.PGSSLROOTCERT);
const sql = require('postgres')({host: 'localhost', port: e.PGPORT, ssl: {ca}, max: 1});
(async () => {
    for (let again = 0; again < 3; again++) {
        const c = new Client(at); await c.connect();
        await c.query('select id from generate_series(1, 40) id');
        for (let n = 0; n < 34; n++)
            await c.query({name: 'row', text: 'select pg_sleep(0.003) as slept, $1::int as n', values: [n]});
        await c.end();
        await sql`select id from generate_series(1, 40) id`;
        for (let n = 0; n < 35; n++) await sql`select pg_sleep(0.003) as pause, ${n}::int as n`;
    }
    await sql.end();
})()";

const MYSQL_IN_PYTHON: &str = "\
import os, MySQLdb, pymysql, mysql.connector
e = os.environ; ca = e['DB_CA']
to = dict(host=e['DB_HOST'], port=int(e['DB_PORT']), user=e['DB_USER'], password=e['DB_PASSWORD'], database=e['DB_NAME'])
def page(c, times, row):
    c.execute('select 1 union select 2'); c.fetchall()
    for n in range(times): c.execute(row, (n,)); c.fetchall()
for again in range(3):
    page(pymysql.connect(ssl=dict(ca=ca), **to).cursor(), 30, 'select sleep(0.003), %s')
    page(MySQLdb.connect(ssl=dict(ca=ca), **to).cursor(), 31, 'select sleep(0.003), 1 + %s')
    c = mysql.connector.connect(use_pure=True, ssl_ca=ca, **to)
    page(c.cursor(prepared=True), 32, 'select sleep(0.003), 2 * %s')
    c.close()
";

const MYSQL_IN_NODE: &str = "\
const e = process.env;
const to = {host: e.DB_HOST, port: +e.DB_PORT, user: e.DB_USER, password: e.DB_PASSWORD, database: e.DB_NAME};
to.ssl = {ca: require('fs').readFileSync(e.DB_CA)};
(async () => {
    for (let again = 0; again < 3; again++) {
        const two = await require('mysql2/promise').createConnection(to);
        await two.query('select 1 union select 2');
        for (let n = 0; n < 33; n++) await two.execute('select sleep(0.003) as slept, ? as n', [n]);
        await two.end();
        const maria = await require('mariadb').createConnection(to);
        await maria.query('select 1 union select 2');
        for (let n = 0; n < 34; n++) await maria.execute('select sleep(0.003) as pause, ? as n', [n]);
        await maria.end();
    }
})()";

/// Prepares, runs and closes each time.
const MYSQL_IN_PHP: &str = "\
$p = new PDO('mysql:host='.getenv('DB_HOST').';port='.getenv('DB_PORT').';dbname='.getenv('DB_NAME'),
    getenv('DB_USER'), getenv('DB_PASSWORD'), [PDO::MYSQL_ATTR_SSL_CA => getenv('DB_CA')]);
$p->setAttribute(PDO::ATTR_EMULATE_PREPARES, false);
for ($again = 0; $again < 3; $again++) {
    $p->query('select 1 union select 2')->fetchAll();
    for ($n = 0; $n < 35; $n++) {
        $s = $p->prepare('select sleep(0.003) as php, ? as n'); $s->execute([$n]); $s->fetchAll(); $s = null;
    }
}";

/// What `doorward latency` says of the origin after these clients ran while it watched.
fn watched(gateway: &Gateway, clients: &[&(dyn Fn() -> Ended + Sync)]) -> Value {
    thread::scope(|scope| {
        let watch = || gateway.command(&["latency", "shop", "--for", "15", "--format", "json"]);
        let watching = scope.spawn(watch);
        thread::sleep(Duration::from_secs(1));
        let running: Vec<_> = clients.iter().map(|client| scope.spawn(client)).collect();
        for client in running {
            client.join().unwrap().worked();
        }
        let lines: Value = serde_json::from_str(watching.join().unwrap().worked()).unwrap();
        lines[0].clone()
    })
}

/// The lengths of the runs that were seen.
fn lengths(line: &Value) -> BTreeSet<u64> {
    let repeated = line["repeated"].as_array().unwrap();
    repeated
        .iter()
        .inspect(|one| {
            let (length, saves) = (one["length"].as_f64(), one["saves_ms"].as_f64().unwrap());
            let least = length.unwrap() * 3.0;
            assert!((least..least * 20.0).contains(&saves), "{one:#}");
        })
        .map(|one| one["length"].as_u64().unwrap())
        .collect()
}

fn whoever<'a, L: Environ + Sync + 'a>(
    run: fn(&L, &str) -> Ended,
    login: &'a L,
    script: &'a str,
) -> impl Fn() -> Ended + Sync + 'a {
    move || run(login, script)
}

#[test]
fn whichever_way_a_driver_of_postgresql_asks_the_repeated_query_is_found() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    let login = gateway.shop();
    let line = watched(
        &gateway,
        &[
            &whoever(python, &login, POSTGRES_IN_PYTHON),
            &whoever(node, &login, POSTGRES_IN_NODE),
        ],
    );
    assert_eq!(lengths(&line), (30..=36).collect(), "{line:#}");
    let advice = line["advice"].as_array().unwrap();
    let of = |what| advice.iter().find(|advice| advice["what"] == what);
    let text = of("repeated").unwrap()["text"].as_str().unwrap();
    assert!(
        text.starts_with("one query repeated 3") && text.contains(" times in a row: "),
        "{text}"
    );
}

#[test]
fn whichever_way_a_driver_of_mysql_asks_the_repeated_query_is_found() {
    let at = |server: &Mysql| {
        let gateway = Gateway::mysql(&server.address(), SHOP);
        let account = gateway.account().tls(Tls::Verified);
        let line = watched(
            &gateway,
            &[
                &whoever(python, &account, MYSQL_IN_PYTHON),
                &whoever(node, &account, MYSQL_IN_NODE),
                &whoever(php, &account, MYSQL_IN_PHP),
            ],
        );
        let kind = server.kind;
        assert_eq!(lengths(&line), (30..=35).collect(), "{kind:?}: {line:#}");
    };
    thread::scope(|scope| {
        for server in Mysql::all() {
            scope.spawn(move || at(server));
        }
    });
}
