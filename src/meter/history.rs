//! The last hour of an origin, in fixed room. Floor 1: pure; time is an argument.
//!
//! Two resolutions: points of half a minute, as they are drawn, and the sums of every tenth minute, so that what happened in the
//! last hour can be told in every figure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::totals::Totals;

/// What happened in one step, or up to now in the one that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// The median of the round trips, by flights; `None` without any.
    pub rtt: Option<Duration>,
    pub flights: u32,
    /// Open at the end of the step.
    pub sessions: u32,
    /// The most that were open at once.
    pub most: u32,
    /// Seconds, as are the rest.
    pub database: f32,
    pub network_client: f32,
    pub network_upstream: f32,
    pub transfer: f32,
    pub request: f32,
}

/// How it stands at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) at: Instant,
    pub(super) totals: Totals,
    pub(super) rtt: Option<Duration>,
    pub(super) sessions: u64,
    /// The most that were open at once since the last step.
    pub(super) most: u64,
}

#[derive(Debug)]
pub(super) struct History {
    points: VecDeque<Point>,
    /// What the point under way is measured from.
    last: Totals,
    /// The oldest is where the last hour begins.
    milestones: VecDeque<(Instant, Totals)>,
}

impl History {
    pub(super) fn begin(at: Instant) -> Self {
        Self {
            points: VecDeque::new(),
            last: Totals::default(),
            milestones: VecDeque::from([(at, Totals::default())]),
        }
    }

    /// A step is over.
    pub(super) fn step(&mut self, now: &Standing) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(self.point(now));
        self.last = now.totals;
        let since = |at: &Instant| now.at.saturating_duration_since(*at);
        if self
            .milestones
            .back()
            .is_none_or(|(at, _)| since(at) >= MILE)
        {
            self.milestones.push_back((now.at, now.totals));
        }
        // the next one is old enough to begin with
        while self
            .milestones
            .get(1)
            .is_some_and(|(at, _)| since(at) >= HOUR)
        {
            self.milestones.pop_front();
        }
    }

    /// How much time the figures are of, an hour or little more, and what happened in it.
    pub(super) fn window(&self, now: Instant, totals: &Totals) -> (Duration, Totals) {
        match self.milestones.front() {
            Some((at, then)) => (now.saturating_duration_since(*at), totals.since(then)),
            None => (Duration::ZERO, *totals),
        }
    }

    /// The oldest first; the last is under way.
    pub(super) fn points(&self, now: &Standing) -> Vec<Point> {
        let under_way = self.point(now);
        self.points.iter().copied().chain([under_way]).collect()
    }

    /// Whether more than one session was open at once.
    pub(super) fn overlaps(&self) -> bool {
        self.points.iter().any(|point| point.most > 1)
    }

    fn point(&self, now: &Standing) -> Point {
        let grown = now.totals.since(&self.last);
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a few seconds, to be drawn"
        )]
        let seconds = |seconds: f64| seconds as f32;
        Point {
            rtt: now.rtt,
            flights: count(grown.flights),
            sessions: count(now.sessions),
            most: count(now.most),
            database: seconds(grown.database_seconds),
            network_client: seconds(grown.network_client_seconds),
            network_upstream: seconds(grown.network_upstream_seconds),
            transfer: seconds(grown.transfer_seconds),
            request: seconds(grown.request_seconds),
        }
    }
}

/// Between two points.
pub(super) const STEP: Duration = Duration::from_secs(30);
/// An hour of them.
const POINTS: usize = 120;
/// Between two sums that are kept whole.
const MILE: Duration = Duration::from_secs(10 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(begun: Instant, steps: u32) -> Standing {
        Standing {
            at: begun + STEP * steps,
            totals: Totals {
                flights: u64::from(steps) * 7,
                ..Totals::default()
            },
            rtt: None,
            sessions: 1,
            most: 1,
        }
    }

    #[tokio::test]
    async fn an_hour_is_kept_and_no_more() {
        let begun = Instant::now();
        let mut history = History::begin(begun);
        for n in 1..=1000 {
            history.step(&standing(begun, n));
        }
        let now = standing(begun, 1001);
        let points = history.points(&now);
        assert_eq!(points.len(), POINTS + 1);
        assert!(points.iter().all(|point| point.flights == 7), "{points:?}");
        let (long, happened) = history.window(now.at, &now.totals);
        assert!(long >= HOUR && long <= HOUR + MILE + STEP, "{long:?}");
        assert_eq!(Duration::from_secs(happened.flights * 30 / 7), long);
        assert!(history.milestones.len() < 15);
    }

    #[tokio::test]
    async fn before_an_hour_is_over_the_figures_are_of_all_the_time_there_was() {
        let begun = Instant::now();
        let mut history = History::begin(begun);
        history.step(&standing(begun, 1));
        let now = standing(begun, 2);
        let (long, happened) = history.window(now.at, &now.totals);
        assert_eq!((long, happened.flights), (STEP * 2, 14));
    }
}
