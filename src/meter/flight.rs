//! Where a session's time goes. Floor 1: pure; time is an argument, counted from any moment that the caller likes.
//!
//! Every moment of a session belongs to exactly one [`Phase`], or to the gateway itself while it moves bytes. The relay says
//! when it wakes with something to move and when all that could move has moved; what lay between is charged to the phase.
//! A *turn* is a flight sent while nothing was outstanding, together with all that was sent until nothing is again: it costs
//! the client's path and the server's path one round trip each, however much was pipelined in it.

use super::nanos::Nanos;

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

/// Sums over the turns of a session, since they were last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub flights: u32,
    /// Of these, sent while others were outstanding.
    pub pipelined: u32,
    pub bursts: u32,
    pub transactions: u32,
    pub network_client: Nanos,
    pub network_upstream: Nanos,
    pub database: Nanos,
    pub transfer: Nanos,
    pub request: Nanos,
    pub think: Nanos,
    pub idle_in_transaction: Nanos,
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

/// The clock of one session.
#[derive(Debug)]
pub struct FlightClock {
    phase: Phase,
    /// When the phase began; between waking and settling, when it woke.
    since: Nanos,
    paths: Paths,
    /// How much of the server's round trip the open turn has not yet shown.
    on_the_path: Nanos,
    /// Of the open turn, as are the next two.
    database: Nanos,
    gateway: Nanos,
    flights: u32,
    open: bool,
    begun: bool,
}

impl FlightClock {
    /// Of a session that waits for its first request.
    pub const fn new(now: Nanos, paths: Paths) -> Self {
        Self {
            phase: Phase::Idle {
                in_transaction: false,
            },
            since: now,
            paths,
            on_the_path: Nanos::ZERO,
            database: Nanos::ZERO,
            gateway: Nanos::ZERO,
            flights: 0,
            open: false,
            begun: false,
        }
    }

    /// Newer round-trip times; they hold from the next turn on.
    pub const fn set_paths(&mut self, paths: Paths) {
        self.paths = paths;
    }

    pub const fn paths(&self) -> Paths {
        self.paths
    }

    /// Whether a turn is open. Bytes of the client that come while none is begin one.
    pub const fn in_turn(&self) -> bool {
        self.open
    }

    /// Flights of the open turn so far, those of this moment not yet among them.
    pub const fn flights(&self) -> u32 {
        self.flights
    }

    /// After a wait, `mover`'s bytes have just been taken. Gives the turn that this shows to be over.
    pub fn woke(&mut self, now: Nanos, mover: Mover, spent: &mut Spent) -> Option<Turn> {
        let waited = now.saturating_sub(self.since);
        let over = match (self.phase, mover) {
            (Phase::Idle { .. }, Mover::Server) => return None,
            (Phase::Idle { in_transaction }, Mover::Client) => {
                self.begin(waited, in_transaction, spent);
                None
            }
            (Phase::Undecided, Mover::Client) => {
                let over = self.end(spent);
                self.begin(waited, true, spent);
                over
            }
            (Phase::Request | Phase::Database | Phase::Undecided | Phase::Transfer, _) => {
                self.charge(waited, spent);
                None
            }
        };
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
        self.gateway += now.saturating_sub(self.since);
        self.count(flights, spent);
        self.since = now;
        self.phase = phase;
        match phase {
            Phase::Idle { .. } => self.end(spent),
            Phase::Request | Phase::Database | Phase::Undecided | Phase::Transfer => None,
        }
    }

    /// The session is over.
    pub fn stopped(&mut self, now: Nanos, spent: &mut Spent) -> Option<Turn> {
        if !self.open {
            return None;
        }
        if self.phase == Phase::Undecided {
            return self.end(spent);
        }
        self.open = false;
        let waited = now.saturating_sub(self.since);
        self.charge(waited, spent);
        None
    }

    fn begin(&mut self, gap: Nanos, in_transaction: bool, spent: &mut Spent) {
        let path = self.paths.client;
        if !self.begun || gap > LONGEST_THOUGHT.max(path.times(5)) {
            spent.bursts += 1;
        } else {
            spent.think += gap.saturating_sub(path);
        }
        if self.begun && in_transaction {
            spent.idle_in_transaction += gap;
        }
        (self.flights, self.database, self.gateway) = (0, Nanos::ZERO, Nanos::ZERO);
        self.on_the_path = self.paths.upstream;
        self.open = true;
        self.begun = true;
    }

    /// What opened and carried no flight (a goodbye, late copy data) was no turn.
    fn end(&mut self, spent: &mut Spent) -> Option<Turn> {
        self.open = false;
        if self.flights == 0 {
            return None;
        }
        spent.network_client += self.paths.client;
        spent.network_upstream += self.paths.upstream;
        Some(Turn {
            flights: self.flights,
            database: self.database,
            gateway: self.gateway,
        })
    }

    fn count(&mut self, new: u32, spent: &mut Spent) {
        let (before, after) = (self.flights, self.flights.saturating_add(new));
        self.flights = after;
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
            Phase::Request => spent.request += waited,
            Phase::Transfer => spent.transfer += waited,
            Phase::Database | Phase::Undecided => {
                // the first part of a turn's wait is the way there and back
                let travelled = waited.min(self.on_the_path);
                let worked = waited.saturating_sub(travelled);
                self.on_the_path = self.on_the_path.saturating_sub(travelled);
                self.database += worked;
                spent.database += worked;
            }
        }
    }
}

/// A longer gap between an answer and the next request (or one of five round trips) is idleness, and begins a new burst.
const LONGEST_THOUGHT: Nanos = Nanos::from_millis(50);

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
