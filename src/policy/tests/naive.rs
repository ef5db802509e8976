//! The rules once more, written from their description and without an index, against the real thing on random cases.

use std::cmp::Reverse;

use super::*;

/// A decision by trying everything.
fn decide(rules: &Rules, claim: &Claim, now: SystemTime) -> (Reason, Option<String>) {
    let address = match claim.address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    let hit = rules.deny.iter().find(|deny| {
        (deny.from.is_empty() || deny.from.iter().any(|from| width(from, address).is_some()))
            && (deny.users.is_empty() || deny.users.contains(&claim.user))
    });
    if let Some(deny) = hit {
        return (Reason::DenyRule, Some(deny.name.to_string()));
    }
    let reserving: Vec<_> = rules
        .origins
        .iter()
        .filter(|origin| {
            origin.exclusive
                && origin.users != Names::Any
                && fits(&origin.users, &claim.user)
                && fits(&origin.listeners, &claim.listener)
        })
        .collect();
    let may: Vec<_> = if reserving.is_empty() {
        rules.origins.iter().collect()
    } else {
        reserving.clone()
    };
    // how far each got that covers the address, and how specific it is
    let mut tried: Vec<_> = may
        .iter()
        .filter_map(|origin| {
            let width = origin
                .from
                .iter()
                .filter_map(|from| width(from, address))
                .max()?;
            let place = rules
                .origins
                .iter()
                .position(|other| other.name == origin.name);
            let rank = (
                Reverse(width),
                origin.users == Names::Any,
                origin.databases == Names::Any,
                place,
            );
            Some((failure(rules, origin, claim, now), rank, *origin, width))
        })
        .collect();
    tried.sort_by_key(|(_, rank, _, _)| *rank);
    if let Some((_, _, origin, _)) = tried.iter().find(|(failure, ..)| failure.is_none()) {
        return (Reason::Allowed, Some(origin.name.to_string()));
    }
    let near = tried
        .iter()
        .filter(|(_, _, origin, width)| *width > 0 || user_fits(rules, origin, &claim.user));
    // the first of those that failed latest
    let nearest = near.rev().max_by_key(|(failure, ..)| *failure);
    match (nearest, reserving.first()) {
        (Some((Some((_, reason)), _, origin, _)), _) => (*reason, Some(origin.name.to_string())),
        (Some((None, ..)), _) => panic!("a complete match was overlooked"),
        (None, Some(reserving)) => (Reason::ExclusiveUser, Some(reserving.name.to_string())),
        (None, None) => (Reason::NoOrigin, None),
    }
}

/// The number of the first condition that fails, and its reason.
fn failure(rules: &Rules, origin: &Origin, claim: &Claim, now: SystemTime) -> Option<(u8, Reason)> {
    let database = claim.database.as_ref();
    let checks = [
        (
            fits(&origin.listeners, &claim.listener),
            Reason::ListenerNotAllowed,
        ),
        (
            user_fits(rules, origin, &claim.user),
            Reason::UserNotAllowed,
        ),
        (
            database.is_none_or(|name| fits(&origin.databases, name)),
            Reason::DatabaseNotAllowed,
        ),
        (
            match (origin.replication, claim.replication) {
                (Some(Replication::Commands), None) => true,
                (origin, claim) => origin == claim,
            },
            Reason::ReplicationNotAllowed,
        ),
        (origin.active, Reason::Inactive),
        (origin.expires.is_none_or(|end| now < end), Reason::Expired),
        (
            !rules.require.tls || claim.tls.is_some(),
            Reason::TlsRequired,
        ),
    ];
    let mut checks = (1..).zip(checks);
    checks
        .find(|(_, (holds, _))| !holds)
        .map(|(number, (_, reason))| (number, reason))
}

fn user_fits(rules: &Rules, origin: &Origin, user: &str) -> bool {
    match &origin.users {
        Names::Any => !rules.protected_users.contains(user),
        listed @ Names::Listed(_) => fits(listed, user),
    }
}

fn fits(names: &Names, name: &str) -> bool {
    match names {
        Names::Any => true,
        Names::Listed(names) => names.iter().any(|listed| listed == name),
    }
}

/// One more than the prefix length of an entry that holds the address, 0 for `any`.
fn width(from: &From, address: IpAddr) -> Option<u16> {
    let network = match from {
        From::Any => return Some(0),
        From::Network(network) => network,
        From::Host { .. } | From::Set(_) => panic!("the dice know none"),
    };
    let prefix = network.prefix_len();
    let same = match (network.addr(), address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            (a.to_bits() ^ b.to_bits()) & mask == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            (a.to_bits() ^ b.to_bits()) & mask == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    };
    same.then_some(u16::from(prefix) + 1)
}

/// A small world, so that rules and claims meet: xorshift, the same at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        let sides = u64::try_from(items.len()).unwrap();
        items[usize::try_from(self.roll(sides)).unwrap()]
    }

    fn v4(&mut self) -> u32 {
        0x0A00_0000 + u32::try_from(self.roll(16)).unwrap()
    }

    fn address(&mut self) -> IpAddr {
        let v4 = std::net::Ipv4Addr::from(self.v4());
        match self.roll(8) {
            0 => v4.to_ipv6_mapped().into(),
            1 | 2 => std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(self.roll(16))).into(),
            _ => v4.into(),
        }
    }

    fn from(&mut self) -> From {
        if self.once_in(8) {
            return From::Any;
        }
        let network = match canonical(self.address()) {
            v4 @ IpAddr::V4(_) => IpNet::new(v4, self.pick(&[0, 28, 29, 30, 31, 32])),
            v6 @ IpAddr::V6(_) => IpNet::new(v6, self.pick(&[0, 124, 126, 127, 128])),
        };
        From::Network(network.unwrap().trunc())
    }

    fn names(&mut self, of: &[&str]) -> Names {
        if self.once_in(3) {
            return Names::Any;
        }
        let many = 1 + self.roll(2);
        Names::Listed((0..many).map(|_| self.pick(of).to_owned()).collect())
    }

    fn origin(&mut self, number: u64) -> Origin {
        let users = self.names(&USERS);
        let many = 1 + self.roll(3);
        Origin {
            from: (0..many).map(|_| self.from()).collect(),
            listeners: self.names(&LISTENERS),
            databases: self.names(&DATABASES),
            replication: if self.once_in(6) {
                self.replication()
            } else {
                None
            },
            exclusive: users != Names::Any && self.once_in(4),
            active: !self.once_in(8),
            expires: self.once_in(4).then(|| at(self.roll(20))),
            users,
            ..origin(&format!("o{number}"), &[])
        }
    }

    fn replication(&mut self) -> Option<Replication> {
        self.pick(&[
            None,
            Some(Replication::Physical),
            Some(Replication::Logical),
            Some(Replication::Commands),
        ])
    }

    fn rules(&mut self) -> Rules {
        let (origins, denied) = (self.roll(7), self.roll(3));
        let origins = (0..origins).map(|number| self.origin(number)).collect();
        let denied = (0..denied).map(|number| {
            let (froms, users) = (self.roll(2), self.roll(2));
            Deny {
                from: (0..froms).map(|_| self.from()).collect(),
                users: (0..=users).map(|_| self.pick(&USERS).to_owned()).collect(),
                ..deny(&format!("d{number}"), &[], &[])
            }
        });
        let denied = denied.collect();
        Rules {
            require: Require {
                tls: !self.once_in(4),
                authentication: true,
            },
            ..rules(origins, denied)
        }
    }

    fn claim(&mut self) -> Claim {
        let replication = if self.once_in(6) {
            self.replication()
        } else {
            None
        };
        let physical = replication == Some(Replication::Physical);
        Claim {
            listener: self.pick(&LISTENERS).into(),
            address: self.address(),
            user: self.pick(&USERS).to_owned(),
            database: (!physical).then(|| self.pick(&DATABASES).to_owned()),
            replication,
            tls: (!self.once_in(5)).then_some(TlsVersion::V1_2),
            certificate: None,
            application: None,
        }
    }
}

#[test]
fn the_decision_is_what_the_rules_say_word_for_word() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut seen = HashSet::new();
    for _ in 0..3000 {
        let rules = dice.rules();
        let policy = samples::policy(rules.clone());
        for _ in 0..50 {
            let (claim, now) = (dice.claim(), at(dice.roll(20)));
            let (naive, real) = (decide(&rules, &claim, now), decided(&policy, &claim, now));
            // several deny rules may hit; any of them is a true answer
            let same = naive == real || (naive.0, real.0) == (Reason::DenyRule, Reason::DenyRule);
            assert!(
                same,
                "{naive:?} is not {real:?}\n{claim:?} at {now:?}\n{rules:#?}"
            );
            seen.insert(real.0);
        }
    }
    assert_eq!(seen.len(), 11, "every reason was met: {seen:?}");
}

#[test]
fn why_agrees_with_the_decision() {
    let mut dice = Dice(0xD1B5_4A32_D192_ED03);
    for _ in 0..1000 {
        let rules = dice.rules();
        let policy = samples::policy(rules.clone());
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), at(dice.roll(20)));
            let told = policy.explain(&claim, now);
            let (reason, rule) = decided(&policy, &claim, now);
            assert_eq!(
                (told.reason, told.rule.as_deref()),
                (reason, rule.as_deref())
            );
            assert_eq!(told.verdict == Verdict::Allow, reason == Reason::Allowed);
            assert_eq!(told.tried.len(), rules.origins.len());
            let row = told
                .tried
                .iter()
                .find(|tried| Some(&*tried.origin) == rule.as_deref());
            if let Some(row) = row {
                let failed = row
                    .first_failure
                    .map_or(Reason::Allowed, |(_, reason)| reason);
                let reserved = reason == Reason::ExclusiveUser && failed == Reason::NoOrigin;
                assert!(failed == reason || reserved, "{row:?} is not {reason:?}");
            }
        }
    }
}

#[test]
fn adding_an_origin_that_reserves_nobody_never_removes_a_permit() {
    let mut dice = Dice(0xA076_1D64_78BD_642F);
    for _ in 0..2000 {
        let rules = dice.rules();
        let mut more = rules.clone();
        let added = Origin {
            exclusive: false,
            ..dice.origin(99)
        };
        let place = usize::try_from(dice.roll(10))
            .unwrap()
            .min(more.origins.len());
        more.origins.insert(place, Arc::new(added));
        let (before, after) = (samples::policy(rules), samples::policy(more));
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), at(dice.roll(20)));
            if decided(&before, &claim, now).0 == Reason::Allowed {
                assert_eq!(decided(&after, &claim, now).0, Reason::Allowed, "{claim:?}");
            }
        }
    }
}

#[test]
fn the_order_of_the_file_never_matters_to_a_verdict() {
    let mut dice = Dice(0xE703_7ED1_A0B4_28DB);
    for _ in 0..2000 {
        let rules = dice.rules();
        let mut turned = rules.clone();
        turned.origins.reverse();
        turned.deny.reverse();
        let (one, other) = (samples::policy(rules), samples::policy(turned));
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), at(dice.roll(20)));
            let reasons = (decided(&one, &claim, now).0, decided(&other, &claim, now).0);
            assert_eq!(reasons.0, reasons.1, "{claim:?}");
        }
    }
}

#[test]
fn screening_never_turns_away_whom_the_policy_admits() {
    let mut dice = Dice(0x8EBC_6AF0_9C88_C6E3);
    for _ in 0..2000 {
        let rules = dice.rules();
        let policy = samples::policy(rules.clone());
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), at(dice.roll(20)));
            let screened = policy.screen(claim.address);
            let address = canonical(claim.address);
            let mentioned = rules.origins.iter().flat_map(|origin| &origin.from);
            let mentioned = mentioned
                .into_iter()
                .any(|from| width(from, address) > Some(0));
            assert_eq!(screened.is_mentioned(), mentioned);
            if decided(&policy, &claim, now).0 == Reason::Allowed {
                assert!(screened.is_possible());
            }
        }
    }
}

const USERS: [&str; 4] = ["a", "b", "c", "postgres"];
const DATABASES: [&str; 3] = ["x", "y", "z"];
const LISTENERS: [&str; 2] = ["pg", "other"];
