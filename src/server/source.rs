//! Where the configuration is read from, at the start and at each reload. Floor 4.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{self, Environment, FlagListener, Lists, LoadError, Loaded, Overrides, Texts},
    net::{
        certificate::{make_folder, write_atomically},
        read_ours,
    },
};

/// A file, or the command line in place of one.
#[derive(Clone, Debug)]
pub enum Source {
    File {
        path: PathBuf,
        overrides: Overrides,
    },
    Flags {
        listener: FlagListener,
        overrides: Overrides,
    },
}

/// What a start has to go by.
#[derive(Debug)]
pub struct Configuration {
    pub(super) loaded: Loaded,
    pub(super) source: Source,
    /// What is wrong with the file, when it is the last good copy that was loaded.
    pub(super) problem: Option<String>,
}

impl Configuration {
    /// Reads the configuration. A file with errors is replaced, loudly, by the last good copy in the state directory.
    ///
    /// # Errors
    /// What is wrong with the file; there is no copy, or it is no better.
    pub fn read(source: Source) -> Result<Self, LoadError> {
        match (source.load(), &source) {
            (Ok(loaded), _) => Ok(Self {
                loaded,
                source,
                problem: None,
            }),
            (Err(LoadError::Problems(problems)), Source::File { path, overrides }) => {
                let loaded = match read_last_good(path, overrides) {
                    Ok(Some(loaded)) => loaded,
                    Ok(None) => return Err(LoadError::Problems(problems)),
                    Err(cause) => {
                        let message = format!("the last good copy is not believed: {cause}");
                        return Err(LoadError::Problems(problems.and_note(path, message)));
                    }
                };
                Ok(Self {
                    loaded,
                    problem: Some(problems.to_string()),
                    source,
                })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// How the log is to be written.
    pub const fn log(&self) -> config::Log {
        self.loaded.settings.log
    }
}

impl Source {
    /// Whether the file can be read again and again: a pipe could hold a reload up for ever, and with it every later one.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::File { path, .. } => fs::metadata(path).map_or(true, |found| found.is_file()),
            Self::Flags { .. } => true,
        }
    }

    /// What the command line says beside the file.
    pub(super) const fn overrides(&self) -> &Overrides {
        match self {
            Self::File { overrides, .. } | Self::Flags { overrides, .. } => overrides,
        }
    }

    pub(super) fn load(&self) -> Result<Loaded, LoadError> {
        match self {
            Self::File { path, overrides } => config::load(path, overrides),
            Self::Flags {
                listener,
                overrides,
            } => config::from_flags(listener, overrides),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => path.display().fmt(f),
            Self::Flags { .. } => f.write_str("the command line"),
        }
    }
}

/// What a start goes by whose file is broken: the allowlist, the files that it includes and the lists that it names, as they
/// were when all was good.
#[derive(Serialize, Deserialize)]
struct LastGood {
    /// The file that it is a copy of: it is never taken for another file's.
    of: String,
    texts: Texts,
}

/// Keeps what was read from a file that was taken. That it cannot be kept is said and changes nothing.
pub(super) fn keep_as_last_good(source: &Source, state_dir: &Path, texts: &Texts) {
    let Source::File { path: file, .. } = source else {
        return;
    };
    let path = state_dir.join(LAST_GOOD);
    let last_good = LastGood {
        of: place(file),
        texts: texts.clone(),
    };
    let kept = make_folder(state_dir).and_then(|()| {
        let json = serde_json::to_vec(&last_good)?;
        write_atomically(&path, &json, OWNER_AND_GROUP)
    });
    if let Err(error) = kept {
        tracing::warn!(event = "last_good_not_kept", path = %path.display(), cause = %error,
            "a start with a broken file would have nothing to go by");
    }
}

/// The copy of this very file: another one that was run with the same state directory is no substitute. An error: it is there,
/// and somebody else could have written it.
fn read_last_good(file: &Path, overrides: &Overrides) -> Result<Option<Loaded>, io::Error> {
    let places = config::places(file, &Environment::of_process(), overrides);
    let json = match read_ours(&places.state_dir.join(LAST_GOOD)) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
        Err(_nothing) => return Ok(None),
    };
    let kept = serde_json::from_slice::<LastGood>(&json).ok();
    let kept = kept.filter(|kept| kept.of == place(file));
    Ok(kept.and_then(|kept| config::load_again(&kept.texts, Lists::Kept, overrides).ok()))
}

/// The absolute path, as text.
fn place(file: &Path) -> String {
    let absolute = std::path::absolute(file).unwrap_or_else(|_empty| file.to_owned());
    absolute.to_string_lossy().into_owned()
}

/// In the state directory.
pub(super) const LAST_GOOD: &str = "allowlist.last-good.json";
const OWNER_AND_GROUP: u32 = 0o640;
