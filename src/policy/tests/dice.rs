//! Random rules and claims of a small world, so that they meet: the same at every run.

use super::*;

const USERS: [&str; 5] = ["a", "b", "c", "postgres", "root"];
const DATABASES: [&str; 3] = ["x", "y", "z"];
const LISTENERS: [&str; 2] = ["pg", "other"];
const SETS: [&str; 3] = ["office", "runners", "nowhere"];
const HOSTS: [&str; 3] = ["erp.example", "home.example", "unknown.example"];
/// The end of time; expiries and claims lie before it.
pub(super) const MOMENTS: u64 = 20;

/// xorshift.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub(super) fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    pub(super) fn now(&mut self) -> SystemTime {
        at(self.roll(MOMENTS))
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        let sides = u64::try_from(items.len()).unwrap();
        items[usize::try_from(self.roll(sides)).unwrap()]
    }

    fn maybe<T: Copy>(&mut self, sides: u64, items: &[T]) -> Option<T> {
        self.once_in(sides).then(|| self.pick(items))
    }

    fn several<T>(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let many = self.roll(most + 1);
        (0..many).map(|_| one(self)).collect()
    }

    fn address(&mut self) -> IpAddr {
        let v4 = std::net::Ipv4Addr::from(0x0A00_0000 + u32::try_from(self.roll(16)).unwrap());
        match self.roll(8) {
            0 => v4.to_ipv6_mapped().into(),
            1 | 2 => std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(self.roll(16))).into(),
            _ => v4.into(),
        }
    }

    fn network(&mut self) -> IpNet {
        let network = match canonical(self.address()) {
            v4 @ IpAddr::V4(_) => IpNet::new(v4, self.pick(&[0, 28, 29, 30, 31, 32])),
            v6 @ IpAddr::V6(_) => IpNet::new(v6, self.pick(&[0, 124, 126, 127, 128])),
        };
        network.unwrap().trunc()
    }

    fn from(&mut self) -> From {
        match self.roll(8) {
            0 => From::Any,
            1 | 2 => From::Set(self.pick(&SETS).into()),
            3 | 4 => From::Host {
                name: self.pick(&HOSTS).into(),
                inward: self.once_in(3),
            },
            _ => From::Network(self.network()),
        }
    }

    fn names(&mut self, of: &[&str]) -> Names {
        if self.once_in(3) {
            return Names::Any;
        }
        let many = 1 + self.roll(2);
        Names::Listed((0..many).map(|_| self.pick(of).to_owned()).collect())
    }

    fn proof(&mut self) -> Proof {
        let dns = ["a.example", "*.example", "b.example", "*.a.example"];
        let uri = ["spiffe://d/ns/", "spiffe://d/ns/etl", "spiffe://e/"];
        Proof {
            dns: self.maybe(2, &dns).map(str::to_owned),
            uri: self.maybe(4, &uri).map(str::to_owned),
            cn: self.maybe(6, &["a", "b"]).map(str::to_owned),
            sha256: self.maybe(6, &[[0; 32], [1; 32]]),
            issuer: self.maybe(6, &[[7; 32], [8; 32]]),
        }
    }

    fn certificate(&mut self) -> Certificate {
        use Validity::{Expired, Revoked, Untrusted, Valid};
        let dns = ["a.example", "A.Example.", "*.example", "x.a.example"];
        let uri = ["spiffe://d/ns/etl", "spiffe://d/ns/../x", "spiffe://e/x/y"];
        Certificate {
            dns: self.several(2, |dice| dice.pick(&dns).to_owned()),
            uri: self.several(2, |dice| dice.pick(&uri).to_owned()),
            cn: self.maybe(2, &["a", "b"]).map(str::to_owned),
            sha256: self.pick(&[[0; 32], [1; 32]]),
            issuers: self.several(2, |dice| dice.pick(&[[7; 32], [8; 32]])),
            ends: at(MOMENTS / 2 + self.roll(MOMENTS)),
            validity: self.pick(&[Valid, Valid, Valid, Valid, Untrusted, Expired, Revoked]),
            chain: Vec::new(),
        }
    }

    fn replication(&mut self) -> Option<Replication> {
        let kinds = [
            Replication::Physical,
            Replication::Logical,
            Replication::Commands,
        ];
        self.maybe(6, &kinds)
    }

    pub(super) fn origin(&mut self, number: u64) -> Origin {
        let users = self.names(&USERS);
        let many = 1 + self.roll(3);
        Origin {
            from: (0..many).map(|_| self.from()).collect(),
            proof: self.once_in(3).then(|| self.proof()),
            listeners: self.names(&LISTENERS),
            databases: self.names(&DATABASES),
            replication: self.replication(),
            exclusive: users != Names::Any && self.once_in(4),
            active: !self.once_in(8),
            expires: self.once_in(4).then(|| self.now()),
            observe: self.once_in(4),
            tls_min: self.maybe(4, &[TlsVersion::V1_2, TlsVersion::V1_3]),
            users,
            ..origin(&format!("o{number}"), &[])
        }
    }

    fn deny(&mut self, number: u64) -> Deny {
        let from = self.several(1, |dice| match dice.from() {
            // the loader lets no host stand here: it would fail open
            From::Host { .. } => From::Network(dice.network()),
            other @ (From::Any | From::Network(_) | From::Set(_)) => other,
        });
        let certificates = self.maybe(3, &[[0; 32], [1; 32]]);
        let users = self.several(2, |dice| dice.pick(&USERS).to_owned());
        // nor an entry without any key
        let idle = from.is_empty() && users.is_empty() && certificates.is_none();
        Deny {
            from,
            users: if idle { vec!["c".to_owned()] } else { users },
            certificates: certificates.into_iter().collect(),
            ..deny(&format!("d{number}"), &[], &[])
        }
    }

    pub(super) fn rules(&mut self) -> Rules {
        let (origins, denied) = (self.roll(7), self.roll(3));
        let origins = (0..origins).map(|number| self.origin(number)).collect();
        let denied = (0..denied).map(|number| self.deny(number)).collect();
        let set = |dice: &mut Self, name: &str, shared| NamedNetwork {
            name: name.into(),
            shared,
            addresses: dice.several(3, Self::network),
        };
        let observe = self.once_in(4).then(|| Observe {
            until: self.now(),
            from: self.several(2, Self::network),
        });
        Rules {
            require: Require {
                tls: !self.once_in(4),
                authentication: true,
            },
            networks: vec![set(self, SETS[0], false), set(self, SETS[1], true)],
            observe,
            ..rules(origins, denied)
        }
    }

    pub(super) fn hosts(&mut self) -> Hosts {
        let mut hosts = Hosts::default();
        for name in &HOSTS[..2] {
            let (since, until) = (at(0), at(MOMENTS));
            let freshness = match self.roll(3) {
                0 => Freshness::Stale { since },
                1 => Freshness::Given,
                _ => Freshness::Fresh { since, until },
            };
            let answer = HostAnswer {
                addresses: self.several(3, |dice| canonical(dice.address())),
                inward: self.several(1, |dice| canonical(dice.address())),
                freshness,
            };
            hosts.insert((*name).into(), answer);
        }
        hosts
    }

    pub(super) fn claim(&mut self) -> Claim {
        let replication = self.replication();
        let none = replication == Some(Replication::Physical) || self.once_in(16);
        Claim {
            listener: self.pick(&LISTENERS).into(),
            address: self.address(),
            user: self.pick(&USERS).into(),
            database: (!none).then(|| self.pick(&DATABASES).into()),
            replication,
            tls: self.pick(&[
                None,
                Some(TlsVersion::V1_2),
                Some(TlsVersion::V1_3),
                Some(TlsVersion::V1_3),
            ]),
            certificate: self.once_in(2).then(|| Arc::new(self.certificate())),
            application: None,
        }
    }

    /// Some origins without room.
    pub(super) fn room(&mut self) -> Crowded {
        let limits = [decide::Full::Connections, decide::Full::Rate];
        let full = (0..7).map(|_| self.maybe(3, &limits)).collect();
        Crowded(full)
    }
}

/// Which limit stands against the origins `o0`, `o1` and so on. A seat says where it is.
#[derive(Debug)]
pub(super) struct Crowded(Vec<Option<decide::Full>>);

impl Crowded {
    pub(super) fn limit(&self, origin: &Origin) -> Option<decide::Full> {
        let number: usize = origin.name.strip_prefix('o')?.parse().ok()?;
        *self.0.get(number)?
    }
}

impl Room for Crowded {
    type Seat = String;

    fn take(&self, origin: &Origin, _: &Claim) -> Result<String, decide::Full> {
        let seat = format!("in {}", origin.name);
        self.limit(origin).map_or(Ok(seat), Err)
    }

    fn spare(&self, origin: Option<&Origin>, _: &Claim) -> String {
        format!("past {}", origin.map_or(NO_ORIGIN, |origin| &*origin.name))
    }
}
