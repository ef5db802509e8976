//! Which statements a client runs, in the listener's protocol. Floor 2.

use crate::wire::{Statement, mysql, postgres};

/// Follows both sides of a session from a moment at which nothing was outstanding.
#[derive(Debug)]
pub enum Statements {
    Postgres(postgres::Statements),
    Mysql(mysql::Statements),
}

impl Statements {
    /// Nothing is outstanding, and the client begins anew.
    pub fn turn(&mut self) {
        match self {
            Self::Postgres(_) => {}
            Self::Mysql(statements) => statements.turn(),
        }
    }

    /// Calls `on` for each statement that the client runs in `bytes`.
    pub fn from_client(&mut self, bytes: &[u8], on: impl FnMut(Statement)) {
        match self {
            Self::Postgres(statements) => statements.advance(bytes, on),
            Self::Mysql(statements) => statements.advance(bytes, on),
        }
    }

    pub fn from_server(&mut self, bytes: &[u8]) {
        match self {
            Self::Postgres(_) => {}
            Self::Mysql(statements) => statements.hear(bytes),
        }
    }
}
