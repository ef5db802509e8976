//! What the protocols of its listeners ask of an origin: each has its own limits of names, and rights of its own. Floor 1.

use std::sync::Arc;

use super::{
    problems::{Fault, Report, Where},
    settings::{Compression, Listener, Protocol},
    values::Longest,
};
use crate::policy::{Names, Origin, Replication};

/// The listeners that an origin may use.
pub(super) struct Reach<'l>(Vec<&'l Arc<Listener>>);

impl<'l> Reach<'l> {
    /// Of the origin that names its listeners so; nothing is said about one that cannot be read.
    pub(super) fn of(names: Option<&Names>, listeners: Option<&'l [Arc<Listener>]>) -> Self {
        let all = names.zip(listeners).map(|(names, all)| {
            let doors = all.iter().filter(|door| names.contains(&door.name));
            doors.collect()
        });
        Self(all.unwrap_or_default())
    }

    /// Of a deny rule, which holds on every listener.
    pub(super) fn everywhere(listeners: Option<&'l [Arc<Listener>]>) -> Self {
        Self(listeners.unwrap_or_default().iter().collect())
    }

    /// A listener of the protocol.
    pub(super) fn first(&self, protocol: Protocol) -> Option<&'l Listener> {
        let mut doors = self.0.iter();
        let found = doors.find(|door| door.protocol == protocol)?;
        Some(found)
    }

    /// What no name of an origin may be longer than: a user or a database that no server has would fit nobody.
    pub(super) fn longest(&self, mysql: Longest) -> Vec<Longest> {
        let postgres = self.first(Protocol::Postgres).map(|_| POSTGRES_NAME);
        let mysql = match postgres {
            // of unknown listeners the widest
            None => Some(mysql),
            Some(_) => self.first(Protocol::Mysql).map(|_| mysql),
        };
        postgres.into_iter().chain(mysql).collect()
    }

    /// What no user of a deny rule may be longer than: long enough for one of the servers.
    pub(super) fn widest(&self) -> Longest {
        match (self.first(Protocol::Postgres), self.first(Protocol::Mysql)) {
            (Some(_), None) => POSTGRES_NAME,
            (Some(_) | None, _) => MYSQL_USER,
        }
    }

    /// Reports rights that the protocols do not know, and conditions that a compressed session could not be held to.
    pub(super) fn hold(&self, origin: &Origin, places: &Places<'_>, report: &mut Report) {
        let (postgres, mysql) = (self.first(Protocol::Postgres), self.first(Protocol::Mysql));
        match (origin.replication, postgres, mysql) {
            (Some(Replication::Commands), Some(door), _) => {
                let fault = Fault::new("`replication: true` is for MySQL")
                    .label(format!("listener \"{}\" speaks PostgreSQL", door.name))
                    .hint("PostgreSQL knows physical and logical");
                report.error(places.replication, fault);
            }
            (Some(Replication::Physical | Replication::Logical), _, Some(door)) => {
                let fault = Fault::new("this kind of replication is PostgreSQL's")
                    .label(format!("listener \"{}\" speaks MySQL", door.name))
                    .hint("the right to MySQL's replication commands is `replication: true`");
                report.error(places.replication, fault);
            }
            (Some(_) | None, _, _) => {}
        }
        if let (true, Some(door), None) = (origin.local_infile, postgres, mysql) {
            let fault = Fault::new("`local_infile` is for MySQL")
                .label(format!("listener \"{}\" speaks PostgreSQL", door.name));
            report.error(places.local_infile, fault);
        }
        let unread = |door: &&&Arc<Listener>| door.compression == Compression::Passthrough;
        if let Some(door) = self.0.iter().find(unread) {
            held_unread(door, origin, places, report);
        }
    }
}

/// Where the parts of an origin stand, or where it begins.
pub(super) struct Places<'n> {
    pub(super) origin: &'n Where,
    pub(super) replication: &'n Where,
    pub(super) local_infile: &'n Where,
}

/// Nobody sees a compressed session change its user.
fn held_unread(door: &Listener, origin: &Origin, places: &Places<'_>, report: &mut Report) {
    let asks = [
        ("users", !origin.users.is_any()),
        ("databases", !origin.databases.is_any()),
        ("exclusive", origin.exclusive),
        (
            "no replication",
            origin.replication != Some(Replication::Commands),
        ),
    ];
    let asks: Vec<_> = asks.iter().filter(|(_, asks)| *asks).collect();
    if asks.is_empty() {
        return;
    }
    let asks: Vec<_> = asks.iter().map(|(what, _)| *what).collect();
    let fault = Fault::new(format!(
        "listener \"{}\" passes compressed sessions on unread: this origin could not be held to",
        door.name
    ))
    .label(asks.join(", "))
    .hint("`compression: masked`, or an origin with any user and database and `replication: true`");
    report.error(places.origin, fault);
}

/// `NAMEDATALEN` - 1: PostgreSQL cuts longer names off.
pub(super) const POSTGRES_NAME: Longest = Longest::Bytes(63);

/// MariaDB's; MySQL's is [`MYSQL_SURE_USER`].
pub(super) const MYSQL_USER: Longest = Longest::Characters(128);

/// Longer users are MariaDB's alone.
pub(super) const MYSQL_SURE_USER: usize = 32;

pub(super) const MYSQL_DATABASE: Longest = Longest::Characters(64);
