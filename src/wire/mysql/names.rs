//! Which names of users and databases read in one way only. Floor 0.
//!
//! The server converts a name from the client's character set, cuts what is too long, and takes quotes off; it logs in as whoever the
//! rest names. So a name must be one that none of this changes.

/// The two servers behind one protocol: limits and character sets differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    MySql,
    MariaDb,
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

/// The name as every reader reads it, or why there is none. `charset` is the client's collation id.
pub(super) fn checked(
    name: &[u8],
    charset: u16,
    flavor: Flavor,
    limit: usize,
) -> Result<&str, NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if !name.iter().copied().all(is_plain) && !is_utf8(charset, flavor) {
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

/// The database of a `COM_INIT_DB`: all that follows the command byte. `charset` is the one of the last login.
pub fn init_db_name(name: &[u8], charset: u16, flavor: Flavor) -> Result<&str, NameFault> {
    checked(name, charset, flavor, MAX_DATABASE)
}

/// How many characters of a user's name the server keeps.
pub(super) const fn max_user(flavor: Flavor) -> usize {
    match flavor {
        Flavor::MySql => 32,
        Flavor::MariaDb => 128,
    }
}

/// Bytes that mean the same character in every character set a client may have.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'$' | b'-')
}

/// Whether a collation is one of utf8mb3 or utf8mb4 at this server. One that a server does not know is the server's default there,
/// whatever that is (MariaDB before 11.4 and MySQL's 255).
const fn is_utf8(collation: u16, flavor: Flavor) -> bool {
    match flavor {
        Flavor::MySql => {
            matches!(collation, 33 | 45 | 46 | 76 | 83 | 192..=215 | 223..=247 | 255..=323)
        }
        Flavor::MariaDb => {
            matches!(collation, 33 | 45 | 46 | 83 | 192..=215 | 223..=247)
        }
    }
}

pub(super) const MAX_DATABASE: usize = 64;
