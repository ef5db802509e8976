//! What is changed in a client's proof of who it is, on its way to the server. Floor 0.
//!
//! A handshake response and a `COM_CHANGE_USER` end alike: proof, database, plugin, attributes.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{Attributes, Capabilities, Offer, WireError, attributes::MAX_BLOCK, fields::Fields};

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
    pub(super) const fn kept(&self, theirs: Capabilities, offer: Offer) -> Capabilities {
        let agreed = theirs.and(offer.capabilities);
        let mut kept = theirs
            .without(Capabilities::SSL)
            .without(Capabilities::COMPRESSION)
            .without(Capabilities::LOCAL_FILES);
        if self.compression {
            kept = kept.with(agreed.and(Capabilities::COMPRESSION));
        }
        if self.local_files {
            kept = kept.with(agreed.and(Capabilities::LOCAL_FILES));
        }
        kept
    }
}

/// The attributes of a packet.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Block {
    Absent,
    /// Its length promises more than there is: one server ignores it, the other refuses it.
    CutShort,
    /// Where the pairs are.
    Whole(Range<usize>),
}

impl Block {
    /// Reads the block that ends a packet, or all but ends it.
    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let promised = fields.lenenc();
        let Some(pairs) = promised.and_then(|length| fields.take(length)) else {
            // nothing behind it can be told apart any more
            fields.take(fields.rest().len() as u64);
            return Ok(Self::CutShort);
        };
        if pairs.len() > MAX_BLOCK {
            return Err(WireError::Attributes);
        }
        Attributes::parse(fields.part(pairs.clone()))?;
        Ok(Self::Whole(pairs))
    }

    pub(super) fn pairs<'a>(&self, payload: &'a [u8]) -> Attributes<'a> {
        Attributes::new(match self {
            Self::Absent | Self::CutShort => &[],
            Self::Whole(pairs) => payload.get(pairs.clone()).unwrap_or_default(),
        })
    }
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
    /// The attributes that ours are put before, if they are.
    pub(super) block: Option<Attributes<'a>>,
    pub(super) tail: &'a [u8],
}

impl Splice<'_> {
    pub(super) fn write(self, edit: &Edit<'_>) -> Zeroizing<Vec<u8>> {
        let (auth_field, plugin) = if edit.forced_switch {
            (&[0][..], NO_PLUGIN)
        } else {
            (self.auth_field, self.plugin)
        };
        let block = self.block.map(|theirs| theirs.with_ours(edit.attributes));
        // without its zero byte the name may only be the last
        let (zero, rest): (&[u8], &[u8]) = match &block {
            Some(block) => (b"\0", block),
            None if self.rest.is_empty() && edit.forced_switch => (b"\0", b""),
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
}

/// No server has a plugin of this name.
const NO_PLUGIN: &[u8] = b"doorward_asks_to_switch";
