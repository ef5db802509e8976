//! `doorward check`: everything that is wrong with an allowlist, and with what stands around it. Floor 5.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    CheckArgs, Exit, Format, Global, Output, check_certificates, check_diff::Differences,
    check_machine, check_mysql, check_postgres, check_scram, checked::Checked, hosts,
};
use crate::{
    config::{self, LoadError, Loaded, Overrides, Problem, Protocol, Settings, Severity},
    net::{ClientTrust, Families, bind, resolver::Resolved},
    policy::{Policy, Rules},
    server::{
        self,
        control::{self, Answer, Request},
        rehearsed::Rehearsed,
        status::Status,
        why_answer::Ground,
    },
};

/// Ends with 78 where something is wrong, and for a warning too if that is asked; with 3 where decisions change.
pub(super) fn run(arguments: &CheckArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    let file = arguments
        .file
        .clone()
        .unwrap_or_else(|| global.config_or_default());
    let checked = check(&file, arguments, global.admin_socket.clone());
    let exit = checked.exit(arguments.deny_warnings);
    match output.format {
        Format::Json => output.say_json(&checked.json(&file, exit)),
        Format::Human => checked.show(&file, exit, output),
        Format::Github => output.say(checked.github(&file)),
    }
    exit
}

fn check(file: &Path, arguments: &CheckArgs, socket: Option<PathBuf>) -> Checked {
    match config::load(file, &Overrides::default()) {
        Ok(loaded) => check_loaded(loaded, file, arguments, socket),
        Err(LoadError::Problems(problems)) => Checked {
            problems: problems.as_slice().to_vec(),
            ..Checked::default()
        },
        Err(error @ LoadError::Unreadable { .. }) => Checked {
            problems: vec![problem(Severity::Error, None, file, error.to_string())],
            broken_off: Some(Exit::from(&error)),
            ..Checked::default()
        },
    }
}

fn check_loaded(
    loaded: Loaded,
    file: &Path,
    arguments: &CheckArgs,
    socket: Option<PathBuf>,
) -> Checked {
    let mut checked = Checked {
        summary: Some(summary(&loaded)),
        ..Checked::default()
    };
    let Loaded {
        settings,
        rules,
        warnings,
        ..
    } = loaded;
    checked.problems = warnings;
    let socket = socket.unwrap_or_else(|| settings.admin.socket.clone());
    let mut resolved = Resolved::default();
    let mut running = None;
    if !arguments.offline {
        running = running_at(&socket);
        resolved = hosts::look_up(rules.hosts(), &settings.resolver);
        checked.problems.extend(names(&resolved, file));
        checked.problems.extend(unused(running.as_deref(), file));
        let around = surroundings(&settings, &rules, file, running.is_some());
        checked.problems.extend(around);
    }
    let now = SystemTime::now();
    let policy = Policy::new(rules, &resolved.hosts, 0);
    checked.tests = Some(Rehearsed::of(&policy, now));
    checked.generation = running.as_ref().map(|status| status.generation);
    if arguments.diff {
        let ground = Ground {
            policy: &policy,
            // what was proved counts
            trust: &ClientTrust::default(),
            listeners: &settings.listeners,
            source: "",
        };
        let generation = checked.generation.unwrap_or_default();
        match Differences::find(&socket, generation, ground, now) {
            Ok(differences) => checked.differences = Some(differences),
            Err(error) => {
                let text = format!("{}: {error}", socket.display());
                let problems = &mut checked.problems;
                problems.push(problem(Severity::Error, None, file, text));
                checked.broken_off = Some(Exit::Unavailable);
            }
        }
    }
    checked
}

/// The gateway that runs with this socket.
fn running_at(socket: &Path) -> Option<Box<Status>> {
    match control::ask(socket, &Request::Status) {
        Ok(Answer::Status(status)) => Some(status),
        Ok(_) | Err(_) => None,
    }
}

/// What is strange about the hosts that rules name. It may be otherwise tomorrow.
fn names(resolved: &Resolved, file: &Path) -> Vec<Problem> {
    let warn = |code, message| problem(Severity::Warning, Some(code), file, message);
    let mut problems = Vec::new();
    for (host, state) in &resolved.states {
        if let Some(warning) = &state.warning {
            problems.push(warn("W-HOST", format!("host {host}: {warning}")));
        }
        if let Some(error) = &state.error {
            problems.push(warn("W-DNS", format!("host {host} is not found: {error}")));
        } else if state.addresses.is_empty() && state.inward.is_empty() {
            problems.push(warn("W-DNS", format!("host {host} has no address")));
        }
    }
    problems
}

/// Origins that nobody has used for so long that nobody may need them any more.
fn unused(running: Option<&Status>, file: &Path) -> Vec<Problem> {
    let Some(status) = running.filter(|status| status.uptime_seconds >= UNUSED.as_secs()) else {
        return Vec::new();
    };
    let recently = SystemTime::now().checked_sub(UNUSED);
    let used = |line: &&server::status::OriginLine| {
        let last = line.last_seen.as_ref();
        let last = last.and_then(|at| at.parse::<jiff::Timestamp>().ok());
        line.sessions > 0 || last.map(SystemTime::from) >= recently
    };
    let mut origins: Vec<_> = status.origins.iter().map(|line| &line.origin).collect();
    origins.dedup();
    let is_used = |origin: &&String| {
        let mut lines = status.origins.iter().filter(|line| line.origin == **origin);
        lines.any(|line| used(&line))
    };
    origins.retain(|origin| !is_used(origin));
    let warn = |origin: &String| {
        let message = format!("origin \"{origin}\" was not used for 42 days: is it needed?");
        problem(Severity::Warning, Some("W-UNUSED"), file, message)
    };
    origins.into_iter().map(warn).collect()
}

fn summary(loaded: &Loaded) -> String {
    let several = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let mut parts = vec![
        several(loaded.settings.listeners.len(), "listener"),
        several(loaded.rules.origins.len(), "origin"),
    ];
    if !loaded.rules.deny.is_empty() {
        parts.push(several(loaded.rules.deny.len(), "deny rule"));
    }
    parts.join(", ")
}

/// What the file names and the machine has. Another host's state is never an error: it may be well tomorrow.
fn surroundings(settings: &Settings, rules: &Rules, file: &Path, running: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut said = check_certificates::files(settings, SystemTime::now());
    said.extend(check_machine::bridges(rules));
    said.extend(check_machine::kept(&settings.state_dir));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return said.into_iter().map(|said| said.in_file(file)).collect();
    };
    runtime.block_on(async {
        // a running daemon of ours holds its ports by right
        if !running {
            let listen = settings
                .listeners
                .iter()
                .flat_map(|listener| &listener.listen);
            for address in listen.chain([&settings.admin.http]) {
                let families = server::families(*address, settings);
                problems.extend(port(*address, families, file));
            }
        }
        for listener in &settings.listeners {
            match listener.protocol {
                Protocol::Postgres => {
                    let ours = check_certificates::own_certificate(settings);
                    said.extend(check_scram::verifiers(listener));
                    said.extend(check_postgres::server(listener, rules, ours).await);
                }
                Protocol::Mysql => {
                    let ours = check_certificates::own_certificate(settings);
                    said.extend(check_mysql::server(listener, ours).await);
                }
            }
            said.extend(check_machine::past_the_gateway(listener, settings).await);
        }
    });
    problems.extend(said.into_iter().map(|said| said.in_file(file)));
    problems
}

fn port(address: SocketAddr, families: Families, file: &Path) -> Option<Problem> {
    let error = bind(address, families).err()?;
    let known = [
        (io::ErrorKind::AddrInUse, "another program listens there"),
        (
            io::ErrorKind::AddrNotAvailable,
            "this machine has no such address",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "this user may not take that port",
        ),
    ];
    let cause = known.into_iter().find(|(kind, _)| *kind == error.kind());
    let cause = cause.map_or_else(|| error.to_string(), |(_, cause)| cause.to_owned());
    let message = format!("{address} cannot be listened on: {cause}");
    Some(problem(Severity::Warning, Some("W-PORT"), file, message))
}

fn problem(
    severity: Severity,
    code: Option<&'static str>,
    file: &Path,
    message: String,
) -> Problem {
    Problem {
        severity,
        message,
        source: file.display().to_string(),
        place: None,
        label: None,
        hint: None,
        code,
    }
}

/// An origin that was not used for so long is worth a question.
const UNUSED: Duration = Duration::from_secs(42 * 24 * 60 * 60);

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
