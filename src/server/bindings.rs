//! Whether clients that bind their login to TLS will get in, found out before the first one comes. Floor 4.
//!
//! Such a login is bound to the certificate that the client sees. With libpq's default every client binds that can, so where the
//! server would not believe them the gateway does not start: each of them would be told a lie about its password.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    config::{Listener, Protocol, Scram, UpstreamTls},
    net::{Fingerprint, Shown},
    protocol::postgres::{Pairing, Plan},
    session::Door,
};

/// A listener whose server would not believe clients that bind their logins.
#[derive(Debug, thiserror::Error)]
#[error("listener \"{listener}\": {MISBOUND}. {FIXES}")]
pub struct Misbound {
    listener: String,
}

/// What becomes of SCRAM for a client behind TLS that sees `ours`, where the server shows `theirs`.
pub(crate) fn plan(
    listener: &Listener,
    ours: Option<Fingerprint>,
    theirs: Option<Fingerprint>,
) -> Plan {
    let pairing = Pairing {
        client_tls: true,
        upstream_tls: listener.upstream_tls != UpstreamTls::Off,
        same_certificate: theirs.is_some() && ours == theirs,
        verifiers: listener.verifiers.is_some(),
    };
    pairing.plan(listener.scram)
}

/// Looks at what the servers show, and tells what holds at each listener. A server that does not answer is no reason not to start.
pub(super) async fn tell(doors: &[Arc<Door>], shown: &Shown) -> Result<(), Misbound> {
    let mut looks = JoinSet::new();
    let ours = shown.fingerprint;
    for door in doors {
        if door.settings.protocol == Protocol::Postgres {
            looks.spawn(look(Arc::clone(door), ours));
        }
    }
    let told = looks.join_all().await;
    told.into_iter().collect()
}

async fn look(door: Arc<Door>, ours: Fingerprint) -> Result<(), Misbound> {
    let listener = &*door.settings.name;
    let theirs = match door.settings.upstream_tls {
        UpstreamTls::Off => None,
        UpstreamTls::VerifyFull { .. } | UpstreamTls::Pin { .. } => {
            match certificate(&door).await {
                Ok(certificate) => certificate,
                Err(cause) => {
                    tracing::warn!(
                        event = "scram_unknown",
                        listener,
                        cause,
                        "whether clients with channel binding get in shows when the database answers"
                    );
                    return Ok(());
                }
            }
        }
    };
    let plan = plan(&door.settings, Some(ours), theirs);
    let roles = door.accounts().map(|accounts| accounts.count());
    if plan != Plan::Misbound {
        tracing::info!(event = "scram", listener, plan = plan.label(), roles);
        return Ok(());
    }
    if door.settings.scram == Scram::Auto {
        return Err(Misbound {
            listener: listener.to_owned(),
        });
    }
    tracing::warn!(
        event = "scram",
        listener,
        plan = plan.label(),
        "{MISBOUND}. {FIXES}"
    );
    Ok(())
}

async fn certificate(door: &Door) -> Result<Option<Fingerprint>, String> {
    let found = door.upstream.refresh().await;
    found.map_err(|error| error.to_string())?;
    let reached = door.reach(WITHIN).await;
    let stream = reached.map_err(|error| error.to_string())?;
    Ok(stream.server_certificate())
}

pub(crate) const MISBOUND: &str = "the server shows another certificate than the gateway, and does not believe clients that bind their login to TLS, as libpq does unless it is told otherwise";
pub(crate) const FIXES: &str = "Give the gateway the server's certificate and key (`tls`); or `verifiers: FILE`, from pg_dumpall --roles-only; or reach the server in clear, by its unix socket or loopback; or write `scram: relay`, and clients need channel_binding=disable";

/// How long a start waits for a server.
const WITHIN: Duration = Duration::from_secs(2);
