//! Sessions told by their messages: what stands open, and when we may speak.

use proptest::prelude::*;

use super::*;

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

/// Messages of these kinds, each with a payload; `I`, `T` and `E` after a `Z` are its status.
fn said(kinds: &str) -> Vec<u8> {
    let mut kinds = kinds.bytes().peekable();
    let mut bytes = Vec::new();
    while let Some(kind) = kinds.next() {
        let status = kinds.next_if(|_| kind == b'Z');
        bytes.extend(message(kind, &[status.unwrap_or(b'x'), 0]));
    }
    bytes
}

/// The client speaks first, then the server, and so on, with a `/` between.
fn talk(script: &str) -> Conversation {
    let mut conversation = Conversation::new(
        Frames::default(),
        Frames::default(),
        TransactionStatus::Idle,
    );
    for (turn, kinds) in script.split('/').enumerate() {
        if turn % 2 == 0 {
            conversation.from_client(&said(kinds));
        } else {
            conversation.from_server(&said(kinds));
        }
    }
    conversation
}

const IDLE: Standing = Standing::Idle {
    in_transaction: false,
};
const IN_TRANSACTION: Standing = Standing::Idle {
    in_transaction: true,
};

/// What happens, how, whose turn it is then, and how many flights were sent.
const TURNS: &[(&str, &str, Standing, u32)] = &[
    ("nothing said", "", IDLE, 0),
    ("a query", "Q", Standing::Owing, 1),
    ("its rows", "Q/TDD", Standing::Owing, 1),
    ("its end", "Q/TDDCZI", IDLE, 1),
    ("begin", "Q/CZT", IN_TRANSACTION, 1),
    ("a failed transaction", "Q/EZE", IN_TRANSACTION, 1),
    ("a function call", "F", Standing::Owing, 1),
    ("its end", "F/VZI", IDLE, 1),
    ("a batch in progress", "PBD", Standing::Asking, 0),
    ("a batch sent", "PBDES", Standing::Owing, 1),
    ("a batch answered", "PBDES/12TDCZI", IDLE, 1),
    ("two in a pipeline", "PBESPBES/12CZI", Standing::Owing, 2),
    ("both answered", "PBESPBES/12CZI12CZI", IDLE, 2),
    ("an error in a pipeline", "PBESPBES/EZI12CZI", IDLE, 2),
    ("a flush", "PDH", Standing::Owing, 1),
    ("a notice is no answer", "PDH/NSA", Standing::Owing, 1),
    (
        "a flush answered, perhaps",
        "PDH/1t",
        Standing::Undecided,
        1,
    ),
    ("and gone on from", "PDH/1tT/BE", Standing::Asking, 1),
    ("and synced", "PDH/1tT/BES", Standing::Owing, 2),
    ("a flush with its sync", "PBEHS", Standing::Owing, 1),
    // a simple query ends a batch as a Sync would
    ("a flush, then a query", "PDH/1tT/Q/CZI", IDLE, 2),
    ("a batch, then a query", "PQ", Standing::Owing, 1),
    ("and its end", "PQ/1CZI", IDLE, 1),
    ("a notification", "/A", IDLE, 0),
    ("a goodbye", "X", IDLE, 0),
    // COPY IN, simple: the G ends one flight, the end of the data begins another
    ("copy wanted", "Q/G", IDLE, 1),
    ("copy data", "Q/G/dd", Standing::Asking, 1),
    ("copy done", "Q/G/dc", Standing::Owing, 2),
    ("copied", "Q/G/dc/CZI", IDLE, 2),
    ("copy failed", "Q/G/d/EZI", IDLE, 1),
    ("late data", "Q/G/d/EZI/ddc", IDLE, 1),
    ("copy after copy", "Q/G/dc/CG", IDLE, 2),
    // COPY IN, extended: the Sync that was sent with the Execute is eaten
    ("copy wanted", "PBES/12G", IDLE, 1),
    ("sync in a copy", "PBES/12G/dSH", Standing::Asking, 1),
    ("done, not synced", "PBES/12G/dc/C", Standing::Asking, 1),
    ("done and synced", "PBES/12G/dcS", Standing::Owing, 2),
    ("copied", "PBES/12G/dcS/CZI", IDLE, 2),
    ("copy failed", "PBES/12G/d/E/S", Standing::Owing, 2),
    ("and ended", "PBES/12GE/fS/ZI", IDLE, 2),
    ("copy out", "Q/Hdd", Standing::Owing, 1),
    ("copied out", "Q/HddcCZI", IDLE, 1),
    ("a stream both ways", "Q/Wdd/dd", IDLE, 1),
    ("and its end", "Q/Wd/c/cCZI", IDLE, 1),
];

#[test]
fn everyone_knows_whose_turn_it_is() {
    for (what, script, standing, flights) in TURNS {
        let mut conversation = talk(script);
        assert_eq!(conversation.standing(), *standing, "{what}: {script}");
        assert_eq!(
            conversation.take_counts().flights,
            *flights,
            "{what}: {script}"
        );
    }
}

#[test]
fn a_farewell_waits_until_nothing_is_going_on() {
    let quiet: &[&str] = &[
        "",
        "Q/CZI",
        "PBES/12CZI",
        "Q/G/dc/CZI",
        "PBES/12G/dcS/CZI",
        "Q/Wd/c/cCZI",
        "PDH/1tT/S/ZI",
        "PDH/1tT/Q/CZI",
        "/AN",
    ];
    for script in quiet {
        assert!(talk(script).quiet(), "{script:?}");
    }
    let busy: &[&str] = &[
        "Q",
        "Q/CZT",
        "Q/EZE",
        "P",
        "PBESPBES/12CZI",
        "PDH/1tT",
        "Q/G",
        "PBES/12G/dc/C",
        "Q/W",
        "X",
    ];
    for script in busy {
        assert!(!talk(script).quiet(), "{script:?}");
    }
}

#[test]
fn nothing_is_said_inside_a_message() {
    let mut conversation = talk("Q");
    let row = message(b'D', b"row");
    for cut in 1..row.len() {
        conversation.from_server(&row[..cut]);
        assert!(!conversation.may_speak_to_client() && !conversation.quiet());
        assert_eq!(conversation.server_is_gone(), None);
        conversation.from_server(&row[cut..]);
        assert!(conversation.may_speak_to_client());
    }
    conversation.from_client(&message(b'd', b"data")[..7]);
    assert_eq!(conversation.leave(), None);
}

#[test]
fn a_lost_frame_is_never_spoken_into_and_not_timed() {
    for lose in [Conversation::from_client, Conversation::from_server] {
        let mut conversation = talk("");
        lose(&mut conversation, b"Q\0\0\0\x03 and what follows");
        assert!(conversation.lost() && !conversation.quiet());
        assert_eq!(conversation.standing(), IDLE);
        assert!(conversation.leave().is_none() || conversation.server_is_gone().is_none());
    }
}

#[test]
fn a_client_is_told_of_a_silent_end_and_only_of_that() {
    let told = |script| talk(script).server_is_gone();
    let words = told("Q/D").unwrap();
    assert!(words.starts_with(b"E") && words.windows(6).any(|w| w == b"C57P01"));
    assert!(told("").is_some());
    assert!(told("Q/EZI").is_some());
    assert_eq!(told("/E"), None, "it said why");
    assert_eq!(told("X"), None, "it was asked to");
}

#[test]
fn transactions_are_counted_when_they_end() {
    let mut conversation = talk("QQQ/CZT//CZT//CZI");
    assert_eq!(conversation.take_counts().transactions, 1);
    assert_eq!(conversation.take_counts(), Counts::default());
}

#[test]
fn hundreds_in_a_pipeline_are_all_awaited() {
    let mut conversation = talk(&"PBES".repeat(300));
    for _ in 0..299 {
        conversation.from_server(&said("12CZI"));
        assert_eq!(conversation.standing(), Standing::Owing);
    }
    conversation.from_server(&said("12CZI"));
    assert!(conversation.quiet());
}

proptest! {
    #[test]
    fn no_bytes_and_no_order_of_messages_make_it_fail(
        turns in prop::collection::vec((any::<bool>(), prop_oneof![
            "[A-Za-z0-9]{0,6}".prop_map(|kinds| said(&kinds)),
            prop::collection::vec(any::<u8>(), 0..12),
        ]), 0..40),
    ) {
        let mut conversation = talk("");
        for (client, bytes) in turns {
            if client {
                conversation.from_client(&bytes);
            } else {
                conversation.from_server(&bytes);
            }
            if conversation.quiet() {
                prop_assert!(conversation.may_speak_to_client());
                prop_assert_eq!(conversation.standing(), IDLE);
                prop_assert!(conversation.leave().is_some());
            }
        }
    }
}
