//! From the startup packet to the first `ReadyForQuery`: the database's own authentication, relayed message by message. Floor 2.
//!
//! Only whole messages reach the client, so that at any moment one of ours may follow. From the client only `p` is taken,
//! and only when the server has asked: a second startup packet never gets anywhere, and nothing sent ahead is read, so
//! nothing is lost.

use std::{io, pin::pin, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};
use zeroize::Zeroizing;

use super::{
    exchange::Exchange,
    heard::{End, Heard, Rules},
    pairing::Scram,
    scram::{Distrust, Doubt},
    terminate::{Legs, terminate},
};
use crate::{
    net::Stream,
    policy::Denial,
    wire::postgres::{
        CancelKey, Frames, Garbled, Message, Sqlstate, StartupMessage, TransactionStatus,
    },
};

/// Under which terms a client may be logged in.
#[derive(Debug)]
pub struct Terms<'a, I> {
    /// The authentication floor: who is let in without having answered a challenge is put out.
    pub authentication: bool,
    /// Whether a password may pass unhashed: both legs are [private](is_private).
    pub cleartext: bool,
    pub scram: Scram<'a>,
    /// Resolves when the policy no longer admits the session.
    pub interrupted: I,
}

/// A session that the database has said yes to. No byte is lost: what came behind the server's `ReadyForQuery` has been
/// handed on.
#[derive(Debug)]
pub struct LoggedIn {
    pub cancel_key: Option<CancelKey>,
    /// Where the client's messages stand.
    pub client_frames: Frames,
    /// Where the server's messages stand.
    pub server_frames: Frames,
    pub status: TransactionStatus,
    /// Round trips of the login: the startup packet's, and one for each answer.
    pub turns: u32,
    /// How long its first answer took: the way there and back, for what costs a client time (the password's hashing) comes with
    /// a later one.
    pub first_answer: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The client has been told by the server itself.
    #[error("the server refused: {}", sqlstate.as_ref().map_or("no code", Sqlstate::as_str))]
    Refused {
        sqlstate: Option<Sqlstate>,
        /// It was no try at a login, see [`Exchange::discovers`].
        discovery: bool,
    },
    /// Nothing of it has reached the client.
    #[error("the server asked for no proof of identity")]
    NoChallenge,
    #[error("the server asked for the password in clear, over a connection that is not private")]
    Cleartext,
    /// The server has heard nothing of it.
    #[error("{0}")]
    Doubted(#[from] Doubt),
    /// The client has been believed.
    #[error("{0}")]
    Distrusted(#[from] Distrust),
    #[error("the machine has no randomness")]
    NoRandomness,
    #[error("the client left during the login")]
    ClientLeft,
    #[error("the client sent something else than an answer to the challenge")]
    ClientMalformed,
    #[error("the server closed the connection during the login")]
    UpstreamClosed,
    #[error("the server sent something that is no part of a login")]
    UpstreamMalformed,
    #[error("no longer admitted: {0}")]
    Interrupted(Denial),
    #[error("the client's socket broke: {0}")]
    ClientBroke(#[source] io::Error),
    #[error("the server's socket broke: {0}")]
    UpstreamBroke(#[source] io::Error),
}

/// Relays the login. After any error but a broken client the client stands between two messages and may be told. Not
/// cancel safe: a call that is dropped may have written half a message.
///
/// # Errors
/// Every way in which a login can end before the session begins.
pub async fn login<C, U, I>(
    client: &mut C,
    upstream: &mut U,
    startup: &StartupMessage,
    terms: Terms<'_, I>,
) -> Result<LoggedIn, LoginError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    I: Future<Output = Denial>,
{
    let mut interrupted = pin!(terms.interrupted);
    let mut exchange = Exchange::new(terms.authentication, terms.cleartext);
    let mut said = Vec::with_capacity(1024);
    let mut answer = Answer::default();
    let (mut asked, mut first_answer) = (None, None);
    ask(upstream, &startup.encode()).await?;
    let rules = Rules {
        scram: terms.scram,
        cleartext: terms.cleartext,
        startup,
    };
    loop {
        let heard = Heard::new(&mut exchange, &said, &rules);
        tell(client, said.get(..heard.relayed).unwrap_or_default()).await?;
        tell(client, &heard.instead).await?;
        let end = heard.end?;
        said.drain(..heard.done);
        match end {
            End::More if exchange.awaits_answer() => asked = asked.or_else(|| Some(Instant::now())),
            End::More => {}
            End::Replaced => continue,
            End::Ours(offer, proofs) => {
                let legs = Legs {
                    client,
                    upstream,
                    said: &mut said,
                    interrupted: interrupted.as_mut(),
                };
                terminate(legs, &offer, startup.user(), proofs).await?;
                exchange.proved();
                continue;
            }
            End::Ready(status, server_frames) => {
                ask(upstream, &answer.bytes).await?;
                return Ok(LoggedIn {
                    client_frames: answer.frames(),
                    server_frames,
                    status,
                    turns: 1 + exchange.answers(),
                    first_answer,
                    cancel_key: exchange.into_cancel_key(),
                });
            }
        }
        tokio::select! {
            biased;
            denial = &mut interrupted => return Err(LoginError::Interrupted(denial)),
            read = upstream.read_buf(&mut said) => {
                if read.map_err(LoginError::UpstreamBroke)? == 0 {
                    return Err(LoginError::UpstreamClosed);
                }
            }
            complete = answer.read(client), if exchange.awaits_answer() => {
                complete?;
                first_answer = first_answer.or_else(|| Some(asked?.elapsed()));
                ask(upstream, &answer.bytes).await?;
                exchange.answered(answer.payload());
                answer = Answer::default();
            }
        }
    }
}

/// Whether nobody between us and the peer can listen.
pub fn is_private(stream: &Stream) -> bool {
    match stream {
        Stream::Tls(_) | Stream::Unix(_) => true,
        Stream::Tcp(socket) => socket
            .peer_addr()
            .is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
    }
}

/// An answer of the client as far as it has come; wiped when dropped, for it may be a password.
#[derive(Default)]
pub(super) struct Answer {
    bytes: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Reads up to the end of one `p`, and not a byte beyond. Cancel safe: what has been read stays here.
    pub(super) async fn read<C: AsyncRead + Unpin>(
        &mut self,
        client: &mut C,
    ) -> Result<(), LoginError> {
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                return Ok(());
            }
            // once for the header and once for all of it, so that no copy of a password is left behind
            self.bytes.reserve_exact(missing);
            let read = client.take(missing as u64).read_buf(&mut *self.bytes).await;
            if read.map_err(LoginError::ClientBroke)? == 0 {
                return Err(LoginError::ClientLeft);
            }
        }
    }

    /// What stands behind its header, once it is whole.
    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    fn missing(&self) -> Result<usize, LoginError> {
        if self.bytes.first().is_some_and(|kind| *kind != b'p') {
            return Err(LoginError::ClientMalformed);
        }
        let size = match self.bytes.first_chunk() {
            None => HEADER,
            Some(header) => {
                Message::size(*header, MAX_ANSWER).map_err(|Garbled| LoginError::ClientMalformed)?
            }
        };
        Ok(size.saturating_sub(self.bytes.len()))
    }

    /// Where the client's messages stand when the login ends inside of one.
    fn frames(&self) -> Frames {
        let mut frames = Frames::default();
        frames.advance(&self.bytes, |_| ());
        frames
    }
}

pub(super) async fn tell<C: AsyncWrite + Unpin>(
    client: &mut C,
    bytes: &[u8],
) -> Result<(), LoginError> {
    send(client, bytes).await.map_err(LoginError::ClientBroke)
}

pub(super) async fn ask<U: AsyncWrite + Unpin>(
    upstream: &mut U,
    bytes: &[u8],
) -> Result<(), LoginError> {
    send(upstream, bytes)
        .await
        .map_err(LoginError::UpstreamBroke)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Longest payload of a server's message during login, in bytes: its GSS tokens go up to 65 535.
pub(super) const MAX_MESSAGE: usize = 65_536 + 4;
/// Longest payload of a client's answer, in bytes (`PG_MAX_AUTH_TOKEN_LENGTH`).
const MAX_ANSWER: usize = 65_535;
/// The type byte and the length.
const HEADER: usize = 5;

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
