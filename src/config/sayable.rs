//! Which names the file can say: the other way round than it is read, for rules that are drawn up. Floor 1: pure.
//!
//! A name that means something else in the file, or nothing, must not be written into it.

use super::{
    proof,
    reach::{MYSQL_DATABASE, MYSQL_USER, POSTGRES_NAME},
    settings::Protocol,
    values::{self, Longest},
};

/// Whether `users` can name exactly this one.
///
/// # Errors
/// Why not. Ends a sentence.
pub fn sayable_user(name: &str, protocol: Protocol) -> Result<(), String> {
    sayable(name, protocol, MYSQL_USER)
}

/// Whether `databases` can name exactly this one.
///
/// # Errors
/// Why not. Ends a sentence.
pub fn sayable_database(name: &str, protocol: Protocol) -> Result<(), String> {
    sayable(name, protocol, MYSQL_DATABASE)
}

/// Whether a proof can ask for exactly this name of a certificate.
pub fn is_sayable_dns(name: &str) -> bool {
    !name.contains('*') && values::certificate_dns(name).is_ok()
}

/// Whether a proof can ask for exactly this URI: one that ends in `/` would stand for all below it.
pub fn is_sayable_uri(uri: &str) -> bool {
    !uri.ends_with('/') && proof::uri(uri).is_ok()
}

fn sayable(name: &str, protocol: Protocol, mysql: Longest) -> Result<(), String> {
    if name == "any" {
        return Err("`any` is a word for everybody in the file".to_owned());
    }
    let longest = match protocol {
        Protocol::Postgres => POSTGRES_NAME,
        Protocol::Mysql => mysql,
    };
    values::name(name, &[longest])
        .map(|_name| ())
        .map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_file_is_no_name_and_neither_is_what_it_refuses() {
        for good in ["anyone", "ANY", "an y", "any-2", "none", "[any]"] {
            assert_eq!(sayable_user(good, Protocol::Postgres), Ok(()), "{good}");
        }
        for bad in ["any", "", "a\nb", &"x".repeat(64)] {
            assert!(sayable_user(bad, Protocol::Postgres).is_err(), "{bad}");
            assert!(sayable_database(bad, Protocol::Postgres).is_err(), "{bad}");
        }
        assert_eq!(sayable_user(&"x".repeat(64), Protocol::Mysql), Ok(()));
        assert!(sayable_database(&"x".repeat(65), Protocol::Mysql).is_err());
    }

    #[test]
    fn a_name_of_a_certificate_never_becomes_a_pattern() {
        assert!(is_sayable_dns("shop.example"));
        assert!(!is_sayable_dns("*.example"));
        assert!(!is_sayable_dns("192.0.2.1"));
        assert!(is_sayable_uri("spiffe://example.com/ns/shop"));
        assert!(!is_sayable_uri("spiffe://example.com/ns/"));
        assert!(!is_sayable_uri("shop"));
    }
}
