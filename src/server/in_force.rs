//! What is in force, and how another policy takes its place for everybody at once. Floor 4.
//!
//! Whoever puts one there holds `one_at_a_time`.

use std::{
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{certificate::Certificates, house::House, source::keep_as_last_good};
use crate::{
    config::{Distances, Settings, Texts},
    meter::{Bands, Declared, Meters},
    net::ClientTrust,
    policy::{Origin, Policy, Rules},
};

/// What holds now.
pub(super) struct InForce {
    /// Those of the start, as far as a reload does not change them.
    pub(super) settings: Settings,
    /// What the rules were read from.
    pub(super) texts: Arc<Texts>,
    pub(super) certificates: Certificates,
    pub(super) loaded: SystemTime,
    pub(super) source: String,
    /// Why the last attempt to use the file failed.
    pub(super) problem: Option<String>,
}

impl House {
    /// The policy of these rules that follows the one in force.
    pub(super) fn next_policy(&self, rules: impl Into<Arc<Rules>>) -> Arc<Policy> {
        let generation = self.standing.borrow().policy.generation() + 1;
        Arc::new(Policy::new(rules, &self.names.hosts(), generation))
    }

    /// Puts a policy in force, and with it whom we believe of clients where that is another. Live sessions decide again.
    ///
    /// What holds beside it is in place by then, so that a session that sees the policy finds the rest.
    pub(super) fn put_in_force(&self, policy: &Arc<Policy>, trust: Option<Arc<ClientTrust>>) {
        declare(&self.gateway.meters, policy, &self.lock().settings);
        self.standing.send_modify(|standing| {
            standing.policy = Arc::clone(policy);
            if let Some(trust) = trust {
                standing.trust = trust;
            }
        });
        self.gateway
            .forget_origins(|name| policy.origin(name).is_some());
    }

    /// Announces the policy in force once more: a session finds out by being decided again that its time has come.
    pub(super) fn decide_all_again(&self) {
        self.standing.send_modify(|_the_same| {});
    }

    /// How many sessions have decided again since, and how many of them that ended: as soon as all have, or after a moment.
    pub(super) async fn count_since(&self, decided: u64, revoked: u64, live: u64) -> (u64, u64) {
        let deadline = Instant::now() + COUNTING;
        loop {
            let (now_decided, now_revoked) = self.gateway.decisions_again();
            let since = now_decided.saturating_sub(decided);
            if since >= live || Instant::now() >= deadline {
                return (since, now_revoked.saturating_sub(revoked));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Keeps what is in force now for a start with a broken file. Waits for the disk, which no session may.
    pub(super) async fn keep(&self, state_dir: PathBuf, texts: Arc<Texts>) {
        let source = self.source.clone();
        let kept = spawn_blocking(move || keep_as_last_good(&source, &state_dir, &texts)).await;
        if kept.is_err() {
            tracing::error!(event = "last_good_not_kept", "a panic, see above");
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the meters which policy is in force, whom they count, and what they call far.
pub(super) fn declare(meters: &Meters, policy: &Policy, settings: &Settings) {
    meters.generation(policy.generation());
    meters.declare(&declared(policy.origins(), settings));
    meters.set_bands(bands(&settings.distances));
}

/// Each origin on each listener that it may use, for the meters: as many as are shown, in the order of the file.
fn declared(origins: &[Arc<Origin>], settings: &Settings) -> Vec<Declared> {
    let on = |origin: &Arc<Origin>| {
        let origin = Arc::clone(origin);
        settings
            .listeners
            .iter()
            .filter(|listener| origin.listeners.contains(&listener.name))
            .map(|listener| Declared {
                listener: Arc::from(&*listener.name),
                origin: Arc::clone(&origin.name),
                limit: origin.limits.connections,
                expires: origin.expires,
                expected_rtt: origin.expected_rtt,
            })
            .collect::<Vec<_>>()
    };
    let shown = usize::try_from(settings.metrics.max_origins).unwrap_or(usize::MAX);
    origins.iter().take(shown).flat_map(on).collect()
}

/// The distances as the meters know them.
const fn bands(distances: &Distances) -> Bands {
    Bands {
        same_site: distances.same_site,
        same_region: distances.same_region,
        near: distances.near,
        same_continent: distances.same_continent,
        far: distances.far,
    }
}

/// How long an answer waits for sessions to decide again. A busy one does at its next turn.
const COUNTING: Duration = Duration::from_secs(1);
