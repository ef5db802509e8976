//! The server is the oracle: whomever a client's bytes name, the session that comes of them is of the user and the database that the
//! gateway decided on. The servers have an account that fits every name, so that names alone decide.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
};

use doorward::wire::mysql::{Capabilities, ChangeUser, Edit, FirstPacket, Packet};

use crate::harness::{
    Kind, Mysql, PATIENCE,
    gateway::{Plan, field},
    wait_until,
};

/// How many clients come to each kind of server; `DOORWARD_ORACLE` says another number.
const CLIENTS: u32 = 1000;

/// Who came in: the user and, if one was opened, the database.
type Seen = BTreeMap<(String, Option<String>), u32>;

#[test]
fn who_is_logged_in_is_whom_the_gateway_decided_on() {
    thread::scope(|scope| {
        for kind in Kind::all() {
            scope.spawn(move || ask_the_oracle(*kind, clients()));
        }
    });
}

#[test]
fn who_a_session_becomes_is_whom_we_read_from_its_change_of_user() {
    thread::scope(|scope| {
        for kind in Kind::all() {
            scope.spawn(move || ask_again(*kind, clients()));
        }
    });
}

fn clients() -> u32 {
    std::env::var_os("DOORWARD_ORACLE")
        .map_or(CLIENTS, |many| many.to_str().unwrap().parse().unwrap())
}

fn ask_the_oracle(kind: Kind, clients: u32) {
    let server = open_to_all(kind);
    let gateway = Plan::mysql(&server.address(), "").start(
        "require: {tls: false, authentication: false}\n\
         origins:\n  - {name: all, from: [127.0.0.1]}\n",
    );
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let (mut seen, mut others) = (Seen::new(), 0);
    for _ in 0..clients {
        let response = response(&mut chance);
        match come(gateway.port, &response) {
            Some(who) => *seen.entry(who).or_default() += 1,
            None => others += 1,
        }
    }
    // a generator that is always refused shows nothing
    assert!(
        others < clients * 9 / 10,
        "{kind:?}: {others} of {clients} were refused"
    );
    let admitted: u32 = seen.values().sum();
    let mut decided = Seen::new();
    wait_until("a line for every session", || {
        decided.clear();
        for line in gateway.log() {
            if field(&line, "reason").as_deref() == Some("allowed") {
                let user = field(&line, "user").unwrap();
                *decided.entry((user, field(&line, "database"))).or_default() += 1;
            }
        }
        (decided.values().sum::<u32>() >= admitted).then_some(())
    });
    for (who, times) in &seen {
        assert_eq!(
            decided.get(who),
            Some(times),
            "{kind:?}: the server let in {who:?}"
        );
    }
}

/// A server with an account that fits every name and has no password.
fn open_to_all(kind: Kind) -> Mysql {
    Mysql::start_with(kind, &["performance-schema=OFF"], |papers| {
        let sql = "SET NAMES utf8mb4; DROP USER IF EXISTS ''@localhost; CREATE USER ''@'%'; GRANT ALL ON *.* TO ''@'%';\n\
                   CREATE DATABASE shop; CREATE DATABASE `caf\u{e9}`;\n";
        fs::write(papers.join("init.sql"), sql).unwrap();
    })
}

/// As a session, straight at the server: the gateway would decide on what it reads there and send what it makes of it.
fn ask_again(kind: Kind, clients: u32) {
    let server = open_to_all(kind);
    let mut chance = Chance(0xb170_5f4c_9e5d_0dd1);
    let mut refused = 0;
    for _ in 0..clients {
        let mut stream = connect(server.port);
        let (_, greeting) = read(&mut stream).unwrap();
        let Ok(FirstPacket::Greeting(greeting)) = FirstPacket::parse(&greeting) else {
            panic!("no greeting")
        };
        send(&mut stream, 1, &first());
        assert!(is_let_in(&mut stream), "{kind:?}");
        let agreed = Capabilities::PLUGIN_AUTH;
        let Ok(command) = ChangeUser::parse(&change(&mut chance), agreed, greeting.names()) else {
            refused += 1;
            continue;
        };
        send(&mut stream, 0, &command.edited(&Edit::default()));
        if is_let_in(&mut stream) {
            let read = (
                command.user().to_owned(),
                command.database().map(str::to_owned),
            );
            assert_eq!(who(&mut stream), Some(read), "{kind:?}: {command:?}");
        }
    }
    assert!(
        refused < clients * 9 / 10,
        "{kind:?}: {refused} of {clients} were refused"
    );
}

/// A login of somebody, with no proof.
fn first() -> Vec<u8> {
    let mut bytes = 0x8_8201_u32.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 1, 45]);
    bytes.resize(32, 0);
    bytes.extend_from_slice(b"first\0\0mysql_native_password\0");
    bytes
}

fn change(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = vec![0x11];
    bytes.extend_from_slice(&name(chance));
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(database(chance));
    bytes.push(0);
    let charset = [
        45,
        45,
        46,
        33,
        255,
        8,
        309,
        45 + 256 * u16::from(chance.byte() % 16),
    ][chance.of(8)];
    bytes.extend_from_slice(&charset.to_le_bytes());
    bytes.extend_from_slice(b"mysql_native_password\0");
    bend(chance, &mut bytes);
    bytes
}

/// A handshake response that somebody could have meant, or that was bent on the way.
fn response(chance: &mut Chance) -> Vec<u8> {
    let (named, attributes, lenenc) = (chance.of(2) > 0, chance.of(3) == 0, chance.of(2) == 0);
    let mut flags: u32 = 0x8_8201;
    flags |= u32::from(named) << 3 | u32::from(attributes) << 20 | u32::from(lenenc) << 21;
    let mut bytes = flags.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 1]);
    let charset = [45, 45, 45, 46, 33, 255, 8, chance.byte()][chance.of(8)];
    bytes.extend_from_slice(&[charset, u8::from(chance.of(20) == 0)]);
    bytes.resize(32, 0);
    bytes.extend_from_slice(&name(chance));
    // no proof: the account has no password
    bytes.extend_from_slice(&[0, 0]);
    if named {
        bytes.extend_from_slice(database(chance));
        bytes.push(0);
    }
    bytes.extend_from_slice(b"mysql_native_password");
    if attributes || chance.of(8) > 0 {
        bytes.push(0);
    }
    if attributes {
        bytes.extend_from_slice(b"\x12\x0cprogram_name\x04till");
    }
    bend(chance, &mut bytes);
    // the flags that change how queries and their answers look stay clear: the question below is plain
    if let Some(flags) = bytes.get_mut(3) {
        *flags &= !0b1011;
    }
    bytes
}

fn database(chance: &mut Chance) -> &'static [u8] {
    let databases: [&[u8]; 6] = [
        b"shop",
        b"shop",
        "caf\u{e9}".as_bytes(),
        b"caf\xe9",
        b"",
        b"mysql",
    ];
    databases[chance.of(6)]
}

/// Bytes that came otherwise than they were meant, now and then.
fn bend(chance: &mut Chance, bytes: &mut Vec<u8>) {
    match chance.of(10) {
        0 => {
            let at = chance.of(bytes.len());
            bytes[at] = chance.byte();
        }
        1 => bytes.truncate(chance.of(bytes.len())),
        2 => bytes.push(chance.byte()),
        _ => {}
    }
}

fn name(chance: &mut Chance) -> Vec<u8> {
    let letters: [&[&str]; 6] = [
        &["a", "Z", "9", "_", ".", "$", "-"],
        &["a", "\u{e9}", "\u{4e2d}", "\u{fffd}"],
        &["a", "'", "`", "@", "%", " ", "\\", "\"", "[", "~"],
        &["a", "\u{1f600}", "\u{301}", "\u{85}", "\t"],
        &["r", "e", "n", "`", "\u{e9}"],
        &["a", "b"],
    ];
    let letters = letters[chance.of(6)];
    // short ones more often; the log keeps 256 bytes
    let length = [1, 5, 20, 31, 32, 33, 64, 80, 128, 129][chance.of(10).min(chance.of(10))];
    let length = if letters.iter().all(|letter| letter.is_ascii()) {
        length
    } else {
        length.min(80)
    };
    let text: String = (0..length)
        .map(|_| letters[chance.of(letters.len())])
        .collect();
    match chance.of(8) {
        0 => format!("'{text}'").into_bytes(),
        // latin1, for what it can write
        1 => text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect(),
        2 => (0..length).map(|_| chance.byte().max(1)).collect(),
        _ => text.into_bytes(),
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Comes with this answer to the greeting, and asks the server who has come; `None` when it was not let in.
fn come(port: u16, response: &[u8]) -> Option<(String, Option<String>)> {
    let mut stream = connect(port);
    read(&mut stream)?;
    send(&mut stream, 1, response);
    if !is_let_in(&mut stream) {
        return None;
    }
    let who = who(&mut stream);
    send(&mut stream, 0, b"\x01");
    who
}

/// Proves nothing, whatever the server asks for.
fn is_let_in(stream: &mut TcpStream) -> bool {
    while let Some((sequence, payload)) = read(stream) {
        match payload.first() {
            Some(0x00) => return true,
            Some(0xff) => return false,
            Some(0xfe) => send(stream, sequence.wrapping_add(1), b""),
            _ => {}
        }
    }
    false
}

/// Asks the server.
fn who(stream: &mut TcpStream) -> Option<(String, Option<String>)> {
    let hex = |what: &str| format!("hex(convert({what} using utf8mb4))");
    let query = format!("\x03select {}, {}", hex("user()"), hex("database()"));
    send(stream, 0, query.as_bytes());
    let (_, columns) = read(stream)?;
    assert_eq!(columns, [2], "{}", String::from_utf8_lossy(&columns));
    for _ in 0..3 {
        read(stream)?;
    }
    let (_, row) = read(stream)?;
    let (length, rest) = match row.split_first()? {
        (0xfc, rest) => (usize::from(rest[0]) | usize::from(rest[1]) << 8, &rest[2..]),
        (length, rest) => (usize::from(*length), rest),
    };
    let user = unhex(&rest[..length]);
    let (user, _) = user.rsplit_once('@').unwrap();
    let database = match rest[length] {
        0xfb => None,
        _ => Some(unhex(&rest[length + 1..])),
    };
    Some((user.to_owned(), database))
}

fn unhex(digits: &[u8]) -> String {
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
    let bytes = digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect();
    String::from_utf8(bytes).unwrap()
}

fn send(stream: &mut TcpStream, sequence: u8, payload: &[u8]) {
    // who was refused may be told so before all is sent
    stream.write_all(&Packet::encode(sequence, payload)).ok();
}

fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], payload))
}

/// Numbers that are the same each time (xorshift).
struct Chance(u64);

impl Chance {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[4]
    }

    /// Below `many`, which is small.
    fn of(&mut self, many: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % many
    }
}
