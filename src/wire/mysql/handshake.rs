//! A client's answer to the greeting: a wish for TLS, or who it is. Floor 0.

use std::{fmt, ops::Range};

use zeroize::Zeroizing;

use super::{
    Attributes, Capabilities, Extended, Greeting, Offer, WireError,
    auth::proof_fits,
    fields::{Fields, put_lenenc},
    names,
    splice::{self, Edit, Splice},
};

/// What answers a greeting.
#[derive(Debug)]
pub enum ClientOpening {
    /// TLS records follow at once; the real answer comes inside.
    SslRequest(SslRequest),
    Response(HandshakeResponse),
}

/// The first half of a handshake response, sent before TLS. Nothing in it is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SslRequest {
    pub capabilities: Capabilities,
    pub charset: u8,
}

/// `Protocol::HandshakeResponse41` that can be read in one way only, as it came.
pub struct HandshakeResponse {
    payload: Zeroizing<Vec<u8>>,
    /// As the client set them.
    capabilities: Capabilities,
    extended: Extended,
    offer: Offer,
    user: Range<usize>,
    auth: Range<usize>,
    /// Where the authentication data with their length are.
    auth_field: Range<usize>,
    database: Range<usize>,
    plugin: Range<usize>,
    /// The pairs, without their length.
    attributes: Range<usize>,
    /// What stands behind the attributes: the level of zstd.
    tail: Range<usize>,
}

impl ClientOpening {
    /// Reads the payload of a client's first packet, or of its second inside TLS ([`Offer::inside_tls`]).
    pub fn parse(payload: &[u8], offer: Offer) -> Result<Self, WireError> {
        let head = Fields::new(payload).u32().ok_or(WireError::Layout)?;
        let capabilities = Capabilities::from_bits(head);
        let agreed = capabilities.and(offer.capabilities);
        if !capabilities.has(Capabilities::PROTOCOL_41) {
            return Err(WireError::OldProtocol);
        }
        if !agreed.has(Capabilities::SSL) {
            return HandshakeResponse::parse(payload, offer).map(Self::Response);
        }
        // the server waits for TLS after any packet that has the bit: whoever sends more has said too much, and waits too
        let [_, _, _, _, _, _, _, _, charset, ..] = payload else {
            return Err(WireError::Layout);
        };
        match payload.len() {
            HEAD => Ok(Self::SslRequest(SslRequest {
                capabilities,
                charset: *charset,
            })),
            ..HEAD => Err(WireError::Layout),
            _ => Err(WireError::SslWithoutTls),
        }
    }
}

impl HandshakeResponse {
    fn parse(payload: &[u8], offer: Offer) -> Result<Self, WireError> {
        let mut fields = Fields::new(payload);
        let capabilities = fields
            .u32()
            .map(Capabilities::from_bits)
            .ok_or(WireError::Layout)?;
        // the servers, too, read by what both sides can
        let agreed = capabilities.and(offer.capabilities);
        if !agreed.has(Capabilities::SECURE_CONNECTION) {
            return Err(WireError::NoSecureConnection);
        }
        if !agreed.has(Capabilities::PLUGIN_AUTH) {
            return Err(WireError::NoPluginAuth);
        }
        let response = Self::read(payload, capabilities, offer)?;
        let charset = response.charset();
        if !names::is_a_client_s(charset) {
            return Err(WireError::CharacterSet);
        }
        if !proof_fits(response.plugin(), response.auth.len()) {
            return Err(WireError::Proof);
        }
        let (user, database) = (
            response.part(&response.user),
            response.part(&response.database),
        );
        offer.names.user(user, charset).map_err(WireError::User)?;
        if !database.is_empty() {
            offer
                .names
                .database(database, charset)
                .map_err(WireError::Database)?;
        }
        Ok(response)
    }

    /// Where the fields are; the names are not looked at.
    fn read(payload: &[u8], capabilities: Capabilities, offer: Offer) -> Result<Self, WireError> {
        let agreed = capabilities.and(offer.capabilities);
        let mut fields = Fields::new(payload);
        let layout = || WireError::Layout;
        fields.take(HEAD as u64 - 4).ok_or_else(layout)?;
        let extended = fields.u32().map(Extended::from_bits).ok_or_else(layout)?;
        let user = fields.until_nul().ok_or_else(layout)?;
        let auth_start = fields.at();
        let length = if agreed.has(Capabilities::LENENC_AUTH) {
            fields.lenenc()
        } else {
            fields.u8().map(u64::from)
        };
        let auth = length
            .and_then(|length| fields.take(length))
            .ok_or_else(layout)?;
        let mut database = fields.at()..fields.at();
        if agreed.has(Capabilities::CONNECT_WITH_DB) {
            database = fields.until_nul().ok_or_else(layout)?;
        }
        let plugin = splice::plugin(&mut fields).ok_or_else(layout)?;
        let mut attributes = fields.at()..fields.at();
        if agreed.has(Capabilities::CONNECT_ATTRS) {
            attributes = splice::attributes(&mut fields)?;
        }
        let tail = fields.at()..payload.len();
        let (least, most) = (agreed, capabilities);
        let level = |flags: Capabilities| usize::from(flags.has(Capabilities::ZSTD));
        if !(level(least)..=level(most)).contains(&tail.len()) {
            return Err(WireError::Layout);
        }
        Ok(Self {
            payload: Zeroizing::new(payload.to_vec()),
            capabilities,
            extended,
            offer,
            user,
            auth_field: auth_start..auth.end,
            auth,
            database,
            plugin,
            attributes,
            tail,
        })
    }

    /// Who wants in.
    pub fn user(&self) -> &str {
        self.text(&self.user)
    }

    /// The database to open, if one is named; an empty name is none.
    pub fn database(&self) -> Option<&str> {
        Some(self.text(&self.database)).filter(|name| !name.is_empty())
    }

    /// The plugin that the client has begun with.
    pub fn plugin(&self) -> &str {
        self.text(&self.plugin)
    }

    /// The client's first proof, or a password in clear.
    pub fn auth_response(&self) -> &[u8] {
        self.part(&self.auth)
    }

    /// The id of the client's character set and collation. The servers read one byte; some drivers write two, and then no
    /// character set is known: 0.
    pub fn charset(&self) -> u16 {
        match self.payload.get(8..10) {
            Some([charset, 0]) => u16::from(*charset),
            _ => 0,
        }
    }

    /// What the client claims to know, offered or not.
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What both sides can once `edit` is made.
    pub const fn agreed(&self, edit: &Edit<'_>) -> Capabilities {
        edit.flags(self.capabilities, self.offer)
            .and(self.offer.capabilities)
    }

    /// What both sides can of MariaDB's own.
    pub const fn agreed_extended(&self) -> Extended {
        if self.capabilities.has(Capabilities::MYSQL) {
            return Extended::from_bits(0);
        }
        self.extended.and(self.offer.extended)
    }

    /// Whether a server that greets so reads what was read here, by the greeting that the client saw: one of ours may have been made
    /// after another server's.
    pub fn suits(&self, server: &Greeting) -> bool {
        let shape = |flags: Capabilities| flags.and(SHAPE);
        self.offer.names == server.names()
            && shape(self.offer.capabilities) == shape(server.capabilities())
    }

    /// What the client tells of itself: anybody can tell anything.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::new(self.part(&self.attributes))
    }

    /// The attribute of this name, when it is a text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().value(name)
    }

    /// The payload for the server. It may hold a password.
    pub fn edited(&self, edit: &Edit<'_>) -> Zeroizing<Vec<u8>> {
        let flags = edit.flags(self.capabilities, self.offer);
        let fields = Fields::new(&self.payload);
        let tail = if flags.has(Capabilities::ZSTD) {
            self.part(&self.tail)
        } else {
            &[]
        };
        Splice {
            head: &[
                &flags.bits().to_le_bytes(),
                self.part(&(4..self.auth_field.start)),
            ],
            auth_field: fields.part(self.auth_field.clone()),
            database: fields.part(self.auth_field.end..self.plugin.start),
            plugin: fields.part(self.plugin.clone()),
            rest: fields.part(self.plugin.end..self.tail.start),
            attributes: self
                .agreed(edit)
                .has(Capabilities::CONNECT_ATTRS)
                .then(|| self.attributes()),
            tail,
        }
        .write(edit)
    }

    /// The payload that asks the server for TLS, in which [`Self::edited`] follows: one server reads the flags here, the other there.
    pub fn ssl_request(&self, edit: &Edit<'_>) -> [u8; HEAD] {
        let bits = edit
            .flags(self.capabilities, self.offer)
            .with(Capabilities::SSL)
            .bits();
        let flags = bits.to_le_bytes();
        let mut request = [0; HEAD];
        let bytes = flags.iter().chain(self.part(&(4..HEAD)));
        for (place, byte) in request.iter_mut().zip(bytes) {
            *place = *byte;
        }
        request
    }

    fn part(&self, place: &Range<usize>) -> &[u8] {
        self.payload.get(place.clone()).unwrap_or_default()
    }

    fn text(&self, place: &Range<usize>) -> &str {
        str::from_utf8(self.part(place)).unwrap_or_default()
    }
}

/// The rest of the packet may hold a password.
impl fmt::Debug for HandshakeResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeResponse")
            .field("capabilities", &self.capabilities)
            .field("extended", &self.extended)
            .field("charset", &self.charset())
            .field("user", &self.user())
            .field("database", &self.database())
            .field("plugin", &self.plugin())
            .finish_non_exhaustive()
    }
}

/// The payload of a handshake response that ends a login without harm: nobody of that name, and nothing that proves it. `user` is
/// ASCII and short; `junk` stands for a proof.
pub fn junk_login(plugin: &str, user: &str, junk: &[u8; 20]) -> Vec<u8> {
    let known = Capabilities::MYSQL
        .with(Capabilities::PROTOCOL_41)
        .with(Capabilities::SECURE_CONNECTION)
        .with(Capabilities::PLUGIN_AUTH);
    let mut payload = known.bits().to_le_bytes().to_vec();
    payload.extend_from_slice(&0x0100_0000_u32.to_le_bytes());
    // utf8mb3_general_ci, known to every server
    payload.push(33);
    payload.resize(HEAD, 0);
    payload.extend_from_slice(user.as_bytes());
    payload.push(0);
    put_lenenc(&mut payload, junk.len());
    payload.extend_from_slice(junk);
    payload.extend_from_slice(plugin.as_bytes());
    payload.push(0);
    payload
}

/// The longest payload of a client before it is logged in: a block of attributes, and as much again for proofs and names (tokens and
/// tickets are long).
pub const MAX_RESPONSE: usize = 0x2_0000;

/// What changes where the fields are.
const SHAPE: Capabilities = Capabilities::PROTOCOL_41
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::LENENC_AUTH)
    .with(Capabilities::CONNECT_WITH_DB)
    .with(Capabilities::CONNECT_ATTRS);
/// Flags, packet size, character set, filler.
const HEAD: usize = 32;

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
