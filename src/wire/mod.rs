//! Bytes to messages and back. Floor 0: pure, bounded, no sockets.
//!
//! Lengths come from strangers: none is used before it is compared with a limit named here, and nothing is allocated by one.

pub mod postgres;
