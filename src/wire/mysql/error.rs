//! What we say no with: the ERR packet in both its forms, and the ways an opening can be wrong. Floor 0.

use super::{NameFault, Packet};

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
    #[error("access denied: the user's name {0}")]
    User(NameFault),
    #[error("access denied: the database's name {0}")]
    Database(NameFault),
}

impl WireError {
    /// Error number and SQLSTATE to refuse with.
    pub const fn code(self) -> (u16, &'static str) {
        match self {
            // ER_NOT_SUPPORTED_AUTH_MODE
            Self::OldProtocol | Self::NoSecureConnection | Self::NoPluginAuth => (1251, "08004"),
            // ER_HANDSHAKE_ERROR
            Self::TooLong
            | Self::Layout
            | Self::SslWithoutTls
            | Self::PlaintextAfterSslRequest
            | Self::Attributes
            | Self::AttributeTwice => (1043, "08S01"),
            // ER_ACCESS_DENIED_ERROR
            Self::User(_) => (1045, "28000"),
            // ER_DBACCESS_DENIED_ERROR
            Self::Database(_) => (1044, "42000"),
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
