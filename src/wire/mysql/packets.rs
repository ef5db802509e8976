//! Follows packets through a stream of bytes, however it is cut; payloads are stepped over. Floor 0.
//!
//! A packet is a little-endian length of three bytes, a sequence id, and the payload. One of the greatest length goes on in
//! the packet after it, so a payload of exactly that length ends in an empty packet. (MySQL internals, *Protocol Basics*.)
//! The relay runs this over every byte of a session: it keeps the start of a packet that is cut, and allocates nothing.

use super::{HEADER, MAX_PAYLOAD};

/// The start of a packet: its header, and as much of the payload as `MOST` bytes can hold with it.
#[derive(Clone, Copy, Debug)]
pub struct Start<const MOST: usize> {
    bytes: [u8; MOST],
    known: u8,
}

/// Where in a stream of packets we are. `MOST` is what is kept of the start of each, the header among it.
#[derive(Clone, Copy, Debug)]
pub struct Packets<const MOST: usize> {
    /// Payload bytes of the current packet that are still to come.
    remaining: u32,
    /// Of the last packet that began.
    sequence: u8,
    /// That packet was full, so the next one goes on with its payload.
    continues: bool,
    /// Of a packet whose start is cut; else empty.
    cut: Start<MOST>,
}

impl<const MOST: usize> Packets<MOST> {
    /// Between two packets.
    pub const fn new() -> Self {
        Self {
            remaining: 0,
            sequence: 0,
            continues: false,
            cut: Start::NONE,
        }
    }

    /// Whether the stream stands between two payloads, so that a packet of ours could be put in.
    #[inline]
    pub const fn at_boundary(&self) -> bool {
        self.remaining == 0 && !self.continues && self.cut.known == 0
    }

    /// The sequence id of the last packet that began.
    pub const fn sequence(&self) -> u8 {
        self.sequence
    }

    /// For [`go_back`](Self::go_back): nothing where a packet has begun.
    #[inline]
    pub const fn stand(&self) -> Option<u8> {
        if self.at_boundary() {
            Some(self.sequence)
        } else {
            None
        }
    }

    /// The last packet does not pass: back to where the stream stood before it. If a part of it has passed, it never ends.
    pub const fn go_back(&mut self, stand: Option<u8>) {
        match stand {
            Some(sequence) => {
                *self = Self::new();
                self.sequence = sequence;
            }
            None => self.remaining += 1,
        }
    }

    /// The start of the payload that comes next in `bytes`, if all of that start is there. Takes nothing. Ask at a boundary.
    #[inline]
    pub fn peek(bytes: &[u8]) -> Option<Start<MOST>> {
        Start::of(bytes)
    }

    /// Takes from `bytes` what is left of the payload in progress, and the start of the next one. `None` when they are used
    /// up before. Packets that go on with a payload are stepped over.
    #[inline]
    pub fn begin(&mut self, bytes: &mut &[u8]) -> Option<Start<MOST>> {
        loop {
            self.step(bytes);
            if self.remaining > 0 {
                return None;
            }
            let continued = self.continues;
            let start = self.enter(bytes)?;
            if !continued {
                return Some(start);
            }
        }
    }

    /// Takes from `bytes` what is left of the payload in progress.
    #[inline]
    pub fn finish(&mut self, bytes: &mut &[u8]) {
        self.step(bytes);
        while self.remaining == 0 && self.continues && self.enter(bytes).is_some() {
            self.step(bytes);
        }
    }

    /// Takes whole packets that begin with a byte below `mark`, as the rows of a result do. For speed alone: what it leaves,
    /// and it may leave anything, is for [`begin`](Self::begin).
    #[inline]
    pub fn skip_below(&mut self, mark: u8, bytes: &mut &[u8]) {
        if !self.at_boundary() {
            return;
        }
        while let Some((&[low, middle, high, sequence, first], _)) = bytes.split_first_chunk::<5>()
        {
            let length = u32::from_le_bytes([low, middle, high, 0]);
            // an empty packet has no first byte, and a full one goes on
            if first >= mark || length == 0 || length as usize == MAX_PAYLOAD {
                return;
            }
            let Some(after) = bytes.get(HEADER + length as usize..) else {
                return;
            };
            self.sequence = sequence;
            *bytes = after;
        }
    }

    fn step(&mut self, bytes: &mut &[u8]) {
        let step = bytes.len().min(self.remaining as usize);
        *bytes = bytes.get(step..).unwrap_or_default();
        self.remaining -= clamp(step);
    }

    /// Takes the start of a packet.
    fn enter(&mut self, bytes: &mut &[u8]) -> Option<Start<MOST>> {
        if self.cut.known == 0
            && let Some(start) = Start::of(bytes)
        {
            *bytes = bytes.get(usize::from(start.known)..).unwrap_or_default();
            return Some(self.entered(start));
        }
        while !self.cut.is_whole() {
            let (byte, after) = bytes.split_first()?;
            self.cut.push(*byte);
            *bytes = after;
        }
        let start = std::mem::replace(&mut self.cut, Start::NONE);
        Some(self.entered(start))
    }

    fn entered(&mut self, start: Start<MOST>) -> Start<MOST> {
        self.sequence = start.sequence();
        self.continues = start.is_full();
        self.remaining = start.length().saturating_sub(clamp(start.head().len()));
        start
    }
}

impl<const MOST: usize> Default for Packets<MOST> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const MOST: usize> Start<MOST> {
    const NONE: Self = Self {
        bytes: [0; MOST],
        known: 0,
    };

    /// Length of the packet's payload, which may go on in the next packet if it is [`MAX_PAYLOAD`].
    #[inline]
    pub const fn length(&self) -> u32 {
        match self.bytes.first_chunk::<HEADER>() {
            Some([low, middle, high, _]) => u32::from_le_bytes([*low, *middle, *high, 0]),
            None => 0,
        }
    }

    #[inline]
    pub const fn sequence(&self) -> u8 {
        match self.bytes.first_chunk::<HEADER>() {
            Some([.., sequence]) => *sequence,
            None => 0,
        }
    }

    /// Whether the payload goes on in the next packet.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.length() as usize == MAX_PAYLOAD
    }

    /// The first bytes of the payload.
    #[inline]
    pub fn head(&self) -> &[u8] {
        let known = usize::from(self.known);
        self.bytes.get(HEADER..known).unwrap_or_default()
    }

    #[inline]
    fn of(bytes: &[u8]) -> Option<Self> {
        let &[low, middle, high, _] = bytes.first_chunk::<HEADER>()?;
        let length = u32::from_le_bytes([low, middle, high, 0]);
        let known = MOST.min(HEADER + length as usize);
        let kept = if let Some(more) = bytes.first_chunk::<MOST>() {
            // what is beyond the packet does no harm, and a copy of known length is quick
            *more
        } else {
            let mut kept = [0; MOST];
            kept.get_mut(..known)?.copy_from_slice(bytes.get(..known)?);
            kept
        };
        Some(Self {
            bytes: kept,
            known: u8::try_from(known).unwrap_or(u8::MAX),
        })
    }

    const fn is_whole(&self) -> bool {
        let known = self.known as usize;
        known >= HEADER && (known == MOST || known - HEADER == self.length() as usize)
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.known)) {
            *place = byte;
            self.known += 1;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only called with no more than a payload length, which is of three bytes"
)]
const fn clamp(length: usize) -> u32 {
    length as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        crate::wire::mysql::Packet::append(&mut bytes, sequence, payload);
        bytes
    }

    fn starts(packets: &mut Packets<9>, mut bytes: &[u8]) -> Vec<(u32, u8, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(start) = packets.begin(&mut bytes) {
            all.push((start.length(), start.sequence(), start.head().to_vec()));
        }
        assert!(bytes.is_empty());
        all
    }

    #[test]
    fn a_payload_of_several_packets_is_told_once() {
        for length in [0xFF_FFFF, 0xFF_FFFF + 1, 2 * 0xFF_FFFF] {
            let bytes = [packet(0, &vec![7; length]), packet(0, b"next")].concat();
            let expected = [(0xFF_FFFF, 0, vec![7; 5]), (4, 0, b"next".to_vec())];
            let mut packets = Packets::new();
            assert_eq!(starts(&mut packets, &bytes), expected, "{length}");
            assert!(packets.at_boundary());
            // cut around the headers of the parts
            for cut in [0xFF_FFFF + 3, 0xFF_FFFF + 4, 0xFF_FFFF + 6] {
                let mut packets = Packets::new();
                assert_eq!(starts(&mut packets, &bytes[..cut]), expected[..1]);
                assert!(!packets.at_boundary(), "{length} {cut}");
                assert_eq!(starts(&mut packets, &bytes[cut..]), expected[1..]);
            }
        }
    }

    #[test]
    fn the_rest_of_a_payload_ends_before_the_next_one() {
        let bytes = [packet(0, &vec![7; 0xFF_FFFF]), packet(0, b"next")].concat();
        let end = bytes.len() - 8;
        for cut in [5, 100, 0xFF_FFFF + 4, 0xFF_FFFF + 6] {
            let mut packets: Packets<5> = Packets::new();
            let mut rest = &bytes[..cut];
            packets.begin(&mut rest);
            packets.finish(&mut rest);
            assert!(rest.is_empty() && !packets.at_boundary(), "{cut}");
            let mut rest = &bytes[cut..];
            packets.finish(&mut rest);
            assert!(packets.at_boundary(), "{cut}");
            assert_eq!(rest, &bytes[end..], "{cut}");
        }
    }

    #[test]
    fn the_state_stays_small() {
        assert!(size_of::<Packets<25>>() <= 36);
        assert!(size_of::<Packets<5>>() <= 16);
    }

    proptest! {
        #[test]
        fn cutting_the_stream_anywhere_tells_the_same_packets(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
            cuts in prop::collection::vec(1usize..30, 1..40),
            mark in any::<u8>(),
        ) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| packet(3, payload)).collect();
            let mut whole = Packets::new();
            let expected = starts(&mut whole, &bytes);
            prop_assert_eq!(expected.len(), payloads.len());
            let (mut parts, mut told, mut rest) = (Packets::new(), Vec::new(), &bytes[..]);
            let mut dull = Packets::<9>::new();
            let mut sharp = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                told.extend(starts(&mut parts, part));
                let mut part = part;
                loop {
                    dull.skip_below(mark, &mut part);
                    let Some(start) = dull.begin(&mut part) else { break };
                    sharp.push((start.length(), start.sequence(), start.head().to_vec()));
                }
                rest = after;
            }
            prop_assert_eq!(&told, &expected);
            prop_assert!(parts.at_boundary() && whole.at_boundary());
            prop_assert_eq!(parts.sequence(), whole.sequence());
            prop_assert!(dull.at_boundary());
            // nothing is skipped but what may be
            let kept = |all: &[(u32, u8, Vec<u8>)]| -> Vec<(u32, u8, Vec<u8>)> {
                all.iter().filter(|(_, _, head)| head.first().is_none_or(|first| *first >= mark)).cloned().collect()
            };
            prop_assert_eq!(kept(&sharp), kept(&expected));
        }
    }
}
