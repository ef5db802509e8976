//! Reads the file, the environment and the flags: the only place that does. Floor 1.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{
    Lists, Problem, Problems, Settings, Texts, flags,
    includes::{self, Included},
    lists, meaning,
    problems::{Report, Where},
    raw::Node,
    texts::{self, Files},
    warnings,
};
use crate::policy::Rules;

/// What a good file says.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub rules: Rules,
    pub warnings: Vec<Problem>,
    /// What it was read from, to be kept as the last good one.
    pub texts: Texts,
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
    /// The file or the environment says where that is; otherwise it is where such things usually are.
    pub state_dir_given: bool,
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

/// Reads a file and those that it names, layers environment and flags over its settings, and says everything that is wrong.
///
/// # Errors
/// The file cannot be read, or has errors.
pub fn load(path: &Path, flags: &Overrides) -> Result<Loaded, LoadError> {
    let text = text(path)?;
    let name = path.display().to_string();
    let environment = Environment::of_process();
    parse(&name, &text, &environment, flags, SystemTime::now()).map_err(LoadError::Problems)
}

fn text(path: &Path) -> Result<String, LoadError> {
    let name = path.display().to_string();
    texts::read(path).map_err(|unread| match unread.into_report(&name) {
        Ok(report) => LoadError::Problems(report.into_problems()),
        Err(source) => LoadError::Unreadable {
            path: path.to_owned(),
            source,
        },
    })
}

/// Reads what was read before, whatever has become of the files: the same allowlist with the same includes.
///
/// # Errors
/// Something is wrong with it: a list by now, or with this environment, or for this version.
pub fn load_again(texts: &Texts, lists: Lists, flags: &Overrides) -> Result<Loaded, Problems> {
    let name = texts.path.display().to_string();
    let files = Files {
        includes: Some(&texts.includes),
        lists: (lists == Lists::Kept).then_some(&texts.lists),
    };
    let around = (&Environment::of_process(), flags, SystemTime::now());
    parse_with(&name, &texts.main, files, around)
}

/// The settings of `doorward run` without a file. Settings may still be layered by environment and flags.
///
/// # Errors
/// A flag does not mean anything.
pub fn from_flags(run: &FlagListener, flags: &Overrides) -> Result<Loaded, LoadError> {
    let report = Report::new("the command line", "");
    let document = flags::document(run);
    let around = (&Environment::of_process(), flags, SystemTime::now());
    let files = Files::default();
    understand((&document, &[]), Texts::default(), files, around, report)
        .map_err(LoadError::Problems)
}

/// The text of a file, already read. `name` is its path; what it names is read from the disk. `now` is for warnings alone.
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
    parse_with(name, text, Files::default(), (environment, flags, now))
}

fn parse_with(
    name: &str,
    text: &str,
    files: Files<'_>,
    around: (&Environment, &Overrides, SystemTime),
) -> Result<Loaded, Problems> {
    let content = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(name, content);
    let document = match Node::parse(content, 0) {
        Ok(document) => document,
        Err((at, fault)) => {
            report.error(&at, fault);
            return Err(report.into_problems());
        }
    };
    let (documents, includes) = includes::read(&document, Path::new(name), files, &mut report);
    let texts = Texts {
        path: name.into(),
        main: text.to_owned(),
        includes,
        lists: BTreeMap::new(),
    };
    understand((&document, &documents), texts, files, around, report)
}

/// Where a daemon with this file has its things, even if the file has errors by now: as far as it can still be read, and
/// as if it said nothing beyond that.
pub fn places(path: &Path, environment: &Environment, flags: &Overrides) -> Places {
    places_in(path, environment, flags)
        .unwrap_or_else(|_unread| places_of(None, environment, flags))
}

/// The same of a file that has to be there.
///
/// # Errors
/// The file cannot be read.
pub fn places_in(
    path: &Path,
    environment: &Environment,
    flags: &Overrides,
) -> Result<Places, LoadError> {
    Ok(places_of(Some(&text(path)?), environment, flags))
}

fn places_of(text: Option<&str>, environment: &Environment, flags: &Overrides) -> Places {
    let meant = |text: &str| {
        let document = readable_part(text)?;
        let meaning = meaning::read(
            &document,
            &[],
            environment,
            flags,
            &mut Report::new("", text),
        )?;
        Some(Places {
            state_dir: meaning.settings.state_dir,
            state_dir_given: meaning.state_dir_given,
            admin_socket: meaning.settings.admin.socket,
        })
    };
    text.and_then(meant)
        .or_else(|| meant("version: 1"))
        .unwrap_or_else(|| Places {
            state_dir: environment.state_dir(),
            state_dir_given: false,
            admin_socket: environment.admin_socket(),
        })
}

/// The whole text as YAML, else the lines before the first error.
fn readable_part(text: &str) -> Option<Node> {
    let (at, _) = match Node::parse(text, 0) {
        Ok(document) => return Some(document),
        Err(fault) => fault,
    };
    let Where::File(span) = at else { return None };
    let before = span.line.saturating_sub(1) as usize;
    let lines: Vec<_> = text.lines().take(before).collect();
    Node::parse(&lines.join("\n"), 0).ok()
}

/// Where a running daemon's admin socket may be when nobody says: the likeliest first.
pub fn admin_sockets(environment: &Environment) -> Vec<PathBuf> {
    let mut folders = environment.runtime_folders();
    folders.push(environment.state_dir());
    let sockets = folders.into_iter().map(|folder| folder.join(ADMIN_SOCKET));
    sockets.collect()
}

fn understand(
    (document, included): (&Node, &[Included]),
    texts: Texts,
    files: Files<'_>,
    (environment, flags, now): (&Environment, &Overrides, SystemTime),
    mut report: Report,
) -> Result<Loaded, Problems> {
    let meaning = meaning::read(document, included, environment, flags, &mut report);
    let networks = meaning
        .as_ref()
        .map(|meaning| lists::read(meaning, files, &mut report));
    if let Some(meaning) = &meaning {
        warnings::find(meaning, now, &mut report);
    }
    let meaning = match meaning {
        Some(meaning) if !report.failed() => meaning,
        Some(_) | None => return Err(report.into_problems()),
    };
    let networks = networks.unwrap_or_default();
    let texts = Texts {
        lists: lists::kept(&meaning, &networks),
        ..texts
    };
    let everybody = meaning.everybody;
    Ok(Loaded {
        settings: meaning.settings,
        rules: Rules {
            require: everybody.require,
            protected_users: everybody.protected_users,
            networks,
            origins: meaning
                .origins
                .into_iter()
                .map(|placed| Arc::new(placed.rule))
                .collect(),
            deny: meaning.deny.into_iter().map(|placed| placed.rule).collect(),
            observe: everybody.observe,
            strangers: everybody.strangers,
            on_revoke: everybody.on_revoke,
            drain: everybody.drain,
            temporary: everybody.temporary,
            tests: meaning.tests,
        },
        warnings: report.finish(),
        texts,
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
