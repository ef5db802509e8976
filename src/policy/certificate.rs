//! A client certificate, as far as a decision may look at it. Floor 0: it reads no X.509, `net` does.

use std::time::SystemTime;

/// A client certificate whose key its holder has proved to have. Whether to believe what is written in it is its
/// [`Validity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The DNS names among its alternative names, in lower case.
    pub dns: Vec<String>,
    /// The URIs among its alternative names, as they are written.
    pub uri: Vec<String>,
    /// The common name of its subject: the old way, which no CA checks.
    pub cn: Option<String>,
    /// SHA-256 of the certificate (DER).
    pub sha256: [u8; 32],
    /// SHA-256 of the public key (DER of `SubjectPublicKeyInfo`) of each CA above it, the nearest first. Empty unless it
    /// leads to a CA of ours.
    pub issuers: Vec<[u8; 32]>,
    /// When it is valid no longer: the first end among it and the certificates above it.
    pub ends: SystemTime,
    pub validity: Validity,
    /// What the client has shown (DER), its own certificate first: kept, to be verified again when the CAs change.
    pub chain: Vec<Vec<u8>>,
}

/// What our CAs and their revocation lists say of a certificate. One that is not valid proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Valid,
    /// No CA of ours has made it for a client, or it cannot be told whether it is revoked.
    Untrusted,
    /// It is valid no longer, or not yet.
    Expired,
    Revoked,
}

impl Validity {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Certificate {
    /// What it is called in a line: its first name, or the beginning of its hash.
    pub fn name(&self) -> String {
        let names = self.dns.iter().chain(&self.uri).chain(&self.cn);
        let first = names.map(String::as_str).next();
        first.map_or_else(|| self.fingerprint(), str::to_owned)
    }

    /// The beginning of its hash.
    fn fingerprint(&self) -> String {
        let beginning = self.sha256.first_chunk().copied().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(beginning))
    }

    /// What it is worth at this moment: what was valid when it was verified may have ended since.
    pub fn validity_at(&self, now: SystemTime) -> Validity {
        if self.validity == Validity::Valid && self.ends <= now {
            Validity::Expired
        } else {
            self.validity
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_that_was_valid_ends_by_itself_and_no_other_becomes_valid() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut certificate = Certificate {
            dns: vec!["shop.example.com".to_owned()],
            uri: Vec::new(),
            cn: None,
            sha256: [1; 32],
            issuers: vec![[2; 32]],
            ends: now,
            validity: Validity::Valid,
            chain: Vec::new(),
        };
        assert_eq!(
            certificate.validity_at(now - Duration::from_secs(1)),
            Validity::Valid
        );
        assert_eq!(certificate.validity_at(now), Validity::Expired);
        certificate.validity = Validity::Revoked;
        assert_eq!(certificate.validity_at(now), Validity::Revoked);
    }
}
