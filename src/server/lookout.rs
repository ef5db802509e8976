//! What a person should not forget: an observation that goes on, a file that differs from what is in force. Floor 4.

use std::{sync::Arc, time::Duration, time::SystemTime};

use serde::{Deserialize, Serialize};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{house::House, status::rfc3339};
use crate::policy::{Freshness, Policy};

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
        house.tell_hosts();
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
    fn tell_hosts(&self) {
        let states = self.names.states();
        let of = |wanted: fn(Option<Freshness>) -> bool| {
            let states = states.iter();
            states.filter(|(_, state)| wanted(state.freshness)).count()
        };
        let stale = of(|freshness| matches!(freshness, Some(Freshness::Stale { .. })));
        let unknown = of(|freshness| freshness.is_none());
        let fresh = states.len() - stale - unknown;
        self.gateway.meters.hosts(fresh, stale, unknown);
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
