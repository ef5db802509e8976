//! MySQL's and MariaDB's packets, as far as a gateway must read them: greeting, handshake response, authentication, and the first
//! bytes of what ends a response. Floor 0. No row and no password is parsed here, and no statement: of its text nothing but a
//! fingerprint is made, while somebody looks closer.
//!
//! Packets are read to offsets and patched in place: what is forwarded are the bytes that came, so that nothing this reader does not
//! know is lost. That is safe because the reading is strict: what two readers could read differently is refused.
//!
//! Source of every protocol fact, unless another is named: the MySQL source documentation, *Client/Server Protocol*, and MariaDB's
//! *Clients and Utilities: Protocol*; where they are silent, what the servers do.

mod attributes;
mod auth;
mod capabilities;
mod change_user;
pub mod commands;
pub mod errno;
mod error;
mod fields;
mod greeting;
mod handshake;
mod names;
mod packet;
mod packets;
#[cfg(test)]
mod samples;
mod splice;
mod statements;
mod terminal;

pub use attributes::Attributes;
pub use auth::{AuthPacket, Garbled, Readable, code, nonce_of, plugin, proof_fits};
pub use capabilities::{Capabilities, Extended};
pub use change_user::ChangeUser;
pub use error::{ErrForm, ErrPacket, WireError};
pub use greeting::{FirstPacket, Greeting, NotAGreeting, Offer};
pub use handshake::{ClientOpening, HandshakeResponse, MAX_RESPONSE, SslRequest, junk_login};
pub use names::{Flavor, NameFault, NameRule};
pub use packet::{HEADER, MAX_PAYLOAD, Packet};
pub use packets::{Packets, Start};
pub use splice::Edit;
pub use statements::Statements;
pub use terminal::{Status, is_eof, terminal_status};
