//! Openings against a real socket and a real TLS client: what is said before TLS, inside it, and stuffed between.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpListener,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version},
};

use super::{
    super::players::{parsed_greeting, response},
    *,
};
use crate::{
    policy::TlsVersion,
    wire::mysql::{Capabilities, FirstPacket, Flavor, Packet, plugin},
};

/// A client's socket, and the gateway's end of it.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// A server's TLS as the gateway has it, and the CA that a client trusts.
fn tls() -> (Arc<DoorTls>, RootCertStore) {
    let (door, certificate) = DoorTls::made();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    (Arc::new(door), roots)
}

/// What happens when a client does `dialogue` at the door; it has read the greeting by then.
async fn door<C, F: Future<Output = C>>(
    dialogue: impl FnOnce(TcpStream, RootCertStore) -> F,
) -> (Result<Greeted, GreetError>, C) {
    let (mut client, socket) = connected().await;
    let (tls, roots) = tls();
    let server = parsed_greeting([7; 20], Flavor::MySql);
    let greeting = Greeting {
        server: &server,
        compression: false,
        tls,
        asks: false,
        first_byte: Instant::now() + Duration::from_millis(300),
    };
    let speaking = async {
        let shown = read(&mut client).await;
        assert_eq!(shown.0, 0);
        let Ok(FirstPacket::Greeting(shown)) = FirstPacket::parse(&shown.1) else {
            panic!("no greeting")
        };
        assert!(shown.capabilities().has(Capabilities::SSL));
        assert!(!shown.capabilities().has(Capabilities::COMPRESS));
        assert_eq!(shown.connection_id(), 7);
        dialogue(client, roots).await
    };
    let both = async { tokio::join!(greet(socket, greeting), speaking) };
    let within = Duration::from_secs(20);
    timeout(within, both)
        .await
        .expect("one side waits for the other for ever")
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> (u8, Vec<u8>) {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.unwrap();
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.unwrap();
    (header[3], payload)
}

async fn say<S: AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> S {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    roots: RootCertStore,
    version: &'static SupportedProtocolVersion,
) -> io::Result<TlsStream<S>> {
    let config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect("localhost".try_into().unwrap(), socket)
        .await
}

/// `user`'s response with the number `sequence`.
fn app(user: &str, sequence: u8) -> Vec<u8> {
    let payload = response(user, &[7; 20], plugin::NATIVE);
    Packet::encode(sequence, &payload).to_vec()
}

/// A request for TLS: the head of a response that has the bit.
fn ssl_request(sequence: u8) -> Vec<u8> {
    let mut payload = response("root", &[7; 20], plugin::NATIVE)[..32].to_vec();
    payload[1] |= 0x08;
    Packet::encode(sequence, &payload).to_vec()
}

fn malformed(greeted: Result<Greeted, GreetError>) -> (u8, OpeningError) {
    match greeted {
        Err(GreetError::Malformed {
            sequence, error, ..
        }) => (sequence, error),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_in_clear_is_read_to_the_last_byte_and_not_beyond() {
    let said = [&app("app", 1)[..], b"more"].concat();
    let (greeted, _client) = door(async |client, _| say(client, &said).await).await;
    let mut greeted = greeted.unwrap();
    assert_eq!(greeted.opening.response.user(), "app");
    assert_eq!((greeted.tls.is_none(), greeted.turns), (true, 2));
    assert_eq!(greeted.opening.sequence(), 2);
    let mut rest = [0; 4];
    greeted.client.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"more");
}

#[tokio::test]
async fn a_client_behind_tls_is_who_it_says_inside() {
    for (version, expected, turns) in [
        (&version::TLS13, TlsVersion::V1_3, 3),
        (&version::TLS12, TlsVersion::V1_2, 4),
    ] {
        let (greeted, _client) = door(async |client, roots| {
            let client = say(client, &ssl_request(1)).await;
            let client = handshake(client, roots, version).await.unwrap();
            say(client, &[&app("app", 2)[..], b"more"].concat()).await
        })
        .await;
        let mut greeted = greeted.unwrap();
        assert_eq!(greeted.opening.response.user(), "app");
        let tls = greeted.tls.map(|tls| tls.version);
        assert_eq!((tls, greeted.turns), (Some(expected), turns));
        assert_eq!(greeted.opening.sequence(), 3);
        let mut rest = [0; 4];
        greeted.client.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"more");
    }
}

/// Puts bytes before the first that are written, in one segment.
struct Together(TcpStream, Vec<u8>);

impl AsyncRead for Together {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Together {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let before = std::mem::take(&mut self.1);
        let all = [&before[..], bytes].concat();
        let written = Pin::new(&mut self.0).poll_write(cx, &all);
        written.map_ok(|written| written - before.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The `ClientHello` in the same segment as the request belongs to TLS.
#[tokio::test]
async fn a_hello_that_comes_along_is_not_lost() {
    let (greeted, _client) = door(async |client, roots| {
        let together = Together(client, ssl_request(1));
        let client = handshake(together, roots, &version::TLS13).await.unwrap();
        say(client, &app("app", 2)).await
    })
    .await;
    assert_eq!(greeted.unwrap().opening.response.user(), "app");
}

/// CVE-2021-23214 and its family, CVE-2015-3152.
#[tokio::test]
async fn plaintext_behind_the_request_for_tls_is_refused() {
    for stuffed in [&app("root", 2)[..], b"\0", b"\x01"] {
        let said = [&ssl_request(1)[..], stuffed].concat();
        let (greeted, _client) = door(async |client, _| say(client, &said).await).await;
        let (sequence, error) = malformed(greeted);
        assert_eq!(
            error,
            OpeningError::Packet(WireError::PlaintextAfterSslRequest)
        );
        assert_eq!((sequence, error.code()), (2, (1043, "08S01")));
    }
}

#[tokio::test]
async fn a_second_request_for_tls_inside_tls_is_malformed() {
    let (greeted, _client) = door(async |client, roots| {
        let client = say(client, &ssl_request(1)).await;
        let client = handshake(client, roots, &version::TLS13).await.unwrap();
        say(client, &ssl_request(2)).await
    })
    .await;
    assert_eq!(
        malformed(greeted),
        (3, OpeningError::Packet(WireError::Layout))
    );
}

#[tokio::test]
async fn the_bit_for_tls_without_tls_is_refused_and_not_waited_for() {
    let mut packet = app("app", 1);
    packet[5] |= 0x08;
    let (greeted, _client) = door(async |client, _| say(client, &packet).await).await;
    let (_, error) = malformed(greeted);
    assert_eq!(error, OpeningError::Packet(WireError::SslWithoutTls));
}

#[tokio::test]
async fn an_answer_out_of_order_or_too_long_is_refused_at_once() {
    for (said, error) in [
        (app("app", 0), OpeningError::OutOfOrder),
        (app("app", 2), OpeningError::OutOfOrder),
        (
            b"\xff\xff\xff\x01".to_vec(),
            OpeningError::Packet(WireError::TooLong),
        ),
        (
            b"\x01\x00\x02\x01".to_vec(),
            OpeningError::Packet(WireError::TooLong),
        ),
    ] {
        let (greeted, _client) = door(async |client, _| say(client, &said).await).await;
        assert_eq!(malformed(greeted).1, error);
    }
}

#[tokio::test]
async fn who_says_nothing_leaves_or_is_left() {
    let (greeted, ()) = door(async |client, _| drop(client)).await;
    assert!(matches!(greeted, Err(GreetError::Probe)), "{greeted:?}");
    let (greeted, _client) = door(async |client, _| client).await;
    assert!(matches!(greeted, Err(GreetError::Silent)), "{greeted:?}");
    for said in [&app("app", 1)[..9], &ssl_request(1)] {
        let (greeted, ()) = door(async |client, _| drop(say(client, said).await)).await;
        assert!(matches!(greeted, Err(GreetError::Left)), "{greeted:?}");
    }
}

#[tokio::test]
async fn a_greeting_of_ours_has_an_id_and_a_nonce_of_its_own() {
    let server = parsed_greeting([7; 20], Flavor::MariaDb);
    let (one, other) = (greeting_like(&server), greeting_like(&server));
    for ours in [&one, &other] {
        assert!(ours.connection_id() >= 0xf000_0000);
        assert!(ours.nonce() != server.nonce() && !ours.nonce().contains(&0));
        assert_eq!(ours.version(), server.version());
    }
    assert_ne!(one.nonce(), other.nonce());
}
