//! Where the time of a whole session goes, on a clock that only moves when everybody waits.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::sleep,
};

use super::{
    tests::{Bench, Silence, bench, message},
    *,
};
use crate::meter::{Meters, OriginStatus, Totals};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One side's script: what it sends, how long it waits before, and how much it then reads.
struct Step(Duration, Vec<u8>, usize);

async fn play(mut stream: DuplexStream, steps: Vec<Step>) {
    for Step(pause, says, hears) in steps {
        sleep(pause).await;
        stream.write_all(&says).await.unwrap();
        let mut heard = vec![0; hears];
        stream.read_exact(&mut heard).await.unwrap();
    }
}

async fn spent(window: usize, client: Vec<Step>, server: Vec<Step>) -> OriginStatus {
    let Bench {
        client: near,
        server: far,
        relay,
        meters,
    } = bench((window, window), Silence);
    tokio::join!(play(near, client), play(far, server));
    relay.await.unwrap();
    meters.origins().remove(0)
}

#[track_caller]
fn assert_seconds(figure: f64, expected: f64) {
    assert!((figure - expected).abs() < 0.002, "{figure} for {expected}");
}

fn query() -> Vec<u8> {
    message(b'Q', b"q\0")
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

#[tokio::test(start_paused = true)]
async fn a_sleep_in_the_database_is_database_time_before_and_after_the_first_row() {
    let row = message(b'D', b"row");
    let (asked, answered) = (query().len(), row.len() + ready().len());
    let status = spent(
        4096,
        vec![Step(ms(30), query(), answered)],
        vec![
            Step(ms(0), vec![], asked),
            Step(ms(50), row, 0),
            Step(ms(70), ready(), 0),
        ],
    )
    .await;
    assert_seconds(status.database_seconds, 0.12);
    assert_eq!(status.flights, 1);
    assert_seconds(status.network_client_seconds + status.transfer_seconds, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_thinks_costs_neither_network_nor_database() {
    let (asked, answered) = (query().len(), ready().len());
    let think = || Step(ms(30), query(), answered);
    let serve = || [Step(ms(0), vec![], asked), Step(ms(1), ready(), 0)];
    let status = spent(
        4096,
        vec![think(), think(), think()],
        serve().into_iter().chain(serve()).chain(serve()).collect(),
    )
    .await;
    assert_seconds(status.database_seconds, 0.003);
    assert_eq!(status.flights, 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_transfer_time() {
    let rows = [message(b'D', &[7; 3000]), ready()].concat();
    let asked = query().len();
    let reads = (0..rows.len().div_ceil(1000))
        .map(|n| Step(ms(100), vec![], 1000.min(rows.len() - n * 1000)));
    let status = spent(
        1000,
        std::iter::once(Step(ms(0), query(), 0))
            .chain(reads)
            .collect(),
        vec![Step(ms(0), vec![], asked), Step(ms(10), rows.clone(), 0)],
    )
    .await;
    assert_seconds(status.database_seconds, 0.01);
    assert!(
        status.transfer_seconds > 0.15,
        "{}",
        status.transfer_seconds
    );
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_not_the_databases_time() {
    let (go, data, done) = (
        message(b'G', b"\0\0\0"),
        message(b'd', b"data"),
        message(b'c', b""),
    );
    let status = spent(
        4096,
        vec![
            Step(ms(0), query(), go.len()),
            Step(ms(5), data.clone(), 0),
            Step(ms(400), data.clone(), 0),
            Step(ms(400), done.clone(), ready().len()),
        ],
        vec![
            Step(ms(0), vec![], query().len()),
            Step(ms(3), go, 2 * data.len() + done.len()),
            Step(ms(7), ready(), 0),
        ],
    )
    .await;
    assert_seconds(status.database_seconds, 0.01);
    assert_eq!(status.flights, 2);
}

/// A session at which a beat strikes each second, and what its origin has been told.
struct Beating {
    client: DuplexStream,
    server: DuplexStream,
    meters: Arc<Meters>,
}

impl Beating {
    #[expect(clippy::disallowed_methods, reason = "a test runs its own beat")]
    async fn new() -> Self {
        let Bench {
            client,
            server,
            meters,
            ..
        } = bench((4096, 4096), Silence);
        tokio::spawn(Arc::clone(&meters).keep_told());
        let mut session = Self {
            client,
            server,
            meters,
        };
        // the first of all has nothing to wait for
        session.asks(&query()).await;
        session.answers(&ready()).await;
        session
    }

    async fn asks(&mut self, request: &[u8]) {
        sleep(ms(1)).await;
        self.client.write_all(request).await.unwrap();
        self.server
            .read_exact(&mut vec![0; request.len()])
            .await
            .unwrap();
    }

    async fn answers(&mut self, answer: &[u8]) {
        self.server.write_all(answer).await.unwrap();
        self.client
            .read_exact(&mut vec![0; answer.len()])
            .await
            .unwrap();
    }

    /// After so many seconds, and one until they are told.
    async fn told_after(&self, seconds: u64) -> Totals {
        sleep(ms(seconds * 1000 + 1100)).await;
        self.meters.figures().remove(0).happened
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_statement_shows_while_it_runs() {
    let mut session = Beating::new().await;
    session.asks(&query()).await;
    let told = session.told_after(10).await;
    assert!((10.0..11.2).contains(&told.database_seconds), "{told:?}");
    assert_eq!(told.flights, 2);
    session.answers(&ready()).await;
    let told = session.told_after(3).await;
    assert!((11.0..11.2).contains(&told.database_seconds), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_nobody_works_at_shows_while_it_lasts() {
    let mut session = Beating::new().await;
    session.asks(&query()).await;
    session.answers(&message(b'Z', b"T")).await;
    let told = session.told_after(10).await;
    let idle = told.idle_in_transaction_seconds;
    assert!((10.0..11.2).contains(&idle), "{told:?}");
    session.asks(&query()).await;
    session.answers(&ready()).await;
    let told = session.told_after(3).await;
    assert!(
        (11.0..11.2).contains(&told.idle_in_transaction_seconds),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_ends_in_a_flush_is_told_before_it_goes_on() {
    let mut session = Beating::new().await;
    session
        .asks(&[message(b'P', b"p"), message(b'H', b"")].concat())
        .await;
    session.answers(&message(b'1', b"")).await;
    let told = session.told_after(1).await;
    assert_eq!(
        (told.flights, told.database_seconds > 0.1),
        (2, false),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_pauses_before_the_goodbye_was_not_here_for_one_page() {
    for (pause, pages) in [(ms(10), 1), (ms(20_000), 0)] {
        let goodbye = Step(pause, message(b'X', b""), 0);
        let Bench {
            client,
            server,
            relay,
            meters,
        } = bench((4096, 4096), Silence);
        let asks = vec![Step(ms(0), query(), ready().len()), goodbye];
        let answers = vec![Step(ms(0), vec![], query().len()), Step(ms(1), ready(), 5)];
        tokio::join!(play(client, asks), play(server, answers));
        relay.await.unwrap();
        let told = meters.figures().remove(0).happened;
        assert_eq!(told.pages, pages, "{pause:?}");
    }
}
