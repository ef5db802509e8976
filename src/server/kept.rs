//! What the gateway keeps in its state directory, and whether somebody else could have written it. Floor 4.

use std::path::Path;

use super::{accounts, source, temporary};
use crate::net::{ClientAuthority, NotOurs, Owners, certificate::Authority};

/// What is wrong with the state directory and the files in it.
pub fn not_ours(state_dir: &Path, owners: &Owners) -> Vec<NotOurs> {
    let folder = |name: &str, files: [&str; 4]| {
        let folder = state_dir.join(name);
        let files = files.map(|file| folder.join(file));
        [folder].into_iter().chain(files)
    };
    let files = [temporary::FILE, source::LAST_GOOD, accounts::SECRET];
    let kept = [state_dir.to_owned()].into_iter();
    let kept = kept
        .chain(files.map(|file| state_dir.join(file)))
        .chain(folder(Authority::FOLDER, Authority::FILES))
        .chain(folder(ClientAuthority::FOLDER, ClientAuthority::FILES));
    kept.filter_map(|path| owners.fault(&path)).collect()
}

/// Says it, loudly, at the start.
pub(super) fn tell_not_ours(state_dir: &Path) {
    for fault in not_ours(state_dir, &Owners::of_process()) {
        tracing::error!(
            event = "state_not_ours",
            cause = %fault,
            "somebody else may have written what this gateway goes by"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
        path::PathBuf,
        time::SystemTime,
    };

    use super::*;

    /// Opens all that is there to everybody, and tells it but the locks.
    fn open_to_everybody(path: PathBuf, all: &mut Vec<PathBuf>) {
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        for entry in fs::read_dir(&path).into_iter().flatten() {
            open_to_everybody(entry.unwrap().path(), all);
        }
        if !path.ends_with(".lock") {
            all.push(path);
        }
    }

    #[test]
    fn nothing_that_is_kept_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (state_dir, now) = (folder.path(), SystemTime::now());
        for file in ["temporary.json", "allowlist.last-good.json", "scram.secret"] {
            fs::write(state_dir.join(file), "").unwrap();
        }
        let names = BTreeSet::from(["localhost".to_owned()]);
        Authority::new(state_dir).identity(&names, now).unwrap();
        let clients = ClientAuthority::new(state_dir.join("clients"));
        clients.found(now).unwrap();
        fs::create_dir(state_dir.join("clients/issued")).unwrap();
        assert_eq!(not_ours(state_dir, &Owners::of_process()), []);

        let mut open = Vec::new();
        open_to_everybody(state_dir.to_owned(), &mut open);
        let faults = not_ours(state_dir, &Owners::of_process());
        let missing: Vec<_> = open
            .into_iter()
            .map(NotOurs::Writable)
            .filter(|fault| !faults.contains(fault))
            .collect();
        assert_eq!(missing, []);
    }
}
