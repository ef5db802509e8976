//! The decision, and the permit that proves it. Floor 0.

use std::{cmp::Reverse, net::IpAddr, sync::Arc, time::SystemTime};

use super::{Claim, Condition, Names, Origin, Policy, canonical, origin::Case};

/// Proof that a policy said yes. Only [`Policy::decide`] makes one, and the way to a database socket asks for one.
#[derive(Clone, Debug)]
pub struct Permit {
    origin: Arc<Origin>,
    generation: u64,
}

impl Permit {
    /// The origin that admits the session: its limits and meters.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The policy that said yes, see [`Policy::generation`].
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

/// A no of the policy. `Display` is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", reason.sentence(), rule.as_ref().map(|name| format!(" (\"{name}\")")).unwrap_or_default())]
pub struct Denial {
    pub reason: Reason,
    /// The deny rule that hit, or the origin that came nearest.
    pub rule: Option<Arc<str>>,
}

/// Why a connection was admitted or refused: exactly one. A closed set, so it may be a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    Allowed,
    DenyRule,
    ExclusiveUser,
    NoOrigin,
    ListenerNotAllowed,
    UserNotAllowed,
    DatabaseNotAllowed,
    ReplicationNotAllowed,
    Expired,
    Inactive,
    TlsRequired,
    LimitConnections,
    LimitGlobal,
    AuthenticationMissing,
    TlsFailed,
    MalformedOpening,
    OpeningTimeout,
    UpstreamUnreachable,
    UpstreamRefused,
    ShuttingDown,
}

impl Reason {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::DenyRule => "deny_rule",
            Self::ExclusiveUser => "exclusive_user",
            Self::NoOrigin => "no_origin",
            Self::ListenerNotAllowed => "listener_not_allowed",
            Self::UserNotAllowed => "user_not_allowed",
            Self::DatabaseNotAllowed => "database_not_allowed",
            Self::ReplicationNotAllowed => "replication_not_allowed",
            Self::Expired => "expired",
            Self::Inactive => "inactive",
            Self::TlsRequired => "tls_required",
            Self::LimitConnections => "limit_connections",
            Self::LimitGlobal => "limit_global",
            Self::AuthenticationMissing => "authentication_missing",
            Self::TlsFailed => "tls_failed",
            Self::MalformedOpening => "malformed_opening",
            Self::OpeningTimeout => "opening_timeout",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamRefused => "upstream_refused",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// What happened, for a person. Names nobody: it may be shown to a client.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::DenyRule => "a deny rule matches",
            Self::ExclusiveUser => "this user is reserved for another origin",
            Self::NoOrigin => "no origin names this address",
            Self::ListenerNotAllowed => "the origin may not use this listener",
            Self::UserNotAllowed => "the origin may not log in as this user",
            Self::DatabaseNotAllowed => "the origin may not open this database",
            Self::ReplicationNotAllowed => {
                "the origin's replication right does not fit this connection"
            }
            Self::Expired => "the origin has expired",
            Self::Inactive => "the origin is switched off",
            Self::TlsRequired => "the connection is not encrypted",
            Self::LimitConnections => "the origin has no free connection",
            Self::LimitGlobal => "too many connections are being opened",
            Self::AuthenticationMissing => "the server asked for no proof of identity",
            Self::TlsFailed => "the TLS handshake failed",
            Self::MalformedOpening => "the opening is malformed",
            Self::OpeningTimeout => "the opening took too long",
            Self::UpstreamUnreachable => "the server behind the gateway cannot be reached",
            Self::UpstreamRefused => "the server behind the gateway refused",
            Self::ShuttingDown => "the gateway is shutting down",
        }
    }
}

/// The places that an origin's limit leaves. Taking one is part of the decision, so that two clients never share the last.
pub trait Room {
    /// Held as long as the session lives; gives the place back when dropped.
    type Seat;

    /// `None` when the origin is full.
    fn take(&self, origin: &Origin) -> Option<Self::Seat>;
}

/// Room without limits, for questions about rules alone.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Room for Unlimited {
    type Seat = ();

    fn take(&self, _: &Origin) -> Option<()> {
        Some(())
    }
}

/// Leave to forward one cancel request. A cancel names no user, so it is not a [`Permit`]; only
/// [`Policy::decide_cancel`] makes one.
#[derive(Debug)]
pub struct CancelPermit(());

impl Policy {
    /// Whether a cancel request from this address may go to the database. `session` is the origin of the session that the
    /// key belongs to, where this gateway knows it; an unknown key may pass only from an address that some origin mentions.
    pub fn decide_cancel(&self, address: IpAddr, session: Option<&Origin>) -> Option<CancelPermit> {
        let fits = session.map_or_else(
            || self.screen(address).is_mentioned(),
            |origin| origin.covers(address),
        );
        (fits && !self.denies_address(address)).then_some(CancelPermit(()))
    }

    /// The one decision, whatever path the connection took. Pure but for `room`, where the seat is taken.
    ///
    /// # Errors
    /// The denial with exactly one reason, attributed to the rule that caused it or the origin that came nearest.
    pub fn decide<R: Room>(
        &self,
        claim: &Claim,
        now: SystemTime,
        room: &R,
    ) -> Result<(Permit, R::Seat), Denial> {
        if let Some(deny) = self
            .deny_entries(canonical(claim.address))
            .find(|deny| deny.names_user(&claim.user))
        {
            return Err(Denial {
                reason: Reason::DenyRule,
                rule: Some(Arc::clone(&deny.name)),
            });
        }
        let reserving = self.reserving(claim);
        let Candidates { complete, nearest } = self.candidates(claim, now, reserving.as_deref());
        let reserved = reserving.is_some();
        let tried = if reserved { 1 } else { complete.len() };
        for (_, origin) in complete.iter().take(tried) {
            if let Some(seat) = room.take(origin) {
                let permit = Permit {
                    origin: Arc::clone(origin),
                    generation: self.generation,
                };
                return Ok((permit, seat));
            }
        }
        if let Some((_, full)) = complete.first() {
            return Err(Denial {
                reason: Reason::LimitConnections,
                rule: Some(Arc::clone(&full.name)),
            });
        }
        Err(
            match (nearest, reserving.and_then(|all| all.first().copied())) {
                (Some((condition, _, origin)), _) => Denial {
                    reason: condition.reason(),
                    rule: Some(Arc::clone(&origin.name)),
                },
                (None, Some(reserving)) => Denial {
                    reason: Reason::ExclusiveUser,
                    rule: Some(Arc::clone(&reserving.name)),
                },
                (None, None) => Denial {
                    reason: Reason::NoOrigin,
                    rule: None,
                },
            },
        )
    }

    /// The exclusive origins that list the claimed user on this listener; `None` where the user is free.
    fn reserving(&self, claim: &Claim) -> Option<Vec<&Arc<Origin>>> {
        let all = self.reservations.get(&claim.user)?;
        let here: Vec<_> = all
            .iter()
            .filter_map(|index| self.origins.get(*index as usize))
            .filter(|origin| origin.listeners.contains(&claim.listener))
            .collect();
        (!here.is_empty()).then_some(here)
    }

    /// Holds every origin that covers the address against the claim. With `only`, no others count.
    fn candidates(
        &self,
        claim: &Claim,
        now: SystemTime,
        only: Option<&[&Arc<Origin>]>,
    ) -> Candidates<'_> {
        let case = Case {
            claim,
            now,
            require: self.require,
            protected: self.protected_users.contains(&claim.user),
        };
        let named = self.by_address.matching(canonical(claim.address));
        let named =
            named.flat_map(|(prefix, rules)| rules.iter().map(move |rule| (Some(prefix), *rule)));
        let any = self.any_address.iter().map(|rule| (None, *rule));
        let mut complete: Vec<(Rank, &Arc<Origin>)> = Vec::new();
        let mut nearest: Option<(Condition, Rank, &Arc<Origin>)> = None;
        for (prefix, index) in named.chain(any) {
            let Some(origin) = self.origins.get(index as usize) else {
                continue;
            };
            if only.is_some_and(|only| !only.iter().any(|listed| Arc::ptr_eq(listed, origin))) {
                continue;
            }
            let rank = Rank::of(origin, prefix, index);
            match origin.first_failure(case) {
                // covered by several of its networks, it counts once: by the narrowest, which came first
                None if complete.iter().any(|(_, seen)| Arc::ptr_eq(seen, origin)) => {}
                None => complete.push((rank, origin)),
                // whom `any` names it does not know: only a fitting user makes it a near miss
                Some(_) if prefix.is_none() && !origin.holds(Condition::User, case) => {}
                Some(failed) => {
                    let nearer = nearest
                        .is_none_or(|(best, best_rank, _)| (failed, best_rank) > (best, rank));
                    if nearer {
                        nearest = Some((failed, rank, origin));
                    }
                }
            }
        }
        complete.sort_by_key(|(rank, _)| *rank);
        Candidates { complete, nearest }
    }
}

struct Candidates<'a> {
    /// Complete matches, most specific first.
    complete: Vec<(Rank, &'a Arc<Origin>)>,
    /// The origin that failed latest.
    nearest: Option<(Condition, Rank, &'a Arc<Origin>)>,
}

/// How specifically an origin matches; the smallest is the most specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    prefix: Reverse<Option<u8>>,
    any_user: bool,
    any_database: bool,
    place_in_file: u32,
}

impl Rank {
    const fn of(origin: &Origin, prefix: Option<u8>, place_in_file: u32) -> Self {
        Self {
            prefix: Reverse(prefix),
            any_user: matches!(origin.users, Names::Any),
            any_database: matches!(origin.databases, Names::Any),
            place_in_file,
        }
    }
}
