//! What a relay counts and times. Floor 3.

use std::{sync::Arc, task::Context, time::SystemTime};

use tokio::time::Instant;

use super::{Closed, End, Facts, Line};
use crate::{
    meter::{
        Attendance, FlightClock, FlightPhase, ListenerMeters, Mover, OriginMeters, Paths, Tally,
    },
    protocol::{Conversation, Standing},
};

/// The books of one session.
#[derive(Debug)]
pub(super) struct Ledger {
    origin: Attendance,
    listener: Arc<ListenerMeters>,
    since: Instant,
    clock: FlightClock,
    /// What is not yet told; an idle session has nothing to tell.
    untold: Option<Box<Tally>>,
    /// Bytes have moved since the last settling.
    awake: bool,
    received: u64,
    transmitted: u64,
    /// Flights since the last look at the round-trip times, and when that was.
    flights: u32,
    retransmits: u32,
    /// In beats.
    looked: u32,
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
        let paths = Paths {
            client: line.client_rtt.unwrap_or_default().into(),
            upstream: line.upstream_rtt.into(),
        };
        Self {
            looked: line.listener.sweep().beat(),
            origin: line.origin,
            listener: line.listener,
            since: line.since,
            clock: FlightClock::new(now, paths),
            untold: None,
            awake: false,
            received: 0,
            transmitted: 0,
            flights: 0,
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
        self.tally().received += bytes as u64;
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
        self.tally().transmitted += bytes as u64;
    }

    /// Nothing moves any more, the task is going to sleep. Tells whether it is time to [`look`](Self::look).
    pub(super) fn settle(
        &mut self,
        cx: &Context<'_>,
        conversation: &mut Conversation,
        blocked: Blocked,
    ) -> bool {
        if self.awake {
            self.sleep(Instant::now(), conversation, blocked);
        }
        let Some(tally) = &mut self.untold else {
            return false;
        };
        let sweep = self.listener.sweep();
        let beat = sweep.beat();
        match tally.joined {
            None => tally.joined = Some(sweep.join(cx.waker())),
            Some(joined) if joined == beat => {}
            Some(_) => {
                self.tell();
                return beat.wrapping_sub(self.looked) >= LOOK_EVERY;
            }
        }
        false
    }

    /// Takes over what the kernel has measured meanwhile.
    pub(super) fn look(&mut self, client: Option<Facts>, server: Option<Facts>) {
        self.looked = self.listener.sweep().beat();
        let mut paths = self.clock.paths();
        if let Some(client) = client {
            if let Some(rtt) = client.min_rtt {
                paths.client = rtt.into();
                self.origin.client_rtt(rtt, self.flights.into());
            }
            let again = client.retransmits.saturating_sub(self.retransmits);
            self.origin.client_retransmits(u64::from(again));
            self.retransmits = client.retransmits;
        }
        if let Some(rtt) = server.and_then(|server| server.min_rtt) {
            paths.upstream = rtt.into();
        }
        self.clock.set_paths(paths);
        self.flights = 0;
    }

    /// The session counts as another origin's from now on.
    pub(super) fn move_to(&mut self, origin: Arc<OriginMeters>) {
        self.tell();
        self.origin = origin.attend(SystemTime::now());
    }

    /// The session is over.
    pub(super) fn close(
        mut self,
        end: End,
        conversation: &Conversation,
        client: impl FnOnce() -> Option<Facts>,
    ) -> Closed {
        let now = Instant::now();
        let tally = self.untold.get_or_insert_default();
        if let Some(turn) = self.clock.stopped(now, &mut tally.spent) {
            tally.turn(turn, &self.origin, &self.listener);
        }
        if self.flights > 0 {
            self.look(client(), None);
        }
        self.tell();
        let lasted = now.saturating_duration_since(self.since);
        self.origin.closed(end.label(), lasted, SystemTime::now());
        if conversation.lost() {
            self.listener.frame_lost();
        }
        let rtt = self.clock.paths().client;
        Closed {
            end,
            received: self.received,
            transmitted: self.transmitted,
            client_rtt: (!rtt.is_zero()).then(|| rtt.as_duration()),
            frame_lost: conversation.lost(),
            lasted,
        }
    }

    fn wake(&mut self, now: Instant, mover: Mover) {
        self.awake = true;
        let tally = self.untold.get_or_insert_default();
        if let Some(turn) = self.clock.woke(now, mover, &mut tally.spent) {
            tally.turn(turn, &self.origin, &self.listener);
        }
    }

    fn sleep(&mut self, now: Instant, conversation: &mut Conversation, blocked: Blocked) {
        self.awake = false;
        let counts = conversation.take_counts();
        self.flights = self.flights.saturating_add(counts.flights);
        let tally = self.untold.get_or_insert_default();
        tally.transactions = tally.transactions.saturating_add(counts.transactions);
        let alone = self.clock.flights().saturating_add(counts.flights) <= 1;
        let phase = match conversation.standing() {
            _ if blocked.to_client => FlightPhase::Transfer,
            Standing::Idle { in_transaction } => FlightPhase::Idle { in_transaction },
            Standing::Asking => FlightPhase::Request,
            Standing::Owing if blocked.to_server && alone => FlightPhase::Request,
            Standing::Owing => FlightPhase::Database,
            Standing::Undecided => FlightPhase::Undecided,
        };
        let spent = &mut tally.spent;
        if let Some(turn) = self.clock.settled(now, phase, counts.flights, spent) {
            tally.turn(turn, &self.origin, &self.listener);
        }
    }

    #[inline]
    fn tally(&mut self) -> &mut Tally {
        self.untold.get_or_insert_default()
    }

    fn tell(&mut self) {
        if let Some(tally) = self.untold.take() {
            tally.tell(&self.origin);
        }
    }
}

/// How often the kernel is asked while there is traffic, in beats of a second.
const LOOK_EVERY: u32 = 30;
