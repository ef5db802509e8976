//! A look at a server for the gateway's own sake: whether it asks who somebody is. Floor 2.
//!
//! `doorward check` asks so, and hangs up at the server's first word on it, which PostgreSQL does not log.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::encrypt;
use crate::{
    net::{Fingerprint, Negotiation, Stream, UpstreamTls},
    wire::postgres::{Authentication, Garbled, Message, Opening, Sqlstate, StartupMessage},
};

/// What a server makes of a startup packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// The client is in, and has proved nothing.
    Admitted,
    /// A proof is asked for.
    Challenged,
    Refused(Option<Sqlstate>),
}

/// Why a look has shown nothing. `Display` repeats nothing of what the server said.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("what answers is no PostgreSQL")]
    NotPostgres,
    #[error("it closed the connection without a word")]
    Closed,
    #[error("its socket broke: {0}")]
    Broke(#[from] io::Error),
}

/// Opens as a client would, and takes leave at the first answer. The caller bounds the time.
///
/// # Errors
/// A server that does not say yes, no or who is there.
pub async fn look<S>(stream: &mut S, startup: &StartupMessage) -> Result<Reception, LookError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&startup.encode()).await?;
    stream.flush().await?;
    let mut said = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut said).await? == 0 {
            return Err(LookError::Closed);
        }
        if let Some(reception) = reception(&said)? {
            if reception == Reception::Admitted {
                stream.write_all(Message::TERMINATE).await?;
                stream.flush().await?;
            }
            return Ok(reception);
        }
    }
}

/// What a server shows that is asked for TLS, whoever it is. It hears of nobody.
pub async fn certificate_behind(stream: Stream, negotiation: Negotiation) -> Option<Fingerprint> {
    let tls = UpstreamTls::for_a_look().ok()?;
    let stream = encrypt(stream, &tls.with_postgres(negotiation)).await;
    stream.ok()?.server_certificate()
}

/// Whether a PostgreSQL answers there. It does not log who asks for encryption, is told no, and leaves.
pub async fn is_postgres<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> bool {
    let asked = stream.write_all(&Opening::GSSENC_REQUEST).await;
    let mut answer = [0];
    let answered = asked.is_ok() && stream.read_exact(&mut answer).await.is_ok();
    // before release 12 it has no word for it but an error
    answered && matches!(&answer, b"N" | b"G" | b"E")
}

fn reception(said: &[u8]) -> Result<Option<Reception>, LookError> {
    let mut rest = said;
    while let Some((message, after)) =
        Message::split(rest, MAX_MESSAGE).map_err(|Garbled| LookError::NotPostgres)?
    {
        rest = after;
        return Ok(Some(match message.kind {
            b'v' | b'N' => continue,
            b'E' => Reception::Refused(Sqlstate::of_error(message.payload)),
            b'R' => match Authentication::parse(message.payload) {
                Ok(Authentication::Ok) => Reception::Admitted,
                Ok(_asked) => Reception::Challenged,
                Err(Garbled) => return Err(LookError::NotPostgres),
            },
            _ => return Err(LookError::NotPostgres),
        }));
    }
    Ok(None)
}

/// Longest payload, in bytes, of what a server says before it knows who is there.
const MAX_MESSAGE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn seen(answers: &[&[u8]]) -> Result<Reception, LookError> {
        let startup = StartupMessage::new(&[("user", "app")]).unwrap();
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let playing = async {
            for answer in answers {
                theirs.write_all(answer).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(theirs);
        };
        tokio::join!(look(&mut ours, &startup), playing).0
    }

    #[tokio::test]
    async fn a_server_admits_asks_or_refuses() {
        let admitted = seen(&[b"R\0\0\0\x08\0", b"\0\0\0S"]).await.unwrap();
        assert_eq!(admitted, Reception::Admitted);
        let asked = [
            &b"v\0\0\0\x0c\0\0\0\0\0\0\0\0"[..],
            b"R\0\0\0\x08\0\0\0\x03",
        ];
        assert_eq!(seen(&asked).await.unwrap(), Reception::Challenged);
        let refused = seen(&[b"E\0\0\0\x0cC57P03\0\0"]).await.unwrap();
        let Reception::Refused(Some(code)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(code.as_str(), "57P03");
    }

    #[tokio::test]
    async fn what_is_no_postgresql_is_told_so() {
        for answer in [
            &b"HTTP/1.1 400"[..],
            b"Z\0\0\0\x05I",
            b"R\0\0\0\x08\0\0\0\x63",
        ] {
            let error = seen(&[answer]).await.unwrap_err();
            assert!(matches!(error, LookError::NotPostgres), "{error}");
        }
        assert!(matches!(seen(&[]).await, Err(LookError::Closed)));
    }
}
