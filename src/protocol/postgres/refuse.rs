//! A no that arrives. Floor 2.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    net::Stream,
    policy::Reason,
    wire::postgres::{ErrorForm, ErrorResponse},
};

/// Writes the last words to a client and closes. What it still sends is read for a moment: a close with unread bytes is a
/// reset, and a reset can overtake the words.
pub async fn refuse(mut client: Stream, words: &[u8]) {
    // whether it arrives is the client's affair: it is being put out
    drop(timeout(LINGER, last_words(&mut client, words)).await);
}

async fn last_words(client: &mut Stream, words: &[u8]) -> std::io::Result<()> {
    client.write_all(words).await?;
    client.flush().await?;
    client.shutdown().await?;
    let mut drained = 0;
    let mut chunk = [0; 512];
    while drained < DRAIN {
        match client.read(&mut chunk).await? {
            0 => break,
            read => drained += read,
        }
    }
    Ok(())
}

/// What a session that is ended by us hears: `57P01`, as from a server that is told to stop, so that pools connect anew.
pub fn farewell(message: &str) -> Vec<u8> {
    let response = ErrorResponse {
        sqlstate: ADMIN_SHUTDOWN,
        message,
        detail: None,
        hint: None,
    };
    response.encode(ErrorForm::Version3)
}

/// The code that goes with a refusal; `None` where the connection is closed without a word.
pub const fn sqlstate(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::DenyRule
        | Reason::ExclusiveUser
        | Reason::NoOrigin
        | Reason::ListenerNotAllowed
        | Reason::UserNotAllowed
        | Reason::DatabaseNotAllowed
        | Reason::ReplicationNotAllowed
        | Reason::Expired
        | Reason::Inactive
        | Reason::TlsRequired
        | Reason::AuthenticationMissing => Some("28000"),
        Reason::LimitConnections | Reason::LimitGlobal => Some("53300"),
        Reason::MalformedOpening => Some("08P01"),
        Reason::UpstreamUnreachable | Reason::UpstreamRefused => Some("08006"),
        Reason::ShuttingDown => Some(ADMIN_SHUTDOWN),
        Reason::Allowed | Reason::TlsFailed | Reason::OpeningTimeout => None,
    }
}

const ADMIN_SHUTDOWN: &str = "57P01";
/// How long a client that is put out may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it still sends is read meanwhile, in bytes.
const DRAIN: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::{
        net::{TcpListener, TcpStream},
        time::{Instant, sleep},
    };

    use super::*;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn a_refusal_arrives_though_the_client_goes_on_sending() {
        let (mut client, door) = connected().await;
        let dialogue = async {
            client.write_all(&[0; 4000]).await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            for _ in 0..5 {
                // a door that is shut with bytes unread answers these with a reset
                client.write_all(&[0; 4000]).await.unwrap();
                sleep(Duration::from_millis(5)).await;
            }
            drop(client);
            heard
        };
        let (heard, ()) = tokio::join!(dialogue, refuse(Stream::Tcp(door), b"no"));
        assert_eq!(heard, b"no");
    }

    #[tokio::test]
    async fn a_client_that_never_leaves_is_left_after_a_second() {
        let (_client, door) = connected().await;
        let begun = Instant::now();
        refuse(Stream::Tcp(door), b"no").await;
        assert!(begun.elapsed() < 3 * LINGER);
    }

    #[tokio::test]
    async fn a_client_that_never_stops_sending_is_cut_off() {
        let (mut client, door) = connected().await;
        let flood = async { while client.write_all(&[0; 4000]).await.is_ok() {} };
        let begun = Instant::now();
        tokio::join!(flood, refuse(Stream::Tcp(door), b"no"));
        assert!(begun.elapsed() < LINGER, "64 KiB are soon read");
    }
}
