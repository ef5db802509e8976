//! What the metrics page promises: names, closed labels, children that come and go with their origin.

use super::*;
use crate::policy::{
    Claim, Denial, Names, Unlimited,
    samples::{self, origin, rules},
};

fn declared(origin: &str) -> Declared {
    Declared {
        listener: "pg".into(),
        origin: origin.into(),
        limit: None,
        expires: None,
        expected_rtt: None,
    }
}

fn text(meters: &Meters) -> String {
    String::from_utf8(meters.render().unwrap()).unwrap()
}

#[test]
fn children_exist_at_zero_from_the_load_and_go_with_their_origin() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop"), declared("blog")]);
    meters.decision("pg", Some("blog"), true, "allowed");
    let before = text(&meters);
    assert!(
        before.contains("doorward_flights_total{listener=\"pg\",origin=\"shop\"} 0"),
        "{before}"
    );
    assert!(before.contains("origin=\"blog\",reason=\"allowed\""));
    meters.declare(&[declared("shop")]);
    let after = text(&meters);
    assert!(after.contains("origin=\"shop\""));
    assert!(!after.contains("blog"), "{after}");
}

/// The sums of a family's lines, whatever their other labels.
fn sum(text: &str, name: &str, label: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines
        .filter(|line| line.contains(label))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn a_name_that_was_not_declared_never_becomes_a_label() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop")]);
    let before = text(&meters).len();
    for n in 0..1_000_000 {
        let name = format!("random-{n}");
        meters.decision("pg", Some(&name), false, "user_not_allowed");
        meters.origin("pg", &name).auth_failure();
    }
    let after = text(&meters);
    assert!(!after.contains("random"));
    assert!(after.len() < before + 20_000, "{before} {}", after.len());
    let other = "origin=\"_other\"";
    let counted = |name| sum(&after, name, other);
    assert!((counted("doorward_decisions_total") - 1e6).abs() < 0.1);
    assert!((counted("doorward_auth_failures_total") - 1e6).abs() < 0.1);
}

#[test]
fn a_million_names_that_clients_choose_add_no_series() {
    let mut shop = origin("shop", &["10.0.0.1"]);
    shop.users = Names::Listed(["app".to_owned()].into());
    let any = origin("any-user", &["10.0.0.2"]);
    let policy = samples::policy(rules(vec![shop, any], Vec::new()));
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop"), declared("any-user")]);
    // as a session does: the policy's word is counted, and the database believes nobody
    let tries = |range: std::ops::Range<u32>| {
        for n in range {
            let address = ["10.0.0.1", "10.0.0.2", "203.0.113.1"][n as usize % 3];
            let claim = Claim {
                database: Some(format!("random-{n}").into()),
                application: Some(format!("random-{n}").into()),
                ..samples::claim("pg", address, &format!("random-{n}"))
            };
            match policy.decide(&claim, SystemTime::UNIX_EPOCH, &Unlimited) {
                Ok((permit, ())) => {
                    meters.decision("pg", Some(permit.name()), true, "allowed");
                    meters.origin("pg", permit.name()).auth_failure();
                }
                Err(Denial { reason, rule }) => {
                    meters.decision("pg", rule.as_deref(), false, reason.label());
                }
            }
        }
    };
    tries(0..3);
    let before = text(&meters);
    tries(3..1_000_000);
    let after = text(&meters);
    assert_eq!(after.lines().count(), before.lines().count(), "{after}");
    assert!(!after.contains("random"), "{after}");
    for (origin, count) in [
        ("shop", 333_334.0),
        ("any-user", 333_333.0),
        (NONE, 333_333.0),
    ] {
        let label = format!("origin=\"{origin}\"");
        let counted = sum(&after, "doorward_decisions_total", &label);
        assert!((counted - count).abs() < 0.1, "{origin}: {counted}");
    }
}

#[test]
fn origins_beyond_the_shown_ones_share_a_label() {
    let meters = Meters::new("0", "none").unwrap();
    let many: Vec<_> = (0..=MAX_CHILDREN)
        .map(|n| declared(&format!("o{n}")))
        .collect();
    meters.declare(&many);
    assert_eq!(meters.origins().len(), MAX_CHILDREN);
    assert_eq!(meters.origin("pg", "o0").name(), "o0");
    assert_eq!(
        meters.origin("pg", &format!("o{MAX_CHILDREN}")).name(),
        OTHER
    );
}

#[test]
fn a_session_is_live_from_its_attendance_to_its_end() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop")]);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
    let session = meters.origin("pg", "shop").attend(now);
    let row = meters.origins().remove(0);
    assert_eq!((row.sessions, row.last_seen), (1, Some(9)));
    drop(session);
    assert_eq!(meters.origins().remove(0).sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_overlap_between_two_steps_are_remembered_for_an_hour() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop")]);
    let shop = meters.origin("pg", "shop");
    let attend = || meters.origin("pg", "shop").attend(SystemTime::UNIX_EPOCH);
    let overlaps = || meters.figures().remove(0).overlaps;
    let step = || shop.step(Instant::now());
    drop(attend());
    drop(attend());
    step();
    assert!(!overlaps(), "one after the other");
    drop([attend(), attend()]);
    assert!(overlaps(), "in the step under way");
    step();
    assert!(overlaps(), "in one that is over");
    for _ in 0..120 {
        drop(attend());
        step();
    }
    assert!(!overlaps(), "an hour ago");
}

#[test]
fn an_end_and_a_limit_that_are_taken_away_are_shown_no_more() {
    let meters = Meters::new("0", "none").unwrap();
    let bound = Declared {
        limit: Some(5),
        expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)),
        ..declared("shop")
    };
    meters.declare(&[bound]);
    let with = text(&meters);
    assert!(with.contains("connections_limit{listener=\"pg\",origin=\"shop\"} 5"));
    assert!(with.contains("origin_expiry_timestamp_seconds{origin=\"shop\"} 7"));
    meters.declare(&[declared("shop")]);
    let without = text(&meters);
    assert!(!without.contains("connections_limit{"));
    assert!(!without.contains("origin_expiry_timestamp_seconds{"));
}

#[tokio::test(start_paused = true)]
async fn what_is_expected_of_an_origin_is_shown_with_whether_it_holds() {
    let meters = Meters::new("0", "none").unwrap();
    let expecting = Declared {
        expected_rtt: Some(Duration::from_millis(1)),
        ..declared("shop")
    };
    meters.declare(&[expecting.clone(), declared("blog")]);
    let exceeded = "origin_rtt_exceeded{listener=\"pg\",origin=\"shop\"}";
    let with = text(&meters);
    assert!(with.contains("origin_expected_rtt_seconds{origin=\"shop\"} 0.001"));
    assert!(with.contains(&format!("{exceeded} 0")), "{with}");
    assert!(!with.contains("exceeded{listener=\"pg\",origin=\"blog\"}"));

    let shop = meters.origin("pg", "shop");
    let mut looks = Vec::new();
    for n in 0..=60 {
        shop.client_rtt(Duration::from_millis(150), 1);
        for (origin, told) in meters.surprises(Instant::now()) {
            looks.push((n, origin.name().to_owned(), told));
        }
        tokio::time::advance(Duration::from_secs(5)).await;
    }
    let told = Surprise {
        broken: true,
        measured: Duration::from_millis(150),
        expected: Duration::from_millis(1),
    };
    assert_eq!(looks, [(60, "shop".to_owned(), told)]);
    assert!(text(&meters).contains(&format!("{exceeded} 1")));
    meters.declare(&[expecting]);
    assert!(text(&meters).contains(&format!("{exceeded} 1")), "a reload");
    meters.declare(&[declared("shop")]);
    let without = text(&meters);
    assert!(!without.contains("exceeded{") && !without.contains("expected_rtt_seconds{"));
}

#[test]
fn an_origin_is_at_one_place_or_at_none() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop")]);
    let at = |place: &str| {
        let line = format!("origin_place{{origin=\"shop\",place=\"{place}\"}} 1");
        text(&meters).contains(&line)
    };
    let places = || {
        let places = Place::ALL.into_iter().map(Place::label);
        places.filter(|place| at(place)).collect::<Vec<_>>()
    };
    assert!(text(&meters).contains("origin_place{origin=\"shop\",place=\"far\"} 0"));
    assert_eq!(places(), [""; 0]);
    let shop = meters.origin("pg", "shop");
    shop.client_rtt(Duration::from_millis(3), 1);
    assert_eq!(places(), ["near"]);
    meters.set_bands(Bands {
        same_region: Duration::from_millis(4),
        ..Bands::default()
    });
    assert_eq!(places(), ["same_region"]);
    meters.declare(&[]);
    assert!(!text(&meters).contains("shop"));
}

#[test]
fn the_least_round_trip_of_an_origin_is_that_of_all_its_listeners() {
    let meters = Meters::new("0", "none").unwrap();
    let my = Declared {
        listener: "my".into(),
        ..declared("shop")
    };
    meters.declare(&[declared("shop"), my]);
    let least = |expected: &str| {
        let line = format!("client_rtt_min_seconds{{origin=\"shop\"}} {expected}\n");
        let text = text(&meters);
        assert!(text.contains(&line), "{line}{text}");
    };
    least("0");
    let sampled = |listener: &str, millis| {
        let meters = meters.origin(listener, "shop");
        meters.client_rtt(Duration::from_millis(millis), 1);
    };
    sampled("pg", 5);
    sampled("my", 150);
    least("0.005");
    sampled("my", 3);
    sampled("pg", 7);
    least("0.003");
}

#[test]
fn the_hosts_of_an_origin_have_series_as_long_as_it_names_some() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop")]);
    let named = Named {
        addresses: 3,
        answered: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)),
    };
    meters.named("shop", Some(named));
    meters.named("beyond-those-shown", Some(named));
    meters.looked_up(5, 1);
    meters.looked_up(7, 1);
    let with = text(&meters);
    for line in [
        "dns_addresses{origin=\"shop\"} 3",
        "dns_last_success_timestamp_seconds{origin=\"shop\"} 7",
        "dns_lookups_total{result=\"success\"} 7",
        "dns_lookups_total{result=\"failure\"} 1",
    ] {
        assert!(with.contains(line), "{line}\n{with}");
    }
    assert!(!with.contains("beyond-those-shown"));
    meters.named("shop", None);
    assert!(!text(&meters).contains("dns_addresses{"));
    meters.named("shop", Some(named));
    meters.declare(&[declared("blog")]);
    assert!(!text(&meters).contains("dns_addresses{"));
}

#[test]
fn refusals_are_summed_by_reason() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop")]);
    meters.decision("pg", Some("shop"), false, "expired");
    meters.decision("pg", None, false, "no_origin");
    meters.decision("pg", None, false, "no_origin");
    meters.decision("pg", Some("shop"), true, "allowed");
    let all: Vec<_> = meters
        .refusals()
        .into_iter()
        .map(|one| (one.reason, one.count))
        .collect();
    assert_eq!(
        all,
        [("no_origin".to_owned(), 2), ("expired".to_owned(), 1)]
    );
}

#[test]
fn sessions_that_no_origin_admits_have_a_row_of_their_own() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop")]);
    meters.origin("pg", "_none").auth_failure();
    meters.decision("pg", Some("_none"), true, "allowed");
    meters.would_deny("pg", "_none", "no_origin");
    meters.would_deny("pg", "unheard-of", "no_origin");
    meters.declare(&[declared("shop")]);
    let text = text(&meters);
    for family in ["auth_failures", "decisions", "would_deny"] {
        let counted = sum(
            &text,
            &format!("doorward_{family}_total"),
            "origin=\"_none\"",
        );
        assert!((counted - 1.0).abs() < 0.1, "{family}: {text}");
    }
    assert!(!text.contains("unheard-of"));
}
