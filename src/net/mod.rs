//! Sockets, TLS and certificates, the way to the database, the kernel's view of a connection. Floor 1.
//!
//! Only this module opens sockets, and only it holds the `unsafe` there must be (`kernel.rs`).

mod stream;

pub use stream::Stream;
