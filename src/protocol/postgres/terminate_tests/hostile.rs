//! Servers and clients that are none, and ends in the middle.

use std::future::ready;

use proptest::prelude::*;

use super::*;
use crate::policy::Reason;

const DOWN: &[u8] = b"E\0\0\0\x1aSFATAL\0C57P01\0Mgoing\0\0";

/// A login whose server says this after its offer, as soon as it has heard `after` messages.
async fn with_server(says: &[u8], after: usize) -> (Result<LoggedIn, LoginError>, Vec<Vec<u8>>) {
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
        for _ in 0..after {
            message(&mut at_server).await.unwrap();
        }
        at_server.write_all(says).await.unwrap();
        drop(message(&mut at_server).await);
    };
    let driver = Driver::new("secret", None);
    let (login, heard, ()) = tokio::join!(gateway, driver.log_in(&mut at_client), server);
    (login, heard)
}

#[tokio::test]
async fn the_server_s_no_reaches_the_client_whenever_it_comes() {
    for after in [0, 1] {
        let (login, heard) = with_server(&[NOTICE, DOWN].concat(), after).await;
        assert!(
            matches!(login, Err(LoginError::Refused { .. })),
            "{login:?}"
        );
        assert_eq!(heard.last().unwrap(), DOWN);
    }
}

// CVE-2026-6664, CVE-2026-6665, CVE-2026-6668, CVE-2026-42198: long nonces, lengths over 2^31, iterations without a limit
#[tokio::test]
async fn a_hostile_server_gets_no_proof_and_its_words_do_not_pass() {
    let challenge = |text: &str| sasl::go_on(text);
    let long = format!("r={},s=AAAA,i=4096", "x".repeat(3000));
    for says in [
        challenge(&long),
        challenge("r=x,s=AAAA,i=2147483648"),
        challenge("r=,s=,i=0"),
        sasl::the_end("v=AAAA"),
        sasl::offer(&[SCRAM]),
        OK.to_vec(),
        READY.to_vec(),
        b"R\x80\0\0\x04\0\0\0\x0b".to_vec(),
        b"R\xff\xff\xff\xff\0\0\0\x0b".to_vec(),
        b"R\0\0\0\x03".to_vec(),
    ] {
        for after in [0, 1] {
            let (login, heard) = with_server(&says, after).await;
            let ended = matches!(
                login,
                Err(LoginError::UpstreamMalformed | LoginError::Distrusted(Distrust::Garbled))
            );
            assert!(ended, "{} {login:?}", says.escape_ascii());
            assert!(heard.iter().all(|said| [10, 11].contains(&said[8])));
        }
    }
}

#[tokio::test]
async fn a_server_that_goes_or_a_policy_that_changes_ends_the_dialogue() {
    let verifier = scram_sha_256(b"secret");
    let accounts = accounts(&verifier);
    let (_at_client, mut door) = duplex(1 << 16);
    let (mut database, mut at_server) = duplex(1 << 16);
    at_server.write_all(&sasl::offer(&[SCRAM])).await.unwrap();
    let denial = Denial {
        reason: Reason::Inactive,
        rule: None,
    };
    let inactive = Terms {
        authentication: true,
        cleartext: false,
        scram: terms(&accounts, None, None).scram,
        interrupted: async {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            ready(denial.clone()).await
        },
    };
    let ended = login(&mut door, &mut database, &startup("app"), inactive).await;
    assert!(matches!(ended, Err(LoginError::Interrupted(said)) if said == denial));
    drop(at_server);
    let (mut database, mut at_server) = duplex(1 << 16);
    at_server.write_all(&sasl::offer(&[SCRAM])).await.unwrap();
    at_server.shutdown().await.unwrap();
    let ended = login(
        &mut door,
        &mut database,
        &startup("app"),
        terms(&accounts, None, None),
    )
    .await;
    assert!(
        matches!(ended, Err(LoginError::UpstreamClosed)),
        "{ended:?}"
    );
}

// CVE-2026-6668, CVE-2026-107348: what a client says of lengths
#[tokio::test]
async fn a_hostile_client_is_not_read_beyond_a_limit() {
    let verifier = scram_sha_256(b"secret");
    let accounts = accounts(&verifier);
    let inner = |size: u32| {
        let payload = [b"SCRAM-SHA-256\0", &size.to_be_bytes()[..], b"n,,n=,r=abc"].concat();
        let length = u32::try_from(payload.len() + 4).unwrap().to_be_bytes();
        [b"p", &length[..], &payload].concat()
    };
    let long = format!("n,,n=,r={}", "x".repeat(5000));
    for said in [
        b"p\x80\0\0\x04".to_vec(),
        b"p\xff\xff\xff\xff".to_vec(),
        b"p\0\0\0\x03".to_vec(),
        b"Q\0\0\0\x05\0".to_vec(),
        startup("root").encode(),
        inner(0),
        inner(12),
        inner(1 << 31),
        inner(u32::MAX),
        sasl::choose(SCRAM, &long),
        sasl::choose(SCRAM, "n,a=root,n=,r=abc"),
        sasl::choose(SCRAM, "n,,m=x,n=,r=abc"),
        sasl::choose(SCRAM, "p=tls-unique,,n=,r=abc"),
        sasl::choose(SCRAM_PLUS, "p=tls-server-end-point,,n=,r=abc"),
        sasl::choose("OAUTHBEARER", "n,,\u{1}auth=Bearer x\u{1}\u{1}"),
    ] {
        let (mut at_client, mut door) = duplex(1 << 16);
        let (mut database, mut at_server) = duplex(1 << 16);
        at_server.write_all(&sasl::offer(&[SCRAM])).await.unwrap();
        at_client.write_all(&said).await.unwrap();
        let startup = startup("app");
        let ended = login(
            &mut door,
            &mut database,
            &startup,
            terms(&accounts, None, None),
        )
        .await;
        let refused = matches!(
            ended,
            Err(LoginError::ClientMalformed
                | LoginError::Doubted(Doubt::Garbled | Doubt::NotOffered))
        );
        assert!(refused, "{} {ended:?}", said.escape_ascii());
        drop(database);
        let mut heard = Vec::new();
        at_server.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, startup.encode(), "nothing behind our own packet");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_proof_with_one_sign_changed_is_not_believed(at in 0_usize..64) {
        thread_local!(static AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
        AT.set(at);
        let bend: fn(&mut Vec<u8>) = |proof| {
            let at = AT.get() % proof.len();
            proof[at] = if proof[at] == b'A' { b'B' } else { b'A' };
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let seen = runtime.block_on(async {
            let verifier = scram_sha_256(b"secret");
            let driver = Driver { bend, ..Driver::new("secret", None) };
            play("app", driver, (&verifier, &verifier), (None, None)).await
        });
        prop_assert!(matches!(seen.login, Err(LoginError::Doubted(_))), "{:?}", seen.login);
        prop_assert!(seen.by_server.is_empty());
    }
}
