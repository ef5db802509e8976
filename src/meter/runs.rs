//! Finds in one session the query that is asked again and again, and what is asked before the first piece of work. Floor 1:
//! pure; time is an argument.
//!
//! An application asks for a list, of the database or of somebody else, and then for something of each row, without a pause
//! between. A worker whose pages ask the same thing once each thinks between them, or does something else in them.

use super::nanos::Nanos;
use crate::wire::{Statement, StatementKind};

/// One query, several times in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The statement's fingerprint.
    pub statement: u64,
    pub length: u32,
    /// As long as so many of its average would take.
    pub took: Nanos,
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
    thinking: Thinking,
    /// The last statement of this piece of work.
    before: Option<u64>,
    open: Option<Open>,
    set_up: Option<Opening>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    statement: u64,
    /// It does not go on from the same statement before a longer thought.
    begins: bool,
    length: u32,
    first: Nanos,
    last: Nanos,
    thought: Nanos,
}

#[derive(Clone, Copy, Debug, Default)]
struct Thinking {
    all: Nanos,
    longest: Nanos,
}

/// A session's set-up as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
struct Opening {
    statements: u32,
    first: Nanos,
}

impl Runs {
    /// `fresh`: the session has asked nothing yet.
    pub fn new(fresh: bool) -> Self {
        Self {
            rtt: Nanos::ZERO,
            at: Nanos::ZERO,
            thinking: Thinking::default(),
            before: None,
            open: None,
            set_up: fresh.then(Opening::default),
        }
    }

    /// A turn begins after a pause, of which the client's round trip is a part. Gives the run that the pause has ended.
    pub fn turn(&mut self, at: Nanos, pause: Nanos, rtt: Nanos) -> Option<Run> {
        (self.at, self.rtt) = (at, rtt);
        let thought = pause.saturating_sub(rtt);
        self.thinking.all += thought;
        self.thinking.longest = self.thinking.longest.max(thought);
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
            return self.over();
        }
        let before = self.before.replace(fingerprint);
        let short = thinking.longest <= most_thought(self.rtt);
        if let Some(open) = &mut self.open
            && open.statement == fingerprint
            && short
        {
            open.length = open.length.saturating_add(1);
            open.last = self.at;
            open.thought += thinking.all;
            return None;
        }
        let over = self.over();
        self.open = (kind == StatementKind::Read).then_some(Open {
            statement: fingerprint,
            begins: before != Some(fingerprint),
            length: 1,
            first: self.at,
            last: self.at,
            thought: Nanos::ZERO,
        });
        over
    }

    /// The client says nothing, and so long already.
    pub fn paused(&mut self, pause: Nanos, rtt: Nanos) -> Option<Run> {
        if is_rest(pause, rtt) {
            self.rest()
        } else {
            None
        }
    }

    /// The client has paused for so long that what comes next is another piece of work, or has left.
    pub fn rest(&mut self) -> Option<Run> {
        self.before = None;
        self.over()
    }

    /// What came before the statement that was asked last, once and if the session's set-up ends with it.
    pub fn set_up_is_over(&mut self) -> Option<Preparation> {
        self.before?;
        self.set_up_until(self.at)
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
        let run = Run {
            statement: open.statement,
            length: open.length,
            took: span.shared(steps).times(open.length.into()),
        };
        let thought = open.thought.shared(steps);
        let found = open.begins
            && open.length >= SHORTEST
            && run.took > WORTH_IT
            && run.took <= LONGEST
            && thought <= mean_thought(self.rtt);
        found.then_some(run)
    }
}

/// Whether a pause is so long that another piece of work begins after it.
fn is_rest(pause: Nanos, rtt: Nanos) -> bool {
    pause > Nanos::from_millis(50).max(rtt.times(5))
}

/// How long a loop over rows may think between two of them. A long path is never as quick as its quickest.
fn most_thought(rtt: Nanos) -> Nanos {
    Nanos::from_millis(20).max(rtt.shared(5))
}

/// The same on average.
fn mean_thought(rtt: Nanos) -> Nanos {
    Nanos::from_millis(3).max(rtt.shared(32))
}

/// Fewer are no loop.
const SHORTEST: u32 = 5;
/// Less is not worth a word.
const WORTH_IT: Nanos = Nanos::from_millis(50);
/// No page takes longer. Who asks the same for longer is a worker that looks for work.
const LONGEST: Nanos = Nanos::from_millis(60_000);

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
