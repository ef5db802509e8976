//! What `doorward why` is answered, by the daemon or from a file. Floor 4.
//!
//! The verdict is the policy's own; this file and `why_words` only find the words for it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

pub use super::why_question::{BadQuestion, Shows, WhyRequest};
use super::why_words::{Subject, overruled};
use crate::{
    config::{Listener, Protocol},
    net::ClientTrust,
    policy::{
        Claim, Condition, Deny, Explanation, Origin, Outcome, Policy, Reason, Tried, Unlimited,
        Verdict,
    },
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
    /// The label of a [`Reason`].
    pub reason: String,
    /// The origin that admits or came nearest, or the deny rule that hit.
    pub origin: Option<String>,
    /// What an observation spared the client.
    pub would_deny: Option<String>,
    /// Every origin in the order of the file.
    pub tried: Vec<TriedAnswer>,
    /// The deny rule that hit, as an origin is told: whatever they say, it beats them.
    #[serde(default)]
    pub denied_by: Option<TriedAnswer>,
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

/// The verdict alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// `allow`, `deny`, or `unknown` for a question that means nothing here.
    pub verdict: String,
    /// The label of a [`Reason`], or what is wrong with the question.
    pub reason: String,
    /// The origin that admits or came nearest, or the deny rule that hit.
    pub origin: Option<String>,
    /// What an observation spared the client.
    pub would_deny: Option<String>,
    /// The origin was given for a while; it stands in no file.
    pub temporary: bool,
}

/// How one origin answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedAnswer {
    pub origin: String,
    /// `None` for one that was given for a while: it stands in no file.
    pub line: Option<u32>,
    /// The included file that it stands in; `None` for the main file.
    #[serde(default)]
    pub file: Option<String>,
    /// The label of a [`Condition`].
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
            denied_by: subject.denying(&explanation).map(TriedAnswer::of_deny),
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

impl Decision {
    /// As [`WhyAnswer::of`], without the reasons of every origin.
    pub fn of(ground: Ground<'_>, request: &WhyRequest, now: SystemTime) -> Self {
        Self::asked(ground, request, now).unwrap_or_else(|question| Self {
            verdict: "unknown".to_owned(),
            reason: question.to_string(),
            origin: None,
            would_deny: None,
            temporary: false,
        })
    }

    fn asked(
        ground: Ground<'_>,
        request: &WhyRequest,
        now: SystemTime,
    ) -> Result<Self, BadQuestion> {
        let door = request.door(ground.listeners)?;
        let at = request.moment(now)?;
        let claim = request.claim(door, ground.trust, at)?;
        let decided = ground.policy.decide(&claim, at, &Unlimited);
        let text = |name: &Arc<str>| name.to_string();
        Ok(match decided {
            Ok((permit, ())) => Self {
                verdict: "allow".to_owned(),
                reason: Reason::Allowed.label().to_owned(),
                origin: permit.origin().map(|origin| text(&origin.name)),
                would_deny: permit
                    .spared()
                    .map(|denial| denial.reason.label().to_owned()),
                temporary: permit.origin().is_some_and(|origin| origin.temporary),
            },
            Err(denial) => Self {
                verdict: "deny".to_owned(),
                reason: denial.reason.label().to_owned(),
                origin: denial.rule.as_ref().map(text),
                would_deny: None,
                temporary: false,
            },
        })
    }

    /// Whether nobody notices which of the two it is: a refusal may have another near miss.
    pub fn is_same(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            (
                one.verdict.clone(),
                one.reason.clone(),
                one.would_deny.clone(),
            )
        };
        of(self) == of(other) && (self.verdict != "allow" || self.origin == other.origin)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.verdict)?;
        if self.verdict != "allow" {
            write!(f, " {}", self.reason)?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " by \"{origin}\"")?;
        }
        if let Some(spared) = &self.would_deny {
            write!(f, " (observed: {spared})")?;
        }
        Ok(())
    }
}

impl TriedAnswer {
    fn of_deny(deny: &Deny) -> Self {
        let asked = [
            (Condition::From, !deny.from.is_empty()),
            (Condition::User, !deny.users.is_empty()),
            (Condition::Proof, !deny.certificates.is_empty()),
        ];
        let outcome = |asks| if asks { "holds" } else { "unasked" };
        Self {
            origin: deny.name.to_string(),
            line: Some(deny.line),
            file: deny.file.as_deref().map(str::to_owned),
            first_failure: None,
            because: Some("a deny rule: it beats every origin".to_owned()),
            conditions: asked
                .map(|(condition, asks)| (condition.label().to_owned(), outcome(asks).to_owned()))
                .into(),
        }
    }

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
            line: (!origin.temporary).then_some(tried.line),
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
