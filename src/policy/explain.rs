//! Why a decision is what it is: the verdict and every near miss. Floor 0.
//!
//! The verdict is [`Policy::decide`]'s own; the table beside it asks the same conditions one by one.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use super::{
    Case, Claim, Condition, Denial, From, Origin, Policy, Reason, Unlimited, Unspared, canonical,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
}

/// A decision with everything that was tried. Limits are left out: they depend on who is connected.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub verdict: Verdict,
    pub reason: Reason,
    /// The origin that admits, the nearest miss, or the deny rule that hit.
    pub rule: Option<Arc<str>>,
    /// What an observation spared the claim.
    pub spared: Option<Denial>,
    /// Why an observation of this address does not spare it a denial.
    pub unspared: Option<Unspared>,
    /// Some origin names the address; nobody else is told a reason.
    pub mentioned: bool,
    /// Every origin in the order of the file.
    pub tried: Vec<Tried>,
}

/// How one origin answered.
#[derive(Clone, Debug)]
pub struct Tried {
    pub origin: Arc<str>,
    pub line: u32,
    /// The included file that it stands in; `None` for the main file.
    pub file: Option<Arc<str>>,
    /// In the order of [`Condition::ALL`].
    pub outcomes: Vec<(Condition, Outcome)>,
    /// The first that fails and is not on trial.
    pub first_failure: Option<(Condition, Reason)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Holds,
    Fails,
    /// The origin asks nothing by this condition.
    Unasked,
    /// It does not hold, and that is only recorded.
    OnTrial,
    /// Something before it failed.
    NotTried,
}

impl Policy {
    /// Decides and says how every origin answered.
    pub fn explain(&self, claim: &Claim, now: SystemTime) -> Explanation {
        let address = canonical(claim.address);
        let (verdict, reason, rule, spared) = match self.decide(claim, now, &Unlimited) {
            Ok((permit, ())) => (
                Verdict::Allow,
                Reason::Allowed,
                permit.origin().map(|origin| Arc::clone(&origin.name)),
                permit.spared().cloned(),
            ),
            Err(denial) => (Verdict::Deny, denial.reason, denial.rule, None),
        };
        let case = self.case(claim, now);
        let unspared = match verdict {
            Verdict::Deny if reason != Reason::DenyRule && self.observes(case) => {
                self.unspared(case)
            }
            Verdict::Deny | Verdict::Allow => None,
        };
        let covering: HashSet<u32> = self
            .covering(address)
            .filter(|(_, entry)| !entry.stale)
            .map(|(_, entry)| entry.rule)
            .collect();
        let tried = (0..).zip(self.origins()).map(|(index, origin)| {
            let covered = covering.contains(&index) || origin.from.contains(&From::Any);
            self.tried(origin, covered, case)
        });
        Explanation {
            verdict,
            reason,
            rule,
            spared,
            unspared,
            mentioned: self.screen(address).is_mentioned(),
            tried: tried.collect(),
        }
    }

    fn tried(&self, origin: &Arc<Origin>, covered: bool, case: Case<'_>) -> Tried {
        let mut first_failure = None;
        let outcomes = Condition::ALL.map(|condition| {
            if first_failure.is_some() {
                return (condition, Outcome::NotTried);
            }
            let failure = if condition == Condition::From {
                (!covered).then_some(Reason::NoOrigin)
            } else {
                origin.failure(condition, case)
            };
            let outcome = match failure {
                Some(_) if origin.tries(condition, case) => Outcome::OnTrial,
                Some(reason) => {
                    first_failure = Some((condition, reason));
                    Outcome::Fails
                }
                None if origin.asks(condition, self.rules().require) => Outcome::Holds,
                None => Outcome::Unasked,
            };
            (condition, outcome)
        });
        Tried {
            origin: Arc::clone(&origin.name),
            line: origin.line,
            file: origin.file.clone(),
            outcomes: outcomes.to_vec(),
            first_failure,
        }
    }
}
