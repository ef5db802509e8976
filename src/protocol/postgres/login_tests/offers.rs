//! Offers of SASL, and what clients make of them.

use super::*;

#[tokio::test]
async fn who_only_asks_where_it_gets_a_token_has_not_failed_to_log_in() {
    let offer = b"R\0\0\0\x15\0\0\0\x0aOAUTHBEARER\0\0";
    let no = b"E\0\0\0\x0cC28000\0\0";
    let first = |text: &[u8]| {
        let size = u32::try_from(text.len()).unwrap();
        let payload = [b"OAUTHBEARER\0", &size.to_be_bytes()[..], text].concat();
        let length = u32::try_from(payload.len() + 4).unwrap();
        client(&[b"p", &length.to_be_bytes()[..], &payload].concat())
    };
    for (text, expected) in [
        (&b"n,,\x01auth=\x01\x01"[..], true),
        (b"n,,\x01auth=Bearer abc\x01\x01", false),
    ] {
        let lines = [
            server(&[offer]),
            first(text),
            server(&[CONTINUE]),
            client(b"p\0\0\0\x05\x01"),
            server(&[no]),
        ];
        let seen = play(&lines, terms(), usize::MAX).await;
        let Err(LoginError::Refused { discovery, .. }) = seen.login else {
            panic!("{:?}", seen.login)
        };
        assert_eq!(discovery, expected);
        assert!(seen.by_client.ends_with(no));
        let terms = Terms {
            cleartext: false,
            ..terms()
        };
        let seen = play(&lines, terms, usize::MAX).await;
        assert!(
            matches!(seen.login, Err(LoginError::Cleartext)),
            "a token is a password"
        );
    }
}

#[tokio::test]
async fn a_second_offer_is_none() {
    let seen = play(&[server(&[SASL, SASL])], terms(), usize::MAX).await;
    assert!(matches!(seen.login, Err(LoginError::UpstreamMalformed)));
    assert_eq!(seen.by_client, SASL);
}
