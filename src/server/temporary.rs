//! Origins that `doorward allow` gave for a while: their file in the state directory, and how they join the rules. Floor 4.
//!
//! They stand in no file of a person's. Whatever goes wrong here loses permissions and never gives one: a file that cannot be
//! read, or that somebody else could have written, is put aside, and a clock that cannot be right counts all of them as expired.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::spoken_network,
    net::{
        certificate::{make_folder, write_atomically},
        read_ours,
    },
    policy::{AboveCeiling, From, Names, Origin, Rules},
    session::AUDIT,
};

/// One of them, as its file and the commands have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// `tmp-<user>-<4 digits>`.
    pub name: String,
    /// An address or a network.
    pub address: String,
    pub user: String,
    /// Any where there is none.
    pub database: Option<String>,
    pub listener: String,
    #[serde(with = "moment")]
    pub expires: SystemTime,
    #[serde(with = "moment")]
    pub given: SystemTime,
    /// Who asked for it.
    pub by: String,
    pub note: Option<String>,
}

impl Given {
    /// The rule that it is.
    ///
    /// # Errors
    /// The address is none.
    pub(super) fn origin(&self) -> Result<Origin, String> {
        let network = spoken_network(&self.address)?;
        let listed = |name: &String| Names::Listed(vec![name.clone()]);
        Ok(Origin {
            temporary: true,
            listeners: listed(&self.listener),
            users: listed(&self.user),
            databases: self.database.as_ref().map_or(Names::Any, listed),
            expires: Some(self.expires),
            note: self.note.as_deref().map(Arc::from),
            ..Origin::new(&*self.name, vec![From::Network(network)])
        })
    }

    /// Whether it admits the same as another, for however long.
    pub(super) fn admits_as(&self, other: &Self) -> bool {
        (&self.address, &self.user, &self.database, &self.listener)
            == (
                &other.address,
                &other.user,
                &other.database,
                &other.listener,
            )
    }
}

/// Why one of them holds no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lapse {
    #[error("it has expired")]
    Expired,
    #[error("the file has an origin of this name now")]
    NameTaken,
    #[error("it is above the ceiling now: {0}")]
    Above(AboveCeiling),
    #[error("its address cannot be read: {0}")]
    Unreadable(String),
}

/// Rules with the temporary origins that hold.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) rules: Rules,
    pub(super) given: Vec<Given>,
    pub(super) lapsed: Vec<(String, Lapse)>,
}

/// Appends to the file's rules what was given and still holds under them.
pub(super) fn join(mut rules: Rules, given: Vec<Given>, now: SystemTime) -> Joined {
    rules.origins.retain(|origin| !origin.temporary);
    let mut origins = Vec::new();
    let (mut held, mut lapsed) = (Vec::new(), Vec::new());
    for given in given {
        match holding(&rules, &given, now) {
            Ok(origin) => {
                origins.push(Arc::new(origin));
                held.push(given);
            }
            Err(lapse) => lapsed.push((given.name, lapse)),
        }
    }
    rules.origins.extend(origins);
    Joined {
        rules,
        given: held,
        lapsed,
    }
}

fn holding(rules: &Rules, given: &Given, now: SystemTime) -> Result<Origin, Lapse> {
    if given.expires <= now {
        return Err(Lapse::Expired);
    }
    if rules
        .origins
        .iter()
        .any(|origin| *origin.name == *given.name)
    {
        return Err(Lapse::NameTaken);
    }
    let origin = given.origin().map_err(Lapse::Unreadable)?;
    // how long it may hold is counted from when it was given
    let from = now.max(given.given);
    rules.bears(&origin, from).map_err(Lapse::Above)?;
    Ok(origin)
}

impl Joined {
    pub(super) fn tell_lapses(&self) {
        for (name, lapse) in &self.lapsed {
            tracing::info!(target: AUDIT, event = "temporary_lapsed", origin = name, cause = %lapse);
        }
    }
}

/// Those that were given, in memory and in their file.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    given: Mutex<Vec<Given>>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    origins: Vec<Given>,
}

impl Book {
    /// Reads the file, if there is one. Blocks on the disk.
    pub(super) fn open(state_dir: &Path, now: SystemTime) -> Self {
        let path = state_dir.join(FILE);
        let mut given = read(&path);
        if now < built() && !given.is_empty() {
            tracing::error!(
                event = "clock_wrong",
                "the clock stands before this program was built: all temporary origins count as expired"
            );
            given.clear();
        }
        Self {
            path,
            given: Mutex::new(given),
        }
    }

    pub(super) fn all(&self) -> Vec<Given> {
        self.lock().clone()
    }

    /// Has these from now on, once they are on the disk. Blocks on it.
    ///
    /// # Errors
    /// They cannot be written; the old ones stay.
    pub(super) fn keep(&self, given: Vec<Given>) -> io::Result<()> {
        let mut kept = self.lock();
        if *kept == given {
            return Ok(());
        }
        let written = Written {
            version: VERSION,
            origins: given,
        };
        let mut text = serde_json::to_vec_pretty(&written)?;
        text.push(b'\n');
        if let Some(folder) = self.path.parent() {
            make_folder(folder)?;
        }
        write_atomically(&self.path, &text, OWNER)?;
        *kept = written.origins;
        Ok(())
    }

    /// The same where nobody waits for the answer: what is not written lapses by its own time.
    pub(super) fn keep_or_tell(&self, given: Vec<Given>) {
        if let Err(error) = self.keep(given) {
            tracing::error!(event = "temporary_not_kept", path = %self.path.display(), cause = %error);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Vec<Given> {
    let cause = match read_ours(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => error.to_string(),
        Ok(text) => match serde_json::from_slice::<Written>(&text) {
            Ok(written) if written.version != VERSION => {
                format!("version {} is not known", written.version)
            }
            Ok(written) => return written.origins,
            Err(error) => error.to_string(),
        },
    };
    let aside = path.with_extension("json.damaged");
    let kept = fs::rename(path, &aside).is_ok();
    tracing::error!(
        event = "temporary_damaged",
        path = %path.display(),
        kept = kept.then(|| aside.display().to_string()),
        cause,
        "the temporary origins are lost; give them again with doorward allow"
    );
    Vec::new()
}

/// When this program was made, as far as it knows.
fn built() -> SystemTime {
    let seconds = env!("DOORWARD_BUILT").parse().unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// RFC 3339, in whole seconds.
mod moment {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::server::status::rfc3339;

    pub(super) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&rfc3339(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        let at: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(at.into())
    }
}

/// In the state directory.
pub(super) const FILE: &str = "temporary.json";
const VERSION: u32 = 1;
const OWNER: u32 = 0o600;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::policy::samples::{origin, rules};

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
    }

    fn given(name: &str) -> Given {
        Given {
            name: name.to_owned(),
            address: "203.0.113.9/32".to_owned(),
            user: "anna".to_owned(),
            database: Some("shop".to_owned()),
            listener: "pg".to_owned(),
            expires: now() + Duration::from_secs(60),
            given: now(),
            by: "root (uid 0)".to_owned(),
            note: None,
        }
    }

    #[test]
    fn what_was_given_is_there_after_a_start_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let book = Book::open(&state, now());
        assert!(book.all().is_empty());
        book.keep(vec![given("tmp-anna-0001")]).unwrap();
        let mode = fs::metadata(book.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Book::open(&state, now()).all(), [given("tmp-anna-0001")]);
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_gives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for text in ["", "{", r#"{"version":2,"origins":[]}"#, "\u{0}\u{0}"] {
            fs::write(&path, text).unwrap();
            assert!(Book::open(folder.path(), now()).all().is_empty());
            assert!(!path.exists(), "{text}");
            let aside = folder.path().join("temporary.json.damaged");
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
        }
    }

    #[test]
    fn a_file_that_somebody_else_could_have_written_gives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let book = Book::open(&state, now());
        let allow = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (open, mode, shut) in [
            (state.as_path(), 0o1777, 0o711),
            (book.path(), 0o606, 0o600),
        ] {
            book.keep(vec![given("tmp-anna-0001")]).unwrap();
            book.keep(vec![given("tmp-anna-0002")]).unwrap();
            allow(open, mode);
            assert!(Book::open(&state, now()).all().is_empty(), "{mode:o}");
            assert!(!book.path().exists(), "put aside");
            if open.exists() {
                allow(open, shut);
            }
        }
    }

    #[test]
    fn a_clock_before_the_build_gives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path(), now());
        book.keep(vec![given("tmp-anna-0001")]).unwrap();
        let wrong = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        assert!(wrong < built(), "the build knows its date");
        assert!(Book::open(folder.path(), wrong).all().is_empty());
    }

    #[test]
    fn what_holds_joins_the_rules_and_the_rest_lapses() {
        let expired = Given {
            expires: now(),
            ..given("tmp-anna-0002")
        };
        let taken = given("tmp-anna-0003");
        let above = Given {
            user: "postgres".to_owned(),
            ..given("tmp-anna-0004")
        };
        let no_address = Given {
            address: "everywhere".to_owned(),
            ..given("tmp-anna-0005")
        };
        let file = || rules(vec![origin("tmp-anna-0003", &["192.0.2.1"])], Vec::new());
        let all = vec![given("tmp-anna-0001"), expired, taken, above, no_address];
        let joined = join(file(), all, now());
        let names: Vec<_> = joined.rules.origins.iter().map(|o| &*o.name).collect();
        assert_eq!(names, ["tmp-anna-0003", "tmp-anna-0001"]);
        assert!(joined.rules.origins.last().unwrap().temporary);
        assert_eq!(joined.given, [given("tmp-anna-0001")]);
        let lapsed: Vec<_> = joined.lapsed.iter().map(|(name, _)| &**name).collect();
        assert_eq!(
            lapsed,
            [
                "tmp-anna-0002",
                "tmp-anna-0003",
                "tmp-anna-0004",
                "tmp-anna-0005"
            ]
        );
        // joined again, nothing is there twice
        let again = join(joined.rules, joined.given, now());
        assert_eq!(again.rules.origins.len(), 2);
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_takes_nothing_away() {
        let full = Given {
            expires: now() + Duration::from_secs(8 * 60 * 60),
            ..given("tmp-anna-0001")
        };
        let before = now() - Duration::from_secs(30);
        let joined = join(rules(Vec::new(), Vec::new()), vec![full], before);
        assert_eq!(joined.lapsed, []);
    }
}
