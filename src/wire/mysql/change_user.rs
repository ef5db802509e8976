//! `COM_CHANGE_USER`: a session that wants to be somebody else. Floor 0.

use std::{fmt, ops::Range};

use zeroize::Zeroizing;

use super::{
    Attributes, Capabilities, NameRule, WireError, commands,
    fields::Fields,
    splice::{self, Edit, Splice},
};

/// A `COM_CHANGE_USER` that can be read in one way only, as it came.
pub struct ChangeUser {
    payload: Zeroizing<Vec<u8>>,
    user: Range<usize>,
    auth: Range<usize>,
    database: Range<usize>,
    charset: u16,
    plugin: Range<usize>,
    /// The pairs, without their length; `None` when the server takes none.
    attributes: Option<Range<usize>>,
}

impl ChangeUser {
    /// Reads the payload, its command byte 0x11 included. `agreed` is what the server was told at the login
    /// ([`HandshakeResponse::agreed`](super::HandshakeResponse::agreed)).
    pub fn parse(payload: &[u8], agreed: Capabilities, names: NameRule) -> Result<Self, WireError> {
        let read = Self::read(payload, agreed.has(Capabilities::CONNECT_ATTRS))?;
        let (user, database) = (read.part(&read.user), read.part(&read.database));
        names.user(user, read.charset).map_err(WireError::User)?;
        if !database.is_empty() {
            names
                .database(database, read.charset)
                .map_err(WireError::Database)?;
        }
        Ok(read)
    }

    fn read(payload: &[u8], takes_attributes: bool) -> Result<Self, WireError> {
        let mut fields = Fields::new(payload);
        let layout = || WireError::Layout;
        if fields.u8() != Some(commands::CHANGE_USER) {
            return Err(WireError::Layout);
        }
        let user = fields.until_nul().ok_or_else(layout)?;
        let length = fields.u8().ok_or_else(layout)?;
        let auth = fields.take(length.into()).ok_or_else(layout)?;
        let database = fields.until_nul().ok_or_else(layout)?;
        let charset = fields.u16().ok_or_else(layout)?;
        let plugin = splice::plugin(&mut fields).ok_or_else(layout)?;
        let mut attributes = None;
        if takes_attributes {
            attributes = Some(splice::attributes(&mut fields)?);
        }
        if !fields.is_done() {
            return Err(WireError::Layout);
        }
        Ok(Self {
            payload: Zeroizing::new(payload.to_vec()),
            user,
            auth,
            database,
            charset,
            plugin,
            attributes,
        })
    }

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

    /// The id of the client's character set and collation, both bytes of it.
    pub const fn charset(&self) -> u16 {
        self.charset
    }

    /// What the client tells of itself.
    pub fn attributes(&self) -> Attributes<'_> {
        let pairs = self.attributes.as_ref().map(|pairs| self.part(pairs));
        Attributes::new(pairs.unwrap_or_default())
    }

    /// The attribute of this name, when it is a text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().value(name)
    }

    /// The payload for the server; of an edit only the attributes and the forced switch count here. It may hold a password.
    pub fn edited(&self, edit: &Edit<'_>) -> Zeroizing<Vec<u8>> {
        let auth_field = self.auth.start - 1..self.auth.end;
        Splice {
            head: &[self.part(&(0..auth_field.start))],
            database: self.part(&(auth_field.end..self.plugin.start)),
            auth_field: self.part(&auth_field),
            plugin: self.part(&self.plugin),
            rest: self.part(&(self.plugin.end..self.payload.len())),
            attributes: self.attributes.as_ref().map(|_| self.attributes()),
            tail: &[],
        }
        .write(edit)
    }

    fn part(&self, place: &Range<usize>) -> &[u8] {
        self.payload.get(place.clone()).unwrap_or_default()
    }

    fn text(&self, place: &Range<usize>) -> &str {
        str::from_utf8(self.part(place)).unwrap_or_default()
    }
}

/// The rest of the packet may hold a password.
impl fmt::Debug for ChangeUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeUser")
            .field("charset", &self.charset)
            .field("user", &self.user())
            .field("database", &self.database())
            .field("plugin", &self.plugin())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "change_user_tests.rs"]
mod tests;
