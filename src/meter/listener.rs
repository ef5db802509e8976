//! The handles of one listener and the server behind it. Floor 1.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::{
    Sweep,
    families::{Families, child},
};

#[derive(Debug)]
pub struct ListenerMeters {
    name: Box<str>,
    families: Arc<Families>,
    accepted: IntCounter,
    probes: IntCounter,
    openings: IntGauge,
    phases: [Histogram; Phase::ALL.len()],
    pub(super) overhead: Histogram,
    sweep: Arc<Sweep>,
    /// Unknown until somebody has asked, and then it has a series: an idle gateway is no alarm.
    upstream_up: OnceLock<IntGauge>,
    /// Only of MySQL: it has a series from the server's first greeting or refusal on.
    upstream_host_blocked: OnceLock<IntGauge>,
    upstream_rtt: Gauge,
    upstream_connect: Histogram,
    frames_lost: IntCounter,
}

/// What an opening consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The TLS handshake.
    Tls,
    /// From accept to the decision.
    Opening,
    /// Connecting to the server.
    Dial,
    /// From the dialled server to its yes.
    Login,
}

/// An opening in progress: counted while it lives.
#[derive(Debug)]
pub struct Opening(IntGauge);

impl ListenerMeters {
    pub(super) fn new(families: &Arc<Families>, sweep: &Arc<Sweep>, name: &str) -> Self {
        let of = [name];
        for version in ["1.2", "1.3"] {
            child(&families.tls_handshakes, &[name, version, "success"]);
        }
        child(&families.tls_handshakes, &[name, "none", "failure"]);
        Self {
            name: name.into(),
            accepted: child(&families.connections_accepted, &of),
            probes: child(&families.probes, &of),
            openings: child(&families.openings_in_progress, &of),
            phases: Phase::ALL
                .map(|phase| child(&families.opening_duration, &[name, phase.label()])),
            sweep: Arc::clone(sweep),
            overhead: child(&families.gateway_overhead, &of),
            upstream_up: OnceLock::new(),
            upstream_host_blocked: OnceLock::new(),
            upstream_rtt: child(&families.upstream_rtt, &of),
            upstream_connect: child(&families.upstream_connect_duration, &of),
            frames_lost: child(&families.frames_lost, &of),
            families: Arc::clone(families),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection was accepted; its opening lasts until the value is dropped.
    pub fn accepted(&self) -> Opening {
        self.accepted.inc();
        self.openings.inc();
        Opening(self.openings.clone())
    }

    /// The client closed before it had sent a byte: somebody's health check.
    pub fn probe(&self) {
        self.probes.inc();
    }

    pub fn phase(&self, phase: Phase, took: Duration) {
        if let Some(histogram) = self.phases.get(phase as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// A handshake with a client: the version it ended in (`1.2`, `1.3`), or `None` where it failed.
    pub fn tls_handshake(&self, version: Option<&'static str>) {
        let (version, result) = version.map_or(("none", "failure"), |version| (version, "success"));
        child(
            &self.families.tls_handshakes,
            &[&self.name, version, result],
        )
        .inc();
    }

    /// The server took a connection, after this time; `rtt` is the kernel's least round-trip time of it.
    pub fn upstream_connected(&self, took: Duration, rtt: Option<Duration>) {
        self.upstream_up(true);
        self.upstream_connect.observe(took.as_secs_f64());
        if let Some(rtt) = rtt {
            self.upstream_rtt(rtt);
        }
    }

    /// The kernel's least round-trip time of a connection to the server; zero for a unix socket.
    pub fn upstream_rtt(&self, rtt: Duration) {
        self.upstream_rtt.set(rtt.as_secs_f64());
    }

    /// `reason` is a word of a closed set, such as `refused` or `timeout`.
    pub fn upstream_failed(&self, reason: &'static str) {
        self.upstream_up(false);
        child(
            &self.families.upstream_connect_failures,
            &[&self.name, reason],
        )
        .inc();
    }

    /// What the last probe found.
    pub fn upstream_up(&self, up: bool) {
        let gauge = || child(&self.families.upstream_up, &[&*self.name]);
        self.upstream_up.get_or_init(gauge).set(i64::from(up));
    }

    /// Whether the server took the last connection; `None` before the first.
    pub fn upstream_is_up(&self) -> Option<bool> {
        self.upstream_up.get().map(|gauge| gauge.get() == 1)
    }

    /// Whether the server refuses the gateway's own address, as it has just shown.
    pub fn host_blocked(&self, blocked: bool) {
        let gauge = || child(&self.families.upstream_host_blocked, &[&*self.name]);
        let gauge = self.upstream_host_blocked.get_or_init(gauge);
        gauge.set(i64::from(blocked));
    }

    /// Whether the server refused the gateway's own address when it was last dialled.
    pub fn host_is_blocked(&self) -> bool {
        let gauge = self.upstream_host_blocked.get();
        gauge.is_some_and(|gauge| gauge.get() == 1)
    }

    /// A cancel request and what became of it: a word of a closed set, such as `forwarded` or `refused`.
    pub fn cancel(&self, result: &'static str) {
        child(&self.families.cancels, &[&self.name, result]).inc();
    }

    /// A session whose bytes stopped making sense as messages.
    pub fn frame_lost(&self) {
        self.frames_lost.inc();
    }

    /// The beat at which sessions tell.
    #[inline]
    pub fn sweep(&self) -> &Sweep {
        &self.sweep
    }
}

impl Phase {
    const ALL: [Self; 4] = [Self::Tls, Self::Opening, Self::Dial, Self::Login];

    const fn label(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Opening => "opening",
            Self::Dial => "dial",
            Self::Login => "login",
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.dec();
    }
}
