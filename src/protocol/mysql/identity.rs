//! A client's answer to the greeting in the policy's words. Floor 2.

use crate::{
    protocol::Identity,
    wire::mysql::{ChangeUser, HandshakeResponse},
};

/// Who the handshake response says its client is. Replication is asked for later, by a command.
pub fn identity(response: &HandshakeResponse) -> Identity {
    Identity {
        user: response.user().into(),
        database: response.database().map(Box::from),
        replication: None,
        application: response.attribute(PROGRAM).map(Box::from),
    }
}

/// Who a session wants to become.
pub fn other_identity(command: &ChangeUser) -> Identity {
    Identity {
        user: command.user().into(),
        database: command.database().map(Box::from),
        replication: None,
        application: command.attribute(PROGRAM).map(Box::from),
    }
}

/// The connection attribute that most clients name themselves by.
const PROGRAM: &str = "program_name";
