//! What is read of SCRAM's texts, and what is refused.

use proptest::prelude::*;

use super::*;

/// The payload of a message of ours.
fn payload(message: &[u8]) -> &[u8] {
    assert_eq!(
        message[1..5],
        u32::try_from(message.len() - 1).unwrap().to_be_bytes()
    );
    &message[5..]
}

#[test]
fn a_servers_offer_is_read_whole_and_in_its_order() {
    let all = ["SCRAM-SHA-256-PLUS", "OAUTHBEARER", "SCRAM-SHA-256"];
    assert_eq!(mechanisms(payload(&offer(&all))).unwrap(), all);
    for bad in [
        &b""[..],
        b"\0\0\0\x0a",
        b"\0\0\0\x0a\0",
        b"\0\0\0\x0a\0\0",
        b"\0\0\0\x0aSCRAM-SHA-256\0",
        b"\0\0\0\x0aSCRAM-SHA-256\0\0X",
        b"\0\0\0\x0aSCRAM-SHA-256\0\0X\0\0",
        b"\0\0\0\x0bSCRAM-SHA-256\0\0",
        b"\0\0\0\x0a\xff\0\0",
    ] {
        assert_eq!(mechanisms(bad), Err(Garbled), "{bad:?}");
    }
    let many = offer(&vec!["X"; 4000]);
    assert_eq!(mechanisms(payload(&many)), Err(Garbled));
}

#[test]
fn a_clients_choice_is_read_as_it_was_written() {
    let message = choose(SCRAM, "n,,n=,r=abc");
    assert_eq!(chosen(payload(&message)), Ok((SCRAM, "n,,n=,r=abc")));
    for bad in [
        &b"SCRAM-SHA-256"[..],
        b"SCRAM-SHA-256\0",
        b"SCRAM-SHA-256\0\0\0",
        b"SCRAM-SHA-256\0\xff\xff\xff\xff",
        b"SCRAM-SHA-256\0\0\0\0\x04abc",
        b"SCRAM-SHA-256\0\0\0\0\x02abc",
        b"SCRAM-SHA-256\0\x80\0\0\x03abc",
    ] {
        assert_eq!(chosen(bad), Err(Garbled), "{bad:?}");
    }
}

#[test]
fn a_first_word_says_how_the_login_is_bound() {
    let first = ClientFirst::parse("p=tls-server-end-point,,n=app,r=abc,x=1").unwrap();
    assert_eq!(first.binding, Binding::By(END_POINT));
    assert_eq!(first.header, "p=tls-server-end-point,,");
    assert_eq!((first.bare, first.nonce), ("n=app,r=abc,x=1", "abc"));
    assert_eq!(
        ClientFirst::parse("n,,n=,r=a").unwrap().binding,
        Binding::No
    );
    let could = ClientFirst::parse("y,,n=,r=a").unwrap();
    assert_eq!(could.binding, Binding::NotOffered);
}

#[test]
fn a_first_word_that_postgresql_does_not_speak_is_refused() {
    let long = format!("n,,n=,r={}", "a".repeat(MAX_NONCE + 1));
    for bad in [
        "",
        "n",
        "n,,",
        "n,,n=,r=",
        "n,,r=a",
        "x,,n=,r=a",
        "p,,n=,r=a",
        "N,,n=,r=a",
        // an authorization identity
        "n,a=root,n=,r=a",
        // an extension that must be understood
        "n,,m=x,n=,r=a",
        "n,,n=,r=a b",
        "n,,n=,r=\u{e9}",
        long.as_str(),
    ] {
        assert!(ClientFirst::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_servers_challenge_is_read_as_it_was_written() {
    let challenge = ServerFirst {
        nonce: "abcDEF",
        salt: vec![7; 16],
        iterations: 4096,
    };
    let text = challenge.encode();
    assert!(ServerFirst::parse(&text).is_ok_and(|read| read == challenge));
    for bad in [
        "r=a,s=AAAA,i=0",
        "r=a,s=AAAA,i=100001",
        "r=a,s=AAAA,i=+1",
        "r=a,s=AAAA,i=4294967297",
        "r=a,s=AAAA,i=",
        "r=a,s=,i=1",
        "r=a,s=A,i=1",
        "r=a,s=AAAA",
        "s=AAAA,r=a,i=1",
        "r=a,s=AAAA,i=1,x=2",
        "m=x,r=a,s=AAAA,i=1",
    ] {
        assert!(ServerFirst::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_proof_is_read_with_what_it_covers() {
    let unproved = ClientFinal::unproved(b"n,,", "abcDEF");
    assert_eq!(unproved, "c=biws,r=abcDEF");
    let text = ClientFinal::proved(&unproved, &[9; 32]);
    let read = ClientFinal::parse(&text).unwrap();
    assert_eq!(
        (read.without_proof, read.nonce),
        (unproved.as_str(), "abcDEF")
    );
    assert_eq!(
        (read.binding.as_slice(), read.proof),
        (&b"n,,"[..], [9; 32])
    );
    let short = format!("{unproved},p=AAAA");
    for bad in [unproved.as_str(), &short, "c=biws,p=", "r=a,c=biws,p=AAAA"] {
        assert!(ClientFinal::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(signature(&signed(&[3; 32])), Ok([3; 32]));
    assert_eq!(signature("e=invalid-proof"), Err(Garbled));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_fail_otherwise_than_by_saying_so(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[a-z=,+/0-9]{0,80}") {
        drop((mechanisms(&bytes), chosen(&bytes), continued(&bytes), ended(&bytes), responded(&bytes)));
        drop((ClientFirst::parse(&text).is_ok(), ServerFirst::parse(&text), ClientFinal::parse(&text), signature(&text)));
    }

    #[test]
    fn what_is_read_of_a_first_word_is_all_of_it(user in "[a-z]{0,9}", nonce in "[!-+\\--~]{1,40}") {
        let text = format!("n,,n={user},r={nonce}");
        let first = ClientFirst::parse(&text).unwrap();
        prop_assert_eq!(format!("{}{}", first.header, first.bare), text.clone());
        prop_assert_eq!(first.nonce, nonce);
    }
}
