//! What an origin has counted. Floor 1.

/// The sums of one origin on one listener since it was declared; they only grow. Two of them subtracted are what happened between.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Sessions that began, and that ended.
    pub sessions: u64,
    pub closed: u64,
    /// Sessions that the client closed right after an answer and soon after their start: a connection for each request.
    pub pages: u64,
    pub flights_of_pages: u64,
    pub flights: u64,
    /// Of these, sent while others were outstanding.
    pub pipelined: u64,
    /// What costs a round trip: a flight with all that was pipelined behind it.
    pub turns: u64,
    /// Runs of flights without a longer pause.
    pub bursts: u64,
    pub transactions: u64,
    /// Round trips of openings, of the clients and to the database.
    pub connect_turns: u64,
    pub connect_turns_upstream: u64,
    /// From the clients' first packets until they knew of the database's yes.
    pub connecting_seconds: f64,
    /// The round trips of this on both legs, which are part of the network's seconds too, and of these those to the database.
    pub connecting_network_seconds: f64,
    pub connecting_upstream_seconds: f64,
    pub network_client_seconds: f64,
    pub network_upstream_seconds: f64,
    pub database_seconds: f64,
    pub transfer_seconds: f64,
    /// Of this, estimated by the size of answers.
    pub transfer_estimated_seconds: f64,
    pub request_seconds: f64,
    pub think_seconds: f64,
    pub idle_in_transaction_seconds: f64,
    /// Segments sent again to clients.
    pub retransmits: u64,
    pub received: u64,
    pub transmitted: u64,
}

impl Totals {
    /// What happened since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let count = |of: fn(&Self) -> u64| of(self).saturating_sub(of(earlier));
        let seconds = |of: fn(&Self) -> f64| (of(self) - of(earlier)).max(0.0);
        Self {
            sessions: count(|t| t.sessions),
            closed: count(|t| t.closed),
            pages: count(|t| t.pages),
            flights_of_pages: count(|t| t.flights_of_pages),
            flights: count(|t| t.flights),
            pipelined: count(|t| t.pipelined),
            turns: count(|t| t.turns),
            bursts: count(|t| t.bursts),
            transactions: count(|t| t.transactions),
            connect_turns: count(|t| t.connect_turns),
            connect_turns_upstream: count(|t| t.connect_turns_upstream),
            connecting_seconds: seconds(|t| t.connecting_seconds),
            connecting_network_seconds: seconds(|t| t.connecting_network_seconds),
            connecting_upstream_seconds: seconds(|t| t.connecting_upstream_seconds),
            network_client_seconds: seconds(|t| t.network_client_seconds),
            network_upstream_seconds: seconds(|t| t.network_upstream_seconds),
            database_seconds: seconds(|t| t.database_seconds),
            transfer_seconds: seconds(|t| t.transfer_seconds),
            transfer_estimated_seconds: seconds(|t| t.transfer_estimated_seconds),
            request_seconds: seconds(|t| t.request_seconds),
            think_seconds: seconds(|t| t.think_seconds),
            idle_in_transaction_seconds: seconds(|t| t.idle_in_transaction_seconds),
            retransmits: count(|t| t.retransmits),
            received: count(|t| t.received),
            transmitted: count(|t| t.transmitted),
        }
    }

    /// Both legs, openings with them.
    pub fn network_seconds(&self) -> f64 {
        self.network_client_seconds + self.network_upstream_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_between_is_never_less_than_nothing() {
        let earlier = Totals {
            flights: 5,
            database_seconds: 2.0,
            ..Totals::default()
        };
        let later = Totals {
            flights: 7,
            database_seconds: 1.0,
            pages: 1,
            ..Totals::default()
        };
        let between = later.since(&earlier);
        assert_eq!((between.flights, between.pages), (2, 1));
        assert!(between.database_seconds.abs() < f64::EPSILON);
    }
}
