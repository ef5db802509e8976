//! Every pair of legs, every way of treating SCRAM, every client that can bind its login to TLS or cannot: one table.
//!
//! A client that binds proves its password for the certificate it sees. Whether it gets in depends on whom the server believes to
//! see, and on who checks the proof.

use std::{fmt::Write, thread};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::harness::{
    Authority, Gateway, Login, Postgres, free_port,
    gateway::{Plan, SHOP},
    newest_psql, node,
    postgres::Release,
    psql, python,
    tls::{self, Rustls},
};

/// What became of each client, at every server alike. The legs: how the client comes, how the gateway goes on, who checks the
/// proof. `same` shows the server's own certificate; `+` has verifiers.
///
/// psql, the newest psql, psycopg and tokio-postgres each with `channel_binding` as prefer, disable, require; node-postgres without
/// and with `enableChannelBinding`; postgres.js, which has never heard of it. `ok` is in; `hint` failed by the server's no with our
/// hint; `own` failed by the client's own words, which nobody can add to.
///
/// Two more ways to fail are never taken: to strip the offer to bind from a client with TLS, whom the server would tell of a
/// downgrade, and to make it to a client in clear, which libpq ends at. node-postgres says that it could bind even in clear, and is
/// told of that downgrade.
const TABLE: &str = "\
tls   tls    relay       hint ok hint  hint ok hint  hint ok hint  hint ok hint  ok hint  ok
same  tls    relay       ok ok ok      ok ok ok      ok ok ok      ok ok ok      ok ok    ok
same  tls    auto        ok ok ok      ok ok ok      ok ok ok      ok ok ok      ok ok    ok
tls   clear  auto        ok ok own     ok ok own     ok ok own     ok ok own     ok ok    ok
tls   unix   auto        ok ok own     ok ok own     ok ok own     ok ok own     ok ok    ok
clear tls    auto+       ok ok own     ok ok own     ok ok own     ok ok own     ok hint  ok
clear tls    relay       ok ok own     ok ok own     ok ok own     ok ok own     ok hint  ok
clear clear  auto        ok ok own     ok ok own     ok ok own     ok ok own     ok ok    ok
tls   tls    auto+       ok ok ok      ok ok ok      ok ok ok      ok ok ok      ok ok    ok
tls   tls    terminate+  ok ok ok      ok ok ok      ok ok ok      ok ok ok      ok ok    ok
same  tls    terminate+  ok ok ok      ok ok ok      ok ok ok      ok ok ok      ok ok    ok
tls   clear  terminate+  ok ok ok      ok ok ok      ok ok ok      ok ok ok      ok ok    ok
tls   unix   terminate+  ok ok ok      ok ok ok      ok ok ok      ok ok ok      ok ok    ok
clear tls    terminate+  ok ok own     ok ok own     ok ok own     ok ok own     ok ok    ok
clear clear  terminate+  ok ok own     ok ok own     ok ok own     ok ok own     ok ok    ok
";

#[test]
fn every_client_gets_through_every_pair_of_legs_that_can_bind_and_is_told_where_none_can() {
    let filled: Vec<(Release, String)> = thread::scope(|scope| {
        let fill = |server: &'static Postgres| (server.release, scope.spawn(move || fill(server)));
        let filling: Vec<_> = Postgres::all().into_iter().map(fill).collect();
        filling
            .into_iter()
            .map(|(release, filled)| (release, filled.join().unwrap()))
            .collect()
    });
    for (release, filled) in filled {
        let (filled, expected) = (filled.lines(), TABLE.lines());
        assert_eq!(
            filled.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{release:?}"
        );
    }
}

/// A row of the table: its legs and the port on which it is tried.
struct Row {
    legs: [&'static str; 3],
    port: u16,
}

impl Row {
    fn sslmode(&self) -> &'static str {
        if self.legs[0] == "clear" {
            "disable"
        } else {
            "verify-full"
        }
    }

    fn login(&self) -> Login {
        Login::new(self.port, "app", "shop").sslmode(self.sslmode())
    }

    /// The keys of the listener.
    fn listener(&self, at: usize, server: &Postgres, verifiers: &str) -> String {
        let [_, upstream, scram] = self.legs;
        let tcp = format!("\"{}\"", server.address());
        let ca = Authority::shared().root();
        let upstream = match upstream {
            "unix" => server.socket_folder().display().to_string(),
            "tls" => format!(
                "{tcp}, upstream_tls: {{mode: verify-full, name: localhost, ca: {}}}",
                ca.display()
            ),
            _ => tcp,
        };
        let scram = scram.strip_suffix('+').map_or_else(
            || scram.to_owned(),
            |mode| format!("{mode}, verifiers: {verifiers}"),
        );
        format!(
            "name: row-{at}, protocol: postgres, listen: \"127.0.0.1:{}\", upstream: {upstream}, scram: {scram}",
            self.port
        )
    }
}

/// The table at one server, filled by trying.
fn fill(server: &'static Postgres) -> String {
    let rows: Vec<Row> = TABLE
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let legs = [(); 3].map(|()| words.next().unwrap());
            Row {
                legs,
                port: free_port(),
            }
        })
        .collect();
    let _gateways = [false, true].map(|same| gateway(&rows, server, same));
    let columns = [
        by_command(&rows, psql),
        by_command(&rows, newest_psql),
        by_psycopg(&rows),
        by_tokio(&rows),
        by_node(&rows),
    ];
    let mut table = String::new();
    for (at, row) in rows.iter().enumerate() {
        let [client, upstream, scram] = row.legs;
        write!(table, "{client:6}{upstream:7}{scram:12}").unwrap();
        for column in &columns[..4] {
            write!(table, "{:14}", column[at].join(" ")).unwrap();
        }
        let [without, with, postgres_js] = &columns[4][at][..] else {
            panic!("{:?}", columns[4][at]);
        };
        writeln!(table, "{:9}{postgres_js}", format!("{without} {with}")).unwrap();
    }
    table
}

/// The gateway that shows the server's own certificate, or the one that shows another; with its verifiers.
fn gateway(rows: &[Row], server: &Postgres, same: bool) -> (Gateway, TempDir) {
    let mine = |(_, row): &(usize, &Row)| (row.legs[0] == "same") == same;
    let papers = tempfile::tempdir().unwrap();
    let verifiers = papers.path().join("verifiers");
    let list = server.sql("select format('\"%s\" \"%s\"', rolname, rolpassword) from pg_authid where rolpassword like 'SCRAM%'");
    crate::harness::authority::write_private(&verifiers, &format!("{list}\n"));
    let listeners: Vec<String> = rows
        .iter()
        .enumerate()
        .filter(mine)
        .map(|(at, row)| row.listener(at, server, verifiers.to_str().unwrap()))
        .collect();
    let plan = Plan::listening(free_port(), &listeners);
    if same {
        let (certificate, key) = server.certificate();
        let here = plan.folder.path();
        std::fs::copy(certificate, here.join("server.crt")).unwrap();
        std::fs::copy(key, here.join("server.key")).unwrap();
    }
    let names: Vec<String> = rows
        .iter()
        .enumerate()
        .filter(mine)
        .map(|(at, _)| format!("row-{at}"))
        .collect();
    let more = format!(
        "listeners: [{}], limits: {{failed_auth_per_minute: 1000}}, from:",
        names.join(", ")
    );
    let shop = SHOP.replace("from:", &more);
    let gateway = plan.start(&format!("require: {{tls: false}}\n{shop}"));
    (gateway, papers)
}

const WHO: &str = "select session_user || '@' || current_database()";

/// What a client's words come to.
fn verdict(said: &str) -> String {
    if said == "app@shop" {
        "ok"
    } else if said.contains("channel_binding=disable") {
        "hint"
    } else if said.contains("channel binding") && !said.contains("SCRAM channel binding") {
        "own"
    } else {
        said
    }
    .to_owned()
}

const BINDINGS: [&str; 3] = ["prefer", "disable", "require"];

fn by_command(
    rows: &[Row],
    client: impl Fn(&Login, &str) -> crate::harness::Ended,
) -> Vec<Vec<String>> {
    let row = |row: &Row| {
        let try_one = |binding: &&str| {
            let ended = client(&row.login().with("PGCHANNELBINDING", binding), WHO);
            let said = if ended.status.success() {
                ended.stdout
            } else {
                ended.stderr
            };
            verdict(said.trim_end())
        };
        BINDINGS.iter().map(try_one).collect()
    };
    rows.iter().map(row).collect()
}

fn by_psycopg(rows: &[Row]) -> Vec<Vec<String>> {
    let script = format!(
        "import psycopg\n\
         for port, sslmode in {}:\n\
         \x20   for binding in {BINDINGS:?}:\n\
         \x20       try:\n\
         \x20           with psycopg.connect('', port=port, sslmode=sslmode, channel_binding=binding) as c:\n\
         \x20               print(c.execute({WHO:?}).fetchone()[0])\n\
         \x20       except psycopg.Error as e: print(str(e).replace('\\n', ' '))",
        doors(rows)
    );
    cells(python(&rows[0].login(), &script).worked())
}

fn by_tokio(rows: &[Row]) -> Vec<Vec<String>> {
    let runtime = Runtime::new().unwrap();
    let row = |row: &Row| {
        let sslmode = row.sslmode().replace("verify-full", "require");
        let try_one = |binding: &&str| {
            let config: tokio_postgres::Config = format!(
                "host=localhost hostaddr=127.0.0.1 port={} user=app password=secret dbname=shop \
                 sslmode={sslmode} channel_binding={binding}",
                row.port
            )
            .parse()
            .unwrap();
            let asked = runtime.block_on(async {
                let (client, connection) = config.connect(Rustls(tls::client(&[]))).await?;
                tokio::spawn(connection);
                client.query_one(WHO, &[]).await
            });
            verdict(&match asked {
                Ok(row) => row.get::<_, String>(0),
                Err(error) => format!("{error:?}"),
            })
        };
        BINDINGS.iter().map(try_one).collect()
    };
    rows.iter().map(row).collect()
}

/// node-postgres without and with binding, and postgres.js.
fn by_node(rows: &[Row]) -> Vec<Vec<String>> {
    let script = NODE.replace("$DOORS", &doors(rows)).replace("$WHO", WHO);
    cells(node(&rows[0].login(), &script).worked())
}

/// The port and the `sslmode` of each row, for a script.
fn doors(rows: &[Row]) -> String {
    let doors: Vec<_> = rows.iter().map(|row| (row.port, row.sslmode())).collect();
    serde_json::to_string(&doors).unwrap()
}

/// Three lines for each row.
fn cells(said: &str) -> Vec<Vec<String>> {
    let lines: Vec<String> = said.lines().map(verdict).collect();
    lines.chunks(3).map(<[String]>::to_vec).collect()
}

const NODE: &str = r#"
const e = process.env, ca = require('fs').readFileSync(e.PGSSLROOTCERT), pg = require('pg'), postgres = require('postgres');
const told = error => console.log([error.message, error.detail, error.hint].join(' ').replaceAll('\n', ' '));
(async () => {
  for (const [port, sslmode] of $DOORS) {
    const ssl = sslmode === 'disable' ? false : {ca}, to = {host: 'localhost', port, ssl};
    for (const enableChannelBinding of [false, true]) {
      const c = new pg.Client({...to, enableChannelBinding});
      c.on('error', () => {});
      try { await c.connect(); console.log(Object.values((await c.query("$WHO")).rows[0])[0]) } catch (error) { told(error) }
      await c.end().catch(() => {});
    }
    const sql = postgres({...to, max: 1});
    try { console.log(Object.values((await sql.unsafe("$WHO"))[0])[0]) } catch (error) { told(error) }
    await sql.end({timeout: 1});
  }
})()
"#;
