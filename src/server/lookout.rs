//! What a person should not forget: an observation that goes on, a file that differs from what is in force. Floor 4.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{house::House, status::rfc3339};
use crate::{
    meter::Named,
    net::resolver::HostState,
    policy::{Freshness, From, Origin, Policy},
};

/// What is let in that the rules would refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observing {
    /// RFC 3339, in UTC: the end of the file's `observe`, as long as it goes on.
    pub until: Option<String>,
    /// Origins whose proof, limits and TLS are on trial.
    pub origins: Vec<String>,
}

impl Observing {
    pub(super) fn of(policy: &Policy, now: SystemTime) -> Self {
        let observe = policy.rules().observe.as_ref();
        let until = observe.map(|observe| observe.until);
        let observed = policy.origins().iter().filter(|origin| {
            origin.observe && origin.active && origin.expires.is_none_or(|end| now < end)
        });
        Self {
            until: until.filter(|until| now < *until).map(rfc3339),
            origins: observed.map(|origin| origin.name.to_string()).collect(),
        }
    }

    pub const fn any(&self) -> bool {
        self.until.is_some() || !self.origins.is_empty()
    }
}

/// Tells the meters what there is, and the log once a day.
pub(super) async fn keep(house: Arc<House>) {
    let mut changed = house.standing.subscribe();
    let mut told = None;
    loop {
        let policy = Arc::clone(&changed.borrow_and_update().policy);
        let observing = Observing::of(&policy, SystemTime::now());
        let meters = &house.gateway.meters;
        meters.observing(observing.until.is_some(), observing.origins.len());
        house.tell_hosts(&policy);
        meters.configuration_differs(!house.differing().await.is_empty());
        if !observing.any() {
            told = None;
        } else if told.is_none_or(|at| Instant::now() >= at + DAY) {
            told = Some(Instant::now());
            tracing::warn!(
                event = "observing",
                until = observing.until,
                origins = observing.origins.join(", "),
                "clients are let in that the rules would refuse"
            );
        }
        tokio::select! {
            () = sleep(STEP) => {}
            _ = changed.changed() => {}
        }
    }
}

impl House {
    fn tell_hosts(&self, policy: &Policy) {
        let meters = &self.gateway.meters;
        let (answered, failed) = self.names.lookups();
        meters.looked_up(answered, failed);
        let states: BTreeMap<_, _> = self.names.states().into_iter().collect();
        let of = |wanted: fn(Option<Freshness>) -> bool| {
            let states = states.values();
            states.filter(|state| wanted(state.freshness)).count()
        };
        let stale = of(|freshness| matches!(freshness, Some(Freshness::Stale { .. })));
        let unknown = of(|freshness| freshness.is_none());
        let fresh = states.len() - stale - unknown;
        meters.hosts(fresh, stale, unknown);
        for origin in policy.origins() {
            meters.named(&origin.name, named(origin, &states));
        }
    }

    /// The files of the allowlist that are no longer what is in force.
    pub(super) async fn differing(&self) -> Vec<String> {
        let texts = Arc::clone(&self.lock().texts);
        let compared = spawn_blocking(move || {
            let files = texts.differing().into_iter();
            files.map(|file| file.display().to_string()).collect()
        });
        compared.await.unwrap_or_default()
    }
}

/// What DNS says of the hosts that an origin names; `None`: it names none.
fn named(origin: &Origin, states: &BTreeMap<Arc<str>, HostState>) -> Option<Named> {
    let hosts = origin.from.iter().filter_map(|from| match from {
        From::Host { name, inward } => Some((states.get(name), *inward)),
        From::Network(_) | From::Any | From::Set(_) => None,
    });
    let hosts: Vec<_> = hosts.collect();
    let addresses: BTreeSet<_> = hosts
        .iter()
        .filter_map(|(state, inward)| Some(((*state)?, *inward)))
        .flat_map(|(state, inward)| {
            let inside = state.inward.iter().filter(move |_| inward);
            state.addresses.iter().chain(inside)
        })
        .collect();
    // a host that was never answered is less than any time, and of no hosts there is none that is least
    let times = hosts
        .iter()
        .map(|(state, _)| state.and_then(|s| s.freshness?.since()));
    times.min().map(|answered| Named {
        addresses: addresses.len(),
        answered,
    })
}

const STEP: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Observe, Origin, Rules,
        samples::{origin, policy, rules},
    };

    #[test]
    fn the_hosts_of_an_origin_are_told_by_the_one_that_was_answered_longest_ago() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let state = |addresses: &[&str], inward: &[&str], since| HostState {
            freshness: Some(Freshness::Stale { since }),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            inward: inward.iter().map(|text| text.parse().unwrap()).collect(),
            answered: 1,
            failed: 0,
            error: None,
            warning: None,
        };
        let mut states = BTreeMap::new();
        let of = |hosts: &[(&str, bool)], states: &_| {
            let from = hosts.iter().map(|(name, inward)| From::Host {
                name: Arc::from(*name),
                inward: *inward,
            });
            named(&Origin::new("a", from.collect()), states)
        };
        assert_eq!(of(&[], &states), None);
        assert_eq!(of(&[("a", false)], &states), Some(Named::default()));
        states.insert("a".into(), state(&["198.51.100.5"], &["10.0.0.1"], at(70)));
        states.insert(
            "b".into(),
            state(&["198.51.100.5", "198.51.100.6"], &[], at(50)),
        );
        let told = |addresses, answered| {
            Some(Named {
                addresses,
                answered,
            })
        };
        assert_eq!(of(&[("a", false)], &states), told(1, Some(at(70))));
        assert_eq!(of(&[("a", true)], &states), told(2, Some(at(70))));
        assert_eq!(
            of(&[("a", true), ("b", false)], &states),
            told(3, Some(at(50)))
        );
        assert_eq!(of(&[("a", false), ("c", false)], &states), told(1, None));
    }

    #[test]
    fn an_observation_is_told_until_it_ends() {
        let now = SystemTime::UNIX_EPOCH + DAY;
        let trial = Origin {
            observe: true,
            ..origin("trial", &["10.0.0.1"])
        };
        let rules = Rules {
            observe: Some(Observe {
                until: now,
                from: Vec::new(),
            }),
            ..rules(vec![trial, origin("whole", &["10.0.0.2"])], Vec::new())
        };
        let policy = policy(rules);
        let before = Observing::of(&policy, SystemTime::UNIX_EPOCH);
        assert_eq!(before.until.as_deref(), Some("1970-01-02T00:00:00Z"));
        assert_eq!(before.origins, ["trial"]);
        let after = Observing::of(&policy, now);
        assert_eq!(after.until, None);
        assert!(after.any(), "an origin's own trial has no end");
    }
}
