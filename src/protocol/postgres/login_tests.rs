//! Logins between a client and a server made of bytes: what is relayed, and what never is.

#[path = "login_tests/offers.rs"]
mod offers;

use std::{
    future::{pending, ready},
    time::Duration,
};

use proptest::prelude::*;
use tokio::{io::duplex, time::timeout};

use super::*;
use crate::{
    policy::Reason,
    wire::{Parsed, postgres::Opening},
};

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
const CONTINUE: &[u8] = b"R\0\0\0\x0b\0\0\0\x0br=x";
const FINAL: &[u8] = b"R\0\0\0\x0b\0\0\0\x0cv=x";
const FIRST: &[u8] = b"p\0\0\0\x09n,,r=";
const PROOF: &[u8] = b"p\0\0\0\x07p=x";
const NOTICE: &[u8] = b"N\0\0\0\x09Mold\0";
const SETTING: &[u8] = b"S\0\0\0\x15TimeZone\0Etc/UTC\0";
const KEY: &[u8] = b"K\0\0\0\x0c\0\0\0\x07abcd";
const READY: &[u8] = b"Z\0\0\0\x05I";
const VERSION: &[u8] = b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0";

fn startup() -> StartupMessage {
    match Opening::parse(b"\0\0\0\x12\0\x03\0\0user\0app\0\0") {
        Ok(Parsed::Done(Opening::Startup(startup), _)) => startup,
        other => panic!("{other:?}"),
    }
}

fn terms() -> Terms<'static, std::future::Pending<Denial>> {
    Terms {
        authentication: true,
        cleartext: true,
        scram: Scram::Relay,
        interrupted: pending(),
    }
}

/// What both ends have seen of a login.
struct Seen {
    login: Result<LoggedIn, LoginError>,
    by_client: Vec<u8>,
    by_server: Vec<u8>,
    /// What the client had sent and nobody read.
    unread: Vec<u8>,
}

/// One turn of a scripted dialogue.
#[derive(Clone)]
enum Line {
    Server(Vec<u8>),
    Client(Vec<u8>),
}
use Line::{Client, Server};

fn server(bytes: &[&[u8]]) -> Line {
    Server(bytes.concat())
}

fn client(bytes: &[u8]) -> Line {
    Client(bytes.to_vec())
}

/// Plays `lines`, each side sending `piece` bytes at a time, then closes both sides once the login has ended by itself or, with `hang_up`,
/// at once.
async fn play<I: Future<Output = Denial>>(
    lines: &[Line],
    terms: Terms<'_, I>,
    piece: usize,
) -> Seen {
    let (mut at_client, mut door) = duplex(1 << 20);
    let (mut database, mut at_server) = duplex(1 << 20);
    let script = async {
        for line in lines {
            let (end, bytes) = match line {
                Server(bytes) => (&mut at_server, bytes),
                Client(bytes) => (&mut at_client, bytes),
            };
            for part in bytes.chunks(piece) {
                end.write_all(part).await.unwrap();
                settle().await;
            }
        }
        // only a login that waits for more learns of it
        at_server.shutdown().await.unwrap();
        at_client.shutdown().await.unwrap();
    };
    let startup = startup();
    let both = async { tokio::join!(login(&mut door, &mut database, &startup, terms), script) };
    let (login, ()) = timeout(Duration::from_secs(20), both)
        .await
        .expect("it hangs");
    let mut unread = Vec::new();
    door.read_to_end(&mut unread).await.unwrap();
    drop((door, database));
    let (mut by_client, mut by_server) = (Vec::new(), Vec::new());
    at_client.read_to_end(&mut by_client).await.unwrap();
    at_server.read_to_end(&mut by_server).await.unwrap();
    let by_server = by_server
        .strip_prefix(&startup.encode()[..])
        .unwrap()
        .to_vec();
    Seen {
        login,
        by_client,
        by_server,
        unread,
    }
}

/// Lets the other side do all it can.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

fn scram() -> Vec<Line> {
    vec![
        server(&[VERSION, NOTICE, SASL]),
        client(FIRST),
        server(&[CONTINUE]),
        client(PROOF),
        server(&[FINAL, OK, SETTING, SETTING, KEY, READY]),
    ]
}

#[tokio::test]
async fn a_login_is_relayed_byte_for_byte() {
    let seen = play(&scram(), terms(), usize::MAX).await;
    let login = seen.login.unwrap();
    let server_said = [
        VERSION, NOTICE, SASL, CONTINUE, FINAL, OK, SETTING, SETTING, KEY, READY,
    ];
    assert_eq!(seen.by_client, server_said.concat());
    assert_eq!(seen.by_server, [FIRST, PROOF].concat());
    assert_eq!((login.turns, login.status), (3, TransactionStatus::Idle));
    let key = login.cancel_key.unwrap();
    assert_eq!((key.process, &*key.secret), (7, &b"abcd"[..]));
    assert!(login.client_frames.at_boundary() && login.server_frames.at_boundary());
}

#[tokio::test]
async fn a_login_cut_anywhere_is_the_same_login() {
    let whole = play(&scram(), terms(), usize::MAX).await;
    for piece in 1..30 {
        let seen = play(&scram(), terms(), piece).await;
        assert_eq!(seen.by_client, whole.by_client, "{piece}");
        assert_eq!(seen.by_server, whole.by_server, "{piece}");
        assert_eq!(seen.login.unwrap().turns, 3);
    }
}

#[tokio::test]
async fn who_is_let_in_without_a_challenge_is_put_out_and_not_told_ok() {
    let seen = play(
        &[server(&[VERSION, OK, SETTING, KEY, READY])],
        terms(),
        usize::MAX,
    )
    .await;
    assert!(matches!(seen.login, Err(LoginError::NoChallenge)));
    assert_eq!(seen.by_client, VERSION);
}

#[tokio::test]
async fn an_answer_to_no_question_is_no_challenge() {
    let lines = [client(PROOF), server(&[OK, READY])];
    let seen = play(&lines, terms(), usize::MAX).await;
    assert!(matches!(seen.login, Err(LoginError::NoChallenge)));
    assert_eq!((&*seen.by_client, &*seen.by_server), (&b""[..], &b""[..]));
}

#[tokio::test]
async fn without_the_floor_the_server_s_word_is_enough() {
    let terms = Terms {
        authentication: false,
        ..terms()
    };
    let seen = play(&[server(&[OK, READY])], terms, 1).await;
    let login = seen.login.unwrap();
    assert_eq!((login.turns, login.cancel_key), (1, None));
}

/// CVE-2026-107350: the decision was made on the first startup packet.
#[tokio::test]
async fn a_second_startup_packet_never_reaches_the_server() {
    let lines = [
        server(&[SASL]),
        Client(startup().encode()),
        server(&[OK, READY]),
    ];
    for piece in [1, 3, usize::MAX] {
        let seen = play(&lines, terms(), piece).await;
        assert!(
            matches!(seen.login, Err(LoginError::ClientMalformed)),
            "{:?}",
            seen.login
        );
        assert_eq!(seen.by_server, b"");
    }
}

#[tokio::test]
async fn what_a_client_sends_ahead_is_left_for_the_relay() {
    let ahead = b"Q\0\0\0\x0dSELECT 1\0";
    let mut lines = scram();
    lines[3] = Client([PROOF, ahead].concat());
    let seen = play(&lines, terms(), usize::MAX).await;
    assert!(seen.login.unwrap().client_frames.at_boundary());
    assert_eq!(seen.by_server, [FIRST, PROOF].concat());
    assert_eq!(seen.unread, ahead);
}

#[tokio::test]
async fn an_answer_that_the_server_did_not_wait_for_is_not_lost() {
    // GSSAPI: the server may be content before the client has answered its last token
    let token = b"R\0\0\0\x0a\0\0\0\x08to";
    let lines = [
        server(&[token]),
        client(FIRST),
        server(&[token]),
        client(&FIRST[..7]),
        server(&[OK, READY]),
    ];
    let seen = play(&lines, terms(), usize::MAX).await;
    let login = seen.login.unwrap();
    assert_eq!(seen.by_server, [FIRST, &FIRST[..7]].concat());
    let mut frames = login.client_frames;
    assert!(!frames.at_boundary());
    frames.advance(&FIRST[7..], |_| ());
    assert!(frames.at_boundary());
}

#[tokio::test]
async fn what_follows_ready_is_handed_on_and_followed() {
    let mut lines = scram();
    lines[4] = server(&[FINAL, OK, KEY, READY, SETTING, &NOTICE[..6]]);
    let seen = play(&lines, terms(), usize::MAX).await;
    assert!(
        seen.by_client
            .ends_with(&[READY, SETTING, &NOTICE[..6]].concat())
    );
    let mut frames = seen.login.unwrap().server_frames;
    assert!(!frames.at_boundary());
    frames.advance(&NOTICE[6..], |_| ());
    assert!(frames.at_boundary());
}

#[tokio::test]
async fn the_server_s_own_refusal_arrives_whole() {
    for (error, code) in [
        (&b"E\0\0\0\x1aSFATAL\0C28P01\0Mwrong\0\0"[..], Some("28P01")),
        (b"E\0\0\0\x0cMwrong\0\0", None),
    ] {
        let seen = play(
            &[server(&[SASL]), client(FIRST), server(&[error])],
            terms(),
            1,
        )
        .await;
        let Err(LoginError::Refused { sqlstate, .. }) = seen.login else {
            panic!("{:?}", seen.login)
        };
        assert_eq!(sqlstate.as_ref().map(Sqlstate::as_str), code);
        assert_eq!(seen.by_client, [SASL, error].concat());
    }
}

#[tokio::test]
async fn a_server_s_garbage_never_reaches_the_client() {
    let long_key = [b"K\0\0\x01\x0d\0\0\0\x07", &[b'k'; 261][..]].concat();
    for garbage in [
        // what a postmaster says that cannot fork
        &b"Ecould not fork new process for connection: Cannot allocate memory\n\0"[..],
        b"HTTP/1.1 400 Bad Request\r\n",
        b"S",
        b"N\0\0\0\x03",
        b"R\0\0\0\x04",
        b"R\0\0\0\x08\0\0\0\x02",
        b"R\0\0\0\x09\0\0\0\0x",
        b"Z\0\0\0\x05I",
        b"T\0\0\0\x04",
        SETTING,
        KEY,
        &[OK, OK].concat(),
        &[OK, b"K\0\0\0\x0b\0\0\0\x07abc"].concat(),
        &[OK, &long_key].concat(),
        &[OK, KEY, KEY].concat(),
        &[OK, b"Z\0\0\0\x05X"].concat(),
        &[OK, b"Z\0\0\0\x04"].concat(),
        &[OK, b"Z\0\0\0\x06II"].concat(),
        &[VERSION, VERSION].concat(),
        &[OK, VERSION].concat(),
        b"E\x7f\xff\xff\xff",
        b"E\xff\xff\xff\xff",
        b"E\0\x01\0\x09",
    ] {
        let terms = Terms {
            authentication: false,
            ..terms()
        };
        let seen = play(&[Server([NOTICE, garbage].concat())], terms, usize::MAX).await;
        let expected = matches!(seen.login, Err(LoginError::UpstreamMalformed))
            || garbage == b"S" && matches!(seen.login, Err(LoginError::UpstreamClosed));
        assert!(expected, "{} {:?}", garbage.escape_ascii(), seen.login);
        let told = seen.by_client.strip_prefix(NOTICE).unwrap();
        let sensible: Vec<_> = [OK, KEY, VERSION]
            .into_iter()
            .filter(|known| garbage.starts_with(known))
            .collect();
        assert!(
            told.is_empty() || !sensible.is_empty(),
            "{}",
            told.escape_ascii()
        );
    }
}

#[tokio::test]
async fn keys_and_tokens_of_every_length_pass() {
    for secret in [4, 32, 256_usize] {
        let length = u32::try_from(8 + secret).unwrap().to_be_bytes();
        let key = [b"K", &length[..], &[0, 0, 0, 7], &vec![9; secret]].concat();
        let mut lines = scram();
        lines[4] = server(&[OK, &key, READY]);
        let seen = play(&lines, terms(), 1000).await;
        assert_eq!(seen.login.unwrap().cancel_key.unwrap().secret.len(), secret);
    }
    let token = |kind: &[u8], head: &[u8]| {
        let length = u32::try_from(4 + head.len() + 65_535)
            .unwrap()
            .to_be_bytes();
        [kind, &length, head, &vec![b't'; 65_535]].concat()
    };
    let (asked, answered) = (token(b"R", &[0, 0, 0, 8]), token(b"p", b""));
    let lines = [server(&[&asked]), client(&answered), server(&[OK, READY])];
    let seen = play(&lines, terms(), 5000).await;
    assert!(seen.login.is_ok(), "{:?}", seen.login);
    assert_eq!(seen.by_server, answered);
    assert!(seen.by_client.starts_with(&asked));
}

#[tokio::test]
async fn an_answer_longer_than_any_is_refused_before_it_has_come() {
    for length in [0_u32, 3, 65_540, 1 << 31, u32::MAX] {
        let answer = [b"p", &length.to_be_bytes()[..]].concat();
        let seen = play(&[server(&[SASL]), client(&answer)], terms(), usize::MAX).await;
        assert!(
            matches!(seen.login, Err(LoginError::ClientMalformed)),
            "{length} {:?}",
            seen.login
        );
        assert_eq!(seen.by_server, b"");
    }
}

#[tokio::test]
async fn a_password_in_clear_needs_two_private_legs() {
    let lines = [
        server(&[CLEARTEXT]),
        client(b"p\0\0\0\x08pwd\0"),
        server(&[OK, READY]),
    ];
    assert!(play(&lines, terms(), usize::MAX).await.login.is_ok());
    let open = Terms {
        cleartext: false,
        ..terms()
    };
    let seen = play(&lines, open, usize::MAX).await;
    assert!(matches!(seen.login, Err(LoginError::Cleartext)));
    assert_eq!((&*seen.by_client, &*seen.by_server), (&b""[..], &b""[..]));
}

#[tokio::test]
async fn a_policy_that_changes_during_a_login_ends_it_between_two_messages() {
    let denial = Denial {
        reason: Reason::Inactive,
        rule: None,
    };
    let (mut at_client, mut door) = duplex(1024);
    let (mut database, mut at_server) = duplex(1024);
    let terms = Terms {
        authentication: true,
        cleartext: true,
        scram: Scram::Relay,
        interrupted: async {
            // half of the server's next message has come by then
            settle().await;
            denial.clone()
        },
    };
    at_server
        .write_all(&[SASL, &CONTINUE[..6]].concat())
        .await
        .unwrap();
    let ended = login(&mut door, &mut database, &startup(), terms).await;
    assert!(matches!(ended, Err(LoginError::Interrupted(said)) if said == denial));
    drop(door);
    let mut heard = Vec::new();
    at_client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, SASL);
}

#[tokio::test]
async fn a_policy_that_already_says_no_is_heard_first() {
    let terms = Terms {
        authentication: true,
        cleartext: true,
        scram: Scram::Relay,
        interrupted: ready(Denial {
            reason: Reason::Expired,
            rule: None,
        }),
    };
    let seen = play(&scram(), terms, usize::MAX).await;
    assert!(matches!(seen.login, Err(LoginError::Interrupted(_))));
    assert_eq!(seen.by_client, b"");
}

#[tokio::test]
async fn whoever_hangs_up_is_named() {
    let seen = play(&[server(&[SASL])], terms(), usize::MAX).await;
    assert!(matches!(seen.login, Err(LoginError::UpstreamClosed)));
    let (at_client, mut door) = duplex(1024);
    let (mut database, mut at_server) = duplex(1024);
    at_server.write_all(SASL).await.unwrap();
    let leave = async {
        settle().await;
        drop(at_client);
    };
    let startup = startup();
    let (ended, ()) = tokio::join!(login(&mut door, &mut database, &startup, terms()), leave);
    assert!(matches!(ended, Err(LoginError::ClientLeft)), "{ended:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_server_can_make_a_login_panic_or_get_past_the_floor(
        said in prop::collection::vec(
            prop_oneof![
                Just(VERSION.to_vec()), Just(NOTICE.to_vec()), Just(OK.to_vec()), Just(FINAL.to_vec()), Just(SETTING.to_vec()),
                Just(KEY.to_vec()), Just(READY.to_vec()), prop::collection::vec(any::<u8>(), 0..12),
            ],
            0..8,
        ),
        piece in 1_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let seen = runtime.block_on(play(&[Server(said.concat())], terms(), piece));
        prop_assert!(seen.login.is_err());
        prop_assert!(!seen.by_client.windows(OK.len()).any(|window| window == OK));
    }
}
