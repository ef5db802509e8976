//! What both sides of a session have said so far, by message headers alone. Floor 2.
//!
//! The server answers `Query`, `FunctionCall` and `Sync` with one `ReadyForQuery` each, so those owed are counted. The
//! exceptions are what this file is about: a batch that ends in `Flush` has no end of its own; a server that takes copy data
//! ignores `Sync` and `Flush`, those too that were sent before it said so; a copy in both directions is no request at all.
//! (PostgreSQL 18 manual, *Message Flow*; `CopyGetData` in `copyfromparse.c`.)

use std::hash::RandomState;

use crate::{
    protocol::{Counts, Standing},
    wire::postgres::{
        ErrorForm, ErrorResponse, Frame, Frames, Message, Statements, TransactionStatus,
    },
};

/// Follows a session after its login.
#[derive(Debug)]
pub struct Conversation {
    client: Frames,
    server: Frames,
    state: State,
}

#[derive(Debug)]
struct State {
    status: TransactionStatus,
    /// `ReadyForQuery` messages that the server still has to send.
    owed: u32,
    /// Which of the next 32 of them are for a simple query or a function call: lowest bit first.
    simple: u32,
    /// Messages of the extended protocol have come since the last `Sync`.
    batch: bool,
    flush: Flush,
    copy: Copying,
    terminated: bool,
    /// The server's last word was an error: if it closes now, it has said why.
    explained: bool,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    None,
    Asked,
    Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copying {
    None,
    /// The server waits for the client's data, of which some may have come.
    In {
        begun: bool,
    },
    Both,
}

impl Conversation {
    /// `client` and `server` stand where the login left them, `status` is that of its `ReadyForQuery`.
    pub const fn new(client: Frames, server: Frames, status: TransactionStatus) -> Self {
        Self {
            client,
            server,
            state: State {
                status,
                owed: 0,
                simple: 0,
                batch: false,
                flush: Flush::None,
                copy: Copying::None,
                terminated: false,
                explained: false,
                counts: Counts {
                    flights: 0,
                    transactions: 0,
                },
            },
        }
    }

    #[inline]
    pub fn from_client(&mut self, bytes: &[u8]) {
        let Self { client, state, .. } = self;
        if let Copying::In { begun } = &mut state.copy {
            *begun = true;
        }
        client.advance(bytes, |frame| state.client_said(frame));
    }

    #[inline]
    pub fn from_server(&mut self, bytes: &[u8]) {
        let Self { server, state, .. } = self;
        server.advance(bytes, |frame| state.server_said(frame));
    }

    #[expect(clippy::match_same_arms, reason = "the order of the arms is the rule")]
    pub const fn standing(&self) -> Standing {
        let state = &self.state;
        let idle = Standing::Idle {
            in_transaction: !matches!(state.status, TransactionStatus::Idle),
        };
        if self.lost() {
            return idle;
        }
        match (state.copy, state.flush) {
            (Copying::Both | Copying::In { begun: false }, _) => idle,
            (Copying::In { begun: true }, _) => Standing::Asking,
            (Copying::None, _) if state.owed > 0 => Standing::Owing,
            (Copying::None, Flush::Asked) => Standing::Owing,
            (Copying::None, _) if !self.client.at_boundary() => Standing::Asking,
            (Copying::None, Flush::Answered) if self.server.at_boundary() => Standing::Undecided,
            (Copying::None, Flush::Answered) => Standing::Owing,
            (Copying::None, Flush::None) if state.batch => Standing::Asking,
            (Copying::None, Flush::None) => idle,
        }
    }

    pub fn statements(&self, key: &RandomState) -> Option<Statements> {
        let idle = matches!(self.standing(), Standing::Idle { .. });
        (idle && self.client.at_boundary()).then(|| Statements::new(key))
    }

    pub const fn take_counts(&mut self) -> Counts {
        let none = Counts {
            flights: 0,
            transactions: 0,
        };
        std::mem::replace(&mut self.state.counts, none)
    }

    pub const fn quiet(&self) -> bool {
        let state = &self.state;
        matches!(state.status, TransactionStatus::Idle)
            && matches!(state.copy, Copying::None)
            && matches!(state.flush, Flush::None)
            && state.owed == 0
            && !state.batch
            && !state.terminated
            && self.client.at_boundary()
            && self.server.at_boundary()
    }

    pub const fn may_speak_to_client(&self) -> bool {
        self.server.at_boundary()
    }

    pub fn server_is_gone(&self) -> Option<Vec<u8>> {
        let state = &self.state;
        let needless = state.terminated || state.explained || !self.may_speak_to_client();
        (!needless).then(|| GONE.encode(ErrorForm::Version3))
    }

    pub const fn leave(&self) -> Option<&'static [u8]> {
        if self.client.at_boundary() && !self.state.terminated {
            Some(Message::TERMINATE)
        } else {
            None
        }
    }

    pub const fn client_has_left(&self) -> bool {
        self.state.terminated
    }

    pub const fn lost(&self) -> bool {
        self.client.lost() || self.server.lost()
    }
}

impl State {
    #[inline]
    fn client_said(&mut self, frame: Frame) {
        match (frame.kind, self.copy) {
            // a batch before it that had no Sync is over with it
            (b'Q' | b'F', _) => {
                self.batch = false;
                self.flush = Flush::None;
                self.owe(true);
                self.counts.flights += 1;
            }
            (b'S', Copying::None | Copying::Both) => {
                let flushed = std::mem::replace(&mut self.flush, Flush::None);
                self.batch = false;
                self.owe(false);
                // right after an unanswered Flush it is the same wait
                if flushed != Flush::Asked {
                    self.counts.flights += 1;
                }
            }
            (b'H', Copying::None | Copying::Both) => {
                self.flush = Flush::Asked;
                self.counts.flights += 1;
            }
            (b'P' | b'B' | b'D' | b'E' | b'C', _) => {
                self.batch = true;
                self.flush = Flush::None;
            }
            (b'c' | b'f', Copying::In { .. }) => {
                self.copy = Copying::None;
                // in the extended protocol the answer's end is that of the Sync to come
                if self.owed > 0 {
                    self.counts.flights += 1;
                }
            }
            (b'X', _) => self.terminated = true,
            // copy data; what a server that takes it ignores; a late end of a copy that failed
            _ => {}
        }
    }

    #[inline]
    fn server_said(&mut self, frame: Frame) {
        if frame.kind == b'D' {
            return self.answered();
        }
        self.explained = frame.kind == b'E';
        match frame.kind {
            b'Z' => self.ready(frame.first.and_then(TransactionStatus::from_byte)),
            b'G' => self.wants_copy_data(),
            b'W' => self.copy = Copying::Both,
            b'E' => {
                self.copy = Copying::None;
                self.answered();
            }
            // notices, notifications and settings may come at any time and answer nothing
            b'N' | b'A' | b'S' => {}
            _ => self.answered(),
        }
    }

    #[inline]
    fn answered(&mut self) {
        if self.flush == Flush::Asked {
            self.flush = Flush::Answered;
        }
    }

    fn owe(&mut self, simple: bool) {
        if self.owed < u32::BITS {
            self.simple |= u32::from(simple) << self.owed;
        }
        self.owed = self.owed.saturating_add(1);
    }

    fn ready(&mut self, status: Option<TransactionStatus>) {
        self.pay();
        self.copy = Copying::None;
        self.status = status.unwrap_or(self.status);
        if self.status == TransactionStatus::Idle {
            self.counts.transactions += 1;
        }
    }

    fn pay(&mut self) {
        self.owed = self.owed.saturating_sub(1);
        self.simple >>= 1;
    }

    /// A `Sync` that already went out after the `Execute` of this copy is eaten by it, and another has to follow.
    fn wants_copy_data(&mut self) {
        if self.simple & 1 == 0 {
            self.batch = true;
            if self.owed > 0 {
                self.pay();
            }
        }
        self.flush = Flush::None;
        self.copy = Copying::In { begun: false };
    }
}

const GONE: ErrorResponse<'_> = ErrorResponse {
    sqlstate: "57P01",
    message: "the database has closed the connection without a word",
    detail: None,
    hint: None,
};

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
