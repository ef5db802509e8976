//! Both sides against each other and against the drivers' own client; every step of a login bent.

use postgres_protocol::{
    authentication::sasl::{ChannelBinding, ScramSha256},
    password::scram_sha_256,
};
use proptest::prelude::*;

use super::*;
use crate::{
    config::Usual,
    wire::postgres::{
        Verifier,
        sasl::{self, SCRAM, SCRAM_PLUS},
    },
};

const USUAL: Usual = Usual {
    iterations: 4096,
    salt: 16,
};
const OURS: &[u8] = b"the hash of the gateway's certificate";
const THEIRS: &[u8] = b"the hash of the server's certificate";

fn verifier(password: &str) -> Verifier {
    Verifier::parse(&scram_sha_256(password.as_bytes())).unwrap()
}

/// What stands in a whole message behind its length.
fn payload(message: &[u8]) -> &[u8] {
    &message[5..]
}

/// The data of an `R`.
fn data(message: &[u8]) -> &[u8] {
    &message[9..]
}

/// A driver's login at our side of it: the key that it yields.
fn log_in(
    verifier: &Verifier,
    ours: Option<&[u8]>,
    password: &str,
    mechanism: &str,
    binding: ChannelBinding,
) -> Result<ClientKey, Doubt> {
    let mut driver = ScramSha256::new(password.as_bytes(), binding);
    let first = str::from_utf8(driver.message()).unwrap().to_owned();
    let server = ServerSide::new(verifier, ours);
    let first = sasl::choose(mechanism, &first);
    let (challenged, challenge) = server.challenge(payload(&first), &nonce().unwrap())?;
    driver.update(data(&challenge)).unwrap();
    let proof = driver.message().to_vec();
    let (key, last) = challenged.judge(&proof)?;
    driver.finish(data(&last)).expect("the driver believes us");
    Ok(key)
}

#[test]
fn a_driver_that_knows_the_password_is_believed_and_believes_us() {
    let verifier = verifier("secret");
    let plain = ChannelBinding::unsupported();
    assert!(log_in(&verifier, None, "secret", SCRAM, plain).is_ok());
    let bound = ChannelBinding::tls_server_end_point(OURS.to_vec());
    assert!(log_in(&verifier, Some(OURS), "secret", SCRAM_PLUS, bound).is_ok());
    let plain = ChannelBinding::unsupported();
    assert!(log_in(&verifier, Some(OURS), "secret", SCRAM, plain).is_ok());
}

#[test]
fn a_wrong_password_is_a_wrong_proof() {
    let verifier = verifier("secret");
    let doubt = log_in(
        &verifier,
        None,
        "Secret",
        SCRAM,
        ChannelBinding::unsupported(),
    );
    assert_eq!(doubt.unwrap_err(), Doubt::WrongProof);
}

#[test]
fn a_login_that_is_bound_to_another_connection_is_not_believed() {
    let verifier = verifier("secret");
    let bound = ChannelBinding::tls_server_end_point(THEIRS.to_vec());
    let doubt = log_in(&verifier, Some(OURS), "secret", SCRAM_PLUS, bound);
    assert_eq!(doubt.unwrap_err(), Doubt::OtherConnection);
}

/// CVE-2025-49146, CVE-2026-54291: whoever takes the offer away between client and server is found out.
#[test]
fn a_client_that_was_kept_from_binding_is_not_believed() {
    let verifier = verifier("secret");
    let could = || ChannelBinding::unrequested();
    let doubt = log_in(&verifier, Some(OURS), "secret", SCRAM, could());
    assert_eq!(doubt.unwrap_err(), Doubt::Downgraded);
    assert!(
        log_in(&verifier, None, "secret", SCRAM, could()).is_ok(),
        "there was no offer"
    );
}

#[test]
fn nothing_is_taken_that_was_not_offered_or_contradicts_itself() {
    let verifier = verifier("secret");
    let refused = |ours, mechanism, first: &str| {
        let message = sasl::choose(mechanism, first);
        let challenged = ServerSide::new(&verifier, ours).challenge(payload(&message), "n");
        challenged.err().unwrap()
    };
    let bound = "p=tls-server-end-point,,n=,r=a";
    assert_eq!(refused(None, SCRAM_PLUS, bound), Doubt::NotOffered);
    assert_eq!(refused(None, "OAUTHBEARER", "n,,"), Doubt::NotOffered);
    assert_eq!(refused(Some(OURS), SCRAM, bound), Doubt::Garbled);
    assert_eq!(refused(Some(OURS), SCRAM_PLUS, "n,,n=,r=a"), Doubt::Garbled);
    assert_eq!(
        refused(Some(OURS), SCRAM_PLUS, "p=tls-unique,,n=,r=a"),
        Doubt::Garbled
    );
    assert_eq!(refused(None, SCRAM, "n,a=root,n=,r=a"), Doubt::Garbled);
}

#[test]
fn the_binding_that_is_proved_is_the_one_that_was_announced() {
    let verifier = verifier("secret");
    let first = sasl::choose(SCRAM, "n,,n=,r=abc");
    let (challenged, challenge) = ServerSide::new(&verifier, Some(OURS))
        .challenge(payload(&first), "DEF")
        .unwrap();
    assert!(
        str::from_utf8(data(&challenge))
            .unwrap()
            .starts_with("r=abcDEF,s=")
    );
    let other = sasl::ClientFinal::unproved(b"y,,", "abcDEF");
    let other = sasl::ClientFinal::proved(&other, &[0; 32]);
    assert_eq!(
        challenged.judge(other.as_bytes()).unwrap_err(),
        Doubt::OtherConnection
    );
}

#[test]
fn an_unknown_user_looks_like_a_known_one_and_never_gets_in() {
    let secret = Secret::new([7; Secret::SIZE]);
    let mock = secret.verifier("nobody", USUAL);
    assert!(mock == secret.verifier("nobody", USUAL), "always the same");
    let known = verifier("secret");
    assert_eq!(
        (mock.iterations, mock.salt.len()),
        (known.iterations, known.salt.len())
    );
    assert_ne!(mock.salt, secret.verifier("nobody2", USUAL).salt);
    assert_ne!(
        mock.salt,
        Secret::new([8; Secret::SIZE])
            .verifier("nobody", USUAL)
            .salt
    );
    let doubt = log_in(&mock, None, "", SCRAM, ChannelBinding::unsupported());
    assert_eq!(doubt.unwrap_err(), Doubt::WrongProof);
}

/// A whole login through the gateway, the client's password on one end and the server's verifier on the other.
fn passed_on(ours: Option<&[u8]>, theirs: Option<&[u8]>) -> Result<(), Distrust> {
    let verifier = verifier("secret");
    let (mechanism, binding) = match ours {
        Some(ours) => (
            SCRAM_PLUS,
            ChannelBinding::tls_server_end_point(ours.to_vec()),
        ),
        None => (SCRAM, ChannelBinding::unsupported()),
    };
    let key = log_in(&verifier, ours, "secret", mechanism, binding).unwrap();
    let server = ServerSide::new(&verifier, theirs);
    let (introduced, first) =
        ClientSide::new(&verifier, key).answer(payload(&server.offer()), theirs, "abc")?;
    let (challenged, challenge) = server.challenge(payload(&first), "DEF").unwrap();
    let (proved, proof) = introduced.prove(payload(&challenge))?;
    let (_, last) = challenged.judge(payload(&proof)).unwrap();
    proved.check(payload(&last))
}

#[test]
fn what_the_client_has_proved_is_proved_to_the_server_whatever_either_is_bound_to() {
    for ours in [None, Some(OURS)] {
        for theirs in [None, Some(THEIRS)] {
            assert_eq!(passed_on(ours, theirs), Ok(()), "{ours:?} {theirs:?}");
        }
    }
}

/// A key as a client's login yields it, and its verifier.
fn known() -> (Verifier, ClientKey) {
    let verifier = verifier("secret");
    let plain = ChannelBinding::unsupported();
    let key = log_in(&verifier, None, "secret", SCRAM, plain).unwrap();
    (verifier, key)
}

#[test]
fn a_verifier_that_is_out_of_date_is_said_to_be() {
    let (old, key) = known();
    let new = verifier("secret");
    let server = ServerSide::new(&new, None);
    let (introduced, first) = ClientSide::new(&old, key)
        .answer(payload(&server.offer()), None, "abc")
        .unwrap();
    let (_, challenge) = server.challenge(payload(&first), "DEF").unwrap();
    let distrust = introduced.prove(payload(&challenge)).err().unwrap();
    assert_eq!(distrust, Distrust::Stale);
    assert!(distrust.to_string().contains("pg_dumpall --roles-only"));
}

#[test]
fn a_server_is_asked_for_what_it_offers() {
    let (verifier, key) = known();
    let asked = |offered: &[&str], end_point| {
        let client = ClientSide::new(&verifier, key.clone());
        let message = client.answer(payload(&sasl::offer(offered)), end_point, "abc");
        message.map(|(_, message)| {
            let (mechanism, first) = sasl::chosen(payload(&message)).unwrap();
            format!("{mechanism} {first}")
        })
    };
    let theirs = Some(THEIRS);
    let said = asked(&["OAUTHBEARER", SCRAM, SCRAM_PLUS], theirs).unwrap();
    assert_eq!(said, "SCRAM-SHA-256-PLUS p=tls-server-end-point,,n=,r=abc");
    assert_eq!(
        asked(&[SCRAM], theirs).unwrap(),
        "SCRAM-SHA-256 y,,n=,r=abc"
    );
    assert_eq!(
        asked(&[SCRAM_PLUS, SCRAM], None).unwrap(),
        "SCRAM-SHA-256 n,,n=,r=abc"
    );
    assert_eq!(asked(&["OAUTHBEARER"], theirs), Err(Distrust::NoScram));
}

/// CVE-2026-6665, CVE-2026-42198: a server that is none must not make us work, nor believe.
#[test]
fn a_hostile_server_gets_nowhere() {
    let (verifier, key) = known();
    let challenge = |text: &str| {
        let client = ClientSide::new(&verifier, key.clone());
        let (introduced, _) = client
            .answer(payload(&sasl::offer(&[SCRAM])), None, "abc")
            .unwrap();
        introduced.prove(payload(&sasl::go_on(text))).err().unwrap()
    };
    let long = format!("r=abc{},s=AAAA,i=4096", "x".repeat(2000));
    for text in [
        "r=abc,s=AAAA,i=4096",
        "r=abX,s=AAAA,i=4096",
        "r=abcDEF,s=AAAA,i=1000000",
        "r=abcDEF,s=AAAA,i=-1",
        "r=abcDEF",
        long.as_str(),
    ] {
        assert_eq!(challenge(text), Distrust::Garbled, "{text:.60}");
    }
    let client = ClientSide::new(&verifier, key.clone());
    let server = ServerSide::new(&verifier, None);
    let (introduced, first) = client
        .answer(payload(&server.offer()), None, "abc")
        .unwrap();
    let (_, challenge) = server.challenge(payload(&first), "DEF").unwrap();
    let (proved, _) = introduced.prove(payload(&challenge)).unwrap();
    let forged = sasl::the_end(&sasl::signed(&[0; 32]));
    assert_eq!(proved.check(payload(&forged)), Err(Distrust::NotProved));
}

#[test]
fn no_key_is_debug() {
    let (_, key) = known();
    assert_eq!(format!("{key:?}"), "ClientKey { .. }");
    assert_eq!(format!("{:?}", Secret::new([0; 32])), "Secret { .. }");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_login_with_one_bit_changed_is_not_believed(byte in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let verifier = verifier("secret");
        let mut driver = ScramSha256::new(b"secret", ChannelBinding::tls_server_end_point(OURS.to_vec()));
        let first = sasl::choose(SCRAM_PLUS, str::from_utf8(driver.message()).unwrap());
        let (challenged, challenge) =
            ServerSide::new(&verifier, Some(OURS)).challenge(payload(&first), "DEF").unwrap();
        driver.update(data(&challenge)).unwrap();
        let mut proof = driver.message().to_vec();
        let byte = byte.index(proof.len());
        proof[byte] ^= 1 << bit;
        prop_assert!(challenged.judge(&proof).is_err());
    }
}
