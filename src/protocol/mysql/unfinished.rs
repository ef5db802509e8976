//! A connection to the server whose login has not ended, and how to end it without harm. Floor 2.
//!
//! A server counts each connection that is closed before its login has ended, and after `max_connect_errors` of them refuses the
//! host (1129): the gateway's, so everybody. A login that fails is not counted, as long as each answer is one that the server reads,
//! right or wrong. So what has been dialled for a client that is then refused, or has left, is ended by a login that fails.

use std::{io, sync::Arc, time::Duration};

use aws_lc_rs::rand;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::timeout,
};

use super::{
    leg::{Leg, LegError, Payload},
    legs::Way,
};
use crate::{
    net::{SecureError, Stream, UpstreamTls},
    wire::mysql::{
        AuthPacket, Capabilities, Edit, FirstPacket, Greeting, HandshakeResponse, MAX_RESPONSE,
        NotAGreeting, Readable, code, commands, junk_login,
    },
};

/// What has been dialled, up to the server's yes or no. To be ended by [`Unfinished::abandon`] wherever it does not become a
/// session.
#[derive(Debug)]
pub struct Unfinished<S = Stream> {
    /// `None` once a TLS handshake has failed: nothing more can be said.
    leg: Option<Leg<S>>,
    stage: Stage,
    /// Which the server reads, to what it has said last.
    answers: Readable,
    greeting: Option<Box<Greeting>>,
    way: Way,
    /// Whether the server counts what is closed too early.
    counts: bool,
    proxied: bool,
    /// What was said to the server, in packets that it answers.
    said: u32,
    abandons: Arc<Abandons>,
}

/// Whose word is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The server's first.
    Greeting,
    /// Ours to its greeting.
    Response,
    /// The server's.
    Verdict,
    /// An answer of ours, or the server's again: that depends on the plugin.
    Answer,
    LoggedIn,
    Over,
}

/// Why a server that was reached has not greeted.
#[derive(Debug, thiserror::Error)]
pub enum HearError {
    /// In place of a greeting. The payload is for the client as it is.
    #[error("the server refused before its greeting: error {errno}")]
    Refused { errno: u16, payload: Vec<u8> },
    #[error("the server closed the connection before its greeting")]
    Closed,
    #[error("{0}")]
    NotAGreeting(#[from] NotAGreeting),
    #[error("the server's socket broke: {0}")]
    Broke(#[source] io::Error),
}

/// Why a connection that is to be encrypted is not.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    #[error("the server offers no TLS")]
    NotOffered,
    #[error(transparent)]
    Handshake(#[from] SecureError),
    #[error("the server's socket broke: {0}")]
    Broke(#[from] io::Error),
}

/// How a connection was ended that did not become a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// Closed where the server does not count.
    Closed,
    /// By a login that failed, or by one that was let in and took leave: the server counts nothing.
    InOrder,
    /// The server did not play along, or not in time, and may have counted it.
    Counted,
}

/// How many logins that fail on purpose may go on at a time. A server may answer them slowly, to slow down who guesses passwords.
#[derive(Debug)]
pub struct Abandons(Semaphore);

impl Default for Abandons {
    fn default() -> Self {
        Self(Semaphore::new(AT_A_TIME))
    }
}

impl Unfinished {
    /// A connection that has just been dialled. `proxied`: it began with a PROXY header, and then the server counts by the client's
    /// address, on a unix socket too.
    pub fn new(stream: Stream, proxied: bool, abandons: Arc<Abandons>) -> Self {
        let way = Way::of(&stream);
        // loopback is no exception here: a port of this machine may lead into a container that sees another address
        let counts = proxied || way != Way::Unix;
        Self {
            proxied,
            ..Self::over(stream, way, counts, abandons)
        }
    }

    /// Asks the server for TLS and shakes hands. To be done before the login.
    ///
    /// # Errors
    /// A server that has no TLS, which has heard nothing then; or is not who it must be.
    pub async fn encrypt(
        &mut self,
        response: &HandshakeResponse,
        edit: &Edit<'_>,
        tls: &UpstreamTls,
    ) -> Result<(), EncryptError> {
        let greeting = self.greeting.as_deref().map(Greeting::capabilities);
        if !greeting.is_some_and(|offered| offered.has(Capabilities::SSL)) {
            return Err(EncryptError::NotOffered);
        }
        self.leg()?.send(&response.ssl_request(edit)).await?;
        if let Some(leg) = self.leg.take() {
            self.leg = Some(leg.changed(async |stream| tls.secure(stream).await).await?);
            self.way = Way::Tls;
        }
        Ok(())
    }
}

impl<S> Unfinished<S> {
    pub(super) fn over(stream: S, way: Way, counts: bool, abandons: Arc<Abandons>) -> Self {
        Self {
            leg: Some(Leg::new(stream, 0)),
            stage: Stage::Greeting,
            answers: Readable::Any,
            greeting: None,
            way,
            counts,
            proxied: false,
            said: 0,
            abandons,
        }
    }

    /// A session of which the next packet to the server is a command that asks for a login.
    pub(super) fn again(stream: S, way: Way) -> Self {
        let none_yet = Self::over(stream, way, false, Arc::default());
        Self {
            stage: Stage::Response,
            ..none_yet
        }
    }

    /// What the server has said first; `None` before it was [heard](Unfinished::hear).
    pub fn greeting(&self) -> Option<&Greeting> {
        self.greeting.as_deref()
    }

    /// Whether the server has heard by a PROXY header whom the connection is for.
    pub const fn proxied(&self) -> bool {
        self.proxied
    }

    /// The way to the server.
    pub const fn way(&self) -> Way {
        self.way
    }

    /// Round trips to the server on this connection: to its greeting, and for each answer of ours.
    pub const fn turns(&self) -> u32 {
        1 + self.said
    }

    /// How often the server had something to answer.
    pub(super) const fn said(&self) -> u32 {
        self.said
    }

    /// The connection, when it has become a session.
    pub fn into_stream(self) -> Option<S> {
        self.leg.map(Leg::into_stream)
    }

    #[cfg(test)]
    pub(super) fn skip(&mut self) {
        self.leg().unwrap().skip();
    }

    fn leg(&mut self) -> io::Result<&mut Leg<S>> {
        let gone = || io::ErrorKind::NotConnected.into();
        self.leg.as_mut().ok_or_else(gone)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Unfinished<S> {
    /// Waits for the server's greeting. Cancel safe.
    ///
    /// # Errors
    /// A server that does not greet.
    pub async fn hear(&mut self) -> Result<&Greeting, HearError> {
        if self.stage == Stage::Greeting {
            let received = self.leg().map_err(HearError::Broke)?;
            let received = received.receive(MAX_GREETING).await;
            self.stage = Stage::Over;
            let payload = received.map_err(|error| match error {
                LegError::Closed => HearError::Closed,
                LegError::Io(error) => HearError::Broke(error),
                LegError::OutOfOrder | LegError::TooLong => NotAGreeting::Layout.into(),
            })?;
            match FirstPacket::parse(&payload)? {
                FirstPacket::Greeting(greeting) => {
                    self.stage = Stage::Response;
                    self.greeting = Some(Box::new(greeting));
                }
                FirstPacket::Refused { errno, payload } => {
                    return Err(HearError::Refused { errno, payload });
                }
            }
        }
        self.greeting.as_deref().ok_or(HearError::Closed)
    }

    /// The server's next packet. Cancel safe.
    pub(super) async fn receive(&mut self) -> Result<Payload, LegError> {
        let payload = self.leg()?.receive(MAX_RESPONSE).await?;
        let packet = AuthPacket::parse(&payload, Capabilities::default());
        self.answers = packet.as_ref().map_or(Readable::Any, Readable::answers_to);
        self.stage = match packet {
            Ok(AuthPacket::Ok(_)) => Stage::LoggedIn,
            Ok(AuthPacket::Err { .. }) => Stage::Over,
            // it says OK next
            Ok(AuthPacket::MoreData([code::CACHING_SHA2_FAST_OK])) => Stage::Verdict,
            Ok(
                AuthPacket::Switch { .. }
                | AuthPacket::NextFactor { .. }
                | AuthPacket::MoreData(_)
                | AuthPacket::Raw(_),
            )
            | Err(_) => Stage::Answer,
        };
        Ok(payload)
    }

    /// Whether the server reads such an answer: one that it does not read, it counts.
    pub(super) const fn reads(&self, answer: &[u8]) -> bool {
        self.answers.has(answer.len())
    }

    /// Says something to the server. Cancel safe: what is not written yet goes first when the connection is
    /// [abandoned](Unfinished::abandon).
    pub(super) async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.stage = Stage::Verdict;
        self.said = self.said.saturating_add(1);
        self.leg()?.send(payload).await
    }

    /// Ends the connection, wherever its login stands, so that the server does not count it against this host. Takes a few seconds
    /// at most.
    pub async fn abandon(mut self) -> Abandoned {
        if !self.counts {
            return Abandoned::Closed;
        }
        let abandons = Arc::clone(&self.abandons);
        let Ok(Ok(_place)) = timeout(PATIENCE, abandons.0.acquire()).await else {
            return Abandoned::Counted;
        };
        match timeout(WITHIN, self.fail()).await {
            Ok(Ok(_verdict)) => Abandoned::InOrder,
            Ok(Err(_)) | Err(_) => Abandoned::Counted,
        }
    }

    /// The same for a session of which another login was asked and is not to end well: there, too, the server counts.
    pub(super) async fn forsake(&mut self) {
        let _failed = timeout(WITHIN, self.fail()).await;
    }

    /// Plays the login to its end as somebody who does not exist, with answers that are none. Tells the error number of the
    /// server's refusal.
    pub(super) async fn fail(&mut self) -> Result<Option<u16>, LegError> {
        let mut verdict = None;
        // the rest of a packet that was being written
        self.leg()?.finish().await?;
        for _ in 0..MAX_STEPS {
            match self.stage {
                Stage::Greeting => match self.hear().await {
                    Ok(_) | Err(HearError::Refused { .. }) => {}
                    Err(_no_server) => return Err(LegError::Closed),
                },
                Stage::Response => {
                    let plugin = self.greeting().map_or("", Greeting::plugin);
                    let response = junk_login(plugin, &nobody(), &random());
                    self.send(&response).await?;
                }
                Stage::Answer => self.send(&junk_answer(self.answers)).await?,
                Stage::Verdict => {
                    let packet = self.receive().await?;
                    if let Ok(AuthPacket::Err { errno, .. }) =
                        AuthPacket::parse(&packet, Capabilities::default())
                    {
                        verdict = Some(errno);
                    }
                }
                Stage::LoggedIn => {
                    let leg = self.leg()?;
                    leg.restart();
                    leg.send(&[commands::QUIT]).await?;
                    self.stage = Stage::Over;
                }
                Stage::Over => {
                    self.leg()?.close().await?;
                    return Ok(verdict);
                }
            }
        }
        Err(LegError::OutOfOrder)
    }
}

/// A name that no account has: each time another, since accounts are locked after too many failures.
fn nobody() -> String {
    let digits = u64::from_le_bytes(random());
    format!("doorward_nobody_{digits:016x}")
}

/// Proves nothing, whatever was asked. A server that had not asked would take it for a command: for one that does nothing.
fn junk_answer(answers: Readable) -> Vec<u8> {
    let junk: [u8; 32] = random();
    let mut answer: Vec<u8> = junk
        .iter()
        .copied()
        .cycle()
        .take(answers.length())
        .collect();
    if let Some(first) = answer.first_mut() {
        *first = commands::PING;
    }
    answer
}

/// Bytes that nobody guesses; zeros where the library fails, which nothing here relies on.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _filled = rand::fill(&mut bytes);
    bytes
}

/// Longest payload of a greeting, in bytes: a version, a plugin's name and under 100 bytes more.
const MAX_GREETING: usize = 1024;
const AT_A_TIME: usize = 64;
/// How long an end may wait for its turn, and how long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(2);
/// The most packets of a login that is to fail.
const MAX_STEPS: usize = 24;

#[cfg(test)]
#[path = "unfinished_tests.rs"]
mod tests;
