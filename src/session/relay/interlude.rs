//! What a relay holds back until the server has answered, or the session has decided. Floor 3.

use std::task::Context;

use super::{Books, End, Leg, Orders, Relay};
use crate::{
    meter::Mover,
    protocol::{Conversation, Hold},
};

/// Bytes of the client that the server may not be given yet.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    bytes: Vec<u8>,
}

/// What the session works with while its relay stands still.
pub struct Interlude<'a, C, S, O> {
    pub client: &'a mut C,
    pub upstream: &'a mut S,
    pub conversation: &'a mut Conversation,
    /// What the client has sent and the server has not been given: begins with the command in question, and may end inside of
    /// it. What stays in it is relayed next.
    pub held: &'a mut Vec<u8>,
    pub orders: &'a mut O,
}

impl<C: Leg, S: Leg, O: Orders, B: Books> Relay<C, S, O, B> {
    /// What the session works with after [`Turn::Asks`](super::Turn::Asks), until it polls the relay again.
    pub fn interlude(&mut self) -> Interlude<'_, C, S, O> {
        self.books.look_away();
        Interlude {
            client: &mut self.client,
            upstream: &mut self.upstream,
            conversation: &mut self.conversation,
            held: &mut self.held.get_or_insert_default().bytes,
            orders: &mut self.orders,
        }
    }

    /// What the session has been asked is there as a whole: until now the client's time, from now on not.
    pub fn is_asked(&mut self) {
        self.books.leftovers_moved(Mover::Client);
    }

    /// Keeps what may not pass. Gives what may.
    #[inline]
    pub(super) fn hold_back<'a>(
        &mut self,
        bytes: &'a [u8],
        passing: usize,
    ) -> Result<&'a [u8], End> {
        let Some((passing, rest @ [_, ..])) = bytes.split_at_checked(passing) else {
            return Ok(bytes);
        };
        let bytes = rest.to_vec();
        self.held = Some(Box::new(HeldBack { bytes }));
        self.breach()?;
        Ok(passing)
    }

    /// Whether what is held is the start of something that cannot be judged yet.
    #[inline]
    pub(super) const fn needs_more(&self) -> bool {
        matches!(self.conversation.hold(), Some(Hold::More))
    }

    /// What was held back is looked at again: the server may have answered what it waited for, or the session has decided.
    pub(super) fn offer_again(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.conversation.hold().is_some() {
            return Ok(false);
        }
        self.books.leftovers_moved(Mover::Client);
        self.offer_more(cx, &[])
    }

    /// Looks again at what was held back, and at what came behind it.
    pub(super) fn offer_more(&mut self, cx: &mut Context<'_>, more: &[u8]) -> Result<bool, End> {
        let mut bytes = self.held.take().map(|held| held.bytes).unwrap_or_default();
        bytes.extend_from_slice(more);
        let passing = self.conversation.from_client(&bytes);
        let passing = self.hold_back(&bytes, passing)?;
        let given = self.to_server.give(cx, &mut self.upstream, passing);
        if given.is_err() {
            self.server_is_deaf();
        }
        // even if nothing passed: the client is read again, and so wakes us for what it sends next
        Ok(true)
    }

    /// Whether the session stands before a command that it has to decide on, with all before it answered and delivered; or after
    /// one, with the answer.
    pub(super) const fn asks(&self) -> bool {
        let undelivered = self.to_client.is_blocked() || self.to_server.is_blocked();
        !undelivered
            && self.ended.is_none()
            && matches!(
                self.conversation.hold(),
                Some(Hold::Command | Hold::Answered { .. })
            )
    }

    /// An end where one side did what the session may not do.
    pub(super) const fn breach(&self) -> Result<(), End> {
        match self.conversation.hold() {
            Some(Hold::Breach(_)) => Err(End::Breach),
            Some(Hold::More | Hold::Answers | Hold::Command | Hold::Answered { .. }) | None => {
                Ok(())
            }
        }
    }
}
