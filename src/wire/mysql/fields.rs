//! Steps through a payload field by field, never past its end. Floor 0.

use std::ops::Range;

/// Where in a payload we are. Every step gives the place of the field, or `None` when it does not fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.payload.get(self.at..).unwrap_or_default()
    }

    /// The bytes of a field.
    pub(super) fn part(&self, place: Range<usize>) -> &'a [u8] {
        self.payload.get(place).unwrap_or_default()
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn take(&mut self, length: u64) -> Option<Range<usize>> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        if end > self.payload.len() {
            return None;
        }
        let place = self.at..end;
        self.at = end;
        Some(place)
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = *self.rest().first_chunk::<N>()?;
        self.at += N;
        Some(found)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.bytes().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    /// A text up to its zero byte, which is stepped over and must be there.
    pub(super) fn until_nul(&mut self) -> Option<Range<usize>> {
        let length = self.rest().iter().position(|byte| *byte == 0)?;
        let place = self.at..self.at + length;
        self.at = place.end + 1;
        Some(place)
    }

    /// A length-encoded integer. `0xfb` (NULL) and `0xff` begin none.
    pub(super) fn lenenc(&mut self) -> Option<u64> {
        match self.u8()? {
            small @ 0..=0xfa => Some(small.into()),
            0xfc => self.u16().map(u64::from),
            0xfd => {
                let [a, b, c] = self.bytes()?;
                Some(u32::from_le_bytes([a, b, c, 0]).into())
            }
            0xfe => self.bytes().map(u64::from_le_bytes),
            0xfb | 0xff => None,
        }
    }

    /// A length-encoded string.
    pub(super) fn lenenc_text(&mut self) -> Option<Range<usize>> {
        let length = self.lenenc()?;
        self.take(length)
    }
}

/// Writes a length-encoded integer of at most three bytes of value: what is written here is under 64 KiB.
pub(super) fn put_lenenc(into: &mut Vec<u8>, length: usize) {
    let [a, b, c, ..] = length.to_le_bytes();
    match length {
        0..=0xfa => into.push(a),
        0xfb..=0xffff => into.extend_from_slice(&[0xfc, a, b]),
        _ => into.extend_from_slice(&[0xfd, a, b, c]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_integer_begins_with_the_marks_of_null_and_of_an_error() {
        for mark in [0xfb, 0xff] {
            assert_eq!(Fields::new(&[mark; 10]).lenenc(), None);
        }
    }

    #[test]
    fn a_length_that_no_memory_has_is_no_field() {
        let mut bytes = vec![0xfe];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Fields::new(&bytes).lenenc_text(), None);
    }

    #[test]
    fn a_text_without_its_zero_byte_is_no_field() {
        assert_eq!(Fields::new(b"app").until_nul(), None);
        assert_eq!(Fields::new(b"app\0").until_nul(), Some(0..3));
    }

    proptest! {
        #[test]
        fn a_length_is_read_as_it_was_written(length in 0_usize..1 << 24) {
            let mut bytes = Vec::new();
            put_lenenc(&mut bytes, length);
            let mut fields = Fields::new(&bytes);
            prop_assert_eq!(fields.lenenc(), Some(length as u64));
            prop_assert!(fields.is_done());
        }
    }
}
