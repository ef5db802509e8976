//! What DNS says of the hosts that origins name. Floor 1.

use std::{collections::HashMap, sync::PoisonError, time::SystemTime};

use super::{Meters, families::child, timestamp};

/// The hosts of one origin, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Different ones, which the origin's clients may come from.
    pub addresses: usize,
    /// When the host whose answer is oldest was answered; `None` if one of them never was.
    pub answered: Option<SystemTime>,
}

impl Meters {
    /// How many hosts there are in each state.
    pub fn hosts(&self, fresh: usize, stale: usize, unknown: usize) {
        for (state, number) in [("fresh", fresh), ("stale", stale), ("unknown", unknown)] {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            child(&self.families.dns_hosts, &[state]).set(number);
        }
    }

    /// The look-ups since the start: how many were answered, and how many were not.
    pub fn looked_up(&self, answered: u64, failed: u64) {
        for (result, number) in [("success", answered), ("failure", failed)] {
            let counter = child(&self.families.dns_lookups, &[result]);
            counter.inc_by(number.saturating_sub(counter.get()));
        }
    }

    /// Tells the hosts of an origin; `None`: it names none. Of an origin that has no series of its own nothing is kept.
    pub fn named(&self, origin: &str, named: Option<Named>) {
        let families = &self.families;
        // held to the end, so that no reload forgets the origin meanwhile
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let shown = |origins: &HashMap<_, _>| origins.contains_key(origin);
        let Some(named) = named.filter(|_| handles.origins.values().any(shown)) else {
            // absent already is as good
            drop(families.dns_addresses.remove_label_values(&[origin]));
            drop(families.dns_last_success.remove_label_values(&[origin]));
            return;
        };
        let addresses = i64::try_from(named.addresses).unwrap_or(i64::MAX);
        child(&families.dns_addresses, &[origin]).set(addresses);
        child(&families.dns_last_success, &[origin]).set(named.answered.map_or(0, timestamp));
    }
}
