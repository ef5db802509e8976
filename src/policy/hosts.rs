//! What DNS says of the hosts that rules name: an input of a policy, never looked up by it. Floor 0.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::SystemTime};

/// The answers by host name. A host without one matches nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(HashMap<Arc<str>, HostAnswer>);

/// The addresses of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAnswer {
    /// Canonical.
    pub addresses: Vec<IpAddr>,
    /// Private, loopback and link-local answers for a public name: they count only where a rule says so, for somebody may have
    /// bent the name to the inside.
    pub inward: Vec<IpAddr>,
    pub freshness: Freshness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// When the answer was given, and how long it holds.
    Fresh {
        since: SystemTime,
        until: SystemTime,
    },
    /// The resolver has failed for too long: live sessions go on, new ones are refused.
    Stale { since: SystemTime },
    /// Given by hand, as by `doorward why --resolve`.
    Given,
}

impl Freshness {
    /// When the answer was given; `None` for one that nobody was asked for.
    pub const fn since(self) -> Option<SystemTime> {
        match self {
            Self::Fresh { since, .. } | Self::Stale { since } => Some(since),
            Self::Given => None,
        }
    }
}

impl Hosts {
    pub fn get(&self, host: &str) -> Option<&HostAnswer> {
        self.0.get(host)
    }

    pub fn insert(&mut self, host: Arc<str>, answer: HostAnswer) {
        self.0.insert(host, answer);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &HostAnswer)> {
        self.0.iter()
    }
}

impl HostAnswer {
    /// Addresses that somebody has given by hand.
    pub fn given(addresses: Vec<IpAddr>) -> Self {
        Self {
            addresses: addresses.into_iter().map(super::canonical).collect(),
            inward: Vec::new(),
            freshness: Freshness::Given,
        }
    }

    /// Whether new sessions are refused.
    pub const fn is_stale(&self) -> bool {
        matches!(self.freshness, Freshness::Stale { .. })
    }
}
