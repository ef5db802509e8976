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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(sequence: u8, payload: &[u8]) -> Vec<u8> {
        Packet::encode(sequence, payload).to_vec()
    }

    #[test]
    fn a_packet_is_read_alone_whatever_follows_it() {
        let bytes = [one(7, b"first"), one(8, b"second")].concat();
        let Ok(Parsed::Done(packet, size)) = Packet::parse(&bytes, 100) else {
            panic!("a whole packet")
        };
        assert_eq!(
            (packet.sequence, packet.payload, size),
            (7, &b"first"[..], 9)
        );
    }

    #[test]
    fn an_empty_packet_is_a_packet() {
        let empty = Packet {
            sequence: 3,
            payload: b"",
        };
        assert_eq!(Packet::parse(&[0, 0, 0, 3], 0), Ok(Parsed::Done(empty, 4)));
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_payload_is_there() {
        assert_eq!(Packet::parse(&[101, 0, 0, 0], 100), Err(WireError::TooLong));
        assert_eq!(Packet::parse(&[100, 0, 0, 0], 100), Ok(Parsed::Need(104)));
        let full = [0xff, 0xff, 0xff, 0];
        assert_eq!(Packet::parse(&full, usize::MAX), Err(WireError::TooLong));
    }

    #[test]
    fn a_payload_of_full_packets_ends_with_an_empty_one() {
        for (length, packets) in [
            (MAX_PAYLOAD - 1, vec![MAX_PAYLOAD - 1]),
            (MAX_PAYLOAD, vec![MAX_PAYLOAD, 0]),
            (MAX_PAYLOAD + 1, vec![MAX_PAYLOAD, 1]),
            (2 * MAX_PAYLOAD, vec![MAX_PAYLOAD, MAX_PAYLOAD, 0]),
        ] {
            let bytes = Packet::encode(254, &vec![7; length]);
            let (mut at, mut sequence) = (0, 254_u8);
            for expected in packets {
                let header = &bytes[at..at + HEADER];
                let found = usize::from(header[0])
                    | usize::from(header[1]) << 8
                    | usize::from(header[2]) << 16;
                assert_eq!((found, header[3]), (expected, sequence));
                at += HEADER + found;
                sequence = sequence.wrapping_add(1);
            }
            assert_eq!(at, bytes.len());
        }
    }

    #[test]
    fn a_packet_does_not_show_its_payload() {
        let shown = format!(
            "{:?}",
            Packet {
                sequence: 1,
                payload: b"s3cret"
            }
        );
        assert!(
            !shown.contains("s3cret") && !shown.contains("115"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn cut_anywhere_more_is_asked_for_and_never_too_much(
            payload in prop::collection::vec(any::<u8>(), 0..300), sequence: u8, behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let bytes = [one(sequence, &payload), behind].concat();
            let size = HEADER + payload.len();
            let whole = Parsed::Done(Packet { sequence, payload: &payload }, size);
            for cut in 0..bytes.len() {
                let parsed = Packet::parse(&bytes[..cut], 300);
                if cut < HEADER {
                    prop_assert_eq!(parsed, Ok(Parsed::Need(HEADER)));
                } else if cut < size {
                    prop_assert_eq!(parsed, Ok(Parsed::Need(size)));
                } else {
                    prop_assert_eq!(parsed, Ok(whole.clone()));
                }
            }
        }
    }
}
