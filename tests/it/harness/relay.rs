//! A plain TCP relay with a conscience: it counts, remembers how much came, and breaks on demand. Before the gateway it
//! gives a real client another source address; behind it, it is an upstream that can be watched and cut.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::raw::connect_from;

pub(crate) struct Relay {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The bytes that each connection brought, in the order of accepting.
    brought: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
    over: AtomicBool,
}

impl Relay {
    /// To `target`; its own connections leave from `source`.
    fn start(port: u16, target: SocketAddr, source: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if theirs.over.load(Ordering::Relaxed) {
                    return;
                }
                let client = client.unwrap();
                let server = connect_from(IpAddr::V4(source), target);
                if let Ok(server) = &server {
                    let both = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    theirs.open.lock().unwrap().push(both);
                }
                let brought = Arc::new(Mutex::new(Vec::new()));
                theirs.brought.lock().unwrap().push(Arc::clone(&brought));
                let Ok(server) = server else {
                    continue;
                };
                pump(
                    client.try_clone().unwrap(),
                    server.try_clone().unwrap(),
                    Some(brought),
                );
                pump(server, client, None);
            }
        });
        Self { port, shared }
    }

    /// Before the gateway: clients of this relay seem to come from `source`.
    pub(crate) fn from_address(source: [u8; 4], gateway: u16) -> Self {
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway));
        Self::start(0, gateway, Ipv4Addr::from(source))
    }

    /// Behind the gateway: what reaches this relay has reached the database.
    pub(crate) fn before(database: u16) -> Self {
        Self::at(0, database)
    }

    /// The same, on a port of one's choice.
    pub(crate) fn at(port: u16, database: u16) -> Self {
        let database = SocketAddr::from((Ipv4Addr::LOCALHOST, database));
        Self::start(port, database, Ipv4Addr::LOCALHOST)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections came that brought a byte. A gateway's own probes bring none.
    pub(crate) fn spoken_to(&self) -> usize {
        self.brought()
            .iter()
            .filter(|bytes| !bytes.is_empty())
            .count()
    }

    /// How many connections came at all.
    pub(crate) fn connected(&self) -> usize {
        self.shared.brought.lock().unwrap().len()
    }

    /// The bytes that each connection brought.
    pub(crate) fn brought(&self) -> Vec<Vec<u8>> {
        let all = self.shared.brought.lock().unwrap();
        all.iter()
            .map(|bytes| bytes.lock().unwrap().clone())
            .collect()
    }

    /// Resets every connection, both sides.
    pub(crate) fn cut(&self) {
        for (client, server) in self.shared.open.lock().unwrap().drain(..) {
            for side in [client, server] {
                socket2::SockRef::from(&side)
                    .set_linger(Some(Duration::ZERO))
                    .ok();
                side.shutdown(Shutdown::Both).ok();
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // wakes the accept loop, so that it sees the end and the port is free again
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
    }
}

/// Copies until the end, passes the end on, and forgets.
fn pump(mut from: TcpStream, mut to: TcpStream, brought: Option<Arc<Mutex<Vec<u8>>>>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if let Some(brought) = &brought {
                let mut brought = brought.lock().unwrap();
                let room = (1_usize << 20).saturating_sub(brought.len());
                brought.extend_from_slice(&buffer[..length.min(room)]);
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    });
}
