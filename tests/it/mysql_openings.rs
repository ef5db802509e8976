//! MySQL's openings byte by byte: malformed, oversized, slow, contradictory. Each ends; none logs in as anybody else.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Client, Gateway, Raw, Rogue, free_port,
    gateway::SHOP,
    mysql_raw::{self as mysql, Response, can, packet},
    rogue, tls, wait_until,
};

const PLAIN: &str = "require: {tls: false}\n";

/// A server that lets everybody in, and a gateway before it.
fn watched(more: &str) -> (Rogue, Gateway) {
    let server = Rogue::content();
    let gateway = Gateway::mysql(&server.address(), &format!("{SHOP}{more}"));
    (server, gateway)
}

fn good() -> Response {
    Response::of("app", "shop")
}

/// A client in either of the states in which a response may come: plain, or inside TLS.
fn clients(port: u16) -> [Client; 2] {
    [Client::greeted(port), Client::encrypted(port)]
}

/// The user and the database that a server reads in a claim with the usual flags.
fn read_by_server(claim: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let bits = u32::from_le_bytes(*claim.first_chunk().unwrap());
    let mut fields = claim[32..].splitn(2, |byte| *byte == 0);
    let (user, rest) = (fields.next().unwrap(), fields.next().unwrap_or_default());
    let proof = rest.first().map_or(0, |length| usize::from(*length) + 1);
    let rest = rest.get(proof..).unwrap_or_default();
    let mut database = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    if bits & can::CONNECT_WITH_DB == 0 {
        database = b"";
    }
    (user.to_vec(), database.to_vec())
}

#[test]
fn a_client_hello_may_share_its_segment_with_the_request_for_tls() {
    let (server, gateway) = watched("");
    let mut client = Client::greeted(gateway.port);
    let request = packet(1, &good().ssl_request());
    let (raw, ..) = client
        .raw
        .handshake_behind(&request, tls::client(&[]))
        .unwrap();
    client = Client {
        raw,
        next: 2,
        ..client
    };
    client.claim(&good());
    let mut raw = client.proven("").unwrap();
    raw.command(mysql::COM_PING, b"");
    raw.ok();
    assert_eq!(server.claims().len(), 1);
}

#[test]
fn plaintext_after_a_request_for_tls_is_an_attack() {
    // CVE-2021-23214 and its family, as MySQL has it
    let (server, gateway) = watched("");
    let request = packet(1, &good().ssl_request());
    let stuffing = [
        packet(2, &good().encode()),
        packet(2, &good().ssl_request()),
        vec![0],
        // a packet whose head could begin a record, if it were read as one
        packet(2, &[b'x'; 0x15]),
    ];
    for stuffed in &stuffing {
        let mut client = Client::greeted(gateway.port);
        client.raw.send(&[request.as_slice(), stuffed].concat());
        let refusal = client.raw.err();
        assert_eq!((refusal.number, refusal.sequence), (1043, 2), "{refusal:?}");
        assert_eq!(refusal.state.as_deref(), Some("08S01"));
        assert!(
            refusal.text.contains("unencrypted data after SSL request"),
            "{refusal:?}"
        );
    }
    // the same, and then an honest handshake: the plain part must not count as encrypted
    let client = Client::greeted(gateway.port);
    let stuffed = [request.as_slice(), &stuffing[0]].concat();
    assert!(
        client
            .raw
            .handshake_behind(&stuffed, tls::client(&[]))
            .is_err()
    );
    assert_eq!(server.claims(), Vec::<Vec<u8>>::new());
    gateway.until_metric(
        "doorward_decisions_total",
        &[("reason", "malformed_opening")],
        5.0,
    );
}

#[test]
fn what_only_looks_like_a_handshake_ends_without_a_word() {
    let (server, gateway) = watched("");
    let mut client = Client::greeted(gateway.port);
    let request = packet(1, &good().ssl_request());
    let record = [
        0x16, 3, 1, 0, 9, b'n', b'o', b' ', b'h', b'e', b'l', b'l', b'o', b'!',
    ];
    client.raw.send(&[request.as_slice(), &record].concat());
    let rest = client.raw.rest();
    assert!(
        rest.is_empty() || rest[0] == 0x15,
        "an alert at most: {rest:?}"
    );
    wait_until("it is counted", || {
        (gateway.refused("tls_failed") >= 1.0).then_some(())
    });
    assert_eq!(server.claims().len(), 0);
}

#[test]
fn a_response_that_promises_tls_and_brings_none_is_refused() {
    let (server, gateway) = watched(PLAIN);
    let mut response = good();
    response.capabilities |= can::SSL;
    let mut client = Client::greeted(gateway.port);
    client.claim(&response);
    let refusal = client.raw.err();
    assert_eq!(
        (refusal.number, refusal.state.as_deref()),
        (1043, Some("08S01")),
        "{refusal:?}"
    );
    assert_eq!(server.claims().len(), 0);
    // inside TLS the bit says what is so
    let mut client = Client::encrypted(gateway.port);
    client.claim(&response);
    client.proven("").unwrap().command(mysql::COM_QUIT, b"");
    let claim = &server.claims()[0];
    assert_eq!(
        claim[1] & 8,
        0,
        "the server's leg is plain, and the bit would stop it"
    );
}

#[test]
fn a_second_request_for_tls_within_tls_is_refused() {
    let (server, gateway) = watched("");
    let mut client = Client::encrypted(gateway.port);
    client.put(&good().ssl_request());
    assert_eq!(client.raw.err().number, 1043);
    assert_eq!(server.claims().len(), 0);
}

#[test]
fn a_client_that_lacks_what_every_client_has_is_told_so() {
    let (server, gateway) = watched(PLAIN);
    for missing in [can::PROTOCOL_41, can::SECURE_CONNECTION, can::PLUGIN_AUTH] {
        for mut client in clients(gateway.port) {
            let mut response = good();
            response.capabilities &= !missing;
            client.claim(&response);
            let refusal = client.raw.err();
            assert_eq!(refusal.number, 1251, "{missing:x}: {refusal:?}");
            assert_eq!(refusal.state.as_deref(), Some("08004"));
        }
    }
    // 3.20's own form: two bytes of flags, three of size, user, password
    let mut client = Client::greeted(gateway.port);
    client.put(b"\x05\x00\x00\x00\x01app\0scramble\0shop\0");
    assert_eq!(client.raw.err().number, 1251);
    assert_eq!(server.claims().len(), 0);
}

#[test]
fn names_that_the_server_would_cut_or_read_otherwise_are_refused() {
    let server = Rogue::content();
    let policy = format!("origins:\n  - {{name: all, from: [127.0.0.1]}}\n{PLAIN}");
    let gateway = Gateway::mysql(&server.address(), &policy);
    let (utf8, latin1, swe7) = (45, 8, 10);
    let long = |length: usize| "u".repeat(length).into_bytes();
    let names: [(Vec<u8>, u8); 11] = [
        (long(65), utf8),
        (long(129), utf8),
        (long(200), utf8),
        (long(300), utf8),
        (b"app\xc3".to_vec(), utf8),
        (b"a\x01pp".to_vec(), utf8),
        (b"'app'".to_vec(), utf8),
        ("app\u{1f600}".into(), utf8),
        (b"ren\xe9".to_vec(), latin1),
        ("ren\u{e9}".into(), latin1),
        // plain ASCII, and yet another name
        (b"ren`".to_vec(), swe7),
    ];
    for (name, charset) in names {
        let mut user = good();
        user.charset = charset;
        let mut database = user.clone();
        user.user.clone_from(&name);
        database.database = Some(name.clone());
        for (response, number) in [(user, 1045), (database, 1044)] {
            for mut client in clients(gateway.port) {
                client.claim(&response);
                let refusal = client.raw.err();
                assert_eq!(refusal.number, number, "{name:?}: {refusal:?}");
            }
        }
    }
    let mut client = Client::greeted(gateway.port);
    let mut response = good();
    response.user = long(33);
    client.claim(&response);
    assert_eq!(client.raw.err().number, 1045, "MySQL keeps 32");
    assert_eq!(server.claims().len(), 0);
}

#[test]
fn a_packet_with_less_or_more_than_it_promises_never_becomes_another_claim() {
    let (server, gateway) = watched(PLAIN);
    let mut response = good();
    response.plugin = "p".repeat(12);
    response.attributes = Some(vec![
        (b"_os".to_vec(), b"linux".to_vec()),
        (b"k".to_vec(), b"v".to_vec()),
    ]);
    let whole = response.encode();
    let mut admitted = 0;
    for end in 0..whole.len() {
        let mut client = Client::greeted(gateway.port);
        client.put(&whole[..end]);
        let answer = client.raw.packet().unwrap();
        admitted += usize::from(answer.is_ok());
        let number = answer.refusal().map(|refusal| refusal.number);
        assert!(
            answer.is_ok() || matches!(number, Some(1043 | 1045 | 1251)),
            "{end} of {} bytes: {answer:?}",
            whole.len()
        );
    }
    for tail in [&b"\0"[..], b"x", b"postgres\0", &[0; 8]] {
        let mut client = Client::greeted(gateway.port);
        client.put(&[&whole, tail].concat());
        assert_eq!(client.raw.err().number, 1043, "{tail:?} at the end");
    }
    // the flag of a database without its bytes: a server would take the plugin's name for it
    let mut client = Client::greeted(gateway.port);
    let mut lying = good();
    lying.database = None;
    lying.capabilities |= can::CONNECT_WITH_DB;
    client.claim(&lying);
    assert!(matches!(client.raw.err().number, 1043..=1045));
    for claim in server.claims() {
        assert_eq!(
            read_by_server(&claim),
            (b"app".to_vec(), b"shop".to_vec()),
            "{claim:?}"
        );
    }
    assert_eq!(server.claims().len(), admitted);
}

#[test]
fn the_last_zero_byte_of_the_plugin_may_be_missing() {
    let (server, gateway) = watched(PLAIN);
    let mut client = Client::greeted(gateway.port);
    let whole = good().encode();
    client.put(&whole[..whole.len() - 1]);
    client.proven("").unwrap();
    assert_eq!(server.claims().len(), 1);
}

#[test]
fn attributes_are_read_once_and_whole() {
    let (server, gateway) = watched(PLAIN);
    let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let twice = vec![pair("program_name", "a"), pair("program_name", "b")];
    let cut = |block: Vec<u8>| {
        let mut response = good();
        response.capabilities |= can::CONNECT_ATTRS;
        [response.encode(), block].concat()
    };
    let bad = [
        cut(mysql::block(&twice)),
        // a value longer than the block, a block longer than the packet, a key without a value, lengths that no memory has
        cut(b"\x06\x01k\x09abc".to_vec()),
        cut(b"\x20\x01k\x01v".to_vec()),
        cut(b"\x02\x01k".to_vec()),
        cut(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        cut(b"\x0a\xfe\xff\xff\xff\xff\xff\xff\xff\x7fk".to_vec()),
        cut(b"\xff".to_vec()),
        cut(mysql::block(&[pair("k", &"v".repeat(70_000))])),
    ];
    for payload in &bad {
        for mut client in clients(gateway.port) {
            client.put(payload);
            assert_eq!(
                client.raw.err().number,
                1043,
                "{:?}",
                &payload[..80.min(payload.len())]
            );
        }
    }
    assert_eq!(server.claims().len(), 0);
    // 64 KiB of them are the servers' own limit
    let mut client = Client::greeted(gateway.port);
    let mut response = good();
    response.attributes = Some(vec![pair("k", &"v".repeat(0xffff - 5))]);
    client.claim(&response);
    client.proven("").unwrap();
    // and none of ours may come from a client
    let mut client = Client::greeted(gateway.port);
    response.attributes = Some(vec![
        pair("_doorward_client", "192.0.2.1"),
        pair("kept", "yes"),
    ]);
    client.claim(&response);
    client.proven("").unwrap();
    let claim = &server.claims()[1];
    assert!(!rogue::contains(claim, b"192.0.2.1"), "{claim:?}");
    assert!(rogue::contains(claim, b"kept"));
}

#[test]
fn a_packet_that_is_too_long_to_open_a_connection_is_never_waited_for() {
    // CVE-2026-48773 and its like
    let (server, gateway) = watched("");
    for length in [0x02_0001_u32, 0xff_fffe, 0xff_ffff] {
        for mut client in clients(gateway.port) {
            let mut head = length.to_le_bytes();
            head[3] = client.next;
            client.raw.send(&head);
            client.raw.try_send(&[b'x'; 40]).ok();
            assert_eq!(client.raw.err().number, 1043, "{length:x}");
        }
    }
    assert_eq!(server.claims().len(), 0);
}

#[test]
fn packets_out_of_order_are_refused_as_the_servers_do() {
    let (server, gateway) = watched(PLAIN);
    for wrong in [-1, 1, 100] {
        for mut client in clients(gateway.port) {
            client.next = client.next.wrapping_add_signed(wrong);
            client.claim(&good());
            let refusal = client.raw.err();
            assert_eq!(
                (refusal.number, refusal.state.as_deref()),
                (1156, Some("08S01")),
                "{wrong}"
            );
        }
    }
    assert_eq!(server.claims().len(), 0);
}

#[test]
fn an_opening_may_come_in_pieces_of_any_size() {
    let (server, gateway) = watched("");
    for size in [1, 2, 3, 5, 31, 33, 64] {
        let mut client = Client::greeted(gateway.port);
        let request = packet(1, &good().ssl_request());
        mysql::in_pieces(&mut client.raw, &request, size).unwrap();
        let (raw, ..) = client.raw.handshake(tls::client(&[])).unwrap();
        let mut client = Client {
            raw,
            next: 2,
            ..client
        };
        mysql::in_pieces(&mut client.raw, &packet(2, &good().encode()), size).unwrap();
        client.next = 3;
        client.proven("").unwrap();
    }
    assert_eq!(server.claims().len(), 7);
}

#[test]
fn what_comes_behind_the_response_waits_for_its_turn() {
    let server = Rogue::content();
    let gateway = Gateway::mysql(&server.address(), &format!("{SHOP}{PLAIN}"));
    let mut client = Client::greeted(gateway.port);
    // a command in the same segment: it is neither lost nor part of the login
    let both = [packet(1, &good().encode()), packet(0, &[mysql::COM_PING])].concat();
    client.raw.send(&both);
    client.next = 2;
    let mut raw = client.proven("").unwrap();
    raw.ok();
    // a second claim in the same segment is no claim
    let mut client = Client::greeted(gateway.port);
    let second = packet(2, &Response::of("root", "mysql").encode());
    client
        .raw
        .send(&[packet(1, &good().encode()), second].concat());
    client.next = 2;
    if let Ok(mut raw) = client.proven("") {
        raw.rest_within(Duration::from_millis(300));
    }
    for claim in server.claims() {
        assert_eq!(read_by_server(&claim), (b"app".to_vec(), b"shop".to_vec()));
    }
}

#[test]
fn who_says_nothing_and_who_dawdles_is_put_out_in_time() {
    let (server, gateway) = watched("limits: {first_byte: 500ms, opening: 1500ms}\n");
    let began = Instant::now();
    let mut silent = Client::greeted(gateway.port);
    let mut half = Client::greeted(gateway.port);
    let mut handshaker = Client::greeted(gateway.port);
    let mut dawdler = Client::greeted(gateway.port);
    half.raw.send(&packet(1, &good().encode())[..20]);
    handshaker.put(&good().ssl_request());
    let dripping = thread::spawn(move || {
        for byte in packet(1, &good().encode()) {
            if dawdler.raw.try_send(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(150));
        }
        dawdler.raw.rest();
        began.elapsed()
    });
    silent.raw.rest();
    let silence = began.elapsed();
    assert!(
        silence >= Duration::from_millis(450) && silence < Duration::from_millis(1400),
        "{silence:?}"
    );
    for mut client in [half, handshaker] {
        client.raw.rest();
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(1400) && took < Duration::from_secs(5),
            "{took:?}"
        );
    }
    assert!(dripping.join().unwrap() < Duration::from_secs(6));
    gateway.until_metric(
        "doorward_decisions_total",
        &[("reason", "opening_timeout")],
        4.0,
    );
    // none of them was dropped on the server's floor
    wait_until("junk logins", || (server.junk() >= 4).then_some(()));
    assert_eq!(server.claims().len(), 0);
}

#[test]
fn an_opening_has_eight_seconds_whatever_the_settings_say() {
    let (server, gateway) = watched("limits: {first_byte: 60s, opening: 60s}\n");
    let mut client = Client::greeted(gateway.port);
    let began = Instant::now();
    client.raw.send(&[1]);
    client.raw.rest();
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(7) && took < Duration::from_secs(9),
        "{took:?}"
    );
    wait_until("a junk login", || (server.junk() >= 1).then_some(()));
}

#[test]
fn a_health_check_is_no_opening_and_no_log_line() {
    let (server, gateway) = watched("");
    gateway.logged(&[("event", "started")]);
    let lines = gateway.log().len();
    for _ in 0..3 {
        let probe = Client::greeted(gateway.port);
        probe.raw.half_close();
        drop(probe);
    }
    gateway.until_metric("doorward_probes_total", &[], 3.0);
    assert_eq!(gateway.log().len(), lines);
    wait_until("junk logins", || (server.junk() >= 3).then_some(()));
}

#[test]
fn a_server_that_is_away_is_told_in_place_of_the_greeting() {
    let gateway = Gateway::mysql(&format!("127.0.0.1:{}", free_port()), SHOP);
    let mut client = Raw::connect(gateway.port);
    let refusal = client.err();
    assert_eq!(
        (refusal.number, refusal.sequence, refusal.state),
        (1105, 0, None)
    );
}
