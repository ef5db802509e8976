//! How often a large answer has to wait for its acknowledgements while TCP opens its window. Floor 1: pure.
//!
//! The kernel takes megabytes from us whether the client reads or not, so these round trips show in no write that we could time.
//! TCP begins with ten segments and doubles them with each round trip that used them all (RFC 6928, RFC 5681); Linux halves the
//! window again for each retransmission time-out of silence (`tcp_slow_start_after_idle`).

use super::nanos::{Micros, Nanos};

/// How much the sender of a connection may have under way, as far as a model can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window(u32);

impl Window {
    pub(super) const fn fresh() -> Self {
        Self(FIRST)
    }

    /// An answer of so many bytes goes out. Gives the round trips that it takes beyond the one that every answer does.
    pub(super) fn rounds(&mut self, bytes: u32) -> u32 {
        let (mut left, mut rounds) = (bytes, 0);
        while left > self.0 {
            left -= self.0;
            self.0 = self.0.saturating_mul(2).min(LARGEST);
            rounds += 1;
        }
        rounds
    }

    /// Nothing went out for so long.
    pub(super) fn pause(&mut self, pause: Nanos, rtt: Micros) {
        let mut patience = SHORTEST_TIMEOUT;
        patience += rtt.into();
        let timeouts = pause.per(patience).min(31);
        self.0 = (self.0 >> timeouts).max(FIRST);
    }
}

/// Ten segments on a path with Ethernet's packets.
const FIRST: u32 = 10 * 1448;
/// What Linux lets one connection have in its send buffer (`tcp_wmem`).
const LARGEST: u32 = 4 * 1024 * 1024;
/// Linux' least retransmission time-out, before the round trip is added.
const SHORTEST_TIMEOUT: Nanos = Nanos::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_answer_costs_no_round_of_its_own() {
        let mut window = Window::fresh();
        assert_eq!(window.rounds(FIRST), 0);
        assert_eq!(window, Window::fresh());
    }

    #[test]
    fn three_hundred_kilobytes_take_four_rounds_more_and_then_one() {
        let mut window = Window::fresh();
        // 10, 20, 40, 80 segments, and the rest
        assert_eq!(window.rounds(300_000), 4);
        assert_eq!(window.rounds(300_000), 1);
    }

    #[test]
    fn an_answer_without_end_is_no_loop_without_end() {
        assert!(Window::fresh().rounds(u32::MAX) < 2000);
    }

    #[test]
    fn silence_closes_the_window_step_by_step() {
        let mut window = Window::fresh();
        window.rounds(300_000);
        let open = window;
        let rtt = Micros::from(Nanos::from_millis(100));
        window.pause(Nanos::from_millis(299), rtt);
        assert_eq!(window, open);
        window.pause(Nanos::from_millis(600), rtt);
        assert_eq!(window.0, open.0 / 4);
        window.pause(Nanos::from_millis(1_000_000), rtt);
        assert_eq!(window, Window::fresh());
    }
}
