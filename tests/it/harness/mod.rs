//! What the tests stand on: real servers, the gateway's own binary, real clients, raw bytes. No test sleeps for luck.

pub(crate) mod authority;
pub(crate) mod client_ca;
pub(crate) mod clients;
pub(crate) mod dice;
pub(crate) mod dns;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod line;
pub(crate) mod mysql;
pub(crate) mod mysql_clients;
pub(crate) mod mysql_peer;
pub(crate) mod mysql_raw;
pub(crate) mod network;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod relay;
pub(crate) mod rogue;
pub(crate) mod tls;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

pub(crate) use authority::Authority;
pub(crate) use clients::{Login, newest_psql, node, psql, python};
pub(crate) use dice::Dice;
pub(crate) use dns::Dns;
pub(crate) use gateway::Gateway;
pub(crate) use mysql::{Kind, Mysql};
pub(crate) use mysql_clients::{Account, mariadb, mysql};
pub(crate) use mysql_peer::Client;
pub(crate) use postgres::Postgres;
pub(crate) use process::{Ended, run};
pub(crate) use raw::Raw;
pub(crate) use relay::Relay;
pub(crate) use rogue::Rogue;

/// How long anything that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until there is an answer; fails the test with `what` if none comes.
pub(crate) fn wait_until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port of 127.0.0.1 that nobody uses. Below the kernel's own range, so that no outgoing connection takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A folder of what `tests/setup` keeps.
pub(crate) fn cache(kind: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"),
        PathBuf::from,
    );
    cache.join("doorward").join(kind)
}

/// The folder where `tests/setup` keeps the clients' drivers.
pub(crate) fn drivers(kind: &str) -> PathBuf {
    let folder = cache(kind);
    assert!(
        folder.join("made-from").exists(),
        "no {kind} drivers in {}: run tests/setup first",
        folder.display()
    );
    folder
}

/// A file of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
