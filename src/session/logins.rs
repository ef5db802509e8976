//! Who really logged in at the database, remembered for a while: what `learn` makes rules of, and what a changed rule is tried on.
//! Floor 3.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::policy::{Claim, Permit, Reason};

/// One kind of session: the same listener, address, user, database, certificate and rights.
#[derive(Clone, Debug)]
pub struct Login {
    /// Of the latest of them.
    pub claim: Arc<Claim>,
    /// The origin that admitted it, or `_none`.
    pub origin: String,
    /// What an observation spared it.
    pub spared: Option<Reason>,
    pub times: u64,
    pub first: SystemTime,
    pub last: SystemTime,
}

/// The memory. Bounded: the longest unseen go first.
#[derive(Debug, Default)]
pub(super) struct Logins {
    hasher: RandomState,
    /// By the hash of what makes them one kind.
    seen: Mutex<HashMap<u64, Login>>,
}

impl Logins {
    /// The database has said yes to this claim.
    pub(super) fn note(&self, claim: &Arc<Claim>, permit: &Permit, now: SystemTime) {
        let kind = self.hasher.hash_one((
            &claim.listener,
            claim.address,
            &claim.user,
            &claim.database,
            claim.replication.map(|kind| kind as u8),
            claim.tls.is_some(),
            claim.certificate.as_ref().map(|shown| shown.sha256),
        ));
        let spared = permit.spared().map(|denial| denial.reason);
        let mut seen = self.lock();
        if let Some(login) = seen.get_mut(&kind) {
            login.times = login.times.saturating_add(1);
            login.last = now;
            login.spared = spared;
            if login.origin != permit.name() {
                permit.name().clone_into(&mut login.origin);
            }
            return;
        }
        if seen.len() >= MOST {
            forget_oldest(&mut seen);
        }
        let login = Login {
            claim: Arc::clone(claim),
            origin: permit.name().to_owned(),
            spared,
            times: 1,
            first: now,
            last: now,
        };
        seen.insert(kind, login);
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<Login> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Login>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for many at once: looking for the oldest costs a walk.
fn forget_oldest(seen: &mut HashMap<u64, Login>) {
    let mut ages: Vec<SystemTime> = seen.values().map(|login| login.last).collect();
    let (_, middle, _) = ages.select_nth_unstable(MOST / 8);
    let before = *middle;
    let mut most = MOST / 8;
    seen.retain(|_, login| {
        let goes = most > 0 && login.last <= before;
        most -= usize::from(goes);
        !goes
    });
}

/// Kinds of sessions that are remembered, a few hundred bytes each.
const MOST: usize = 8192;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{Unlimited, samples};

    fn permit(claim: &Claim) -> Permit {
        let rules = samples::rules(vec![samples::origin("all", &["192.0.2.0/24"])], Vec::new());
        let decided = samples::policy(rules).decide(claim, SystemTime::now(), &Unlimited);
        decided.unwrap().0
    }

    fn claim(user: &str) -> Arc<Claim> {
        Arc::new(samples::claim("pg", "192.0.2.7", user))
    }

    #[test]
    fn the_same_login_is_counted_and_another_is_another() {
        let (logins, now) = (Logins::default(), SystemTime::now());
        let permit = permit(&claim("app"));
        logins.note(&claim("app"), &permit, now);
        logins.note(&claim("app"), &permit, now + Duration::from_secs(1));
        logins.note(&claim("web"), &permit, now);
        let mut all = logins.all();
        all.sort_by_key(|login| login.times);
        let told: Vec<_> = all
            .iter()
            .map(|login| (&*login.claim.user, login.origin.as_str(), login.times))
            .collect();
        assert_eq!(told, [("web", "all", 1), ("app", "all", 2)]);
        assert!(all[1].first < all[1].last);
    }

    #[test]
    fn what_was_not_seen_for_long_makes_room() {
        let (logins, then) = (Logins::default(), SystemTime::UNIX_EPOCH);
        let permit = permit(&claim("app"));
        for number in 0..=MOST {
            let at = then + Duration::from_secs(u64::try_from(number).unwrap());
            logins.note(&claim(&format!("app{number}")), &permit, at);
        }
        let all = logins.all();
        assert_eq!(all.len(), MOST - MOST / 8 + 1);
        assert!(
            all.iter()
                .any(|login| *login.claim.user == *format!("app{MOST}"))
        );
        assert!(!all.iter().any(|login| &*login.claim.user == "app0"));
    }
}
