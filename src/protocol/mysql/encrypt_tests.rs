//! TLS towards the server, against a real socket: who asks for it, when, and what is never said in clear.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    super::{
        players::{DENIED, greeting},
        unfinished::{Abandoned, Abandons},
    },
    tests::{NONCE, opening, soon, terms},
    *,
};
use crate::{
    net::{Fingerprint, UpstreamTls},
    wire::mysql::{HEADER, Packet, plugin},
};

/// A server's socket, and a login at it over TLS with the certificate that `pin` names. `offers`: the server's greeting says it has TLS.
async fn log_in_behind_tls<F: Future<Output = Vec<u8>>>(
    offers: bool,
    pinned: Option<[u8; 32]>,
    serve: impl FnOnce(TcpStream, Arc<ServerConfig>) -> F,
) -> (Result<LoggedIn, LoginError>, Abandoned, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["db".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let pin = pinned.map_or_else(|| Fingerprint::of(&certificate), Fingerprint);
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    let gateway = Box::pin(async {
        let tls = UpstreamTls::pinned(pin, None).unwrap();
        let stream = Stream::Tcp(near.unwrap());
        let mut upstream = Unfinished::new(stream, false, Arc::<Abandons>::default());
        upstream.hear().await.unwrap();
        // the client's leg is a socket nobody sits at
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, _held) = tokio::join!(client, listener.accept());
        let mut client = Stream::Tcp(client.unwrap());
        let first = super::super::players::response("app", &[7; 20], plugin::NATIVE);
        let mut opening = opening(&first, NONCE, 2);
        let login = login(
            &mut client,
            &mut upstream,
            &mut opening,
            Some(&tls),
            terms(),
        )
        .await;
        (login, upstream.abandon().await)
    });
    let serving = Box::pin(async {
        let mut far = far.unwrap().0;
        let mut greeting = greeting(NONCE, Flavor::MySql);
        if !offers {
            // the lower flags follow the version, the id and the first half of the nonce
            greeting[1 + 6 + 4 + 9 + 1] &= !0x08;
        }
        let packet = Packet::encode(0, &greeting);
        far.write_all(&packet).await.unwrap();
        serve(far, Arc::new(config)).await
    });
    let both = Box::pin(async { tokio::join!(gateway, serving) });
    let ((login, abandoned), seen) = soon(both).await;
    (login, abandoned, seen)
}

#[tokio::test]
async fn the_name_is_said_inside_tls_and_the_numbers_go_on() {
    let (login, abandoned, seen) = log_in_behind_tls(true, None, async |mut far, config| {
        let mut request = [0; HEADER + 32];
        far.read_exact(&mut request).await.unwrap();
        assert_eq!(request[..HEADER], [32, 0, 0, 1]);
        assert_eq!(request[HEADER + 1] & 0x08, 0x08, "it asks for TLS");
        let mut inside = TlsAcceptor::from(config).accept(far).await.unwrap();
        let mut first = vec![0; 256];
        let length = inside.read(&mut first).await.unwrap();
        first.truncate(length);
        let refusal = Packet::encode(first[3] + 1, DENIED);
        inside.write_all(&refusal).await.unwrap();
        inside.flush().await.unwrap();
        let _end = inside.read(&mut [0; 16]).await;
        first
    })
    .await;
    assert!(
        matches!(login, Err(LoginError::Refused { errno: 1045 })),
        "{login:?}"
    );
    assert_eq!((abandoned, seen[3]), (Abandoned::InOrder, 2));
    assert!(seen.windows(4).any(|part| part == b"app\0"));
}

/// CVE-2015-3152, CVE-2017-3305: whoever stands between may take the offer of TLS away.
#[tokio::test]
async fn a_server_that_offers_no_tls_hears_of_nobody() {
    let (login, abandoned, seen) = log_in_behind_tls(false, None, async |mut far, _| {
        let mut seen = vec![0; 256];
        let length = far.read(&mut seen).await.unwrap();
        seen.truncate(length);
        let refusal = Packet::encode(seen[3] + 1, DENIED);
        far.write_all(&refusal).await.unwrap();
        let _end = far.read(&mut [0; 16]).await;
        seen
    })
    .await;
    let refused = matches!(
        login,
        Err(LoginError::Unencrypted(EncryptError::NotOffered))
    );
    assert!(refused, "{login:?}");
    assert_eq!(abandoned, Abandoned::InOrder);
    assert!(!seen.windows(4).any(|part| part == b"app\0"));
}

#[tokio::test]
async fn a_server_with_another_certificate_hears_of_nobody() {
    let other = Some([7; 32]);
    let (login, abandoned, seen) = log_in_behind_tls(true, other, async |mut far, config| {
        let mut request = [0; HEADER + 32];
        far.read_exact(&mut request).await.unwrap();
        let mut seen = request.to_vec();
        if let Ok(mut inside) = TlsAcceptor::from(config).accept(far).await {
            let _end = inside.read_to_end(&mut seen).await;
        }
        seen
    })
    .await;
    let refused = matches!(
        login,
        Err(LoginError::Unencrypted(EncryptError::Handshake(_)))
    );
    assert!(refused, "{login:?}");
    assert_eq!(abandoned, Abandoned::Counted, "nothing more can be said");
    assert_eq!(seen.len(), HEADER + 32);
}
