//! The packet layer: three bytes of length, one of sequence, a payload. Floor 0.

use zeroize::Zeroizing;

use super::WireError;
use crate::wire::Parsed;

/// One whole packet, and nothing of the next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub sequence: u8,
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one packet. Nothing behind it is looked at; [`Parsed::Need`] never asks for more than [`HEADER`] + `limit`.
    ///
    /// # Errors
    /// [`WireError::TooLong`] as soon as the header tells of a payload over `limit`. A payload of [`MAX_PAYLOAD`] goes on in the
    /// next packet; with a limit below that, one is never taken for a whole.
    pub fn parse(bytes: &'a [u8], limit: usize) -> Result<Parsed<Self>, WireError> {
        let Some((&[a, b, c, sequence], rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(Parsed::Need(HEADER));
        };
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        if length > limit || length == MAX_PAYLOAD {
            return Err(WireError::TooLong);
        }
        let size = HEADER + length;
        Ok(match rest.get(..length) {
            Some(payload) => Parsed::Done(Self { sequence, payload }, size),
            None => Parsed::Need(size),
        })
    }

    /// Writes a payload as packets, one unless it has [`MAX_PAYLOAD`] bytes or more. Only what is given is reserved, at once.
    pub fn append(into: &mut Vec<u8>, mut sequence: u8, mut payload: &[u8]) {
        into.reserve_exact(payload.len() + HEADER * (1 + payload.len() / MAX_PAYLOAD));
        loop {
            let (part, rest) = payload
                .split_at_checked(MAX_PAYLOAD)
                .unwrap_or((payload, &[]));
            let [a, b, c, ..] = part.len().to_le_bytes();
            into.extend_from_slice(&[a, b, c, sequence]);
            into.extend_from_slice(part);
            // a full packet goes on in another one, which may be empty
            if part.len() < MAX_PAYLOAD {
                return;
            }
            (payload, sequence) = (rest, sequence.wrapping_add(1));
        }
    }

    /// A payload with its header, in memory that is wiped: it may hold a password, and no copy is left behind.
    pub fn encode(sequence: u8, payload: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut packet = Zeroizing::new(Vec::new());
        Self::append(&mut packet, sequence, payload);
        packet
    }
}

/// The payload may be a password.
impl std::fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packet")
            .field("sequence", &self.sequence)
            .field("length", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// The length and the sequence id.
pub const HEADER: usize = 4;
/// The longest payload of one packet; one of this length is continued.
pub const MAX_PAYLOAD: usize = 0xff_ffff;
