//! Logins between a client and a server made of packets: what is relayed, and what never is.

use std::{future::pending, sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::timeout,
};

use super::{
    super::{
        players::{DENIED, OK, OWN_KEY, PASSWORD, Server, offer, response},
        rsa::Nonce,
    },
    *,
};
use crate::{
    policy::Reason,
    wire::mysql::{ClientOpening, Packet, plugin},
};

pub(super) const NONCE: Nonce = *b"abcdefghijklmnopqrst";
pub(super) const FRESH: Nonce = *b"ABCDEFGHIJKLMNOPQRST";

pub(super) fn terms() -> Terms<'static, std::future::Pending<Denial>> {
    Terms {
        authentication: true,
        from: [127, 0, 0, 1].into(),
        edit: Edit::default(),
        own_key: Some(&OWN_KEY),
        interrupted: pending(),
        by: Instant::now() + Duration::from_mins(1),
    }
}

pub(super) fn opening(payload: &[u8], nonce: Nonce, sequence: u8) -> Opening {
    match ClientOpening::parse(payload, offer(Flavor::MySql)) {
        Ok(ClientOpening::Response(response)) => Opening {
            response,
            sequence,
            nonce,
        },
        other => panic!("{other:?}"),
    }
}

pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    let within = Duration::from_secs(20);
    timeout(within, what).await.expect("it hangs")
}

/// A server to play with: an account, reached by `way`.
pub(super) fn server(way: Way, plugin: &'static str) -> Server {
    Server {
        way,
        flavor: Flavor::MySql,
        nonce: NONCE,
        plugin,
        password: PASSWORD,
        warm: false,
    }
}

/// One line of a scripted dialogue: a payload with its number.
#[derive(Clone)]
enum Says {
    Server(u8, Vec<u8>),
    Client(u8, Vec<u8>),
    /// The first five bytes of a packet.
    Half(u8, Vec<u8>),
}
use Says::{Client as C, Half, Server as S};

/// What both ends have seen of a scripted login.
struct Played {
    login: Result<LoggedIn, LoginError>,
    by_client: Vec<u8>,
    /// All but the response.
    by_server: Vec<u8>,
    /// What the client had sent and nobody read.
    unread: Vec<u8>,
    sequence: u8,
}

/// Plays `lines` in pieces after a response with a proof of twenty bytes, number 1 on both legs; then both ends hang up.
async fn play<I: Future<Output = Denial>>(
    lines: &[Says],
    terms: Terms<'_, I>,
    piece: usize,
) -> Played {
    let (mut at_client, mut near) = duplex(1 << 20);
    let (upstream, mut at_server) = duplex(1 << 20);
    let mut upstream = Unfinished::over(upstream, Way::Clear, true, Arc::default());
    let greeting = server(Way::Clear, plugin::NATIVE).greeting();
    let greeting = Packet::encode(0, &greeting);
    at_server.write_all(&greeting).await.unwrap();
    upstream.hear().await.unwrap();
    let first = response("app", &[7; 20], plugin::NATIVE);
    let mut opening = opening(&first, NONCE, 2);
    let script = async {
        for line in lines {
            let (end, packet) = match line {
                S(sequence, payload) => (&mut at_server, Packet::encode(*sequence, payload)),
                C(sequence, payload) => (&mut at_client, Packet::encode(*sequence, payload)),
                Half(sequence, payload) => {
                    let mut packet = Packet::encode(*sequence, payload);
                    packet.truncate(5);
                    (&mut at_client, packet)
                }
            };
            for part in packet.chunks(piece) {
                end.write_all(part).await.unwrap();
                settle().await;
            }
        }
        at_server.shutdown().await.unwrap();
        at_client.shutdown().await.unwrap();
    };
    let login = log_in(&mut near, Way::Clear, &mut upstream, &mut opening, terms);
    let both = async { tokio::join!(login, script) };
    let (login, ()) = soon(both).await;
    let mut unread = Vec::new();
    near.read_to_end(&mut unread).await.unwrap();
    drop((near, upstream));
    let (mut by_client, mut by_server) = (Vec::new(), Vec::new());
    at_client.read_to_end(&mut by_client).await.unwrap();
    at_server.read_to_end(&mut by_server).await.unwrap();
    let first = Packet::encode(1, &first);
    let by_server = by_server.strip_prefix(&first[..]).unwrap().to_vec();
    Played {
        login,
        by_client,
        by_server,
        unread,
        sequence: opening.sequence,
    }
}

/// Lets the other side do all it can.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

fn switch() -> Vec<u8> {
    [b"\xfemysql_native_password\0", &FRESH[..], b"\0"].concat()
}

fn told(lines: &[(u8, &[u8])]) -> Vec<u8> {
    let packet = |(sequence, payload): &(u8, &[u8])| Packet::encode(*sequence, payload).to_vec();
    lines.iter().flat_map(packet).collect()
}

fn dialogue() -> Vec<Says> {
    // the fingerprint of MariaDB's zero-configuration TLS stands behind the OK
    let ok = [OK, b"\x41\x01", &[b'A'; 64]].concat();
    vec![
        S(2, switch()),
        C(3, vec![8; 20]),
        S(4, b"\x01more".to_vec()),
        C(5, Vec::new()),
        S(6, ok),
    ]
}

#[tokio::test]
async fn a_login_is_relayed_packet_by_packet_whatever_the_pieces() {
    for piece in (1..40).chain([usize::MAX]) {
        let played = play(&dialogue(), terms(), piece).await;
        let ok = [OK, b"\x41\x01", &[b'A'; 64]].concat();
        let by_client = told(&[(2, &switch()), (4, b"\x01more"), (6, &ok)]);
        assert_eq!(played.by_client, by_client, "{piece}");
        assert_eq!(played.by_server, told(&[(3, &[8; 20]), (5, b"")]));
        let login = played.login.unwrap();
        assert_eq!((login.turns, login.status.bits()), (3, 2));
    }
}

#[tokio::test]
async fn what_a_client_sends_ahead_is_left_for_the_relay() {
    let mut lines = dialogue();
    lines.insert(4, C(0, b"\x03SELECT 1".to_vec()));
    let played = play(&lines, terms(), usize::MAX).await;
    assert!(played.login.is_ok());
    assert_eq!(played.unread, told(&[(0, b"\x03SELECT 1")]));
}

#[tokio::test]
async fn the_server_s_own_refusal_arrives_whole() {
    let played = play(&[S(2, DENIED.to_vec())], terms(), 1).await;
    assert!(matches!(
        played.login,
        Err(LoginError::Refused { errno: 1045 })
    ));
    assert_eq!(played.by_client, told(&[(2, DENIED)]));
}

/// CVE-2026-107350 in this protocol: the decision was made on the first response.
#[tokio::test]
async fn a_second_response_never_reaches_the_server() {
    let again = response("root", &[7; 20], plugin::NATIVE).to_vec();
    // unasked, and with the number of a first packet or of a command
    for lines in [
        vec![C(2, again.clone()), S(2, OK.to_vec())],
        vec![S(2, switch()), C(1, again.clone()), S(4, OK.to_vec())],
        vec![S(2, switch()), C(0, again), S(4, OK.to_vec())],
    ] {
        let played = play(&lines, terms(), usize::MAX).await;
        assert_eq!(played.by_server, b"");
        let in_order =
            played.login.is_ok() || matches!(played.login, Err(LoginError::ClientMalformed));
        assert!(in_order, "{:?}", played.login);
    }
}

/// The rest of it would be read as a command, and the server's yes is to somebody who has not finished.
#[tokio::test]
async fn a_client_that_is_still_answering_is_not_let_in() {
    let lines = [
        S(2, [&[1], &[7; 20][..]].concat()),
        Half(3, vec![8; 20]),
        S(3, OK.to_vec()),
    ];
    let played = play(&lines, terms(), usize::MAX).await;
    assert!(matches!(played.login, Err(LoginError::ClientMalformed)));
    assert_eq!(
        played.by_client,
        told(&[(2, &[&[1], &[7; 20][..]].concat())])
    );
}

#[tokio::test]
async fn a_server_s_garbage_never_reaches_the_client() {
    let long = [&b"\x01"[..], &vec![7; 0x2_0000]].concat();
    for (sequence, garbage) in [
        (2, &b"\xfe"[..]),
        (2, b"\xfemysql_native_password"),
        (2, b"\xfe\xff\xfe\0"),
        (2, b"\0"),
        (2, b"\xff"),
        (1, OK),
        (3, OK),
        (2, &long),
    ] {
        let lines = [S(sequence, garbage.to_vec())];
        let played = play(&lines, terms(), usize::MAX).await;
        let known = matches!(
            played.login,
            Err(LoginError::UpstreamMalformed | LoginError::OldPassword)
        );
        assert!(known, "{garbage:?} {:?}", played.login);
        assert_eq!((&*played.by_client, played.sequence), (&b""[..], 2));
    }
}

#[tokio::test]
async fn a_server_that_never_stops_asking_is_left() {
    let lines: Vec<_> = (0..100).map(|n| S(n + 2, b"\x01again".to_vec())).collect();
    let played = play(&lines, terms(), usize::MAX).await;
    assert!(matches!(played.login, Err(LoginError::UpstreamMalformed)));
    assert_eq!(played.sequence, 2 + 64);
}

#[tokio::test]
async fn an_answer_longer_than_any_is_refused_before_it_has_come() {
    let lines = [S(2, switch()), C(3, vec![7; 0x1_0001])];
    let played = play(&lines, terms(), usize::MAX).await;
    assert!(matches!(played.login, Err(LoginError::ClientMalformed)));
    assert_eq!(played.by_server, b"");
}

#[tokio::test]
async fn whoever_hangs_up_is_named() {
    let played = play(&[], terms(), usize::MAX).await;
    assert!(matches!(played.login, Err(LoginError::UpstreamClosed)));
    let (mut near, at_client) = duplex(1 << 12);
    let (upstream, mut at_server) = duplex(1 << 12);
    let mut upstream = Unfinished::over(upstream, Way::Clear, true, Arc::default());
    let greeting = server(Way::Clear, plugin::NATIVE).greeting();
    let lines = told(&[(0, &greeting)]);
    at_server.write_all(&lines).await.unwrap();
    upstream.hear().await.unwrap();
    let asks = told(&[(2, &switch())]);
    at_server.write_all(&asks).await.unwrap();
    drop(at_client);
    let first = response("app", &[7; 20], plugin::NATIVE);
    let mut opening = opening(&first, NONCE, 2);
    let login = log_in(&mut near, Way::Clear, &mut upstream, &mut opening, terms()).await;
    let left = matches!(
        login,
        Err(LoginError::ClientLeft | LoginError::ClientBroke(_))
    );
    assert!(left, "{login:?}");
}

#[tokio::test]
async fn a_policy_that_changes_during_a_login_ends_it_between_two_packets() {
    // as many rounds as the first packet has bytes, and two for the second's
    const SWITCHED: usize = 4 + 44 + 2;
    let denial = Denial {
        reason: Reason::Inactive,
        rule: None,
    };
    let terms = Terms {
        authentication: true,
        from: [127, 0, 0, 1].into(),
        edit: Edit::default(),
        own_key: None,
        interrupted: async {
            for _ in 0..SWITCHED {
                settle().await;
            }
            denial.clone()
        },
        by: terms().by,
    };
    let lines = [S(2, switch()), S(3, b"\x01more".to_vec())];
    let played = play(&lines, terms, 1).await;
    assert!(matches!(played.login, Err(LoginError::Interrupted(said)) if said == denial));
    // half of the server's next packet has come by then
    assert_eq!(played.by_client, told(&[(2, &switch())]));
}

#[tokio::test]
async fn without_the_floor_the_server_s_word_is_enough() {
    let terms = Terms {
        authentication: false,
        ..terms()
    };
    let lines = [S(2, switch()), C(3, Vec::new()), S(4, OK.to_vec())];
    assert!(play(&lines, terms, 1).await.login.is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_server_can_make_a_login_panic_or_get_past_the_floor(
        said in prop::collection::vec(
            prop_oneof![
                Just(switch()), Just(OK.to_vec()), Just(vec![1, 3]), Just(vec![1, 4]), Just(vec![2, 0]), Just(DENIED.to_vec()),
                Just([b"\xfecaching_sha2_password\0", &FRESH[..], b"\0"].concat()),
                prop::collection::vec(any::<u8>(), 0..12),
            ],
            0..8,
        ),
        piece in 1_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        // first a switch, so that the response's own proof does not count
        let said = [switch()].into_iter().chain(said);
        let lines: Vec<_> = (2..).zip(said).map(|(sequence, payload)| S(sequence, payload)).collect();
        let played = runtime.block_on(play(&lines, terms(), piece));
        prop_assert!(played.login.is_err());
    }
}
