//! The life of one connection, a straight line of stages. Floor 3.
//!
//! ```text
//! Accepted --introduce()--> Introduced --screen(address)--> Screened --greet()--> Greeted --identify()--> Identified
//!          --allow(policy)--> Allowed --login(upstream)--> LoggedIn --relay()--> Closed
//! ```
//!
//! Every arrow consumes its stage and gives the next, or a `Refused` that is to be reported; `identify` cannot fail, and what `relay`
//! comes to, it logs itself. One deadline spans the opening. Nothing dials PostgreSQL
//! before `stages::Allowed`, whose permit only the policy mints. MySQL's server speaks first: `greet` may dial it, for an address
//! that some origin mentions. `command` decides on what changes a MySQL session once it is relayed.

mod admitted;
mod bans;
mod budget;
mod cancel;
mod command;
mod failures;
mod gate;
mod greet_mysql;
mod greet_postgres;
mod held;
mod login;
mod login_mysql;
mod logins;
mod mysql_server;
mod postgres_server;
mod record;
mod references;
mod refusal;
pub mod relay;
mod report;
mod roll;
mod seats;
mod stages;
mod standing;
mod table;
mod tenure;
mod term;
mod upstream;

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use tokio::{sync::watch, time::Instant};

pub use bans::BanLine;
pub use logins::Login;
pub use postgres_server::Unreached;
pub use record::{AUDIT, AUDIT_ONLY, Record};
pub use references::KeptRefusal;
pub use roll::{SessionLine, Split};
pub use stages::Accepted;
pub use standing::Standing;

use crate::{
    config::{Limits, Listener},
    meter::{ListenerMeters, Meters},
    net::{DoorTls, Upstream},
    policy::TlsVersion,
    protocol::postgres::Accounts,
};
use bans::Bans;
use budget::{Bucket, Echoes, Lines};
use cancel::CancelBudget;
use gate::{Gate, Source};
use logins::Logins;
use mysql_server::MysqlServer;
use references::{Reference, References};
use roll::Roll;
use seats::Seats;
use stages::Purpose;
use table::SessionTable;

/// A listener with what stands behind it.
#[derive(Debug)]
pub struct Door {
    /// Those of the start: name, protocol and addresses are read here.
    pub settings: Arc<Listener>,
    /// Those that a reload has put in force.
    in_force: RwLock<Arc<Listener>>,
    pub upstream: Upstream,
    pub meters: Arc<ListenerMeters>,
    sessions: Arc<SessionTable>,
    mysql: MysqlServer,
    /// Whose proofs are checked here.
    accounts: RwLock<Option<Arc<Accounts>>>,
}

impl Door {
    pub fn new(settings: Arc<Listener>, upstream: Upstream, meters: Arc<ListenerMeters>) -> Self {
        Self {
            in_force: RwLock::new(Arc::clone(&settings)),
            settings,
            upstream,
            meters,
            sessions: Arc::default(),
            mysql: MysqlServer::default(),
            accounts: RwLock::default(),
        }
    }

    /// The settings as the last reload left them, of which it may change all but name, protocol and addresses.
    pub fn in_force(&self) -> Arc<Listener> {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&in_force)
    }

    pub fn put_in_force(&self, settings: Arc<Listener>) {
        let mut in_force = self
            .in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *in_force = settings;
    }

    /// Whose proofs are checked here, if any are.
    pub fn accounts(&self) -> Option<Arc<Accounts>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.clone()
    }

    pub fn believe(&self, known: Option<Arc<Accounts>>) {
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *accounts = known;
    }
}

/// What all sessions share. Made once by `server`, which holds the other ends of the channels.
pub struct Gateway {
    pub standing: watch::Receiver<Standing>,
    /// The certificates in force; taken once at each handshake, so a swap drops none.
    pub tls: watch::Receiver<Arc<DoorTls>>,
    pub limits: watch::Receiver<Limits>,
    pub meters: Arc<Meters>,
    seats: Seats,
    gate: Arc<Gate>,
    references: References,
    roll: Arc<Roll>,
    logins: Logins,
    record: Arc<Record>,
    bans: Bans,
    cancels: CancelBudget,
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

    fn count_decided_again(&self) {
        self.decided_again.fetch_add(1, Ordering::Relaxed);
    }

    fn count_revoked(&self) {
        self.revoked.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more stranger gets a handshake and a text in this second.
    fn may_explain(&self, rate: u32) -> bool {
        self.explanations().take(rate, Instant::now())
    }

    /// A stranger has proved to be none, or is admitted all the same.
    fn need_not_explain(&self) {
        let rate = self.limits.borrow().refusals_explained;
        self.explanations().give_back(rate);
    }

    fn explanations(&self) -> MutexGuard<'_, Bucket> {
        self.explanations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure of a stranger, who may be banned for it.
    fn count_failure(&self, source: Source) {
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
    fn is_echo(&self, refusal: Reference, tls: Option<TlsVersion>, rtt: Option<Duration>) -> bool {
        let mut echoes = self.echoes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if tls.is_some() {
            echoes.remember(refusal, now);
            return false;
        }
        echoes.repeats(refusal, rtt.unwrap_or_default(), now)
    }

    /// Whether one more refusal is written to the log, see [`Lines`]; counted if not.
    fn may_log(&self, source: Source, known: Option<Reference>) -> bool {
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

/// The whole life of a connection. Never fails: what goes wrong is told, counted and logged.
///
/// Opening and relay are boxed each on its own, so that an idle session holds no more than its relay.
pub fn serve(accepted: Accepted) -> impl Future<Output = ()> + Send {
    let opening = Box::pin(async {
        match open(accepted).await {
            Ok(relay) => relay,
            Err(refused) => {
                refused.report();
                None
            }
        }
    });
    async {
        if let Some(relay) = opening.await {
            relay.await;
        }
    }
}

type Relaying = Pin<Box<dyn Future<Output = ()> + Send>>;

/// From the accepted socket to the database's own yes. `None` is a cancel request or a probe, which never become sessions.
async fn open(accepted: Accepted) -> Result<Option<Relaying>, report::Refused> {
    let Some(introduced) = accepted.introduce().await? else {
        return Ok(None);
    };
    let screened = introduced.screen().await?;
    let greeted = match screened.greet().await? {
        Purpose::Session(greeted) => greeted,
        Purpose::Cancel(cancelling) => {
            cancelling.forward().await;
            return Ok(None);
        }
        Purpose::Probe => return Ok(None),
    };
    let identified = greeted.identify();
    let allowed = identified.allow().await?;
    let logged_in = allowed.login().await?;
    Ok(Some(Box::pin(logged_in.relay())))
}
