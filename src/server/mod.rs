//! The daemon: it opens everything, accepts, and ends in order. Floor 4.
//!
//! ```text
//! Configuration --open--> sockets bound, certificate made --run--> accept, reload, answer the operator --SIGTERM--> drain
//! ```
//!
//! What sessions share travels to them in `watch` channels whose other ends are here: the policy, the certificate, the
//! limits. A reload sends; nobody restarts.

mod accept;
mod accounts;
mod admin;
mod audit;
pub(crate) mod bindings;
mod certificate;
mod clock;
pub mod control;
mod expected;
pub mod grants;
mod guard;
mod house;
mod http;
mod in_force;
mod json_line;
pub mod kept;
pub mod latency;
mod logging;
pub mod lookout;
mod made;
mod names;
mod no;
mod page;
pub mod people;
mod refresh;
pub mod rehearsed;
mod reload;
mod source;
mod start;
pub mod status;
mod systemd;
mod tasks;
pub mod temporary;
mod upstreams;
pub(crate) mod verdict;
pub mod why_answer;
mod why_question;
mod why_words;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

pub use accounts::AccountsError;
pub use audit::AuditError;
pub use bindings::Misbound;
pub(crate) use certificate::way;
pub use logging::Logging;
pub use made::Unusable;
pub use source::{Configuration, Source};
pub use start::StartError;
pub(crate) use start::{families, upstream};
pub use tasks::Tasks;

use accept::Entrance;
use house::House;
use http::Pages;
use rehearsed::Rehearsed;
use reload::Caller;
use start::Open;
use systemd::Pulse;

/// Runs the gateway until a signal ends it. Inside a multi-thread runtime.
///
/// # Errors
/// Only before the first connection is accepted.
pub async fn run(configuration: Configuration, logging: &Logging) -> Result<(), StartError> {
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let Open {
        house,
        entrances,
        http,
        admin,
        asking,
    } = start::open(configuration, logging).await?;

    let (services, sessions) = (Tasks::default(), Tasks::default());
    services.spawn("resolver", asking);
    services.spawn("changes", Arc::clone(&house.gateway).cry_changes());
    look_for_upstreams(&house, &services).await;
    let (close, closing) = watch::channel(());
    let mut pulses = Vec::new();
    for (listener, door) in entrances {
        let pulse = Pulse::default();
        pulses.push(pulse.clone());
        let entrance = Entrance {
            listener,
            door,
            gateway: Arc::clone(&house.gateway),
            sessions: sessions.clone(),
            pulse,
        };
        services.spawn("accept", entrance.accept_until(closing.clone()));
    }
    let pages = Pages {
        house: Arc::clone(&house),
        loopback: http
            .local_addr()
            .is_ok_and(|address| address.ip().is_loopback()),
    };
    services.spawn("http", http::serve(http, Arc::new(pages), services.clone()));
    services.spawn(
        "admin",
        admin::serve(admin, Arc::clone(&house), services.clone()),
    );
    services.spawn("names", names::follow(Arc::clone(&house)));
    services.spawn("files", refresh::follow_files(Arc::clone(&house)));
    services.spawn("clock", clock::keep(Arc::clone(&house)));
    services.spawn("lookout", lookout::keep(Arc::clone(&house)));
    services.spawn("expected", expected::keep(Arc::clone(&house)));
    services.spawn("meters", Arc::clone(&house.gateway.meters).keep_told());
    services.spawn("history", Arc::clone(&house.gateway.meters).keep_history());
    services.spawn("watchdog", systemd::watchdog(pulses));
    announce(&house);
    systemd::ready(&house.in_a_line());

    while signals.next().await == Asked::Reload {
        // what came of it is in the log and in `status`
        let _outcome = house.reload(Caller::Signal).await;
    }
    close.send_replace(());
    drain(&house, &sessions, &mut signals).await;
    Ok(())
}

/// Tells every session that the end is near, and waits for them; a second signal is the end at once.
async fn drain(house: &House, sessions: &Tasks, signals: &mut Signals) {
    let grace = house.gateway.limits.borrow().drain;
    let by = Instant::now() + grace;
    let running = sessions.running();
    tracing::info!(
        event = "stopping",
        sessions = running,
        drain_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
    );
    systemd::stopping(&format!("{running} sessions have {grace:?} to end"));
    house
        .standing
        .send_modify(|standing| standing.closing = Some(by));
    tokio::select! {
        () = sessions.ended() => {}
        () = sleep_until(by + LAST_WORDS) => {}
        () = signals.end() => {}
    }
    tracing::info!(event = "stopped", cut = sessions.running());
}

/// Has the upstreams looked for, and waits a moment: a name that is found now spares the first clients a refusal.
async fn look_for_upstreams(house: &House, services: &Tasks) {
    let (found, mut looking) = mpsc::channel::<()>(1);
    for door in house.doors.iter() {
        let found = found.clone();
        let watching = upstreams::follow(Arc::clone(door), move || drop(found));
        services.spawn("upstream", watching);
    }
    drop(found);
    // resolves when all have let go of their end
    let _slow = timeout(FIRST_LOOK, looking.recv()).await;
}

fn announce(house: &House) {
    let in_force = house.lock();
    let listeners: Vec<_> = house
        .doors
        .iter()
        .flat_map(|door| {
            let (name, upstream) = (&door.settings.name, &door.upstream);
            let listen = door.settings.listen.iter();
            listen.map(move |address| format!("{name} {address} -> {upstream}"))
        })
        .collect();
    let ca = in_force.certificates.ca.as_ref();
    tracing::info!(
        event = "started",
        version = VERSION,
        listeners = listeners.join(", "),
        origins = house.standing.borrow().policy.origins().len(),
        http = %in_force.settings.admin.http,
        admin = %in_force.settings.admin.socket.display(),
        ca = ca.map(|path| path.display().to_string()),
        source = in_force.source,
    );
    let tests = Rehearsed::of(&house.standing.borrow().policy, SystemTime::now());
    if !tests.is_good() {
        // a file that was good on Friday starts on Sunday
        tracing::warn!(event = "tests_failed", cause = %tests);
    }
    if let Some(problem) = &in_force.problem {
        tracing::error!(
            event = "config_broken",
            cause = problem,
            "the file has errors; the last good copy is in force until a reload takes a mended one"
        );
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Reload,
    End,
}

struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancel safe.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    async fn end(&mut self) {
        while self.next().await != Asked::End {}
    }
}

/// The version and the commit it was built from.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("DOORWARD_COMMIT"),
    ")"
);
const NUMBER: &str = env!("CARGO_PKG_VERSION");
const COMMIT: &str = env!("DOORWARD_COMMIT");

/// What sessions that are cut at the end of the drain may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the start waits for the first look at the upstreams.
const FIRST_LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
