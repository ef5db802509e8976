//! What both sides of a session have said so far, by the starts of packets alone. Floor 2.
//!
//! Which of the client's packets are commands is a matter of security, so it follows from the structure of each answer and is
//! never guessed; sequence ids tell nothing here. A packet that has no place in the answer that is due ends the session.
//! (MySQL internals, *Command Phase*; the servers' `sql_parse.cc`.)

use std::hash::RandomState;

use super::{
    answer::{Dialect, Heard, Misplaced, Place},
    command::{Answer, Command, Guard, Stream},
    facts::{Facts, Rights},
    owed::Owed,
    places::{Agreed, HoldCause, Saying},
};
use crate::{
    protocol::{Counts, Hold, Standing},
    wire::mysql::{Capabilities, ErrForm, ErrPacket, Packets, Start, Statements, Status},
};

/// Follows a session after its login.
#[derive(Debug)]
pub struct Conversation {
    client: Packets<CLIENT_START>,
    server: Packets<SERVER_START>,
    dialect: Dialect,
    rights: Rights,
    /// Queries begin with their attributes.
    attributes: bool,
    state: State,
}

#[derive(Debug)]
struct State {
    status: Status,
    /// No error has come since the status was told: a statement that fails may leave a transaction open, and does not say so.
    sure: bool,
    owed: Owed,
    /// Where the server is in the first answer that it owes.
    place: Place,
    saying: Saying,
    held: HoldCause,
    terminated: bool,
    /// The server's last word was an error: if it closes now, it has said why.
    explained: bool,
    breach: Option<&'static str>,
    agreed: Agreed,
    counts: Counts,
}

impl Conversation {
    /// Both sides stand right after the login.
    pub const fn new(facts: Facts, rights: Rights) -> Self {
        Self {
            client: Packets::new(),
            server: Packets::new(),
            dialect: Dialect::new(facts.capabilities, facts.extended, facts.mariadb),
            rights,
            attributes: facts.capabilities.has(Capabilities::QUERY_ATTRIBUTES),
            state: State::after_login(facts.status),
        }
    }

    /// From now on other rights hold.
    pub const fn set_rights(&mut self, rights: Rights) {
        self.rights = rights;
    }

    pub const fn allow_local_infile(&mut self, allowed: bool) {
        self.rights.local_infile = allowed;
    }

    /// The session has logged in anew, by a `COM_CHANGE_USER` that was held and that it has dealt with.
    pub fn changed_user(&mut self, status: Status) {
        let counts = self.state.counts;
        self.state = State::after_login(status);
        self.state.counts = counts;
    }

    /// The session has decided that the command before which it [stands](Hold::Command) passes when it is offered again. Not for
    /// `COM_CHANGE_USER`, whose dialogue is the session's own. Of the server's answer the session [hears](Hold::Answered) before
    /// anything else passes.
    pub const fn let_pass(&mut self) {
        self.state.held = HoldCause::Agreed;
        self.state.agreed = Agreed::Passes;
    }

    /// The session has taken note of the answer.
    pub const fn noted(&mut self) {
        self.state.agreed = Agreed::Nothing;
    }

    /// The session has dealt with that command itself, and the server does not hear of it.
    pub const fn dealt_with(&mut self) {
        self.state.held = HoldCause::No;
    }

    /// Tells how many of the bytes may go to the server; why not all of them, [`hold`](Self::hold) tells.
    #[inline]
    pub fn from_client(&mut self, bytes: &[u8]) -> usize {
        if self.state.held != HoldCause::Agreed {
            self.state.held = HoldCause::No;
        }
        let mut rest = bytes;
        while self.state.breach.is_none() && !self.state.has_news() {
            self.client.finish(&mut rest);
            if !self.client.at_boundary() {
                break;
            }
            self.state.client_said();
            if rest.is_empty() {
                break;
            }
            let Some(start) = Packets::<CLIENT_START>::peek(rest) else {
                self.state.held = HoldCause::Cut;
                break;
            };
            if !self.admits(start.head().first().copied()) {
                break;
            }
            self.client.begin(&mut rest);
        }
        bytes.len() - rest.len()
    }

    /// Tells how many of the bytes may go to the client: fewer than all only at a [`Hold::Breach`].
    #[inline]
    pub fn from_server(&mut self, bytes: &[u8]) -> usize {
        if self.state.breach.is_some() {
            return 0;
        }
        let Self { server, state, .. } = self;
        let mut rest = bytes;
        loop {
            server.finish(&mut rest);
            if let Some(mark) = state.place.dull_below() {
                server.skip_below(mark, &mut rest);
            }
            let (stood, left) = (server.stand(), rest.len());
            let Some(packet) = server.begin(&mut rest) else {
                return bytes.len();
            };
            if let Err(breach) = state.server_said(self.dialect, self.rights, &packet) {
                state.breach = Some(breach);
                server.go_back(stood);
                return bytes.len() - left;
            }
        }
    }

    /// Why bytes were held back.
    #[inline]
    pub const fn hold(&self) -> Option<Hold> {
        let state = &self.state;
        if let Some(breach) = state.breach {
            return Some(Hold::Breach(breach));
        }
        if let Agreed::Answered { ok } = state.agreed {
            return Some(Hold::Answered { ok });
        }
        let waits = match state.held {
            HoldCause::No | HoldCause::Agreed => false,
            HoldCause::Cut => return Some(Hold::More),
            HoldCause::Crowd => state.owed.is_crowded(),
            HoldCause::Stream => matches!(state.owed.last(), Some(Answer::Stream(_))),
            HoldCause::Guarded if state.owed.is_nothing() && self.server.at_boundary() => {
                return Some(Hold::Command);
            }
            HoldCause::Guarded => true,
        };
        if waits { Some(Hold::Answers) } else { None }
    }

    pub fn standing(&self) -> Standing {
        let state = &self.state;
        let idle = Standing::Idle {
            in_transaction: state.status.has(Status::IN_TRANSACTION),
        };
        let unsaid = u16::from(state.saying == Saying::Command);
        let whole = state.owed.count().saturating_sub(unsaid);
        match (state.place, state.saying) {
            (Place::File, Saying::File { .. }) => Standing::Asking,
            (Place::File | Place::Stream { .. }, _) => idle,
            _ if whole > 0 || !self.server.at_boundary() => Standing::Owing,
            (_, Saying::LongDataSaid) => Standing::Asking,
            _ if state.held != HoldCause::No || !self.client.at_boundary() => Standing::Asking,
            _ => idle,
        }
    }

    pub fn statements(&self, key: &RandomState) -> Option<Statements> {
        let state = &self.state;
        let idle = matches!((state.saying, state.held), (Saying::Nothing, HoldCause::No));
        let whole = state.owed.is_nothing() && self.client.at_boundary();
        (idle && whole).then(|| Statements::new(self.attributes, key))
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
        state.owed.is_nothing()
            && state.sure
            && !state.status.has(Status::IN_TRANSACTION)
            && matches!((state.saying, state.held), (Saying::Nothing, HoldCause::No))
            && !state.terminated
            && state.breach.is_none()
            && self.client.at_boundary()
            && self.server.at_boundary()
    }

    pub const fn may_speak_to_client(&self) -> bool {
        self.server.at_boundary()
    }

    /// An ERR packet of ours, for where the server's packets stand.
    pub fn farewell(&self, error: &ErrPacket<'_>) -> Vec<u8> {
        let last = if self.state.place == Place::File {
            self.client.sequence()
        } else if self.state.owed.has_begun() {
            self.server.sequence()
        } else {
            // as after a command that has not been answered: clients take no other from an idle server
            0
        };
        error.encode(ErrForm::Normal, last.wrapping_add(1))
    }

    /// An idle session needs no words: `wait_timeout` ends it by a bare close, which drivers know for what it is, and would
    /// take our error for the answer to their next command.
    pub fn server_is_gone(&self) -> Option<Vec<u8>> {
        let state = &self.state;
        let idle = state.owed.is_nothing();
        let needless = idle || state.terminated || state.explained || !self.may_speak_to_client();
        (!needless).then(|| self.farewell(&GONE))
    }

    pub const fn leave(&self) -> Option<&'static [u8]> {
        let state = &self.state;
        let command = !matches!(state.place, Place::File | Place::Stream { .. });
        if command && self.client.at_boundary() && !state.terminated {
            Some(QUIT)
        } else {
            None
        }
    }

    pub const fn client_has_left(&self) -> bool {
        self.state.terminated
    }

    /// Whether the server sends on without being asked, and does not stop by itself.
    pub const fn streams(&self) -> bool {
        matches!(self.state.place, Place::Stream { .. })
    }

    /// Never: any four bytes are a header, and what has no place is a breach.
    pub const fn lost(&self) -> bool {
        false
    }

    /// Whether the packet with this first byte may pass now.
    #[inline]
    fn admits(&mut self, first: Option<u8>) -> bool {
        let Self { state, rights, .. } = self;
        let command = Command::of(first);
        if state.place == Place::File {
            state.saying = Saying::File {
                last: first.is_none(),
            };
            return true;
        }
        if let Some(Answer::Stream(stream)) = state.owed.last()
            && (stream == Stream::Clone || command != Command::QUIT)
        {
            return state.says_in(stream, first);
        }
        if command == Command::QUIT {
            state.terminated = true;
            return state.says_aside(Saying::Aside);
        }
        let guarded = match command.guard() {
            Guard::User if !state.owed.is_nothing() => {
                state.breach = Some("another user is asked for while a command is not answered");
                return false;
            }
            Guard::User => {
                state.held = HoldCause::Guarded;
                return false;
            }
            Guard::Database => rights.init_db,
            Guard::Replication => rights.replication,
            Guard::Nobody => false,
        };
        let agreed = state.held == HoldCause::Agreed;
        state.held = HoldCause::No;
        if (guarded || rights.kill_only) && !agreed {
            state.held = HoldCause::Guarded;
            return false;
        }
        match command.answer() {
            None if command == Command::SEND_LONG_DATA => state.says_aside(Saying::LongData),
            None => state.says_aside(Saying::Aside),
            Some(answer) => state.asks(answer),
        }
    }
}

impl State {
    const fn after_login(status: Status) -> Self {
        Self {
            status,
            sure: true,
            owed: Owed::NOTHING,
            place: Place::First,
            saying: Saying::Nothing,
            held: HoldCause::No,
            terminated: false,
            explained: false,
            breach: None,
            agreed: Agreed::Nothing,
            counts: Counts {
                flights: 0,
                transactions: 0,
            },
        }
    }

    #[inline]
    fn asks(&mut self, answer: Answer) -> bool {
        if self.owed.is_full() {
            self.held = HoldCause::Crowd;
            return false;
        }
        if self.owed.is_nothing() {
            self.place = Place::beginning(answer);
        }
        self.owed.push(answer);
        if self.agreed == Agreed::Passes {
            self.agreed = Agreed::Asked;
        }
        self.saying = Saying::Command;
        self.explained = false;
        true
    }

    const fn says_aside(&mut self, what: Saying) -> bool {
        self.saying = what;
        self.owed.goes_on();
        true
    }

    fn says_in(&mut self, stream: Stream, first: Option<u8>) -> bool {
        match self.place {
            Place::Stream { leaving: false } if stream.has(first) => {}
            // the server listens to nothing else, and would take it for a command when the stream has ended
            Place::Stream { leaving: false } => {
                self.breach = Some("the client says something that has no place in a stream");
                return false;
            }
            Place::First
            | Place::Definitions { .. }
            | Place::Defined { .. }
            | Place::Rows { .. }
            | Place::File
            | Place::Stream { leaving: true } => {
                self.held = HoldCause::Stream;
                return false;
            }
        }
        if stream.ends_with(first) {
            self.place = Place::Stream { leaving: true };
        }
        self.saying = Saying::Aside;
        true
    }

    /// A packet of the client has gone by completely, if it was in one.
    #[inline]
    fn client_said(&mut self) {
        self.saying = match self.saying {
            Saying::Command => {
                self.counts.flights += 1;
                Saying::Nothing
            }
            Saying::File { last: true } => {
                self.counts.flights += 1;
                self.place = Place::First;
                Saying::Nothing
            }
            Saying::LongData => Saying::LongDataSaid,
            Saying::Aside => Saying::Nothing,
            same @ (Saying::Nothing | Saying::LongDataSaid | Saying::File { .. }) => same,
        };
    }

    #[inline]
    fn server_said(
        &mut self,
        dialect: Dialect,
        rights: Rights,
        packet: &Start<SERVER_START>,
    ) -> Result<(), &'static str> {
        if packet.head().first() == Some(&0xFF) {
            if dialect.is_progress(packet.head()) {
                self.owed.begin();
            } else {
                self.failed();
            }
            return Ok(());
        }
        let Some(answer) = self.owed.first() else {
            return Err("the database answers what nobody asked");
        };
        self.owed.begin();
        match self.place.hear(answer, dialect, packet) {
            Ok(Heard::Part) if self.place != Place::File => Ok(()),
            Ok(Heard::Part) if !rights.local_infile => {
                Err("the database asks for a file of the client's, which no rule allows")
            }
            Ok(Heard::Part) if !self.owed.is_one_alone() || self.saying != Saying::Nothing => {
                Err("the database asks for a file where the client has gone on to something else")
            }
            Ok(Heard::Part) => Ok(()),
            Ok(Heard::Last(status)) => {
                self.answered(answer, status);
                Ok(())
            }
            Err(Misplaced) => Err("the database answers in a form that the command has not"),
        }
    }

    fn answered(&mut self, answer: Answer, status: Option<Status>) {
        if let Some(status) = status {
            let before = self.status.has(Status::IN_TRANSACTION) || answer.is_to_sql();
            if before && !status.has(Status::IN_TRANSACTION) {
                self.counts.transactions += 1;
            }
            self.status = status;
            self.sure = true;
        }
        self.pay();
        self.agreed_is(true);
    }

    fn failed(&mut self) {
        self.explained = true;
        if self.place == Place::File {
            // both servers take a file to its end before they complain of it
            self.breach = Some("the database takes no more of a file");
        }
        if self.owed.first().is_some_and(Answer::is_to_sql) {
            self.sure = false;
        }
        self.pay();
        self.agreed_is(false);
    }

    /// The first answer that was owed has come. Commands are agreed to when nothing is owed, so it is theirs.
    const fn agreed_is(&mut self, ok: bool) {
        if matches!(self.agreed, Agreed::Asked) {
            self.agreed = Agreed::Answered { ok };
        }
    }

    /// Whether the session has to hear of an answer first.
    const fn has_news(&self) -> bool {
        matches!(self.agreed, Agreed::Answered { .. })
    }

    fn pay(&mut self) {
        self.place = self.owed.pay().map_or(Place::First, Place::beginning);
    }
}

const GONE: ErrPacket<'_> = ErrPacket {
    errno: 1053,
    sqlstate: "08S01",
    message: "the database has closed the connection without a word",
};

/// `COM_QUIT`.
const QUIT: &[u8] = b"\x01\0\0\0\x01";

/// A header and the command.
const CLIENT_START: usize = 5;
/// A header, and what an OK may have before the end of its status flags.
const SERVER_START: usize = 4 + 21;

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
