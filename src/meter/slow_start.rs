//! How often a large answer has to wait for its acknowledgements while TCP opens its window. Floor 1: pure.
//!
//! The kernel takes megabytes from us whether the other end reads or not, so these round trips show in no write that we could
//! time; and a server's kernel does the same, so on our side it seems to be the server who pauses.
//! TCP begins with ten segments and doubles them with each round trip that used them all (RFC 6928, RFC 5681); Linux halves the
//! window again for each retransmission time-out of silence (`tcp_slow_start_after_idle`).

use super::nanos::{Micros, Nanos};

/// How much one end of a connection may have under way, as far as a model can tell: how often its first window has doubled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window(u8);

impl Window {
    /// So many bytes go out. Gives the round trips that they take beyond the one that every answer does.
    pub(super) fn rounds(&mut self, bytes: u32) -> u32 {
        let (mut left, mut rounds) = (bytes, 0);
        while left > self.bytes() && self.0 < MOST_DOUBLINGS {
            left -= self.bytes();
            self.0 += 1;
            rounds += 1;
        }
        rounds + left.saturating_sub(1) / self.bytes()
    }

    /// Nothing went out for so long.
    pub(super) fn pause(&mut self, pause: Nanos, rtt: Micros) {
        if *self == Self::default() {
            return;
        }
        let mut patience = SHORTEST_TIMEOUT;
        patience += rtt.into();
        let timeouts = u8::try_from(pause.per(patience)).unwrap_or(u8::MAX);
        self.0 = self.0.saturating_sub(timeouts);
    }

    /// Whether so many bytes are what may be under way, or nearly: segments are smaller on some paths.
    const fn is_full(self, bytes: u32) -> bool {
        bytes >= self.bytes() / 4 * 3
    }

    /// As much as it lets through was acknowledged.
    fn grow(&mut self) {
        self.0 = (self.0 + 1).min(MOST_DOUBLINGS);
    }

    const fn bytes(self) -> u32 {
        FIRST << self.0
    }
}

/// An answer, and of it what a server sends before we have acknowledged the first of that. Once that is all its window lets
/// through, more comes a round trip after the first; a pause before is its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    began: Nanos,
    /// Bytes of the answer, as many as can be counted, and those before this round.
    answered: u32,
    before: u32,
    /// What of the waits in it can have been for acknowledgements.
    waited: Nanos,
    /// The one before it was full.
    goes_on: bool,
}

impl Round {
    /// The first bytes of an answer are there.
    pub(super) const fn begin(&mut self, now: Nanos) {
        self.began = now;
    }

    #[inline]
    pub(super) fn answered(&mut self, bytes: u32) {
        self.answered = self.answered.saturating_add(bytes);
    }

    /// Of the whole answer.
    pub(super) const fn bytes(self) -> u32 {
        self.answered
    }

    const fn own_bytes(self) -> u32 {
        self.answered.saturating_sub(self.before)
    }

    /// More will come now, after a wait. Gives how much of the waits so far was the way.
    pub(super) fn waited(
        &mut self,
        now: Nanos,
        waited: Nanos,
        window: &mut Window,
        rtt: Nanos,
    ) -> Nanos {
        let full = window.is_full(self.own_bytes());
        // kernels pace what they send, and acknowledgements come one by one
        if full || self.goes_on || waited < rtt.shared(4) {
            self.waited += waited;
        }
        // nearly: the first bytes are not seen at the moment they come
        if now.saturating_sub(self.began) < rtt.times(7).shared(8) {
            return Nanos::ZERO;
        }
        let next = Self {
            began: now,
            answered: self.answered,
            before: self.answered,
            waited: Nanos::ZERO,
            goes_on: full,
        };
        let over = std::mem::replace(self, next);
        if !full {
            return Nanos::ZERO;
        }
        window.grow();
        over.waited.min(rtt)
    }

    /// The answer is over. Gives what of the waits of its last round was the way.
    pub(super) fn end(self, window: &mut Window, rtt: Nanos) -> Nanos {
        window.rounds(self.own_bytes());
        if self.goes_on {
            self.waited.min(rtt)
        } else {
            Nanos::ZERO
        }
    }
}

/// Ten segments on a path with Ethernet's packets.
const FIRST: u32 = 10 * 1448;
/// To 3.7 MB, about what Linux lets one connection have in its send buffer (`tcp_wmem`).
const MOST_DOUBLINGS: u8 = 8;
/// Linux' least retransmission time-out, before the round trip is added.
const SHORTEST_TIMEOUT: Nanos = Nanos::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_answer_costs_no_round_of_its_own() {
        let mut window = Window::default();
        assert_eq!(window.rounds(FIRST), 0);
        assert_eq!(window, Window::default());
    }

    #[test]
    fn three_hundred_kilobytes_take_four_rounds_more_and_then_one() {
        let mut window = Window::default();
        // 10, 20, 40, 80 segments, and the rest
        assert_eq!(window.rounds(300_000), 4);
        assert_eq!(window.rounds(300_000), 1);
    }

    #[test]
    fn a_window_that_is_open_goes_round_by_round() {
        let mut window = Window::default();
        let doubling = (0..MOST_DOUBLINGS).map(|n| FIRST << n).sum::<u32>();
        let open = FIRST << MOST_DOUBLINGS;
        assert_eq!(window.rounds(doubling + open), 8);
        assert_eq!(window.rounds(open), 0);
        assert_eq!(window.rounds(open + 1), 1);
        assert!(window.rounds(u32::MAX) < 2000);
    }

    #[test]
    fn silence_closes_the_window_step_by_step() {
        let mut window = Window::default();
        window.rounds(300_000);
        let open = window;
        let rtt = Micros::from(Nanos::from_millis(100));
        window.pause(Nanos::from_millis(299), rtt);
        assert_eq!(window, open);
        window.pause(Nanos::from_millis(600), rtt);
        assert_eq!(window.bytes(), open.bytes() / 4);
        window.pause(Nanos::from_millis(1_000_000), rtt);
        assert_eq!(window, Window::default());
    }
}
