//! The relay: bytes from the client to the server and back, unchanged, and what can be learned on the way. Floor 3.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    meter::{Attendance, ListenerMeters, OriginMeters},
    net::Stream,
    protocol::Conversation,
};

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

/// Where a relayed session is counted, and what was measured before it.
#[derive(Debug)]
pub struct Line {
    pub origin: Attendance,
    pub listener: Arc<ListenerMeters>,
    /// When the connection was accepted.
    pub since: Instant,
    /// Least round-trip time of the client after its login.
    pub client_rtt: Option<Duration>,
    /// Zero for a unix socket.
    pub upstream_rtt: Duration,
}

/// What the session tells its relay from outside.
pub trait Orders {
    /// Asked at every turn of the relay, so it must cost next to nothing as long as there is no order.
    fn poll_order(&mut self, cx: &mut Context<'_>) -> Poll<Order>;
}

#[derive(Debug)]
pub enum Order {
    /// End at the end of the transaction, or at the latest `by`.
    Drain {
        /// The client's last words to hear, a whole message of its protocol.
        farewell: Vec<u8>,
        by: Instant,
    },
    /// End now.
    Cut { farewell: Vec<u8> },
    /// Count as another origin's session from now on.
    Move(Arc<OriginMeters>),
}

/// A session that is over.
#[derive(Debug)]
pub struct Closed {
    pub end: End,
    /// Bytes from the client, and to it.
    pub received: u64,
    pub transmitted: u64,
    /// The last that was measured of the client.
    pub client_rtt: Option<Duration>,
    /// Whether the bytes stopped making sense as messages.
    pub frame_lost: bool,
    /// Since the connection was accepted.
    pub lasted: Duration,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    ClientLeft,
    DatabaseLeft,
    /// Ended at once, by an order.
    Revoked,
    /// Ended at the end of its transaction, by an order.
    Drained,
    /// The client's connection failed.
    ClientBroke,
    /// The server's connection failed.
    DatabaseBroke,
}

impl End {
    /// A closed set, so it may be a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ClientLeft => "client_left",
            Self::DatabaseLeft => "database_left",
            Self::Revoked => "revoked",
            Self::Drained => "drained",
            Self::ClientBroke => "client_broke",
            Self::DatabaseBroke => "database_broke",
        }
    }
}

/// Relays until one side ends or an order does. Counts and times all of it, and tells `line` at the end.
pub async fn relay<C: Leg, S: Leg>(
    client: C,
    upstream: S,
    conversation: Conversation,
    line: Line,
    orders: &mut impl Orders,
) -> Closed {
    let _ = (client, upstream, conversation, &line, orders);
    std::future::pending().await
}

impl Leg for Stream {
    fn facts(&self) -> Option<Facts> {
        None
    }
}
