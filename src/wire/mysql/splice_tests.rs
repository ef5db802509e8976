//! What is edited on the way to the server, and that it changes nobody.

use super::*;
use crate::wire::mysql::{
    ClientOpening,
    samples::{ATTRIBUTES, BASE, DATABASE, Fresh, NONE, again, block, offer, read},
};
use proptest::prelude::*;

#[test]
fn without_an_edit_the_bytes_go_as_they_came() {
    for more in [BASE, DATABASE, DATABASE.with(ATTRIBUTES)] {
        let mut fresh = Fresh::new(more);
        if more.has(ATTRIBUTES) {
            fresh.rest = block(&[("a", "b"), ("c", &"d".repeat(300))]);
        }
        assert_eq!(fresh.read().unwrap().edited(&NONE).to_vec(), fresh.bytes());
    }
}

#[test]
fn a_name_without_its_zero_byte_gets_one() {
    let mut fresh = Fresh::new(DATABASE);
    fresh.plugin.pop();
    let response = fresh.read().unwrap();
    assert_eq!(response.plugin(), "caching_sha2_password");
    assert_eq!(
        response.edited(&NONE).to_vec(),
        [&fresh.bytes()[..], b"\0"].concat()
    );
}

#[test]
fn a_missing_block_of_attributes_is_an_empty_one() {
    let fresh = Fresh::new(ATTRIBUTES);
    let edited = fresh.read().unwrap().edited(&NONE);
    assert_eq!(edited.to_vec(), [&fresh.bytes()[..], b"\0"].concat());
}

#[test]
fn our_attributes_come_first_and_nobody_else_tells_them() {
    let mut fresh = Fresh::new(DATABASE.with(ATTRIBUTES));
    fresh.rest = block(&[
        ("_pid", "1"),
        ("_doorward_client", "10.0.0.1"),
        ("_doorward_", "x"),
        ("z", ""),
    ]);
    let response = fresh.read().unwrap();
    let told = |edit: &Edit<'_>| {
        let edited = again(&response, edit);
        let pairs = edited.attributes().map(|(key, value)| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (text(key), text(value))
        });
        pairs.collect::<Vec<_>>()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(told(&NONE), [pair("_pid", "1"), pair("z", "")]);
    let edit = Edit {
        attributes: &[
            ("_doorward_client", "203.0.113.9"),
            ("_doorward_origin", "till"),
        ],
        ..NONE
    };
    let expected = [
        pair("_doorward_client", "203.0.113.9"),
        pair("_doorward_origin", "till"),
        pair("_pid", "1"),
        pair("z", ""),
    ];
    assert_eq!(told(&edit), expected);
}

#[test]
fn a_client_without_attributes_gets_ours_where_the_server_takes_any() {
    let edit = Edit {
        attributes: &[("_doorward_client", "203.0.113.9")],
        ..NONE
    };
    let mut fresh = Fresh::new(DATABASE);
    fresh.plugin.pop();
    let response = fresh.read().unwrap();
    assert!(response.agreed(&edit).has(ATTRIBUTES));
    assert!(!response.agreed(&NONE).has(ATTRIBUTES));
    let edited = again(&response, &edit);
    assert_eq!(edited.attribute("_doorward_client"), Some("203.0.113.9"));
    assert_eq!(
        (edited.user(), edited.database(), edited.plugin()),
        ("shop_app", Some("shop"), "caching_sha2_password")
    );
    let mut old = offer();
    old.capabilities = old.capabilities.without(ATTRIBUTES);
    let Ok(ClientOpening::Response(response)) = ClientOpening::parse(&fresh.bytes(), old) else {
        panic!("a response")
    };
    assert!(!response.agreed(&edit).has(ATTRIBUTES));
    assert_eq!(
        response.edited(&edit).to_vec(),
        [&fresh.bytes()[..], b"\0"].concat()
    );
}

#[test]
fn a_forced_switch_proves_nothing_and_changes_nobody() {
    for more in [BASE, DATABASE, DATABASE.with(ATTRIBUTES)] {
        let mut fresh = Fresh::new(more);
        if more.has(ATTRIBUTES) {
            fresh.rest = block(&[("a", "b")]);
        }
        fresh.auth = b"a password in clear\0".to_vec();
        let response = fresh.read().unwrap();
        let edit = Edit {
            forced_switch: true,
            ..NONE
        };
        let edited = response.edited(&edit);
        assert!(
            !edited.windows(8).any(|part| part == b"password"),
            "{edited:?}"
        );
        let edited = again(&response, &edit);
        assert_eq!(
            (edited.user(), edited.database()),
            (response.user(), response.database())
        );
        assert_eq!(edited.auth_response(), b"");
        assert_ne!(edited.plugin(), response.plugin());
        assert_eq!(edited.attribute("a"), response.attribute("a"));
    }
}

#[test]
fn flags_of_tls_compression_and_local_files_stay_behind() {
    let more = Capabilities::SSL
        .with(Capabilities::COMPRESS)
        .with(Capabilities::LOCAL_FILES);
    let fresh = Fresh::new(more);
    let response = fresh.read().unwrap();
    let masked =
        |edit: &Edit<'_>| again(&response, edit).capabilities().bits() ^ fresh.flags.bits();
    assert_eq!(masked(&NONE), more.bits());
    // not offered, so not kept
    let all = Edit {
        local_files: true,
        compression: true,
        ..NONE
    };
    assert_eq!(masked(&all), more.without(Capabilities::LOCAL_FILES).bits());
    assert!(response.agreed(&all).has(Capabilities::LOCAL_FILES));
    assert!(!response.agreed(&NONE).has(Capabilities::LOCAL_FILES));
}

#[test]
fn the_level_of_zstd_goes_where_zstd_goes() {
    let mut fresh = Fresh::new(Capabilities::ZSTD);
    fresh.rest = vec![3];
    let masked = fresh.read().unwrap().edited(&NONE);
    assert_eq!(masked.last(), Some(&0));
    assert_eq!(masked.len(), fresh.bytes().len() - 1);
    let mut compressing = offer();
    compressing.capabilities = compressing.capabilities.with(Capabilities::COMPRESSION);
    let parse = |fresh: &Fresh| ClientOpening::parse(&fresh.bytes(), compressing);
    let Ok(ClientOpening::Response(response)) = parse(&fresh) else {
        panic!("a response")
    };
    let edit = Edit {
        compression: true,
        ..NONE
    };
    assert_eq!(response.edited(&edit).to_vec(), fresh.bytes());
    assert!(response.agreed(&edit).has(Capabilities::ZSTD));
    fresh.rest.clear();
    assert!(matches!(parse(&fresh), Err(WireError::Layout)));
}

/// Who the server would log in: MySQL's `parse_client_handshake_packet`, which takes what it finds.
fn server_reads(payload: &[u8], offered: Capabilities) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let flags = u32::from_le_bytes(*payload.first_chunk()?) & offered.bits();
    let text = |at: usize| {
        let rest = payload.get(at..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some((rest[..end].to_vec(), at + end + 1))
    };
    let (user, at) = text(32)?;
    let first = usize::from(*payload.get(at)?);
    let (length, at) = if flags & (1 << 21) == 0 {
        (first, at + 1)
    } else {
        let number = |bytes: usize| {
            let digits = payload.get(at + 1..at + 1 + bytes)?;
            Some(
                digits
                    .iter()
                    .rev()
                    .fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit)),
            )
        };
        match first {
            0xfb | 0xff => return None,
            0xfc => (number(2)?, at + 3),
            0xfd => (number(3)?, at + 4),
            0xfe => (number(8)?, at + 9),
            small => (small, at + 1),
        }
    };
    let mut at = at.checked_add(length).filter(|at| *at <= payload.len())?;
    let mut database = Vec::new();
    if flags & 8 != 0 {
        (database, at) = text(at)?;
    }
    let plugin = text(at).map(|(plugin, _)| plugin).unwrap_or_default();
    Some((user, database, plugin))
}

prop_compose! {
    fn any_response()(
        database: bool, attributes: bool, lenenc: bool,
        user in "[a-zA-Z0-9_.$\u{e9}\u{4e2d} -]{1,32}",
        name in "[a-z\u{e9}]{0,20}",
        auth in prop::collection::vec(any::<u8>(), 0..300),
        plugin in "[a-z_]{0,30}",
        pairs in prop::collection::btree_map("[a-z_]{1,20}", "[ -~]{0,300}", 0..6),
        zero in prop::bool::weighted(0.9),
    ) -> Fresh {
        let mut fresh = Fresh::new(BASE.without(Capabilities::LENENC_AUTH));
        for (wanted, flag) in [(database, DATABASE), (attributes, ATTRIBUTES), (lenenc, Capabilities::LENENC_AUTH)] {
            if wanted {
                fresh.flags = fresh.flags.with(flag);
            }
        }
        fresh.user = user.into();
        fresh.database = name.into();
        fresh.auth = auth;
        if !lenenc {
            fresh.auth.truncate(0xfa);
        }
        fresh.plugin = plugin.into();
        if attributes || zero {
            fresh.plugin.push(0);
        }
        if attributes {
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            fresh.rest = block(&pairs);
        }
        fresh
    }
}

proptest! {
    #[test]
    fn whatever_is_edited_the_server_reads_who_we_read(
        fresh in any_response(), ours: bool, forced_switch: bool, local_files: bool,
    ) {
        let bytes = fresh.bytes();
        // an empty name of a plugin that ends the packet is no field
        prop_assume!(!fresh.plugin.is_empty());
        let response = read(&bytes).unwrap();
        prop_assert_eq!(response.user().as_bytes(), &fresh.user);
        let attributes: &[(&str, &str)] = if ours { &[("_doorward_client", "203.0.113.9")] } else { &[] };
        let edit = Edit { local_files, forced_switch, attributes, compression: false };
        let edited = response.edited(&edit);
        let offered = offer().capabilities;
        let (user, database, plugin) = server_reads(&edited, offered).unwrap();
        prop_assert_eq!(&user, &fresh.user);
        prop_assert_eq!(database, response.database().unwrap_or_default().as_bytes());
        let read = again(&response, &edit);
        prop_assert_eq!(plugin, read.plugin().as_bytes());
        prop_assert_eq!(read.agreed(&edit), response.agreed(&edit));
        prop_assert_eq!(read.charset(), response.charset());
        if !forced_switch {
            prop_assert_eq!(read.auth_response(), &fresh.auth);
            prop_assert_eq!(read.plugin(), response.plugin());
        }
        let theirs: Vec<_> = response.attributes().collect();
        let told: Vec<_> = read.attributes().skip(usize::from(ours)).collect();
        prop_assert_eq!(theirs, told);
        // nothing is left to edit
        prop_assert_eq!(&again(&read, &edit).edited(&edit)[..], &edited[..]);
    }

    #[test]
    fn a_packet_bent_anywhere_is_refused_or_read_as_the_server_reads_it(
        fresh in any_response(), at: prop::sample::Index, with: u8, cut: prop::sample::Index, cuts: bool,
    ) {
        let mut bytes = fresh.bytes();
        *at.get_mut(&mut bytes) = with;
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(ClientOpening::Response(response)) = ClientOpening::parse(&bytes, offer()) {
            for payload in [&bytes[..], &response.edited(&NONE)] {
                let (user, database, _) = server_reads(payload, offer().capabilities).unwrap();
                prop_assert_eq!(user, response.user().as_bytes());
                prop_assert_eq!(database, response.database().unwrap_or_default().as_bytes());
            }
        }
    }
}
