//! `doorward check`: everything that is wrong with an allowlist, and with what stands around it. Floor 5.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};

use super::{CheckArgs, Exit, Format, Global, Output, check_mysql};
use crate::{
    config::{self, Listener, LoadError, Loaded, Overrides, Problem, Protocol, Settings, Severity},
    net::{
        Families, Fingerprint, bind,
        tls::{Identity, TlsError},
    },
    server::{
        self,
        control::{self, Request},
    },
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
        let (errors, warnings) = (
            self.number(Severity::Error) > 0,
            self.number(Severity::Warning) > 0,
        );
        match self.unreadable {
            Some(exit) => exit,
            None if errors || (deny_warnings && warnings) => Exit::Configuration,
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
                let warnings = match self.number(Severity::Warning) {
                    0 => String::new(),
                    _ => format!(", {count}"),
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
                let families = server::families(*address, settings);
                problems.extend(port(*address, families, file));
            }
        }
        for listener in &settings.listeners {
            match listener.protocol {
                Protocol::Postgres => problems.extend(upstream(listener, file).await),
                Protocol::Mysql => {
                    let about = check_mysql::server(listener, own_certificate(settings));
                    problems.extend(about.await.into_iter().map(|said| said.in_file(file)));
                }
            }
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

/// The certificate that clients see, where it is one of the operator's.
fn own_certificate(settings: &Settings) -> Option<Fingerprint> {
    let files = settings.tls.files.as_ref()?;
    let identity = Identity::read(&files.certificate, &files.key).ok()?;
    identity.fingerprint()
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

async fn upstream(listener: &Listener, file: &Path) -> Option<Problem> {
    let upstream = server::upstream(listener);
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    const DOOR: &str = "version: 1\nlisteners:\n  - {name: pg, protocol: postgres, listen: '127.0.0.1:0', upstream: '127.0.0.1:1'}\nadmin: {http: '127.0.0.1:0'}\n";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, more: &str) -> std::path::PathBuf {
            let file = self.0.path().join("allowlist.yaml");
            let socket = self.0.path().join("admin.sock");
            let text = format!("{DOOR}{more}")
                .replace("{http:", &format!("{{socket: {}, http:", socket.display()));
            std::fs::write(&file, text).unwrap();
            file
        }
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
        let checked = check(&file, true);
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
        let checked = check(&folder.file("origins: []\n"), true);
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
        let mut checked = check(&file, true);
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
        let checked = check(&file, true);
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
    fn a_silent_database_is_a_warning_and_a_missing_key_an_error() {
        let folder = Folder::new();
        let more = "origins:\n  - {name: a, from: [10.0.0.1]}\n";
        let checked = check(&folder.file(more), false);
        assert_eq!(codes(&checked), [Some("W-UPSTREAM")]);
        let key = folder.0.path().join("none.pem");
        let tls = format!("{more}tls: {{certificate: {0}, key: {0}}}\n", key.display());
        assert_eq!(
            check(&folder.file(&tls), true).exit(false),
            Exit::Fine,
            "--offline looks at the text alone"
        );
        assert_eq!(
            check(&folder.file(&tls), false).exit(false),
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
        let told = runtime
            .block_on(async { port(held.local_addr().unwrap(), Families::Own, Path::new("f")) });
        assert!(
            told.unwrap()
                .message
                .contains("another program listens there")
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_told_in_one_sentence() {
        let checked = check(Path::new("/nonexistent/allowlist.yaml"), true);
        assert_eq!(checked.exit(false), Exit::Configuration);
        assert!(
            checked.problems[0]
                .message
                .starts_with("cannot read /nonexistent/allowlist.yaml")
        );
    }
}
