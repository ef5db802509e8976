//! What is known of an origin, as values. Floor 1.

use std::time::Duration;

use super::{
    history::Point,
    path::Path,
    totals::Totals,
    watch::{Repeated, SetUp},
};

/// One origin on one listener.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginFigures {
    pub listener: String,
    pub origin: String,
    /// The time that `happened` is of: the last hour, or since the origin was declared.
    pub window: Duration,
    pub happened: Totals,
    pub path: Path,
    /// Open now.
    pub sessions: u64,
    /// Several of its sessions were open at once, if only for a moment: sums over them are more than the time that passed.
    pub overlaps: bool,
    /// What was asked again and again while somebody looked, the dearest first.
    pub repeated: Vec<Repeated>,
    pub set_up: SetUp,
}

/// How the last hour of one origin on one listener went.
#[derive(Clone, Debug, PartialEq)]
pub struct LastHour {
    pub listener: String,
    pub origin: String,
    /// The oldest first, [`LastHour::STEP`] apart; the last is under way.
    pub points: Vec<Point>,
}

impl LastHour {
    /// Between two points.
    pub const STEP: Duration = super::history::STEP;
}
