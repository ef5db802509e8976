//! The accept loop: no error ends it, and none makes it spin. Floor 4.

use std::{fs::File, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Tasks,
    systemd::{Pulse, beat_every},
};
use crate::session::{self, Accepted, Door, Gateway};

/// One bound address of a listener.
pub(super) struct Entrance {
    pub(super) listener: TcpListener,
    pub(super) door: Arc<Door>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) sessions: Tasks,
    pub(super) pulse: Pulse,
}

impl Entrance {
    /// Accepts until `closing` changes, and then gives the address free.
    pub(super) async fn accept_until(self, mut closing: watch::Receiver<()>) {
        let mut beats = interval(beat_every());
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trouble = Trouble::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, peer)) => {
                        trouble.over();
                        self.let_in(socket, peer);
                    }
                    Err(error) => self.endure(&mut trouble, &error).await,
                },
                _ = beats.tick() => self.pulse.beat(),
                _ = closing.changed() => return self.pulse.rest(),
            }
        }
    }

    fn let_in(&self, socket: TcpStream, peer: SocketAddr) {
        let (door, gateway) = (Arc::clone(&self.door), Arc::clone(&self.gateway));
        let accepted = Accepted::new(socket, peer, door, gateway);
        self.sessions.spawn("session", session::serve(accepted));
    }

    async fn endure(&self, trouble: &mut Trouble, error: &io::Error) {
        let Some(reason) = exhausted(error) else {
            // one connection's own misfortune, that accept(2) tells of: the next may be fine
            self.gateway.meters.accept_error("aborted");
            return;
        };
        self.gateway.meters.accept_error(reason);
        let pause = trouble.again();
        if pause == SHORTEST {
            tracing::error!(event = "accept_error", listener = &*self.door.settings.name, reason, cause = %error,
                "cannot accept; existing sessions go on");
        }
        trouble.turn_one_away(&self.listener).await;
        self.pulse.beat();
        sleep(pause).await;
    }
}

/// A word for an error that concerns the whole process or machine; `None` for one of a single connection.
fn exhausted(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => Some("emfile"),
        libc::ENFILE => Some("enfile"),
        libc::ENOBUFS => Some("enobufs"),
        libc::ENOMEM => Some("enomem"),
        // accept(2): the pending network errors of a connection are given to whoever accepts it
        libc::ECONNABORTED
        | libc::EINTR
        | libc::EAGAIN
        | libc::EPROTO
        | libc::ENETDOWN
        | libc::ENOPROTOOPT
        | libc::EHOSTDOWN
        | libc::ENONET
        | libc::EHOSTUNREACH
        | libc::EOPNOTSUPP
        | libc::ENETUNREACH
        | libc::EPERM
        | libc::ETIMEDOUT
        | libc::ECONNRESET => None,
        _ => Some("other"),
    }
}

/// How long errors have gone on, and the descriptor that is kept for them.
struct Trouble {
    pause: Option<Duration>,
    spare: Option<File>,
}

impl Trouble {
    fn new() -> Self {
        Self {
            pause: None,
            spare: spare(),
        }
    }

    fn over(&mut self) {
        self.pause = None;
        if self.spare.is_none() {
            self.spare = spare();
        }
    }

    /// The next pause: from the shortest, doubled up to the longest.
    fn again(&mut self) -> Duration {
        let pause = self
            .pause
            .map_or(SHORTEST, |pause| (pause * 2).min(LONGEST));
        self.pause = Some(pause);
        pause
    }

    /// With no descriptor left, the client at the head of the queue would wait for ever: the spare one is used to accept
    /// and close it.
    async fn turn_one_away(&mut self, listener: &TcpListener) {
        if self.spare.take().is_some() {
            let first = listener.accept();
            // ready at once or not at all: an error said that somebody waits
            let _turned_away = tokio::time::timeout(Duration::from_millis(1), first).await;
        }
        self.spare = spare();
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;

    #[test]
    fn pauses_double_up_to_a_second_and_begin_anew_after_a_success() {
        let mut trouble = Trouble::new();
        let pauses: Vec<_> = (0..7).map(|_| trouble.again().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        trouble.over();
        assert_eq!(trouble.again(), SHORTEST);
    }

    #[test]
    fn only_what_concerns_everybody_makes_the_loop_pause() {
        let of = |number| exhausted(&io::Error::from_raw_os_error(number));
        assert_eq!(of(libc::EMFILE), Some("emfile"));
        assert_eq!(of(libc::ECONNABORTED), None);
        assert_eq!(of(libc::EBADF), Some("other"));
    }

    #[tokio::test]
    async fn the_spare_descriptor_turns_the_first_in_the_queue_away() {
        let listener = net::bind("127.0.0.1:0".parse().unwrap(), net::Families::Own).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let mut trouble = Trouble::new();
        trouble.turn_one_away(&listener).await;
        assert!(trouble.spare.is_some());
        client.readable().await.unwrap();
        let mut byte = [0];
        assert_eq!(client.try_read(&mut byte).unwrap(), 0, "closed");
    }
}
