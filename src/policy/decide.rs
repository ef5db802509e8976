//! The decision, and the permit that proves it. Floor 0.

use std::{cmp::Reverse, net::IpAddr, sync::Arc, time::SystemTime};

use super::{
    Certificate, Claim, Condition, Denial, Deny, Names, Origin, Policy, Reason, Validity,
    canonical,
    origin::{Case, Fit},
};

/// Proof that a policy said yes. Only [`Policy::decide`] makes one, and the way to a database socket asks for one.
#[derive(Clone, Debug)]
pub struct Permit {
    origin: Option<Arc<Origin>>,
    /// Boxed, for few have one and every session keeps its permit.
    spared: Option<Box<Denial>>,
    generation: u64,
}

impl Permit {
    /// The origin that admits the session: its limits and meters. `None` for one that only an observation admits.
    pub const fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }

    /// The origin's name, or [`NO_ORIGIN`]: a label.
    pub fn name(&self) -> &str {
        self.origin
            .as_ref()
            .map_or(NO_ORIGIN, |origin| &origin.name)
    }

    /// The same, to be kept.
    pub fn shared_name(&self) -> Arc<str> {
        let origin = self.origin.as_ref();
        origin.map_or_else(|| NO_ORIGIN.into(), |origin| Arc::clone(&origin.name))
    }

    /// The denial that an observation spared the session.
    pub fn spared(&self) -> Option<&Denial> {
        self.spared.as_deref()
    }

    /// MySQL: whether the server may ask the client for a file.
    pub fn local_infile(&self) -> bool {
        self.origin
            .as_ref()
            .is_some_and(|origin| origin.local_infile)
    }

    /// The policy that said yes, see [`Policy::generation`].
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

/// The label of sessions that no origin admits but an observation. No origin can have this name.
pub const NO_ORIGIN: &str = "_none";

/// The places that an origin's limits leave. Taking one is part of the decision, so that two clients never share the last.
pub trait Room {
    /// Held as long as the session lives; gives the place back when dropped.
    type Seat;

    /// A place in the origin.
    ///
    /// # Errors
    /// The limit that stands against it.
    fn take(&self, origin: &Origin, claim: &Claim) -> Result<Self::Seat, Full>;

    /// A place past every limit: in an origin whose limits are on trial, or in none.
    fn spare(&self, origin: Option<&Origin>, claim: &Claim) -> Self::Seat;
}

/// What stands above an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unspared {
    /// The connection is not encrypted, and `require.tls` is a floor.
    Clear,
    /// The user is an exclusive origin's.
    Reserved,
    /// The user is one of `protected_users`.
    Protected,
    Replication,
    /// The certificate is revoked.
    Revoked,
}

/// Which limit leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Connections,
    Rate,
}

impl Full {
    const fn reason(self) -> Reason {
        match self {
            Self::Connections => Reason::LimitConnections,
            Self::Rate => Reason::LimitRate,
        }
    }
}

/// Room without limits, for questions about rules alone.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Room for Unlimited {
    type Seat = ();

    fn take(&self, _: &Origin, _: &Claim) -> Result<(), Full> {
        Ok(())
    }

    fn spare(&self, _: Option<&Origin>, _: &Claim) {}
}

/// Leave to forward one cancel request. A cancel names no user, so it is not a [`Permit`]; only
/// [`Policy::decide_cancel`] makes one.
#[derive(Debug)]
pub struct CancelPermit(());

/// The session that a cancel request is for.
#[derive(Clone, Copy, Debug)]
pub struct Cancelled<'a> {
    /// The name of the origin that admits it, or [`NO_ORIGIN`].
    pub origin: &'a str,
    /// Where it comes from.
    pub address: IpAddr,
}

/// New: being admitted. Live: decided again; may rely on DNS answers too old to admit a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    New,
    Live,
}

impl Policy {
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
        self.decide_at_age(claim, now, room, Age::New)
    }

    /// The same for a session that is already there.
    ///
    /// # Errors
    /// As [`Policy::decide`].
    pub fn decide_again<R: Room>(
        &self,
        claim: &Claim,
        now: SystemTime,
        room: &R,
    ) -> Result<(Permit, R::Seat), Denial> {
        self.decide_at_age(claim, now, room, Age::Live)
    }

    fn decide_at_age<R: Room>(
        &self,
        claim: &Claim,
        now: SystemTime,
        room: &R,
        age: Age,
    ) -> Result<(Permit, R::Seat), Denial> {
        if let Some(deny) = self.denying(claim) {
            return Err(Denial {
                reason: Reason::DenyRule,
                rule: Some(Arc::clone(&deny.name)),
            });
        }
        let case = self.case(claim, now);
        let reserving = self.reserving(claim);
        let candidates = self.candidates(case, age, reserving.as_deref());
        let Some(denial) = self.seat(&candidates, reserving.is_some(), claim, room) else {
            let denial = candidates.missed(self, reserving.as_deref());
            return self.observed(case, denial, room);
        };
        denial.or_else(|full| self.observed(case, full, room))
    }

    /// A seat in the most specific complete match that has room; in one whose limits are on trial where none has. `None`: nothing
    /// matches.
    fn seat<R: Room>(
        &self,
        candidates: &Candidates<'_>,
        reserved: bool,
        claim: &Claim,
        room: &R,
    ) -> Option<Result<(Permit, R::Seat), Denial>> {
        let complete = &candidates.complete;
        // whoever is reserved has one place, and no other takes it in
        let tried = if reserved { 1 } else { complete.len() };
        let permit = |found: &Found<'_>, spared: Option<Denial>| Permit {
            origin: Some(Arc::clone(found.origin)),
            spared: spared.map(Box::new),
            generation: self.generation,
        };
        let (mut full, mut on_trial) = (None, None);
        for found in complete.iter().take(tried) {
            match room.take(found.origin, claim) {
                Ok(seat) => {
                    let spared = found.spared.map(|reason| found.denial(reason));
                    return Some(Ok((permit(found, spared), seat)));
                }
                Err(limit) => {
                    full.get_or_insert_with(|| found.denial(limit.reason()));
                    if found.origin.observes(claim) {
                        let spared = found.spared.unwrap_or_else(|| limit.reason());
                        on_trial.get_or_insert((found, spared));
                    }
                }
            }
        }
        if let Some((found, spared)) = on_trial {
            let seat = room.spare(Some(found.origin), claim);
            return Some(Ok((permit(found, Some(found.denial(spared))), seat)));
        }
        full.map(Err)
    }

    /// What becomes of a denial under the file's `observe`.
    fn observed<R: Room>(
        &self,
        case: Case<'_>,
        denial: Denial,
        room: &R,
    ) -> Result<(Permit, R::Seat), Denial> {
        if !self.observes(case) || self.unspared(case).is_some() {
            return Err(denial);
        }
        let permit = Permit {
            origin: None,
            spared: Some(Box::new(denial)),
            generation: self.generation,
        };
        Ok((permit, room.spare(None, case.claim)))
    }

    /// Whether the file's `observe` is about this address, at this time.
    pub(super) fn observes(&self, case: Case<'_>) -> bool {
        let observe = self.rules.observe.as_ref();
        observe
            .is_some_and(|observe| case.now < observe.until && observe.covers(case.claim.address))
    }

    /// Why no observation spares this claim a denial: it never spares what is denied, reserved, protected or revoked, nor goes under
    /// a floor, nor admits replication.
    pub(super) fn unspared(&self, case: Case<'_>) -> Option<Unspared> {
        let claim = case.claim;
        // by the certificate, not by the reason: another origin may have come nearer
        let shown = claim.certificate.as_ref();
        let revoked = shown.is_some_and(|shown| shown.validity == Validity::Revoked);
        let standing = [
            (claim.tls.is_none() && case.require.tls, Unspared::Clear),
            (self.reserving(claim).is_some(), Unspared::Reserved),
            (case.protected, Unspared::Protected),
            (claim.replication.is_some(), Unspared::Replication),
            (revoked, Unspared::Revoked),
        ];
        let found = standing.into_iter().find(|(stands, _)| *stands);
        found.map(|(_, unspared)| unspared)
    }

    /// Whether a cancel request from this address may go to the database. `session` is the one that the key belongs to, where it is
    /// known; `certificate` is the cancel's own.
    ///
    /// Who cancels a session must be where its origin's clients are. Where the origin asks for a proof, an address of it proves
    /// little, and old clients show no certificate with a cancel: there it must come from the session's own address.
    pub fn decide_cancel(
        &self,
        address: IpAddr,
        certificate: Option<&Certificate>,
        now: SystemTime,
        session: Option<Cancelled<'_>>,
    ) -> Option<CancelPermit> {
        let address = canonical(address);
        let denied = self
            .deny_entries(address)
            .any(|deny| deny.users.is_empty() && deny.names_certificate(certificate));
        let fits = match session {
            None => self.screen(address).is_mentioned(),
            Some(session) if session.origin == NO_ORIGIN => {
                let observe = self.rules.observe.as_ref();
                observe.is_some_and(|observe| now < observe.until && observe.covers(address))
            }
            Some(session) => self.may_cancel(session, address),
        };
        (fits && !denied).then_some(CancelPermit(()))
    }

    fn may_cancel(&self, session: Cancelled<'_>, address: IpAddr) -> bool {
        self.named(session.origin).is_some_and(|(index, origin)| {
            if origin.proof.is_some() {
                return address == canonical(session.address);
            }
            self.covering(address)
                .any(|(_, entry)| entry.rule == index && entry.mentions)
        })
    }

    /// The deny rule that hits the claim.
    fn denying(&self, claim: &Claim) -> Option<&Deny> {
        let certificate = claim.certificate.as_deref();
        self.deny_entries(canonical(claim.address))
            .find(|deny| deny.names_user(&claim.user) && deny.names_certificate(certificate))
    }

    pub(super) fn case<'a>(&self, claim: &'a Claim, now: SystemTime) -> Case<'a> {
        Case {
            claim,
            now,
            require: self.rules.require,
            protected: self.rules.protected_users.contains(&*claim.user),
        }
    }

    /// The exclusive origins that list the claimed user on this listener, by their places; `None` where the user is free.
    fn reserving(&self, claim: &Claim) -> Option<Vec<u32>> {
        let all = self.reservations.get(&*claim.user)?;
        let here: Vec<_> = all
            .iter()
            .copied()
            .filter(|index| {
                let origin = self.rules.origins.get(*index as usize);
                origin.is_some_and(|origin| origin.listeners.contains(&claim.listener))
            })
            .collect();
        (!here.is_empty()).then_some(here)
    }

    /// Holds every origin that covers the address against the claim. With `only`, no others count.
    fn candidates(&self, case: Case<'_>, age: Age, only: Option<&[u32]>) -> Candidates<'_> {
        let claim = case.claim;
        let by_address = self
            .covering(canonical(claim.address))
            .filter(|(_, entry)| age == Age::Live || !entry.stale)
            .map(|(prefix, entry)| (Some(prefix), entry.rule));
        let any = self.any_address.of(&claim.user).map(|rule| (None, rule));
        let mut candidates = Candidates::default();
        for (prefix, rule) in by_address.chain(any) {
            let Some(origin) = self.rules.origins.get(rule as usize) else {
                continue;
            };
            // whom `any` names it does not know: only a fitting user makes it a near miss
            let known = prefix.is_some() || origin.failure(Condition::User, case).is_none();
            if known && only.is_none_or(|only| only.contains(&rule)) {
                candidates.add(origin, Rank::of(origin, prefix, rule), origin.fit(case));
            }
        }
        candidates.complete.sort_by_key(|found| found.rank);
        candidates
    }
}

#[derive(Default)]
struct Candidates<'a> {
    /// Complete matches, most specific first; those on trial after the others.
    complete: Vec<Found<'a>>,
    /// The origin that failed latest.
    nearest: Option<(Condition, Reason, Found<'a>)>,
}

struct Found<'a> {
    origin: &'a Arc<Origin>,
    rank: Rank,
    /// The failure that is only recorded.
    spared: Option<Reason>,
}

impl Found<'_> {
    fn denial(&self, reason: Reason) -> Denial {
        Denial {
            reason,
            rule: Some(Arc::clone(&self.origin.name)),
        }
    }
}

impl<'a> Candidates<'a> {
    fn add(&mut self, origin: &'a Arc<Origin>, rank: Rank, fit: Fit) {
        let found = |spared: Option<Reason>| Found {
            origin,
            rank: Rank {
                on_trial: spared.is_some(),
                ..rank
            },
            spared,
        };
        let spared = match fit {
            Fit::Whole => None,
            Fit::Spared(reason) => Some(reason),
            Fit::Failed(condition, reason) => {
                let nearer = self.nearest.as_ref().is_none_or(|(best, _, other)| {
                    (condition, Reverse(rank)) > (*best, Reverse(other.rank))
                });
                if nearer {
                    self.nearest = Some((condition, reason, found(None)));
                }
                return;
            }
        };
        // covered by several of its networks, it counts once: by the narrowest, which came first
        let counted = |seen: &Found<'_>| Arc::ptr_eq(seen.origin, origin);
        if !self.complete.iter().any(counted) {
            self.complete.push(found(spared));
        }
    }

    /// The denial where nothing matches completely.
    fn missed(&self, policy: &Policy, reserving: Option<&[u32]>) -> Denial {
        if let Some((_, reason, found)) = &self.nearest {
            return found.denial(*reason);
        }
        let reserving = reserving.and_then(|all| policy.rules.origins.get(*all.first()? as usize));
        Denial {
            reason: reserving.map_or(Reason::NoOrigin, |_| Reason::ExclusiveUser),
            rule: reserving.map(|origin| Arc::clone(&origin.name)),
        }
    }
}

/// How specifically an origin matches; the smallest is the most specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are compared, in this order"
)]
struct Rank {
    /// Without the trial it would not match.
    on_trial: bool,
    unproved: bool,
    prefix: Reverse<Option<u8>>,
    any_user: bool,
    any_database: bool,
    place_in_file: u32,
}

impl Rank {
    const fn of(origin: &Origin, prefix: Option<u8>, place_in_file: u32) -> Self {
        Self {
            on_trial: false,
            unproved: origin.proof.is_none(),
            prefix: Reverse(prefix),
            any_user: matches!(origin.users, Names::Any),
            any_database: matches!(origin.databases, Names::Any),
            place_in_file,
        }
    }
}
