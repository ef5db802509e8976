//! What ends a response: OK and EOF packets, as far as their flags. Floor 0.

use super::fields::Fields;

/// The server's status flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(u16);

impl Status {
    pub const IN_TRANSACTION: Self = Self(1);
    pub const AUTOCOMMIT: Self = Self(1 << 1);
    /// Another response follows this one.
    pub const MORE_RESULTS: Self = Self(1 << 3);
    pub const CURSOR_EXISTS: Self = Self(1 << 6);
    pub const LAST_ROW_SENT: Self = Self(1 << 7);
    pub const PS_OUT_PARAMETERS: Self = Self(1 << 12);
    pub const IN_READ_ONLY_TRANSACTION: Self = Self(1 << 13);
    pub const SESSION_STATE_CHANGED: Self = Self(1 << 14);

    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of these are there.
    pub const fn has(self, all: Self) -> bool {
        self.0 & all.0 == all.0
    }
}

/// The flags of an OK packet, or of an EOF packet, from its first bytes; 21 are always enough. An OK packet in place of an EOF
/// begins with 0xfe too, and is longer than one.
///
/// `length` is the payload's, of which `head` is the beginning. `None` when it is neither, or too short to be one.
pub fn terminal_status(head: &[u8], length: usize) -> Option<Status> {
    let mut fields = Fields::new(head.get(..length).unwrap_or(head));
    match fields.u8()? {
        0xfe if is_eof(head, length) => {
            fields.u16()?;
        }
        0x00 | 0xfe => {
            // rows touched, last id
            fields.lenenc()?;
            fields.lenenc()?;
        }
        _ => return None,
    }
    fields.u16().map(Status)
}

/// Whether a packet is an EOF of the old kind: it has at most eight bytes, so that no row is taken for one.
pub const fn is_eof(head: &[u8], length: usize) -> bool {
    matches!(head, [0xfe, ..]) && length < 9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(packet: &[u8]) -> Option<u16> {
        terminal_status(packet, packet.len()).map(Status::bits)
    }

    #[test]
    fn flags_are_read_from_both_shapes_of_an_end() {
        assert_eq!(status(b"\0\0\0\x02\0\0\0"), Some(2));
        assert_eq!(status(b"\xfe\0\0\x0a\0"), Some(10));
        assert_eq!(status(b"\xfe\0\0\x0a\0\0\0info"), Some(10));
    }

    #[test]
    fn twenty_one_bytes_are_enough_for_any_end() {
        let mut packet = vec![0xfe];
        for _ in 0..2 {
            packet.push(0xfe);
            packet.extend_from_slice(&u64::MAX.to_le_bytes());
        }
        packet.extend_from_slice(&[0x03, 0x40]);
        assert_eq!(packet.len(), 21);
        packet.extend_from_slice(&[0; 200]);
        assert_eq!(
            terminal_status(&packet[..21], packet.len()),
            Some(Status::from_bits(0x4003))
        );
        assert_eq!(terminal_status(&packet[..20], packet.len()), None);
    }

    #[test]
    fn a_row_is_no_end() {
        assert_eq!(status(b"\x03abc"), None);
        // a row whose first value has 2^24 bytes or more
        assert!(!is_eof(b"\xfe\0\0\0\x01\0\0\0\0", 0x100_0009));
        assert!(!is_eof(b"\xfe\0\0\0\x01\0\0\0\0", 9));
        assert!(is_eof(b"\xfe\0\0\x02\0", 5));
        assert_eq!(status(b"\xfb"), None);
        assert_eq!(status(b""), None);
    }

    #[test]
    fn bytes_of_the_next_packet_do_not_count() {
        assert_eq!(terminal_status(b"\xfe\0\0\x02\0\x07\x07", 3), None);
    }
}
