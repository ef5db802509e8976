//! What the relay itself costs, over in-memory streams: without the kernel, so that its own part shows.
#![expect(clippy::unwrap_used, reason = "a bench may stop at a surprise")]

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use doorward::{
    meter::{Declared, Meters},
    net::kernel::TcpFacts,
    protocol::{Conversation, postgres},
    session::relay::{Leg, Line, Order, Orders, Relay, Unkept},
    wire::postgres::{Frames, TransactionStatus},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    runtime::Runtime,
    time::Instant,
};

struct Memory(DuplexStream);

impl Leg for Memory {
    fn facts(&self) -> Option<TcpFacts> {
        None
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

struct Silence;

impl Orders for Silence {
    fn poll_order(&mut self, _: &mut Context<'_>) -> Poll<Order> {
        Poll::Pending
    }
}

/// What lies between the client and the server.
#[derive(Clone, Copy)]
enum Between {
    Nothing,
    /// A relay that counts and times nothing.
    Unmetered,
    Metered,
}

/// The far ends of a relay that runs in a task, or of a pipe without one.
fn ends(runtime: &Runtime, between: Between) -> (DuplexStream, DuplexStream) {
    if matches!(between, Between::Nothing) {
        return duplex(WINDOW);
    }
    let (client, near) = duplex(WINDOW);
    let (server, far) = duplex(WINDOW);
    let meters = Meters::new("0", "bench").unwrap();
    meters.declare(&[Declared {
        listener: "pg".into(),
        origin: "shop".into(),
        limit: None,
        expires: None,
        expected_rtt: None,
    }]);
    let (status, frames) = (TransactionStatus::Idle, Frames::default());
    let conversation = Conversation::Postgres(postgres::Conversation::new(frames, frames, status));
    let line = Line {
        origin: meters.origin("pg", "shop").attend(SystemTime::now()),
        listener: meters.listener("pg"),
        since: Instant::now(),
        client_rtt: Some(Duration::from_micros(20)),
        upstream_rtt: Duration::from_micros(20),
    };
    let (near, far) = (Memory(near), Memory(far));
    // numbers are told at each beat, as in a real gateway; without books too, for a runtime with a timer costs more than one without
    runtime.spawn(Arc::new(meters).keep_told());
    if matches!(between, Between::Metered) {
        runtime.spawn(Relay::new(near, far, conversation, line, Silence));
    } else {
        runtime.spawn(Relay::with(near, far, conversation, Unkept, Silence));
    }
    (client, server)
}

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

fn queries(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let query = message(b'Q', b"select 1\0");
    let answer = [message(b'D', &[7; 40]), message(b'Z', b"I")].concat();
    for (name, between) in [
        ("query/bare pipe", Between::Nothing),
        ("query/relayed without meters", Between::Unmetered),
        ("query/relayed", Between::Metered),
    ] {
        let (mut client, mut server) = ends(&runtime, between);
        let mut there = vec![0; query.len()];
        let mut back = vec![0; answer.len()];
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    client.write_all(&query).await.unwrap();
                    server.read_exact(&mut there).await.unwrap();
                    server.write_all(&answer).await.unwrap();
                    client.read_exact(&mut back).await.unwrap();
                });
            });
        });
    }
}

fn bulk(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let rows = message(b'd', &[7; 1000]).repeat(1000);
    let mut group = criterion.benchmark_group("bulk");
    group.throughput(Throughput::Bytes(rows.len() as u64));
    for (name, between) in [
        ("bare pipe", Between::Nothing),
        ("relayed without meters", Between::Unmetered),
        ("relayed", Between::Metered),
    ] {
        let (mut client, mut server) = ends(&runtime, between);
        let mut back = vec![0; rows.len()];
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let (read, written) =
                        tokio::join!(client.read_exact(&mut back), server.write_all(&rows));
                    read.and_then(|_| written.map(|()| 0)).unwrap();
                });
            });
        });
    }
    group.finish();
}

const WINDOW: usize = 64 * 1024;

criterion_group!(benches, queries, bulk);
criterion_main!(benches);
