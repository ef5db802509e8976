//! `doorward check`: everything that is wrong with an allowlist, and with what stands around it. Floor 5.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};

use super::{CheckArgs, Exit, Format, Global, Output};
use crate::{
    config::{self, LoadError, Loaded, Overrides, Problem, Settings, Severity, UpstreamAddress},
    net::{
        Upstream, bind,
        tls::{Identity, TlsError},
    },
    server::control::{self, Request},
};

/// Ends with 78 where something is wrong, and for a warning too if that is asked.
pub(super) fn run(arguments: &CheckArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    let file = arguments
        .file
        .clone()
        .unwrap_or_else(|| global.config_or_default());
    let checked = check(&file, arguments.offline);
    let exit = checked.exit(arguments.deny_warnings);
    match output.format {
        Format::Json => output.say_json(&checked.json(&file, exit)),
        Format::Human => checked.show(&file, exit, output),
    }
    exit
}

/// What was found.
struct Checked {
    /// What a good file holds, in words.
    summary: Option<String>,
    problems: Vec<Problem>,
    /// Of a file that cannot be read.
    unreadable: Option<Exit>,
}

fn check(file: &Path, offline: bool) -> Checked {
    match config::load(file, &Overrides::default()) {
        Ok(loaded) => {
            let summary = Some(summary(&loaded));
            let mut problems = loaded.warnings;
            if !offline {
                problems.extend(surroundings(&loaded.settings, file));
            }
            Checked {
                summary,
                problems,
                unreadable: None,
            }
        }
        Err(LoadError::Problems(problems)) => Checked {
            summary: None,
            problems: problems.as_slice().to_vec(),
            unreadable: None,
        },
        Err(error @ LoadError::Unreadable { .. }) => Checked {
            summary: None,
            problems: vec![problem(Severity::Error, None, file, error.to_string())],
            unreadable: Some(Exit::from(&error)),
        },
    }
}

impl Checked {
    fn exit(&self, deny_warnings: bool) -> Exit {
        let errors = self.number(Severity::Error) > 0;
        match self.unreadable {
            Some(exit) => exit,
            None if errors || (deny_warnings && !self.problems.is_empty()) => Exit::Configuration,
            None => Exit::Fine,
        }
    }

    fn number(&self, severity: Severity) -> usize {
        let problems = self.problems.iter();
        problems
            .filter(|problem| problem.severity == severity)
            .count()
    }

    fn show(&self, file: &Path, exit: Exit, output: &mut Output<'_>) {
        for problem in &self.problems {
            output.say(problem.render(output.color));
        }
        let count = config::count(&self.problems);
        match &self.summary {
            Some(summary) if exit == Exit::Fine => {
                let warnings = if self.problems.is_empty() {
                    String::new()
                } else {
                    format!(", {count}")
                };
                if !output.quiet {
                    output.say(format_args!("{}: {summary}: ok{warnings}", file.display()));
                }
            }
            Some(_) | None => output.say(count),
        }
    }

    fn json(&self, file: &Path, exit: Exit) -> Value {
        let problems: Vec<_> = self.problems.iter().map(as_json).collect();
        json!({
            "file": file.display().to_string(),
            "ok": exit == Exit::Fine,
            "errors": self.number(Severity::Error),
            "warnings": self.number(Severity::Warning),
            "problems": problems,
        })
    }
}

fn as_json(problem: &Problem) -> Value {
    let place = problem.place.as_ref();
    json!({
        "severity": problem.severity.label(),
        "code": problem.code,
        "message": problem.message,
        "source": problem.source,
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "width": place.map(|place| place.width),
        "text": place.map(|place| &place.text),
        "label": problem.label,
        "hint": problem.hint,
    })
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
fn surroundings(settings: &Settings, file: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(files) = &settings.tls.files {
        problems.extend(certificate(&files.certificate, &files.key, file));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return problems;
    };
    runtime.block_on(async {
        // a running daemon of ours holds its ports by right
        if control::ask(&settings.admin.socket, &Request::Status).is_err() {
            let listen = settings
                .listeners
                .iter()
                .flat_map(|listener| &listener.listen);
            for address in listen.chain([&settings.admin.http]) {
                problems.extend(port(*address, file));
            }
        }
        for listener in &settings.listeners {
            problems.extend(upstream(&listener.upstream, file).await);
        }
    });
    problems
}

fn certificate(certificate: &Path, key: &Path, file: &Path) -> Option<Problem> {
    match Identity::read(certificate, key) {
        Ok(identity) if identity.fits() => None,
        Ok(_) => Some(problem(
            Severity::Error,
            None,
            file,
            format!(
                "the key {} does not fit the certificate {}",
                key.display(),
                certificate.display()
            ),
        )),
        // the daemon's user may read what this one may not
        Err(TlsError::Unreadable { path, error })
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            let error = TlsError::Unreadable { path, error };
            Some(problem(
                Severity::Warning,
                Some("W-UNREADABLE"),
                file,
                error.to_string(),
            ))
        }
        Err(error) => Some(problem(Severity::Error, None, file, error.to_string())),
    }
}

fn port(address: SocketAddr, file: &Path) -> Option<Problem> {
    let error = bind(address).err()?;
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

async fn upstream(address: &UpstreamAddress, file: &Path) -> Option<Problem> {
    let upstream = match address {
        UpstreamAddress::Tcp { host, port } => Upstream::tcp(host, *port),
        UpstreamAddress::Unix(path) => Upstream::unix(path.clone()),
    };
    let reached = match upstream.refresh().await {
        Ok(()) => upstream.probe(PATIENCE).await.map(|_round_trip| ()),
        Err(error) => Err(error),
    };
    let message = format!("the database does not answer: {}", reached.err()?);
    Some(problem(
        Severity::Warning,
        Some("W-UPSTREAM"),
        file,
        message,
    ))
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

/// For one database.
const PATIENCE: Duration = Duration::from_secs(3);
