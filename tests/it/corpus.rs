//! What real clients and servers have said, kept in `tests/corpus`, reads as it is written down beside it; and what holds for any bytes
//! holds for these, cut and bent in every place.

use std::{fmt::Write, fs, path::PathBuf};

use doorward::{
    protocol::postgres::{Exchange, Step},
    wire::{
        Parsed,
        postgres::{Message, Opening},
    },
};

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own for the fuzzer")]
pub(crate) mod properties;

#[test]
fn openings_of_real_clients_read_as_written_down() {
    for (name, bytes, expected) in recorded("openings") {
        assert_eq!(openings(&bytes), expected, "{name}");
    }
}

#[test]
fn logins_of_real_servers_read_as_written_down() {
    for (name, bytes, expected) in recorded("logins") {
        assert_eq!(login(&bytes), expected, "{name}");
    }
}

#[test]
fn what_holds_for_any_bytes_holds_for_the_corpus_bent_in_every_place() {
    for folder in ["openings", "logins"] {
        for (_, bytes, _) in recorded(folder) {
            everything(&bytes);
            for at in 0..bytes.len() {
                everything(&bytes[at..]);
                everything(&bytes[..at]);
                for with in [0, b'R', 0x7f, 0xff] {
                    let mut bent = bytes.clone();
                    bent[at] = with;
                    everything(&bent);
                }
            }
        }
    }
}

#[test]
fn allowlists_are_taken_or_told_as_written_down() {
    for (name, bytes, expected) in files("allowlists", "yaml") {
        assert_eq!(allowlist(&bytes), expected, "{name}");
    }
}

#[test]
fn what_holds_for_any_text_holds_for_allowlists_bent_in_every_place() {
    for (_, bytes, _) in files("allowlists", "yaml") {
        for at in 0..bytes.len() {
            properties::config(&bytes[..at]);
            for with in *b"\0:{&" {
                let mut bent = bytes.clone();
                bent[at] = with;
                properties::config(&bent);
            }
        }
    }
}

/// Runs every fuzz target for bytes over one input.
fn everything(bytes: &[u8]) {
    properties::opening(bytes);
    properties::startup(bytes);
    if let Some(body) = bytes.get(8..) {
        properties::startup(body);
    }
    for first in 0..8 {
        let bytes = [&[first], bytes].concat();
        properties::frames(&bytes);
        properties::login(&bytes);
    }
    properties::cancel(bytes);
    properties::refusal(bytes);
}

/// What a folder of the corpus holds: name, bytes, and what must be read from them.
pub(crate) fn recorded(folder: &str) -> Vec<(String, Vec<u8>, String)> {
    files(folder, "bin")
}

fn files(folder: &str, suffix: &str) -> Vec<(String, Vec<u8>, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    let mut all: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == suffix)
        })
        .map(|path| {
            let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
            (
                path.display().to_string(),
                fs::read(&path).unwrap(),
                expected,
            )
        })
        .collect();
    all.sort();
    assert!(!all.is_empty(), "no corpus in {}", folder.display());
    all
}

/// One line for each problem of an allowlist; the last one says whether it is taken.
fn allowlist(bytes: &[u8]) -> String {
    let read = properties::allowlist(std::str::from_utf8(bytes).unwrap());
    let (problems, end) = match &read {
        Ok(loaded) => (loaded.warnings.as_slice(), "taken"),
        Err(problems) => (problems.as_slice(), "refused"),
    };
    let mut lines = String::new();
    for problem in problems {
        let place = problem.place.as_ref();
        let (line, column) = place.map_or((0, 0), |place| (place.line, place.column));
        writeln!(lines, "{line}:{column} {}", problem.message).unwrap();
    }
    lines + end + "\n"
}

/// One line for each packet of an opening.
fn openings(mut bytes: &[u8]) -> String {
    let mut lines = String::new();
    while !bytes.is_empty() {
        let Ok(Parsed::Done(opening, size)) = Opening::parse(bytes) else {
            panic!("{lines}then {:?}", Opening::parse(bytes));
        };
        match opening {
            Opening::SslRequest => writeln!(lines, "SSLRequest"),
            Opening::GssEncRequest => writeln!(lines, "GSSENCRequest"),
            Opening::Cancel(key) => writeln!(
                lines,
                "CancelRequest process {} secret of {} bytes",
                key.process,
                key.secret.len()
            ),
            Opening::Startup(startup) => {
                assert_eq!(startup.encode(), bytes[..size], "written again it differs");
                writeln!(
                    lines,
                    "StartupMessage {} user {} database {} application {} replication {}",
                    startup.version(),
                    startup.user(),
                    startup.database(),
                    startup.application_name().as_deref().unwrap_or("-"),
                    startup
                        .replication()
                        .map_or_else(|| "-".to_owned(), |kind| format!("{kind:?}")),
                )
            }
        }
        .unwrap();
        bytes = &bytes[size..];
    }
    lines
}

/// The types of a server's messages, and how the login ends under the authentication floor.
fn login(mut bytes: &[u8]) -> String {
    let mut exchange = Exchange::new(true, true);
    let mut line = String::new();
    while let Some((message, rest)) = Message::split(bytes, 65_540).unwrap() {
        line.push(char::from(message.kind));
        match exchange.server_says(message) {
            Ok(Step::Relay | Step::Offered) => {}
            Ok(end) => {
                assert!(rest.is_empty());
                return format!("{line}: {end:?} after {} answers\n", exchange.answers());
            }
            Err(fault) => return format!("{line}: {fault:?}\n"),
        }
        if exchange.awaits_answer() {
            line.push('p');
            exchange.answered(b"");
        }
        bytes = rest;
    }
    panic!("{line}: no end")
}
