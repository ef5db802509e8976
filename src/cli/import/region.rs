//! What a rule of another list speaks of: a set of connections, by address, user, database and way. Floor 5: pure.
//!
//! A list in which the first match decides becomes one in which the order does not matter by taking regions away from each
//! other; these are the set operations for it.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A product of sets: all conditions hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) addresses: Addresses,
    pub(super) users: NameSet,
    pub(super) databases: NameSet,
    pub(super) kind: Kind,
    pub(super) ways: Ways,
}

/// Where connections come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    Networks(Vec<IpNet>),
    /// The addresses of a name, whatever they are, but none in these networks.
    Host {
        name: String,
        but: Vec<IpNet>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NameSet {
    Only(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sessions with SQL.
    Ordinary,
    /// PostgreSQL's physical replication, which opens no database.
    Replication,
}

/// Over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) tls: bool,
    pub(super) clear: bool,
}

impl Region {
    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
            || self.users.is_empty()
            || self.databases.is_empty()
            || !(self.ways.tls || self.ways.clear)
    }

    /// Whether a connection may be in both. A host may be anywhere.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.kind == other.kind
            && !self.is_empty()
            && !other.is_empty()
            && self.ways.meets(other.ways)
            && self.users.meets(&other.users)
            && self.databases.meets(&other.databases)
            && self.addresses.meets(&other.addresses)
    }

    /// Whether everything of the other is in this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.is_empty()
            || (self.kind == other.kind
                && self.ways.covers(other.ways)
                && self.users.covers(&other.users)
                && self.databases.covers(&other.databases)
                && self.addresses.covers(&other.addresses))
    }

    /// What is left without the other: regions that together hold it, and may meet each other.
    pub(super) fn without(&self, other: &Self) -> Vec<Self> {
        if !self.meets(other) {
            return vec![self.clone()];
        }
        let left = [
            Self {
                addresses: self.addresses.without(&other.addresses),
                ..self.clone()
            },
            Self {
                users: self.users.without(&other.users),
                ..self.clone()
            },
            Self {
                databases: self.databases.without(&other.databases),
                ..self.clone()
            },
            Self {
                ways: self.ways.without(other.ways),
                ..self.clone()
            },
        ];
        left.into_iter()
            .filter(|region| !region.is_empty())
            .collect()
    }
}

impl Addresses {
    pub(super) fn everywhere() -> Self {
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        Self::Networks(all.to_vec())
    }

    pub(super) fn host(name: &str) -> Self {
        Self::Host {
            name: name.to_owned(),
            but: Vec::new(),
        }
    }

    const fn is_empty(&self) -> bool {
        match self {
            Self::Networks(networks) => networks.is_empty(),
            Self::Host { .. } => false,
        }
    }

    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Networks(one), Self::Networks(other)) => one.iter().any(|one| {
                other
                    .iter()
                    .any(|other| one.contains(other) || other.contains(one))
            }),
            (Self::Host { but, .. }, Self::Networks(networks))
            | (Self::Networks(networks), Self::Host { but, .. }) => {
                networks.iter().any(|network| !contained(network, but))
            }
            (Self::Host { .. }, Self::Host { .. }) => true,
        }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Networks(wide), Self::Networks(narrow)) => {
                let within = |wide: &[IpNet]| narrow.iter().all(|network| contained(network, wide));
                // neighbours may hold together what none holds alone
                within(wide) || (wide.len() > 1 && within(&IpNet::aggregate(wide)))
            }
            (wide @ Self::Networks(_), Self::Host { .. }) => wide.covers(&Self::everywhere()),
            (Self::Host { .. }, Self::Networks(_)) => false,
            (Self::Host { name, but }, Self::Host { name: other, .. }) => {
                name == other && but.is_empty()
            }
        }
    }

    fn without(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Networks(networks), Self::Networks(holes)) => {
                let mut left = networks.clone();
                for hole in holes {
                    left = left
                        .into_iter()
                        .flat_map(|network| pierced(network, *hole))
                        .collect();
                }
                Self::Networks(left)
            }
            (Self::Host { name, but }, Self::Networks(holes)) => {
                let but = IpNet::aggregate(&[but.as_slice(), holes].concat());
                let gone = Self::Networks(but.clone()).covers(&Self::everywhere());
                if gone {
                    Self::Networks(Vec::new())
                } else {
                    Self::Host {
                        name: name.clone(),
                        but,
                    }
                }
            }
            // nobody knows what that takes away: the one who asks has to see to it, see `flatten`
            (_, Self::Host { .. }) => self.clone(),
        }
    }
}

impl NameSet {
    pub(super) const fn all() -> Self {
        Self::AllBut(BTreeSet::new())
    }

    pub(super) fn only<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::Only(names.into_iter().map(str::to_owned).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Only(one), Self::Only(other)) => !one.is_disjoint(other),
            (Self::Only(names), Self::AllBut(but)) | (Self::AllBut(but), Self::Only(names)) => {
                !names.is_subset(but)
            }
            (Self::AllBut(_), Self::AllBut(_)) => true,
        }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Only(wide), Self::Only(narrow)) => narrow.is_subset(wide),
            (Self::Only(_), Self::AllBut(_)) => false,
            (Self::AllBut(but), Self::Only(names)) => names.is_disjoint(but),
            (Self::AllBut(but), Self::AllBut(more)) => but.is_subset(more),
        }
    }

    fn without(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(names), Self::Only(gone)) => Self::Only(names - gone),
            (Self::Only(names), Self::AllBut(stay)) => Self::Only(names & stay),
            (Self::AllBut(but), Self::Only(gone)) => Self::AllBut(but | gone),
            (Self::AllBut(but), Self::AllBut(stay)) => Self::Only(stay - but),
        }
    }
}

impl Ways {
    pub(super) const ALL: Self = Self {
        tls: true,
        clear: true,
    };

    pub(super) const TLS: Self = Self {
        tls: true,
        clear: false,
    };

    pub(super) const CLEAR: Self = Self {
        tls: false,
        clear: true,
    };

    pub(super) const NONE: Self = Self {
        tls: false,
        clear: false,
    };

    pub(super) const fn meets(self, other: Self) -> bool {
        (self.tls && other.tls) || (self.clear && other.clear)
    }

    pub(super) const fn covers(self, other: Self) -> bool {
        (self.tls || !other.tls) && (self.clear || !other.clear)
    }

    pub(super) const fn both(self, other: Self) -> Self {
        Self {
            tls: self.tls && other.tls,
            clear: self.clear && other.clear,
        }
    }

    const fn without(self, other: Self) -> Self {
        Self {
            tls: self.tls && !other.tls,
            clear: self.clear && !other.clear,
        }
    }
}

/// Whether one of the networks holds it whole.
fn contained(network: &IpNet, wider: &[IpNet]) -> bool {
    wider.iter().any(|wide| wide.contains(network))
}

/// A network without a hole: the halves beside it, from the widest on.
fn pierced(network: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&network) {
        return Vec::new();
    }
    let mut left = Vec::new();
    let mut rest = network;
    while rest != hole && rest.contains(&hole) {
        let Ok(halves) = rest.subnets(rest.prefix_len() + 1) else {
            break;
        };
        for half in halves {
            if half.contains(&hole) {
                rest = half;
            } else {
                left.push(half);
            }
        }
    }
    if rest == network {
        left.push(network);
    }
    left.sort();
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Addresses {
        Addresses::Networks(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_hole_leaves_the_fewest_networks_around_it() {
        let left = networks(&["10.0.0.0/8"]).without(&networks(&["10.64.0.0/10", "192.0.2.0/24"]));
        assert_eq!(left, networks(&["10.0.0.0/10", "10.128.0.0/9"]));
        let one = networks(&["10.0.0.0/30"]).without(&networks(&["10.0.0.2/32"]));
        assert_eq!(one, networks(&["10.0.0.0/31", "10.0.0.3/32"]));
        assert!(one.without(&networks(&["10.0.0.0/8"])).is_empty());
        let v6 = networks(&["2001:db8::/127"]).without(&networks(&["2001:db8::1/128"]));
        assert_eq!(v6, networks(&["2001:db8::/128"]));
    }

    #[test]
    fn a_host_may_be_anywhere_it_was_not_taken_from() {
        let host = Addresses::host("db.example.com");
        assert!(host.meets(&networks(&["10.0.0.0/8"])));
        let left = host.without(&networks(&["10.0.0.0/8"]));
        assert!(!left.meets(&networks(&["10.1.0.0/16"])));
        assert!(left.meets(&networks(&["11.0.0.0/8"])));
        assert!(host.without(&Addresses::everywhere()).is_empty());
        assert!(Addresses::everywhere().covers(&host) && !networks(&["0.0.0.0/0"]).covers(&host));
    }

    fn names() -> impl Strategy<Value = NameSet> {
        let some = prop::collection::btree_set("[a-d]", 0..4);
        (some, any::<bool>()).prop_map(|(names, only)| {
            if only {
                NameSet::Only(names)
            } else {
                NameSet::AllBut(names)
            }
        })
    }

    prop_compose! {
        fn network()(bits in 0_u32..64, length in 26_u8..=32) -> IpNet {
            IpNet::V4(Ipv4Net::new((0x0a00_0000 + bits).into(), length).unwrap()).trunc()
        }
    }

    prop_compose! {
        fn region()(
            networks in prop::collection::vec(network(), 0..4),
            users in names(),
            databases in names(),
            replication in any::<bool>(),
            (tls, clear) in any::<(bool, bool)>(),
        ) -> Region {
            Region {
                addresses: Addresses::Networks(networks),
                users,
                databases,
                kind: if replication { Kind::Replication } else { Kind::Ordinary },
                ways: Ways { tls, clear },
            }
        }
    }

    /// Every connection of a small world.
    fn world() -> Vec<Region> {
        let mut all = Vec::new();
        for bits in 0..64_u32 {
            for user in ["a", "b", "e"] {
                for database in ["c", "e"] {
                    for (kind, ways) in [
                        (Kind::Ordinary, Ways::TLS),
                        (Kind::Ordinary, Ways::CLEAR),
                        (Kind::Replication, Ways::TLS),
                    ] {
                        let address = Ipv4Net::new((0x0a00_0000 + bits).into(), 32).unwrap();
                        all.push(Region {
                            addresses: Addresses::Networks(vec![IpNet::V4(address)]),
                            users: NameSet::only([user]),
                            databases: NameSet::only([database]),
                            kind,
                            ways,
                        });
                    }
                }
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_left_is_what_was_there_and_not_taken(one in region(), other in region()) {
            let left = one.without(&other);
            for point in world() {
                let stays = one.covers(&point) && !other.covers(&point);
                prop_assert_eq!(left.iter().any(|region| region.covers(&point)), stays);
                if one.covers(&point) && other.covers(&point) {
                    prop_assert!(one.meets(&other));
                }
            }
        }
    }
}
