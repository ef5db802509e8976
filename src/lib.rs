//! doorward: the doorkeeper of a self-managed database.
//!
//! A TCP gateway in front of PostgreSQL, MySQL or MariaDB. It reads the opening of each connection, decides by an allowlist of
//! *origins* who may come in, terminates TLS, hands the session to the database, and tells for every origin where its time goes.
//!
//! The modules are floors; a module uses only those below it (`tests/it/floors.rs` holds it to that).
//!
//! | floor | module | subject |
//! |---|---|---|
//! | 5 | [`cli`] | the commands, one file each |
//! | 4 | [`server`] | accept loop, limits, tasks, shutdown, reload, admin HTTP and socket, systemd |
//! | 3 | [`session`] | the life of one connection: stages, refusal, relay, revocation |
//! | 2 | [`protocol`] | the dialogues: greet, read the opening, log in upstream, follow a session, say no |
//! | 1 | [`net`], [`config`], [`meter`] | sockets and TLS; settings and rules from YAML; metrics and clocks |
//! | 0 | [`policy`], [`wire`] | decisions; bytes to messages and back: pure |

pub mod cli;
pub mod config;
pub mod meter;
pub mod net;
pub mod policy;
pub mod protocol;
pub mod server;
pub mod session;
pub mod wire;
