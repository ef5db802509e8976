//! Logins that end here and are made anew, between a driver's own client and a server made of the other half.

#[path = "terminate_tests/hostile.rs"]
mod hostile;

use std::future::{Pending, pending};

use postgres_protocol::{
    authentication::sasl::{ChannelBinding, ScramSha256},
    password::scram_sha_256,
};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::{
    super::{
        Accounts, LoggedIn, Scram, Terms, login,
        scram::{Distrust, Doubt, Secret},
    },
    *,
};
use crate::{
    config::Verifiers,
    net::EndPoint,
    wire::{
        Parsed,
        postgres::{
            Opening, StartupMessage, Verifier,
            sasl::{self, SCRAM, SCRAM_PLUS},
        },
    },
};

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";
const NOTICE: &[u8] = b"N\0\0\0\x09Mold\0";

fn startup(user: &str) -> StartupMessage {
    let body = format!("\0\x03\0\0user\0{user}\0\0");
    let size = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    match Opening::parse(&[&size[..], body.as_bytes()].concat()) {
        Ok(Parsed::Done(Opening::Startup(startup), _)) => startup,
        other => panic!("{other:?}"),
    }
}

/// The end points of two certificates.
fn end_points() -> (EndPoint, EndPoint) {
    let made = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        EndPoint::of(made.cert.der()).unwrap()
    };
    (made(), made())
}

/// A listener's file in which `app` has the password that this is of.
fn accounts(verifier: &str) -> Accounts {
    let text = format!("\"app\" \"{verifier}\"");
    let verifiers = Verifiers::parse(std::path::Path::new("/roles"), &text).unwrap();
    Accounts::new(verifiers, Secret::new([7; Secret::SIZE]))
}

/// Reads one whole message.
async fn message(end: &mut DuplexStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 5];
    end.read_exact(&mut bytes).await.ok()?;
    let size = u32::from_be_bytes(bytes[1..].try_into().unwrap()) as usize;
    bytes.resize(1 + size, 0);
    end.read_exact(&mut bytes[5..]).await.ok()?;
    Some(bytes)
}

/// How a driver logs in.
struct Driver<'a> {
    password: &'a str,
    /// What it binds its login to, or that it could.
    binding: ChannelBinding,
    mechanism: &'a str,
    /// Bends its proof.
    bend: fn(&mut Vec<u8>),
}

impl<'a> Driver<'a> {
    fn new(password: &'a str, bound: Option<&EndPoint>) -> Self {
        let (binding, mechanism) = match bound {
            Some(bound) => (
                ChannelBinding::tls_server_end_point(bound.as_bytes().to_vec()),
                SCRAM_PLUS,
            ),
            None => (ChannelBinding::unsupported(), SCRAM),
        };
        Self {
            password,
            binding,
            mechanism,
            bend: |_| (),
        }
    }

    /// Logs in, and tells all that the client has heard.
    async fn log_in(self, end: &mut DuplexStream) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        let mut scram = ScramSha256::new(self.password.as_bytes(), self.binding);
        while let Some(said) = message(end).await {
            let payload = &said[5..];
            let answer = match (said[0], payload.get(3)) {
                (b'R', Some(10)) => {
                    let first = str::from_utf8(scram.message()).unwrap();
                    sasl::choose(self.mechanism, first)
                }
                (b'R', Some(11)) => {
                    scram.update(&payload[4..]).unwrap();
                    let mut proof = scram.message().to_vec();
                    (self.bend)(&mut proof);
                    sasl::respond(str::from_utf8(&proof).unwrap())
                }
                (b'R', Some(12)) => {
                    scram.finish(&payload[4..]).expect("the driver believes us");
                    Vec::new()
                }
                _ => Vec::new(),
            };
            let last = said[0] == b'Z' || said[0] == b'E';
            heard.push(said);
            if last {
                break;
            }
            // a gateway that has had enough is gone, and has said why
            drop(end.write_all(&answer).await);
        }
        heard
    }
}

/// A server with this verifier and certificate. Tells what it heard.
async fn serve(
    end: &mut DuplexStream,
    verifier: &Verifier,
    shown: Option<&EndPoint>,
) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    let server = ServerSide::new(verifier, shown.map(EndPoint::as_bytes));
    end.write_all(&[NOTICE, &server.offer()].concat())
        .await
        .unwrap();
    let Some(first) = message(end).await else {
        return heard;
    };
    let challenged = server.challenge(&first[5..], "servers").unwrap();
    heard.push(first);
    end.write_all(&[NOTICE, &challenged.1].concat())
        .await
        .unwrap();
    let Some(proof) = message(end).await else {
        return heard;
    };
    let (_, last) = challenged
        .0
        .judge(&proof[5..])
        .expect("the server believes us");
    heard.push(proof);
    end.write_all(&[&last, OK, READY].concat()).await.unwrap();
    heard
}

fn terms(
    accounts: &Accounts,
    ours: Option<EndPoint>,
    theirs: Option<EndPoint>,
) -> Terms<'_, Pending<Denial>> {
    Terms {
        authentication: true,
        cleartext: false,
        scram: Scram::Terminate(Proofs {
            accounts,
            ours,
            theirs,
        }),
        interrupted: pending(),
    }
}

/// What the three have seen of a login.
struct Seen {
    login: Result<LoggedIn, LoginError>,
    by_client: Vec<Vec<u8>>,
    by_server: Vec<Vec<u8>>,
}

/// Logs `user` in with this driver. The gateway knows `file`, and the server `kept`.
async fn play(
    user: &str,
    driver: Driver<'_>,
    (file, kept): (&str, &str),
    (ours, theirs): (Option<EndPoint>, Option<EndPoint>),
) -> Seen {
    let (mut at_client, mut door) = duplex(1 << 16);
    let (mut database, mut at_server) = duplex(1 << 16);
    let (accounts, kept) = (accounts(file), Verifier::parse(kept).ok().unwrap());
    let startup = startup(user);
    let gateway = async {
        let login = login(
            &mut door,
            &mut database,
            &startup,
            terms(&accounts, ours, theirs),
        )
        .await;
        drop((door, database));
        login
    };
    let server = async {
        let mut opening = vec![0; startup.encode().len()];
        at_server.read_exact(&mut opening).await.unwrap();
        serve(&mut at_server, &kept, theirs.as_ref()).await
    };
    let (login, by_client, by_server) =
        tokio::join!(gateway, driver.log_in(&mut at_client), server);
    Seen {
        login,
        by_client,
        by_server,
    }
}

/// Which messages these are, by their type and, of an `R`, its number.
fn kinds(heard: &[Vec<u8>]) -> Vec<(u8, u8)> {
    let mut kinds = Vec::new();
    for said in heard {
        let number = said.get(8).copied().filter(|_| said[0] == b'R');
        kinds.push((said[0], number.unwrap_or_default()));
    }
    kinds
}

#[tokio::test]
async fn a_password_that_is_proved_to_us_is_proved_to_the_server_each_bound_to_its_own_certificate()
{
    let verifier = scram_sha_256(b"secret");
    let (one, other) = end_points();
    for ours in [None, Some(one)] {
        for theirs in [None, Some(other)] {
            let driver = Driver::new("secret", ours.as_ref());
            let seen = play("app", driver, (&verifier, &verifier), (ours, theirs)).await;
            let login = seen.login.unwrap();
            assert_eq!(login.turns, 3);
            let kinds = kinds(&seen.by_client);
            let names = |said: &[u8]| sasl::mechanisms(&said[5..]).unwrap().len();
            assert_eq!(names(&seen.by_client[1]), 1 + usize::from(ours.is_some()));
            let dialogue = [(b'R', 10), (b'N', 0), (b'R', 11), (b'R', 12), (b'R', 0)];
            for step in dialogue {
                assert!(kinds.contains(&step), "{step:?} {kinds:?}");
            }
            let (mechanism, _) = sasl::chosen(&seen.by_server[0][5..]).unwrap();
            assert_eq!(mechanism == SCRAM_PLUS, theirs.is_some());
        }
    }
}

#[tokio::test]
async fn a_wrong_password_never_reaches_the_server() {
    let verifier = scram_sha_256(b"secret");
    for user in ["app", "nobody"] {
        let driver = Driver::new("guess", None);
        let seen = play(user, driver, (&verifier, &verifier), (None, None)).await;
        let doubted = matches!(seen.login, Err(LoginError::Doubted(Doubt::WrongProof)));
        assert!(doubted, "{:?}", seen.login);
        assert!(seen.by_server.is_empty());
        let heard = [(b'N', 0), (b'R', 10), (b'R', 11)];
        assert_eq!(kinds(&seen.by_client), heard, "{user}");
    }
}

// CVE-2015-6817: whom nobody knows
#[tokio::test]
async fn who_has_no_account_is_shown_the_same_salt_each_time_and_does_not_get_in() {
    let verifier = scram_sha_256(b"secret");
    let salt = async |user: &str, password: &str| {
        let driver = Driver::new(password, None);
        let seen = play(user, driver, (&verifier, &verifier), (None, None)).await;
        assert!(seen.login.is_err() || user == "app");
        let challenge = seen.by_client.iter().find(|said| said[8] == 11).unwrap();
        let text = sasl::continued(&challenge[5..]).unwrap().to_owned();
        sasl::ServerFirst::parse(&text).ok().unwrap().salt
    };
    let nobody = salt("nobody", "").await;
    assert_eq!(nobody, salt("nobody", "x").await);
    assert_ne!(nobody, salt("nobody2", "").await);
    assert_eq!(nobody.len(), salt("app", "secret").await.len());
}

#[tokio::test]
async fn a_login_bound_to_another_certificate_than_ours_is_not_believed() {
    let verifier = scram_sha_256(b"secret");
    let (ours, theirs) = end_points();
    let driver = Driver::new("secret", Some(&theirs));
    let seen = play(
        "app",
        driver,
        (&verifier, &verifier),
        (Some(ours), Some(theirs)),
    )
    .await;
    assert!(matches!(
        seen.login,
        Err(LoginError::Doubted(Doubt::OtherConnection))
    ));
    assert!(seen.by_server.is_empty());
}

// CVE-2025-49146, CVE-2026-54291: the offer to bind was taken away
#[tokio::test]
async fn a_client_that_was_kept_from_binding_is_not_believed() {
    let verifier = scram_sha_256(b"secret");
    let (ours, _) = end_points();
    let driver = || Driver {
        binding: ChannelBinding::unrequested(),
        ..Driver::new("secret", None)
    };
    let seen = play("app", driver(), (&verifier, &verifier), (Some(ours), None)).await;
    assert!(matches!(
        seen.login,
        Err(LoginError::Doubted(Doubt::Downgraded))
    ));
    assert!(seen.by_server.is_empty());
    let seen = play("app", driver(), (&verifier, &verifier), (None, None)).await;
    assert!(seen.login.is_ok(), "there was no offer");
}

#[tokio::test]
async fn a_file_that_is_out_of_date_is_said_to_be() {
    let (old, new) = (scram_sha_256(b"secret"), scram_sha_256(b"secret"));
    let driver = Driver::new("secret", None);
    let seen = play("app", driver, (&old, &new), (None, None)).await;
    let error = seen.login.unwrap_err();
    assert!(matches!(error, LoginError::Distrusted(Distrust::Stale)));
    assert!(error.to_string().contains("pg_dumpall --roles-only"));
    // its first word alone: no proof
    assert_eq!(seen.by_server.len(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_is_not_believed() {
    let verifier = scram_sha_256(b"secret");
    let accounts = accounts(&verifier);
    let (mut at_client, mut door) = duplex(1 << 16);
    let (mut database, mut at_server) = duplex(1 << 16);
    let startup = startup("app");
    let gateway = async {
        let login = login(
            &mut door,
            &mut database,
            &startup,
            terms(&accounts, None, None),
        )
        .await;
        drop((door, database));
        login
    };
    let server = async {
        let mut opening = vec![0; startup.encode().len()];
        at_server.read_exact(&mut opening).await.unwrap();
        at_server.write_all(&sasl::offer(&[SCRAM])).await.unwrap();
        let first = message(&mut at_server).await.unwrap();
        let verifier = Verifier::parse(&verifier).ok().unwrap();
        let server = ServerSide::new(&verifier, None);
        let (_, challenge) = server.challenge(&first[5..], "servers").unwrap();
        at_server.write_all(&challenge).await.unwrap();
        drop(message(&mut at_server).await);
        let forged = sasl::the_end(&sasl::signed(&[0; 32]));
        at_server
            .write_all(&[&forged, OK, READY].concat())
            .await
            .unwrap();
    };
    let driver = Driver::new("secret", None);
    let (login, heard, ()) = tokio::join!(gateway, driver.log_in(&mut at_client), server);
    let distrusted = matches!(login, Err(LoginError::Distrusted(Distrust::NotProved)));
    assert!(distrusted, "{login:?}");
    assert_eq!(kinds(&heard), [(b'R', 10), (b'R', 11)]);
}
