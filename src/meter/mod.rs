//! Numbers. Floor 1. Labels are resolved here, once per session; the relay holds handles and only adds.
//!
//! No text from a client ever gets here: a label is a name of the configuration or one of a closed set of words.

mod by_origin;
mod expected;
mod families;
mod figures;
mod flight;
mod history;
mod hosts;
mod listener;
mod maker;
mod nanos;
mod origin;
mod path;
mod place;
mod rtt;
mod runs;
mod slow_start;
mod status;
mod sweep;
mod tally;
mod totals;
mod watch;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use prometheus::{Encoder, Registry, TextEncoder, process_collector::ProcessCollector};
use tokio::time::Instant;

pub use expected::Surprise;
use families::{Families, child};
pub use figures::{LastHour, OriginFigures};
pub use flight::{FlightClock, Mover, Paths, Phase as FlightPhase, Spent, Turn};
pub use history::Point;
pub use hosts::Named;
pub use listener::{ListenerMeters, Opening, Phase};
pub use nanos::Nanos;
pub use origin::{Attendance, OriginMeters, RoundTrips};
pub use path::{Hop, Path, Scope, Turns};
pub use place::{Bands, Place};
pub use runs::{Met, Preparation, Run, Runs};
pub use status::{OriginStatus, Refusals};
pub use sweep::{Beat, Sweep};
pub use tally::Tally;
pub use totals::Totals;
pub use watch::{Repeated, SetUp};

/// All meters of the process.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    families: Arc<Families>,
    handles: RwLock<Handles>,
    sweep: Arc<Sweep>,
    bands: RwLock<Bands>,
}

/// An origin as the meters need to know it, on one of the listeners that it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub listener: Arc<str>,
    pub origin: Arc<str>,
    /// How many sessions it may have.
    pub limit: Option<u32>,
    pub expires: Option<SystemTime>,
    /// The longest round trip that nobody need be told of.
    pub expected_rtt: Option<Duration>,
}

#[derive(Debug, Default)]
struct Handles {
    listeners: HashMap<Arc<str>, Arc<ListenerMeters>>,
    /// By listener, then by origin.
    origins: HashMap<Arc<str>, HashMap<Arc<str>, Arc<OriginMeters>>>,
}

impl Meters {
    /// `version` and `commit` are those of the build.
    ///
    /// # Errors
    /// Only a mistake in the names and labels written in this module.
    pub fn new(version: &str, commit: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let families = Arc::new(Families::register(&registry)?);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        child(&families.build_info, &[version, commit]).set(1);
        for result in ["success", "failure"] {
            child(&families.config_reloads, &[result]);
        }
        child(&families.banned, &[FAILURES]);
        for sink in ["stderr", "audit", "refusals"] {
            child(&families.log_events_dropped, &[sink]);
        }
        Ok(Self {
            registry,
            families,
            handles: RwLock::default(),
            sweep: Arc::default(),
            bands: RwLock::default(),
        })
    }

    /// After this exactly these origins, and the words for the others, have children: new ones begin at 0, those of origins
    /// that are gone are forgotten. Live sessions of a forgotten origin go on counting where nobody looks.
    pub fn declare(&self, origins: &[Declared]) {
        let origins = origins.get(..MAX_CHILDREN).unwrap_or(origins);
        let names: HashSet<&str> = origins.iter().map(|one| &*one.origin).collect();
        let pairs: HashSet<(&str, &str)> = origins
            .iter()
            .map(|one| (&*one.listener, &*one.origin))
            .collect();
        let keep = |listener: Option<&str>, origin: &str| {
            origin == NONE
                || origin == OTHER
                || listener.map_or_else(
                    || names.contains(origin),
                    |listener| pairs.contains(&(listener, origin)),
                )
        };
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        for (listener, meters) in &mut handles.origins {
            meters.retain(|origin, _| keep(Some(listener), origin));
        }
        self.families.retain(&keep);
        for one in origins {
            handles
                .origins
                .entry(Arc::clone(&one.listener))
                .or_default()
                .entry(Arc::clone(&one.origin))
                .or_insert_with(|| {
                    Arc::new(OriginMeters::new(
                        &self.families,
                        &one.listener,
                        &one.origin,
                    ))
                })
                .declare(one);
        }
    }

    /// The handles of an origin on a listener. One that was not declared, or is beyond the number that is shown, counts
    /// as `_other`; sessions that no origin admits count as `_none`.
    pub fn origin(&self, listener: &str, origin: &str) -> Arc<OriginMeters> {
        let known = |name: &str| {
            let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
            handles.origins.get(listener)?.get(name).map(Arc::clone)
        };
        let word = if origin == NONE { NONE } else { OTHER };
        if let Some(meters) = known(origin).or_else(|| known(word)) {
            return meters;
        }
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        let words = handles.origins.entry(listener.into()).or_default();
        let meters = words
            .entry(word.into())
            .or_insert_with(|| Arc::new(OriginMeters::new(&self.families, listener, word)));
        Arc::clone(meters)
    }

    /// The handles of a listener, which must be one of the configuration.
    pub fn listener(&self, listener: &str) -> Arc<ListenerMeters> {
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        let meters = handles.listeners.entry(listener.into()).or_insert_with(|| {
            Arc::new(ListenerMeters::new(&self.families, &self.sweep, listener))
        });
        Arc::clone(meters)
    }

    /// Counts a decision. `reason` is a label of `policy::Reason`; `origin` that of the permit or of the nearest miss.
    pub fn decision(
        &self,
        listener: &str,
        origin: Option<&str>,
        allowed: bool,
        reason: &'static str,
    ) {
        let origin = origin.map_or(NONE, |name| self.shown(listener, name));
        let decision = if allowed { "allow" } else { "deny" };
        let labels = [listener, origin, decision, reason];
        child(&self.families.decisions, &labels).inc();
    }

    /// Counts a session that is admitted only because an observation spares it this reason's denial.
    pub fn would_deny(&self, listener: &str, origin: &str, reason: &'static str) {
        let labels = [listener, self.shown(listener, origin), reason];
        child(&self.families.would_deny, &labels).inc();
    }

    /// The label of an origin's name.
    fn shown<'a>(&self, listener: &str, name: &'a str) -> &'a str {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let declared = handles.origins.get(listener);
        let known = name == NONE || declared.is_some_and(|all| all.contains_key(name));
        if known { name } else { OTHER }
    }

    /// How many sources of strangers are not heard now.
    pub fn bans(&self, now: usize) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.families.bans.set(now);
    }

    pub fn banned(&self) {
        child(&self.families.banned, &[FAILURES]).inc();
    }

    /// Another policy is in force, whatever it comes from.
    pub fn generation(&self, generation: u64) {
        let generation = i64::try_from(generation).unwrap_or(i64::MAX);
        self.families.config_generation.set(generation);
    }

    /// A configuration was taken, at the start or by a reload.
    pub fn reloaded(&self, at: SystemTime) {
        child(&self.families.config_reloads, &["success"]).inc();
        self.families.config_last_reload_successful.set(1);
        self.families
            .config_last_reload_success_timestamp
            .set(timestamp(at));
    }

    /// What was refused last has been mended, and no reload was needed for it.
    pub fn configuration_mended(&self) {
        self.families.config_last_reload_successful.set(1);
    }

    /// A configuration, or a file beside it, was refused; what was in force goes on.
    pub fn configuration_refused(&self) {
        child(&self.families.config_reloads, &["failure"]).inc();
        self.families.config_last_reload_successful.set(0);
    }

    /// Whether the file on the disk is another than what is in force.
    pub fn configuration_differs(&self, differs: bool) {
        self.families.config_differs.set(differs.into());
    }

    /// Whether refusals are only recorded, and for how many origins some are.
    pub fn observing(&self, all: bool, origins: usize) {
        child(&self.families.policy_mode, &["enforce"]).set((!all).into());
        child(&self.families.policy_mode, &["observe"]).set(all.into());
        let origins = i64::try_from(origins).unwrap_or(i64::MAX);
        self.families.origins_observed.set(origins);
    }

    /// `reason` names the error in a word, such as `emfile`.
    pub fn accept_error(&self, reason: &'static str) {
        child(&self.families.accept_errors, &[reason]).inc();
    }

    pub fn log_events_dropped(&self, sink: &'static str, events: u64) {
        child(&self.families.log_events_dropped, &[sink]).inc_by(events);
    }

    /// `kind` says what the certificate is for, such as `listener` or `ca`.
    pub fn certificate_expiry(&self, kind: &'static str, at: SystemTime) {
        child(&self.families.tls_certificate_expiry, &[kind]).set(timestamp(at));
    }

    /// Has the sessions tell their numbers, once a second and for ever.
    pub async fn keep_told(self: Arc<Self>) {
        loop {
            tokio::time::sleep(sweep::BEAT).await;
            self.sweep.strike();
        }
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// A family without children is left out, not an error; what remains is a mistake of this module.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        self.tell_paths();
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// How far each origin is by now: of several listeners the farthest place, and the least round trip.
    fn tell_paths(&self) {
        let bands = self.bands();
        let path = |meters: &OriginMeters| (meters.name().to_owned(), meters.path());
        let mut all: HashMap<String, (Option<Place>, Option<Duration>)> = HashMap::new();
        for (name, path) in self.each_origin(path) {
            let (farthest, least) = all.entry(name).or_default();
            let place = path.places(&bands).map(|(half, _)| half);
            *farthest = place.max(*farthest);
            *least = [path.least, *least].into_iter().flatten().min();
        }
        // held to the end, so that no reload forgets an origin meanwhile
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let known = |name: &str| handles.origins.values().any(|all| all.contains_key(name));
        for (name, (farthest, least)) in all.iter().filter(|(name, _)| known(name)) {
            for place in Place::ALL {
                let is_here = i64::from(*farthest == Some(place));
                child(&self.families.origin_place, &[name, place.label()]).set(is_here);
            }
            let least = least.unwrap_or_default().as_secs_f64();
            child(&self.families.client_rtt_min, &[name]).set(least);
        }
    }

    /// The figures of each origin on each listener, by name, for `doorward status`.
    pub fn origins(&self) -> Vec<OriginStatus> {
        self.each_origin(OriginMeters::status)
    }

    /// What is known of each origin on each listener, by name, for `doorward latency`.
    pub fn figures(&self) -> Vec<OriginFigures> {
        let now = Instant::now();
        self.each_origin(|meters| meters.figures(now))
    }

    /// How the last hour of each went, by name.
    pub fn last_hours(&self) -> Vec<LastHour> {
        let now = Instant::now();
        self.each_origin(|meters| meters.last_hour(now))
    }

    fn each_origin<T>(&self, tell: impl Fn(&OriginMeters) -> T) -> Vec<T> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = handles
            .origins
            .values()
            .flat_map(HashMap::values)
            .map(Arc::clone)
            .collect();
        drop(handles);
        all.sort_by(|a, b| (a.name(), a.listener()).cmp(&(b.name(), b.listener())));
        all.iter().map(|meters| tell(meters)).collect()
    }

    /// Draws the line of each origin on, twice a minute and for ever.
    pub async fn keep_history(self: Arc<Self>) {
        loop {
            tokio::time::sleep(history::STEP).await;
            let now = Instant::now();
            self.each_origin(|meters| meters.step(now));
        }
    }

    /// Looks closer at the sessions of an origin for a while. `false`: there is none of this name.
    pub fn watch(&self, origin: &str, long: Duration) -> bool {
        let now = Instant::now();
        let found = self.each_origin(|meters| {
            let this = meters.name() == origin;
            if this {
                meters.watch(now, now + long);
            }
            this
        });
        found.contains(&true)
    }

    /// Where each distance begins.
    pub fn set_bands(&self, bands: Bands) {
        *self.bands.write().unwrap_or_else(PoisonError::into_inner) = bands;
    }

    pub fn bands(&self) -> Bands {
        *self.bands.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds every origin against what is expected of it: those whose expectation is broken now, and those whose holds again.
    pub fn surprises(&self, now: Instant) -> Vec<(Arc<OriginMeters>, Surprise)> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let all = handles.origins.values().flat_map(HashMap::values);
        all.filter_map(|meters| Some((Arc::clone(meters), meters.surprise(now)?)))
            .collect()
    }

    /// The refusals so far by reason, most frequent first.
    pub fn refusals(&self) -> Vec<Refusals> {
        status::refusals(&self.families)
    }
}

/// Whole seconds since the epoch.
fn timestamp(at: SystemTime) -> i64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Pairs of listener and origin that have children of their own, whatever the settings say; the rest share [`OTHER`].
const MAX_CHILDREN: usize = 5000;
/// The label of a decision that no origin is named in, and of sessions that none admits.
const NONE: &str = "_none";
/// Why strangers are banned.
const FAILURES: &str = "failures";
/// The label of origins beyond the shown ones. No configured name begins with an underscore.
const OTHER: &str = "_other";

#[cfg(test)]
mod tests;
