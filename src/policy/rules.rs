//! What a policy is made of, as `config` has read it. Floor 0. Not yet indexed.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration, time::SystemTime};

use ipnet::IpNet;

use super::{Deny, From, Names, Origin, Rehearsal};

/// Everything the file says about who may come in.
#[derive(Clone, Debug)]
pub struct Rules {
    pub require: Require,
    /// Users that "any user" never covers.
    pub protected_users: BTreeSet<String>,
    pub networks: Vec<NamedNetwork>,
    pub origins: Vec<Arc<Origin>>,
    pub deny: Vec<Deny>,
    pub observe: Option<Observe>,
    pub strangers: Strangers,
    pub on_revoke: OnRevoke,
    /// How long a session that is drained may go on.
    pub drain: Duration,
    pub temporary: Ceiling,
    /// The file's `tests`.
    pub tests: Vec<Rehearsal>,
}

impl Rules {
    /// The hosts whose addresses somebody has to look up.
    pub fn hosts(&self) -> BTreeSet<Arc<str>> {
        let named = self.origins.iter().flat_map(|origin| &origin.from);
        let hosts = named.filter_map(|from| match from {
            From::Host { name, .. } => Some(Arc::clone(name)),
            From::Network(_) | From::Any | From::Set(_) => None,
        });
        hosts.collect()
    }
}

/// Floors that no origin can go under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Require {
    /// The client's connection must be encrypted.
    pub tls: bool,
    /// A session that the database lets in without a challenge is ended.
    pub authentication: bool,
}

/// An address set that rules name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNetwork {
    pub name: Arc<str>,
    /// Strangers use these addresses, too: they mention nobody and need a proof.
    pub shared: bool,
    pub addresses: Vec<IpNet>,
}

/// For a while, from some addresses, a refusal by the policy is an admission that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    pub until: SystemTime,
    pub from: Vec<IpNet>,
}

impl Observe {
    /// Whether the address is under observation, at whatever time.
    pub fn covers(&self, address: IpAddr) -> bool {
        let address = super::canonical(address);
        self.from.iter().any(|network| network.contains(&address))
    }
}

/// How addresses are treated that no origin mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strangers {
    pub answer: Answer,
    pub ban: Ban,
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

/// A stranger who fails `after` times `within` a time is not heard `length` long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    pub after: u32,
    pub within: Duration,
    /// `for` in the file.
    pub length: Duration,
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

/// The most that a temporary origin may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    pub max: Duration,
    /// `Any`: every user that is neither protected nor reserved.
    pub users: Names,
    pub databases: Names,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            max: Duration::from_secs(8 * 60 * 60),
            users: Names::Any,
            databases: Names::Any,
        }
    }
}

impl Default for Ban {
    fn default() -> Self {
        Self {
            after: 10,
            within: Duration::from_secs(60),
            length: Duration::from_secs(15 * 60),
        }
    }
}
