//! From a configuration to everything open: certificate, addresses, admin's doors. Floor 4. Nothing is accepted here yet.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use tokio::{
    net::TcpListener,
    sync::{self, watch},
    task::spawn_blocking,
    time::Instant,
};

use super::{
    COMMIT, Configuration, Logging, NUMBER,
    audit::AuditError,
    bindings::{self, Misbound},
    house::House,
    in_force::{InForce, declare},
    kept,
    made::{Made, Unusable},
    names::{Asking, Names},
    refresh, source,
    temporary::{Book, join},
    upstreams::Doors,
};
use crate::{
    config::{Listener, Protocol, Settings, UpstreamAddress},
    meter::Meters,
    net::{self, Families, LocalListener, Server, Upstream, certificate::make_folder},
    policy::{Policy, Rules},
    session::{Door, Gateway, Standing},
};

/// Why there is no start. One sentence each, with what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error(transparent)]
    Misbound(#[from] Misbound),
    #[error("cannot listen on {address}: {}", because(*address, error))]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("cannot open the admin socket {}: {}", path.display(), because_local(error))]
    AdminSocket { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the meters do not fit together, which is a mistake in doorward: {0}")]
    Meters(#[from] prometheus::Error),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error("the start was broken off by a panic, see above")]
    Panic,
}

/// Everything that is bound and made before the first connection is accepted.
pub(super) struct Open {
    pub(super) house: Arc<House>,
    pub(super) entrances: Vec<(TcpListener, Arc<Door>)>,
    pub(super) http: TcpListener,
    pub(super) admin: LocalListener,
    /// The resolver's task, not yet spawned.
    pub(super) asking: Asking,
}

/// Opens everything, or says why not.
pub(super) async fn open(
    configuration: Configuration,
    logging: &Logging,
) -> Result<Open, StartError> {
    let now = SystemTime::now();
    let Configuration {
        loaded,
        source,
        problem,
    } = configuration;
    for warning in &loaded.warnings {
        tracing::warn!(event = "config_warning", cause = %warning);
    }
    let settings = loaded.settings;
    let mut made = make(settings.clone(), now).await?;
    let meters = Arc::new(Meters::new(NUMBER, COMMIT)?);
    let (temporary, rules) = join_temporary(&settings.state_dir, loaded.rules, now);
    let (names, asking) = Names::begin(&rules, &settings.resolver).await;
    let policy = Policy::new(rules, &names.hosts(), FIRST_GENERATION);
    declare(&meters, &policy, &settings);
    refresh::tell_ends(&meters, &made.certificates, &made.clients);
    meters.reloaded(now);
    let in_use = if problem.is_some() {
        meters.configuration_refused();
        format!("the last good copy of {source}, which has errors")
    } else {
        source::keep_as_last_good(&source, &settings.state_dir, &loaded.texts);
        source.to_string()
    };

    logging.audit().write_to(&settings.audit)?;
    let (doors, entrances) = open_doors(&settings, &mut made, &meters).await?;
    let http = bind(settings.admin.http, &settings)?;
    let admin = bind_admin(&settings)?;

    let standing = Standing {
        policy: Arc::new(policy),
        trust: made.clients,
        closing: None,
    };
    let (standing, policies) = watch::channel(standing);
    let (tls, shown) = watch::channel(Arc::clone(&made.certificates.tls));
    let (limits, bounds) = watch::channel(settings.limits);
    let record = logging.audit().record();
    let gateway = Gateway::new(policies, shown, bounds, meters, record);
    let in_force = InForce {
        settings,
        texts: Arc::new(loaded.texts),
        certificates: made.certificates,
        loaded: now,
        source: in_use,
        problem,
    };
    let house = House {
        gateway: Arc::new(gateway),
        doors: Arc::new(Doors::new(doors)),
        names,
        source,
        logging: logging.clone(),
        standing,
        tls,
        limits,
        in_force: Mutex::new(in_force),
        temporary,
        one_at_a_time: sync::Mutex::new(()),
        began: Instant::now(),
    };
    Ok(Open {
        house: Arc::new(house),
        entrances,
        http,
        admin,
        asking,
    })
}

fn join_temporary(state_dir: &Path, rules: Rules, now: SystemTime) -> (Arc<Book>, Rules) {
    kept::tell_not_ours(state_dir);
    let book = Book::open(state_dir, now);
    let joined = join(rules, book.all(), now);
    joined.tell_lapses();
    book.keep_or_tell(joined.given);
    (Arc::new(book), joined.rules)
}

async fn make(settings: Settings, now: SystemTime) -> Result<Made, StartError> {
    let made = spawn_blocking(move || Made::read(&settings, &Arc::default(), now)).await;
    Ok(made.map_err(|_panic| StartError::Panic)??)
}

/// The doors, and each of their bound addresses.
type Bound = (Vec<Arc<Door>>, Vec<(TcpListener, Arc<Door>)>);

/// Binds what clients come in by, and sees to it that they will get in.
async fn open_doors(
    settings: &Settings,
    made: &mut Made,
    meters: &Meters,
) -> Result<Bound, StartError> {
    let mut doors = Vec::new();
    let mut entrances = Vec::new();
    for warning in &made.accounts.warnings {
        tracing::warn!(event = "config_warning", cause = warning);
    }
    let ways = made.tls.drain(..).zip(made.accounts.accounts.drain(..));
    for (listener, (tls, accounts)) in settings.listeners.iter().zip(ways) {
        let door = Arc::new(door(listener, meters));
        door.upstream.encrypt(tls);
        door.believe(accounts);
        for address in &listener.listen {
            entrances.push((bind(*address, settings)?, Arc::clone(&door)));
        }
        doors.push(door);
    }
    bindings::tell(&doors, &made.certificates.tls.shown(None)).await?;
    Ok((doors, entrances))
}

fn door(listener: &Arc<Listener>, meters: &Meters) -> Door {
    Door::new(
        Arc::clone(listener),
        upstream(listener),
        meters.listener(&listener.name),
    )
}

/// The server that the settings name. Nothing is looked up yet.
pub(crate) fn upstream(listener: &Listener) -> Upstream {
    let server = match listener.protocol {
        Protocol::Postgres => Server::Postgres,
        Protocol::Mysql => Server::Mysql,
    };
    match &listener.upstream {
        UpstreamAddress::Tcp { host, port } => Upstream::tcp(host, *port),
        UpstreamAddress::Unix(path) => Upstream::unix(path.clone(), server),
    }
}

fn bind(address: SocketAddr, settings: &Settings) -> Result<TcpListener, StartError> {
    net::bind(address, families(address, settings))
        .map_err(|error| StartError::Listen { address, error })
}

/// `[::]` is for everybody, unless IPv4 has a line of its own in the configuration.
pub(crate) fn families(address: SocketAddr, settings: &Settings) -> Families {
    if settings.listens_on_ipv4(address.port()) {
        Families::Own
    } else {
        Families::Both
    }
}

fn bind_admin(settings: &Settings) -> Result<LocalListener, StartError> {
    let path = &settings.admin.socket;
    let bound = path
        .parent()
        .map_or(Ok(()), make_folder)
        .and_then(|()| LocalListener::bind(path));
    bound.map_err(|error| StartError::AdminSocket {
        path: path.clone(),
        error,
    })
}

fn because(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => format!(
            "the address is in use; `ss -ltnp 'sport = :{port}'` shows by whom: stop that program, or give another port"
        ),
        Some(libc::EADDRNOTAVAIL) => {
            "this machine has no such address; `ip address` shows those it has".to_owned()
        }
        Some(libc::EACCES) => format!(
            "port {port} is kept for root; give one from 1024 on, or the capability CAP_NET_BIND_SERVICE"
        ),
        _ => error.to_string(),
    }
}

fn because_local(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "another doorward answers there; stop it, or give another path with --admin-socket"
                .to_owned()
        }
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            format!("{error}; give a path that this user may write to with --admin-socket")
        }
        _ => error.to_string(),
    }
}

const FIRST_GENERATION: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_fails_says_what_to_do() {
        let address = "127.0.0.1:5432".parse().unwrap();
        for (number, part) in [
            (libc::EADDRINUSE, "sport = :5432"),
            (libc::EADDRNOTAVAIL, "ip address"),
            (libc::EACCES, "CAP_NET_BIND_SERVICE"),
        ] {
            let error = StartError::Listen {
                address,
                error: io::Error::from_raw_os_error(number),
            };
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
