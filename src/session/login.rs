//! From the permit to the database's own yes: dial, and the login in the listener's protocol. Floor 3.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    admitted::{LoggedIn, Session},
    refusal::Refusal,
    report::Refused,
    stages::{Allowed, Visit},
    tenure::Tenure,
};
use crate::{
    meter::Phase,
    net::Stream,
    policy::Permit,
    protocol::{
        Conversation, Opening,
        postgres::{self, LoginError},
    },
    wire::postgres::StartupMessage,
};

impl Allowed {
    /// Logs in under the watch of the policy: a rule that goes during a slow login ends it.
    pub(super) async fn login(self) -> Result<LoggedIn, Refused> {
        let Self {
            mut client,
            opening,
            mut tenure,
            turns,
            mut guest,
        } = self;
        let logged_in = match &opening {
            Opening::Postgres(startup) => {
                login_postgres(&mut client, startup, &mut tenure, &guest.visit).await
            }
        };
        match logged_in {
            Ok(session) => {
                let turns = turns + session.turns;
                guest.visit.opening.take();
                Ok(LoggedIn::new(client, session, tenure, guest.visit, turns))
            }
            Err(no) => {
                let origin = Arc::clone(&tenure.permit.origin().name);
                let refused = guest.refused(no.refusal, Some(tenure.claim));
                let refused = refused.of_origin(origin);
                Err(if no.tells {
                    refused.tell(client, opening).await
                } else {
                    refused
                })
            }
        }
    }
}

async fn login_postgres(
    client: &mut Stream,
    startup: &StartupMessage,
    tenure: &mut Tenure,
    visit: &Visit,
) -> Result<Session, No> {
    let limits = *visit.gateway.limits.borrow();
    let deadline = Instant::now() + limits.login;
    let dialled = dial(visit, &tenure.permit, limits.dial).await;
    let mut upstream = dialled.map_err(No::told)?;
    let began = Instant::now();
    let require = visit.gateway.standing.borrow().policy.require();
    let terms = postgres::Terms {
        authentication: require.authentication,
        cleartext: postgres::is_private(client) && postgres::is_private(&upstream),
        interrupted: async { tenure.ended().await.denial },
    };
    let login = postgres::login(client, &mut upstream, startup, terms);
    match timeout_at(deadline, login).await {
        Ok(Ok(login)) => {
            visit.door.meters.phase(Phase::Login, began.elapsed());
            Ok(Session {
                upstream,
                conversation: Conversation::Postgres(postgres::Conversation::new(
                    login.client_frames,
                    login.server_frames,
                    login.status,
                )),
                cancel_key: login.cancel_key,
                turns: login.turns,
            })
        }
        Ok(Err(error)) => Err(No::of(error, tenure)),
        Err(_late) => Err(No::silent(Refusal::Late)),
    }
}

/// A refusal after the permit, and whether the client is still to be told.
struct No {
    refusal: Refusal,
    tells: bool,
}

impl No {
    const fn told(refusal: Refusal) -> Self {
        Self {
            refusal,
            tells: true,
        }
    }

    const fn silent(refusal: Refusal) -> Self {
        Self {
            refusal,
            tells: false,
        }
    }

    fn of(error: LoginError, tenure: &Tenure) -> Self {
        let text = error.to_string();
        match error {
            // the server has said it itself
            LoginError::Refused { sqlstate } => {
                if sqlstate.is_some_and(|code| code.as_str().starts_with(INVALID_AUTHORIZATION)) {
                    tenure.meters().auth_failure();
                }
                Self::silent(Refusal::UpstreamRefused(text))
            }
            LoginError::NoChallenge => Self::told(Refusal::NoChallenge),
            LoginError::Cleartext => Self::told(Refusal::Cleartext),
            LoginError::ClientLeft | LoginError::ClientBroke(_) => {
                Self::silent(Refusal::LeftAtChallenge)
            }
            LoginError::ClientMalformed => Self::told(Refusal::Malformed(text)),
            LoginError::UpstreamClosed
            | LoginError::UpstreamMalformed
            | LoginError::UpstreamBroke(_) => Self::told(Refusal::Unreachable(text)),
            LoginError::Interrupted(denial) => Self::told(Refusal::Denied(denial)),
        }
    }
}

async fn dial(visit: &Visit, permit: &Permit, within: Duration) -> Result<Stream, Refusal> {
    let meters = &visit.door.meters;
    let began = Instant::now();
    match visit.door.upstream.connect(permit, within).await {
        Ok(upstream) => {
            let took = began.elapsed();
            meters.phase(Phase::Dial, took);
            // its round trip is better known after the login
            meters.upstream_connected(took, None);
            Ok(upstream)
        }
        Err(error) => {
            if meters.upstream_is_up() != Some(false) {
                tracing::warn!(
                    event = "upstream_down",
                    listener = meters.name(),
                    upstream = %visit.door.upstream,
                    cause = %error,
                    "the database cannot be reached; clients are told so until it can",
                );
            }
            meters.upstream_failed(error.label());
            Err(Refusal::Unreachable(error.to_string()))
        }
    }
}

/// SQLSTATE class 28: the server did not believe the client.
const INVALID_AUTHORIZATION: &str = "28";
