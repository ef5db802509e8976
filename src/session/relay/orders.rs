//! What a session tells its relay from outside. Floor 3.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::meter::{OriginMeters, Spent};

/// What the session tells its relay from outside.
pub trait Orders: Unpin {
    /// Asked at every turn of the relay, so it must cost next to nothing as long as there is no order.
    fn poll_order(&mut self, cx: &mut Context<'_>) -> Poll<Order>;

    /// The session has told its numbers, about once a second while it has any.
    fn told(&mut self, _numbers: &Told) {}

    /// Whether a client that is gone gives up the answer that is outstanding.
    fn forgo_answers(&self) -> bool {
        false
    }
}

/// What a session has counted since it was last told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub spent: Spent,
    /// The client's least round trip.
    pub client_rtt: Duration,
}

#[derive(Debug)]
pub enum Order {
    /// End at the end of the transaction, or at the latest `by`.
    Drain {
        /// What the client is told.
        farewell: String,
        by: Instant,
    },
    /// End now.
    Cut { farewell: String },
    /// Belong to another origin from now on, or to the same one as it is now.
    Move {
        meters: Arc<OriginMeters>,
        /// Whether the server may ask for a file of the client's (MySQL).
        local_infile: bool,
    },
}
