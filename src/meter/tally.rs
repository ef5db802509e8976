//! What a session has counted and not yet told. Floor 1.

use std::time::Duration;

use prometheus::local::LocalHistogram;

use super::{ListenerMeters, OriginMeters};

/// Plain counters of one session: adding costs nothing that another core could see. Flushed at most once a second.
#[derive(Debug)]
pub struct Tally {
    pub receive_bytes: u64,
    pub transmit_bytes: u64,
    pub flights: u64,
    pub flights_pipelined: u64,
    pub transactions: u64,
    pub network_client: Duration,
    pub network_upstream: Duration,
    pub database: Duration,
    pub transfer: Duration,
    pub request: Duration,
    pub think: Duration,
    pub idle_in_transaction: Duration,
    pub database_duration: LocalHistogram,
    pub overhead: LocalHistogram,
}

impl Tally {
    pub fn new(origin: &OriginMeters, listener: &ListenerMeters) -> Self {
        Self {
            receive_bytes: 0,
            transmit_bytes: 0,
            flights: 0,
            flights_pipelined: 0,
            transactions: 0,
            network_client: Duration::ZERO,
            network_upstream: Duration::ZERO,
            database: Duration::ZERO,
            transfer: Duration::ZERO,
            request: Duration::ZERO,
            think: Duration::ZERO,
            idle_in_transaction: Duration::ZERO,
            database_duration: origin.database_duration.local(),
            overhead: listener.local_overhead(),
        }
    }

    /// Tells it all, and begins at zero.
    pub fn flush(&mut self, origin: &OriginMeters) {
        for (counter, count) in [
            (&origin.receive_bytes, &mut self.receive_bytes),
            (&origin.transmit_bytes, &mut self.transmit_bytes),
            (&origin.flights, &mut self.flights),
            (&origin.flights_pipelined, &mut self.flights_pipelined),
            (&origin.transactions, &mut self.transactions),
        ] {
            counter.inc_by(std::mem::take(count));
        }
        for (seconds, time) in [
            (&origin.network_client, &mut self.network_client),
            (&origin.network_upstream, &mut self.network_upstream),
            (&origin.database_seconds, &mut self.database),
            (&origin.transfer_seconds, &mut self.transfer),
            (&origin.request_seconds, &mut self.request),
            (&origin.think_seconds, &mut self.think),
            (
                &origin.idle_in_transaction_seconds,
                &mut self.idle_in_transaction,
            ),
        ] {
            let time = std::mem::take(time);
            if !time.is_zero() {
                seconds.inc_by(time.as_secs_f64());
            }
        }
        self.database_duration.flush();
        self.overhead.flush();
    }
}
