//! What `doorward check` finds out about a PostgreSQL server. Floor 5.
//!
//! Every look ends at the server's first word, which it does not log, unless that word is a no.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;

use super::{
    check_certificates::ending,
    check_scram,
    said::{Said, unusable},
};
use crate::{
    config::Listener,
    net::{DialError, Fingerprint, Stream, Upstream, UpstreamTls},
    policy::{Names, Origin, Replication, Rules},
    protocol::postgres::{self, EncryptError, LookError, Reception},
    server,
    wire::postgres::{Sqlstate, StartupMessage},
};

/// Somebody whom the gateway may come for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Visitor {
    user: String,
    database: String,
    /// As the server reads it.
    replication: Option<&'static str>,
    /// Some origin of the file names him.
    named: bool,
}

/// Why a server could not be looked at.
#[derive(Debug, thiserror::Error)]
enum Unseen {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Unencrypted(#[from] EncryptError),
    #[error(transparent)]
    Look(#[from] LookError),
    #[error("it says nothing for {PATIENCE:?}")]
    Silent,
}

/// What the server makes of the visitors.
#[derive(Debug, Default)]
struct Receptions {
    /// Who is let in and has proved nothing.
    admitted: Vec<Visitor>,
    /// Whom the file names, and the server turns away before it asks for a proof.
    shut_out: Vec<Visitor>,
    /// Why nobody gets in now.
    closed: Option<Sqlstate>,
}

/// What a connection tells of the server and of us.
#[derive(Debug, Default)]
struct Seen {
    /// By which name `pg_hba.conf` knows the place we come from.
    from: String,
    certificate_ends: Option<SystemTime>,
    certificate: Option<Fingerprint>,
}

/// Looks at the server behind a listener, as it receives those whom the rules name.
/// `ours` is the certificate that clients see, where it is not one of the gateway's own making.
pub(super) async fn server(
    listener: &Listener,
    rules: &Rules,
    ours: Option<Fingerprint>,
) -> Vec<Said> {
    let upstream = server::upstream(listener);
    let tls = match server::way(listener) {
        Ok(tls) => tls,
        Err(error) => return vec![unusable(&error)],
    };
    if let Err(error) = upstream.refresh().await {
        return vec![unreached(&error.into())];
    }
    let mut receptions = Receptions::default();
    let mut seen = Seen::default();
    for visitor in visitors(listener, rules) {
        match visit(&upstream, tls.as_ref(), &visitor).await {
            Ok((reception, server)) => {
                seen = server;
                receptions.note(visitor, reception);
            }
            Err(error) => {
                let said = unreached(&error);
                return vec![offer_pin(said, &upstream, tls.as_ref(), &error).await];
            }
        }
    }
    let mut said = receptions.told(&seen.from);
    said.extend(check_scram::told(listener, ours, seen.certificate));
    said.extend(ends_soon(seen.certificate_ends, SystemTime::now()));
    said
}

/// Of the server's certificate, which nobody here renews.
fn ends_soon(ends: Option<SystemTime>, now: SystemTime) -> Option<Said> {
    let said = ending(
        "W-UPSTREAM-CERTIFICATE-ENDS",
        "the database's certificate",
        ends?,
        now,
    )?;
    Some(said.hint("with `mode: verify-full` nobody gets in afterwards; with `mode: pin` write the new one's pin"))
}

/// Where a server does not prove what it must: what it shows, for who can tell that it is the right one.
async fn offer_pin(
    said: Said,
    upstream: &Upstream,
    tls: Option<&UpstreamTls>,
    error: &Unseen,
) -> Said {
    let (Unseen::Unencrypted(EncryptError::Handshake(_)), Some(tls)) = (error, tls) else {
        return said;
    };
    let looking = async {
        let stream = upstream.visit(PATIENCE).await.ok()?;
        postgres::certificate_behind(stream, tls.negotiation()).await
    };
    match timeout(PATIENCE, looking).await {
        Ok(Some(shown)) => said.hint(format!(
            "if this certificate is the server's own: upstream_tls: {{mode: pin, pin: \"{shown}\"}}"
        )),
        Ok(None) | Err(_) => said,
    }
}

/// The superuser, and everybody whom an origin of this listener names, with the first database that it names.
fn visitors(listener: &Listener, rules: &Rules) -> BTreeSet<Visitor> {
    let mut visitors = BTreeSet::from([Visitor {
        user: SUPERUSER.to_owned(),
        database: SUPERUSER.to_owned(),
        replication: None,
        named: false,
    }]);
    let here = |origin: &&std::sync::Arc<Origin>| origin.listeners.contains(&listener.name);
    for origin in rules.origins.iter().filter(here) {
        let Names::Listed(users) = &origin.users else {
            continue;
        };
        let replication = match origin.replication {
            Some(Replication::Physical) => Some("true"),
            Some(Replication::Logical) => Some("database"),
            Some(Replication::Commands) | None => None,
        };
        let database = match &origin.databases {
            Names::Listed(databases) => databases.first(),
            Names::Any => None,
        };
        let of = |user: &String| Visitor {
            user: user.clone(),
            database: database.unwrap_or(user).clone(),
            replication,
            named: true,
        };
        let room = MOST_VISITORS.saturating_sub(visitors.len());
        visitors.extend(users.iter().take(room).map(of));
    }
    visitors
}

/// How the server receives him, and what was seen of it.
async fn visit(
    upstream: &Upstream,
    tls: Option<&UpstreamTls>,
    visitor: &Visitor,
) -> Result<(Reception, Seen), Unseen> {
    let mut parameters = vec![
        ("user", visitor.user.as_str()),
        ("database", &visitor.database),
        ("application_name", "doorward check"),
    ];
    parameters.extend(visitor.replication.map(|kind| ("replication", kind)));
    let Ok(startup) = StartupMessage::new(&parameters) else {
        // no client can claim such a name either
        return Ok((Reception::Challenged, Seen::default()));
    };
    let stream = upstream.visit(PATIENCE).await?;
    let looking = async {
        let mut stream = match tls {
            Some(tls) => postgres::encrypt(stream, tls).await?,
            None => stream,
        };
        let reception = postgres::look(&mut stream, &startup).await?;
        let seen = Seen {
            from: place(&stream),
            certificate_ends: stream.server_certificate_ends(),
            certificate: stream.server_certificate(),
        };
        Ok((reception, seen))
    };
    let looked = timeout(PATIENCE, looking).await;
    looked.map_err(|_elapsed| Unseen::Silent)?
}

/// Where the server sees us, as a line of `pg_hba.conf` begins and ends.
fn place(stream: &Stream) -> String {
    let address = stream.tcp().and_then(|socket| socket.local_addr().ok());
    address.map_or_else(
        || "over the unix socket (`local`)".to_owned(),
        |address| format!("from {}", address.ip()),
    )
}

impl Receptions {
    fn note(&mut self, visitor: Visitor, reception: Reception) {
        match reception {
            Reception::Challenged => {}
            Reception::Admitted => self.admitted.push(visitor),
            Reception::Refused(Some(code)) if code.as_str().starts_with(INVALID_AUTHORIZATION) => {
                if visitor.named {
                    self.shut_out.push(visitor);
                }
            }
            Reception::Refused(code) => self.closed = self.closed.or(code),
        }
    }

    /// `from` is our place.
    fn told(&self, from: &str) -> Vec<Said> {
        let mut said = Vec::new();
        if let Some(code) = self.closed {
            let message = format!("the database lets nobody in now: it answers with {code}");
            said.push(Said::warning("W-UPSTREAM", message));
        }
        if !self.admitted.is_empty() {
            let whom = named(&self.admitted);
            let message = format!(
                "the database lets {whom} in {from} without a password: it trusts the gateway, and so everybody behind it"
            );
            said.push(Said::warning("W-TRUST", message).hint(
                "in pg_hba.conf, the line that matches says `trust`, `peer` or `ident` (SELECT * FROM pg_hba_file_rules): write `scram-sha-256` there, then SELECT pg_reload_conf(). Until then `require.authentication` ends their sessions",
            ));
        }
        if !self.shut_out.is_empty() {
            let whom = named(&self.shut_out);
            let message =
                format!("the database turns {whom} away {from}, before it asks for a password");
            said.push(Said::warning("W-HBA", message).hint(
                "in pg_hba.conf, give them a line for this place and this encryption: clients reach the database from the gateway's address",
            ));
        }
        said
    }
}

fn named(visitors: &[Visitor]) -> String {
    let mut names: Vec<String> = visitors
        .iter()
        .map(|visitor| match visitor.replication {
            Some(_) => format!("{:?} (replication)", visitor.user),
            None => format!("{:?}", visitor.user),
        })
        .collect();
    names.dedup();
    names.join(", ")
}

fn unreached(error: &Unseen) -> Said {
    match error {
        Unseen::Unencrypted(error) => {
            let message = format!("the connection to the database cannot be encrypted: {error}");
            Said::warning("W-UPSTREAM-TLS", message)
        }
        Unseen::Dial(_) | Unseen::Look(_) | Unseen::Silent => Said::warning(
            "W-UPSTREAM",
            format!("the database does not answer: {error}"),
        ),
    }
}

const SUPERUSER: &str = "postgres";
/// Connections that one check may make to one server.
const MOST_VISITORS: usize = 32;
/// For one connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// SQLSTATE class 28: no line of `pg_hba.conf`, or one that rejects.
const INVALID_AUTHORIZATION: &str = "28";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::samples::{origin, rules};

    fn visitor(user: &str, replication: Option<&'static str>) -> Visitor {
        Visitor {
            user: user.to_owned(),
            database: "shop".to_owned(),
            replication,
            named: user != SUPERUSER,
        }
    }

    fn listener() -> Arc<Listener> {
        let text = "version: 1\nlisteners:\n  - {name: pg, protocol: postgres, listen: '127.0.0.1:0', upstream: '127.0.0.1:1'}\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let loaded = crate::config::load(file.path(), &crate::config::Overrides::default());
        Arc::clone(&loaded.unwrap().settings.listeners[0])
    }

    #[test]
    fn the_superuser_and_everybody_whom_the_file_names_are_tried() {
        let listed = |names: &[&str]| Names::Listed(names.iter().map(|&n| n.to_owned()).collect());
        let origins = vec![
            Origin {
                users: listed(&["app", "web"]),
                databases: listed(&["shop", "blog"]),
                ..origin("a", &["10.0.0.1"])
            },
            Origin {
                users: listed(&["standby"]),
                replication: Some(Replication::Physical),
                ..origin("b", &["10.0.0.1"])
            },
            Origin {
                users: listed(&["elsewhere"]),
                listeners: listed(&["other"]),
                ..origin("c", &["10.0.0.1"])
            },
            origin("d", &["10.0.0.1"]),
        ];
        let visitors = visitors(&listener(), &rules(origins, Vec::new()));
        let told: Vec<_> = visitors
            .iter()
            .map(|v| (&*v.user, &*v.database, v.replication, v.named))
            .collect();
        assert_eq!(
            told,
            [
                ("app", "shop", None, true),
                ("postgres", "postgres", None, false),
                ("standby", "standby", Some("true"), true),
                ("web", "shop", None, true),
            ]
        );
        let many = Names::Listed((0..100).map(|n| format!("u{n}")).collect());
        let origins = vec![Origin {
            users: many,
            ..origin("a", &["10.0.0.1"])
        }];
        let all = super::visitors(&listener(), &rules(origins, Vec::new()));
        assert_eq!(all.len(), MOST_VISITORS);
    }

    #[test]
    fn who_is_let_in_without_a_password_is_told_with_what_ends_it() {
        let mut receptions = Receptions::default();
        receptions.note(visitor("app", None), Reception::Admitted);
        receptions.note(visitor("standby", Some("true")), Reception::Admitted);
        receptions.note(visitor("web", None), Reception::Challenged);
        let no = Sqlstate::of_error(b"C28000\0\0");
        receptions.note(visitor("late", None), Reception::Refused(no));
        receptions.note(visitor(SUPERUSER, None), Reception::Refused(no));
        let said = receptions.told("from 10.0.0.5");
        let codes: Vec<_> = said.iter().map(|said| said.code).collect();
        assert_eq!(codes, [Some("W-TRUST"), Some("W-HBA")]);
        let words = said[0].words();
        assert!(
            words.contains("\"app\", \"standby\" (replication)"),
            "{words}"
        );
        assert!(words.contains("from 10.0.0.5") && words.contains("scram-sha-256"));
        assert!(said[1].message.contains("\"late\"") && !said[1].message.contains("postgres"));
    }

    #[test]
    fn a_server_that_is_starting_is_told() {
        let mut receptions = Receptions::default();
        let starting = Sqlstate::of_error(b"C57P03\0\0");
        receptions.note(visitor("app", None), Reception::Refused(starting));
        assert!(
            receptions
                .told("")
                .iter()
                .any(|said| said.message.contains("57P03"))
        );
    }
}
