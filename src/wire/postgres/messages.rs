//! The few messages of a login that a gateway looks into. Floor 0.

use std::fmt;

/// A message of the server, or of a client that has begun its login: a type byte, a length that counts itself, a payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u8,
    pub payload: &'a [u8],
}

/// Bytes that are no message we can make sense of. Says nothing of what they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message that makes no sense at this point")]
pub struct Garbled;

impl<'a> Message<'a> {
    /// `Terminate`, by which a client takes leave.
    pub const TERMINATE: &'static [u8] = b"X\0\0\0\x04";

    /// The size of the whole message that begins with this header.
    ///
    /// # Errors
    /// A length that does not count itself, or a payload longer than `limit`.
    pub const fn size(header: [u8; HEADER], limit: usize) -> Result<usize, Garbled> {
        let [_, length @ ..] = header;
        let length = u32::from_be_bytes(length) as usize;
        if length < 4 || length - 4 > limit {
            return Err(Garbled);
        }
        Ok(1 + length)
    }

    /// Cuts the first message off, when it is all there.
    ///
    /// # Errors
    /// As [`Message::size`].
    pub fn split(bytes: &'a [u8], limit: usize) -> Result<Option<(Self, &'a [u8])>, Garbled> {
        let Some(header) = bytes.first_chunk() else {
            return Ok(None);
        };
        let size = Self::size(*header, limit)?;
        let [kind, ..] = *header;
        let parts = bytes.get(HEADER..size).zip(bytes.get(size..));
        Ok(parts.map(|(payload, rest)| (Self { kind, payload }, rest)))
    }
}

/// Payloads may be passwords.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Message({:?}, {} bytes)",
            char::from(self.kind),
            self.payload.len()
        )
    }
}

/// What an `R` asks for or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// The client is in.
    Ok,
    /// The password itself is wanted, unhashed.
    Cleartext,
    /// One of several ways of SASL is to be chosen.
    Sasl,
    /// Any other proof is wanted: MD5, GSSAPI, SSPI, SASL's next step.
    Challenge,
    /// SASL's last word: nothing is wanted.
    Final,
}

impl Authentication {
    /// Reads the payload of an `R`.
    pub fn parse(payload: &[u8]) -> Result<Self, Garbled> {
        match payload {
            [0, 0, 0, 0] => Ok(Self::Ok),
            [0, 0, 0, 3] => Ok(Self::Cleartext),
            [0, 0, 0, 10, ..] => Ok(Self::Sasl),
            [0, 0, 0, 5 | 7 | 8 | 9 | 11, ..] => Ok(Self::Challenge),
            [0, 0, 0, 12, ..] => Ok(Self::Final),
            _ => Err(Garbled),
        }
    }
}

/// What a `Z` says of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Outside a transaction.
    Idle,
    /// Inside one.
    InTransaction,
    /// Inside one that has failed.
    Failed,
}

impl TransactionStatus {
    /// Reads the one byte of a `Z`.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }
}

/// The code of an error: five digits or capitals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sqlstate([u8; 5]);

impl Sqlstate {
    /// Finds the code in the payload of an `E`; a server may leave it out.
    pub fn of_error(payload: &[u8]) -> Option<Self> {
        let mut fields = payload.split(|byte| *byte == 0);
        let code = fields.find_map(|field| field.strip_prefix(b"C"))?;
        let code: [u8; 5] = code.try_into().ok()?;
        code.iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            .then_some(Self(code))
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The type byte and the length.
const HEADER: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_longer_than_its_limit_is_garbled_before_it_has_come() {
        for length in [0, 3, 105, 1 << 31, u32::MAX] {
            let header = [&[b'E'][..], &length.to_be_bytes()].concat();
            assert_eq!(Message::split(&header, 100), Err(Garbled), "{length}");
        }
        assert_eq!(Message::split(b"E\0\0\0\x68", 100), Ok(None));
    }

    #[test]
    fn a_message_is_cut_off_when_it_is_all_there() {
        let bytes = b"Z\0\0\0\x05IS";
        for cut in 0..6 {
            assert_eq!(Message::split(&bytes[..cut], 100), Ok(None));
        }
        let message = Message {
            kind: b'Z',
            payload: b"I",
        };
        assert_eq!(Message::split(bytes, 100), Ok(Some((message, &b"S"[..]))));
    }

    #[test]
    fn an_error_without_a_code_has_none() {
        assert_eq!(Sqlstate::of_error(b"SFATAL\0Mno\0\0"), None);
        assert_eq!(Sqlstate::of_error(b"SFATAL\0C28P0\0\0"), None);
        assert_eq!(Sqlstate::of_error(b""), None);
        let code = Sqlstate::of_error(b"SFATAL\0VFATAL\0C28P01\0MC0000\0\0").unwrap();
        assert_eq!(code.as_str(), "28P01");
    }

    #[test]
    fn a_payload_is_not_debug() {
        let message = Message {
            kind: b'p',
            payload: b"secret",
        };
        assert_eq!(format!("{message:?}"), "Message('p', 6 bytes)");
    }
}
