//! The two ends between which a relay stands. Floor 3.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::{Stream, kernel};

/// One leg of a session.
pub trait Leg: AsyncRead + AsyncWrite + Unpin {
    /// What the kernel knows of the connection; `None` where it is not TCP.
    fn facts(&self) -> Option<Facts>;
}

/// What the kernel knows of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub min_rtt: Option<Duration>,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
}

impl Leg for Stream {
    fn facts(&self) -> Option<Facts> {
        let facts = kernel::tcp_facts(self.tcp()?)?;
        Some(Facts {
            min_rtt: facts.min_rtt,
            retransmits: facts.retransmits,
        })
    }
}
