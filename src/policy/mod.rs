//! Who may reach the database. Floor 0: pure functions of a policy, a claim and the time.
//!
//! Nothing here knows a socket, a clock, a file, a metric or YAML. `config` builds a [`Policy`];
//! every path to the database asks [`Policy::decide`], and `doorward why` asks [`Policy::explain`], which
//! runs the same code. The order of the file never matters to a verdict.

mod addresses;
mod any;
mod certificate;
mod claim;
mod decide;
mod explain;
mod hosts;
mod origin;
mod proof;
mod reason;
mod rehearsal;
mod rules;
#[cfg(test)]
pub(crate) mod samples;
mod temporary;
mod unseen;

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::SystemTime};

use ipnet::IpNet;

use addresses::{AddressTable, Entry};
use any::AnyAddress;
pub use certificate::{Certificate, Validity};
pub use claim::{Claim, ListenerName, Replication, TlsVersion, canonical};
pub use decide::{CancelPermit, Cancelled, Full, NO_ORIGIN, Permit, Room, Unlimited, Unspared};
pub use explain::{Explanation, Outcome, Tried, Verdict};
pub use hosts::{Freshness, HostAnswer, Hosts};
use origin::Case;
pub use origin::{Cidr, Condition, Deny, From, Names, Origin, OriginLimits};
pub use proof::Proof;
pub use reason::{Denial, Reason};
pub use rehearsal::{Expected, Mismatch, Rehearsal};
pub use rules::{Answer, Ban, Ceiling, NamedNetwork, Observe, OnRevoke, Require, Rules, Strangers};
pub use temporary::AboveCeiling;
pub use unseen::is_unseen;

/// An immutable set of rules, indexed for looking up addresses. Made anew whenever a rule or what DNS says of it changes.
#[derive(Debug)]
pub struct Policy {
    generation: u64,
    rules: Arc<Rules>,
    hosts: Hosts,
    by_address: AddressTable,
    any_address: AnyAddress,
    deny_by_address: AddressTable,
    deny_any_address: Vec<u32>,
    /// Whether clients from everywhere are asked for a certificate.
    asks_everybody: bool,
    /// The exclusive origins that list a user, by user.
    reservations: HashMap<String, Vec<u32>>,
    by_name: HashMap<Arc<str>, u32>,
}

/// What one look at the client's address tells, before a byte is read: the cheap test for strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortlist {
    mentioned: bool,
    possible: bool,
    asks: bool,
}

impl Shortlist {
    /// Some origin names this address: by itself, its network, an unshared set or a host.
    pub const fn is_mentioned(self) -> bool {
        self.mentioned
    }

    /// What a client from this address shows of itself can change its decision: some origin that could match asks for proof, or
    /// some deny rule names a certificate. Nobody else is asked for a certificate, for one that is no good breaks handshakes of
    /// clients that need none.
    pub const fn asks_for_certificate(self) -> bool {
        self.asks
    }

    /// Some origin could match this address, be it only through `any` or a shared set, or it is observed.
    pub const fn is_possible(self) -> bool {
        self.possible
    }
}

impl Policy {
    /// Indexes the rules. `generation` counts the policies of a running gateway from 1.
    pub fn new(rules: impl Into<Arc<Rules>>, hosts: &Hosts, generation: u64) -> Self {
        let rules = rules.into();
        let sets: HashMap<&str, &NamedNetwork> =
            rules.networks.iter().map(|set| (&*set.name, set)).collect();
        let named = |froms: &[From], rule: u32| {
            let mut entries = Vec::new();
            for from in froms {
                entries.extend(resolved(from, rule, &sets, hosts));
            }
            entries
        };
        let origins = || (0..).zip(&rules.origins);
        let deny = || (0..).zip(&rules.deny);
        let mut reservations: HashMap<String, Vec<u32>> = HashMap::new();
        for (index, origin) in origins() {
            if let (true, Names::Listed(users)) = (origin.exclusive, &origin.users) {
                for user in users {
                    reservations.entry(user.clone()).or_default().push(index);
                }
            }
        }
        Self {
            generation,
            by_address: AddressTable::new(
                origins().flat_map(|(index, origin)| named(&origin.from, index)),
            ),
            any_address: AnyAddress::new(
                origins().filter(|(_, origin)| origin.from.contains(&From::Any)),
            ),
            deny_by_address: AddressTable::new(
                deny().flat_map(|(index, deny)| named(&deny.from, index)),
            ),
            deny_any_address: deny()
                .filter(|(_, deny)| deny.is_everywhere())
                .map(|(index, _)| index)
                .collect(),
            by_name: origins()
                .map(|(index, origin)| (Arc::clone(&origin.name), index))
                .collect(),
            asks_everybody: origins()
                .any(|(_, origin)| origin.proof.is_some() && origin.from.contains(&From::Any))
                || deny().any(|(_, deny)| deny.is_everywhere() && deny.asks()),
            reservations,
            hosts: hosts.clone(),
            rules,
        }
    }

    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What it was made of.
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// What DNS said of the hosts that the rules name.
    pub const fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The origins in the order of the file.
    pub fn origins(&self) -> &[Arc<Origin>] {
        &self.rules.origins
    }

    pub fn origin(&self, name: &str) -> Option<&Arc<Origin>> {
        self.named(name).map(|(_, origin)| origin)
    }

    /// What the address alone tells: one look-up, no allocation.
    pub fn screen(&self, address: IpAddr) -> Shortlist {
        let (mut shared, mut mentioned, mut proofs) = (false, false, false);
        for (_, entry) in self.covering(canonical(address)) {
            shared = true;
            mentioned |= entry.mentions;
            let origin = self.rules.origins.get(entry.rule as usize);
            proofs |= origin.is_some_and(|origin| origin.proof.is_some());
        }
        let observed = || {
            let observe = self.rules.observe.as_ref();
            observe.is_some_and(|observe| observe.covers(address))
        };
        Shortlist {
            mentioned,
            possible: shared || !self.any_address.is_empty() || observed(),
            asks: proofs || self.asks_everybody || self.denies_certificates(canonical(address)),
        }
    }

    /// The denial of an address that a `deny` entry refuses whoever the user is. For MySQL, where the server speaks before
    /// the client has said who it is, and an address that cannot come in gets no greeting.
    pub fn address_denial(&self, address: IpAddr) -> Option<Denial> {
        let deny = self
            .deny_entries(canonical(address))
            .find(|deny| deny.users.is_empty() && deny.certificates.is_empty())?;
        Some(Denial {
            reason: Reason::DenyRule,
            rule: Some(Arc::clone(&deny.name)),
        })
    }

    /// The next moment after `now` at which the clock alone changes decisions, so that live sessions are decided again then.
    pub fn next_expiry(&self, now: SystemTime) -> Option<SystemTime> {
        let expiries = self
            .rules
            .origins
            .iter()
            .filter_map(|origin| origin.expires);
        let observed = self.rules.observe.as_ref().map(|observe| observe.until);
        expiries.chain(observed).filter(|at| *at > now).min()
    }

    fn named(&self, name: &str) -> Option<(u32, &Arc<Origin>)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.rules.origins.get(index as usize)?))
    }

    /// That origins name the canonical address, narrowest network first; `any` is not among it.
    fn covering(&self, address: IpAddr) -> impl Iterator<Item = (u8, Entry)> {
        self.by_address
            .matching(address)
            .flat_map(|(prefix, entries)| entries.iter().map(move |entry| (prefix, *entry)))
    }

    /// Whether a deny rule for this very address names certificates.
    fn denies_certificates(&self, address: IpAddr) -> bool {
        let covering = self.deny_by_address.matching(address);
        let mut entries = covering.flat_map(|(_, entries)| entries);
        entries.any(|entry| {
            let deny = self.rules.deny.get(entry.rule as usize);
            deny.is_some_and(Deny::asks)
        })
    }

    fn deny_entries(&self, address: IpAddr) -> impl Iterator<Item = &Deny> {
        let by_address = self.deny_by_address.matching(address);
        by_address
            .flat_map(|(_, entries)| entries.iter().map(|entry| entry.rule))
            .chain(self.deny_any_address.iter().copied())
            .filter_map(|index| self.rules.deny.get(index as usize))
    }
}

/// The networks that an entry of `from` stands for at this moment.
fn resolved(
    from: &From,
    rule: u32,
    sets: &HashMap<&str, &NamedNetwork>,
    hosts: &Hosts,
) -> Vec<(IpNet, Entry)> {
    let entry = Entry {
        rule,
        mentions: true,
        stale: false,
    };
    match from {
        From::Any => Vec::new(),
        From::Network(network) => vec![(*network, entry)],
        From::Set(name) => sets.get(&**name).map_or_else(Vec::new, |set| {
            let entry = Entry {
                mentions: !set.shared,
                ..entry
            };
            set.addresses
                .iter()
                .map(|network| (*network, entry))
                .collect()
        }),
        From::Host { name, inward } => hosts.get(name).map_or_else(Vec::new, |answer| {
            let entry = Entry {
                stale: answer.is_stale(),
                ..entry
            };
            let inward = if *inward {
                answer.inward.as_slice()
            } else {
                &[]
            };
            let addresses = answer.addresses.iter().chain(inward);
            addresses
                .map(|address| (IpNet::from(canonical(*address)), entry))
                .collect()
        }),
    }
}

#[cfg(test)]
mod tests;
