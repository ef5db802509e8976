//! What the server says during a login, and how much of it may be handed on. Floor 2, pure.

use super::{
    exchange::{Exchange, Fault, Step},
    login::{LoginError, MAX_MESSAGE},
    pairing::{Offer, Proofs, Scram},
};
use crate::wire::postgres::{
    Frames, Garbled, Message, Sqlstate, StartupMessage, TransactionStatus, with_hint,
};

/// What decides on more than the messages themselves.
pub(super) struct Rules<'a> {
    pub(super) scram: Scram<'a>,
    /// Nobody can listen on either leg.
    pub(super) cleartext: bool,
    pub(super) startup: &'a StartupMessage,
}

/// What a stretch of the server's bytes comes to.
pub(super) struct Heard<'a> {
    /// How many of them may be handed on.
    pub(super) relayed: usize,
    /// What the client is sent behind those, in place of the next message.
    pub(super) instead: Vec<u8>,
    /// How many of them are done with.
    pub(super) done: usize,
    /// How the stretch ends, or the login.
    pub(super) end: Result<End<'a>, LoginError>,
}

pub(super) enum End<'a> {
    /// In the middle of a message, or behind the last.
    More,
    /// With a message in whose place the client gets another.
    Replaced,
    /// With an offer of SASL, its payload, in whose place we make our own.
    Ours(Vec<u8>, Proofs<'a>),
    /// The session begins, with the server's frames where they stand.
    Ready(TransactionStatus, Frames),
}

impl<'a> Heard<'a> {
    pub(super) fn new(exchange: &mut Exchange, said: &[u8], rules: &Rules<'a>) -> Self {
        let mut rest = said;
        let mut instead = None;
        let end = loop {
            let (message, after) = match Message::split(rest, MAX_MESSAGE) {
                Ok(Some(parts)) => parts,
                Ok(None) => break Ok(End::More),
                Err(Garbled) => break Err(LoginError::UpstreamMalformed),
            };
            match exchange.server_says(message) {
                Ok(Step::Relay) => {}
                Ok(Step::Offered) => match rules.scram.offer(message.payload, rules.cleartext) {
                    Ok(Offer::Same) => {}
                    Ok(Offer::Less(offer)) => {
                        instead = Some((offer, after));
                        break Ok(End::Replaced);
                    }
                    Ok(Offer::Ours(proofs)) => {
                        instead = Some((Vec::new(), after));
                        break Ok(End::Ours(message.payload.to_vec(), proofs));
                    }
                    Err(error) => break Err(error),
                },
                Ok(Step::Refused(sqlstate)) => {
                    let offered = exchange.offered();
                    let hint = rules.scram.hint().filter(|_| offered);
                    match hint.and_then(|hint| rules.hinted(message.payload, sqlstate, hint)) {
                        Some(error) => instead = Some((error, after)),
                        None => rest = after,
                    }
                    let discovery = exchange.discovers();
                    break Err(LoginError::Refused {
                        sqlstate,
                        discovery,
                    });
                }
                Ok(Step::Ready(status)) => {
                    rest = &[];
                    let (status, frames) = follow(status, after);
                    break Ok(End::Ready(status, frames));
                }
                Err(Fault::NoChallenge) => break Err(LoginError::NoChallenge),
                Err(Fault::Cleartext) => break Err(LoginError::Cleartext),
                Err(Fault::Garbled) => break Err(LoginError::UpstreamMalformed),
            }
            rest = after;
        };
        let relayed = said.len() - rest.len();
        let (instead, rest) = instead.unwrap_or((Vec::new(), rest));
        Self {
            relayed,
            instead,
            done: said.len() - rest.len(),
            end,
        }
    }
}

impl Rules<'_> {
    /// The server's no to a login by its binding, with what can be done about it.
    fn hinted(&self, payload: &[u8], sqlstate: Option<Sqlstate>, hint: &str) -> Option<Vec<u8>> {
        let invalid = sqlstate.is_some_and(|code| code.as_str() == INVALID_AUTHORIZATION);
        // Rails takes a text with the database's name in it for "no such database"
        let names = [self.startup.user(), self.startup.database()];
        let told = names.iter().any(|name| hint.contains(name));
        if told || !invalid {
            return None;
        }
        with_hint(payload, hint)
    }
}

/// Steps over what the server has already sent behind its `ReadyForQuery`.
fn follow(mut status: TransactionStatus, bytes: &[u8]) -> (TransactionStatus, Frames) {
    let mut frames = Frames::default();
    frames.advance(bytes, |frame| {
        if frame.kind == b'Z' {
            status = frame
                .first
                .and_then(TransactionStatus::from_byte)
                .unwrap_or(status);
        }
    });
    (status, frames)
}

/// `ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION`, a server's answer to a binding that is not its own.
const INVALID_AUTHORIZATION: &str = "28000";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Parsed, postgres::Opening};

    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    /// What a server says to a proof that is bound to another certificate than its own.
    const MISBOUND_LOGIN: &[u8] =
        b"E\0\0\0\x3dSFATAL\0C28000\0MSCRAM channel binding check failed\0Fauth\0\0";

    fn startup(user: &str) -> StartupMessage {
        let body = format!("\0\x03\0\0user\0{user}\0\0");
        let size = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        match Opening::parse(&[&size[..], body.as_bytes()].concat()) {
            Ok(Parsed::Done(Opening::Startup(startup), _)) => startup,
            other => panic!("{other:?}"),
        }
    }

    /// What a client hears when the server ends a login so.
    fn told(scram: Scram<'_>, user: &str, refusal: &[u8]) -> Vec<u8> {
        let mut exchange = Exchange::new(true, false);
        let rules = Rules {
            scram,
            cleartext: true,
            startup: &startup(user),
        };
        let said = [SASL, refusal].concat();
        let heard = Heard::new(&mut exchange, &said, &rules);
        assert!(matches!(heard.end, Err(LoginError::Refused { .. })));
        assert_eq!(heard.done, said.len());
        let relayed = &said[..heard.relayed];
        let told = [relayed, &heard.instead].concat();
        told.strip_prefix(SASL).unwrap().to_vec()
    }

    #[test]
    fn a_login_that_failed_by_its_binding_is_told_what_to_do() {
        let told = told(Scram::Misbound, "app", MISBOUND_LOGIN);
        let (message, rest) = Message::split(&told, 30_000).unwrap().unwrap();
        assert_eq!((message.kind, rest), (b'E', &b""[..]));
        let told = String::from_utf8(message.payload.to_vec()).unwrap();
        let own = "SFATAL\0C28000\0MSCRAM channel binding check failed\0Fauth\0H";
        assert!(told.starts_with(own) && told.ends_with("\0\0"), "{told}");
        assert!(told.contains("another certificate"), "{told}");
        assert!(told.contains("channel_binding=disable"), "{told}");
    }

    #[test]
    fn a_client_that_could_bind_and_came_in_clear_is_told_so() {
        let told = told(Scram::Strip, "app", MISBOUND_LOGIN);
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("is in clear"), "{told}");
        assert!(told.contains("channel_binding=disable"), "{told}");
    }

    #[test]
    fn any_other_refusal_is_the_server_s_own() {
        let own = b"E\0\0\0\x18SFATAL\0C28000\0Ha b\0\0";
        let wrong = b"E\0\0\0\x1aSFATAL\0C28P01\0Mwrong\0\0";
        let text = "x".repeat(29_900);
        let long = format!("SFATAL\0C28000\0M{text}\0\0");
        let size = u32::try_from(long.len() + 4).unwrap().to_be_bytes();
        let long = [b"E", &size[..], long.as_bytes()].concat();
        for (scram, user, refusal) in [
            (Scram::Relay, "app", MISBOUND_LOGIN),
            (Scram::Strip, "clear", MISBOUND_LOGIN),
            // a text of ours that holds a name is none
            (Scram::Misbound, "certificate", MISBOUND_LOGIN),
            (Scram::Misbound, "app", own),
            (Scram::Misbound, "app", wrong),
            (Scram::Misbound, "app", &long),
            (Scram::Misbound, "app", b"E\0\0\0\x0cMwrong\0\0"),
        ] {
            assert_eq!(told(scram, user, refusal), refusal, "{scram:?} {user}");
        }
    }
}
