//! The keys of SCRAM, and what is computed with them. Floor 2.

use std::fmt;

use aws_lc_rs::{
    constant_time,
    digest::{SHA256, digest},
    error::Unspecified,
    hmac, rand,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use crate::{
    config::Usual,
    wire::postgres::{Verifier, sasl::ServerFirst},
};

/// What proves to a server that its holder knows the password. As good as the password: for one login, and then forgotten.
#[derive(Clone)]
pub struct ClientKey(Zeroizing<[u8; 32]>);

/// What makes up verifiers of users who have none, always the same for the same user. Kept by the gateway.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; Self::SIZE]>);

impl Secret {
    /// In bytes.
    pub const SIZE: usize = 32;

    pub fn new(bytes: [u8; Self::SIZE]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// # Errors
    /// The machine has no randomness.
    pub fn random() -> Result<Self, Unspecified> {
        let mut bytes = Zeroizing::new([0; Self::SIZE]);
        rand::fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// A verifier that looks like any other and that nobody can satisfy: its keys come from no password.
    pub fn verifier(&self, user: &str, usual: Usual) -> Verifier {
        let part = |what: &[u8]| hmac(&*self.0, &[what, user.as_bytes()]);
        Verifier {
            iterations: usual.iterations,
            salt: part(b"salt:")
                .iter()
                .copied()
                .cycle()
                .take(usual.salt)
                .collect(),
            stored_key: part(b"stored:"),
            server_key: part(b"server:"),
        }
    }
}

/// A nonce of ours: 18 random bytes, in 24 characters.
///
/// # Errors
/// The machine has no randomness.
pub fn nonce() -> Result<String, Unspecified> {
    let mut bytes = [0; 18];
    rand::fill(&mut bytes)?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// What both proofs of a login cover: its three texts.
pub(super) struct Exchanged(Vec<u8>);

impl Exchanged {
    pub(super) fn new(client_first_bare: &str, server_first: &str, client_final: &str) -> Self {
        Self(
            [client_first_bare, server_first, client_final]
                .join(",")
                .into_bytes(),
        )
    }

    /// The key that made this proof, if it is that of the verifier.
    pub(super) fn client_key(&self, verifier: &Verifier, proof: &[u8; 32]) -> Option<ClientKey> {
        let mut key = Zeroizing::new(hmac(&verifier.stored_key, &[&self.0]));
        xor(&mut key, proof);
        let stored = sha256(&*key);
        let same = constant_time::verify_slices_are_equal(&stored, &verifier.stored_key);
        same.ok().map(|()| ClientKey(key))
    }

    pub(super) fn proof(&self, key: &ClientKey) -> [u8; 32] {
        let mut proof = hmac(&sha256(&*key.0), &[&self.0]);
        xor(&mut proof, &key.0);
        proof
    }

    pub(super) fn signature(&self, verifier: &Verifier) -> [u8; 32] {
        hmac(&verifier.server_key, &[&self.0])
    }

    pub(super) fn is_signed(&self, verifier: &Verifier, signature: &[u8; 32]) -> bool {
        let ours = self.signature(verifier);
        constant_time::verify_slices_are_equal(&ours, signature).is_ok()
    }
}

/// Whether a server asks for the rounds and the salt that this verifier was made with.
pub(super) fn fits(verifier: &Verifier, asked: &ServerFirst<'_>) -> bool {
    verifier.iterations == asked.iterations && verifier.salt == asked.salt
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    array(digest(&SHA256, bytes).as_ref())
}

/// The 32 bytes of a SHA-256.
fn array(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(bytes);
    array
}

fn xor(key: &mut [u8; 32], with: &[u8; 32]) {
    for (byte, other) in key.iter_mut().zip(with) {
        *byte ^= other;
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").finish_non_exhaustive()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}
