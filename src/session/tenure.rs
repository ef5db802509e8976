//! A session's standing before the policy, from its permit to its end. Floor 3.
//!
//! The notice of a change is taken before the decision, so a policy that changes at any later moment, in a slow login
//! too, is not missed: the session decides again with the claim it kept.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    Door, Gateway,
    held::{Held, meters, on_revoke},
    relay::Told,
    roll::Enrolled,
    seats::{Reserve, Resettle, Seat},
    standing::{Notice, Snapshot, Standing},
    term::Term,
};
use crate::{
    config::Protocol,
    net::ClientTrust,
    policy::{Claim, Denial, OnRevoke, Permit, Policy, Reason, Validity},
    wire::mysql::errno,
};

/// The admitted session: what it holds, and what may end it.
pub(super) struct Tenure {
    pub(super) held: Box<Held>,
    /// The permit is of a policy that is no longer in force, and the session was not held against the new one.
    overtaken: bool,
    /// Its place in the roll.
    enrolled: Enrolled,
    notice: Notice,
    term: Term,
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
    /// It has lasted as long as its origin lets sessions last.
    Length,
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
    /// Decides by what stood when the claim was formed. Whatever changed since then is noticed.
    pub(super) fn begin(
        gateway: &Arc<Gateway>,
        door: &Arc<Door>,
        snapshot: Snapshot,
        claim: Claim,
    ) -> Result<Self, Box<(Claim, Denial)>> {
        let Snapshot { standing, notice } = snapshot;
        let Standing {
            policy,
            trust,
            closing,
        } = standing;
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
            Ok((permit, seat)) => {
                let claim = Arc::new(claim);
                Ok(Self {
                    overtaken: false,
                    enrolled: gateway.roll.enroll(&claim, &permit),
                    notice: Notice::of(notice),
                    term: Term::of(claim.certificate.as_deref(), &trust),
                    held: Box::new(Held {
                        meters: meters(gateway, door, &permit),
                        on_revoke: on_revoke(&policy, &permit),
                        gateway: Arc::clone(gateway),
                        door: Arc::clone(door),
                        claim,
                        permit,
                        seat,
                        reserve,
                        registration: None,
                        warnings: 0,
                    }),
                })
            }
            Err(denial) => Err(Box::new((claim, denial))),
        }
    }

    /// Resolves when the session may no longer go on. For the login, which has no meters to move.
    ///
    /// Cancel safe: what was decided is kept.
    pub(super) async fn ended(&mut self) -> Revocation {
        loop {
            if let Change::Ends(revocation) = poll_fn(|cx| self.poll_change(cx)).await {
                self.held.gateway.count_revoked();
                return revocation;
            }
        }
    }

    /// Whether the policy has changed, and what that means for this session. Costs two comparisons where nothing has.
    pub(super) fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Change> {
        while std::mem::take(&mut self.overtaken)
            || self.notice.poll(&self.enrolled, cx).is_ready()
            || self.term.poll(cx).is_ready()
        {
            match self.decide_again() {
                Change::Nothing => {}
                change @ (Change::Moved | Change::Ends(_)) => return Poll::Ready(change),
            }
        }
        Poll::Pending
    }

    fn decide_again(&mut self) -> Change {
        let Standing {
            policy,
            trust,
            closing,
        } = self.notice.standing.borrow_and_update().clone();
        self.held.gateway.count_decided_again();
        if let Some(by) = closing {
            return Change::Ends(Revocation {
                denial: closing_down(),
                grace: Some(by),
                by: By::Policy,
            });
        }
        if self.enrolled.ends() {
            return Change::Ends(Revocation {
                denial: closing_down(),
                grace: None,
                by: By::Operator,
            });
        }
        self.judge_again(&trust);
        match self.resettle(&policy) {
            Ok((permit, seat)) => {
                self.held.on_revoke = on_revoke(&policy, &permit);
                let uploads = permit.local_infile() != self.held.permit.local_infile();
                let moved = self.sit(permit, seat);
                if self.term.is_over() {
                    return Change::Ends(self.outlasted(&policy));
                }
                if moved || uploads {
                    Change::Moved
                } else {
                    Change::Nothing
                }
            }
            Err(denial) => {
                let grace = match self.ending_by(&policy, &denial) {
                    OnRevoke::Keep => return Change::Nothing,
                    OnRevoke::Drain => Some(Instant::now() + policy.rules().drain),
                    OnRevoke::Close => None,
                };
                Change::Ends(Revocation {
                    denial,
                    grace,
                    by: By::Policy,
                })
            }
        }
    }

    /// What a deny rule or a revoked certificate hits ends now; all else by the stricter of what held at the last decision and
    /// what holds today.
    fn ending_by(&self, policy: &Policy, denial: &Denial) -> OnRevoke {
        let certificate = self.held.claim.certificate.as_ref();
        let revoked = certificate.is_some_and(|shown| shown.validity == Validity::Revoked);
        if revoked || denial.reason == Reason::DenyRule {
            return OnRevoke::Close;
        }
        let today = self.held.permit.origin();
        let today = today.and_then(|origin| policy.origin(&origin.name)?.on_revoke);
        self.held
            .on_revoke
            .max(today.unwrap_or(policy.rules().on_revoke))
    }

    /// The certificate may be worth something else by now.
    fn judge_again(&mut self, trust: &Arc<ClientTrust>) {
        if let Some(shown) = &self.held.claim.certificate
            && let Some(judged) = self.term.judge_again(shown, trust, SystemTime::now())
        {
            self.held.claim = Arc::new(Claim {
                certificate: Some(Arc::new(judged)),
                ..Claim::clone(&self.held.claim)
            });
        }
    }

    /// Admitted, but for no longer.
    fn outlasted(&self, policy: &Policy) -> Revocation {
        Revocation {
            denial: Denial {
                reason: Reason::Expired,
                rule: self
                    .held
                    .permit
                    .origin()
                    .map(|origin| Arc::clone(&origin.name)),
            },
            grace: Some(Instant::now() + policy.rules().drain),
            by: By::Length,
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

    /// The same of a claim that the server will be asked to believe anew, which is another try at a password.
    ///
    /// # Errors
    /// The same.
    pub(super) fn consider_login(&self, claim: Claim) -> Result<Prospect, Denial> {
        let prospect = self.consider(claim)?;
        let origin = prospect.permit.origin().filter(|origin| !origin.observe);
        match origin.filter(|origin| self.held.gateway.seats.bar(origin, &prospect.claim)) {
            None => Ok(prospect),
            Some(origin) => Err(Denial {
                reason: Reason::LimitRate,
                rule: Some(Arc::clone(&origin.name)),
            }),
        }
    }

    /// The session is now what it was considered as. Tells whether it belongs to other meters.
    ///
    /// The policy may have changed while the server was asked, and the session have been decided as it was before: then it is
    /// decided once more.
    pub(super) fn adopt(&mut self, prospect: Prospect) -> bool {
        let in_force = self.notice.standing.borrow().policy.generation();
        self.overtaken = prospect.permit.generation() != in_force;
        // the certificate may have been judged again meanwhile: the newer judgement counts
        self.held.claim = Arc::new(Claim {
            certificate: self.held.claim.certificate.clone(),
            ..prospect.claim
        });
        let moved = self.sit(prospect.permit, prospect.seat);
        let gateway = &self.held.gateway;
        gateway
            .logins
            .note(&self.held.claim, &self.held.permit, SystemTime::now());
        moved
    }

    fn sit(&mut self, permit: Permit, seat: Option<Seat>) -> bool {
        self.held.permit = permit;
        if let Some(seat) = seat {
            self.held.seat = seat;
            self.held.reserve = false;
        }
        self.enrolled.is_now(&self.held.claim, &self.held.permit);
        if let Some(registration) = &self.held.registration {
            registration.move_to(self.held.permit.name());
        }
        self.last();
        // an origin that was gone and is back has other ones
        let meters = meters(&self.held.gateway, &self.held.door, &self.held.permit);
        let moved = !Arc::ptr_eq(&meters, &self.held.meters);
        self.held.meters = meters;
        moved
    }

    /// Decides with the claim that was kept. Limits admit or refuse, but end no live session: where every origin that matches is
    /// full, they do not count.
    fn resettle(&self, policy: &Policy) -> Result<(Permit, Option<Seat>), Denial> {
        match self.decide(policy, &self.held.claim, false) {
            Err(full) if full.reason == Reason::LimitConnections => {
                self.decide(policy, &self.held.claim, true)
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
            seats: &self.held.gateway.seats,
            home: self.held.permit.name(),
            crowding,
        };
        policy.decide_again(claim, SystemTime::now(), &room)
    }

    /// Whether a session with this permit has to answer a challenge of the database: unless a certificate has proved to the
    /// policy who it is.
    pub(super) fn has_to_answer(&self, permit: &Permit) -> bool {
        let asked = permit.origin().is_some_and(|origin| origin.proof.is_some());
        let proved = asked && permit.spared().is_none();
        let rules = Arc::clone(self.notice.standing.borrow().policy.rules());
        rules.require.authentication && !proved
    }

    /// A MySQL server has not believed the claim, or refused it otherwise.
    pub(super) fn refused_by_server(&self, claim: &Claim, errno: u16) {
        if errno == errno::ACCESS_DENIED {
            self.held.disbelieved(claim);
        }
    }

    /// The database has said yes: it is a session from now on.
    pub(super) fn open(&mut self, client_rtt: Duration) {
        let gateway = &self.held.gateway;
        gateway
            .logins
            .note(&self.held.claim, &self.held.permit, SystemTime::now());
        self.enrolled.begin(client_rtt);
        self.last();
    }

    /// It has told its numbers.
    pub(super) fn told(&self, told: &Told) {
        self.enrolled.told(told);
    }

    /// As long as its origin lets sessions last.
    fn last(&mut self) {
        let length = self.held.permit.origin().and_then(|o| o.limits.session);
        let over = length.and_then(|length| self.enrolled.began()?.checked_add(length));
        self.term.last_until(over);
    }
}

const fn closing_down() -> Denial {
    Denial {
        reason: Reason::ShuttingDown,
        rule: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_idle_session_holds_of_its_standing_is_small() {
        assert!(size_of::<Tenure>() <= 72);
    }
}
