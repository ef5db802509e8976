//! References: what ties the words that a client reports to what happened. Floor 3.
//!
//! What was refused is kept for a while under its reference, so that `doorward why --ref` can tell the whole truth of it. Strangers
//! have a memory of their own: however many they are, they push out no refusal of somebody known.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque, hash_map::Entry, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::policy::{Claim, ListenerName, Reason};

/// Eight characters: the same for the same [`Told`] as long as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reference([u8; 8]);

/// A refusal that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRefusal {
    pub reference: String,
    pub listener: ListenerName,
    pub address: IpAddr,
    /// `None` where the connection ended before anybody said who it was.
    pub claim: Option<Arc<Claim>>,
    pub reason: Reason,
    /// The deny rule that hit, or the origin that came nearest.
    pub rule: Option<Arc<str>>,
    /// The log's own sentence.
    pub cause: String,
    pub first: SystemTime,
    pub last: SystemTime,
    pub times: u64,
}

/// What tells one refusal from another: all that the client's words depend on, and all that the operator is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Told<'a> {
    /// Its policy decides by it, too.
    pub(super) listener: &'a str,
    pub(super) address: IpAddr,
    pub(super) user: Option<&'a str>,
    pub(super) database: Option<&'a str>,
    pub(super) reason: Reason,
    /// The log's own sentence.
    pub(super) cause: &'a str,
}

/// What is remembered of a refusal.
pub(super) struct Happened<'a> {
    pub(super) listener: &'a ListenerName,
    pub(super) address: IpAddr,
    pub(super) claim: Option<&'a Claim>,
    pub(super) reason: Reason,
    pub(super) rule: Option<&'a Arc<str>>,
    pub(super) cause: String,
    /// Some origin names the address.
    pub(super) mentioned: bool,
}

/// Makes references, keyed anew in each process so that nobody computes them elsewhere, and remembers what they stand for.
#[derive(Debug, Default)]
pub(super) struct References {
    hasher: RandomState,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_reference: HashMap<Reference, KeptRefusal>,
    /// In the order in which they came.
    known: VecDeque<Reference>,
    strangers: VecDeque<Reference>,
}

impl References {
    /// The reference of a refusal. One that is remembered for another is not given out again.
    pub(super) fn of(&self, told: Told<'_>) -> Reference {
        let kept = self.lock();
        let free = |reference: &Reference| {
            kept.by_reference
                .get(reference)
                .is_none_or(|kept| kept.told() == told)
        };
        let made = |salt: u8| Reference::of(self.hasher.hash_one((told, salt)));
        (0..u8::MAX)
            .map(made)
            .find(free)
            .unwrap_or_else(|| made(u8::MAX))
    }

    /// Remembers what a reference stands for.
    pub(super) fn keep(&self, reference: Reference, happened: Happened<'_>, now: SystemTime) {
        let mut kept = self.lock();
        let Kept {
            by_reference,
            known,
            strangers,
        } = &mut *kept;
        match by_reference.entry(reference) {
            Entry::Occupied(mut entry) => {
                let kept = entry.get_mut();
                kept.times = kept.times.saturating_add(1);
                kept.last = now;
                kept.claim = happened.claim.cloned().map(Arc::new);
                kept.rule = happened.rule.map(Arc::clone);
            }
            Entry::Vacant(entry) => {
                entry.insert(KeptRefusal {
                    reference: reference.to_string(),
                    listener: happened.listener.clone(),
                    address: happened.address,
                    claim: happened.claim.cloned().map(Arc::new),
                    reason: happened.reason,
                    rule: happened.rule.map(Arc::clone),
                    cause: happened.cause,
                    first: now,
                    last: now,
                    times: 1,
                });
                let order = if happened.mentioned { known } else { strangers };
                order.push_back(reference);
                if order.len() > MOST
                    && let Some(oldest) = order.pop_front()
                {
                    by_reference.remove(&oldest);
                }
            }
        }
    }

    /// What a reference stands for, in whatever case of letters it is given.
    pub(super) fn look_up(&self, reference: &str) -> Option<KeptRefusal> {
        let kept = self.lock();
        let reference = Reference::parse(reference)?;
        kept.by_reference.get(&reference).cloned()
    }

    /// The latest of those whom the policy knows, and as many of strangers; the latest first. A refusal that repeats is as late as
    /// its last time.
    pub(super) fn latest(&self, of_each: usize) -> Vec<KeptRefusal> {
        let kept = self.lock();
        let mut latest = Vec::with_capacity(2 * of_each);
        for order in [&kept.known, &kept.strangers] {
            let of = order.iter().filter_map(|one| kept.by_reference.get(one));
            let mut of: Vec<_> = of.collect();
            of.sort_unstable_by_key(|one| Reverse(one.last));
            latest.extend(of.into_iter().take(of_each).cloned());
        }
        drop(kept);
        latest.sort_by_key(|one| Reverse(one.last));
        latest
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptRefusal {
    fn told(&self) -> Told<'_> {
        let claim = self.claim.as_deref();
        Told::of(
            &self.listener,
            self.address,
            claim,
            (self.reason, &self.cause),
        )
    }
}

impl<'a> Told<'a> {
    /// Of a connection that came so far.
    pub(super) fn of(
        listener: &'a str,
        address: IpAddr,
        claim: Option<&'a Claim>,
        (reason, cause): (Reason, &'a str),
    ) -> Self {
        Self {
            listener,
            address,
            user: claim.map(|claim| &*claim.user),
            database: claim.and_then(|claim| claim.database.as_deref()),
            reason,
            cause,
        }
    }

    /// A refusal by the policy, for tests.
    #[cfg(test)]
    pub(super) const fn sample(address: IpAddr, user: &'a str, reason: Reason) -> Self {
        Self {
            listener: "pg",
            address,
            user: Some(user),
            database: Some("shop"),
            reason,
            cause: "",
        }
    }
}

impl Reference {
    fn of(mut number: u64) -> Self {
        Self(std::array::from_fn(|_| {
            let digit = (number & 31) as usize;
            number >>= 5;
            ALPHABET.get(digit).copied().unwrap_or(b'0')
        }))
    }

    fn parse(text: &str) -> Option<Self> {
        let upper = text.trim().to_ascii_uppercase();
        upper.as_bytes().try_into().ok().map(Self)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|c| fmt::Write::write_char(f, char::from(*c)))
    }
}

/// Crockford's base 32: no letter that is taken for another when read aloud.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Refusals that are remembered of those whom the policy knows, and as many of strangers: a few hundred bytes each.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples;

    fn address() -> IpAddr {
        "192.0.2.7".parse().unwrap()
    }

    fn keep(references: &References, user: &str, mentioned: bool) -> Reference {
        let claim = samples::claim("pg", "192.0.2.7", user);
        keep_of(
            references,
            &claim,
            "no origin names this address",
            mentioned,
        )
    }

    fn keep_of(references: &References, claim: &Claim, cause: &str, mentioned: bool) -> Reference {
        let no = (Reason::NoOrigin, cause);
        let reference = references.of(Told::of("pg", address(), Some(claim), no));
        let happened = Happened {
            listener: &claim.listener,
            address: claim.address,
            claim: Some(claim),
            reason: Reason::NoOrigin,
            rule: None,
            cause: cause.to_owned(),
            mentioned,
        };
        references.keep(reference, happened, SystemTime::now());
        reference
    }

    #[test]
    fn the_same_refusal_has_the_same_reference_and_another_has_another() {
        let references = References::default();
        let of = |user, reason| references.of(Told::sample(address(), user, reason));
        assert_eq!(of("app", Reason::NoOrigin), of("app", Reason::NoOrigin));
        assert_ne!(of("app", Reason::NoOrigin), of("web", Reason::NoOrigin));
        assert_ne!(of("app", Reason::NoOrigin), of("app", Reason::Expired));
        let app = Told::sample(address(), "app", Reason::NoOrigin);
        for other in [
            Told {
                listener: "my",
                ..app
            },
            Told {
                database: Some("hr"),
                ..app
            },
            Told {
                cause: "malformed opening: a user name is missing",
                ..app
            },
        ] {
            assert_ne!(references.of(app), references.of(other), "{other:?}");
        }
    }

    #[test]
    fn what_a_reference_was_given_for_is_what_it_is_found_by() {
        let references = References::default();
        let mut claim = samples::claim("pg", "192.0.2.7", "app");
        let mut kept = Vec::new();
        for (database, cause) in [("hr", "one"), ("shop_app", "one"), ("hr", "another")] {
            claim.database = Some(database.into());
            let reference = keep_of(&references, &claim, cause, true);
            kept.push((reference, database, cause));
        }
        for (reference, database, cause) in kept {
            let found = references.look_up(&reference.to_string()).unwrap();
            assert_eq!(found.claim.unwrap().database.as_deref(), Some(database));
            assert_eq!((found.cause.as_str(), found.times), (cause, 1));
        }
    }

    #[test]
    fn what_a_client_reports_is_found_as_it_is_written() {
        let references = References::default();
        let reference = keep(&references, "app", true);
        keep(&references, "app", true);
        let small = format!(" {}\n", reference.to_string().to_lowercase());
        let found = references.look_up(&small).unwrap();
        assert_eq!((found.times, &*found.claim.unwrap().user), (2, "app"));
        for wrong in ["", "ABCDEFGH", "ABCDEFGHI", "\u{e9}BCDEFG"] {
            assert!(references.look_up(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_latest_refusals_are_told_and_strangers_hide_nobody_known() {
        let references = References::default();
        keep(&references, "app", true);
        for n in 0..9 {
            keep(&references, &format!("stranger{n}"), false);
        }
        keep(&references, "stranger0", false);
        let latest = references.latest(2);
        let users = latest.iter().map(|one| &*one.claim.as_ref().unwrap().user);
        assert_eq!(users.collect::<Vec<_>>(), ["stranger0", "stranger8", "app"]);
    }

    #[test]
    fn a_reference_that_is_remembered_for_another_refusal_is_not_given_out() {
        let references = References::default();
        let app = Told::sample(address(), "app", Reason::NoOrigin);
        let first = references.of(app);
        // as if another refusal had come to the same eight characters
        let claim = samples::claim("pg", "192.0.2.8", "eva");
        let happened = Happened {
            listener: &claim.listener,
            address: claim.address,
            claim: Some(&claim),
            reason: Reason::Expired,
            rule: None,
            cause: String::new(),
            mentioned: true,
        };
        references.keep(first, happened, SystemTime::now());
        let second = references.of(app);
        assert_ne!(first, second);
        assert_eq!(second, references.of(app));
    }

    #[test]
    fn strangers_push_out_no_refusal_of_somebody_known() {
        let references = References::default();
        let known = keep(&references, "app", true);
        let first = keep(&references, "scan", false);
        for number in 0..MOST {
            keep(&references, &format!("scan{number}"), false);
        }
        assert!(references.look_up(&known.to_string()).is_some());
        assert!(references.look_up(&first.to_string()).is_none());
        assert!(references.lock().by_reference.len() <= MOST + 1);
    }
}
