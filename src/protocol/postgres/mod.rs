//! PostgreSQL's dialogues. Floor 2.
//!
//! | file | dialogue |
//! |---|---|
//! | `greet` | accept to startup packet: negotiation, TLS, the opening |
//! | `identity` | the startup packet in the policy's words |
//! | `encrypt` | TLS towards the server |
//! | `login` | the startup packet to the first `ReadyForQuery`, relayed message by message |
//! | `pairing` | what becomes of SCRAM between two legs: pure |
//! | `terminate` | a SCRAM login that ends here and is made anew |
//! | `accounts` | whom we can believe in the server's place |
//! | `heard` | what the server says during a login, and how much of it is handed on: pure |
//! | `exchange` | who may say what during a login: pure |
//! | `conversation` | what stands open in a session, from message headers alone |
//! | `scram` | the proof of a password, from both sides: pure |
//! | `look` | how a server receives somebody, for `doorward check` |
//! | `refuse` | the codes of a no |
//!
//! Nothing here decides who may come in, and nothing has a deadline of its own but the first byte: the caller bounds each call.

mod accounts;
mod conversation;
mod encrypt;
mod exchange;
mod greet;
mod heard;
mod identity;
mod login;
mod look;
mod pairing;
mod refuse;
pub mod scram;
mod terminate;

pub use accounts::Accounts;
pub use conversation::Conversation;
pub use encrypt::{EncryptError, encrypt};
pub use exchange::{Exchange, Fault, Step};
pub use greet::{Asked, GreetError, Greeted, Greeting, greet};
pub use identity::identity;
pub use login::{LoggedIn, LoginError, Terms, is_private, login};
pub use look::{LookError, Reception, certificate_behind, is_postgres, look};
pub use pairing::{Pairing, Plan, Proofs, Scram};
pub use refuse::{farewell, sqlstate};

pub use super::last_words::refuse;
