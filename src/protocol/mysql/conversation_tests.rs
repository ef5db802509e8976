//! Sessions told by their packets: whose turn it is, what may pass, and when we may speak.

use super::*;
use crate::wire::mysql::Packet;
use crate::wire::mysql::{Capabilities, Extended};

#[path = "conversation_tests/generated.rs"]
mod generated;
#[path = "conversation_tests/passing.rs"]
mod passing;
#[path = "conversation_tests/recorded.rs"]
mod recorded;

/// Both ways to write an answer: with EOF packets, and without.
const DIALECTS: [Capabilities; 2] = [Capabilities::from_bits(0), Capabilities::DEPRECATE_EOF];

fn facts(capabilities: Capabilities) -> Facts {
    Facts {
        capabilities,
        extended: Extended::default(),
        status: Status::AUTOCOMMIT,
        mariadb: true,
    }
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::append(&mut bytes, sequence, payload);
    bytes
}

/// A packet of the client by name.
fn asked(word: &str) -> Vec<u8> {
    match word {
        "quit" => vec![0x01],
        "init" => b"\x02shop".to_vec(),
        "query" => b"\x03select".to_vec(),
        "fields" => b"\x04t\0".to_vec(),
        "statistics" => vec![0x09],
        "ping" => vec![0x0E],
        "user" => b"\x11root\0".to_vec(),
        "dump" => vec![0x12, 4, 0, 0, 0],
        "register" => vec![0x15, 1],
        "prepare" => b"\x16select".to_vec(),
        "execute" => vec![0x17, 1, 0, 0, 0],
        "long" => vec![0x18, 1, 0, 0, 0],
        "close" => vec![0x19, 1, 0, 0, 0],
        "fetch" => vec![0x1C, 1, 0, 0, 0],
        "clone" => vec![0x20],
        "clone-exit" => vec![0x06],
        "ack" => vec![0xEF, 1],
        "bulk" => vec![0xFA, 1],
        "data" => b"1,2\n".to_vec(),
        "nothing" => vec![],
        "unknown" => vec![0x50],
        other => panic!("{other}"),
    }
}

/// A packet of the server by name; none where the dialect has none. A number may stand before the name.
fn said(word: &str, capabilities: Capabilities) -> Option<Vec<u8>> {
    let deprecated = capabilities.has(Capabilities::DEPRECATE_EOF);
    let name = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = word.strip_suffix(name).unwrap().parse().unwrap_or(0);
    let end = |status: u8| {
        if deprecated {
            vec![0xFE, 0, 0, status, 0, 0, 0]
        } else {
            vec![0xFE, 0, 0, status, 0]
        }
    };
    let between = |status: u8| (!deprecated).then(|| vec![0xFE, 0, 0, status, 0]);
    Some(match name {
        "ok" => vec![0, 0, 0, 2, 0, 0, 0],
        "ok+" => vec![0, 0xFC, 1, 1, 0, 0x0A, 0, 0, 0],
        "ok:trx" => vec![0, 1, 0, 3, 0, 0, 0],
        "err" => b"\xFF\x28\x04#42000no".to_vec(),
        "progress" => b"\xFF\xFF\xFF\x01\x01\x02\0\0\0\x01x".to_vec(),
        "columns" => vec![number],
        "column" => b"\x03def".to_vec(),
        "between" => return between(2),
        "between:trx" => return between(3),
        "between:cursor" => return between(0x42),
        "row" => b"\x011".to_vec(),
        "empty-row" => vec![0],
        "null-row" => vec![0xFB],
        "end" => end(2),
        "end+" => end(0x0A),
        "end:trx" => end(3),
        // where rows would begin, with a cursor: the EOF between, or the end
        "cursor" => end(0x42),
        "prepared" => vec![0, 1, 0, 0, 0, number % 10, 0, number / 10, 0, 0, 0, 0],
        "file" => b"\xFBfile".to_vec(),
        "text" => b"Uptime".to_vec(),
        "event" => vec![0, 1, 2, 3],
        "stop" => vec![0xFE, 0, 0, 2, 0],
        "complete" => vec![99],
        other => panic!("{other}"),
    })
}

fn agreeable() -> Rights {
    Rights {
        local_infile: true,
        ..Rights::default()
    }
}

/// The client speaks first, then the server, and so on, with a `/` between. All must pass.
fn talk(script: &str, capabilities: Capabilities, rights: Rights) -> Conversation {
    let mut conversation = Conversation::new(facts(capabilities), rights);
    go_on(&mut conversation, script, capabilities);
    conversation
}

fn go_on(conversation: &mut Conversation, script: &str, capabilities: Capabilities) {
    for (turn, words) in script.split('/').enumerate() {
        for word in words.split_whitespace() {
            if turn % 2 == 0 {
                let bytes = packet(0, &asked(word));
                let passed = conversation.from_client(&bytes);
                assert_eq!(passed, bytes.len(), "{script}: {word}");
            } else if let Some(payload) = said(word, capabilities) {
                let bytes = packet(7, &payload);
                let passed = conversation.from_server(&bytes);
                assert_eq!(
                    passed,
                    bytes.len(),
                    "{script}: {word} {:?}",
                    conversation.hold()
                );
            }
        }
    }
}

const IDLE: Standing = Standing::Idle {
    in_transaction: false,
};
const IN_TRANSACTION: Standing = Standing::Idle {
    in_transaction: true,
};

/// What is said, whose turn it is then, and how many flights were sent.
const TURNS: &[(&str, Standing, u32)] = &[
    ("", IDLE, 0),
    ("ping", Standing::Owing, 1),
    ("ping/ok", IDLE, 1),
    ("unknown/err", IDLE, 1),
    ("nothing/err", IDLE, 1),
    ("/err", IDLE, 0),
    ("quit", IDLE, 0),
    // results
    ("query/ok", IDLE, 1),
    ("query/ok:trx", IN_TRANSACTION, 1),
    ("query/1columns", Standing::Owing, 1),
    ("query/1columns column between", Standing::Owing, 1),
    ("query/1columns column between end", IDLE, 1),
    (
        "query/2columns column column between row null-row empty-row",
        Standing::Owing,
        1,
    ),
    (
        "query/2columns column column between row null-row empty-row end:trx",
        IN_TRANSACTION,
        1,
    ),
    ("query/1columns column between row err", IDLE, 1),
    // a procedure with a cursor inside
    (
        "query/1columns column between:cursor row",
        Standing::Owing,
        1,
    ),
    ("query/1columns column between:cursor row end+ ok", IDLE, 1),
    ("query/1columns err", IDLE, 1),
    // several results
    ("query/ok+", Standing::Owing, 1),
    (
        "query/ok+ 1columns column between row end+",
        Standing::Owing,
        1,
    ),
    (
        "query/ok+ 1columns column between row end+ 1columns column between end+ ok",
        IDLE,
        1,
    ),
    ("query/1columns column between end+ err", IDLE, 1),
    ("query/progress progress ok", IDLE, 1),
    (
        "query/1columns column between row progress row end",
        IDLE,
        1,
    ),
    // prepared statements
    ("prepare/prepared", IDLE, 1),
    ("prepare/10prepared column between", IDLE, 1),
    ("prepare/2prepared column", Standing::Owing, 1),
    ("prepare/2prepared column column between", IDLE, 1),
    (
        "prepare/12prepared column between column column between",
        IDLE,
        1,
    ),
    ("prepare/err", IDLE, 1),
    ("long", Standing::Asking, 0),
    ("long long execute", Standing::Owing, 1),
    ("long close", IDLE, 0),
    ("close close", IDLE, 0),
    ("close ping/ok", IDLE, 1),
    ("execute/1columns column cursor", IDLE, 1),
    ("execute/1columns column cursor/fetch", Standing::Owing, 2),
    ("fetch/row row", Standing::Owing, 1),
    ("fetch/row row end", IDLE, 1),
    ("fetch/err", IDLE, 1),
    ("bulk/1columns column between row end", IDLE, 1),
    // the odd ones
    ("fields/column column", Standing::Owing, 1),
    ("fields/column column end", IDLE, 1),
    ("statistics/text", IDLE, 1),
    ("init/ok", IDLE, 1),
    // pipelines
    ("ping ping ping/ok", Standing::Owing, 3),
    ("ping ping ping/ok ok ok", IDLE, 3),
    (
        "prepare execute/2prepared column column between",
        Standing::Owing,
        2,
    ),
    (
        "prepare execute/2prepared column column between 1columns column between row end",
        IDLE,
        2,
    ),
    ("prepare execute/err err", IDLE, 2),
    ("query close fetch/ok row end", IDLE, 2),
    // files
    ("query/file", IDLE, 1),
    ("query/file/data", Standing::Asking, 1),
    ("query/file/data data user quit", Standing::Asking, 1),
    ("query/file/data nothing", Standing::Owing, 2),
    ("query/file/data/progress", Standing::Asking, 1),
    ("query/file/data nothing/progress ok", IDLE, 2),
    ("query/file/nothing/err", IDLE, 2),
    ("query/ok+ file/data nothing/ok+ file/nothing/ok", IDLE, 3),
    ("query/null-row/nothing/ok", IDLE, 2),
    // streams
    ("dump", Standing::Owing, 1),
    ("dump/event event", IDLE, 1),
    ("dump/event/ack ack", IDLE, 1),
    ("dump/event stop/ping", Standing::Owing, 2),
    ("dump/event err/ping/ok", IDLE, 2),
    ("dump/stop", IDLE, 1),
    ("dump/event/quit", IDLE, 1),
    ("clone/ok/clone-exit", IDLE, 1),
    ("clone/ok/clone-exit/complete/ping/ok", IDLE, 2),
];

#[test]
fn everyone_knows_whose_turn_it_is() {
    for capabilities in DIALECTS {
        for (script, standing, flights) in TURNS {
            let mut conversation = talk(script, capabilities, agreeable());
            assert_eq!(conversation.standing(), *standing, "{script}");
            assert_eq!(conversation.take_counts().flights, *flights, "{script}");
        }
    }
}

#[test]
fn a_session_ends_quietly_only_where_nothing_is_going_on() {
    let quiet = [
        "",
        "ping/ok",
        "query/1columns column between row end",
        "query/ok:trx/query/ok",
        "query/err/ping/ok",
        "prepare/err",
        "query/file/data nothing/ok",
        "close",
        "long execute/ok",
    ];
    let busy = [
        "query",
        "query/1columns column between row",
        "query/ok:trx",
        "query/1columns column between:trx end:trx",
        // a procedure may have begun a transaction before it failed
        "query/err",
        "execute/err",
        "query/file",
        "query/file/data",
        "long",
        "ping ping/ok",
        "dump/event",
        "quit",
    ];
    for capabilities in DIALECTS {
        for script in quiet {
            assert!(talk(script, capabilities, agreeable()).quiet(), "{script}");
        }
        for script in busy {
            let conversation = talk(script, capabilities, agreeable());
            assert!(!conversation.quiet(), "{script}");
        }
    }
}

#[test]
fn transactions_are_counted_where_they_end() {
    let counts = [
        ("query/ok", 1),
        ("ping/ok", 0),
        ("query/ok:trx", 0),
        ("query/ok:trx/query/ok:trx/query/ok", 1),
        ("query/ok:trx/ping/ok", 1),
        ("query/ok+ ok+ ok", 1),
        ("query/1columns column between row end", 1),
        ("query/err", 0),
    ];
    for (script, transactions) in counts {
        let mut conversation = talk(script, Capabilities::DEPRECATE_EOF, agreeable());
        assert_eq!(
            conversation.take_counts().transactions,
            transactions,
            "{script}"
        );
    }
}

#[test]
fn our_words_stand_between_packets_in_the_order_of_the_servers() {
    let cases = [
        ("", 1),
        ("ping", 1),
        ("ping/ok", 1),
        ("query/1columns", 8),
        ("query/1columns column between row", 8),
        ("query/ok+", 8),
        ("query/1columns column between row end", 1),
        ("ping ping/ok", 1),
        ("query/progress", 8),
        ("query/file", 1),
        ("dump/event", 8),
    ];
    for (script, sequence) in cases {
        let conversation = talk(script, DIALECTS[0], agreeable());
        assert!(conversation.may_speak_to_client());
        let error = ErrPacket {
            errno: 1053,
            sqlstate: "08S01",
            message: "bye",
        };
        let bytes = conversation.farewell(&error);
        let expected = packet(sequence, b"\xFF\x1D\x04#08S01bye");
        assert_eq!(bytes, expected, "{script}");
    }
    let mut conversation = talk("query/file", DIALECTS[0], agreeable());
    conversation.from_client(&packet(4, b"data"));
    assert_eq!(conversation.farewell(&GONE)[3], 5);
}

#[test]
fn never_into_the_middle_of_a_payload() {
    let mut conversation = talk("query/1columns column between", DIALECTS[0], agreeable());
    let row = packet(9, &vec![1; 0xFF_FFFF]);
    // the full packet is there, but goes on in an empty one
    let (full, empty) = row.split_at(row.len() - 4);
    for part in [&full[..2], &full[2..1000], &full[1000..]] {
        conversation.from_server(part);
        assert!(!conversation.may_speak_to_client());
        assert!(conversation.server_is_gone().is_none());
    }
    conversation.from_server(empty);
    assert!(conversation.may_speak_to_client());
}

#[test]
fn a_server_that_closes_without_a_word_is_spoken_for_where_it_owes_an_answer() {
    for (script, speak) in [
        ("", false),
        ("ping/ok", false),
        ("ping", true),
        ("query/1columns column", true),
        ("query/err", false),
        ("/err", false),
        ("query/err/ping", true),
        ("quit", false),
    ] {
        let conversation = talk(script, DIALECTS[0], agreeable());
        assert_eq!(conversation.server_is_gone().is_some(), speak, "{script}");
    }
}

#[test]
fn leave_is_taken_only_where_it_would_be_read_as_such() {
    for (script, leave) in [
        ("", true),
        ("ping", true),
        ("query/file", false),
        ("query/file/data", false),
        ("dump/event", false),
        ("quit", false),
    ] {
        let conversation = talk(script, DIALECTS[0], agreeable());
        assert_eq!(conversation.leave().is_some(), leave, "{script}");
    }
    let mut conversation = Conversation::new(facts(DIALECTS[0]), agreeable());
    conversation.from_client(&packet(0, &asked("query"))[..6]);
    assert!(conversation.leave().is_none());
}

#[test]
fn an_idle_session_stays_small() {
    assert!(
        size_of::<Conversation>() <= 200,
        "{}",
        size_of::<Conversation>()
    );
}
