//! Why a connection was admitted or refused: a closed set. Floor 0.

use std::sync::Arc;

/// A no of the policy. `Display` is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", reason.sentence(), rule.as_ref().map(|name| format!(" (\"{name}\")")).unwrap_or_default())]
pub struct Denial {
    pub reason: Reason,
    /// The deny rule that hit, or the origin that came nearest.
    pub rule: Option<Arc<str>>,
}

/// Why a connection was admitted or refused: exactly one. A closed set, so it may be a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    Allowed,
    DenyRule,
    ExclusiveUser,
    NoOrigin,
    ListenerNotAllowed,
    UserNotAllowed,
    DatabaseNotAllowed,
    ReplicationNotAllowed,
    Expired,
    Inactive,
    TlsRequired,
    TlsVersion,
    CertificateMissing,
    CertificateMismatch,
    CertificateRevoked,
    LimitConnections,
    LimitRate,
    LimitGlobal,
    Banned,
    AuthenticationMissing,
    TlsFailed,
    MalformedOpening,
    OpeningTimeout,
    UpstreamUnreachable,
    UpstreamRefused,
    ShuttingDown,
}

impl Reason {
    pub const ALL: [Self; 26] = [
        Self::Allowed,
        Self::DenyRule,
        Self::ExclusiveUser,
        Self::NoOrigin,
        Self::ListenerNotAllowed,
        Self::UserNotAllowed,
        Self::DatabaseNotAllowed,
        Self::ReplicationNotAllowed,
        Self::Expired,
        Self::Inactive,
        Self::TlsRequired,
        Self::TlsVersion,
        Self::CertificateMissing,
        Self::CertificateMismatch,
        Self::CertificateRevoked,
        Self::LimitConnections,
        Self::LimitRate,
        Self::LimitGlobal,
        Self::Banned,
        Self::AuthenticationMissing,
        Self::TlsFailed,
        Self::MalformedOpening,
        Self::OpeningTimeout,
        Self::UpstreamUnreachable,
        Self::UpstreamRefused,
        Self::ShuttingDown,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::DenyRule => "deny_rule",
            Self::ExclusiveUser => "exclusive_user",
            Self::NoOrigin => "no_origin",
            Self::ListenerNotAllowed => "listener_not_allowed",
            Self::UserNotAllowed => "user_not_allowed",
            Self::DatabaseNotAllowed => "database_not_allowed",
            Self::ReplicationNotAllowed => "replication_not_allowed",
            Self::Expired => "expired",
            Self::Inactive => "inactive",
            Self::TlsRequired => "tls_required",
            Self::TlsVersion => "tls_version",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateMismatch => "certificate_mismatch",
            Self::CertificateRevoked => "certificate_revoked",
            Self::LimitConnections => "limit_connections",
            Self::LimitRate => "limit_rate",
            Self::LimitGlobal => "limit_global",
            Self::Banned => "banned",
            Self::AuthenticationMissing => "authentication_missing",
            Self::TlsFailed => "tls_failed",
            Self::MalformedOpening => "malformed_opening",
            Self::OpeningTimeout => "opening_timeout",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamRefused => "upstream_refused",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// What happened, for a person. Names nobody: it may be shown to a client.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::DenyRule => "a deny rule matches",
            Self::ExclusiveUser => "this user is reserved for another origin",
            Self::NoOrigin => "no origin names this address",
            Self::ListenerNotAllowed => "the origin may not use this listener",
            Self::UserNotAllowed => "the origin may not log in as this user",
            Self::DatabaseNotAllowed => "the origin may not open this database",
            Self::ReplicationNotAllowed => {
                "the origin's replication right does not fit this connection"
            }
            Self::Expired => "the origin has expired",
            Self::Inactive => "the origin is switched off",
            Self::TlsRequired => "the connection is not encrypted",
            Self::TlsVersion => "the connection's TLS is older than the origin allows",
            Self::CertificateMissing => "the client showed no certificate",
            Self::CertificateMismatch => {
                "the client's certificate does not prove what is asked for"
            }
            Self::CertificateRevoked => "the client's certificate is revoked",
            Self::LimitConnections => "the origin has no free connection",
            Self::LimitRate => "too many attempts in the last minute",
            Self::LimitGlobal => "too many connections are being opened",
            Self::Banned => "too many failures from this address",
            Self::AuthenticationMissing => "the server asked for no proof of identity",
            Self::TlsFailed => "the TLS handshake failed",
            Self::MalformedOpening => "the opening is malformed",
            Self::OpeningTimeout => "the opening took too long",
            Self::UpstreamUnreachable => "the server behind the gateway cannot be reached",
            Self::UpstreamRefused => "the server behind the gateway refused",
            Self::ShuttingDown => "the gateway is shutting down",
        }
    }
}
