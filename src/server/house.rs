//! The house: all that is in force, and what it tells of itself. Floor 4. How another configuration takes its place is `reload`'s.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{self, watch},
    time::Instant,
};

use super::{
    Logging,
    control::Listing,
    in_force::InForce,
    latency::{self, LatencyLine},
    lookout::Observing,
    names::Names,
    people::{BanAnswer, LoginAnswer, RefusalAnswer, SessionAnswer},
    source::Source,
    status::{HostLine, ListenerStatus, Status, figures, rfc3339},
    temporary::Book,
    upstreams::Doors,
    why_answer::{BadQuestion, DAEMON, Decision, Ground, WhyAnswer, WhyRequest},
};
use crate::{
    config::Limits,
    net::DoorTls,
    policy::Claim,
    session::{AUDIT, Gateway, Standing},
};

/// All that a reload changes, and what it is compared with.
pub(super) struct House {
    pub(super) gateway: Arc<Gateway>,
    pub(super) doors: Arc<Doors>,
    pub(super) names: Names,
    pub(super) source: Source,
    pub(super) logging: Logging,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) tls: watch::Sender<Arc<DoorTls>>,
    pub(super) limits: watch::Sender<Limits>,
    pub(super) in_force: Mutex<InForce>,
    pub(super) temporary: Arc<Book>,
    pub(super) one_at_a_time: sync::Mutex<()>,
    pub(super) began: Instant,
}

impl House {
    pub(super) fn why(&self, question: &WhyRequest) -> Result<WhyAnswer, BadQuestion> {
        self.on_this_ground(|ground| WhyAnswer::of(ground, question, SystemTime::now()))
            .map(|answer| self.dated(answer))
    }

    /// What a reference stands for that a client reports, and what would become of that connection now.
    pub(super) fn refusal(&self, reference: &str) -> Option<RefusalAnswer> {
        let kept = self.gateway.refusal(reference)?;
        let now = SystemTime::now();
        let trust = Arc::clone(&self.standing.borrow().trust);
        let again = kept.claim.as_deref().map(|claim| Claim {
            certificate: claim
                .certificate
                .as_deref()
                .map(|shown| Arc::new(trust.again(shown, now))),
            ..claim.clone()
        });
        let answer =
            again.map(|claim| self.on_this_ground(|ground| WhyAnswer::about(ground, &claim, now)));
        let answer = answer.map(|answer| self.dated(answer));
        Some(RefusalAnswer::of(&kept, answer))
    }

    pub(super) fn decide(&self, questions: &[WhyRequest]) -> Listing<Decision> {
        let now = SystemTime::now();
        let items = self.on_this_ground(|ground| {
            let decided = questions.iter();
            decided
                .map(|question| Decision::of(ground, question, now))
                .collect()
        });
        Listing { items }
    }

    fn on_this_ground<T>(&self, ask: impl FnOnce(Ground<'_>) -> T) -> T {
        let (policy, trust) = {
            let standing = self.standing.borrow();
            (Arc::clone(&standing.policy), Arc::clone(&standing.trust))
        };
        let doors = self.doors.iter();
        let listeners: Vec<_> = doors.map(|door| Arc::clone(&door.settings)).collect();
        ask(Ground {
            policy: &policy,
            trust: &trust,
            listeners: &listeners,
            source: DAEMON,
        })
    }

    fn dated(&self, answer: WhyAnswer) -> WhyAnswer {
        WhyAnswer {
            loaded: Some(rfc3339(self.lock().loaded)),
            ..answer
        }
    }

    pub(super) async fn status(&self) -> Status {
        self.doors.ask().await;
        let differs = self.differing().await;
        let now = SystemTime::now();
        let (origins, refusals) = figures(&self.gateway.meters);
        let listeners = self.doors.iter().map(|door| ListenerStatus {
            name: door.settings.name.to_string(),
            protocol: door.settings.protocol.label().to_owned(),
            listen: door
                .settings
                .listen
                .iter()
                .map(ToString::to_string)
                .collect(),
            upstream: door.upstream.to_string(),
            upstream_up: door.meters.upstream_is_up() == Some(true),
        });
        let hosts = self.names.states();
        let hosts = hosts.iter().map(|(host, state)| HostLine::of(host, state));
        let in_force = self.lock();
        Status {
            version: super::VERSION.to_owned(),
            generation: self.standing.borrow().policy.generation(),
            loaded: rfc3339(in_force.loaded),
            source: in_force.source.clone(),
            problem: in_force.problem.clone(),
            differs,
            observing: Observing::of(&self.standing.borrow().policy, now),
            bans: self.gateway.bans().len(),
            uptime_seconds: self.began.elapsed().as_secs(),
            sessions: origins.iter().map(|origin| origin.sessions).sum(),
            listeners: listeners.collect(),
            certificate: in_force.certificates.status(now),
            origins,
            refusals,
            hosts: hosts.collect(),
        }
    }

    /// Where the time of each origin goes.
    pub(super) fn latency(&self) -> Listing<LatencyLine> {
        let policy = Arc::clone(&self.standing.borrow().policy);
        let meters = &self.gateway.meters;
        let bands = meters.bands();
        let figures = meters.figures();
        let items = figures.iter().map(|figures| {
            let mut origins = policy.origins().iter();
            let origin = origins.find(|origin| *origin.name == *figures.origin);
            let expected = origin.and_then(|origin| origin.expected_rtt);
            latency::line(figures, &bands, expected)
        });
        Listing {
            items: items.collect(),
        }
    }

    /// Looks closer at an origin for a while. `false`: there is none of this name.
    pub(super) fn watch(&self, origin: &str, long: Duration) -> bool {
        self.gateway.meters.watch(origin, long.min(LONGEST_WATCH))
    }

    pub(super) fn live_sessions(&self) -> Listing<SessionAnswer> {
        let now = SystemTime::now();
        let sessions = self.gateway.sessions();
        let items = sessions.iter().map(|line| SessionAnswer::of(line, now));
        Listing {
            items: items.collect(),
        }
    }

    /// Has a session end at its next message. `false`: there is none of this number.
    pub(super) fn end_session(&self, id: u64, by: &str) -> bool {
        let found = self.gateway.end_session(id);
        if found {
            self.decide_all_again();
            tracing::info!(target: AUDIT, event = "session_ended_by_operator", id, by);
        }
        found
    }

    pub(super) fn logins(&self) -> Listing<LoginAnswer> {
        let logins = self.gateway.logins();
        Listing {
            items: logins.iter().map(LoginAnswer::of).collect(),
        }
    }

    pub(super) fn bans(&self) -> Listing<BanAnswer> {
        let bans = self.gateway.bans();
        Listing {
            items: bans.iter().map(BanAnswer::of).collect(),
        }
    }

    /// Hears a source again. `false`: it is not banned.
    pub(super) fn lift_ban(&self, source: &str, by: &str) -> bool {
        let found = self.gateway.lift_ban(source);
        if found {
            tracing::info!(target: AUDIT, event = "ban_lifted", source, by);
        }
        found
    }

    /// For the service manager's status.
    pub(super) fn in_a_line(&self) -> String {
        let standing = self.standing.borrow();
        let (generation, origins) = (
            standing.policy.generation(),
            standing.policy.origins().len(),
        );
        let trouble = if self.lock().problem.is_some() {
            "; the file has errors, see doorward status"
        } else {
            ""
        };
        format!("generation {generation}, {origins} origins{trouble}")
    }

    /// How many sessions are live.
    pub(super) fn sessions(&self) -> u64 {
        let origins = self.gateway.meters.origins();
        origins.iter().map(|origin| origin.sessions).sum()
    }
}

/// However long somebody wants to watch: it costs every session of the origin a little.
const LONGEST_WATCH: Duration = Duration::from_secs(60 * 60);
