//! What a relay counts and times. Floor 3.

use std::{
    sync::Arc,
    task::Context,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{Blocked, Books, Closed, End, Line, Orders, Told, close_up::CloseUp};
use crate::{
    meter::{
        Attendance, Beat, FlightClock, FlightPhase, ListenerMeters, Met, Mover, Nanos,
        OriginMeters, Paths, Tally,
    },
    net::kernel::TcpFacts,
    protocol::{Conversation, Standing},
};

/// The books of one session.
#[derive(Debug)]
pub struct Ledger {
    origin: Attendance,
    listener: Arc<ListenerMeters>,
    since: Instant,
    clock: FlightClock,
    /// What is not yet told; an idle session has nothing to tell.
    untold: Option<Box<Tally>>,
    /// While somebody looks closer at the origin.
    close_up: Option<Box<CloseUp>>,
    /// Bytes have moved since the last settling.
    awake: bool,
    received: u64,
    transmitted: u64,
    flights: u32,
    /// How many of them there were at the last look at the round-trip times, and when that was.
    flights_then: u32,
    retransmits: u32,
    looked: Beat,
    told: Option<Beat>,
}

impl Ledger {
    pub(super) fn open(line: Line) -> Self {
        if let Some(rtt) = line.client_rtt {
            line.origin.client_rtt(rtt, 1);
        }
        let paths = Paths {
            client: line.client_rtt.unwrap_or_default().into(),
            upstream: line.upstream_rtt.into(),
        };
        let beat = line.listener.sweep().beat();
        Self {
            looked: beat,
            told: None,
            origin: line.origin,
            listener: line.listener,
            since: line.since,
            clock: FlightClock::new(line.since.elapsed().into(), paths),
            untold: None,
            close_up: None,
            awake: false,
            received: 0,
            transmitted: 0,
            flights: 0,
            flights_then: 0,
            retransmits: 0,
        }
    }
}

impl Books for Ledger {
    #[inline]
    fn client_moved(&mut self, bytes: &[u8], conversation: &mut Conversation, delivered: bool) {
        if self.close_up.is_none() && self.origin.is_watched() {
            self.begin_to_look(conversation);
        }
        // both exceptions: the server's word came in the same poll, before the client's
        if !self.awake || !self.clock.in_turn() {
            self.wake(self.now(), Mover::Client);
        } else if delivered && matches!(conversation.standing(), Standing::Idle { .. }) {
            let now = self.now();
            self.sleep(now, conversation, Blocked::default());
            self.wake(now, Mover::Client);
        }
        if self.close_up.is_some() {
            self.look_closer(bytes);
        }
        self.received += bytes.len() as u64;
        if let Some(tally) = &mut self.untold {
            tally.received += bytes.len() as u64;
            tally.spent.asked(bytes.len());
        }
    }

    fn leftovers_moved(&mut self, mover: Mover) {
        if !self.awake {
            self.wake(self.now(), mover);
        }
    }

    #[inline]
    fn server_moved(&mut self, bytes: &[u8]) {
        if !self.awake {
            self.wake(self.now(), Mover::Server);
        }
        self.transmitted += bytes.len() as u64;
        if let Some(tally) = &mut self.untold {
            tally.transmitted += bytes.len() as u64;
            tally.spent.answered(bytes.len());
        }
        if let Some(close_up) = &mut self.close_up {
            close_up.server_said(bytes);
        }
    }

    fn settle(
        &mut self,
        cx: &Context<'_>,
        conversation: &mut Conversation,
        blocked: Blocked,
        orders: &mut impl Orders,
    ) -> bool {
        if self.awake {
            self.sleep(self.now(), conversation, blocked);
        }
        if self.close_up.is_some() {
            self.look_again(cx);
        }
        let Some(tally) = &mut self.untold else {
            return false;
        };
        let beat = self.listener.sweep().beat();
        // once in a beat is enough, and the numbers of a request are best told with its answer
        if self.told == Some(beat) {
            self.stay_awake(cx);
            return false;
        }
        if self.clock.in_turn() && tally.began == beat {
            // who waits for a beat keeps its memory until then: too dear for a connection that ends with its first answer
            if self.told.is_some() {
                self.stay_awake(cx);
            }
            return false;
        }
        let now = self.since.elapsed().into();
        self.clock.lasts(now, &mut tally.spent);
        self.told = Some(beat);
        if let Some(told) = self.tell() {
            orders.told(&told);
        }
        self.stay_awake(cx);
        beat.since(self.looked) >= LOOK_EVERY
    }

    fn look(&mut self, client: Option<TcpFacts>, server: Option<TcpFacts>) {
        self.looked = self.listener.sweep().beat();
        let mut paths = self.clock.paths();
        if let Some(client) = client {
            if let Some(rtt) = client.min_rtt {
                paths.client = rtt.into();
                let flights = self.flights.saturating_sub(self.flights_then);
                self.origin.client_rtt(rtt, flights.into());
            }
            let again = client.retransmits.saturating_sub(self.retransmits);
            self.origin.client_retransmits(u64::from(again));
            self.retransmits = client.retransmits;
        }
        if let Some(rtt) = server.and_then(|server| server.min_rtt) {
            paths.upstream = rtt.into();
        }
        self.clock.set_paths(paths);
        self.flights_then = self.flights;
    }

    fn move_to(&mut self, origin: Arc<OriginMeters>) -> Option<Told> {
        self.look_away();
        let told = self.tell();
        self.origin = origin.attend(SystemTime::now());
        told
    }

    fn close(
        mut self,
        end: End,
        conversation: &Conversation,
        client: impl FnOnce() -> Option<TcpFacts>,
    ) -> Closed {
        self.look_away();
        let now = self.now();
        let beat = self.listener.sweep().beat();
        let tally = self.untold.get_or_insert_with(|| Tally::begin(beat));
        if let Some(turn) = self.clock.stopped(now, &mut tally.spent) {
            tally.turn(turn, &self.origin, &self.listener);
        }
        if self.flights > self.flights_then {
            self.look(client(), None);
        }
        let _nobody_asks_any_more = self.tell();
        let lasted = now.as_duration();
        if end == End::ClientLeft && lasted <= LONGEST_PAGE && self.clock.has_just_answered(now) {
            self.origin.page(self.flights.into());
        }
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

    /// Looks no closer any more; what comes next may be looked at anew.
    fn look_away(&mut self) {
        if let Some(close_up) = self.close_up.take() {
            close_up.end(self.now(), &self.origin);
        }
    }
}

impl Ledger {
    /// Before the client's next bytes.
    #[cold]
    fn begin_to_look(&mut self, conversation: &Conversation) {
        let now = self.now();
        let met = if self.received == 0 {
            Met::Fresh
        } else if self.clock.in_turn() || self.clock.has_just_answered(now) {
            Met::AtWork
        } else {
            Met::AtRest
        };
        self.close_up = CloseUp::begin(conversation, &self.origin, now, met);
    }

    #[cold]
    fn look_closer(&mut self, bytes: &[u8]) {
        let now = self.now();
        if let Some(close_up) = &mut self.close_up {
            close_up.client_said(bytes, now, self.clock.paths().client, &self.origin);
        }
    }

    /// Once in a beat: a client may fall silent, and nobody looks for ever.
    #[cold]
    fn look_again(&mut self, cx: &Context<'_>) {
        let (now, sweep) = (self.now(), self.listener.sweep());
        let Some(close_up) = &mut self.close_up else {
            return;
        };
        if !close_up.is_new(sweep.beat()) {
            return;
        }
        close_up.pause(now, self.clock.paths().client, &self.origin);
        if self.origin.is_watched() {
            sweep.join(cx.waker());
        } else {
            self.look_away();
        }
    }

    /// Has the next beat wake the session, if nothing else does and there is something to tell.
    fn stay_awake(&mut self, cx: &Context<'_>) {
        if let Some(tally) = &mut self.untold
            && !tally.joined
        {
            tally.joined = true;
            self.listener.sweep().join(cx.waker());
        }
    }

    fn wake(&mut self, now: Nanos, mover: Mover) {
        self.awake = true;
        let beat = self.listener.sweep().beat();
        let tally = self.untold.get_or_insert_with(|| Tally::begin(beat));
        if let Some(turn) = self.clock.woke(now, mover, &mut tally.spent) {
            tally.turn(turn, &self.origin, &self.listener);
        }
    }

    fn sleep(&mut self, now: Nanos, conversation: &mut Conversation, blocked: Blocked) {
        self.awake = false;
        let Some(tally) = &mut self.untold else {
            return;
        };
        let counts = conversation.take_counts();
        self.flights = self.flights.saturating_add(counts.flights);
        let before = tally.spent.flights_of_turn();
        let alone = before.saturating_add(counts.flights) <= 1;
        let phase = match conversation.standing() {
            _ if blocked.to_client => FlightPhase::Transfer,
            Standing::Idle { in_transaction } => FlightPhase::Idle { in_transaction },
            Standing::Asking => FlightPhase::Request,
            Standing::Owing if blocked.to_server && alone => FlightPhase::Request,
            Standing::Owing => FlightPhase::Database,
            Standing::Undecided => FlightPhase::Undecided,
        };
        let spent = &mut tally.spent;
        spent.transactions = spent.transactions.saturating_add(counts.transactions);
        if let Some(turn) = self.clock.settled(now, phase, counts.flights, spent) {
            tally.turn(turn, &self.origin, &self.listener);
        }
        if let Some(close_up) = &mut self.close_up
            && matches!(phase, FlightPhase::Idle { .. } | FlightPhase::Undecided)
        {
            close_up.answered(now);
        }
    }

    /// Since the connection was accepted.
    #[inline]
    fn now(&self) -> Nanos {
        self.since.elapsed().into()
    }

    fn tell(&mut self) -> Option<Told> {
        let spent = self.untold.as_mut()?.tell(&self.origin);
        if !self.clock.in_turn() && !self.clock.is_held() {
            self.untold = None;
        }
        Some(Told {
            spent,
            client_rtt: self.clock.paths().client.as_duration(),
        })
    }
}

/// A session that lasts longer is no connection for one request, however it ends.
const LONGEST_PAGE: Duration = Duration::from_secs(60);
/// How often the kernel is asked while there is traffic, in beats of a second.
const LOOK_EVERY: u32 = 30;
