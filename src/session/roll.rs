//! Whoever holds a permit: the live sessions, each with a number that an operator can name, and those that are logging in. When
//! what stands has changed, all of them are woken. Floor 3.

use std::{
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, SystemTime},
};

use slab::Slab;
use tokio::time::Instant;

use super::relay::Told;
use crate::policy::{Claim, NO_ORIGIN, Origin, Permit};

/// A live session, for people.
#[derive(Clone, Debug)]
pub struct SessionLine {
    /// Counted from the start of the gateway.
    pub id: u64,
    pub claim: Arc<Claim>,
    /// The origin that admits it, or `_none`.
    pub origin: Arc<str>,
    pub since: SystemTime,
    pub split: Split,
}

/// Where the time of one session went, as far as it has told. Less exact than the meters, for every session has one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Split {
    /// Microseconds; 0 where the kernel has none.
    pub client_rtt: u32,
    pub flights: u32,
    /// Seconds, as are the rest. The opening's round trips are not in it.
    pub network: f32,
    pub database: f32,
    pub transfer: f32,
    pub request: f32,
    pub idle_in_transaction: f32,
}

impl Split {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds of a session, for people"
    )]
    fn add(&mut self, told: &Told) {
        let spent = &told.spent;
        self.client_rtt = micros(told.client_rtt);
        self.flights = self.flights.saturating_add(spent.flights);
        let mut network = spent.network_client;
        network += spent.network_upstream;
        for (sum, more) in [
            (&mut self.network, network),
            (&mut self.database, spent.database),
            (&mut self.transfer, spent.transfer),
            (&mut self.request, spent.request),
            (&mut self.idle_in_transaction, spent.idle_in_transaction),
        ] {
            *sum += more.as_secs_f64() as f32;
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// All of them, whatever their listener. Held per session, so an entry is small: an idle session is two kilobytes.
#[derive(Debug)]
pub(super) struct Roll {
    opened: Instant,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// The number of the latest.
    last: u64,
    all: Slab<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    claim: Arc<Claim>,
    origin: Option<Arc<Origin>>,
    /// When the database said yes, in nanoseconds of the roll: half of what an `Instant` takes. Not yet, while it is logging in.
    began: Option<NonZeroU64>,
    /// The operator wants it to end.
    ends: bool,
    split: Split,
    /// Whom to wake when what stands has changed.
    wakes: Option<Waker>,
}

/// A place in the roll; it goes when dropped.
#[derive(Debug)]
pub(super) struct Enrolled {
    roll: Arc<Roll>,
    place: usize,
}

impl Default for Roll {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            entries: Mutex::default(),
        }
    }
}

impl Roll {
    /// Somebody has a permit.
    pub(super) fn enroll(self: &Arc<Self>, claim: &Arc<Claim>, permit: &Permit) -> Enrolled {
        let mut entries = self.lock();
        entries.last += 1;
        let entry = Entry {
            id: entries.last,
            claim: Arc::clone(claim),
            origin: permit.origin().cloned(),
            began: None,
            ends: false,
            split: Split::default(),
            wakes: None,
        };
        Enrolled {
            place: entries.all.insert(entry),
            roll: Arc::clone(self),
        }
    }

    /// The live sessions, the oldest first.
    pub(super) fn all(&self) -> Vec<SessionLine> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let entries = self.lock();
        let live = entries.all.iter().filter_map(|(_, entry)| {
            let began = self.moment(entry.began?);
            Some(SessionLine {
                id: entry.id,
                claim: Arc::clone(&entry.claim),
                origin: entry.label(),
                since: wall - now.saturating_duration_since(began),
                split: entry.split,
            })
        });
        let mut lines: Vec<_> = live.collect();
        lines.sort_by_key(|line| line.id);
        lines
    }

    /// Has a live session end, which it finds out when it is woken. `false`: there is none of this number.
    pub(super) fn end(&self, id: u64) -> bool {
        let mut entries = self.lock();
        let mut live = entries.all.iter_mut();
        let entry = live.find(|(_, entry)| entry.id == id && entry.began.is_some());
        entry.is_some_and(|(_, entry)| {
            entry.ends = true;
            true
        })
    }

    /// Wakes everybody.
    pub(super) fn wake(&self) {
        for (_, entry) in &self.lock().all {
            if let Some(waker) = &entry.wakes {
                waker.wake_by_ref();
            }
        }
    }

    fn moment(&self, nanos: NonZeroU64) -> Instant {
        self.opened + Duration::from_nanos(nanos.get())
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Enrolled {
    /// The database has said yes to a client that is so far away.
    pub(super) fn begin(&self, client_rtt: Duration) {
        let nanos = u64::try_from(self.roll.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.with(|entry| {
            entry.began = Some(NonZeroU64::MIN.saturating_add(nanos));
            entry.split.client_rtt = micros(client_rtt);
        });
    }

    /// It has told its numbers.
    pub(super) fn told(&self, told: &Told) {
        self.with(|entry| entry.split.add(told));
    }

    /// It was decided again, and may be somebody else now, or belong to another origin.
    pub(super) fn is_now(&self, claim: &Arc<Claim>, permit: &Permit) {
        self.with(|entry| {
            entry.claim = Arc::clone(claim);
            entry.origin = permit.origin().cloned();
        });
    }

    /// When the database said yes.
    pub(super) fn began(&self) -> Option<Instant> {
        let nanos = self.with(|entry| entry.began).flatten();
        nanos.map(|nanos| self.roll.moment(nanos))
    }

    /// The operator wants it to end.
    pub(super) fn ends(&self) -> bool {
        self.with(|entry| entry.ends).unwrap_or(false)
    }

    /// Is woken by this from now on.
    pub(super) fn wake_by(&self, waker: &Waker) {
        self.with(|entry| entry.wakes = Some(waker.clone()));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.roll.lock().all.get_mut(self.place).map(change)
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.roll.lock().all.try_remove(self.place);
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
    use crate::{
        meter::Spent,
        policy::{Unlimited, samples},
    };

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 80, "{}", size_of::<Entry>());
    }

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
        let logging_in = roll.enroll(&claim, &permit);
        first.begin(Duration::from_millis(3));
        second.begin(Duration::ZERO);
        let ids = |roll: &Roll| roll.all().iter().map(|line| line.id).collect::<Vec<_>>();
        assert_eq!(ids(&roll), [1, 2]);
        assert!(roll.end(2) && second.ends() && !first.ends());
        assert!(!roll.end(3), "it is logging in");
        let mut spent = Spent::default();
        spent.flights = 2;
        first.told(&Told {
            spent,
            client_rtt: Duration::from_millis(2),
        });
        let split = roll.all()[0].split;
        assert_eq!((split.flights, split.client_rtt), (2, 2000));
        assert!(first.began() <= second.began() && logging_in.began().is_none());
        drop(logging_in);
        drop(second);
        assert_eq!(ids(&roll), [1]);
        assert_eq!(&*roll.all()[0].origin, "all");
    }
}
