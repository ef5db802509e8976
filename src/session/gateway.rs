//! What all sessions share. Floor 3.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use tokio::{sync::watch, time::Instant};

use super::{
    bans::{BanLine, Bans},
    budget::{Bucket, Echoes, Lines},
    cancel::CancelBudget,
    gate::{Gate, Source},
    logins::{Login, Logins},
    record::{AUDIT, Record},
    references::{KeptRefusal, Reference, References},
    roll::{Roll, SessionLine},
    seats::Seats,
    standing::Standing,
};
use crate::{config::Limits, meter::Meters, net::DoorTls, policy::TlsVersion};

/// What all sessions share. Made once by `server`, which holds the other ends of the channels.
pub struct Gateway {
    pub standing: watch::Receiver<Standing>,
    /// The certificates in force; taken once at each handshake, so a swap drops none.
    pub tls: watch::Receiver<Arc<DoorTls>>,
    pub limits: watch::Receiver<Limits>,
    pub meters: Arc<Meters>,
    pub(super) seats: Seats,
    pub(super) gate: Arc<Gate>,
    pub(super) references: References,
    pub(super) roll: Arc<Roll>,
    pub(super) logins: Logins,
    pub(super) record: Arc<Record>,
    pub(super) bans: Bans,
    pub(super) cancels: CancelBudget,
    /// Strangers that get a handshake and a text, see [`Limits::refusals_explained`].
    explanations: Mutex<Bucket>,
    lines: Mutex<Lines>,
    echoes: Mutex<Echoes>,
    decided_again: AtomicU64,
    revoked: AtomicU64,
}

impl Gateway {
    pub fn new(
        standing: watch::Receiver<Standing>,
        tls: watch::Receiver<Arc<DoorTls>>,
        limits: watch::Receiver<Limits>,
        meters: Arc<Meters>,
        record: Arc<Record>,
    ) -> Self {
        let now = Instant::now();
        let explained = limits.borrow().refusals_explained;
        Self {
            standing,
            tls,
            limits,
            meters,
            seats: Seats::default(),
            gate: Arc::default(),
            references: References::default(),
            roll: Arc::default(),
            logins: Logins::default(),
            record,
            bans: Bans::default(),
            cancels: CancelBudget::new(now),
            explanations: Mutex::new(Bucket::full(explained, now)),
            lines: Mutex::new(Lines::new(now)),
            echoes: Mutex::default(),
            decided_again: AtomicU64::new(0),
            revoked: AtomicU64::new(0),
        }
    }

    /// How often a live session was decided again, and how often that ended it, since the start.
    pub fn decisions_again(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.decided_again), load(&self.revoked))
    }

    /// Wakes every session whenever what stands has changed, so that each decides again. To be spawned once; never ends.
    pub async fn cry_changes(self: Arc<Self>) {
        let mut standing = self.standing.clone();
        while standing.changed().await.is_ok() {
            self.roll.wake();
        }
    }

    /// Forgets the counts of origins that are gone. To be called after a reload.
    pub fn forget_origins(&self, kept: impl Fn(&str) -> bool) {
        self.seats.retain(kept);
    }

    /// The live sessions, the oldest first.
    pub fn sessions(&self) -> Vec<SessionLine> {
        self.roll.all()
    }

    /// Has a session end. It finds out when it is decided again: the caller announces the policy anew. `false`: there is none of
    /// this number.
    pub fn end_session(&self, id: u64) -> bool {
        self.roll.end(id)
    }

    /// What a reference stands for that a client reports, as long as it is remembered.
    pub fn refusal(&self, reference: &str) -> Option<KeptRefusal> {
        self.references.look_up(reference)
    }

    /// The latest refusals of those whom the policy knows, and as many of strangers; the latest first.
    pub fn latest_refusals(&self, of_each: usize) -> Vec<KeptRefusal> {
        self.references.latest(of_each)
    }

    /// Who logged in at the database, as far as it is remembered.
    pub fn logins(&self) -> Vec<Login> {
        self.logins.all()
    }

    /// The strangers that are not heard.
    pub fn bans(&self) -> Vec<BanLine> {
        self.bans.all(Instant::now())
    }

    /// Hears a banned source again, by its address or its network. `false`: there is no such ban.
    pub fn lift_ban(&self, source: &str) -> bool {
        let network = source.parse().map(|network: IpNet| network.addr());
        let address = network.or_else(|_not_one| source.parse());
        let lifted =
            address.is_ok_and(|address| self.bans.lift(Source::of(address), Instant::now()));
        self.count_bans();
        lifted
    }

    /// Tells the meters how many bans hold. To be called now and then: they end by themselves.
    pub fn count_bans(&self) {
        self.meters.bans(self.bans.count(Instant::now()));
    }

    pub(super) fn count_decided_again(&self) {
        self.decided_again.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_revoked(&self) {
        self.revoked.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more stranger gets a handshake and a text in this second.
    pub(super) fn may_explain(&self, rate: u32) -> bool {
        self.explanations().take(rate, Instant::now())
    }

    /// A stranger has proved to be none, or is admitted all the same.
    pub(super) fn need_not_explain(&self) {
        let rate = self.limits.borrow().refusals_explained;
        self.explanations().give_back(rate);
    }

    fn explanations(&self) -> MutexGuard<'_, Bucket> {
        self.explanations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure of a stranger, who may be banned for it.
    pub(super) fn count_failure(&self, source: Source) {
        let terms = self.standing.borrow().policy.rules().strangers.ban;
        let now = Instant::now();
        if !self.bans.failed(source, terms, now) {
            return;
        }
        self.meters.banned();
        self.count_bans();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.take_rare(now) {
            tracing::info!(
                target: AUDIT,
                event = "banned",
                client = %source,
                failures = terms.after,
                seconds = terms.length.as_secs(),
            );
        }
    }

    /// Whether a refusal is only the second half of one, see [`Echoes`].
    pub(super) fn is_echo(
        &self,
        refusal: Reference,
        tls: Option<TlsVersion>,
        rtt: Option<Duration>,
    ) -> bool {
        let mut echoes = self.echoes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if tls.is_some() {
            echoes.remember(refusal, now);
            return false;
        }
        echoes.repeats(refusal, rtt.unwrap_or_default(), now)
    }

    /// Whether one more refusal is written to the log, see [`Lines`]; counted if not.
    pub(super) fn may_log(&self, source: Source, known: Option<Reference>) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let may = lines.take(source, known, Instant::now());
        if !may {
            self.meters.log_events_dropped("refusals", 1);
        }
        may
    }

    /// Says of how many refusals nothing was written, where a source had too many. To be called now and then.
    pub fn sum_up_refusals(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = lines.left_out(Instant::now());
        drop(lines);
        for one in left_out {
            tracing::info!(
                target: AUDIT,
                event = "refusals_left_out",
                client = one.source.map(|source| source.to_string()),
                times = one.times,
            );
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}
