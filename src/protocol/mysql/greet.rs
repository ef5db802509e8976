//! From a greeting to the client's answer: the server's own greeting or one like it, TLS, and who the client says it is. Floor 2.
//!
//! Before TLS no byte is read beyond the packet in hand: what is left in a buffer of ours would later pass for encrypted
//! (CVE-2021-23214 and its family). Of what is said in clear before TLS nothing is used.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    Whom,
    leg::{Leg, LegError},
    rsa::Nonce,
    unfinished::random,
};
use crate::{
    net::{DoorTls, Stream},
    protocol::{ClientTls, secure::secure},
    wire::mysql::{self as wire, ClientOpening, HandshakeResponse, MAX_RESPONSE, Offer, WireError},
};

/// What a greeting needs beside the socket.
#[derive(Clone, Debug)]
pub struct Greeting<'a> {
    /// The server's, or one [like](greeting_like) it.
    pub server: &'a wire::Greeting,
    /// Whether the client may compress: then nobody sees its commands.
    pub compression: bool,
    pub tls: Arc<DoorTls>,
    /// Whether the client is asked for a certificate.
    pub asks: bool,
    /// When a client that has sent nothing is given up.
    pub first_byte: Instant,
}

/// What a client has answered, and where the dialogue with it stands.
#[derive(Debug)]
pub struct Opening {
    pub response: HandshakeResponse,
    /// The id of the next packet to the client.
    pub(super) sequence: u8,
    /// What it was asked to answer to.
    pub(super) nonce: Nonce,
}

impl Opening {
    /// The id of the next packet to the client.
    pub const fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Who it says it is, for a no.
    pub(super) fn whom(&self) -> Whom<'_> {
        Whom {
            user: self.response.user(),
            database: self.response.database(),
        }
    }
}

#[derive(Debug)]
pub struct Greeted {
    pub client: Stream,
    pub tls: Option<ClientTls>,
    pub opening: Opening,
    /// How long the client took to say its first word: its round trip, and its own time.
    pub answered: Duration,
    /// Round trips of the client so far, TCP's own included.
    pub turns: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// A health check of a balancer.
    #[error("the client left without a byte")]
    Probe,
    #[error("the client left before it had said who it is")]
    Left,
    #[error("the client said nothing in time")]
    Silent,
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// To be answered with `error`'s code.
    #[error("malformed opening: {error}")]
    Malformed {
        client: Stream,
        /// The id of the next packet to the client.
        sequence: u8,
        error: OpeningError,
    },
    #[error("the client's socket broke: {0}")]
    Broke(#[from] io::Error),
}

/// What is wrong with an opening. `Display` holds nothing the client said, so it may be shown to it and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    #[error(transparent)]
    Packet(#[from] WireError),
    #[error("Got packets out of order")]
    OutOfOrder,
}

impl OpeningError {
    /// Error number and SQLSTATE to refuse with.
    pub const fn code(self) -> (u16, &'static str) {
        match self {
            Self::Packet(error) => error.code(),
            // ER_NET_PACKETS_OUT_OF_ORDER
            Self::OutOfOrder => (1156, "08S01"),
        }
    }
}

/// A greeting as this server would give it, with a connection id and a nonce of our own: for a client that the database is not to
/// hear of yet. The ids are far above those that a server gives out, so that a `KILL` of one finds nobody.
pub fn greeting_like(server: &wire::Greeting) -> wire::Greeting {
    let id = u32::from_le_bytes(random()) | 0xf000_0000;
    server.ours(id, random())
}

/// Greets a connection that has just been accepted, and reads the answer. Not cancel safe: a call that is dropped has eaten bytes,
/// so the connection ends with it. The caller bounds the whole of it by one deadline.
///
/// # Errors
/// Every way in which a client can fail to say who it is.
pub async fn greet(socket: TcpStream, greeting: Greeting<'_>) -> Result<Greeted, GreetError> {
    let (server, compression) = (greeting.server, greeting.compression);
    let mut leg = Leg::new(socket, 0);
    leg.send(&server.shown(true, compression)).await?;
    let greeted = Instant::now();
    let first = timeout_at(greeting.first_byte, peek(leg.stream())).await;
    let answered = greeted.elapsed();
    if first.map_err(|_elapsed| GreetError::Silent)??.is_none() {
        return Err(GreetError::Probe);
    }
    let offer = server.offer(true, compression);
    // TCP's own round trip, and the greeting's
    let turns = 2;
    let done = |client, (response, sequence)| Greeted {
        client,
        tls: None,
        opening: Opening {
            response,
            sequence,
            nonce: *server.nonce(),
        },
        answered,
        turns,
    };
    match read_opening(&mut leg, offer).await {
        Ok(ClientOpening::Response(response)) => {
            let sequence = leg.sequence();
            let client = Stream::Tcp(leg.into_stream());
            Ok(done(client, (response, sequence)))
        }
        Ok(ClientOpening::SslRequest(_)) => {
            // the server, too, waits for it without a word
            match peek(leg.stream()).await? {
                None => return Err(GreetError::Left),
                Some(TLS_HANDSHAKE) => {}
                Some(_) => {
                    let fault = Fault::Opening(WireError::PlaintextAfterSslRequest.into());
                    return Err(fault.on(leg, Stream::Tcp));
                }
            }
            let sequence = leg.sequence();
            let secured = secure(leg.into_stream(), &greeting.tls, greeting.asks, false).await;
            let secured = secured.map_err(GreetError::Tls)?;
            let mut leg = Leg::new(secured.client, sequence);
            match read_opening(&mut leg, offer.inside_tls()).await {
                Ok(ClientOpening::Response(response)) => {
                    let sequence = leg.sequence();
                    let greeted = done(leg.into_stream(), (response, sequence));
                    Ok(Greeted {
                        tls: Some(secured.tls),
                        turns: turns + secured.turns,
                        ..greeted
                    })
                }
                Ok(ClientOpening::SslRequest(_)) => {
                    Err(Fault::Opening(WireError::Layout.into()).on(leg, |client| client))
                }
                Err(fault) => Err(fault.on(leg, |client| client)),
            }
        }
        Err(fault) => Err(fault.on(leg, Stream::Tcp)),
    }
}

/// How reading one packet can fail, before it is clear whose stream goes with it.
enum Fault {
    Left,
    Opening(OpeningError),
    Io(io::Error),
}

impl Fault {
    fn on<S>(self, leg: Leg<S>, stream: impl FnOnce(S) -> Stream) -> GreetError {
        match self {
            Self::Left => GreetError::Left,
            Self::Opening(error) => GreetError::Malformed {
                sequence: leg.sequence(),
                client: stream(leg.into_stream()),
                error,
            },
            Self::Io(error) => GreetError::Broke(error),
        }
    }
}

async fn read_opening<S: tokio::io::AsyncRead + Unpin>(
    leg: &mut Leg<S>,
    offer: Offer,
) -> Result<ClientOpening, Fault> {
    let received = leg.receive(MAX_RESPONSE).await;
    let payload = received.map_err(|error| match error {
        LegError::Closed => Fault::Left,
        LegError::Io(error) => Fault::Io(error),
        LegError::OutOfOrder => Fault::Opening(OpeningError::OutOfOrder),
        LegError::TooLong => Fault::Opening(WireError::TooLong.into()),
    })?;
    ClientOpening::parse(&payload, offer).map_err(|error| Fault::Opening(error.into()))
}

/// The next byte, left where it is; `None` at the end.
async fn peek(socket: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let seen = socket.peek(&mut byte).await?;
    Ok(byte.first().copied().filter(|_byte| seen > 0))
}

/// The content type of a TLS record that holds a `ClientHello`.
const TLS_HANDSHAKE: u8 = 0x16;

#[cfg(test)]
#[path = "greet_tests.rs"]
mod tests;
