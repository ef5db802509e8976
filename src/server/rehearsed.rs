//! The file's own tests, run, in words. Floor 4.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{control::Refused, house::House, no::No, why_words::brief};
use crate::{
    config,
    net::resolver::{Wanted, look_up},
    policy::{Claim, Expected, Mismatch, Policy, Reason, Rules, Verdict},
};

/// What came of the tests. `Display` says it in lines, the first of which counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsed {
    pub passed: usize,
    pub failed: Vec<FailedTest>,
}

/// A test whose decision is another than it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTest {
    /// The included file that it stands in; `None` for the main file.
    pub file: Option<String>,
    pub line: u32,
    pub text: String,
}

impl Rehearsed {
    /// Runs them.
    pub fn of(policy: &Policy, now: SystemTime) -> Self {
        let mismatches = policy.rehearse(now);
        let all = policy.rules().tests.len();
        Self {
            passed: all.saturating_sub(mismatches.len()),
            failed: mismatches
                .iter()
                .map(|mismatch| FailedTest::of(mismatch, policy))
                .collect(),
        }
    }

    pub const fn is_good(&self) -> bool {
        self.failed.is_empty()
    }
}

impl House {
    /// Rules whose own tests fail do not come into force. Hosts that nobody has asked for yet are asked for first.
    pub(super) async fn hold_against_tests(
        &self,
        rules: &Rules,
        settings: &config::Resolver,
        now: SystemTime,
    ) -> Result<(), No> {
        if rules.tests.is_empty() {
            return Ok(());
        }
        let mut known = self.names.hosts();
        let mut wanted = rules.hosts();
        wanted.retain(|host| known.get(host).is_none());
        if !wanted.is_empty() {
            let wanted = Wanted {
                hosts: wanted,
                servers: settings.servers.clone(),
                max_stale: settings.max_stale,
            };
            let found = timeout(PATIENCE, look_up(&wanted)).await;
            for (host, answer) in found.unwrap_or_default().hosts.iter() {
                known.insert(Arc::clone(host), answer.clone());
            }
        }
        let tests = Rehearsed::of(&Policy::new(rules.clone(), &known, 0), now);
        if tests.is_good() {
            return Ok(());
        }
        Err(No {
            why: Refused::Configuration,
            text: tests.to_string(),
        })
    }
}

impl fmt::Display for Rehearsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tests: {} passed", self.passed)?;
        if !self.is_good() {
            write!(f, ", {} failed", self.failed.len())?;
        }
        for test in self.failed.iter().take(SHOWN) {
            let file = test.file.as_ref();
            let file = file.map_or_else(String::new, |file| format!("{file} "));
            write!(f, "\n  {file}line {}  {}", test.line, test.text)?;
        }
        if self.failed.len() > SHOWN {
            write!(f, "\n  and {} more", self.failed.len() - SHOWN)?;
        }
        Ok(())
    }
}

impl FailedTest {
    fn of(mismatch: &Mismatch<'_>, policy: &Policy) -> Self {
        let test = mismatch.rehearsal;
        Self {
            file: test.file.as_deref().map(str::to_owned),
            line: test.line,
            text: format!(
                "{}: expected {}, got {}",
                who(&test.claim),
                expected(&test.expected),
                got(mismatch, policy)
            ),
        }
    }
}

/// A claim in a few words.
fn who(claim: &Claim) -> String {
    let mut text = format!("{} user {}", claim.address, brief(&claim.user));
    if let Some(database) = &claim.database {
        text.push_str(" database ");
        text.push_str(&brief(database));
    }
    text
}

fn expected(expected: &Expected) -> String {
    let mut text = label(expected.verdict).to_owned();
    if let Some(reason) = &expected.reason {
        text.push(' ');
        text.push_str(reason);
    }
    if let Some(origin) = &expected.origin {
        // writing into a text cannot fail
        let _whole = write!(text, " by \"{origin}\"");
    }
    text
}

fn got(mismatch: &Mismatch<'_>, policy: &Policy) -> String {
    let mut text = label(mismatch.verdict).to_owned();
    if mismatch.reason != Reason::Allowed {
        text.push(' ');
        text.push_str(mismatch.reason.label());
    }
    if let Some(name) = &mismatch.origin {
        let _whole = write!(text, " by \"{name}\"{}", line(name, policy));
    }
    text
}

/// Where a rule stands.
fn line(name: &Arc<str>, policy: &Policy) -> String {
    let deny = || policy.rules().deny.iter().find(|deny| deny.name == *name);
    let line = policy
        .origin(name)
        .map(|origin| origin.line)
        .or_else(|| deny().map(|deny| deny.line));
    line.map_or_else(String::new, |line| format!(" (line {line})"))
}

const fn label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

/// How long a reload waits for DNS.
const PATIENCE: Duration = Duration::from_secs(3);
/// Failed tests that are shown.
const SHOWN: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Rehearsal, Rules,
        samples::{claim, origin, policy, rules},
    };

    fn test(line: u32, address: &str, verdict: Verdict, reason: Option<&str>) -> Rehearsal {
        Rehearsal {
            line,
            file: None,
            at: None,
            claim: claim("pg", address, "app"),
            expected: Expected {
                verdict,
                origin: None,
                reason: reason.map(str::to_owned),
            },
        }
    }

    #[test]
    fn a_failed_test_says_what_was_expected_and_what_came() {
        let rules = Rules {
            tests: vec![
                test(40, "10.0.0.1", Verdict::Allow, None),
                test(41, "10.0.0.1", Verdict::Deny, None),
                test(42, "192.0.2.1", Verdict::Deny, Some("tls_required")),
            ],
            ..rules(vec![origin("web", &["10.0.0.1"])], Vec::new())
        };
        let told = Rehearsed::of(&policy(rules), SystemTime::now());
        assert_eq!(
            told.to_string(),
            "tests: 1 passed, 2 failed
  line 41  10.0.0.1 user app: expected deny, got allow by \"web\" (line 1)
  line 42  192.0.2.1 user app: expected deny tls_required, got deny no_origin"
        );
    }
}
