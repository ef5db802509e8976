//! The login at a PostgreSQL server, from the permit to the server's yes. Floor 3.

use std::borrow::Cow;

use tokio::time::{Instant, timeout_at};

use super::{
    admitted::LoginOutcome, login::No, refusal::Refusal, stages::Visit, tenure::Tenure,
    upstream::dial,
};
use crate::{
    config::Identify,
    meter::Phase,
    net::{Shown, Stream},
    protocol::{
        Conversation,
        postgres::{
            self, LoginError,
            scram::{Distrust, Doubt},
        },
    },
    wire::postgres::StartupMessage,
};

pub(super) async fn login_postgres(
    (client, shown): (&mut Stream, Option<&Shown>),
    startup: &StartupMessage,
    tenure: &mut Tenure,
    visit: &Visit,
) -> Result<LoginOutcome, No> {
    let limits = *visit.gateway.limits.borrow();
    let deadline = Instant::now() + limits.login;
    let dialling = visit
        .door
        .upstream
        .connect(&tenure.held.permit, limits.dial);
    let dialling = visit.door.encrypted(dialling, limits.dial);
    let mut upstream = dial(visit, dialling).await.map_err(No::told)?;
    let began = Instant::now();
    let authentication = tenure.has_to_answer(&tenure.held.permit);
    // a balancer on this machine is not where its clients are
    let near = !matches!(client, Stream::Tcp(_)) || visit.address.is_loopback();
    let private = near && postgres::is_private(client);
    let accounts = visit.door.accounts();
    let terms = postgres::Terms {
        authentication,
        cleartext: private && postgres::is_private(&upstream),
        scram: visit.door.scram(shown, &upstream, accounts.as_deref()),
        interrupted: async { tenure.ended().await.denial },
    };
    // the claim, and what is logged of it, stay the client's own words
    let startup = match visit.door.in_force().identify {
        Identify::Off => Cow::Borrowed(startup),
        Identify::ApplicationName => Cow::Owned(startup.told_from(visit.address)),
    };
    let login = postgres::login(client, &mut upstream, &startup, terms);
    match timeout_at(deadline, login).await {
        Ok(Ok(login)) => {
            visit.door.meters.phase(Phase::Login, began.elapsed());
            Ok(LoginOutcome {
                upstream_turns: visit.door.turns_to(&upstream) + login.turns,
                upstream,
                conversation: Conversation::Postgres(postgres::Conversation::new(
                    login.client_frames,
                    login.server_frames,
                    login.status,
                )),
                cancel_key: login.cancel_key,
                agreed: None,
                turns: login.turns,
                first_answer: login.first_answer,
            })
        }
        Ok(Err(error)) => Err(No::of_postgres(error, tenure)),
        Err(_late) => Err(No::silent(Refusal::Late)),
    }
}

impl No {
    fn of_postgres(error: LoginError, tenure: &Tenure) -> Self {
        let text = error.to_string();
        match error {
            // the server has said it itself
            LoginError::Refused {
                discovery: true, ..
            } => Self::silent(Refusal::LeftAtChallenge),
            LoginError::Refused { sqlstate, .. } => {
                if sqlstate.is_some_and(|code| code.as_str().starts_with(INVALID_AUTHORIZATION)) {
                    tenure.held.disbelieved(&tenure.held.claim);
                }
                Self::silent(Refusal::UpstreamRefused(text))
            }
            LoginError::NoChallenge => Self::told(Refusal::NoChallenge),
            LoginError::Cleartext => Self::told(Refusal::Cleartext),
            LoginError::Doubted(Doubt::Garbled | Doubt::NotOffered) => {
                Self::told(Refusal::Malformed(text))
            }
            LoginError::Doubted(Doubt::Downgraded | Doubt::OtherConnection | Doubt::WrongProof) => {
                tenure.held.disbelieved(&tenure.held.claim);
                Self::told(Refusal::NotProved(text))
            }
            // the client was right by what is known here
            LoginError::Distrusted(Distrust::Stale) => Self::told(Refusal::NotProved(text)),
            LoginError::ClientLeft | LoginError::ClientBroke(_) => {
                Self::silent(Refusal::LeftAtChallenge)
            }
            LoginError::ClientMalformed => Self::told(Refusal::Malformed(text)),
            LoginError::Distrusted(_)
            | LoginError::NoRandomness
            | LoginError::UpstreamClosed
            | LoginError::UpstreamMalformed
            | LoginError::UpstreamBroke(_) => Self::told(Refusal::Unreachable(text)),
            LoginError::Interrupted(denial) => Self::told(Refusal::Denied(denial)),
        }
    }
}

/// SQLSTATE class 28: the server did not believe the client.
const INVALID_AUTHORIZATION: &str = "28";
