//! SCRAM-SHA-256 from both sides: as a server towards the client, as a client towards the server. Floor 2, pure: it is handed
//! messages, and randomness.
//!
//! A proof covers the certificate that its client has seen, so a login cannot be handed on between two certificates. It can be
//! ended and made anew: the client's proof yields its `ClientKey`, which proves the same to the server, and the verifier holds the
//! `ServerKey`. No password is known, and none is hashed: the salted rounds are the client's work.
//!
//! Sources: RFC 5802, RFC 7677, RFC 5929; the PostgreSQL 18 manual, *SASL Authentication*.

mod client;
mod keys;
mod server;

pub use client::{ClientSide, Distrust, Introduced, Proved};
pub use keys::{ClientKey, Secret, nonce};
pub use server::{Challenged, Doubt, ServerSide};

#[cfg(test)]
mod tests;
