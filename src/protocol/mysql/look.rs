//! A look at a server for the gateway's own sake: how it greets, what it shows, and how it refuses one who is nobody. Floor 2.
//!
//! `doorward check` asks so. The server counts nothing against this host, as long as it plays along.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    leg::{Leg, LegError},
    legs::Way,
    unfinished::{EncryptError, HearError, Unfinished, random},
};
use crate::{
    net::{Fingerprint, Stream, UpstreamTls, shown_certificate},
    wire::mysql::{
        AuthPacket, Capabilities, ClientOpening, Edit, FirstPacket, Flavor, Greeting,
        HandshakeResponse, MAX_RESPONSE, errno, junk_login,
    },
};

/// What a server has shown of itself.
#[derive(Clone, Debug)]
pub struct Look {
    pub flavor: Flavor,
    /// As the server writes it, without the prefix that MariaDB 10 puts before it; what is no text in it is replaced.
    pub version: String,
    /// How long it took to greet: it may have looked our name up first.
    pub greeted: Duration,
    pub offers_tls: bool,
    /// `None` where there was no TLS.
    pub certificate: Option<Fingerprint>,
    /// The error number with which it refused nobody: 1045, if nothing else is wrong.
    pub verdict: Option<u16>,
    /// The address that it sees us by; `None` over a unix socket.
    pub from: Option<IpAddr>,
}

/// What a server makes of a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHeader {
    Taken,
    /// It takes them, and not from our address.
    NotFromHere,
    /// It takes them for a broken packet.
    Unknown,
    /// It ended the login in a way that says nothing of the header.
    Unclear,
}

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Unheard(#[from] HearError),
    #[error(transparent)]
    Unencrypted(#[from] EncryptError),
    /// After its greeting.
    #[error("the server hung up in the middle of a login")]
    HungUp,
}

impl Look {
    /// What the server made of the header that the connection began with.
    pub const fn on_header(&self) -> OnHeader {
        match self.verdict {
            Some(errno::ACCESS_DENIED) => OnHeader::Taken,
            Some(errno::HOST_NOT_PRIVILEGED) => OnHeader::NotFromHere,
            Some(errno::PACKETS_OUT_OF_ORDER) => OnHeader::Unknown,
            Some(_) | None => OnHeader::Unclear,
        }
    }

    /// The statement by which the server allows headers from where this look was taken (MariaDB). On a unix socket we are
    /// `localhost`.
    pub fn allowing_headers(&self) -> String {
        let from = self
            .from
            .map_or_else(|| "localhost".to_owned(), |ip| ip.to_string());
        format!(
            "SET GLOBAL proxy_protocol_networks = CONCAT_WS(',', NULLIF(@@GLOBAL.proxy_protocol_networks, ''), '{from}')"
        )
    }

    /// The first two numbers of the version.
    pub fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next()?.parse().ok();
        Some((number()?, number()?))
    }
}

/// Takes a look over a connection that has just been dialled. With `tls` the server must prove who it is; without, any certificate
/// that it shows is told. The caller bounds the whole of it.
///
/// # Errors
/// The server is not reached to the end of a login.
pub async fn look(
    stream: Stream,
    proxied: bool,
    tls: Option<&UpstreamTls>,
) -> Result<Look, LookError> {
    let from = stream.tcp().and_then(|socket| socket.local_addr().ok());
    let from = from.map(|address| address.ip().to_canonical());
    let mut server = Unfinished::new(stream, proxied, Arc::default());
    let begun = Instant::now();
    let greeting = server.hear().await?;
    let (nobody, offers_tls) = (nobody(greeting), offers_tls(greeting));
    let mut look = Look {
        flavor: greeting.flavor(),
        version: version(greeting),
        greeted: begun.elapsed(),
        offers_tls,
        certificate: None,
        verdict: None,
        from,
    };
    // a header that is refused is refused at once, and the connection closed under whatever we say next
    if proxied && let Ok(packet) = timeout(NOTICE, server.receive()).await {
        look.verdict = packet.ok().as_deref().and_then(|packet| errno(packet));
        return Ok(look);
    }
    let any = UpstreamTls::for_a_look().ok();
    // a unix socket says who its server is, and here TLS is for TCP
    let to_look = any.filter(|_| offers_tls && server.way() != Way::Unix);
    if let (Some(tls), Some(nobody)) = (tls.or(to_look.as_ref()), nobody)
        && let Err(error) = server.encrypt(&nobody, &Edit::default(), tls).await
    {
        server.abandon().await;
        return Err(error.into());
    }
    look.verdict = server.fail().await.map_err(|_broken| LookError::HungUp)?;
    look.certificate = server
        .into_stream()
        .and_then(|stream| stream.server_certificate());
    Ok(look)
}

/// The certificate of a server behind a unix socket. The connection ends in its middle, which a server does not count there.
///
/// # Errors
/// The server does not greet, has no TLS, or does not shake hands.
pub async fn certificate_behind(socket: Stream) -> Result<Option<Fingerprint>, LookError> {
    let mut leg = Leg::new(socket, 0);
    let broken = |error| match error {
        LegError::Io(error) => HearError::Broke(error),
        LegError::Closed | LegError::OutOfOrder | LegError::TooLong => HearError::Closed,
    };
    let first = leg.receive(MAX_RESPONSE).await.map_err(broken)?;
    let FirstPacket::Greeting(greeting) = FirstPacket::parse(&first).map_err(HearError::from)?
    else {
        return Err(HearError::Closed.into());
    };
    let Some(nobody) = nobody(&greeting).filter(|_| offers_tls(&greeting)) else {
        return Err(EncryptError::NotOffered.into());
    };
    let request = nobody.ssl_request(&Edit::default());
    leg.send(&request).await.map_err(EncryptError::from)?;
    let shown = shown_certificate(leg.into_stream()).await;
    Ok(shown.map_err(EncryptError::from)?)
}

fn offers_tls(greeting: &Greeting) -> bool {
    greeting.capabilities().has(Capabilities::SSL)
}

fn version(greeting: &Greeting) -> String {
    let version = String::from_utf8_lossy(greeting.version());
    let version = version.strip_prefix("5.5.5-").unwrap_or(&version);
    let shown = version.chars().take(MAX_VERSION);
    shown
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The response of a client that is nobody, whose flags are those of the login that is to fail.
fn nobody(greeting: &Greeting) -> Option<HandshakeResponse> {
    let payload = junk_login(greeting.plugin(), "doorward_nobody", &random());
    match ClientOpening::parse(&payload, greeting.offer(true, false)) {
        Ok(ClientOpening::Response(response)) => Some(response),
        Ok(ClientOpening::SslRequest(_)) | Err(_) => None,
    }
}

fn errno(packet: &[u8]) -> Option<u16> {
    let parsed = AuthPacket::parse(packet, Capabilities::default());
    if let Ok(AuthPacket::Err { errno, .. }) = parsed {
        Some(errno)
    } else {
        None
    }
}

/// How long a server may take to refuse a header. It has had the header before it greeted, or reads it right behind.
const NOTICE: Duration = Duration::from_millis(500);
const MAX_VERSION: usize = 80;

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream, UnixStream},
    };

    use super::*;
    use crate::wire::mysql::Packet;

    /// A greeting without TLS, as packet 0.
    fn greeting(version: &str, capabilities: u32) -> Vec<u8> {
        let [a, b, c, d] = capabilities.to_le_bytes();
        let parts: [&[u8]; 12] = [
            &[10],
            version.as_bytes(),
            b"\0\x07\0\0\0",
            &[b'a'; 8],
            &[0, a, b, 45, 2, 0, c, d, 21],
            &[0; 6],
            &[0x3d, 0, 0, 0],
            &[b'b'; 12],
            b"\0",
            b"mysql_native_password",
            b"\0",
            b"",
        ];
        Packet::encode(0, &parts.concat()).to_vec()
    }

    fn refusal(sequence: u8, errno: u16, text: &str) -> Vec<u8> {
        let [low, high] = errno.to_le_bytes();
        let payload = [&[0xff, low, high], text.as_bytes()].concat();
        Packet::encode(sequence, &payload).to_vec()
    }

    /// A connection to a server that says `first`, and `last` when something has come.
    async fn server(first: Vec<u8>, last: Vec<u8>) -> (Stream, impl Future<Output = Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let serving = async move {
            far.write_all(&first).await.unwrap();
            let mut heard = vec![0; 512];
            let many = far.read(&mut heard).await.unwrap();
            heard.truncate(many);
            far.write_all(&last).await.unwrap();
            heard
        };
        (Stream::Tcp(socket), serving)
    }

    #[tokio::test]
    async fn a_look_ends_as_a_login_of_nobody() {
        let denied = refusal(2, 1045, "#28000Access denied");
        let first = greeting("5.5.5-10.11.6-MariaDB\x1b", MARIADB);
        let (stream, serving) = server(first, denied).await;
        let (look, heard) = tokio::join!(look(stream, false, None), serving);
        let look = look.unwrap();
        assert_eq!((look.flavor, look.offers_tls), (Flavor::MariaDb, false));
        assert_eq!(look.version, "10.11.6-MariaDB\u{fffd}");
        assert_eq!(look.release(), Some((10, 11)));
        assert_eq!(look.verdict, Some(1045));
        assert_eq!(look.from, Some("127.0.0.1".parse().unwrap()));
        assert!(heard.windows(6).any(|part| part == b"nobody"));
    }

    #[tokio::test]
    async fn a_header_that_is_refused_is_heard_of_before_anything_is_said() {
        for (errno, told) in [
            (1130, OnHeader::NotFromHere),
            (1156, OnHeader::Unknown),
            (1040, OnHeader::Unclear),
        ] {
            let first = greeting("11.8.2-MariaDB", MARIADB);
            let refusal = refusal(1, errno, "#HY000Proxy header is not accepted");
            let (stream, serving) = server([first, refusal].concat(), Vec::new()).await;
            let (look, heard) = tokio::join!(look(stream, true, None), serving);
            assert_eq!(look.unwrap().on_header(), told);
            assert!(heard.is_empty(), "{heard:?}");
        }
    }

    #[tokio::test]
    async fn a_header_that_is_taken_ends_as_any_login_of_nobody() {
        let denied = refusal(2, 1045, "#28000Access denied");
        let (stream, serving) = server(greeting("11.8.2-MariaDB", MARIADB), denied).await;
        let (look, _) = tokio::join!(look(stream, true, None), serving);
        assert_eq!(look.unwrap().on_header(), OnHeader::Taken);
    }

    #[tokio::test]
    async fn a_server_that_refuses_before_it_greets_is_no_look() {
        let blocked = refusal(0, 1129, "Host is blocked");
        let (stream, serving) = server(blocked, Vec::new()).await;
        let (look, _) = tokio::join!(look(stream, false, None), serving);
        assert!(matches!(
            look,
            Err(LookError::Unheard(HearError::Refused { errno: 1129, .. }))
        ));
    }

    #[tokio::test]
    async fn tls_that_must_be_and_is_not_ends_in_order_too() {
        let denied = refusal(2, 1045, "#28000Access denied");
        let (stream, serving) = server(greeting("9.7.0", MARIADB | 1), denied).await;
        let tls = UpstreamTls::for_a_look().unwrap();
        let (look, heard) = tokio::join!(look(stream, false, Some(&tls)), serving);
        assert!(matches!(
            look,
            Err(LookError::Unencrypted(EncryptError::NotOffered))
        ));
        assert!(!heard.is_empty(), "a login of nobody");
    }

    #[test]
    fn the_statement_that_allows_headers_names_us_as_the_server_does() {
        let mut look = Look {
            flavor: Flavor::MariaDb,
            version: String::new(),
            greeted: Duration::ZERO,
            offers_tls: false,
            certificate: None,
            verdict: None,
            from: Some("192.0.2.1".parse().unwrap()),
        };
        assert!(look.allowing_headers().ends_with(", '192.0.2.1')"));
        look.from = None;
        assert!(look.allowing_headers().ends_with(", 'localhost')"));
        assert_eq!(look.release(), None);
    }

    #[tokio::test]
    async fn a_certificate_is_not_asked_of_a_server_that_has_none() {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(&greeting("11.8.2-MariaDB", MARIADB))
            .await
            .unwrap();
        let seen = certificate_behind(Stream::Unix(near)).await;
        assert!(matches!(
            seen,
            Err(LookError::Unencrypted(EncryptError::NotOffered))
        ));
    }

    /// `PROTOCOL_41`, `SECURE_CONNECTION`, `PLUGIN_AUTH`.
    const MARIADB: u32 = 0x0008_8200;
}
