//! The places that each origin has, and who sits in them. Floor 3.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::policy::{Claim, Full, NO_ORIGIN, Origin, Room};

/// Live sessions per origin. Counts belong to the name of an origin, so they outlive a reload.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<HashMap<Arc<str>, Arc<AtomicU32>>>,
}

/// One session's place in its origin; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicU32>);

impl Seats {
    /// Forgets origins that nobody sits in and that are not `kept`.
    pub(super) fn retain(&self, kept: impl Fn(&str) -> bool) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|name, count| Arc::strong_count(count) > 1 || kept(name));
    }

    fn sit(&self, origin: &Origin, most: u32) -> Result<Seat, Full> {
        let count = self.count(&origin.name);
        let one_more = |now: u32| (now < most).then_some(now.saturating_add(1));
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_most| Full::Connections)?;
        Ok(Seat(count))
    }

    /// A place past every limit.
    fn crowd(&self, origin: Option<&Origin>) -> Seat {
        let count = self.count(&origin.map_or_else(|| NO_ORIGIN.into(), |o| Arc::clone(&o.name)));
        count.fetch_add(1, Ordering::Relaxed);
        Seat(count)
    }

    fn count(&self, origin: &Arc<str>) -> Arc<AtomicU32> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(taken.entry(Arc::clone(origin)).or_default())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room for Seats {
    type Seat = Seat;

    fn take(&self, origin: &Origin, _: &Claim) -> Result<Seat, Full> {
        self.sit(origin, origin.limits.connections.unwrap_or(u32::MAX))
    }

    fn spare(&self, origin: Option<&Origin>, _: &Claim) -> Seat {
        self.crowd(origin)
    }
}

/// One place more than an origin has: a MySQL client stops a statement from a second connection, most likely when all places
/// are taken by statements that need stopping. Nothing else may be done in it.
pub(super) struct Reserve<'a>(pub(super) &'a Seats);

impl Room for Reserve<'_> {
    type Seat = Seat;

    fn take(&self, origin: &Origin, _: &Claim) -> Result<Seat, Full> {
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
            let taken = self.taken.lock().unwrap();
            taken
                .get(origin)
                .map_or(0, |count| count.load(Ordering::Relaxed))
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
        assert!(seats.taken.lock().unwrap().is_empty());
    }
}
