//! The client's side of a login: the server is shown what the client has proved to us. Floor 2.

use super::keys::{ClientKey, Exchanged, fits};
use crate::wire::postgres::{
    Garbled, Verifier,
    sasl::{self, ClientFinal, END_POINT, SCRAM, SCRAM_PLUS, ServerFirst},
};

/// A login in which we are the client. Each step is handed the server's payload of an `R`, and gives the next whole message.
pub struct ClientSide<'a> {
    verifier: &'a Verifier,
    key: ClientKey,
}

/// A login whose first word the server has.
pub struct Introduced<'a> {
    verifier: &'a Verifier,
    key: ClientKey,
    binding: Vec<u8>,
    nonce: String,
}

/// A login whose proof the server has.
pub struct Proved<'a> {
    verifier: &'a Verifier,
    exchanged: Exchanged,
}

/// Why a login at the server cannot go on. `Display` is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    #[error("the server's part of the login makes no sense")]
    Garbled,
    #[error("the server does not offer SCRAM-SHA-256")]
    NoScram,
    /// The file is older than the password.
    #[error(
        "the server asks for another salt or other iterations than the verifier has: write the verifiers anew, by pg_dumpall --roles-only"
    )]
    Stale,
    #[error(
        "the server cannot prove that it knows the verifier: it is not the one that the verifiers are from"
    )]
    NotProved,
}

impl From<Garbled> for Distrust {
    fn from(Garbled: Garbled) -> Self {
        Self::Garbled
    }
}

impl<'a> ClientSide<'a> {
    pub const fn new(verifier: &'a Verifier, key: ClientKey) -> Self {
        Self { verifier, key }
    }

    /// Answers the server's offer. `end_point` is what its certificate gives us to bind the login to, and `nonce` is ours, fresh.
    ///
    /// # Errors
    /// The server wants another proof than we have.
    pub fn answer(
        self,
        offer: &[u8],
        end_point: Option<&[u8]>,
        nonce: &str,
    ) -> Result<(Introduced<'a>, Vec<u8>), Distrust> {
        let offered = sasl::mechanisms(offer)?;
        let (mechanism, header, bound) = match end_point {
            Some(end_point) if offered.contains(&SCRAM_PLUS) => {
                (SCRAM_PLUS, format!("p={END_POINT},,"), end_point)
            }
            _ if !offered.contains(&SCRAM) => return Err(Distrust::NoScram),
            // were the offer taken away between us, the server would notice by this word
            Some(_) => (SCRAM, "y,,".to_owned(), &[][..]),
            None => (SCRAM, "n,,".to_owned(), &[][..]),
        };
        let message = sasl::choose(mechanism, &format!("{header}{}", bare(nonce)));
        let introduced = Introduced {
            verifier: self.verifier,
            key: self.key,
            binding: [header.as_bytes(), bound].concat(),
            nonce: nonce.to_owned(),
        };
        Ok((introduced, message))
    }
}

impl<'a> Introduced<'a> {
    /// Answers the server's challenge with the proof.
    ///
    /// # Errors
    /// It is no challenge to our word, or one that the verifier cannot answer.
    pub fn prove(self, challenge: &[u8]) -> Result<(Proved<'a>, Vec<u8>), Distrust> {
        let text = sasl::continued(challenge)?;
        let asked = ServerFirst::parse(text)?;
        // the server has to have added something of its own
        if asked
            .nonce
            .strip_prefix(&*self.nonce)
            .is_none_or(str::is_empty)
        {
            return Err(Distrust::Garbled);
        }
        if !fits(self.verifier, &asked) {
            return Err(Distrust::Stale);
        }
        let unproved = ClientFinal::unproved(&self.binding, asked.nonce);
        let exchanged = Exchanged::new(&bare(&self.nonce), text, &unproved);
        let proof = exchanged.proof(&self.key);
        let message = sasl::respond(&ClientFinal::proved(&unproved, &proof));
        let proved = Proved {
            verifier: self.verifier,
            exchanged,
        };
        Ok((proved, message))
    }
}

impl Proved<'_> {
    /// Holds the server to its own proof.
    ///
    /// # Errors
    /// It does not know the verifier: its `AuthenticationOk` would be worth nothing.
    pub fn check(self, last: &[u8]) -> Result<(), Distrust> {
        let signature = sasl::signature(sasl::ended(last)?)?;
        let known = self.exchanged.is_signed(self.verifier, &signature);
        known.then_some(()).ok_or(Distrust::NotProved)
    }
}

/// The user is named in the startup packet, as libpq does it.
fn bare(nonce: &str) -> String {
    format!("n=,r={nonce}")
}
