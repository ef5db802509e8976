//! A SCRAM login that ends here and is made anew: first the client has to prove its password to us, then we prove the same to the
//! server. Floor 2.
//!
//! Nothing of the client reaches the server before its proof holds. Only whole messages are written on either leg.

use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{
    login::{Answer, LoginError, MAX_MESSAGE, ask, tell},
    pairing::Proofs,
    scram::{ClientSide, ServerSide, nonce},
};
use crate::{
    net::EndPoint,
    policy::Denial,
    wire::postgres::{Message, Sqlstate},
};

/// Both legs of a login, and what has been read of the server's and not used yet.
pub(super) struct Legs<'l, C, U, I> {
    pub(super) client: &'l mut C,
    pub(super) upstream: &'l mut U,
    pub(super) said: &'l mut Vec<u8>,
    /// Resolves when the policy no longer admits the session.
    pub(super) interrupted: Pin<&'l mut I>,
}

/// From the server's offer to its last word on the proof, for the user of the startup packet. The server's yes is still to come.
///
/// # Errors
/// One of the two is not believed, or a leg fails.
pub(super) async fn terminate<C, U, I>(
    mut legs: Legs<'_, C, U, I>,
    offer: &[u8],
    user: &str,
    proofs: Proofs<'_>,
) -> Result<(), LoginError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    I: Future<Output = Denial>,
{
    let verifier = proofs.accounts.of(user);
    let [ours, theirs] =
        [&proofs.ours, &proofs.theirs].map(|one| one.as_ref().map(EndPoint::as_bytes));

    let server = ServerSide::new(&verifier, ours);
    tell(legs.client, &server.offer()).await?;
    let first = legs.client_says().await?;
    let (challenged, challenge) = server.challenge(first.payload(), &fresh()?)?;
    tell(legs.client, &challenge).await?;
    let proof = legs.client_says().await?;
    let (key, last) = challenged.judge(proof.payload())?;

    let client = ClientSide::new(&verifier, key);
    let (introduced, first) = client.answer(offer, theirs, &fresh()?)?;
    ask(legs.upstream, &first).await?;
    let challenge = legs.server_says().await?;
    let (proved, proof) = introduced.prove(&challenge)?;
    ask(legs.upstream, &proof).await?;
    proved.check(&legs.server_says().await?)?;

    tell(legs.client, &last).await
}

impl<C, U, I> Legs<'_, C, U, I>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    I: Future<Output = Denial>,
{
    /// The client's next `p`. The server waits meanwhile; what it says all the same ends the login.
    async fn client_says(&mut self) -> Result<Answer, LoginError> {
        let mut answer = Answer::default();
        loop {
            if self.message().await?.is_some() {
                return Err(LoginError::UpstreamMalformed);
            }
            tokio::select! {
                biased;
                denial = &mut self.interrupted => return Err(LoginError::Interrupted(denial)),
                read = self.upstream.read_buf(self.said) => heard(read)?,
                complete = answer.read(self.client) => return complete.map(|()| answer),
            }
        }
    }

    /// The payload of the server's next `R`.
    async fn server_says(&mut self) -> Result<Vec<u8>, LoginError> {
        loop {
            if let Some(payload) = self.message().await? {
                return Ok(payload);
            }
            tokio::select! {
                biased;
                denial = &mut self.interrupted => return Err(LoginError::Interrupted(denial)),
                read = self.upstream.read_buf(self.said) => heard(read)?,
            }
        }
    }

    /// Takes what the server has said: the payload of an `R`, if one is all there. Its notices are handed on, and its no.
    async fn message(&mut self) -> Result<Option<Vec<u8>>, LoginError> {
        loop {
            let split = Message::split(self.said, MAX_MESSAGE);
            let Some((message, rest)) = split.map_err(|_garbled| LoginError::UpstreamMalformed)?
            else {
                return Ok(None);
            };
            let size = self.said.len() - rest.len();
            let (kind, payload) = (message.kind, message.payload.to_vec());
            let whole: Vec<u8> = self.said.drain(..size).collect();
            match kind {
                b'R' => return Ok(Some(payload)),
                b'N' => tell(self.client, &whole).await?,
                b'E' => {
                    tell(self.client, &whole).await?;
                    let sqlstate = Sqlstate::of_error(&payload);
                    return Err(LoginError::Refused {
                        sqlstate,
                        discovery: false,
                    });
                }
                _ => return Err(LoginError::UpstreamMalformed),
            }
        }
    }
}

fn heard(read: std::io::Result<usize>) -> Result<(), LoginError> {
    match read.map_err(LoginError::UpstreamBroke)? {
        0 => Err(LoginError::UpstreamClosed),
        _ => Ok(()),
    }
}

fn fresh() -> Result<String, LoginError> {
    nonce().map_err(|_unspecified| LoginError::NoRandomness)
}

#[cfg(test)]
#[path = "terminate_tests.rs"]
mod tests;
