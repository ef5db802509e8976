//! TLS towards the server: asked for, or begun without a word. Floor 2.
//!
//! Whoever stands between us and the server can write what is said in clear. So of that one byte is read, and no more may have
//! come with it (CVE-2021-23222 and its family); of an error in its place nothing is repeated to anybody (CVE-2024-10977).

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    net::{Negotiation, SecureError, Stream, UpstreamTls, tls::ALPN},
    protocol::secure::has_more,
    wire::postgres::Opening,
};

/// Why a connection that is to be encrypted is not. `Display` is for the log and repeats nothing of what the server said.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    #[error("the server offers no TLS: it needs `ssl = on`, and a certificate")]
    NotOffered,
    #[error("the server answered the request for TLS with an error")]
    Refused,
    #[error("the answer to the request for TLS is no answer: no PostgreSQL is there")]
    NotPostgres,
    #[error(
        "more than one byte came in answer to the request for TLS: somebody writes between us and the server"
    )]
    Stuffed,
    #[error("the server closed the connection when it was asked for TLS")]
    Closed,
    #[error(
        "the server does not say that it speaks PostgreSQL, as it must where nobody has asked for TLS"
    )]
    OtherProtocol,
    /// Where nobody has asked for it.
    #[error(
        "the server closed the connection at the first byte of TLS: before PostgreSQL 17 it has to be asked (`negotiation: request`)"
    )]
    NotDirect,
    #[error(transparent)]
    Handshake(#[from] SecureError),
    #[error("the server's socket broke: {0}")]
    Broke(#[from] io::Error),
}

/// Encrypts a connection that has just been dialled, or fails: there is no going on in clear. Not cancel safe.
///
/// # Errors
/// A server that has no TLS, or is not who it must be.
pub async fn encrypt(stream: Stream, tls: &UpstreamTls) -> Result<Stream, EncryptError> {
    match tls.negotiation() {
        Negotiation::Direct => {
            let stream = tls.secure(stream).await.map_err(EncryptError::of_direct)?;
            if stream.agreed_protocol() == Some(ALPN) {
                Ok(stream)
            } else {
                Err(EncryptError::OtherProtocol)
            }
        }
        Negotiation::Request => {
            let Stream::Tcp(mut socket) = stream else {
                return Err(SecureError::NotTcp.into());
            };
            ask(&mut socket).await?;
            Ok(tls.secure(Stream::Tcp(socket)).await?)
        }
    }
}

impl EncryptError {
    fn of_direct(error: SecureError) -> Self {
        match error {
            SecureError::Handshake(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                Self::NotDirect
            }
            error @ (SecureError::NotTcp | SecureError::Handshake(_)) => Self::Handshake(error),
        }
    }
}

async fn ask(socket: &mut TcpStream) -> Result<(), EncryptError> {
    socket.write_all(&Opening::SSL_REQUEST).await?;
    let mut answer = [0];
    if socket.read(&mut answer).await? == 0 {
        return Err(EncryptError::Closed);
    }
    match &answer {
        b"S" if has_more(socket)? => Err(EncryptError::Stuffed),
        b"S" => Ok(()),
        b"N" => Err(EncryptError::NotOffered),
        b"E" => Err(EncryptError::Refused),
        _ => Err(EncryptError::NotPostgres),
    }
}

#[cfg(test)]
#[path = "encrypt_tests.rs"]
mod tests;
