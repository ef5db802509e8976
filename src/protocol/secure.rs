//! A client's TLS, as far as a protocol wants to know of it. Floor 2.

use std::{io, mem::MaybeUninit, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ProtocolVersion, ServerConnection},
};

use crate::{
    net::{
        DoorTls, Shown, Stream, handshake_round_trips,
        tls::{self, ALPN},
    },
    policy::TlsVersion,
};

/// What came of a handshake with a client.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub version: TlsVersion,
    /// What the client has seen of us.
    pub shown: Arc<Shown>,
    pub took: Duration,
    /// One of its round trips, with what the client needed to answer; it had nothing to think about but our certificate.
    pub turn: Duration,
}

/// A client behind TLS that has not said yet what it wants.
pub(super) struct Secured {
    pub(super) client: Stream,
    pub(super) tls: ClientTls,
    /// Round trips of the handshake.
    pub(super) turns: u32,
    /// It has asked for PostgreSQL by ALPN.
    pub(super) speaks_postgresql: bool,
}

/// The handshake, from a socket of which no byte of it has been read. `asks`: the client is asked for a certificate; `told`: it
/// has just heard that it may begin.
pub(super) async fn secure(
    socket: TcpStream,
    door: &DoorTls,
    asks: bool,
    told: bool,
) -> io::Result<Secured> {
    let begun = Instant::now();
    let limit = |connection: &mut ServerConnection| {
        connection.set_buffer_limit(Some(tls::BUFFER));
    };
    let acceptor = TlsAcceptor::from(door.config(asks));
    let stream = acceptor.accept_with(socket, limit).await?;
    let connection = stream.get_ref().1;
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    };
    let turns = handshake_round_trips(connection);
    let took = begun.elapsed();
    Ok(Secured {
        speaks_postgresql: connection.alpn_protocol() == Some(ALPN),
        tls: ClientTls {
            version,
            shown: door.shown(connection.server_name()),
            took,
            turn: took / (turns + u32::from(told)),
        },
        turns,
        client: Stream::Tls(Box::new(stream.into())),
    })
}

/// Whether bytes have come that nobody has read. Asks the kernel and not the runtime, which may not have heard of them yet.
pub(super) fn has_more(socket: &TcpStream) -> io::Result<bool> {
    match SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]) {
        Ok(count) => Ok(count > 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
