//! The last words of a connection, in whatever protocol they are. Floor 2.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::net::Stream;

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
