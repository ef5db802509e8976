//! What a session tells its relay from outside. Floor 3.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use crate::meter::OriginMeters;

/// What the session tells its relay from outside.
pub trait Orders: Unpin {
    /// Asked at every turn of the relay, so it must cost next to nothing as long as there is no order.
    fn poll_order(&mut self, cx: &mut Context<'_>) -> Poll<Order>;

    /// Whether a client that is gone gives up the answer that is outstanding.
    fn forgo_answers(&self) -> bool {
        false
    }
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
