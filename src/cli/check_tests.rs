//! `doorward check` over files: what it finds, and how it says so.

use clap::Parser as _;
use serde_json::json;

use super::*;
use crate::cli::Cli;

const DOOR: &str = "version: 1\nlisteners:\n  - {name: pg, protocol: postgres, listen: '127.0.0.1:0', upstream: '127.0.0.1:1'}\nadmin: {http: '127.0.0.1:0'}\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, more: &str) -> PathBuf {
        let file = self.0.path().join("allowlist.yaml");
        let socket = self.0.path().join("admin.sock");
        let text = format!("{DOOR}{more}")
            .replace("{http:", &format!("{{socket: {}, http:", socket.display()));
        std::fs::write(&file, text).unwrap();
        file
    }
}

fn check_text(file: &Path, offline: bool) -> Checked {
    let arguments = CheckArgs {
        file: None,
        offline,
        diff: false,
        deny_warnings: false,
    };
    check(file, &arguments, None)
}

fn codes(checked: &Checked) -> Vec<Option<&'static str>> {
    checked
        .problems
        .iter()
        .map(|problem| problem.code)
        .collect()
}

#[test]
fn a_good_file_is_summed_up() {
    let folder = Folder::new();
    let file = folder
        .file("origins:\n  - {name: a, from: [10.0.0.1]}\ndeny:\n  - {name: b, users: [c]}\n");
    let checked = check_text(&file, true);
    assert_eq!(
        checked.summary.as_deref(),
        Some("1 listener, 1 origin, 1 deny rule")
    );
    assert_eq!(checked.exit(true), Exit::Fine);
    assert_eq!(checked.json(&file, Exit::Fine)["ok"], true);
}

#[test]
fn warnings_end_with_78_only_where_that_is_asked() {
    let folder = Folder::new();
    let checked = check_text(&folder.file("origins: []\n"), true);
    assert_eq!(codes(&checked), [Some("W-NOBODY")]);
    assert_eq!(
        (checked.exit(false), checked.exit(true)),
        (Exit::Fine, Exit::Configuration)
    );
}

#[test]
fn a_note_is_told_and_is_no_warning() {
    let folder = Folder::new();
    let file = folder.file("origins:\n  - {name: a, from: [10.0.0.1]}\n");
    let mut checked = check_text(&file, true);
    checked.problems.push(problem(
        Severity::Note,
        None,
        &file,
        "by the way".to_owned(),
    ));
    assert_eq!(checked.exit(true), Exit::Fine);
    assert_eq!(checked.json(&file, Exit::Fine)["warnings"], 0);
    let mut said = Vec::new();
    let mut errors = Vec::new();
    let global = Cli::try_parse_from(["doorward", "check"]).unwrap().global;
    let mut output = Output::new(&global, &mut said, &mut errors);
    checked.show(&file, Exit::Fine, &mut output);
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("note: by the way"), "{said}");
    assert!(said.ends_with(": ok\n"), "{said}");
}

#[test]
fn a_program_reads_where_each_problem_is() {
    let folder = Folder::new();
    let file = folder.file("origins:\n  - {name: a, from: [10.0.0.1/8]}\n");
    let checked = check_text(&file, true);
    let exit = checked.exit(false);
    let json = checked.json(&file, exit);
    assert_eq!(
        (exit, &json["ok"], &json["errors"]),
        (Exit::Configuration, &json!(false), &json!(1))
    );
    let problem = &json["problems"][0];
    assert_eq!(
        (&problem["line"], &problem["column"], &problem["width"]),
        (&json!(6), &json!(22), &json!(10))
    );
    assert_eq!(problem["severity"], "error");
}

#[test]
fn tests_of_the_file_are_run_and_one_that_fails_ends_with_78() {
    let folder = Folder::new();
    let file = folder.file(
        "origins:\n  - {name: a, from: [10.0.0.1]}\ntests:\n  - {from: 10.0.0.1, user: u, tls: true, expect: allow}\n  - {from: 10.0.0.2, user: u, tls: true, expect: allow}\n",
    );
    let checked = check_text(&file, true);
    let exit = checked.exit(false);
    assert_eq!(exit, Exit::Configuration);
    assert_eq!(checked.json(&file, exit)["tests"]["failed"][0]["line"], 9);
    let (mut said, mut errors) = (Vec::new(), Vec::new());
    let global = Cli::try_parse_from(["doorward", "check"]).unwrap().global;
    let mut output = Output::new(&global, &mut said, &mut errors);
    checked.show(&file, exit, &mut output);
    assert_eq!(
        String::from_utf8(said).unwrap(),
        "tests: 1 passed, 1 failed
  line 9  10.0.0.2 user u database u: expected allow, got deny no_origin
0 errors, 1 failed test
"
    );
    assert_eq!(
        checked.github(Path::new("a,b.yaml")),
        "::error file=a%2Cb.yaml,line=9,title=failed test::10.0.0.2 user u database u: expected allow, got deny no_origin"
    );
}

#[test]
fn github_is_told_of_each_problem_at_its_place() {
    let folder = Folder::new();
    let file = folder.file("origins:\n  - {name: a, from: [10.0.0.1/8]}\n");
    let told = check_text(&file, true).github(&file);
    let place = format!(
        "::error file={},line=6,col=22,endColumn=32::",
        file.display()
    );
    assert!(told.starts_with(&place), "{told}");
    assert!(!told.contains('\n'), "{told}");
}

#[test]
fn a_diff_without_a_gateway_is_unavailable() {
    let folder = Folder::new();
    let file = folder.file("origins:\n  - {name: a, from: [10.0.0.1]}\n");
    let arguments = CheckArgs {
        file: None,
        offline: true,
        diff: true,
        deny_warnings: false,
    };
    assert_eq!(
        check(&file, &arguments, None).exit(false),
        Exit::Unavailable
    );
}

#[test]
fn a_silent_database_is_a_warning_and_a_missing_key_an_error() {
    let folder = Folder::new();
    let more = "origins:\n  - {name: a, from: [10.0.0.1]}\n";
    let checked = check_text(&folder.file(more), false);
    assert_eq!(codes(&checked), [Some("W-UPSTREAM")]);
    let key = folder.0.path().join("none.pem");
    let tls = format!("{more}tls: {{certificate: {0}, key: {0}}}\n", key.display());
    assert_eq!(
        check_text(&folder.file(&tls), true).exit(false),
        Exit::Fine,
        "--offline looks at the text alone"
    );
    assert_eq!(
        check_text(&folder.file(&tls), false).exit(false),
        Exit::Configuration
    );
}

#[test]
fn a_port_that_another_program_holds_is_a_warning() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let told =
        runtime.block_on(async { port(held.local_addr().unwrap(), Families::Own, Path::new("f")) });
    assert!(
        told.unwrap()
            .message
            .contains("another program listens there")
    );
}

#[test]
fn a_file_that_is_not_there_is_told_in_one_sentence() {
    let checked = check_text(Path::new("/nonexistent/allowlist.yaml"), true);
    assert_eq!(checked.exit(false), Exit::Configuration);
    assert!(
        checked.problems[0]
            .message
            .starts_with("cannot read /nonexistent/allowlist.yaml")
    );
}
