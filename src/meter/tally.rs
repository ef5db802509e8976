//! What a session has counted and not yet told. Floor 1.

use prometheus::local::LocalHistogram;

use super::{Beat, ListenerMeters, OriginMeters, Spent, Turn, nanos::Nanos};

/// Plain counters of one session: adding costs nothing that another core could see. Told about once a second.
#[derive(Debug)]
pub struct Tally {
    pub received: u64,
    pub transmitted: u64,
    pub spent: Spent,
    pub began: Beat,
    /// Whether the session is to be woken at the next beat.
    pub joined: bool,
    /// Turns that went straight into the shared histograms.
    shared: u8,
    /// Where many turns are gathered first.
    own: Option<Box<Own>>,
}

#[derive(Debug)]
struct Own {
    database: LocalHistogram,
    overhead: LocalHistogram,
}

impl Tally {
    pub fn begin(beat: Beat) -> Box<Self> {
        Box::new(Self {
            received: 0,
            transmitted: 0,
            spent: Spent::default(),
            began: beat,
            joined: false,
            shared: 0,
            own: None,
        })
    }

    /// A turn of several flights has no time of its own for each, so only single ones go into the histograms.
    pub fn turn(&mut self, turn: Turn, origin: &OriginMeters, listener: &ListenerMeters) {
        if turn.flights != 1 {
            return;
        }
        let (database, overhead) = (turn.database.as_secs_f64(), turn.gateway.as_secs_f64());
        if self.shared < FEW {
            self.shared += 1;
            origin.database_duration.observe(database);
            listener.overhead.observe(overhead);
            return;
        }
        let own = self.own.get_or_insert_with(|| {
            Box::new(Own {
                database: origin.database_duration.local(),
                overhead: listener.overhead.local(),
            })
        });
        own.database.observe(database);
        own.overhead.observe(overhead);
    }

    /// Tells the origin all of it, and gives what that was; what is open of a turn stays.
    pub fn tell(&mut self, origin: &OriginMeters) -> Spent {
        let spent = self.spent.hand_out();
        // told by being dropped
        drop(self.own.take());
        (self.shared, self.joined) = (0, false);
        let (received, transmitted) = (
            std::mem::take(&mut self.received),
            std::mem::take(&mut self.transmitted),
        );
        for (counter, count) in [
            (&origin.receive_bytes, received),
            (&origin.transmit_bytes, transmitted),
            (&origin.transactions, spent.transactions.into()),
            (&origin.flights, spent.flights.into()),
            (&origin.flights_pipelined, spent.pipelined.into()),
            (&origin.turns, spent.turns.into()),
            (&origin.bursts, spent.bursts.into()),
        ] {
            if count > 0 {
                counter.inc_by(count);
            }
        }
        for (seconds, time) in [
            (&origin.network_client, spent.network_client),
            (&origin.network_upstream, spent.network_upstream),
            (&origin.database_seconds, spent.database),
            (&origin.transfer_seconds, spent.transfer),
            (&origin.transfer_estimated_seconds, spent.transfer_estimated),
            (&origin.request_seconds, spent.request),
            (&origin.think_seconds, spent.think),
            (
                &origin.idle_in_transaction_seconds,
                spent.idle_in_transaction,
            ),
        ] {
            if time > Nanos::ZERO {
                seconds.inc_by(time.as_secs_f64());
            }
        }
        spent
    }
}

/// So many turns a second cost less in the shared histograms than memory of their own would.
const FEW: u8 = 16;
