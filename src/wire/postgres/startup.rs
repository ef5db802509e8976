//! The startup packet: who wants in, and to what. Floor 0.
//!
//! **One reading**: what the server would understand differently from us, or only by cutting, dropping or guessing, is refused.

use std::{borrow::Cow, fmt, net::IpAddr};

use super::{ErrorForm, WireError, opening::MAX_OPENING};

/// The version number a client opens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersion {
    pub major: u16,
    pub minor: u16,
}

impl ProtocolVersion {
    pub(super) const fn from_code(code: u32) -> Self {
        let [a, b, c, d] = code.to_be_bytes();
        Self {
            major: u16::from_be_bytes([a, b]),
            minor: u16::from_be_bytes([c, d]),
        }
    }

    const fn code(self) -> u32 {
        let ([a, b], [c, d]) = (self.major.to_be_bytes(), self.minor.to_be_bytes());
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What kind of replication connection is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// No database is opened.
    Physical,
    /// In one database, where SQL runs too.
    Logical,
}

/// A startup packet that can be read in one way only.
#[derive(Clone, PartialEq, Eq)]
pub struct StartupMessage {
    version: ProtocolVersion,
    /// `name\0value\0...`, without the terminator: no name is empty, none comes twice.
    text: String,
    replication: Option<Replication>,
}

impl StartupMessage {
    /// One of our own, of protocol 3.0.
    ///
    /// # Errors
    /// As of one that a client sends.
    pub fn new(parameters: &[(&str, &str)]) -> Result<Self, WireError> {
        let version = ProtocolVersion { major: 3, minor: 0 };
        let mut body = Vec::new();
        for field in parameters.iter().flat_map(|(name, value)| [name, value]) {
            body.extend_from_slice(field.as_bytes());
            body.push(0);
        }
        body.push(0);
        Self::parse(version, &body)
    }

    /// Reads what follows the version: parameters, then one zero byte as the last.
    pub(super) fn parse(version: ProtocolVersion, body: &[u8]) -> Result<Self, WireError> {
        if version.major != 3 {
            return Err(WireError::Version(version));
        }
        let text = match body {
            [0] => &[],
            [text @ .., 0] if text.ends_with(b"\0") => text,
            _ => return Err(WireError::Layout),
        };
        let text = str::from_utf8(text).map_err(|_not_utf8| WireError::NotUtf8)?;
        let mut names = Vec::new();
        let mut kind = None;
        let mut fields = text.split_terminator('\0');
        while let Some(name) = fields.next() {
            let value = fields.next().ok_or(WireError::Layout)?;
            // an empty name is the terminator: something stands behind it
            if name.is_empty() {
                return Err(WireError::Layout);
            }
            check(name, value)?;
            if name == "replication" {
                kind = replication(value)?;
            }
            names.push(name);
        }
        if has_twins(names) {
            return Err(WireError::Twice);
        }
        let message = Self {
            version,
            text: text.to_owned(),
            replication: kind,
        };
        if message.user().is_empty() {
            return Err(WireError::NoUser);
        }
        Ok(message)
    }

    /// 3 and a minor version; the server negotiates the minor one.
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// How this client reads an error.
    pub const fn error_form(&self) -> ErrorForm {
        ErrorForm::Version3
    }

    /// Names and values in the order in which the client sent them.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut fields = self.text.split_terminator('\0');
        std::iter::from_fn(move || Some((fields.next()?, fields.next()?)))
    }

    /// The role to log in as, 1 to 63 bytes.
    pub fn user(&self) -> &str {
        self.value("user").unwrap_or_default()
    }

    /// The database to open: the user's name when none is given, as in the server. Physical replication opens none.
    pub fn database(&self) -> &str {
        self.value("database")
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| self.user())
    }

    /// What the client calls itself: anybody can call itself anything. A setting, so its name is not case-sensitive, and it may
    /// stand in `options`, which count before the parameters.
    pub fn application_name(&self) -> Option<Cow<'_, str>> {
        self.parameters()
            .find(|(name, _)| name.eq_ignore_ascii_case(APPLICATION_NAME))
            .map(|(_, value)| Cow::Borrowed(value))
            .or_else(|| self.value("options").and_then(named_in).map(Cow::Owned))
            .filter(|value| !value.is_empty())
    }

    pub const fn replication(&self) -> Option<Replication> {
        self.replication
    }

    /// The same opening, with the address behind what the client calls itself; the address alone where it calls itself nothing.
    /// At most 63 bytes together, to which the server would cut it: the client's own part gives way.
    ///
    /// Left as it is where a replica opens, for by its name the server knows which standbys it waits for
    /// (`synchronous_standby_names`), and where the packet would become longer than the server takes.
    #[must_use]
    pub fn told_from(&self, address: IpAddr) -> Self {
        let mut told = self.clone();
        if self.replication.is_some() {
            return told;
        }
        let name = self.application_name().unwrap_or_default();
        let name = suffixed(&name, &address.to_string());
        let own = |(key, _): &(&str, &str)| key.eq_ignore_ascii_case(APPLICATION_NAME);
        told.text.clear();
        for (key, value) in self.parameters() {
            let value = if own(&(key, value)) { &name } else { value };
            told.add(key, value);
        }
        if !self.parameters().any(|parameter| own(&parameter)) {
            told.add(APPLICATION_NAME, &name);
        }
        if told.text.len() + FRAME > MAX_OPENING {
            return self.clone();
        }
        told
    }

    /// Our own packet from what was read: the same parameters in the same order. An empty `database`, which the server takes for
    /// none, is left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(self.text.len() + FRAME);
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(&self.version.code().to_be_bytes());
        for (name, value) in self.parameters() {
            if name == "database" && value.is_empty() {
                continue;
            }
            for field in [name, value] {
                packet.extend_from_slice(field.as_bytes());
                packet.push(0);
            }
        }
        packet.push(0);
        // at most MAX_OPENING: no longer than what was parsed, or measured when it was made
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        if let Some(head) = packet.first_chunk_mut::<4>() {
            *head = length.to_be_bytes();
        }
        packet
    }

    fn add(&mut self, name: &str, value: &str) {
        for field in [name, value] {
            self.text.push_str(field);
            self.text.push('\0');
        }
    }

    fn value(&self, wanted: &str) -> Option<&str> {
        self.parameters()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    }
}

/// Names and values of settings may hold secrets: shown is only who wants in.
impl fmt::Debug for StartupMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartupMessage")
            .field("version", &self.version)
            .field("user", &self.user())
            .field("database", &self.database())
            .field("replication", &self.replication)
            .finish_non_exhaustive()
    }
}

/// One parameter by itself.
fn check(name: &str, value: &str) -> Result<(), WireError> {
    if name.contains(char::is_control) {
        return Err(WireError::ControlCharacter);
    }
    if name == "options" {
        // white space between settings may be a tab or a new line there
        if value.contains(|c: char| c.is_control() && !is_space(c)) {
            return Err(WireError::ControlCharacter);
        }
        return settings(value).map(drop).ok_or(WireError::Options);
    }
    if value.contains(char::is_control) {
        return Err(WireError::ControlCharacter);
    }
    if matches!(name, "user" | "database") && value.len() > MAX_NAME {
        return Err(WireError::NameTooLong);
    }
    Ok(())
}

/// `name - suffix` in at most [`MAX_NAME`] bytes, without cutting a character; the suffix alone behind an empty name.
fn suffixed(name: &str, suffix: &str) -> String {
    if name.is_empty() {
        return suffix.to_owned();
    }
    let suffix = format!(" - {suffix}");
    let room = MAX_NAME.saturating_sub(suffix.len());
    let mut cuts = (0..=room.min(name.len())).rev();
    let name = cuts.find_map(|end| name.get(..end));
    name.unwrap_or_default().to_owned() + &suffix
}

/// Whether a name comes twice. The server keeps the last; names of settings are not case-sensitive there.
fn has_twins(mut names: Vec<&str>) -> bool {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    names.sort_unstable_by(|one, other| one.bytes().map(lower).cmp(other.bytes().map(lower)));
    names
        .windows(2)
        .any(|pair| matches!(pair, [one, other] if one.eq_ignore_ascii_case(other)))
}

/// The server's boolean parser, which takes prefixes, and one word more.
fn replication(value: &str) -> Result<Option<Replication>, WireError> {
    if value == "database" {
        return Ok(Some(Replication::Logical));
    }
    let is_prefix_of = |word: &str| {
        word.as_bytes()
            .get(..value.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(value.as_bytes()))
    };
    let is_one_of = |words: [(&str, usize); 4]| {
        words
            .iter()
            .any(|(word, shortest)| value.len() >= *shortest && is_prefix_of(word))
    };
    if is_one_of([("true", 1), ("yes", 1), ("on", 2), ("1", 1)]) {
        Ok(Some(Replication::Physical))
    } else if is_one_of([("false", 1), ("no", 1), ("off", 2), ("0", 1)]) {
        Ok(None)
    } else {
        Err(WireError::Replication)
    }
}

/// The settings in the value of `options`, or `None` if it is not a list of settings and nothing else. The server runs `getopt`
/// over it, which also takes bundles such as `-Ec role=x`, and switches that are no settings.
fn settings(value: &str) -> Option<Vec<String>> {
    let mut settings = Vec::new();
    let mut tokens = split_options(value).into_iter();
    while let Some(token) = tokens.next() {
        let setting = match token.strip_prefix("-c") {
            Some("") => tokens.next(),
            Some(attached) => Some(attached.to_owned()),
            None => token.strip_prefix("--").map(str::to_owned),
        };
        settings.push(setting.filter(|setting| is_setting(setting))?);
    }
    Some(settings)
}

/// The name of the application in the value of `options`: the last counts, and the server takes `-` in a name for `_`.
fn named_in(options: &str) -> Option<String> {
    settings(options)?.into_iter().rev().find_map(|setting| {
        let (name, value) = setting.split_once('=')?;
        let is_it = name
            .replace('-', "_")
            .eq_ignore_ascii_case(APPLICATION_NAME);
        is_it.then(|| value.to_owned())
    })
}

/// `name=value`, the name such as the server's settings have.
fn is_setting(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.$".contains(c))
    })
}

/// Splits as the server's `pg_split_opts` does: at white space, where a backslash takes the next character as it is.
fn split_options(value: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = value.trim_start_matches(is_space).chars();
    while !rest.as_str().is_empty() {
        let mut token = String::new();
        while let Some(next) = rest.next() {
            match next {
                '\\' => token.extend(rest.next()),
                space if is_space(space) => break,
                plain => token.push(plain),
            }
        }
        tokens.push(token);
        rest = rest.as_str().trim_start_matches(is_space).chars();
    }
    tokens
}

/// C's `isspace`.
const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// The server cuts longer names (`NAMEDATALEN` - 1 bytes) and logs in as whoever the rest names.
const MAX_NAME: usize = 63;

const APPLICATION_NAME: &str = "application_name";
/// What a packet has beside its parameters: length, version, and the zero byte at the end.
const FRAME: usize = 4 + 4 + 1;

#[cfg(test)]
#[path = "startup_tests.rs"]
mod tests;
