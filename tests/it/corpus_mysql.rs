//! What real clients of MySQL and MariaDB have said to real servers, kept in `tests/corpus/mysql`, reads as it is written down beside
//! it: the greeting that they saw, their answer to it, and for some a change of user.

use std::{fmt::Write, fs};

use doorward::wire::{
    Parsed,
    mysql::{ChangeUser, ClientOpening, Edit, FirstPacket, MAX_RESPONSE, Packet},
};

use crate::corpus::{
    properties::{conversation, mysql},
    recorded,
};

#[test]
fn openings_of_mysql_s_clients_read_as_written_down() {
    for (name, bytes, expected) in recorded("mysql") {
        assert_eq!(said(&bytes), expected, "{name}");
    }
}

#[test]
fn what_holds_for_any_bytes_holds_for_mysql_s_clients_bent_in_every_place() {
    for (_, bytes, _) in recorded("mysql") {
        everything(&bytes);
        for at in 0..bytes.len() {
            for with in [0, 0x7f, 0xfe] {
                let mut bent = bytes.clone();
                bent[at] = with;
                everything(&bent);
            }
        }
    }
}

#[test]
fn what_holds_for_any_bytes_holds_for_answers_bent_in_many_places() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/answers");
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for (agreed, lines) in (0..).zip(lines.chunks(40)) {
            let bytes = exchange(agreed, lines);
            for at in (0..bytes.len()).step_by(3) {
                let mut bent = bytes.clone();
                bent[at] = [0, 1, 0x11, 0x7f, 0xfb, 0xfe, 0xff][at % 7];
                conversation::mysql_conversation(&bent);
            }
        }
    }
}

/// Recorded packets as the fuzz target takes them: each with its speaker and its length before it, and no longer than recorded.
fn exchange(agreed: u8, lines: &[&str]) -> Vec<u8> {
    let mut bytes = vec![agreed];
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let ["<" | ">" | "F" | "S", sequence, _, head, ..] = words[..] else {
            continue;
        };
        let digits: Vec<u8> = head.bytes().filter(u8::is_ascii_hexdigit).collect();
        let payload = digits.chunks(2).map(|two| {
            let two = std::str::from_utf8(two).unwrap();
            u8::from_str_radix(two, 16).unwrap()
        });
        let payload: Vec<u8> = payload.collect();
        let length = u8::try_from(payload.len()).unwrap();
        bytes.extend([u8::from(words[0] == "<"), length + 4]);
        bytes.extend([length, 0, 0, sequence.parse().unwrap()]);
        bytes.extend(payload);
    }
    bytes
}

/// Runs every fuzz target over one session.
fn everything(bytes: &[u8]) {
    mysql::mysql_opening(bytes);
    let mut rest = bytes;
    while let Ok(Parsed::Done(_, size)) = Packet::parse(rest, MAX_RESPONSE) {
        mysql::mysql_packet(&rest[..size]);
        rest = &rest[size..];
    }
}

fn packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match Packet::parse(bytes, MAX_RESPONSE) {
        Ok(Parsed::Done(packet, size)) => Some((packet.payload, &bytes[size..])),
        Ok(Parsed::Need(_)) if bytes.is_empty() => None,
        other => panic!("{other:?}"),
    }
}

/// One line for each packet.
fn said(bytes: &[u8]) -> String {
    let mut lines = String::new();
    let (payload, mut rest) = packet(bytes).unwrap();
    let Ok(FirstPacket::Greeting(greeting)) = FirstPacket::parse(payload) else {
        panic!("no greeting")
    };
    let mut offer = greeting.offer(true, false);
    if greeting.shown(true, false) != payload {
        offer = offer.inside_tls();
        assert_eq!(greeting.shown(false, false), payload);
    }
    let version = String::from_utf8_lossy(greeting.version());
    writeln!(lines, "Greeting {:?} {version}", greeting.flavor()).unwrap();
    let mut agreed = None;
    while let Some((payload, after)) = packet(rest) {
        rest = after;
        let edit = Edit {
            local_files: true,
            ..Edit::default()
        };
        if let Some(agreed) = agreed {
            let change = ChangeUser::parse(payload, agreed, greeting.names());
            let Ok(change) = change else {
                writeln!(lines, "ChangeUser refused: {}", change.unwrap_err()).unwrap();
                continue;
            };
            assert_eq!(*change.edited(&edit), payload, "written again it differs");
            writeln!(
                lines,
                "ChangeUser user {} database {} charset {} plugin {} program {}",
                change.user(),
                change.database().unwrap_or("-"),
                change.charset(),
                change.plugin(),
                change.attribute("program_name").unwrap_or("-"),
            )
            .unwrap();
            continue;
        }
        match ClientOpening::parse(payload, offer) {
            Ok(ClientOpening::SslRequest(request)) => {
                offer = offer.inside_tls();
                writeln!(lines, "SSLRequest charset {}", request.charset).unwrap();
            }
            Ok(ClientOpening::Response(response)) => {
                agreed = Some(response.agreed(&edit));
                let edited = response.edited(&edit);
                assert_eq!(edited[4..], payload[4..], "written again it differs");
                writeln!(
                    lines,
                    "HandshakeResponse user {} database {} charset {} plugin {} program {} extended {:#x} differing {:#x}",
                    response.user(),
                    response.database().unwrap_or("-"),
                    response.charset(),
                    response.plugin(),
                    response.attribute("program_name").unwrap_or("-"),
                    response.agreed_extended().bits(),
                    u32::from_le_bytes(*edited.first_chunk().unwrap()) ^ response.capabilities().bits(),
                )
                .unwrap();
            }
            Err(error) => {
                writeln!(lines, "refused: {error}").unwrap();
                break;
            }
        }
    }
    lines
}
