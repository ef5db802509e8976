//! `doorward why`: who may come in, and why not. Floor 5.
//!
//! The daemon answers where one runs and no file is named; otherwise the file does, by the same code.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::SystemTime};

use super::{Exit, Global, Output, WhyArgs, daemon, hosts};
use crate::{
    config::{self, Environment, Settings},
    net::{
        ClientTrust,
        tls::{self, TlsError},
    },
    policy::{Condition, Hosts, Policy, Rules},
    server::{
        control::{self, Answer, AskError, Refused, Request},
        people::RefusalAnswer,
        why_answer::{Ground, Shows, TriedAnswer, WhyAnswer, WhyRequest},
    },
};

/// Answers with 0 for yes and 3 for no.
pub(super) fn run(arguments: &WhyArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    if let Some(reference) = &arguments.reference {
        return refusal(reference, global, output);
    }
    let request = match request(arguments) {
        Ok(request) => request,
        Err((exit, text)) => {
            output.complain(format_args!("error: {text}"));
            return exit;
        }
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
    let color = output.color;
    output.answer(&answer, || render(&answer, color));
    verdict(&answer)
}

const fn exit_of(allows: bool) -> Exit {
    if allows { Exit::Fine } else { Exit::No }
}

fn verdict(answer: &WhyAnswer) -> Exit {
    exit_of(answer.allows())
}

/// What the command line asks, as far as it can be read here.
fn request(arguments: &WhyArgs) -> Result<WhyRequest, (Exit, String)> {
    let shown = &arguments.shown;
    let named = !shown.dns.is_empty() || !shown.uri.is_empty() || shown.sha256.is_some();
    let certificate = match &arguments.certificate {
        Some(file) => Some(Shows::chain(
            &tls::certificates(file).map_err(|error| of_tls(&error))?,
        )),
        None => named.then(|| Shows::Names {
            dns: shown.dns.clone(),
            uri: shown.uri.clone(),
            cn: None,
            sha256: shown.sha256.clone(),
            issuers: Vec::new(),
        }),
    };
    let mut resolve: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in &arguments.resolve {
        let Some((host, address)) = text.split_once('=') else {
            let text = format!("`{text}` is not HOST=ADDRESS, as db.example.com=192.0.2.7 is");
            return Err((Exit::Usage, text));
        };
        let addresses = resolve.entry(host.to_owned()).or_default();
        addresses.extend(address.split(',').map(str::to_owned));
    }
    Ok(WhyRequest {
        address: arguments.address.clone().unwrap_or_default(),
        user: arguments.user.clone().unwrap_or_default(),
        database: arguments.database.clone(),
        listener: arguments.listener.clone(),
        tls: arguments.tls.clone(),
        replication: arguments.replication.clone(),
        certificate,
        at: arguments.at.clone(),
        resolve,
    })
}

fn of_tls(error: &TlsError) -> (Exit, String) {
    let exit = if error.is_permission() {
        Exit::NotPermitted
    } else {
        Exit::Configuration
    };
    (exit, error.to_string())
}

fn from_file(
    path: &Path,
    request: &WhyRequest,
    output: &mut Output<'_>,
) -> Result<WhyAnswer, Exit> {
    let loaded = match config::load(path, &config::Overrides::default()) {
        Ok(loaded) => loaded,
        Err(error) => return Err(output.load_failed(&error)),
    };
    let (settings, rules) = (loaded.settings, loaded.rules);
    let trust = match (&settings.tls.client_ca, &request.certificate) {
        // names count as valid: nobody has to be believed
        (Some(ca), Some(Shows::Chain(_))) => ClientTrust::read(ca, settings.tls.crl.as_deref()),
        (Some(ca), _) => Ok(ClientTrust::read(ca, None).unwrap_or_default()),
        (None, _) => Ok(ClientTrust::default()),
    };
    let trust = trust.map_err(|error| {
        let (exit, text) = of_tls(&error);
        output.complain(format_args!("error: {text}"));
        exit
    })?;
    let hosts = look_up(&rules, &settings, request);
    let policy = Policy::new(rules, &hosts, 0);
    let source = format!("file {}", path.display());
    let ground = Ground {
        policy: &policy,
        trust: &trust,
        listeners: &settings.listeners,
        source: &source,
    };
    WhyAnswer::of(ground, request, SystemTime::now()).map_err(|question| {
        output.complain(format_args!("error: {question}"));
        Exit::Usage
    })
}

/// What DNS says of the hosts that the command line says nothing of.
fn look_up(rules: &Rules, settings: &Settings, request: &WhyRequest) -> Hosts {
    let mut wanted = rules.hosts();
    wanted.retain(|host| !request.resolve.contains_key(&**host));
    hosts::look_up(wanted, &settings.resolver).hosts
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
        let error = match control::ask(&socket, &Request::Why(Box::new(request.clone()))) {
            Ok(Answer::Why(answer)) => return Some(Ok(*answer)),
            Ok(Answer::Refused { why, text }) => {
                output.complain(format_args!("error: {text}"));
                // as where the file answers: the question came from the command line
                let exit = if why == Refused::Request {
                    Exit::Usage
                } else {
                    why.into()
                };
                return Some(Err(exit));
            }
            Ok(_) => AskError::NoAnswer("it answers another question".to_owned()),
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

/// What became of somebody, and what would become of the same connection now. Only the daemon remembers.
fn refusal(reference: &str, global: &Global, output: &mut Output<'_>) -> Exit {
    let request = Request::Refusal {
        reference: reference.to_owned(),
    };
    match daemon::ask_for::<Box<RefusalAnswer>>(global, &request, output) {
        Ok(refusal) => {
            let color = output.color;
            output.answer(&refusal, || render_refusal(&refusal, color));
            exit_of(refusal.now.as_ref().is_some_and(WhyAnswer::allows))
        }
        Err(exit) => exit,
    }
}

fn render_refusal(refusal: &RefusalAnswer, color: bool) -> String {
    let RefusalAnswer {
        reference,
        listener,
        address,
        reason,
        times,
        last,
        ..
    } = refusal;
    let times = match times {
        1 => format!("once, at {last}"),
        times => format!("{times} times since {}, last at {last}", refusal.first),
    };
    let mut lines = vec![format!("{reference}: {reason}, {times}")];
    let mut who = format!("  {address} on listener {listener}");
    if let Some(named) = &refusal.who {
        // writing into a text cannot fail
        let _whole = write!(who, ", user `{}`", named.user.escape_debug());
        if let Some(database) = &named.database {
            let _whole = write!(who, ", database `{}`", database.escape_debug());
        }
        who.push_str(match &named.tls {
            Some(_) => ", encrypted",
            None => ", not encrypted",
        });
    }
    lines.push(who);
    lines.push(format!("  {}", refusal.cause));
    if let Some(now) = &refusal.now {
        lines.push("now:".to_owned());
        lines.push(render(now, color));
    }
    lines.join("\n")
}

fn render(answer: &WhyAnswer, color: bool) -> String {
    let origin = answer.origin.as_deref();
    let (tone, head) = if answer.allows() {
        (
            "\x1b[1;32m",
            match origin {
                Some(origin) => format!("ALLOW  by \"{origin}\""),
                None => "ALLOW  by `observe` alone".to_owned(),
            },
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
    if let Some(reason) = &answer.would_deny {
        lines.push(format!(
            "observed: without the observation it would be refused: {reason}"
        ));
    }
    if let Some(mend) = &answer.mend {
        lines.push(format!("mend: {mend}"));
    }
    lines.join("\n")
}

/// The origins, a column for each condition that matters here.
fn table(answer: &WhyAnswer) -> Vec<String> {
    let shown: Vec<_> = answer.denied_by.iter().chain(&answer.tried).collect();
    if shown.is_empty() {
        return vec!["there is no origin".to_owned()];
    }
    let columns: Vec<Condition> = Condition::ALL
        .into_iter()
        .filter(|condition| {
            ALWAYS.contains(condition)
                || shown.iter().any(|tried| {
                    let outcome = tried.conditions.get(condition.label()).map(String::as_str);
                    matches!(outcome, Some("holds" | "fails" | "on_trial"))
                })
        })
        .collect();
    let names = shown.iter().map(|tried| tried.origin.chars().count());
    let width = names.max().unwrap_or(0).max("origin".len());
    let places = shown.iter().map(|tried| place(tried).chars().count());
    let before = places.max().unwrap_or(0).max("line".len());
    let labels: Vec<_> = columns.iter().map(|condition| condition.label()).collect();
    let head = format!(
        "  {:>before$}  {:width$}  {}  first failure",
        "line",
        "origin",
        labels.join("  ")
    );
    let rows = shown
        .iter()
        .map(|tried| row(tried, &columns, (before, width), answer));
    std::iter::once(head).chain(rows).collect()
}

/// Where an origin stands.
fn place(tried: &TriedAnswer) -> String {
    match (&tried.file, tried.line) {
        (_, None) => "temporary".to_owned(),
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (None, Some(line)) => line.to_string(),
    }
}

fn row(
    tried: &TriedAnswer,
    columns: &[Condition],
    (before, width): (usize, usize),
    answer: &WhyAnswer,
) -> String {
    // the miss that the reason is of
    let decisive = answer.origin.as_ref() == Some(&tried.origin);
    let marks: Vec<_> = columns
        .iter()
        .map(|condition| {
            let mark = match tried.conditions.get(condition.label()).map(String::as_str) {
                Some("holds") => "yes",
                Some("fails") if decisive => "NO",
                Some("fails") => "no",
                Some("on_trial") => "try",
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
        "  {:>before$}  {:width$}  {marks}  {because}",
        place(tried),
        tried.origin
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
#[path = "why_tests.rs"]
mod tests;
