//! PostgreSQL's messages, as far as a gateway must read them: the opening, the headers of everything after it, and the few
//! messages of a login. Floor 0. No row and no password is parsed here, and no query: of its
//! text nothing but a fingerprint is made, while somebody looks closer.
//!
//! Source of every protocol fact: the PostgreSQL 18 manual, *Message Formats* and *Message Flow*, and the server's
//! `backend_startup.c` where the manual is silent.

pub mod bearer;
mod error;
mod frames;
mod messages;
mod opening;
pub mod sasl;
mod startup;
mod statements;
mod verifier;

pub use error::{ErrorForm, ErrorResponse, WireError, with_hint};
pub use frames::{Frame, Frames};
pub use messages::{Authentication, Garbled, Message, Sqlstate, TransactionStatus};
pub use opening::{CancelKey, MAX_OPENING, Opening};
pub use startup::{ProtocolVersion, Replication, StartupMessage};
pub use statements::Statements;
pub use verifier::{MAX_ITERATIONS, MAX_SALT, NotAVerifier, Verifier};
