//! Connections given up at every point of a login, as the server sees it.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::yield_now,
    time::Instant,
};

use super::{
    super::players::{DENIED, OK, greeting},
    *,
};
use crate::wire::mysql::{ClientOpening, Flavor, Packet, plugin};

const SWITCH: &[u8] = b"\xfecaching_sha2_password\0ABCDEFGHIJKLMNOPQRST\0";

fn counted(stream: DuplexStream) -> Unfinished<DuplexStream> {
    Unfinished::over(stream, Way::Clear, true, Arc::default())
}

/// A server that says these payloads, each but the first once it has been answered; then it waits for the end. What it was told,
/// and whether it would count: a client that went away while it was owed an answer.
async fn serve(mut stream: DuplexStream, says: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let mut told = Vec::new();
    let mut sequence = 0;
    for payload in says {
        let packet = Packet::encode(sequence, payload);
        stream.write_all(&packet).await.unwrap();
        sequence += 1;
        let goes_on = payload == &[1, 3];
        if [0, 0xff].contains(&payload[0]) || goes_on {
            continue;
        }
        let mut leg = Leg::new(&mut stream, sequence);
        match leg.receive(MAX_RESPONSE).await {
            Ok(answer) => told.push(answer.to_vec()),
            Err(_left) => return (told, true),
        }
        sequence += 1;
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    if !rest.is_empty() {
        told.push(rest);
    }
    (told, false)
}

fn greeted() -> Vec<u8> {
    greeting([7; 20], Flavor::MySql)
}

/// Plays `says`; the gateway receives `heard` packets, greeting included, answering each but the last, and gives up.
async fn give_up(says: &[&[u8]], heard: usize) -> (Vec<Vec<u8>>, bool) {
    let (near, far) = duplex(1 << 16);
    let gateway = async {
        let mut unfinished = counted(near);
        for nth in 0..heard {
            match nth {
                0 => drop(unfinished.hear().await.unwrap()),
                1 => {
                    let response = junk_login(plugin::NATIVE, "app", &[7; 20]);
                    unfinished.send(&response).await.unwrap();
                    unfinished.receive().await.unwrap();
                }
                _ => {
                    unfinished.send(&[8; 32]).await.unwrap();
                    unfinished.receive().await.unwrap();
                }
            }
        }
        assert_eq!(unfinished.abandon().await, Abandoned::InOrder);
    };
    let (seen, ()) = tokio::join!(serve(far, says), gateway);
    seen
}

#[tokio::test]
async fn the_server_counts_nothing_wherever_a_login_is_given_up() {
    let greeted = greeted();
    let long: [&[u8]; 5] = [&greeted, SWITCH, b"\x01\x04", b"\x01more", DENIED];
    for heard in 0..=4 {
        let (told, counts) = give_up(&long, heard).await;
        assert!(!counts && told.len() == 4, "{heard} {told:?}");
    }
    let short: [&[u8]; 2] = [&greeted, DENIED];
    for heard in 0..=2 {
        assert!(!give_up(&short, heard).await.1, "{heard}");
    }
}

#[tokio::test]
async fn nobody_has_a_name_of_its_own_each_time() {
    let greeted = greeted();
    let mut names = Vec::new();
    for _ in 0..2 {
        let (told, _) = give_up(&[&greeted, DENIED], 1).await;
        let offer = super::super::players::offer(Flavor::MySql);
        let Ok(ClientOpening::Response(response)) = ClientOpening::parse(&told[0], offer) else {
            panic!("{told:?}")
        };
        assert!(response.user().starts_with("doorward_nobody_") && response.user().len() <= 32);
        assert_eq!(response.plugin(), plugin::CACHING_SHA2);
        names.push(response.user().to_owned());
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn a_session_that_was_let_in_takes_leave() {
    let greeted = greeted();
    for says in [vec![&greeted[..], OK], vec![&greeted, b"\x01\x03", OK]] {
        let (told, counts) = give_up(&says, 2).await;
        assert!(!counts);
        // no junk for a server that does not ask: it would take it for a command
        assert_eq!(told[1..], [Packet::encode(0, &[1]).to_vec()], "{says:?}");
    }
}

#[tokio::test]
async fn a_server_that_refused_by_itself_is_left() {
    let blocked = b"\xff\x69\x04Host 'gate' is blocked";
    for heard in [false, true] {
        let (near, far) = duplex(1 << 12);
        let gateway = async {
            let mut unfinished = counted(near);
            if heard {
                let refused = unfinished.hear().await;
                let known = matches!(refused, Err(HearError::Refused { errno: 1129, ref payload }) if payload == blocked);
                assert!(known, "{refused:?}");
            }
            assert_eq!(unfinished.abandon().await, Abandoned::InOrder);
        };
        let says: [&[u8]; 1] = [blocked];
        let ((told, counts), ()) = tokio::join!(serve(far, &says), gateway);
        assert!(told.is_empty() && !counts);
    }
}

#[tokio::test]
async fn half_a_packet_is_finished_before_all_else() {
    let greeted = greeted();
    let (near, far) = duplex(7);
    let gateway = async {
        let mut unfinished = counted(near);
        unfinished.hear().await.unwrap();
        let response = junk_login(plugin::NATIVE, "app", &[7; 20]);
        tokio::select! {
            biased;
            _ = unfinished.send(&response) => panic!("it cannot end"),
            () = yield_now() => {}
        }
        assert_eq!(unfinished.abandon().await, Abandoned::InOrder);
    };
    let says: [&[u8]; 2] = [&greeted, DENIED];
    let ((told, counts), ()) = tokio::join!(serve(far, &says), gateway);
    assert!(!counts);
    assert_eq!(told, [junk_login(plugin::NATIVE, "app", &[7; 20])]);
}

#[tokio::test]
async fn a_unix_socket_is_closed_without_ado_unless_it_stands_for_somebody() {
    let (near, _far) = tokio::net::UnixStream::pair().unwrap();
    let unfinished = Unfinished::new(Stream::Unix(near), false, Arc::default());
    assert_eq!(unfinished.abandon().await, Abandoned::Closed);
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    drop(far);
    let unfinished = Unfinished::new(Stream::Unix(near), true, Arc::default());
    assert_eq!(unfinished.abandon().await, Abandoned::Counted);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_play_along_is_left_after_a_while() {
    let (near, _far) = duplex(1 << 12);
    let begun = Instant::now();
    assert_eq!(counted(near).abandon().await, Abandoned::Counted);
    assert!(begun.elapsed() <= WITHIN + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_given_up_at_a_time() {
    let abandons = Arc::new(Abandons::default());
    let all = abandons.0.acquire_many(64).await.unwrap();
    assert_eq!(abandons.0.available_permits(), 0);
    let (near, _far) = duplex(1 << 12);
    let unfinished = Unfinished::over(near, Way::Clear, true, Arc::clone(&abandons));
    let begun = Instant::now();
    assert_eq!(unfinished.abandon().await, Abandoned::Counted);
    assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE + WITHIN);
    drop(all);
}

#[tokio::test]
async fn what_is_no_greeting_is_said_so() {
    for (packet, closed) in [
        (&b"\x05\0\0\0hello"[..], false),
        (b"\xff\xff\xff\0", false),
        (b"\x01\0\0\x01\x0a", false),
        (b"\x05\0\0\0\x0a", true),
        (b"", true),
    ] {
        let (near, mut far) = duplex(1 << 12);
        far.write_all(packet).await.unwrap();
        drop(far);
        let mut unfinished = counted(near);
        let heard = unfinished.hear().await;
        assert!(
            matches!(heard, Err(HearError::Closed)) == closed
                && matches!(heard, Err(HearError::NotAGreeting(_))) != closed,
            "{heard:?}"
        );
        assert!(unfinished.greeting().is_none());
    }
}
