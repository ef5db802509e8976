//! Connection attributes: what a client tells of itself. Hints that nobody proves. Floor 0.

use super::{
    WireError,
    fields::{Fields, put_lenenc},
};

/// The pairs of an attribute block, in the order of the wire.
#[derive(Clone)]
pub struct Attributes<'a> {
    fields: Fields<'a>,
}

impl<'a> Attributes<'a> {
    /// Pairs that have been read through before.
    pub(super) const fn new(pairs: &'a [u8]) -> Self {
        Self {
            fields: Fields::new(pairs),
        }
    }

    /// Pairs that fill their block, no key twice: of two, server and gateway could take another one.
    pub(super) fn parse(pairs: &'a [u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new(pairs);
        let mut keys = Vec::new();
        while !fields.is_done() {
            let key = fields.lenenc_text().ok_or(WireError::Attributes)?;
            fields.lenenc_text().ok_or(WireError::Attributes)?;
            keys.push(pairs.get(key).unwrap_or_default());
        }
        keys.sort_unstable();
        if keys
            .windows(2)
            .any(|pair| matches!(pair, [one, other] if one == other))
        {
            return Err(WireError::AttributeTwice);
        }
        Ok(Self::new(pairs))
    }

    /// The value of a key; `None` when it is not there or no text.
    pub fn value(mut self, wanted: &str) -> Option<&'a str> {
        let (_, value) = self.find(|(key, _)| *key == wanted.as_bytes())?;
        str::from_utf8(value).ok()
    }

    /// These pairs with `ours` in front, and without those that only the gateway may tell: a whole block with its length. What does
    /// not fit [`MAX_BLOCK`] is left out, the client's last pairs first.
    pub(super) fn with_ours(self, ours: &[(&str, &str)]) -> Vec<u8> {
        let ours = ours
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        let theirs = self.filter(|(key, _)| !is_ours(key));
        let (mut pairs, mut pair) = (Vec::new(), Vec::new());
        for (key, value) in ours.chain(theirs) {
            pair.clear();
            for text in [key, value] {
                put_lenenc(&mut pair, text.len());
                pair.extend_from_slice(text);
            }
            if pairs.len() + pair.len() > MAX_BLOCK {
                break;
            }
            pairs.extend_from_slice(&pair);
        }
        let mut block = Vec::with_capacity(pairs.len() + 3);
        put_lenenc(&mut block, pairs.len());
        block.extend_from_slice(&pairs);
        block
    }
}

impl<'a> Iterator for Attributes<'a> {
    /// Key and value.
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.fields.lenenc_text()?;
        let value = self.fields.lenenc_text()?;
        Some((self.fields.part(key), self.fields.part(value)))
    }
}

/// Whether only the gateway may tell this.
pub(super) fn is_ours(key: &[u8]) -> bool {
    key.starts_with(RESERVED_PREFIX.as_bytes())
}

/// Keys that begin so are the gateway's own; a client's are taken out.
const RESERVED_PREFIX: &str = "_doorward_";
/// The longest block of attributes, without its length: both servers take no more.
pub(super) const MAX_BLOCK: usize = 0xffff;
