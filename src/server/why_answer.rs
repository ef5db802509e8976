//! What `doorward why` asks and is answered, by the daemon or from a file. Floor 4.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::policy::Policy;

/// A connection to judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyRequest {
    pub address: String,
    pub user: String,
    /// The user's name when absent, as PostgreSQL does.
    #[serde(default)]
    pub database: Option<String>,
    /// May be left out when there is one.
    #[serde(default)]
    pub listener: Option<String>,
    #[serde(default)]
    pub tls: bool,
    /// `physical` or `logical`.
    #[serde(default)]
    pub replication: Option<String>,
    /// RFC 3339; now when absent.
    #[serde(default)]
    pub at: Option<String>,
}

/// The verdict and every near miss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyAnswer {
    pub verdict: String,
    pub reason: String,
    pub origin: Option<String>,
    pub would_deny: Option<String>,
}

/// The question cannot be answered: it names a listener there is not, or is malformed. `Display` says which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuestion(pub String);

impl WhyAnswer {
    /// Asks the policy. `listeners` are the names of those there are; `now` is used where the question names no time;
    /// `source` says who answers: `daemon` or `file PATH`.
    ///
    /// # Errors
    /// The question cannot be answered.
    pub fn of(
        policy: &Policy,
        listeners: &[std::sync::Arc<str>],
        request: &WhyRequest,
        now: SystemTime,
        source: &str,
    ) -> Result<Self, BadQuestion> {
        let _ = (policy, listeners, request, now, source);
        Err(BadQuestion("not answered yet".to_owned()))
    }
}
