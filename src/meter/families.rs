//! Every metric family, by name and label. Floor 1. Prefix `doorward_`, base units, label sets that are closed.

use std::sync::Arc;

use prometheus::{
    CounterVec, GaugeVec, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    core::{MetricVec, MetricVecBuilder},
};

use super::{
    by_origin::ByOrigin,
    maker::{DATABASE, LIFETIME, Maker, OPENING, OVERHEAD, RTT},
};

/// The families. Children are handed out by [`super::Meters`], which knows who may be a label.
#[derive(Clone, Debug)]
pub(super) struct Families {
    pub(super) build_info: IntGaugeVec,
    pub(super) config_reloads: IntCounterVec,
    pub(super) config_last_reload_successful: IntGauge,
    pub(super) config_last_reload_success_timestamp: IntGauge,
    pub(super) config_generation: IntGauge,
    pub(super) config_differs: IntGauge,
    pub(super) policy_mode: IntGaugeVec,
    pub(super) origins_observed: IntGauge,
    pub(super) dns_hosts: IntGaugeVec,
    pub(super) dns_lookups: IntCounterVec,
    pub(super) dns_addresses: IntGaugeVec,
    pub(super) dns_last_success: IntGaugeVec,

    pub(super) connections_accepted: IntCounterVec,
    pub(super) probes: IntCounterVec,
    pub(super) accept_errors: IntCounterVec,
    pub(super) log_events_dropped: IntCounterVec,
    pub(super) openings_in_progress: IntGaugeVec,
    pub(super) opening_duration: HistogramVec,
    pub(super) tls_handshakes: IntCounterVec,
    pub(super) tls_certificate_expiry: IntGaugeVec,
    pub(super) gateway_overhead: HistogramVec,
    pub(super) upstream_up: IntGaugeVec,
    pub(super) upstream_host_blocked: IntGaugeVec,
    pub(super) upstream_rtt: GaugeVec,
    pub(super) upstream_connect_duration: HistogramVec,
    pub(super) upstream_connect_failures: IntCounterVec,
    pub(super) cancels: IntCounterVec,
    pub(super) frames_lost: IntCounterVec,

    pub(super) bans: IntGauge,
    pub(super) banned: IntCounterVec,
    pub(super) decisions: IntCounterVec,
    pub(super) would_deny: IntCounterVec,
    pub(super) connections: IntGaugeVec,
    pub(super) connections_limit: IntGaugeVec,
    pub(super) connection_duration: HistogramVec,
    pub(super) connections_closed: IntCounterVec,
    pub(super) sessions_revoked: IntCounterVec,
    pub(super) auth_failures: IntCounterVec,
    pub(super) client_rtt: HistogramVec,
    pub(super) client_rtt_min: GaugeVec,
    pub(super) client_retransmits: IntCounterVec,
    pub(super) database_duration: HistogramVec,
    pub(super) flights: IntCounterVec,
    pub(super) flights_pipelined: IntCounterVec,
    pub(super) turns: IntCounterVec,
    pub(super) pages: IntCounterVec,
    pub(super) bursts: IntCounterVec,
    pub(super) transactions: IntCounterVec,
    pub(super) connect_round_trips: IntCounterVec,
    pub(super) connect_seconds: CounterVec,
    pub(super) network_seconds: CounterVec,
    pub(super) database_seconds: CounterVec,
    pub(super) transfer_seconds: CounterVec,
    pub(super) transfer_estimated_seconds: CounterVec,
    pub(super) request_seconds: CounterVec,
    pub(super) think_seconds: CounterVec,
    pub(super) idle_in_transaction_seconds: CounterVec,
    pub(super) receive_bytes: IntCounterVec,
    pub(super) transmit_bytes: IntCounterVec,
    pub(super) origin_last_seen: IntGaugeVec,
    pub(super) origin_expiry: IntGaugeVec,
    pub(super) origin_place: IntGaugeVec,
    pub(super) origin_expected_rtt: GaugeVec,
    pub(super) origin_rtt_exceeded: IntGaugeVec,

    /// Those of them with the label `origin`.
    by_origin: Arc<[Box<dyn ByOrigin>]>,
}

impl Families {
    #[expect(clippy::too_many_lines, reason = "one line of facts for each family")]
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let mut new = Maker::new(registry);
        Ok(Self {
            build_info: new.gauges(
                "build_info",
                "Always 1; the build is in the labels",
                &["version", "commit"],
            )?,
            config_reloads: new.counters(
                "config_reloads_total",
                "Reloads of the configuration",
                &["result"],
            )?,
            config_last_reload_successful: new.gauge(
                "config_last_reload_successful",
                "Whether the last reload was taken",
            )?,
            config_last_reload_success_timestamp: new.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When a configuration was last taken",
            )?,
            config_generation: new.gauge(
                "config_generation",
                "The generation of the policy in force",
            )?,
            config_differs: new.gauge(
                "config_differs",
                "Whether a file of the allowlist is another than what is in force",
            )?,
            policy_mode: new.gauges(
                "policy_mode",
                "1 for the way the whole policy works: it refuses, or only records",
                &["mode"],
            )?,
            origins_observed: new.gauge(
                "origins_observed",
                "Origins whose proof, limits and TLS are on trial",
            )?,
            dns_hosts: new.gauges(
                "dns_hosts",
                "Hosts that origins name; stale ones let nobody new in, unknown ones nobody",
                &["state"],
            )?,
            dns_lookups: new.counters(
                "dns_lookups_total",
                "Look-ups of hosts that origins name, both families as one; a failure is one in which a family got no answer",
                &["result"],
            )?,
            dns_addresses: new.gauges(
                "dns_addresses",
                "Addresses that clients may come from because DNS has them for a host of the origin; absent where it names none",
                &["origin"],
            )?,
            dns_last_success: new.gauges(
                "dns_last_success_timestamp_seconds",
                "When DNS last answered for a host of the origin, of several the longest ago; 0 until all were answered, absent where it names none",
                &["origin"],
            )?,

            connections_accepted: new.counters(
                "connections_accepted_total",
                "Connections accepted, whatever became of them",
                LISTENER,
            )?,
            probes: new.counters(
                "probes_total",
                "Connections closed by the client before a first byte: health checks",
                LISTENER,
            )?,
            accept_errors: new.counters(
                "accept_errors_total",
                "Failures of accept()",
                &["reason"],
            )?,
            log_events_dropped: new.counters(
                "log_events_dropped_total",
                "Log lines that were not written",
                &["sink"],
            )?,
            openings_in_progress: new.gauges(
                "openings_in_progress",
                "Connections between accept and their session or refusal",
                LISTENER,
            )?,
            opening_duration: new.histograms(
                "opening_duration_seconds",
                "The phases of an opening",
                &["listener", "phase"],
                OPENING,
            )?,
            tls_handshakes: new.counters(
                "tls_handshakes_total",
                "TLS handshakes with clients",
                &["listener", "version", "result"],
            )?,
            tls_certificate_expiry: new.gauges(
                "tls_certificate_expiry_timestamp_seconds",
                "When a certificate ends",
                &["kind"],
            )?,
            gateway_overhead: new.histograms(
                "gateway_overhead_seconds",
                "Time a flight spent in the gateway itself",
                LISTENER,
                OVERHEAD,
            )?,
            upstream_up: new.gauges(
                "upstream_up",
                "Whether the server answered the last probe or connection",
                LISTENER,
            )?,
            upstream_host_blocked: new.gauges(
                "upstream_host_blocked",
                "Whether the server refuses the gateway's own address for its connection errors (MySQL's error 1129)",
                LISTENER,
            )?,
            upstream_rtt: new.seconds_gauges(
                "upstream_rtt_seconds",
                "The kernel's least round-trip time to the server on the session that began last; 0 before the first, and for a unix socket",
                LISTENER,
            )?,
            upstream_connect_duration: new.histograms(
                "upstream_connect_duration_seconds",
                "Time to connect to the server",
                LISTENER,
                OPENING,
            )?,
            upstream_connect_failures: new.counters(
                "upstream_connect_failures_total",
                "Connections to the server that failed",
                &["listener", "reason"],
            )?,
            cancels: new.counters(
                "cancels_total",
                "Cancel requests",
                &["listener", "result"],
            )?,
            frames_lost: new.counters(
                "frames_lost_total",
                "Sessions whose bytes stopped making sense as messages; they were forwarded all the same",
                LISTENER,
            )?,

            bans: new.gauge("bans", "Sources of strangers that are not heard now")?,
            banned: new.counters("bans_total", "Bans of strangers", &["cause"])?,
            decisions: new.counters(
                "decisions_total",
                "Connections admitted and refused",
                &["listener", "origin", "decision", "reason"],
            )?,
            would_deny: new.counters(
                "would_deny_total",
                "Sessions admitted that would be refused but for an observation",
                &["listener", "origin", "reason"],
            )?,
            connections: new.gauges("connections", "Live sessions", ORIGIN)?,
            connections_limit: new.gauges(
                "connections_limit",
                "Sessions the origin may have; absent without a limit",
                ORIGIN,
            )?,
            connection_duration: new.histograms(
                "connection_duration_seconds",
                "From accept to the end of the session",
                ORIGIN,
                LIFETIME,
            )?,
            connections_closed: new.counters(
                "connections_closed_total",
                "Sessions that ended",
                &["listener", "origin", "cause"],
            )?,
            sessions_revoked: new.counters(
                "sessions_revoked_total",
                "Sessions ended because the policy admits them no longer",
                &["origin", "cause"],
            )?,
            auth_failures: new.counters(
                "auth_failures_total",
                "Logins that the server refused",
                ORIGIN,
            )?,
            client_rtt: new.histograms(
                "client_rtt_seconds",
                "The kernel's least round-trip time of a client connection (tcpi_min_rtt), sampled when its session begins, each half minute with traffic, and at its end; of the last hop where TCP ends in between",
                ORIGIN,
                RTT,
            )?,
            client_rtt_min: new.seconds_gauges(
                "client_rtt_min_seconds",
                "The least of the latest 128 samples of client_rtt_seconds on each of the origin's listeners; 0 before the first",
                &["origin"],
            )?,
            client_retransmits: new.counters(
                "client_retransmits_total",
                "TCP segments that the kernel had to send to clients again",
                &["origin"],
            )?,
            database_duration: new.histograms(
                "database_duration_seconds",
                "Time a flight waited for the database, without the round trip to it; flights of a pipeline are left out",
                ORIGIN,
                DATABASE,
            )?,
            flights: new.counters(
                "flights_total",
                "Requests up to the point where the client waits, with their answers",
                ORIGIN,
            )?,
            flights_pipelined: new.counters(
                "flights_pipelined_total",
                "Flights sent while others were unanswered; not in the histogram",
                ORIGIN,
            )?,
            turns: new.counters(
                "turns_total",
                "Flights sent while nothing was outstanding, each with what was pipelined behind it: they cost a round trip",
                ORIGIN,
            )?,
            pages: new.counters(
                "pages_total",
                "Sessions that the client closed right after an answer, within a minute of its start: a connection for each request",
                ORIGIN,
            )?,
            bursts: new.counters(
                "bursts_total",
                "Runs of flights whose pauses are below 50 ms and five round trips of the client, whichever is more",
                ORIGIN,
            )?,
            transactions: new.counters("transactions_total", "Transactions that ended", ORIGIN)?,
            connect_round_trips: new.counters(
                "connect_round_trips_total",
                "Round trips of clients that admitted openings took, TCP's own included",
                ORIGIN,
            )?,
            connect_seconds: new.seconds(
                "connect_seconds_total",
                "Time that clients waited for a session, from their first packet to the database's yes; its round trips are in network_seconds_total too",
                ORIGIN,
            )?,
            network_seconds: new.seconds(
                "network_seconds_total",
                "Turns times the least round-trip time of the leg, those of openings with them. A lower bound: queues and loss come on top",
                &["listener", "origin", "leg"],
            )?,
            database_seconds: new.seconds(
                "database_seconds_total",
                "Time in which sessions waited for the database with nothing to write, without the round trips to it",
                ORIGIN,
            )?,
            transfer_seconds: new.seconds(
                "transfer_seconds_total",
                "Time answers waited for the client to take them, with the round trips of both legs that large ones take, estimated by their size",
                ORIGIN,
            )?,
            transfer_estimated_seconds: new.seconds(
                "transfer_estimated_seconds_total",
                "The estimated part of transfer_seconds_total: round trips in which TCP opens its window",
                ORIGIN,
            )?,
            request_seconds: new.seconds(
                "request_seconds_total",
                "Time from a request's first byte to its last, and of large ones, by estimate, on to the database: uploads and COPY IN",
                ORIGIN,
            )?,
            think_seconds: new.seconds(
                "think_seconds_total",
                "Time between an answer and the next request of a burst, the round trip taken off",
                ORIGIN,
            )?,
            idle_in_transaction_seconds: new.seconds(
                "idle_in_transaction_seconds_total",
                "Time between an answer and the next request inside a transaction, in which its locks are held",
                ORIGIN,
            )?,
            receive_bytes: new.counters("receive_bytes_total", "Bytes from clients", ORIGIN)?,
            transmit_bytes: new.counters("transmit_bytes_total", "Bytes to clients", ORIGIN)?,
            origin_last_seen: new.gauges(
                "origin_last_seen_timestamp_seconds",
                "When a session of the origin last began or ended; 0 for never",
                &["origin"],
            )?,
            origin_expiry: new.gauges(
                "origin_expiry_timestamp_seconds",
                "When the origin expires; absent without an end",
                &["origin"],
            )?,
            origin_place: new.gauges(
                "origin_place",
                "1 for how far half of the origin's recent flights come from (`latency.places`), of several listeners the farthest; 0 for all where nothing can be claimed",
                &["origin", "place"],
            )?,
            origin_expected_rtt: new.seconds_gauges(
                "origin_expected_rtt_seconds",
                "The longest round trip that is expected of the origin (`expect`); absent without an expectation",
                &["origin"],
            )?,
            origin_rtt_exceeded: new.gauges(
                "origin_rtt_exceeded",
                "1 after five minutes in which a tenth of the flights or more had a longer round trip than is expected, until it holds again; absent without an expectation",
                ORIGIN,
            )?,
            // last, when all are made
            by_origin: new.by_origin(),
        })
    }

    /// Forgets every child whose origin is gone: `keep` is asked with a child's listener, where it has one, and its origin.
    pub(super) fn retain(&self, keep: &dyn Fn(Option<&str>, &str) -> bool) {
        for family in &*self.by_origin {
            family.retain(keep);
        }
    }
}

/// The child of a family with these labels, made where it is not there yet.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where labels become handles"
)]
pub(super) fn child<B: MetricVecBuilder>(family: &MetricVec<B>, labels: &[&str]) -> B::M {
    family.with_label_values(labels)
}

const LISTENER: &[&str] = &["listener"];
const ORIGIN: &[&str] = &["listener", "origin"];
