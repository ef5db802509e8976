//! The places that each origin has, and who sits in them. Floor 3.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{budget::Bucket, failures::Failures};
use crate::policy::{Claim, Full, NO_ORIGIN, Origin, Room};

/// Live sessions per origin, and how often they began. Counts belong to the name of an origin, so they outlive a reload.
#[derive(Debug, Default)]
pub(super) struct Seats {
    rows: Mutex<HashMap<Arc<str>, Arc<Row>>>,
    /// Whom an origin gives no place for a while.
    pub(super) failures: Failures,
}

/// The places of one origin.
#[derive(Debug, Default)]
struct Row {
    taken: AtomicU32,
    /// Of `new_per_minute`, once it was asked for.
    begun: Mutex<Option<Bucket>>,
}

/// One session's place in its origin; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Row>);

impl Seats {
    /// Forgets origins that nobody sits in and that are not `kept`.
    pub(super) fn retain(&self, kept: impl Fn(&str) -> bool) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.retain(|name, row| Arc::strong_count(row) > 1 || kept(name));
    }

    fn sit(&self, origin: &Origin, most: u32) -> Result<Seat, Full> {
        let row = self.row(&origin.name);
        let one_more = |now: u32| (now < most).then_some(now.saturating_add(1));
        row.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_most| Full::Connections)?;
        Ok(Seat(row))
    }

    /// A place past every limit.
    fn crowd(&self, origin: Option<&Origin>) -> Seat {
        let row = self.row(&origin.map_or_else(|| NO_ORIGIN.into(), |o| Arc::clone(&o.name)));
        row.taken.fetch_add(1, Ordering::Relaxed);
        Seat(row)
    }

    /// Whether the claim has failed at the database so often that this origin makes it wait.
    pub(super) fn bar(&self, origin: &Origin, claim: &Claim) -> bool {
        let most = origin.limits.failed_auth_per_minute;
        self.failures.bar(claim, most, Instant::now())
    }

    fn row(&self, origin: &Arc<str>) -> Arc<Row> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rows.entry(Arc::clone(origin)).or_default())
    }
}

impl Row {
    /// Whether one more session may begin now.
    fn begins(&self, per_minute: u32) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        begun
            .get_or_insert_with(|| Bucket::full(per_minute, now))
            .take_of(per_minute, MINUTE, now)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room for Seats {
    type Seat = Seat;

    fn take(&self, origin: &Origin, claim: &Claim) -> Result<Seat, Full> {
        if self.bar(origin, claim) {
            return Err(Full::Rate);
        }
        let seat = self.sit(origin, origin.limits.connections.unwrap_or(u32::MAX))?;
        let per_minute = origin.limits.new_per_minute;
        let begins = per_minute.is_none_or(|most| seat.0.begins(most));
        begins.then_some(seat).ok_or(Full::Rate)
    }

    fn spare(&self, origin: Option<&Origin>, _: &Claim) -> Seat {
        self.crowd(origin)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// One place more than an origin has: a MySQL client stops a statement from a second connection, most likely when all places
/// are taken by statements that need stopping. Nothing else may be done in it.
pub(super) struct Reserve<'a>(pub(super) &'a Seats);

impl Room for Reserve<'_> {
    type Seat = Seat;

    fn take(&self, origin: &Origin, claim: &Claim) -> Result<Seat, Full> {
        if self.0.bar(origin, claim) {
            return Err(Full::Rate);
        }
        let most = origin.limits.connections.ok_or(Full::Connections)?;
        self.0.sit(origin, most.saturating_add(1))
    }

    fn spare(&self, origin: Option<&Origin>, _: &Claim) -> Seat {
        self.0.crowd(origin)
    }
}

/// Room for a session that is decided again: there is always a place in the origin it sits in.
pub(super) struct Resettle<'a> {
    pub(super) seats: &'a Seats,
    /// The origin it sits in now.
    pub(super) home: &'a str,
    /// Whether a full origin has one more place, too: no limit ends a live session.
    pub(super) crowding: bool,
}

impl Room for Resettle<'_> {
    /// `None`: the seat that it has.
    type Seat = Option<Seat>;

    fn take(&self, origin: &Origin, _: &Claim) -> Result<Option<Seat>, Full> {
        if &*origin.name == self.home {
            return Ok(None);
        }
        let limit = origin.limits.connections.filter(|_| !self.crowding);
        self.seats.sit(origin, limit.unwrap_or(u32::MAX)).map(Some)
    }

    fn spare(&self, origin: Option<&Origin>, _: &Claim) -> Option<Seat> {
        let name = origin.map_or(NO_ORIGIN, |origin| &origin.name);
        (name != self.home).then(|| self.seats.crowd(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{OriginLimits, samples};

    impl Seats {
        fn taken(&self, origin: &str) -> u32 {
            let rows = self.rows.lock().unwrap();
            let row = rows.get(origin);
            row.map_or(0, |row| row.taken.load(Ordering::Relaxed))
        }
    }

    fn origin(connections: u32) -> Origin {
        Origin {
            limits: OriginLimits {
                connections: Some(connections),
                ..OriginLimits::default()
            },
            ..samples::origin("shop", &["any"])
        }
    }

    fn claim() -> Claim {
        samples::claim("pg", "192.0.2.7", "app")
    }

    #[test]
    fn an_origin_never_has_more_sessions_than_its_limit() {
        let seats = Seats::default();
        let first = seats.take(&origin(1), &claim()).unwrap();
        assert!(seats.take(&origin(1), &claim()).is_err());
        drop(first);
        assert!(seats.take(&origin(1), &claim()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_begins_so_many_sessions_a_minute_and_its_live_ones_go_on() {
        let limits = OriginLimits {
            new_per_minute: Some(2),
            ..OriginLimits::default()
        };
        let (seats, origin) = (
            Seats::default(),
            Origin {
                limits,
                ..samples::origin("shop", &["any"])
            },
        );
        let first = seats.take(&origin, &claim()).unwrap();
        drop(first);
        let _second = seats.take(&origin, &claim()).unwrap();
        assert_eq!(seats.take(&origin, &claim()).err(), Some(Full::Rate));
        assert_eq!(seats.taken("shop"), 1, "no place is lost by it");
        let again = Resettle {
            seats: &seats,
            home: "elsewhere",
            crowding: false,
        };
        assert!(again.take(&origin, &claim()).is_ok(), "a live session");
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(seats.take(&origin, &claim()).is_ok());
        assert!(seats.take(&origin, &claim()).is_err());
    }

    #[test]
    fn who_guesses_passwords_gets_no_place_and_not_the_one_in_reserve() {
        let seats = Seats::default();
        for _ in 0..10 {
            assert!(seats.take(&origin(5), &claim()).is_ok());
            seats.failures.note(&claim(), Instant::now());
        }
        assert_eq!(seats.take(&origin(5), &claim()).err(), Some(Full::Rate));
        let reserve = Reserve(&seats).take(&origin(5), &claim());
        assert_eq!(reserve.err(), Some(Full::Rate));
        let other = samples::claim("pg", "192.0.2.7", "web");
        assert!(seats.take(&origin(5), &other).is_ok());
    }

    #[test]
    fn one_more_place_is_in_reserve() {
        let seats = Seats::default();
        let _first = seats.take(&origin(1), &claim()).unwrap();
        let reserve = Reserve(&seats).take(&origin(1), &claim()).unwrap();
        assert!(Reserve(&seats).take(&origin(1), &claim()).is_err());
        drop(reserve);
        assert!(Reserve(&seats).take(&origin(1), &claim()).is_ok());
        assert_eq!(seats.taken("shop"), 1);
    }

    #[test]
    fn a_session_decided_again_crowds_a_full_origin_only_where_no_other_admits_it() {
        let seats = Seats::default();
        let _full = seats.take(&origin(1), &claim()).unwrap();
        let again = |home, crowding| Resettle {
            seats: &seats,
            home,
            crowding,
        };
        assert!(
            again("elsewhere", false)
                .take(&origin(1), &claim())
                .is_err()
        );
        assert!(
            again("shop", false)
                .take(&origin(1), &claim())
                .unwrap()
                .is_none()
        );
        let _moved = again("elsewhere", true)
            .take(&origin(1), &claim())
            .unwrap()
            .unwrap();
        assert_eq!(seats.taken("shop"), 2);
    }

    #[test]
    fn an_origin_that_is_gone_is_forgotten_when_its_last_session_ends() {
        let seats = Seats::default();
        let seat = seats.take(&origin(9), &claim()).unwrap();
        seats.retain(|_| false);
        assert_eq!(seats.taken("shop"), 1);
        drop(seat);
        seats.retain(|_| false);
        assert!(seats.rows.lock().unwrap().is_empty());
    }
}
