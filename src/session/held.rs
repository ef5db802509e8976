//! What an admitted session holds, from its permit to its end. Floor 3.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{
    Door, Gateway,
    cancel::stop_statement,
    references::{Happened, Reference, Told},
    refusal::{self, Names},
    seats::Seat,
    table::{Owner, Registration},
    tenure::{By, Revocation},
};
use crate::{
    meter::OriginMeters,
    policy::{Claim, OnRevoke, Permit, Policy},
    protocol::Words,
    wire::postgres::CancelKey,
};

/// Who it is, by which permit, in which seat: what an idle session does not look at. Apart from the rest, and small enough for the
/// gaps that the allocator leaves beside each socket, where it costs nothing.
pub(super) struct Held {
    pub(super) gateway: Arc<Gateway>,
    pub(super) door: Arc<Door>,
    pub(super) claim: Arc<Claim>,
    pub(super) permit: Permit,
    pub(super) seat: Seat,
    /// The seat is the one past the origin's limit, see [`Reserve`].
    pub(super) reserve: bool,
    /// Those of its origin. Kept, for the origin may be gone when its last session is counted.
    pub(super) meters: Arc<OriginMeters>,
    /// Its line in the session table, once the server has dealt a cancel key.
    pub(super) registration: Option<Registration>,
    pub(super) on_revoke: OnRevoke,
    /// How often it has been told that it may only stop others.
    pub(super) warnings: u8,
}

impl Held {
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

    /// The database has not believed the claim's user.
    pub(super) fn disbelieved(&self, claim: &Claim) {
        self.meters.auth_failure();
        self.gateway.seats.failures.note(claim, Instant::now());
    }

    /// Enters the session in the table, so that cancels for it are held against its origin.
    pub(super) fn register(&mut self, key: CancelKey) {
        let owner = Owner {
            origin: self.permit.shared_name(),
            address: self.claim.address,
        };
        self.registration = Some(self.door.sessions.register(key, owner));
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
        let sentence = sentence(revocation);
        let happened = Happened {
            listener: &self.door.settings.name,
            address: self.claim.address,
            claim: Some(&self.claim),
            reason: denial.reason,
            rule: denial.rule.as_ref(),
            cause: cause(revocation),
            mentioned: true,
        };
        let references = &self.gateway.references;
        references.keep(reference, happened, SystemTime::now());
        refusal::farewell(denial.reason, sentence, Names::of(&self.claim), reference)
    }

    /// What ties those words to the line in the log.
    pub(super) fn reference(&self, revocation: &Revocation) -> Reference {
        let (listener, claim) = (&self.door.settings.name, &*self.claim);
        let cause = cause(revocation);
        let no = (revocation.denial.reason, cause.as_str());
        let told = Told::of(listener, claim.address, Some(claim), no);
        self.gateway.references.of(told)
    }
}

/// Why a session is ended, for the client.
const fn sentence(revocation: &Revocation) -> &'static str {
    match revocation.by {
        By::Policy => revocation.denial.reason.sentence(),
        By::Length => "it has lasted as long as its origin lets sessions last",
        By::Operator => "the operator has ended it",
    }
}

fn cause(revocation: &Revocation) -> String {
    format!("session ended: {}", sentence(revocation))
}

pub(super) fn meters(gateway: &Gateway, door: &Door, permit: &Permit) -> Arc<OriginMeters> {
    gateway.meters.origin(&door.settings.name, permit.name())
}

/// What happens to the session once it is no longer admitted.
pub(super) fn on_revoke(policy: &Policy, permit: &Permit) -> OnRevoke {
    let own = permit.origin().and_then(|origin| origin.on_revoke);
    own.unwrap_or(policy.rules().on_revoke)
}

const WARNINGS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_holds_fits_into_the_gaps() {
        // glibc leaves 112 bytes beside each of tokio's aligned allocations, and sometimes 96: 8 of them are its own
        assert!(size_of::<Held>() <= 88);
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<Claim>() + counts <= 104);
    }
}
