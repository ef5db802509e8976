//! The dialogues: greet a client, read its opening, log it in at the database, say no. Floor 2.
//!
//! One module for each protocol. What differs between them ends here: a session sees streams, a claim, and the moments at which it may
//! speak.

pub mod postgres;

/// A session after its login, in the listener's protocol: the seam between the relay and what it relays.
#[derive(Debug)]
pub enum Conversation {
    Postgres(postgres::Conversation),
}
