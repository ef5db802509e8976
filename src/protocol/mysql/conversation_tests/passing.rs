//! What may pass, what waits, and what ends the session.

use super::*;

#[test]
fn a_command_with_another_user_waits_for_the_session_whatever_its_rights() {
    for script in ["", "ping/ok", "query/err", "close long"] {
        let mut conversation = talk(script, DIALECTS[0], agreeable());
        let bytes = [packet(0, &asked("close")), packet(0, &asked("user"))].concat();
        let close = packet(0, &asked("close")).len();
        assert_eq!(conversation.from_client(&bytes), close, "{script}");
        assert_eq!(conversation.hold(), Some(Hold::Command), "{script}");
        assert!(!conversation.quiet());
        // no agreement lets it pass
        conversation.let_pass();
        assert_eq!(conversation.from_client(&bytes[close..]), 0, "{script}");
        assert_eq!(conversation.hold(), Some(Hold::Command), "{script}");
        conversation.changed_user(Status::AUTOCOMMIT);
        assert_eq!(conversation.hold(), None);
        assert!(conversation.quiet());
    }
}

#[test]
fn a_command_with_another_user_ends_a_session_with_an_answer_outstanding() {
    for script in [
        "ping",
        "query/1columns column",
        "query/ok+",
        "prepare/1prepared",
        "dump",
    ] {
        let mut conversation = talk(script, DIALECTS[0], agreeable());
        let held = conversation.from_client(&packet(0, &asked("user")));
        assert_eq!(held, 0, "{script}");
        if script == "dump" {
            assert_eq!(conversation.hold(), Some(Hold::Answers));
            continue;
        }
        assert!(
            matches!(conversation.hold(), Some(Hold::Breach(_))),
            "{script}"
        );
        assert_eq!(conversation.from_client(&packet(0, &asked("ping"))), 0);
        assert_eq!(conversation.from_server(&packet(1, b"\0")), 0);
    }
}

#[test]
fn the_session_decides_only_when_the_last_answer_is_there_to_its_end() {
    let rights = Rights {
        init_db: true,
        ..Rights::default()
    };
    let mut conversation = talk("ping", DIALECTS[0], rights);
    let init = packet(0, &asked("init"));
    assert_eq!(conversation.from_client(&init), 0);
    assert_eq!(conversation.hold(), Some(Hold::Answers));
    let text = [&[0, 0, 0, 2, 0, 0, 0][..], &[b'x'; 40]].concat();
    let answer = packet(1, &text);
    let (most, last) = answer.split_at(answer.len() - 1);
    conversation.from_server(most);
    assert_eq!(conversation.hold(), Some(Hold::Answers));
    conversation.from_server(last);
    assert_eq!(conversation.hold(), Some(Hold::Command));
    conversation.let_pass();
    assert_eq!(conversation.hold(), None);
    assert_eq!(conversation.from_client(&init), init.len());
    assert_eq!(conversation.standing(), Standing::Owing);
    go_on(&mut conversation, "/ok", DIALECTS[0]);
    assert_eq!(conversation.from_client(&init), 0);
    assert_eq!(conversation.hold(), Some(Hold::Answered { ok: true }));
    conversation.noted();
    // once
    assert_eq!(conversation.from_client(&init), 0);
    assert_eq!(conversation.hold(), Some(Hold::Command));
}

#[test]
fn the_session_hears_that_the_server_refused_what_it_had_agreed_to() {
    let rights = Rights {
        init_db: true,
        ..Rights::default()
    };
    let mut conversation = Conversation::new(facts(DIALECTS[0]), rights);
    let init = packet(0, &asked("init"));
    assert_eq!(conversation.from_client(&init), 0);
    conversation.let_pass();
    assert_eq!(conversation.from_client(&init), init.len());
    conversation.from_server(&packet(1, b"\xff\x19\x04#42000Unknown database"));
    assert_eq!(conversation.hold(), Some(Hold::Answered { ok: false }));
}

#[test]
fn a_command_that_the_session_has_dealt_with_is_gone() {
    let rights = Rights {
        init_db: true,
        ..Rights::default()
    };
    let mut conversation = Conversation::new(facts(DIALECTS[0]), rights);
    conversation.from_client(&packet(0, &asked("init")));
    assert_eq!(conversation.hold(), Some(Hold::Command));
    conversation.dealt_with();
    assert_eq!(conversation.hold(), None);
    assert!(conversation.quiet());
    go_on(&mut conversation, "ping/ok", DIALECTS[0]);
    assert_eq!(conversation.from_client(&packet(0, &asked("init"))), 0);
}

#[test]
fn each_right_holds_its_own_commands() {
    let none = Rights::default();
    let cases: [(Rights, &[&str]); 4] = [
        (none, &[]),
        (
            Rights {
                init_db: true,
                ..none
            },
            &["init"],
        ),
        (
            Rights {
                replication: true,
                ..none
            },
            &["register", "dump"],
        ),
        (
            Rights {
                kill_only: true,
                ..none
            },
            &[
                "init", "register", "dump", "query", "ping", "close", "nothing",
            ],
        ),
    ];
    for (rights, held) in cases {
        for word in [
            "init", "register", "dump", "query", "ping", "close", "nothing", "quit",
        ] {
            let mut conversation = Conversation::new(facts(DIALECTS[0]), none);
            conversation.set_rights(rights);
            let bytes = packet(0, &asked(word));
            let expected = if held.contains(&word) { 0 } else { bytes.len() };
            assert_eq!(
                conversation.from_client(&bytes),
                expected,
                "{word} {rights:?}"
            );
            let expected = held.contains(&word).then_some(Hold::Command);
            assert_eq!(conversation.hold(), expected, "{word} {rights:?}");
        }
    }
}

#[test]
fn a_command_is_held_from_its_first_byte_however_it_is_cut() {
    let user = packet(0, &asked("user"));
    let before = packet(0, &asked("close"));
    for cut in 0..user.len() {
        let mut conversation = Conversation::new(facts(DIALECTS[0]), agreeable());
        let first = [&before[..], &user[..cut]].concat();
        assert_eq!(conversation.from_client(&first), before.len(), "{cut}");
        let hold = match cut {
            0 => None,
            1..=4 => Some(Hold::More),
            _ => Some(Hold::Command),
        };
        assert_eq!(conversation.hold(), hold, "{cut}");
        assert_eq!(conversation.from_client(&user), 0, "{cut}");
        assert_eq!(conversation.hold(), Some(Hold::Command), "{cut}");
    }
}

#[test]
fn what_looks_like_a_command_inside_of_one_is_none() {
    let mut conversation = Conversation::new(facts(DIALECTS[0]), agreeable());
    let mut payload = vec![0x11; 0xFF_FFFF * 2];
    payload[0] = 0x03;
    // three packets, the last of them empty, and each but the first as if it were a command
    let bytes = packet(0, &payload);
    assert_eq!(bytes.len(), payload.len() + 12);
    let next = packet(0, &asked("user"));
    let all = [&bytes[..], &next].concat();
    assert_eq!(
        conversation.from_client(&all[..bytes.len() - 1]),
        bytes.len() - 1
    );
    assert_eq!(conversation.take_counts().flights, 0);
    assert_eq!(conversation.standing(), Standing::Asking);
    assert_eq!(conversation.from_client(&all[bytes.len() - 1..]), 1);
    assert_eq!(conversation.take_counts().flights, 1);
    assert!(matches!(conversation.hold(), Some(Hold::Breach(_))));
}

#[test]
fn what_looks_like_the_end_of_a_result_inside_of_a_row_is_none() {
    for capabilities in DIALECTS {
        let mut conversation = talk("query/1columns column between", capabilities, agreeable());
        for (first, length) in [
            (0xFE, 0xFF_FFFF),
            (0xFE, 0xFF_FFFF + 5),
            (0x00, 0xFF_FFFF * 2),
        ] {
            let mut row = vec![first; length];
            row[1..9].fill(0);
            conversation.from_server(&packet(4, &row));
            assert_eq!(conversation.standing(), Standing::Owing);
        }
        go_on(&mut conversation, "/row end", capabilities);
        assert_eq!(conversation.standing(), IDLE);
    }
}

#[test]
fn a_file_is_asked_for_only_of_who_may_and_waits() {
    let cases = [
        ("query", Rights::default()),
        ("query ping", agreeable()),
        ("query close", agreeable()),
        ("query long", agreeable()),
        ("ping", agreeable()),
        ("prepare", agreeable()),
        ("", agreeable()),
    ];
    for (script, rights) in cases {
        let mut conversation = talk(script, DIALECTS[0], rights);
        let file = packet(1, b"\xFB/etc/passwd");
        let bytes = [&packet(1, b"\xFF\xFF\xFF\x01")[..], &file].concat();
        assert_eq!(
            conversation.from_server(&bytes),
            bytes.len() - file.len(),
            "{script}"
        );
        let hold = conversation.hold();
        assert!(matches!(hold, Some(Hold::Breach(_))), "{script}");
        assert!(conversation.may_speak_to_client(), "{script}");

        // the client gets no whole packet even if the server cuts it
        let mut conversation = talk(script, DIALECTS[0], rights);
        let passed: usize = file
            .iter()
            .map(|byte| conversation.from_server(&[*byte]))
            .sum();
        assert!(passed < file.len(), "{script}");
        assert!(!conversation.may_speak_to_client(), "{script}");
    }
    let cut = &packet(0, b"\x03load data local")[..9];
    let mut conversation = Conversation::new(facts(DIALECTS[0]), agreeable());
    conversation.from_client(cut);
    assert_eq!(conversation.from_server(&packet(1, b"\xFBfile")), 0);
}

#[test]
fn a_packet_that_has_no_place_ends_the_session() {
    let cases = [
        ("", "ok"),
        ("ping/ok", "ok"),
        ("ping/ok", "end"),
        ("query/1columns column between row end", "row"),
        ("query/file", "ok"),
        ("query/2columns column", "stop"),
        ("prepare", "row"),
        ("query", "null-row"),
    ];
    for (script, word) in cases {
        let rights = Rights::default();
        let mut conversation = Conversation::new(facts(DIALECTS[0]), agreeable());
        go_on(&mut conversation, script, DIALECTS[0]);
        conversation.set_rights(rights);
        let bytes = packet(1, &said(word, DIALECTS[0]).unwrap());
        assert_eq!(conversation.from_server(&bytes), 0, "{script} {word}");
        let hold = conversation.hold();
        assert!(matches!(hold, Some(Hold::Breach(_))), "{script} {word}");
    }
    // of two columns and nothing else, in no dialect
    for columns in [&[][..], &[0xFB], &[0xFD, 1, 0, 0], &[2, 2], &[0xFC, 1]] {
        let mut conversation = talk("ping", DIALECTS[0], agreeable());
        conversation.from_server(&packet(1, columns));
        let hold = conversation.hold();
        assert!(matches!(hold, Some(Hold::Breach(_))), "{columns:?}");
    }
}

#[test]
fn an_error_that_looks_like_progress_ends_the_answer() {
    let signalled = packet(1, b"\xFF\xFF\xFF#45000no");
    let progress = packet(1, b"\xFF\xFF\xFF\x01\x01\x02\0\0\0\x01x");
    for (mariadb, bytes, owing) in [
        (true, &progress, true),
        (true, &signalled, false),
        (false, &progress, false),
        (false, &signalled, false),
    ] {
        let facts = Facts {
            mariadb,
            ..facts(DIALECTS[0])
        };
        let mut conversation = Conversation::new(facts, agreeable());
        go_on(&mut conversation, "query", DIALECTS[0]);
        conversation.from_server(bytes);
        assert_eq!(conversation.standing() == Standing::Owing, owing);
    }
}

#[test]
fn a_stream_lets_only_what_is_its_own_pass() {
    for (begun, word) in [
        ("dump/event", "ack"),
        ("dump/event", "quit"),
        ("clone/ok", "clone-exit"),
    ] {
        let mut conversation = talk(begun, DIALECTS[0], agreeable());
        let bytes = packet(0, &asked(word));
        assert_eq!(
            conversation.from_client(&bytes),
            bytes.len(),
            "{begun}: {word}"
        );
    }
    for (waiting, word) in [
        ("dump", "ack"),
        ("dump", "ping"),
        ("clone", "clone-exit"),
        ("clone/ok/clone-exit", "ping"),
    ] {
        let mut conversation = talk(waiting, DIALECTS[0], agreeable());
        assert_eq!(
            conversation.from_client(&packet(0, &asked(word))),
            0,
            "{waiting}: {word}"
        );
        assert_eq!(
            conversation.hold(),
            Some(Hold::Answers),
            "{waiting}: {word}"
        );
    }
}

#[test]
fn a_command_in_the_middle_of_a_stream_ends_the_session() {
    // held, it would keep the session from hearing that its client is gone, for as long as the stream goes on
    for (begun, word) in [
        ("dump/event", "ping"),
        ("dump/event", "user"),
        ("clone/ok", "ping"),
    ] {
        let mut conversation = talk(begun, DIALECTS[0], agreeable());
        assert_eq!(
            conversation.from_client(&packet(0, &asked(word))),
            0,
            "{begun}: {word}"
        );
        assert!(
            matches!(conversation.hold(), Some(Hold::Breach(_))),
            "{begun}: {word}"
        );
    }
}

#[test]
fn a_crowd_of_commands_has_to_wait_for_answers() {
    let mut conversation = Conversation::new(facts(DIALECTS[0]), agreeable());
    let ping = packet(0, &asked("ping"));
    let many = ping.repeat(5000);
    let passed = conversation.from_client(&many);
    assert_eq!(passed, 1024 * ping.len());
    assert_eq!(conversation.hold(), Some(Hold::Answers));
    let ok = packet(1, &said("ok", DIALECTS[0]).unwrap());
    conversation.from_server(&ok);
    // in strides, or each answer would have everything offered anew
    assert_eq!(conversation.hold(), Some(Hold::Answers));
    conversation.from_server(&ok.repeat(511));
    assert_eq!(conversation.hold(), None);
    assert_eq!(conversation.from_client(&many[passed..]), 512 * ping.len());
}
