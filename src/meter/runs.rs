//! Finds in one session the query that is asked again and again, and what is asked before the first piece of work. Floor 1:
//! pure; time is an argument.
//!
//! An application asks for something of each row of a list, and waits for each answer: reads that are equal and adjacent, with
//! nothing between them but the little that is done with a row. A worker whose pages ask the same thing once each thinks longer
//! between them, or does something else in them. One that never pauses was at it before anybody looked.

use super::{flight::is_idleness, nanos::Nanos};
use crate::wire::{Statement, StatementKind};

/// One query, several times in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The statement's fingerprint.
    pub statement: u64,
    pub length: u32,
    /// As long as so many of its average would take, without what the client thought meanwhile.
    pub took: Nanos,
}

/// Where a session stood when somebody began to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It had asked nothing yet.
    Fresh,
    /// It had paused for so long that its next piece of work begins.
    AtRest,
    /// Perhaps in the middle of a run: nobody knows what came before.
    AtWork,
}

/// What came before the first piece of work of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    pub statements: u32,
    pub took: Nanos,
}

/// What one session has asked lately.
#[derive(Debug)]
pub struct Runs {
    /// The client's round trip, which is no thinking.
    rtt: Nanos,
    /// When the turn in hand began.
    at: Nanos,
    /// Since the last statement.
    thinking: Nanos,
    /// The beginning of what is asked next can be seen.
    seen: bool,
    /// Something has been asked that was no set-up.
    worked: bool,
    open: Option<Open>,
    set_up: Option<Opening>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    statement: u64,
    /// It was seen to begin.
    seen: bool,
    length: u32,
    first: Nanos,
    last: Nanos,
    thought: Nanos,
}

/// A session's set-up as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
struct Opening {
    statements: u32,
    first: Nanos,
}

impl Runs {
    pub fn new(met: Met) -> Self {
        Self {
            rtt: Nanos::ZERO,
            at: Nanos::ZERO,
            thinking: Nanos::ZERO,
            seen: met != Met::AtWork,
            worked: false,
            open: None,
            set_up: (met == Met::Fresh).then(Opening::default),
        }
    }

    /// A turn begins after a pause, of which the client's round trip is a part. Gives the run that the pause has ended.
    pub fn turn(&mut self, at: Nanos, pause: Nanos, rtt: Nanos) -> Option<Run> {
        (self.at, self.rtt) = (at, rtt);
        self.thinking += pause.saturating_sub(rtt);
        self.paused(pause, rtt)
    }

    /// The client runs a statement. Gives the run that it has ended.
    pub fn asked(&mut self, statement: Statement) -> Option<Run> {
        let thinking = std::mem::take(&mut self.thinking);
        let Statement { fingerprint, kind } = statement;
        if kind == StatementKind::SetUp {
            if let Some(set_up) = &mut self.set_up {
                if set_up.statements == 0 {
                    set_up.first = self.at;
                }
                set_up.statements += 1;
            }
            self.seen = true;
            return self.over();
        }
        self.worked = true;
        if let Some(open) = &mut self.open
            && open.statement == fingerprint
        {
            open.length = open.length.saturating_add(1);
            open.last = self.at;
            open.thought += thinking;
            return None;
        }
        let over = self.over();
        let seen = std::mem::replace(&mut self.seen, true);
        self.open = (kind == StatementKind::Read).then_some(Open {
            statement: fingerprint,
            seen,
            length: 1,
            first: self.at,
            last: self.at,
            thought: Nanos::ZERO,
        });
        over
    }

    /// The client says nothing, and so long already.
    pub fn paused(&mut self, pause: Nanos, rtt: Nanos) -> Option<Run> {
        if is_idleness(pause, rtt) {
            self.rest()
        } else {
            None
        }
    }

    /// The client has paused for so long that what comes next is another piece of work, or has left.
    pub fn rest(&mut self) -> Option<Run> {
        self.seen = true;
        self.over()
    }

    /// What came before the statement that was asked last, once and if the session's set-up ends with it.
    pub fn set_up_is_over(&mut self) -> Option<Preparation> {
        self.worked.then(|| self.set_up_until(self.at)).flatten()
    }

    /// The same of a session that has ended, or is not followed any more.
    pub fn set_up_until(&mut self, at: Nanos) -> Option<Preparation> {
        let set_up = self.set_up.take()?;
        let none = set_up.statements == 0;
        Some(Preparation {
            statements: set_up.statements,
            took: if none {
                Nanos::ZERO
            } else {
                at.saturating_sub(set_up.first)
            },
        })
    }

    fn over(&mut self) -> Option<Run> {
        let open = self.open.take()?;
        let steps = u64::from(open.length.saturating_sub(1)).max(1);
        let span = open.last.saturating_sub(open.first);
        let waited = span.saturating_sub(open.thought).shared(steps);
        let run = Run {
            statement: open.statement,
            length: open.length,
            took: waited.times(open.length.into()),
        };
        let found = open.seen
            && open.length >= SHORTEST
            && run.took > WORTH_IT
            && span <= LONGEST
            && open.thought.shared(steps) <= MOST_THOUGHT.max(self.rtt);
        found.then_some(run)
    }
}

/// Fewer are no loop.
const SHORTEST: u32 = 5;
/// Less is not worth a word.
const WORTH_IT: Nanos = Nanos::from_millis(50);
/// A loop does little with each row, or takes less time for it than the path. In the mean: a machine may stop for once.
const MOST_THOUGHT: Nanos = Nanos::from_millis(5);
/// No page takes longer. Who asks the same for longer is a worker that looks for work.
const LONGEST: Nanos = Nanos::from_millis(60_000);

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
