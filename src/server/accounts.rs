//! Whose proofs the gateway checks: the verifiers that the settings name, and the secret that makes up those of the unknown. Floor 4.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use zeroize::Zeroizing;

use crate::{
    config::{Settings, Verifiers, VerifiersError},
    net::certificate::make_folder,
    protocol::postgres::{
        Accounts,
        scram::{Secret, nonce},
    },
};

/// Why proofs cannot be checked. One sentence, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error("the verifiers cannot be used: {0}")]
    Verifiers(#[from] VerifiersError),
    #[error("cannot use {}: {error}; doorward's user must be able to write there", path.display())]
    Secret { path: PathBuf, error: io::Error },
    #[error("{} is no secret that doorward has made: remove it, and another is made", _0.display())]
    Damaged(PathBuf),
}

impl AccountsError {
    /// A matter of file permissions, not of contents.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Verifiers(error) => error.is_permission(),
            Self::Secret { error, .. } => error.kind() == io::ErrorKind::PermissionDenied,
            Self::Damaged(_) => false,
        }
    }
}

/// What was read for each listener, and what is strange about it.
pub(super) struct Read {
    pub(super) accounts: Vec<Option<Arc<Accounts>>>,
    pub(super) warnings: Vec<String>,
}

/// Reads them for all listeners, each beside its listener. Blocks on files.
pub(super) fn read(settings: &Settings) -> Result<Read, AccountsError> {
    let mut warnings = Vec::new();
    let mut accounts = Vec::new();
    for listener in &settings.listeners {
        let Some(path) = &listener.verifiers else {
            accounts.push(None);
            continue;
        };
        let verifiers = Verifiers::read(path)?;
        warnings.extend(verifiers.warnings());
        let secret = secret(&settings.state_dir)?;
        accounts.push(Some(Arc::new(Accounts::new(verifiers, secret))));
    }
    Ok(Read { accounts, warnings })
}

/// The files of verifiers, which may change by themselves.
pub(super) fn files(settings: &Settings) -> impl Iterator<Item = PathBuf> {
    let listeners = settings.listeners.iter();
    listeners.filter_map(|listener| listener.verifiers.clone())
}

/// The kept secret, or a new one at the first start. Were it another after each start, made-up salts would tell who has no account.
fn secret(state_dir: &Path) -> Result<Secret, AccountsError> {
    let path = state_dir.join(SECRET);
    let kept = match kept(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(state_dir, &path).and_then(|()| kept(&path))
        }
        kept => kept,
    };
    match kept {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(AccountsError::Damaged(path)),
        Err(error) => Err(AccountsError::Secret { path, error }),
    }
}

/// `None`: it is of another size, or others may read it.
fn kept(path: &Path) -> io::Result<Option<Secret>> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut bytes = Zeroizing::new([0; Secret::SIZE + 1]);
    let mut read = 0;
    while let Some(free) = bytes.get_mut(read..).filter(|free| !free.is_empty()) {
        match file.read(free)? {
            0 => break,
            count => read += count,
        }
    }
    let whole = read == Secret::SIZE && mode & OTHERS == 0;
    let secret = bytes.first_chunk().filter(|_| whole);
    Ok(secret.map(|bytes| Secret::new(*bytes)))
}

/// Of two gateways that start at once on one state directory, one makes it for both.
fn make(state_dir: &Path, path: &Path) -> io::Result<()> {
    make_folder(state_dir)?;
    let secret = Secret::random().map_err(|_unspecified| io::ErrorKind::Unsupported)?;
    let mark = nonce().map_err(|_unspecified| io::ErrorKind::Unsupported)?;
    let new = path.with_extension(mark.replace('/', "_"));
    let write = || {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&new, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    };
    let written = write();
    drop(fs::remove_file(&new));
    written
}

/// In the state directory.
pub(super) const SECRET: &str = "scram.secret";
/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt, thread};

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_kept_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let first = secret(&state).unwrap();
        let path = state.join(SECRET);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(secret(&state).unwrap().as_bytes(), first.as_bytes());
        assert_eq!(
            state.read_dir().unwrap().count(),
            1,
            "nothing is left behind"
        );
        let other = tempfile::tempdir().unwrap();
        assert_ne!(secret(other.path()).unwrap().as_bytes(), first.as_bytes());
    }

    #[test]
    fn two_gateways_that_start_at_once_have_one_secret() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = thread::scope(|scope| {
            let started: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| secret(folder.path()).map(|secret| *secret.as_bytes())))
                .collect();
            started
                .into_iter()
                .map(|one| one.join().unwrap().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(secrets.windows(2).all(|two| two[0] == two[1]));
    }

    #[test]
    fn a_secret_that_is_none_any_more_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SECRET);
        drop(secret(folder.path()).unwrap());
        for bytes in [&[][..], &[1; 31], &[1; 33]] {
            fs::write(&path, bytes).unwrap();
            let error = secret(folder.path()).unwrap_err();
            assert!(matches!(error, AccountsError::Damaged(_)), "{error}");
        }
        fs::write(&path, [1; 32]).unwrap();
        assert!(secret(folder.path()).is_ok());
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            secret(folder.path()),
            Err(AccountsError::Damaged(_))
        ));
    }
}
