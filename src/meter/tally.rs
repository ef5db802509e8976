//! What a session has counted and not yet told. Floor 1.

use prometheus::local::LocalHistogram;

use super::{ListenerMeters, OriginMeters, Spent, Turn};

/// Plain counters of one session: adding costs nothing that another core could see. Told at most once a second.
#[derive(Debug)]
pub struct Tally {
    pub received: u64,
    pub transmitted: u64,
    pub transactions: u64,
    pub spent: Spent,
    database: LocalHistogram,
    overhead: LocalHistogram,
}

impl Tally {
    pub fn new(origin: &OriginMeters, listener: &ListenerMeters) -> Self {
        Self {
            received: 0,
            transmitted: 0,
            transactions: 0,
            spent: Spent::default(),
            database: origin.database_duration.local(),
            overhead: listener.local_overhead(),
        }
    }

    /// A turn of several flights has no time of its own for each, so only single ones go into the histograms.
    pub fn turn(&mut self, turn: Turn) {
        if turn.flights == 1 {
            self.database.observe(turn.database.as_secs_f64());
            self.overhead.observe(turn.gateway.as_secs_f64());
        }
    }

    /// Tells the origin all of it, and begins at zero.
    pub fn tell(&mut self, origin: &OriginMeters) {
        let spent = std::mem::take(&mut self.spent);
        for (counter, count) in [
            (&origin.receive_bytes, std::mem::take(&mut self.received)),
            (
                &origin.transmit_bytes,
                std::mem::take(&mut self.transmitted),
            ),
            (&origin.transactions, std::mem::take(&mut self.transactions)),
            (&origin.flights, spent.flights),
            (&origin.flights_pipelined, spent.pipelined),
            (&origin.bursts, spent.bursts),
        ] {
            counter.inc_by(count);
        }
        for (seconds, time) in [
            (&origin.network_client, spent.network_client),
            (&origin.network_upstream, spent.network_upstream),
            (&origin.database_seconds, spent.database),
            (&origin.transfer_seconds, spent.transfer),
            (&origin.request_seconds, spent.request),
            (&origin.think_seconds, spent.think),
            (
                &origin.idle_in_transaction_seconds,
                spent.idle_in_transaction,
            ),
        ] {
            if !time.is_zero() {
                seconds.inc_by(time.as_secs_f64());
            }
        }
        self.database.flush();
        self.overhead.flush();
    }
}
