//! Startup packets that can be read in two ways, and the one reading of the others.

use super::*;
use crate::wire::{Parsed, postgres::Opening};
use proptest::prelude::*;

const V3: ProtocolVersion = ProtocolVersion { major: 3, minor: 0 };

fn parse(body: &[u8]) -> Result<StartupMessage, WireError> {
    StartupMessage::parse(V3, body)
}

fn body(parameters: &[(&str, &str)]) -> Vec<u8> {
    let fields = parameters
        .iter()
        .map(|(name, value)| format!("{name}\0{value}\0"));
    (fields.collect::<String>() + "\0").into_bytes()
}

fn with(name: &str, value: &str) -> Result<StartupMessage, WireError> {
    parse(&body(&[("user", "app"), (name, value)]))
}

#[test]
fn a_startup_packet_names_user_and_database() {
    let startup = parse(&body(&[
        ("user", "app"),
        ("database", "shop"),
        ("Application_Name", "till 3"),
    ]))
    .unwrap();
    assert_eq!(
        (
            startup.user(),
            startup.database(),
            startup.application_name().as_deref()
        ),
        ("app", "shop", Some("till 3"))
    );
    assert_eq!(startup.replication(), None);
}

#[test]
fn a_driver_s_own_packet_is_read_and_written_again_byte_for_byte() {
    let mut bytes = bytes::BytesMut::new();
    let parameters = [
        ("client_encoding", "UTF8"),
        ("user", "app"),
        ("_pq_.x", "1"),
        ("database", "shop"),
    ];
    postgres_protocol::message::frontend::startup_message(parameters, &mut bytes).unwrap();
    let Parsed::Done(Opening::Startup(startup), size) = Opening::parse(&bytes).unwrap() else {
        panic!("not a startup packet")
    };
    assert_eq!(size, bytes.len());
    assert_eq!(startup.parameters().collect::<Vec<_>>(), parameters);
    assert_eq!(startup.encode(), bytes);
}

#[test]
fn the_database_is_the_user_s_when_none_is_named() {
    let named = parse(&body(&[("user", "app")])).unwrap();
    let empty = with("database", "").unwrap();
    assert_eq!((named.database(), empty.database()), ("app", "app"));
    assert_eq!(empty.encode(), named.encode());
}

#[test]
fn without_a_user_nobody_comes_in() {
    for nobody in [
        &body(&[])[..],
        &body(&[("user", "")]),
        &body(&[("User", "app")]),
        &body(&[("database", "shop")]),
    ] {
        let error = parse(nobody).unwrap_err();
        assert_eq!(
            (error, error.sqlstate()),
            (WireError::NoUser, Some("28000"))
        );
    }
}

#[test]
fn a_packet_that_does_not_end_in_its_terminator_has_the_server_s_answer() {
    let broken: [&[u8]; 9] = [
        b"",
        b"user",
        b"user\0",
        b"user\0app",
        b"user\0app\0",
        b"user\0\0",
        b"\0\0",
        b"user\0app\0\0\0",
        b"user\0app\0\0user\0postgres\0\0",
    ];
    for body in broken {
        assert_eq!(
            parse(body),
            Err(WireError::Layout),
            "{}",
            body.escape_ascii()
        );
    }
    assert_eq!(
        WireError::Layout.to_string(),
        "invalid startup packet layout: expected terminator as last byte"
    );
    assert_eq!(WireError::Layout.sqlstate(), Some("08P01"));
}

#[test]
fn a_parameter_given_twice_is_refused() {
    for (one, other) in [
        ("user", "user"),
        ("database", "database"),
        ("replication", "replication"),
        ("application_name", "APPLICATION_NAME"),
        ("user", "USER"),
    ] {
        let twice = body(&[("user", "app"), ("x", "y"), (one, "0"), (other, "0")]);
        assert_eq!(parse(&twice), Err(WireError::Twice), "{one} {other}");
    }
}

#[test]
fn thousands_of_parameters_are_no_burden() {
    let names: Vec<_> = (0..2_500).map(|number| format!("{number:x}")).collect();
    let mut parameters: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    parameters.push(("user", "app"));
    assert!(parse(&body(&parameters)).is_ok());
}

#[test]
fn a_name_the_server_would_cut_is_refused() {
    let longest = "u".repeat(63);
    assert_eq!(parse(&body(&[("user", &longest)])).unwrap().user(), longest);
    for length in 62..=70_usize {
        // the last character has two bytes and, at 62 and 63 bytes of ASCII before it, lies across the limit
        let name = "u".repeat(length - 2) + "\u{e9}";
        for parameters in [
            &[("user", &*name)][..],
            &[("user", "app"), ("database", &*name)],
        ] {
            let expected = if length <= 63 {
                Ok(())
            } else {
                Err(WireError::NameTooLong)
            };
            assert_eq!(parse(&body(parameters)).map(drop), expected, "{length}");
        }
    }
}

#[test]
fn control_characters_are_refused_wherever_they_stand() {
    for sly in ["a\n", "\x07", "a\tb", "\x7f", "\u{85}", "\x1b[2J"] {
        for (name, value) in [
            ("user", sly),
            ("database", sly),
            ("application_name", sly),
            (sly, "x"),
        ] {
            let parameters = [("user", "app"), (name, value)];
            let parameters = if name == "user" {
                &parameters[1..]
            } else {
                &parameters
            };
            assert_eq!(
                parse(&body(parameters)),
                Err(WireError::ControlCharacter),
                "{name:?} {value:?}"
            );
        }
    }
    assert_eq!(
        with("options", "-c a=\x07"),
        Err(WireError::ControlCharacter)
    );
}

#[test]
fn what_is_not_utf8_is_refused() {
    assert_eq!(parse(b"user\0caf\xe9\0\0"), Err(WireError::NotUtf8));
    assert_eq!(parse(b"user\0app\0\xff\0x\0\0"), Err(WireError::NotUtf8));
    // an encoded NUL (overlong) is no UTF-8 either
    assert_eq!(parse(b"user\0a\xc0\x80b\0\0"), Err(WireError::NotUtf8));
}

#[test]
fn every_spelling_of_the_server_s_booleans_is_understood() {
    for yes in [
        "t", "tr", "tru", "true", "y", "ye", "yes", "on", "1", "TRUE", "Yes", "oN",
    ] {
        assert_eq!(
            with("replication", yes).unwrap().replication(),
            Some(Replication::Physical),
            "{yes}"
        );
    }
    for no in [
        "f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0", "FALSE", "Off",
    ] {
        assert_eq!(with("replication", no).unwrap().replication(), None, "{no}");
    }
    let logical = with("replication", "database").unwrap();
    assert_eq!(logical.replication(), Some(Replication::Logical));
    for neither in [
        "", "o", "2", "10", "truee", "onn", "offf", "Database", "databas", "d", " t", "t ",
        "\u{130}",
    ] {
        assert_eq!(
            with("replication", neither),
            Err(WireError::Replication),
            "{neither}"
        );
    }
}

#[test]
fn options_that_are_settings_pass() {
    for good in [
        "",
        "  ",
        "-c geqo=off",
        "-cgeqo=off",
        "--geqo=off",
        "--statement-timeout=1s  -c search_path=a,b",
        "-c\tgeqo=off\n",
        r"-c search_path=\ a\\b",
        "--x=",
        "-c role=reader",
        "-c my.setting$1=a=b",
        "-c application_name=caf\u{e9}",
    ] {
        assert_eq!(with("options", good).map(drop), Ok(()), "{good}");
    }
}

#[test]
fn an_application_may_be_named_among_the_options_and_a_parameter_counts_more() {
    for (options, name) in [
        ("-c application_name=till", Some("till")),
        (r"--Application-Name=till\ 3 -c geqo=off", Some("till 3")),
        ("-capplication_name=a --application_name=b", Some("b")),
        ("-c application_name=", None),
        ("-c my.application_name=a", None),
    ] {
        let startup = with("options", options).unwrap();
        assert_eq!(startup.application_name().as_deref(), name, "{options}");
    }
    let both = [
        ("user", "app"),
        ("application_name", ""),
        ("options", "-c application_name=till"),
    ];
    assert_eq!(parse(&body(&both)).unwrap().application_name(), None);
}

#[test]
fn options_that_could_be_read_in_two_ways_are_refused() {
    let spaces = r"\ ".repeat(4_500);
    for sly in [
        "-Ec role=x",
        "-c",
        r"-c\ geqo=off",
        "-c geqo",
        "-c -c geqo=off",
        "-c=",
        "-c =x",
        "-c=x=y",
        "--",
        "--=",
        "--=x",
        "--geqo",
        "-- -c geqo=off",
        "---x=y",
        "-d 5",
        "-W 10",
        "geqo=off",
        "-c geqo=off extra",
        "-c a\u{e9}=x",
        "\\",
        &spaces,
    ] {
        assert_eq!(with("options", sly), Err(WireError::Options), "{sly}");
    }
}

#[test]
fn a_backslash_takes_the_next_character_as_the_server_does() {
    assert_eq!(split_options(r" a\ b \\c d\"), ["a b", r"\c", "d"]);
    assert_eq!(split_options(r"\"), [""]);
}

#[test]
fn other_majors_are_refused_and_minors_pass() {
    for (code, form) in [
        (0x0002_0000, ErrorForm::Version2),
        (0x0001_0000, ErrorForm::Version2),
        (0, ErrorForm::Version2),
        (0x0004_0000, ErrorForm::Version3),
        (u32::MAX, ErrorForm::Version3),
    ] {
        let version = ProtocolVersion::from_code(code);
        let error = StartupMessage::parse(version, b"user\0app\0\0").unwrap_err();
        assert_eq!(
            (error, error.sqlstate()),
            (WireError::Version(version), Some("0A000"))
        );
        assert_eq!(error.form(), form, "{version}");
    }
    for minor in [0, 1, 2, 9999] {
        let version = ProtocolVersion { major: 3, minor };
        let bytes = StartupMessage::parse(version, b"user\0app\0_pq_.x\0y\0\0")
            .unwrap()
            .encode();
        let Parsed::Done(Opening::Startup(again), _) = Opening::parse(&bytes).unwrap() else {
            panic!("not a startup packet")
        };
        assert_eq!(again.version(), version);
        assert!(
            again
                .parameters()
                .any(|parameter| parameter == ("_pq_.x", "y"))
        );
    }
}

#[test]
fn settings_are_not_debug() {
    let startup = parse(&body(&[("user", "app"), ("options", "-c my.key=hunter2")])).unwrap();
    let shown = format!("{startup:?}");
    assert!(
        shown.contains("app") && !shown.contains("hunter2"),
        "{shown}"
    );
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const FAR: &str = "2001:db8:1234:5678:9abc:def0:1234:5678";

#[test]
fn an_address_stands_behind_what_a_client_calls_itself_and_the_rest_stays() {
    let startup = parse(&body(&[
        ("Application_Name", "till 3"),
        ("user", "app"),
        ("options", "-c geqo=off"),
    ]));
    let startup = startup.unwrap();
    let told = startup.told_from(HERE);
    assert_eq!(
        told.parameters().collect::<Vec<_>>(),
        [
            ("Application_Name", "till 3 - 192.0.2.7"),
            ("user", "app"),
            ("options", "-c geqo=off"),
        ]
    );
    assert_eq!(
        startup.application_name().as_deref(),
        Some("till 3"),
        "its own word"
    );
    for nothing in [
        &[("user", "app")][..],
        &[("user", "app"), ("application_name", "")],
    ] {
        let told = parse(&body(nothing)).unwrap().told_from(HERE);
        assert_eq!(told.application_name().as_deref(), Some("192.0.2.7"));
        assert_eq!(told.parameters().count(), 2);
    }
}

#[test]
fn a_long_name_gives_way_to_the_address_at_a_character() {
    for (name, kept) in [
        ("x".repeat(100), "x".repeat(22)),
        ("\u{20ac}".repeat(9), "\u{20ac}".repeat(7)),
    ] {
        let told = with("application_name", &name).unwrap();
        let told = told.told_from(FAR.parse().unwrap());
        let expected = format!("{kept} - {FAR}");
        assert_eq!(told.application_name().as_deref(), Some(&*expected));
        assert!(expected.len() <= 63, "{}", expected.len());
    }
}

#[test]
fn a_replica_keeps_the_name_by_which_the_server_waits_for_it() {
    for kind in ["true", "database"] {
        let startup = parse(&body(&[
            ("user", "r"),
            ("replication", kind),
            ("application_name", "standby"),
        ]))
        .unwrap();
        assert_eq!(startup.told_from(HERE), startup);
    }
    let ordinary = with("replication", "off").unwrap();
    assert!(ordinary.told_from(HERE).application_name().is_some());
}

#[test]
fn a_packet_as_long_as_the_server_takes_grows_no_further() {
    let room = |more: usize| {
        let startup = with(
            "a",
            &"x".repeat(MAX_OPENING - FRAME - "user.app.a..".len() - more),
        );
        let startup = startup.unwrap();
        let (before, told) = (startup.encode().len(), startup.told_from(HERE));
        assert_eq!(before, MAX_OPENING - more);
        assert!(told.encode().len() <= MAX_OPENING);
        told != startup
    };
    let needed = "application_name.192.0.2.7.".len();
    assert!(!room(0) && !room(needed - 1) && room(needed));
}

proptest! {
    #[test]
    fn an_address_that_is_told_changes_nothing_else(
        parameters in prop::collection::vec(("[a-zA-Z_.]{1,6}", "\\PC{0,12}"), 0..8),
        name in prop::option::of("\\PC{0,90}"),
        address in any::<IpAddr>(),
    ) {
        let mut all = vec![("user", "app")];
        all.extend(name.as_deref().map(|name| ("application_name", name)));
        all.extend(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if let Ok(startup) = parse(&body(&all)) {
            let bytes = startup.told_from(address).encode();
            let Ok(Parsed::Done(Opening::Startup(told), size)) = Opening::parse(&bytes) else {
                panic!("cannot read what we wrote")
            };
            prop_assert_eq!(size, bytes.len());
            let tells = told.application_name().unwrap();
            prop_assert!(tells.len() <= 63 && tells.ends_with(&address.to_string()), "{}", tells);
            let others = |startup: &StartupMessage| {
                let all = startup.parameters().map(|(name, value)| (name.to_owned(), value.to_owned()));
                all.filter(|(name, _)| !name.eq_ignore_ascii_case("application_name")).collect::<Vec<_>>()
            };
            prop_assert_eq!(others(&told), others(&startup));
            prop_assert_eq!(told.version(), startup.version());
        }
    }

    #[test]
    fn what_is_written_again_is_read_the_same(
        parameters in prop::collection::vec(("[a-zA-Z_.]{1,6}", "\\PC{0,12}"), 0..8),
        database in prop::option::of("\\PC{0,10}"),
    ) {
        let mut all = vec![("user", "app")];
        all.extend(database.as_deref().map(|name| ("database", name)));
        all.extend(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if let Ok(startup) = parse(&body(&all)) {
            let bytes = startup.encode();
            let Ok(Parsed::Done(Opening::Startup(again), size)) = Opening::parse(&bytes) else {
                panic!("cannot read what we wrote")
            };
            prop_assert_eq!(size, bytes.len());
            prop_assert_eq!(again.user(), startup.user());
            prop_assert_eq!(again.database(), startup.database());
            prop_assert_eq!(again.replication(), startup.replication());
            prop_assert_eq!(again.encode(), bytes);
        }
    }
}
