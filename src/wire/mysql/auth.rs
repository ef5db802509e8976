//! The packets of a server during a login, and during a change of user. Floor 0.

use super::{Capabilities, Status, fields::Fields, terminal::terminal_status};

/// What the server says until it says yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthPacket<'a> {
    /// Logged in.
    Ok(Status),
    Err {
        errno: u16,
        sqlstate: Option<&'a str>,
        message: &'a [u8],
    },
    /// `AuthSwitchRequest`: go on with this plugin, and with these data (a nonce).
    Switch { plugin: &'a str, data: &'a [u8] },
    /// `AuthMoreData`, without its first byte.
    MoreData(&'a [u8]),
    /// `AuthNextFactor`: MySQL asks for a second or third proof.
    NextFactor { plugin: &'a str, data: &'a [u8] },
    /// A plugin's own packet (PAM's prompts, PARSEC's salt), whole; it may be empty.
    Raw(&'a [u8]),
}

/// A packet of the server that is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    #[error("the server's answer is cut short")]
    Short,
    #[error("the server asks for a password in the way of MySQL 4.0, which anybody could undo")]
    OldPassword,
    #[error("the server names a plugin that is no text")]
    Plugin,
}

impl<'a> AuthPacket<'a> {
    /// `agreed` is what both sides can: MariaDB's dialogs begin with the byte of MySQL's next factor.
    pub fn parse(payload: &'a [u8], agreed: Capabilities) -> Result<Self, Garbled> {
        match payload {
            [0x00, ..] => terminal_status(payload, payload.len())
                .map(Self::Ok)
                .ok_or(Garbled::Short),
            [0xff, low, high, rest @ ..] => Ok(Self::err(u16::from_le_bytes([*low, *high]), rest)),
            [0xff, ..] => Err(Garbled::Short),
            [0xfe] => Err(Garbled::OldPassword),
            [0xfe, rest @ ..] => {
                let (plugin, data) = plugin_and_data(rest)?;
                Ok(Self::Switch { plugin, data })
            }
            [0x01, rest @ ..] => Ok(Self::MoreData(rest)),
            [0x02, rest @ ..] if agreed.has(Capabilities::MULTI_FACTOR) => {
                let (plugin, data) = plugin_and_data(rest)?;
                Ok(Self::NextFactor { plugin, data })
            }
            raw => Ok(Self::Raw(raw)),
        }
    }

    fn err(errno: u16, rest: &'a [u8]) -> Self {
        let marked = rest
            .strip_prefix(b"#")
            .and_then(|rest| rest.split_at_checked(5));
        let (sqlstate, message) = match marked {
            Some((sqlstate, message)) => (str::from_utf8(sqlstate).ok(), message),
            None => (None, rest),
        };
        Self::Err {
            errno,
            sqlstate,
            message,
        }
    }
}

fn plugin_and_data(bytes: &[u8]) -> Result<(&str, &[u8]), Garbled> {
    let mut fields = Fields::new(bytes);
    let name = fields.until_nul().ok_or(Garbled::Short)?;
    let name = str::from_utf8(fields.part(name)).map_err(|_not_utf8| Garbled::Plugin)?;
    Ok((name, fields.rest()))
}

/// Whether a server reads a proof of this length, right or wrong. One that it does not read is a broken handshake, and counts against
/// the address that it comes from (`max_connect_errors`); a wrong one does not.
pub fn proof_fits(plugin: &str, length: usize) -> bool {
    plugin != plugin::NATIVE || matches!(length, 0 | 20)
}

/// Which answers a server reads, right or wrong, to what it has asked. Any other is a broken handshake to it, and counts as
/// [`proof_fits`] says. Tried on MySQL 9.7, MariaDB 10.11 and 11.8; PARSEC counts wrong passwords, too, whatever their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    Any,
    NotEmpty,
    Exactly(usize),
    /// Or nothing, which is an empty password.
    EmptyOr(usize),
}

impl Readable {
    pub fn answers_to(question: &AuthPacket<'_>) -> Self {
        match *question {
            AuthPacket::Switch { plugin, .. } | AuthPacket::NextFactor { plugin, .. } => {
                match plugin {
                    plugin::NATIVE => Self::EmptyOr(20),
                    plugin::ED25519 => Self::Exactly(64),
                    // an empty one is right, and leads to where every wrong one counts
                    _ => Self::Any,
                }
            }
            AuthPacket::MoreData([code::CACHING_SHA2_FULL]) => Self::NotEmpty,
            AuthPacket::Ok(_)
            | AuthPacket::Err { .. }
            | AuthPacket::MoreData(_)
            | AuthPacket::Raw(_) => Self::Any,
        }
    }

    pub const fn has(self, length: usize) -> bool {
        match self {
            Self::Any => true,
            Self::NotEmpty => length > 0,
            Self::Exactly(only) => length == only,
            Self::EmptyOr(only) => length == 0 || length == only,
        }
    }

    /// A length of an answer that is read, and wrong.
    pub const fn length(self) -> usize {
        match self {
            Self::Any | Self::NotEmpty => 32,
            Self::Exactly(only) | Self::EmptyOr(only) => only,
        }
    }
}

/// The nonce of 20 bytes in the data of a switch, with or without the zero byte that mostly ends it.
pub fn nonce_of(data: &[u8]) -> Option<[u8; 20]> {
    match data.split_first_chunk::<20>() {
        Some((nonce, [] | [0])) => Some(*nonce),
        _ => None,
    }
}

/// Plugins by name.
pub mod plugin {
    pub const NATIVE: &str = "mysql_native_password";
    pub const CACHING_SHA2: &str = "caching_sha2_password";
    pub const SHA256: &str = "sha256_password";
    /// The password goes over the wire as it is.
    pub const CLEAR: &str = "mysql_clear_password";
    /// MariaDB's questions and answers (PAM): passwords go over the wire as they are.
    pub const DIALOG: &str = "dialog";
    pub const ED25519: &str = "client_ed25519";
    pub const PARSEC: &str = "parsec";
}

/// The bytes that two plugins talk in.
pub mod code {
    /// `caching_sha2_password`: the client asks for the server's public key.
    pub const CACHING_SHA2_ASK_KEY: u8 = 2;
    /// `caching_sha2_password`: the cached proof fits; OK follows at once.
    pub const CACHING_SHA2_FAST_OK: u8 = 3;
    /// `caching_sha2_password`: the password itself is needed.
    pub const CACHING_SHA2_FULL: u8 = 4;
    /// `sha256_password`: the client asks for the server's public key.
    pub const SHA256_ASK_KEY: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Capabilities = Capabilities::from_bits(0);

    fn parse(payload: &[u8]) -> Result<AuthPacket<'_>, Garbled> {
        AuthPacket::parse(payload, NOTHING)
    }

    #[test]
    fn a_server_reads_answers_of_the_length_that_it_has_asked_for() {
        let readable = |plugin| Readable::answers_to(&AuthPacket::Switch { plugin, data: b"" });
        let lengths = |plugin| -> Vec<usize> {
            let readable = readable(plugin);
            assert!(readable.has(readable.length()));
            (0..70).filter(|length| readable.has(*length)).collect()
        };
        assert_eq!(lengths(plugin::NATIVE), [0, 20]);
        assert_eq!(lengths(plugin::ED25519), [64]);
        assert_eq!(lengths(plugin::PARSEC).len(), 70);
        let full = Readable::answers_to(&AuthPacket::MoreData(&[code::CACHING_SHA2_FULL]));
        assert!(!full.has(0) && full.has(1) && full.has(256));
    }

    #[test]
    fn every_packet_of_a_login_is_told_apart() {
        let ok = parse(b"\0\0\0\x02\x40\0\0").unwrap();
        assert_eq!(ok, AuthPacket::Ok(Status::from_bits(0x4002)));
        let err = AuthPacket::Err {
            errno: 1045,
            sqlstate: Some("28000"),
            message: b"no",
        };
        assert_eq!(parse(b"\xff\x15\x04#28000no"), Ok(err));
        let bare = AuthPacket::Err {
            errno: 1040,
            sqlstate: None,
            message: b"no",
        };
        assert_eq!(parse(b"\xff\x10\x04no"), Ok(bare));
        let switch = AuthPacket::Switch {
            plugin: plugin::NATIVE,
            data: b"nonce\0",
        };
        assert_eq!(parse(b"\xfemysql_native_password\0nonce\0"), Ok(switch));
        assert_eq!(parse(b"\x01\x03"), Ok(AuthPacket::MoreData(b"\x03")));
        assert_eq!(parse(b"P\x0asalt"), Ok(AuthPacket::Raw(b"P\x0asalt")));
        assert_eq!(parse(b""), Ok(AuthPacket::Raw(b"")));
    }

    #[test]
    fn a_question_of_a_dialog_is_no_next_factor() {
        let question = b"\x02One-time code:\0";
        assert_eq!(parse(question), Ok(AuthPacket::Raw(question)));
        let factor = AuthPacket::NextFactor {
            plugin: "One-time code:",
            data: b"",
        };
        assert_eq!(
            AuthPacket::parse(question, Capabilities::MULTI_FACTOR),
            Ok(factor)
        );
    }

    #[test]
    fn an_answer_cut_short_is_no_answer() {
        let ok = b"\0\xfc\x01\0\0\x02\0\0\0";
        for cut in 1..7 {
            assert_eq!(parse(&ok[..cut]), Err(Garbled::Short), "{cut}");
        }
        assert!(parse(&ok[..7]).is_ok());
        assert_eq!(parse(b"\xff\x15"), Err(Garbled::Short));
        assert_eq!(parse(b"\xfemysql_native"), Err(Garbled::Short));
        assert_eq!(parse(b"\xfe\xe9\0nonce"), Err(Garbled::Plugin));
        assert_eq!(parse(b"\xfe"), Err(Garbled::OldPassword));
    }

    #[test]
    fn a_nonce_has_twenty_bytes_and_perhaps_its_zero_byte() {
        let nonce = [7; 20];
        assert_eq!(nonce_of(&nonce), Some(nonce));
        assert_eq!(nonce_of(&[&nonce[..], &[0]].concat()), Some(nonce));
        for other in [&nonce[..19], &[7; 21], &[7; 32], b""] {
            assert_eq!(nonce_of(other), None);
        }
    }

    #[test]
    fn only_proofs_of_the_right_length_are_read_by_the_native_plugin() {
        let fitting: Vec<_> = (0..64)
            .filter(|length| proof_fits(plugin::NATIVE, *length))
            .collect();
        assert_eq!(fitting, [0, 20]);
        assert!(proof_fits(plugin::CACHING_SHA2, 7));
    }
}
