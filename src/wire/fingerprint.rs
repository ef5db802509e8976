//! What makes two statements the same: all of the text but its literals, comments and spaces. Floor 0: pure.
//!
//! The text streams through a keyed hash, however it is cut, and nothing of it is kept but the start of the word in hand. No
//! statement is understood; what its first words tell is whether it reads, or sets the session up.

mod text;

pub use text::Text;

/// A statement without what differs between two calls of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    pub fingerprint: u64,
    pub kind: StatementKind,
}

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// It asks for rows.
    Read,
    /// It sets the session up, or asks how it is set up.
    SetUp,
    /// Anything else, and what cannot be known.
    Other,
}

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Postgres,
    Mysql,
}

impl Statement {
    /// Something of which nothing is known.
    pub const UNKNOWN: Self = Self {
        fingerprint: 0,
        kind: StatementKind::Other,
    };
}

/// Finds out by the first words what a statement is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// Nothing has come but parentheses.
    First,
    /// After SELECT.
    Selected,
    /// After SELECT and an @.
    At,
    /// After WITH: what is written in it comes later.
    With,
    Known(StatementKind),
    /// A whole statement, and a semicolon.
    Ended(StatementKind),
}

impl Purpose {
    /// A word, in lower case, as far as it is known.
    fn word(&mut self, word: &[u8]) {
        *self = match *self {
            Self::First => match word {
                b"select" => Self::Selected,
                b"with" => Self::With,
                b"set" | b"show" => Self::Known(StatementKind::SetUp),
                _ => Self::Known(StatementKind::Other),
            },
            // a name's first part
            Self::Selected if word == b"pg_catalog" => Self::Selected,
            Self::Selected if OF_THE_SESSION.contains(&word) => Self::Known(StatementKind::SetUp),
            Self::Selected | Self::At => Self::Known(StatementKind::Read),
            Self::With if WRITING.contains(&word) => Self::Known(StatementKind::Other),
            Self::Ended(_) => Self::Known(StatementKind::Other),
            same @ (Self::With | Self::Known(_)) => same,
        };
    }

    /// A symbol, a literal or a quoted name.
    fn other(&mut self, byte: u8) {
        *self = match (*self, byte) {
            (Self::First, b'(' | b';') => Self::First,
            (Self::First, _) => Self::Known(StatementKind::Other),
            (Self::Selected, b'.') => Self::Selected,
            (Self::Selected, b'@') => Self::At,
            (Self::At, b'@') => Self::Known(StatementKind::SetUp),
            (Self::Selected | Self::At, _) => Self::Known(StatementKind::Read),
            (Self::With, b';') => Self::Ended(StatementKind::Read),
            (Self::Known(kind), b';') => Self::Ended(kind),
            (Self::Ended(_), byte) if byte != b';' => Self::Known(StatementKind::Other),
            (same @ (Self::With | Self::Known(_) | Self::Ended(_)), _) => same,
        };
    }

    const fn kind(self) -> StatementKind {
        match self {
            Self::First => StatementKind::Other,
            Self::Selected | Self::At | Self::With => StatementKind::Read,
            Self::Known(kind) | Self::Ended(kind) => kind,
        }
    }
}

/// Functions that tell of the session and its server.
const OF_THE_SESSION: &[&[u8]] = &[
    b"set_config",
    b"current_setting",
    b"version",
    b"current_schema",
    b"current_database",
    b"current_user",
    b"database",
    b"connection_id",
    b"pg_backend_pid",
];

const WRITING: &[&[u8]] = &[b"insert", b"update", b"delete", b"merge"];

#[cfg(test)]
mod tests;
