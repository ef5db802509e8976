//! The answer that is due: which of the server's packets belong to it, and which one is its last. Floor 2: pure.
//!
//! Only the first bytes of a packet are looked at, and only where the structure of the answer puts something there. (MySQL
//! internals, *Command Response*; `protocol_classic.cc`; MariaDB's `protocol.cc`.)

use super::command::{Answer, Stream};
use crate::wire::mysql::{Capabilities, Extended, Start, Status, terminal_status};

/// How the two sides of a session write answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// No EOF stands between definitions and rows, and what ends the rows has the form of an OK.
    deprecate_eof: bool,
    /// A byte after the number of columns tells whether their definitions follow. (The manual has it before the number.)
    optional_metadata: bool,
    mariadb: bool,
}

/// Where in an answer the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before its first packet, or that of its next result.
    First,
    Definitions {
        left: u16,
        then: Then,
    },
    /// Before the EOF that stands after definitions.
    Defined {
        then: Then,
    },
    Rows {
        /// They are a procedure's output parameters: more follows, even if only the EOF before them says so. (MySQL's
        /// `Protocol_binary::send_parameters`; so does its client read them.)
        output: bool,
    },
    /// It waits for the client's file.
    File,
    Stream {
        /// The client has taken leave of it.
        leaving: bool,
    },
}

/// What follows definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Rows,
    /// More definitions, and it is over.
    Columns {
        left: u16,
        told: bool,
    },
}

/// What a packet of the server was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not the last one.
    Part,
    /// The last one, and the status flags if it has any.
    Last(Option<Status>),
}

/// A packet that has no place where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misplaced;

impl Dialect {
    pub(super) const fn new(capabilities: Capabilities, extended: Extended, mariadb: bool) -> Self {
        Self {
            deprecate_eof: capabilities.has(Capabilities::DEPRECATE_EOF),
            optional_metadata: capabilities.has(Capabilities::OPTIONAL_RESULTSET_METADATA)
                || extended.has(Extended::CACHE_METADATA),
            mariadb,
        }
    }

    /// Whether a packet reports progress. It has an error's first byte and a number, but not the mark of the SQLSTATE, as an
    /// error has of which a statement chose this number.
    #[inline]
    pub(super) const fn is_progress(self, head: &[u8]) -> bool {
        matches!(head, [0xFF, 0xFF, 0xFF, mark, ..] if self.mariadb && *mark != b'#')
    }
}

impl Place {
    pub(super) const fn beginning(answer: Answer) -> Self {
        match answer {
            Answer::Rows => Self::Rows { output: false },
            Answer::Plain
            | Answer::Statement
            | Answer::Executed
            | Answer::Prepared
            | Answer::Text
            | Answer::Stream(_) => Self::First,
        }
    }

    /// Packets that begin with a byte below this one change nothing here.
    #[inline]
    pub(super) const fn dull_below(self) -> Option<u8> {
        match self {
            Self::Rows { .. } => Some(0xFE),
            Self::Stream { .. } => Some(99),
            Self::First | Self::Definitions { .. } | Self::Defined { .. } | Self::File => None,
        }
    }

    /// Takes a packet that is no error.
    pub(super) fn hear<const MOST: usize>(
        &mut self,
        answer: Answer,
        dialect: Dialect,
        packet: &Start<MOST>,
    ) -> Result<Heard, Misplaced> {
        let head = packet.head();
        // a row can begin with this byte too, when its first column is longer than any packet
        let is_end = !packet.is_full() && head.first() == Some(&0xFE);
        match *self {
            Self::First => match answer {
                Answer::Plain | Answer::Statement | Answer::Executed if is_end => {
                    self.end(answer, packet)
                }
                Answer::Plain | Answer::Statement | Answer::Executed => {
                    self.open(answer, dialect, packet)
                }
                Answer::Prepared => self.prepared(dialect, head),
                Answer::Text => Ok(Heard::Last(None)),
                Answer::Stream(_) if is_end => Ok(Heard::Last(None)),
                Answer::Stream(_) => Ok(self.go_to(Self::Stream { leaving: false })),
                Answer::Rows => Err(Misplaced),
            },
            Self::Definitions { left, then } if !is_end => {
                Ok(self.define(dialect, left.saturating_sub(1), then))
            }
            Self::Defined { then } if is_end => {
                let status = status(packet)?;
                // with a cursor the rows are for COM_STMT_FETCH to get; one inside of a procedure shows in this flag, too
                let fetched = answer == Answer::Executed && status.has(Status::CURSOR_EXISTS);
                if then == Then::Rows && fetched {
                    return Ok(self.result_over(answer, status));
                }
                let part = self.follow(dialect, then);
                if let Self::Rows { output } = self {
                    *output = answer.is_to_sql() && status.has(OUTPUT);
                }
                Ok(part)
            }
            Self::Rows { output: true } if is_end => Ok(self.go_to(Self::First)),
            Self::Rows { .. } if is_end => self.end(answer, packet),
            Self::Rows { .. } => Ok(Heard::Part),
            Self::Stream { leaving } => Ok(match (answer, head) {
                // COM_RES_COMPLETE after COM_EXIT, COM_RES_ERROR
                (Answer::Stream(Stream::Clone), [99, ..]) if leaving => Heard::Last(None),
                (Answer::Stream(Stream::Clone), [100, ..]) => Heard::Last(None),
                _ if is_end => Heard::Last(None),
                _ => Heard::Part,
            }),
            Self::Definitions { .. } | Self::Defined { .. } | Self::File => Err(Misplaced),
        }
    }

    /// The first packet of a result.
    fn open<const MOST: usize>(
        &mut self,
        answer: Answer,
        dialect: Dialect,
        packet: &Start<MOST>,
    ) -> Result<Heard, Misplaced> {
        let head = packet.head();
        match head {
            [0x00, ..] => self.end(answer, packet),
            [0xFB, ..] if answer.is_to_sql() => Ok(self.go_to(Self::File)),
            _ => {
                let (columns, rest) = columns(head).ok_or(Misplaced)?;
                let told = match rest {
                    [] => columns,
                    [0] if dialect.optional_metadata => 0,
                    [1] if dialect.optional_metadata => columns,
                    _ => return Err(Misplaced),
                };
                Ok(self.define(dialect, told, Then::Rows))
            }
        }
    }

    /// What tells how many parameters and columns a statement has.
    fn prepared(&mut self, dialect: Dialect, head: &[u8]) -> Result<Heard, Misplaced> {
        let &[0x00, _, _, _, _, c0, c1, p0, p1, _, _, _, ref rest @ ..] = head else {
            return Err(Misplaced);
        };
        let told = !(dialect.optional_metadata && rest == [0]);
        let (columns, parameters) = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([p0, p1]));
        let then = Then::Columns {
            left: columns,
            told,
        };
        if parameters == 0 {
            return Ok(self.follow(dialect, then));
        }
        Ok(self.define(dialect, if told { parameters } else { 0 }, then))
    }

    fn define(&mut self, dialect: Dialect, left: u16, then: Then) -> Heard {
        if left > 0 {
            return self.go_to(Self::Definitions { left, then });
        }
        if dialect.deprecate_eof {
            return self.follow(dialect, then);
        }
        self.go_to(Self::Defined { then })
    }

    fn follow(&mut self, dialect: Dialect, then: Then) -> Heard {
        match then {
            Then::Rows => self.go_to(Self::Rows { output: false }),
            Then::Columns { left: 0, .. } => Heard::Last(None),
            Then::Columns { left, told } => {
                let none = Then::Columns { left: 0, told };
                self.define(dialect, if told { left } else { 0 }, none)
            }
        }
    }

    /// What ends a result. Where an OK is due that begins like an EOF, a result that ends early inside a procedure has an EOF.
    fn end<const MOST: usize>(
        &mut self,
        answer: Answer,
        packet: &Start<MOST>,
    ) -> Result<Heard, Misplaced> {
        let status = status(packet)?;
        Ok(self.result_over(answer, status))
    }

    fn result_over(&mut self, answer: Answer, status: Status) -> Heard {
        if status.has(Status::MORE_RESULTS) && answer.is_to_sql() {
            return self.go_to(Self::First);
        }
        Heard::Last(Some(status))
    }

    const fn go_to(&mut self, place: Self) -> Heard {
        *self = place;
        Heard::Part
    }
}

fn status<const MOST: usize>(packet: &Start<MOST>) -> Result<Status, Misplaced> {
    terminal_status(packet.head(), packet.length() as usize).ok_or(Misplaced)
}

/// The number of columns, and what follows it. (No table or join has more than 4096.)
const fn columns(head: &[u8]) -> Option<(u16, &[u8])> {
    match head {
        [number @ 1..=0xFA, rest @ ..] => Some((*number as u16, rest)),
        [0xFC, low, high, rest @ ..] => Some((u16::from_le_bytes([*low, *high]), rest)),
        _ => None,
    }
}

/// The flags before a procedure's output parameters.
const OUTPUT: Status =
    Status::from_bits(Status::PS_OUT_PARAMETERS.bits() | Status::MORE_RESULTS.bits());
