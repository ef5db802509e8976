//! Every end before the relay, with its three faces: a text for the client, one for the log, a label. Floor 3.

use std::{net::IpAddr, sync::Arc};

use super::{gate::Crowd, references::Reference};
use crate::{
    config::Protocol,
    policy::{Claim, Denial, Reason},
    protocol::Words,
};

/// Why a connection ended before it was relayed. `Display` is for the log and may name causes; [`Words`] are for the
/// client; [`Refusal::reason`] is the label.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Denied(#[from] Denial),
    #[error("{}", .0.words())]
    TooMany(Crowd),
    #[error("the audit is required and cannot be written")]
    Unrecorded,
    #[error("nothing came in time")]
    Silent,
    #[error("the opening was not complete in time")]
    Late,
    #[error("the client left in the middle of the opening")]
    Left,
    /// After the policy's yes, as psql does to ask its user for a password: nobody has refused anything.
    #[error("the client left at the server's challenge")]
    LeftAtChallenge,
    #[error("malformed opening: {0}")]
    Malformed(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("upstream: {0}")]
    Unreachable(String),
    /// What a MySQL server says in place of its greeting: for the client as it is.
    #[error("the server refused before its greeting: error {errno}")]
    InsteadOfGreeting { errno: u16, payload: Vec<u8> },
    #[error("the server refuses the gateway's address for its connection errors (1129)")]
    HostBlocked,
    #[error("the server refused the login ({0})")]
    UpstreamRefused(String),
    /// A SCRAM login that ended at the gateway.
    #[error("{0}")]
    NotProved(String),
    #[error("the server let the session in without asking for a proof")]
    NoChallenge,
    #[error("the server asked for the password in clear, over a connection that is not private")]
    Cleartext,
}

impl Refusal {
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::Denied(denial) => denial.reason,
            Self::LeftAtChallenge => Reason::Allowed,
            Self::TooMany(_) | Self::Unrecorded => Reason::LimitGlobal,
            Self::Silent | Self::Late => Reason::OpeningTimeout,
            Self::Left | Self::Malformed(_) => Reason::MalformedOpening,
            Self::Tls(_) => Reason::TlsFailed,
            Self::Unreachable(_) => Reason::UpstreamUnreachable,
            Self::UpstreamRefused(_)
            | Self::NotProved(_)
            | Self::InsteadOfGreeting { .. }
            | Self::HostBlocked => Reason::UpstreamRefused,
            Self::NoChallenge => Reason::AuthenticationMissing,
            Self::Cleartext => Reason::TlsRequired,
        }
    }

    /// Whether it counts against a stranger: not what the gateway lacks, nor what the server does.
    pub(super) const fn is_the_clients_doing(&self) -> bool {
        match self {
            Self::Denied(denial) => !matches!(
                denial.reason,
                Reason::Banned
                    | Reason::ShuttingDown
                    | Reason::LimitConnections
                    | Reason::LimitRate
                    | Reason::LimitGlobal
            ),
            Self::Silent
            | Self::Late
            | Self::Left
            | Self::Malformed(_)
            | Self::Tls(_)
            | Self::NotProved(_)
            | Self::UpstreamRefused(_) => true,
            Self::TooMany(_)
            | Self::Unrecorded
            | Self::LeftAtChallenge
            | Self::Unreachable(_)
            | Self::InsteadOfGreeting { .. }
            | Self::HostBlocked
            | Self::NoChallenge
            | Self::Cleartext => false,
        }
    }

    /// What happened, for the client: names nobody.
    pub(super) const fn sentence(&self) -> &'static str {
        // the label alone would blame the client, whose own leg may be encrypted
        if matches!(self, Self::HostBlocked) {
            return "the server has shut the gateway's address out";
        }
        if let Self::TooMany(crowd) = self {
            return crowd.words();
        }
        if matches!(self, Self::Unrecorded) {
            return "the gateway cannot write its audit";
        }
        if matches!(self, Self::Cleartext) {
            return "the server asked for a password in clear, on a way that is not private";
        }
        if matches!(self, Self::NotProved(_)) {
            return "the password was not proved";
        }
        self.reason().sentence()
    }

    /// What can be done about it, where that is known.
    const fn mend(&self, protocol: Protocol) -> Option<&'static str> {
        match (self, protocol) {
            (Self::Cleartext, Protocol::Postgres) => {
                Some("Change `password` in pg_hba.conf to `scram-sha-256`.")
            }
            (Self::Cleartext, Protocol::Mysql) => {
                Some("Encrypt the way to the server, or give the account another plugin.")
            }
            (Self::Unrecorded, _) => Some("The operator makes room on the gateway's disk."),
            (Self::HostBlocked, _) => {
                Some("The operator finds in the gateway's log what to run at the database.")
            }
            _ => mend(self.reason(), protocol),
        }
    }

    /// The origin or deny rule to name in the log and the metrics.
    pub(super) const fn rule(&self) -> Option<&Arc<str>> {
        match self {
            Self::Denied(denial) => denial.rule.as_ref(),
            Self::TooMany(_)
            | Self::Unrecorded
            | Self::Silent
            | Self::Late
            | Self::Left
            | Self::LeftAtChallenge
            | Self::Malformed(_)
            | Self::Tls(_)
            | Self::Unreachable(_)
            | Self::InsteadOfGreeting { .. }
            | Self::HostBlocked
            | Self::UpstreamRefused(_)
            | Self::NotProved(_)
            | Self::NoChallenge
            | Self::Cleartext => None,
        }
    }
}

/// For a client that may know why: its address is mentioned, or strangers are answered in full.
///
/// With the sentence that says what happened: the refusal's own, or one that knows more.
pub(super) fn explained(
    (refusal, sentence): (&Refusal, &str),
    names: Names<'_>,
    address: IpAddr,
    protocol: Protocol,
    reference: Reference,
) -> Words {
    let label = refusal.reason().label();
    let message = names.spared([
        format!(
            "doorward: connection from {address} refused: {sentence} [{label}], ref {reference}"
        ),
        format!("doorward: connection from {address} refused: {sentence}, ref {reference}"),
        format!("doorward: connection from {address} refused, ref {reference}"),
        format!("refused [{label}], ref {reference}"),
        format!("refused, ref {reference}"),
    ]);
    Words {
        message: message.unwrap_or_else(|| reference.to_string()),
        hint: refusal.mend(protocol).filter(|hint| !names.appear_in(hint)),
    }
}

/// For everybody else: one text, whatever the reason.
pub(super) fn constant(names: Names<'_>, reference: Reference) -> Words {
    let message = names.spared([
        format!("doorward: connection not allowed, ref {reference}"),
        format!("refused, ref {reference}"),
    ]);
    Words {
        message: message.unwrap_or_else(|| reference.to_string()),
        hint: None,
    }
}

/// For a session that is ended.
pub(super) fn farewell(
    reason: Reason,
    sentence: &str,
    names: Names<'_>,
    reference: Reference,
) -> Words {
    let label = reason.label();
    let message = names.spared([
        format!("doorward: session ended: {sentence} [{label}], ref {reference}"),
        format!("doorward: session ended: {sentence}, ref {reference}"),
        format!("ended, ref {reference}"),
    ]);
    Words {
        message: message.unwrap_or_else(|| reference.to_string()),
        hint: None,
    }
}

/// The names that no text of ours may contain: Rails reads a message that contains the database's name as "no such
/// database", and offers to create it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Names<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) database: Option<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn of(claim: &'a Claim) -> Self {
        Self {
            user: Some(&claim.user),
            database: claim.database.as_deref(),
        }
    }

    fn appear_in(self, text: &str) -> bool {
        let appears = |name: Option<&str>| name.is_some_and(|name| text.contains(name));
        appears(self.user) || appears(self.database)
    }

    /// The first of the texts that contains neither name.
    fn spared<const N: usize>(self, texts: [String; N]) -> Option<String> {
        texts.into_iter().find(|text| !self.appear_in(text))
    }
}

/// What the client can do about it, where that is known.
const fn mend(reason: Reason, protocol: Protocol) -> Option<&'static str> {
    match reason {
        Reason::TlsRequired => Some(match protocol {
            Protocol::Postgres => "Connect with sslmode=verify-full.",
            Protocol::Mysql => {
                "Connect with TLS: --ssl-mode=VERIFY_IDENTITY, or --ssl-verify-server-cert."
            }
        }),
        Reason::AuthenticationMissing => Some(match protocol {
            Protocol::Postgres => {
                "The server trusts the gateway's own address: change the `trust` or `peer` line in pg_hba.conf to `scram-sha-256`."
            }
            Protocol::Mysql => "The account has no password: give it one with ALTER USER.",
        }),
        Reason::CertificateMissing => Some(match protocol {
            Protocol::Postgres => "Connect with a client certificate: sslcert and sslkey.",
            Protocol::Mysql => "Connect with a client certificate: ssl-cert and ssl-key.",
        }),
        Reason::LimitRate | Reason::Banned => Some("Wait a minute, and mend what fails."),
        Reason::LimitConnections | Reason::LimitGlobal => {
            Some("Close idle connections, or raise the limit.")
        }
        Reason::NoOrigin
        | Reason::UserNotAllowed
        | Reason::DatabaseNotAllowed
        | Reason::ListenerNotAllowed
        | Reason::ReplicationNotAllowed
        | Reason::ExclusiveUser
        | Reason::DenyRule
        | Reason::TlsVersion
        | Reason::CertificateMismatch
        | Reason::CertificateRevoked
        | Reason::Expired
        | Reason::Inactive => {
            Some("The operator finds the rule with the reference, or by `doorward why`.")
        }
        Reason::Allowed
        | Reason::TlsFailed
        | Reason::MalformedOpening
        | Reason::OpeningTimeout
        | Reason::UpstreamUnreachable
        | Reason::UpstreamRefused
        | Reason::ShuttingDown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::references::{References, Told};
    use proptest::prelude::*;

    fn address() -> IpAddr {
        "192.0.2.7".parse().unwrap()
    }

    fn denied(reason: Reason) -> Refusal {
        Refusal::Denied(Denial { reason, rule: None })
    }

    #[test]
    fn a_password_in_clear_is_the_servers_doing_and_not_the_clients() {
        let refusal = Refusal::Cleartext;
        let reference = References::default().of(Told::sample(address(), "app", refusal.reason()));
        let words = explained(
            (&refusal, refusal.sentence()),
            Names::default(),
            address(),
            Protocol::Postgres,
            reference,
        );
        assert!(!words.message.contains("not encrypted"), "{words:?}");
        assert!(words.hint.unwrap().contains("pg_hba.conf"));
    }

    #[test]
    fn a_known_client_is_told_its_address_what_failed_and_the_reference() {
        let reference =
            References::default().of(Told::sample(address(), "app", Reason::TlsRequired));
        let names = Names {
            user: Some("app"),
            database: Some("shop"),
        };
        let words = explained(
            (&denied(Reason::TlsRequired), Reason::TlsRequired.sentence()),
            names,
            address(),
            Protocol::Postgres,
            reference,
        );
        assert!(words.message.contains("192.0.2.7") && words.message.contains("[tls_required]"));
        assert!(words.message.ends_with(&format!("ref {reference}")));
        assert_eq!(words.hint, Some("Connect with sslmode=verify-full."));
    }

    #[test]
    fn a_stranger_reads_the_same_whatever_the_reason() {
        let references = References::default();
        let text = |reason| {
            let reference = references.of(Told::sample(address(), "app", reason));
            let words = constant(Names::default(), reference);
            words.message.replace(&reference.to_string(), "")
        };
        assert_eq!(text(Reason::NoOrigin), text(Reason::ExclusiveUser));
    }

    proptest! {
        #[test]
        fn no_text_of_ours_contains_the_user_or_the_database(user in "[a-z_]{1,9}", database in "(doorward|ref|connection|e|o|[a-z]{1,3}|[a-z]{4,9})") {
            let names = Names { user: Some(&user), database: Some(&database) };
            let references = References::default();
            for reason in [Reason::NoOrigin, Reason::TlsRequired, Reason::ExclusiveUser, Reason::UserNotAllowed] {
                let reference = references.of(Told::sample(address(), &user, reason));
                for words in [
                    explained((&denied(reason), reason.sentence()), names, address(), Protocol::Postgres, reference),
                    constant(names, reference),
                    farewell(reason, reason.sentence(), names, reference),
                ] {
                    for text in [Some(words.message.as_str()), words.hint].into_iter().flatten() {
                        prop_assert!(!text.contains(&user) && !text.contains(&database), "{text}");
                    }
                }
            }
        }
    }
}
