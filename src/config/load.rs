//! Reads the file, the environment and the flags: the only place that does. Floor 1.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::{Problem, Problems, Settings};
use crate::policy::Rules;

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
pub struct Environment(BTreeMap<String, String>);

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
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(
        &path.display().to_string(),
        &text,
        &Environment::of_process(),
        flags,
    )
    .map_err(LoadError::Problems)
}

/// The settings of `doorward run` without a file. The state directory and the admin socket may still be layered.
///
/// # Errors
/// A flag does not mean anything.
pub fn from_flags(run: &FlagListener, flags: &Overrides) -> Result<Loaded, LoadError> {
    let _ = (run, flags);
    Err(LoadError::Problems(Problems::none()))
}

/// The text of a file, already read. `name` is what problems call it.
///
/// # Errors
/// All that is wrong, warnings included.
pub fn parse(
    name: &str,
    text: &str,
    environment: &Environment,
    flags: &Overrides,
) -> Result<Loaded, Problems> {
    let _ = (name, text, environment, flags);
    Err(Problems::none())
}

/// Where a running daemon's admin socket may be when nobody says: the likeliest first.
pub fn admin_sockets(environment: &Environment) -> Vec<PathBuf> {
    let _ = environment;
    vec![PathBuf::from("/run/doorward/admin.sock")]
}

impl Environment {
    /// Reads the environment once. Variables that are not UTF-8 are left out: none of ours is such.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }
}
