//! Who may say what during a login, from the startup packet to the first `ReadyForQuery`. Floor 2, pure: it is told of messages.

use crate::wire::postgres::{
    Authentication, CancelKey, Garbled, Message, Sqlstate, TransactionStatus, bearer,
};

/// The login of one session as far as it has come.
#[derive(Debug)]
pub struct Exchange {
    challenge_required: bool,
    cleartext_allowed: bool,
    version_negotiated: bool,
    sasl: Sasl,
    turn: Turn,
    answers: u32,
    cancel_key: Option<CancelKey>,
}

/// Whose word is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Server,
    /// The server has asked; it may also go on by itself (GSSAPI's last token wants no answer).
    Client,
    /// The client is in, the server is telling it about the session.
    Authenticated,
}

/// How far SASL has come, of which one is offered once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sasl {
    NotOffered,
    Offered,
    /// The client has shown no token, and asked where it gets one.
    Discovers,
    /// We have checked the proof, and the server ours: only its yes can follow.
    Proved,
}

/// What to do with a message of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand it on.
    Relay,
    /// It offers ways of SASL: whoever hears of which is to be decided.
    Offered,
    /// Hand it on: it was the server's no.
    Refused(Option<Sqlstate>),
    /// Hand it on: the session begins.
    Ready(TransactionStatus),
}

/// Why a message of the server must not reach the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client was let in without having answered a challenge.
    NoChallenge,
    /// A password is asked for in clear, and a leg is open to listeners.
    Cleartext,
    Garbled,
}

impl Exchange {
    /// `challenge_required` is the authentication floor; `cleartext_allowed` says that nobody can listen on either leg.
    pub const fn new(challenge_required: bool, cleartext_allowed: bool) -> Self {
        Self {
            challenge_required,
            cleartext_allowed,
            version_negotiated: false,
            sasl: Sasl::NotOffered,
            turn: Turn::Server,
            answers: 0,
            cancel_key: None,
        }
    }

    /// Whether the client may speak now. What it sends at any other time is left unread.
    pub const fn awaits_answer(&self) -> bool {
        matches!(self.turn, Turn::Client)
    }

    /// The client has answered with a `p` of this payload.
    pub fn answered(&mut self, payload: &[u8]) {
        if self.sasl == Sasl::Offered && self.answers == 0 && bearer::is_discovery(payload) {
            self.sasl = Sasl::Discovers;
        }
        self.turn = Turn::Server;
        self.answers = self.answers.saturating_add(1);
    }

    /// The client has proved its password to us, and we have to the server.
    pub const fn proved(&mut self) {
        self.turn = Turn::Server;
        self.answers = self.answers.saturating_add(PROOF);
        self.sasl = Sasl::Proved;
    }

    /// Whether the server has offered ways of SASL.
    pub const fn offered(&self) -> bool {
        !matches!(self.sasl, Sasl::NotOffered)
    }

    /// How many times the client has answered.
    pub const fn answers(&self) -> u32 {
        self.answers
    }

    /// Whether the client only asks where it gets a token: it has not tried to log in, so a no is no failure of it.
    pub const fn discovers(&self) -> bool {
        matches!(self.sasl, Sasl::Discovers)
    }

    /// The key that cancels the session's queries, when the server gave one.
    pub fn into_cancel_key(self) -> Option<CancelKey> {
        self.cancel_key
    }

    /// Judges the next message of the server.
    ///
    /// # Errors
    /// The message must not be handed on, and the login is over.
    pub fn server_says(&mut self, message: Message<'_>) -> Result<Step, Fault> {
        match (message.kind, self.turn == Turn::Authenticated) {
            (b'R', false) => self.authentication(message.payload),
            (b'E', _) => Ok(Step::Refused(Sqlstate::of_error(message.payload))),
            (b'N', _) | (b'S', true) => Ok(Step::Relay),
            (b'v', false) if !self.version_negotiated => {
                self.version_negotiated = true;
                Ok(Step::Relay)
            }
            (b'K', true) if self.cancel_key.is_none() => {
                self.cancel_key = Some(CancelKey::parse(message.payload).ok_or(Fault::Garbled)?);
                Ok(Step::Relay)
            }
            (b'Z', true) => match *message.payload {
                [status] => TransactionStatus::from_byte(status)
                    .map(Step::Ready)
                    .ok_or(Fault::Garbled),
                _ => Err(Fault::Garbled),
            },
            _ => Err(Fault::Garbled),
        }
    }

    fn authentication(&mut self, payload: &[u8]) -> Result<Step, Fault> {
        match Authentication::parse(payload).map_err(|Garbled| Fault::Garbled)? {
            Authentication::Ok if self.challenge_required && self.answers == 0 => {
                return Err(Fault::NoChallenge);
            }
            Authentication::Ok => self.turn = Turn::Authenticated,
            _ if self.sasl == Sasl::Proved => return Err(Fault::Garbled),
            Authentication::Sasl if self.offered() => return Err(Fault::Garbled),
            Authentication::Sasl => {
                self.sasl = Sasl::Offered;
                self.turn = Turn::Client;
                return Ok(Step::Offered);
            }
            Authentication::Cleartext if !self.cleartext_allowed => return Err(Fault::Cleartext),
            Authentication::Cleartext | Authentication::Challenge => self.turn = Turn::Client,
            Authentication::Final => self.turn = Turn::Server,
        }
        Ok(Step::Relay)
    }
}

/// Answers of a client in SCRAM: its first word, and the proof.
const PROOF: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_proof_only_the_servers_yes_can_follow() {
        let says = |payload: &[u8]| {
            let mut exchange = Exchange::new(true, true);
            let offer = Message {
                kind: b'R',
                payload: b"\0\0\0\x0aSCRAM-SHA-256\0\0",
            };
            assert_eq!(exchange.server_says(offer), Ok(Step::Offered));
            exchange.proved();
            let kind = b'R';
            exchange.server_says(Message { kind, payload })
        };
        assert_eq!(says(b"\0\0\0\0"), Ok(Step::Relay));
        for again in [
            &b"\0\0\0\x03"[..],
            b"\0\0\0\x05salt",
            b"\0\0\0\x0aSCRAM-SHA-256\0\0",
            b"\0\0\0\x0br=x",
            b"\0\0\0\x0cv=x",
        ] {
            let faulty = Err(Fault::Garbled);
            assert_eq!(says(again), faulty, "{}", again.escape_ascii());
        }
    }
}
