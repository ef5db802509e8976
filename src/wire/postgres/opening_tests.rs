//! Lengths and codes at their bounds, and bytes that come one at a time.

use super::*;
use crate::wire::postgres::ErrorForm;
use proptest::prelude::*;

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap();
    [&length.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

fn head(length: u32, code: u32) -> Vec<u8> {
    [length.to_be_bytes(), code.to_be_bytes()].concat()
}

const STARTUP: u32 = 0x0003_0000;

#[test]
fn a_length_from_a_stranger_is_compared_before_it_is_waited_for() {
    for code in [STARTUP, SSL_REQUEST, GSSENC_REQUEST, CANCEL_REQUEST, 0] {
        for length in [0, 7, 10_005, (1 << 31) - 1, 1 << 31, u32::MAX] {
            let error = Opening::parse(&head(length, code)).unwrap_err();
            assert_eq!(error, WireError::Length(length));
            assert_eq!(error.sqlstate(), None, "the server closes without a word");
        }
    }
}

#[test]
fn the_longest_packet_of_the_server_is_read() {
    assert_eq!(
        Opening::parse(&head(10_004, STARTUP)),
        Ok(Parsed::Need(10_004))
    );
    let value = "x".repeat(10_004 - 8 - "user\0a\0".len() - "k\0".len() - 2);
    let bytes = packet(STARTUP, format!("user\0a\0k\0{value}\0\0").as_bytes());
    assert_eq!(bytes.len(), 10_004);
    assert!(matches!(
        Opening::parse(&bytes),
        Ok(Parsed::Done(Opening::Startup(_), 10_004))
    ));
}

#[test]
fn the_shortest_packet_is_no_startup_packet() {
    assert_eq!(
        Opening::parse(&packet(STARTUP, b"")),
        Err(WireError::Layout)
    );
}

#[test]
fn negotiation_requests_are_eight_bytes() {
    assert_eq!(
        Opening::parse(&packet(SSL_REQUEST, b"")),
        Ok(Parsed::Done(Opening::SslRequest, 8))
    );
    assert_eq!(
        Opening::parse(&packet(GSSENC_REQUEST, b"")),
        Ok(Parsed::Done(Opening::GssEncRequest, 8))
    );
    for code in [SSL_REQUEST, GSSENC_REQUEST] {
        let error = Opening::parse(&head(12, code)).unwrap_err();
        assert_eq!(error, WireError::NegotiationLength(12));
    }
}

#[test]
fn a_cancel_request_is_sixteen_to_268_bytes() {
    for length in [15, 269, 10_004] {
        let error = Opening::parse(&head(length, CANCEL_REQUEST)).unwrap_err();
        assert_eq!(error, WireError::CancelLength(length));
    }
    for secret in [4, 32, 36, 256] {
        let body = [&7_u32.to_be_bytes()[..], &vec![0xab; secret]].concat();
        let bytes = packet(CANCEL_REQUEST, &body);
        let Parsed::Done(Opening::Cancel(key), size) = Opening::parse(&bytes).unwrap() else {
            panic!("not a cancel request")
        };
        assert_eq!(
            (key.process, key.secret.len(), size),
            (7, secret, secret + 12)
        );
        assert_eq!(key.encode_request(), bytes);
    }
}

#[test]
fn what_stands_behind_a_packet_is_not_looked_at() {
    let bytes = [packet(SSL_REQUEST, b""), vec![0xff; 50]].concat();
    assert_eq!(
        Opening::parse(&bytes),
        Ok(Parsed::Done(Opening::SslRequest, 8))
    );
}

#[test]
fn a_repeated_negotiation_is_an_unknown_version() {
    let error = Opening::SslRequest.repeated();
    assert_eq!(error.sqlstate(), Some("0A000"));
    assert_eq!(error.form(), ErrorForm::Version3);
    assert_eq!(
        error.to_string(),
        "unsupported frontend protocol 1234.5679: only 3.x is spoken here"
    );
}

#[test]
fn keys_fit_only_when_all_of_them_is_the_same() {
    let key = |process, secret: &[u8]| CancelKey {
        process,
        secret: secret.into(),
    };
    assert!(key(1, b"abcd").fits(&key(1, b"abcd")));
    assert!(!key(1, b"abcd").fits(&key(2, b"abcd")));
    assert!(!key(1, b"abcd").fits(&key(1, b"abce")));
    assert!(!key(1, b"abcd").fits(&key(1, b"abcde")));
    assert!(!key(1, b"abcde").fits(&key(1, b"abcd")));
}

#[test]
fn a_secret_is_not_debug() {
    let key = CancelKey {
        process: 7,
        secret: Box::new([200; 4]),
    };
    assert_eq!(format!("{key:?}"), "CancelKey { process: 7, .. }");
}

proptest! {
    #[test]
    fn cutting_an_opening_anywhere_reads_the_same(
        code in prop_oneof![Just(STARTUP), Just(SSL_REQUEST), Just(CANCEL_REQUEST), Just(0x0002_0000), any::<u32>()],
        body in prop_oneof![
            Just(b"user\0app\0database\0shop\0\0".to_vec()),
            prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..300),
        ],
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let packet = packet(code, &body);
        let whole = Opening::parse(&[&packet[..], &tail].concat());
        for cut in 0..packet.len() {
            match Opening::parse(&packet[..cut]) {
                Ok(Parsed::Need(need)) => prop_assert!(need > cut && need <= packet.len()),
                early => prop_assert_eq!(&early, &whole),
            }
        }
        prop_assert_eq!(Opening::parse(&packet), whole);
    }
}
