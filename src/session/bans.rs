//! Strangers that have failed too often, and are not heard for a while. Floor 3.
//!
//! Only those are counted whom no origin mentions and no certificate proves: who is known is throttled and told so, for a ban
//! would most often hit the owner.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::gate::Source;
use crate::policy::Ban;

/// A source that is not heard, as `doorward bans` tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanLine {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    pub source: String,
    /// For which it was banned.
    pub failures: u32,
    pub until: SystemTime,
}

/// Bounded: beyond [`MOST`] at a time, newcomers are not counted. They reach nothing that a ban would spare.
#[derive(Debug, Default)]
pub(super) struct Bans {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    failing: HashMap<Source, Failing>,
    banned: HashMap<Source, Banned>,
    swept: Option<Instant>,
}

/// Counted from the first failure on, until the time within which failures count is over.
#[derive(Debug)]
struct Failing {
    times: u32,
    until: Instant,
}

#[derive(Debug)]
struct Banned {
    failures: u32,
    until: Instant,
    /// When it was last told something.
    told: Instant,
}

impl Bans {
    pub(super) fn holds(&self, source: Source, now: Instant) -> bool {
        let known = self.lock();
        let banned = known.banned.get(&source);
        banned.is_some_and(|banned| now < banned.until)
    }

    /// Whether a banned source may read that it is: one that comes seldom, which may be a program that somebody is mending. Many
    /// drivers take a close without a word for a server that is about to come back, and try for ever.
    pub(super) fn may_tell(&self, source: Source, now: Instant) -> bool {
        let mut known = self.lock();
        let banned = known.banned.get_mut(&source);
        banned.is_some_and(|banned| {
            let seldom = now.saturating_duration_since(banned.told) >= SELDOM;
            if seldom {
                banned.told = now;
            }
            seldom
        })
    }

    /// Counts a failure. Tells whether it is the one by which the source is banned: what was in progress then fails later, and is
    /// no news.
    pub(super) fn failed(&self, source: Source, terms: Ban, now: Instant) -> bool {
        let mut known = self.lock();
        known.sweep_at_times(now);
        let Known {
            failing, banned, ..
        } = &mut *known;
        if banned.get(&source).is_some_and(|held| now < held.until) {
            return false;
        }
        if terms.after == 0 || (failing.len() >= MOST && !failing.contains_key(&source)) {
            return false;
        }
        let fresh = || Failing {
            times: 0,
            until: now + terms.within,
        };
        let counted = failing.entry(source).or_insert_with(fresh);
        if counted.until <= now {
            *counted = fresh();
        }
        counted.times = counted.times.saturating_add(1);
        let failures = counted.times;
        if failures < terms.after || banned.len() >= MOST {
            return false;
        }
        failing.remove(&source);
        let until = now + terms.length;
        let entry = Banned {
            failures,
            until,
            told: now,
        };
        banned.insert(source, entry);
        true
    }

    /// Those that hold, the last to end first.
    pub(super) fn all(&self, now: Instant) -> Vec<BanLine> {
        let mut known = self.lock();
        known.sweep(now);
        let mut all: Vec<_> = known.banned.iter().collect();
        all.sort_by_key(|(_, banned)| std::cmp::Reverse(banned.until));
        let wall = SystemTime::now();
        all.into_iter()
            .map(|(source, banned)| BanLine {
                source: source.to_string(),
                failures: banned.failures,
                until: wall + banned.until.saturating_duration_since(now),
            })
            .collect()
    }

    /// How many hold.
    pub(super) fn count(&self, now: Instant) -> usize {
        let mut known = self.lock();
        known.sweep(now);
        known.banned.len()
    }

    /// Hears a source again, and forgets its failures. `false`: it was not banned.
    pub(super) fn lift(&self, source: Source, now: Instant) -> bool {
        let mut known = self.lock();
        known.failing.remove(&source);
        let lifted = known.banned.remove(&source);
        lifted.is_some_and(|banned| now < banned.until)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn sweep_at_times(&mut self, now: Instant) {
        let due = |last: Instant| now.saturating_duration_since(last) >= SWEEP;
        if self.swept.is_none_or(due) {
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        self.failing.retain(|_, counted| now < counted.until);
        self.banned.retain(|_, banned| now < banned.until);
    }
}

/// Sources that are counted at a time, and sources that are banned at a time.
const MOST: usize = 65_536;
const SWEEP: Duration = Duration::from_secs(10);

/// How often a banned source is told so.
const SELDOM: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    fn terms(after: u32) -> Ban {
        Ban {
            after,
            within: Duration::from_secs(60),
            length: Duration::from_secs(900),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_too_often_is_not_heard_for_a_while_and_nobody_else_is_hit() {
        let (bans, now) = (Bans::default(), Instant::now());
        let failed = |times: u32| {
            (0..times)
                .filter(|_| bans.failed(source("2001:db8::1"), terms(10), now))
                .count()
        };
        assert_eq!(failed(9), 0);
        assert!(!bans.holds(source("2001:db8::1"), now));
        assert_eq!(failed(1), 1);
        assert!(bans.holds(source("2001:db8::77"), now), "the same /64");
        assert!(!bans.holds(source("2001:db8:0:1::1"), now));
        let line = &bans.all(now)[0];
        assert_eq!((line.source.as_str(), line.failures), ("2001:db8::/64", 10));
        let over = now + Duration::from_secs(900);
        assert!(!bans.holds(source("2001:db8::1"), over));
        assert_eq!((bans.count(now), bans.count(over)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_banned_is_told_so_now_and_then_and_not_as_often_as_it_comes() {
        let (bans, now) = (Bans::default(), Instant::now());
        assert!(!bans.may_tell(source("192.0.2.7"), now), "it is not");
        bans.failed(source("192.0.2.7"), terms(1), now);
        let told = (0..200).filter(|tenth| {
            let then = now + Duration::from_millis(100) * *tenth;
            bans.may_tell(source("192.0.2.7"), then)
        });
        assert_eq!(told.count(), 3, "in 20 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_in_progress_when_its_source_was_banned_makes_no_second_ban() {
        let (bans, now) = (Bans::default(), Instant::now());
        let failed = |times: u32, now| {
            (0..times)
                .filter(|_| bans.failed(source("192.0.2.7"), terms(10), now))
                .count()
        };
        assert_eq!(failed(70, now), 1);
        let later = now + Duration::from_secs(450);
        assert_eq!(failed(70, later), 0);
        let over = now + Duration::from_secs(900);
        assert!(!bans.holds(source("192.0.2.7"), over), "nor a longer one");
        assert_eq!(failed(9, over), 0, "counted anew");
        assert_eq!(failed(1, over), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_only_within_their_time() {
        let (bans, mut now) = (Bans::default(), Instant::now());
        for _ in 0..100 {
            assert!(!bans.failed(source("192.0.2.7"), terms(10), now));
            now += Duration::from_secs(7);
        }
        assert!(!bans.failed(source("192.0.2.8"), terms(0), now), "never");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_can_be_lifted_and_the_failures_are_forgotten_with_it() {
        let (bans, now) = (Bans::default(), Instant::now());
        assert!(!bans.failed(source("192.0.2.7"), terms(2), now));
        assert!(bans.failed(source("::ffff:192.0.2.7"), terms(2), now));
        assert!(bans.lift(source("192.0.2.7"), now));
        assert!(!bans.lift(source("192.0.2.7"), now), "there is none");
        assert!(!bans.holds(source("192.0.2.7"), now));
        assert!(!bans.failed(source("192.0.2.7"), terms(2), now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_everywhere_is_not_kept_without_bound() {
        let (bans, now) = (Bans::default(), Instant::now());
        for number in 0..100_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(number).into();
            bans.failed(Source::of(address), terms(1), now);
            bans.failed(Source::of(address), terms(2), now);
        }
        let known = bans.lock();
        assert!(known.failing.len() <= MOST && known.banned.len() <= MOST);
    }
}
