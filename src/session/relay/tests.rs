//! The relay between two pipes: nothing lost, and every way to end.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::{
    meter::{Declared, Meters},
    net::{Stream, kernel::TcpFacts},
    protocol::postgres,
    wire::postgres::{Frames, TransactionStatus},
};

impl Leg for DuplexStream {
    fn facts(&self) -> Option<TcpFacts> {
        None
    }
}

/// Never orders anything.
pub(super) struct Silence;

impl Orders for Silence {
    fn poll_order(&mut self, _: &mut Context<'_>) -> Poll<Order> {
        Poll::Pending
    }
}

pub(super) fn conversation() -> Conversation {
    Conversation::Postgres(postgres::Conversation::new(
        Frames::default(),
        Frames::default(),
        TransactionStatus::Idle,
    ))
}

pub(super) fn meters() -> Meters {
    let meters = Meters::new("0", "test").unwrap();
    meters.declare(&[Declared {
        listener: "pg".into(),
        origin: "shop".into(),
        limit: None,
        expires: None,
        expected_rtt: None,
    }]);
    meters
}

pub(super) fn line(meters: &Meters) -> Line {
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

pub(super) fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

/// A session from its first byte to its last.
pub(super) async fn relay<C: Leg, S: Leg>(
    client: C,
    upstream: S,
    line: Line,
    orders: impl Orders,
) -> Closed {
    let mut relay = Relay::new(client, upstream, conversation(), line, orders);
    let Turn::Over(end) = (&mut relay).await else {
        panic!("nothing was asked");
    };
    let over = relay.close(end);
    if let Some(parting) = over.parting {
        parting.await;
    }
    over.closed
}

/// The far ends of a relay, and the relay itself in a task.
pub(super) struct Bench {
    pub(super) client: DuplexStream,
    pub(super) server: DuplexStream,
    pub(super) relay: tokio::task::JoinHandle<Closed>,
    pub(super) meters: Arc<Meters>,
}

#[expect(clippy::disallowed_methods, reason = "a test waits for its own task")]
pub(super) fn bench(windows: (usize, usize), orders: impl Orders + Send + 'static) -> Bench {
    let (client, near) = duplex(windows.0);
    let (server, far) = duplex(windows.1);
    let meters = Arc::new(meters());
    let line = line(&meters);
    let relay = tokio::spawn(relay(near, far, line, orders));
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
    let mut bench = bench((4096, 4096), Silence);
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

/// Orders once, when told to.
struct Told(tokio::sync::mpsc::UnboundedReceiver<Order>);

impl Orders for Told {
    fn poll_order(&mut self, cx: &mut Context<'_>) -> Poll<Order> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(order)) => Poll::Ready(order),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

fn told() -> (tokio::sync::mpsc::UnboundedSender<Order>, Told) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    (sender, Told(receiver))
}

async fn rest(mut stream: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn farewell() -> Vec<u8> {
    conversation().farewell("go")
}

fn leave() -> Vec<u8> {
    message(b'X', b"")
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_ends_its_writing_gets_its_whole_answer() {
    let mut bench = bench((64, 64), Silence);
    bench
        .client
        .write_all(&message(b'Q', b"q\0"))
        .await
        .unwrap();
    bench.client.shutdown().await.unwrap();
    let mut query = Vec::new();
    bench.server.read_to_end(&mut query).await.unwrap();
    assert_eq!(query, message(b'Q', b"q\0"));
    let answer = [message(b'D', &[7; 5000]), message(b'Z', b"I")].concat();
    let write = async {
        bench.server.write_all(&answer).await.unwrap();
        drop(bench.server);
    };
    let (heard, ()) = tokio::join!(rest(bench.client), write);
    assert_eq!(heard, answer);
    assert_eq!(bench.relay.await.unwrap().end, End::ClientLeft);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_without_a_word_is_excused_between_messages_only() {
    let row = message(b'D', b"row");
    let fatal = message(b'E', b"C57P01\0Mterminating\0\0");
    let cases: [(&[u8], bool); 4] = [
        (b"", true),
        (&row, true),
        (&row[..6], false),
        (&fatal, false),
    ];
    for (said, excused) in cases {
        let mut bench = bench((4096, 4096), Silence);
        bench
            .client
            .write_all(&message(b'Q', b"q\0"))
            .await
            .unwrap();
        read(&mut bench.server, 7).await;
        bench.server.write_all(said).await.unwrap();
        drop(bench.server);
        let heard = rest(bench.client).await;
        let added = heard.strip_prefix(said).unwrap();
        assert_eq!(added.starts_with(b"E"), excused, "{said:?}");
        assert_eq!(added.is_empty(), !excused, "{said:?}");
        assert_eq!(bench.relay.await.unwrap().end, End::DatabaseLeft);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_server_that_takes_nothing_more_are_delivered() {
    let mut bench = bench((4096, 4096), Silence);
    let fatal = message(b'E', b"C57P01\0Mterminating\0\0");
    bench
        .client
        .write_all(&message(b'Q', b"q\0"))
        .await
        .unwrap();
    bench.server.write_all(&fatal).await.unwrap();
    drop(bench.server);
    assert_eq!(rest(bench.client).await, fatal);
    assert_eq!(bench.relay.await.unwrap().end, End::DatabaseLeft);
}

#[tokio::test(start_paused = true)]
async fn an_order_to_cut_is_said_to_both_sides_and_obeyed_at_once() {
    let (orders, told) = told();
    let bench = bench((4096, 4096), told);
    let farewell = farewell();
    let order = Order::Cut {
        farewell: "go".into(),
    };
    orders.send(order).unwrap();
    assert_eq!(rest(bench.client).await, farewell);
    assert_eq!(rest(bench.server).await, leave());
    assert_eq!(bench.relay.await.unwrap().end, End::Revoked);
}

#[tokio::test(start_paused = true)]
async fn a_farewell_is_never_put_into_a_message() {
    let (orders, told) = told();
    let mut bench = bench((4096, 4096), told);
    let row = message(b'D', b"a long row");
    bench.client.write_all(b"Q\0\0").await.unwrap();
    bench.server.write_all(&row[..9]).await.unwrap();
    read(&mut bench.server, 3).await;
    assert_eq!(read(&mut bench.client, 9).await, row[..9]);
    let order = Order::Cut {
        farewell: "go".into(),
    };
    orders.send(order).unwrap();
    assert_eq!(rest(bench.client).await, b"");
    assert_eq!(rest(bench.server).await, b"");
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_the_end_of_the_transaction() {
    let (orders, told) = told();
    let mut bench = bench((4096, 4096), told);
    let say = async |stream: &mut DuplexStream, other: &mut DuplexStream, bytes: Vec<u8>| {
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(read(other, bytes.len()).await, bytes);
    };
    say(
        &mut bench.client,
        &mut bench.server,
        message(b'Q', b"begin\0"),
    )
    .await;
    say(&mut bench.server, &mut bench.client, message(b'Z', b"T")).await;
    let order = Order::Drain {
        farewell: "go".into(),
        by: Instant::now() + Duration::from_secs(60),
    };
    orders.send(order).unwrap();
    tokio::time::sleep(Duration::from_secs(50)).await;
    say(
        &mut bench.client,
        &mut bench.server,
        message(b'Q', b"commit\0"),
    )
    .await;
    say(&mut bench.server, &mut bench.client, message(b'Z', b"I")).await;
    assert_eq!(rest(bench.client).await, farewell());
    assert_eq!(rest(bench.server).await, leave());
    assert_eq!(bench.relay.await.unwrap().end, End::Drained);
}

#[tokio::test(start_paused = true)]
async fn draining_ends_at_its_deadline_with_what_may_still_be_said() {
    let (orders, told) = told();
    let mut bench = bench((4096, 4096), told);
    bench
        .client
        .write_all(&message(b'Q', b"slow\0"))
        .await
        .unwrap();
    read(&mut bench.server, 10).await;
    let began = Instant::now();
    let order = Order::Drain {
        farewell: "go".into(),
        by: began + Duration::from_secs(3),
    };
    orders.send(order).unwrap();
    assert_eq!(rest(bench.client).await, farewell());
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(bench.relay.await.unwrap().end, End::Revoked);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_will_not_listen_does_not_hold_its_end_up() {
    let (orders, told) = told();
    let bench = bench((8, 8), told);
    let order = Order::Cut {
        farewell: "go".into(),
    };
    let began = Instant::now();
    orders.send(order).unwrap();
    assert_eq!(bench.relay.await.unwrap().end, End::Revoked);
    assert!(
        began.elapsed() <= Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    drop(bench.client);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_moves_counts_for_its_new_origin() {
    let (orders, told) = told();
    let mut bench = bench((4096, 4096), told);
    let declared = ["shop", "blog"].map(|origin| Declared {
        listener: "pg".into(),
        origin: origin.into(),
        limit: None,
        expires: None,
        expected_rtt: None,
    });
    bench.meters.declare(&declared);
    bench
        .client
        .write_all(&message(b'Q', b"a\0"))
        .await
        .unwrap();
    read(&mut bench.server, 7).await;
    orders
        .send(Order::Move {
            meters: bench.meters.origin("pg", "blog"),
            local_infile: false,
        })
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let sessions = |meters: &Meters| -> Vec<_> {
        let all = meters.origins().into_iter();
        all.map(|row| (row.origin, row.sessions, row.receive_bytes))
            .collect()
    };
    assert_eq!(
        sessions(&bench.meters),
        [("blog".to_owned(), 1, 0), ("shop".to_owned(), 0, 7)]
    );
    bench.client.write_all(&leave()).await.unwrap();
    drop((bench.client, bench.server));
    bench.relay.await.unwrap();
    assert_eq!(sessions(&bench.meters)[0], ("blog".to_owned(), 0, 5));
}

#[tokio::test(start_paused = true)]
async fn numbers_are_told_with_the_first_answer_of_a_second_and_the_rest_at_its_end() {
    let mut bench = bench((4096, 4096), Silence);
    let mut query = async || {
        bench
            .client
            .write_all(&message(b'Q', b"a\0"))
            .await
            .unwrap();
        read(&mut bench.server, 7).await;
        bench.server.write_all(&message(b'Z', b"I")).await.unwrap();
        read(&mut bench.client, 6).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        bench.meters.origins().remove(0).flights
    };
    assert_eq!(query().await, 1);
    assert_eq!((query().await, query().await), (1, 1));
    let beating = Arc::clone(&bench.meters).keep_told();
    drop(tokio::time::timeout(Duration::from_millis(1010), beating).await);
    let row = bench.meters.origins().remove(0);
    assert_eq!(
        (row.flights, row.receive_bytes, row.transmit_bytes),
        (3, 21, 18)
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_stops_the_server_and_not_the_memory() {
    let mut bench = bench((1024, 1024), Silence);
    let mut taken = 0;
    let flood = message(b'd', &vec![0; 1 << 20]);
    while let Ok(n) = tokio::time::timeout(Duration::from_secs(5), async {
        bench.server.write(&flood).await.unwrap()
    })
    .await
    {
        taken += n;
    }
    assert!(taken <= 2 * 1024 + BUFFER_SIZE, "{taken}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_frame_is_forwarded_and_counted() {
    let mut bench = bench((4096, 4096), Silence);
    let nonsense = b"Q\0\0\0\x01 and more of it";
    bench.client.write_all(nonsense).await.unwrap();
    assert_eq!(read(&mut bench.server, nonsense.len()).await, nonsense);
    drop((bench.client, bench.server));
    assert!(bench.relay.await.unwrap().frame_lost);
    let text = String::from_utf8(bench.meters.render().unwrap()).unwrap();
    assert!(text.contains("doorward_frames_lost_total{listener=\"pg\"} 1"));
}

#[test]
fn an_idle_session_is_small() {
    let size = size_of::<Relay<Stream, Stream, Silence>>();
    assert!(size <= 352, "{size}");
}

/// Sends `bytes` in `chunks` one way, pausing so that they arrive apart.
async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], chunks: &[usize]) {
    let mut rest = bytes;
    for chunk in chunks.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*chunk).min(rest.len()));
        stream.write_all(now).await.unwrap();
        tokio::task::yield_now().await;
        rest = later;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_relay_is_the_identity_on_bytes(
        there in prop::collection::vec(any::<u8>(), 0..3000),
        back in prop::collection::vec(any::<u8>(), 0..3000),
        sent in prop::collection::vec(1usize..600, 1..8),
        answered in prop::collection::vec(1usize..600, 1..8),
        windows in (1usize..300, 1usize..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (heard, answer) = runtime.block_on(async {
            let bench = bench(windows, Silence);
            let (mut client_reads, mut client_writes) = tokio::io::split(bench.client);
            let (mut server_reads, mut server_writes) = tokio::io::split(bench.server);
            let (mut heard, mut answer) = (Vec::new(), Vec::new());
            let client = async {
                let read = client_reads.read_to_end(&mut answer);
                let write = async {
                    send(&mut client_writes, &there, &sent).await;
                    client_writes.shutdown().await.unwrap();
                };
                tokio::join!(read, write).0.unwrap();
            };
            // a server never ends before it has heard its client out
            let server = async {
                let read = server_reads.read_to_end(&mut heard);
                tokio::join!(read, send(&mut server_writes, &back, &answered)).0.unwrap();
                server_writes.shutdown().await.unwrap();
            };
            tokio::join!(client, server);
            (heard, answer)
        });
        prop_assert_eq!(heard, there);
        prop_assert_eq!(answer, back);
    }
}
