//! The rules once more, written from their description and without an index, against the real thing on random cases.

use std::cmp::Reverse;

use super::{
    dice::{Crowded, Dice},
    *,
};

/// How a decision comes out.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    reason: Reason,
    rule: Option<String>,
    /// What an observation spared the claim, and by which rule.
    spared: Option<(Reason, Option<String>)>,
    seat: Option<String>,
}

/// All that a decision depends on.
struct Question<'a> {
    rules: &'a Rules,
    hosts: &'a Hosts,
    claim: &'a Claim,
    now: SystemTime,
    room: &'a Crowded,
    /// It is asked for a session that is there already.
    live: bool,
}

/// An origin that names the address.
struct Tried<'a> {
    origin: &'a Origin,
    /// One more than the longest prefix, 0 for `any`.
    width: u16,
    place: usize,
    /// The number of the condition that refuses, and why.
    failure: Option<(u8, Reason)>,
    /// The first condition that would refuse if it were not on trial.
    trial: Option<Reason>,
}

impl Question<'_> {
    /// A decision by trying everything.
    fn answer(&self) -> Told {
        let no = |reason, rule: Option<&Arc<str>>| Told {
            reason,
            rule: rule.map(ToString::to_string),
            spared: None,
            seat: None,
        };
        if let Some(deny) = self.rules.deny.iter().find(|deny| self.hit_by(deny)) {
            return no(Reason::DenyRule, Some(&deny.name));
        }
        let origins = || self.rules.origins.iter().map(Arc::as_ref).enumerate();
        let reserving: Vec<_> = origins()
            .filter(|(_, origin)| self.reserved_by(origin))
            .collect();
        let reserved = !reserving.is_empty();
        let may: Vec<_> = if reserved {
            reserving.clone()
        } else {
            origins().collect()
        };
        let mut tried: Vec<_> = may
            .iter()
            .filter_map(|(place, origin)| self.tried(*place, origin))
            .collect();
        tried.sort_by_key(specificity);
        let whole = tried.iter().filter(|tried| tried.failure.is_none());
        // what needs no trial stands before what does: a trial only saves from a refusal
        let (complete, on_trial): (Vec<_>, Vec<_>) = whole.partition(|one| one.trial.is_none());
        let mut matches = [complete, on_trial].concat();
        if reserved {
            matches.truncate(1);
        }
        let denied = match matches.first() {
            Some(first) => match self.seated(&matches) {
                Ok(told) => return told,
                Err(limit) => no(limit, Some(&first.origin.name)),
            },
            None => match (self.nearest(&tried), reserving.first()) {
                (Some((reason, origin)), _) => no(reason, Some(&origin.name)),
                (None, Some((_, origin))) => no(Reason::ExclusiveUser, Some(&origin.name)),
                (None, None) => no(Reason::NoOrigin, None),
            },
        };
        if reserved || !self.observed() {
            return denied;
        }
        Told {
            reason: Reason::Allowed,
            rule: Some("_none".to_owned()),
            spared: Some((denied.reason, denied.rule)),
            seat: Some("past _none".to_owned()),
        }
    }

    /// Whoever has room first; if nobody has, the first whose limits are on trial.
    fn seated(&self, matches: &[&Tried<'_>]) -> Result<Told, Reason> {
        let told = |one: &Tried<'_>, spared: Option<Reason>, seat: String| {
            let name = one.origin.name.to_string();
            Told {
                reason: Reason::Allowed,
                rule: Some(name.clone()),
                spared: spared.map(|reason| (reason, Some(name))),
                seat: Some(seat),
            }
        };
        let mut limits = Vec::new();
        for one in matches {
            match self.room.limit(one.origin) {
                None => return Ok(told(one, one.trial, format!("in {}", one.origin.name))),
                Some(decide::Full::Connections) => limits.push((one, Reason::LimitConnections)),
                Some(decide::Full::Rate) => limits.push((one, Reason::LimitRate)),
            }
        }
        for (one, limit) in &limits {
            if self.tries(one.origin) {
                let spared = one.trial.or(Some(*limit));
                return Ok(told(one, spared, format!("past {}", one.origin.name)));
            }
        }
        Err(limits[0].1)
    }

    /// The origin that failed latest, of several the most specific. Whom only `any` names comes near with a fitting user.
    fn nearest<'a>(&self, tried: &[Tried<'a>]) -> Option<(Reason, &'a Origin)> {
        let mut nearest: Option<(u8, Reason, &Origin)> = None;
        for one in tried {
            let Some((number, reason)) = one.failure else {
                continue;
            };
            let counts = one.width > 0 || self.user_fits(one.origin);
            if counts && nearest.is_none_or(|(latest, ..)| number > latest) {
                nearest = Some((number, reason, one.origin));
            }
        }
        nearest.map(|(_, reason, origin)| (reason, origin))
    }

    /// Whether the file's `observe` saves the claim from a refusal.
    fn observed(&self) -> bool {
        let address = peer(self.claim);
        let shown = self.claim.certificate.as_ref();
        let relaxes_too_much = self.rules.protected_users.contains(&*self.claim.user)
            || (self.rules.require.tls && self.claim.tls.is_none())
            || self.claim.replication.is_some()
            || shown.is_some_and(|shown| shown.validity == Validity::Revoked);
        !relaxes_too_much
            && self.rules.observe.as_ref().is_some_and(|observe| {
                let holds = |network: &IpNet| prefix_around(*network, address).is_some();
                self.now < observe.until && observe.from.iter().any(holds)
            })
    }

    fn hit_by(&self, deny: &Deny) -> bool {
        let shown = self.claim.certificate.as_ref();
        (deny.from.is_empty() || deny.from.iter().any(|from| self.width(from).is_some()))
            && (deny.users.is_empty() || deny.users.iter().any(|user| **user == *self.claim.user))
            && (deny.certificates.is_empty()
                || shown.is_some_and(|shown| deny.certificates.contains(&shown.sha256)))
    }

    /// Expired or switched off, it reserves all the same.
    fn reserved_by(&self, origin: &Origin) -> bool {
        origin.exclusive
            && origin.users != Names::Any
            && fits(&origin.users, &self.claim.user)
            && fits(&origin.listeners, &self.claim.listener)
    }

    fn tried<'a>(&self, place: usize, origin: &'a Origin) -> Option<Tried<'a>> {
        let widths = origin.from.iter().filter_map(|from| self.width(from));
        let width = widths.max()?;
        let (mut failure, mut trial) = (None, None);
        for (number, (reason, extra)) in (1..).zip(self.conditions(origin)) {
            match reason {
                None => {}
                Some(reason) if extra && self.tries(origin) => trial = trial.or(Some(reason)),
                Some(reason) => failure = failure.or(Some((number, reason))),
            }
        }
        Some(Tried {
            origin,
            width,
            place,
            failure,
            trial,
        })
    }

    /// Extra conditions of the origin are on trial; a trial never admits replication.
    fn tries(&self, origin: &Origin) -> bool {
        origin.observe && self.claim.replication.is_none()
    }

    /// In their order: why each does not hold, and whether it is one of those that may be on trial.
    fn conditions(&self, origin: &Origin) -> [(Option<Reason>, bool); 8] {
        let claim = self.claim;
        let unless = |holds: bool, reason| (!holds).then_some(reason);
        let replication = match origin.replication {
            Some(Replication::Commands) => {
                [None, Some(Replication::Commands)].contains(&claim.replication)
            }
            own => own == claim.replication,
        };
        let database = match &claim.database {
            None => true,
            Some(name) => fits(&origin.databases, name),
        };
        let live = origin.expires.is_none_or(|end| self.now < end);
        let floor = self.rules.require.tls && claim.tls.is_none();
        let tls = match (claim.tls, origin.tls_min) {
            (None, None) => unless(!floor, Reason::TlsRequired),
            (None, Some(_)) => Some(Reason::TlsRequired),
            (Some(_), None) => None,
            (Some(has), Some(least)) => unless(has >= least, Reason::TlsVersion),
        };
        let proof = origin.proof.as_ref().and_then(|proof| self.unproved(proof));
        [
            (
                unless(
                    fits(&origin.listeners, &claim.listener),
                    Reason::ListenerNotAllowed,
                ),
                false,
            ),
            (
                unless(self.user_fits(origin), Reason::UserNotAllowed),
                false,
            ),
            (unless(database, Reason::DatabaseNotAllowed), false),
            (unless(replication, Reason::ReplicationNotAllowed), false),
            (unless(origin.active, Reason::Inactive), false),
            (unless(live, Reason::Expired), false),
            (tls, !floor),
            (proof, true),
        ]
    }

    fn user_fits(&self, origin: &Origin) -> bool {
        match &origin.users {
            Names::Any => !self.rules.protected_users.contains(&*self.claim.user),
            listed @ Names::Listed(_) => fits(listed, &self.claim.user),
        }
    }

    /// Why the certificate does not prove what is asked for.
    fn unproved(&self, proof: &Proof) -> Option<Reason> {
        let Some(shown) = &self.claim.certificate else {
            return Some(Reason::CertificateMissing);
        };
        match shown.validity {
            Validity::Revoked => return Some(Reason::CertificateRevoked),
            Validity::Untrusted | Validity::Expired => return Some(Reason::CertificateMismatch),
            Validity::Valid => {}
        }
        let dns = |asked: &String| shown.dns.iter().any(|name| dns_fits(asked, name));
        let uri = |asked: &String| shown.uri.iter().any(|uri| uri_fits(asked, uri));
        let holds = self.now < shown.ends
            && proof.dns.as_ref().is_none_or(dns)
            && proof.uri.as_ref().is_none_or(uri)
            && (proof.cn.is_none() || proof.cn == shown.cn)
            && proof.sha256.is_none_or(|hash| hash == shown.sha256)
            && proof
                .issuer
                .is_none_or(|hash| shown.issuers.contains(&hash));
        (!holds).then_some(Reason::CertificateMismatch)
    }

    /// One more than the longest prefix by which the entry holds the address now, 0 for `any`.
    fn width(&self, from: &From) -> Option<u16> {
        let address = peer(self.claim);
        match from {
            From::Any => Some(0),
            From::Network(network) => prefix_around(*network, address),
            From::Set(name) => {
                let sets = self.rules.networks.iter().filter(|set| set.name == *name);
                let networks = sets.flat_map(|set| &set.addresses);
                networks
                    .filter_map(|network| prefix_around(*network, address))
                    .max()
            }
            From::Host { name, inward } => {
                let answer = self.hosts.get(name)?;
                let stale = matches!(answer.freshness, Freshness::Stale { .. });
                let there = answer.addresses.contains(&address)
                    || (*inward && answer.inward.contains(&address));
                let whole = if address.is_ipv4() { 33 } else { 129 };
                (there && (self.live || !stale)).then_some(whole)
            }
        }
    }
}

/// Proof, longest prefix, `any`; then names users, names databases, order of the file.
fn specificity(tried: &Tried<'_>) -> (bool, Reverse<u16>, bool, bool, usize) {
    let origin = tried.origin;
    (
        origin.proof.is_none(),
        Reverse(tried.width),
        origin.users == Names::Any,
        origin.databases == Names::Any,
        tried.place,
    )
}

fn peer(claim: &Claim) -> IpAddr {
    match claim.address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn fits(names: &Names, name: &str) -> bool {
    match names {
        Names::Any => true,
        Names::Listed(names) => names.iter().any(|listed| listed == name),
    }
}

/// One label for a star of the rule; a star of the certificate is no name.
fn dns_fits(asked: &str, shown: &str) -> bool {
    let labels = |text: &str| -> Vec<String> {
        let text = text.to_lowercase();
        text.trim_end_matches('.')
            .split('.')
            .map(str::to_owned)
            .collect()
    };
    let (asked, shown) = (labels(asked), labels(shown));
    asked.len() == shown.len()
        && asked.iter().zip(&shown).enumerate().all(|(index, (a, s))| {
            !s.contains('*') && !s.is_empty() && (a == s || (index == 0 && a == "*"))
        })
}

/// The same, or below a prefix that ends with a slash.
fn uri_fits(asked: &str, shown: &str) -> bool {
    if !asked.ends_with('/') {
        return asked == shown;
    }
    let below = shown
        .starts_with(asked)
        .then(|| shown.replacen(asked, "", 1));
    below.is_some_and(|rest| {
        rest.split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
    })
}

fn prefix_around(network: IpNet, address: IpAddr) -> Option<u16> {
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

/// What the policy itself says.
fn real(policy: &Policy, question: &Question<'_>) -> Told {
    let Question {
        claim, now, room, ..
    } = *question;
    let decided = if question.live {
        policy.decide_again(claim, now, room)
    } else {
        policy.decide(claim, now, room)
    };
    let words = |rule: &Option<Arc<str>>| rule.as_deref().map(str::to_owned);
    match decided {
        Ok((permit, seat)) => Told {
            reason: Reason::Allowed,
            rule: Some(permit.name().to_owned()),
            spared: permit.spared().map(|one| (one.reason, words(&one.rule))),
            seat: Some(seat),
        },
        Err(denial) => Told {
            reason: denial.reason,
            rule: words(&denial.rule),
            spared: None,
            seat: None,
        },
    }
}

/// Holds that many policies against fifty questions each, and gives the reasons that were met, those of observations apart.
fn agree(seed: u64, policies: u64) -> (HashSet<Reason>, HashSet<Reason>) {
    let mut dice = Dice(seed);
    let (mut reasons, mut spared) = (HashSet::new(), HashSet::new());
    for _ in 0..policies {
        let (rules, hosts) = (dice.rules(), dice.hosts());
        let policy = Policy::new(rules.clone(), &hosts, 1);
        for _ in 0..50 {
            let (claim, now, room) = (dice.claim(), dice.now(), dice.room());
            let question = Question {
                rules: &rules,
                hosts: &hosts,
                claim: &claim,
                now,
                room: &room,
                live: dice.once_in(3),
            };
            let (naive, real) = (question.answer(), real(&policy, &question));
            // several deny rules may hit; any of them is a true answer
            let denied = [naive.reason, real.reason] == [Reason::DenyRule; 2];
            let live = question.live;
            assert!(
                denied || naive == real,
                "{naive:?} is not\n{real:?}\nlive: {live}, {claim:?} at {now:?}\n{room:?}\n{rules:#?}\n{hosts:#?}"
            );
            reasons.insert(real.reason);
            spared.extend(real.spared.map(|(reason, _)| reason));
        }
    }
    (reasons, spared)
}

#[test]
fn the_decision_is_what_the_rules_say_word_for_word() {
    let (reasons, spared) = agree(0x9E37_79B9_7F4A_7C15, 2_000);
    assert_eq!(reasons.len(), 17, "every reason was met: {reasons:?}");
    assert_eq!(spared.len(), 14, "every trial was met: {spared:?}");
}

#[test]
#[ignore = "takes minutes: make soak"]
fn soak_ten_million_decisions_are_what_the_rules_say() {
    let seeds = [0xD6E8_FEB8_6659_FD93, 0xC2B2_AE3D_27D4_EB4F];
    std::thread::scope(|scope| {
        for seed in seeds {
            scope.spawn(move || agree(seed, 100_000));
        }
    });
}
