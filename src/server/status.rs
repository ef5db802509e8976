//! What `doorward status` shows: the figures of a running gateway as plain values. Floor 4.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lookout::Observing;
use crate::{
    meter::{Meters, OriginStatus},
    net::resolver::HostState,
    policy::Freshness,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// Counts the configurations since the start, from 1.
    pub generation: u64,
    /// RFC 3339, in UTC.
    pub loaded: String,
    /// Where the configuration in force is from.
    pub source: String,
    /// What is wrong with the file, where the last attempt to use it failed.
    pub problem: Option<String>,
    /// The files of the allowlist that are no longer what is in force.
    #[serde(default)]
    pub differs: Vec<String>,
    #[serde(default)]
    pub observing: Observing,
    /// Sources of strangers that are not heard.
    #[serde(default)]
    pub bans: usize,
    pub uptime_seconds: u64,
    pub sessions: u64,
    pub listeners: Vec<ListenerStatus>,
    pub certificate: CertificateStatus,
    pub origins: Vec<OriginLine>,
    pub refusals: Vec<RefusalLine>,
    /// What DNS says of the hosts that rules name.
    #[serde(default)]
    pub hosts: Vec<HostLine>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLine {
    pub host: String,
    pub addresses: Vec<String>,
    /// Answers that lead inside; they count only for the rules that ask for them.
    pub inward: Vec<String>,
    /// `fresh`, `stale`, or `unknown` until somebody has answered.
    pub state: String,
    /// Why the last question was not answered, or what is strange about the answer.
    pub trouble: Option<String>,
}

impl HostLine {
    pub(super) fn of(host: &str, state: &HostState) -> Self {
        let texts = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect();
        Self {
            host: host.to_owned(),
            addresses: texts(&state.addresses),
            inward: texts(&state.inward),
            state: match state.freshness {
                Some(Freshness::Fresh { .. } | Freshness::Given) => "fresh",
                Some(Freshness::Stale { .. }) => "stale",
                None => "unknown",
            }
            .to_owned(),
            trouble: state.error.clone().or_else(|| state.warning.clone()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    pub name: String,
    pub protocol: String,
    pub listen: Vec<String>,
    pub upstream: String,
    pub upstream_up: bool,
}

/// What clients see that want no name of the further ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    #[serde(flatten)]
    pub lasts: Lasts,
    /// What clients must trust, where the gateway made it itself.
    pub ca: Option<String>,
    #[serde(default)]
    pub further: Vec<FurtherCertificate>,
}

/// What clients see that want one of its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FurtherCertificate {
    pub names: Vec<String>,
    #[serde(flatten)]
    pub lasts: Lasts,
}

/// How long a certificate is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lasts {
    /// RFC 3339, in UTC.
    pub ends: String,
    /// Whole days until then; negative afterwards.
    pub days_left: i64,
}

/// One origin on one listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginLine {
    pub origin: String,
    pub listener: String,
    pub sessions: u64,
    /// The median of the recent connections' least round trips, weighted by flights.
    pub rtt_p50_ms: Option<f64>,
    pub rtt_least_ms: Option<f64>,
    /// The longest round trip that is expected.
    #[serde(default)]
    pub expected_rtt_ms: Option<f64>,
    /// It was longer for five minutes.
    #[serde(default)]
    pub rtt_exceeded: bool,
    pub flights: u64,
    pub database_seconds: f64,
    pub network_seconds: f64,
    /// The network's part of both, 0 to 1.
    pub network_share: Option<f64>,
    pub receive_bytes: u64,
    pub transmit_bytes: u64,
    /// RFC 3339, in UTC.
    pub last_seen: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalLine {
    pub reason: String,
    pub count: u64,
}

impl Lasts {
    pub(super) fn until(ends: SystemTime, now: SystemTime) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let left = match ends.duration_since(now) {
            Ok(left) => seconds(left),
            Err(over) => -seconds(over.duration()),
        };
        Self {
            ends: rfc3339(ends),
            days_left: left.div_euclid(24 * 60 * 60),
        }
    }
}

/// The origins' lines and the refusals.
pub(super) fn figures(meters: &Meters) -> (Vec<OriginLine>, Vec<RefusalLine>) {
    let origins = meters.origins().into_iter().map(OriginLine::from).collect();
    let refusals = meters.refusals().into_iter();
    let refusals = refusals.map(|one| RefusalLine {
        reason: one.reason,
        count: one.count,
    });
    (origins, refusals.collect())
}

impl From<OriginStatus> for OriginLine {
    fn from(status: OriginStatus) -> Self {
        let millis = |rtt: Duration| rtt.as_secs_f64() * 1000.0;
        let last_seen = status.last_seen.map(Duration::from_secs);
        Self {
            network_share: status.network_share(),
            rtt_p50_ms: status.rtt_p50.map(millis),
            rtt_least_ms: status.rtt_least.map(millis),
            expected_rtt_ms: status.expected_rtt.map(millis),
            rtt_exceeded: status.rtt_exceeded,
            last_seen: last_seen.map(|at| rfc3339(SystemTime::UNIX_EPOCH + at)),
            network_seconds: status.network_client_seconds + status.network_upstream_seconds,
            database_seconds: status.database_seconds,
            flights: status.flights,
            sessions: status.sessions,
            receive_bytes: status.receive_bytes,
            transmit_bytes: status.transmit_bytes,
            origin: status.origin,
            listener: status.listener,
        }
    }
}

/// Whole seconds, in UTC.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    Timestamp::try_from(at)
        .and_then(|at| at.round(jiff::Unit::Second))
        .map_or_else(|_out_of_range| "unknown".to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_of_a_certificate_are_whole_and_negative_when_it_has_ended() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let day = Duration::from_secs(24 * 60 * 60);
        let days = |ends| Lasts::until(ends, now).days_left;
        assert_eq!(days(now + day * 3 + day / 2), 3);
        assert_eq!(days(now + day / 2), 0);
        assert_eq!(days(now - day / 2), -1);
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
