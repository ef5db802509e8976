//! The decided examples of the example file: each row of `tests/decisions.tsv` through `doorward why`.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{process::run, project};

/// The example file with the list that it names in a folder of the test's own.
pub(crate) fn example() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (list, file) = (
        folder.path().join("github.json"),
        folder.path().join("a.yaml"),
    );
    fs::write(&list, r#"{"actions": ["192.30.252.0/22"]}"#).unwrap();
    let text = fs::read_to_string(project("allowlist.example.yaml")).unwrap();
    let text = text.replace("/etc/doorward/github-meta.json", list.to_str().unwrap());
    fs::write(&file, text).unwrap();
    (folder, file)
}

/// One row: what is asked, and what must come of it.
struct Row {
    case: String,
    arguments: Vec<String>,
    verdict: String,
    reason: String,
    origin: Option<String>,
    would_deny: Option<String>,
}

impl Row {
    fn of(line: &str) -> Self {
        let fields: Vec<_> = line.split('\t').collect();
        let [case, at, connection, verdict, reason, origin, would_deny] = fields.as_slice() else {
            panic!("seven fields: {line}");
        };
        let connection: Value = serde_json::from_str(connection).unwrap();
        let text = |key: &str| connection[key].as_str().map(str::to_owned);
        let mut arguments = vec![text("ip").unwrap()];
        let mut say = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.extend([flag.to_owned(), value]);
            }
        };
        say("--user", text("user"));
        say("--database", text("db"));
        say("--at", Some((*at).to_owned()));
        say("--listener", Some("pg".to_owned()));
        for address in ["198.18.5.5", "2001:db8:77::9"] {
            say("--resolve", Some(format!("erp.partner.example={address}")));
        }
        if let Some(dns) = connection["cert"]["dns"].as_array() {
            for name in dns {
                say("--certificate-dns", name.as_str().map(str::to_owned));
            }
        }
        for (key, flag) in [("tls", "--tls"), ("replication", "--replication")] {
            if connection[key] == 1 {
                arguments.push(flag.to_owned());
            }
        }
        let given = |text: &str| (text != "-").then(|| text.to_owned());
        Self {
            case: (*case).to_owned(),
            arguments,
            verdict: (*verdict).to_owned(),
            reason: (*reason).to_owned(),
            origin: given(origin),
            would_deny: given(would_deny),
        }
    }
}

#[test]
fn every_decided_example_is_decided_so() {
    let (_folder, file) = example();
    let table = fs::read_to_string(project("tests/decisions.tsv")).unwrap();
    let rows: Vec<_> = table.lines().skip(1).map(Row::of).collect();
    assert!(rows.len() >= 23, "{}", rows.len());
    for row in rows {
        let mut arguments = vec![
            "why",
            "--format",
            "json",
            "--config",
            file.to_str().unwrap(),
        ];
        arguments.extend(row.arguments.iter().map(String::as_str));
        let ended = run(crate::harness::gateway::doorward().args(&arguments));
        let answer: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|_| panic!("{}: {ended:?}", row.case));
        let told = |key: &str| answer[key].as_str().map(str::to_owned);
        let expected = (
            Some(row.verdict.clone()),
            Some(row.reason),
            row.origin,
            row.would_deny,
        );
        let said = (
            told("verdict"),
            told("reason"),
            told("origin"),
            told("would_deny"),
        );
        assert_eq!(said, expected, "{}: {arguments:?}", row.case);
        assert_eq!(
            ended.code(),
            if row.verdict == "allow" { 0 } else { 3 },
            "{}",
            row.case
        );
    }
}
