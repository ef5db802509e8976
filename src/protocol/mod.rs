//! The dialogues. Floor 2.

pub mod postgres;

/// A session after its login, in the listener's protocol: the seam between the relay and what it relays.
#[derive(Debug)]
pub enum Conversation {
    Postgres(postgres::Conversation),
}
