//! What a driver makes of our no: the code and the text of each refusal, and the traps that some drivers set themselves.

use std::{io::Write, thread, time::Duration};

use crate::harness::{
    Gateway, Login, Postgres, Raw, Relay, Rogue,
    client_ca::ClientCa,
    clients::ruby,
    gateway::{Plan, SHOP},
    node, raw, wait_until,
};

/// Connects by node-postgres, which shows its users code and message alone.
const NODE: &str = "\
const { Client } = require('pg'); const e = process.env;
const c = new Client({host: 'localhost', ssl: e.PLAIN ? false : {ca: require('fs').readFileSync(e.PGSSLROOTCERT)}});
c.on('error', x => {});
c.connect().then(() => { console.log('in'); return c.end() }, x => console.log(x.code, x.message))";

/// What it says: the code, and the rest.
fn told(login: &Login) -> (String, String) {
    let said = node(login, NODE).worked().to_owned();
    let (code, message) = said.split_once(' ').unwrap_or((&said, ""));
    (code.to_owned(), message.to_owned())
}

#[track_caller]
fn tells(login: &Login, code: &str, reason: &str) {
    let (seen, message) = told(login);
    assert_eq!(seen, code, "{reason}: {message}");
    assert!(message.contains(reason), "{reason}: {message}");
    assert!(message.contains("ref "), "{message}");
}

#[test]
fn every_denial_has_the_code_of_its_kind() {
    let ca = ClientCa::new();
    let policy = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [app], databases: [shop], limits: {connections: 1}}
  - {name: rare, from: [127.0.0.1], users: [by_md5], databases: [shop], limits: {new_per_minute: 1}}
  - {name: proven, from: [127.0.0.1], users: [other], databases: [shop], proof: {certificate: {dns: a.example}}}
  - {name: elsewhere, from: [192.0.2.1], users: [vip], databases: [shop], exclusive: true}
deny:
  - {name: bad, users: [mallory]}
";
    let plan = Plan::new(&Postgres::shared().address()).believing(&ca);
    let gateway = plan.start(policy);
    let of = |user: &str, database: &str| Login::new(gateway.port, user, database);
    let denied = [
        (of("nobody", "shop"), "[user_not_allowed]"),
        (of("app", "hr"), "[database_not_allowed]"),
        (of("vip", "shop"), "[exclusive_user]"),
        (of("mallory", "shop"), "[deny_rule]"),
        (of("other", "shop"), "[certificate_missing]"),
        (of("app", "shop").with("PLAIN", "1"), "[tls_required]"),
    ];
    for (login, reason) in denied {
        tells(&login, "28000", reason);
    }
    let stranger = gateway.seen_from([127, 0, 0, 9]);
    let stranger = Login::new(stranger.port, "app", "shop");
    tells(&stranger, "28000", "connection not allowed");

    let script =
        "import psycopg, time; c = psycopg.connect(''); print('in', flush=True); time.sleep(60)";
    let _holding = crate::harness::clients::python_started(&gateway.shop(), script);
    gateway.until_metric("doorward_connections", &[], 1.0);
    tells(&gateway.shop(), "53300", "[limit_connections]");
    assert_eq!(told(&of("by_md5", "shop")).0, "in");
    tells(&of("by_md5", "shop"), "53300", "[limit_rate]");
}

#[test]
fn a_database_that_is_not_there_or_not_ready_is_told_apart() {
    let gateway = Gateway::start("127.0.0.1:1", SHOP);
    tells(&gateway.shop(), "08006", "[upstream_unreachable]");
    // what the server says itself is the server's word
    let starting = Rogue::playing(|raw| {
        raw.try_send(&raw::framed(
            b'E',
            b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0",
        ))
        .ok();
        thread::sleep(Duration::from_millis(200));
        raw.stream.flush().ok();
    });
    let gateway = Gateway::start(&starting.address(), SHOP);
    let (code, message) = told(&gateway.shop());
    assert_eq!(code, "57P03");
    assert_eq!(message, "the database system is starting up");
}

#[test]
fn a_session_that_is_ended_hears_the_code_by_which_pools_connect_anew() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    let script = "\
const { Client } = require('pg'); const e = process.env;
const c = new Client({host: 'localhost', ssl: {ca: require('fs').readFileSync(e.PGSSLROOTCERT)}});
c.on('error', x => { if (x.code) console.log(x.code, x.message) });
c.connect()";
    let login = gateway.shop();
    let ended = thread::scope(|scope| {
        let session = scope.spawn(|| node(&login, script));
        gateway.until_metric("doorward_connections", &[], 1.0);
        gateway.reload("origins: []\n");
        session.join().unwrap()
    });
    let said = ended.worked();
    assert!(
        said.starts_with("57P01 ") && said.contains("[no_origin]"),
        "{said}"
    );
}

#[test]
fn a_malformed_opening_is_told_with_a_reference_that_is_found() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    for source in [[127, 0, 0, 1], [127, 0, 0, 9]] {
        for (body, code) in [
            (&b"user\0app\0user\0other\0\0"[..], "08P01"),
            (b"user\0app\0", "08P01"),
            (b"\0", "28000"),
        ] {
            let mut client = Raw::connect_from(source, gateway.port);
            client.send(&raw::opening(0x0003_0000, body));
            let refusal = client.refusal();
            assert_eq!(refusal.field('C').as_deref(), Some(code));
            let text = refusal.field('M').unwrap();
            let (_, reference) = text.rsplit_once(", ref ").expect(&text);
            let found = wait_until("it is found", || {
                let found = gateway.command(&["why", "--ref", reference]);
                found.stdout.contains("malformed_opening").then_some(found)
            });
            assert!(found.stdout.contains("malformed"), "{found:?}");
        }
    }
    // an old client reads the same in its own form
    let mut old = Raw::connect(gateway.port);
    old.send(&raw::opening(0x0002_0000, &[0; 288]));
    let text = String::from_utf8(old.rest()).unwrap();
    assert!(
        text.starts_with("EFATAL:  ") && text.contains(", ref "),
        "{text:?}"
    );
}

#[test]
fn who_says_nothing_is_closed_without_a_word() {
    let policy = format!("{SHOP}limits: {{first_byte: 200ms, opening: 400ms}}\n");
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    assert_eq!(Raw::connect(gateway.port).rest(), b"");
    let mut slow = Raw::connect(gateway.port);
    slow.send(&raw::startup(&[("user", "app")])[..9]);
    assert_eq!(slow.rest(), b"");
}

#[test]
fn postgres_js_is_refused_once_and_told_why() {
    // it takes a close without a word for a server that is about to come back, and tries for ever
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), SHOP);
    let script = "\
const e = process.env, ca = require('fs').readFileSync(e.PGSSLROOTCERT);
const sql = require('postgres')({host: 'localhost', port: e.PGPORT, ssl: {ca}, max: 1});
sql`select 1`.then(() => console.log('in'), x => console.log(x.code, x.message)).then(() => sql.end({timeout: 0}))";
    let known = Login::new(gateway.port, "other", "shop");
    let said = node(&known, script).worked().to_owned();
    assert!(
        said.starts_with("28000 ") && said.contains("[user_not_allowed]"),
        "{said}"
    );
    let stranger = gateway.seen_from([127, 0, 0, 9]);
    let stranger = Login::new(stranger.port, "app", "shop");
    let said = node(&stranger, script).worked().to_owned();
    assert!(
        said.starts_with("28000 ") && said.contains("not allowed, ref"),
        "{said}"
    );
    gateway.until_metric("doorward_openings_in_progress", &[], 0.0);
    assert_eq!(gateway.refused("user_not_allowed"), 1.0);
    assert_eq!(gateway.refused("no_origin"), 1.0);
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn rails_never_takes_a_refusal_for_a_database_that_does_not_exist() {
    // it reads `message.include?(dbname)` as that, and offers to create it
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    let script = "\
require 'active_record'
ARGV.replace(ENV['NAMES'].split(','))
ARGV.each do |name|
  ActiveRecord::Base.establish_connection(adapter: 'postgresql', database: name)
  begin
    ActiveRecord::Base.connection.select_value('select 1')
    puts \"#{name} in\"
  rescue ActiveRecord::ActiveRecordError => error
    puts \"#{name} #{error.class} #{error.message[/FATAL.*/]}\"
  end
end";
    let names = "shops,doorward,refused,allowed,user,origin,database,rule,reference";
    for (user, count) in [("app", 9), ("other", 9)] {
        let login = Login::new(gateway.port, user, "shop").with("NAMES", names);
        let said = ruby(&login, script);
        let lines: Vec<_> = said.worked().lines().collect();
        assert_eq!(lines.len(), count);
        for line in &lines {
            let (_, told) = line.split_once(' ').unwrap();
            assert!(
                told.starts_with("ActiveRecord::ConnectionNotEstablished"),
                "{line}"
            );
            assert!(told.contains("ref ") || told.contains("FATAL"), "{line}");
        }
    }
    let stranger = gateway.seen_from([127, 0, 0, 9]);
    let login = Login::new(stranger.port, "app", "shop").with("NAMES", "doorward,ref,shop");
    let said = ruby(&login, script);
    assert!(
        !said.worked().contains("NoDatabaseError"),
        "{}",
        said.stdout
    );
    // and what it looks for is still found where it is so, by the server's own word
    gateway.reload(
        "origins:\n  - {name: all, from: [127.0.0.1], users: [app], databases: [shop, shops]}\n",
    );
    let login = gateway.shop().with("NAMES", "shop,shops");
    let said = ruby(&login, script);
    let lines: Vec<_> = said.worked().lines().collect();
    assert_eq!(lines[0], "shop in");
    assert!(
        lines[1].contains("ActiveRecord::NoDatabaseError"),
        "{lines:?}"
    );
}
