//! What a relay tells of its work, and what it costs to tell nobody. Floor 3.

use std::{sync::Arc, task::Context};

use super::{Closed, End, Orders, Told};
use crate::{
    meter::{Mover, OriginMeters},
    net::kernel::TcpFacts,
    protocol::Conversation,
};

/// Who counts and times a session. The relay has one for each, see [`Ledger`](super::Ledger).
pub trait Books: Unpin {
    /// Bytes of the client were read; called before the conversation sees them. `delivered`: the client has all that the
    /// server has said.
    fn client_moved(&mut self, bytes: &[u8], conversation: &mut Conversation, delivered: bool);

    /// Bytes that were read before have been delivered.
    fn leftovers_moved(&mut self, mover: Mover);

    /// Bytes of the server were read.
    fn server_moved(&mut self, bytes: &[u8]);

    /// Nothing moves any more, the task is going to sleep. Tells whether it is time to [`look`](Self::look).
    fn settle(
        &mut self,
        cx: &Context<'_>,
        conversation: &mut Conversation,
        blocked: Blocked,
        orders: &mut impl Orders,
    ) -> bool;

    /// Takes over what the kernel has measured meanwhile.
    fn look(&mut self, client: Option<TcpFacts>, server: Option<TcpFacts>);

    /// Looks no closer any more; what comes next may be looked at anew.
    fn look_away(&mut self);

    /// The session counts as another origin's from now on. Gives what it has told the one before.
    fn move_to(&mut self, origin: Arc<OriginMeters>) -> Option<Told>;

    /// The session is over.
    fn close(
        self,
        end: End,
        conversation: &Conversation,
        client: impl FnOnce() -> Option<TcpFacts>,
    ) -> Closed;
}

/// The ways that wait for their sink.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocked {
    pub to_client: bool,
    pub to_server: bool,
}

/// No books at all: what the relay costs without its meters, for the bench to compare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unkept;

impl Books for Unkept {
    #[inline]
    fn client_moved(&mut self, _: &[u8], _: &mut Conversation, _: bool) {}

    #[inline]
    fn leftovers_moved(&mut self, _: Mover) {}

    #[inline]
    fn server_moved(&mut self, _: &[u8]) {}

    #[inline]
    fn settle(
        &mut self,
        _: &Context<'_>,
        _: &mut Conversation,
        _: Blocked,
        _: &mut impl Orders,
    ) -> bool {
        false
    }

    fn look(&mut self, _: Option<TcpFacts>, _: Option<TcpFacts>) {}

    fn look_away(&mut self) {}

    fn move_to(&mut self, _: Arc<OriginMeters>) -> Option<Told> {
        None
    }

    fn close(
        self,
        end: End,
        conversation: &Conversation,
        _: impl FnOnce() -> Option<TcpFacts>,
    ) -> Closed {
        Closed {
            end,
            received: 0,
            transmitted: 0,
            client_rtt: None,
            frame_lost: conversation.lost(),
            lasted: std::time::Duration::ZERO,
        }
    }
}
