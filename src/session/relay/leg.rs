//! The two ends between which a relay stands. Floor 3.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::{
    Stream,
    kernel::{self, TcpFacts},
};

/// One leg of a session.
pub trait Leg: AsyncRead + AsyncWrite + Unpin {
    /// What the kernel knows of the connection; `None` where it is not TCP.
    fn facts(&self) -> Option<TcpFacts>;
}

impl Leg for Stream {
    fn facts(&self) -> Option<TcpFacts> {
        kernel::tcp_facts(self.tcp()?)
    }
}
