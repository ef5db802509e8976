//! Greetings of real servers, shown and made our own; and what is none.

use super::*;
use crate::wire::mysql::{ClientOpening, Flavor};

/// `Protocol::HandshakeV10`, put together field by field.
fn greeting(version: &str, capabilities: u32, extended: u32, plugin: &[u8]) -> Vec<u8> {
    let [c0, c1, c2, c3] = capabilities.to_le_bytes();
    [
        b"\x0a",
        version.as_bytes(),
        b"\0\x2a\0\0\x01",
        b"abcdefgh\0",
        &[c0, c1],
        b"\xff\x02\0",
        &[c2, c3],
        b"\x15\0\0\0\0\0\0",
        &extended.to_le_bytes(),
        b"ijklmnopqrst\0",
        plugin,
    ]
    .concat()
}

fn mysql() -> Vec<u8> {
    greeting("9.7.4", 0xdfff_ffff, 0, b"caching_sha2_password\0")
}

fn mariadb() -> Vec<u8> {
    greeting(
        "11.8.9-MariaDB-4",
        0x81ff_fffe,
        0x3d,
        b"mysql_native_password\0",
    )
}

fn read(payload: &[u8]) -> Greeting {
    match FirstPacket::parse(payload) {
        Ok(FirstPacket::Greeting(greeting)) => greeting,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_servers_are_known_by_their_greeting() {
    let ours = read(&mysql());
    assert_eq!(ours.flavor(), Flavor::MySql);
    assert_eq!(ours.connection_id(), 0x0100_002a);
    assert_eq!(ours.version(), b"9.7.4");
    assert_eq!(ours.capabilities().bits(), 0xdfff_ffff);
    assert_eq!(ours.extended().bits(), 0);
    assert_eq!((ours.charset(), ours.status()), (255, 2));
    assert_eq!(ours.nonce(), b"abcdefghijklmnopqrst");
    assert_eq!(ours.plugin(), "caching_sha2_password");
    let theirs = read(&mariadb());
    assert_eq!(theirs.flavor(), Flavor::MariaDb);
    assert_eq!(theirs.extended().bits(), 0x3d);
    assert_eq!(theirs.plugin(), "mysql_native_password");
}

#[test]
fn a_greeting_is_shown_with_other_flags_and_nothing_else() {
    for payload in [mysql(), mariadb()] {
        let greeting = read(&payload);
        for (tls, compression) in [(true, true), (true, false), (false, true), (false, false)] {
            let shown = greeting.shown(tls, compression);
            let flags = read(&shown).capabilities();
            assert_eq!(flags, greeting.offer(tls, compression).capabilities);
            assert_eq!(flags.has(Capabilities::SSL), tls);
            assert_eq!(flags.has(Capabilities::COMPRESS), compression);
            let differing = flags.bits() ^ greeting.capabilities().bits();
            let ours = Capabilities::SSL.with(Capabilities::COMPRESSION);
            assert_eq!(differing & !ours.bits(), 0);
            let end = greeting.version_end;
            let places: Vec<_> = (0..payload.len())
                .filter(|at| payload[*at] != shown[*at])
                .collect();
            assert!(
                places
                    .iter()
                    .all(|at| [14, 15, 19, 20].contains(&(at - end))),
                "{places:?}"
            );
        }
        assert_eq!(greeting.shown(true, true), payload);
    }
}

#[test]
fn a_server_without_compression_gets_none_from_us() {
    let without = 0xdfff_ffff & !Capabilities::COMPRESSION.bits();
    let greeting = read(&greeting("9.7.4", without, 0, b"caching_sha2_password\0"));
    let shown = greeting.offer(true, true).capabilities;
    assert_eq!(shown.and(Capabilities::COMPRESSION).bits(), 0);
}

#[test]
fn our_greeting_differs_in_its_id_and_nonce_only() {
    let theirs = read(&mariadb());
    let ours = theirs.ours(77, std::array::from_fn(|at| u8::try_from(at * 13).unwrap()));
    let again = read(&ours.shown(true, true));
    assert_eq!(again, ours);
    assert_eq!(ours.connection_id(), 77);
    assert_ne!(ours.nonce(), theirs.nonce());
    assert_eq!(ours.payload.len(), theirs.payload.len());
    let back = ours.ours(theirs.connection_id(), *theirs.nonce());
    assert_eq!(back, theirs);
}

#[test]
fn our_nonce_is_a_text_without_an_end() {
    let theirs = read(&mysql());
    for first in 0..=255_u8 {
        let random = std::array::from_fn(|at| first.wrapping_add(u8::try_from(at).unwrap()));
        let nonce = *theirs.ours(1, random).nonce();
        assert!(
            nonce
                .iter()
                .all(|byte| (1..128).contains(byte) && *byte != b'$')
        );
    }
}

#[test]
fn a_refusal_in_place_of_a_greeting_is_told_by_its_number() {
    let blocked = b"\xff\x69\x04Host 'x' is blocked";
    let refused = FirstPacket::Refused {
        errno: 1129,
        payload: blocked.to_vec(),
    };
    assert_eq!(FirstPacket::parse(blocked), Ok(refused));
}

#[test]
fn no_beginning_of_a_greeting_is_one_but_for_the_plugin_s_name() {
    let whole = mysql();
    let name = whole.len() - "caching_sha2_password\0".len();
    for cut in 0..whole.len() {
        let parsed = FirstPacket::parse(&whole[..cut]);
        assert_eq!(parsed.is_ok(), cut >= name, "{cut}");
    }
}

#[test]
fn other_servers_are_refused() {
    let mut other = mysql();
    other[0] = 9;
    assert_eq!(FirstPacket::parse(&other), Err(NotAGreeting::Version(9)));
    assert_eq!(
        FirstPacket::parse(b"SSH-2.0-OpenSSH\r\n"),
        Err(NotAGreeting::Version(b'S'))
    );
    assert_eq!(FirstPacket::parse(b""), Err(NotAGreeting::Layout));
    let old = greeting("5.1.73", 0xf7ff, 0, b"");
    assert_eq!(FirstPacket::parse(&old), Err(NotAGreeting::TooOld));
    let mut long = mysql();
    let length = 1 + "9.7.4\0".len() + 20;
    assert_eq!(long[length], 21);
    long[length] = 200;
    assert_eq!(FirstPacket::parse(&long), Err(NotAGreeting::Layout));
}

#[test]
fn an_answer_to_our_greeting_suits_only_a_server_that_reads_it_alike() {
    let answer = |seen: &Greeting| {
        let payload = crate::wire::mysql::junk_login("caching_sha2_password", "app", &[7; 20]);
        match ClientOpening::parse(&payload, seen.offer(false, false)) {
            Ok(ClientOpening::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    };
    let seen = read(&mysql());
    let suits = |server: &[u8]| answer(&seen.ours(7, [1; 20])).suits(&read(server));
    assert!(suits(&mysql()));
    assert!(suits(&greeting(
        "8.4.9",
        0xdfff_f7ff,
        0,
        b"caching_sha2_password\0"
    )));
    // names are read otherwise there
    assert!(!suits(&greeting(
        "5.7.44",
        0xdfff_ffff,
        0,
        b"mysql_native_password\0"
    )));
    assert!(!suits(&mariadb()));
    // and here fields
    let flags = 0xdfff_ffff & !Capabilities::LENENC_AUTH.bits();
    assert!(!suits(&greeting(
        "9.7.4",
        flags,
        0,
        b"caching_sha2_password\0"
    )));
}
