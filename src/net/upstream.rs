//! The way to the database server. Floor 1: nothing is dialled for a client without a permit of the policy, or, where the server
//! speaks first (MySQL), a shortlist that mentions its address.

use std::{
    ffi::OsStr,
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    sync::watch,
    time::{Instant, timeout},
};

use super::{Stream, UpstreamTls, listen};
use crate::policy::{CancelPermit, Permit, Shortlist};

/// A database server behind a listener. Where it is reached is looked up by [`Upstream::refresh`] in the background,
/// never inside a connection.
#[derive(Debug)]
pub struct Upstream {
    target: Target,
    /// Where the last look-up found it; kept when a later one fails.
    endpoints: watch::Sender<Arc<[Endpoint]>>,
    tls: RwLock<Option<Arc<UpstreamTls>>>,
}

/// As the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Tcp { host: String, port: u16 },
    Unix { path: PathBuf, server: Server },
}

/// What kind of server it is, which says how its socket in a folder is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Postgres,
    Mysql,
}

/// What can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Why the server could not be reached. `Display` is for the log; clients are never told where the server is.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0} has no known address")]
    Unresolved(String),
    #[error("there is no socket of {} at {}", server.name(), path.display())]
    NoSocket { path: PathBuf, server: Server },
    #[error("nothing is dialled for an address that no origin mentions")]
    Unmentioned,
    #[error("no connection to {place} within {within:?}")]
    TimedOut { place: String, within: Duration },
    #[error("no connection to {place}: {error}")]
    Io { place: String, error: io::Error },
}

impl DialError {
    /// The metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unresolved(_) => "unresolved",
            Self::NoSocket { .. } => "no_socket",
            Self::Unmentioned => "unmentioned",
            Self::TimedOut { .. } => "timeout",
            Self::Io { error, .. } if error.kind() == io::ErrorKind::ConnectionRefused => "refused",
            Self::Io { .. } => "unreachable",
        }
    }
}

impl Upstream {
    /// A server by name or address. A name is dialled once [`Upstream::refresh`] has found it.
    pub fn tcp(host: &str, port: u16) -> Self {
        let known = host
            .parse::<IpAddr>()
            .map(|ip| Endpoint::Tcp(SocketAddr::new(ip, port)));
        Self {
            target: Target::Tcp {
                host: host.to_owned(),
                port,
            },
            endpoints: watch::Sender::new(known.into_iter().collect()),
            tls: RwLock::default(),
        }
    }

    /// A unix socket, or the folder that holds the server's.
    pub fn unix(path: PathBuf, server: Server) -> Self {
        let found = server.socket(&path).map(Endpoint::Unix);
        Self {
            endpoints: watch::Sender::new(found.into_iter().collect()),
            target: Target::Unix { path, server },
            tls: RwLock::default(),
        }
    }

    /// From now on connections to it are encrypted so, or not at all.
    pub fn encrypt(&self, tls: Option<UpstreamTls>) {
        let mut kept = self.tls.write().unwrap_or_else(PoisonError::into_inner);
        *kept = tls.map(Arc::new);
    }

    /// How a connection to it is to be encrypted, once its protocol has asked for that; `None`: not at all.
    pub fn tls(&self) -> Option<Arc<UpstreamTls>> {
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        tls.clone()
    }

    /// A session's connection. `within` bounds all addresses together.
    pub async fn connect(&self, _proof: &Permit, within: Duration) -> Result<Stream, DialError> {
        self.open(within).await
    }

    /// A connection for a client whose address alone is known: for MySQL, whose server speaks first. Only an address that
    /// some origin mentions gets one.
    pub async fn dial(&self, shortlist: Shortlist, within: Duration) -> Result<Stream, DialError> {
        if !shortlist.is_mentioned() {
            return Err(DialError::Unmentioned);
        }
        self.open(within).await
    }

    /// A connection of the gateway's own, for no client: to see whether the server is there, and how it answers.
    pub async fn visit(&self, within: Duration) -> Result<Stream, DialError> {
        self.open(within).await
    }

    /// A connection for one cancel request.
    pub async fn connect_for_cancel(
        &self,
        _proof: &CancelPermit,
        within: Duration,
    ) -> Result<Stream, DialError> {
        self.open(within).await
    }

    /// Looks up where the server is. A failed look-up keeps what was known.
    pub async fn refresh(&self) -> Result<(), DialError> {
        let found: Arc<[Endpoint]> = match &self.target {
            Target::Tcp { host, .. } if host.parse::<IpAddr>().is_ok() => return Ok(()),
            Target::Tcp { host, port } => {
                let looked_up = timeout(LOOKUP, lookup_host((host.as_str(), *port))).await;
                match looked_up {
                    Ok(Ok(found)) => found.map(Endpoint::Tcp).collect(),
                    Ok(Err(_)) | Err(_) => Arc::new([]),
                }
            }
            Target::Unix { path, server } => server
                .socket(path)
                .map(Endpoint::Unix)
                .into_iter()
                .collect(),
        };
        if found.is_empty() {
            return Err(self.nowhere());
        }
        self.endpoints.send_if_modified(|known| {
            let moved = *known != found;
            *known = found;
            moved
        });
        Ok(())
    }

    async fn open(&self, within: Duration) -> Result<Stream, DialError> {
        let endpoints = Arc::clone(&self.endpoints.borrow());
        let deadline = Instant::now() + within;
        let mut last = self.nowhere();
        for (tried, endpoint) in endpoints.iter().enumerate() {
            // an address that swallows packets may not use up the time of the ones after it
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(endpoints.len() - tried).unwrap_or(u32::MAX);
            match timeout(share, endpoint.open()).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    last = DialError::Io {
                        place: endpoint.to_string(),
                        error,
                    };
                }
                Err(_elapsed) => {
                    last = DialError::TimedOut {
                        place: endpoint.to_string(),
                        within: share,
                    };
                }
            }
        }
        Err(last)
    }

    fn nowhere(&self) -> DialError {
        match &self.target {
            Target::Tcp { host, .. } => DialError::Unresolved(host.clone()),
            Target::Unix { path, server } => DialError::NoSocket {
                path: path.clone(),
                server: *server,
            },
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Tcp { host, port } => write!(f, "{host}:{port}"),
            Target::Unix { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

impl Endpoint {
    async fn open(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => {
                let socket = TcpStream::connect(address).await?;
                listen::tune(&socket, *address)?;
                Ok(Stream::Tcp(socket))
            }
            Self::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Server {
    const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
        }
    }

    /// The path itself, or the server's socket in a folder.
    fn socket(self, path: &Path) -> Option<PathBuf> {
        if !path.is_dir() {
            return path.exists().then(|| path.to_owned());
        }
        let usual = path.join(match self {
            Self::Postgres => ".s.PGSQL.5432",
            Self::Mysql => "mysqld.sock",
        });
        if usual.exists() {
            return Some(usual);
        }
        match self {
            Self::Postgres => only_postgres_socket(path),
            Self::Mysql => None,
        }
    }
}

/// The only `.s.PGSQL.*` in a folder.
fn only_postgres_socket(path: &Path) -> Option<PathBuf> {
    let mut found = path
        .read_dir()
        .ok()?
        .take(FOLDER_ENTRIES)
        .filter_map(Result::ok)
        .filter(|entry| is_postgres_socket(&entry.file_name()))
        .map(|entry| entry.path());
    let only = found.next()?;
    found.next().is_none().then_some(only)
}

fn is_postgres_socket(name: &OsStr) -> bool {
    let port = name
        .to_str()
        .and_then(|name| name.strip_prefix(".s.PGSQL."));
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// How long a name may take to be looked up, in the background.
const LOOKUP: Duration = Duration::from_secs(10);
/// How far a folder is searched for a socket: `/tmp` may be one.
const FOLDER_ENTRIES: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::net::{TcpListener, UnixListener};

    use super::*;
    use crate::policy::samples::{self, origin, rules};

    #[tokio::test]
    async fn a_closed_port_is_refused_at_once_and_said_where() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let upstream = Upstream::tcp("127.0.0.1", address.port());
        let error = upstream.visit(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.label(), "refused");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[tokio::test]
    async fn a_name_is_dialled_only_after_it_was_looked_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream::tcp("localhost", listener.local_addr().unwrap().port());
        let early = upstream.visit(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(early.label(), "unresolved");
        upstream.refresh().await.unwrap();
        assert!(upstream.visit(Duration::from_secs(5)).await.is_ok());
    }

    #[tokio::test]
    async fn a_failed_look_up_keeps_what_was_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let upstream = Upstream::unix(path.clone(), Server::Postgres);
        fs::rename(&path, folder.path().join("moved")).unwrap();
        assert!(upstream.refresh().await.is_err());
        fs::rename(folder.path().join("moved"), &path).unwrap();
        assert!(upstream.visit(Duration::from_secs(5)).await.is_ok());
        drop(listener);
    }

    #[test]
    fn a_folder_stands_for_the_usual_socket_or_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            path
        };
        assert_eq!(Server::Postgres.socket(folder.path()), None);
        file(".s.PGSQL.5433.lock");
        let only = file(".s.PGSQL.5433");
        assert_eq!(Server::Postgres.socket(folder.path()), Some(only));
        file(".s.PGSQL.5434");
        assert_eq!(
            Server::Postgres.socket(folder.path()),
            None,
            "two: which is meant?"
        );
        let usual = file(".s.PGSQL.5432");
        assert_eq!(Server::Postgres.socket(folder.path()), Some(usual));
    }

    #[test]
    fn mysql_has_one_name_for_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mysql.sock"), "").unwrap();
        assert_eq!(Server::Mysql.socket(folder.path()), None);
        let usual = folder.path().join("mysqld.sock");
        fs::write(&usual, "").unwrap();
        assert_eq!(Server::Mysql.socket(folder.path()), Some(usual.clone()));
        assert_eq!(Server::Mysql.socket(&usual), Some(usual));
    }

    #[tokio::test]
    async fn an_address_alone_opens_the_way_only_where_an_origin_mentions_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream::tcp("127.0.0.1", listener.local_addr().unwrap().port());
        let origins = vec![origin("net", &["10.0.0.0/8"]), origin("any", &["any"])];
        let policy = samples::policy(rules(origins, Vec::new()));
        let dial = async |address: &str| {
            let shortlist = policy.screen(address.parse().unwrap());
            upstream.dial(shortlist, Duration::from_secs(5)).await
        };
        assert!(dial("10.0.0.1").await.is_ok());
        let error = dial("192.0.2.1").await.unwrap_err();
        assert_eq!(error.label(), "unmentioned", "`any` mentions nobody");
    }
}
