//! Which names of users and databases read in one way only. Floor 0.
//!
//! The server converts a name from the client's character set, cuts what is too long, and takes quotes off; it logs in as whoever the
//! rest names. So a name must be one that none of this changes.

/// The two servers behind one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    MySql,
    MariaDb,
}

/// What one server makes of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// How many characters of a user's name the server keeps.
    max_user: usize,
    /// Whether it knows the collations from 255 on (`utf8mb4_0900_ai_ci`). One that a server does not know is the server's default
    /// there, whatever that is.
    knows_255: bool,
}

/// Why a name might be another one for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    #[error("is empty")]
    Empty,
    #[error("is longer than {0} characters")]
    TooLong(usize),
    /// Letters other than ASCII mean something else in every other character set, and in some even ASCII does.
    #[error(
        "has other characters than A-Z, a-z, 0-9, _ . $ - and the connection's character set is not utf8 or utf8mb4"
    )]
    CharacterSet,
    #[error("is not UTF-8")]
    NotUtf8,
    #[error("holds a control character")]
    Control,
    /// The servers keep names in three bytes per character and put a question mark for the others.
    #[error("has a character beyond U+FFFF")]
    BeyondThreeBytes,
    /// The servers log in `'app'` as `app`.
    #[error("stands in single quotes, which the server takes off")]
    Quoted,
}

impl NameRule {
    /// By the greeting's version. MariaDB before 10.2 is taken for the MySQL that it says it is.
    pub fn of(flavor: Flavor, version: &[u8]) -> Self {
        let is = |prefix: &str| version.starts_with(prefix.as_bytes());
        let max_user = match flavor {
            Flavor::MariaDb => 128,
            Flavor::MySql if is("5.5.") || is("5.6.") => 16,
            Flavor::MySql => 32,
        };
        Self {
            max_user,
            knows_255: flavor == Flavor::MySql && !is("5."),
        }
    }

    /// The user's name as every reader reads it, or why there is none. `charset` is the id of the client's character set.
    pub fn user(self, name: &[u8], charset: u16) -> Result<&str, NameFault> {
        self.checked(name, charset, self.max_user)
    }

    /// The same for the name of a database, that of a `COM_INIT_DB` included: all that follows the command byte, and `charset` of
    /// the last login.
    pub fn database(self, name: &[u8], charset: u16) -> Result<&str, NameFault> {
        self.checked(name, charset, MAX_DATABASE)
    }

    fn checked(self, name: &[u8], charset: u16, limit: usize) -> Result<&str, NameFault> {
        if name.is_empty() {
            return Err(NameFault::Empty);
        }
        if !name.iter().copied().all(is_plain) && !self.is_utf8(charset) {
            return Err(NameFault::CharacterSet);
        }
        let name = str::from_utf8(name).map_err(|_not_utf8| NameFault::NotUtf8)?;
        if name.contains(char::is_control) {
            return Err(NameFault::Control);
        }
        if name.contains(|c| c > '\u{ffff}') {
            return Err(NameFault::BeyondThreeBytes);
        }
        if name.starts_with('\'') && name.ends_with('\'') {
            return Err(NameFault::Quoted);
        }
        if name.chars().count() > limit {
            return Err(NameFault::TooLong(limit));
        }
        Ok(name)
    }

    /// Whether a collation is one of utf8mb3 or utf8mb4 at this server (`information_schema.collations`).
    const fn is_utf8(self, collation: u16) -> bool {
        match collation {
            33 | 45 | 46 | 83 | 192..=215 | 223..=247 => true,
            272 | 276 | 295 | 299 | 301 | 302 => false,
            255..=323 => self.knows_255,
            _ => false,
        }
    }
}

/// Bytes that mean the same character in every character set a client may have.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'$' | b'-')
}

/// Whether a client can have this character set. Those of two bytes and more for each character, and that of file names, it cannot: the
/// server takes a login in one of them for a broken handshake, and counts it against the address that it came from.
pub(super) const fn is_a_client_s(collation: u16) -> bool {
    // ucs2, utf16, utf16le, utf32 and filename in `information_schema.collations`; MariaDB's own from 640 on
    !matches!(collation, 17 | 35 | 54..=56 | 60..=62 | 90 | 101..=124 | 128..=151 | 159..=183)
}

/// Both servers refuse a longer one.
const MAX_DATABASE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql() -> NameRule {
        NameRule::of(Flavor::MySql, b"9.7.4")
    }

    fn mariadb() -> NameRule {
        NameRule::of(Flavor::MariaDb, b"11.8.9-MariaDB")
    }

    /// `utf8mb4_general_ci`
    const UTF8: u16 = 45;

    #[test]
    fn plain_names_are_the_same_in_every_character_set() {
        for charset in 0..=255 {
            for rule in [mysql(), mariadb()] {
                assert_eq!(rule.user(b"Shop_app-1.x$", charset), Ok("Shop_app-1.x$"));
            }
        }
    }

    #[test]
    fn other_names_need_a_character_set_that_is_utf8() {
        // latin1, cp1250, swe7, gbk, binary, the low byte of 309, none
        for charset in [8, 26, 10, 28, 63, 53, 0] {
            for name in ["ren\u{e9}".as_bytes(), b"ren`", b"a b", b"a@b", b"'app'"] {
                assert_eq!(mysql().user(name, charset), Err(NameFault::CharacterSet));
                assert_eq!(
                    mariadb().database(name, charset),
                    Err(NameFault::CharacterSet)
                );
            }
        }
        for charset in [33, UTF8, 46, 83, 192, 215, 223, 224, 247] {
            assert_eq!(
                mysql().user("ren\u{e9}".as_bytes(), charset),
                Ok("ren\u{e9}")
            );
            assert_eq!(
                mariadb().user("ren\u{e9}".as_bytes(), charset),
                Ok("ren\u{e9}")
            );
        }
    }

    #[test]
    fn a_collation_that_the_server_does_not_know_is_not_utf8() {
        let name = "ren\u{e9}".as_bytes();
        assert_eq!(mysql().user(name, 255), Ok("ren\u{e9}"));
        for rule in [
            mariadb(),
            NameRule::of(Flavor::MySql, b"5.7.44"),
            NameRule::of(Flavor::MySql, b"5.5.5-10.1.48-MariaDB"),
        ] {
            assert_eq!(rule.user(name, 255), Err(NameFault::CharacterSet));
        }
        for unknown in [0, 248, 250, 272, 301, 324, 4000] {
            assert_eq!(
                mysql().user(name, unknown),
                Err(NameFault::CharacterSet),
                "{unknown}"
            );
        }
    }

    #[test]
    fn a_name_that_the_server_would_cut_is_refused() {
        let name = |length| "\u{e9}".repeat(length);
        assert!(mysql().user(name(32).as_bytes(), UTF8).is_ok());
        assert_eq!(
            mysql().user(name(33).as_bytes(), UTF8),
            Err(NameFault::TooLong(32))
        );
        assert!(mariadb().user(name(128).as_bytes(), UTF8).is_ok());
        assert_eq!(
            mariadb().user(name(129).as_bytes(), UTF8),
            Err(NameFault::TooLong(128))
        );
        assert!(mysql().database(name(64).as_bytes(), UTF8).is_ok());
        assert_eq!(
            mariadb().database(name(65).as_bytes(), UTF8),
            Err(NameFault::TooLong(64))
        );
        let old = NameRule::of(Flavor::MySql, b"5.6.51");
        assert_eq!(
            old.user(b"seventeen_letters", UTF8),
            Err(NameFault::TooLong(16))
        );
    }

    #[test]
    fn a_name_that_the_server_would_change_is_refused() {
        for (name, fault) in [
            ("", NameFault::Empty),
            ("'app'", NameFault::Quoted),
            ("''", NameFault::Quoted),
            ("caf\u{1f600}", NameFault::BeyondThreeBytes),
            ("a\tb", NameFault::Control),
            ("a\u{85}b", NameFault::Control),
        ] {
            assert_eq!(mysql().user(name.as_bytes(), UTF8), Err(fault), "{name}");
            assert_eq!(mariadb().user(name.as_bytes(), UTF8), Err(fault), "{name}");
        }
        // latin1, a surrogate, an overlong letter
        for name in [&b"ren\xe9"[..], b"\xed\xa0\x80x", b"\xc1\x81"] {
            assert_eq!(mysql().user(name, UTF8), Err(NameFault::NotUtf8));
        }
        assert_eq!(mysql().user(b"o'neil'", UTF8), Ok("o'neil'"));
    }
}
