//! What MySQL's clients read when they are turned away or put out. Floor 2.

use super::greet::OpeningError;
use crate::{
    policy::Reason,
    protocol::Words,
    wire::mysql::{ErrForm, ErrPacket, Packet, errno},
};

/// The packet in place of a greeting, for a client of which only the address is known; `None` where the connection is closed
/// without a word.
pub fn instead_of_greeting(reason: Reason, words: &Words) -> Option<Vec<u8>> {
    let (errno, sqlstate) = match code(reason)? {
        (errno::ACCESS_DENIED, sqlstate) => (errno::HOST_NOT_PRIVILEGED, sqlstate),
        code => code,
    };
    let refusal = ErrPacket {
        errno,
        sqlstate,
        message: &with_hint(words),
    };
    Some(refusal.encode(ErrForm::BeforeGreeting, 0))
}

/// The server's own refusal in place of its greeting, for the client.
pub fn passed_on(payload: &[u8]) -> Vec<u8> {
    Packet::encode(0, payload).to_vec()
}

/// The packet for a client that has said who it is, with the id that it has to bear; `None` where the connection is closed without
/// a word.
pub fn refusal(whom: Whom<'_>, sequence: u8, reason: Reason, words: &Words) -> Option<Vec<u8>> {
    let (errno, sqlstate) = code(reason)?;
    let said = said_by_servers(errno, whom);
    let refusal = ErrPacket {
        errno,
        sqlstate,
        message: &format!("{said}{}", with_hint(words)),
    };
    Some(refusal.encode(ErrForm::Normal, sequence))
}

/// Who is refused, as it said itself.
#[derive(Clone, Copy, Debug)]
pub struct Whom<'a> {
    pub user: &'a str,
    pub database: Option<&'a str>,
}

/// The packet for a client whose opening is none. The sentence repeats nothing of what it sent.
pub fn malformed(error: OpeningError, sequence: u8) -> Vec<u8> {
    let (errno, sqlstate) = error.code();
    let refusal = ErrPacket {
        errno,
        sqlstate,
        message: &error.to_string(),
    };
    refusal.encode(ErrForm::Normal, sequence)
}

/// What a session that is ended by us hears: as from a server that is told to stop, so that drivers connect anew.
pub const fn going(message: &str) -> ErrPacket<'_> {
    ErrPacket {
        errno: errno::SERVER_SHUTDOWN,
        sqlstate: "08S01",
        message,
    }
}

/// Error number and SQLSTATE that go with a refusal; `None` where the connection is closed without a word.
pub const fn code(reason: Reason) -> Option<(u16, &'static str)> {
    match reason {
        Reason::DenyRule
        | Reason::ExclusiveUser
        | Reason::NoOrigin
        | Reason::ListenerNotAllowed
        | Reason::UserNotAllowed
        | Reason::Expired
        | Reason::Inactive
        | Reason::TlsVersion
        | Reason::CertificateMissing
        | Reason::CertificateMismatch
        | Reason::CertificateRevoked
        | Reason::Banned
        | Reason::AuthenticationMissing => Some((errno::ACCESS_DENIED, "28000")),
        Reason::ReplicationNotAllowed => Some((errno::RIGHT_MISSING, "42000")),
        Reason::DatabaseNotAllowed => Some((errno::DATABASE_DENIED, "42000")),
        Reason::TlsRequired => Some((errno::TLS_REQUIRED, "HY000")),
        Reason::LimitConnections | Reason::LimitRate => {
            Some((errno::TOO_MANY_USER_CONNECTIONS, "42000"))
        }
        Reason::LimitGlobal => Some((errno::TOO_MANY_CONNECTIONS, "08004")),
        Reason::MalformedOpening => Some((errno::HANDSHAKE, "08S01")),
        Reason::UpstreamUnreachable | Reason::UpstreamRefused => Some((errno::UNKNOWN, "HY000")),
        Reason::ShuttingDown => Some((errno::SERVER_SHUTDOWN, "08S01")),
        Reason::Allowed | Reason::TlsFailed | Reason::OpeningTimeout => None,
    }
}

/// How the servers begin, which is what drivers and people look for.
fn said_by_servers(errno: u16, Whom { user, database }: Whom<'_>) -> String {
    match (errno, database) {
        (errno::DATABASE_DENIED, Some(database)) => {
            format!("Access denied for user '{user}' to database '{database}': ")
        }
        (errno::ACCESS_DENIED | errno::DATABASE_DENIED, _) => {
            format!("Access denied for user '{user}': ")
        }
        (errno::RIGHT_MISSING, _) => "Access denied; this session may not replicate: ".to_owned(),
        (errno::TLS_REQUIRED, _) => {
            "Connections using insecure transport are prohibited: ".to_owned()
        }
        (_, _) => String::new(),
    }
}

/// There is one text, and no place of its own for a hint.
fn with_hint(words: &Words) -> String {
    match words.hint {
        Some(hint) => format!("{}. {hint}", words.message),
        None => words.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        wire::Parsed,
        wire::mysql::{AuthPacket, Capabilities, HEADER, WireError},
    };

    const WHOM: Whom<'_> = Whom {
        user: "app",
        database: Some("shop"),
    };

    fn words() -> Words {
        Words {
            message: "doorward: no, ref 1".to_owned(),
            hint: Some("Ask."),
        }
    }

    fn read(packet: &[u8]) -> (u8, u16, String) {
        let Ok(Parsed::Done(packet, _)) = Packet::parse(packet, 1024) else {
            panic!("{packet:?}")
        };
        match AuthPacket::parse(packet.payload, Capabilities::default()) {
            Ok(AuthPacket::Err { errno, message, .. }) => {
                let message = String::from_utf8_lossy(message).into_owned();
                (packet.sequence, errno, message)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_begins_as_the_servers_do_and_has_the_next_number() {
        for (reason, code, text) in [
            (
                Reason::UserNotAllowed,
                1045,
                "Access denied for user 'app': doorward: no, ref 1. Ask.",
            ),
            (
                Reason::DatabaseNotAllowed,
                1044,
                "Access denied for user 'app' to database 'shop': doorward: no, ref 1. Ask.",
            ),
            (
                Reason::TlsRequired,
                3159,
                "Connections using insecure transport are prohibited: doorward: no, ref 1. Ask.",
            ),
            (
                Reason::UpstreamUnreachable,
                1105,
                "doorward: no, ref 1. Ask.",
            ),
        ] {
            let packet = refusal(WHOM, 3, reason, &words()).unwrap();
            assert_eq!(read(&packet), (3, code, text.to_owned()));
        }
        assert!(refusal(WHOM, 3, Reason::OpeningTimeout, &words()).is_none());
    }

    /// Oracle's client would print the marker of a SQLSTATE as part of the text.
    #[test]
    fn in_place_of_a_greeting_there_is_no_sqlstate() {
        for (reason, code) in [(Reason::NoOrigin, 1130_u16), (Reason::LimitGlobal, 1040)] {
            let packet = instead_of_greeting(reason, &words()).unwrap();
            assert_eq!(packet[3], 0);
            let [low, high] = code.to_le_bytes();
            let expected = [&[0xff, low, high], &b"doorward: no"[..]].concat();
            assert!(packet[HEADER..].starts_with(&expected), "{packet:?}");
        }
    }

    #[test]
    fn the_server_s_own_refusal_goes_on_as_it_is() {
        let refusal = b"\xff\x10\x04Too many connections";
        let packet = passed_on(refusal);
        assert_eq!(packet[..HEADER], [23, 0, 0, 0]);
        assert_eq!(packet[HEADER..], *refusal);
    }

    #[test]
    fn a_malformed_opening_is_told_what_is_wrong() {
        let error = OpeningError::Packet(WireError::OldProtocol);
        assert_eq!(read(&malformed(error, 2)).1, 1251);
        assert_eq!(read(&malformed(OpeningError::OutOfOrder, 1)).1, 1156);
    }
}
