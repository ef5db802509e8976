//! Who PostgreSQL thinks it has logged in is who the gateway thinks it has let in: generated startup packets, the server asked.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use tokio_rustls::rustls::ClientConfig;

use crate::harness::{
    Authority, Dice, Gateway, Postgres, Raw, free_port,
    gateway::{Plan, field},
    postgres::Release,
    raw, tls, wait_until,
};

/// Anybody in any database; which origin admitted tells what kind of replication was seen.
fn policy() -> String {
    let databases = serde_json::to_string(&NAMES).unwrap();
    let anybody = "from: [127.0.0.0/8], listeners: [clear, tls, unix]";
    format!(
        "require: {{tls: false}}\n\
         protected_users: []\n\
         origins:\n  \
           - {{name: none, {anybody}}}\n  \
           - {{name: physical, {anybody}, replication: physical}}\n  \
           - {{name: logical, {anybody}, replication: logical, databases: {databases}}}\n"
    )
}

/// In clear, so that the client needs no more than the word `secret`.
const HBA: &str = "\
local all         postgres trust
local all         all      password
local replication all      password
host  all         all      127.0.0.1/32 password
host  replication all      127.0.0.1/32 password
";

/// Roles that there are, and databases: such as people have, and such as somebody would try.
const NAMES: [&str; 12] = [
    "app",
    "App",
    "a b",
    "\"app\"",
    "app\\",
    "-c role=app",
    "user=app",
    "sch\u{f6}n",
    "\u{540d}\u{524d}",
    "replication",
    "n23456789012345678901234567890123456789012345678901234567890123",
    // the cut falls into the last letter
    "n2345678901234567890123456789012345678901234567890123456789012",
];

fn server(release: Release) -> Postgres {
    let server = Postgres::start_of(release, &["max_wal_senders=20"]);
    server.write_hba(HBA);
    let quoted = |name: &&str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut sql = String::from(
        "SET password_encryption = 'md5'; SET client_min_messages = 'error'; SELECT pg_reload_conf();\n\
         CREATE ROLE watcher SUPERUSER LOGIN PASSWORD 'secret';\n",
    );
    for name in NAMES.iter().map(quoted).filter(|name| name != "\"app\"") {
        writeln!(
            sql,
            "CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'secret';"
        )
        .unwrap();
    }
    sql += "ALTER ROLE app REPLICATION PASSWORD 'secret';\n";
    for line in sql.lines() {
        server.sql(line);
    }
    for name in NAMES.iter().map(quoted) {
        server.sql(&format!("CREATE DATABASE {name} STRATEGY file_copy"));
    }
    server
}

/// One gateway with a door for each way to the server.
fn gateway(server: &Postgres) -> (Gateway, [u16; 3]) {
    let address = server.address();
    let ca = Authority::shared().root();
    let tls = format!(
        "upstream: \"{address}\", upstream_tls: {{mode: verify-full, ca: {}, name: localhost}}, scram: relay",
        ca.display()
    );
    let ways = [
        ("clear", format!("upstream: \"{address}\"")),
        ("tls", tls),
        (
            "unix",
            format!("upstream: {}", server.socket_folder().display()),
        ),
    ];
    let ports = ways.each_ref().map(|_| free_port());
    let listeners: Vec<String> = ways
        .iter()
        .zip(ports)
        .map(|((name, keys), port)| {
            format!("name: {name}, protocol: postgres, listen: \"127.0.0.1:{port}\", {keys}")
        })
        .collect();
    (
        Plan::listening(ports[0], &listeners).start(&policy()),
        ports,
    )
}

/// What one client came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Identity {
    user: String,
    /// Empty: none is open.
    database: String,
    application: String,
    replication: &'static str,
}

#[test]
fn the_server_and_the_log_agree_on_who_was_logged_in_at_postgresql_15() {
    agree(Release::Debian, 1, 1000);
}

#[test]
fn the_server_and_the_log_agree_on_who_was_logged_in_at_postgresql_18() {
    agree(Release::Newest, 2, 1000);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn soak_the_server_and_the_log_agree_on_a_hundred_thousand_postgresql_logins() {
    let attempts = std::env::var("DOORWARD_ORACLE").map_or(50_000, |many| many.parse().unwrap());
    for release in [Release::Debian, Release::Newest] {
        agree(release, 3, attempts);
    }
}

fn agree(release: Release, seed: u64, attempts: u32) {
    if release == Release::Newest && Postgres::newest().is_none() {
        return;
    }
    let server = server(release);
    let (gateway, ports) = gateway(&server);
    let mut watcher = Raw::connect(server.port);
    watcher.log_in("watcher", "postgres");
    let config = tls::client(&[]);
    let mut dice = Dice::new(seed);
    let mut logged_in = HashMap::new();
    for attempt in 0..attempts {
        let [_, a, b, c] = (0x0a00_0001 + attempt).to_be_bytes();
        let source = [127, a + 10, b, c];
        let port = *dice.pick(&ports);
        if let Some(identity) = visit(&mut dice, source, port, &config, &mut watcher) {
            let source = source.map(|byte| byte.to_string()).join(".");
            logged_in.insert(source, identity);
        }
    }
    wait_until("a line for each", || {
        let said = gateway.said();
        let closed = said.iter().filter(|line| line.contains("\"closed\""));
        (closed.count() >= logged_in.len()).then_some(())
    });
    let mut closed = gateway.log();
    closed.retain(|line| field(line, "event").as_deref() == Some("closed"));
    assert_eq!(closed.len(), logged_in.len());
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    for line in closed {
        let said = &logged_in[&field(&line, "client").unwrap()];
        let origin = field(&line, "origin").unwrap();
        let field = |name| field(&line, name).unwrap_or_default();
        assert_eq!(said.replication, origin, "{said:?}: {line}");
        assert_eq!(said.user, field("user"), "{line}");
        assert_eq!(said.database, field("database"), "{line}");
        let application = as_the_server_writes_it(&field("application"), release, said);
        assert_eq!(said.application, application, "{line}");
        *kinds.entry(said.replication).or_default() += 1;
    }
    eprintln!("{release:?}: of {attempts} were logged in {kinds:?}");
    let enough = |kind: &str, part: usize| {
        let attempts = usize::try_from(attempts).unwrap();
        assert!(kinds[kind] > attempts / part, "{kind}: {kinds:?}");
    };
    enough("none", 8);
    enough("physical", 100);
    enough("logical", 100);
}

/// A name for the log, not a claim that anything hangs on: the server cuts it, and writes only ASCII.
fn as_the_server_writes_it(name: &str, release: Release, said: &Identity) -> String {
    let mut end = name.len().min(63);
    // a server that has no database open knows no encoding
    while !said.database.is_empty() && !name.is_char_boundary(end) {
        end -= 1;
    }
    let bytes = name.as_bytes()[..end].iter();
    let mut written: String = bytes
        .map(|byte| match (byte, release) {
            (b' '..=b'~', _) => char::from(*byte).to_string(),
            (_, Release::Debian) => "?".to_owned(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    if said.replication == "physical" {
        // seen from outside
        written.truncate(63);
    }
    written
}

/// One client that tries this and that: who it is by the server's own word, or `None` where anybody refuses.
fn visit(
    dice: &mut Dice,
    source: [u8; 4],
    port: u16,
    config: &Arc<ClientConfig>,
    watcher: &mut Raw,
) -> Option<Identity> {
    let mut client = Raw::connect_from(source, port);
    if dice.one_in(2) {
        client.send(&raw::SSL_REQUEST);
        assert_eq!(client.byte(), b'S');
        client = client.handshake(Arc::clone(config)).unwrap().0;
    }
    client.try_send(&packet(dice)).ok()?;
    let mut process = 0;
    loop {
        let message = client.message()?;
        match message.kind {
            'E' => return None,
            'R' if message.payload == [0, 0, 0, 3] => {
                client.try_send(&raw::framed(b'p', b"secret\0")).ok()?;
            }
            'K' => process = i32::from_be_bytes(*message.payload.first_chunk().unwrap()),
            'Z' => break,
            _ => {}
        }
    }
    let seen = row(
        watcher,
        &format!(
            "select backend_type, usename, coalesce(datname, ''), application_name from pg_stat_activity where pid = {process}"
        ),
    );
    let [kind, user, database, mut application] = seen.unwrap().try_into().unwrap();
    let replication = match (&*kind, &*database) {
        ("walsender", "") => "physical",
        ("walsender", _) => "logical",
        _ => "none",
    };
    if replication != "physical" {
        // the session itself says no other than what others see of it, who see the start of a long name
        let own: Vec<String> = row(&mut client, WHO)
            .unwrap()
            .iter()
            .map(|it| text(it))
            .collect();
        let [own_user, own_database, own_application] = own.try_into().unwrap();
        assert_eq!([&own_user, &own_database], [&user, &database]);
        assert!(own_application.starts_with(&application));
        application = own_application;
    }
    client.try_send(&raw::framed(b'X', b"")).ok();
    client.rest();
    Some(Identity {
        user,
        database,
        application,
        replication,
    })
}

/// In hexadecimal digits: a client may have asked for another encoding.
const WHO: &str = "select encode(convert_to(session_user::text, 'UTF8'), 'hex'), \
                   encode(convert_to(current_database()::text, 'UTF8'), 'hex'), \
                   encode(convert_to(current_setting('application_name'), 'UTF8'), 'hex')";

fn text(hex: &str) -> String {
    let digits = hex.as_bytes().chunks(2);
    let bytes = digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

/// The only row of an answer.
fn row(client: &mut Raw, sql: &str) -> Option<Vec<String>> {
    client.query(sql);
    let mut columns = None;
    loop {
        let message = client.message().expect("an answer");
        match message.kind {
            'D' => {
                let mut rest = &message.payload[2..];
                let mut row = Vec::new();
                while let Some((length, tail)) = rest.split_first_chunk() {
                    let length = u32::from_be_bytes(*length).try_into().unwrap();
                    let (column, tail) = tail.split_at(length);
                    row.push(String::from_utf8(column.to_vec()).unwrap());
                    rest = tail;
                }
                columns = Some(row);
            }
            'E' => panic!("{:?}", message.field('M')),
            'Z' => return columns,
            _ => {}
        }
    }
}

/// A startup packet: most mean well, and one in six is not what an encoder makes.
fn packet(dice: &mut Dice) -> Vec<u8> {
    let mut parameters = vec![("user".to_owned(), name(dice))];
    if !dice.one_in(5) {
        parameters.push(("database".to_owned(), name(dice)));
    }
    if dice.one_in(3) {
        parameters.push(("replication".to_owned(), replication(dice)));
    }
    for _ in 0..dice.below(3) {
        parameters.push(extra(dice));
    }
    if dice.one_in(20) {
        let again = dice.pick(&parameters).clone();
        parameters.push(again);
    }
    for at in (1..parameters.len()).rev() {
        parameters.swap(at, dice.below(at + 1));
    }
    let mut body = Vec::new();
    for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    if dice.one_in(6) {
        let at = dice.below(body.len());
        match dice.below(5) {
            0 => body.truncate(at),
            1 => body.extend((0..=dice.below(9)).map(|_| dice.byte())),
            2 => body[at] = dice.byte(),
            3 => body.insert(at, 0),
            _ => drop(body.remove(at)),
        }
    }
    let minor = match dice.below(8) {
        0 => 1,
        1 | 2 => 2,
        3 => 9999,
        _ => 0,
    };
    raw::opening(0x0003_0000 + minor, &body)
}

fn name(dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => String::new(),
        1 => {
            let letter = *dice.pick(&["u", "\u{e9}", "\u{540d}"]);
            letter.repeat(dice.below(70))
        }
        2 => {
            let mut name = (*dice.pick(&NAMES)).to_owned();
            name.push(*dice.pick(&['x', ' ', '\u{301}', '\u{7f}', '\n', '"']));
            name
        }
        3 => "n2345678901234567890123456789012345678901234567890123456789012\u{e9}".to_owned(),
        4 => "postgres".to_owned(),
        _ => (*dice.pick(&NAMES)).to_owned(),
    }
}

fn replication(dice: &mut Dice) -> String {
    const WORDS: [&str; 24] = [
        "true", "tru", "TRUE", "t", "yes", "ye", "y", "on", "1", "false", "f", "fals", "no", "n",
        "off", "of", "0", "o", "", "database", "DATABASE", "data", "2", " true",
    ];
    let word = if dice.one_in(3) {
        "database"
    } else {
        dice.pick(&WORDS)
    };
    word.to_owned()
}

/// What else a client may say.
fn extra(dice: &mut Dice) -> (String, String) {
    const EXTRAS: [(&str, &str); 24] = [
        ("application_name", "psql"),
        ("application_name", ""),
        ("application_name", "caf\u{e9} user=app"),
        ("Application_Name", "shouting"),
        ("client_encoding", "UTF8"),
        ("client_encoding", "LATIN1"),
        ("client_encoding", "'utf-8'"),
        ("DateStyle", "ISO, MDY"),
        ("search_path", "nowhere"),
        ("User", "App"),
        ("DATABASE", "App"),
        ("dbname", "App"),
        ("role", "none"),
        ("role", "App"),
        ("session_authorization", "App"),
        ("_pq_.unknown", "1"),
        ("_pq_.test_protocol_negotiation", ""),
        ("", ""),
        ("user", "App"),
        ("extra_float_digits", "3"),
        ("is_superuser", "on"),
        ("replication", "true"),
        ("geqo", "off"),
        ("nothing.known", "x"),
    ];
    const SETTINGS: [&str; 6] = [
        "-c geqo=off",
        "-cgeqo=off --geqo=on",
        "--search-path=a\\ b",
        "-c application_name=hidden",
        "--Application-Name=hidden",
        "-c Application_Name=a\\ b -c application_name=last",
    ];
    const OPTIONS: [&str; 15] = [
        "",
        "-c role=App",
        "-c session_authorization=App",
        "-cuser=App",
        "-d App",
        "-ddatabase=App",
        "-uApp",
        "-Ec role=App",
        "-p 5432",
        "-c replication=true",
        "-c application_name",
        "App",
        "-- -c geqo=off",
        "-c client_encoding=LATIN1",
        "\t-c\tgeqo=off\n",
    ];
    match dice.below(6) {
        0 => ("application_name".to_owned(), name(dice)),
        1 => ("options".to_owned(), (*dice.pick(&SETTINGS)).to_owned()),
        2 => ("options".to_owned(), (*dice.pick(&OPTIONS)).to_owned()),
        _ => {
            let (name, value) = *dice.pick(&EXTRAS);
            (name.to_owned(), value.to_owned())
        }
    }
}

#[test]
fn straight_at_a_server_a_startup_packet_is_read_in_more_ways_than_one() {
    // what the gateway refuses, and why: an oracle that never disagreed would prove nothing
    for server in Postgres::all() {
        let who = |parameters: &[(&str, &str)]| {
            let mut client = Raw::connect(server.port);
            client.send(&raw::startup(parameters));
            client.expect('R');
            client.send(&raw::framed(b'p', b"secret\0"));
            client.expect('Z');
            let sql = "select session_user || '@' || current_database() || ' ' || current_user";
            row(&mut client, sql).unwrap().remove(0)
        };
        let said = who(&[
            ("user", "app"),
            ("user", "by_text"),
            ("database", "hr"),
            ("database", "shop"),
        ]);
        assert_eq!(said, "by_text@shop by_text", "the last counts");
        let said = who(&[
            ("user", "by_text"),
            ("database", "shop"),
            ("options", "-Ec role=none"),
        ]);
        assert_eq!(said, "by_text@shop by_text", "a bundle of switches");
    }
}
