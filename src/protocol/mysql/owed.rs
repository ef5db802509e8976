//! The answers that a server owes, in order. Floor 2: pure.

use std::collections::VecDeque;

use super::command::Answer;

/// Bounded: who sends commands without waiting has to wait at last.
#[derive(Debug)]
pub(super) struct Owed {
    first: Option<Answer>,
    /// Most clients wait for an answer before they send the next command, and have none here.
    more: VecDeque<Answer>,
    last: Option<Answer>,
    count: u16,
    /// A part of the first one has come.
    begun: bool,
    /// Nothing was sent after the command of the last one.
    ends: bool,
}

impl Owed {
    pub(super) const NOTHING: Self = Self {
        first: None,
        more: VecDeque::new(),
        last: None,
        count: 0,
        begun: false,
        ends: true,
    };

    #[inline]
    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    #[inline]
    pub(super) const fn is_nothing(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub(super) const fn first(&self) -> Option<Answer> {
        self.first
    }

    #[inline]
    pub(super) const fn last(&self) -> Option<Answer> {
        self.last
    }

    pub(super) const fn is_full(&self) -> bool {
        self.count >= MOST
    }

    /// Whether a client that had to wait has to wait on: it goes on in strides.
    pub(super) const fn is_crowded(&self) -> bool {
        self.count > MOST / 2
    }

    /// Whether one answer is owed, and nothing was sent after its command.
    pub(super) const fn is_one_alone(&self) -> bool {
        self.count == 1 && self.ends
    }

    /// Whether a part of the first one has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// A part of the first one has come.
    #[inline]
    pub(super) const fn begin(&mut self) {
        self.begun = self.first.is_some();
    }

    /// A command without an answer was sent.
    pub(super) const fn goes_on(&mut self) {
        self.ends = false;
    }

    #[inline]
    pub(super) fn push(&mut self, answer: Answer) {
        if self.first.is_none() {
            self.first = Some(answer);
        } else {
            self.more.push_back(answer);
        }
        self.last = Some(answer);
        self.count += 1;
        self.ends = true;
    }

    /// The first one was given. Tells which comes next.
    #[inline]
    pub(super) fn pay(&mut self) -> Option<Answer> {
        self.first = self.more.pop_front();
        self.count = self.count.saturating_sub(1);
        self.begun = false;
        if self.first.is_none() {
            // memory and all
            *self = Self::NOTHING;
        }
        self.first
    }
}

/// Answers that may be owed.
const MOST: u16 = 1024;
