//! The relay: bytes from the client to the server and back, unchanged, and what can be learned on the way. Floor 3.
//!
//! One task polls both directions. The buffer belongs to the thread and is borrowed inside one poll only; a session keeps
//! bytes of its own just for what a short write left over, so an idle one has none, and memory does not depend on a result's
//! size. `poll_read` notices by a short read that a socket is empty: a query costs two waits, two reads and two writes.

mod books;
mod close_up;
mod interlude;
mod ledger;
mod leg;
mod orders;
mod parting;
mod way;

use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    meter::{Attendance, ListenerMeters, Mover, OriginMeters},
    protocol::{Conversation, Hold, Standing},
};
pub use books::{Blocked, Books, Unkept};
use interlude::HeldBack;
pub use interlude::Interlude;
pub use ledger::Ledger;
pub use leg::Leg;
pub use orders::{Order, Orders, Told};
use parting::{LastWords, part};
use way::{Deaf, Taken, Way};

/// Where a relayed session is counted, and what was measured before it.
#[derive(Debug)]
pub struct Line {
    pub origin: Attendance,
    pub listener: Arc<ListenerMeters>,
    /// When the connection was accepted.
    pub since: Instant,
    /// Least round-trip time of the client after its login.
    pub client_rtt: Option<Duration>,
    /// Zero for a unix socket.
    pub upstream_rtt: Duration,
}

/// Why a relay stopped moving bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Over(End),
    /// The client's next command is one that the session has to decide on, with everything before it answered; or the server has
    /// answered one. The relay goes on when it is polled again, see [`Relay::interlude`].
    Asks,
}

/// A session that is over.
#[derive(Debug)]
pub struct Closed {
    pub end: End,
    /// Bytes from the client, and to it.
    pub received: u64,
    pub transmitted: u64,
    /// The last that was measured of the client.
    pub client_rtt: Option<Duration>,
    /// Whether the bytes stopped making sense as messages.
    pub frame_lost: bool,
    /// Since the connection was accepted.
    pub lasted: Duration,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    ClientLeft,
    DatabaseLeft,
    /// Ended at once, by an order.
    Revoked,
    /// Ended at the end of its transaction, by an order.
    Drained,
    /// The client's connection failed.
    ClientBroke,
    /// The server's connection failed.
    DatabaseBroke,
    /// One side did what the session may not do.
    Breach,
}

impl End {
    /// A closed set, so it may be a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ClientLeft => "client_left",
            Self::DatabaseLeft => "database_left",
            Self::Revoked => "revoked",
            Self::Drained => "drained",
            Self::ClientBroke => "client_broke",
            Self::DatabaseBroke => "database_broke",
            Self::Breach => "breach",
        }
    }
}

/// A session being relayed: a future that stops with the session, for [`close`](Self::close) to finish, or at a question. A
/// struct and not an `async fn`, which would hold each of its arguments twice for as long as the session lives.
pub struct Relay<C, S, O, B = Ledger> {
    client: C,
    upstream: S,
    to_server: Way,
    to_client: Way,
    /// Read from the client, and not to be passed on yet. Boxed, for an idle session has none.
    held: Option<Box<HeldBack>>,
    conversation: Conversation,
    books: B,
    /// Who ended first.
    ended: Option<End>,
    leaving: Option<Box<Leaving>>,
    orders: O,
}

/// What is left of a relay.
pub struct Over<O, P> {
    pub closed: Closed,
    pub orders: O,
    /// Whether the server was still at something.
    pub busy: bool,
    /// Says the last words and closes the sockets, within a second or two; `None` where nothing is to be said.
    pub parting: Option<P>,
}

/// The session has to end soon.
struct Leaving {
    /// What an order wants said, at the end of a transaction if there is one in time.
    farewell: Option<String>,
    by: Pin<Box<Sleep>>,
    /// The end that it is when it comes to the deadline.
    end: End,
}

impl Leaving {
    fn new(end: End, by: Instant, farewell: Option<String>) -> Self {
        let by = Box::pin(sleep_until(by));
        Self { farewell, by, end }
    }
}

impl<C: Leg, S: Leg, O: Orders> Relay<C, S, O> {
    pub fn new(client: C, upstream: S, conversation: Conversation, line: Line, orders: O) -> Self {
        Self::with(client, upstream, conversation, Ledger::open(line), orders)
    }
}

impl<C: Leg, S: Leg, O: Orders, B: Books> Relay<C, S, O, B> {
    /// One whose work is told to these books.
    pub fn with(client: C, upstream: S, conversation: Conversation, books: B, orders: O) -> Self {
        Self {
            client,
            upstream,
            to_server: Way::default(),
            to_client: Way::default(),
            held: None,
            conversation,
            books,
            ended: None,
            leaving: None,
            orders,
        }
    }

    /// Closes the books, and gives what remains to be said and done on the sockets.
    pub fn close(self, end: End) -> Over<O, impl Future<Output = ()> + use<C, S, O, B>> {
        let busy = self.is_busy();
        let conversation = &self.conversation;
        let facts = || self.client.facts();
        let closed = self.books.close(end, conversation, facts);
        let ours = match end {
            // there is nobody to talk to
            End::ClientBroke | End::ClientLeft => None,
            End::DatabaseLeft | End::DatabaseBroke => {
                Some(conversation.server_is_gone().unwrap_or_default())
            }
            // never into the middle of a message
            End::Revoked | End::Drained if !conversation.may_speak_to_client() => None,
            End::Revoked | End::Drained => self.leaving.map(|leaving| {
                let farewell = leaving.farewell;
                farewell.map_or_else(Vec::new, |words| conversation.farewell(&words))
            }),
            // where the session has said it already, it has still to arrive
            End::Breach => Some(match conversation.hold() {
                Some(Hold::Breach(why)) if conversation.may_speak_to_client() => {
                    conversation.farewell(&format!("doorward: session ended: {why}"))
                }
                _ => Vec::new(),
            }),
        };
        let ordered = matches!(end, End::Revoked | End::Drained);
        let leave = conversation
            .leave()
            .filter(|_| ordered && !self.to_server.has_leftovers());
        let words = ours.map(|ours| LastWords {
            to_client: [self.to_client.into_leftovers(), ours].concat(),
            to_server: leave,
        });
        let (client, upstream) = (self.client, self.upstream);
        Over {
            closed,
            orders: self.orders,
            busy,
            parting: words.map(|words| part(client, upstream, words)),
        }
    }

    /// Ends the session at that moment, whatever it does, and without a word.
    pub fn end_by(&mut self, by: Instant) {
        self.leave(End::Revoked, by, None);
    }

    fn leave(&mut self, end: End, by: Instant, farewell: Option<String>) {
        self.leaving = Some(Box::new(Leaving::new(end, by, farewell)));
    }

    /// Counts as another origin's session from now on.
    pub fn move_to(&mut self, origin: Arc<OriginMeters>) {
        if let Some(told) = self.books.move_to(origin) {
            self.orders.told(&told);
        }
    }

    /// Moves bytes until nothing moves, or until it is the neighbours' turn.
    fn shuttle(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Option<Turn> {
        for _ in 0..MOST_ROUNDS {
            let moved = match (
                self.step_to_server(cx, buffer),
                self.step_to_client(cx, buffer),
            ) {
                (Ok(one), Ok(other)) => one || other,
                (Err(end), _) | (_, Err(end)) => return Some(Turn::Over(end)),
            };
            if !moved {
                let over = self.rest(cx).map(Turn::Over);
                return over.or_else(|| self.asks().then_some(Turn::Asks));
            }
        }
        cx.waker().wake_by_ref();
        None
    }

    #[inline]
    fn step_to_server(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Result<bool, End> {
        let given = if self.to_server.has_leftovers() {
            let given = self.to_server.give_leftovers(cx, &mut self.upstream);
            if matches!(given, Ok(true)) {
                self.books.leftovers_moved(Mover::Client);
            }
            given
        } else if self.held.is_some() && !self.needs_more() {
            return self.offer_again(cx);
        } else {
            match self.to_server.take(cx, &mut self.client, buffer) {
                Taken::Nothing => Ok(false),
                Taken::Broken => return Err(self.client_is_deaf()),
                Taken::End => {
                    self.ended.get_or_insert(End::ClientLeft);
                    Ok(true)
                }
                Taken::Bytes(bytes) => {
                    let delivered = !self.to_client.has_leftovers();
                    let Self { conversation, .. } = self;
                    self.books.client_moved(bytes, conversation, delivered);
                    if self.held.is_some() {
                        return self.offer_more(cx, bytes);
                    }
                    let passing = conversation.from_client(bytes);
                    let passing = self.hold_back(bytes, passing)?;
                    let given = self.to_server.give(cx, &mut self.upstream, passing);
                    given.map(|()| true)
                }
            }
        };
        Ok(given.unwrap_or_else(|Deaf| {
            self.server_is_deaf();
            true
        }))
    }

    #[inline]
    fn step_to_client(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Result<bool, End> {
        let given = if self.to_client.has_leftovers() {
            let given = self.to_client.give_leftovers(cx, &mut self.client);
            if matches!(given, Ok(true)) {
                self.books.leftovers_moved(Mover::Server);
            }
            given
        } else {
            match self.to_client.take(cx, &mut self.upstream, buffer) {
                Taken::Nothing => Ok(false),
                Taken::Broken => {
                    self.to_client.end_source();
                    self.ended.get_or_insert(End::DatabaseBroke);
                    Ok(true)
                }
                Taken::End => {
                    self.ended = Some(match self.ended {
                        _ if self.conversation.client_has_left() => End::ClientLeft,
                        Some(End::ClientLeft) => End::ClientLeft,
                        // after a failed write it is the better word for what happened
                        _ => End::DatabaseLeft,
                    });
                    Ok(true)
                }
                Taken::Bytes(bytes) => {
                    self.books.server_moved(bytes);
                    let passing = self.conversation.from_server(bytes);
                    let passing = bytes.get(..passing).unwrap_or(bytes);
                    let given = self.to_client.give(cx, &mut self.client, passing);
                    self.breach()?;
                    given.map(|()| true)
                }
            }
        };
        given.map_err(|Deaf| self.client_is_deaf())
    }

    /// Nothing moves: flushes, passes on what ended, and tells whether it is all over.
    fn rest(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let held = self.to_client.is_blocked();
        if self.to_client.flush(cx, &mut self.client).is_err() {
            return Some(self.client_is_deaf());
        }
        if held && !self.to_client.is_blocked() {
            self.books.leftovers_moved(Mover::Server);
        }
        let flushed = self.to_server.flush(cx, &mut self.upstream);
        let waits_for_nothing =
            || self.said_goodbye() || self.conversation.streams() || self.gives_up();
        if self.ended == Some(End::ClientLeft) && waits_for_nothing() {
            return self.ended;
        }
        let passed = flushed.and_then(|()| self.to_server.pass_on_end(cx, &mut self.upstream));
        if passed.is_err() {
            self.server_is_deaf();
        }
        if self.ended == Some(End::ClientLeft) {
            let passed = self.to_client.pass_on_end(cx, &mut self.client);
            return self
                .ended
                .filter(|_| self.to_client.is_closed() || passed.is_err());
        }
        self.ended.filter(|_| self.to_client.is_delivered())
    }

    /// The client took leave with no answer outstanding and has closed, and the server knows: neither waits for anything.
    fn said_goodbye(&self) -> bool {
        let idle = matches!(self.conversation.standing(), Standing::Idle { .. });
        idle && self.conversation.client_has_left()
            && self.to_server.is_delivered()
            && !self.to_client.is_blocked()
    }

    /// The client has left in the middle of something, and wants no more of it.
    fn gives_up(&self) -> bool {
        self.is_busy() && self.orders.forgo_answers()
    }

    /// Whether the server is at something, or in the middle of being asked.
    fn is_busy(&self) -> bool {
        !matches!(self.conversation.standing(), Standing::Idle { .. })
    }

    fn client_is_deaf(&self) -> End {
        if self.conversation.client_has_left() {
            return End::ClientLeft;
        }
        self.ended.unwrap_or(End::ClientBroke)
    }

    /// The server takes nothing more, but what it has said is still to be delivered. Its socket will tell the end of that
    /// soon; the deadline is for one that does not.
    fn server_is_deaf(&mut self) {
        self.to_server.abandon();
        self.ended.get_or_insert(End::DatabaseBroke);
        let by = Instant::now() + LAST_HEARING;
        self.leave(End::DatabaseBroke, by, None);
    }

    fn obey(&mut self, order: Order) -> Option<End> {
        match order {
            Order::Move {
                meters,
                local_infile,
            } => {
                self.move_to(meters);
                self.conversation.allow_local_infile(local_infile);
                None
            }
            Order::Drain { farewell, by } => {
                self.leave(End::Revoked, by, Some(farewell));
                None
            }
            Order::Cut { farewell } => {
                self.leave(End::Revoked, Instant::now(), Some(farewell));
                Some(End::Revoked)
            }
        }
    }

    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(leaving) = &mut self.leaving else {
            return Poll::Pending;
        };
        let blocked = self.to_client.is_blocked() || self.to_server.is_blocked();
        if leaving.farewell.is_some() && !blocked && self.conversation.quiet() {
            return Poll::Ready(End::Drained);
        }
        let end = leaving.end;
        leaving.by.as_mut().poll(cx).map(|()| end)
    }
}

impl<C: Leg, S: Leg, O: Orders, B: Books> Future for Relay<C, S, O, B> {
    type Output = Turn;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        let relay = self.get_mut();
        while let Poll::Ready(order) = relay.orders.poll_order(cx) {
            if let Some(end) = relay.obey(order) {
                return Poll::Ready(Turn::Over(end));
            }
        }
        let turn = BUFFER.with_borrow_mut(|buffer| relay.shuttle(cx, buffer));
        if let Some(over @ Turn::Over(_)) = turn {
            return Poll::Ready(over);
        }
        let blocked = Blocked {
            to_client: relay.to_client.is_blocked(),
            to_server: relay.to_server.is_blocked(),
        };
        let (conversation, orders) = (&mut relay.conversation, &mut relay.orders);
        if relay.books.settle(cx, conversation, blocked, orders) {
            let (client, server) = (relay.client.facts(), relay.upstream.facts());
            relay.books.look(client, server);
        }
        if let Some(asks) = turn {
            return Poll::Ready(asks);
        }
        relay.poll_leaving(cx).map(Turn::Over)
    }
}

thread_local! {
    /// Lent to whichever session of the thread is being polled. Its pages cost nothing until a read fills them.
    static BUFFER: RefCell<[u8; BUFFER_SIZE]> = const { RefCell::new([0; BUFFER_SIZE]) };
}

const BUFFER_SIZE: usize = 64 * 1024;
/// Reads of each side before the neighbours get their turn: four mebibytes, about as much as the runtime's own budget allows.
/// To yield wakes another worker, which takes the stream away from its warm cache: at every mebibyte it cost a sixth more.
const MOST_ROUNDS: usize = 64;
/// How long a server that takes nothing more may go on talking.
const LAST_HEARING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod close_up_tests;
#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timing_tests;
