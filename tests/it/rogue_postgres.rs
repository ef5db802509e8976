//! Servers made of bytes, which say what no PostgreSQL here says: a session goes on, or ends, without harm to anybody.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use crate::harness::{Gateway, Raw, Rogue, raw};

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text], databases: [shop], limits: {failed_auth_per_minute: 2}}
";

/// The startup packet of whoever came; `None` if nobody spoke.
fn heard_opening(raw: &mut Raw) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    raw.stream.read_exact(&mut head).ok()?;
    let mut rest = vec![0; usize::try_from(u32::from_be_bytes(head)).unwrap() - 4];
    raw.stream.read_exact(&mut rest).ok()?;
    Some(rest)
}

/// Lets everybody in who answers anything, with this cancel key, and goes on with the script.
fn admitting(key: Vec<u8>, script: impl Fn(&mut Raw) + Send + Sync + 'static) -> Rogue {
    Rogue::playing(move |raw| {
        let Some(opening) = heard_opening(raw) else {
            return;
        };
        let cancels = opening.starts_with(&raw::CANCEL_CODE.to_be_bytes());
        if cancels
            || raw.try_send(&raw::framed(b'R', &[0, 0, 0, 3])).is_err()
            || raw.message().is_none()
        {
            return;
        }
        let ready = [
            raw::framed(b'R', &[0; 4]),
            raw::framed(b'K', &key),
            raw::framed(b'Z', b"I"),
        ];
        raw.try_send(&ready.concat()).ok();
        script(raw);
    })
}

fn session(gateway: &Gateway) -> (Raw, Vec<u8>) {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    let key = client.log_in("by_text", "shop").payload;
    (client, key)
}

#[test]
fn a_server_that_loses_its_frame_is_passed_on_as_it_is_and_the_session_is_marked() {
    for (length, number) in [(0_u32, 0), (1, 1), (3, 2)] {
        let nonsense = [
            raw::framed(b'D', b"a row"),
            [
                &b"D"[..],
                &length.to_be_bytes(),
                b"whatever follows \x00\x01\x02",
            ]
            .concat(),
            raw::framed(b'Z', b"I"),
        ]
        .concat();
        let said = nonsense.clone();
        let upstream = admitting(vec![7; 8], move |raw| {
            let _query = raw.message();
            // piece by piece, so that the frame is lost in the middle of a read and at its start
            for piece in said.chunks(3 + number) {
                raw.send(piece);
                thread::sleep(Duration::from_millis(1));
            }
            // and the client is still heard
            let again = raw.message().unwrap();
            raw.send(&again.payload);
        });
        let gateway = Gateway::start(&upstream.address(), TEXT);
        let (mut client, _) = session(&gateway);
        client.query("select 1");
        let mut came = vec![0; nonsense.len()];
        client.stream.read_exact(&mut came).unwrap();
        assert_eq!(came, nonsense);
        client.query("select 2");
        assert_eq!(client.rest(), b"select 2\0", "nothing is put behind it");
        let line = gateway.logged(&[("event", "closed"), ("frame_lost", "true")]);
        assert!(line.to_string().contains("database_left"), "{line}");
        gateway.until_metric("doorward_frames_lost_total", &[], 1.0);
    }
}

#[test]
fn a_client_that_loses_its_frame_is_passed_on_as_it_is() {
    let upstream = admitting(vec![7; 8], |raw| {
        let mut said = Vec::new();
        raw.stream.read_to_end(&mut said).ok();
        raw.try_send(&said).ok();
    });
    let gateway = Gateway::start(&upstream.address(), TEXT);
    let (mut client, _) = session(&gateway);
    let said = [b"Q\0\0\0\x02".as_slice(), &[0xff; 5000]].concat();
    client.send(&said);
    client.half_close();
    assert_eq!(client.rest(), said);
    gateway.until_metric("doorward_frames_lost_total", &[], 1.0);
}

#[test]
fn an_error_without_a_code_ends_a_login_and_not_a_session() {
    // CVE-2026-6666 and its like
    let bare = raw::framed(b'E', b"SFATAL\0Mno\0\0");
    let said = bare.clone();
    let upstream = Rogue::playing(move |raw| {
        if heard_opening(raw).is_some() {
            raw.try_send(&said).ok();
        }
    });
    let gateway = Gateway::start(&upstream.address(), TEXT);
    for _ in 0..4 {
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        client.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
        let no = client.refusal();
        assert_eq!((no.kind, no.field('M').as_deref()), ('E', Some("no")));
    }
    gateway.until_metric(
        "doorward_decisions_total",
        &[("reason", "upstream_refused")],
        4.0,
    );
    assert_eq!(gateway.metric("doorward_auth_failures_total", &[]), 0.0);

    let said = bare.clone();
    let upstream = admitting(vec![7; 8], move |raw| {
        while raw.message().is_some() {
            raw.try_send(&[&said[..], &raw::framed(b'Z', b"I")].concat())
                .ok();
        }
    });
    let gateway = Gateway::start(&upstream.address(), TEXT);
    let (mut client, _) = session(&gateway);
    for _ in 0..3 {
        client.query("select 1");
        assert_eq!(client.message().unwrap().payload, bare[5..]);
        client.expect('Z');
    }
}

#[test]
fn keys_of_any_length_that_the_protocol_has_are_passed_on_and_found_again() {
    for size in [4, 32, 256] {
        let key: Vec<u8> = (0..size + 4)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        let upstream = admitting(key.clone(), |raw| {
            raw.message();
        });
        let gateway = Gateway::start(&upstream.address(), TEXT);
        let (_client, dealt) = session(&gateway);
        assert_eq!(dealt, key);
        for (source, result) in [([127, 0, 0, 9], "refused"), ([127, 0, 0, 1], "forwarded")] {
            let mut cancel = Raw::connect_from(source, gateway.port);
            cancel.send(&raw::cancel(&key));
            assert_eq!(cancel.rest(), b"");
            gateway.until_metric("doorward_cancels_total", &[("result", result)], 1.0);
        }
    }
    for size in [0, 3, 257] {
        let upstream = admitting(vec![7; size + 4], |_| ());
        let gateway = Gateway::start(&upstream.address(), TEXT);
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        client.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
        client.expect('R');
        client.send(&raw::framed(b'p', b"secret\0"));
        let code = loop {
            let message = client.message().unwrap();
            if message.kind == 'E' {
                break message.field('C').unwrap();
            }
            assert_ne!(message.kind, 'K', "a key of {size} bytes is none");
        };
        assert_eq!(code, "08006");
    }
}

#[test]
fn a_client_that_asks_where_it_gets_a_token_is_never_taken_for_one_that_guesses() {
    // OAUTHBEARER: the round without a token ends in a FATAL, and the client comes back with one
    let upstream = Rogue::playing(|raw| {
        if heard_opening(raw).is_none() {
            return;
        }
        let sasl = |code: u8, text: &[u8]| raw::framed(b'R', &[&[0, 0, 0, code], text].concat());
        raw.send(&sasl(10, b"OAUTHBEARER\0\0"));
        let Some(first) = raw.message() else { return };
        if first.payload.windows(11).any(|part| part == b"auth=Bearer") {
            raw.try_send(&raw::framed(b'E', b"SFATAL\0C28000\0Mbad token\0\0"))
                .ok();
            return;
        }
        raw.send(&sasl(11, b"{\"status\": \"invalid_token\"}"));
        raw.message();
        raw.try_send(&raw::framed(
            b'E',
            b"SFATAL\0C28000\0MOAuth bearer authentication failed\0\0",
        ))
        .ok();
    });
    let gateway = Gateway::start(&upstream.address(), TEXT);
    let round = |text: &[u8]| {
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        client.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
        let Some(first) = client.message() else {
            panic!("closed without a word")
        };
        if first.kind == 'E' {
            return first.field('M').unwrap();
        }
        let size = u32::try_from(text.len()).unwrap().to_be_bytes();
        client.send(&raw::framed(
            b'p',
            &[b"OAUTHBEARER\0", &size[..], text].concat(),
        ));
        let mut message = client.message().unwrap();
        if message.kind == 'R' {
            client.send(&raw::framed(b'p', b"\x01"));
            message = client.message().unwrap();
        }
        message.field('M').unwrap()
    };
    for _ in 0..6 {
        let told = round(b"n,,\x01auth=\x01\x01");
        assert_eq!(told, "OAuth bearer authentication failed");
    }
    assert_eq!(gateway.metric("doorward_auth_failures_total", &[]), 0.0);
    for _ in 0..2 {
        assert_eq!(round(b"n,,\x01auth=Bearer guess\x01\x01"), "bad token");
    }
    let told = round(b"n,,\x01auth=Bearer guess\x01\x01");
    assert!(told.contains("[limit_rate]"), "who guesses is one: {told}");
}

#[test]
fn no_token_passes_where_somebody_could_read_it() {
    let upstream = Rogue::playing(|raw| {
        if heard_opening(raw).is_some() {
            raw.send(&raw::framed(b'R', b"\0\0\0\x0aOAUTHBEARER\0\0"));
            raw.stream.flush().ok();
            raw.message();
        }
    });
    let policy = "origins:\n  - {name: far, from: [10.0.0.0/8], users: [app], databases: [shop]}\nrequire: {tls: false}\n";
    let mut plan = crate::harness::gateway::Plan::new(&upstream.address());
    plan.head = plan.head.replacen(
        "upstream:",
        "proxy_protocol: {from: [127.0.0.1]}, upstream:",
        1,
    );
    let gateway = plan.start(policy);
    // through a balancer, from far away, in clear
    let mut client = Raw::connect(gateway.port);
    client.send(b"PROXY TCP4 10.0.0.7 10.0.0.1 4000 5432\r\n");
    client.send(&raw::startup(&[("user", "app"), ("database", "shop")]));
    let told = client.refusal().field('M').unwrap();
    assert!(told.contains("in clear"), "{told}");
}
