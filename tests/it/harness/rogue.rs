//! A MySQL server made of bytes, which does what no server should.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use super::{
    PATIENCE, Raw,
    mysql_raw::{AUTOCOMMIT, Greeting, Packet, err, ok, packet},
};

/// A server made of bytes: each connection that comes is played by the script.
pub(crate) struct Rogue {
    pub(crate) port: u16,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    claims: Mutex<Vec<Vec<u8>>>,
    commands: Mutex<Vec<Vec<u8>>>,
}

impl Rogue {
    /// Whether a command that came bore these bytes.
    pub(crate) fn heard_in_a_command(&self, part: &[u8]) -> bool {
        self.commands().iter().any(|said| contains(said, part))
    }

    /// Whatever the script does with each connection.
    pub(crate) fn playing(script: impl Fn(&mut Raw) + Send + Sync + 'static) -> Self {
        Self::with(move |raw, _heard| script(raw))
    }

    /// Lets everybody in who shows a native password, whatever it is, except the gateway's own junk; then plays the script for
    /// each packet that comes.
    pub(crate) fn answering(script: impl Fn(&mut Raw, &Packet) + Send + Sync + 'static) -> Self {
        Self::greeting_as(Greeting::rogue(), script)
    }

    /// The same, as another server.
    pub(crate) fn greeting_as(
        greeting: Greeting,
        script: impl Fn(&mut Raw, &Packet) + Send + Sync + 'static,
    ) -> Self {
        Self::with(move |raw, heard| {
            let Some(claim) = hear(raw, &greeting) else {
                return;
            };
            let junk = is_junk(&claim.payload);
            heard.claims.lock().unwrap().push(claim.payload);
            let verdict = if junk {
                err(1045, "28000", "Access denied")
            } else {
                ok(AUTOCOMMIT)
            };
            let verdict = packet(claim.sequence + 1, &verdict);
            if raw.try_send(&verdict).is_err() || junk {
                return;
            }
            while let Some(packet) = raw.packet() {
                heard.commands.lock().unwrap().push(packet.payload.clone());
                script(raw, &packet);
            }
        })
    }

    /// One that says OK to every command.
    pub(crate) fn content() -> Self {
        Self::answering(|raw, packet| {
            raw.try_send(&self::packet(packet.sequence + 1, &ok(AUTOCOMMIT)))
                .ok();
        })
    }

    fn with(script: impl Fn(&mut Raw, &Heard) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, heard) = (Arc::new(script), Arc::<Heard>::default());
        let ledger = Arc::clone(&heard);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.set_nodelay(true).unwrap();
                let (script, ledger) = (Arc::clone(&script), Arc::clone(&ledger));
                thread::spawn(move || {
                    let mut raw = Raw {
                        stream: Box::new(socket.try_clone().unwrap()),
                        socket,
                    };
                    script(&mut raw, &ledger);
                });
            }
        });
        Self { port, heard }
    }

    /// As a listener's `upstream:`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The claims that came, without the gateway's own junk.
    pub(crate) fn claims(&self) -> Vec<Vec<u8>> {
        let mut claims = self.heard.claims.lock().unwrap().clone();
        claims.retain(|claim| !is_junk(claim));
        claims
    }

    /// How many junk logins there were.
    pub(crate) fn junk(&self) -> usize {
        let all = self.heard.claims.lock().unwrap().len();
        all - self.claims().len()
    }

    /// The packets that came after logins, without their heads.
    pub(crate) fn commands(&self) -> Vec<Vec<u8>> {
        self.heard.commands.lock().unwrap().clone()
    }

    /// Whether a command came that begins so.
    pub(crate) fn has_heard(&self, start: &[u8]) -> bool {
        self.commands()
            .iter()
            .any(|packet| packet.starts_with(start))
    }
}

/// Greets, and reads the claim. `None` when the client has left meanwhile.
pub(crate) fn hear(raw: &mut Raw, greeting: &Greeting) -> Option<Packet> {
    raw.try_send(&packet(0, &greeting.encode())).ok()?;
    raw.packet()
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Whether a claim is one by which the gateway ends a login that is to fail.
pub(crate) fn is_junk(claim: &[u8]) -> bool {
    let user = claim.get(32..);
    user.is_some_and(|user| user.starts_with(b"doorward_nobody_"))
}
