//! Follows message headers through a stream of bytes, however it is cut; payloads are stepped over. Floor 0.
//!
//! The relay runs this over every byte of a session, so it keeps 16 bytes of state, copies no payload and allocates nothing.

/// A message that has gone by completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type byte.
    pub kind: u8,
    /// The first byte of the payload: the transaction status of a `Z`. `None` when the payload is empty.
    pub first: Option<u8>,
}

/// Where in a stream of typed messages (a type byte, a big-endian length that counts itself, a payload) we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Payload bytes of the current message that are still to come.
    remaining: u32,
    header: [u8; HEADER],
    /// How much of `header` has been seen: 0 between messages, all of it inside a payload.
    seen: u8,
    first: Option<u8>,
    lost: bool,
}

impl Frames {
    /// Whether the stream stands between two messages, so that one of ours could be put in.
    pub const fn at_boundary(&self) -> bool {
        self.seen == 0 && !self.lost
    }

    /// Whether a length was impossible. Nothing is followed from then on: a boundary guessed wrong is worse than none.
    pub const fn lost(&self) -> bool {
        self.lost
    }

    /// Steps over `bytes` and calls `on` for each message that they complete.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8], mut on: impl FnMut(Frame)) {
        let Some(mut bytes) = self.resume(bytes, &mut on) else {
            return;
        };
        while let Some((&header, rest)) = bytes.split_first_chunk::<HEADER>() {
            let Some(length) = payload_length(header) else {
                self.lost = true;
                return;
            };
            let Some(after) = rest.get(length as usize..) else {
                self.enter(header, length, rest);
                return;
            };
            on(Frame {
                kind: kind(header),
                first: first(length, rest),
            });
            bytes = after;
        }
        for byte in bytes {
            self.push(*byte);
        }
    }

    /// Ends the message that earlier bytes began. `None` when `bytes` are used up before (or the frame is lost).
    #[inline]
    fn resume<'a>(&mut self, bytes: &'a [u8], on: &mut impl FnMut(Frame)) -> Option<&'a [u8]> {
        if self.lost {
            return None;
        }
        if self.seen == 0 {
            return Some(bytes);
        }
        let mut rest = bytes;
        while self.seen < HEADER_SEEN {
            let (byte, after) = rest.split_first()?;
            self.push(*byte);
            rest = after;
            if self.seen == HEADER_SEEN {
                let Some(length) = payload_length(self.header) else {
                    self.lost = true;
                    return None;
                };
                self.enter(self.header, length, &[]);
            }
        }
        if self.first.is_none() {
            self.first = first(self.remaining, rest);
        }
        let Some(after) = rest.get(self.remaining as usize..) else {
            self.remaining = self.remaining.saturating_sub(clamp(rest.len()));
            return None;
        };
        on(Frame {
            kind: kind(self.header),
            first: self.first,
        });
        *self = Self::default();
        Some(after)
    }

    /// Keeps what is known of a message whose payload has begun but not ended.
    const fn enter(&mut self, header: [u8; HEADER], length: u32, payload: &[u8]) {
        self.header = header;
        self.seen = HEADER_SEEN;
        self.first = first(length, payload);
        self.remaining = length.saturating_sub(clamp(payload.len()));
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(usize::from(self.seen)) {
            *place = byte;
            self.seen += 1;
        }
    }
}

const fn kind(header: [u8; HEADER]) -> u8 {
    let [kind, ..] = header;
    kind
}

/// How long the payload is; `None` for a length that does not count itself, or that the server reads as negative.
const fn payload_length(header: [u8; HEADER]) -> Option<u32> {
    let [_, length @ ..] = header;
    let length = u32::from_be_bytes(length);
    if length < LENGTH || length > i32::MAX as u32 {
        return None;
    }
    Some(length - LENGTH)
}

const fn first(length: u32, payload: &[u8]) -> Option<u8> {
    match payload {
        [first, ..] if length > 0 => Some(*first),
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only called with less than a payload length, which is a u32"
)]
const fn clamp(length: usize) -> u32 {
    length as u32
}

/// A type byte and the length.
const HEADER: usize = 5;
/// [`HEADER`], as it is counted.
const HEADER_SEEN: u8 = 5;
/// The bytes of the length field, which it counts itself.
const LENGTH: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), payload].concat()
    }

    fn seen(frames: &mut Frames, bytes: &[u8]) -> Vec<Frame> {
        let mut all = Vec::new();
        frames.advance(bytes, |frame| all.push(frame));
        all
    }

    #[test]
    fn every_completed_message_is_told_with_its_first_payload_byte() {
        let bytes = [
            message(b'C', b"SELECT 1\0"),
            message(b'1', b""),
            message(b'Z', b"T"),
        ]
        .concat();
        let mut frames = Frames::default();
        let kinds: Vec<_> = seen(&mut frames, &bytes)
            .into_iter()
            .map(|frame| (frame.kind, frame.first))
            .collect();
        assert_eq!(
            kinds,
            [(b'C', Some(b'S')), (b'1', None), (b'Z', Some(b'T'))]
        );
        assert!(frames.at_boundary());
    }

    #[test]
    fn a_message_in_progress_is_no_boundary() {
        let bytes = message(b'D', b"0123456789");
        for cut in 1..bytes.len() {
            let mut frames = Frames::default();
            assert_eq!(seen(&mut frames, &bytes[..cut]), []);
            assert!(!frames.at_boundary(), "{cut}");
            assert_eq!(seen(&mut frames, &bytes[cut..]).len(), 1, "{cut}");
            assert!(frames.at_boundary(), "{cut}");
        }
    }

    #[test]
    fn an_impossible_length_loses_the_frame_for_good() {
        for length in [0, 3, 1 << 31, u32::MAX] {
            let bytes = [&[b'D'][..], &length.to_be_bytes()].concat();
            for cut in 0..bytes.len() {
                let mut frames = Frames::default();
                assert_eq!(seen(&mut frames, &bytes[..cut]), []);
                assert_eq!(seen(&mut frames, &bytes[cut..]), []);
                assert!(frames.lost() && !frames.at_boundary(), "{length} {cut}");
                assert_eq!(seen(&mut frames, &message(b'Z', b"I")), []);
            }
        }
    }

    #[test]
    fn the_state_stays_tiny() {
        assert!(size_of::<Frames>() <= 16);
    }

    proptest! {
        #[test]
        fn cutting_the_stream_anywhere_tells_the_same_messages(
            messages in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
            cuts in prop::collection::vec(1usize..30, 1..40),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(kind, payload)| message(*kind, payload)).collect();
            let mut whole = Frames::default();
            let expected = seen(&mut whole, &bytes);
            prop_assert_eq!(expected.len(), messages.len());
            let (mut parts, mut told, mut rest) = (Frames::default(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                told.extend(seen(&mut parts, part));
                rest = after;
            }
            prop_assert_eq!(told, expected);
            prop_assert_eq!(parts, whole);
        }
    }
}
