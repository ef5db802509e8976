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
        Self::met(Met::Fresh)
    }

    fn met(met: Met) -> Self {
        Self {
            runs: Runs::new(met),
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

    /// Over a path of no length: a read at every `step`, the last `thought` of it thinking.
    fn near(&mut self, n: u32, step: u64, thought: u64) -> &mut Self {
        for _ in 0..n {
            self.now += ms(step);
            let run = self.runs.turn(self.now, ms(thought), ms(0));
            self.keep(run);
            let (fingerprint, kind) = (2, StatementKind::Read);
            let run = self.runs.asked(Statement { fingerprint, kind });
            self.keep(run);
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
fn a_run_is_found_at_the_end_of_a_page_too() {
    let mut session = Session::new();
    session.read(0, 1).times(9, 1, 2);
    assert_eq!(session.read(60, 1).end(), [(9, ms(90))]);
}

#[test]
fn four_in_a_row_are_no_loop() {
    assert_eq!(Session::new().read(0, 1).near(4, 15, 3).end(), []);
    assert_eq!(
        Session::new().read(0, 1).near(5, 15, 3).end(),
        [(5, ms(60))]
    );
}

#[test]
fn what_costs_nothing_is_not_worth_a_word() {
    let mut session = Session::new();
    session.read(0, 1).near(40, 1, 0);
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
fn a_run_needs_nothing_before_it_where_its_beginning_is_seen() {
    assert_eq!(Session::new().times(10, 0, 2).end(), [(10, ms(100))]);
    let mut session = Session::met(Met::AtRest);
    assert_eq!(session.times(10, 0, 2).end(), [(10, ms(100))]);
    let mut session = Session::met(Met::AtWork);
    session.times(10, 0, 2).read(60, 2).times(9, 0, 2);
    assert_eq!(
        session.end(),
        [(10, ms(100))],
        "the second burst of the same"
    );
    let mut session = Session::new();
    session.ask(0, StatementKind::SetUp, 9).times(10, 0, 2);
    assert_eq!(session.end(), [(10, ms(100))]);
}

#[test]
fn what_is_done_with_each_row_is_no_part_of_what_a_run_takes() {
    let found = Session::new().read(0, 1).times(40, 5, 2).end();
    assert_eq!(found, [(40, ms(400))]);
    let mut session = Session::new();
    session.times(20, 0, 2).read(30, 2).times(19, 0, 2);
    assert_eq!(session.end(), [(40, ms(400))], "a machine stops for once");
    let mut near = Session::new();
    near.near(60, 6, 5);
    assert_eq!(near.end(), [(60, ms(60))], "little is little on any path");
}

#[test]
fn a_worker_that_thinks_between_its_pages_repeats_nothing() {
    assert_eq!(Session::new().read(0, 1).times(40, 12, 2).end(), []);
    assert_eq!(Session::new().read(0, 1).times(40, 21, 2).end(), []);
}

#[test]
fn a_worker_that_looks_for_work_now_and_then_repeats_nothing() {
    assert_eq!(Session::new().times(40, 90, 2).end(), []);
}

#[test]
fn a_worker_that_asks_one_thing_for_ever_repeats_nothing() {
    let mut session = Session::met(Met::AtWork);
    assert_eq!(
        session.times(40, 0, 2).read(25, 2).times(40, 0, 2).end(),
        []
    );
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
    let mut runs = Runs::new(Met::AtWork);
    runs.asked(Statement {
        fingerprint: 9,
        kind: StatementKind::SetUp,
    });
    assert_eq!(runs.set_up_until(ms(9)), None);
}
