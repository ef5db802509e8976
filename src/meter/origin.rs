//! The handles of one origin on one listener. Floor 1.

use std::{
    hash::RandomState,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use prometheus::{Counter, Histogram, IntCounter, IntGauge};
use tokio::time::Instant;

use super::{
    Declared,
    expected::{Expectation, LATELY, Surprise},
    families::{Families, child},
    figures::{LastHour, OriginFigures},
    history::{History, Standing},
    path::{Hop, Path, PathBook},
    runs::{Preparation, Run},
    status::OriginStatus,
    timestamp,
    totals::Totals,
    watch::{Repeated, SetUp, Watch},
};

/// Taken once per session; everything in it only adds.
#[derive(Debug)]
pub struct OriginMeters {
    listener: Box<str>,
    name: Box<str>,
    families: Arc<Families>,
    connections: IntGauge,
    connection_duration: Histogram,
    auth_failures: IntCounter,
    client_rtt: Histogram,
    client_retransmits: IntCounter,
    connect_round_trips: IntCounter,
    connect_seconds: Counter,
    pages: IntCounter,
    unshown: Unshown,
    last_seen: IntGauge,
    recent: Mutex<PathBook>,
    history: Mutex<History>,
    watch: Watch,
    expectation: Mutex<Expectation>,
    pub(super) database_duration: Histogram,
    pub(super) flights: IntCounter,
    pub(super) flights_pipelined: IntCounter,
    pub(super) turns: IntCounter,
    pub(super) bursts: IntCounter,
    pub(super) transactions: IntCounter,
    pub(super) network_client: Counter,
    pub(super) network_upstream: Counter,
    pub(super) database_seconds: Counter,
    pub(super) transfer_seconds: Counter,
    pub(super) transfer_estimated_seconds: Counter,
    pub(super) request_seconds: Counter,
    pub(super) think_seconds: Counter,
    pub(super) idle_in_transaction_seconds: Counter,
    pub(super) receive_bytes: IntCounter,
    pub(super) transmit_bytes: IntCounter,
}

/// Sums that need no series of their own.
#[derive(Debug, Default)]
struct Unshown {
    sessions: AtomicU64,
    /// The most that were open at once in the step under way.
    most: AtomicU64,
    closed: AtomicU64,
    flights_of_pages: AtomicU64,
    connecting_on_the_path: AtomicU64,
    connecting_upstream: AtomicU64,
    connect_turns_upstream: AtomicU64,
    retransmits: AtomicU64,
}

/// What an opening took of one leg.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrips {
    pub turns: u32,
    /// What each of them takes at least.
    pub rtt: Duration,
}

/// A session of an origin: counted as live while it lives.
#[derive(Debug)]
pub struct Attendance(Arc<OriginMeters>);

impl OriginMeters {
    pub(super) fn new(families: &Arc<Families>, listener: &str, name: &str) -> Self {
        let of = [listener, name];
        Self {
            listener: listener.into(),
            name: name.into(),
            connections: child(&families.connections, &of),
            connection_duration: child(&families.connection_duration, &of),
            auth_failures: child(&families.auth_failures, &of),
            client_rtt: child(&families.client_rtt, &of),
            client_retransmits: child(&families.client_retransmits, &[name]),
            connect_round_trips: child(&families.connect_round_trips, &of),
            connect_seconds: child(&families.connect_seconds, &of),
            pages: child(&families.pages, &of),
            unshown: Unshown::default(),
            last_seen: child(&families.origin_last_seen, &[name]),
            recent: Mutex::default(),
            watch: Watch::new(Instant::now()),
            history: Mutex::new(History::begin(Instant::now())),
            expectation: Mutex::default(),
            database_duration: child(&families.database_duration, &of),
            flights: child(&families.flights, &of),
            flights_pipelined: child(&families.flights_pipelined, &of),
            turns: child(&families.turns, &of),
            bursts: child(&families.bursts, &of),
            transactions: child(&families.transactions, &of),
            network_client: child(&families.network_seconds, &[listener, name, "client"]),
            network_upstream: child(&families.network_seconds, &[listener, name, "upstream"]),
            database_seconds: child(&families.database_seconds, &of),
            transfer_seconds: child(&families.transfer_seconds, &of),
            transfer_estimated_seconds: child(&families.transfer_estimated_seconds, &of),
            request_seconds: child(&families.request_seconds, &of),
            think_seconds: child(&families.think_seconds, &of),
            idle_in_transaction_seconds: child(&families.idle_in_transaction_seconds, &of),
            receive_bytes: child(&families.receive_bytes, &of),
            transmit_bytes: child(&families.transmit_bytes, &of),
            families: Arc::clone(families),
        }
    }

    /// Takes over what the configuration says now.
    pub(super) fn declare(&self, now: &Declared) {
        let (families, of) = (&self.families, [&*self.listener, &*self.name]);
        match now.limit {
            Some(limit) => child(&families.connections_limit, &of).set(i64::from(limit)),
            // absent already is as good
            None => drop(families.connections_limit.remove_label_values(&of)),
        }
        match now.expires {
            Some(at) => child(&families.origin_expiry, &[&self.name]).set(timestamp(at)),
            None => drop(families.origin_expiry.remove_label_values(&[&*self.name])),
        }
        let mut expectation = self.expectation();
        expectation.expect(now.expected_rtt);
        if let Some(rtt) = now.expected_rtt {
            child(&families.origin_expected_rtt, &[&self.name]).set(rtt.as_secs_f64());
            let broken = i64::from(expectation.is_broken());
            child(&families.origin_rtt_exceeded, &of).set(broken);
        } else {
            let name = [&*self.name];
            drop(families.origin_expected_rtt.remove_label_values(&name));
            drop(families.origin_rtt_exceeded.remove_label_values(&of));
        }
    }

    pub fn listener(&self) -> &str {
        &self.listener
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A session begins; it is live until the value is dropped.
    pub fn attend(self: Arc<Self>, now: SystemTime) -> Attendance {
        self.connections.inc();
        self.unshown.sessions.fetch_add(1, Relaxed);
        self.unshown.most.fetch_max(self.sessions(), Relaxed);
        self.last_seen.set(timestamp(now));
        Attendance(self)
    }

    /// The opening took these round trips of the client and to the database, and the client waited so long for it.
    pub fn opened(&self, client: RoundTrips, upstream: RoundTrips, waited: Duration) {
        let [near, far] = [client, upstream].map(|leg| leg.rtt * leg.turns);
        self.connect_round_trips.inc_by(u64::from(client.turns));
        self.network_client.inc_by(near.as_secs_f64());
        self.network_upstream.inc_by(far.as_secs_f64());
        self.connect_seconds.inc_by(waited.as_secs_f64());
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let unshown = &self.unshown;
        for (sum, more) in [
            (&unshown.connecting_on_the_path, nanos(near + far)),
            (&unshown.connecting_upstream, nanos(far)),
            (&unshown.connect_turns_upstream, upstream.turns.into()),
        ] {
            sum.fetch_add(more, Relaxed);
        }
    }

    /// How a connection was opened: the kernel's least round trip, the quickest turn in which the client had nothing to think
    /// about, and what its address tells of the way.
    pub fn came_by(&self, rtt: Duration, turn: Option<Duration>, hop: Option<Hop>) {
        self.recent().opened(rtt, turn, hop, Instant::now());
    }

    /// How far its clients are.
    pub fn path(&self) -> Path {
        self.recent().path(Instant::now())
    }

    /// The longest round trip that is expected of it.
    pub fn expected_rtt(&self) -> Option<Duration> {
        self.expectation().longest()
    }

    /// Holds what was measured lately against what is expected; tells what is new.
    pub(super) fn surprise(&self, now: Instant) -> Option<Surprise> {
        let mut expectation = self.expectation();
        expectation.longest()?;
        let then = now.checked_sub(LATELY)?;
        let measured = self.recent().since(then);
        let surprise = expectation.look(measured, now)?;
        let of = [&*self.listener, &*self.name];
        child(&self.families.origin_rtt_exceeded, &of).set(surprise.broken.into());
        Some(surprise)
    }

    fn expectation(&self) -> MutexGuard<'_, Expectation> {
        let expectation = self.expectation.lock();
        expectation.unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, PathBook> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client closed the session right after an answer, as one does that connects for each request.
    pub fn page(&self, flights: u64) {
        self.pages.inc();
        self.unshown.flights_of_pages.fetch_add(flights, Relaxed);
    }

    /// The kernel's least round-trip time of a client connection, which carried `flights` since the last sample.
    pub fn client_rtt(&self, rtt: Duration, flights: u64) {
        self.client_rtt.observe(rtt.as_secs_f64());
        self.recent().sampled(rtt, flights, Instant::now());
    }

    pub fn client_retransmits(&self, segments: u64) {
        self.client_retransmits.inc_by(segments);
        self.unshown.retransmits.fetch_add(segments, Relaxed);
    }

    /// The server refused the login.
    pub fn auth_failure(&self) {
        self.auth_failures.inc();
    }

    /// A session ended because the policy admits it no longer; `cause` is a label of `policy::Reason`.
    pub fn revoked(&self, cause: &'static str) {
        child(&self.families.sessions_revoked, &[&self.name, cause]).inc();
    }

    /// A session ended, `lasted` after its connection was accepted; `cause` is a word of a closed set.
    pub fn closed(&self, cause: &'static str, lasted: Duration, now: SystemTime) {
        child(
            &self.families.connections_closed,
            &[&self.listener, &self.name, cause],
        )
        .inc();
        self.unshown.closed.fetch_add(1, Relaxed);
        self.connection_duration.observe(lasted.as_secs_f64());
        self.last_seen.set(timestamp(now));
    }

    /// Everything so far.
    pub fn totals(&self) -> Totals {
        let unshown = &self.unshown;
        let seconds = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Relaxed)).as_secs_f64();
        Totals {
            sessions: unshown.sessions.load(Relaxed),
            closed: unshown.closed.load(Relaxed),
            pages: self.pages.get(),
            flights_of_pages: unshown.flights_of_pages.load(Relaxed),
            flights: self.flights.get(),
            pipelined: self.flights_pipelined.get(),
            turns: self.turns.get(),
            bursts: self.bursts.get(),
            transactions: self.transactions.get(),
            connect_turns: self.connect_round_trips.get(),
            connecting_seconds: self.connect_seconds.get(),
            connect_turns_upstream: unshown.connect_turns_upstream.load(Relaxed),
            connecting_network_seconds: seconds(&unshown.connecting_on_the_path),
            connecting_upstream_seconds: seconds(&unshown.connecting_upstream),
            network_client_seconds: self.network_client.get(),
            network_upstream_seconds: self.network_upstream.get(),
            database_seconds: self.database_seconds.get(),
            transfer_seconds: self.transfer_seconds.get(),
            transfer_estimated_seconds: self.transfer_estimated_seconds.get(),
            request_seconds: self.request_seconds.get(),
            think_seconds: self.think_seconds.get(),
            idle_in_transaction_seconds: self.idle_in_transaction_seconds.get(),
            retransmits: unshown.retransmits.load(Relaxed),
            received: self.receive_bytes.get(),
            transmitted: self.transmit_bytes.get(),
        }
    }

    /// Its sessions are looked at closer until then.
    pub(super) fn watch(&self, now: Instant, until: Instant) {
        self.watch.begin(now, until);
    }

    /// Whether they are. Costs one look at a word that nobody writes, as long as they are not.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.watch.might_be_on() && self.watch.is_on(Instant::now())
    }

    /// With what the fingerprints of its statements are made.
    pub const fn fingerprint_key(&self) -> &RandomState {
        self.watch.key()
    }

    /// A query was asked again and again.
    pub fn found_run(&self, run: Run) {
        self.watch.found_run(run, SystemTime::now());
    }

    /// A session has set itself up.
    pub fn found_set_up(&self, set_up: Preparation) {
        let took = set_up.took.as_duration();
        self.watch.found_set_up(set_up.statements, took);
    }

    /// The queries that were repeated while somebody looked, the dearest first.
    pub fn repeated(&self) -> Vec<Repeated> {
        self.watch.repeated()
    }

    /// What sessions asked before their first piece of work, while somebody looked.
    pub fn set_up(&self) -> SetUp {
        self.watch.set_up()
    }

    pub(super) fn figures(&self, now: Instant) -> OriginFigures {
        let (window, happened) = self.history().window(now, &self.totals());
        let most = self.unshown.most.load(Relaxed);
        OriginFigures {
            listener: (*self.listener).into(),
            origin: (*self.name).into(),
            window,
            happened,
            path: self.path(),
            sessions: self.sessions(),
            overlaps: most > 1 || self.history().overlaps(),
            repeated: self.repeated(),
            set_up: self.set_up(),
        }
    }

    pub(super) fn last_hour(&self, now: Instant) -> LastHour {
        LastHour {
            listener: (*self.listener).into(),
            origin: (*self.name).into(),
            points: self.history().points(&self.standing(now)),
        }
    }

    /// Half a minute is over.
    pub(super) fn step(&self, now: Instant) {
        let standing = self.standing(now);
        self.history().step(&standing);
        let most = &self.unshown.most;
        most.store(0, Relaxed);
        // looked at after that, so that none that began meanwhile is forgotten
        most.fetch_max(self.sessions(), Relaxed);
    }

    fn standing(&self, now: Instant) -> Standing {
        Standing {
            at: now,
            totals: self.totals(),
            rtt: self.path().p50,
            sessions: self.sessions(),
            most: self.unshown.most.load(Relaxed),
        }
    }

    fn sessions(&self) -> u64 {
        u64::try_from(self.connections.get()).unwrap_or_default()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> OriginStatus {
        let (path, expectation) = (self.path(), *self.expectation());
        OriginStatus {
            listener: (*self.listener).into(),
            origin: (*self.name).into(),
            sessions: self.sessions(),
            rtt_least: path.least,
            rtt_p50: path.p50,
            rtt_p90: path.p90,
            expected_rtt: expectation.longest(),
            rtt_exceeded: expectation.is_broken(),
            flights: self.flights.get(),
            database_seconds: self.database_seconds.get(),
            network_client_seconds: self.network_client.get(),
            network_upstream_seconds: self.network_upstream.get(),
            transfer_seconds: self.transfer_seconds.get(),
            receive_bytes: self.receive_bytes.get(),
            transmit_bytes: self.transmit_bytes.get(),
            last_seen: u64::try_from(self.last_seen.get())
                .ok()
                .filter(|at| *at > 0),
        }
    }
}

impl Attendance {
    /// The handles themselves, for somebody who must not count as a session.
    pub fn meters(&self) -> &Arc<OriginMeters> {
        &self.0
    }
}

impl Deref for Attendance {
    type Target = OriginMeters;

    fn deref(&self) -> &OriginMeters {
        &self.0
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
