//! The dialogue with a PostgreSQL client and its server. Floor 2.

mod conversation;

pub use conversation::Conversation;
