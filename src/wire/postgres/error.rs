//! What we say no with: `ErrorResponse` in both its forms, and the ways an opening can be wrong. Floor 0.

use super::{ProtocolVersion, opening::MAX_OPENING};

/// Which shape of an error the client can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorForm {
    /// Protocol 2 and older: `E`, one text, a zero byte; no length.
    Version2,
    /// Tagged fields in a framed message.
    Version3,
}

/// A refusal as the client gets it: always fatal, always with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// Five characters.
    pub sqlstate: &'a str,
    pub message: &'a str,
    pub detail: Option<&'a str>,
    pub hint: Option<&'a str>,
}

impl ErrorResponse<'_> {
    /// The message on the wire, under 30 000 bytes: libpq takes a longer one for a lost frame. Texts are cut at
    /// `MAX_TEXT` bytes and at a zero byte, which would end their field early.
    pub fn encode(&self, form: ErrorForm) -> Vec<u8> {
        match form {
            ErrorForm::Version2 => [b"EFATAL:  ", bounded(self.message), b"\n\0"].concat(),
            ErrorForm::Version3 => {
                let fields = [
                    (b'S', Some(SEVERITY)),
                    (b'V', Some(SEVERITY)),
                    (b'C', Some(self.sqlstate)),
                    (b'M', Some(self.message)),
                    (b'D', self.detail),
                    (b'H', self.hint),
                ];
                let mut body = Vec::with_capacity(256);
                for (tag, text) in fields {
                    if let Some(text) = text {
                        body.push(tag);
                        body.extend_from_slice(bounded(text));
                        body.push(0);
                    }
                }
                body.push(0);
                // four texts of at most MAX_TEXT: far below u32::MAX
                let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
                [b"E", &length.to_be_bytes()[..], &body].concat()
            }
        }
    }
}

/// What is wrong with an opening. `Display` holds nothing the client said, so it may be shown to it and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a packet of {0} bytes cannot open a connection; 8 to {MAX_OPENING} can")]
    Length(u32),
    #[error("a negotiation request of {0} bytes")]
    NegotiationLength(u32),
    #[error("a cancel request of {0} bytes")]
    CancelLength(u32),
    #[error("unsupported frontend protocol {0}: only 3.x is spoken here")]
    Version(ProtocolVersion),
    #[error("received unencrypted data after SSL request")]
    PlaintextAfterSslRequest,
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    #[error("invalid startup packet: a parameter is not UTF-8")]
    NotUtf8,
    #[error("invalid startup packet: a parameter holds a control character")]
    ControlCharacter,
    #[error("invalid startup packet: a parameter is given twice")]
    Twice,
    #[error("invalid startup packet: a name is longer than 63 bytes")]
    NameTooLong,
    #[error("invalid startup packet: \"replication\" is neither a boolean nor \"database\"")]
    Replication,
    #[error(
        "invalid startup packet: \"options\" must be settings only, written -c name=value, -cname=value or --name=value"
    )]
    Options,
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
}

impl WireError {
    /// The code to refuse with; `None` where the server, too, closes without a word.
    pub const fn sqlstate(self) -> Option<&'static str> {
        match self {
            Self::Length(_) | Self::NegotiationLength(_) | Self::CancelLength(_) => None,
            Self::Version(_) => Some("0A000"),
            Self::NoUser => Some("28000"),
            Self::PlaintextAfterSslRequest
            | Self::Layout
            | Self::NotUtf8
            | Self::ControlCharacter
            | Self::Twice
            | Self::NameTooLong
            | Self::Replication
            | Self::Options => Some("08P01"),
        }
    }

    /// The shape that a client of this version reads.
    pub const fn form(self) -> ErrorForm {
        match self {
            Self::Version(version) if version.major < 3 => ErrorForm::Version2,
            Self::Version(_)
            | Self::Length(_)
            | Self::NegotiationLength(_)
            | Self::CancelLength(_)
            | Self::NoUser
            | Self::PlaintextAfterSslRequest
            | Self::Layout
            | Self::NotUtf8
            | Self::ControlCharacter
            | Self::Twice
            | Self::NameTooLong
            | Self::Replication
            | Self::Options => ErrorForm::Version3,
        }
    }
}

/// The server's error with a hint of ours behind its fields, as a whole message; `None` where it has one of its own, is no list of
/// fields, or would be longer than libpq reads.
pub fn with_hint(payload: &[u8], hint: &str) -> Option<Vec<u8>> {
    let fields = payload.strip_suffix(b"\0\0")?;
    let mut fields = fields.split(|byte| *byte == 0);
    if fields.any(|field| field.is_empty() || field.starts_with(b"H")) {
        return None;
    }
    let fields = payload.strip_suffix(b"\0")?;
    let body = [fields, b"H", bounded(hint), b"\0\0"].concat();
    let length = u32::try_from(body.len() + 4).ok()?;
    let message = [b"E", &length.to_be_bytes()[..], &body].concat();
    (message.len() < MAX_ERROR).then_some(message)
}

/// At most `MAX_TEXT` bytes of a text, without cutting a character, up to a zero byte.
fn bounded(text: &str) -> &[u8] {
    let cut = (0..=MAX_TEXT.min(text.len()))
        .rev()
        .find_map(|end| text.get(..end));
    let text = cut.unwrap_or_default().as_bytes();
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// libpq takes a longer one for a lost frame.
const MAX_ERROR: usize = 30_000;
/// Longest text of one field, in bytes.
const MAX_TEXT: usize = 8192;
const SEVERITY: &str = "FATAL";

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::message::backend;
    use tokio_postgres::fallible_iterator::FallibleIterator;

    fn fields(bytes: &[u8]) -> Vec<(u8, String)> {
        let mut buffer = bytes::BytesMut::from(bytes);
        let Some(backend::Message::ErrorResponse(body)) =
            backend::Message::parse(&mut buffer).unwrap()
        else {
            panic!("not an error")
        };
        assert!(buffer.is_empty());
        let (mut fields, mut all) = (body.fields(), Vec::new());
        while let Some(field) = fields.next().unwrap() {
            let text = String::from_utf8(field.value_bytes().to_vec()).unwrap();
            all.push((field.type_(), text));
        }
        all
    }

    const REFUSAL: ErrorResponse<'_> = ErrorResponse {
        sqlstate: "28000",
        message: "refused",
        detail: Some("no origin names this address"),
        hint: Some("ask for one"),
    };

    #[test]
    fn a_driver_reads_every_field_of_a_refusal() {
        let expected = [
            (b'S', "FATAL"),
            (b'V', "FATAL"),
            (b'C', "28000"),
            (b'M', "refused"),
            (b'D', "no origin names this address"),
            (b'H', "ask for one"),
        ];
        let read = fields(&REFUSAL.encode(ErrorForm::Version3));
        let read: Vec<_> = read
            .iter()
            .map(|(tag, text)| (*tag, text.as_str()))
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn an_old_client_gets_the_old_form() {
        assert_eq!(REFUSAL.encode(ErrorForm::Version2), b"EFATAL:  refused\n\0");
    }

    #[test]
    fn a_refusal_stays_under_thirty_thousand_bytes() {
        let long = "\u{e9}".repeat(40_000);
        let all = ErrorResponse {
            sqlstate: "08P01",
            message: &long,
            detail: Some(&long),
            hint: Some(&long),
        };
        let bytes = all.encode(ErrorForm::Version3);
        assert!(bytes.len() < 30_000, "{}", bytes.len());
        assert_eq!(fields(&bytes).len(), 6);
    }

    #[test]
    fn a_zero_byte_in_a_text_cannot_make_a_field() {
        let sly = ErrorResponse {
            message: "refused\0Hdo this\0",
            detail: None,
            hint: None,
            ..REFUSAL
        };
        assert_eq!(fields(&sly.encode(ErrorForm::Version3)).len(), 4);
    }
}
