//! The file's own `tests`: what a policy must decide before it comes into force. Floor 0.

use std::{sync::Arc, time::SystemTime};

use super::{Claim, Policy, Reason, Unlimited, Verdict};

/// One of the file's tests.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    pub line: u32,
    /// The included file that it stands in; `None` for the main file.
    pub file: Option<Arc<str>>,
    /// Absent: the moment at which the tests are run.
    pub at: Option<SystemTime>,
    pub claim: Claim,
    pub expected: Expected,
}

/// What is expected; what is `None` may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub verdict: Verdict,
    /// The origin or deny rule that the decision names.
    pub origin: Option<String>,
    /// A label of [`Reason`].
    pub reason: Option<String>,
}

/// A test that came out otherwise.
#[derive(Clone, Debug)]
pub struct Mismatch<'a> {
    pub rehearsal: &'a Rehearsal,
    pub verdict: Verdict,
    pub reason: Reason,
    pub origin: Option<Arc<str>>,
}

impl Policy {
    /// Runs the file's tests and gives those that fail. Limits play no part.
    pub fn rehearse(&self, now: SystemTime) -> Vec<Mismatch<'_>> {
        let tests = self.rules().tests.iter();
        tests.filter_map(|test| self.mismatch(test, now)).collect()
    }

    fn mismatch<'a>(&self, test: &'a Rehearsal, now: SystemTime) -> Option<Mismatch<'a>> {
        let decided = self.decide(&test.claim, test.at.unwrap_or(now), &Unlimited);
        let (verdict, reason, origin) = match decided {
            Ok((permit, ())) => {
                let origin = permit.origin().map(|origin| Arc::clone(&origin.name));
                (Verdict::Allow, Reason::Allowed, origin)
            }
            Err(denial) => (Verdict::Deny, denial.reason, denial.rule),
        };
        let expected = &test.expected;
        let same = expected.verdict == verdict
            && expected
                .reason
                .as_ref()
                .is_none_or(|expected| expected == reason.label())
            && (expected.origin.is_none() || expected.origin.as_deref() == origin.as_deref());
        (!same).then_some(Mismatch {
            rehearsal: test,
            verdict,
            reason,
            origin,
        })
    }
}
