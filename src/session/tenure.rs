//! A session's standing before the policy, from its permit to its end. Floor 3.
//!
//! The notice of a change is taken before the decision, so a policy that changes at any later moment, in a slow login
//! too, is not missed: the session decides again with the claim it kept.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::SystemTime,
};

use tokio::{sync::watch, time::Instant};

use super::{
    Door, Gateway,
    cancel::stop_statement,
    references::{Happened, Reference},
    refusal::{self, Names},
    roll::Enrolled,
    seats::{Reserve, Resettle, Seat},
    table::Registration,
};
use crate::{
    config::Protocol,
    meter::OriginMeters,
    policy::{Claim, Denial, OnRevoke, Permit, Policy, Reason},
    protocol::Words,
    wire::postgres::CancelKey,
};

/// What is in force: the policy, and once the gateway is ending, the moment by which sessions have to be gone.
/// Travels in a `watch`: a snapshot and a notice of change in one.
#[derive(Clone, Debug)]
pub struct Standing {
    pub policy: Arc<Policy>,
    pub closing: Option<Instant>,
}

/// The admitted session: who it is, by which permit, in which seat.
pub(super) struct Tenure {
    pub(super) gateway: Arc<Gateway>,
    pub(super) door: Arc<Door>,
    pub(super) claim: Arc<Claim>,
    pub(super) permit: Permit,
    seat: Seat,
    /// The seat is the one past the origin's limit, see [`Reserve`].
    reserve: bool,
    /// The permit is of a policy that is no longer in force, and the session was not held against the new one.
    overtaken: bool,
    /// Those of its origin. Kept, for the origin may be gone when its last session is counted.
    meters: Arc<OriginMeters>,
    /// Its line in the roll, once it is a session.
    enrolled: Option<Enrolled>,
    /// Its line in the session table, once the server has dealt a cancel key.
    registration: Option<Box<Registration>>,
    notice: Notice,
    on_revoke: OnRevoke,
    /// How often it has been told that it may only stop others.
    warnings: u8,
}

/// How a session has to end.
#[derive(Debug)]
pub(super) struct Revocation {
    pub(super) denial: Denial,
    /// Until when it may reach the end of its transaction; `None`: at once.
    pub(super) grace: Option<Instant>,
    pub(super) by: By,
}

/// Who ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Policy,
    Operator,
}

/// What a session would be that changes in its middle. Holds its seat.
pub(super) struct Prospect {
    claim: Claim,
    permit: Permit,
    seat: Option<Seat>,
}

impl Prospect {
    pub(super) const fn permit(&self) -> &Permit {
        &self.permit
    }

    pub(super) const fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(super) fn into_claim(self) -> Claim {
        self.claim
    }
}

/// What came of deciding again.
pub(super) enum Change {
    Nothing,
    /// Another origin admits the session now, or the same one with another right.
    Moved,
    Ends(Revocation),
}

impl Tenure {
    /// Decides. `standing` was taken before, so that no change after the decision is missed.
    pub(super) fn begin(
        gateway: &Arc<Gateway>,
        door: &Arc<Door>,
        mut standing: watch::Receiver<Standing>,
        claim: Claim,
    ) -> Result<Self, Box<(Claim, Denial)>> {
        let Standing { policy, closing } = standing.borrow_and_update().clone();
        if closing.is_some() {
            return Err(Box::new((claim, closing_down())));
        }
        let now = SystemTime::now();
        let mut reserve = false;
        let decided = match policy.decide(&claim, now, &gateway.seats) {
            Err(full)
                if full.reason == Reason::LimitConnections
                    && door.settings.protocol == Protocol::Mysql =>
            {
                reserve = true;
                policy.decide(&claim, now, &Reserve(&gateway.seats))
            }
            decided => decided,
        };
        match decided {
            Ok((permit, seat)) => Ok(Self {
                meters: meters(gateway, door, &permit),
                on_revoke: on_revoke(&policy, &permit),
                gateway: Arc::clone(gateway),
                door: Arc::clone(door),
                claim: Arc::new(claim),
                permit,
                seat,
                reserve,
                overtaken: false,
                enrolled: None,
                registration: None,
                warnings: 0,
                notice: Notice::of(standing),
            }),
            Err(denial) => Err(Box::new((claim, denial))),
        }
    }

    /// Resolves when the session may no longer go on. For the login, which has no meters to move.
    ///
    /// Cancel safe: what was decided is kept.
    pub(super) async fn ended(&mut self) -> Revocation {
        loop {
            if let Change::Ends(revocation) = poll_fn(|cx| self.poll_change(cx)).await {
                self.gateway.count_revoked();
                return revocation;
            }
        }
    }

    /// Whether the policy has changed, and what that means for this session. Costs two comparisons where nothing has.
    pub(super) fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Change> {
        while std::mem::take(&mut self.overtaken) || self.notice.poll(cx).is_ready() {
            match self.decide_again() {
                Change::Nothing => {}
                change @ (Change::Moved | Change::Ends(_)) => return Poll::Ready(change),
            }
        }
        Poll::Pending
    }

    fn decide_again(&mut self) -> Change {
        let Standing { policy, closing } = self.notice.standing.borrow_and_update().clone();
        self.gateway.count_decided_again();
        if let Some(by) = closing {
            return Change::Ends(Revocation {
                denial: closing_down(),
                grace: Some(by),
                by: By::Policy,
            });
        }
        if self.enrolled.as_ref().is_some_and(Enrolled::ends) {
            return Change::Ends(Revocation {
                denial: closing_down(),
                grace: None,
                by: By::Operator,
            });
        }
        match self.resettle(&policy) {
            Ok((permit, seat)) => {
                self.on_revoke = on_revoke(&policy, &permit);
                let uploads = permit.local_infile() != self.permit.local_infile();
                if self.sit(permit, seat) || uploads {
                    Change::Moved
                } else {
                    Change::Nothing
                }
            }
            Err(denial) => {
                // a deny rule means now; otherwise the stricter of what held at the decision and what holds today
                let how = if denial.reason == Reason::DenyRule {
                    OnRevoke::Close
                } else {
                    self.on_revoke.max(policy.rules().on_revoke)
                };
                match how {
                    OnRevoke::Keep => Change::Nothing,
                    OnRevoke::Drain => Change::Ends(Revocation {
                        denial,
                        grace: Some(Instant::now() + policy.rules().drain),
                        by: By::Policy,
                    }),
                    OnRevoke::Close => Change::Ends(Revocation {
                        denial,
                        grace: None,
                        by: By::Policy,
                    }),
                }
            }
        }
    }

    /// Decides on a claim that the session makes in its middle: another user, another database, a right. Nothing changes yet.
    ///
    /// # Errors
    /// The denial, as for a connection that came with this claim.
    pub(super) fn consider(&self, claim: Claim) -> Result<Prospect, Denial> {
        let policy = Arc::clone(&self.notice.standing.borrow().policy);
        let (permit, seat) = self.decide(&policy, &claim, false)?;
        Ok(Prospect {
            claim,
            permit,
            seat,
        })
    }

    /// The session is now what it was considered as. Tells whether it belongs to other meters.
    ///
    /// While the server was asked, the policy may have changed, and been asked of the session as it was: then it is asked again.
    pub(super) fn adopt(&mut self, prospect: Prospect) -> bool {
        let in_force = self.notice.standing.borrow().policy.generation();
        self.overtaken = prospect.permit.generation() != in_force;
        self.claim = Arc::new(prospect.claim);
        let moved = self.sit(prospect.permit, prospect.seat);
        let gateway = &self.gateway;
        gateway
            .logins
            .note(&self.claim, &self.permit, SystemTime::now());
        moved
    }

    fn sit(&mut self, permit: Permit, seat: Option<Seat>) -> bool {
        self.permit = permit;
        if let Some(seat) = seat {
            self.seat = seat;
            self.reserve = false;
        }
        if let Some(enrolled) = &self.enrolled {
            enrolled.is_now(&self.claim, &self.permit);
        }
        if let Some(registration) = &self.registration {
            registration.move_to(self.permit.name());
        }
        // an origin that was gone and is back has other ones
        let meters = meters(&self.gateway, &self.door, &self.permit);
        let moved = !Arc::ptr_eq(&meters, &self.meters);
        self.meters = meters;
        moved
    }

    /// Decides with the claim that was kept. Limits admit or refuse, but end no live session: where every origin that matches is
    /// full, they do not count.
    fn resettle(&self, policy: &Policy) -> Result<(Permit, Option<Seat>), Denial> {
        match self.decide(policy, &self.claim, false) {
            Err(full) if full.reason == Reason::LimitConnections => {
                self.decide(policy, &self.claim, true)
            }
            decided => decided,
        }
    }

    /// The seat is `None` where the session keeps its own.
    fn decide(
        &self,
        policy: &Policy,
        claim: &Claim,
        crowding: bool,
    ) -> Result<(Permit, Option<Seat>), Denial> {
        let room = Resettle {
            seats: &self.gateway.seats,
            home: self.permit.name(),
            crowding,
        };
        policy.decide_again(claim, SystemTime::now(), &room)
    }

    /// Whether the session sits in its origin's reserve, where it may only stop others.
    pub(super) const fn is_reserve(&self) -> bool {
        self.reserve
    }

    /// Tells a session in the reserve that it may only stop others: whether it has been told often enough. Command lines send two
    /// commands of their own first, and what answers those is shown to nobody.
    pub(super) const fn warn(&mut self) -> bool {
        self.warnings = self.warnings.saturating_add(1);
        self.warnings >= WARNINGS
    }

    /// The meters of the origin that admits the session now.
    pub(super) fn meters(&self) -> Arc<OriginMeters> {
        Arc::clone(&self.meters)
    }

    /// The database has said yes: the session is in the roll from now on.
    pub(super) fn enroll(&mut self) {
        let gateway = &self.gateway;
        gateway
            .logins
            .note(&self.claim, &self.permit, SystemTime::now());
        self.enrolled = Some(gateway.roll.enroll(&self.claim, &self.permit));
    }

    /// Enters the session in the table, so that cancels for it are held against its origin.
    pub(super) fn register(&mut self, key: CancelKey) {
        let registration = self.door.sessions.register(key, self.permit.name());
        self.registration = Some(Box::new(registration));
    }

    /// What stops the statement that a cut session is running; `None` where the server has dealt no key.
    pub(super) fn stop(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let key = self.registration.as_ref()?.key()?;
        let (door, permit) = (Arc::clone(&self.door), self.permit.clone());
        let within = self.gateway.limits.borrow().dial;
        Some(stop_statement(door, permit, key, within))
    }

    /// What the session is told at its end.
    pub(super) fn farewell(&self, revocation: &Revocation) -> Words {
        let (denial, reference) = (&revocation.denial, self.reference(revocation));
        let sentence = match revocation.by {
            By::Policy => denial.reason.sentence(),
            By::Operator => "the operator has ended it",
        };
        let happened = Happened {
            listener: &self.door.settings.name,
            address: self.claim.address,
            claim: Some(&self.claim),
            reason: denial.reason,
            rule: denial.rule.as_ref(),
            cause: format!("session ended: {sentence}"),
            mentioned: true,
        };
        let references = &self.gateway.references;
        references.keep(reference, happened, SystemTime::now());
        refusal::farewell(denial.reason, sentence, Names::of(&self.claim), reference)
    }

    /// What ties those words to the line in the log.
    pub(super) fn reference(&self, revocation: &Revocation) -> Reference {
        let (address, user) = (self.claim.address, self.claim.user.as_str());
        let reason = revocation.denial.reason;
        self.gateway.references.of(address, Some(user), reason)
    }
}

fn meters(gateway: &Gateway, door: &Door, permit: &Permit) -> Arc<OriginMeters> {
    gateway.meters.origin(&door.settings.name, permit.name())
}

/// What happens to the session once it is no longer admitted.
fn on_revoke(policy: &Policy, permit: &Permit) -> OnRevoke {
    let own = permit.origin().and_then(|origin| origin.on_revoke);
    own.unwrap_or(policy.rules().on_revoke)
}

const fn closing_down() -> Denial {
    Denial {
        reason: Reason::ShuttingDown,
        rule: None,
    }
}

type Bell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells when what stands has changed, cheaply enough to be asked at every turn of the relay.
struct Notice {
    standing: watch::Receiver<Standing>,
    /// Registered with the channel; only polled when that may say something new.
    bell: Bell,
    /// Whom the bell wakes.
    wakes: Option<Waker>,
}

impl Notice {
    fn of(standing: watch::Receiver<Standing>) -> Self {
        Self {
            bell: ring(standing.clone()),
            standing,
            wakes: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let registered = self
            .wakes
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if registered && !self.standing.has_changed().unwrap_or(false) {
            return Poll::Pending;
        }
        if self.bell.as_mut().poll(cx).is_pending() {
            self.wakes = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.standing.mark_unchanged();
        self.bell = ring(self.standing.clone());
        self.wakes = None;
        Poll::Ready(())
    }
}

/// An `async fn` would hold the receiver twice, in every session.
fn ring(mut standing: watch::Receiver<Standing>) -> Bell {
    Box::pin(async move {
        if standing.changed().await.is_err() {
            // the gateway itself is gone: nobody can change the policy any more
            std::future::pending::<()>().await;
        }
    })
}

const WARNINGS: u8 = 3;
