//! The live sessions, each with a number that an operator can name. Floor 3.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::time::Instant;

use crate::policy::{Claim, NO_ORIGIN, Origin, Permit};

/// A live session, as `doorward sessions` tells of it.
#[derive(Clone, Debug)]
pub struct SessionLine {
    /// Counted from the start of the gateway; never given twice.
    pub id: u64,
    pub claim: Arc<Claim>,
    /// The origin that admits it, or `_none`.
    pub origin: Arc<str>,
    pub since: SystemTime,
}

#[derive(Debug, Default)]
pub(super) struct Roll {
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    last: u64,
    by_id: HashMap<u64, Entry>,
}

/// Small, for idle sessions have one, too.
#[derive(Debug)]
struct Entry {
    claim: Arc<Claim>,
    /// `None`: admitted by an observation alone.
    origin: Option<Arc<Origin>>,
    began: Instant,
    /// The operator wants it to end.
    ends: bool,
}

/// A session's line in the roll; it goes when dropped.
#[derive(Debug)]
pub(super) struct Enrolled {
    roll: Arc<Roll>,
    id: u64,
}

impl Roll {
    pub(super) fn enroll(self: &Arc<Self>, claim: &Arc<Claim>, permit: &Permit) -> Enrolled {
        let mut sessions = self.lock();
        sessions.last += 1;
        let id = sessions.last;
        let entry = Entry {
            claim: Arc::clone(claim),
            origin: permit.origin().cloned(),
            began: Instant::now(),
            ends: false,
        };
        sessions.by_id.insert(id, entry);
        Enrolled {
            roll: Arc::clone(self),
            id,
        }
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<SessionLine> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let sessions = self.lock();
        let mut lines: Vec<_> = sessions
            .by_id
            .iter()
            .map(|(id, entry)| SessionLine {
                id: *id,
                claim: Arc::clone(&entry.claim),
                origin: entry.label(),
                since: wall - now.saturating_duration_since(entry.began),
            })
            .collect();
        lines.sort_by_key(|line| line.id);
        lines
    }

    /// Marks a session to be ended; it finds that when it is decided again. `false`: there is none of this number.
    pub(super) fn end(&self, id: u64) -> bool {
        let mut sessions = self.lock();
        let entry = sessions.by_id.get_mut(&id);
        entry.is_some_and(|entry| {
            entry.ends = true;
            true
        })
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Enrolled {
    /// The session is another one now, or admitted by another origin.
    pub(super) fn is_now(&self, claim: &Arc<Claim>, permit: &Permit) {
        if let Some(entry) = self.roll.lock().by_id.get_mut(&self.id) {
            entry.claim = Arc::clone(claim);
            entry.origin = permit.origin().cloned();
        }
    }

    pub(super) fn began(&self) -> Option<Instant> {
        let sessions = self.roll.lock();
        sessions.by_id.get(&self.id).map(|entry| entry.began)
    }

    /// Whether the operator wants it to end.
    pub(super) fn ends(&self) -> bool {
        let sessions = self.roll.lock();
        sessions.by_id.get(&self.id).is_some_and(|entry| entry.ends)
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.roll.lock().by_id.remove(&self.id);
    }
}

impl Entry {
    fn label(&self) -> Arc<str> {
        let origin = self.origin.as_ref();
        origin.map_or_else(|| NO_ORIGIN.into(), |origin| Arc::clone(&origin.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Unlimited, samples};

    #[test]
    fn a_session_is_in_the_roll_as_long_as_it_lives_and_can_be_told_to_end() {
        let roll = Arc::new(Roll::default());
        let claim = Arc::new(samples::claim("pg", "192.0.2.7", "app"));
        let rules = samples::rules(vec![samples::origin("all", &["192.0.2.7"])], Vec::new());
        let policy = samples::policy(rules);
        let (permit, ()) = policy
            .decide(&claim, SystemTime::now(), &Unlimited)
            .unwrap();
        let (first, second) = (roll.enroll(&claim, &permit), roll.enroll(&claim, &permit));
        let ids = |roll: &Roll| roll.all().iter().map(|line| line.id).collect::<Vec<_>>();
        assert_eq!(ids(&roll), [1, 2]);
        assert!(roll.end(2) && second.ends() && !first.ends());
        assert!(!roll.end(3));
        drop(second);
        assert_eq!(ids(&roll), [1]);
        assert_eq!(&*roll.all()[0].origin, "all");
    }
}
