//! Who may reach the database. Floor 0: pure functions of a policy, a claim and the time.
//!
//! Nothing here knows a socket, a clock, a file, a metric or YAML. `config` builds a [`Policy`];
//! every path to the database asks [`Policy::decide`], and `doorward why` asks [`Policy::explain`], which
//! runs the same code. The order of the file never matters to a verdict.

mod addresses;
mod certificate;
mod claim;
mod decide;
mod explain;
mod origin;
#[cfg(test)]
pub(crate) mod samples;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use addresses::AddressTable;
pub use certificate::{Certificate, Validity};
pub use claim::{Claim, Replication, TlsVersion, canonical};
pub use decide::{CancelPermit, Denial, Permit, Reason, Room, Unlimited};
pub use explain::{Explanation, Outcome, Tried, Verdict};
pub use origin::{Condition, Deny, From, Names, Origin};

/// Floors that no origin can go under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Require {
    /// The client's connection must be encrypted.
    pub tls: bool,
    /// A session that the database lets in without a challenge is ended.
    pub authentication: bool,
}

/// What an address that no origin mentions is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One constant text with a reference, whatever the reason.
    Quiet,
    /// The reason, as a mentioned address gets it.
    Explain,
    /// Nothing: the connection is closed before a byte is read.
    Drop,
}

/// What happens to a live session that the policy no longer admits. Ordered by strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnRevoke {
    /// It goes on until it ends by itself.
    Keep,
    /// It is told at the next moment outside a transaction, and cut after the drain time.
    Drain,
    /// It is cut at once.
    Close,
}

/// Everything a [`Policy`] is made of, as `config` has read it. Not yet indexed.
#[derive(Clone, Debug)]
pub struct Rules {
    pub require: Require,
    /// Users that "any user" never covers.
    pub protected_users: BTreeSet<String>,
    pub origins: Vec<Origin>,
    pub deny: Vec<Deny>,
    pub answer: Answer,
    pub on_revoke: OnRevoke,
    /// How long a session that is drained may go on.
    pub drain: Duration,
}

/// An immutable set of rules, indexed for looking up addresses. Made anew at every reload.
#[derive(Debug)]
pub struct Policy {
    generation: u64,
    require: Require,
    protected_users: BTreeSet<String>,
    origins: Vec<Arc<Origin>>,
    deny: Vec<Deny>,
    answer: Answer,
    on_revoke: OnRevoke,
    drain: Duration,
    by_address: AddressTable,
    /// Origins that match any address; they mention nobody.
    any_address: Vec<u32>,
    deny_by_address: AddressTable,
    deny_any_address: Vec<u32>,
    /// The exclusive origins that list a user, by user.
    reservations: HashMap<String, Vec<u32>>,
}

/// What one look at the client's address tells, before a byte is read: the cheap test for strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortlist {
    mentioned: bool,
    possible: bool,
}

impl Shortlist {
    /// Some origin names this address by address or network.
    pub const fn is_mentioned(self) -> bool {
        self.mentioned
    }

    /// Some origin could match this address, be it only through `any`.
    pub const fn is_possible(self) -> bool {
        self.possible
    }
}

impl Policy {
    /// Indexes the rules. `generation` counts the policies of a running gateway from 1.
    pub fn new(rules: Rules, generation: u64) -> Self {
        let mut reservations: HashMap<String, Vec<u32>> = HashMap::new();
        for (index, origin) in (0..).zip(&rules.origins) {
            if let (true, Names::Listed(users)) = (origin.exclusive, &origin.users) {
                for user in users {
                    reservations.entry(user.clone()).or_default().push(index);
                }
            }
        }
        Self {
            generation,
            require: rules.require,
            protected_users: rules.protected_users,
            by_address: AddressTable::new(rules.origins.iter().map(|o| o.from.as_slice())),
            any_address: naming_any(rules.origins.iter().map(|o| o.from.as_slice())),
            deny_by_address: AddressTable::new(rules.deny.iter().map(|d| d.from.as_slice())),
            deny_any_address: (0..)
                .zip(&rules.deny)
                .filter(|(_, d)| d.from.is_empty() || d.from.contains(&From::Any))
                .map(|(index, _)| index)
                .collect(),
            origins: rules.origins.into_iter().map(Arc::new).collect(),
            deny: rules.deny,
            answer: rules.answer,
            on_revoke: rules.on_revoke,
            drain: rules.drain,
            reservations,
        }
    }

    pub const fn generation(&self) -> u64 {
        self.generation
    }

    pub const fn require(&self) -> Require {
        self.require
    }

    pub const fn answer(&self) -> Answer {
        self.answer
    }

    pub const fn on_revoke(&self) -> OnRevoke {
        self.on_revoke
    }

    pub const fn drain(&self) -> Duration {
        self.drain
    }

    /// The origins in the order of the file.
    pub fn origins(&self) -> &[Arc<Origin>] {
        &self.origins
    }

    /// What the address alone tells: one look-up, no allocation.
    pub fn screen(&self, address: IpAddr) -> Shortlist {
        let mentioned = self
            .by_address
            .matching(canonical(address))
            .next()
            .is_some();
        Shortlist {
            mentioned,
            possible: mentioned || !self.any_address.is_empty(),
        }
    }

    /// Whether a `deny` entry refuses this address whoever the user is. For requests that name no user (cancel).
    pub fn denies_address(&self, address: IpAddr) -> bool {
        self.address_denial(address).is_some()
    }

    /// The denial of an address that a `deny` entry refuses whoever the user is. For MySQL, where the server speaks before
    /// the client has said who it is, and an address that cannot come in gets no greeting.
    pub fn address_denial(&self, address: IpAddr) -> Option<Denial> {
        let deny = self
            .deny_entries(canonical(address))
            .find(|deny| deny.users.is_empty())?;
        Some(Denial {
            reason: Reason::DenyRule,
            rule: Some(Arc::clone(&deny.name)),
        })
    }

    /// The next moment after `now` at which an origin expires, so that live sessions are decided again then.
    pub fn next_expiry(&self, now: SystemTime) -> Option<SystemTime> {
        let expiries = self.origins.iter().filter_map(|origin| origin.expires);
        expiries.filter(|at| *at > now).min()
    }

    fn deny_entries(&self, address: IpAddr) -> impl Iterator<Item = &Deny> {
        let by_address = self.deny_by_address.matching(address);
        by_address
            .flat_map(|(_, entries)| entries)
            .chain(&self.deny_any_address)
            .filter_map(|index| self.deny.get(*index as usize))
    }
}

fn naming_any<'a>(froms: impl Iterator<Item = &'a [From]>) -> Vec<u32> {
    (0..)
        .zip(froms)
        .filter(|(_, from)| from.contains(&From::Any))
        .map(|(index, _)| index)
        .collect()
}

#[cfg(test)]
mod tests;
