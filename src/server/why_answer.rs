//! What `doorward why` asks and is answered, by the daemon or from a file. Floor 4.
//!
//! The verdict is the policy's own; this file only finds the words for it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Listener, Protocol},
    policy::{
        Claim, Condition, Explanation, From, Names, Origin, Outcome, Policy, Reason, Replication,
        TlsVersion, Tried, Verdict, canonical,
    },
};

/// A connection to judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyRequest {
    pub address: String,
    pub user: String,
    /// When absent the user's name, as PostgreSQL does; on MySQL none.
    #[serde(default)]
    pub database: Option<String>,
    /// May be left out when there is one.
    #[serde(default)]
    pub listener: Option<String>,
    #[serde(default)]
    pub tls: bool,
    /// `physical`, `logical`, or `true`: the one that the protocol has, or physical.
    #[serde(default)]
    pub replication: Option<String>,
    /// RFC 3339; now when absent.
    #[serde(default)]
    pub at: Option<String>,
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
    /// The label of a [`Condition`].
    pub first_failure: Option<String>,
    /// Why it did not admit, in words.
    pub because: Option<String>,
    /// By the label of a condition: `holds`, `fails`, `unasked` or `not_tried`.
    pub conditions: BTreeMap<String, String>,
}

/// The question cannot be answered: it names a listener there is not, or is malformed. `Display` says which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuestion(pub String);

impl WhyAnswer {
    /// Asks the policy. `listeners` are those there are; `now` is used where the question names no time;
    /// `source` says who answers: `daemon` or `file PATH`.
    ///
    /// # Errors
    /// The question cannot be answered.
    pub fn of(
        policy: &Policy,
        listeners: &[Arc<Listener>],
        request: &WhyRequest,
        now: SystemTime,
        source: &str,
    ) -> Result<Self, BadQuestion> {
        let door = request.door(listeners)?;
        let claim = request.claim(door)?;
        let now = match &request.at {
            Some(text) => time(text)?,
            None => now,
        };
        let explanation = policy.explain(&claim, now);
        let tried = policy.origins().iter().zip(&explanation.tried);
        Ok(Self {
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
                .map(|(origin, tried)| TriedAnswer::of(origin, tried, &claim, &explanation))
                .collect(),
            mend: mend(&explanation, &claim, door.protocol),
            source: source.to_owned(),
            generation: (source == DAEMON).then(|| policy.generation()),
            loaded: None,
        })
    }

    pub fn allows(&self) -> bool {
        self.verdict == "allow"
    }
}

impl WhyRequest {
    fn claim(&self, door: &Listener) -> Result<Claim, BadQuestion> {
        let replication = self.replication(door.protocol)?;
        let database = match (door.protocol, replication) {
            (Protocol::Postgres, Some(Replication::Physical)) => None,
            (Protocol::Postgres, _) => Some(self.database.as_ref().unwrap_or(&self.user).clone()),
            (Protocol::Mysql, _) => self.database.clone(),
        };
        Ok(Claim {
            listener: Arc::clone(&door.name),
            address: address(&self.address)?,
            user: self.user.clone(),
            database,
            replication,
            tls: self.tls.then_some(TlsVersion::V1_3),
            certificate: None,
            application: None,
        })
    }

    fn replication(&self, protocol: Protocol) -> Result<Option<Replication>, BadQuestion> {
        let Some(kind) = self.replication.as_deref() else {
            return Ok(None);
        };
        Ok(Some(match (protocol, kind) {
            (Protocol::Postgres, "true" | "physical") => Replication::Physical,
            (Protocol::Postgres, "logical") => Replication::Logical,
            (Protocol::Mysql, "true") => Replication::Commands,
            (_, other) => {
                let kinds = match protocol {
                    Protocol::Postgres => "physical or logical",
                    Protocol::Mysql => "MySQL knows one, --replication alone",
                };
                let other = brief(other);
                let text = format!("`{other}` is not a kind of replication: {kinds}");
                return Err(BadQuestion(text));
            }
        }))
    }

    fn door<'l>(&self, listeners: &'l [Arc<Listener>]) -> Result<&'l Listener, BadQuestion> {
        let names: Vec<&str> = listeners.iter().map(|door| &*door.name).collect();
        let names = names.join(", ");
        match (&self.listener, listeners) {
            (None, [only]) => Ok(only),
            (None, _) => Err(BadQuestion(format!(
                "there are several listeners, say which: {names}"
            ))),
            (Some(name), _) => listeners
                .iter()
                .find(|door| *door.name == **name)
                .map(|door| &**door)
                .ok_or_else(|| {
                    BadQuestion(format!(
                        "there is no listener `{}`; there are {names}",
                        brief(name)
                    ))
                }),
        }
    }
}

impl TriedAnswer {
    fn of(origin: &Origin, tried: &Tried, claim: &Claim, explanation: &Explanation) -> Self {
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
            first_failure: tried
                .first_failure
                .map(|(failed, _)| failed.label().to_owned()),
            because: match tried.first_failure {
                Some((failed, reason)) => Some(because(failed, reason, origin, claim)),
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

fn because(failed: Condition, reason: Reason, origin: &Origin, claim: &Claim) -> String {
    match failed {
        Condition::From => {
            let from = origin.from.iter().map(|from| match from {
                From::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                    network.addr().to_string()
                }
                From::Network(network) => network.to_string(),
                From::Any => "any".to_owned(),
                From::Host { name, .. } => format!("host {name}"),
                From::Set(name) => format!("network {name}"),
            });
            format!("{} is not in {}", canonical(claim.address), some(from))
        }
        Condition::Listener => format!(
            "listener `{}` is not among {}",
            claim.listener,
            names(&origin.listeners)
        ),
        Condition::User if origin.users.is_any() => {
            format!(
                "`{}` is protected: \"any user\" never covers it",
                brief(&claim.user)
            )
        }
        Condition::User => format!(
            "user `{}` is not among {}",
            brief(&claim.user),
            names(&origin.users)
        ),
        Condition::Database => format!(
            "database `{}` is not among {}",
            brief(claim.database.as_deref().unwrap_or_default()),
            names(&origin.databases)
        ),
        Condition::Replication => match origin.replication {
            Some(Replication::Physical) => "it is for physical replication and nothing else",
            Some(Replication::Logical) => "it is for logical replication and nothing else",
            Some(Replication::Commands) => "it is for MySQL's replication commands",
            None => "it has no right to replicate",
        }
        .to_owned(),
        Condition::Active => "it is switched off".to_owned(),
        Condition::Expires => match origin.expires.map(jiff::Timestamp::try_from) {
            Some(Ok(at)) => format!("it expired at {at}"),
            Some(Err(_)) | None => "it has expired".to_owned(),
        },
        Condition::Tls | Condition::Proof => reason.sentence().to_owned(),
    }
}

/// Why an origin that matches completely does not admit.
fn overruled(explanation: &Explanation) -> Option<String> {
    let rule = explanation.rule.as_deref().unwrap_or_default();
    if explanation.reason == Reason::DenyRule {
        return Some(format!("it matches, and the deny rule \"{rule}\" beats it"));
    }
    (explanation.verdict == Verdict::Deny)
        .then(|| format!("it matches, and \"{rule}\" has this user for itself"))
}

fn mend(explanation: &Explanation, claim: &Claim, protocol: Protocol) -> Option<String> {
    let rule = explanation.rule.as_deref().unwrap_or_default();
    let origin = explanation
        .tried
        .iter()
        .find(|tried| *tried.origin == *rule);
    let origin = origin.map_or_else(String::new, |tried| {
        format!("\"{rule}\" (line {})", tried.line)
    });
    let user = brief(&claim.user);
    let database = brief(claim.database.as_deref().unwrap_or_default());
    let address = canonical(claim.address);
    Some(match explanation.reason {
        Reason::DenyRule => format!("the deny rule \"{rule}\" must go, or mean fewer"),
        Reason::ExclusiveUser => format!(
            "{origin} has `{user}` for itself: add {address} to its `from`, or use another user"
        ),
        Reason::NoOrigin => format!("an origin must name {address}, in its `from`"),
        Reason::ListenerNotAllowed => {
            format!("{origin} needs `{}` in its `listeners`", claim.listener)
        }
        Reason::UserNotAllowed => format!("{origin} needs `{user}` in its `users`"),
        Reason::DatabaseNotAllowed => format!("{origin} needs `{database}` in its `databases`"),
        Reason::ReplicationNotAllowed => match claim.replication {
            Some(Replication::Physical) => {
                "replication needs an origin of its own, with `replication: physical`".to_owned()
            }
            Some(Replication::Logical) => {
                "replication needs an origin of its own, with `replication: logical`".to_owned()
            }
            Some(Replication::Commands) => format!("{origin} needs `replication: true`"),
            None => format!("{origin} is for replication; ordinary sessions need another origin"),
        },
        Reason::Expired => format!("{origin} needs a later `expires`, or none"),
        Reason::Inactive => format!("{origin} needs `active: true`"),
        Reason::TlsRequired => match protocol {
            Protocol::Postgres => "the client needs sslmode=verify-full",
            Protocol::Mysql => "the client needs ssl-mode=VERIFY_IDENTITY",
        }
        .to_owned(),
        Reason::Allowed
        | Reason::TlsVersion
        | Reason::CertificateMissing
        | Reason::CertificateMismatch
        | Reason::CertificateRevoked
        | Reason::LimitConnections
        | Reason::LimitRate
        | Reason::LimitGlobal
        | Reason::Banned
        | Reason::AuthenticationMissing
        | Reason::TlsFailed
        | Reason::MalformedOpening
        | Reason::OpeningTimeout
        | Reason::UpstreamUnreachable
        | Reason::UpstreamRefused
        | Reason::ShuttingDown => return None,
    })
}

fn names(names: &Names) -> String {
    match names {
        Names::Any => "any".to_owned(),
        Names::Listed(names) => some(names.iter().map(|name| brief(name))),
    }
}

/// The first few of a list.
fn some(mut items: impl Iterator<Item = String>) -> String {
    let first: Vec<_> = items.by_ref().take(3).collect();
    let rest = items.count();
    let first = first.join(", ");
    if rest == 0 {
        first
    } else {
        format!("{first} and {rest} more")
    }
}

fn address(text: &str) -> Result<IpAddr, BadQuestion> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let bare = bare
        .split_once('%')
        .map_or(bare, |(address, _zone)| address);
    let address = bare.parse().map_err(|_not_an_address| {
        BadQuestion(format!("`{}` is not an address: give the one that the client connects from, such as 203.0.113.7", brief(text)))
    })?;
    Ok(canonical(address))
}

fn time(text: &str) -> Result<SystemTime, BadQuestion> {
    let time: jiff::Timestamp = text.parse().map_err(|_not_a_time| {
        BadQuestion(format!(
            "`{}` is not a time with its zone: write 2026-12-31T18:00:00Z",
            brief(text)
        ))
    })?;
    Ok(time.into())
}

/// Somebody else's words, for one line of text.
fn brief(text: &str) -> String {
    let short: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if short.len() < text.len() && text.chars().nth(LONGEST).is_some() {
        format!("{short}...")
    } else {
        short
    }
}

/// As [`WhyAnswer::source`] says who answers.
pub const DAEMON: &str = "daemon";

const LONGEST: usize = 80;
