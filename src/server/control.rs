//! What is said over the admin socket, and the asking side of it. Floor 4.
//!
//! One JSON object in a line, one JSON object back, and the connection ends. The socket is the way back in when the policy
//! lets nobody in: it is outside of it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    grants::{AllowRequest, RevokeAnswer},
    latency::LatencyLine,
    people::{BanAnswer, LoginAnswer, RefusalAnswer, SessionAnswer},
    status::Status,
    temporary::Given,
    why_answer::{Decision, WhyAnswer, WhyRequest},
};
use crate::net;

/// What a command asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    Status,
    Reload {
        /// Go on where the guard against locking everybody out would ask: it was answered, or nobody is there to ask.
        #[serde(default)]
        yes: bool,
    },
    Why(Box<WhyRequest>),
    /// The verdicts on several connections.
    Decide {
        questions: Vec<WhyRequest>,
    },
    /// A refusal that a client reports.
    Refusal {
        reference: String,
    },
    /// Where the time of each origin goes.
    Latency,
    /// For so many seconds an origin is looked at closer.
    Watch {
        origin: String,
        seconds: u64,
    },
    /// The live sessions.
    Sessions,
    /// One of them is to end.
    EndSession {
        id: u64,
    },
    /// Who logged in at the database, as far as it is remembered.
    Logins,
    /// The strangers that are not heard now.
    Bans,
    /// One of them is to be heard again.
    LiftBan {
        source: String,
    },
    /// Somebody is to be let in for a while.
    Allow(AllowRequest),
    /// A temporary origin is to end.
    Revoke {
        name: String,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Status(Box<Status>),
    Reloaded(Reloaded),
    Why(Box<WhyAnswer>),
    /// In the order of the questions.
    Decisions(Listing<Decision>),
    Refusal(Box<RefusalAnswer>),
    Latency(Listing<LatencyLine>),
    Sessions(Listing<SessionAnswer>),
    Logins(Listing<LoginAnswer>),
    Bans(Listing<BanAnswer>),
    Allowed(Given),
    Revoked(RevokeAnswer),
    /// It is done, and there is nothing to tell of it.
    Done,
    /// Nothing was changed.
    Refused {
        why: Refused,
        text: String,
    },
}

/// An answer of one kind; of another it is given back.
macro_rules! kinds {
    ($($kind:ident($answer:ty)),* $(,)?) => {$(
        impl TryFrom<Answer> for $answer {
            type Error = Answer;

            fn try_from(answer: Answer) -> Result<Self, Answer> {
                if let Answer::$kind(answer) = answer {
                    Ok(answer)
                } else {
                    Err(answer)
                }
            }
        }
    )*};
}

kinds! {
    Status(Box<Status>),
    Reloaded(Reloaded),
    Why(Box<WhyAnswer>),
    Decisions(Listing<Decision>),
    Refusal(Box<RefusalAnswer>),
    Latency(Listing<LatencyLine>),
    Sessions(Listing<SessionAnswer>),
    Logins(Listing<LoginAnswer>),
    Bans(Listing<BanAnswer>),
    Allowed(Given),
    Revoked(RevokeAnswer),
}

impl TryFrom<Answer> for () {
    type Error = Answer;

    fn try_from(answer: Answer) -> Result<Self, Answer> {
        if answer == Answer::Done {
            Ok(())
        } else {
            Err(answer)
        }
    }
}

/// Several of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing<T> {
    pub items: Vec<T>,
}

/// What kind of no it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The new configuration has errors.
    Configuration,
    /// A file must not be read.
    NotPermitted,
    /// It would shut out more than is likely to be meant.
    AsksForYes,
    /// It is more than may be given for a while.
    AboveCeiling,
    /// The request is not understood.
    Request,
    /// Too many ask at once.
    Busy,
}

/// A configuration came into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    pub generation: u64,
    pub origins: usize,
    /// Live sessions that were decided again within the time of the answer.
    pub decided_again: u64,
    /// Those of them that are admitted no longer: drained or cut.
    pub revoked: u64,
    /// Settings that changed in the file and wait for a restart.
    pub needs_restart: Vec<String>,
    pub warnings: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no daemon answers at this socket: {0}")]
    NoDaemon(io::Error),
    #[error("the daemon's socket is not for this user")]
    NotPermitted,
    #[error("the daemon gave no answer that can be read: {0}")]
    NoAnswer(String),
}

/// Asks the daemon behind the socket.
///
/// # Errors
/// There is none, it does not listen to this user, or it says nothing of sense within half a minute.
pub fn ask(socket: &Path, request: &Request) -> Result<Answer, AskError> {
    let mut stream = net::connect_local(socket, PATIENCE).map_err(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            AskError::NotPermitted
        } else {
            AskError::NoDaemon(error)
        }
    })?;
    let no_answer = |error: &dyn std::error::Error| AskError::NoAnswer(error.to_string());
    let mut line = serde_json::to_string(request).map_err(|error| no_answer(&error))?;
    line.push('\n');
    // a daemon that is busy answers and closes before it has read
    let written = stream.write_all(line.as_bytes());
    let mut answer = String::new();
    let read = BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut answer);
    if !answer.ends_with('\n') {
        written.and(read).map_err(|error| no_answer(&error))?;
    }
    if answer.is_empty() {
        return Err(AskError::NotPermitted);
    }
    serde_json::from_str(&answer).map_err(|error| no_answer(&error))
}

/// The longest request that is read.
pub(super) const LONGEST_REQUEST: usize = 64 * 1024;
/// A status of thousands of origins.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_flat_object() {
        let parse = |text: &str| serde_json::from_str::<Request>(text);
        assert_eq!(parse(r#"{"command":"status"}"#).unwrap(), Request::Status);
        assert_eq!(
            parse(r#"{"command":"reload"}"#).unwrap(),
            Request::Reload { yes: false }
        );
        let why = parse(r#"{"command":"why","address":"192.0.2.1","user":"app","tls":"1.3"}"#);
        let Request::Why(why) = why.unwrap() else {
            panic!("not a why");
        };
        assert_eq!(
            (why.address.as_str(), why.tls.as_deref()),
            ("192.0.2.1", Some("1.3"))
        );
        assert!(parse(r#"{"command":"stop"}"#).is_err());
    }

    #[test]
    fn without_a_daemon_the_answer_is_that_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask(&folder.path().join("admin.sock"), &Request::Status).unwrap_err();
        assert!(matches!(error, AskError::NoDaemon(_)), "{error}");
    }
}
