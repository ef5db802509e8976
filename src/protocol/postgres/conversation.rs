//! What both sides of a session have said so far, by message headers alone. Floor 2.

/// Follows a session after its login.
#[derive(Debug)]
pub struct Conversation {}
