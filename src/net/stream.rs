//! One leg of a session: TCP, a unix socket, or TLS over TCP. Floor 1.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsStream,
    rustls::{CommonState, HandshakeKind, ProtocolVersion},
};

/// A connected socket, whatever is beneath. A closed enum, so that a read in the relay is a branch and not a virtual call.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// TLS of either leg, which ends here. Boxed: its state is over a kilobyte.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The TCP socket beneath, for its options and its round-trip time; `None` for a unix socket.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Unix(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0),
        }
    }

    /// Round trips that it took until something could be said: TCP's own, and those of TLS. What was said before TLS is not among
    /// them.
    pub fn round_trips(&self) -> u32 {
        match self {
            Self::Tcp(_) => 1,
            Self::Unix(_) => 0,
            Self::Tls(stream) => 1 + handshake_round_trips(stream.get_ref().1),
        }
    }
}

/// Round trips of a TLS handshake that is done, as either end sees it.
pub fn handshake_round_trips(connection: &CommonState) -> u32 {
    let kind = connection.handshake_kind();
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => {
            1 + u32::from(kind == Some(HandshakeKind::FullWithHelloRetryRequest))
        }
        _ => 2 - u32::from(kind == Some(HandshakeKind::Resumed)),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
