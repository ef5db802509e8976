//! What real servers have answered, kept in `tests/corpus/answers`: the end of each answer is where the server fell silent.
//!
//! A line is who spoke (`>` a command, `<` the server, `F` the client in an answer), the sequence id, the length of the payload
//! and its first 24 bytes; after `session` stand what the two sides agreed on and the status flags of the login.

use crate::wire::mysql::{Capabilities, Extended};
use std::{fs, path::Path};

use super::*;

#[test]
fn the_answers_of_real_servers_end_where_they_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/answers");
    let mut answers = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Line> = text.lines().filter_map(Line::parse).collect();
        let name = path.file_name().unwrap().to_str().unwrap();
        for cut in [usize::MAX, 1000, 7, 1] {
            answers += replay(name, &lines, cut);
        }
    }
    assert!(answers > 5000, "{answers}");
}

enum Line {
    Session(Facts),
    Client { asks: bool, packet: Vec<u8> },
    Server(Vec<u8>),
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap();
        let who = next();
        if who == "#" {
            return None;
        }
        if who == "session" {
            let mariadb = next() == "mariadb";
            let mut bits = || u32::from_str_radix(next(), 16).unwrap();
            return Some(Self::Session(Facts {
                capabilities: Capabilities::from_bits(bits()),
                extended: Extended::from_bits(bits()),
                status: Status::from_bits(bits().try_into().unwrap()),
                mariadb,
            }));
        }
        let sequence = next().parse().unwrap();
        let length: usize = next().parse().unwrap();
        let digits: Vec<u32> = next().chars().filter_map(|c| c.to_digit(16)).collect();
        let mut payload: Vec<u8> = digits
            .chunks(2)
            .map(|two| u8::try_from(two[0] * 16 + two[1]).unwrap())
            .collect();
        payload.resize(length, b'x');
        // what was split is kept as the packets it came in
        let packet = match length {
            0xFF_FFFF => [&[0xFF, 0xFF, 0xFF, sequence], &payload[..]].concat(),
            _ => packet(sequence, &payload),
        };
        Some(match who {
            "<" => Self::Server(packet),
            _ => Self::Client {
                asks: who == ">",
                packet,
            },
        })
    }
}

/// Tells how many answers there were.
fn replay(name: &str, lines: &[Line], cut: usize) -> usize {
    let mut conversation = Conversation::new(facts(DIALECTS[0]), agreeable());
    let mut answers = 0;
    for (at, line) in lines.iter().enumerate() {
        let place = format!("{name}:{} cut to {cut}", at + 2);
        match line {
            Line::Session(facts) => conversation = Conversation::new(*facts, agreeable()),
            Line::Client { asks, packet } => {
                // the last one was over when the next was sent
                let over = matches!(conversation.standing(), Standing::Idle { .. });
                assert!(
                    over || !asks || conversation.state.saying == Saying::LongDataSaid,
                    "{place}"
                );
                assert_eq!(conversation.from_client(packet), packet.len(), "{place}");
                answers += usize::from(*asks);
            }
            Line::Server(packet) => {
                // and not before the last packet
                let owing = conversation.standing() == Standing::Owing;
                let stream = matches!(conversation.state.place, Place::Stream { .. });
                assert!(owing || stream, "{place}");
                let cut = cut.max(packet.len() / 1000);
                for part in packet.chunks(cut) {
                    let passed = conversation.from_server(part);
                    assert_eq!(passed, part.len(), "{place}: {:?}", conversation.hold());
                }
            }
        }
    }
    answers
}
