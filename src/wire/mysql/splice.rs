//! What is changed in a client's proof of who it is, on its way to the server. Floor 0.
//!
//! A handshake response and a `COM_CHANGE_USER` end alike: proof, database, plugin, attributes.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{
    Attributes, Capabilities, Offer, WireError,
    attributes::{MAX_BLOCK, is_ours},
    fields::Fields,
};

/// What is changed on the way to the server. Whatever is not named here goes as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edit<'a> {
    /// The client keeps `CLIENT_LOCAL_FILES`, if it has it.
    pub local_files: bool,
    /// The client keeps its kinds of compression, if it was offered any.
    pub compression: bool,
    /// Told to the server before the client's own attributes, where the server takes any.
    pub attributes: &'a [(&'a str, &'a str)],
    /// Name a plugin that there is not, and prove nothing, so that the server answers with an `AuthSwitchRequest`.
    pub forced_switch: bool,
}

impl Edit<'_> {
    /// The client's flags as the server gets them.
    pub(super) const fn flags(&self, theirs: Capabilities, offer: Offer) -> Capabilities {
        let mut allowed = Capabilities::from_bits(0);
        if self.compression {
            allowed = allowed.with(Capabilities::COMPRESSION);
        }
        if self.local_files {
            allowed = allowed.with(Capabilities::LOCAL_FILES);
        }
        let agreed = theirs.and(offer.capabilities);
        let mut flags = theirs.without(MASKED).with(agreed.and(allowed));
        if !self.attributes.is_empty() {
            flags = flags.with(offer.capabilities.and(Capabilities::CONNECT_ATTRS));
        }
        flags
    }
}

/// Where the pairs of a packet's attributes are, read to the end of their block. Both servers take a block that is cut short for a
/// broken handshake, and one of them a missing one.
pub(super) fn attributes(fields: &mut Fields<'_>) -> Result<Range<usize>, WireError> {
    if fields.is_done() {
        return Ok(fields.at()..fields.at());
    }
    let pairs = fields.lenenc_text().ok_or(WireError::Attributes)?;
    if pairs.len() > MAX_BLOCK {
        return Err(WireError::Attributes);
    }
    Attributes::parse(fields.part(pairs.clone()))?;
    Ok(pairs)
}

/// A plugin's name; its zero byte may be missing where the packet ends.
pub(super) fn plugin(fields: &mut Fields<'_>) -> Option<Range<usize>> {
    if fields.is_done() {
        return None;
    }
    let place = match fields.until_nul() {
        Some(place) => place,
        None => fields.take(fields.rest().len() as u64)?,
    };
    str::from_utf8(fields.part(place.clone())).ok()?;
    Some(place)
}

/// A packet in pieces, as it came; together they are all of it.
pub(super) struct Splice<'a> {
    /// All that comes before the proof.
    pub(super) head: &'a [&'a [u8]],
    /// The proof with its length.
    pub(super) auth_field: &'a [u8],
    /// Up to the plugin's name.
    pub(super) database: &'a [u8],
    /// Without its zero byte.
    pub(super) plugin: &'a [u8],
    /// From the plugin's zero byte, if it has one, to the end of the attributes.
    pub(super) rest: &'a [u8],
    /// The client's attributes; `None` when the server takes none.
    pub(super) attributes: Option<Attributes<'a>>,
    pub(super) tail: &'a [u8],
}

impl Splice<'_> {
    pub(super) fn write(self, edit: &Edit<'_>) -> Zeroizing<Vec<u8>> {
        let (auth_field, plugin) = if edit.forced_switch {
            (&[0][..], NO_PLUGIN)
        } else {
            (self.auth_field, self.plugin)
        };
        let block = self.block(edit.attributes);
        // without its zero byte the name may only be the last
        let (zero, rest): (&[u8], &[u8]) = match &block {
            Some(block) => (b"\0", block),
            None if self.rest.is_empty() => (b"\0", b""),
            None => (b"", self.rest),
        };
        let ends = [auth_field, self.database, plugin, zero, rest, self.tail];
        let pieces = || self.head.iter().chain(&ends);
        // all at once: growing would leave a copy behind
        let mut payload =
            Zeroizing::new(Vec::with_capacity(pieces().map(|piece| piece.len()).sum()));
        for piece in pieces() {
            payload.extend_from_slice(piece);
        }
        payload
    }

    /// The block of attributes to write in place of the client's; `None` where that can go as it came.
    fn block(&self, ours: &[(&str, &str)]) -> Option<Vec<u8>> {
        let theirs = self.attributes.clone()?;
        let is_missing = self.rest.len() <= 1;
        let rewrite = is_missing || !ours.is_empty() || theirs.clone().any(|(key, _)| is_ours(key));
        rewrite.then(|| theirs.with_ours(ours))
    }
}

/// No server has a plugin of this name.
const NO_PLUGIN: &[u8] = b"doorward_asks_to_switch";
/// What a client keeps only by an [`Edit`]; TLS is each leg's own.
const MASKED: Capabilities = Capabilities::SSL
    .with(Capabilities::COMPRESSION)
    .with(Capabilities::LOCAL_FILES);

#[cfg(test)]
#[path = "splice_tests.rs"]
mod tests;
