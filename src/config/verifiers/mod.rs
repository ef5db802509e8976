//! `verifiers`: what a PostgreSQL server keeps of its roles' passwords, for a gateway that checks them in its place. Floor 1.
//!
//! A file that `pg_dumpall --roles-only` has written, or a userlist of PgBouncer. Nothing of it is ever shown but names of
//! roles and numbers of lines. Whether a role may log in, and until when, stays the server's business: it is asked with
//! every login.

mod formats;

use std::{
    collections::HashMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::wire::postgres::{NotAVerifier, Verifier};
use formats::Entry;

/// The verifiers of a file by the names of their roles. Not `Debug`.
pub struct Verifiers {
    path: PathBuf,
    of: HashMap<String, (Verifier, usize)>,
    unusable: Vec<Unusable>,
}

/// How most of the passwords of a server are kept, which is how those of unknown users must seem to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Usual {
    pub iterations: u32,
    /// In bytes.
    pub salt: usize,
}

/// A role whose password is kept in a way that no proof can be checked by.
struct Unusable {
    line: usize,
    role: String,
    kind: NotAVerifier,
}

/// Why a file of verifiers cannot be used. `Display` names the file, the line and the cause, and repeats nothing secret.
#[derive(Debug)]
pub struct VerifiersError {
    path: PathBuf,
    line: Option<usize>,
    cause: String,
    permission: bool,
}

/// A fault in the text, in a line from 1.
struct Wrong {
    line: usize,
    cause: String,
}

impl Verifiers {
    /// Reads a file that not everybody may read. Blocks on it.
    ///
    /// # Errors
    /// It does not serve: nothing of it is used then.
    pub fn read(path: &Path) -> Result<Self, VerifiersError> {
        let bytes = bytes(path)?;
        let text = str::from_utf8(&bytes).map_err(|_other| {
            VerifiersError::new(
                path,
                "it is not UTF-8: pg_dumpall --encoding=UTF8 --roles-only",
            )
        })?;
        Self::parse(path, text)
    }

    /// Reads a text. `path` is for messages alone.
    ///
    /// # Errors
    /// As [`Verifiers::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, VerifiersError> {
        let mut verifiers = Self {
            path: path.to_owned(),
            of: HashMap::new(),
            unusable: Vec::new(),
        };
        formats::entries(text, |entry| verifiers.take(entry)).map_err(|wrong| VerifiersError {
            line: Some(wrong.line),
            ..VerifiersError::new(path, wrong.cause)
        })?;
        if verifiers.of.is_empty() {
            let cause = match verifiers.unusable.len() {
                0 => {
                    "there is no password in it: only a superuser's pg_dumpall --roles-only writes them"
                }
                _ => {
                    "there is no SCRAM verifier in it: set password_encryption = 'scram-sha-256' at the server, and the passwords anew"
                }
            };
            return Err(VerifiersError::new(path, cause));
        }
        Ok(verifiers)
    }

    /// What the server keeps of this role's password.
    pub fn find(&self, role: &str) -> Option<&Verifier> {
        self.of.get(role).map(|(verifier, _line)| verifier)
    }

    /// How many roles there are whose proof can be checked.
    pub fn count(&self) -> usize {
        self.of.len()
    }

    /// How most passwords are kept.
    pub fn usual(&self) -> Usual {
        let mut counts: HashMap<Usual, usize> = HashMap::new();
        for (verifier, _line) in self.of.values() {
            let usual = Usual {
                iterations: verifier.iterations,
                salt: verifier.salt.len(),
            };
            *counts.entry(usual).or_default() += 1;
        }
        // of several the same each time, for it is to be seen from outside
        let most = counts
            .into_iter()
            .max_by_key(|(usual, count)| (*count, usual.iterations, usual.salt));
        most.map_or(SERVERS_OWN, |(usual, _count)| usual)
    }

    /// The roles that cannot log in by this file, and why: the first few.
    pub fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let mut said: Vec<_> = self.unusable.iter().take(SAID).map(|unusable| {
            let Unusable { line, role, kind } = unusable;
            format!("{path}:{line}: of role \"{role}\" there is {kind}, which no SCRAM login can be checked with")
        }).collect();
        let more = self.unusable.len().saturating_sub(SAID);
        if more > 0 {
            said.push(format!("{path}: and {more} more roles like that"));
        }
        said
    }

    fn take(&mut self, entry: Entry<'_>) -> Result<(), Wrong> {
        let Entry {
            line,
            role,
            password,
        } = entry;
        let wrong = |cause| Err(Wrong { line, cause });
        if role.is_empty() || role.len() > MAX_NAME || role.contains(char::is_control) {
            return wrong("the name of the role is none that can log in here".to_owned());
        }
        let verifier = match Verifier::parse(&password) {
            Ok(verifier) => verifier,
            Err(kind @ (NotAVerifier::Md5 | NotAVerifier::Plain)) => {
                let role = role.into_owned();
                self.unusable.push(Unusable { line, role, kind });
                return Ok(());
            }
            Err(kind @ (NotAVerifier::Garbled | NotAVerifier::Iterations)) => {
                return wrong(format!("of role \"{role}\" there is {kind}"));
            }
        };
        if self.of.len() + self.unusable.len() >= MAX_ROLES {
            return wrong(format!("more than {MAX_ROLES} roles"));
        }
        let role = role.into_owned();
        if let Some((_, first)) = self.of.get(&role) {
            return wrong(format!("role \"{role}\" stands in line {first} already"));
        }
        self.of.insert(role, (verifier, line));
        Ok(())
    }
}

impl fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifiers({} roles)", self.of.len())
    }
}

impl VerifiersError {
    fn new(path: &Path, cause: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            cause: cause.into(),
            permission: false,
        }
    }

    fn denied(path: &Path, cause: impl Into<String>) -> Self {
        Self {
            permission: true,
            ..Self::new(path, cause)
        }
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::new(path, "there is no such file"),
            Some(libc::EACCES) => Self::denied(
                path,
                "doorward's user may not read it; make its group the file's, and chmod g+r",
            ),
            _ => Self::new(path, error.to_string()),
        }
    }

    /// A matter of file permissions, not of contents.
    pub const fn is_permission(&self) -> bool {
        self.permission
    }
}

impl fmt::Display for VerifiersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl std::error::Error for VerifiersError {}

/// All of a plain file that holds still and that others than owner and group may not read.
fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, VerifiersError> {
    let broken = |error| VerifiersError::io(path, &error);
    // a pipe must not be waited for
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(broken)?;
    let before = file.metadata().map_err(broken)?;
    if !before.is_file() {
        return Err(VerifiersError::new(path, "it is no file"));
    }
    if before.mode() & OTHERS != 0 {
        let cause = format!(
            "it holds secrets, and everybody on this machine may use it: chmod o= {}",
            path.display()
        );
        return Err(VerifiersError::denied(path, cause));
    }
    if before.len() > MAX_FILE {
        let cause = format!("it is larger than {MAX_FILE} bytes");
        return Err(VerifiersError::new(path, cause));
    }
    let bytes = whole(&mut file, before.len()).map_err(broken)?;
    let after = file.metadata().map_err(broken)?;
    let moment = |file: &std::fs::Metadata| (file.len(), file.mtime(), file.mtime_nsec());
    if moment(&before) != moment(&after) || bytes.len() as u64 != after.len() {
        return Err(VerifiersError::new(path, "it changed while it was read"));
    }
    Ok(bytes)
}

/// In one buffer, so that none is left behind unwiped.
fn whole(file: &mut File, length: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let room = usize::try_from(length).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 64));
    file.take(length + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The permission bits of everybody else.
const OTHERS: u32 = 0o007;
/// Room for all roles.
const MAX_FILE: u64 = 64 << 20;
const MAX_ROLES: usize = 100_000;
/// `NAMEDATALEN - 1`
const MAX_NAME: usize = 63;
/// Roles that are named in warnings.
const SAID: usize = 10;
/// `SCRAM_SHA_256_DEFAULT_ITERATIONS` and `SCRAM_DEFAULT_SALT_LEN`
const SERVERS_OWN: Usual = Usual {
    iterations: 4096,
    salt: 16,
};

#[cfg(test)]
mod tests;
