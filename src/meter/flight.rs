//! Where a session's time goes. Floor 1: pure; time is an argument, counted from any moment that the caller likes.
//!
//! Every moment of a session belongs to exactly one [`Phase`], or to the gateway itself while it moves bytes. The relay says
//! when it wakes with something to move and when all that could move has moved; what lay between is charged to the phase.
//! A *turn* is a flight sent while nothing was outstanding, together with all that was sent until nothing is again: it costs
//! the client's path and the server's path one round trip each, however much was pipelined in it.
//!
//! A client 10 ms away asks twice, and a database 2 ms away works for 5 ms:
//!
//! ```text
//!  0 ms  woke(Client)       a turn begins
//!        settled(Database)  with one flight; nothing left to move
//!  7 ms  woke(Server)       of 7 ms of waiting 2 were the way to the database and back, 5 its work
//!        settled(Idle)      the turn ends: 10 ms of network to the client, 2 ms to the database
//! 20 ms  woke(Client)       of 13 ms of pause 10 were the way to the client and back, 3 its thought
//! ```

use super::{
    nanos::{Micros, Nanos},
    slow_start::{Round, Window},
};

/// What the session waits for while its relay sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The client's next request.
    Idle { in_transaction: bool },
    /// The rest of a request: from the client, or into a server that does not take it yet.
    Request,
    /// The server, with nothing left to write.
    Database,
    /// Somebody: an answer without a terminal message may go on, or be over. Who moves next tells which.
    Undecided,
    /// A client that does not take its answer.
    Transfer,
}

/// Who moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mover {
    Client,
    Server,
}

/// Sums over the turns of a session, since they were last told, and the turn that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub flights: u32,
    /// Of these, sent while others were outstanding.
    pub pipelined: u32,
    pub turns: u32,
    pub bursts: u32,
    pub transactions: u32,
    pub network_client: Nanos,
    pub network_upstream: Nanos,
    pub database: Nanos,
    pub transfer: Nanos,
    /// Of this, what the kernel hides and the size of an answer tells.
    pub transfer_estimated: Nanos,
    pub request: Nanos,
    pub think: Nanos,
    pub idle_in_transaction: Nanos,
    turn: Open,
}

/// What has been seen of the open turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Open {
    began: Nanos,
    /// The pause before it.
    gap: Nanos,
    flights: u32,
    /// Bytes of the client, as many as can be counted.
    asked: u32,
    answer: Round,
    /// When the first of it came; zero as long as nothing has.
    answering: Nanos,
    /// How much of the round trip to the server has not yet shown.
    on_the_path: Nanos,
    request: Nanos,
    database: Nanos,
    gateway: Nanos,
}

impl Open {
    fn answer_at(&mut self, now: Nanos) {
        if self.answering.is_zero() {
            self.answering = now;
            self.answer.begin(now);
        }
    }
}

impl Spent {
    /// The client said so much.
    #[inline]
    pub fn asked(&mut self, bytes: usize) {
        self.turn.asked = self.turn.asked.saturating_add(countable(bytes));
    }

    /// The server said so much.
    #[inline]
    pub fn answered(&mut self, bytes: usize) {
        self.turn.answer.answered(countable(bytes));
    }

    fn request(&mut self, time: Nanos) {
        self.turn.request += time;
        self.request += time;
    }

    fn work(&mut self, time: Nanos) {
        self.turn.database += time;
        self.database += time;
    }

    /// What looked like the server's work was the way from it. What has been told stays told.
    fn travelled(&mut self, time: Nanos) {
        let time = time.min(self.turn.database).min(self.database);
        self.turn.database = self.turn.database.saturating_sub(time);
        self.database = self.database.saturating_sub(time);
        self.transfer += time;
        self.transfer_estimated += time;
    }

    /// Flights of the open turn so far, those of this moment not yet among them.
    pub const fn flights_of_turn(&self) -> u32 {
        self.turn.flights
    }

    /// Hands out the sums, and goes on with the open turn alone.
    #[must_use]
    pub fn hand_out(&mut self) -> Self {
        let next = Self {
            turn: self.turn,
            ..Self::default()
        };
        std::mem::replace(self, next)
    }
}

/// A turn that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    pub flights: u32,
    /// Without the round trip to the server.
    pub database: Nanos,
    pub gateway: Nanos,
}

/// The least round-trip times of both legs; zero where there is none to speak of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    pub client: Nanos,
    pub upstream: Nanos,
}

/// The clock of one session. What it knows of the open turn is in [`Spent`], which an idle session has none of.
#[derive(Debug)]
pub struct FlightClock {
    phase: Phase,
    open: bool,
    /// The first flight has been seen.
    begun: bool,
    /// When the phase began; between waking and settling, when it woke.
    since: Nanos,
    /// From when on a pause inside a transaction is not yet told; zero where there is none.
    held: Nanos,
    client: Micros,
    upstream: Micros,
    windows: Windows,
}

/// What the sender of each way of a session has under way, as far as can be known.
#[derive(Clone, Copy, Debug, Default)]
struct Windows {
    requests: Window,
    answers: Window,
    /// The server's own, towards us.
    server: Window,
}

impl FlightClock {
    /// Of a session that waits for its first request.
    pub fn new(now: Nanos, paths: Paths) -> Self {
        Self {
            phase: Phase::Idle {
                in_transaction: false,
            },
            open: false,
            begun: false,
            since: now,
            held: Nanos::ZERO,
            client: paths.client.into(),
            upstream: paths.upstream.into(),
            windows: Windows::default(),
        }
    }

    /// Newer round-trip times; they hold from the next turn on.
    pub fn set_paths(&mut self, paths: Paths) {
        self.client = paths.client.into();
        self.upstream = paths.upstream.into();
    }

    pub fn paths(&self) -> Paths {
        Paths {
            client: self.client.into(),
            upstream: self.upstream.into(),
        }
    }

    /// Whether a turn is open. Bytes of the client that come while none is begin one.
    pub const fn in_turn(&self) -> bool {
        self.open
    }

    /// Whether a transaction is open that nobody works at.
    pub const fn is_held(&self) -> bool {
        !self.open && !self.held.is_zero()
    }

    /// After a wait, `mover`'s bytes have just been taken. Gives the turn that this shows to be over.
    pub fn woke(&mut self, now: Nanos, mover: Mover, spent: &mut Spent) -> Option<Turn> {
        let waited = now.saturating_sub(self.since);
        let over = match (self.phase, mover) {
            (Phase::Idle { .. }, Mover::Server) => return None,
            (Phase::Idle { .. }, Mover::Client) => {
                self.begin(now, spent);
                None
            }
            (Phase::Undecided, Mover::Client) => {
                let over = self.end(spent);
                self.held = self.since;
                self.begin(now, spent);
                over
            }
            (Phase::Request | Phase::Database | Phase::Undecided | Phase::Transfer, _) => {
                self.charge(waited, spent);
                None
            }
        };
        if mover == Mover::Client {
            // whatever it adds to the turn has the whole way before it
            spent.turn.on_the_path = self.upstream.into();
        }
        if mover == Mover::Server {
            spent.turn.answer_at(now);
        }
        self.since = now;
        over
    }

    /// All that could move has moved; `flights` were completed by the client meanwhile. Gives the turn that is over.
    pub fn settled(
        &mut self,
        now: Nanos,
        phase: Phase,
        flights: u32,
        spent: &mut Spent,
    ) -> Option<Turn> {
        if !self.open {
            return None;
        }
        let turn = &mut spent.turn;
        turn.gateway += now.saturating_sub(self.since);
        if turn.answer.bytes() > 0 {
            turn.answer_at(now);
        }
        self.count(flights, spent);
        self.since = now;
        self.phase = phase;
        let Phase::Idle { in_transaction } = phase else {
            return None;
        };
        let over = self.end(spent)?;
        if in_transaction {
            self.held = self.since;
        }
        Some(over)
    }

    /// The session goes on waiting: charges what it has waited so far, that a long wait shows before it is over.
    pub fn lasts(&mut self, now: Nanos, spent: &mut Spent) {
        if self.is_held() {
            spent.idle_in_transaction += now.saturating_sub(self.held);
            self.held = now;
        }
        if self.open && self.phase != Phase::Undecided {
            self.charge(now.saturating_sub(self.since), spent);
            self.since = now;
        }
    }

    /// The session is over.
    pub fn stopped(&mut self, now: Nanos, spent: &mut Spent) -> Option<Turn> {
        let mut over = None;
        if self.open {
            match self.phase {
                Phase::Undecided | Phase::Idle { .. } => over = self.end(spent),
                Phase::Request | Phase::Database | Phase::Transfer => self.lasts(now, spent),
            }
            self.open = false;
        }
        self.lasts(now, spent);
        over
    }

    /// Whether the client has had its last answer just now, and nothing is open: who leaves at such a moment had come for one
    /// piece of work.
    pub fn has_just_answered(&self, now: Nanos) -> bool {
        self.begun && !self.open && !self.is_idleness(now.saturating_sub(self.since))
    }

    fn is_idleness(&self, pause: Nanos) -> bool {
        is_idleness(pause, self.client.into())
    }

    fn begin(&mut self, now: Nanos, spent: &mut Spent) {
        // where an estimated part of the answer was still on its way, the pause began after it
        let gap = now.saturating_sub(self.since);
        self.open = true;
        self.windows.answers.pause(gap, self.client);
        self.windows.requests.pause(gap, self.upstream);
        self.windows.server.pause(gap, self.upstream);
        spent.turn = Open {
            began: now,
            gap,
            ..Open::default()
        };
    }

    /// The first flight of a turn shows what the pause before it was.
    fn account_for_the_gap(&mut self, spent: &mut Spent) {
        let Open { began, gap, .. } = spent.turn;
        if self.begun && !self.is_idleness(gap) {
            spent.think += gap.saturating_sub(self.client.into());
        } else {
            spent.bursts = spent.bursts.saturating_add(1);
        }
        if !self.held.is_zero() {
            spent.idle_in_transaction += began.saturating_sub(self.held);
            self.held = Nanos::ZERO;
        }
        self.begun = true;
    }

    /// What opened and carried no flight (a goodbye, late copy data) was no turn.
    fn end(&mut self, spent: &mut Spent) -> Option<Turn> {
        self.open = false;
        let answer = spent.turn.answer;
        spent.travelled(answer.end(&mut self.windows.server, self.upstream.into()));
        let turn = std::mem::take(&mut spent.turn);
        if turn.flights == 0 {
            // the pause before it goes on
            self.since = self.since.saturating_sub(turn.gap);
            return None;
        }
        spent.turns = spent.turns.saturating_add(1);
        spent.network_client += self.client.into();
        spent.network_upstream += self.upstream.into();
        self.windows.requests.rounds(turn.asked);
        // what went on while the rest of the answer was still coming from the server has shown itself
        let rounds = self.windows.answers.rounds(answer.bytes());
        let shown = self.since.saturating_sub(turn.answering);
        let client = Nanos::from(self.client);
        let hidden = client.times(rounds.into()).saturating_sub(shown);
        spent.transfer += hidden;
        spent.transfer_estimated += hidden;
        self.since += hidden;
        Some(Turn {
            flights: turn.flights,
            database: turn.database,
            gateway: turn.gateway,
        })
    }

    fn count(&mut self, new: u32, spent: &mut Spent) {
        let before = spent.turn.flights;
        let after = before.saturating_add(new);
        if before == 0 && new > 0 {
            self.account_for_the_gap(spent);
        }
        spent.turn.flights = after;
        spent.flights = spent.flights.saturating_add(new);
        if after > 1 {
            // the first one learns only now that it is not alone
            let more = if before > 1 { new } else { after };
            spent.pipelined = spent.pipelined.saturating_add(more);
        }
    }

    fn charge(&mut self, waited: Nanos, spent: &mut Spent) {
        match self.phase {
            Phase::Idle { .. } => {}
            Phase::Request => spent.request(waited),
            Phase::Transfer => spent.transfer += waited,
            Phase::Database | Phase::Undecided => {
                // the first part of a turn's wait is the way there and back
                let turn = &mut spent.turn;
                let travelled = waited.min(turn.on_the_path);
                turn.on_the_path = turn.on_the_path.saturating_sub(travelled);
                let waited = waited.saturating_sub(travelled);
                if turn.answering.is_zero() {
                    self.waited_for_an_answer(waited, spent);
                } else {
                    self.waited_for_more(waited, spent);
                }
            }
        }
    }

    /// A large request gets there in rounds.
    fn waited_for_an_answer(&self, waited: Nanos, spent: &mut Spent) {
        let turn = &mut spent.turn;
        let mut window = self.windows.requests;
        let rounds = Nanos::from(self.upstream).times(window.rounds(turn.asked).into());
        let delivering = rounds.saturating_sub(turn.request).min(waited);
        spent.request(delivering);
        spent.work(waited.saturating_sub(delivering));
    }

    /// Between two parts of an answer, too, a part of the wait is the way.
    fn waited_for_more(&mut self, waited: Nanos, spent: &mut Spent) {
        spent.work(waited);
        let mut now = self.since;
        now += waited;
        let window = &mut self.windows.server;
        let answer = &mut spent.turn.answer;
        let travelled = answer.waited(now, waited, window, self.upstream.into());
        spent.travelled(travelled);
    }
}

fn countable(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Whether a client that is so far away has paused for longer than a thought: what comes next is another piece of work.
pub(super) fn is_idleness(pause: Nanos, rtt: Nanos) -> bool {
    pause > LONGEST_THOUGHT.max(rtt.times(5))
}

/// A longer gap between an answer and the next request (or one of five round trips) is idleness, and begins a new burst.
const LONGEST_THOUGHT: Nanos = Nanos::from_millis(50);

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
