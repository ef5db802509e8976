//! The server's side of a login: the client has to prove that it knows the password. Floor 2.

use super::keys::{ClientKey, Exchanged};
use crate::wire::postgres::{
    Garbled, Verifier,
    sasl::{self, Binding, ClientFinal, ClientFirst, END_POINT, SCRAM, SCRAM_PLUS, ServerFirst},
};

/// A login in which we are the server. Each step is handed the client's payload of a `p`, and gives the next whole message.
pub struct ServerSide<'a> {
    verifier: &'a Verifier,
    /// What the login can be bound to: the certificate that the client has seen.
    end_point: Option<&'a [u8]>,
}

/// A login whose challenge the client has been given.
pub struct Challenged<'a> {
    verifier: &'a Verifier,
    /// What the proof has to repeat.
    binding: Vec<u8>,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

/// Why a client is not believed. `Display` is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    #[error("the client's part of the login makes no sense")]
    Garbled,
    #[error("the client has chosen a way of login that it was not offered")]
    NotOffered,
    /// Somebody between us has taken the offer away (CVE-2025-49146, CVE-2026-54291).
    #[error(
        "the client was not told that the login can be bound to its TLS connection, though it was"
    )]
    Downgraded,
    #[error("the client binds the login to another TLS connection than this one")]
    OtherConnection,
    #[error("the proof of the password is wrong")]
    WrongProof,
}

impl From<Garbled> for Doubt {
    fn from(Garbled: Garbled) -> Self {
        Self::Garbled
    }
}

impl<'a> ServerSide<'a> {
    /// `end_point` is what our own certificate gives a client behind TLS to bind its login to.
    pub const fn new(verifier: &'a Verifier, end_point: Option<&'a [u8]>) -> Self {
        Self {
            verifier,
            end_point,
        }
    }

    /// Our offer, the best first.
    pub fn offer(&self) -> Vec<u8> {
        match self.end_point {
            Some(_) => sasl::offer(&[SCRAM_PLUS, SCRAM]),
            None => sasl::offer(&[SCRAM]),
        }
    }

    /// Answers the client's first word with the challenge. `nonce` is ours, fresh.
    ///
    /// # Errors
    /// The client cannot be believed, whatever its password.
    pub fn challenge(self, first: &[u8], nonce: &str) -> Result<(Challenged<'a>, Vec<u8>), Doubt> {
        let (mechanism, first) = sasl::chosen(first)?;
        let plus = match (mechanism, self.end_point) {
            (SCRAM, _) => false,
            (SCRAM_PLUS, Some(_)) => true,
            _ => return Err(Doubt::NotOffered),
        };
        let first = ClientFirst::parse(first)?;
        let bound: &[u8] = match (first.binding, plus, self.end_point) {
            (Binding::No, false, _) | (Binding::NotOffered, false, None) => &[],
            (Binding::NotOffered, false, Some(_)) => return Err(Doubt::Downgraded),
            (Binding::By(END_POINT), true, Some(end_point)) => end_point,
            // the choice and the first word contradict each other, or it wants another way
            _ => return Err(Doubt::Garbled),
        };
        let nonce = format!("{}{nonce}", first.nonce);
        let server_first = ServerFirst {
            nonce: &nonce,
            salt: self.verifier.salt.clone(),
            iterations: self.verifier.iterations,
        };
        let server_first = server_first.encode();
        let message = sasl::go_on(&server_first);
        let challenged = Challenged {
            verifier: self.verifier,
            binding: [first.header.as_bytes(), bound].concat(),
            nonce,
            client_first_bare: first.bare.to_owned(),
            server_first,
        };
        Ok((challenged, message))
    }
}

impl Challenged<'_> {
    /// Judges the proof. Gives what proves the same to the server, and our own proof, which the client waits for.
    ///
    /// # Errors
    /// The client is not believed.
    pub fn judge(self, proof: &[u8]) -> Result<(ClientKey, Vec<u8>), Doubt> {
        let text = ClientFinal::parse(sasl::responded(proof)?)?;
        if text.nonce != self.nonce {
            return Err(Doubt::Garbled);
        }
        if text.binding != self.binding {
            return Err(Doubt::OtherConnection);
        }
        let exchanged = Exchanged::new(
            &self.client_first_bare,
            &self.server_first,
            text.without_proof,
        );
        let key = exchanged
            .client_key(self.verifier, &text.proof)
            .ok_or(Doubt::WrongProof)?;
        let signature = exchanged.signature(self.verifier);
        Ok((key, sasl::the_end(&sasl::signed(&signature))))
    }
}
