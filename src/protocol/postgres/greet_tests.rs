//! Openings against a real socket and a real TLS client: every order of negotiation, and what is stuffed between.

use std::time::Duration;

use tokio::{io::AsyncWrite, net::TcpListener};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, ClientConfig, RootCertStore, SupportedProtocolVersion, version},
};

use super::*;
use crate::{net::tls::ALPN, policy::TlsVersion, protocol::postgres::refuse};

const SSL: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
const GSS: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];
const STARTUP: &[u8] = b"\0\0\0\x20\0\x03\0\0user\0app\0database\0shop\0\0";
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07abcd";

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

/// What happens when a client does `dialogue` at the door.
async fn door<C, F: Future<Output = C>>(
    dialogue: impl FnOnce(TcpStream, RootCertStore) -> F,
) -> (Result<Greeted, GreetError>, C) {
    let (client, socket) = connected().await;
    let (tls, roots) = tls();
    let greeting = Greeting {
        tls,
        asks: false,
        first_byte: Instant::now() + Duration::from_secs(5),
    };
    let both = async { tokio::join!(greet(socket, greeting), dialogue(client, roots)) };
    timeout_at(Instant::now() + Duration::from_secs(20), both)
        .await
        .expect("one side waits for the other for ever")
}

struct Hello {
    alpn: &'static [&'static [u8]],
    version: &'static SupportedProtocolVersion,
}

const HELLO: Hello = Hello {
    alpn: &[ALPN],
    version: &version::TLS13,
};

async fn handshake(
    socket: TcpStream,
    roots: RootCertStore,
    hello: Hello,
) -> io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder_with_protocol_versions(&[hello.version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = hello.alpn.iter().map(|name| name.to_vec()).collect();
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect("localhost".try_into().unwrap(), socket)
        .await
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> u8 {
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    stream.read_u8().await.unwrap()
}

async fn say<S: AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> S {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

fn user(greeted: &Greeted) -> &str {
    match &greeted.asked {
        Asked::Startup(startup) => startup.user(),
        Asked::Cancel(_) => panic!("a cancel request"),
    }
}

/// The version of TLS that was spoken.
fn spoken(greeted: &Greeted) -> Option<TlsVersion> {
    greeted.tls.as_ref().map(|tls| tls.version)
}

fn malformed(greeted: Result<Greeted, GreetError>) -> WireError {
    match greeted {
        Err(GreetError::Malformed { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

const REPEATED: Option<&str> = Some("0A000");

#[tokio::test]
async fn a_client_in_clear_is_read_to_the_last_byte_and_not_beyond() {
    let (greeted, _client) =
        door(async |client, _| say(client, &[STARTUP, b"more"].concat()).await).await;
    let mut greeted = greeted.unwrap();
    assert_eq!(
        (user(&greeted), spoken(&greeted), greeted.turns),
        ("app", None, 1)
    );
    let mut rest = [0; 4];
    greeted.client.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"more");
}

#[tokio::test]
async fn an_opening_that_comes_byte_by_byte_is_the_same_opening() {
    let (greeted, _client) = door(async |mut client, _| {
        client.set_nodelay(true).unwrap();
        for (at, byte) in [&GSS[..], STARTUP].concat().into_iter().enumerate() {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
            if at == 7 {
                assert_eq!(client.read_u8().await.unwrap(), b'N');
            }
        }
        client
    })
    .await;
    let greeted = greeted.unwrap();
    assert_eq!((user(&greeted), greeted.turns), ("app", 2));
}

#[tokio::test]
async fn a_health_check_is_no_malformed_opening() {
    let (greeted, ()) = door(async |client, _| drop(client)).await;
    assert!(matches!(greeted, Err(GreetError::Probe)), "{greeted:?}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_has_left() {
    for cut in 1..STARTUP.len() {
        let (greeted, ()) = door(async |client, _| drop(say(client, &STARTUP[..cut]).await)).await;
        assert!(matches!(greeted, Err(GreetError::Left)), "{greeted:?}");
    }
}

#[tokio::test]
async fn a_silent_client_is_given_up_at_its_first_byte_s_deadline() {
    let (_client, socket) = connected().await;
    let greeting = Greeting {
        tls: tls().0,
        asks: false,
        first_byte: Instant::now() + Duration::from_millis(20),
    };
    let greeted = greet(socket, greeting).await;
    assert!(matches!(greeted, Err(GreetError::Silent)), "{greeted:?}");
}

#[tokio::test]
async fn tls_is_negotiated_with_and_without_alpn() {
    for (alpn, version, expected) in [
        (&[][..], &version::TLS13, (TlsVersion::V1_3, 3)),
        (&[ALPN], &version::TLS12, (TlsVersion::V1_2, 4)),
    ] {
        let (greeted, _client) = door(async |mut client, roots| {
            assert_eq!(ask(&mut client, &SSL).await, b'S');
            let client = handshake(client, roots, Hello { alpn, version })
                .await
                .unwrap();
            say(client, STARTUP).await
        })
        .await;
        let greeted = greeted.unwrap();
        assert_eq!(user(&greeted), "app");
        assert_eq!((spoken(&greeted).unwrap(), greeted.turns), expected);
    }
}

#[tokio::test]
async fn gss_is_declined_and_tls_still_to_be_had() {
    let (greeted, _client) = door(async |mut client, roots| {
        assert_eq!(ask(&mut client, &GSS).await, b'N');
        assert_eq!(ask(&mut client, &SSL).await, b'S');
        let client = handshake(client, roots, HELLO).await.unwrap();
        say(client, STARTUP).await
    })
    .await;
    let greeted = greeted.unwrap();
    assert_eq!(
        (spoken(&greeted), greeted.turns),
        (Some(TlsVersion::V1_3), 4)
    );
}

#[tokio::test]
async fn a_second_gss_request_is_an_unknown_version() {
    let (greeted, _client) = door(async |mut client, _| {
        assert_eq!(ask(&mut client, &GSS).await, b'N');
        say(client, &GSS).await
    })
    .await;
    assert_eq!(malformed(greeted).sqlstate(), REPEATED);
}

#[tokio::test]
async fn inside_negotiated_tls_nothing_is_negotiated_again() {
    for again in [SSL, GSS] {
        let (greeted, _client) = door(async |mut client, roots| {
            assert_eq!(ask(&mut client, &SSL).await, b'S');
            let client = handshake(client, roots, HELLO).await.unwrap();
            say(client, &again).await
        })
        .await;
        assert_eq!(malformed(greeted).sqlstate(), REPEATED);
    }
}

#[tokio::test]
async fn direct_tls_needs_no_request() {
    for version in [&version::TLS12, &version::TLS13] {
        let (greeted, _client) = door(async |client, roots| {
            let client = handshake(client, roots, Hello { version, ..HELLO })
                .await
                .unwrap();
            say(client, STARTUP).await
        })
        .await;
        let greeted = greeted.unwrap();
        assert_eq!(user(&greeted), "app");
        assert_eq!(
            greeted.turns,
            if spoken(&greeted) == Some(TlsVersion::V1_2) {
                3
            } else {
                2
            }
        );
    }
}

#[tokio::test]
async fn inside_direct_tls_an_ssl_request_is_declined_once() {
    let (greeted, _client) = door(async |client, roots| {
        let mut client = handshake(client, roots, HELLO).await.unwrap();
        assert_eq!(ask(&mut client, &SSL).await, b'N');
        say(client, STARTUP).await
    })
    .await;
    let greeted = greeted.unwrap();
    assert_eq!((user(&greeted), greeted.turns), ("app", 3));
    let (greeted, _client) = door(async |client, roots| {
        let mut client = handshake(client, roots, HELLO).await.unwrap();
        assert_eq!(ask(&mut client, &SSL).await, b'N');
        say(client, &SSL).await
    })
    .await;
    assert_eq!(malformed(greeted).sqlstate(), REPEATED);
}

/// CVE-2026-14681.
#[tokio::test]
async fn inside_direct_tls_gss_is_refused() {
    let (greeted, _client) = door(async |client, roots| {
        let client = handshake(client, roots, HELLO).await.unwrap();
        say(client, &GSS).await
    })
    .await;
    assert_eq!(malformed(greeted).sqlstate(), REPEATED);
}

#[tokio::test]
async fn direct_tls_without_its_alpn_is_no_opening() {
    let (greeted, _client) = door(async |client, roots| {
        let hello = Hello { alpn: &[], ..HELLO };
        say(handshake(client, roots, hello).await.unwrap(), STARTUP).await
    })
    .await;
    assert!(matches!(greeted, Err(GreetError::Tls(_))), "{greeted:?}");
}

#[tokio::test]
async fn a_foreign_alpn_is_alert_120_however_tls_began() {
    for negotiated in [false, true] {
        let (greeted, client) = door(async |mut client, roots| {
            if negotiated {
                assert_eq!(ask(&mut client, &SSL).await, b'S');
            }
            let hello = Hello {
                alpn: &[b"h2"],
                ..HELLO
            };
            handshake(client, roots, hello).await.unwrap_err()
        })
        .await;
        assert!(matches!(greeted, Err(GreetError::Tls(_))), "{greeted:?}");
        let alert = client
            .into_inner()
            .unwrap()
            .downcast::<rustls::Error>()
            .unwrap();
        assert_eq!(
            *alert,
            rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
        );
    }
}

/// CVE-2021-23214, -23222, -3935, -43767, CVE-2024-10977: what came in clear must never pass for encrypted.
#[tokio::test]
async fn plaintext_stuffed_behind_an_ssl_request_ends_it() {
    // a startup packet, one byte, and the beginning of a ClientHello
    for stuffing in [STARTUP, b"\0", b"\x16\x03\x01\x02\x00\x01"] {
        let (greeted, mut client) =
            door(async |client, _| say(client, &[&SSL, stuffing].concat()).await).await;
        let Err(GreetError::Malformed {
            client: door,
            error,
        }) = greeted
        else {
            panic!("{greeted:?}")
        };
        assert_eq!(error, WireError::PlaintextAfterSslRequest);
        assert_eq!(error.sqlstate(), Some("08P01"));
        refuse(door, b"no").await;
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"no", "S must not have been said");
    }
}

#[tokio::test]
async fn a_cancel_request_comes_in_clear_and_over_tls() {
    for encrypted in [false, true] {
        let (greeted, _client) = door(async |mut client, roots| {
            if !encrypted {
                return Stream::Tcp(say(client, CANCEL).await);
            }
            assert_eq!(ask(&mut client, &SSL).await, b'S');
            let client = handshake(client, roots, HELLO).await.unwrap();
            Stream::Tcp(say(client, CANCEL).await.into_inner().0)
        })
        .await;
        let greeted = greeted.unwrap();
        assert_eq!(greeted.tls.is_some(), encrypted);
        match greeted.asked {
            Asked::Cancel(key) => assert_eq!((key.process, &*key.secret), (7, &b"abcd"[..])),
            Asked::Startup(startup) => panic!("{startup:?}"),
        }
    }
}

#[tokio::test]
async fn an_impossible_length_is_known_from_its_eight_bytes() {
    for length in [0_u32, 7, 10_005, u32::MAX >> 1, u32::MAX] {
        let opening = [&length.to_be_bytes()[..], &[0, 3, 0, 0]].concat();
        let (greeted, _client) = door(async |client, _| say(client, &opening).await).await;
        // 0x16 would be a ClientHello; none of these begins so
        assert_eq!(malformed(greeted), WireError::Length(length));
    }
}
