//! What both sides of a session have said so far, by message headers alone. Floor 2.

use crate::wire::postgres::{Frames, TransactionStatus};

/// Follows a session after its login.
#[derive(Debug)]
pub struct Conversation {}

impl Conversation {
    /// `client` and `server` stand where the login left them, `status` is that of its `ReadyForQuery`.
    pub const fn new(_: Frames, _: Frames, _: TransactionStatus) -> Self {
        Self {}
    }
}
