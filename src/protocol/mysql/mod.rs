//! MySQL's and MariaDB's dialogues. Floor 2.

mod answer;
mod command;
mod conversation;

pub use conversation::{Conversation, Facts, Rights};
