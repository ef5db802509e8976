//! A MySQL client made of bytes.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::{
    Raw,
    mysql_raw::{CACHING, Greeting, NATIVE, Refusal, Response, can, packet},
    tls,
};

/// A client that has read the greeting.
pub(crate) struct Client {
    pub(crate) raw: Raw,
    pub(crate) greeting: Greeting,
    /// The sequence number of what it sends next while logging in.
    pub(crate) next: u8,
}

impl Client {
    pub(crate) fn greeted(port: u16) -> Self {
        Self::greeted_from([127, 0, 0, 1], port)
    }

    #[track_caller]
    pub(crate) fn greeted_from(source: [u8; 4], port: u16) -> Self {
        Self::over(Raw::connect_from(source, port))
    }

    #[track_caller]
    pub(crate) fn over(mut raw: Raw) -> Self {
        let first = raw.packet().expect("closed instead of greeted");
        assert_eq!(first.refusal(), None, "refused instead of greeted");
        Self {
            raw,
            greeting: Greeting::decode(&first.payload),
            next: 1,
        }
    }

    /// Greeted, and inside TLS.
    #[track_caller]
    pub(crate) fn encrypted(port: u16) -> Self {
        Self::greeted(port).encrypt(&Response::of("", ""))
    }

    /// Asks for TLS as the client of `response` does.
    #[track_caller]
    pub(crate) fn encrypt(mut self, response: &Response) -> Self {
        assert_ne!(
            self.greeting.capabilities & can::SSL,
            0,
            "no TLS is offered"
        );
        let request = packet(self.next, &response.ssl_request());
        self.raw.send(&request);
        let (raw, ..) = self.raw.handshake(tls::client(&[])).unwrap();
        Self {
            raw,
            next: self.next + 1,
            ..self
        }
    }

    /// Sends who it says it is.
    pub(crate) fn claim(&mut self, response: &Response) {
        self.put(&response.encode());
    }

    /// Sends a packet of the login.
    pub(crate) fn put(&mut self, payload: &[u8]) {
        self.raw.put(self.next, payload);
        self.next = self.next.wrapping_add(1);
    }

    /// Claims, and proves it by `password`: whatever of native, caching and clear passwords the server asks for.
    pub(crate) fn log_in(mut self, response: &Response, password: &str) -> Result<Raw, Refusal> {
        let mut response = response.clone();
        response.plugin.clone_from(&self.greeting.plugin);
        response.proof = prove(&self.greeting.plugin, password, &self.greeting.nonce);
        self.claim(&response);
        self.proven(password)
    }

    /// What a claim that has been sent comes to.
    pub(crate) fn proven(mut self, password: &str) -> Result<Raw, Refusal> {
        self.prove(password)?;
        Ok(self.raw)
    }

    /// Answers challenges until the server has made up its mind. A whole password goes only through TLS.
    pub(crate) fn prove(&mut self, password: &str) -> Result<(), Refusal> {
        loop {
            let Some(packet) = self.raw.packet() else {
                return Err(Refusal::CLOSED);
            };
            assert_eq!(packet.sequence, self.next, "{packet:?}");
            self.next = self.next.wrapping_add(1);
            match packet.payload.as_slice() {
                [0, ..] => return Ok(()),
                [0xff, ..] => return Err(packet.refusal().unwrap()),
                [0xfe, rest @ ..] => {
                    let end = rest.iter().position(|byte| *byte == 0).unwrap();
                    let plugin = String::from_utf8(rest[..end].to_vec()).unwrap();
                    let nonce = &rest[end + 1..];
                    self.put(&prove(&plugin, password, &nonce[..nonce.len().min(20)]));
                }
                [1, 3] => {}
                [1, 4] => self.put(&[password.as_bytes(), &[0]].concat()),
                _ => panic!("what is {packet:?}"),
            }
        }
    }
}

/// A first proof.
pub(crate) fn prove(plugin: &str, password: &str, nonce: &[u8]) -> Vec<u8> {
    let hash = |algorithm, bytes: &[u8]| digest(algorithm, bytes).as_ref().to_vec();
    let (algorithm, nonce_first) = match plugin {
        NATIVE => (&SHA1_FOR_LEGACY_USE_ONLY, true),
        CACHING => (&SHA256, false),
        _ => return [password.as_bytes(), &[0]].concat(),
    };
    let once = hash(algorithm, password.as_bytes());
    let twice = hash(algorithm, &once);
    let both = if nonce_first {
        [nonce, &twice].concat()
    } else {
        [&twice, nonce].concat()
    };
    let pad = hash(algorithm, &both);
    once.iter().zip(pad).map(|(a, b)| a ^ b).collect()
}
