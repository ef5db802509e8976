//! MySQL's packets by hand, written apart from the gateway's: whatever bytes a test wants, in whatever pieces.

use std::{io, thread, time::Duration};

use super::{PATIENCE, Raw};

/// The capabilities of the greeting and of the response, by the names of MySQL's manual.
pub(crate) mod can {
    pub(crate) const MYSQL: u32 = 1;
    pub(crate) const CONNECT_WITH_DB: u32 = 8;
    pub(crate) const COMPRESS: u32 = 0x20;
    pub(crate) const LOCAL_FILES: u32 = 0x80;
    pub(crate) const PROTOCOL_41: u32 = 0x200;
    pub(crate) const SSL: u32 = 0x800;
    pub(crate) const TRANSACTIONS: u32 = 0x2000;
    pub(crate) const SECURE_CONNECTION: u32 = 0x8000;
    pub(crate) const MULTI_STATEMENTS: u32 = 0x1_0000;
    pub(crate) const MULTI_RESULTS: u32 = 0x2_0000;
    pub(crate) const PLUGIN_AUTH: u32 = 0x8_0000;
    pub(crate) const CONNECT_ATTRS: u32 = 0x10_0000;
    pub(crate) const LENENC_AUTH: u32 = 0x20_0000;
    pub(crate) const DEPRECATE_EOF: u32 = 0x100_0000;
    pub(crate) const ZSTD: u32 = 0x400_0000;
    pub(crate) const QUERY_ATTRIBUTES: u32 = 0x800_0000;
    /// What every client of the tests has.
    pub(crate) const USUAL: u32 = MYSQL
        | PROTOCOL_41
        | TRANSACTIONS
        | SECURE_CONNECTION
        | MULTI_STATEMENTS
        | MULTI_RESULTS
        | PLUGIN_AUTH;
}

/// The status flag of a transaction in progress, and the one of a session without.
pub(crate) const IN_TRANSACTION: u16 = 1;
pub(crate) const AUTOCOMMIT: u16 = 2;

pub(crate) const NATIVE: &str = "mysql_native_password";
pub(crate) const CACHING: &str = "caching_sha2_password";

/// What a packet is, without its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) sequence: u8,
    pub(crate) payload: Vec<u8>,
}

/// What an ERR packet says. Before the greeting it has no state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) sequence: u8,
    pub(crate) number: u16,
    pub(crate) state: Option<String>,
    pub(crate) text: String,
}

impl Refusal {
    /// The connection was closed instead.
    pub(crate) const CLOSED: Self = Self {
        sequence: 0,
        number: 0,
        state: None,
        text: String::new(),
    };
}

impl Packet {
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let (&[0xff, low, high], mut text) = self.payload.split_first_chunk()? else {
            return None;
        };
        let mut state = None;
        if let [b'#', rest @ ..] = text {
            let (five, rest) = rest.split_at(5);
            state = Some(String::from_utf8(five.to_vec()).unwrap());
            text = rest;
        }
        Some(Refusal {
            sequence: self.sequence,
            number: u16::from_le_bytes([low, high]),
            state,
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.payload.first() == Some(&0)
    }
}

/// A packet with its head.
pub(crate) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

impl Raw {
    /// Sends one packet.
    pub(crate) fn put(&mut self, sequence: u8, payload: &[u8]) {
        self.send(&packet(sequence, payload));
    }

    /// The next packet, or `None` at the end of the stream.
    pub(crate) fn packet(&mut self) -> Option<Packet> {
        let mut head = [0; 4];
        if let Err(error) = self.stream.read_exact(&mut head) {
            let waiting = matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            );
            assert!(!waiting, "no packet came: {error}");
            return None;
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Packet {
            sequence: head[3],
            payload,
        })
    }

    /// The one ERR packet that must come, and then the end.
    #[track_caller]
    pub(crate) fn err(&mut self) -> Refusal {
        let packet = self.packet().expect("closed without a word");
        let refusal = packet.refusal().unwrap_or_else(|| panic!("{packet:?}"));
        assert_eq!(self.rest(), b"", "something follows {refusal:?}");
        refusal
    }

    /// The OK packet that must come: its status flags.
    #[track_caller]
    pub(crate) fn ok(&mut self) -> u16 {
        let packet = self.packet().expect("closed before an OK");
        assert!(packet.is_ok(), "{packet:?}, {:?}", packet.refusal());
        let mut at = 1;
        for _ in 0..2 {
            at += match packet.payload[at] {
                0xfc => 3,
                0xfd => 4,
                0xfe => 9,
                _ => 1,
            };
        }
        u16::from_le_bytes([packet.payload[at], packet.payload[at + 1]])
    }

    /// What comes in a while, perhaps the end of the stream too.
    pub(crate) fn rest_within(&mut self, time: Duration) -> Vec<u8> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = self.stream.read(&mut some) {
            bytes.extend_from_slice(&some[..count]);
        }
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        bytes
    }

    /// A command with its argument.
    pub(crate) fn command(&mut self, command: u8, argument: &[u8]) {
        self.put(0, &[&[command], argument].concat());
    }

    /// The one row of a statement that has one, as text; an error is none. `agreed` are the flags of both sides.
    pub(crate) fn row(&mut self, agreed: u32, sql: &str) -> Option<Vec<String>> {
        let parameters: &[u8] = if agreed & can::QUERY_ATTRIBUTES == 0 {
            b""
        } else {
            b"\0\x01"
        };
        self.command(COM_QUERY, &[parameters, sql.as_bytes()].concat());
        let mut marks = if agreed & can::DEPRECATE_EOF == 0 {
            2
        } else {
            1
        };
        let mut last = None;
        loop {
            let packet = self.packet()?;
            match packet.payload.first() {
                Some(0xff) => return None,
                Some(0xfe) if marks == 1 => return last.map(|row: Packet| texts(&row.payload)),
                Some(0xfe) => marks -= 1,
                _ => last = Some(packet),
            }
        }
    }
}

pub(crate) const COM_QUIT: u8 = 0x01;
pub(crate) const COM_INIT_DB: u8 = 0x02;
pub(crate) const COM_QUERY: u8 = 0x03;
pub(crate) const COM_PING: u8 = 0x0e;
pub(crate) const COM_CHANGE_USER: u8 = 0x11;
pub(crate) const COM_BINLOG_DUMP: u8 = 0x12;
pub(crate) const COM_REGISTER_SLAVE: u8 = 0x15;
pub(crate) const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
pub(crate) const COM_STMT_CLOSE: u8 = 0x19;
pub(crate) const COM_BINLOG_DUMP_GTID: u8 = 0x1e;

/// The values of a row; short ones and no NULL is all that the tests ask for.
fn texts(mut row: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while let [first, rest @ ..] = row {
        let (length, rest) = match first {
            0xfb => (0, rest),
            0xfc => (
                usize::from(u16::from_le_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            short => (usize::from(*short), rest),
        };
        values.push(String::from_utf8(rest[..length].to_vec()).unwrap());
        row = &rest[length..];
    }
    values
}

/// What a server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) version: String,
    pub(crate) connection: u32,
    pub(crate) nonce: Vec<u8>,
    pub(crate) capabilities: u32,
    pub(crate) charset: u8,
    pub(crate) extended: u32,
    pub(crate) plugin: String,
}

impl Greeting {
    /// One of an Oracle MySQL that speaks no TLS, for rogue servers.
    pub(crate) fn rogue() -> Self {
        Self {
            version: "9.7.4".to_owned(),
            connection: 7,
            nonce: b"abcdefghijklmnopqrst".to_vec(),
            capabilities: 0xdfff_ffff & !can::SSL,
            charset: 255,
            extended: 0,
            plugin: NATIVE.to_owned(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let capabilities = self.capabilities.to_le_bytes();
        [
            &[10],
            self.version.as_bytes(),
            &[0],
            &self.connection.to_le_bytes(),
            &self.nonce[..8],
            &[0],
            &capabilities[..2],
            &[self.charset],
            &AUTOCOMMIT.to_le_bytes(),
            &capabilities[2..],
            &[21],
            &[0; 6],
            &self.extended.to_le_bytes(),
            &self.nonce[8..],
            &[0],
            self.plugin.as_bytes(),
            &[0],
        ]
        .concat()
    }

    pub(crate) fn decode(payload: &[u8]) -> Self {
        assert_eq!(payload[0], 10, "{payload:?}");
        let end = payload.iter().position(|byte| *byte == 0).unwrap();
        let rest = &payload[end + 1..];
        let u16 = |at: usize| u32::from(u16::from_le_bytes([rest[at], rest[at + 1]]));
        let u32 = |at: usize| u16(at) | u16(at + 2) << 16;
        Self {
            version: String::from_utf8(payload[1..end].to_vec()).unwrap(),
            connection: u32(0),
            nonce: [&rest[4..12], &rest[31..43]].concat(),
            capabilities: u16(13) | u16(18) << 16,
            charset: rest[15],
            extended: u32(27),
            plugin: String::from_utf8(rest[44..rest.len() - 1].to_vec()).unwrap(),
        }
    }
}

/// `HandshakeResponse41`, true or false.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// Those that the fields themselves call for are added by [`Self::encode`].
    pub(crate) capabilities: u32,
    pub(crate) charset: u8,
    pub(crate) extended: u32,
    pub(crate) user: Vec<u8>,
    pub(crate) proof: Vec<u8>,
    pub(crate) database: Option<Vec<u8>>,
    pub(crate) plugin: String,
    pub(crate) attributes: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Response {
    /// A claim in utf8mb4 that proves nothing yet.
    pub(crate) fn of(user: &str, database: &str) -> Self {
        Self {
            capabilities: can::USUAL,
            charset: 45,
            extended: 0,
            user: user.as_bytes().to_vec(),
            proof: vec![b'x'; 20],
            database: (!database.is_empty()).then(|| database.as_bytes().to_vec()),
            plugin: NATIVE.to_owned(),
            attributes: None,
        }
    }

    pub(crate) fn bits(&self) -> u32 {
        let mut bits = self.capabilities;
        if self.database.is_some() {
            bits |= can::CONNECT_WITH_DB;
        }
        if self.attributes.is_some() {
            bits |= can::CONNECT_ATTRS;
        }
        bits
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.head(self.bits());
        bytes.extend_from_slice(&self.user);
        bytes.push(0);
        if self.capabilities & can::LENENC_AUTH != 0 {
            bytes.extend_from_slice(&length(self.proof.len()));
        } else {
            bytes.push(u8::try_from(self.proof.len()).unwrap());
        }
        bytes.extend_from_slice(&self.proof);
        if let Some(database) = &self.database {
            bytes.extend_from_slice(database);
            bytes.push(0);
        }
        bytes.extend_from_slice(self.plugin.as_bytes());
        bytes.push(0);
        if let Some(attributes) = &self.attributes {
            bytes.extend_from_slice(&block(attributes));
        }
        bytes
    }

    /// The same client's `SSLRequest`.
    pub(crate) fn ssl_request(&self) -> Vec<u8> {
        self.head(self.bits() | can::SSL)
    }

    fn head(&self, capabilities: u32) -> Vec<u8> {
        [
            capabilities.to_le_bytes().as_slice(),
            &(1_u32 << 24).to_le_bytes(),
            &[self.charset],
            &[0; 19],
            &self.extended.to_le_bytes(),
        ]
        .concat()
    }
}

/// A `COM_CHANGE_USER` by the same claim, with its command byte.
pub(crate) fn change_user(claim: &Response) -> Vec<u8> {
    let database = claim.database.clone().unwrap_or_default();
    let mut bytes = vec![COM_CHANGE_USER];
    bytes.extend_from_slice(&claim.user);
    bytes.extend_from_slice(&[0, u8::try_from(claim.proof.len()).unwrap()]);
    bytes.extend_from_slice(&claim.proof);
    bytes.extend_from_slice(&database);
    bytes.extend_from_slice(&[0, claim.charset, 0]);
    bytes.extend_from_slice(claim.plugin.as_bytes());
    bytes.push(0);
    if let Some(attributes) = &claim.attributes {
        bytes.extend_from_slice(&block(attributes));
    }
    bytes
}

/// Connection attributes as they go over the wire.
pub(crate) fn block(attributes: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut pairs = Vec::new();
    for text in attributes.iter().flat_map(|(key, value)| [key, value]) {
        pairs.extend_from_slice(&length(text.len()));
        pairs.extend_from_slice(text);
    }
    [length(pairs.len()), pairs].concat()
}

/// A length-encoded integer.
pub(crate) fn length(length: usize) -> Vec<u8> {
    let bytes = u32::try_from(length).unwrap().to_le_bytes();
    match length {
        0..=0xfa => vec![bytes[0]],
        0xfb..=0xffff => [&[0xfc], &bytes[..2]].concat(),
        0x1_0000..=0xff_ffff => [&[0xfd], &bytes[..3]].concat(),
        _ => panic!("no test is as long"),
    }
}

/// An OK packet's payload.
pub(crate) fn ok(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0, 0, 0, low, high, 0, 0]
}

/// An ERR packet's payload.
pub(crate) fn err(number: u16, state: &str, text: &str) -> Vec<u8> {
    let number = number.to_le_bytes();
    [
        &[0xff],
        number.as_slice(),
        b"#",
        state.as_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

/// Sends bytes in pieces of this size, each as a segment of its own.
pub(crate) fn in_pieces(raw: &mut Raw, bytes: &[u8], size: usize) -> io::Result<()> {
    for piece in bytes.chunks(size) {
        raw.stream.write_all(piece)?;
        raw.stream.flush()?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
