//! Who the server thinks it has logged in is who the gateway thinks it has let in: generated packets, the server asked.

use std::{collections::HashMap, fs::OpenOptions, io::Write};

use crate::harness::{
    Authority, Client, Dice, Gateway, Kind, Mysql, Raw,
    gateway::{Plan, field},
    mysql_peer::prove,
    mysql_raw::{
        CACHING, COM_CHANGE_USER, COM_INIT_DB, COM_QUIT, Greeting, NATIVE, Refusal, Response, can,
        change_user, packet,
    },
    wait_until,
};

/// Anybody in any database: what is let in is the server's to read.
const ANYBODY: &str = "\
require: {tls: false}
protected_users: []
origins:
  - {name: all, from: [127.0.0.0/8]}
";

/// Databases that there are. The longest name has 64 characters.
const DATABASES: [&str; 7] = [
    "shop",
    "Shop",
    "a b",
    "sch\u{f6}n",
    "\u{431}\u{430}\u{437}\u{44b}",
    "\u{540d}\u{524d}",
    "d123456789012345678901234567890123456789012345678901234567890123",
];

const WHO: &str = "select hex(user()), hex(database())";

/// A server that lets in whoever knows the password, by whatever name.
fn server(kind: Kind) -> Mysql {
    Mysql::start_with(kind, &[], |papers| {
        let mut sql = OpenOptions::new()
            .append(true)
            .open(papers.join("init.sql"))
            .unwrap();
        writeln!(sql, "SET NAMES utf8mb4;").unwrap();
        for name in DATABASES {
            writeln!(sql, "CREATE DATABASE IF NOT EXISTS `{name}`;").unwrap();
        }
        writeln!(
            sql,
            "CREATE USER ''@'%' IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO ''@'%';"
        )
        .unwrap();
    })
}

/// A gateway before the server for each way to it.
fn gateways(server: &Mysql) -> [Gateway; 3] {
    let address = server.address();
    let ca = Authority::shared().root();
    let tls = format!(
        ", upstream_tls: {{mode: verify-full, ca: {}, name: localhost}}",
        ca.display()
    );
    let folder = server.socket_folder().display().to_string();
    [
        (address.as_str(), ""),
        (address.as_str(), tls.as_str()),
        (folder.as_str(), ""),
    ]
    .map(|(upstream, keys)| Plan::mysql(upstream, keys).start(ANYBODY))
}

/// What one client came to be, by the server's own word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    user: String,
    database: String,
}

#[test]
fn the_server_and_the_log_agree_on_who_was_logged_in_at_debians_mariadb() {
    agree(Kind::Debian, 1, 1000);
}

#[test]
fn the_server_and_the_log_agree_on_who_was_logged_in_at_mysql() {
    agree(Kind::Oracle, 2, 1000);
}

#[test]
fn the_server_and_the_log_agree_on_who_was_logged_in_at_the_newest_mariadb() {
    agree(Kind::Newest, 3, 1000);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn soak_the_server_and_the_log_agree_on_ten_thousand_logins_at_each_server() {
    for kind in Kind::all() {
        agree(*kind, 4, 10_000);
    }
}

fn agree(kind: Kind, seed: u64, attempts: u32) {
    if !Kind::all().contains(&kind) {
        return;
    }
    let server = server(kind);
    let gateways = gateways(&server);
    let mut dice = Dice::new(seed);
    let mut logged_in: [HashMap<String, Identity>; 3] = Default::default();
    for attempt in 0..attempts {
        let way = dice.below(gateways.len());
        let [_, a, b, c] = (0x0a00_0001 + attempt).to_be_bytes();
        let source = [127, a + 10, b, c];
        let mut visit = Visit::begin(&mut dice, source, gateways[way].port);
        if let Some(identity) = visit.play(&mut dice) {
            let source = source.map(|byte| byte.to_string()).join(".");
            logged_in[way].insert(source, identity);
        }
    }
    let mut all = 0;
    for (gateway, expected) in gateways.iter().zip(&logged_in) {
        all += expected.len();
        let closed = wait_until("a line for each", || {
            let mut log = gateway.log();
            log.retain(|line| field(line, "event").as_deref() == Some("closed"));
            (log.len() >= expected.len()).then_some(log)
        });
        assert_eq!(closed.len(), expected.len());
        for line in closed {
            let source = field(&line, "client").unwrap();
            let claimed = Identity {
                user: field(&line, "user").unwrap(),
                database: field(&line, "database").unwrap_or_default(),
            };
            let mut said = expected[&source].clone();
            // a log shows what cannot be seen
            said.user = said.user.replace('\u{feff}', "\\u{feff}");
            assert_eq!(said, claimed, "{line}");
        }
    }
    eprintln!("{kind:?}: {all} of {attempts} were logged in");
    assert!(all > usize::try_from(attempts).unwrap() / 4, "{all}");
}

/// One client that tries this and that.
struct Visit {
    client: Client,
    flags: u32,
}

impl Visit {
    fn begin(dice: &mut Dice, source: [u8; 4], port: u16) -> Self {
        let mut client = Client::greeted_from(source, port);
        let mut response = claim(dice, &client.greeting);
        if !dice.one_in(3) {
            let mut first = response.clone();
            // what is said in clear counts for nothing
            if dice.one_in(3) {
                first.charset = dice.byte();
                first.capabilities ^= 1 << dice.below(32) & !can::PROTOCOL_41;
            }
            client = client.encrypt(&first);
        }
        response.proof = proof(dice, &response.plugin, &client.greeting);
        let payload = mutated(dice, response.encode());
        let flags = payload
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        client.put(&payload);
        Self { client, flags }
    }

    /// The last identity that the server has confirmed.
    fn play(&mut self, dice: &mut Dice) -> Option<Identity> {
        self.client.prove("secret").ok()?;
        let mut identity = self.who().expect("logged in, and cannot ask");
        for _ in 0..dice.below(3) {
            if dice.one_in(3) {
                let mut claim = claim(dice, &self.client.greeting);
                // MariaDB takes a second for each change that fails, so most have what the server asks for
                claim.proof = prove(&claim.plugin, "secret", &self.client.greeting.nonce);
                if !dice.one_in(8) {
                    claim.database = Some(dice.pick(&DATABASES).as_bytes().to_vec());
                }
                let mut command = mutated(dice, change_user(&claim));
                // whatever became of the rest, it is this command
                command.splice(..command.len().min(1), [COM_CHANGE_USER]);
                if self.client.raw.try_send(&packet(0, &command)).is_err() {
                    continue;
                }
                self.client.next = 1;
                // refused, the session goes on as whom it was, or ends
                if self.client.prove("secret").is_ok() {
                    identity = self.who().expect("changed, and cannot ask");
                }
            } else {
                let name = database(dice).unwrap_or_default();
                if self
                    .client
                    .raw
                    .try_send(&packet(0, &[&[COM_INIT_DB], name.as_slice()].concat()))
                    .is_err()
                {
                    continue;
                }
                if self
                    .client
                    .raw
                    .packet()
                    .is_some_and(|answer| answer.is_ok())
                {
                    identity = self.who().expect("in another database, and cannot ask");
                    assert_eq!(identity.database.as_bytes(), name);
                }
            }
        }
        self.client.raw.try_send(&packet(0, &[COM_QUIT])).ok();
        self.client.raw.rest();
        Some(identity)
    }

    fn who(&mut self) -> Option<Identity> {
        let row = self
            .client
            .raw
            .row(self.flags & self.client.greeting.capabilities, WHO)?;
        let [user, database] = row.try_into().unwrap();
        let (user, database) = (text(&user), text(&database));
        let (user, _host) = user.rsplit_once('@').unwrap();
        Some(Identity {
            user: user.to_owned(),
            database,
        })
    }
}

fn text(hex: &str) -> String {
    let digits = hex.as_bytes().chunks(2);
    let bytes = digits
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect();
    String::from_utf8(bytes).unwrap()
}

fn claim(dice: &mut Dice, greeting: &Greeting) -> Response {
    const MAY: [u32; 14] = [
        // FOUND_ROWS, LONG_FLAG, NO_SCHEMA, ODBC, IGNORE_SPACE, INTERACTIVE, IGNORE_SIGPIPE, SESSION_TRACK
        2,
        4,
        0x10,
        0x40,
        0x100,
        0x400,
        0x1000,
        0x80_0000,
        can::COMPRESS,
        can::LOCAL_FILES,
        can::DEPRECATE_EOF,
        can::QUERY_ATTRIBUTES,
        can::MYSQL,
        // RESERVED, which once was PROTOCOL_41
        0x4000,
    ];
    let mut response = Response::of("", "");
    for _ in 0..dice.below(6) {
        response.capabilities ^= dice.pick(&MAY);
    }
    if dice.one_in(3) {
        response.capabilities |= can::LENENC_AUTH;
    }
    if response.capabilities & can::MYSQL == 0 {
        // none that change the shape of what comes back
        response.extended = u32::from(dice.byte()) & 0x7 & greeting.extended;
    }
    response.charset = match dice.below(4) {
        0 => dice.byte(),
        1 => *dice.pick(&[8, 10, 28, 33, 45, 46, 63, 76, 95, 224, 255]),
        _ => 45,
    };
    response.user = user(dice);
    response.database = database(dice);
    response.plugin = match dice.below(8) {
        0 => CACHING.to_owned(),
        1 => NATIVE.to_owned(),
        2 => "nobody_has_this".to_owned(),
        3 => "sha256_password".to_owned(),
        _ => greeting.plugin.clone(),
    };
    if dice.one_in(2) {
        let pairs = (0..dice.below(4)).map(|_| (word(dice), word(dice)));
        let mut pairs: Vec<_> = pairs.collect();
        if dice.one_in(8) {
            pairs.extend(pairs.clone());
        }
        response.attributes = Some(pairs);
    }
    response
}

fn proof(dice: &mut Dice, plugin: &str, greeting: &Greeting) -> Vec<u8> {
    match dice.below(8) {
        0 => Vec::new(),
        1 => (0..dice.below(40)).map(|_| dice.byte()).collect(),
        _ if plugin == "sha256_password" => vec![1],
        _ => prove(plugin, "secret", &greeting.nonce),
    }
}

fn word(dice: &mut Dice) -> Vec<u8> {
    let length = dice.below(20);
    (0..length).map(|_| dice.byte()).collect()
}

/// A user's name: mostly such as people have, and such as somebody would try.
fn user(dice: &mut Dice) -> Vec<u8> {
    const NAMES: [&str; 16] = [
        "app",
        "App",
        "ren\u{e9}",
        "re\u{301}ne",
        "ren`",
        "{admin}",
        "a\\b",
        "'app'",
        "app@localhost",
        "app@%",
        " app",
        "app ",
        "\u{436}\u{443}\u{440}\u{43d}\u{430}\u{43b}",
        "\u{540d}\u{524d}",
        "\u{feff}app",
        "app\u{1f600}",
    ];
    match dice.below(8) {
        0 => (0..dice.below(12)).map(|_| dice.byte().max(1)).collect(),
        1 => {
            let length = *dice.pick(&[1, 16, 17, 31, 32, 33, 80, 81, 127, 128, 129, 200, 300]);
            let letter = *dice.pick(&["u", "\u{e9}"]);
            letter.repeat(length).into_bytes()
        }
        2 => (0..=dice.below(30))
            .map(|_| b' ' + dice.byte() % 95)
            .collect(),
        _ => {
            let name = *dice.pick(&NAMES);
            if dice.one_in(4) {
                // as latin1 writes it
                name.chars()
                    .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
                    .collect()
            } else {
                name.as_bytes().to_vec()
            }
        }
    }
}

fn database(dice: &mut Dice) -> Option<Vec<u8>> {
    Some(match dice.below(8) {
        0 => return None,
        1 => Vec::new(),
        2 => {
            let mut name = dice.pick(&DATABASES).as_bytes().to_vec();
            name.push(*dice.pick(b"x /.\xff`'"));
            name
        }
        _ => dice.pick(&DATABASES).as_bytes().to_vec(),
    })
}

/// One packet in four is not what an encoder makes.
fn mutated(dice: &mut Dice, mut payload: Vec<u8>) -> Vec<u8> {
    if !dice.one_in(4) {
        return payload;
    }
    let at = dice.below(payload.len());
    match dice.below(5) {
        0 => payload.truncate(at),
        1 => payload.extend((0..=dice.below(9)).map(|_| dice.byte())),
        2 => payload[at] = dice.byte(),
        3 => payload.insert(at, 0),
        _ => {
            payload.remove(at);
        }
    }
    payload
}

#[test]
fn straight_at_a_server_names_are_read_in_more_ways_than_one() {
    // what the gateway refuses, and why: an oracle that never disagreed would prove nothing
    for kind in Kind::all() {
        let server = server(*kind);
        let log_in = |response: &Response| -> Result<(Client, Identity), Refusal> {
            let client = Client::greeted(server.port).encrypt(response);
            let greeting = client.greeting.clone();
            let raw: Raw = client.log_in(response, "secret")?;
            let mut visit = Visit {
                client: Client {
                    raw,
                    greeting,
                    next: 0,
                },
                flags: response.bits(),
            };
            let identity = visit.who().unwrap();
            Ok((visit.client, identity))
        };
        let named = |name: &[u8], charset| {
            let mut response = Response::of("", "shop");
            response.user = name.to_vec();
            response.charset = charset;
            log_in(&response).unwrap().1.user
        };
        assert_eq!(named(b"app", 45), "app");
        assert_eq!(named(b"ren\xe9", 8), "ren\u{e9}", "latin1");
        assert_eq!(named(b"ren`", 10), "ren\u{e9}", "swe7");
        assert_eq!(named(b"'app'", 45), "app", "quotes are taken off");
        // MySQL's 32 characters of up to three bytes are bytes here
        let kept = if kind.is_mariadb() { 128 } else { 96 };
        assert_eq!(named(&[b'u'; 200], 45), "u".repeat(kept));
    }
}
