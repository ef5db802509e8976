//! The settings as the program uses them: every value present, every default applied. Floor 1.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;

use crate::policy::{ListenerName, TlsVersion};

/// Everything in the file that is not policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub listeners: Vec<Arc<Listener>>,
    pub tls: Tls,
    pub admin: Admin,
    pub state_dir: PathBuf,
    pub limits: Limits,
    pub log: Log,
    pub audit: Audit,
    pub metrics: Metrics,
    pub distances: Distances,
    pub resolver: Resolver,
}

impl Settings {
    /// Whether something of ours listens for IPv4 on this port.
    pub fn listens_on_ipv4(&self, port: u16) -> bool {
        let doors = self.listeners.iter().flat_map(|door| &door.listen);
        let mut sockets = doors.chain([&self.admin.http]);
        sockets.any(|socket| socket.is_ipv4() && socket.port() == port)
    }
}

/// A socket we accept on, and the server behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Unique, `[a-z0-9-]`: becomes a metric label.
    pub name: ListenerName,
    pub protocol: Protocol,
    pub listen: Vec<SocketAddr>,
    pub upstream: UpstreamAddress,
    pub upstream_tls: UpstreamTls,
    /// PostgreSQL: who checks the proof of a password.
    pub scram: Scram,
    /// PostgreSQL: the file of [`Verifiers`](super::Verifiers).
    pub verifiers: Option<PathBuf>,
    /// PostgreSQL: whether a cancel request is taken in clear. Old libpq always sends it so.
    pub allow_plain_cancel: bool,
    /// PostgreSQL: whether the statement of a client that is gone is stopped. A server goes on with it: what runs may have been
    /// meant to.
    pub cancel_on_disconnect: bool,
    /// PostgreSQL: whether the server is told the client's address.
    pub identify: Identify,
    /// MySQL, which speaks before the client does: whether the database greets, or the gateway.
    pub protect_upstream: ProtectUpstream,
    /// The balancers whose PROXY header says who their clients are.
    pub proxy_protocol: Vec<IpNet>,
    /// MySQL: whether the server is told the client's address.
    pub upstream_proxy_protocol: UpstreamProxyProtocol,
    /// MySQL.
    pub compression: Compression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

impl Protocol {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

/// How the connection to the server is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UpstreamTls {
    #[default]
    Off,
    /// The server's certificate is for `name` and comes from a CA of the file `ca`.
    VerifyFull {
        name: String,
        /// PEM.
        ca: PathBuf,
        /// What the gateway shows of itself.
        identity: Option<TlsFiles>,
        negotiation: Negotiation,
    },
    /// The server's certificate is this one.
    Pin {
        /// SHA-256 of the certificate (DER).
        sha256: [u8; 32],
        identity: Option<TlsFiles>,
        negotiation: Negotiation,
    },
}

/// Whether a PostgreSQL server hears whom a session is for. For its logs and views only: any session may call itself what it
/// likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identify {
    #[default]
    Off,
    /// By a suffix of the session's `application_name`.
    ApplicationName,
}

/// How TLS with a PostgreSQL server begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Negotiation {
    /// It is asked for it in clear.
    #[default]
    Request,
    /// Without a word. PostgreSQL 17 and later.
    Direct,
}

/// Who checks the proof of a PostgreSQL client that logs in by SCRAM. A proof is bound to the certificate that the client has seen,
/// so a server with another certificate does not believe it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scram {
    /// The server, where it can; else the gateway, by its verifiers.
    #[default]
    Auto,
    /// The server, whatever comes of it.
    Relay,
    /// The gateway, which then logs in with what it has learned.
    Terminate,
}

/// Who greets a MySQL client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtectUpstream {
    /// The database, dialled as soon as the address may come in: its greeting and its connection id are the client's.
    #[default]
    Greeting,
    /// The gateway. The database is dialled once the client is allowed; its connection id is unknown to the client.
    Strict,
}

/// Whether a MySQL server hears by a PROXY header whom a connection is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProxyProtocol {
    #[default]
    Off,
    /// The binary header. MariaDB and Percona Server read it.
    V2,
}

/// What becomes of a MySQL client's wish to compress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// It is not offered, so that commands stay readable.
    #[default]
    Masked,
    /// It is offered, and a session that uses it is passed on unread.
    Passthrough,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// A name or an address without brackets, and a port.
    Tcp { host: String, port: u16 },
    /// A unix socket, or the folder that holds it.
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Absent: a private CA and a certificate are made in the state directory.
    pub files: Option<TlsFiles>,
    /// Shown in its place to clients that want another name.
    pub further: Vec<TlsFiles>,
    /// What the certificate of the first start is made for; empty: the host's names, localhost, the listen addresses.
    pub names: Vec<String>,
    pub min: TlsVersion,
    /// The CAs of client certificates (PEM). Absent: nobody is asked for one.
    pub client_ca: Option<PathBuf>,
    /// What those CAs have taken back (PEM).
    pub crl: Option<PathBuf>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub http: SocketAddr,
    pub socket: PathBuf,
}

/// Bounds of what one client, one source and everybody together may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Openings in progress at a time; a quarter is kept for mentioned sources.
    pub openings: u32,
    /// Openings in progress from one source (a /32 or a /64).
    pub per_source: u32,
    pub first_byte: Duration,
    /// From accept to the decision.
    pub opening: Duration,
    /// From the decision to the server's yes.
    pub login: Duration,
    pub dial: Duration,
    /// How long sessions may go on after SIGTERM.
    pub drain: Duration,
    /// Refusals of strangers that are explained, a second; beyond it they are closed without a word.
    pub refusals_explained: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            openings: 4096,
            per_source: 64,
            first_byte: Duration::from_secs(5),
            opening: Duration::from_secs(30),
            login: Duration::from_secs(60),
            dial: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            refusals_explained: 200,
        }
    }
}

/// Who came in and who did not, for those who have to know later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub file: Option<PathBuf>,
    /// New sessions are refused while nothing can be written down.
    pub required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Origins with series of their own; those beyond share `_other`.
    pub max_origins: u32,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { max_origins: 500 }
    }
}

/// How far an application is, in words: the round trips below which each holds, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distances {
    pub same_site: Duration,
    pub same_region: Duration,
    pub near: Duration,
    pub same_continent: Duration,
    pub far: Duration,
}

impl Default for Distances {
    fn default() -> Self {
        Self {
            same_site: Duration::from_micros(500),
            same_region: Duration::from_millis(2),
            near: Duration::from_millis(10),
            same_continent: Duration::from_millis(40),
            far: Duration::from_millis(100),
        }
    }
}

/// How hosts that rules name are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Whom to ask; empty: those that the system names.
    pub servers: Vec<SocketAddr>,
    /// How long the last answer holds when there is no new one.
    pub max_stale: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            max_stale: Duration::from_secs(60 * 60),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    pub level: tracing::Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal and in the journal, JSON otherwise.
    Auto,
    Json,
    Text,
}
