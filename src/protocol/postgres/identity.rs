//! The startup packet in the policy's words. Floor 2.

use crate::{
    policy::Replication,
    protocol::Identity,
    wire::postgres::{self as wire, StartupMessage},
};

/// Who the startup packet says its client is.
pub fn identity(startup: &StartupMessage) -> Identity {
    let replication = startup.replication().map(|kind| match kind {
        wire::Replication::Physical => Replication::Physical,
        wire::Replication::Logical => Replication::Logical,
    });
    Identity {
        user: startup.user().into(),
        // physical replication opens no database, whatever the packet says
        database: (replication != Some(Replication::Physical)).then(|| startup.database().into()),
        replication,
        application: startup.application_name().map(Box::from),
    }
}
