//! The papers say what is so: their commands exist, their files are good, their links lead somewhere.

use std::{collections::BTreeSet, fs};

use crate::harness::{
    Gateway, Kind, Mysql, Postgres,
    gateway::{SHOP, doorward},
    project, psql, run,
};

const PAPERS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
];

fn read(paper: &str) -> String {
    fs::read_to_string(project(paper)).unwrap_or_else(|error| panic!("{paper}: {error}"))
}

/// The fenced blocks of a paper in one of these languages.
fn blocks<'a>(paper: &'a str, languages: &[&str]) -> Vec<&'a str> {
    let fenced = paper.split("```").skip(1).step_by(2);
    let of_language = fenced.filter_map(|block| block.split_once('\n'));
    of_language
        .filter(|(language, _)| languages.contains(language))
        .map(|(_, text)| text)
        .collect()
}

/// What follows `word` at the start of a line of a block or of a code span.
fn commands<'a>(paper: &'a str, word: &str) -> Vec<&'a str> {
    let lines = blocks(paper, &["sh", "console"])
        .into_iter()
        .flat_map(str::lines);
    let lines = lines.map(|line| line.trim_start_matches("$ ").trim_start_matches("sudo "));
    let spans = paper.split('`').skip(1).step_by(2);
    lines
        .chain(spans)
        .filter_map(|text| text.strip_prefix(word))
        .collect()
}

#[test]
fn every_command_in_the_papers_is_one_the_program_takes() {
    let mut seen = 0;
    for paper in PAPERS {
        let text = read(paper);
        for command in commands(&text, "doorward ") {
            let words: Vec<&str> = command
                .split('#')
                .next()
                .unwrap()
                .split_whitespace()
                .take_while(|word| !["|", ";", "&&", "->", "..."].contains(word))
                .collect();
            let Some((verb, rest)) = words.split_first() else {
                continue;
            };
            let help = run(doorward().args([verb, "--help"]));
            assert_eq!(help.code(), 0, "{paper}: doorward {command}");
            for flag in rest.iter().filter(|word| word.starts_with("--")) {
                assert!(
                    help.stdout.contains(flag),
                    "{paper}: {flag} in `doorward {command}`"
                );
            }
            seen += 1;
        }
    }
    assert!(
        seen >= 5,
        "only {seen} commands found: is this test still reading them?"
    );
}

#[test]
fn every_verb_of_make_in_the_papers_exists() {
    let makefile = read("Makefile");
    let verbs: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(verb, _)| verb)
        .collect();
    for paper in PAPERS {
        let text = read(paper);
        for command in commands(&text, "make ") {
            let verb = command.split_whitespace().next().unwrap();
            assert!(verbs.contains(verb), "{paper}: make {verb}");
        }
    }
}

#[test]
fn every_allowlist_in_the_papers_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for paper in PAPERS {
        for block in blocks(&read(paper), &["yaml"]) {
            let file = folder.path().join("allowlist.yaml");
            fs::write(&file, block).unwrap();
            let check = run(doorward().args(["check", "--offline"]).arg(file));
            assert_eq!(check.code(), 0, "{paper}: {block}\n{check:?}");
            seen += 1;
        }
    }
    assert!(seen >= 1);
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for paper in PAPERS {
        let text = read(paper);
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().unwrap();
            if !file.is_empty() && !file.contains("://") {
                assert!(project(file).exists(), "{paper} links to {target}");
            }
        }
    }
}

#[test]
fn every_metric_in_the_readme_is_on_the_page() {
    // some are there only where the file says something
    let bounded = "databases: [shop], limits: {connections: 9}, expect: {rtt: 1ms}}";
    let bounded = SHOP.replace("databases: [shop]}", bounded);
    let gateway = Gateway::start(&Postgres::shared().address(), &bounded);
    // some series come with what they count
    psql(&gateway.shop(), "select 1").worked();
    gateway.until_metric("doorward_connections_closed_total", &[], 1.0);
    let mysql = Gateway::mysql(&Mysql::shared(Kind::Debian).address(), SHOP);
    // it comes once the server has been heard
    mysql.until_metric("doorward_upstream_host_blocked", &[], 0.0);
    let page: BTreeSet<String> = [gateway.metrics(), mysql.metrics()]
        .into_iter()
        .flatten()
        .map(|sample| sample.name)
        .collect();
    let readme = read("README.md");
    // `_doorward_` begins a connection attribute of MySQL
    let readme = readme.replace("_doorward_", "_");
    for named in readme.split("doorward_").skip(1) {
        let name: String = named
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect();
        let name = format!("doorward_{name}");
        let there = page.contains(&name) || page.contains(&format!("{name}_count"));
        // a series of decisions comes with the first decision
        assert!(
            there || name == "doorward_decisions_total",
            "{name} is not served"
        );
    }
}
