//! Why a decision is what it is: the verdict and every near miss. Floor 0.
//!
//! The verdict is [`Policy::decide`]'s own; the table beside it asks the same conditions one by one.

use std::{sync::Arc, time::SystemTime};

use super::{Claim, Condition, Policy, Reason, Unlimited, origin::Case};

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
    /// Every origin in the order of the file.
    pub tried: Vec<Tried>,
}

/// How one origin answered.
#[derive(Clone, Debug)]
pub struct Tried {
    pub origin: Arc<str>,
    pub line: u32,
    /// In the order of [`Condition::ALL`].
    pub outcomes: Vec<(Condition, Outcome)>,
    pub first_failure: Option<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Holds,
    Fails,
    /// The origin asks nothing by this condition.
    Unasked,
    /// Something before it failed.
    NotTried,
}

impl Policy {
    /// Decides and says how every origin answered.
    pub fn explain(&self, claim: &Claim, now: SystemTime) -> Explanation {
        let (verdict, reason, rule) = match self.decide(claim, now, &Unlimited) {
            Ok((permit, ())) => (
                Verdict::Allow,
                Reason::Allowed,
                Some(Arc::clone(&permit.origin().name)),
            ),
            Err(denial) => (Verdict::Deny, denial.reason, denial.rule),
        };
        let case = Case {
            claim,
            now,
            require: self.require,
            protected: self.protected_users.contains(&claim.user),
        };
        let tried = self.origins.iter().map(|origin| {
            let mut first_failure = None;
            let outcomes = Condition::ALL.map(|condition| {
                let outcome = if first_failure.is_some() {
                    Outcome::NotTried
                } else if !origin.holds(condition, case) {
                    first_failure = Some(condition);
                    Outcome::Fails
                } else if origin.asks(condition, self.require) {
                    Outcome::Holds
                } else {
                    Outcome::Unasked
                };
                (condition, outcome)
            });
            Tried {
                origin: Arc::clone(&origin.name),
                line: origin.line,
                outcomes: outcomes.to_vec(),
                first_failure,
            }
        });
        Explanation {
            verdict,
            reason,
            rule,
            tried: tried.collect(),
        }
    }
}
