//! ARCHITECTURE.md's absences, as far as a search of the sources can find them broken.

use std::fs;

use crate::{
    floors::{code_of, source_files},
    harness::project,
};

/// What may be named only in one file or folder under `src`; none where nowhere.
const ONLY: &[(&str, &[&str])] = &[
    ("unsafe{", &["net/kernel.rs"]),
    ("std::env::var", &["config/load.rs"]),
    ("serde_saphyr", &["config/raw.rs"]),
    ("tokio::spawn", &["server/tasks.rs"]),
    ("with_label_values", &["meter/families.rs"]),
    ("process::exit", &[]),
    ("process::abort", &[]),
    ("TcpListener::bind", &[]),
    ("TcpStream::connect", &["net/upstream.rs"]),
    ("UnixStream::connect", &["net/upstream.rs", "net/local.rs"]),
    ("UnixListener::bind", &["net/local.rs"]),
    ("Permit{origin", &["policy/decide.rs"]),
    ("CancelPermit(())", &["policy/decide.rs"]),
    // the gateway's own connections, and a server that need not prove who it is: never for a client
    (
        "upstream.visit(",
        &[
            "cli/check_machine.rs",
            "cli/check_mysql.rs",
            "cli/check_postgres.rs",
            "session/mysql_server.rs",
            "session/postgres_server.rs",
        ],
    ),
    (
        "UpstreamTls::for_a_look",
        &[
            "net/upstream_tls.rs",
            "protocol/mysql/look.rs",
            "protocol/postgres/look.rs",
        ],
    ),
];

/// What the lowest floor does not know: sockets, clocks, files, logs, metrics, YAML.
const NOT_ON_FLOOR_0: &[&str] = &[
    "tokio",
    "socket2",
    "TcpStream",
    "UnixStream",
    "Instant",
    "SystemTime::now",
    "std::fs",
    "fs::",
    "env::",
    "tracing",
    "prometheus",
    "serde",
];

/// The code of every source file that is no test, by its path under `src`.
fn sources() -> Vec<(String, String)> {
    let root = project("src");
    let files = source_files(&root);
    let by_path = files.into_iter().map(|file| {
        let path = file.strip_prefix(&root).unwrap().display().to_string();
        (path, code_of(&fs::read_to_string(&file).unwrap()))
    });
    by_path
        .filter(|(path, _)| !path.contains("tests") && !path.ends_with("samples.rs"))
        .collect()
}

#[test]
fn what_belongs_in_one_place_stands_nowhere_else() {
    let sources = sources();
    let mut strays = Vec::new();
    for (word, places) in ONLY {
        let mut homes = places.to_vec();
        for (path, code) in &sources {
            if !code.contains(word) {
                continue;
            }
            match homes.iter().position(|home| *home == path.as_str()) {
                Some(known) => drop(homes.swap_remove(known)),
                None => strays.push(format!("{word} in {path}")),
            }
        }
        assert!(homes.is_empty(), "{word} is no longer in {homes:?}");
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn the_lowest_floor_is_pure() {
    let mut known = Vec::new();
    for (path, code) in sources() {
        if path.starts_with("policy/") || path.starts_with("wire/") {
            let words = NOT_ON_FLOOR_0.iter().filter(|word| code.contains(**word));
            known.extend(words.map(|word| format!("{path} knows {word}")));
        }
    }
    assert!(known.is_empty(), "{known:#?}");
}

#[test]
fn every_file_says_what_it_is_and_on_which_floor() {
    let root = project("src");
    let mut silent = Vec::new();
    for file in source_files(&root) {
        let path = file.strip_prefix(&root).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let header: String = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let bound = path.contains("tests") || ["main.rs", "lib.rs"].contains(&&*path);
        if header.is_empty() || !(bound || header.contains("Floor ")) {
            silent.push(path);
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}
