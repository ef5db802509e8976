//! What a PostgreSQL server keeps of a password: enough to check a proof of it, not enough to make one. Floor 0.
//!
//! `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, as `pg_authid.rolpassword` has it (manual, `pg_authid`;
//! RFC 5803 with other separators). Whoever has it and sees one login can log in: it is a secret.

use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroize;

/// A SCRAM verifier. Not `Debug`, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// 1 to [`MAX_ITERATIONS`].
    pub iterations: u32,
    /// 1 to [`MAX_SALT`] bytes.
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

/// What a text is that is no verifier. `Display` says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAVerifier {
    #[error("an md5 hash")]
    Md5,
    /// Also what merely looks like nothing else.
    #[error("a password in clear")]
    Plain,
    #[error("a SCRAM verifier that is cut off or garbled")]
    Garbled,
    #[error("a SCRAM verifier of no or more than {MAX_ITERATIONS} iterations")]
    Iterations,
}

impl Verifier {
    /// Reads a password's text as the server does: what is neither a verifier nor an MD5 hash is a password.
    pub fn parse(text: &str) -> Result<Self, NotAVerifier> {
        let Some(parts) = text.strip_prefix("SCRAM-SHA-256$") else {
            return Err(match text.strip_prefix("md5") {
                Some(hash) if is_md5(hash) => NotAVerifier::Md5,
                Some(_) | None => NotAVerifier::Plain,
            });
        };
        let (work, keys) = parts.split_once('$').ok_or(NotAVerifier::Garbled)?;
        let (iterations, salt) = work.split_once(':').ok_or(NotAVerifier::Garbled)?;
        let (stored, server) = keys.split_once(':').ok_or(NotAVerifier::Garbled)?;
        let mut verifier = Self {
            iterations: number(iterations)?,
            salt: decode(salt, MAX_SALT)?,
            stored_key: [0; 32],
            server_key: [0; 32],
        };
        for (key, text) in [
            (&mut verifier.stored_key, stored),
            (&mut verifier.server_key, server),
        ] {
            let mut decoded = decode(text, key.len())?;
            let fits = <[u8; 32]>::try_from(decoded.as_slice());
            decoded.zeroize();
            *key = fits.map_err(|_too_short| NotAVerifier::Garbled)?;
        }
        if !(1..=MAX_ITERATIONS).contains(&verifier.iterations) {
            return Err(NotAVerifier::Iterations);
        }
        Ok(verifier)
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.salt.zeroize();
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

fn is_md5(hash: &str) -> bool {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    hash.len() == 32 && hash.bytes().all(digits)
}

/// Written in one way only: no sign, no leading zero.
fn number(text: &str) -> Result<u32, NotAVerifier> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.starts_with('0') && text != "0") {
        return Err(NotAVerifier::Garbled);
    }
    text.parse().map_err(|_too_large| NotAVerifier::Iterations)
}

/// Padded base64 of one byte at least.
fn decode(text: &str, max: usize) -> Result<Vec<u8>, NotAVerifier> {
    if text.is_empty() || text.len() > max.div_ceil(3) * 4 {
        return Err(NotAVerifier::Garbled);
    }
    let decoded = BASE64_STANDARD.decode(text);
    let decoded = decoded.map_err(|_other| NotAVerifier::Garbled)?;
    if decoded.len() > max {
        return Err(NotAVerifier::Garbled);
    }
    Ok(decoded)
}

/// More would let whoever writes the number have our processor, or a client's, for as long as he likes (CVE-2026-42198).
/// A server's default is 4096.
pub const MAX_ITERATIONS: u32 = 100_000;
/// Of a salt, in bytes. A server's own have 16.
pub const MAX_SALT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "SCRAM-SHA-256$4096:EBESExQVFhcYGRobHB0eHw==$\
        AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    fn fault(text: &str) -> NotAVerifier {
        Verifier::parse(text)
            .err()
            .unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_verifier_is_read_as_the_server_keeps_it() {
        let verifier = Verifier::parse(GOOD).ok().unwrap();
        assert_eq!(verifier.iterations, 4096);
        assert_eq!(verifier.salt, (0x10..0x20).collect::<Vec<u8>>());
        assert!((1..=32).eq(verifier.stored_key));
        assert!((0x20..0x40).eq(verifier.server_key));
    }

    #[test]
    fn any_part_that_is_cut_off_or_otherwise_written_is_refused() {
        for end in "SCRAM-SHA-256$".len()..GOOD.len() {
            assert_eq!(fault(GOOD.split_at(end).0), NotAVerifier::Garbled, "{end}");
        }
        for (part, other) in [
            ("4096", ""),
            ("4096", "+4096"),
            ("4096", " 4096"),
            ("4096", "04096"),
            ("4096:", "4096::"),
            ("EBESExQVFhcYGRobHB0eHw==", ""),
            ("EBESExQVFhcYGRobHB0eHw==", "EBESExQVFhcYGRobHB0eHw"),
            ("EBESExQVFhcYGRobHB0eHw==", "EBESExQVFhcYGRobHB0eHx=="),
            ("EBESExQVFhcYGRobHB0eHw==", "EBESExQVFhcYGRob HB0eHw=="),
            ("HyA=", "HyAh"),
            ("HyA=", "HyA=\n"),
            ("=:I", "=$I"),
        ] {
            let text = GOOD.replacen(part, other, 1);
            assert_eq!(fault(&text), NotAVerifier::Garbled, "{text}");
        }
        let salt = "A".repeat(176);
        let long = GOOD.replacen("EBESExQVFhcYGRobHB0eHw==", &salt, 1);
        assert_eq!(fault(&long), NotAVerifier::Garbled);
    }

    // CVE-2026-42198: as many iterations as somebody likes
    #[test]
    fn iterations_have_a_limit() {
        for number in [
            "0",
            "100001",
            "2147483647",
            "4294967296",
            "99999999999999999999",
        ] {
            let text = GOOD.replacen("4096", number, 1);
            assert_eq!(fault(&text), NotAVerifier::Iterations, "{number}");
        }
        for number in ["1", "100000"] {
            assert!(Verifier::parse(&GOOD.replacen("4096", number, 1)).is_ok());
        }
    }

    #[test]
    fn what_is_no_verifier_is_told_apart() {
        assert_eq!(
            fault("md5d6a35858d61d85e4a82ab1fb044aba9d"),
            NotAVerifier::Md5
        );
        for text in [
            "",
            "secret",
            "md5",
            "md5D6a35858d61d85e4a82ab1fb044aba9d",
            "scram-sha-256$4096",
        ] {
            assert_eq!(fault(text), NotAVerifier::Plain, "{text}");
        }
        assert_eq!(fault("SCRAM-SHA-256$secret"), NotAVerifier::Garbled);
    }
}
