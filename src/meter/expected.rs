//! Whether an origin is where it is thought to be. Floor 1: pure.

use std::time::Duration;

use tokio::time::Instant;

/// The longest round trip that an origin may have, and how it holds. An expectation is broken when all that is measured was beyond
/// it for [`LASTING`]: one slow connection is no move to another region. It holds again with the first look that says so, and
/// while nothing is measured it stays as it was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expectation {
    longest: Option<Duration>,
    /// The first of the looks that found more, without one between that did not.
    beyond_since: Option<Instant>,
    broken: bool,
}

/// An expectation that is broken from now on, or holds again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surprise {
    pub broken: bool,
    pub measured: Duration,
    pub expected: Duration,
}

impl Expectation {
    /// From now on this is expected. Another expectation is not broken yet.
    pub(super) fn expect(&mut self, longest: Option<Duration>) {
        if self.longest != longest {
            *self = Self {
                longest,
                ..Self::default()
            };
        }
    }

    pub(super) const fn longest(&self) -> Option<Duration> {
        self.longest
    }

    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Takes note of what was measured lately; tells what is new.
    pub(super) fn look(&mut self, measured: Option<Duration>, now: Instant) -> Option<Surprise> {
        let (expected, measured) = (self.longest?, measured?);
        let before = self.broken;
        if measured > expected {
            let since = *self.beyond_since.get_or_insert(now);
            self.broken |= now.saturating_duration_since(since) >= LASTING;
        } else {
            (self.beyond_since, self.broken) = (None, false);
        }
        (self.broken != before).then_some(Surprise {
            broken: self.broken,
            measured,
            expected,
        })
    }
}

/// What counts as measured lately: long enough for the sample that each session with traffic gives every half minute.
pub(super) const LATELY: Duration = Duration::from_secs(60);
/// How long an origin has to be farther than expected before anybody is told.
const LASTING: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Option<Duration> = Some(Duration::from_micros(300));
    const FAR: Option<Duration> = Some(Duration::from_millis(150));

    fn expecting(longest: u64) -> Expectation {
        let mut expectation = Expectation::default();
        expectation.expect(Some(Duration::from_millis(longest)));
        expectation
    }

    /// What is told of looks at these seconds.
    fn told(expectation: &mut Expectation, looks: &[(u64, Option<Duration>)]) -> Vec<(u64, bool)> {
        let start = Instant::now();
        let told = looks.iter().filter_map(|(at, measured)| {
            let surprise = expectation.look(*measured, start + Duration::from_secs(*at))?;
            Some((*at, surprise.broken))
        });
        told.collect()
    }

    #[test]
    fn an_origin_that_is_far_for_five_minutes_is_told_once_and_so_is_its_return() {
        let looks = [
            (0, FAR),
            (290, FAR),
            (300, FAR),
            (310, FAR),
            (900, FAR),
            (910, NEAR),
            (920, NEAR),
            (930, FAR),
        ];
        let mut expectation = expecting(1);
        assert_eq!(told(&mut expectation, &looks), [(300, true), (910, false)]);
        assert!(!expectation.is_broken());
    }

    #[test]
    fn a_look_that_finds_it_near_begins_the_five_minutes_anew() {
        let looks = [(0, FAR), (200, NEAR), (210, FAR), (500, FAR)];
        assert_eq!(told(&mut expecting(1), &looks), []);
    }

    #[test]
    fn silence_proves_nothing() {
        let mut expectation = expecting(1);
        let looks = [(0, FAR), (10, None), (400, None), (410, FAR), (420, None)];
        assert_eq!(told(&mut expectation, &looks), [(410, true)]);
        assert!(expectation.is_broken(), "until something else is measured");
    }

    #[test]
    fn another_expectation_is_not_broken_yet_and_the_same_stays_so() {
        let mut expectation = expecting(1);
        told(&mut expectation, &[(0, FAR), (300, FAR)]);
        expectation.expect(Some(Duration::from_millis(1)));
        assert!(expectation.is_broken(), "a reload that changes nothing");
        expectation.expect(Some(Duration::from_millis(200)));
        assert!(!expectation.is_broken());
        expectation.expect(None);
        assert_eq!(told(&mut expectation, &[(600, FAR), (1000, FAR)]), []);
    }
}
