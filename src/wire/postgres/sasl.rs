//! The messages of a SASL login, and the texts of SCRAM in them. Floor 0: read strictly and written, nothing is proved here.
//!
//! Sources: the PostgreSQL 18 manual, *SASL Authentication*; RFC 5802 (SCRAM) and RFC 7677 (with SHA-256). Of the texts only what
//! PostgreSQL speaks is taken: no authorization identity, no extension that must be understood.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{Garbled, MAX_ITERATIONS};

/// SCRAM with SHA-256 (RFC 7677).
pub const SCRAM: &str = "SCRAM-SHA-256";
/// The same, bound to the TLS connection beneath it.
pub const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The one way of binding that PostgreSQL knows (RFC 5929).
pub const END_POINT: &str = "tls-server-end-point";

/// The ways of login that a server offers (`AuthenticationSASL`), in its order. The payload of the `R` is given.
///
/// # Errors
/// A list that is not closed, has nothing in it, or goes on behind its end.
pub fn mechanisms(payload: &[u8]) -> Result<Vec<&str>, Garbled> {
    let list = payload.strip_prefix(&OFFER.to_be_bytes()).ok_or(Garbled)?;
    let list = list.strip_suffix(b"\0\0").ok_or(Garbled)?;
    if list.len() > MAX_TEXT {
        return Err(Garbled);
    }
    let names = list.split(|byte| *byte == 0);
    let names = names.map(|name| str::from_utf8(name).ok().filter(|name| is_printable(name)));
    names.collect::<Option<_>>().ok_or(Garbled)
}

/// A server's offer, as a whole message.
pub fn offer(mechanisms: &[&str]) -> Vec<u8> {
    let mut list = Vec::with_capacity(64);
    for name in mechanisms {
        list.extend_from_slice(name.as_bytes());
        list.push(0);
    }
    list.push(0);
    said(OFFER, &list)
}

/// The server's next word in a login (`AuthenticationSASLContinue`), as a whole message.
pub fn go_on(text: &str) -> Vec<u8> {
    said(CONTINUE, text.as_bytes())
}

/// The server's last (`AuthenticationSASLFinal`), as a whole message.
pub fn the_end(text: &str) -> Vec<u8> {
    said(FINAL, text.as_bytes())
}

/// The text of a server's next word.
///
/// # Errors
/// Another message, or one that is no short text.
pub fn continued(payload: &[u8]) -> Result<&str, Garbled> {
    text(
        payload
            .strip_prefix(&CONTINUE.to_be_bytes())
            .ok_or(Garbled)?,
    )
}

/// The text of a server's last.
///
/// # Errors
/// The same.
pub fn ended(payload: &[u8]) -> Result<&str, Garbled> {
    text(payload.strip_prefix(&FINAL.to_be_bytes()).ok_or(Garbled)?)
}

/// A client's choice and its first word (`SASLInitialResponse`), as a whole message.
pub fn choose(mechanism: &str, first: &str) -> Vec<u8> {
    let size = u32::try_from(first.len()).unwrap_or(u32::MAX);
    let payload = [
        mechanism.as_bytes(),
        b"\0",
        &size.to_be_bytes(),
        first.as_bytes(),
    ]
    .concat();
    message(b'p', &payload)
}

/// A client's later word (`SASLResponse`), as a whole message.
pub fn respond(text: &str) -> Vec<u8> {
    message(b'p', text.as_bytes())
}

/// Which mechanism a client has chosen, and its first word. The payload of the `p` is given.
///
/// # Errors
/// A length that is not that of what follows, or no first word: SCRAM's client speaks first.
pub fn chosen(payload: &[u8]) -> Result<(&str, &str), Garbled> {
    let end = payload.iter().position(|byte| *byte == 0).ok_or(Garbled)?;
    let (name, rest) = payload.split_at_checked(end).ok_or(Garbled)?;
    let (size, first) = rest
        .get(1..)
        .and_then(<[u8]>::split_first_chunk)
        .ok_or(Garbled)?;
    if u32::from_be_bytes(*size) as usize != first.len() {
        return Err(Garbled);
    }
    Ok((text(name)?, text(first)?))
}

/// The text of a client's later word.
///
/// # Errors
/// No short text.
pub fn responded(payload: &[u8]) -> Result<&str, Garbled> {
    text(payload)
}

/// What a client says of binding its login to the TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding<'a> {
    /// It cannot, or does not want to.
    No,
    /// It could, and has not been offered it.
    NotOffered,
    /// It does, in this way.
    By(&'a str),
}

/// `client-first-message`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    pub binding: Binding<'a>,
    /// What the proof will have to repeat: all before `bare`.
    pub header: &'a str,
    /// What the proof covers of this text.
    pub bare: &'a str,
    pub nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Whatever user it names is of no account: PostgreSQL goes by the startup packet's.
    ///
    /// # Errors
    /// Anything but what PostgreSQL would read.
    pub fn parse(text: &'a str) -> Result<Self, Garbled> {
        let mut parts = text.splitn(3, ',');
        let binding = match parts.next().ok_or(Garbled)? {
            "n" => Binding::No,
            "y" => Binding::NotOffered,
            flag => Binding::By(flag.strip_prefix("p=").ok_or(Garbled)?),
        };
        // somebody else's rights are asked for by nobody here
        if parts.next() != Some("") {
            return Err(Garbled);
        }
        let bare = parts.next().ok_or(Garbled)?;
        let mut attributes = bare.split(',');
        // in its place stands `m=` where an extension must be understood: none is
        attributes
            .next()
            .and_then(|name| name.strip_prefix("n="))
            .ok_or(Garbled)?;
        let nonce = nonce(attributes.next())?;
        let header = text.strip_suffix(bare).ok_or(Garbled)?;
        Ok(Self {
            binding,
            header,
            bare,
            nonce,
        })
    }
}

/// `server-first-message`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerFirst<'a> {
    /// The client's and the server's.
    pub nonce: &'a str,
    pub salt: Vec<u8>,
    pub iterations: u32,
}

impl<'a> ServerFirst<'a> {
    /// # Errors
    /// Anything but the three attributes, and more iterations than [`MAX_ITERATIONS`].
    pub fn parse(text: &'a str) -> Result<Self, Garbled> {
        let mut attributes = text.split(',');
        let nonce = nonce(attributes.next())?;
        let salt = encoded(attributes.next(), "s=")?;
        let iterations = attributes
            .next()
            .and_then(|part| part.strip_prefix("i="))
            .ok_or(Garbled)?;
        let digits = iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = iterations.parse().map_err(|_no_number| Garbled)?;
        let whole = digits && !salt.is_empty() && attributes.next().is_none();
        if !whole || !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(Garbled);
        }
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }

    pub fn encode(&self) -> String {
        let (nonce, salt) = (self.nonce, BASE64_STANDARD.encode(&self.salt));
        format!("r={nonce},s={salt},i={}", self.iterations)
    }
}

/// `client-final-message`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// The header of the first word, and behind it what the login is bound to.
    pub binding: Vec<u8>,
    pub nonce: &'a str,
    /// What the proof covers of this text.
    pub without_proof: &'a str,
    pub proof: [u8; 32],
}

impl<'a> ClientFinal<'a> {
    /// # Errors
    /// Anything but a binding, a nonce and, at the end, a proof.
    pub fn parse(text: &'a str) -> Result<Self, Garbled> {
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Garbled)?;
        let mut attributes = without_proof.split(',');
        let binding = encoded(attributes.next(), "c=")?;
        let nonce = nonce(attributes.next())?;
        Ok(Self {
            binding,
            nonce,
            without_proof,
            proof: proof_of(proof)?,
        })
    }

    /// The text without its proof, which covers it.
    pub fn unproved(binding: &[u8], nonce: &str) -> String {
        format!("c={},r={nonce}", BASE64_STANDARD.encode(binding))
    }

    /// The whole text.
    pub fn proved(unproved: &str, proof: &[u8; 32]) -> String {
        format!("{unproved},p={}", BASE64_STANDARD.encode(proof))
    }
}

/// `server-final-message` of a server that is content: its signature.
///
/// # Errors
/// An error of SCRAM's own, which PostgreSQL never sends, and anything else.
pub fn signature(text: &str) -> Result<[u8; 32], Garbled> {
    proof_of(text.strip_prefix("v=").ok_or(Garbled)?)
}

/// The text that holds it.
pub fn signed(signature: &[u8; 32]) -> String {
    format!("v={}", BASE64_STANDARD.encode(signature))
}

fn said(kind: u32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes()[..], data].concat())
}

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    // texts of ours: a few hundred bytes
    let size = u32::try_from(payload.len() + 4).unwrap_or(u32::MAX);
    [&[kind][..], &size.to_be_bytes(), payload].concat()
}

fn text(bytes: &[u8]) -> Result<&str, Garbled> {
    let text = str::from_utf8(bytes).map_err(|_not_utf8| Garbled)?;
    if text.len() > MAX_TEXT || text.contains('\0') {
        return Err(Garbled);
    }
    Ok(text)
}

fn nonce(attribute: Option<&str>) -> Result<&str, Garbled> {
    let nonce = attribute
        .and_then(|part| part.strip_prefix("r="))
        .ok_or(Garbled)?;
    let fits = is_printable(nonce) && nonce.len() <= MAX_NONCE;
    fits.then_some(nonce).ok_or(Garbled)
}

fn encoded(attribute: Option<&str>, name: &str) -> Result<Vec<u8>, Garbled> {
    let text = attribute
        .and_then(|part| part.strip_prefix(name))
        .ok_or(Garbled)?;
    BASE64_STANDARD.decode(text).map_err(|_not_base64| Garbled)
}

fn proof_of(text: &str) -> Result<[u8; 32], Garbled> {
    let proof = BASE64_STANDARD
        .decode(text)
        .map_err(|_not_base64| Garbled)?;
    proof.try_into().map_err(|_of_another_length| Garbled)
}

/// Something, without spaces (RFC 5802 says the same of a nonce, and no comma: that ends it).
fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Longest text of a login, in bytes: PostgreSQL's have a few hundred.
const MAX_TEXT: usize = 4096;
/// Longest nonce, in bytes: drivers have 24 or so, and the server adds as many. Longer ones overran a gateway (CVE-2026-6665).
const MAX_NONCE: usize = 1024;

const OFFER: u32 = 10;
const CONTINUE: u32 = 11;
const FINAL: u32 = 12;

#[cfg(test)]
#[path = "sasl_tests.rs"]
mod tests;
