//! Logins that the database refused, by source and user: whoever guesses passwords from a permitted place is slowed down. Floor 3.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::gate::Source;
use crate::policy::Claim;

/// Bounded, see [`MOST`]. Who comes again and again is forgotten last.
#[derive(Debug, Default)]
pub(super) struct Failures {
    hasher: RandomState,
    /// By the hash of source and user.
    seen: Mutex<HashMap<u64, Seen>>,
}

/// Counted from the first failure on, for a minute.
#[derive(Debug)]
struct Seen {
    times: u32,
    until: Instant,
}

impl Failures {
    /// The database has not believed the claim's user.
    pub(super) fn note(&self, claim: &Claim, now: Instant) {
        let pair = self.pair(claim);
        let mut seen = self.lock();
        if seen.len() >= MOST && !seen.contains_key(&pair) {
            seen.retain(|_, seen| now < seen.until && seen.times > 1);
            if seen.len() >= MOST {
                return;
            }
        }
        let fresh = || Seen {
            times: 0,
            until: now + WITHIN,
        };
        let counted = seen.entry(pair).or_insert_with(fresh);
        if counted.until <= now {
            *counted = fresh();
        }
        counted.times = counted.times.saturating_add(1);
    }

    /// Whether the claim's user has failed so often from there that the rest of the minute has to pass first.
    pub(super) fn bar(&self, claim: &Claim, most: u32, now: Instant) -> bool {
        let seen = self.lock();
        if seen.is_empty() {
            return false;
        }
        let counted = seen.get(&self.pair(claim));
        counted.is_some_and(|seen| now < seen.until && seen.times >= most)
    }

    fn pair(&self, claim: &Claim) -> u64 {
        self.hasher
            .hash_one((Source::of(claim.address), &claim.user))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const WITHIN: Duration = Duration::from_secs(60);
/// Pairs that are counted at a time.
const MOST: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::claim;

    #[tokio::test(start_paused = true)]
    async fn who_fails_too_often_waits_for_the_rest_of_the_minute_and_nobody_else_does() {
        let (failures, start) = (Failures::default(), Instant::now());
        let (app, web) = (
            claim("pg", "192.0.2.7", "app"),
            claim("pg", "192.0.2.7", "web"),
        );
        for second in 0..3 {
            assert!(!failures.bar(&app, 3, start));
            failures.note(&app, start + Duration::from_secs(second));
        }
        assert!(failures.bar(&app, 3, start + Duration::from_secs(59)));
        assert!(!failures.bar(&app, 4, start), "another origin's limit");
        assert!(!failures.bar(&web, 3, start), "another user");
        assert!(
            !failures.bar(&claim("pg", "192.0.2.8", "app"), 3, start),
            "another source"
        );
        assert!(!failures.bar(&app, 3, start + WITHIN));
        failures.note(&app, start + WITHIN);
        assert!(!failures.bar(&app, 3, start + WITHIN), "counted anew");
    }

    #[tokio::test(start_paused = true)]
    async fn many_names_push_out_nobody_who_is_guessed_at() {
        let (failures, now) = (Failures::default(), Instant::now());
        let app = claim("pg", "192.0.2.7", "app");
        failures.note(&app, now);
        failures.note(&app, now);
        for number in 0..2 * MOST {
            failures.note(&claim("pg", "192.0.2.7", &number.to_string()), now);
        }
        assert!(failures.bar(&app, 2, now));
        assert!(failures.lock().len() <= MOST);
    }
}
