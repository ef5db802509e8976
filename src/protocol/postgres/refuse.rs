//! What PostgreSQL's clients read when they are put out. Floor 2.

use crate::{
    policy::Reason,
    wire::postgres::{ErrorForm, ErrorResponse},
};

/// What a session that is ended by us hears: `57P01`, as from a server that is told to stop, so that pools connect anew.
pub fn farewell(message: &str) -> Vec<u8> {
    let response = ErrorResponse {
        sqlstate: ADMIN_SHUTDOWN,
        message,
        detail: None,
        hint: None,
    };
    response.encode(ErrorForm::Version3)
}

/// The code that goes with a refusal; `None` where the connection is closed without a word.
pub const fn sqlstate(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::DenyRule
        | Reason::ExclusiveUser
        | Reason::NoOrigin
        | Reason::ListenerNotAllowed
        | Reason::UserNotAllowed
        | Reason::DatabaseNotAllowed
        | Reason::ReplicationNotAllowed
        | Reason::Expired
        | Reason::Inactive
        | Reason::TlsRequired
        | Reason::TlsVersion
        | Reason::CertificateMissing
        | Reason::CertificateMismatch
        | Reason::CertificateRevoked
        | Reason::Banned
        | Reason::AuthenticationMissing => Some("28000"),
        Reason::LimitConnections | Reason::LimitRate | Reason::LimitGlobal => Some("53300"),
        Reason::MalformedOpening => Some("08P01"),
        // the server says its own no itself; this one is ours, in its place
        Reason::UpstreamRefused => Some("28P01"),
        Reason::UpstreamUnreachable => Some("08006"),
        Reason::ShuttingDown => Some(ADMIN_SHUTDOWN),
        Reason::Allowed | Reason::TlsFailed | Reason::OpeningTimeout => None,
    }
}

const ADMIN_SHUTDOWN: &str = "57P01";
