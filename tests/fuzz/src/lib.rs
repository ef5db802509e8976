//! What must hold for any bytes at all. Each function is a fuzz target; `tests/it/corpus.rs` runs the same ones over the corpus.
//!
//! Only the public interface is used. Where there is something to compare with, it is written here a second time, the way the
//! server does it, and not the way we do.

pub mod conversation;
pub mod mysql;

use std::time::SystemTime;

use doorward::{
    config::{self, Environment, Overrides, Problem, Severity},
    policy::From,
    protocol::postgres::{Exchange, Step},
    wire::{
        Parsed,
        postgres::{
            CancelKey, ErrorForm, ErrorResponse, Frames, MAX_OPENING, Message, Opening,
            Replication, StartupMessage,
        },
    },
};

/// Cut anywhere, an opening is the same opening; until it is all there, more is asked for, within bounds.
pub fn opening(bytes: &[u8]) {
    let whole = Opening::parse(bytes);
    let step = 1 + bytes.len() / 256;
    for cut in (0..bytes.len()).step_by(step) {
        match Opening::parse(&bytes[..cut]) {
            Ok(Parsed::Need(need)) => assert!(cut < need && need <= MAX_OPENING),
            early => assert_eq!(early, whole, "at {cut}"),
        }
    }
    if let Ok(Parsed::Done(_, size)) = whole {
        assert!(size <= bytes.len());
        assert_eq!(Opening::parse(&bytes[..size]), whole);
    }
}

/// What we decide on is what the server reads, from the client's packet and from our own.
pub fn startup(body: &[u8]) {
    let Some(theirs) = packet(0x0003_0000, body) else {
        return;
    };
    let Ok(Parsed::Done(Opening::Startup(startup), _)) = Opening::parse(&theirs) else {
        return;
    };
    let ours = startup.encode();
    for packet in [&theirs, &ours] {
        let read = server_reads(&packet[8..]).expect("we let pass what the server refuses");
        assert_eq!(read.user, startup.user().as_bytes());
        assert_eq!(read.database, startup.database().as_bytes());
        assert_eq!(read.replication, startup.replication());
    }
    assert!(ours.len() <= theirs.len());
    assert_eq!(again(&ours).encode(), ours);
}

/// Cut anywhere, a stream holds the same messages, and they are those that are there.
pub fn frames(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let expected = messages(bytes);
    let (mut whole, mut told) = (Frames::default(), Vec::new());
    whole.advance(bytes, |frame| told.push((frame.kind, frame.first)));
    assert_eq!(told, expected);
    let (mut parts, mut told) = (Frames::default(), Vec::new());
    for part in bytes.chunks(1 + usize::from(*piece)) {
        parts.advance(part, |frame| told.push((frame.kind, frame.first)));
    }
    assert_eq!(told, expected);
    assert_eq!(parts.at_boundary(), whole.at_boundary());
    assert_eq!(parts.lost(), whole.lost());
}

/// No server can say a client in that has answered nothing, nor ask for an answer and go on as if it had it.
pub fn login(bytes: &[u8]) {
    let Some((flags, mut rest)) = bytes.split_first() else {
        return;
    };
    let (floor, cleartext, answering) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    let mut exchange = Exchange::new(floor, cleartext);
    let (mut versions, mut welcomes) = (0, 0);
    while let Ok(Some((message, after))) = Message::split(rest, 65_540) {
        assert!(after.len() < rest.len());
        let Ok(step) = exchange.server_says(message) else {
            return;
        };
        versions += u32::from(message.kind == b'v');
        welcomes += u32::from(message.kind == b'R' && message.payload == [0; 4]);
        assert!(versions <= 1 && welcomes <= 1);
        assert!(cleartext || message.kind != b'R' || message.payload != [0, 0, 0, 3]);
        assert!(!floor || welcomes == 0 || exchange.answers() > 0);
        match step {
            Step::Relay | Step::Offered => {}
            Step::Refused(_) => return,
            Step::Ready(_) => {
                assert_eq!(welcomes, 1);
                let key = exchange.into_cancel_key();
                assert!(key.is_none_or(|key| (4..=256).contains(&key.secret.len())));
                return;
            }
        }
        if answering && exchange.awaits_answer() {
            exchange.answered(message.payload);
            assert!(!exchange.awaits_answer());
        }
        rest = after;
    }
}

/// A key that can be read can be sent, and comes back the same.
pub fn cancel(body: &[u8]) {
    let key = CancelKey::parse(body);
    let fits = (8..=260).contains(&body.len());
    assert_eq!(key.is_some(), fits);
    if let Some(key) = key {
        let request = key.encode_request();
        let size = request.len();
        assert_eq!(request[8..], *body);
        assert!(key.fits(&key.clone()));
        assert_eq!(
            Opening::parse(&request),
            Ok(Parsed::Done(Opening::Cancel(key), size))
        );
    }
}

/// Whatever a text holds, a refusal is one message of at most 30 000 bytes, with its fields and no others.
pub fn refusal(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let middle = (0..=text.len() / 2)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let (message, hint) = text.split_at(middle);
    let error = ErrorResponse {
        sqlstate: "28000",
        message,
        detail: None,
        hint: Some(hint),
    };
    let encoded = error.encode(ErrorForm::Version3);
    assert!(encoded.len() < 30_000);
    let (message, rest) = Message::split(&encoded, 30_000).unwrap().unwrap();
    assert!(rest.is_empty());
    let tags: Vec<_> = message
        .payload
        .split(|byte| *byte == 0)
        .map(|field| field.first().copied())
        .collect();
    assert_eq!(tags[..5], [b'S', b'V', b'C', b'M', b'H'].map(Some));
    assert_eq!(tags[5..], [None, None]);
    let old = error.encode(ErrorForm::Version2);
    assert_eq!(old.iter().position(|byte| *byte == 0), Some(old.len() - 1));
}

/// Whatever a file holds, it is taken or told in full; and none that is taken admits everybody.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match allowlist(text) {
        Ok(loaded) => {
            assert_eq!(loaded.texts.main, text);
            let froms = loaded.rules.origins.iter().flat_map(|origin| &origin.from);
            for from in froms {
                let From::Network(network) = from else {
                    panic!("`any` needs a proof");
                };
                let narrowest = if network.addr().is_ipv4() { 8 } else { 24 };
                assert!(network.prefix_len() >= narrowest, "{network}");
            }
            assert!(loaded.rules.origins.iter().all(|o| !o.from.is_empty()));
            told(text, &loaded.warnings);
        }
        Err(problems) => {
            let problems = problems.as_slice();
            assert!(problems.iter().any(|one| one.severity == Severity::Error));
            told(text, problems);
        }
    }
}

/// Reads a text as the allowlist of a machine with no environment and no flags.
pub fn allowlist(text: &str) -> Result<config::Loaded, config::Problems> {
    let (environment, flags) = (Environment::default(), Overrides::default());
    config::parse("file", text, &environment, &flags, SystemTime::UNIX_EPOCH)
}

/// Each problem is at a place that there is, and nothing of the file's own moves the cursor of a terminal.
fn told(text: &str, problems: &[Problem]) {
    let lines = text.split(['\n', '\r']).count();
    for problem in problems {
        let shown = problem.to_string();
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
        if let Some(place) = &problem.place {
            assert!((1..=lines).contains(&(place.line as usize)), "{shown}");
            assert!(place.column >= 1 && place.width >= 1, "{shown}");
        }
    }
}

/// A packet that opens a connection, when it is not too long to be one.
fn packet(code: u32, body: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(body.len() + 8).ok()?;
    Some([&length.to_be_bytes(), &code.to_be_bytes(), body].concat())
}

fn again(packet: &[u8]) -> StartupMessage {
    match Opening::parse(packet) {
        Ok(Parsed::Done(Opening::Startup(startup), size)) if size == packet.len() => startup,
        other => panic!("we cannot read what we wrote: {other:?}"),
    }
}

/// Who the server would log in.
struct Reading {
    user: Vec<u8>,
    database: Vec<u8>,
    replication: Option<Replication>,
}

/// The server's own reading (`ProcessStartupPacket`): walks by offsets, keeps the last of each, cuts names at 63 bytes.
fn server_reads(body: &[u8]) -> Option<Reading> {
    let text_at = |at: usize| {
        body[at..]
            .iter()
            .position(|byte| *byte == 0)
            .map(|end| &body[at..at + end])
    };
    let (mut user, mut database, mut replication) = (Vec::new(), Vec::new(), None);
    let mut at = 0;
    while at < body.len() {
        let name = text_at(at)?;
        if name.is_empty() {
            break;
        }
        let value_at = at + name.len() + 1;
        if value_at >= body.len() {
            break;
        }
        let value = text_at(value_at)?;
        match name {
            b"database" => database = value.to_vec(),
            b"user" => user = value.to_vec(),
            b"replication" if value == b"database" => replication = Some(Replication::Logical),
            b"replication" => replication = boolean(value)?.then_some(Replication::Physical),
            _ => {}
        }
        at = value_at + value.len() + 1;
    }
    if at + 1 != body.len() || user.is_empty() {
        return None;
    }
    if database.is_empty() {
        database.clone_from(&user);
    }
    user.truncate(63);
    database.truncate(63);
    Some(Reading {
        user,
        database,
        replication,
    })
}

/// `parse_bool`, by a list of all it takes.
fn boolean(value: &[u8]) -> Option<bool> {
    match &*value.to_ascii_lowercase() {
        b"t" | b"tr" | b"tru" | b"true" | b"y" | b"ye" | b"yes" | b"on" | b"1" => Some(true),
        b"f" | b"fa" | b"fal" | b"fals" | b"false" | b"n" | b"no" | b"of" | b"off" | b"0" => {
            Some(false)
        }
        _ => None,
    }
}

/// The messages that are completely there, up to an impossible length.
fn messages(mut bytes: &[u8]) -> Vec<(u8, Option<u8>)> {
    let mut all = Vec::new();
    while bytes.len() >= 5 {
        let length = i32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        let Ok(length) = usize::try_from(length) else {
            break;
        };
        if length < 4 || bytes.len() <= length {
            break;
        }
        all.push((bytes[0], bytes[5..=length].first().copied()));
        bytes = &bytes[length + 1..];
    }
    all
}
