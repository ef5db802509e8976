//! One leg of a session: TCP, a unix socket, or TLS over TCP. Floor 1.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsStream,
    rustls::{CommonState, HandshakeKind, ProtocolVersion},
};

use super::{EndPoint, Fingerprint, tls};

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

    /// The protocol that both ends have agreed on in the handshake (ALPN).
    pub fn agreed_protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// When the certificate ends that the server at the other end has shown.
    pub fn server_certificate_ends(&self) -> Option<SystemTime> {
        self.server_leaf().and_then(tls::not_after)
    }

    /// The certificate that the server at the other end has shown; `None` without TLS, and for a client.
    pub fn server_certificate(&self) -> Option<Fingerprint> {
        self.server_leaf().map(Fingerprint::of)
    }

    fn server_leaf(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Tls(stream) => match &**stream {
                TlsStream::Client(stream) => stream.get_ref().1.peer_certificates()?.first(),
                TlsStream::Server(_) => None,
            },
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// What the client at the other end has shown, its own certificate first; empty without TLS, for a client that has
    /// shown none, and for a server.
    pub fn client_chain(&self) -> &[CertificateDer<'static>] {
        let shown = match self {
            Self::Tls(stream) => match &**stream {
                TlsStream::Server(stream) => stream.get_ref().1.peer_certificates(),
                TlsStream::Client(_) => None,
            },
            Self::Tcp(_) | Self::Unix(_) => None,
        };
        shown.unwrap_or_default()
    }

    /// What a login can be bound to at the server at the other end; `None` without TLS, for a client, and for a certificate
    /// that has no such thing.
    pub fn server_end_point(&self) -> Option<EndPoint> {
        match self {
            Self::Tls(stream) => match &**stream {
                TlsStream::Client(stream) => {
                    let chain = stream.get_ref().1.peer_certificates()?;
                    chain.first().and_then(EndPoint::of)
                }
                TlsStream::Server(_) => None,
            },
            Self::Tcp(_) | Self::Unix(_) => None,
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
