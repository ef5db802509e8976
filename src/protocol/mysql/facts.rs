//! What a session's conversation is told of it. Floor 2.

use crate::wire::mysql::{Capabilities, Extended, Status};

/// What the two sides agreed on in their login.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The capabilities that both have.
    pub capabilities: Capabilities,
    /// MariaDB's own, that both have.
    pub extended: Extended,
    /// Of the OK that ended the login.
    pub status: Status,
    pub mariadb: bool,
}

/// What the session may do, and what it has to ask about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four rights, each of which holds for itself"
)]
pub struct Rights {
    /// `COM_INIT_DB` is held for the session to decide.
    pub init_db: bool,
    /// The commands of a replica are held for the session to decide.
    pub replication: bool,
    /// The server may ask for a file of the client's.
    pub local_infile: bool,
    /// Every command is held for the session to decide, but the one that takes leave.
    pub kill_only: bool,
}
