use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::{
    meter::{Declared, Meters},
    protocol::postgres,
    wire::postgres::{Frames, TransactionStatus},
};

impl Leg for DuplexStream {
    fn facts(&self) -> Option<Facts> {
        None
    }
}

/// Never orders anything.
struct Silence;

impl Orders for Silence {
    fn poll_order(&mut self, _: &mut Context<'_>) -> Poll<Order> {
        Poll::Pending
    }
}

fn conversation() -> Conversation {
    Conversation::Postgres(postgres::Conversation::new(
        Frames::default(),
        Frames::default(),
        TransactionStatus::Idle,
    ))
}

fn meters() -> Meters {
    let meters = Meters::new("0", "test").unwrap();
    meters.declare(&[Declared {
        listener: "pg".into(),
        origin: "shop".into(),
        limit: None,
        expires: None,
    }]);
    meters
}

fn line(meters: &Meters) -> Line {
    Line {
        origin: meters
            .origin("pg", "shop")
            .attend(std::time::SystemTime::now()),
        listener: meters.listener("pg"),
        since: Instant::now(),
        client_rtt: None,
        upstream_rtt: Duration::ZERO,
    }
}

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

/// The far ends of a relay, and the relay itself in a task.
struct Bench {
    client: DuplexStream,
    server: DuplexStream,
    relay: tokio::task::JoinHandle<Closed>,
    meters: Meters,
}

#[expect(clippy::disallowed_methods, reason = "a test waits for its own task")]
fn bench(window: usize, mut orders: impl Orders + Send + 'static) -> Bench {
    let (client, near) = duplex(window);
    let (server, far) = duplex(window);
    let meters = meters();
    let line = line(&meters);
    let relay =
        tokio::spawn(async move { relay(near, far, conversation(), line, &mut orders).await });
    Bench {
        client,
        server,
        relay,
        meters,
    }
}

async fn read(stream: &mut DuplexStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_query_and_its_answer_pass_unchanged_and_are_counted() {
    let mut bench = bench(4096, Silence);
    let query = message(b'Q', b"select 1\0");
    bench.client.write_all(&query).await.unwrap();
    assert_eq!(read(&mut bench.server, query.len()).await, query);
    let answer = [message(b'D', b"row"), message(b'Z', b"I")].concat();
    bench.server.write_all(&answer).await.unwrap();
    assert_eq!(read(&mut bench.client, answer.len()).await, answer);
    bench.client.write_all(&message(b'X', b"")).await.unwrap();
    drop(bench.client);
    let mut rest = Vec::new();
    bench.server.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, message(b'X', b""));
    drop(bench.server);
    let closed = bench.relay.await.unwrap();
    assert_eq!(closed.end, End::ClientLeft);
    assert_eq!(closed.received, (query.len() + rest.len()) as u64);
    assert_eq!(closed.transmitted, answer.len() as u64);
    let status = bench.meters.origins().remove(0);
    assert_eq!((status.flights, status.sessions), (1, 0));
    assert_eq!(status.transmit_bytes, closed.transmitted);
}
