//! Flights told by hand: whose time each moment is.

use super::*;

const IDLE: Phase = Phase::Idle {
    in_transaction: false,
};

const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

fn after(mut now: Nanos, millis: u64) -> Nanos {
    now += ms(millis);
    now
}

/// A session whose time passes only where the test says so.
struct Session {
    clock: FlightClock,
    now: Nanos,
    spent: Spent,
    turns: Vec<Turn>,
}

impl Session {
    fn with_paths(client: Nanos, upstream: Nanos) -> Self {
        let now = Nanos::ZERO;
        Self {
            clock: FlightClock::new(now, Paths { client, upstream }),
            now,
            spent: Spent::default(),
            turns: Vec::new(),
        }
    }

    fn new() -> Self {
        Self::with_paths(Nanos::ZERO, Nanos::ZERO)
    }

    /// `waited` after it settled, bytes of `mover` come; moving them takes no time. Then the session waits in `phase`.
    fn then(&mut self, waited: Nanos, mover: Mover, phase: Phase, flights: u32) -> &mut Self {
        self.now += waited;
        self.turns
            .extend(self.clock.woke(self.now, mover, &mut self.spent));
        self.turns.extend(
            self.clock
                .settled(self.now, phase, flights, &mut self.spent),
        );
        self
    }

    fn query(&mut self, thought: Nanos) -> &mut Self {
        self.then(thought, Mover::Client, Phase::Database, 1)
    }

    fn answer(&mut self, worked: Nanos) -> &mut Self {
        self.then(worked, Mover::Server, IDLE, 0)
    }

    /// So many bytes of an answer that is not over.
    fn part(&mut self, waited: Nanos, bytes: usize) -> &mut Self {
        self.now += waited;
        let over = self.clock.woke(self.now, Mover::Server, &mut self.spent);
        self.spent.answered(bytes);
        assert_eq!(over, None);
        let spent = &mut self.spent;
        let over = self.clock.settled(self.now, Phase::Database, 0, spent);
        assert_eq!(over, None);
        self
    }

    /// An answer of so many bytes.
    fn answers(&mut self, bytes: usize, worked: Nanos) -> &mut Self {
        self.spent.answered(bytes);
        self.answer(worked)
    }
}

#[test]
fn what_the_database_takes_is_the_databases_after_the_first_row_too() {
    let mut session = Session::new();
    session
        .query(ms(0))
        .then(ms(20), Mover::Server, Phase::Database, 0)
        .answer(ms(30));
    assert_eq!(session.spent.database, ms(50));
    assert_eq!(session.turns.len(), 1);
    assert_eq!(
        (session.turns[0].flights, session.turns[0].database),
        (1, ms(50))
    );
}

#[test]
fn a_thinking_client_shows_no_network_and_no_database() {
    let mut session = Session::with_paths(ms(0), ms(0));
    for _ in 0..10 {
        session.query(ms(30)).answer(ms(1));
    }
    let spent = session.spent;
    assert_eq!(
        (spent.network_client, spent.network_upstream),
        (ms(0), ms(0))
    );
    assert_eq!((spent.database, spent.flights), (ms(10), 10));
    assert_eq!((spent.think, spent.bursts), (ms(270), 1));
}

#[test]
fn a_far_client_is_network_by_its_turns_and_not_by_its_think_time() {
    let mut session = Session::with_paths(ms(75), ms(0));
    for _ in 0..42 {
        session.query(ms(75 + 3)).answer(ms(1));
    }
    assert_eq!(session.spent.network_client, ms(42 * 75));
    assert_eq!(session.spent.think, ms(41 * 3));
    assert_eq!(session.spent.database, ms(42));
}

#[test]
fn the_way_to_the_database_is_taken_off_once_a_turn() {
    let mut session = Session::with_paths(ms(0), ms(10));
    session
        .query(ms(0))
        .then(ms(12), Mover::Server, Phase::Database, 0)
        .answer(ms(5));
    assert_eq!(session.spent.database, ms(7));
    assert_eq!(session.spent.network_upstream, ms(10));
    // an answer faster than the least round trip was ever seen is no negative time
    session.query(ms(0)).answer(ms(9));
    assert_eq!(session.spent.database, ms(7));
    assert_eq!(session.spent.network_upstream, ms(20));
}

#[test]
fn a_slow_reader_is_transfer_and_not_database() {
    let mut session = Session::new();
    session
        .query(ms(0))
        .then(ms(5), Mover::Server, Phase::Transfer, 0)
        .then(ms(400), Mover::Server, Phase::Transfer, 0)
        .then(ms(100), Mover::Server, IDLE, 0);
    assert_eq!(session.spent.transfer, ms(500));
    assert_eq!(session.spent.database, ms(5));
    assert_eq!(session.turns.len(), 1);
}

#[test]
fn an_upload_is_the_requests_time() {
    let mut session = Session::new();
    // COPY: the query and its G, then the data, then its end
    session
        .query(ms(0))
        .answer(ms(2))
        .then(ms(1), Mover::Client, Phase::Request, 0)
        .then(ms(600), Mover::Client, Phase::Request, 0)
        .then(ms(300), Mover::Client, Phase::Database, 1)
        .answer(ms(8));
    assert_eq!(session.spent.request, ms(900));
    assert_eq!(session.spent.database, ms(10));
    assert_eq!(session.spent.flights, 2);
}

#[test]
fn pipelined_work_is_one_turn_and_stays_out_of_the_histogram() {
    let mut session = Session::with_paths(ms(10), ms(1));
    session
        .then(ms(0), Mover::Client, Phase::Database, 3)
        .then(ms(4), Mover::Client, Phase::Database, 1)
        .then(ms(4), Mover::Server, Phase::Database, 0)
        .answer(ms(3));
    let spent = session.spent;
    assert_eq!((spent.flights, spent.pipelined), (4, 4));
    assert_eq!(
        (spent.network_client, spent.network_upstream),
        (ms(10), ms(1))
    );
    // what joined later has the way before it, too
    assert_eq!(spent.database, ms(9));
    assert_eq!(session.turns[0].flights, 4);
}

#[test]
fn one_that_is_joined_later_counts_as_pipelined_too() {
    let mut session = Session::new();
    session
        .query(ms(0))
        .then(ms(1), Mover::Client, Phase::Database, 1)
        .then(ms(1), Mover::Client, Phase::Database, 1)
        .answer(ms(1));
    assert_eq!((session.spent.flights, session.spent.pipelined), (3, 3));
}

#[test]
fn an_answer_without_an_end_is_over_when_the_client_goes_on() {
    let mut session = Session::with_paths(ms(5), ms(0));
    session
        .then(ms(0), Mover::Client, Phase::Database, 1)
        .then(ms(3), Mover::Server, Phase::Undecided, 0)
        .then(ms(2), Mover::Server, Phase::Undecided, 0)
        .query(ms(12))
        .answer(ms(1));
    assert_eq!(session.spent.database, ms(6));
    assert_eq!(session.spent.think, ms(7));
    assert_eq!(session.spent.network_client, ms(10));
    assert_eq!(session.turns.len(), 2);
}

#[test]
fn what_the_gateway_needs_is_the_gateways() {
    let mut session = Session::new();
    let (now, spent) = (session.now, &mut session.spent);
    session.clock.woke(now, Mover::Client, spent);
    session
        .clock
        .settled(after(now, 1), Phase::Database, 1, spent);
    session.clock.woke(after(now, 4), Mover::Server, spent);
    let turn = session.clock.settled(after(now, 6), IDLE, 0, spent);
    assert_eq!(
        turn.map(|turn| (turn.gateway, turn.database)),
        Some((ms(3), ms(3)))
    );
}

#[test]
fn a_notification_is_no_flight_and_does_not_cut_a_thought() {
    let mut session = Session::new();
    session.query(ms(0)).answer(ms(1));
    session.answer(ms(10)).query(ms(10)).answer(ms(1));
    assert_eq!((session.spent.flights, session.spent.think), (2, ms(20)));
    assert_eq!(session.spent.database, ms(2));
}

#[test]
fn a_notification_does_not_make_the_way_the_databases() {
    let mut session = Session::with_paths(ms(0), ms(75));
    session
        .query(ms(0))
        .then(ms(10), Mover::Server, Phase::Database, 0)
        .answer(ms(65 + 4));
    assert_eq!(session.spent.database, ms(4));
}

#[test]
fn requests_one_behind_the_other_have_the_way_before_them_each() {
    let mut session = Session::with_paths(ms(0), ms(75));
    session
        .query(ms(0))
        .then(ms(40), Mover::Client, Phase::Database, 1)
        .then(ms(35), Mover::Server, Phase::Database, 0)
        .answer(ms(40 + 5));
    assert_eq!(session.spent.database, ms(5));
    assert_eq!(session.spent.network_upstream, ms(75));
}

#[test]
fn a_wait_shows_while_it_lasts() {
    let mut session = Session::with_paths(ms(0), ms(75));
    session.query(ms(0));
    for _ in 0..3 {
        session.now += ms(1000);
        session.clock.lasts(session.now, &mut session.spent);
    }
    assert_eq!(session.spent.hand_out().database, ms(3000 - 75));
    session.answer(ms(10));
    assert_eq!(session.spent.database, ms(10));
    assert_eq!(session.turns[0].database, ms(3010 - 75));
    // nobody's time
    session.now += ms(1000);
    session.clock.lasts(session.now, &mut session.spent);
    assert_eq!(session.spent.hand_out().database, ms(10));
    session.query(ms(30));
    assert_eq!((session.spent.think, session.spent.bursts), (ms(0), 1));
}

#[test]
fn a_goodbye_costs_nobody_a_round_trip() {
    let mut session = Session::with_paths(ms(40), ms(1));
    session.query(ms(0)).answer(ms(2));
    session.then(ms(1), Mover::Client, IDLE, 0);
    assert_eq!(session.spent.network_client, ms(40));
    assert_eq!(session.turns.len(), 1);
}

#[test]
fn a_long_pause_is_idleness_and_begins_a_burst() {
    let mut session = Session::with_paths(ms(2), ms(0));
    session
        .query(ms(0))
        .answer(ms(1))
        .query(ms(51))
        .answer(ms(1));
    assert_eq!((session.spent.bursts, session.spent.think), (2, ms(0)));
    // of a far client five round trips are a thought
    let mut session = Session::with_paths(ms(100), ms(0));
    session
        .query(ms(0))
        .answer(ms(1))
        .query(ms(499))
        .answer(ms(1));
    assert_eq!((session.spent.bursts, session.spent.think), (1, ms(399)));
}

#[test]
fn a_transaction_held_open_is_counted_however_long() {
    let mut session = Session::new();
    let open = Phase::Idle {
        in_transaction: true,
    };
    session
        .query(ms(0))
        .then(ms(1), Mover::Server, open, 0)
        .query(ms(7000))
        .answer(ms(1));
    assert_eq!(session.spent.idle_in_transaction, ms(7000));
    session.query(ms(100));
    assert_eq!(session.spent.idle_in_transaction, ms(7000));
}

#[test]
fn a_transaction_held_open_shows_while_it_lasts_and_when_nobody_ends_it() {
    let open = Phase::Idle {
        in_transaction: true,
    };
    let mut session = Session::new();
    session.query(ms(0)).then(ms(1), Mover::Server, open, 0);
    session.now += ms(4000);
    session.clock.lasts(session.now, &mut session.spent);
    assert_eq!(session.spent.idle_in_transaction, ms(4000));
    session.query(ms(1000)).then(ms(1), Mover::Server, open, 0);
    assert_eq!(session.spent.idle_in_transaction, ms(5000));
    // a goodbye is no work
    session.then(ms(2000), Mover::Client, open, 0);
    let end = after(session.now, 1);
    session.clock.stopped(end, &mut session.spent);
    assert_eq!(session.spent.idle_in_transaction, ms(7001));
}

#[test]
fn a_goodbye_in_the_same_breath_as_the_end_does_not_shorten_the_pause() {
    let mut session = Session::new();
    session.query(ms(0)).answer(ms(1));
    session.now += ms(20_000);
    let over = session
        .clock
        .woke(session.now, Mover::Client, &mut session.spent);
    assert_eq!(over, None);
    session.clock.stopped(session.now, &mut session.spent);
    assert!(!session.clock.has_just_answered(session.now));
}

#[test]
fn a_session_that_ends_in_the_middle_keeps_what_was_spent() {
    let mut session = Session::with_paths(ms(3), ms(0));
    session.query(ms(0));
    let over = session
        .clock
        .stopped(after(session.now, 9), &mut session.spent);
    assert_eq!((over, session.spent.database), (None, ms(9)));
    // an answer that was whole after all
    let mut session = Session::with_paths(ms(3), ms(0));
    session
        .query(ms(0))
        .then(ms(1), Mover::Server, Phase::Undecided, 0);
    let over = session
        .clock
        .stopped(after(session.now, 9), &mut session.spent);
    assert_eq!(
        (over.map(|t| t.database), session.spent.network_client),
        (Some(ms(1)), ms(3))
    );
}

#[test]
fn a_large_answer_over_a_long_way_shows_the_rounds_that_the_kernel_hides() {
    let mut session = Session::with_paths(ms(75), ms(0));
    session.query(ms(0)).answers(300_000, ms(5));
    let spent = session.spent;
    assert_eq!(spent.transfer, ms(4 * 75));
    assert_eq!(spent.transfer_estimated, spent.transfer);
    // the client has it that much later, and thinks from then on
    session.query(ms(4 * 75 + 75 + 3)).answers(300_000, ms(5));
    assert_eq!(session.spent.think, ms(3));
    // the window is still half open
    assert!(session.spent.transfer < ms(7 * 75));
}

#[test]
fn what_was_seen_of_a_transfer_is_not_estimated_again() {
    let mut session = Session::with_paths(ms(75), ms(0));
    session
        .query(ms(0))
        .then(ms(5), Mover::Server, Phase::Transfer, 0);
    session.answers(300_000, ms(200));
    assert_eq!(session.spent.transfer, ms(300));
    assert_eq!(session.spent.transfer_estimated, ms(100));
}

#[test]
fn a_large_answer_of_a_far_server_travels_in_rounds_that_are_not_the_databases() {
    let mut session = Session::with_paths(ms(0), ms(75));
    session.query(ms(0));
    session.part(ms(75 + 5), 14_480);
    for part in [28_960, 57_920, 115_840, 82_800] {
        session.part(ms(75 + 2), part);
    }
    session.answer(ms(0));
    let spent = session.spent;
    assert_eq!(spent.transfer, ms(4 * 75));
    assert_eq!(spent.transfer_estimated, spent.transfer);
    assert_eq!(spent.database, ms(5 + 4 * 2));
    assert_eq!(session.turns[0].database, spent.database);
}

#[test]
fn rows_that_trickle_from_a_far_server_are_its_work() {
    let mut session = Session::with_paths(ms(0), ms(75));
    session.query(ms(0));
    for _ in 0..10 {
        session.part(ms(75 + 20), 100);
    }
    session.answer(ms(0));
    assert_eq!(session.spent.transfer, ms(0));
    assert_eq!(session.spent.database, ms(20 + 9 * 95));
}

#[test]
fn a_large_request_to_a_far_server_travels_in_rounds_that_are_the_requests() {
    let mut session = Session::with_paths(ms(0), ms(75));
    session.then(ms(0), Mover::Client, Phase::Request, 0);
    session.spent.asked(300_000);
    session
        .then(ms(30), Mover::Client, Phase::Database, 1)
        .answer(ms(5 * 75 - 30 + 8));
    assert_eq!(session.spent.request, ms(4 * 75));
    assert_eq!(session.spent.database, ms(8));
    assert_eq!(session.spent.network_upstream, ms(75));
}

#[test]
fn a_far_server_that_pauses_before_its_window_is_full_is_at_work() {
    let mut session = Session::with_paths(ms(0), ms(75));
    session.query(ms(0));
    session.part(ms(75), 8192).part(ms(50), 6288);
    assert_eq!(
        (session.spent.transfer, session.spent.database),
        (ms(0), ms(50))
    );
    // now it is full; its first part is acknowledged 75 ms after it came
    session.part(ms(25), 9000);
    assert_eq!(
        (session.spent.transfer, session.spent.database),
        (ms(25), ms(50))
    );
    // what follows right after is paced; a round trip later it has paused by itself
    session.part(ms(3), 100).part(ms(90), 100).answer(ms(4));
    assert_eq!(
        (session.spent.transfer, session.spent.database),
        (ms(25), ms(50 + 3 + 90 + 4))
    );
}

#[test]
fn a_session_that_is_left_right_after_an_answer_was_for_one_piece_of_work() {
    let mut session = Session::with_paths(ms(2), ms(0));
    assert!(!session.clock.has_just_answered(session.now));
    session.query(ms(0)).answer(ms(1));
    session.then(ms(10), Mover::Client, IDLE, 0);
    assert!(session.clock.has_just_answered(after(session.now, 5)));
    assert!(!session.clock.has_just_answered(after(session.now, 45)));
    session.query(ms(0));
    assert!(!session.clock.has_just_answered(session.now));
}

#[test]
fn a_goodbye_after_a_long_pause_is_no_burst() {
    let mut session = Session::new();
    session.query(ms(0)).answer(ms(1));
    session.then(ms(9000), Mover::Client, IDLE, 0);
    assert_eq!((session.spent.bursts, session.spent.turns), (1, 1));
    // and what is no flight does not cut a pause
    session.query(ms(10));
    assert_eq!((session.spent.bursts, session.spent.think), (2, ms(0)));
}
