//! From the first byte to the opening: encryption is negotiated, then the client says what it wants. Floor 2.
//!
//! Before TLS no byte is read beyond the request in hand: what is left in a buffer of ours would later pass for encrypted
//! (CVE-2021-23214 and its family).

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    net::{DoorTls, Stream},
    protocol::{
        ClientTls,
        secure::{Secured, has_more, secure},
    },
    wire::{
        Parsed,
        postgres::{CancelKey, Opening, StartupMessage, WireError},
    },
};

/// What a greeting needs beside the socket.
#[derive(Clone, Debug)]
pub struct Greeting {
    pub tls: Arc<DoorTls>,
    /// Whether the client is asked for a certificate.
    pub asks: bool,
    /// When a client that has sent nothing is given up.
    pub first_byte: Instant,
}

/// What the client wants, once nothing is left to negotiate.
#[derive(Debug)]
pub enum Asked {
    Startup(StartupMessage),
    Cancel(CancelKey),
}

#[derive(Debug)]
pub struct Greeted {
    pub client: Stream,
    pub tls: Option<ClientTls>,
    pub asked: Asked,
    /// Round trips of the client so far, TCP's own included.
    pub turns: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// A health check of a balancer.
    #[error("the client left without a byte")]
    Probe,
    #[error("the client left before it had said what it wants")]
    Left,
    #[error("the client said nothing in time")]
    Silent,
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// To be answered with `error`'s code, or closed without a word where it has none.
    #[error("malformed opening: {error}")]
    Malformed { client: Stream, error: WireError },
    #[error("the client's socket broke: {0}")]
    Broke(#[from] io::Error),
}

/// Reads the opening of a connection that has just been accepted. Not cancel safe: a call that is dropped has eaten bytes, so the
/// connection ends with it. The caller bounds the whole of it by one deadline.
///
/// # Errors
/// Every way in which a client can fail to say what it wants.
pub async fn greet(mut socket: TcpStream, greeting: Greeting) -> Result<Greeted, GreetError> {
    let mut first = [0; LOOK_AHEAD];
    let peeked = timeout_at(greeting.first_byte, socket.peek(&mut first)).await;
    let seen = peeked.map_err(|_elapsed| GreetError::Silent)??;
    let first = first.get(..seen).unwrap_or_default();
    // TCP's own round trip
    let mut turns = 1;
    if first.is_empty() {
        return Err(GreetError::Probe);
    }
    if first.first() == Some(&TLS_HANDSHAKE) {
        return greet_directly(socket, &greeting, turns).await;
    }
    // a packet that is all there is read at once
    let announced = first
        .first_chunk()
        .map_or(0, |size| u32::from_be_bytes(*size) as usize);
    let mut whole = if announced <= first.len() {
        announced
    } else {
        0
    };
    let mut gss_answered = false;
    // at most one refused GSSENCRequest, then SSLRequest or the opening itself
    loop {
        let opening = match read_opening(&mut socket, std::mem::take(&mut whole)).await {
            Ok(opening) => opening,
            Err(fault) => return Err(fault.on(Stream::Tcp(socket))),
        };
        match opening {
            Opening::GssEncRequest if !gss_answered => {
                gss_answered = true;
                turns += 1;
                socket.write_all(b"N").await?;
            }
            Opening::SslRequest => {
                if has_more(&socket)? {
                    return Err(
                        Fault::Wire(WireError::PlaintextAfterSslRequest).on(Stream::Tcp(socket))
                    );
                }
                turns += 1;
                socket.write_all(b"S").await?;
                let secured = secure(socket, &greeting.tls, greeting.asks, true).await;
                let secured = secured.map_err(GreetError::Tls)?;
                return ask(secured, turns, false).await;
            }
            last @ (Opening::GssEncRequest | Opening::Cancel(_) | Opening::Startup(_)) => {
                let client = Stream::Tcp(socket);
                return match asked(last) {
                    Ok(asked) => Ok(Greeted {
                        client,
                        tls: None,
                        asked,
                        turns,
                    }),
                    Err(error) => Err(GreetError::Malformed { client, error }),
                };
            }
        }
    }
}

/// TLS without a word before it, which has to say by ALPN what it is for.
async fn greet_directly(
    socket: TcpStream,
    greeting: &Greeting,
    turns: u32,
) -> Result<Greeted, GreetError> {
    let secured = secure(socket, &greeting.tls, greeting.asks, false).await;
    let secured = secured.map_err(GreetError::Tls)?;
    if !secured.speaks_postgresql {
        let error = "a ClientHello came first, without ALPN \"postgresql\"";
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        return Err(GreetError::Tls(error));
    }
    ask(secured, turns, true).await
}

/// Reads the opening inside TLS. As in the server, `ssl_refusable` (direct TLS) lets one `SSLRequest` be answered `N`;
/// anything else that would negotiate once more is an unknown version.
async fn ask(
    mut secured: Secured,
    turns: u32,
    mut ssl_refusable: bool,
) -> Result<Greeted, GreetError> {
    let mut turns = turns + secured.turns;
    loop {
        let opening = match read_opening(&mut secured.client, 0).await {
            Ok(opening) => opening,
            Err(fault) => return Err(fault.on(secured.client)),
        };
        if opening == Opening::SslRequest && ssl_refusable {
            ssl_refusable = false;
            turns += 1;
            secured.client.write_all(b"N").await?;
            secured.client.flush().await?;
            continue;
        }
        return match asked(opening) {
            Ok(asked) => Ok(Greeted {
                client: secured.client,
                tls: Some(secured.tls),
                asked,
                turns,
            }),
            Err(error) => Err(GreetError::Malformed {
                client: secured.client,
                error,
            }),
        };
    }
}

/// How reading one packet can fail, before it is clear whose stream goes with it.
enum Fault {
    Left,
    Wire(WireError),
    Io(io::Error),
}

impl Fault {
    fn on(self, client: Stream) -> GreetError {
        match self {
            Self::Left => GreetError::Left,
            Self::Wire(error) => GreetError::Malformed { client, error },
            Self::Io(error) => GreetError::Broke(error),
        }
    }
}

/// Reads exactly one packet, at first up to its size where that is known. The buffer grows with what has come, not with what
/// is announced.
async fn read_opening<S: AsyncRead + Unpin>(stream: &mut S, size: usize) -> Result<Opening, Fault> {
    let mut bytes = Vec::new();
    loop {
        let need = match Opening::parse(&bytes).map_err(Fault::Wire)? {
            Parsed::Done(opening, _) => return Ok(opening),
            Parsed::Need(need) => need,
        };
        let missing = need.max(size).saturating_sub(bytes.len()) as u64;
        let read = (&mut *stream).take(missing).read_buf(&mut bytes).await;
        if read.map_err(Fault::Io)? == 0 {
            return Err(Fault::Left);
        }
    }
}

/// The end of negotiation: what may not be asked (again) is an unknown version, as in the server.
fn asked(opening: Opening) -> Result<Asked, WireError> {
    match opening {
        Opening::Startup(startup) => Ok(Asked::Startup(startup)),
        Opening::Cancel(key) => Ok(Asked::Cancel(key)),
        again @ (Opening::SslRequest | Opening::GssEncRequest) => Err(again.repeated()),
    }
}

/// Bytes of a first packet that are looked at before they are read: enough for most, and nothing depends on it.
const LOOK_AHEAD: usize = 512;
/// The content type of a TLS record that holds a `ClientHello`. No packet begins so: it would be 369 MB long.
const TLS_HANDSHAKE: u8 = 0x16;

#[cfg(test)]
#[path = "greet_tests.rs"]
mod tests;
