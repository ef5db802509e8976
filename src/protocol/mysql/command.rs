//! What a command's first byte tells: the form of its answer, and who has to agree before it passes. Floor 2: pure.
//!
//! What a server does not know it answers with an error, so every number counts as a command with an answer, but the three that
//! have none.

use crate::wire::mysql::commands;

/// The first byte of a command packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command(u8);

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// OK, EOF, ERR or results.
    Plain,
    /// The same; and the server may ask for a file, and transactions begin and end.
    Statement,
    /// The same, of a statement that was prepared: its rows may be left for `COM_STMT_FETCH`.
    Executed,
    /// What a statement's parameters and columns are.
    Prepared,
    /// Definitions or rows up to an EOF, without a count before them.
    Rows,
    /// One packet of text.
    Text,
    /// Packets until the server ends them, during which the client only says what is of the stream.
    Stream(Stream),
}

/// What the client of a stream says in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Acknowledgements of semi-synchronous replication.
    Binlog,
    /// The commands of the clone plugin.
    Clone,
}

/// Who has to agree before a command passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    Nobody,
    /// The whole decision again, for another user.
    User,
    Database,
    Replication,
}

impl Answer {
    /// Whether it answers SQL, prepared or not.
    #[inline]
    pub(super) const fn is_to_sql(self) -> bool {
        matches!(self, Self::Statement | Self::Executed)
    }
}

impl Command {
    pub(super) const QUIT: Self = Self(commands::QUIT);
    pub(super) const SEND_LONG_DATA: Self = Self(commands::STMT_SEND_LONG_DATA);

    /// `first` is the first byte of a payload. The servers read an empty one as `COM_SLEEP`.
    #[inline]
    pub(super) const fn of(first: Option<u8>) -> Self {
        match first {
            Some(first) => Self(first),
            None => Self(0),
        }
    }

    /// `None` for a command without an answer.
    #[inline]
    pub(super) const fn answer(self) -> Option<Answer> {
        match self.0 {
            commands::QUIT | commands::STMT_SEND_LONG_DATA | commands::STMT_CLOSE => None,
            commands::QUERY | commands::STMT_BULK_EXECUTE => Some(Answer::Statement),
            commands::STMT_EXECUTE => Some(Answer::Executed),
            commands::STMT_PREPARE => Some(Answer::Prepared),
            commands::FIELD_LIST | commands::STMT_FETCH => Some(Answer::Rows),
            commands::STATISTICS => Some(Answer::Text),
            commands::BINLOG_DUMP | commands::TABLE_DUMP | commands::BINLOG_DUMP_GTID => {
                Some(Answer::Stream(Stream::Binlog))
            }
            commands::CLONE => Some(Answer::Stream(Stream::Clone)),
            _ => Some(Answer::Plain),
        }
    }

    #[inline]
    pub(super) const fn guard(self) -> Guard {
        match self.0 {
            commands::CHANGE_USER => Guard::User,
            commands::INIT_DB => Guard::Database,
            commands::BINLOG_DUMP | commands::REGISTER_SLAVE | commands::BINLOG_DUMP_GTID => {
                Guard::Replication
            }
            _ => Guard::Nobody,
        }
    }
}

impl Stream {
    /// Whether a packet with this first byte is of the stream, and no command.
    pub(super) const fn has(self, first: Option<u8>) -> bool {
        match self {
            // kPacketMagicNum, semisync.h
            Self::Binlog => matches!(first, Some(0xEF)),
            // Command_RPC, clone.h of the clone plugin
            Self::Clone => matches!(first, Some(1..=6)),
        }
    }

    /// Whether such a packet takes leave of the stream (`COM_EXIT`).
    pub(super) const fn ends_with(self, first: Option<u8>) -> bool {
        matches!((self, first), (Self::Clone, Some(6)))
    }
}
