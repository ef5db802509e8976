//! What a client says first: a request for encryption, a cancel request, or a startup packet. Floor 0.

use std::{fmt, hint::black_box};

use super::{ProtocolVersion, StartupMessage, WireError};
use crate::wire::Parsed;

/// A packet without a type byte: a length that counts itself, a code, a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    SslRequest,
    GssEncRequest,
    Cancel(CancelKey),
    Startup(StartupMessage),
}

impl Opening {
    /// The packet of a client that asks for TLS.
    pub const SSL_REQUEST: [u8; HEAD] = bare(SSL_REQUEST);
    /// The packet of a client that asks for encryption by GSSAPI.
    pub const GSSENC_REQUEST: [u8; HEAD] = bare(GSSENC_REQUEST);

    /// Reads one packet. Nothing behind it is looked at; [`Parsed::Need`] never asks for more than [`MAX_OPENING`].
    ///
    /// # Errors
    /// A length out of bounds at once, before its body is waited for; the rest when the packet is complete.
    pub fn parse(bytes: &[u8]) -> Result<Parsed<Self>, WireError> {
        let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else {
            return Ok(Parsed::Need(HEAD));
        };
        let [l0, l1, l2, l3, code @ ..] = *head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let code = u32::from_be_bytes(code);
        let size = within_bounds(length, code)?;
        let Some(body) = bytes.get(HEAD..size) else {
            return Ok(Parsed::Need(size));
        };
        let opening = match code {
            SSL_REQUEST => Self::SslRequest,
            GSSENC_REQUEST => Self::GssEncRequest,
            CANCEL_REQUEST => {
                Self::Cancel(CancelKey::parse(body).ok_or(WireError::CancelLength(length))?)
            }
            version => Self::Startup(StartupMessage::parse(
                ProtocolVersion::from_code(version),
                body,
            )?),
        };
        Ok(Parsed::Done(opening, size))
    }

    /// What the server makes of a negotiation request that it has already answered: an unknown protocol version.
    pub const fn repeated(&self) -> WireError {
        let code = match self {
            Self::SslRequest => SSL_REQUEST,
            Self::GssEncRequest => GSSENC_REQUEST,
            Self::Cancel(_) | Self::Startup(_) => CANCEL_REQUEST,
        };
        WireError::Version(ProtocolVersion::from_code(code))
    }
}

/// A packet of nothing but its length and its code.
const fn bare(code: u32) -> [u8; HEAD] {
    let [a, b, c, d] = code.to_be_bytes();
    [0, 0, 0, 8, a, b, c, d]
}

/// The size of the whole packet, compared with what its kind may have.
fn within_bounds(length: u32, code: u32) -> Result<usize, WireError> {
    let size = length as usize;
    if !(HEAD..=MAX_OPENING).contains(&size) {
        return Err(WireError::Length(length));
    }
    match code {
        SSL_REQUEST | GSSENC_REQUEST if size != HEAD => Err(WireError::NegotiationLength(length)),
        CANCEL_REQUEST if !CANCEL_SIZE.contains(&size) => Err(WireError::CancelLength(length)),
        _ => Ok(size),
    }
}

/// What the server gave a session so that it can be cancelled from another connection: who has it may cancel.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// The server process.
    pub process: u32,
    /// 4 bytes in protocol 3.0, up to 256 later.
    pub secret: Box<[u8]>,
}

impl CancelKey {
    /// Reads the body of a `BackendKeyData` or of a cancel request. `None` when the secret has less than 4 or more than
    /// 256 bytes.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (process, secret) = body.split_first_chunk::<4>()?;
        (4..=256).contains(&secret.len()).then(|| Self {
            process: u32::from_be_bytes(*process),
            secret: secret.into(),
        })
    }

    /// Compares in a time that does not depend on where the secrets differ.
    pub fn fits(&self, other: &Self) -> bool {
        let differing = self
            .secret
            .iter()
            .zip(&other.secret)
            .fold(0, |differing, (ours, theirs)| {
                black_box(differing | (ours ^ theirs))
            });
        self.process == other.process && self.secret.len() == other.secret.len() && differing == 0
    }

    /// The cancel request that carries this key.
    pub fn encode_request(&self) -> Vec<u8> {
        // 4 to 256 bytes of secret
        let length = u32::try_from(12 + self.secret.len()).unwrap_or(u32::MAX);
        [
            &length.to_be_bytes()[..],
            &CANCEL_REQUEST.to_be_bytes(),
            &self.process.to_be_bytes(),
            &self.secret,
        ]
        .concat()
    }
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// Longest packet that may open a connection, its length field included: the server takes 10 000 bytes
/// (`MAX_STARTUP_PACKET_LENGTH`) after those four.
pub const MAX_OPENING: usize = 10_004;

/// The length and the code.
const HEAD: usize = 8;
/// 4 to 256 bytes of secret.
const CANCEL_SIZE: std::ops::RangeInclusive<usize> = 16..=268;

const CANCEL_REQUEST: u32 = 0x04d2_162e;
const SSL_REQUEST: u32 = 0x04d2_162f;
const GSSENC_REQUEST: u32 = 0x04d2_1630;

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
