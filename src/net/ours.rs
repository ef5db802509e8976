//! Whether what is kept on the disk is our own word: nobody else could have written it. Floor 1.
//!
//! The owner of a folder and its group are trusted, everybody else is not.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::kernel;

/// Why something that is kept may be somebody else's word. One sentence each, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    #[error("everybody on this machine may write to {0}: chmod o-w {0}")]
    Writable(PathBuf),
    #[error(
        "{path} belongs to another user (uid {user}): look at what it says, then chown or remove it"
    )]
    Foreign { path: PathBuf, user: u32 },
}

/// Those whose files are believed.
#[derive(Clone, Debug)]
pub struct Owners(Vec<u32>);

impl Owners {
    /// This process's user, and root.
    pub fn of_process() -> Self {
        Self(vec![0, kernel::user_id()])
    }

    /// The same and the owner of the folder: for a look at what another user's daemon keeps.
    pub fn of_folder(folder: &Path) -> Self {
        let Self(mut users) = Self::of_process();
        users.extend(fs::metadata(folder).map(|folder| folder.uid()));
        Self(users)
    }

    /// What is wrong with a file or a folder. What is not there, or cannot be looked at, is nobody's word.
    pub fn fault(&self, path: &Path) -> Option<NotOurs> {
        let found = fs::metadata(path).ok()?;
        if found.is_dir() {
            return is_open(&found).then(|| NotOurs::Writable(path.to_owned()));
        }
        self.of_file(path, &found)
    }

    fn of_file(&self, path: &Path, found: &Metadata) -> Option<NotOurs> {
        if is_open(found) {
            return Some(NotOurs::Writable(path.to_owned()));
        }
        let foreign = !self.0.contains(&found.uid());
        foreign.then(|| NotOurs::Foreign {
            path: path.to_owned(),
            user: found.uid(),
        })
    }
}

/// All of a file that nobody else could have written or put there.
///
/// # Errors
/// It cannot be read. Of the kind [`io::ErrorKind::InvalidData`] and with a [`NotOurs`] in it: somebody else could have.
pub fn read_ours(path: &Path) -> io::Result<Vec<u8>> {
    let owners = Owners::of_process();
    // a pipe must not be waited for
    let mut file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let folder = path.parent().and_then(|folder| owners.fault(folder));
    if let Some(fault) = folder.or_else(|| owners.of_file(path, &found)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_open(found: &Metadata) -> bool {
    found.mode() & WRITABLE_BY_OTHERS != 0
}

const WRITABLE_BY_OTHERS: u32 = 0o002;
/// Far more than is ever kept; a longer file cannot be parsed.
const MAX_FILE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn allow(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_somebody_else_could_have_written_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::write(&path, "mine").unwrap();
        allow(&path, 0o660);
        allow(folder.path(), 0o770);
        assert_eq!(read_ours(&path).unwrap(), b"mine");

        allow(&path, 0o602);
        let error = read_ours(&path).unwrap_err().to_string();
        assert!(error.ends_with(&format!("chmod o-w {}", path.display())));
        allow(&path, 0o600);
        // whoever may write to the folder may put another file there; that it is sticky changes nothing for a new one
        for mode in [0o777, 0o1777] {
            allow(folder.path(), mode);
            let error = read_ours(&path).unwrap_err().to_string();
            assert!(
                error.ends_with(&format!("chmod o-w {}", folder.path().display())),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_of_another_user_is_nobodys_word_but_his() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::write(&path, "mine").unwrap();
        assert_eq!(Owners::of_process().fault(&path), None);
        assert_eq!(Owners::of_folder(folder.path()).fault(&path), None);
        let fault = Owners(vec![u32::MAX]).fault(&path).unwrap();
        assert!(fault.to_string().contains("belongs to another user"));
        assert_eq!(Owners(Vec::new()).fault(&folder.path().join("none")), None);
    }
}
