//! What the policy promises: decided examples, and properties over random policies and claims.

mod decided;
mod dice;
mod naive;
mod properties;

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    samples::{self, from, origin, rules},
    *,
};

const NOON: u64 = 1_795_348_800; // 2026-11-22T12:00:00Z
const SIX: u64 = 1_795_370_400; // 2026-11-22T18:00:00Z

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn listed(names: &[&str]) -> Names {
    Names::Listed(names.iter().map(|name| (*name).to_owned()).collect())
}

fn deny(name: &str, networks: &[&str], users: &[&str]) -> Deny {
    Deny {
        name: name.into(),
        line: 1,
        file: None,
        from: from(networks),
        users: users.iter().map(|user| (*user).to_owned()).collect(),
        certificates: Vec::new(),
    }
}

fn policy(origins: Vec<Origin>) -> Policy {
    samples::policy(rules(origins, Vec::new()))
}

fn claim(address: &str, user: &str, database: &str) -> Claim {
    Claim {
        listener: "pg".into(),
        address: address.parse().unwrap(),
        user: user.into(),
        database: Some(database.into()),
        replication: None,
        tls: Some(TlsVersion::V1_3),
        certificate: None,
        application: None,
    }
}

/// Reason and rule, as the log has them.
fn decided(policy: &Policy, claim: &Claim, now: SystemTime) -> (Reason, Option<String>) {
    match policy.decide(claim, now, &Unlimited) {
        Ok((permit, ())) => (Reason::Allowed, Some(permit.name().to_owned())),
        Err(denial) => (denial.reason, denial.rule.as_deref().map(str::to_owned)),
    }
}

/// Origins of this name are full.
struct Full(&'static [&'static str]);

impl Room for Full {
    type Seat = ();

    fn take(&self, origin: &Origin, _: &Claim) -> Result<(), decide::Full> {
        let full = self.0.contains(&&*origin.name);
        if full {
            Err(decide::Full::Connections)
        } else {
            Ok(())
        }
    }

    fn spare(&self, _: Option<&Origin>, _: &Claim) {}
}

#[test]
fn an_empty_policy_refuses_everybody() {
    let nobody = policy(Vec::new());
    let asked = claim("127.0.0.1", "app", "app");
    assert_eq!(decided(&nobody, &asked, at(NOON)), (Reason::NoOrigin, None));
    assert!(!nobody.screen(asked.address).is_possible());
}

#[test]
fn any_user_never_covers_a_protected_one() {
    let policy = policy(vec![origin("all", &["10.0.0.0/8"])]);
    let of = |user| decided(&policy, &claim("10.0.0.1", user, "x"), at(NOON)).0;
    assert_eq!(
        (of("app"), of("postgres")),
        (Reason::Allowed, Reason::UserNotAllowed)
    );
}

#[test]
fn an_exclusive_origin_reserves_its_users_even_when_it_has_lapsed() {
    let reserving = |change: fn(&mut Origin)| {
        let mut own = Origin {
            users: listed(&["app"]),
            exclusive: true,
            ..origin("own", &["10.0.0.1"])
        };
        change(&mut own);
        policy(vec![own, origin("all", &["10.0.0.0/8"])])
    };
    let elsewhere = claim("10.0.0.2", "app", "x");
    let here = claim("10.0.0.1", "app", "x");
    let sound = reserving(|_| {});
    assert_eq!(decided(&sound, &here, at(NOON)).0, Reason::Allowed);
    assert_eq!(
        decided(&sound, &elsewhere, at(NOON)).0,
        Reason::ExclusiveUser
    );
    let expired = reserving(|own| own.expires = Some(at(1)));
    assert_eq!(decided(&expired, &here, at(NOON)).0, Reason::Expired);
    assert_eq!(
        decided(&expired, &elsewhere, at(NOON)).0,
        Reason::ExclusiveUser
    );
    let inactive = reserving(|own| own.active = false);
    assert_eq!(decided(&inactive, &here, at(NOON)).0, Reason::Inactive);
    let other_door = reserving(|own| own.listeners = listed(&["other"]));
    let expected = (Reason::Allowed, Some("all".to_owned()));
    assert_eq!(
        decided(&other_door, &elsewhere, at(NOON)),
        expected,
        "reserved on its listeners only"
    );
}

#[test]
fn a_session_counts_for_the_most_specific_origin() {
    let named = Origin {
        users: listed(&["app"]),
        ..origin("named", &["10.0.0.0/24"])
    };
    let narrow = origin("narrow", &["10.0.0.7"]);
    let wide = origin("wide", &["10.0.0.0/8", "10.0.0.0/24"]);
    let policy = policy(vec![origin("any", &["any"]), wide, named, narrow]);
    let of = |address, user| {
        decided(&policy, &claim(address, user, "x"), at(NOON))
            .1
            .unwrap()
    };
    assert_eq!(of("10.0.0.7", "app"), "narrow", "the longest prefix first");
    assert_eq!(of("10.0.0.8", "app"), "named", "then who names its users");
    assert_eq!(of("10.0.0.8", "eva"), "wide");
    assert_eq!(of("10.9.9.9", "app"), "wide");
    assert_eq!(of("192.0.2.1", "app"), "any");
}

#[test]
fn where_an_origin_is_full_the_next_match_takes_the_session() {
    let small = Origin {
        users: listed(&["app"]),
        ..origin("small", &["10.0.0.1"])
    };
    let reserved = Origin {
        exclusive: true,
        users: listed(&["own"]),
        ..origin("reserved", &["10.0.0.1"])
    };
    let second = Origin {
        exclusive: true,
        users: listed(&["own"]),
        ..origin("second", &["10.0.0.0/8"])
    };
    let policy = policy(vec![
        small,
        origin("large", &["10.0.0.0/8"]),
        reserved,
        second,
    ]);
    let of = |user, full| {
        let decided = policy.decide(&claim("10.0.0.1", user, "x"), at(NOON), &Full(full));
        match decided {
            Ok((permit, ())) => (Reason::Allowed, permit.name().to_owned()),
            Err(denial) => (denial.reason, denial.rule.unwrap().to_string()),
        }
    };
    assert_eq!(of("app", &[]), (Reason::Allowed, "small".to_owned()));
    assert_eq!(of("app", &["small"]), (Reason::Allowed, "large".to_owned()));
    assert_eq!(
        of("app", &["small", "large"]),
        (Reason::LimitConnections, "small".to_owned())
    );
    assert_eq!(
        of("own", &["reserved"]),
        (Reason::LimitConnections, "reserved".to_owned())
    );
}

#[test]
fn any_mentions_nobody() {
    let policy = policy(vec![
        origin("any", &["any"]),
        origin("net", &["10.0.0.0/8"]),
    ]);
    let screened = |address: &str| policy.screen(address.parse().unwrap());
    assert!(screened("10.1.1.1").is_mentioned());
    assert!(screened("::ffff:10.1.1.1").is_mentioned());
    let stranger = screened("192.0.2.1");
    assert!(!stranger.is_mentioned() && stranger.is_possible());
    // NAT64 and 6to4 carry an IPv4 address and are not it
    assert!(!screened("64:ff9b::a01:101").is_mentioned());
    assert!(!screened("2002:a01:101::").is_mentioned());
}

#[test]
fn only_whom_a_certificate_can_help_or_harm_is_asked_for_one() {
    let proved = |networks: &[&str]| Origin {
        proof: Some(Proof {
            dns: Some("app.example".to_owned()),
            ..Proof::default()
        }),
        ..origin("proved", networks)
    };
    let hashed = |networks: &[&str]| Deny {
        certificates: vec![[7; 32]],
        ..deny("hashed", networks, &[])
    };
    let asks = |origins, deny, address: &str| {
        let policy = samples::policy(rules(origins, deny));
        let shortlist = policy.screen(address.parse().unwrap());
        shortlist.asks_for_certificate()
    };
    let plain = || origin("plain", &["10.0.0.0/8"]);
    assert!(!asks(vec![plain()], Vec::new(), "10.0.0.1"));
    let near = || vec![plain(), proved(&["10.0.0.0/24"])];
    assert!(asks(near(), Vec::new(), "10.0.0.1"));
    assert!(
        !asks(near(), Vec::new(), "10.0.1.1"),
        "only where it could match"
    );
    assert!(asks(vec![proved(&["any"])], Vec::new(), "192.0.2.1"));
    // a denied certificate has to be seen, wherever an address alone would do
    for (networks, asked) in [
        (&[][..], true),
        (&["any"], true),
        (&["10.0.0.1"], true),
        (&["10.0.0.2"], false),
    ] {
        assert_eq!(
            asks(vec![plain()], vec![hashed(networks)], "10.0.0.1"),
            asked
        );
    }
    assert!(!asks(
        vec![plain()],
        vec![deny("somebody", &[], &["eva"])],
        "10.0.0.1"
    ));
}

#[test]
fn whom_any_names_comes_near_only_with_a_fitting_user() {
    let any = Origin {
        users: listed(&["blog"]),
        databases: listed(&["blog"]),
        ..origin("any", &["any"])
    };
    let policy = policy(vec![any]);
    let of = |user| decided(&policy, &claim("192.0.2.1", user, "x"), at(NOON));
    assert_eq!(
        of("blog"),
        (Reason::DatabaseNotAllowed, Some("any".to_owned()))
    );
    assert_eq!(of("eva"), (Reason::NoOrigin, None));
}

#[test]
fn a_cancel_comes_from_where_the_session_may_come_from() {
    let policy = samples::policy(rules(
        vec![origin("net", &["10.0.0.0/8"]), origin("any", &["any"])],
        vec![
            deny("bad", &["10.0.0.9"], &[]),
            deny("bad-user", &["10.0.0.8"], &["x"]),
        ],
    ));
    let net = Cancelled {
        origin: "net",
        address: "10.0.0.2".parse().unwrap(),
    };
    let asked = |address: &str, session| {
        policy
            .decide_cancel(address.parse().unwrap(), None, at(NOON), session)
            .is_some()
    };
    assert!(asked("10.0.0.1", Some(net)));
    assert!(!asked("192.0.2.1", Some(net)));
    assert!(
        asked("10.0.0.1", None),
        "an unknown key may pass from a mentioned address"
    );
    assert!(!asked("192.0.2.1", None), "and from no other");
    assert!(
        !asked("10.0.0.9", Some(net)),
        "a denied address cancels nothing"
    );
    assert!(asked("10.0.0.8", Some(net)), "a cancel names no user");
}

#[test]
fn where_a_proof_is_asked_for_a_cancel_comes_from_the_sessions_own_address() {
    let proof = || {
        Some(Proof {
            sha256: Some([7; 32]),
            ..Proof::default()
        })
    };
    let net = Origin {
        proof: proof(),
        ..origin("net", &["10.0.0.0/8"])
    };
    let any = Origin {
        proof: proof(),
        ..origin("any", &["any"])
    };
    let denied = deny("bad", &["192.0.2.9"], &[]);
    let policy = samples::policy(rules(vec![net, any], vec![denied]));
    let asked = |address: &str, origin, session: &str| {
        let session = Cancelled {
            origin,
            address: session.parse().unwrap(),
        };
        let address = address.parse().unwrap();
        let permit = policy.decide_cancel(address, None, at(NOON), Some(session));
        permit.is_some()
    };
    assert!(asked("10.0.0.1", "net", "10.0.0.1"));
    assert!(!asked("10.0.0.2", "net", "10.0.0.1"), "the same origin");
    assert!(asked("::ffff:192.0.2.1", "any", "192.0.2.1"));
    assert!(!asked("192.0.2.2", "any", "192.0.2.1"));
    assert!(!asked("192.0.2.9", "any", "192.0.2.9"), "deny applies");
    assert!(!asked("10.0.0.1", "gone", "10.0.0.1"));
}

#[test]
fn the_right_to_replication_commands_does_not_shut_ordinary_sessions_out() {
    let replica = Origin {
        replication: Some(Replication::Commands),
        ..origin("replica", &["10.0.0.1"])
    };
    let policy = policy(vec![replica, origin("web", &["10.0.0.2"])]);
    let of = |address, replication| {
        let asked = Claim {
            replication,
            ..claim(address, "app", "x")
        };
        decided(&policy, &asked, at(NOON)).0
    };
    assert_eq!(of("10.0.0.1", None), Reason::Allowed);
    assert_eq!(of("10.0.0.2", None), Reason::Allowed);
    let commands = Some(Replication::Commands);
    assert_eq!(of("10.0.0.1", commands), Reason::Allowed);
    assert_eq!(of("10.0.0.2", commands), Reason::ReplicationNotAllowed);
    let physical = Some(Replication::Physical);
    assert_eq!(of("10.0.0.1", physical), Reason::ReplicationNotAllowed);
}

#[test]
fn an_address_is_denied_before_anybody_says_who_it_is() {
    let denied = vec![
        deny("bad-user", &["10.0.0.8", "10.0.0.9"], &["x"]),
        deny("bad", &["10.0.0.9"], &[]),
    ];
    let policy = samples::policy(rules(vec![origin("net", &["10.0.0.0/8"])], denied));
    let of = |address: &str| policy.address_denial(address.parse().unwrap());
    let denial = of("::ffff:10.0.0.9").unwrap();
    assert_eq!(
        (denial.reason, denial.rule.as_deref()),
        (Reason::DenyRule, Some("bad"))
    );
    assert_eq!(of("10.0.0.8"), None, "only some users of it are");
}

#[test]
fn the_next_expiry_is_the_soonest_to_come() {
    let ends = |name, seconds| Origin {
        expires: Some(at(seconds)),
        ..origin(name, &["10.0.0.1"])
    };
    let policy = policy(vec![ends("a", 30), ends("b", 10), ends("c", 20)]);
    assert_eq!(policy.next_expiry(at(10)), Some(at(20)));
    assert_eq!(policy.next_expiry(at(30)), None);
}

#[test]
fn a_permit_bears_its_policy_and_its_origin() {
    let policy = Policy::new(
        rules(vec![origin("a", &["10.0.0.1"])], Vec::new()),
        &Hosts::default(),
        7,
    );
    let (permit, ()) = policy
        .decide(&claim("10.0.0.1", "u", "d"), at(NOON), &Unlimited)
        .unwrap();
    assert_eq!((permit.generation(), permit.name()), (7, "a"));
}

#[test]
fn labels_of_conditions_are_all_different() {
    let labels: HashSet<_> = Condition::ALL
        .iter()
        .map(|condition| condition.label())
        .collect();
    assert_eq!(labels.len(), Condition::ALL.len());
}
