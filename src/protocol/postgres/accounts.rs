//! Whom the gateway can believe in the server's place, and what everybody else is shown. Floor 2.

use std::{borrow::Cow, fmt};

use super::scram::Secret;
use crate::{config::Verifiers, wire::postgres::Verifier};

/// The verifiers of a listener, and what makes up those of users who have none.
pub struct Accounts {
    verifiers: Verifiers,
    secret: Secret,
}

impl Accounts {
    pub const fn new(verifiers: Verifiers, secret: Secret) -> Self {
        Self { verifiers, secret }
    }

    /// How many roles there are.
    pub fn count(&self) -> usize {
        self.verifiers.count()
    }

    /// What a proof of this user is checked with. Of one who is unknown it is made up, the same each time, so that nobody learns
    /// who has an account (CVE-2015-6817 is a gateway that let the unknown in).
    pub(super) fn of(&self, user: &str) -> Cow<'_, Verifier> {
        match self.verifiers.find(user) {
            Some(verifier) => Cow::Borrowed(verifier),
            None => Cow::Owned(self.secret.verifier(user, self.verifiers.usual())),
        }
    }
}

#[cfg(test)]
impl Accounts {
    /// `app`, whose password is `secret`.
    pub(super) fn samples() -> Self {
        let verifier = postgres_protocol::password::scram_sha_256(b"secret");
        let text = format!("\"app\" \"{verifier}\"");
        let verifiers = Verifiers::parse(std::path::Path::new("/roles"), &text).unwrap();
        Self::new(verifiers, Secret::new([7; Secret::SIZE]))
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verifiers.fmt(f)
    }
}
