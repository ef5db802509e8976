//! What an address or a name tells by itself: public or inside, a content delivery network or not. Floor 1: pure.

use std::{net::IpAddr, sync::LazyLock};

use ipnet::IpNet;

use crate::policy::canonical;

/// Where an address that DNS gave leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Public,
    /// Into this machine or the networks around it. Says which.
    Inward(&'static str),
    /// No client connects from it. Says why.
    Nowhere(&'static str),
}

/// Where an address leads to, as it stands: a mapped one is none that a resolver should give.
pub fn reach(address: IpAddr) -> Reach {
    let listed = |table: &[Named]| {
        let named = table.iter().find(|named| named.network.contains(&address));
        named.map(|named| named.name)
    };
    if let Some(name) = listed(&NOWHERE) {
        return Reach::Nowhere(name);
    }
    listed(&INWARD).map_or(Reach::Public, Reach::Inward)
}

/// The content delivery network that answers at this address. Visitors of a site come to such an address; the site itself
/// connects from elsewhere.
pub fn cdn(address: IpAddr) -> Option<&'static str> {
    let address = canonical(address);
    let named = CDN.iter().find(|named| named.network.contains(&address));
    named.map(|named| named.name)
}

/// Whether anybody on the internet can own the name: it has a dot, and does not end in a label that is kept for private
/// use. Of such a name an address inside is no honest answer.
pub fn is_public_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let ends_in = |suffix: &&str| {
        let before = host.strip_suffix(*suffix);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    host.contains('.') && !PRIVATE_NAMES.iter().any(ends_in)
}

/// A network, and what it is.
struct Named {
    name: &'static str,
    network: IpNet,
}

/// Flattens a table of names and networks. An entry that is no network is left out; a test finds it.
fn named(table: &[(&'static str, &'static [&'static str])]) -> Vec<Named> {
    let entries = table
        .iter()
        .flat_map(|(name, networks)| networks.iter().map(move |network| (*name, *network)));
    entries
        .filter_map(|(name, network)| {
            let network = network.parse().ok()?;
            Some(Named { name, network })
        })
        .collect()
}

static NOWHERE: LazyLock<Vec<Named>> = LazyLock::new(|| named(NOWHERE_TABLE));
static INWARD: LazyLock<Vec<Named>> = LazyLock::new(|| named(INWARD_TABLE));
static CDN: LazyLock<Vec<Named>> = LazyLock::new(|| named(CDN_TABLE));

/// After IANA's registries of special-purpose addresses (RFC 6890).
const NOWHERE_TABLE: &[(&str, &[&str])] = &[
    ("unspecified", &["0.0.0.0/8", "::/128"]),
    ("multicast", &["224.0.0.0/4", "ff00::/8"]),
    ("reserved", &["240.0.0.0/4"]),
    ("IPv4 in IPv6's clothes", &["::ffff:0:0/96"]),
];

/// After the same registries.
const INWARD_TABLE: &[(&str, &[&str])] = &[
    ("loopback", &["127.0.0.0/8", "::1/128"]),
    ("link-local", &["169.254.0.0/16", "fe80::/10", "fec0::/10"]),
    (
        "private",
        &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
    ),
    ("shared by a carrier's customers", &["100.64.0.0/10"]),
    // IPv4-compatible, and the local half of NAT64: both can hide an address of the tables above
    ("IPv4 in IPv6's clothes", &["::/96", "64:ff9b:1::/48"]),
];

/// As their owners publish them, in July 2025: cloudflare.com/ips, api.fastly.com/public-ip-list, and of what
/// ip-ranges.amazonaws.com has for CLOUDFRONT the blocks up to /20. A warning hangs on them, no decision.
const CDN_TABLE: &[(&str, &[&str])] = &[
    (
        "Cloudflare",
        &[
            "103.21.244.0/22",
            "103.22.200.0/22",
            "103.31.4.0/22",
            "104.16.0.0/13",
            "104.24.0.0/14",
            "108.162.192.0/18",
            "131.0.72.0/22",
            "141.101.64.0/18",
            "162.158.0.0/15",
            "172.64.0.0/13",
            "173.245.48.0/20",
            "188.114.96.0/20",
            "190.93.240.0/20",
            "197.234.240.0/22",
            "198.41.128.0/17",
            "2400:cb00::/32",
            "2405:8100::/32",
            "2405:b500::/32",
            "2606:4700::/32",
            "2803:f800::/32",
            "2a06:98c0::/29",
            "2c0f:f248::/32",
        ],
    ),
    (
        "Fastly",
        &[
            "23.235.32.0/20",
            "43.249.72.0/22",
            "103.244.50.0/24",
            "103.245.222.0/23",
            "103.245.224.0/24",
            "104.156.80.0/20",
            "140.248.64.0/18",
            "140.248.128.0/17",
            "146.75.0.0/17",
            "151.101.0.0/16",
            "157.52.64.0/18",
            "167.82.0.0/17",
            "167.82.128.0/20",
            "167.82.160.0/20",
            "167.82.224.0/20",
            "172.111.64.0/18",
            "185.31.16.0/22",
            "199.27.72.0/21",
            "199.232.0.0/16",
            "2a04:4e40::/32",
            "2a04:4e42::/32",
        ],
    ),
    (
        "Amazon CloudFront",
        &[
            "3.160.0.0/13",
            "3.168.0.0/14",
            "3.172.0.0/17",
            "3.173.0.0/16",
            "3.174.0.0/15",
            "13.32.0.0/15",
            "13.35.0.0/16",
            "13.224.0.0/14",
            "13.249.0.0/16",
            "15.158.0.0/16",
            "18.64.0.0/14",
            "18.68.0.0/16",
            "18.154.0.0/15",
            "18.160.0.0/15",
            "18.164.0.0/15",
            "18.172.0.0/15",
            "18.238.0.0/15",
            "18.244.0.0/15",
            "23.91.0.0/19",
            "52.46.0.0/18",
            "52.82.128.0/19",
            "52.84.0.0/15",
            "52.124.128.0/17",
            "52.222.128.0/17",
            "54.182.0.0/16",
            "54.192.0.0/16",
            "54.230.0.0/17",
            "54.230.128.0/18",
            "54.230.208.0/20",
            "54.230.224.0/19",
            "54.239.128.0/18",
            "54.239.192.0/19",
            "54.240.128.0/18",
            "64.252.64.0/18",
            "64.252.128.0/18",
            "65.8.0.0/16",
            "65.9.0.0/17",
            "65.9.128.0/18",
            "70.132.0.0/18",
            "71.152.0.0/17",
            "99.84.0.0/16",
            "99.86.0.0/16",
            "108.138.0.0/15",
            "108.156.0.0/14",
            "130.176.0.0/17",
            "130.176.128.0/18",
            "130.176.192.0/19",
            "130.176.224.0/20",
            "143.204.0.0/16",
            "144.220.0.0/16",
            "204.246.176.0/20",
            "205.251.208.0/20",
            "216.137.32.0/19",
            "2600:9000:1000::/36",
            "2600:9000:2000::/35",
            "2600:9000:4000::/36",
        ],
    ),
];

/// Kept for private use, or in use so that nobody will be given them: RFC 6761, 6762 (with its appendix G), 8375, and
/// ICANN's `internal` of 2024.
const PRIVATE_NAMES: &[&str] = &[
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "lan",
    "local",
    "localhost",
    "private",
    "test",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str) -> Reach {
        reach(address.parse().unwrap())
    }

    #[test]
    fn every_entry_of_the_tables_is_a_network_without_host_bits() {
        for table in [NOWHERE_TABLE, INWARD_TABLE, CDN_TABLE] {
            for network in table.iter().flat_map(|(_, networks)| *networks) {
                let parsed: IpNet = network.parse().unwrap();
                assert_eq!(parsed, parsed.trunc(), "{network}");
            }
        }
    }

    #[test]
    fn inside_nowhere_and_public_are_told_apart() {
        for (address, expected) in [
            ("203.0.113.7", Reach::Public),
            ("172.32.0.1", Reach::Public),
            ("2001:db8::1", Reach::Public),
            ("64:ff9b::cb00:7107", Reach::Public),
            ("127.8.8.8", Reach::Inward("loopback")),
            ("::1", Reach::Inward("loopback")),
            ("169.254.169.254", Reach::Inward("link-local")),
            ("fe80::1", Reach::Inward("link-local")),
            ("172.31.255.255", Reach::Inward("private")),
            ("fd00::1", Reach::Inward("private")),
            (
                "100.64.0.1",
                Reach::Inward("shared by a carrier's customers"),
            ),
            ("::10.0.0.1", Reach::Inward("IPv4 in IPv6's clothes")),
            ("::", Reach::Nowhere("unspecified")),
            ("0.0.0.0", Reach::Nowhere("unspecified")),
            ("255.255.255.255", Reach::Nowhere("reserved")),
            ("ff02::1", Reach::Nowhere("multicast")),
            (
                "::ffff:203.0.113.7",
                Reach::Nowhere("IPv4 in IPv6's clothes"),
            ),
        ] {
            assert_eq!(kind(address), expected, "{address}");
        }
    }

    #[test]
    fn a_site_behind_a_cdn_is_known_by_its_address() {
        let cdn = |address: &str| cdn(address.parse().unwrap());
        assert_eq!(cdn("104.16.132.229"), Some("Cloudflare"));
        assert_eq!(cdn("::ffff:104.16.132.229"), Some("Cloudflare"));
        assert_eq!(cdn("2606:4700::6810:84e5"), Some("Cloudflare"));
        assert_eq!(cdn("151.101.1.140"), Some("Fastly"));
        assert_eq!(cdn("13.33.0.1"), Some("Amazon CloudFront"));
        assert_eq!(cdn("203.0.113.7"), None);
    }

    #[test]
    fn only_a_name_that_somebody_can_register_is_public() {
        for public in ["example.com", "erp.partner.example.", "mylocal.com"] {
            assert!(is_public_name(public), "{public}");
        }
        for private in [
            "web-1",
            "localhost",
            "db.internal",
            "DB.Internal.",
            "nas.home.arpa",
            "printer.local",
        ] {
            assert!(!is_public_name(private), "{private}");
        }
    }
}
