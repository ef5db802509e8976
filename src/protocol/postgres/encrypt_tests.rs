//! The way to a server that does what it should, and to one that does not.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UnixStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use super::*;
use crate::net::Fingerprint;

/// A server's terms, and what it is known by. `speaks`: its protocols (ALPN).
fn server(speaks: &[&[u8]]) -> (Arc<ServerConfig>, Fingerprint) {
    let made = rcgen::generate_simple_self_signed(["db".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let pin = Fingerprint::of(&certificate);
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = speaks.iter().map(|name| name.to_vec()).collect();
    (Arc::new(config), pin)
}

/// What comes of the way to a server that does this, and what that has heard or made of it.
async fn way<T, F: Future<Output = T>>(
    tls: UpstreamTls,
    serve: impl FnOnce(TcpStream) -> F,
) -> (Result<Stream, EncryptError>, T) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    let gateway = encrypt(Stream::Tcp(near.unwrap()), &tls);
    let both = async { tokio::join!(gateway, serve(far.unwrap().0)) };
    let both = timeout(Duration::from_secs(20), both).await;
    both.expect("one side waits for the other for ever")
}

fn pinned(pin: Fingerprint, negotiation: Negotiation) -> UpstreamTls {
    let tls = UpstreamTls::pinned(pin, None).unwrap();
    tls.with_postgres(negotiation)
}

/// For servers that never get as far as showing a certificate.
fn asking() -> UpstreamTls {
    pinned(Fingerprint([7; 32]), Negotiation::Request)
}

/// Reads the request, answers so, and hears what follows.
async fn answering(mut far: TcpStream, answer: &[u8]) -> Vec<u8> {
    let mut heard = vec![0; Opening::SSL_REQUEST.len()];
    far.read_exact(&mut heard).await.unwrap();
    far.write_all(answer).await.unwrap();
    far.shutdown().await.unwrap();
    far.read_to_end(&mut heard).await.ok();
    heard
}

async fn accepting(far: TcpStream, config: Arc<ServerConfig>) -> TlsStream<TcpStream> {
    TlsAcceptor::from(config).accept(far).await.unwrap()
}

#[tokio::test]
async fn tls_is_asked_for_by_eight_bytes_and_names_the_protocol() {
    for speaks in [&[ALPN][..], &[]] {
        let (config, pin) = server(speaks);
        let (stream, far) = way(pinned(pin, Negotiation::Request), async |mut far| {
            let mut request = [0; 8];
            far.read_exact(&mut request).await.unwrap();
            assert_eq!(request, Opening::SSL_REQUEST);
            far.write_all(b"S").await.unwrap();
            accepting(far, config).await
        })
        .await;
        assert_eq!(stream.unwrap().server_certificate(), Some(pin));
        // a server before 17 names none
        let agreed = far.get_ref().1.alpn_protocol();
        assert_eq!(agreed, speaks.first().copied());
    }
}

#[tokio::test]
async fn direct_tls_says_nothing_before_it() {
    let (config, pin) = server(&[ALPN]);
    let (stream, _far) = way(pinned(pin, Negotiation::Direct), async |far| {
        accepting(far, config).await
    })
    .await;
    assert_eq!(stream.unwrap().server_certificate(), Some(pin));
}

/// Any other server that speaks TLS might be there: its certificate says nothing of the port.
#[tokio::test]
async fn direct_tls_with_a_server_that_does_not_name_the_protocol_is_none() {
    let (config, pin) = server(&[]);
    let (stream, _far) = way(pinned(pin, Negotiation::Direct), async |far| {
        accepting(far, config).await
    })
    .await;
    assert!(
        matches!(stream, Err(EncryptError::OtherProtocol)),
        "{stream:?}"
    );
}

/// CVE-2024-10977: what somebody between us and the server writes in its place reaches nobody.
#[tokio::test]
async fn whatever_is_no_yes_ends_it_and_is_repeated_to_nobody() {
    const TEXT: &[u8] = b"ESFATAL\0Mcall 555-0100 to pay\0\0";
    type Fits = fn(&EncryptError) -> bool;
    let answers: [(&[u8], Fits); 8] = [
        (b"N", |error| matches!(error, EncryptError::NotOffered)),
        (b"NN", |error| matches!(error, EncryptError::NotOffered)),
        (b"E", |error| matches!(error, EncryptError::Refused)),
        (TEXT, |error| matches!(error, EncryptError::Refused)),
        (b"", |error| matches!(error, EncryptError::Closed)),
        (b"G", |error| matches!(error, EncryptError::NotPostgres)),
        (b"s", |error| matches!(error, EncryptError::NotPostgres)),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", |error| {
            matches!(error, EncryptError::NotPostgres)
        }),
    ];
    for (answer, fits) in answers {
        let (stream, heard) = way(asking(), async |far| answering(far, answer).await).await;
        let error = stream.unwrap_err();
        assert!(fits(&error), "{answer:?}: {error:?}");
        assert!(!error.to_string().contains("555"), "{error}");
        assert_eq!(heard, Opening::SSL_REQUEST, "{answer:?}");
    }
}

/// CVE-2021-23222, CVE-2021-43767, CVE-2021-3935: what came in clear must never pass for the server's.
#[tokio::test]
async fn what_comes_behind_the_yes_ends_it() {
    // an error, a first message of a login, and the beginning of a ServerHello
    for stuffing in [&b"E"[..], b"R\0\0\0\x08\0\0\0\0", b"\x16\x03\x03\0\x7a\x02"] {
        let answer = [b"S", stuffing].concat();
        let (stream, heard) = way(asking(), async |far| answering(far, &answer).await).await;
        assert!(matches!(stream, Err(EncryptError::Stuffed)), "{stream:?}");
        assert_eq!(heard, Opening::SSL_REQUEST);
    }
}

#[tokio::test]
async fn what_comes_later_in_clear_is_no_handshake() {
    let (stream, ()) = way(asking(), async |mut far| {
        let mut heard = [0; 8];
        far.read_exact(&mut heard).await.unwrap();
        far.write_all(b"S").await.unwrap();
        sleep(Duration::from_millis(50)).await;
        far.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")
            .await
            .unwrap();
        far.read_to_end(&mut Vec::new()).await.ok();
    })
    .await;
    assert!(
        matches!(stream, Err(EncryptError::Handshake(_))),
        "{stream:?}"
    );
}

#[tokio::test]
async fn a_server_with_another_certificate_is_none() {
    let (config, _) = server(&[ALPN]);
    let (stream, ()) = way(asking(), async |mut far| {
        far.read_exact(&mut [0; 8]).await.unwrap();
        far.write_all(b"S").await.unwrap();
        assert!(TlsAcceptor::from(config).accept(far).await.is_err());
    })
    .await;
    let error = stream.unwrap_err().to_string();
    assert!(error.contains("not the pinned one"), "{error}");
}

#[tokio::test]
async fn a_unix_socket_is_never_taken_for_encrypted() {
    for negotiation in [Negotiation::Request, Negotiation::Direct] {
        let (near, _far) = UnixStream::pair().unwrap();
        let tls = pinned(Fingerprint([7; 32]), negotiation);
        let stream = encrypt(Stream::Unix(near), &tls).await;
        let none = matches!(stream, Err(EncryptError::Handshake(SecureError::NotTcp)));
        assert!(none, "{stream:?}");
    }
}
