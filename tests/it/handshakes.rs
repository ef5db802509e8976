//! The handshake with a client, byte by byte: in whatever pieces it comes, what ends it, what is never resumed, and who is asked for
//! a certificate.

use std::{
    fs,
    io::{self, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::harness::{
    Authority, Gateway, Postgres, Raw, Relay,
    client_ca::{ClientCa, Shown},
    gateway::{Plan, SHOP},
    psql, raw, tls, wait_until,
};

/// Shakes hands on a socket on which that is due; `pieces` is what becomes of the `ClientHello`.
fn shake(
    socket: &mut TcpStream,
    config: Arc<ClientConfig>,
    pieces: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>>,
) -> io::Result<ClientConnection> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello)?;
    assert!(!connection.wants_write());
    for piece in pieces(hello) {
        socket.write_all(&piece)?;
    }
    while connection.is_handshaking() {
        connection.complete_io(socket)?;
    }
    Ok(connection)
}

/// A socket on which a handshake is due: directly, or after `SSLRequest`.
fn due(port: u16, asked: bool) -> TcpStream {
    let mut raw = Raw::connect(port);
    if asked {
        raw.send(&raw::SSL_REQUEST);
        assert_eq!(raw.byte(), b'S');
    }
    raw.socket
}

/// A client that the handshake is done with.
fn behind(connection: ClientConnection, socket: TcpStream) -> Raw {
    Raw {
        socket: socket.try_clone().unwrap(),
        stream: Box::new(StreamOwned::new(connection, socket)),
    }
}

const TEXT: &str =
    "origins:\n  - {name: t, from: [127.0.0.1], users: [by_text], databases: [shop]}\n";

/// The payload of TLS records, each byte in a record of its own.
fn in_records(hello: &[u8]) -> Vec<u8> {
    let mut rest = hello;
    let mut pieces = Vec::new();
    while let [kind, major, minor, high, low, after @ ..] = rest {
        let length = usize::from(*high) << 8 | usize::from(*low);
        for byte in &after[..length] {
            pieces.extend_from_slice(&[*kind, *major, *minor, 0, 1, *byte]);
        }
        rest = &after[length..];
    }
    pieces
}

#[test]
fn a_client_hello_in_whatever_pieces_is_the_same() {
    type Cut = fn(Vec<u8>) -> Vec<Vec<u8>>;
    let gateway = Gateway::start(&Postgres::shared().address(), TEXT);
    let cuts: [Cut; 4] = [
        |hello| vec![hello],
        |hello| hello.into_iter().map(|byte| vec![byte]).collect(),
        |hello| vec![in_records(&hello)],
        |hello| in_records(&hello).chunks(4).map(<[u8]>::to_vec).collect(),
    ];
    for asked in [true, false] {
        for cut in cuts {
            let mut socket = due(gateway.port, asked);
            let connection = shake(&mut socket, tls::client(&["postgresql"]), cut).unwrap();
            behind(connection, socket).log_in("by_text", "shop");
        }
    }
}

#[test]
fn a_client_hello_of_more_than_one_record_is_read() {
    let gateway = Gateway::start(&Postgres::shared().address(), TEXT);
    // each name may be 255 bytes long
    let names: Vec<_> = (0..120).map(|n| format!("{n:0>250}")).collect();
    let names: Vec<_> = names
        .iter()
        .map(String::as_str)
        .chain(["postgresql"])
        .collect();
    for asked in [true, false] {
        let mut socket = due(gateway.port, asked);
        let mut size = 0;
        let connection = shake(&mut socket, tls::client(&names), |hello| {
            size = hello.len();
            vec![hello]
        });
        assert!(size > 0x4000, "{size}");
        behind(connection.unwrap(), socket).log_in("by_text", "shop");
    }
}

#[test]
fn a_client_hello_that_never_ends_is_put_out() {
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), SHOP);
    for asked in [true, false] {
        let mut socket = due(gateway.port, asked);
        // it is to be 16 MB long; each record is as large as one may be
        let head = [1, 0xff, 0xff, 0xff];
        let record = |payload: &[u8]| {
            let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
            [&[0x16, 3, 1], length.as_slice(), payload].concat()
        };
        socket.write_all(&record(&head)).unwrap();
        let filling = record(&[0; 0x4000]);
        let mut sent = 0;
        while socket.write_all(&filling).is_ok() && sent < 64 {
            sent += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(sent < 64, "more than a megabyte was taken");
    }
    wait_until("both are counted", || {
        (gateway.refused("tls_failed") >= 2.0).then_some(())
    });
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn requests_in_turns_without_end_come_to_one() {
    // CVE-2026-6479
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), SHOP);
    let turns = [raw::GSSENC_REQUEST, raw::SSL_REQUEST]
        .concat()
        .repeat(500_000);
    let config = tls::client(&["postgresql"]);
    let direct = Raw::connect(gateway.port).handshake(config).unwrap().0;
    for (mut client, code, answers) in [
        (Raw::connect(gateway.port), "08P01", 1),
        (Raw::encrypted([127, 0, 0, 1], gateway.port), "0A000", 0),
        (direct, "0A000", 0),
    ] {
        let began = Instant::now();
        // it is closed before it has taken all
        client.try_send(&turns).ok();
        let said = client.rest();
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(said.len() < 300, "{said:?}");
        assert_eq!(
            said.iter().take_while(|byte| **byte == b'N').count(),
            answers
        );
        // a reset may have eaten the words of whoever was not listened to
        let told = said.windows(code.len()).any(|part| part == code.as_bytes());
        assert!(told || said.len() <= answers, "{said:?}");
    }
    gateway.until_metric(
        "doorward_decisions_total",
        &[("reason", "malformed_opening")],
        3.0,
    );
    assert_eq!(upstream.connected(), 0);
}

fn chain(certificate: &std::path::Path) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(certificate).unwrap();
    all.collect::<Result<_, _>>().unwrap()
}

/// Shows what it is given, and remembers whether it was asked.
#[derive(Debug)]
struct Shows {
    what: Arc<CertifiedKey>,
    asked: Mutex<bool>,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.asked.lock().unwrap() = true;
        Some(Arc::clone(&self.what))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn showing(
    shown: &Shown,
    version: &'static SupportedProtocolVersion,
) -> (Arc<ClientConfig>, Arc<Shows>) {
    let key = PrivateKeyDer::from_pem_file(&shown.key).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let resolver = Arc::new(Shows {
        what: Arc::new(CertifiedKey::new(chain(&shown.certificate), key)),
        asked: Mutex::new(false),
    });
    let mut roots = RootCertStore::empty();
    for root in chain(&Authority::shared().root()) {
        roots.add(root).unwrap();
    }
    let mut config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesClientCert>);
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    (Arc::new(config), resolver)
}

/// CVE-2025-68121, CVE-2025-23419: a resumed session would bring along who it was before, whoever vouches now.
#[test]
fn nothing_is_resumed_so_that_a_taken_ca_is_taken() {
    let (ca, other) = (ClientCa::new(), ClientCa::new());
    let shop = ca.issue("shop.example.com", &[]);
    let policy = "\
origins:
  - {name: shop, from: [any], proof: {certificate: {dns: shop.example.com}}, users: [by_text], databases: [shop]}
";
    for version in [&TLS12, &TLS13] {
        let plan = Plan::new(&Postgres::shared().address());
        let file = plan.folder.path().join("clients.crt");
        let list = plan.folder.path().join("clients.crl");
        fs::copy(ca.certificate(), &file).unwrap();
        fs::copy(ca.list(), &list).unwrap();
        let gateway = plan.believing_files(&file, &list).start(policy);
        // it keeps what it is given, and would come back with it
        let (config, _) = showing(&shop, version);
        let comes = || {
            let mut socket = due(gateway.port, true);
            let connection = shake(&mut socket, Arc::clone(&config), |hello| vec![hello]).unwrap();
            assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(connection.tls13_tickets_received(), 0);
            behind(connection, socket)
        };
        comes().log_in("by_text", "shop");
        comes().log_in("by_text", "shop");
        fs::copy(other.certificate(), &file).unwrap();
        fs::copy(other.list(), &list).unwrap();
        gateway.command(&["reload"]).worked();
        let mut client = comes();
        client.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
        assert_eq!(client.refusal().field('C').as_deref(), Some("28000"));
        gateway.logged(&[("reason", "certificate_mismatch")]);
    }
}

#[test]
fn a_certificate_is_asked_only_of_whom_it_can_help_or_harm() {
    let ca = ClientCa::new();
    let shop = ca.issue("shop.example.com", &[]);
    let address_only =
        "origins:\n  - {name: shop, from: [127.0.0.1], users: [by_text], databases: [shop]}\n";
    let proved = "{certificate: {dns: shop.example.com}}, users: [other], databases: [shop]}\n";
    let hash = "ab".repeat(32);
    let gateway = Plan::new(&Postgres::shared().address()).believing(&ca);
    let gateway = gateway.start(address_only);
    for (more, asked) in [
        (String::new(), [false, false]),
        (
            format!("  - {{name: b, from: [127.0.0.2], proof: {proved}"),
            [false, true],
        ),
        (
            format!("  - {{name: b, from: [127.0.0.0/8], proof: {proved}"),
            [true, true],
        ),
        (
            format!("  - {{name: b, from: [any], proof: {proved}"),
            [true, true],
        ),
        (
            format!("deny:\n  - {{name: b, from: [127.0.0.2], certificates: [\"{hash}\"]}}\n"),
            [false, true],
        ),
        (
            format!("deny:\n  - {{name: b, certificates: [\"{hash}\"]}}\n"),
            [true, true],
        ),
        (
            "deny:\n  - {name: b, users: [eva]}\n".to_owned(),
            [false, false],
        ),
    ] {
        gateway.reload(&format!("{address_only}{more}"));
        for (source, asked) in [[127, 0, 0, 1], [127, 0, 0, 2]].into_iter().zip(asked) {
            for version in [&TLS12, &TLS13] {
                let (config, shows) = showing(&shop, version);
                let mut client = Raw::connect_from(source, gateway.port);
                client.send(&raw::SSL_REQUEST);
                assert_eq!(client.byte(), b'S');
                client.handshake(config).unwrap();
                assert_eq!(*shows.asked.lock().unwrap(), asked, "{source:?} {more}");
            }
        }
    }
}

#[test]
fn a_bad_certificate_breaks_no_origin_that_asks_for_none() {
    let ca = ClientCa::new();
    let folder = tempfile::tempdir().unwrap();
    // of version 1, by whom nobody knows, for nobody, and long over
    let script = "openssl req -newkey rsa:2048 -nodes -subj /CN=old -keyout k -out r && openssl x509 -req -in r -signkey k -days 1 -out c && chmod 600 k";
    let mut shell = std::process::Command::new("sh");
    crate::harness::run(shell.args(["-c", script]).current_dir(folder.path())).worked();
    let shown = Shown {
        certificate: folder.path().join("c"),
        key: folder.path().join("k"),
    };
    let gateway = Plan::new(&Postgres::shared().address()).believing(&ca);
    let gateway = gateway.start(SHOP);
    let comes = || psql(&gateway.shop().showing(&shown), "select 1");
    assert_eq!(comes().worked(), "1");
    // also where somebody else is asked for one at the same address
    let proved = "  - {name: b, from: [any], proof: {certificate: {dns: shop.example.com}}, users: [other], databases: [shop]}\n";
    gateway.reload(&format!("{SHOP}{proved}"));
    assert_eq!(comes().worked(), "1");
    let other = psql(
        &crate::harness::Login::new(gateway.port, "other", "shop").showing(&shown),
        "select 1",
    );
    assert!(other.failed().contains("certificate_mismatch"), "{other:?}");
}
