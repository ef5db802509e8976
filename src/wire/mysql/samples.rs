//! Answers to a greeting, put together field by field, for tests. Floor 0.

use super::{
    Attributes, Capabilities, ClientOpening, Edit, Extended, Flavor, HandshakeResponse, NameRule,
    Offer, WireError, fields::put_lenenc,
};

/// What every client of today can.
pub(super) const BASE: Capabilities = Capabilities::MYSQL
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::LENENC_AUTH);
pub(super) const DATABASE: Capabilities = Capabilities::CONNECT_WITH_DB;
pub(super) const ATTRIBUTES: Capabilities = Capabilities::CONNECT_ATTRS;
/// No edit but what every client gets.
pub(super) const NONE: Edit<'_> = Edit {
    local_files: false,
    compression: false,
    attributes: &[],
    forced_switch: false,
};

/// All that a server of today offers, without TLS and compression.
pub(super) fn offer() -> Offer {
    let all = Capabilities::from_bits(0xdfff_ffff);
    Offer {
        names: NameRule::of(Flavor::MySql, b"9.7.4"),
        capabilities: all
            .without(Capabilities::SSL)
            .without(Capabilities::COMPRESSION),
        extended: Extended::default(),
    }
}

/// A packet, field by field.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    pub(super) flags: Capabilities,
    pub(super) charset: [u8; 2],
    pub(super) user: Vec<u8>,
    pub(super) auth: Vec<u8>,
    pub(super) database: Vec<u8>,
    pub(super) plugin: Vec<u8>,
    pub(super) rest: Vec<u8>,
}

impl Fresh {
    pub(super) fn new(more: Capabilities) -> Self {
        Self {
            flags: BASE.with(more),
            charset: [45, 0],
            user: b"shop_app".to_vec(),
            auth: vec![0xaa; 32],
            database: b"shop".to_vec(),
            plugin: b"caching_sha2_password\0".to_vec(),
            rest: Vec::new(),
        }
    }

    pub(super) fn head(&self) -> Vec<u8> {
        [
            &self.flags.bits().to_le_bytes()[..],
            &[0, 0, 0, 1],
            &self.charset,
            &[0; 22],
        ]
        .concat()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.user);
        bytes.push(0);
        put_lenenc(&mut bytes, self.auth.len());
        bytes.extend_from_slice(&self.auth);
        if self.flags.has(DATABASE) {
            bytes.extend_from_slice(&self.database);
            bytes.push(0);
        }
        bytes.extend_from_slice(&self.plugin);
        bytes.extend_from_slice(&self.rest);
        bytes
    }

    pub(super) fn read(&self) -> Result<HandshakeResponse, WireError> {
        read(&self.bytes())
    }
}

pub(super) fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
    Attributes::new(&[]).with_ours(pairs)
}

pub(super) fn read(bytes: &[u8]) -> Result<HandshakeResponse, WireError> {
    match ClientOpening::parse(bytes, offer())? {
        ClientOpening::Response(response) => Ok(response),
        ClientOpening::SslRequest(request) => panic!("{request:?}"),
    }
}

/// What a server reads that gets the edited packet.
pub(super) fn again(response: &HandshakeResponse, edit: &Edit<'_>) -> HandshakeResponse {
    read(&response.edited(edit)).unwrap()
}
