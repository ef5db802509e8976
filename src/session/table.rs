//! The cancel keys of a listener's live sessions, so that a cancel is held against the origin of the session it is for. Floor 3.
//!
//! The keys are the server's own, passed through, so a gateway that does not know a key can still forward it.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::wire::postgres::CancelKey;

/// The sessions of one listener by the number of their server process.
#[derive(Debug, Default)]
pub(super) struct SessionTable {
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_process: HashMap<u32, Entry>,
    /// Counts the entries; it may begin anew.
    made: u32,
}

struct Entry {
    key: CancelKey,
    owner: Owner,
    /// Tells an entry from a later one under the same number: a restarted server deals numbers anew.
    number: u32,
}

/// Whose a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The name of the origin that admits the session.
    pub(super) origin: Arc<str>,
    /// Where the session comes from.
    pub(super) address: IpAddr,
}

/// A session's line in the table; it goes when dropped. Small, for every session has one.
#[derive(Debug)]
pub(super) struct Registration {
    table: Arc<SessionTable>,
    process: u32,
    number: u32,
}

impl SessionTable {
    pub(super) fn register(self: &Arc<Self>, key: CancelKey, owner: Owner) -> Registration {
        let mut sessions = self.lock();
        sessions.made = sessions.made.wrapping_add(1);
        let (process, number) = (key.process, sessions.made);
        let entry = Entry { key, owner, number };
        sessions.by_process.insert(process, entry);
        Registration {
            table: Arc::clone(self),
            process,
            number,
        }
    }

    /// Whose session the key belongs to, if this gateway knows it.
    pub(super) fn owner(&self, key: &CancelKey) -> Option<Owner> {
        let sessions = self.lock();
        let entry = sessions.by_process.get(&key.process)?;
        entry.key.fits(key).then(|| entry.owner.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// What the session can be cancelled with; `None` when a later one has its number.
    pub(super) fn key(&self) -> Option<CancelKey> {
        let sessions = self.table.lock();
        let entry = sessions.by_process.get(&self.process)?;
        (entry.number == self.number).then(|| entry.key.clone())
    }

    /// The session was decided again and may belong to another origin now.
    pub(super) fn move_to(&self, origin: &str) {
        if let Some(entry) = self.table.lock().by_process.get_mut(&self.process)
            && entry.number == self.number
            && *entry.owner.origin != *origin
        {
            entry.owner.origin = origin.into();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sessions = self.table.lock();
        let entry = sessions.by_process.get(&self.process);
        if entry.is_some_and(|entry| entry.number == self.number) {
            sessions.by_process.remove(&self.process);
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(process: u32, secret: &[u8]) -> CancelKey {
        CancelKey {
            process,
            secret: secret.into(),
        }
    }

    fn of(origin: &str) -> Owner {
        Owner {
            origin: origin.into(),
            address: "192.0.2.7".parse().unwrap(),
        }
    }

    #[test]
    fn a_key_is_known_as_long_as_its_session_lives_and_only_whole() {
        let table = Arc::new(SessionTable::default());
        let session = table.register(key(7, b"abcd"), of("shop"));
        assert_eq!(table.owner(&key(7, b"abcd")), Some(of("shop")));
        assert!(table.owner(&key(7, b"abce")).is_none());
        assert!(table.owner(&key(7, b"abc")).is_none());
        assert!(table.owner(&key(8, b"abcd")).is_none());
        session.move_to("blog");
        assert_eq!(table.owner(&key(7, b"abcd")), Some(of("blog")));
        drop(session);
        assert!(table.owner(&key(7, b"abcd")).is_none());
    }

    #[test]
    fn the_end_of_an_old_session_leaves_a_new_one_with_its_number_alone() {
        let table = Arc::new(SessionTable::default());
        let old = table.register(key(7, b"abcd"), of("shop"));
        let _new = table.register(key(7, b"wxyz"), of("shop"));
        drop(old);
        assert!(table.owner(&key(7, b"wxyz")).is_some());
    }
}
