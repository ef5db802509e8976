//! From the startup packet to the first `ReadyForQuery`: the database's own authentication, relayed message by message. Floor 2.
//!
//! Only whole messages reach the client, so that at any moment one of ours may follow. From the client only `p` is taken,
//! and only when the server has asked: a second startup packet never gets anywhere, and nothing sent ahead is read, so
//! nothing is lost.

use std::{io, pin::pin};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::exchange::{Exchange, Fault, Step};
use crate::{
    net::Stream,
    policy::Denial,
    wire::postgres::{
        CancelKey, Frames, Garbled, Message, Sqlstate, StartupMessage, TransactionStatus,
    },
};

/// Under which terms a client may be logged in.
#[derive(Debug)]
pub struct Terms<I> {
    /// The authentication floor: who is let in without having answered a challenge is put out.
    pub authentication: bool,
    /// Whether a password may pass unhashed: both legs are [private](is_private).
    pub cleartext: bool,
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
    /// Whether the client has answered a challenge.
    pub challenged: bool,
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
    terms: Terms<I>,
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
    send(upstream, &startup.encode())
        .await
        .map_err(LoginError::UpstreamBroke)?;
    loop {
        tokio::select! {
            biased;
            denial = &mut interrupted => return Err(LoginError::Interrupted(denial)),
            read = upstream.read_buf(&mut said) => {
                if read.map_err(LoginError::UpstreamBroke)? == 0 {
                    return Err(LoginError::UpstreamClosed);
                }
                let heard = Heard::new(&mut exchange, &said);
                let whole = said.get(..heard.whole).unwrap_or_default();
                send(client, whole).await.map_err(LoginError::ClientBroke)?;
                if let Some((status, server_frames)) = heard.end? {
                    send(upstream, &answer.bytes).await.map_err(LoginError::UpstreamBroke)?;
                    return Ok(LoggedIn {
                        client_frames: answer.frames(),
                        server_frames,
                        status,
                        turns: 1 + exchange.answers(),
                        challenged: exchange.answers() > 0,
                        cancel_key: exchange.into_cancel_key(),
                    });
                }
                said.drain(..heard.whole);
            }
            complete = answer.read(client), if exchange.awaits_answer() => {
                complete?;
                send(upstream, &answer.bytes).await.map_err(LoginError::UpstreamBroke)?;
                exchange.answered(answer.bytes.get(HEADER..).unwrap_or_default());
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

/// What a stretch of the server's bytes comes to.
struct Heard {
    /// How many of them may be handed on.
    whole: usize,
    /// The session begins, with the server's frames where they stand; or the login fails.
    end: Result<Option<(TransactionStatus, Frames)>, LoginError>,
}

impl Heard {
    fn new(exchange: &mut Exchange, said: &[u8]) -> Self {
        let mut rest = said;
        let end = loop {
            let (message, after) = match Message::split(rest, MAX_MESSAGE) {
                Ok(Some(parts)) => parts,
                Ok(None) => break Ok(None),
                Err(Garbled) => break Err(LoginError::UpstreamMalformed),
            };
            match exchange.server_says(message) {
                Ok(Step::Relay) => rest = after,
                Ok(Step::Refused(sqlstate)) => {
                    rest = after;
                    let discovery = exchange.discovers();
                    break Err(LoginError::Refused {
                        sqlstate,
                        discovery,
                    });
                }
                Ok(Step::Ready(status)) => {
                    rest = &[];
                    break Ok(Some(follow(status, after)));
                }
                Err(Fault::NoChallenge) => break Err(LoginError::NoChallenge),
                Err(Fault::Cleartext) => break Err(LoginError::Cleartext),
                Err(Fault::Garbled) => break Err(LoginError::UpstreamMalformed),
            }
        };
        Self {
            whole: said.len() - rest.len(),
            end,
        }
    }
}

/// Steps over what the server has already sent behind its `ReadyForQuery`.
fn follow(mut status: TransactionStatus, bytes: &[u8]) -> (TransactionStatus, Frames) {
    let mut frames = Frames::default();
    frames.advance(bytes, |frame| {
        if frame.kind == b'Z' {
            status = frame
                .first
                .and_then(TransactionStatus::from_byte)
                .unwrap_or(status);
        }
    });
    (status, frames)
}

/// An answer of the client as far as it has come; wiped when dropped, for it may be a password.
#[derive(Default)]
struct Answer {
    bytes: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Reads up to the end of one `p`, and not a byte beyond. Cancel safe: what has been read stays here.
    async fn read<C: AsyncRead + Unpin>(&mut self, client: &mut C) -> Result<(), LoginError> {
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

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Longest payload of a server's message during login, in bytes: its GSS tokens go up to 65 535.
const MAX_MESSAGE: usize = 65_536 + 4;
/// Longest payload of a client's answer, in bytes (`PG_MAX_AUTH_TOKEN_LENGTH`).
const MAX_ANSWER: usize = 65_535;
/// The type byte and the length.
const HEADER: usize = 5;

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
