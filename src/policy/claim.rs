//! Who a client says it is, with what the network and TLS prove. Floor 0.

use std::{net::IpAddr, sync::Arc};

use super::Certificate;

/// All that a decision may look at, already parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The name of the listener that accepted the connection.
    pub listener: Arc<str>,
    /// The peer, [canonical].
    pub address: IpAddr,
    pub user: String,
    /// `None` for physical replication, which opens no database, and for a MySQL session that has not opened one.
    pub database: Option<String>,
    pub replication: Option<Replication>,
    /// The version of the client's TLS; `None` for a connection in clear.
    pub tls: Option<TlsVersion>,
    /// Shown by the client in the handshake.
    pub certificate: Option<Arc<Certificate>>,
    /// The client's own words: for logs, never a condition.
    pub application: Option<String>,
}

/// What kind of replication a client asks for, or an origin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// PostgreSQL: the whole cluster's write-ahead log; no database is opened.
    Physical,
    /// PostgreSQL: one database's changes; ordinary SQL runs in it too.
    Logical,
    /// MySQL: the commands of a replica, which any session may send once it is in. Unlike PostgreSQL's kinds it does not
    /// make a session of its own: an origin with this right admits ordinary sessions too.
    Commands,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

impl TlsVersion {
    /// As the configuration and the log write it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// The one form of an address that rules and peers are compared in: `::ffff:a.b.c.d` is `a.b.c.d`.
/// NAT64 and 6to4 addresses stay what they are.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
