//! What a relay counts and times. Floor 3.

use std::{
    pin::Pin,
    sync::Arc,
    task::Context,
    time::{Duration, SystemTime},
};

use tokio::{
    task::coop,
    time::{Instant, Sleep, sleep_until},
};

use super::{Closed, End, Facts, Line};
use crate::{
    meter::{FlightClock, FlightPhase, Mover, OriginMeters, Paths, Tally},
    protocol::{Conversation, Standing},
};

/// The books of one session. What is not yet told to the meters is boxed, and an idle session has none.
#[derive(Debug)]
pub(super) struct Ledger {
    line: Line,
    clock: FlightClock,
    untold: Option<Box<Untold>>,
    /// Bytes have moved since the last settling.
    awake: bool,
    received: u64,
    transmitted: u64,
    /// Flights since the last look at the round-trip times, and when that was.
    flights: u64,
    looked: Instant,
    retransmits: u32,
}

#[derive(Debug)]
struct Untold {
    tally: Tally,
    due: Instant,
    /// Set once, for a session that falls silent before it has told.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The ways that wait for their sink.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blocked {
    pub(super) to_client: bool,
    pub(super) to_server: bool,
}

impl Ledger {
    pub(super) fn open(line: Line) -> Self {
        let now = Instant::now();
        if let Some(rtt) = line.client_rtt {
            line.origin.client_rtt(rtt, 1);
        }
        Self {
            clock: FlightClock::new(now, paths(&line)),
            line,
            untold: None,
            awake: false,
            received: 0,
            transmitted: 0,
            flights: 0,
            looked: now,
            retransmits: 0,
        }
    }

    /// Bytes of the client were read; call it before the conversation sees them. `delivered`: the client has all that the
    /// server has said.
    #[inline]
    pub(super) fn client_moved(
        &mut self,
        bytes: usize,
        conversation: &mut Conversation,
        delivered: bool,
    ) {
        // both exceptions: the server's word came in the same poll, before the client's
        if !self.awake || !self.clock.in_turn() {
            self.wake(Instant::now(), Mover::Client);
        } else if delivered && matches!(conversation.standing(), Standing::Idle { .. }) {
            let now = Instant::now();
            self.sleep(now, conversation, Blocked::default());
            self.wake(now, Mover::Client);
        }
        self.received += bytes as u64;
        if let Some(untold) = &mut self.untold {
            untold.tally.received += bytes as u64;
        }
    }

    /// Bytes that were read before have been delivered.
    pub(super) fn leftovers_moved(&mut self, mover: Mover) {
        if !self.awake {
            self.wake(Instant::now(), mover);
        }
    }

    /// Bytes of the server were read.
    #[inline]
    pub(super) fn server_moved(&mut self, bytes: usize) {
        if !self.awake {
            self.wake(Instant::now(), Mover::Server);
        }
        self.transmitted += bytes as u64;
        if let Some(untold) = &mut self.untold {
            untold.tally.transmitted += bytes as u64;
        }
    }

    /// Nothing moves any more, the task is going to sleep. Tells whether it is time to [`look`](Self::look).
    pub(super) fn settle(
        &mut self,
        cx: &mut Context<'_>,
        conversation: &mut Conversation,
        blocked: Blocked,
    ) -> bool {
        let now = self.awake.then(Instant::now);
        if let Some(now) = now {
            self.sleep(now, conversation, blocked);
        }
        if !self.is_due(cx, now) {
            return false;
        }
        self.tell();
        let now = now.unwrap_or_else(Instant::now);
        now.saturating_duration_since(self.looked) >= LOOK_EVERY
    }

    /// Takes over what the kernel has measured meanwhile.
    pub(super) fn look(&mut self, client: Option<Facts>, server: Option<Facts>) {
        self.looked = Instant::now();
        if let Some(client) = client {
            if let Some(rtt) = client.min_rtt {
                self.line.client_rtt = Some(rtt);
                self.line.origin.client_rtt(rtt, self.flights);
            }
            let again = client.retransmits.saturating_sub(self.retransmits);
            self.line.origin.client_retransmits(u64::from(again));
            self.retransmits = client.retransmits;
        }
        if let Some(rtt) = server.and_then(|server| server.min_rtt) {
            self.line.upstream_rtt = rtt;
        }
        self.clock.set_paths(paths(&self.line));
        self.flights = 0;
    }

    /// The session counts as another origin's from now on.
    pub(super) fn move_to(&mut self, origin: Arc<OriginMeters>) {
        self.tell();
        self.line.origin = origin.attend(SystemTime::now());
    }

    /// The session is over.
    pub(super) fn close(
        mut self,
        end: End,
        conversation: &Conversation,
        client: Option<Facts>,
    ) -> Closed {
        let now = Instant::now();
        if let Some(untold) = &mut self.untold
            && let Some(turn) = self.clock.stopped(now, &mut untold.tally.spent)
        {
            untold.tally.turn(turn);
        }
        if self.flights > 0 {
            self.look(client, None);
        }
        self.tell();
        let lasted = now.saturating_duration_since(self.line.since);
        self.line
            .origin
            .closed(end.label(), lasted, SystemTime::now());
        if conversation.lost() {
            self.line.listener.frame_lost();
        }
        Closed {
            end,
            received: self.received,
            transmitted: self.transmitted,
            client_rtt: self.line.client_rtt,
            frame_lost: conversation.lost(),
            lasted,
        }
    }

    fn wake(&mut self, now: Instant, mover: Mover) {
        self.awake = true;
        let Self { line, untold, .. } = self;
        let untold = untold.get_or_insert_with(|| {
            Box::new(Untold {
                tally: Tally::new(&line.origin, &line.listener),
                due: now + TELL_EVERY,
                timer: None,
            })
        });
        if let Some(turn) = self.clock.woke(now, mover, &mut untold.tally.spent) {
            untold.tally.turn(turn);
        }
    }

    fn sleep(&mut self, now: Instant, conversation: &mut Conversation, blocked: Blocked) {
        self.awake = false;
        let Some(untold) = &mut self.untold else {
            return;
        };
        let counts = conversation.take_counts();
        self.flights += u64::from(counts.flights);
        untold.tally.transactions += u64::from(counts.transactions);
        let alone = self.clock.flights() + u64::from(counts.flights) <= 1;
        let phase = match conversation.standing() {
            _ if blocked.to_client => FlightPhase::Transfer,
            Standing::Idle { in_transaction } => FlightPhase::Idle { in_transaction },
            Standing::Asking => FlightPhase::Request,
            Standing::Owing if blocked.to_server && alone => FlightPhase::Request,
            Standing::Owing => FlightPhase::Database,
            Standing::Undecided => FlightPhase::Undecided,
        };
        let spent = &mut untold.tally.spent;
        if let Some(turn) = self.clock.settled(now, phase, counts.flights, spent) {
            untold.tally.turn(turn);
        }
    }

    /// `now` is known where bytes have moved.
    fn is_due(&mut self, cx: &mut Context<'_>, now: Option<Instant>) -> bool {
        let Some(untold) = &mut self.untold else {
            return false;
        };
        match (&mut untold.timer, now) {
            // to ask the timer each time would cost more than all the books
            (Some(_), Some(now)) => now >= untold.due,
            (Some(timer), None) => timer.as_mut().poll(cx).is_ready(),
            // with an exhausted budget it could not be set, but then the task is woken at once
            (None, _) if !coop::has_budget_remaining() => false,
            (none, _) => {
                let timer = none.insert(Box::pin(sleep_until(untold.due)));
                timer.as_mut().poll(cx).is_ready()
            }
        }
    }

    fn tell(&mut self) {
        if let Some(mut untold) = self.untold.take() {
            untold.tally.tell(&self.line.origin);
        }
    }
}

fn paths(line: &Line) -> Paths {
    Paths {
        client: line.client_rtt.unwrap_or_default(),
        upstream: line.upstream_rtt,
    }
}

/// How long numbers may wait to be seen.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often the kernel is asked, while there is traffic.
const LOOK_EVERY: Duration = Duration::from_secs(30);
