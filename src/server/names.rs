//! Where the hosts are that rules name, kept up to date in the policy. Floor 4: the asking is `net`'s.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::house::House;
use crate::{
    config::Resolver,
    net::resolver::{self, HostState, Resolved, Wanted},
    policy::{From, Hosts, Rules},
    session::AUDIT,
};

/// The resolver's task.
pub(super) type Asking = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is asked of the resolver, and what it knows.
pub(super) struct Names {
    wanted: watch::Sender<Wanted>,
    resolved: watch::Receiver<Resolved>,
}

impl Names {
    /// With the task that asks, which is to be spawned. Waits until it has asked for every host, or a moment.
    pub(super) async fn begin(rules: &Rules, settings: &Resolver) -> (Self, Asking) {
        let (wanted, wishes) = watch::channel(wanted(rules, settings));
        let (telling, resolved) = watch::channel(Resolved::default());
        let mut asking: Asking = Box::pin(resolver::follow(wishes, telling));
        let mut names = Self { wanted, resolved };
        names.first_answers(&mut asking).await;
        (names, asking)
    }

    /// What is known now.
    pub(super) fn hosts(&self) -> Hosts {
        self.resolved.borrow().hosts.clone()
    }

    /// How it stands with each host.
    pub(super) fn states(&self) -> Vec<(Arc<str>, HostState)> {
        let resolved = self.resolved.borrow();
        let states = resolved.states.iter();
        states
            .map(|(name, state)| (Arc::clone(name), state.clone()))
            .collect()
    }

    /// Look-ups so far: how many were answered, and how many were not.
    pub(super) fn lookups(&self) -> (u64, u64) {
        let resolved = self.resolved.borrow();
        (resolved.answered, resolved.failed)
    }

    /// From now on these are asked for, and all of them once more: an operator who reloads does not wait for a TTL.
    pub(super) fn want(&self, rules: &Rules, settings: &Resolver) {
        self.wanted.send_replace(wanted(rules, settings));
    }

    /// What is known then is no news any more.
    async fn first_answers(&mut self, asking: impl Future<Output = ()>) {
        let hosts = self.wanted.borrow().hosts.clone();
        if !hosts.is_empty() {
            let known = self.resolved.wait_for(|resolved| resolved.covers(&hosts));
            tokio::select! {
                () = asking => {}
                _slow = timeout(FIRST_ANSWERS, known) => {}
            }
        }
        self.resolved.mark_unchanged();
    }

    fn wants_none(&self) -> bool {
        self.wanted.borrow().hosts.is_empty()
    }
}

/// Puts every answer that changes a decision in force, for live sessions too.
pub(super) async fn follow(house: Arc<House>) {
    let mut resolved = house.names.resolved.clone();
    let mut told = BTreeSet::new();
    while resolved.changed().await.is_ok() {
        warn_once(&resolved.borrow(), &mut told);
        if !house.names.wants_none() {
            house.take_in_names().await;
        }
    }
}

impl House {
    async fn take_in_names(&self) {
        let _one = self.one_at_a_time.lock().await;
        let rules = Arc::clone(self.standing.borrow().policy.rules());
        let policy = self.next_policy(rules);
        tracing::info!(
            target: AUDIT,
            event = "names_changed",
            generation = policy.generation(),
            "live sessions are decided again"
        );
        self.put_in_force(&policy, None);
    }
}

/// What is strange about the answers, each time it is new.
fn warn_once(resolved: &Resolved, told: &mut BTreeSet<(Arc<str>, String)>) {
    let mut strange = BTreeSet::new();
    for (host, state) in &resolved.states {
        let causes = state.warning.iter().chain(&state.error);
        for cause in causes {
            let said = (Arc::clone(host), cause.clone());
            if !told.contains(&said) {
                tracing::warn!(event = "name_warning", host = &**host, cause);
            }
            strange.insert(said);
        }
    }
    *told = strange;
}

fn wanted(rules: &Rules, settings: &Resolver) -> Wanted {
    let froms = rules.origins.iter().flat_map(|origin| &origin.from);
    let hosts = froms.filter_map(|from| match from {
        From::Host { name, .. } => Some(Arc::clone(name)),
        From::Network(_) | From::Any | From::Set(_) => None,
    });
    Wanted {
        hosts: hosts.collect(),
        servers: settings.servers.clone(),
        max_stale: settings.max_stale,
    }
}

/// How long the start waits: a name that is found now spares its clients a refusal.
const FIRST_ANSWERS: Duration = Duration::from_secs(3);
