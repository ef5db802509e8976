//! OAUTHBEARER (RFC 7628), as far as a gateway has to know it: a token is a password in clear, and the first round has none. Floor 0.

/// The mechanism, which PostgreSQL has since release 18.
pub const OAUTHBEARER: &str = "OAUTHBEARER";

/// Whether a `SASLInitialResponse` (its payload) bears no token: the client only asks where it gets one. The server tells it, ends the
/// connection with an error as if a login had failed, and the client comes back (RFC 7628, 4.3; PostgreSQL 18 manual, *SASL
/// Authentication*).
pub fn is_discovery(payload: &[u8]) -> bool {
    let first = payload
        .strip_prefix(OAUTHBEARER.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"\0"))
        .and_then(|rest| rest.split_first_chunk::<4>());
    let Some((size, first)) = first else {
        return false;
    };
    // a header, then `key=value` pairs, each with a 0x01 before and behind it
    let pairs = first.split(|byte| *byte == 1).skip(1);
    let mut tokens = pairs.filter_map(|pair| pair.strip_prefix(b"auth="));
    u32::from_be_bytes(*size) as usize == first.len()
        && tokens.next().is_some_and(<[u8]>::is_empty)
        && tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(mechanism: &str, text: &str) -> Vec<u8> {
        let size = u32::try_from(text.len()).unwrap().to_be_bytes();
        [mechanism.as_bytes(), b"\0", &size, text.as_bytes()].concat()
    }

    #[test]
    fn only_a_first_message_without_a_token_is_a_discovery() {
        assert!(is_discovery(&first(OAUTHBEARER, "n,,\x01auth=\x01\x01")));
        assert!(is_discovery(&first(
            OAUTHBEARER,
            "y,,\x01host=db\x01auth=\x01\x01"
        )));
        for (mechanism, text) in [
            (OAUTHBEARER, "n,,\x01auth=Bearer abc\x01\x01"),
            (OAUTHBEARER, "n,,\x01auth=\x01auth=Bearer abc\x01\x01"),
            (OAUTHBEARER, "n,,\x01\x01"),
            ("SCRAM-SHA-256", "n,,\x01auth=\x01\x01"),
        ] {
            assert!(!is_discovery(&first(mechanism, text)), "{mechanism} {text}");
        }
        let mut cut = first(OAUTHBEARER, "n,,\x01auth=\x01\x01");
        cut.pop();
        assert!(!is_discovery(&cut));
        assert!(!is_discovery(b"OAUTHBEARER"));
    }
}
