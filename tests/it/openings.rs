//! Malformed, oversized, slow and contradictory openings, byte by byte. Each ends; none disturbs anybody else.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Gateway, Postgres, Raw, Relay, gateway::SHOP, psql, raw, tls, wait_until};

fn watched(more: &str) -> (Relay, Gateway) {
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), &format!("{SHOP}{more}"));
    (upstream, gateway)
}

fn good() -> Vec<u8> {
    raw::startup(&[("user", "app"), ("database", "shop")])
}

/// A client in one of the states in which an opening may come: plain, or inside TLS.
fn clients(port: u16) -> [Raw; 2] {
    [Raw::connect(port), Raw::encrypted([127, 0, 0, 1], port)]
}

#[test]
fn impossible_lengths_are_closed_without_a_word_in_every_state() {
    // CVE-2026-107348, CVE-2026-48773 and their like
    let (upstream, gateway) = watched("");
    for length in [0_u32, 7, 10_005, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        for mut client in clients(gateway.port) {
            let head = [length.to_be_bytes(), 0x0003_0000_u32.to_be_bytes()].concat();
            client.send(&head);
            assert_eq!(client.rest(), b"", "length {length}");
        }
    }
    assert_eq!(upstream.connected(), 0);
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
    gateway.until_metric(
        "doorward_decisions_total",
        &[("reason", "malformed_opening")],
        12.0,
    );
}

#[test]
fn the_shortest_and_the_longest_packet_are_read() {
    let (_upstream, gateway) = watched("");
    for mut client in clients(gateway.port) {
        client.send(&raw::opening(0x0003_0000, b""));
        let refusal = client.refusal();
        assert_eq!(
            refusal.field('C').as_deref(),
            Some("08P01"),
            "no terminator: {refusal:?}"
        );
    }
    for mut client in clients(gateway.port) {
        client.send(&raw::opening(0x0003_0000, b"\0"));
        assert_eq!(
            client.refusal().field('C').as_deref(),
            Some("28000"),
            "no user"
        );
    }
    let mut packet = raw::startup(&[
        ("user", "nobody"),
        ("application_name", &"x".repeat(10_004 - 40)),
    ]);
    packet.truncate(packet.len() - 1);
    let missing = 10_004 - packet.len() - 1;
    packet.splice(
        packet.len() - 1..,
        std::iter::repeat_n(b'x', missing).chain([0, 0]),
    );
    packet[..4].copy_from_slice(&10_004_u32.to_be_bytes());
    assert_eq!(packet.len(), 10_004);
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.send(&packet);
    assert!(
        client
            .refusal()
            .field('M')
            .unwrap()
            .contains("[user_not_allowed]")
    );
}

#[test]
fn packets_that_can_be_read_in_two_ways_are_refused() {
    let (upstream, gateway) = watched("");
    let long = "u".repeat(64);
    let cut = format!("{}\u{e9}{}", "u".repeat(62), "u".repeat(5));
    let bodies: [&[u8]; 9] = [
        b"user\0app\0database\0shop\0",
        b"user\0app\0database\0shop\0\0\0",
        b"user\0app\0database\0shop\0\0junk\0",
        b"user\0app\0user\0postgres\0database\0shop\0\0",
        b"user\0app\0database\0shop\0database\0hr\0\0",
        b"user\0app\0database\0shop\0search_path\0a\0search_path\0b\0\0",
        b"user\0a\x01pp\0database\0shop\0\0",
        b"user\0\xff\xfe\0database\0shop\0\0",
        b"user\0app\0database\0shop\0options\0-Ec role=postgres\0\0",
    ];
    let names = [&long, &cut].map(|name| raw::startup(&[("user", name), ("database", "shop")]));
    let packets = bodies
        .iter()
        .map(|body| raw::opening(0x0003_0000, body))
        .chain(names);
    for packet in packets {
        for mut client in clients(gateway.port) {
            client.send(&packet);
            let refusal = client.refusal();
            let code = refusal.field('C').unwrap();
            assert!(
                ["08P01", "28000"].contains(&&*code),
                "{packet:?}: {refusal:?}"
            );
        }
    }
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn options_that_the_server_reads_in_bundles_or_never_ends_to_read_are_refused_at_once() {
    // CVE-2026-107349 and its like
    let (upstream, gateway) = watched("");
    let blanks = "\\ ".repeat(4500);
    for options in [
        "-c=",
        "--=",
        "-c",
        "--",
        "-c =x",
        "-Ec role=x",
        "-crole",
        "postgres",
        &blanks,
    ] {
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        let began = Instant::now();
        client.send(&raw::startup(&[
            ("user", "app"),
            ("database", "shop"),
            ("options", options),
        ]));
        let refusal = client.refusal();
        assert_eq!(
            refusal.field('C').as_deref(),
            Some("08P01"),
            "{options}: {refusal:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(2), "{options}");
    }
    assert_eq!(upstream.connected(), 0);
    let usual = gateway.shop().with(
        "PGOPTIONS",
        "-c search_path=a --statement-timeout=9s -cgeqo=off",
    );
    assert_eq!(psql(&usual, "show statement_timeout").worked(), "9s");
}

#[test]
fn other_versions_are_told_so_in_their_own_form() {
    let (upstream, gateway) = watched("");
    for version in [0x0001_0000, 0x0002_0000] {
        for mut client in clients(gateway.port) {
            client.send(&raw::opening(version, &[0; 288]));
            let answer = client.rest();
            assert_eq!(
                (answer[0], answer.last()),
                (b'E', Some(&0)),
                "version 2: E, text, NUL"
            );
            assert!(!answer[1..answer.len() - 1].contains(&0), "{answer:?}");
        }
    }
    for version in [0x0004_0000, 0x04d2_1600, 0xffff_ffff] {
        for mut client in clients(gateway.port) {
            client.send(&raw::opening(version, b"user\0app\0database\0shop\0\0"));
            assert_eq!(
                client.refusal().field('C').as_deref(),
                Some("0A000"),
                "{version:x}"
            );
        }
    }
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn newer_minor_versions_are_the_servers_to_answer() {
    let policy =
        "origins:\n  - {name: t, from: [127.0.0.1], users: [by_text], databases: [shop]}\n";
    let gateway = Gateway::start(&Postgres::shared().address(), policy);
    for minor in [1_u8, 2, 255] {
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        let mut packet =
            raw::startup(&[("user", "by_text"), ("database", "shop"), ("_pq_.x", "1")]);
        packet[7] = minor;
        client.send(&packet);
        let kinds: Vec<char> = (0..2).map(|_| client.message().unwrap().kind).collect();
        assert_eq!(kinds, ['v', 'R'], "exactly one negotiation of 3.{minor}");
    }
}

#[test]
fn negotiation_ends() {
    // CVE-2026-6479 (negotiation without end), CVE-2026-14681 (GSS after direct TLS)
    let (upstream, gateway) = watched("");
    let repeated = |first: &[u8; 8], answer, then: &[u8; 8]| {
        let mut client = Raw::connect(gateway.port);
        client.send(first);
        assert_eq!(client.byte(), answer);
        client.send(then);
        client
    };
    let mut twice = repeated(&raw::GSSENC_REQUEST, b'N', &raw::GSSENC_REQUEST);
    assert_eq!(twice.refusal().field('C').as_deref(), Some("0A000"));
    for again in [raw::SSL_REQUEST, raw::GSSENC_REQUEST] {
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        client.send(&again);
        assert_eq!(
            client.refusal().field('C').as_deref(),
            Some("0A000"),
            "inside negotiated TLS"
        );
    }
    let direct = || {
        let config = tls::client(&["postgresql"]);
        Raw::connect(gateway.port).handshake(config).unwrap().0
    };
    let mut client = direct();
    client.send(&raw::SSL_REQUEST);
    assert_eq!(client.byte(), b'N', "inside direct TLS, as the server does");
    client.send(&raw::SSL_REQUEST);
    assert_eq!(client.refusal().field('C').as_deref(), Some("0A000"));
    let mut client = direct();
    client.send(&raw::GSSENC_REQUEST);
    assert_eq!(client.refusal().field('C').as_deref(), Some("0A000"));
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn plaintext_after_a_request_for_tls_is_an_attack() {
    // CVE-2021-23214, CVE-2021-23222, CVE-2024-10977 and their family
    let (upstream, gateway) = watched("");
    for stuffing in [
        good(),
        vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3],
        vec![0],
    ] {
        let mut client = Raw::connect(gateway.port);
        client.send(&[raw::SSL_REQUEST.as_slice(), &stuffing].concat());
        let refusal = client.refusal();
        assert_eq!(refusal.field('C').as_deref(), Some("08P01"));
        assert!(
            refusal
                .field('M')
                .unwrap()
                .contains("unencrypted data after SSL request")
        );
    }
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn an_opening_may_come_one_byte_at_a_time() {
    let policy =
        "origins:\n  - {name: t, from: [127.0.0.1], users: [by_text], databases: [shop]}\n";
    let gateway = Gateway::start(&Postgres::shared().address(), policy);
    let mut client = Raw::connect(gateway.port);
    for byte in raw::SSL_REQUEST {
        client.send(&[byte]);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.byte(), b'S');
    let (mut client, ..) = client.handshake(tls::client(&[])).unwrap();
    for byte in raw::startup(&[("user", "by_text"), ("database", "shop")]) {
        client.send(&[byte]);
        thread::sleep(Duration::from_millis(1));
    }
    client.expect('R');
    for byte in raw::framed(b'p', b"secret\0") {
        client.send(&[byte]);
    }
    client.expect('Z');
}

#[test]
fn direct_tls_needs_the_protocols_name() {
    let (_upstream, gateway) = watched("");
    for offered in [&[][..], &["http/1.1"]] {
        let failed = Raw::connect(gateway.port).handshake(tls::client(offered));
        let closed = failed.map(|(mut client, ..)| {
            client.try_send(&good()).ok();
            client.rest()
        });
        assert!(
            closed.is_err() || closed.is_ok_and(|rest| rest.is_empty()),
            "{offered:?}"
        );
    }
    let mut client = Raw::connect(gateway.port);
    client.send(&raw::SSL_REQUEST);
    assert_eq!(client.byte(), b'S');
    let wrong = client.handshake(tls::client(&["http/1.1"]));
    let Err(error) = wrong else {
        panic!("ALPN without postgresql passed")
    };
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    wait_until("the failures are counted", || {
        (gateway.refused("tls_failed") >= 3.0).then_some(())
    });
}

#[test]
fn who_says_nothing_and_who_dawdles_is_put_out_in_time() {
    let (upstream, gateway) = watched("limits: {first_byte: 500ms, opening: 1500ms}\n");
    let began = Instant::now();
    let mut silent = Raw::connect(gateway.port);
    let mut dawdler = Raw::connect(gateway.port);
    let mut handshaker = Raw::connect(gateway.port);
    dawdler.send(&good()[..6]);
    handshaker.send(&raw::SSL_REQUEST);
    assert_eq!(handshaker.byte(), b'S');
    // a byte now and then is no reason to wait longer
    let dripping = thread::spawn(move || {
        for byte in good()[6..].iter().take(20) {
            thread::sleep(Duration::from_millis(150));
            if dawdler.try_send(&[*byte]).is_err() {
                break;
            }
        }
        dawdler.rest();
        began.elapsed()
    });
    silent.rest();
    let silence = began.elapsed();
    assert!(
        silence >= Duration::from_millis(450) && silence < Duration::from_millis(1400),
        "{silence:?}"
    );
    handshaker.rest();
    let handshake = began.elapsed();
    assert!(
        handshake >= Duration::from_millis(1400) && handshake < Duration::from_secs(5),
        "{handshake:?}"
    );
    assert!(dripping.join().unwrap() < Duration::from_secs(6));
    gateway.until_metric(
        "doorward_decisions_total",
        &[("reason", "opening_timeout")],
        3.0,
    );
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn a_health_check_is_no_opening_and_no_log_line() {
    let (upstream, gateway) = watched("");
    gateway.logged(&[("event", "started")]);
    let lines = gateway.log().len();
    for _ in 0..3 {
        let mut probe = Raw::connect(gateway.port);
        probe.half_close();
        assert_eq!(probe.rest(), b"");
    }
    gateway.until_metric("doorward_probes_total", &[("listener", "pg")], 3.0);
    assert_eq!(gateway.log().len(), lines);
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn a_second_startup_during_login_never_opens_the_decision_again() {
    // CVE-2026-107350
    let policy =
        "origins:\n  - {name: t, from: [127.0.0.1], users: [by_text], databases: [shop]}\n";
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), policy);
    for second in [
        raw::startup(&[("user", "postgres"), ("database", "postgres")]),
        raw::framed(b'Q', b"select 1\0"),
        raw::framed(b'p', &vec![b'x'; 70_000]),
    ] {
        let before = upstream.brought().len();
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        client.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
        client.expect('R');
        client.try_send(&second).ok();
        let answer = client.message();
        assert!(answer.is_none_or(|message| message.kind == 'E'));
        let brought = wait_until("a connection", || {
            upstream.brought().into_iter().nth(before)
        });
        let text = String::from_utf8_lossy(&brought).into_owned();
        assert!(
            !text.contains("postgres\0") && !text.contains("select 1"),
            "{text:?}"
        );
    }
}
