//! What client and server can do, as bits. Floor 0.

use std::fmt;

/// The capability flags of both protocols. Bits without a name here are kept as they came.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u32);

impl Capabilities {
    /// `CLIENT_MYSQL` (once `LONG_PASSWORD`): clear where MariaDB's [`Extended`] capabilities are told.
    pub const MYSQL: Self = Self(1);
    /// A database is named in the handshake response.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    pub const COMPRESS: Self = Self(1 << 5);
    /// `LOAD DATA LOCAL`: the server may ask for a file of the client.
    pub const LOCAL_FILES: Self = Self(1 << 7);
    pub const PROTOCOL_41: Self = Self(1 << 9);
    pub const SSL: Self = Self(1 << 11);
    /// `CLIENT_RESERVED2`, once `SECURE_CONNECTION`: the authentication data have a length.
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    pub const MULTI_STATEMENTS: Self = Self(1 << 16);
    pub const MULTI_RESULTS: Self = Self(1 << 17);
    pub const PS_MULTI_RESULTS: Self = Self(1 << 18);
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// The length of the authentication data is a length-encoded integer.
    pub const LENENC_AUTH: Self = Self(1 << 21);
    pub const EXPIRED_PASSWORDS: Self = Self(1 << 22);
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// A result ends with an OK packet, and its columns with nothing.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// MySQL: the columns of a result may be left out.
    pub const OPTIONAL_RESULTSET_METADATA: Self = Self(1 << 25);
    pub const ZSTD: Self = Self(1 << 26);
    /// MySQL: a query carries attributes.
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);
    /// MySQL: a login may have more than one factor.
    pub const MULTI_FACTOR: Self = Self(1 << 28);
    /// Both kinds of compression: packets get another header.
    pub const COMPRESSION: Self = Self(Self::COMPRESS.0 | Self::ZSTD.0);

    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of these are there.
    pub const fn has(self, all: Self) -> bool {
        self.0 & all.0 == all.0
    }

    #[must_use]
    pub const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    #[must_use]
    pub const fn without(self, less: Self) -> Self {
        Self(self.0 & !less.0)
    }

    /// What both have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({:#010x})", self.0)
    }
}

/// MariaDB's further capabilities, bits 32 to 63 of its flags: in the last four bytes of a filler, where
/// [`Capabilities::MYSQL`] is clear.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Extended(u32);

impl Extended {
    /// Reports of progress (as ERR packets with errno 65535) may come before a response.
    pub const PROGRESS: Self = Self(1);
    /// Once `COM_MULTI`, taken out before a release.
    pub const RESERVED_1: Self = Self(1 << 1);
    /// `COM_STMT_BULK_EXECUTE`.
    pub const STMT_BULK: Self = Self(1 << 2);
    pub const EXTENDED_METADATA: Self = Self(1 << 3);
    /// The columns of a result may be left out when the client has them already.
    pub const CACHE_METADATA: Self = Self(1 << 4);
    /// A bulk command answers with a result of one row for each unit.
    pub const BULK_UNIT_RESULTS: Self = Self(1 << 5);

    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u32 {
        self.0
    }

    pub const fn has(self, all: Self) -> bool {
        self.0 & all.0 == all.0
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extended({:#04x})", self.0)
    }
}
