//! One origin: who may connect, and what for. Floor 0.

use std::{fmt, sync::Arc, time::SystemTime};

use ipnet::IpNet;

use super::{Claim, Reason, Replication, Require};

/// Where an origin's clients connect from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A network without host bits; a single address is a network of full length.
    Network(IpNet),
    /// Every address. It mentions nobody.
    Any,
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

    pub const fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }
}

/// One entry of the allowlist. All conditions must hold together.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Unique, `[a-z0-9-]`: becomes a metric label.
    pub name: Arc<str>,
    /// Where it stands in the file, counted from 1.
    pub line: u32,
    pub from: Vec<From>,
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
    /// The most sessions at a time.
    pub connections: Option<u32>,
}

/// An entry that refuses, wherever it is written. All given keys must match.
#[derive(Clone, Debug)]
pub struct Deny {
    pub name: Arc<str>,
    pub line: u32,
    /// Empty: every address.
    pub from: Vec<From>,
    /// Empty: every user.
    pub users: Vec<String>,
}

impl Deny {
    pub(super) fn names_user(&self, user: &str) -> bool {
        self.users.is_empty() || self.users.iter().any(|listed| listed == user)
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
}

impl Condition {
    pub const ALL: [Self; 8] = [
        Self::From,
        Self::Listener,
        Self::User,
        Self::Database,
        Self::Replication,
        Self::Active,
        Self::Expires,
        Self::Tls,
    ];

    /// The reason of a refusal in which this condition failed.
    pub const fn reason(self) -> Reason {
        match self {
            Self::From => Reason::NoOrigin,
            Self::Listener => Reason::ListenerNotAllowed,
            Self::User => Reason::UserNotAllowed,
            Self::Database => Reason::DatabaseNotAllowed,
            Self::Replication => Reason::ReplicationNotAllowed,
            Self::Active => Reason::Inactive,
            Self::Expires => Reason::Expired,
            Self::Tls => Reason::TlsRequired,
        }
    }

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

impl Origin {
    /// Whether the origin names the address, or takes any.
    pub fn covers(&self, address: std::net::IpAddr) -> bool {
        let address = super::canonical(address);
        self.from.iter().any(|from| match from {
            From::Network(network) => network.contains(&address),
            From::Any => true,
        })
    }

    pub(super) fn holds(&self, condition: Condition, case: Case<'_>) -> bool {
        let claim = case.claim;
        match condition {
            Condition::From => self.covers(claim.address),
            Condition::Listener => self.listeners.contains(&claim.listener),
            Condition::User => match &self.users {
                Names::Any => !case.protected,
                listed @ Names::Listed(_) => listed.contains(&claim.user),
            },
            // physical replication opens no database, and a MySQL session may begin without one
            Condition::Database => claim
                .database
                .as_ref()
                .is_none_or(|database| self.databases.contains(database)),
            Condition::Replication => {
                let ordinary_too =
                    self.replication == Some(Replication::Commands) && claim.replication.is_none();
                ordinary_too || self.replication == claim.replication
            }
            Condition::Active => self.active,
            Condition::Expires => self.expires.is_none_or(|at| case.now < at),
            Condition::Tls => claim.tls.is_some() || !case.require.tls,
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
            Condition::Tls => require.tls,
        }
    }

    /// The first condition after `From` that does not hold; `From` itself was answered by the address table.
    pub(super) fn first_failure(&self, case: Case<'_>) -> Option<Condition> {
        Condition::ALL
            .into_iter()
            .skip(1)
            .find(|condition| !self.holds(*condition, case))
    }
}
