//! The host of a MySQL account: an address, a pattern with `%` and `_`, an address with a mask, a name. Floor 5: pure.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::region::Addresses;

/// Which clients an account is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Networks(Vec<IpNet>),
    Named(String),
    /// The server's own machine: its unix socket.
    Local,
    /// No client has such an address; with the reason.
    Never(String),
    /// With the reason.
    Unknown(String),
}

impl Host {
    pub(super) fn of(text: &str) -> Self {
        if text == "%" {
            let Addresses::Networks(all) = Addresses::everywhere() else {
                return Self::Networks(Vec::new());
            };
            return Self::Networks(all);
        }
        if text.is_empty() {
            return Self::Unknown("it has no host: a role, or an account for everybody".to_owned());
        }
        if text.eq_ignore_ascii_case("localhost") {
            return Self::Local;
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Self::Networks(vec![IpNet::from(address)]);
        }
        if let Some((address, mask)) = text.split_once('/') {
            return masked(text, address, mask);
        }
        if text.contains(['%', '_']) {
            let numbers = |c: char| c.is_ascii_digit() || "._%".contains(c);
            let octets = text.chars().all(numbers).then(|| octets(text)).flatten();
            return octets.and_then(|octets| networks(&octets)).map_or_else(
                || Self::Unknown(format!("`{text}` is a pattern that is no set of networks")),
                Self::Networks,
            );
        }
        let letters = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        if text.chars().all(letters) && text.contains(|c: char| c.is_ascii_alphabetic()) {
            Self::Named(text.to_ascii_lowercase())
        } else {
            Self::Unknown(format!("`{text}` is neither an address nor a name"))
        }
    }

    /// The more specific host is tried first.
    pub(super) fn specificity(&self) -> u8 {
        match self {
            Self::Networks(networks) => {
                let lengths = networks.iter().map(|network| match network {
                    // both families on one scale
                    IpNet::V4(v4) => v4.prefix_len() * 4,
                    IpNet::V6(v6) => v6.prefix_len(),
                });
                lengths.max().unwrap_or_default()
            }
            Self::Named(_) | Self::Local | Self::Never(_) | Self::Unknown(_) => u8::MAX,
        }
    }
}

fn masked(text: &str, address: &str, mask: &str) -> Host {
    let Ok(address) = address.parse::<IpAddr>() else {
        return Host::Unknown(format!("`{text}` is no address with a mask"));
    };
    let network = match mask.parse::<IpAddr>() {
        Ok(mask) => IpNet::with_netmask(address, mask).ok(),
        Err(_no_address) => {
            let prefix = mask.parse().ok();
            prefix.and_then(|prefix| IpNet::new(address, prefix).ok())
        }
    };
    match network {
        None => Host::Unknown(format!("the mask of `{text}` has holes")),
        // the server compares the masked client with the address as it stands
        Some(network) if network.addr() != network.network() => {
            Host::Never(format!("{address} has bits that its mask takes away"))
        }
        Some(network) => Host::Networks(vec![network]),
    }
}

/// The octets that each part of a pattern stands for.
fn octets(text: &str) -> Option<[Vec<u8>; 4]> {
    let parts: Vec<_> = text.split('.').collect();
    let open = text.ends_with('%');
    // with fewer dots than an address has, a `%` stands for dots too: only at the end is it clear what is left of it
    let inner = parts
        .split_last()
        .map_or(&[] as &[&str], |(_, inner)| inner);
    let clear = parts.len() == 4
        || (parts.len() < 4
            && open
            && inner.iter().all(|part| !part.contains('%'))
            && !text.contains('_')
            && text.matches('%').count() == 1);
    if !clear || parts.len() > 4 {
        return None;
    }
    let any = || (0..=u8::MAX).collect::<Vec<_>>();
    let mut octets = [any(), any(), any(), any()];
    for (octet, part) in octets.iter_mut().zip(&parts) {
        octet.retain(|number| fits(part.as_bytes(), number.to_string().as_bytes()));
    }
    Some(octets)
}

/// `%` is any text, `_` any one character.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'%', rest)), Some((_, tail))) => fits(rest, text) || fits(pattern, tail),
        (Some((b'%', rest)), None) => fits(rest, text),
        (Some((b'_', rest)), Some((_, tail))) => fits(rest, tail),
        (Some((wanted, rest)), Some((found, tail))) => wanted == found && fits(rest, tail),
        (Some(_), None) => false,
    }
}

/// The smallest cover of all combinations; `None` where those are too many.
fn networks(octets: &[Vec<u8>; 4]) -> Option<Vec<IpNet>> {
    let whole = octets.iter().rev().take_while(|octet| octet.len() == 256);
    let whole = whole.count();
    let narrow = octets.get(..4 - whole)?;
    let combinations: usize = narrow.iter().map(Vec::len).product();
    if combinations > MAX_NETWORKS {
        return None;
    }
    let mut bits = vec![0_u32];
    for octet in narrow {
        bits = bits
            .iter()
            .flat_map(|prefix| {
                octet
                    .iter()
                    .map(move |octet| prefix << 8 | u32::from(*octet))
            })
            .collect();
    }
    let length = 8 * u8::try_from(narrow.len()).ok()?;
    let networks = bits.into_iter().filter_map(|prefix| {
        let bits = u32::try_from(u64::from(prefix) << (32 - length)).ok()?;
        let network = Ipv4Net::new(Ipv4Addr::from_bits(bits), length).ok()?;
        Some(IpNet::V4(network))
    });
    Some(IpNet::aggregate(&networks.collect::<Vec<_>>()))
}

const MAX_NETWORKS: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_numbers_is_the_networks_that_it_fits() {
        for (host, expected) in [
            ("10.0.%", "10.0.0.0/16"),
            ("10.%", "10.0.0.0/8"),
            ("10.0.0.%", "10.0.0.0/24"),
            ("192.168.1.0/255.255.255.0", "192.168.1.0/24"),
            ("198.51.100.0/24", "198.51.100.0/24"),
            ("203.0.113.7", "203.0.113.7/32"),
            ("2001:db8::7", "2001:db8::7/128"),
            ("10.0.0.1_", "10.0.0.10/31 10.0.0.12/30 10.0.0.16/30"),
            (
                "10.1%",
                "10.1.0.0/16 10.10.0.0/15 10.12.0.0/14 10.16.0.0/14 10.100.0.0/14 10.104.0.0/13 10.112.0.0/12 10.128.0.0/10 10.192.0.0/13",
            ),
            ("10.%.0.5", ""),
            ("%.1", ""),
            ("%.example.com", ""),
            ("10.0.0_1", ""),
        ] {
            let found = match Host::of(host) {
                Host::Networks(networks) => networks
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
                Host::Unknown(_) => String::new(),
                other @ (Host::Named(_) | Host::Local | Host::Never(_)) => {
                    panic!("{host}: {other:?}")
                }
            };
            if host == "10.%.0.5" {
                assert_eq!(
                    found.split(' ').count(),
                    256,
                    "every second octet is one address"
                );
            } else {
                assert_eq!(found, expected, "{host}");
            }
        }
        assert_eq!(Host::of("LocalHost"), Host::Local);
        assert_eq!(
            Host::of("Web1.example.com"),
            Host::Named("web1.example.com".to_owned())
        );
        assert!(matches!(Host::of("10.0.0.5/255.0.0.0"), Host::Never(_)));
    }
}
