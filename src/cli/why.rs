//! `doorward why`: who may come in, and why not. Floor 5.
//!
//! The daemon answers where one runs and no file is named; otherwise the file does, by the same code.

use std::{path::Path, time::SystemTime};

use super::{Exit, Format, Global, Output, WhyArgs};
use crate::{
    config::{self, Environment, LoadError},
    policy::{Condition, Hosts, Policy},
    server::{
        control::{self, Answer, AskError, Refused},
        why_answer::{TriedAnswer, WhyAnswer, WhyRequest},
    },
};

/// Answers with 0 for yes and 3 for no.
pub(super) fn run(arguments: &WhyArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    let request = WhyRequest {
        address: arguments.address.clone(),
        user: arguments.user.clone(),
        database: arguments.database.clone(),
        listener: arguments.listener.clone(),
        tls: arguments.tls,
        replication: arguments.replication.clone(),
        at: arguments.at.clone(),
    };
    let answered = match &global.config {
        Some(file) => from_file(file, &request, output),
        None => from_daemon(&request, global, output)
            .unwrap_or_else(|| from_file(&global.config_or_default(), &request, output)),
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    match output.format {
        Format::Json => output.say_json(&answer),
        Format::Human if output.quiet => {}
        Format::Human => output.say(render(&answer, output.color)),
    }
    if answer.allows() {
        Exit::Fine
    } else {
        Exit::No
    }
}

fn from_file(
    path: &Path,
    request: &WhyRequest,
    output: &mut Output<'_>,
) -> Result<WhyAnswer, Exit> {
    let loaded = match config::load(path, &config::Overrides::default()) {
        Ok(loaded) => loaded,
        Err(error) => {
            match &error {
                LoadError::Unreadable { .. } => output.complain(format_args!("error: {error}")),
                LoadError::Problems(problems) => output.complain(problems),
            }
            return Err(Exit::from(&error));
        }
    };
    let listeners = loaded.settings.listeners;
    let policy = Policy::new(loaded.rules, &Hosts::default(), 0);
    let source = format!("file {}", path.display());
    WhyAnswer::of(&policy, &listeners, request, SystemTime::now(), &source).map_err(|question| {
        output.complain(format_args!("error: {question}"));
        Exit::Usage
    })
}

/// `None` where no daemon runs and none was named.
fn from_daemon(
    request: &WhyRequest,
    global: &Global,
    output: &mut Output<'_>,
) -> Option<Result<WhyAnswer, Exit>> {
    let named = global.admin_socket.as_ref();
    let sockets = named.map_or_else(
        || config::admin_sockets(&Environment::of_process()),
        |socket| vec![socket.clone()],
    );
    for socket in sockets {
        let error = match control::ask(&socket, &control::Request::Why(request.clone())) {
            Ok(Answer::Why(answer)) => return Some(Ok(*answer)),
            Ok(Answer::Refused { why, text }) => {
                output.complain(format_args!("error: {text}"));
                return Some(Err(match why {
                    Refused::Request => Exit::Usage,
                    Refused::NotPermitted => Exit::NotPermitted,
                    Refused::Configuration | Refused::AsksForYes => Exit::Failed,
                }));
            }
            Ok(
                Answer::Status(_)
                | Answer::Reloaded(_)
                | Answer::Sessions(_)
                | Answer::Logins(_)
                | Answer::Done,
            ) => AskError::NoAnswer("it answers another question".to_owned()),
            Err(error) => error,
        };
        if named.is_some() {
            output.complain(format_args!("error: {}: {error}", socket.display()));
            return Some(Err(match error {
                AskError::NotPermitted => Exit::NotPermitted,
                AskError::NoDaemon(_) | AskError::NoAnswer(_) => Exit::Unavailable,
            }));
        }
        // whoever may not ask the daemon may still read the file; which of them answers is said
        if !matches!(error, AskError::NoDaemon(_)) {
            output.complain(format_args!("note: {}: {error}", socket.display()));
        }
    }
    None
}

fn render(answer: &WhyAnswer, color: bool) -> String {
    let origin = answer.origin.as_deref();
    let (tone, head) = if answer.allows() {
        (
            "\x1b[1;32m",
            format!("ALLOW  by \"{}\"", origin.unwrap_or_default()),
        )
    } else {
        ("\x1b[1;31m", format!("DENY  {}", answer.reason))
    };
    let (tone, plain) = if color { (tone, "\x1b[0m") } else { ("", "") };
    let who = match (answer.generation, &answer.loaded) {
        (None, _) => answer.source.clone(),
        (Some(generation), None) => format!("generation {generation}"),
        (Some(generation), Some(loaded)) => format!("generation {generation}, loaded {loaded}"),
    };
    let mut lines = vec![format!("{tone}{head:<HEAD$}{plain} ({who})")];
    lines.extend(table(answer));
    if let Some(mend) = &answer.mend {
        lines.push(format!("mend: {mend}"));
    }
    lines.join("\n")
}

/// The origins, a column for each condition that matters here.
fn table(answer: &WhyAnswer) -> Vec<String> {
    if answer.tried.is_empty() {
        return vec!["there is no origin".to_owned()];
    }
    let columns: Vec<Condition> = Condition::ALL
        .into_iter()
        .filter(|condition| {
            ALWAYS.contains(condition)
                || answer.tried.iter().any(|tried| {
                    let outcome = tried.conditions.get(condition.label()).map(String::as_str);
                    matches!(outcome, Some("holds" | "fails"))
                })
        })
        .collect();
    let names = answer
        .tried
        .iter()
        .map(|tried| tried.origin.chars().count());
    let width = names.max().unwrap_or(0).max("origin".len());
    let labels: Vec<_> = columns.iter().map(|condition| condition.label()).collect();
    let head = format!(
        "  line  {:width$}  {}  first failure",
        "origin",
        labels.join("  ")
    );
    let rows = answer
        .tried
        .iter()
        .map(|tried| row(tried, &columns, width, answer));
    std::iter::once(head).chain(rows).collect()
}

fn row(tried: &TriedAnswer, columns: &[Condition], width: usize, answer: &WhyAnswer) -> String {
    // the miss that the reason is of
    let decisive = answer.origin.as_ref() == Some(&tried.origin);
    let marks: Vec<_> = columns
        .iter()
        .map(|condition| {
            let mark = match tried.conditions.get(condition.label()).map(String::as_str) {
                Some("holds") => "yes",
                Some("fails") if decisive => "NO",
                Some("fails") => "no",
                Some("unasked") => "-",
                Some(_) | None => ".",
            };
            format!("{mark:<0$}", condition.label().len())
        })
        .collect();
    let (marks, because) = (
        marks.join("  "),
        tried.because.as_deref().unwrap_or_default(),
    );
    let row = format!(
        "  {:>4}  {:width$}  {marks}  {because}",
        tried.line, tried.origin
    );
    row.trim_end().to_owned()
}

/// The columns that are always there.
const ALWAYS: [Condition; 4] = [
    Condition::From,
    Condition::User,
    Condition::Database,
    Condition::Tls,
];

/// Where the source of the answer stands in its line.
const HEAD: usize = 54;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    const FILE: &str = "version: 1
listeners:
  - {name: pg, protocol: postgres, listen: '127.0.0.1:6432', upstream: '127.0.0.1:5432'}
origins:
  - {name: office, from: [198.51.100.0/24]}
  - {name: web, from: [203.0.113.9], users: [app], databases: [shop]}
deny:
  - {name: old-vps, from: [192.0.2.44]}
";

    const MYSQL: &str = "version: 1
listeners:
  - {name: my, protocol: mysql, listen: '127.0.0.1:6306', upstream: /run/mysqld}
origins:
  - {name: web, from: [203.0.113.9], users: [app], databases: [shop]}
  - {name: replica, from: [203.0.113.8], users: [repl], replication: true}
";

    /// Exit, standard output and standard error of `doorward why`.
    fn why(arguments: &str) -> (Exit, String, String) {
        why_by(FILE, arguments)
    }

    fn why_by(text: &str, arguments: &str) -> (Exit, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("allowlist.yaml");
        std::fs::write(&file, text).unwrap();
        let given = format!("doorward why --config {} {arguments}", file.display());
        let cli = Cli::try_parse_from(given.split(' ')).unwrap();
        let Command::Why(arguments) = &cli.command else {
            panic!("not why");
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&cli.global, &mut out, &mut err);
        output.color = false;
        let exit = run(arguments, &cli.global, &mut output);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            exit,
            text(out).replace(&file.display().to_string(), "FILE"),
            text(err),
        )
    }

    #[test]
    fn a_refusal_shows_every_origin_and_what_would_mend_it() {
        let (exit, out, err) = why("203.0.113.9 --user app --database shop");
        assert_eq!((exit, err.as_str()), (Exit::No, ""));
        let expected = "DENY  tls_required                                     (file FILE)
  line  origin  from  user  database  tls  first failure
     5  office  no    .     .         .    203.0.113.9 is not in 198.51.100.0/24
     6  web     yes   yes   yes       NO   the connection is not encrypted
mend: the client needs sslmode=verify-full
";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_yes_ends_with_zero_and_names_the_origin() {
        let (exit, out, _) = why("::ffff:203.0.113.9 --user app --database shop --tls");
        assert_eq!(exit, Exit::Fine);
        assert!(out.starts_with("ALLOW  by \"web\""), "{out}");
    }

    #[test]
    fn a_program_reads_verdict_reason_origin_and_what_was_tried() {
        let (exit, out, _) = why("203.0.113.9 --user app --tls --format json");
        assert_eq!(exit, Exit::No);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["verdict"], "deny");
        assert_eq!(
            json["reason"], "database_not_allowed",
            "the database is the user's name"
        );
        assert_eq!(json["origin"], "web");
        assert_eq!(json["would_deny"], serde_json::Value::Null);
        assert_eq!(json["source"], "file FILE");
        assert_eq!(json["tried"][1]["line"], 6);
        assert_eq!(json["tried"][1]["first_failure"], "database");
        assert_eq!(json["tried"][1]["conditions"]["user"], "holds");
        assert_eq!(json["tried"][0]["conditions"]["user"], "not_tried");
    }

    #[test]
    fn every_refusal_says_what_would_mend_it() {
        for (asked, mend) in [
            (
                "203.0.113.9 --user eva --tls",
                "\"web\" (line 6) needs `eva` in its `users`",
            ),
            (
                "203.0.113.9 --user app --tls",
                "\"web\" (line 6) needs `app` in its `databases`",
            ),
            (
                "192.0.2.44 --user app --tls",
                "the deny rule \"old-vps\" must go",
            ),
            (
                "192.0.2.1 --user app --tls",
                "an origin must name 192.0.2.1",
            ),
            (
                "203.0.113.9 --user app --tls --replication",
                "`replication: physical`",
            ),
        ] {
            let (exit, out, _) = why(asked);
            let last = out.lines().last().unwrap_or_default();
            assert_eq!(exit, Exit::No, "{asked}");
            assert!(
                last.starts_with("mend: ") && last.contains(mend),
                "{asked}: {last}"
            );
        }
    }

    #[test]
    fn a_mysql_client_is_asked_for_what_mysql_knows() {
        let asked = |arguments: &str| {
            let (exit, out, err) = why_by(MYSQL, arguments);
            let last = out.lines().chain(err.lines()).last();
            (exit, last.unwrap_or_default().to_owned())
        };
        let (exit, _) = asked("203.0.113.9 --user app --tls");
        assert_eq!(exit, Exit::Fine, "a session may begin without a database");
        let (exit, last) = asked("203.0.113.9 --user app");
        assert_eq!(exit, Exit::No);
        assert_eq!(last, "mend: the client needs ssl-mode=VERIFY_IDENTITY");
        let (exit, last) = asked("203.0.113.9 --user app --tls --replication");
        assert_eq!(exit, Exit::No);
        assert!(last.contains("needs `replication: true`"), "{last}");
        let (exit, _) = asked("203.0.113.8 --user repl --tls --replication");
        assert_eq!(exit, Exit::Fine);
        let (exit, last) = asked("203.0.113.8 --user repl --replication=physical");
        assert_eq!(exit, Exit::Usage);
        assert!(last.contains("MySQL knows one"), "{last}");
    }

    #[test]
    fn a_question_that_means_nothing_is_a_usage_error() {
        for (asked, text) in [
            (
                "db.example.com --user app",
                "`db.example.com` is not an address",
            ),
            ("010.0.0.1 --user app", "is not an address"),
            (
                "10.0.0.1 --user app --listener mysql",
                "there is no listener `mysql`; there are pg",
            ),
            (
                "10.0.0.1 --user app --at tomorrow",
                "`tomorrow` is not a time",
            ),
            (
                "10.0.0.1 --user app --replication=no",
                "`no` is not a kind of replication",
            ),
        ] {
            let (exit, out, err) = why(asked);
            assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{asked}");
            assert!(err.contains(text), "{asked}: {err}");
        }
    }
}
