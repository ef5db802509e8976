//! The numbers of the errors that the gateway says or understands. Floor 0.
//!
//! Source: `messages_to_clients.txt` of MySQL, `errmsg-utf8.txt` of MariaDB.

/// `ER_CON_COUNT_ERROR`.
pub const TOO_MANY_CONNECTIONS: u16 = 1040;
/// `ER_HANDSHAKE_ERROR`.
pub const HANDSHAKE: u16 = 1043;
/// `ER_DBACCESS_DENIED_ERROR`.
pub const DATABASE_DENIED: u16 = 1044;
/// `ER_ACCESS_DENIED_ERROR`.
pub const ACCESS_DENIED: u16 = 1045;
/// `ER_SERVER_SHUTDOWN`: drivers connect anew.
pub const SERVER_SHUTDOWN: u16 = 1053;
/// `ER_UNKNOWN_ERROR`. The codes for a server that is away belong to clients.
pub const UNKNOWN: u16 = 1105;
/// `ER_HOST_IS_BLOCKED`.
pub const HOST_BLOCKED: u16 = 1129;
/// `ER_HOST_NOT_PRIVILEGED`, which MariaDB says of a PROXY header, too.
pub const HOST_NOT_PRIVILEGED: u16 = 1130;
/// `ER_NET_PACKETS_OUT_OF_ORDER`.
pub const PACKETS_OUT_OF_ORDER: u16 = 1156;
/// `ER_TOO_MANY_USER_CONNECTIONS`.
pub const TOO_MANY_USER_CONNECTIONS: u16 = 1203;
/// `ER_SPECIFIC_ACCESS_DENIED_ERROR`.
pub const RIGHT_MISSING: u16 = 1227;
/// `ER_WRONG_VALUE_FOR_VAR`.
pub const WRONG_VALUE: u16 = 1231;
/// `ER_NOT_SUPPORTED_AUTH_MODE`.
pub const AUTH_NOT_SUPPORTED: u16 = 1251;
/// `ER_SECURE_TRANSPORT_REQUIRED`.
pub const TLS_REQUIRED: u16 = 3159;
