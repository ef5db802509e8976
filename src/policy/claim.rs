//! Who a client says it is, with what the network and TLS prove. Floor 0.

use std::{fmt, net::IpAddr, ops::Deref, sync::Arc};

use super::Certificate;

/// All that a decision may look at, already parsed. Small, for every session keeps its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The name of the listener that accepted the connection.
    pub listener: ListenerName,
    /// The peer, [canonical].
    pub address: IpAddr,
    pub user: Box<str>,
    /// `None` for physical replication, which opens no database, and for a MySQL session that has not opened one.
    pub database: Option<Box<str>>,
    pub replication: Option<Replication>,
    /// The version of the client's TLS; `None` for a connection in clear.
    pub tls: Option<TlsVersion>,
    /// Shown by the client in the handshake.
    pub certificate: Option<Arc<Certificate>>,
    /// The client's own words: for logs, never a condition.
    pub application: Option<Box<str>>,
}

/// A listener's name, shared. One pointer wide, for a claim is small.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerName(Arc<Box<str>>);

impl From<&str> for ListenerName {
    fn from(name: &str) -> Self {
        Self(Arc::new(name.into()))
    }
}

impl Deref for ListenerName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
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
