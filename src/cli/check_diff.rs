//! `doorward check --diff`: which decisions would change. Floor 5.
//!
//! Held against both policies are the tests of the file, the live sessions, and who logged in lately.

use std::{collections::BTreeMap, fmt, path::Path, time::SystemTime};

use serde::Serialize;

use crate::server::{
    control::{self, Answer, AskError, Listing, Request},
    people::{LoginAnswer, SessionAnswer, Who},
    why_answer::{Decision, Ground, Shows, WhyRequest},
};

/// What would become of whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Differences {
    /// How many decisions were compared.
    pub(super) compared: usize,
    /// Of the gateway that runs.
    pub(super) generation: u64,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// Who asks, in words.
    pub(super) who: String,
    pub(super) sessions: u64,
    pub(super) before: Decision,
    pub(super) after: Decision,
}

/// A question, and how many live sessions ask it.
type Asked = Vec<(WhyRequest, u64)>;

impl Differences {
    /// Asks the gateway at the socket, and the policy that is to come.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub(super) fn find(
        socket: &Path,
        generation: u64,
        ground: Ground<'_>,
        now: SystemTime,
    ) -> Result<Self, AskError> {
        let asked = asked(socket, ground)?;
        let (mut changes, mut whose) = (Vec::new(), Vec::new());
        for some in asked.chunks(AT_ONCE) {
            let questions = some.iter().map(|(question, _)| question.clone()).collect();
            let before = ask::<Listing<Decision>>(socket, &Request::Decide { questions })?;
            for ((question, sessions), before) in some.iter().zip(before.items) {
                let after = Decision::of(ground, question, now);
                // what was given for a while is kept by a reload
                if !before.temporary && !before.is_same(&after) {
                    whose.push(question);
                    changes.push(Change {
                        who: String::new(),
                        sessions: *sessions,
                        before,
                        after,
                    });
                }
            }
        }
        for (change, who) in changes.iter_mut().zip(apart(&whose)) {
            change.who = who;
        }
        Ok(Self {
            compared: asked.len(),
            generation,
            changes,
        })
    }

    pub(super) const fn any(&self) -> bool {
        !self.changes.is_empty()
    }

    /// One for each change.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.changes.iter().map(ToString::to_string)
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            compared,
            generation,
            changes,
        } = self;
        write!(
            f,
            "diff: {} of {compared} decisions change against generation {generation}",
            changes.len()
        )?;
        for line in self.lines().take(SHOWN) {
            write!(f, "\n  {line}")?;
        }
        if changes.len() > SHOWN {
            write!(f, "\n  and {} more", changes.len() - SHOWN)?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)?;
        match self.sessions {
            0 => {}
            1 => f.write_str(" (1 session)")?,
            many => write!(f, " ({many} sessions)")?,
        }
        write!(f, ": {} -> {}", self.before, self.after)
    }
}

/// Each question once.
fn asked(socket: &Path, ground: Ground<'_>) -> Result<Asked, AskError> {
    let mut asked: BTreeMap<String, (WhyRequest, u64)> = BTreeMap::new();
    let mut ask_of = |request: WhyRequest, sessions: u64| {
        let key = format!("{request:?}");
        asked.entry(key).or_insert((request, 0)).1 += sessions;
    };
    for test in &ground.policy.rules().tests {
        let mut request = WhyRequest::of(&Who::of(&test.claim));
        request.at = test
            .at
            .and_then(|at| jiff::Timestamp::try_from(at).ok())
            .map(|at| at.to_string());
        ask_of(request, 0);
    }
    let sessions = ask::<Listing<SessionAnswer>>(socket, &Request::Sessions)?;
    for session in &sessions.items {
        ask_of(WhyRequest::of(&session.who), 1);
    }
    let logins = ask::<Listing<LoginAnswer>>(socket, &Request::Logins)?;
    for login in &logins.items {
        ask_of(WhyRequest::of(&login.who), 0);
    }
    Ok(asked.into_values().collect())
}

fn ask<T: TryFrom<Answer>>(socket: &Path, request: &Request) -> Result<T, AskError> {
    T::try_from(control::ask(socket, request)?)
        .map_err(|_other| AskError::NoAnswer("it answers another question".to_owned()))
}

/// Who asks, in words of which no two are the same.
fn apart(questions: &[&WhyRequest]) -> Vec<String> {
    let short: Vec<_> = questions.iter().map(|question| who(question)).collect();
    let alone = |words: &String| short.iter().filter(|other| *other == words).count() == 1;
    let each = short.iter().zip(questions);
    each.map(|(words, question)| {
        if alone(words) {
            words.clone()
        } else {
            format!("{words}, {}", way(question))
        }
    })
    .collect()
}

/// How it comes, and when.
fn way(question: &WhyRequest) -> String {
    let mut parts = vec![
        question
            .tls
            .as_ref()
            .map_or_else(|| "in clear".to_owned(), |version| format!("TLS {version}")),
        match &question.certificate {
            Some(Shows::Names {
                dns,
                uri,
                cn,
                sha256,
                ..
            }) => {
                let names = dns.iter().chain(uri).chain(cn).chain(sha256);
                let names: Vec<_> = names.map(|name| name.escape_debug().to_string()).collect();
                format!("certificate {}", names.join(" "))
            }
            Some(Shows::Chain(_)) => "with a certificate".to_owned(),
            None => "without a certificate".to_owned(),
        },
    ];
    parts.extend(
        question
            .replication
            .as_ref()
            .map(|kind| format!("replication {kind}")),
    );
    parts.extend(question.at.as_ref().map(|at| format!("at {at}")));
    parts.join(", ")
}

fn who(question: &WhyRequest) -> String {
    let mut text = format!("{} user {}", question.address, question.user.escape_debug());
    if let Some(database) = &question.database {
        text.push_str(" database ");
        text.extend(database.escape_debug());
    }
    if let Some(listener) = &question.listener {
        text.push_str(" on ");
        text.push_str(listener);
    }
    text
}

/// Questions in one request, which has to fit into its limit.
const AT_ONCE: usize = 40;
/// Changes that are shown to a person.
const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_changes_read_the_same() {
        let plain = WhyRequest {
            address: "127.0.0.1".to_owned(),
            user: "app".to_owned(),
            database: Some("shop".to_owned()),
            listener: Some("pg".to_owned()),
            ..WhyRequest::default()
        };
        let encrypted = WhyRequest {
            tls: Some("1.3".to_owned()),
            ..plain.clone()
        };
        let elsewhere = WhyRequest {
            listener: Some("pg2".to_owned()),
            ..plain.clone()
        };
        assert_eq!(
            apart(&[&plain, &encrypted, &elsewhere]),
            [
                "127.0.0.1 user app database shop on pg, in clear, without a certificate",
                "127.0.0.1 user app database shop on pg, TLS 1.3, without a certificate",
                "127.0.0.1 user app database shop on pg2",
            ]
        );
    }
}
