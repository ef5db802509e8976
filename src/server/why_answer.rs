//! What `doorward why` is answered, by the daemon or from a file. Floor 4.
//!
//! The verdict is the policy's own; this file and `why_words` only find the words for it.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

pub use super::why_question::{BadQuestion, Shows, WhyRequest};
use super::why_words::{Subject, overruled};
use crate::{
    config::{Listener, Protocol},
    net::ClientTrust,
    policy::{Claim, Explanation, Origin, Outcome, Policy, Tried, Verdict},
};

/// Who answers, and by what.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'g> {
    pub policy: &'g Policy,
    /// Whom it believes of clients' certificates.
    pub trust: &'g ClientTrust,
    /// Those there are.
    pub listeners: &'g [Arc<Listener>],
    /// `daemon` or `file PATH`.
    pub source: &'g str,
}

/// The verdict and every near miss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyAnswer {
    /// `allow` or `deny`.
    pub verdict: String,
    /// The label of a [`Reason`](crate::policy::Reason).
    pub reason: String,
    /// The origin that admits or came nearest, or the deny rule that hit.
    pub origin: Option<String>,
    /// What an observation spared the client.
    pub would_deny: Option<String>,
    /// Every origin in the order of the file.
    pub tried: Vec<TriedAnswer>,
    /// What would let the client in.
    pub mend: Option<String>,
    /// `daemon`, or `file PATH`.
    pub source: String,
    /// Of the policy in force; none for a file.
    pub generation: Option<u64>,
    /// Since when it is in force, as RFC 3339 has it.
    #[serde(default)]
    pub loaded: Option<String>,
}

/// How one origin answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedAnswer {
    pub origin: String,
    pub line: u32,
    /// The included file that it stands in; `None` for the main file.
    #[serde(default)]
    pub file: Option<String>,
    /// The label of a [`Condition`](crate::policy::Condition).
    pub first_failure: Option<String>,
    /// Why it did not admit, in words.
    pub because: Option<String>,
    /// By the label of a condition: `holds`, `fails`, `unasked`, `on_trial` or `not_tried`.
    pub conditions: BTreeMap<String, String>,
}

impl WhyAnswer {
    /// Asks the policy. `now` is used where the question names no time.
    ///
    /// # Errors
    /// The question cannot be answered.
    pub fn of(
        ground: Ground<'_>,
        request: &WhyRequest,
        now: SystemTime,
    ) -> Result<Self, BadQuestion> {
        let door = request.door(ground.listeners)?;
        let at = request.moment(now)?;
        let claim = request.claim(door, ground.trust, at)?;
        let resolved = request.resolved(ground.policy)?;
        let policy = resolved.as_ref().unwrap_or(ground.policy);
        Ok(Self::about(Ground { policy, ..ground }, &claim, at))
    }

    /// Asks the policy about a claim that somebody has made.
    pub fn about(ground: Ground<'_>, claim: &Claim, at: SystemTime) -> Self {
        let Ground { policy, trust, .. } = ground;
        let mut listeners = ground.listeners.iter();
        let subject = Subject {
            policy,
            trust,
            claim,
            at,
            protocol: listeners
                .find(|door| door.name == claim.listener)
                .map_or(Protocol::Postgres, |door| door.protocol),
        };
        let explanation = policy.explain(claim, at);
        let tried = policy.origins().iter().zip(&explanation.tried);
        Self {
            verdict: match explanation.verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            }
            .to_owned(),
            reason: explanation.reason.label().to_owned(),
            origin: explanation.rule.as_deref().map(str::to_owned),
            would_deny: explanation
                .spared
                .as_ref()
                .map(|denial| denial.reason.label().to_owned()),
            tried: tried
                .map(|(origin, tried)| TriedAnswer::of(origin, tried, subject, &explanation))
                .collect(),
            mend: subject.mend(&explanation),
            source: ground.source.to_owned(),
            generation: (ground.source == DAEMON).then(|| policy.generation()),
            loaded: None,
        }
    }

    pub fn allows(&self) -> bool {
        self.verdict == "allow"
    }
}

impl TriedAnswer {
    fn of(origin: &Origin, tried: &Tried, subject: Subject<'_>, explanation: &Explanation) -> Self {
        let label = |outcome| match outcome {
            Outcome::Holds => "holds",
            Outcome::Fails => "fails",
            Outcome::Unasked => "unasked",
            Outcome::OnTrial => "on_trial",
            Outcome::NotTried => "not_tried",
        };
        let outcomes = tried.outcomes.iter();
        Self {
            origin: tried.origin.to_string(),
            line: tried.line,
            file: tried.file.as_deref().map(str::to_owned),
            first_failure: tried
                .first_failure
                .map(|(failed, _)| failed.label().to_owned()),
            because: match tried.first_failure {
                Some((failed, reason)) => Some(subject.because(failed, reason, origin)),
                None => overruled(explanation),
            },
            conditions: outcomes
                .map(|(condition, outcome)| {
                    (condition.label().to_owned(), label(*outcome).to_owned())
                })
                .collect(),
        }
    }
}

/// As [`WhyAnswer::source`] says who answers.
pub const DAEMON: &str = "daemon";
