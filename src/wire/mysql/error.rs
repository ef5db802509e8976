//! What we say no with: the ERR packet in both its forms, and the ways an opening can be wrong. Floor 0.

use super::{NameFault, Packet, errno};

/// Which shape of an ERR packet stands at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrForm {
    /// In place of the greeting: no SQLSTATE, since no capability is known yet.
    BeforeGreeting,
    /// Everywhere else.
    Normal,
}

/// A refusal as the client gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrPacket<'a> {
    pub errno: u16,
    /// Five characters.
    pub sqlstate: &'a str,
    pub message: &'a str,
}

impl ErrPacket<'_> {
    /// The packet on the wire, header included. The text is cut at `MAX_TEXT` bytes, which is what clients keep, and at a zero byte.
    pub fn encode(&self, form: ErrForm, sequence: u8) -> Vec<u8> {
        let [low, high] = self.errno.to_le_bytes();
        let mut payload = vec![0xff, low, high];
        if form == ErrForm::Normal {
            payload.push(b'#');
            payload.extend_from_slice(self.sqlstate.as_bytes());
        }
        payload.extend_from_slice(bounded(self.message));
        let mut packet = Vec::new();
        Packet::append(&mut packet, sequence, &payload);
        packet
    }
}

/// What is wrong with an opening. `Display` holds nothing the client said, so it may be shown to it and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("bad handshake: the packet is too long to open a connection")]
    TooLong,
    #[error("bad handshake: the packet does not have the fields that its flags promise")]
    Layout,
    #[error("client does not support authentication protocol: CLIENT_PROTOCOL_41 is missing")]
    OldProtocol,
    #[error("client does not support authentication protocol: CLIENT_SECURE_CONNECTION is missing")]
    NoSecureConnection,
    #[error("client does not support authentication protocol: CLIENT_PLUGIN_AUTH is missing")]
    NoPluginAuth,
    #[error("bad handshake: CLIENT_SSL is set, and no TLS follows")]
    SslWithoutTls,
    #[error("bad handshake: received unencrypted data after SSL request")]
    PlaintextAfterSslRequest,
    #[error("bad handshake: the connection attributes are garbled")]
    Attributes,
    #[error("bad handshake: a connection attribute is given twice")]
    AttributeTwice,
    #[error("the connection's character set cannot be a client's (ucs2, utf16, utf16le, utf32)")]
    CharacterSet,
    #[error("bad handshake: the proof does not have the length that its plugin gives it")]
    Proof,
    #[error("access denied: the user's name {0}")]
    User(NameFault),
    #[error("access denied: the database's name {0}")]
    Database(NameFault),
}

impl WireError {
    /// Error number and SQLSTATE to refuse with.
    pub const fn code(self) -> (u16, &'static str) {
        match self {
            Self::OldProtocol | Self::NoSecureConnection | Self::NoPluginAuth => {
                (errno::AUTH_NOT_SUPPORTED, "08004")
            }
            Self::TooLong
            | Self::Layout
            | Self::SslWithoutTls
            | Self::PlaintextAfterSslRequest
            | Self::Attributes
            | Self::AttributeTwice
            | Self::Proof => (errno::HANDSHAKE, "08S01"),
            Self::CharacterSet => (errno::WRONG_VALUE, "42000"),
            Self::User(_) => (errno::ACCESS_DENIED, "28000"),
            Self::Database(_) => (errno::DATABASE_DENIED, "42000"),
        }
    }
}

/// At most `MAX_TEXT` bytes of a text, without cutting a character, up to a zero byte.
fn bounded(text: &str) -> &[u8] {
    let cut = (0..=MAX_TEXT.min(text.len()))
        .rev()
        .find_map(|end| text.get(..end));
    let text = cut.unwrap_or_default().as_bytes();
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Longest text, in bytes: `MYSQL_ERRMSG_SIZE` without its zero byte.
const MAX_TEXT: usize = 511;

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: ErrPacket<'_> = ErrPacket {
        errno: 1045,
        sqlstate: "28000",
        message: "Access denied",
    };

    #[test]
    fn a_refusal_in_place_of_the_greeting_has_no_sqlstate() {
        let refusal = ErrPacket {
            errno: 1130,
            message: "Host is not allowed",
            ..REFUSAL
        };
        assert_eq!(
            refusal.encode(ErrForm::BeforeGreeting, 0),
            b"\x16\0\0\0\xff\x6a\x04Host is not allowed"
        );
    }

    #[test]
    fn a_refusal_later_has_one() {
        assert_eq!(
            REFUSAL.encode(ErrForm::Normal, 2),
            b"\x16\0\0\x02\xff\x15\x04#28000Access denied"
        );
    }

    #[test]
    fn a_refusal_is_cut_where_clients_cut_it_and_inside_no_character() {
        let long = "\u{20ac}".repeat(1000);
        let bytes = ErrPacket {
            message: &long,
            ..REFUSAL
        }
        .encode(ErrForm::Normal, 1);
        let text = str::from_utf8(&bytes[13..]).unwrap();
        assert_eq!(text.len(), 510);
    }

    #[test]
    fn a_zero_byte_ends_the_text() {
        let sly = ErrPacket {
            message: "no\0yes",
            ..REFUSAL
        };
        assert!(sly.encode(ErrForm::Normal, 1).ends_with(b"#28000no"));
    }
}
