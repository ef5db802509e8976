//! The dialogues: greet a client, read its opening, log it in at the database, say no. Floor 2.
//!
//! One module for each protocol. What differs between them ends here: a session sees streams, a claim, and the moments at
//! which it may speak.

mod last_words;
pub mod mysql;
pub mod postgres;
mod secure;
mod statements;

pub use secure::ClientTls;
pub use statements::Statements;

use std::hash::RandomState;

use crate::{
    net::Stream,
    policy::{Reason, Replication},
    wire::postgres::{self as wire, StartupMessage},
};

/// What a client has said of itself, in the listener's protocol: kept until it is passed on to the server, or refused.
#[derive(Debug)]
pub enum Opening {
    Postgres(StartupMessage),
    /// Boxed: it holds the connection to the server, which has greeted the client.
    Mysql(Box<mysql::Answered>),
}

/// Who a client says it is, in the policy's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: Box<str>,
    pub database: Option<Box<str>>,
    pub replication: Option<Replication>,
    /// The client's own words, for logs.
    pub application: Option<Box<str>>,
}

/// What a client is told that is put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub message: String,
    /// What it can do about it.
    pub hint: Option<&'static str>,
}

impl Opening {
    pub fn identity(&self) -> Identity {
        match self {
            Self::Postgres(startup) => postgres::identity(startup),
            Self::Mysql(answered) => mysql::identity(&answered.opening.response),
        }
    }

    /// Tells the client as its own server would, and closes in order. Nothing is said where the protocol has no word for the
    /// reason.
    pub async fn refuse(self, client: Stream, reason: Reason, words: &Words) {
        match self {
            Self::Postgres(startup) => {
                if let Some(sqlstate) = postgres::sqlstate(reason) {
                    let response = wire::ErrorResponse {
                        sqlstate,
                        message: &words.message,
                        detail: None,
                        hint: words.hint,
                    };
                    postgres::refuse(client, &response.encode(startup.error_form())).await;
                }
            }
            Self::Mysql(answered) => answered.refuse(client, reason, words).await,
        }
    }

    /// Nothing is to be said any more. What was begun at the server is ended in order.
    pub async fn dismiss(self) {
        match self {
            Self::Postgres(_) => {}
            Self::Mysql(answered) => answered.dismiss().await,
        }
    }
}

/// A session after its login, in the listener's protocol: the seam between the relay and what it relays.
#[derive(Debug)]
pub enum Conversation {
    Postgres(postgres::Conversation),
    /// Boxed: it is larger, and the sessions of the other protocol need not be.
    Mysql(Box<mysql::Conversation>),
    /// Compressed, and passed on unread.
    Unread,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The client's, and it has not begun. Also where nothing can be said: in a stream without requests, or a lost frame.
    Idle { in_transaction: bool },
    /// The client's, in the middle of a request.
    Asking,
    /// The server's, which owes an answer.
    Owing,
    /// The server has answered, and nothing says that it was all.
    Undecided,
}

/// Why bytes may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// They are the start of a message that cannot be judged before more of it has come.
    More,
    /// The server has to answer something first.
    Answers,
    /// The next command is one that the session has to decide on; everything before it is answered.
    Command,
    /// The server has answered a command that the session decided on, and the session has not taken note of it.
    Answered { ok: bool },
    /// One side did what the session may not do, and the session ends. Says what, for the client and the log.
    Breach(&'static str),
}

impl Conversation {
    /// Follows bytes that the client sent. Tells how many of them, from the first, may go to the server now; the rest is to be
    /// offered again once nothing [holds](Self::hold) it.
    #[inline]
    pub fn from_client(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Postgres(conversation) => {
                conversation.from_client(bytes);
                bytes.len()
            }
            Self::Mysql(conversation) => conversation.from_client(bytes),
            Self::Unread => bytes.len(),
        }
    }

    /// Follows bytes that the server sent. Tells how many of them, from the first, may go to the client: fewer than all only
    /// at a [`Hold::Breach`].
    #[inline]
    pub fn from_server(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Postgres(conversation) => {
                conversation.from_server(bytes);
                bytes.len()
            }
            Self::Mysql(conversation) => conversation.from_server(bytes),
            Self::Unread => bytes.len(),
        }
    }

    /// Why bytes of the client were held back, if they were.
    #[inline]
    pub const fn hold(&self) -> Option<Hold> {
        match self {
            Self::Postgres(_) | Self::Unread => None,
            Self::Mysql(conversation) => conversation.hold(),
        }
    }

    /// Whether the server may ask for a file of the client's from now on.
    pub const fn allow_local_infile(&mut self, allowed: bool) {
        match self {
            Self::Mysql(conversation) => conversation.allow_local_infile(allowed),
            Self::Postgres(_) | Self::Unread => {}
        }
    }

    /// What a session that is ended by us hears, as a whole message of its protocol. To be sent only where the server's messages
    /// [leave room for it](Self::may_speak_to_client).
    pub fn farewell(&self, message: &str) -> Vec<u8> {
        match self {
            Self::Postgres(_) => postgres::farewell(message),
            Self::Mysql(conversation) => conversation.farewell(&mysql::going(message)),
            Self::Unread => Vec::new(),
        }
    }

    pub fn standing(&self) -> Standing {
        match self {
            Self::Postgres(conversation) => conversation.standing(),
            Self::Mysql(conversation) => conversation.standing(),
            Self::Unread => Standing::Idle {
                in_transaction: false,
            },
        }
    }

    /// What follows the client's statements from here on, with fingerprints of this key. `None` in the middle of something, and
    /// where nothing can be followed.
    pub fn statements(&self, key: &RandomState) -> Option<Statements> {
        match self {
            Self::Postgres(conversation) => conversation.statements(key).map(Statements::Postgres),
            Self::Mysql(conversation) => conversation.statements(key).map(Statements::Mysql),
            Self::Unread => None,
        }
    }

    /// Requests completed, and transactions ended, since this was last asked.
    pub const fn take_counts(&mut self) -> Counts {
        match self {
            Self::Postgres(conversation) => conversation.take_counts(),
            Self::Mysql(conversation) => conversation.take_counts(),
            Self::Unread => Counts {
                flights: 0,
                transactions: 0,
            },
        }
    }

    /// Whether nothing is going on, inside no transaction: the moment at which a session can end without harm.
    pub const fn quiet(&self) -> bool {
        match self {
            Self::Postgres(conversation) => conversation.quiet(),
            Self::Mysql(conversation) => conversation.quiet(),
            Self::Unread => false,
        }
    }

    /// Whether a message of ours may be put between those of the server.
    pub const fn may_speak_to_client(&self) -> bool {
        match self {
            Self::Postgres(conversation) => conversation.may_speak_to_client(),
            Self::Mysql(conversation) => conversation.may_speak_to_client(),
            Self::Unread => false,
        }
    }

    /// What to tell a client whose server has closed without a word; `None` where it needs no telling.
    pub fn server_is_gone(&self) -> Option<Vec<u8>> {
        match self {
            Self::Postgres(conversation) => conversation.server_is_gone(),
            Self::Mysql(conversation) => conversation.server_is_gone(),
            Self::Unread => None,
        }
    }

    /// The message that takes leave of the server, where one of ours may be put between those of the client.
    pub const fn leave(&self) -> Option<&'static [u8]> {
        match self {
            Self::Postgres(conversation) => conversation.leave(),
            Self::Mysql(conversation) => conversation.leave(),
            Self::Unread => None,
        }
    }

    /// Whether the client has taken leave.
    pub const fn client_has_left(&self) -> bool {
        match self {
            Self::Postgres(conversation) => conversation.client_has_left(),
            Self::Mysql(conversation) => conversation.client_has_left(),
            Self::Unread => false,
        }
    }

    /// Whether the server sends on without being asked, so that a client that is gone has no answer to come.
    pub const fn streams(&self) -> bool {
        match self {
            Self::Mysql(conversation) => conversation.streams(),
            Self::Postgres(_) | Self::Unread => false,
        }
    }

    /// Whether the bytes stopped making sense as messages: nothing is followed any more.
    pub const fn lost(&self) -> bool {
        match self {
            Self::Postgres(conversation) => conversation.lost(),
            Self::Mysql(conversation) => conversation.lost(),
            Self::Unread => false,
        }
    }
}

/// What went by, see [`Conversation::take_counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub flights: u32,
    pub transactions: u32,
}
