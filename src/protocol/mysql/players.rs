//! A client and a server that log in as the real ones do, each by what it believes of its own leg. For tests. Floor 2.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use zeroize::Zeroizing;

use super::{
    leg::{Leg, Payload},
    legs::Way,
    rsa::{KeyPair, Nonce, OwnKey, seal},
};
use crate::wire::mysql::{
    AuthPacket, Capabilities, ChangeUser, ClientOpening, FirstPacket, Flavor, Greeting, Offer,
    plugin,
};

pub(super) const PASSWORD: &str = "geheim";
pub(super) const UNIX_SOCKET: &str = "";
pub(super) const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
pub(super) const DENIED: &[u8] = b"\xff\x15\x04#28000Access denied for user 'app'@'gate'";
const ALL: Capabilities = Capabilities::from_bits(0xdfff_ffff);
const LIMIT: usize = 1 << 20;

/// Keys take their time: one for all servers, one for all gateways.
pub(super) static SERVER_KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().unwrap());
pub(super) static OWN_KEY: LazyLock<OwnKey> = LazyLock::new(OwnKey::default);

/// One account of a server, and how the server is reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) way: Way,
    pub(super) flavor: Flavor,
    pub(super) nonce: Nonce,
    /// The account's.
    pub(super) plugin: &'static str,
    pub(super) password: &'static str,
    /// `caching_sha2_password` knows the hash already.
    pub(super) warm: bool,
}

/// What a server has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) let_in: bool,
    pub(super) packets: Vec<Vec<u8>>,
}

impl Seen {
    pub(super) fn has(&self, needle: &str) -> bool {
        let needle = needle.as_bytes();
        let has = |packet: &Vec<u8>| packet.windows(needle.len()).any(|part| part == needle);
        self.packets.iter().any(has)
    }
}

impl Server {
    pub(super) fn greeting(&self) -> Vec<u8> {
        greeting(self.nonce, self.flavor)
    }

    /// From the greeting to the last word.
    pub(super) async fn play(&self, stream: &mut DuplexStream) -> Seen {
        let mut leg = Leg::new(stream, 0);
        let mut seen = Seen::default();
        leg.send(&self.greeting()).await.unwrap();
        if self.way == Way::Tls {
            // the request for TLS
            leg.skip();
        }
        let response = hear(&mut leg, &mut seen).await;
        let (begun, auth) = match ClientOpening::parse(&response, offer(self.flavor)).unwrap() {
            ClientOpening::Response(response) => (
                response.plugin().to_owned(),
                response.auth_response().to_vec(),
            ),
            ClientOpening::SslRequest(_) => panic!("TLS twice"),
        };
        self.judge(&mut leg, &mut seen, (begun, auth), self.nonce)
            .await;
        seen
    }

    /// A change of user: Oracle's server asks with another nonce, MariaDB's keeps its own.
    pub(super) async fn play_change(&self, stream: &mut DuplexStream, fresh: Nonce) -> Seen {
        let mut leg = Leg::new(stream, 0);
        let mut seen = Seen::default();
        let command = hear(&mut leg, &mut seen).await;
        let command = ChangeUser::parse(&command, ALL, offer(self.flavor).names).unwrap();
        let begun = match self.flavor {
            Flavor::MySql => "another".to_owned(),
            Flavor::MariaDb => command.plugin().to_owned(),
        };
        let auth = command.auth_response().to_vec();
        self.judge(&mut leg, &mut seen, (begun, auth), fresh).await;
        seen
    }

    async fn judge<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        leg: &mut Leg<S>,
        seen: &mut Seen,
        (begun, auth): (String, Vec<u8>),
        nonce: Nonce,
    ) {
        let mut answer = auth;
        if begun != self.plugin && self.plugin != UNIX_SOCKET {
            let data = match self.plugin {
                plugin::DIALOG => b"\x04Password: ".to_vec(),
                plugin::ED25519 => [7; 32].to_vec(),
                plugin::PARSEC => [8; 32].to_vec(),
                _ => [&nonce[..], &[0]].concat(),
            };
            leg.send(&[&[0xfe], self.plugin.as_bytes(), &[0], &data].concat())
                .await
                .unwrap();
            answer = hear(leg, seen).await;
        }
        seen.let_in = self.believes(leg, seen, answer, nonce).await;
        let verdict = if seen.let_in { OK } else { DENIED };
        // nobody may be there to hear it
        let _heard = leg.send(verdict).await;
    }

    async fn believes<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        leg: &mut Leg<S>,
        seen: &mut Seen,
        answer: Vec<u8>,
        nonce: Nonce,
    ) -> bool {
        let clear = [self.password.as_bytes(), b"\0"].concat();
        let nothing = answer.is_empty() || answer == [0];
        match self.plugin {
            UNIX_SOCKET => true,
            plugin::NATIVE | plugin::CACHING_SHA2 | plugin::SHA256 if self.password.is_empty() => {
                nothing
            }
            plugin::NATIVE => answer == native(self.password, &nonce),
            plugin::CACHING_SHA2 if self.warm => {
                let fits = answer == caching_sha2(self.password, &nonce);
                if fits {
                    leg.send(&[1, 3]).await.unwrap();
                }
                fits
            }
            plugin::CACHING_SHA2 => {
                assert_eq!(answer.len(), 32, "the hash comes first");
                leg.send(&[1, 4]).await.unwrap();
                let answer = hear(leg, seen).await;
                let hides = matches!(self.way, Way::Tls | Way::Unix);
                self.password_in(leg, seen, answer, (hides, 2, nonce)).await == Some(clear)
            }
            plugin::SHA256 => {
                let hides = self.way == Way::Tls;
                self.password_in(leg, seen, answer, (hides, 1, nonce)).await == Some(clear)
            }
            plugin::CLEAR | plugin::DIALOG => answer == clear,
            plugin::ED25519 => answer == opaque(self.password, 64),
            plugin::PARSEC => {
                assert!(answer.is_empty(), "an empty packet is an answer");
                leg.send(&[b"P\0", &[9; 18][..]].concat()).await.unwrap();
                hear(leg, seen).await == opaque(self.password, 96)
            }
            other => panic!("{other}"),
        }
    }

    async fn password_in<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        leg: &mut Leg<S>,
        seen: &mut Seen,
        answer: Vec<u8>,
        (hides, request, nonce): (bool, u8, Nonce),
    ) -> Option<Vec<u8>> {
        if hides {
            return Some(answer);
        }
        assert_eq!(
            answer,
            [request],
            "who cannot hide a password asks for the key"
        );
        let pem = [&[1], SERVER_KEY.pem()].concat();
        leg.send(&pem).await.unwrap();
        let sealed = hear(leg, seen).await;
        SERVER_KEY.open(&sealed, &nonce).map(|clear| clear.to_vec())
    }
}

/// A client, and how it has reached the gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) way: Way,
    /// The plugin it begins with.
    pub(super) prefers: &'static str,
    pub(super) password: &'static str,
}

impl Client {
    /// Answers the greeting; the response's payload.
    pub(super) async fn answer_greeting(&self, leg: &mut Leg<DuplexStream>) -> (Payload, Nonce) {
        let shown = leg.receive(LIMIT).await.unwrap();
        let Ok(FirstPacket::Greeting(greeting)) = FirstPacket::parse(&shown) else {
            panic!("{shown:?}")
        };
        let auth = self.prove(self.prefers, greeting.nonce());
        (response("app", &auth, self.prefers), *greeting.nonce())
    }

    /// Goes on to the last word: `Err` is the server's number, 0 that the gateway has hung up.
    pub(super) async fn finish(
        &self,
        leg: &mut Leg<DuplexStream>,
        nonce: Nonce,
    ) -> Result<(), u16> {
        let (mut plugin, mut nonce) = (self.prefers.to_owned(), nonce);
        let mut encrypts = false;
        let clear = [self.password.as_bytes(), b"\0"].concat();
        let tls = self.way == Way::Tls;
        loop {
            let packet = leg.receive(LIMIT).await.map_err(|_left| 0_u16)?;
            let answer = match AuthPacket::parse(&packet, ALL).unwrap() {
                AuthPacket::Ok(_) => return Ok(()),
                AuthPacket::Err { errno, .. } => return Err(errno),
                AuthPacket::Switch { plugin: name, data } => {
                    plugin = name.to_owned();
                    nonce = data.first_chunk().copied().unwrap_or_default();
                    self.prove(name, &nonce)
                }
                AuthPacket::MoreData([3]) => continue,
                AuthPacket::MoreData([4]) if tls => clear.clone(),
                AuthPacket::MoreData([4]) => vec![2],
                AuthPacket::MoreData(pem) if !encrypts => {
                    encrypts = true;
                    seal(pem, &clear, &nonce).unwrap()
                }
                AuthPacket::Raw(_) if plugin == plugin::PARSEC => opaque(self.password, 96),
                AuthPacket::NextFactor { .. } | AuthPacket::MoreData(_) | AuthPacket::Raw(_) => {
                    panic!("{packet:?}")
                }
            };
            leg.send(&answer).await.map_err(|_left| 0_u16)?;
        }
    }

    fn prove(&self, name: &str, nonce: &Nonce) -> Vec<u8> {
        let clear = [self.password.as_bytes(), b"\0"].concat();
        match name {
            plugin::NATIVE | plugin::CACHING_SHA2 if self.password.is_empty() => Vec::new(),
            plugin::SHA256 if self.password.is_empty() => vec![0],
            plugin::NATIVE => native(self.password, nonce),
            plugin::CACHING_SHA2 => caching_sha2(self.password, nonce),
            plugin::SHA256 if self.way != Way::Tls => vec![1],
            plugin::SHA256 | plugin::CLEAR | plugin::DIALOG => clear,
            plugin::ED25519 => opaque(self.password, 64),
            plugin::PARSEC => Vec::new(),
            other => panic!("{other}"),
        }
    }

    /// The command that makes a session somebody else's.
    pub(super) fn change_user(&self, nonce: &Nonce) -> ChangeUser {
        let auth = self.prove(self.prefers, nonce);
        let length = u8::try_from(auth.len()).unwrap();
        let payload = [
            b"\x11app\0",
            &[length][..],
            &auth,
            b"shop\0",
            &[45, 0],
            self.prefers.as_bytes(),
            b"\0",
        ];
        ChangeUser::parse(&payload.concat(), ALL, offer(Flavor::MySql).names).unwrap()
    }
}

/// The other side's next packet; an empty one where it has hung up.
async fn hear<S: AsyncRead + Unpin>(leg: &mut Leg<S>, seen: &mut Seen) -> Vec<u8> {
    let packet = leg.receive(LIMIT).await.unwrap_or_default().to_vec();
    seen.packets.push(packet.clone());
    packet
}

pub(super) fn greeting(nonce: Nonce, flavor: Flavor) -> Vec<u8> {
    let (low, high, extended) = match flavor {
        Flavor::MySql => ([0xff, 0xff], [0xff, 0xdf], [0; 4]),
        Flavor::MariaDb => ([0xfe, 0xff], [0xff, 0x81], [0x3d, 0, 0, 0]),
    };
    let (first, second) = nonce.split_at(8);
    let parts: [&[u8]; 13] = [
        b"\x0a9.7.4\0",
        &[7, 0, 0, 0],
        first,
        &[0],
        &low,
        &[45, 2, 0],
        &high,
        &[21],
        &[0; 6],
        &extended,
        second,
        b"\0",
        b"caching_sha2_password\0",
    ];
    parts.concat()
}

pub(super) fn offer(flavor: Flavor) -> Offer {
    parsed_greeting([1; 20], flavor).offer(false, false)
}

pub(super) fn parsed_greeting(nonce: Nonce, flavor: Flavor) -> Greeting {
    match FirstPacket::parse(&greeting(nonce, flavor)) {
        Ok(FirstPacket::Greeting(greeting)) => greeting,
        other => panic!("{other:?}"),
    }
}

/// A handshake response's payload.
pub(super) fn response(user: &str, auth: &[u8], plugin: &str) -> Payload {
    let flags = Capabilities::MYSQL
        .with(Capabilities::PROTOCOL_41)
        .with(Capabilities::SECURE_CONNECTION)
        .with(Capabilities::PLUGIN_AUTH);
    let length = u8::try_from(auth.len()).unwrap();
    let parts: [&[u8]; 9] = [
        &flags.bits().to_le_bytes(),
        &[0, 0, 0, 1],
        &[45],
        &[0; 23],
        user.as_bytes(),
        &[0, length],
        auth,
        plugin.as_bytes(),
        b"\0",
    ];
    Zeroizing::new(parts.concat())
}

/// Stands for a signature.
fn opaque(password: &str, length: usize) -> Vec<u8> {
    let mut proof = sha(&SHA256, &[password.as_bytes()]);
    proof.resize(length, 3);
    proof
}

fn native(password: &str, nonce: &Nonce) -> Vec<u8> {
    let once = sha(&SHA1_FOR_LEGACY_USE_ONLY, &[password.as_bytes()]);
    let twice = sha(&SHA1_FOR_LEGACY_USE_ONLY, &[&once]);
    xor(&once, &sha(&SHA1_FOR_LEGACY_USE_ONLY, &[nonce, &twice]))
}

fn caching_sha2(password: &str, nonce: &Nonce) -> Vec<u8> {
    let once = sha(&SHA256, &[password.as_bytes()]);
    let twice = sha(&SHA256, &[&once]);
    xor(&once, &sha(&SHA256, &[&twice, nonce]))
}

fn sha(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    digest(algorithm, &parts.concat()).as_ref().to_vec()
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(a, b)| a ^ b).collect()
}
