//! A client's answer to the greeting in the policy's words. Floor 2.

use crate::{
    protocol::Identity,
    wire::mysql::{ChangeUser, HandshakeResponse},
};

/// Who the handshake response says its client is. Replication is asked for later, by a command.
pub fn identity(response: &HandshakeResponse) -> Identity {
    Identity {
        user: response.user().to_owned(),
        database: response.database().map(str::to_owned),
        replication: None,
        application: response.attribute(PROGRAM).map(str::to_owned),
    }
}

/// Who a session wants to become.
pub fn other_identity(command: &ChangeUser) -> Identity {
    Identity {
        user: command.user().to_owned(),
        database: command.database().map(str::to_owned),
        replication: None,
        application: command.attribute(PROGRAM).map(str::to_owned),
    }
}

/// The connection attribute that most clients name themselves by.
const PROGRAM: &str = "program_name";
