//! What only real sockets do: resets, and what they leave behind.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    tests::{Silence, line, message, meters, relay},
    *,
};
use crate::net::Stream;

struct Bench {
    client: TcpStream,
    server: TcpStream,
    relay: tokio::task::JoinHandle<Closed>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (far, near) = tokio::join!(connecting, listener.accept());
    (far.unwrap(), near.unwrap().0)
}

#[expect(clippy::disallowed_methods, reason = "a test waits for its own task")]
async fn bench() -> Bench {
    let ((far_client, near), (server, far)) = (pair().await, pair().await);
    let line = line(&meters());
    let (client, upstream) = (Stream::Tcp(near), Stream::Tcp(far));
    let relay = tokio::spawn(relay(client, upstream, line, Silence));
    Bench {
        client: far_client,
        server,
        relay,
    }
}

/// What it still says, and whether the end came in time.
async fn end_of(mut stream: TcpStream, within: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(within, stream.read_to_end(&mut bytes)).await;
    read.unwrap().unwrap_or_default();
    bytes
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_reset_of_the_client_closes_the_server_within_50_ms() {
    let mut bench = bench().await;
    bench
        .client
        .write_all(&message(b'Q', b"q\0"))
        .await
        .unwrap();
    bench.server.read_exact(&mut [0; 7]).await.unwrap();
    reset(bench.client);
    assert_eq!(end_of(bench.server, SOON).await, b"");
    assert_eq!(bench.relay.await.unwrap().end, End::ClientBroke);
}

#[tokio::test]
async fn a_reset_of_the_server_closes_the_client_within_50_ms() {
    let mut bench = bench().await;
    bench
        .client
        .write_all(&message(b'Q', b"q\0"))
        .await
        .unwrap();
    bench.server.read_exact(&mut [0; 7]).await.unwrap();
    reset(bench.server);
    let heard = end_of(bench.client, SOON).await;
    assert!(heard.windows(6).any(|words| words == b"C57P01"));
    assert_eq!(bench.relay.await.unwrap().end, End::DatabaseBroke);
}

#[tokio::test]
async fn the_last_words_of_a_server_arrive_though_the_client_writes_into_its_closed_socket() {
    let mut bench = bench().await;
    let fatal = message(b'E', b"SFATAL\0C57P01\0Mterminating\0\0");
    bench.server.write_all(&fatal).await.unwrap();
    drop(bench.server);
    for _ in 0..3 {
        // an error here is the close that the test waits for
        drop(bench.client.write_all(&message(b'Q', b"q\0")).await);
    }
    assert_eq!(end_of(bench.client, Duration::from_secs(2)).await, fatal);
    assert!(matches!(
        bench.relay.await.unwrap().end,
        End::DatabaseLeft | End::DatabaseBroke
    ));
}

#[tokio::test]
async fn the_kernel_tells_the_round_trip_of_both_legs() {
    let (far, near) = pair().await;
    let facts = Stream::Tcp(near).facts().unwrap();
    assert!(facts.min_rtt.unwrap() < Duration::from_millis(100));
    assert_eq!(facts.retransmits, 0);
    drop(far);
}
