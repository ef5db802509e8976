//! What is found out about an origin while somebody looks closer at it. Floor 1.
//!
//! Nobody looks most of the time, and then a session asks one atomic word. What a statement says is not known here: two of them
//! are equal or not.

use std::{
    hash::RandomState,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::runs::Run;

/// The closer look at one origin on one listener.
#[derive(Debug)]
pub(super) struct Watch {
    begun: Instant,
    /// Milliseconds after `begun`; nought while nobody looks.
    until: AtomicU64,
    /// Fingerprints of one process tell nothing to another one, nor to who reads them.
    key: RandomState,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    runs: Vec<Kept>,
    set_up: SetUp,
}

#[derive(Debug)]
struct Kept {
    statement: u64,
    repeated: Repeated,
}

/// One query that was asked again and again in a row, where asking once would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// How many times in the longest of its runs.
    pub length: u32,
    /// How many such runs were seen.
    pub times: u32,
    /// What that longest run took, from its first query to what would have been the next one, without what the client thought
    /// meanwhile: more cannot be saved.
    pub saves: Duration,
    /// The end of the last run.
    pub seen: SystemTime,
}

/// What sessions asked before their first piece of work: settings, versions, names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetUp {
    /// Sessions that began while somebody looked, and came as far as a piece of work or their end.
    pub sessions: u64,
    /// Of all of them together.
    pub statements: u64,
    /// From the first of these statements to the first one that was none.
    pub took: Duration,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            until: AtomicU64::new(0),
            key: RandomState::new(),
            found: Mutex::default(),
        }
    }

    /// From now on, and at least until then. What an earlier look has found is forgotten when a new one begins.
    pub(super) fn begin(&self, now: Instant, until: Instant) {
        let until = millis(until.saturating_duration_since(self.begun)).max(1);
        if !self.is_on(now) {
            *self.found() = Found::default();
        }
        self.until.fetch_max(until, Relaxed);
    }

    /// Whether somebody looks.
    #[inline]
    pub(super) fn might_be_on(&self) -> bool {
        self.until.load(Relaxed) != 0
    }

    pub(super) fn is_on(&self, now: Instant) -> bool {
        let until = self.until.load(Relaxed);
        if until == 0 {
            return false;
        }
        let on = millis(now.saturating_duration_since(self.begun)) < until;
        if !on {
            // unless somebody begins anew at this moment
            let _ended = self.until.compare_exchange(until, 0, Relaxed, Relaxed);
        }
        on
    }

    pub(super) const fn key(&self) -> &RandomState {
        &self.key
    }

    /// The dearest first.
    pub(super) fn repeated(&self) -> Vec<Repeated> {
        let mut all: Vec<_> = self.found().runs.iter().map(|kept| kept.repeated).collect();
        all.sort_by_key(|repeated| std::cmp::Reverse(repeated.saves));
        all
    }

    pub(super) fn set_up(&self) -> SetUp {
        self.found().set_up
    }

    pub(super) fn found_run(&self, run: Run, now: SystemTime) {
        let new = Repeated {
            length: run.length,
            times: 1,
            saves: run.took.as_duration(),
            seen: now,
        };
        let runs = &mut self.found().runs;
        if let Some(kept) = runs.iter_mut().find(|kept| kept.statement == run.statement) {
            let old = kept.repeated;
            let longer = if new.saves > old.saves { new } else { old };
            kept.repeated = Repeated {
                times: old.times.saturating_add(1),
                seen: now,
                ..longer
            };
            return;
        }
        runs.push(Kept {
            statement: run.statement,
            repeated: new,
        });
        if runs.len() > MOST_KEPT {
            let dear = |kept: &Kept| kept.repeated.saves * kept.repeated.times;
            let cheapest = runs.iter().enumerate().min_by_key(|(_, kept)| dear(kept));
            if let Some((place, _)) = cheapest {
                runs.swap_remove(place);
            }
        }
    }

    pub(super) fn found_set_up(&self, statements: u32, took: Duration) {
        let set_up = &mut self.found().set_up;
        set_up.sessions += 1;
        set_up.statements += u64::from(statements);
        set_up.took += took;
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Different queries of one origin.
const MOST_KEPT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Nanos;

    const fn run(statement: u64, length: u32, millis: u64) -> Run {
        Run {
            statement,
            length,
            took: Nanos::from_millis(millis),
        }
    }

    fn watch() -> (Watch, Instant) {
        let now = Instant::now();
        (Watch::new(now), now)
    }

    #[test]
    fn a_look_ends_at_its_time_and_a_new_one_forgets_the_old() {
        let (watch, now) = watch();
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(!watch.might_be_on());
        watch.begin(now, after(10));
        watch.begin(now, after(5));
        assert!(watch.might_be_on());
        assert!(watch.is_on(after(9)));
        watch.found_run(run(1, 5, 60), SystemTime::now());
        watch.begin(after(9), after(12));
        assert_eq!(watch.repeated().len(), 1);
        assert!(!watch.is_on(after(12)));
        assert!(!watch.might_be_on());
        assert_eq!(watch.repeated().len(), 1, "it can still be read");
        watch.begin(after(20), after(30));
        assert_eq!(watch.repeated(), []);
    }

    #[test]
    fn the_longest_run_of_a_query_is_kept_and_all_are_counted() {
        let (watch, _) = watch();
        for millis in [60, 90, 70] {
            watch.found_run(run(1, 5, millis), SystemTime::UNIX_EPOCH);
        }
        let seen = SystemTime::UNIX_EPOCH;
        let saves = Duration::from_millis(90);
        let (length, times) = (5, 3);
        let kept = Repeated {
            length,
            times,
            saves,
            seen,
        };
        assert_eq!(watch.repeated(), [kept]);
    }

    #[test]
    fn however_many_queries_there_are_only_the_dearest_are_kept() {
        let (watch, _) = watch();
        for statement in 0..1000 {
            watch.found_run(run(statement, 5, 60 + statement), SystemTime::now());
        }
        let kept = watch.repeated();
        assert_eq!(kept.len(), MOST_KEPT);
        assert_eq!(kept[0].saves, Duration::from_millis(1059));
        assert_eq!(kept[MOST_KEPT - 1].saves, Duration::from_millis(1052));
    }
}
