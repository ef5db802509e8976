//! What a command line says in the file's own words. Floor 1: pure.

use std::time::Duration;

use ipnet::IpNet;

use super::{addresses, values};
use crate::policy::From;

/// An address or a network, as `from` has it.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn spoken_network(text: &str) -> Result<IpNet, String> {
    match addresses::from(text) {
        Ok(From::Network(network)) => Ok(network),
        Ok(From::Any | From::Host { .. } | From::Set(_)) => {
            Err(format!("`{text}` is not an address or a network"))
        }
        Err(fault) => Err(fault.to_string()),
    }
}

/// A length of time that is more than nothing and at most a month.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn spoken_length(text: &str) -> Result<Duration, String> {
    values::long_time(text).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_read_as_the_file_is() {
        assert_eq!(
            spoken_network("203.0.113.9").unwrap().to_string(),
            "203.0.113.9/32"
        );
        assert!(
            spoken_network("203.0.113.9/24")
                .unwrap_err()
                .contains("host bits")
        );
        assert!(spoken_network("any").unwrap_err().contains("any"));
        assert_eq!(spoken_length("2h").unwrap(), Duration::from_secs(7200));
        assert!(spoken_length("2").unwrap_err().contains("unit"));
    }
}
