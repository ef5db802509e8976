//! What holds for every policy and claim, tried on random ones.

use super::{dice::Dice, *};

#[test]
fn why_agrees_with_the_decision() {
    let mut dice = Dice(0xD1B5_4A32_D192_ED03);
    for _ in 0..1000 {
        let (rules, hosts) = (dice.rules(), dice.hosts());
        let policy = Policy::new(rules.clone(), &hosts, 1);
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), dice.now());
            let told = policy.explain(&claim, now);
            let (reason, rule) = decided(&policy, &claim, now);
            // an observation's permit names no origin
            let rule = rule.filter(|rule| rule != NO_ORIGIN);
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
        let hosts = dice.hosts();
        let before = Policy::new(rules, &hosts, 1);
        let after = Policy::new(more, &hosts, 1);
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), dice.now());
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
        let hosts = dice.hosts();
        let one = Policy::new(rules, &hosts, 1);
        let other = Policy::new(turned, &hosts, 1);
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), dice.now());
            let reasons = (decided(&one, &claim, now).0, decided(&other, &claim, now).0);
            assert_eq!(reasons.0, reasons.1, "{claim:?}");
        }
    }
}

#[test]
fn screening_never_turns_away_whom_the_policy_admits() {
    let mut dice = Dice(0x8EBC_6AF0_9C88_C6E3);
    for _ in 0..2000 {
        let (rules, hosts) = (dice.rules(), dice.hosts());
        let policy = Policy::new(rules.clone(), &hosts, 1);
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), dice.now());
            let screened = policy.screen(claim.address);
            let address = canonical(claim.address);
            let mut named = rules.origins.iter().flat_map(|origin| &origin.from);
            let mentioned = named.any(|from| match from {
                From::Any => false,
                From::Network(network) => network.contains(&address),
                From::Set(name) => rules.networks.iter().any(|set| {
                    let holds = set.addresses.iter().any(|one| one.contains(&address));
                    set.name == *name && !set.shared && holds
                }),
                From::Host { name, inward } => hosts.get(name).is_some_and(|answer| {
                    let inside = *inward && answer.inward.contains(&address);
                    inside || answer.addresses.contains(&address)
                }),
            });
            assert_eq!(screened.is_mentioned(), mentioned);
            if decided(&policy, &claim, now).0 == Reason::Allowed {
                assert!(screened.is_possible());
            }
        }
    }
}

#[test]
fn a_certificate_changes_nothing_where_none_is_asked_for() {
    let mut dice = Dice(0x9E6D_62D0_6F6A_9A9B);
    let (mut asked, mut same) = (0, 0);
    for _ in 0..2000 {
        let (rules, hosts) = (dice.rules(), dice.hosts());
        let policy = Policy::new(rules, &hosts, 1);
        for _ in 0..25 {
            let (claim, now) = (dice.claim(), dice.now());
            if policy.screen(claim.address).asks_for_certificate() {
                asked += 1;
                continue;
            }
            let bare = Claim {
                certificate: None,
                ..claim.clone()
            };
            // an observation does not spare what is revoked, and spares what was not shown
            let spared = policy.rules().observe.is_some();
            if !spared && claim.certificate.is_some() {
                same += 1;
                let both = [&claim, &bare].map(|claim| decided(&policy, claim, now));
                assert_eq!(both[0], both[1], "{claim:?}");
            }
        }
    }
    assert!(asked > 1000 && same > 1000, "{asked} {same}");
}
