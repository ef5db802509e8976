//! PostgreSQL's protocol by hand: whatever bytes a test wants, from whatever loopback address.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream},
};

use super::PATIENCE;

pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
pub(crate) const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
pub(crate) const CANCEL_CODE: u32 = 0x04d2_162e;

/// A message of the server: its kind and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: char,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// The field of an `ErrorResponse`: `C` the SQLSTATE, `M` the message.
    pub(crate) fn field(&self, name: char) -> Option<String> {
        let mut fields = self.payload.split(|byte| *byte == 0);
        fields
            .find(|field| {
                field
                    .first()
                    .is_some_and(|first| char::from(*first) == name)
            })
            .map(|field| String::from_utf8(field[1..].to_vec()).unwrap())
    }
}

/// A TCP connection from an address of one's choice.
pub(crate) fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(to),
        socket2::Type::STREAM,
        None,
    )?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Bytes in both directions, plain or within TLS.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A client made of bytes.
pub(crate) struct Raw {
    pub(crate) stream: Box<dyn Wire>,
    /// The same socket, below TLS: for deadlines and half-closing.
    pub(crate) socket: TcpStream,
}

impl Raw {
    pub(crate) fn connect(port: u16) -> Self {
        Self::connect_from([127, 0, 0, 1], port)
    }

    pub(crate) fn connect_from(source: [u8; 4], port: u16) -> Self {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = connect_from(IpAddr::from(source), to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: Box::new(socket.try_clone().unwrap()),
            socket,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends what the other side may no longer want to hear.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).unwrap();
        byte[0]
    }

    /// The next message, or `None` at the end of the stream.
    pub(crate) fn message(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if is_end(&error) => return None,
            Err(error) => panic!("no message came: {error}"),
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut payload = vec![0; usize::try_from(length).unwrap() - 4];
        self.stream.read_exact(&mut payload).unwrap();
        Some(Message {
            kind: char::from(head[0]),
            payload,
        })
    }

    /// The next message of this kind; an error instead of it fails the test.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: char) -> Message {
        loop {
            let Some(message) = self.message() else {
                panic!("closed before {kind:?}");
            };
            if message.kind == kind {
                return message;
            }
            assert_ne!(message.kind, 'E', "{:?}", message.field('M'));
        }
    }

    /// What is left until the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if !is_end(&error) => panic!("not closed: {error}, after {bytes:?}"),
            _ => bytes,
        }
    }

    /// The one `ErrorResponse` that must come, and then the end.
    #[track_caller]
    pub(crate) fn refusal(&mut self) -> Message {
        let message = self.message().expect("closed without a word");
        assert_eq!(message.kind, 'E', "{message:?}");
        assert_eq!(self.rest(), b"", "something follows a refusal");
        message
    }

    pub(crate) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    pub(crate) fn query(&mut self, sql: &str) {
        self.send(&framed(b'Q', &[sql.as_bytes(), &[0]].concat()));
    }

    /// Starts up as a user whom the server asks for a password in clear, answers it, and waits until the server is ready.
    #[track_caller]
    pub(crate) fn log_in(&mut self, user: &str, database: &str) -> Message {
        self.send(&startup(&[("user", user), ("database", database)]));
        self.expect('R');
        self.send(&framed(b'p', b"secret\0"));
        let key = self.expect('K');
        self.expect('Z');
        key
    }
}

/// Closed in whatever way: a reset says no less than an end, and TLS may be cut without its own goodbye.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// A message with its kind and length.
pub(crate) fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), payload].concat()
}

/// A packet without a kind: the code, and what follows it.
pub(crate) fn opening(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 8).unwrap();
    [length.to_be_bytes().as_slice(), &code.to_be_bytes(), rest].concat()
}

/// A `StartupMessage` of protocol 3.0.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (name, value) in parameters {
        rest.extend_from_slice(name.as_bytes());
        rest.push(0);
        rest.extend_from_slice(value.as_bytes());
        rest.push(0);
    }
    rest.push(0);
    opening(0x0003_0000, &rest)
}

/// A `CancelRequest` for the key that a `BackendKeyData` message told.
pub(crate) fn cancel(key: &[u8]) -> Vec<u8> {
    opening(CANCEL_CODE, key)
}
