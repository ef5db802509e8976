//! How much of what costs us something is given away in a second, and what is counted once though it comes twice. Floor 3.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{gate::Source, refusal::Reference};

/// A token bucket: `rate` a second, as many at once.
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

    /// Takes one token, if there is one.
    pub(super) fn take(&mut self, rate: u32, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled);
        self.filled = now;
        self.tokens = (self.tokens + since.as_secs_f64() * f64::from(rate)).min(f64::from(rate));
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

/// A bucket for each source, and forgetting of those that are full again. Bounded: beyond `MOST` sources at a time the
/// newcomers share one bucket.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: u32,
    by_source: HashMap<Source, Bucket>,
    swept: Instant,
}

const MOST: usize = 65_536;
const SWEEP: Duration = Duration::from_secs(10);

impl Buckets {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self {
            rate,
            by_source: HashMap::new(),
            swept: now,
        }
    }

    pub(super) fn take(&mut self, source: Source, now: Instant) -> bool {
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            // a bucket of `rate` tokens is full again a second after it was last asked
            self.by_source.retain(|_, bucket| {
                now.saturating_duration_since(bucket.filled) < Duration::from_secs(1)
            });
        }
        let crowded = self.by_source.len() >= MOST && !self.by_source.contains_key(&source);
        let source = if crowded { Source::CROWD } else { source };
        let fresh = || Bucket::full(self.rate, now);
        self.by_source
            .entry(source)
            .or_insert_with(fresh)
            .take(self.rate, now)
    }
}

/// Refusals over TLS that a client may repeat in clear at once: libpq does under `sslmode=prefer`. The pair is one refusal.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    refused: HashMap<Reference, Instant>,
}

impl Echoes {
    /// Whether this refusal only repeats, in clear, one that was counted a moment ago.
    pub(super) fn repeats(&mut self, refusal: Reference, tls: bool, now: Instant) -> bool {
        if tls {
            if self.refused.len() >= MOST_ECHOES {
                self.refused
                    .retain(|_, at| now.saturating_duration_since(*at) < ECHO);
            }
            if self.refused.len() < MOST_ECHOES {
                self.refused.insert(refusal, now);
            }
            return false;
        }
        let first = self.refused.remove(&refusal);
        first.is_some_and(|at| now.saturating_duration_since(at) < ECHO)
    }
}

const MOST_ECHOES: usize = 4096;
/// How soon a client comes back in clear.
const ECHO: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::Reason, session::refusal::References};

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
    async fn a_refusal_that_is_repeated_in_clear_is_counted_once() {
        let now = Instant::now();
        let mut echoes = Echoes::default();
        let references = References::default();
        let address = "192.0.2.7".parse().unwrap();
        let refusal = references.of(address, Some("app"), Reason::UserNotAllowed);
        assert!(!echoes.repeats(refusal, false, now));
        assert!(!echoes.repeats(refusal, true, now));
        assert!(echoes.repeats(refusal, false, now));
        assert!(!echoes.repeats(refusal, false, now), "a third is a new one");
        assert!(!echoes.repeats(refusal, true, now));
        assert!(!echoes.repeats(refusal, false, now + ECHO), "too late");
    }
}
