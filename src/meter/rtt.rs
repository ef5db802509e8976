//! The recent round-trip times of an origin's connections. Floor 1: pure.

use std::time::Duration;

use tokio::time::Instant;

/// A ring of samples, each weighted by the flights it speaks for: one near pod that asks little must not hide a far half.
#[derive(Debug, Default)]
pub(super) struct RttBook {
    samples: Vec<Sample>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    micros: u32,
    weight: u32,
    at: Instant,
}

impl RttBook {
    pub(super) fn add(&mut self, rtt: Duration, flights: u64, now: Instant) {
        let sample = Sample {
            micros: u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX),
            weight: u32::try_from(flights.max(1)).unwrap_or(u32::MAX),
            at: now,
        };
        match self.samples.get_mut(self.next) {
            Some(oldest) => *oldest = sample,
            None => self.samples.push(sample),
        }
        self.next = (self.next + 1) % KEPT;
    }

    pub(super) fn least(&self) -> Option<Duration> {
        let least = self.samples.iter().map(|sample| sample.micros).min()?;
        Some(Duration::from_micros(least.into()))
    }

    /// The round-trip time that this share of the flights did not exceed.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        quantile(self.samples.clone(), share)
    }

    /// The same of the samples since then alone.
    pub(super) fn quantile_since(&self, share: f64, since: Instant) -> Option<Duration> {
        let samples = self.samples.iter().filter(|sample| sample.at >= since);
        quantile(samples.copied().collect(), share)
    }
}

fn quantile(mut samples: Vec<Sample>, share: f64) -> Option<Duration> {
    samples.sort_by_key(|sample| sample.micros);
    let all: f64 = samples.iter().map(|sample| f64::from(sample.weight)).sum();
    let mut seen = 0.0;
    let reached = samples.iter().find(|sample| {
        seen += f64::from(sample.weight);
        seen >= all * share
    })?;
    Some(Duration::from_micros(reached.micros.into()))
}

/// Samples kept for each origin.
const KEPT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(book: &mut RttBook, rtt: Duration, flights: u64) {
        book.add(rtt, flights, Instant::now());
    }

    #[test]
    fn a_near_pod_that_asks_little_does_not_hide_the_far_half() {
        let mut book = RttBook::default();
        for _ in 0..9 {
            add(&mut book, Duration::from_micros(200), 1);
        }
        add(&mut book, Duration::from_millis(150), 1000);
        assert_eq!(book.least(), Some(Duration::from_micros(200)));
        assert_eq!(book.quantile(0.5), Some(Duration::from_millis(150)));
    }

    #[test]
    fn what_was_measured_before_does_not_count_as_measured_since() {
        let (mut book, then) = (RttBook::default(), Instant::now());
        let now = then + Duration::from_secs(60);
        book.add(Duration::from_micros(200), 1000, then);
        book.add(Duration::from_millis(150), 1, now);
        assert_eq!(book.quantile(0.9), Some(Duration::from_micros(200)));
        let since = |since| book.quantile_since(0.9, since);
        assert_eq!(since(now), Some(Duration::from_millis(150)));
        assert_eq!(since(now + Duration::from_secs(1)), None);
    }

    #[test]
    fn old_samples_make_room() {
        let mut book = RttBook::default();
        add(&mut book, Duration::from_micros(1), 1);
        for _ in 0..KEPT {
            add(&mut book, Duration::from_millis(5), 1);
        }
        assert_eq!(book.least(), Some(Duration::from_millis(5)));
        assert_eq!(book.samples.len(), KEPT);
    }

    #[test]
    fn nothing_seen_is_nothing_claimed() {
        assert_eq!(RttBook::default().least(), None);
        assert_eq!(RttBook::default().quantile(0.5), None);
    }
}
