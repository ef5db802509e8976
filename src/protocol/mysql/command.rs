//! What a command's first byte tells: the form of its answer, and who has to agree before it passes. Floor 2: pure.
//!
//! Numbers: `enum_server_command` of MySQL's `my_command.h` and of MariaDB's `mysql_com.h`. What a server does not know it
//! answers with an error, so every number counts as a command with an answer, but the three that have none.

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
    pub(super) const QUIT: Self = Self(0x01);
    pub(super) const SEND_LONG_DATA: Self = Self(0x18);

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
            // QUIT, STMT_SEND_LONG_DATA, STMT_CLOSE
            0x01 | 0x18 | 0x19 => None,
            // QUERY, STMT_BULK_EXECUTE
            0x03 | 0xFA => Some(Answer::Statement),
            // STMT_EXECUTE
            0x17 => Some(Answer::Executed),
            // STMT_PREPARE
            0x16 => Some(Answer::Prepared),
            // FIELD_LIST, STMT_FETCH
            0x04 | 0x1C => Some(Answer::Rows),
            // STATISTICS
            0x09 => Some(Answer::Text),
            // BINLOG_DUMP, TABLE_DUMP, BINLOG_DUMP_GTID
            0x12 | 0x13 | 0x1E => Some(Answer::Stream(Stream::Binlog)),
            // CLONE
            0x20 => Some(Answer::Stream(Stream::Clone)),
            _ => Some(Answer::Plain),
        }
    }

    #[inline]
    pub(super) const fn guard(self) -> Guard {
        match self.0 {
            // CHANGE_USER
            0x11 => Guard::User,
            // INIT_DB
            0x02 => Guard::Database,
            // BINLOG_DUMP, REGISTER_SLAVE, BINLOG_DUMP_GTID
            0x12 | 0x15 | 0x1E => Guard::Replication,
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
