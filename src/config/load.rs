//! Reads the file, the environment and the flags: the only place that does. Floor 1.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{
    Problem, Problems, Settings, flags, lists, meaning,
    problems::{Fault, Report, Span, Where},
    raw::{MAX_FILE, Node},
    warnings,
};
use crate::policy::{Ban, Ceiling, Rules, Strangers};

/// What a good file says.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub rules: Rules,
    pub warnings: Vec<Problem>,
    /// The file's text, to be kept as the last good one. Empty when there was no file.
    pub text: String,
}

/// Settings from the command line; they win over the environment and the file. Texts are parsed as the file's are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub admin_http: Option<String>,
    pub admin_socket: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub log_format: Option<String>,
    pub log_level: Option<String>,
}

/// `doorward run` without a file: one listener and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagListener {
    pub protocol: String,
    pub upstream: String,
    pub listen: Vec<String>,
    pub allow: Vec<String>,
}

/// The process's environment, as a value, so that tests bring their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// `/run/doorward` can be ours.
    run_is_ours: bool,
}

/// Where a daemon keeps its things and where it can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub state_dir: PathBuf,
    pub admin_socket: PathBuf,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Problems(Problems),
}

/// Reads a file, layers environment and flags over its settings, and says everything that is wrong.
///
/// # Errors
/// The file cannot be read, or has errors.
pub fn load(path: &Path, flags: &Overrides) -> Result<Loaded, LoadError> {
    let bytes = read(path).map_err(|source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let name = path.display().to_string();
    let text = text(&name, bytes).map_err(LoadError::Problems)?;
    let environment = Environment::of_process();
    parse(&name, &text, &environment, flags, SystemTime::now()).map_err(LoadError::Problems)
}

/// The settings of `doorward run` without a file. Settings may still be layered by environment and flags.
///
/// # Errors
/// A flag does not mean anything.
pub fn from_flags(run: &FlagListener, flags: &Overrides) -> Result<Loaded, LoadError> {
    let report = Report::new("the command line", "");
    let document = flags::document(run);
    let environment = Environment::of_process();
    understand(&document, &environment, flags, SystemTime::now(), report)
        .map_err(LoadError::Problems)
}

/// The text of a file, already read. `name` is what problems call it; `now` is for warnings alone.
///
/// # Errors
/// All that is wrong, warnings included.
pub fn parse(
    name: &str,
    text: &str,
    environment: &Environment,
    flags: &Overrides,
    now: SystemTime,
) -> Result<Loaded, Problems> {
    let content = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(name, content);
    let document = match Node::parse(content) {
        Ok(document) => document,
        Err((at, fault)) => {
            report.error(&at, fault);
            return Err(report.into_problems());
        }
    };
    let loaded = understand(&document, environment, flags, now, report)?;
    Ok(Loaded {
        text: text.to_owned(),
        ..loaded
    })
}

/// Where a daemon with this file has its things, even if the file has errors by now: as far as it can still be read, and
/// as if it said nothing beyond that.
pub fn places(path: &Path, environment: &Environment, flags: &Overrides) -> Places {
    let meant = |text: &str| {
        let document = readable_part(text)?;
        let meaning = meaning::read(&document, environment, flags, &mut Report::new("", text))?;
        Some(Places {
            state_dir: meaning.settings.state_dir,
            admin_socket: meaning.settings.admin.socket,
        })
    };
    let text = read(path).ok();
    text.and_then(|bytes| meant(&String::from_utf8(bytes).ok()?))
        .or_else(|| meant("version: 1"))
        .unwrap_or_else(|| Places {
            state_dir: environment.state_dir(),
            admin_socket: environment.admin_socket(),
        })
}

/// The whole text as YAML, else the lines before the first error.
fn readable_part(text: &str) -> Option<Node> {
    let (at, _) = match Node::parse(text) {
        Ok(document) => return Some(document),
        Err(fault) => fault,
    };
    let Where::File(span) = at else { return None };
    let before = span.line.saturating_sub(1) as usize;
    let lines: Vec<_> = text.lines().take(before).collect();
    Node::parse(&lines.join("\n")).ok()
}

/// Where a running daemon's admin socket may be when nobody says: the likeliest first.
pub fn admin_sockets(environment: &Environment) -> Vec<PathBuf> {
    let mut folders = environment.runtime_folders();
    folders.push(environment.state_dir());
    let sockets = folders.into_iter().map(|folder| folder.join(ADMIN_SOCKET));
    sockets.collect()
}

fn understand(
    document: &Node,
    environment: &Environment,
    flags: &Overrides,
    now: SystemTime,
    mut report: Report<'_>,
) -> Result<Loaded, Problems> {
    let meaning = meaning::read(document, environment, flags, &mut report);
    let networks = meaning
        .as_ref()
        .map(|meaning| lists::read(meaning, &mut report));
    if let Some(meaning) = &meaning {
        warnings::find(meaning, now, &mut report);
    }
    let meaning = match meaning {
        Some(meaning) if !report.failed() => meaning,
        Some(_) | None => return Err(report.into_problems()),
    };
    Ok(Loaded {
        settings: meaning.settings,
        rules: Rules {
            require: meaning.require,
            protected_users: meaning.protected_users,
            networks: networks.unwrap_or_default(),
            origins: meaning
                .origins
                .into_iter()
                .map(|placed| Arc::new(placed.rule))
                .collect(),
            deny: meaning.deny.into_iter().map(|placed| placed.rule).collect(),
            observe: None,
            strangers: Strangers {
                answer: meaning.answer,
                ban: Ban::default(),
            },
            on_revoke: meaning.on_revoke,
            drain: meaning.drain,
            temporary: Ceiling::default(),
            tests: Vec::new(),
        },
        warnings: report.finish(),
        text: String::new(),
    })
}

/// No more than a file may hold, and a little, so that a larger one is noticed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_FILE + 1).unwrap_or(u64::MAX);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, Problems> {
    if bytes.len() > MAX_FILE {
        let mut report = Report::new(name, "");
        let fault = Fault::new(format!("the file is larger than {MAX_FILE} bytes"))
            .hint("is it the allowlist?");
        report.error(&Where::File(Span::START), fault);
        return Err(report.into_problems());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let good = String::from_utf8_lossy(bytes.get(..good).unwrap_or_default());
        let line = good.matches('\n').count() + 1;
        let column = good
            .rsplit('\n')
            .next()
            .map_or(0, |tail| tail.chars().count())
            + 1;
        let whole = String::from_utf8_lossy(&bytes);
        let mut report = Report::new(name, &whole);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let at = Span {
            line: number(line),
            column: number(column),
            width: 1,
        };
        let fault = Fault::new("the file is not UTF-8").label("this byte belongs to no character");
        report.error(&Where::File(at), fault);
        report.into_problems()
    })
}

impl Environment {
    /// Reads the environment once. Variables that are not UTF-8 are left out: none of ours is such.
    pub fn of_process() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the environment"
        )]
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        let owner = std::fs::metadata(RUN).map(|folder| folder.uid()).ok();
        let me = user_id();
        Self {
            variables: variables.collect(),
            run_is_ours: me == Some(0) || (me.is_some() && me == owner),
        }
    }

    /// An environment of the caller's, in which nothing under `/run` is ours.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            run_is_ours: false,
        }
    }

    /// One variable.
    pub fn get(&self, variable: &str) -> Option<&str> {
        self.variables.get(variable).map(String::as_str)
    }

    pub(super) const fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// The first folder of a variable that systemd may give several in.
    fn folder(&self, variable: &str) -> Option<PathBuf> {
        let value = self.variables.get(variable)?.split(':').next()?;
        value.starts_with('/').then(|| PathBuf::from(value))
    }

    /// Where sockets may be, the likeliest first.
    fn runtime_folders(&self) -> Vec<PathBuf> {
        let own = self
            .folder("XDG_RUNTIME_DIR")
            .map(|folder| folder.join("doorward"));
        let mut folders: Vec<_> = self.folder("RUNTIME_DIRECTORY").into_iter().collect();
        folders.push(PathBuf::from(RUN));
        folders.extend(own);
        folders
    }

    pub(super) fn admin_socket(&self) -> PathBuf {
        let given = self.folder("RUNTIME_DIRECTORY");
        let own = || {
            self.folder("XDG_RUNTIME_DIR")
                .map(|folder| folder.join("doorward"))
        };
        let run = || self.run_is_ours.then(|| PathBuf::from(RUN));
        let folder = given.or_else(run).or_else(own);
        folder
            .unwrap_or_else(|| self.state_dir())
            .join(ADMIN_SOCKET)
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        let state = || {
            self.folder("XDG_STATE_HOME")
                .map(|folder| folder.join("doorward"))
        };
        let home = || {
            self.folder("HOME")
                .map(|folder| folder.join(".local/state/doorward"))
        };
        let folder = self.folder("STATE_DIRECTORY").or_else(state).or_else(home);
        folder.unwrap_or_else(|| PathBuf::from("/var/lib/doorward"))
    }
}

/// The effective user. The owner of `/proc/self` would do, were it not root for a process that forbids dumps.
fn user_id() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

const RUN: &str = "/run/doorward";
const ADMIN_SOCKET: &str = "admin.sock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_still_says_where_its_daemon_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("allowlist.yaml");
        let places = |text: &str| {
            std::fs::write(&file, text).unwrap();
            places(&file, &Environment::of([]), &Overrides::default())
        };
        let head = "version: 1\nstate_dir: /srv/state\nadmin: {socket: /srv/admin.sock}\n";
        for broken in ["", "colour: red\n", "origins: [\n", "origins:\n\t- x\n"] {
            let found = places(&format!("{head}{broken}"));
            assert_eq!(found.state_dir, Path::new("/srv/state"), "{broken}");
            assert_eq!(found.admin_socket, Path::new("/srv/admin.sock"), "{broken}");
        }
        let found = places("[");
        assert_eq!(found.state_dir, Environment::of([]).state_dir());
    }

    #[test]
    fn flags_and_environment_place_a_daemon_whose_file_is_gone() {
        let flags = Overrides {
            state_dir: Some("/srv/flag".into()),
            ..Overrides::default()
        };
        let environment = Environment::of([(
            "DOORWARD__ADMIN__SOCKET".to_owned(),
            "/srv/variable.sock".to_owned(),
        )]);
        let found = places(Path::new("/nonexistent/file.yaml"), &environment, &flags);
        assert_eq!(found.state_dir, Path::new("/srv/flag"));
        assert_eq!(found.admin_socket, Path::new("/srv/variable.sock"));
    }
}
