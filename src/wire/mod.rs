//! Bytes to messages and back. Floor 0: pure, bounded, no sockets.
//!
//! Lengths come from strangers: none is used before it is compared with a limit named here, and nothing is allocated by one.

mod fingerprint;
pub mod mysql;
pub mod postgres;

pub use fingerprint::{Language, Statement, StatementKind, Text};

/// Either a message and how many bytes it took, or how many bytes the buffer must hold before it is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    Done(T, usize),
    Need(usize),
}
