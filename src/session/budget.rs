//! How much of what costs us something is given away in a second, and what is counted once though it comes twice. Floor 3.

use std::{collections::HashMap, hash::Hash, net::IpAddr, time::Duration};

use tokio::time::Instant;

use crate::policy::Reason;

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

/// Refusals over TLS that a client may repeat in clear at once: libpq does under `sslmode=prefer`. The pair is one refusal,
/// and has one reason, though the second connection may lack more than the first.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    refused: HashMap<Person, (Reason, Instant)>,
}

/// Address and user.
type Person = (IpAddr, Box<str>);

impl Echoes {
    /// Remembers a refusal over TLS.
    pub(super) fn remember(&mut self, address: IpAddr, user: &str, reason: Reason, now: Instant) {
        if self.refused.len() >= MOST_ECHOES {
            self.refused
                .retain(|_, (_, at)| now.saturating_duration_since(*at) < ECHO);
        }
        if self.refused.len() < MOST_ECHOES {
            self.refused.insert((address, user.into()), (reason, now));
        }
    }

    /// The reason of the refusal that this one, in clear, only repeats.
    pub(super) fn repeated(&mut self, address: IpAddr, user: &str, now: Instant) -> Option<Reason> {
        let (reason, at) = self.refused.remove(&(address, user.into()))?;
        (now.saturating_duration_since(at) < ECHO).then_some(reason)
    }
}

const MOST_ECHOES: usize = 4096;
/// How soon a client comes back in clear.
const ECHO: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::gate::Source;

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
    async fn a_refusal_that_is_repeated_in_clear_is_one_with_one_reason() {
        let now = Instant::now();
        let mut echoes = Echoes::default();
        let address = "192.0.2.7".parse().unwrap();
        assert_eq!(echoes.repeated(address, "app", now), None);
        echoes.remember(address, "app", Reason::UserNotAllowed, now);
        assert_eq!(echoes.repeated(address, "web", now), None);
        let repeated = echoes.repeated(address, "app", now);
        assert_eq!(repeated, Some(Reason::UserNotAllowed));
        assert_eq!(echoes.repeated(address, "app", now), None, "a third is new");
        echoes.remember(address, "app", Reason::UserNotAllowed, now);
        assert_eq!(
            echoes.repeated(address, "app", now + ECHO),
            None,
            "too late"
        );
    }
}
