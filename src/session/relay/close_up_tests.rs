//! What is found out about a session while somebody looks closer at its origin.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

use super::{
    tests::{Bench, Silence, bench, message},
    *,
};
use crate::meter::{Meters, Repeated};

/// A session that can be asked for its next query.
struct Asker {
    bench: Bench,
}

impl Asker {
    #[expect(clippy::disallowed_methods, reason = "a test runs its own beat")]
    fn new() -> Self {
        let bench = bench((4096, 4096), Silence);
        tokio::spawn(Arc::clone(&bench.meters).keep_told());
        Self { bench }
    }

    fn watch(&self, seconds: u64) {
        let long = Duration::from_secs(seconds);
        assert!(self.bench.meters.watch("shop", long));
    }

    /// The database takes 15 ms.
    async fn ask(&mut self, query: &str) {
        let query = message(b'Q', format!("{query}\0").as_bytes());
        self.bench.client.write_all(&query).await.unwrap();
        let mut there = vec![0; query.len()];
        self.bench.server.read_exact(&mut there).await.unwrap();
        assert_eq!(there, query);
        sleep(Duration::from_millis(15)).await;
        let ready = message(b'Z', b"I");
        self.bench.server.write_all(&ready).await.unwrap();
        let mut back = vec![0; ready.len()];
        self.bench.client.read_exact(&mut back).await.unwrap();
    }

    async fn page(&mut self) {
        self.ask("select id, author from books").await;
        for author in 0..8 {
            let query = format!("select name from authors where id = {author}");
            self.ask(&query).await;
        }
    }

    fn repeated(&self) -> Vec<Repeated> {
        self.bench.meters.origin("pg", "shop").repeated()
    }

    async fn leave(self) -> Arc<Meters> {
        let Bench {
            client,
            server,
            relay,
            meters,
        } = self.bench;
        drop((client, server));
        relay.await.unwrap();
        meters
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_for_each_row_is_found_with_what_it_took() {
    let mut asker = Asker::new();
    asker.watch(60);
    asker.page().await;
    asker.page().await;
    let meters = asker.leave().await;
    let repeated = meters.origin("pg", "shop").repeated();
    let [one] = &repeated[..] else {
        panic!("{repeated:?}");
    };
    assert_eq!((one.length, one.times), (8, 2));
    assert_eq!(one.saves, Duration::from_millis(8 * 15));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_an_origin_that_nobody_looks_at() {
    let mut asker = Asker::new();
    asker.page().await;
    assert_eq!(asker.leave().await.origin("pg", "shop").repeated(), []);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_looked_at_from_its_next_request_on_and_told_when_it_falls_silent() {
    let mut asker = Asker::new();
    asker.page().await;
    asker.watch(10);
    asker.page().await;
    assert_eq!(asker.repeated(), [], "it may go on");
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(asker.repeated().len(), 1);
    sleep(Duration::from_secs(10)).await;
    asker.page().await;
    asker.ask("begin").await;
    assert_eq!(asker.repeated()[0].times, 1, "nobody looks any more");
}

#[tokio::test(start_paused = true)]
async fn what_a_session_asks_before_its_work_is_counted_with_its_time() {
    let mut asker = Asker::new();
    asker.watch(60);
    asker.ask("set search_path = a").await;
    asker
        .ask("select set_config('TimeZone', 'UTC', false)")
        .await;
    asker.page().await;
    let set_up = asker.leave().await.origin("pg", "shop").set_up();
    assert_eq!((set_up.sessions, set_up.statements), (1, 2));
    assert_eq!(set_up.took, Duration::from_millis(30));
}
