//! `doorward why`: who may come in, and why not. Floor 5.
//!
//! The daemon answers where one runs and no file is named; otherwise the file does, by the same code.

use std::{path::Path, sync::Arc, time::SystemTime};

use super::{Exit, Format, Global, Output, WhyArgs};
use crate::{
    config::{self, Environment, LoadError},
    policy::{Condition, Policy},
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
    let listeners = loaded.settings.listeners.iter();
    let listeners: Vec<_> = listeners
        .map(|listener| Arc::clone(&listener.name))
        .collect();
    let policy = Policy::new(loaded.rules, 0);
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
            Ok(Answer::Status(_) | Answer::Reloaded(_)) => {
                AskError::NoAnswer("it answers another question".to_owned())
            }
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
