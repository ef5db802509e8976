//! The cancel keys of live sessions, so that a cancel is held against the origin of the session it is for. Floor 3.
//!
//! The keys are the server's own, passed through, so a gateway that does not know a key can still forward it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{policy::Origin, wire::postgres::CancelKey};

/// Sessions by listener and process number.
#[derive(Debug, Default)]
pub(super) struct SessionTable {
    sessions: Mutex<HashMap<(Arc<str>, u32), Entry>>,
}

struct Entry {
    key: CancelKey,
    origin: Arc<Origin>,
    /// Tells an entry from a later one under the same key: a restarted server deals numbers anew.
    owner: Arc<()>,
}

/// A session's line in the table; it goes when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    table: Arc<SessionTable>,
    place: (Arc<str>, u32),
    owner: Arc<()>,
}

impl SessionTable {
    pub(super) fn register(
        self: &Arc<Self>,
        listener: &Arc<str>,
        key: CancelKey,
        origin: &Arc<Origin>,
    ) -> Registration {
        let owner = Arc::new(());
        let place = (Arc::clone(listener), key.process);
        let entry = Entry {
            key,
            origin: Arc::clone(origin),
            owner: Arc::clone(&owner),
        };
        self.lock().insert(place.clone(), entry);
        Registration {
            table: Arc::clone(self),
            place,
            owner,
        }
    }

    /// The origin of the session that the key belongs to, if this gateway knows it.
    pub(super) fn owner(&self, listener: &Arc<str>, key: &CancelKey) -> Option<Arc<Origin>> {
        let sessions = self.lock();
        let entry = sessions.get(&(Arc::clone(listener), key.process))?;
        entry.key.fits(key).then(|| Arc::clone(&entry.origin))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Arc<str>, u32), Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// The session was decided again and now belongs to another origin, or to the same one of a newer policy.
    pub(super) fn move_to(&self, origin: &Arc<Origin>) {
        if let Some(entry) = self.table.lock().get_mut(&self.place)
            && Arc::ptr_eq(&entry.owner, &self.owner)
        {
            entry.origin = Arc::clone(origin);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sessions = self.table.lock();
        if sessions
            .get(&self.place)
            .is_some_and(|entry| Arc::ptr_eq(&entry.owner, &self.owner))
        {
            sessions.remove(&self.place);
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("origin", &self.origin.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples;

    fn origin(name: &str) -> Arc<Origin> {
        Arc::new(samples::origin(name, &["any"]))
    }

    fn key(process: u32, secret: &[u8]) -> CancelKey {
        CancelKey {
            process,
            secret: secret.into(),
        }
    }

    #[test]
    fn a_key_is_known_as_long_as_its_session_lives_and_only_whole() {
        let table = Arc::new(SessionTable::default());
        let listener: Arc<str> = "pg".into();
        let session = table.register(&listener, key(7, b"abcd"), &origin("shop"));
        assert_eq!(
            &*table.owner(&listener, &key(7, b"abcd")).unwrap().name,
            "shop"
        );
        assert!(table.owner(&listener, &key(7, b"abce")).is_none());
        assert!(table.owner(&listener, &key(7, b"abc")).is_none());
        assert!(table.owner(&"other".into(), &key(7, b"abcd")).is_none());
        session.move_to(&origin("blog"));
        assert_eq!(
            &*table.owner(&listener, &key(7, b"abcd")).unwrap().name,
            "blog"
        );
        drop(session);
        assert!(table.owner(&listener, &key(7, b"abcd")).is_none());
    }

    #[test]
    fn the_end_of_an_old_session_leaves_a_new_one_with_its_number_alone() {
        let table = Arc::new(SessionTable::default());
        let listener: Arc<str> = "pg".into();
        let old = table.register(&listener, key(7, b"abcd"), &origin("shop"));
        let _new = table.register(&listener, key(7, b"wxyz"), &origin("shop"));
        drop(old);
        assert!(table.owner(&listener, &key(7, b"wxyz")).is_some());
    }
}
