//! The way to a PostgreSQL server, encrypted where it is to be: for sessions, for cancels, and to see whether it is there. Floor 3.

use std::time::Duration;

use tokio::time::timeout;

use super::Door;
use crate::{
    net::{DialError, Negotiation, Shown, Stream},
    protocol::postgres::{self, Accounts, EncryptError, Pairing, Plan, Proofs, Scram},
};

/// Why there is no connection to the server that could be used. `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the connection to the server is not encrypted as `upstream_tls` demands: {0}")]
    Unencrypted(#[from] EncryptError),
    #[error("the server took the connection and did not shake hands within {0:?}")]
    NoHandshake(Duration),
}

impl Unreached {
    /// The metric label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Dial(error) => error.label(),
            Self::Unencrypted(_) | Self::NoHandshake(_) => "tls",
        }
    }
}

impl Door {
    /// A connection to a PostgreSQL server for the gateway's own sake, as a session would have it. The server does not log one
    /// that ends without a startup packet.
    ///
    /// # Errors
    /// A session would have none either.
    pub async fn reach(&self, within: Duration) -> Result<Stream, Unreached> {
        self.encrypted(self.upstream.visit(within), within).await
    }

    /// What becomes of SCRAM between a client that has seen this of us, and the server at the end of this stream.
    pub(super) fn scram<'a>(
        &self,
        shown: Option<&Shown>,
        upstream: &Stream,
        accounts: Option<&'a Accounts>,
    ) -> Scram<'a> {
        let certificate = upstream.server_certificate();
        let pairing = Pairing {
            client_tls: shown.is_some(),
            upstream_tls: certificate.is_some(),
            same_certificate: certificate == shown.map(|shown| shown.fingerprint),
            verifiers: accounts.is_some(),
        };
        match (pairing.plan(self.in_force().scram), accounts) {
            (Plan::Terminate, Some(accounts)) => Scram::Terminate(Proofs {
                accounts,
                ours: shown.and_then(|shown| shown.end_point),
                theirs: upstream.server_end_point(),
            }),
            (Plan::Strip, _) => Scram::Strip,
            (Plan::Misbound, _) => Scram::Misbound,
            (Plan::Relay | Plan::Terminate, _) => Scram::Relay,
        }
    }

    /// Round trips that it took to connect to a PostgreSQL server: with the one for TLS, where that is asked for.
    pub(super) fn turns_to(&self, upstream: &Stream) -> u32 {
        let tls = self.upstream.tls();
        let asked = tls.is_some_and(|tls| tls.negotiation() == Negotiation::Request);
        upstream.round_trips() + u32::from(asked)
    }

    /// What `dialling` gives, encrypted where the way to a PostgreSQL server is to be. `within` bounds the handshake.
    pub(super) async fn encrypted(
        &self,
        dialling: impl Future<Output = Result<Stream, DialError>>,
        within: Duration,
    ) -> Result<Stream, Unreached> {
        let stream = dialling.await?;
        let Some(tls) = self.upstream.tls() else {
            return Ok(stream);
        };
        let encrypting = timeout(within, postgres::encrypt(stream, &tls));
        let encrypted = encrypting.await;
        Ok(encrypted.map_err(|_late| Unreached::NoHandshake(within))??)
    }
}
