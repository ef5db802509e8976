//! Answers to a greeting that can be read in two ways, and the one reading of the others.

use super::*;
use crate::wire::mysql::{
    NameFault, WireError,
    samples::{ATTRIBUTES, BASE, DATABASE, Fresh, NONE, again, block, offer, read},
};

fn fault(bytes: &[u8]) -> Option<WireError> {
    read(bytes).err()
}

#[test]
fn a_response_says_who_wants_in() {
    let mut fresh = Fresh::new(DATABASE.with(ATTRIBUTES));
    fresh.rest = block(&[("_client_name", "libmysql"), ("program_name", "till")]);
    let response = fresh.read().unwrap();
    assert_eq!(response.user(), "shop_app");
    assert_eq!(response.database(), Some("shop"));
    assert_eq!(response.plugin(), "caching_sha2_password");
    assert_eq!(response.auth_response(), [0xaa; 32]);
    assert_eq!(response.charset(), 45);
    assert_eq!(response.attribute("program_name"), Some("till"));
    assert_eq!(response.attribute("_pid"), None);
}

#[test]
fn an_empty_database_is_none() {
    let mut fresh = Fresh::new(DATABASE);
    fresh.database.clear();
    assert_eq!(fresh.read().unwrap().database(), None);
    assert_eq!(Fresh::new(BASE).read().unwrap().database(), None);
}

#[test]
fn no_beginning_of_a_response_is_one_but_where_the_plugin_s_name_is_cut() {
    let mut fresh = Fresh::new(DATABASE.with(ATTRIBUTES));
    let name = fresh.bytes().len() - fresh.plugin.len();
    let end = fresh.bytes().len();
    fresh.rest = block(&[("a", "b")]);
    let whole = fresh.bytes();
    for cut in 0..whole.len() {
        let expected = match cut {
            cut if cut > name && cut <= end => None,
            cut if cut > end => Some(WireError::Attributes),
            _ => Some(WireError::Layout),
        };
        assert_eq!(fault(&whole[..cut]), expected, "{cut}");
    }
    assert_eq!(fault(&whole), None);
}

#[test]
fn nothing_may_stand_behind_the_last_field() {
    for more in [BASE, DATABASE, ATTRIBUTES] {
        let mut fresh = Fresh::new(more);
        fresh.rest = if more.has(ATTRIBUTES) {
            block(&[])
        } else {
            Vec::new()
        };
        fresh.rest.push(0);
        assert_eq!(fault(&fresh.bytes()), Some(WireError::Layout));
    }
}

#[test]
fn a_promised_database_that_is_not_there_leaves_no_plugin() {
    let mut fresh = Fresh::new(BASE);
    fresh.flags = fresh.flags.with(DATABASE);
    let with_field = fresh.bytes();
    let without = [
        &with_field[..with_field.len() - 5 - fresh.plugin.len()],
        &fresh.plugin,
    ]
    .concat();
    // the server would open a database by the plugin's name
    assert_eq!(fault(&without), Some(WireError::Layout));
}

#[test]
fn clients_of_other_protocols_are_told_so() {
    for (missing, expected) in [
        (Capabilities::PROTOCOL_41, WireError::OldProtocol),
        (
            Capabilities::SECURE_CONNECTION,
            WireError::NoSecureConnection,
        ),
        (Capabilities::PLUGIN_AUTH, WireError::NoPluginAuth),
    ] {
        let mut fresh = Fresh::new(BASE);
        fresh.flags = fresh.flags.without(missing);
        assert_eq!(fault(&fresh.bytes()), Some(expected));
        assert_eq!(expected.code(), (1251, "08004"));
    }
    assert_eq!(
        fault(b"\x85\xa4\x03\0\0\0root\0"),
        Some(WireError::OldProtocol)
    );
}

#[test]
fn fields_are_read_by_what_both_sides_can() {
    // an old server does not offer lengths of more than one byte: 0xfc is 252 then
    let mut fresh = Fresh::new(BASE);
    fresh.auth = vec![0xff; 0xfc];
    let bytes = fresh.bytes();
    assert_eq!(bytes[41], 0xfc);
    let plain = [&bytes[..42], &bytes[44..]].concat();
    let mut old = offer();
    old.capabilities = old.capabilities.without(Capabilities::LENENC_AUTH);
    let Ok(ClientOpening::Response(response)) = ClientOpening::parse(&plain, old) else {
        panic!("a response")
    };
    assert_eq!(response.auth_response(), vec![0xff; 0xfc]);
    assert!(read(&plain).is_err());
}

#[test]
fn names_are_judged_by_the_connection_s_character_set() {
    let mut fresh = Fresh::new(DATABASE);
    fresh.user = "ren\u{e9}".into();
    assert_eq!(fresh.read().unwrap().user(), "ren\u{e9}");
    fresh.charset = [8, 0];
    let refused = WireError::User(NameFault::CharacterSet);
    assert_eq!(fault(&fresh.bytes()), Some(refused));
    // the server reads one byte, 45; a driver that writes two means another character set
    fresh.charset = [45, 1];
    assert_eq!(fault(&fresh.bytes()), Some(refused));
    fresh = Fresh::new(DATABASE);
    fresh.database = vec![b'd'; 65];
    assert_eq!(
        fault(&fresh.bytes()),
        Some(WireError::Database(NameFault::TooLong(64)))
    );
    for length in [129, 200, 300] {
        fresh.user = vec![b'a'; length];
        assert_eq!(
            fault(&fresh.bytes()),
            Some(WireError::User(NameFault::TooLong(32)))
        );
    }
}

#[test]
fn what_a_server_would_count_against_us_never_reaches_it() {
    let mut fresh = Fresh::new(BASE);
    for charset in [17, 35, 54, 60, 101, 128, 183] {
        fresh.charset = [charset, 0];
        assert_eq!(fault(&fresh.bytes()), Some(WireError::CharacterSet));
    }
    fresh = Fresh::new(BASE);
    fresh.plugin = b"mysql_native_password\0".to_vec();
    assert_eq!(fault(&fresh.bytes()), Some(WireError::Proof));
    fresh.auth.truncate(20);
    assert_eq!(fault(&fresh.bytes()), None);
    fresh.auth.clear();
    assert_eq!(fault(&fresh.bytes()), None);
}

#[test]
fn attributes_that_two_readers_could_read_differently_are_refused() {
    let with = |rest: &[u8]| {
        let mut fresh = Fresh::new(ATTRIBUTES);
        fresh.rest = rest.to_vec();
        fault(&fresh.bytes())
    };
    assert_eq!(
        with(&block(&[("a", "1"), ("b", "2"), ("a", "3")])),
        Some(WireError::AttributeTwice)
    );
    for garbled in [
        &b"\x05\x01a\x01"[..],
        b"\x01\x05",
        b"\x03\x01a\x09",
        b"\x02\x01a",
        b"\xfb",
        b"\xff",
        b"\x09\x01a",
    ] {
        assert_eq!(with(garbled), Some(WireError::Attributes), "{garbled:?}");
    }
    assert_eq!(with(b"\0"), None);
}

#[test]
fn a_full_block_of_attributes_is_read_and_a_fuller_one_is_not() {
    let full = |value: usize| {
        let mut pairs = b"\x01k".to_vec();
        put_lenenc(&mut pairs, value);
        pairs.resize(pairs.len() + value, b'v');
        let mut fresh = Fresh::new(ATTRIBUTES);
        put_lenenc(&mut fresh.rest, pairs.len());
        fresh.rest.extend_from_slice(&pairs);
        (pairs.len(), fresh.read())
    };
    let (length, read) = full(0xffff - 5);
    assert_eq!(length, 0xffff);
    let response = read.unwrap();
    assert_eq!(response.attribute("k").map(str::len), Some(0xffff - 5));
    // ours come first; what does not fit is left out
    let edit = Edit {
        attributes: &[("_doorward_client", "203.0.113.9")],
        ..NONE
    };
    let edited = again(&response, &edit);
    assert_eq!(edited.attribute("_doorward_client"), Some("203.0.113.9"));
    assert_eq!(edited.attribute("k"), None);
    let (length, read) = full(0xffff - 4);
    assert_eq!(length, 0x1_0000);
    assert_eq!(read.err(), Some(WireError::Attributes));
}

#[test]
fn a_wish_for_tls_is_half_a_response_and_nothing_more() {
    let mut tls = offer();
    tls.capabilities = tls.capabilities.with(Capabilities::SSL);
    let fresh = Fresh::new(Capabilities::SSL);
    let parse = |bytes: &[u8]| ClientOpening::parse(bytes, tls);
    let Ok(ClientOpening::SslRequest(request)) = parse(&fresh.head()) else {
        panic!("a wish for TLS")
    };
    assert_eq!((request.capabilities, request.charset), (fresh.flags, 45));
    for cut in 0..32 {
        assert!(
            matches!(parse(&fresh.head()[..cut]), Err(WireError::Layout)),
            "{cut}"
        );
    }
    assert!(matches!(
        parse(&fresh.bytes()),
        Err(WireError::SslWithoutTls)
    ));
    // where there is no TLS, or it is there already, the flag means nothing
    assert!(read(&fresh.bytes()).is_ok());
    assert!(matches!(
        ClientOpening::parse(&fresh.bytes(), tls.inside_tls()),
        Ok(ClientOpening::Response(_))
    ));
    let response = read(&fresh.bytes()).unwrap();
    let edit = Edit {
        attributes: &[("a", "b")],
        ..NONE
    };
    let asked = response.ssl_request(&edit);
    let flags = response.edited(&edit);
    assert_eq!(asked[4..], flags[4..32]);
    let bits = u32::from_le_bytes(*flags.first_chunk().unwrap());
    let with_tls = Capabilities::from_bits(bits).with(Capabilities::SSL).bits();
    assert_eq!(asked[..4], with_tls.to_le_bytes());
    assert!(Capabilities::from_bits(bits).has(ATTRIBUTES));
}

#[test]
fn mariadb_s_own_flags_count_when_both_sides_tell_them() {
    let mut fresh = Fresh::new(BASE);
    let mut mariadb = offer();
    mariadb.capabilities = Capabilities::from_bits(0x81ff_f7de);
    mariadb.extended = Extended::from_bits(0x3d);
    let agreed = |fresh: &Fresh| {
        let mut bytes = fresh.bytes();
        bytes[28] = 0x1f;
        match ClientOpening::parse(&bytes, mariadb) {
            Ok(ClientOpening::Response(response)) => response.agreed_extended().bits(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(agreed(&fresh), 0);
    fresh.flags = fresh.flags.without(Capabilities::MYSQL);
    assert_eq!(agreed(&fresh), 0x1d);
}

#[test]
fn a_junk_login_can_be_read() {
    let junk = junk_login("mysql_native_password", "doorward-0f3a", &[9; 20]);
    let response = read(&junk).unwrap();
    assert_eq!(
        (response.user(), response.database()),
        ("doorward-0f3a", None)
    );
    assert_eq!(response.auth_response(), [9; 20]);
    assert_eq!(response.edited(&NONE).to_vec(), junk);
}

#[test]
fn no_secret_is_shown() {
    let mut fresh = Fresh::new(BASE);
    fresh.auth = b"s3cret".to_vec();
    fresh.plugin = b"mysql_clear_password\0".to_vec();
    let shown = format!("{:?}", ClientOpening::parse(&fresh.bytes(), offer()));
    assert!(
        shown.contains("shop_app") && !shown.contains("s3cret") && !shown.contains("115"),
        "{shown}"
    );
}
