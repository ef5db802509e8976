//! What is known of one host, from the answers and the time alone. Floor 1: pure.
//!
//! Both families are asked and remembered each for itself: neither hides the other, and where one cannot be asked its last
//! answer holds. An address that an answer no longer has stays for a minute; an answer that cannot be renewed stays for as
//! long as the settings say, and then counts for sessions that are there already, no longer for new ones.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{
    net::ranges::{self, Reach},
    policy::{Freshness, HostAnswer},
};

/// What was heard of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All there are, maybe none, and how long that is good.
    Found {
        addresses: Vec<IpAddr>,
        ttl: Duration,
    },
    /// Nobody could say. In words.
    Failed(String),
}

/// One moment on both clocks: what is due goes by the first, what is shown by the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) tick: Instant,
    pub(super) wall: SystemTime,
}

/// What is known of one host, and when it is to be asked for again.
#[derive(Clone, Debug)]
pub(super) struct Host {
    public: bool,
    max_stale: Duration,
    families: [Family; 2],
    asked: Option<Instant>,
    due: Instant,
    /// Questions in a row that were not wholly answered.
    failures: u32,
}

/// One of IPv4 and IPv6.
#[derive(Clone, Debug, Default)]
struct Family {
    known: Vec<Known>,
    /// When the last answer came, and until when it is good by itself.
    heard: Option<(Moment, Moment)>,
    /// Since when there was none, and why.
    failing: Option<(Moment, String)>,
    /// Answers that can be no client's address.
    nowhere: Vec<(IpAddr, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    address: IpAddr,
    /// It was not in the last answer, and counts until then.
    leaves: Option<Instant>,
}

impl Host {
    /// A host that nobody was asked for yet.
    pub(super) fn new(name: &str, max_stale: Duration, now: Instant) -> Self {
        Self {
            public: ranges::is_public_name(name),
            max_stale,
            families: [Family::default(), Family::default()],
            asked: None,
            due: now,
            failures: 0,
        }
    }

    pub(super) const fn keep_stale_for(&mut self, max_stale: Duration) {
        self.max_stale = max_stale;
    }

    /// When to ask. While a question is under way, when to give it up.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// It is being asked for.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
        self.due = now + LOST;
    }

    /// Somebody waits: it is asked for again, if that was not just done.
    pub(super) fn hurry(&mut self) {
        if let Some(asked) = self.asked {
            self.due = self.due.min(asked + HURRIED);
        }
    }

    /// Both families' answers.
    pub(super) fn hear(&mut self, answers: [Answer; 2], now: Moment) {
        let answers = not_too_many(answers);
        let whole = answers.iter().all(Answer::is_found);
        let again = again(&answers);
        for (family, answer) in self.families.iter_mut().zip(answers) {
            family.hear(answer, now);
        }
        let pause = if whole {
            self.failures = 0;
            again
        } else {
            let pause = FIRST_RETRY.saturating_mul(1 << self.failures.min(5));
            self.failures = self.failures.saturating_add(1);
            pause.min(MIN_TTL)
        };
        self.due = now.tick + pause;
    }

    /// What a policy may take for the host's addresses; `None` as long as nobody has answered.
    pub(super) fn answer(&self, now: Instant) -> Option<HostAnswer> {
        let heard = || self.families.iter().filter(|family| family.heard.is_some());
        // a family that has no addresses says nothing of how good those of the other are
        let mut telling: Vec<_> = heard().filter(|f| f.addresses(now).count() > 0).collect();
        if telling.is_empty() {
            telling = heard().collect();
        }
        let is_fresh = |family: &&Family| !family.is_stale(self.max_stale, now);
        let freshness = if telling.iter().any(is_fresh) {
            telling.retain(is_fresh);
            Freshness::Fresh {
                since: telling.iter().filter_map(|family| family.since()).min()?,
                until: telling
                    .iter()
                    .filter_map(|family| family.until(self.max_stale))
                    .min()?,
            }
        } else {
            Freshness::Stale {
                since: telling.iter().filter_map(|family| family.since()).min()?,
            }
        };
        let addresses = telling.iter().flat_map(|family| family.addresses(now));
        let (addresses, inward) = addresses.partition(|address| self.counts(*address));
        Some(HostAnswer {
            addresses,
            inward,
            freshness,
        })
    }

    /// The next moment after `now` at which the answer changes though nobody has said anything new.
    pub(super) fn changes(&self, now: Instant) -> Option<Instant> {
        let moments = self.families.iter().flat_map(|family| {
            let leaves = family.known.iter().filter_map(|known| known.leaves);
            leaves.chain(family.goes_stale(self.max_stale))
        });
        moments.filter(|moment| *moment > now).min()
    }

    /// Nobody can be asked: why.
    pub(super) fn error(&self) -> Option<&str> {
        let failing = |family: &Family| family.failing.is_some();
        let family = self.families.iter().find(|family| failing(family))?;
        family.failing.as_ref().map(|(_, cause)| &**cause)
    }

    /// What its owner should know of the addresses, in words.
    pub(super) fn warning(&self, now: Instant) -> Option<String> {
        let nowhere = self.families.iter().flat_map(|family| &family.nowhere);
        let nowhere = nowhere.map(|(address, what)| {
            format!("{address} is {what}: no client has it, so it counts for nothing")
        });
        let addresses = || self.families.iter().flat_map(|f| f.addresses(now));
        let inward = addresses()
            .filter(|_| self.public)
            .filter_map(|address| match ranges::reach(address) {
                Reach::Inward(what) => Some(format!(
                    "{address} is {what}: for a public name it counts only where a rule asks for it"
                )),
                Reach::Public | Reach::Nowhere(_) => None,
            });
        let behind = addresses().filter_map(|address| {
            let cdn = ranges::cdn(address)?;
            Some(format!(
                "{address} is {cdn}'s: visitors reach the host there, but it connects from elsewhere; \
                 a certificate for its name (`proof`) is the sure way"
            ))
        });
        nowhere.chain(inward).chain(behind).next()
    }

    fn counts(&self, address: IpAddr) -> bool {
        !self.public || ranges::reach(address) == Reach::Public
    }
}

impl Family {
    fn hear(&mut self, answer: Answer, now: Moment) {
        let (addresses, ttl) = match answer {
            Answer::Found { addresses, ttl } => (addresses, ttl),
            Answer::Failed(cause) => {
                let since = self.failing.take().map_or(now, |(since, _)| since);
                self.failing = Some((since, cause));
                return;
            }
        };
        let (some, nowhere): (Vec<_>, Vec<_>) = addresses
            .into_iter()
            .map(|address| (address, ranges::reach(address)))
            .partition(|(_, reach)| !matches!(reach, Reach::Nowhere(_)));
        self.nowhere = nowhere
            .into_iter()
            .filter_map(|(address, reach)| match reach {
                Reach::Nowhere(what) => Some((address, what)),
                Reach::Public | Reach::Inward(_) => None,
            })
            .collect();
        let found: Vec<IpAddr> = some.into_iter().map(|(address, _)| address).collect();
        self.known
            .retain(|known| known.leaves.is_none_or(|at| at > now.tick));
        for known in &mut self.known {
            known.leaves = if found.contains(&known.address) {
                None
            } else {
                known.leaves.or(Some(now.tick + GRACE))
            };
        }
        for address in found {
            if self.known.iter().all(|known| known.address != address) {
                let leaves = None;
                self.known.push(Known { address, leaves });
            }
        }
        // resolvers turn the addresses round; the same set is the same answer
        self.known.sort_unstable_by_key(|known| known.address);
        self.heard = Some((now, now.after(ttl.clamp(MIN_TTL, MAX_TTL))));
        self.failing = None;
    }

    fn addresses(&self, now: Instant) -> impl Iterator<Item = IpAddr> {
        let known = self.known.iter();
        known
            .filter(move |known| known.leaves.is_none_or(|at| at > now))
            .map(|known| known.address)
    }

    fn goes_stale(&self, max_stale: Duration) -> Option<Instant> {
        let (since, _) = self.failing.as_ref()?;
        Some(since.tick + max_stale)
    }

    fn is_stale(&self, max_stale: Duration, now: Instant) -> bool {
        self.goes_stale(max_stale).is_some_and(|at| at <= now)
    }

    fn since(&self) -> Option<SystemTime> {
        self.heard.map(|(at, _)| at.wall)
    }

    fn until(&self, max_stale: Duration) -> Option<SystemTime> {
        let good = self.heard.map(|(_, until)| until.wall);
        let held = self.failing.as_ref();
        held.map(|(since, _)| since.after(max_stale).wall).or(good)
    }
}

impl Answer {
    const fn is_found(&self) -> bool {
        matches!(self, Self::Found { .. })
    }

    /// How many addresses, and how long that is good.
    const fn found(&self) -> Option<(usize, Duration)> {
        match self {
            Self::Found { addresses, ttl } => Some((addresses.len(), *ttl)),
            Self::Failed(_) => None,
        }
    }
}

impl Moment {
    /// The wall clock has an end; it is far away.
    fn after(self, time: Duration) -> Self {
        Self {
            tick: self.tick + time,
            wall: self.wall.checked_add(time).unwrap_or(self.wall),
        }
    }
}

/// A host with very many addresses is no place to connect from; what is known of it stays.
fn not_too_many(answers: [Answer; 2]) -> [Answer; 2] {
    let counts = answers.iter().filter_map(Answer::found);
    let count: usize = counts.map(|(count, _)| count).sum();
    if count <= MOST_ADDRESSES {
        return answers;
    }
    let refused = format!("it has {count} addresses; no more than {MOST_ADDRESSES} are taken");
    [Answer::Failed(refused.clone()), Answer::Failed(refused)]
}

/// How long whole answers are good. A family without addresses does not make the other's be asked for more often; a host
/// without any is asked for sooner, for somebody may be waiting for it.
fn again(answers: &[Answer; 2]) -> Duration {
    let found = || answers.iter().filter_map(Answer::found);
    let with = found().filter(|(count, _)| *count > 0);
    let shortest = with.map(|(_, ttl)| ttl).min();
    shortest.map_or_else(
        || {
            let nothing = found().map(|(_, ttl)| ttl).min().unwrap_or(MIN_TTL);
            nothing.clamp(MIN_TTL, MAX_NOTHING)
        },
        |ttl| ttl.clamp(MIN_TTL, MAX_TTL),
    )
}

const MIN_TTL: Duration = Duration::from_secs(30);
const MAX_TTL: Duration = Duration::from_secs(60 * 60);
const MAX_NOTHING: Duration = Duration::from_secs(5 * 60);
/// How long an address counts that is no longer in the answer: a change of address must not cut who moves.
const GRACE: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A question whose answer was lost is asked again after this. Over what the resolver takes for one.
const LOST: Duration = Duration::from_secs(60);
/// The least pause between two questions.
const HURRIED: Duration = Duration::from_secs(2);
/// Both families together.
const MOST_ADDRESSES: usize = 64;

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
