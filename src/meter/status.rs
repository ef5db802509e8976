//! What `doorward status` shows of the meters. Floor 1.

use std::{collections::HashMap, time::Duration};

use prometheus::{core::Collector, proto::MetricFamily};

use super::families::Families;

/// One origin on one listener, since the start of the gateway or the declaration of the origin.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginStatus {
    pub listener: String,
    pub origin: String,
    pub sessions: u64,
    /// Of the recent connections' minima; `None` before the first.
    pub rtt_least: Option<Duration>,
    /// Weighted by flights.
    pub rtt_p50: Option<Duration>,
    pub rtt_p90: Option<Duration>,
    pub expected_rtt: Option<Duration>,
    /// It was longer for five minutes.
    pub rtt_exceeded: bool,
    pub flights: u64,
    pub database_seconds: f64,
    pub network_client_seconds: f64,
    pub network_upstream_seconds: f64,
    pub transfer_seconds: f64,
    pub receive_bytes: u64,
    pub transmit_bytes: u64,
    /// Seconds since the epoch; `None` for never.
    pub last_seen: Option<u64>,
}

impl OriginStatus {
    /// The part of network and database time that the network takes, 0 to 1; `None` before the first flight.
    pub fn network_share(&self) -> Option<f64> {
        let network = self.network_client_seconds + self.network_upstream_seconds;
        let both = network + self.database_seconds;
        (both > 0.0).then(|| network / both)
    }
}

/// How often one reason refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    pub reason: String,
    pub count: u64,
}

pub(super) fn refusals(families: &Families) -> Vec<Refusals> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for printed in families
        .decisions
        .collect()
        .iter()
        .flat_map(MetricFamily::get_metric)
    {
        let value = |name: &str| {
            let mut labels = printed.get_label().iter();
            labels
                .find(|label| label.name() == name)
                .map(|label| label.value().to_owned())
        };
        let Some(reason) = value("reason").filter(|_| value("decision").as_deref() == Some("deny"))
        else {
            continue;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, printed as f64"
        )]
        let count = printed.get_counter().get_value() as u64;
        *counts.entry(reason).or_default() += count;
    }
    let mut all: Vec<_> = counts
        .into_iter()
        .map(|(reason, count)| Refusals { reason, count })
        .collect();
    all.sort_by(|a, b| (b.count, &a.reason).cmp(&(a.count, &b.reason)));
    all
}
