//! When a query counts as repeated.

use super::*;

const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

/// A session over a path of 10 ms, whose database answers at once.
struct Session {
    runs: Runs,
    now: Nanos,
    found: Vec<(u32, Nanos)>,
}

impl Session {
    fn new() -> Self {
        Self {
            runs: Runs::new(true),
            now: ms(0),
            found: Vec::new(),
        }
    }

    fn ask(&mut self, thought: u64, kind: StatementKind, fingerprint: u64) -> &mut Self {
        self.now += ms(10 + thought);
        let run = self.runs.turn(self.now, ms(10 + thought), ms(10));
        self.keep(run);
        let run = self.runs.asked(Statement { fingerprint, kind });
        self.keep(run);
        self
    }

    fn read(&mut self, thought: u64, fingerprint: u64) -> &mut Self {
        self.ask(thought, StatementKind::Read, fingerprint)
    }

    fn times(&mut self, n: u32, thought: u64, fingerprint: u64) -> &mut Self {
        for _ in 0..n {
            self.read(thought, fingerprint);
        }
        self
    }

    fn end(&mut self) -> Vec<(u32, Nanos)> {
        let run = self.runs.rest();
        self.keep(run);
        std::mem::take(&mut self.found)
    }

    fn keep(&mut self, run: Option<Run>) {
        self.found.extend(run.map(|run| (run.length, run.took)));
    }
}

#[test]
fn a_query_for_each_row_of_a_list_is_found_with_all_that_it_took() {
    let found = Session::new().read(0, 1).times(37, 0, 2).read(0, 3).end();
    assert_eq!(found, [(37, ms(370))]);
}

#[test]
fn a_query_for_each_row_of_what_somebody_else_gave_is_found() {
    assert_eq!(Session::new().times(10, 0, 2).end(), [(10, ms(100))]);
    let mut session = Session::new();
    session.ask(0, StatementKind::SetUp, 9).times(20, 1, 2);
    assert_eq!(session.read(60, 2).end(), [(20, ms(220))]);
    // what goes on after a thought was no list
    let mut session = Session::new();
    session.times(10, 0, 2).read(25, 2).times(40, 0, 2);
    assert_eq!(session.end(), [(10, ms(100))]);
}

#[test]
fn a_run_is_found_at_the_end_of_a_page_too() {
    let mut session = Session::new();
    session.read(0, 1).times(9, 1, 2);
    assert_eq!(session.read(60, 1).end(), [(9, ms(99))]);
}

#[test]
fn four_in_a_row_are_no_loop() {
    assert_eq!(Session::new().read(0, 1).times(4, 3, 2).end(), []);
    assert_eq!(Session::new().read(0, 1).times(5, 3, 2).end().len(), 1);
}

#[test]
fn what_costs_nothing_is_not_worth_a_word() {
    let mut session = Session::new();
    session.read(0, 1);
    for _ in 0..40 {
        session.now += ms(1);
        session.runs.turn(session.now, ms(1), ms(1));
        session.runs.asked(Statement {
            fingerprint: 2,
            kind: StatementKind::Read,
        });
    }
    assert_eq!(session.end(), []);
}

#[test]
fn any_other_statement_breaks_a_run() {
    let mut session = Session::new();
    session.read(0, 1);
    for _ in 0..10 {
        session.times(4, 0, 2).ask(0, StatementKind::Other, 3);
        session.times(4, 0, 2).ask(0, StatementKind::SetUp, 4);
    }
    assert_eq!(session.end(), []);
}

#[test]
fn repeated_writing_is_no_repeated_query() {
    let mut session = Session::new();
    session.read(0, 1);
    for _ in 0..10 {
        session.ask(0, StatementKind::Other, 2);
    }
    assert_eq!(session.end(), []);
}

#[test]
fn a_worker_that_thinks_between_its_pages_repeats_nothing() {
    assert_eq!(Session::new().read(0, 1).times(40, 4, 2).end(), []);
    assert_eq!(Session::new().read(0, 1).times(40, 21, 2).end(), []);
}

#[test]
fn a_worker_that_asks_one_thing_for_ever_repeats_nothing() {
    let mut session = Session::new();
    session.ask(0, StatementKind::SetUp, 9).times(7000, 0, 2);
    assert_eq!(session.end(), []);
    assert_eq!(Session::new().read(0, 1).times(7000, 0, 2).end(), []);
}

#[test]
fn what_is_sent_at_once_costs_one_round_trip_and_saves_none() {
    let mut session = Session::new();
    session.read(0, 1).read(0, 2);
    for _ in 0..40 {
        session.runs.asked(Statement {
            fingerprint: 2,
            kind: StatementKind::Read,
        });
    }
    assert_eq!(session.end(), []);
}

#[test]
fn set_up_is_what_comes_before_the_first_piece_of_work() {
    let mut session = Session::new();
    for _ in 0..3 {
        session.ask(0, StatementKind::SetUp, 9);
        assert_eq!(session.runs.set_up_is_over(), None);
    }
    let set_up = session.read(0, 1).runs.set_up_is_over();
    let (statements, took) = (3, ms(30));
    assert_eq!(set_up, Some(Preparation { statements, took }));
    session.ask(0, StatementKind::SetUp, 9).read(0, 1);
    assert_eq!(session.runs.set_up_is_over(), None, "later it is work");
}

#[test]
fn a_session_that_was_met_under_way_has_no_set_up() {
    let mut runs = Runs::new(false);
    runs.asked(Statement {
        fingerprint: 9,
        kind: StatementKind::SetUp,
    });
    assert_eq!(runs.set_up_until(ms(9)), None);
}
