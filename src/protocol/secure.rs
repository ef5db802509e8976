//! A client's TLS, as far as a protocol wants to know of it. Floor 2.

use std::{io, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection},
};

use crate::{
    net::{
        Stream,
        tls::{self, ALPN},
    },
    policy::TlsVersion,
};

/// A client behind TLS that has not said yet what it wants.
pub(super) struct Secured {
    pub(super) client: Stream,
    pub(super) version: TlsVersion,
    pub(super) took: Duration,
    /// Round trips of the handshake.
    pub(super) turns: u32,
    /// It has asked for PostgreSQL by ALPN.
    pub(super) speaks_postgresql: bool,
}

/// The handshake, from a socket of which no byte of it has been read.
pub(super) async fn secure(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<Secured> {
    let begun = Instant::now();
    let limit = |connection: &mut ServerConnection| {
        connection.set_buffer_limit(Some(tls::BUFFER));
    };
    let stream = TlsAcceptor::from(config).accept_with(socket, limit).await?;
    let connection = stream.get_ref().1;
    let (version, mut turns) = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => (TlsVersion::V1_3, 1),
        _ => (TlsVersion::V1_2, 2),
    };
    if connection.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest) {
        turns += 1;
    }
    Ok(Secured {
        speaks_postgresql: connection.alpn_protocol() == Some(ALPN),
        version,
        took: begun.elapsed(),
        turns,
        client: Stream::Tls(Box::new(stream.into())),
    })
}
