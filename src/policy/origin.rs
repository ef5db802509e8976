//! One origin: who may connect, and what for. Floor 0.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration, time::SystemTime};

use ipnet::IpNet;

use super::{Certificate, Claim, OnRevoke, Proof, Reason, Replication, Require, TlsVersion};

/// Where an origin's clients connect from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// A network without host bits; a single address is a network of full length.
    Network(IpNet),
    /// Every address. It mentions nobody.
    Any,
    /// A name whose addresses DNS knows, see [`Hosts`](super::Hosts).
    Host {
        name: Arc<str>,
        /// Whether answers that lead inside count, see [`HostAnswer::inward`](super::HostAnswer::inward).
        inward: bool,
    },
    /// A named network of the file.
    Set(Arc<str>),
}

/// A network as people write it: of full length it is its address.
#[derive(Clone, Copy, Debug)]
pub struct Cidr<'n>(pub &'n IpNet);

impl fmt::Display for Cidr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(network) = self;
        if network.prefix_len() == network.max_prefix_len() {
            write!(f, "{}", network.addr())
        } else {
            write!(f, "{network}")
        }
    }
}

/// A list of names, compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    Any,
    Listed(Vec<String>),
}

impl Names {
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(names) => names.iter().any(|listed| listed == name),
        }
    }

    /// Whether some name is in both.
    pub fn meets(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Listed(names), Self::Listed(others)) => {
                let others: HashSet<_> = others.iter().collect();
                names.iter().any(|name| others.contains(name))
            }
        }
    }

    pub const fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }
}

/// One entry of the allowlist. All conditions must hold together.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own in the file"
)]
pub struct Origin {
    /// Unique, `[a-z0-9-]`: becomes a metric label.
    pub name: Arc<str>,
    /// Where it stands in the file, counted from 1.
    pub line: u32,
    /// The included file that it stands in; `None` for the main file.
    pub file: Option<Arc<str>>,
    /// Given by `doorward allow` for a while; it stands in no file of a person's.
    pub temporary: bool,
    pub from: Vec<From>,
    pub proof: Option<Proof>,
    pub listeners: Names,
    pub users: Names,
    pub databases: Names,
    /// A right of its own: an origin with one of PostgreSQL's kinds admits no ordinary sessions.
    pub replication: Option<Replication>,
    /// MySQL: whether the server may ask the client for a file (`LOAD DATA LOCAL`).
    pub local_infile: bool,
    /// The listed users may come from here and from nowhere else on these listeners.
    pub exclusive: bool,
    pub active: bool,
    pub expires: Option<SystemTime>,
    /// Proof, limits and `tls.min` are on trial: what they would refuse is recorded and admitted.
    pub observe: bool,
    pub tls_min: Option<TlsVersion>,
    pub limits: OriginLimits,
    /// A longer round trip is worth a warning: the application is not where it is thought to be.
    pub expected_rtt: Option<Duration>,
    /// Stands before [`Rules::on_revoke`](super::Rules::on_revoke).
    pub on_revoke: Option<OnRevoke>,
    /// The file's own words about it.
    pub note: Option<Arc<str>>,
}

/// What one origin's clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginLimits {
    /// The most sessions at a time.
    pub connections: Option<u32>,
    pub new_per_minute: Option<u32>,
    /// How long a session may last.
    pub session: Option<Duration>,
    /// Failed logins of one user from one source; beyond it that pair is refused for the rest of the minute.
    pub failed_auth_per_minute: u32,
}

impl Default for OriginLimits {
    fn default() -> Self {
        Self {
            connections: None,
            new_per_minute: None,
            session: None,
            failed_auth_per_minute: 10,
        }
    }
}

/// An entry that refuses, wherever it is written. All given keys must match.
#[derive(Clone, Debug)]
pub struct Deny {
    pub name: Arc<str>,
    pub line: u32,
    /// As an origin's.
    pub file: Option<Arc<str>>,
    /// Empty: every address.
    pub from: Vec<From>,
    /// Empty: every user.
    pub users: Vec<String>,
    /// SHA-256 of certificates (DER), whether we trust them or not. Empty: with any certificate or none.
    pub certificates: Vec<[u8; 32]>,
}

impl Deny {
    pub(super) fn is_everywhere(&self) -> bool {
        self.from.is_empty() || self.from.contains(&From::Any)
    }

    /// Whether it has to see what a client shows.
    pub(super) const fn asks(&self) -> bool {
        !self.certificates.is_empty()
    }

    pub(super) fn names_user(&self, user: &str) -> bool {
        self.users.is_empty() || self.users.iter().any(|listed| listed == user)
    }

    pub(super) fn names_certificate(&self, certificate: Option<&Certificate>) -> bool {
        self.certificates.is_empty()
            || certificate.is_some_and(|shown| self.certificates.contains(&shown.sha256))
    }
}

/// The conditions of an origin in the order in which they are tried. The one that fails last is the nearest miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    From,
    Listener,
    User,
    Database,
    Replication,
    Active,
    Expires,
    Tls,
    Proof,
}

impl Condition {
    pub const ALL: [Self; 9] = [
        Self::From,
        Self::Listener,
        Self::User,
        Self::Database,
        Self::Replication,
        Self::Active,
        Self::Expires,
        Self::Tls,
        Self::Proof,
    ];

    /// The column of `doorward why`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Listener => "listener",
            Self::User => "user",
            Self::Database => "database",
            Self::Replication => "replication",
            Self::Active => "active",
            Self::Expires => "expires",
            Self::Tls => "tls",
            Self::Proof => "proof",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What an origin is held against.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) claim: &'a Claim,
    pub(super) now: SystemTime,
    pub(super) require: Require,
    /// The claimed user is one that "any user" does not cover.
    pub(super) protected: bool,
}

/// How an origin that names the address answers beyond that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Whole,
    /// Only a condition on trial does not hold.
    Spared(Reason),
    Failed(Condition, Reason),
}

impl Origin {
    /// One that asks for nothing but the address.
    pub fn new(name: impl Into<Arc<str>>, from: Vec<From>) -> Self {
        Self {
            name: name.into(),
            line: 0,
            file: None,
            temporary: false,
            from,
            proof: None,
            listeners: Names::Any,
            users: Names::Any,
            databases: Names::Any,
            replication: None,
            local_infile: false,
            exclusive: false,
            active: true,
            expires: None,
            observe: false,
            tls_min: None,
            limits: OriginLimits::default(),
            expected_rtt: None,
            on_revoke: None,
            note: None,
        }
    }

    /// Why a condition does not hold; `None` if it does. `From` is the address table's to answer.
    pub(super) fn failure(&self, condition: Condition, case: Case<'_>) -> Option<Reason> {
        let claim = case.claim;
        let (holds, reason) = match condition {
            Condition::From => (true, Reason::NoOrigin),
            Condition::Listener => (
                self.listeners.contains(&claim.listener),
                Reason::ListenerNotAllowed,
            ),
            Condition::User => {
                let fits = match &self.users {
                    Names::Any => !case.protected,
                    listed @ Names::Listed(_) => listed.contains(&claim.user),
                };
                (fits, Reason::UserNotAllowed)
            }
            Condition::Database => {
                // physical replication opens no database, and a MySQL session may begin without one
                let database = claim.database.as_ref();
                let fits = database.is_none_or(|database| self.databases.contains(database));
                (fits, Reason::DatabaseNotAllowed)
            }
            Condition::Replication => {
                let ordinary_too =
                    self.replication == Some(Replication::Commands) && claim.replication.is_none();
                let fits = ordinary_too || self.replication == claim.replication;
                (fits, Reason::ReplicationNotAllowed)
            }
            Condition::Active => (self.active, Reason::Inactive),
            Condition::Expires => (self.expires.is_none_or(|at| case.now < at), Reason::Expired),
            Condition::Tls if claim.tls.is_none() => {
                let asked = case.require.tls || self.tls_min.is_some();
                (!asked, Reason::TlsRequired)
            }
            Condition::Tls => (claim.tls >= self.tls_min, Reason::TlsVersion),
            Condition::Proof => return self.proof.as_ref().and_then(|proof| proof.failure(case)),
        };
        (!holds).then_some(reason)
    }

    /// Whether its extra conditions are on trial for this claim. No trial admits replication.
    pub(super) const fn observes(&self, claim: &Claim) -> bool {
        self.observe && claim.replication.is_none()
    }

    /// Whether a failure of this condition is only recorded. The file's floors are never on trial.
    pub(super) fn tries(&self, condition: Condition, case: Case<'_>) -> bool {
        let floor = case.require.tls && case.claim.tls.is_none();
        self.observes(case.claim)
            && match condition {
                Condition::Proof => true,
                Condition::Tls => !floor,
                Condition::From
                | Condition::Listener
                | Condition::User
                | Condition::Database
                | Condition::Replication
                | Condition::Active
                | Condition::Expires => false,
            }
    }

    /// Whether the origin asks anything by this condition.
    pub(super) fn asks(&self, condition: Condition, require: Require) -> bool {
        match condition {
            Condition::From => !self.from.contains(&From::Any),
            Condition::Listener => !self.listeners.is_any(),
            Condition::User => !self.users.is_any(),
            Condition::Database => !self.databases.is_any(),
            Condition::Replication => self
                .replication
                .is_some_and(|kind| kind != Replication::Commands),
            Condition::Active => !self.active,
            Condition::Expires => self.expires.is_some(),
            Condition::Tls => require.tls || self.tls_min.is_some(),
            Condition::Proof => self.proof.is_some(),
        }
    }

    /// Tries the conditions one after the other; the address was answered by the table.
    pub(super) fn fit(&self, case: Case<'_>) -> Fit {
        let mut spared = None;
        for condition in Condition::ALL {
            match self.failure(condition, case) {
                None => {}
                Some(reason) if self.tries(condition, case) => spared = spared.or(Some(reason)),
                Some(reason) => return Fit::Failed(condition, reason),
            }
        }
        spared.map_or(Fit::Whole, Fit::Spared)
    }
}
