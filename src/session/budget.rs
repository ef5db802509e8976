//! How much of what costs us something is given away in a second, and what is counted once though it comes twice. Floor 3.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

use super::{gate::Source, references::Reference};

/// A token bucket: so many in a time, as many at once.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) const fn full(rate: u32, now: Instant) -> Self {
        Self {
            tokens: rate as f64,
            filled: now,
        }
    }

    /// Takes one token of `rate` a second, if there is one.
    pub(super) fn take(&mut self, rate: u32, now: Instant) -> bool {
        self.take_of(rate, Duration::from_secs(1), now)
    }

    /// Takes one token of `most` in a time, if there is one.
    pub(super) fn take_of(&mut self, most: u32, within: Duration, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled);
        self.filled = now;
        let full = f64::from(most);
        let refill = since.as_secs_f64() / within.as_secs_f64() * full;
        self.tokens = (self.tokens + refill).min(full);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    /// What was taken was not needed.
    pub(super) fn give_back(&mut self, rate: u32) {
        self.tokens = (self.tokens + 1.0).min(f64::from(rate));
    }
}

/// A bucket for each key, and forgetting of those that are full again. Bounded: beyond `MOST` keys at a time the newcomers
/// share one bucket.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: u32,
    by_key: HashMap<Option<K>, Bucket>,
    swept: Instant,
}

const MOST: usize = 65_536;
const SWEEP: Duration = Duration::from_secs(10);

impl<K: Eq + Hash> Buckets<K> {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self {
            rate,
            by_key: HashMap::new(),
            swept: now,
        }
    }

    pub(super) fn take(&mut self, key: K, now: Instant) -> bool {
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            // a bucket of `rate` tokens is full again a second after it was last asked
            self.by_key.retain(|_, bucket| {
                now.saturating_duration_since(bucket.filled) < Duration::from_secs(1)
            });
        }
        let key = Some(key);
        let crowded = self.by_key.len() >= MOST && !self.by_key.contains_key(&key);
        let key = if crowded { None } else { key };
        let fresh = || Bucket::full(self.rate, now);
        self.by_key
            .entry(key)
            .or_insert_with(fresh)
            .take(self.rate, now)
    }
}

/// Refusals that are written to the log. A mentioned source has one line a second for each reference, so that a reference a client
/// reports is found, and [`SOURCES_LINES`] a minute in all; a stranger has one a second, and all of them together
/// [`STRANGERS_LINES`], so that no flood fills a disk.
#[derive(Debug)]
pub(super) struct Lines {
    /// Apart from the strangers, who could crowd it.
    known: Buckets<(Source, Reference)>,
    shares: Shares,
    strangers: Buckets<Source>,
    all_strangers: Bucket,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            known: Buckets::new(1, now),
            shares: Shares::new(now),
            strangers: Buckets::new(1, now),
            all_strangers: Bucket::full(STRANGERS_LINES, now),
        }
    }

    /// `known` is the reference that a mentioned source was given.
    pub(super) fn take(&mut self, source: Source, known: Option<Reference>, now: Instant) -> bool {
        match known {
            Some(reference) => self
                .shares
                .take(source, now, || self.known.take((source, reference), now)),
            None => {
                self.strangers.take(source, now) && self.all_strangers.take(STRANGERS_LINES, now)
            }
        }
    }
}

impl Lines {
    /// Of how many refusals there was no line, for each mentioned source that had used up its share in a minute that is over.
    pub(super) fn left_out(&mut self, now: Instant) -> Vec<LeftOut> {
        self.shares.roll(now);
        std::mem::take(&mut self.shares.left_out)
    }

    /// A line about a stranger that comes once in a while.
    pub(super) fn take_rare(&mut self, now: Instant) -> bool {
        self.all_strangers.take(STRANGERS_LINES, now)
    }
}

/// Refusals beyond what a source may have written in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// `None` for those beyond [`MOST`], who share.
    pub(super) source: Option<Source>,
    pub(super) times: u64,
}

/// What each source has had of the minute that runs. Bounded as [`Buckets`] are.
#[derive(Debug)]
struct Shares {
    began: Instant,
    by_source: HashMap<Option<Source>, Share>,
    /// Of minutes that are over.
    left_out: Vec<LeftOut>,
}

#[derive(Debug, Default)]
struct Share {
    written: u32,
    left_out: u64,
}

impl Shares {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            by_source: HashMap::new(),
            left_out: Vec::new(),
        }
    }

    /// Takes a line of the source's share, if there is one and it is wanted.
    fn take(&mut self, source: Source, now: Instant, wanted: impl FnOnce() -> bool) -> bool {
        self.roll(now);
        let key = Some(source);
        let crowded = self.by_source.len() >= MOST && !self.by_source.contains_key(&key);
        let share = self.by_source.entry(if crowded { None } else { key });
        let share = share.or_default();
        if share.written >= SOURCES_LINES {
            share.left_out = share.left_out.saturating_add(1);
            return false;
        }
        let wanted = wanted();
        share.written += u32::from(wanted);
        wanted
    }

    /// Begins another minute when one is over.
    fn roll(&mut self, now: Instant) {
        if now.saturating_duration_since(self.began) < MINUTE {
            return;
        }
        self.began = now;
        let over = self.by_source.drain();
        let over = over.filter(|(_, share)| share.left_out > 0);
        self.left_out.extend(over.map(|(source, share)| LeftOut {
            source,
            times: share.left_out,
        }));
    }
}

/// Lines a second.
const STRANGERS_LINES: u32 = 200;
/// Lines a minute: more than a person reads, and than programs that fail to log in usually need.
const SOURCES_LINES: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);

/// Refusals over TLS that a client may repeat in clear at once, for the same reason: libpq does under `sslmode=prefer`. The
/// pair is one refusal.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    refused: HashMap<Reference, Instant>,
}

impl Echoes {
    /// Remembers a refusal over TLS. Beyond [`MOST_ECHOES`] at a time the newcomers count twice.
    pub(super) fn remember(&mut self, refusal: Reference, now: Instant) {
        if self.refused.len() >= MOST_ECHOES {
            self.refused
                .retain(|_, at| now.saturating_duration_since(*at) < LONGEST_ECHO);
        }
        if self.refused.len() < MOST_ECHOES {
            self.refused.insert(refusal, now);
        }
    }

    /// Whether this refusal, in clear, only repeats one that a client has had just now. `rtt` is that of its path: it reads
    /// the first, connects anew and asks again, which takes two round trips.
    pub(super) fn repeats(&mut self, refusal: Reference, rtt: Duration, now: Instant) -> bool {
        let Some(at) = self.refused.remove(&refusal) else {
            return false;
        };
        now.saturating_duration_since(at) < (ECHO + 3 * rtt).min(LONGEST_ECHO)
    }
}

const MOST_ECHOES: usize = 4096;
/// How long a client may think before it comes back in clear.
const ECHO: Duration = Duration::from_millis(200);
const LONGEST_ECHO: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::Reason,
        session::references::{References, Told},
    };

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_rate_and_no_more() {
        let start = Instant::now();
        let mut buckets = Buckets::new(5, start);
        let taken = (0..20)
            .filter(|_| buckets.take(source("192.0.2.1"), start))
            .count();
        assert_eq!(taken, 5);
        assert!(buckets.take(source("192.0.2.2"), start));
        assert!(buckets.take(source("192.0.2.1"), start + Duration::from_millis(200)));
        assert!(!buckets.take(source("192.0.2.1"), start + Duration::from_millis(200)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_strangers_does_not_fill_the_log_and_a_known_client_is_found_in_it() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        let written = (0..100_000_u32)
            .filter(|n| {
                lines.take(
                    Source::of(std::net::Ipv4Addr::from_bits(*n).into()),
                    None,
                    now,
                )
            })
            .count();
        assert_eq!(written, 200);
        let references = References::default();
        let address = "10.0.0.1".parse().unwrap();
        for user in ["app", "web"] {
            let reference = references.of(Told::sample(address, user, Reason::NoOrigin));
            assert!(lines.take(Source::of(address), Some(reference), now));
            assert!(!lines.take(Source::of(address), Some(reference), now));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_client_does_not_fill_the_log_under_ever_new_names() {
        let mut now = Instant::now();
        let mut lines = Lines::new(now);
        let references = References::default();
        let address = "10.0.0.1".parse().unwrap();
        let source = Source::of(address);
        let written = |lines: &mut Lines, names: u32, now| {
            let taken = (0..names).filter(|n| {
                let user = format!("nobody{n}");
                let told = Told::sample(address, &user, Reason::UserNotAllowed);
                lines.take(source, Some(references.of(told)), now)
            });
            taken.count()
        };
        assert_eq!(written(&mut lines, 3000, now), 30);
        assert_eq!(lines.left_out(now), [], "the minute runs");
        let other = references.of(Told::sample(address, "app", Reason::Expired));
        let elsewhere = Source::of("10.0.0.2".parse().unwrap());
        assert!(lines.take(elsewhere, Some(other), now), "its own share");
        now += MINUTE;
        assert_eq!(written(&mut lines, 1, now), 1);
        let source = Some(source);
        let times = 2970;
        assert_eq!(lines.left_out(now), [LeftOut { source, times }]);
        assert_eq!(lines.left_out(now + MINUTE), [], "told once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_is_repeated_in_clear_at_once_is_one() {
        let now = Instant::now();
        let mut echoes = Echoes::default();
        let references = References::default();
        let address = "192.0.2.7".parse().unwrap();
        let refusal = references.of(Told::sample(address, "app", Reason::UserNotAllowed));
        let other = references.of(Told::sample(address, "app", Reason::TlsRequired));
        let rtt = Duration::from_millis(100);
        assert!(!echoes.repeats(refusal, rtt, now));
        echoes.remember(refusal, now);
        assert!(!echoes.repeats(other, rtt, now), "another reason");
        assert!(echoes.repeats(refusal, rtt, now + Duration::from_millis(400)));
        assert!(!echoes.repeats(refusal, rtt, now), "a third is new");
        echoes.remember(refusal, now);
        assert!(
            !echoes.repeats(refusal, Duration::ZERO, now + ECHO),
            "too late"
        );
    }
}
