//! Who may say what during a login, and what becomes of it where the two legs differ. Floor 2, pure: it is told of packets.
//!
//! Where the legs hide a password differently, what the client sends is not what the server reads; then the password is put from
//! one form into the other here, and is wiped at once.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    leg::Payload,
    legs::{Legs, Mediation, Plugin, Way},
    rsa::{self, KeyPair, Nonce, SealError},
};
use crate::wire::mysql::{AuthPacket, Capabilities, Garbled, Status, code, nonce_of};

/// What a client has sent along with its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    /// The plugin it means.
    pub(super) plugin: &'a str,
    pub(super) auth: &'a [u8],
    /// The nonce it has answered to, where that is known.
    pub(super) nonce: Option<Nonce>,
}

/// The login of one session as far as it has come.
#[derive(Debug)]
pub(super) struct Exchange {
    challenge_required: bool,
    agreed: Capabilities,
    legs: Legs,
    plugin: Plugin,
    /// Of the latest switch: `COM_CHANGE_USER` brings a new one.
    nonce: Option<Nonce>,
    /// The client's first answer, kept for the server's question.
    held: Option<EarlyAnswer>,
    turn: Turn,
    password: Password,
    /// Whether the client has proved anything to the plugin that decides.
    proven: bool,
    questions: u16,
    answers: u32,
}

struct EarlyAnswer {
    plugin: String,
    auth: Payload,
    nonce: Nonce,
}

/// Whose word is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Server,
    /// The server has asked; it may also go on by itself.
    Client,
    Over,
}

/// How far a password has come on its way, where one travels.
enum Password {
    /// Nobody has asked for it, or none is used.
    Unasked,
    /// `caching_sha2_password` wants it.
    Asked,
    /// The client has asked for an RSA key: what follows is encrypted.
    Sealed,
    /// We have it, and have asked for the server's RSA key.
    InHand(Payload),
}

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on to the other side as it is.
    Pass,
    /// This goes to the server in its place.
    ToServer(Payload),
    /// This goes to the client in its place.
    ToClient(Payload),
    /// The last packet of the login: the server is content.
    LoggedIn { status: Status },
    /// The last packet of the login: the server's no.
    Refused { errno: u16 },
}

/// What must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NoChallenge,
    Cleartext,
    OldPassword,
    Key(SealError),
    Garbled,
}

impl Exchange {
    /// A login. `nonce` is the server's own, where it is known.
    pub(super) fn new(
        challenge_required: bool,
        agreed: Capabilities,
        legs: Legs,
        nonce: Option<Nonce>,
    ) -> Self {
        Self {
            challenge_required,
            agreed,
            legs,
            plugin: Plugin::Other,
            nonce,
            held: None,
            turn: Turn::Server,
            password: Password::Unasked,
            proven: false,
            questions: 0,
            answers: 0,
        }
    }

    /// Whether the server has to be made to ask, because the answer that the client has sent ahead is no use to it or must not
    /// reach it: then the packet goes without it, under a plugin that no account has. To be asked once, before anything else.
    ///
    /// - It answers a nonce of ours and not the server's.
    /// - It holds a password, or a request for a key, meant for another kind of leg.
    /// - The server sits behind a unix socket, by which it may know the gateway's own user and ask no more: a login without a
    ///   question is one without proof.
    pub(super) fn must_ask(&mut self, offer: Offer<'_>) -> bool {
        self.plugin = Plugin::of(offer.plugin);
        let answers_other = offer.nonce != self.nonce;
        let unfit = !offer.auth.is_empty()
            && match self.plugin {
                Plugin::Sha256 => self.mediation() != Mediation::None,
                Plugin::Cleartext => !self.legs.private(),
                // its first answer is a hash on every leg; what follows needs a nonce
                Plugin::CachingSha2 => self.nonce.is_none() && self.mediation() != Mediation::None,
                Plugin::Other => false,
            };
        let must = answers_other || unfit || self.legs.upstream == Way::Unix;
        if !must {
            self.proven = proves(offer.auth);
        } else if let (false, false, Some(nonce)) = (answers_other, unfit, offer.nonce)
            && proves(offer.auth)
        {
            self.held = Some(EarlyAnswer {
                plugin: offer.plugin.to_owned(),
                auth: Zeroizing::new(offer.auth.to_vec()),
                nonce,
            });
        }
        must
    }

    /// Whether the client's word is awaited.
    pub(super) fn awaits_answer(&self) -> bool {
        self.turn == Turn::Client
    }

    /// Whether the client's next word may need our own key.
    pub(super) fn wants_key(&self) -> bool {
        self.mediation() == Mediation::Open && self.awaits_password()
    }

    /// How many answers the client has given beside the one it sent ahead.
    pub(super) const fn answers(&self) -> u32 {
        self.answers
    }

    /// Takes a packet of the server.
    pub(super) fn server_says(&mut self, payload: &[u8]) -> Result<Step, Fault> {
        self.questions += 1;
        if self.questions > MAX_QUESTIONS || self.turn == Turn::Over {
            return Err(Fault::Garbled);
        }
        match AuthPacket::parse(payload, self.agreed)? {
            AuthPacket::Ok(_) if self.challenge_required && !self.proven => Err(Fault::NoChallenge),
            AuthPacket::Ok(status) => {
                self.turn = Turn::Over;
                Ok(Step::LoggedIn { status })
            }
            AuthPacket::Err { errno, .. } => {
                self.turn = Turn::Over;
                Ok(Step::Refused { errno })
            }
            AuthPacket::Switch { plugin, data } => {
                self.proven = false;
                self.switched(plugin, data)
            }
            // the factor before it holds
            AuthPacket::NextFactor { plugin, data } => self.switched(plugin, data),
            AuthPacket::MoreData(data) => self.more(data),
            AuthPacket::Raw(_) => Ok(self.ask()),
        }
    }

    fn switched(&mut self, plugin: &str, data: &[u8]) -> Result<Step, Fault> {
        self.plugin = Plugin::of(plugin);
        self.password = Password::Unasked;
        if self.plugin == Plugin::Cleartext && !self.legs.private() {
            return Err(Fault::Cleartext);
        }
        // other plugins have nonces of other lengths
        self.nonce = nonce_of(data);
        if let Some(held) = self.held.take()
            && held.plugin == plugin
            && Some(held.nonce) == self.nonce
        {
            // the very question that the client has answered
            self.turn = Turn::Server;
            self.proven = true;
            return Ok(Step::ToServer(held.auth));
        }
        Ok(self.ask())
    }

    fn more(&mut self, data: &[u8]) -> Result<Step, Fault> {
        if let Password::InHand(password) = &self.password {
            let nonce = self.nonce.as_ref().ok_or(Fault::Garbled)?;
            let sealed = rsa::seal(data, password, nonce).map_err(Fault::Key)?;
            self.password = Password::Unasked;
            return Ok(Step::ToServer(sealed.into()));
        }
        match (self.plugin, data) {
            (Plugin::CachingSha2, [code::CACHING_SHA2_FAST_OK]) => {
                self.turn = Turn::Server;
                Ok(Step::Pass)
            }
            (Plugin::CachingSha2, [code::CACHING_SHA2_FULL]) => {
                self.password = Password::Asked;
                Ok(self.ask())
            }
            (Plugin::CachingSha2 | Plugin::Sha256 | Plugin::Cleartext | Plugin::Other, _) => {
                Ok(self.ask())
            }
        }
    }

    /// A question goes on to the client.
    fn ask(&mut self) -> Step {
        self.turn = Turn::Client;
        Step::Pass
    }

    /// Takes the client's answer. `key` is ours, where [`Exchange::wants_key`] has asked for it.
    pub(super) fn client_says(&mut self, payload: &[u8], key: Option<&KeyPair>) -> Step {
        let is_password = self.awaits_password();
        self.answers += 1;
        self.turn = Turn::Server;
        match self.mediation() {
            Mediation::Seal if is_password => self.seal(payload),
            Mediation::Open if is_password => self.open(payload, key),
            Mediation::None | Mediation::Seal | Mediation::Open => self.pass(payload),
        }
    }

    /// Whether the client's word is a password, or belongs to the sending of one.
    fn awaits_password(&self) -> bool {
        self.turn == Turn::Client
            && match self.plugin {
                Plugin::CachingSha2 => !matches!(self.password, Password::Unasked),
                Plugin::Sha256 => true,
                Plugin::Cleartext | Plugin::Other => false,
            }
    }

    fn seal(&mut self, payload: &[u8]) -> Step {
        if payload == self.plugin.key_request() {
            // a client that encrypts though it need not: with the server's own key
            self.password = Password::Sealed;
            return self.pass(payload);
        }
        if matches!(self.password, Password::Sealed) || !proves(payload) {
            return self.pass(payload);
        }
        self.password = Password::InHand(terminated(payload));
        self.proven = true;
        Step::ToServer(self.plugin.key_request().to_vec().into())
    }

    fn open(&mut self, payload: &[u8], key: Option<&KeyPair>) -> Step {
        let Some(key) = key else {
            return self.pass(payload);
        };
        if payload == self.plugin.key_request() {
            self.password = Password::Sealed;
            self.turn = Turn::Client;
            return Step::ToClient([&[MORE_DATA], key.pem()].concat().into());
        }
        let opened = self
            .nonce
            .as_ref()
            .and_then(|nonce| key.open(payload, nonce));
        match opened {
            Some(password) => {
                self.proven |= proves(&password);
                Step::ToServer(password)
            }
            // no password at all, or a wrong one: the server says so
            None => self.pass(payload),
        }
    }

    const fn mediation(&self) -> Mediation {
        self.legs.mediation(self.plugin)
    }

    fn pass(&mut self, payload: &[u8]) -> Step {
        self.proven |= proves(payload);
        Step::Pass
    }
}

/// Whether an answer can hold a proof: less than two bytes are an empty password or a request.
const fn proves(answer: &[u8]) -> bool {
    answer.len() > 1
}

/// A password with its final zero byte.
fn terminated(password: &[u8]) -> Payload {
    let end = if password.last() == Some(&0) {
        &[][..]
    } else {
        &[0]
    };
    [password, end].concat().into()
}

impl From<Garbled> for Fault {
    fn from(garbled: Garbled) -> Self {
        match garbled {
            Garbled::OldPassword => Self::OldPassword,
            Garbled::Short | Garbled::Plugin => Self::Garbled,
        }
    }
}

impl fmt::Debug for EarlyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyAnswer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unasked => "Unasked",
            Self::Asked => "Asked",
            Self::Sealed => "Sealed",
            Self::InHand(_) => "InHand",
        })
    }
}

/// The first byte of `AuthMoreData`.
const MORE_DATA: u8 = 1;
/// The most packets that a server sends in one login; PAM asks a few questions.
const MAX_QUESTIONS: u16 = 64;
