//! A host in made time.

use super::*;

const HOUR: u64 = 60 * 60;

/// A host, a clock, and what to say.
struct Case {
    host: Host,
    start: Moment,
    now: Moment,
}

impl Case {
    fn of(name: &str) -> Self {
        let start = Moment {
            tick: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        };
        Self {
            host: Host::new(name, Duration::from_secs(HOUR), start.tick),
            start,
            now: start,
        }
    }

    fn new() -> Self {
        Self::of("erp.partner.example")
    }

    /// So many seconds after the start.
    fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = self.start.after(Duration::from_secs(seconds));
        self
    }

    fn hear(&mut self, v4: Answer, v6: Answer) -> &mut Self {
        self.host.asked(self.now.tick);
        self.host.hear([v4, v6], self.now);
        self
    }

    /// Addresses that count, in order.
    fn counts(&self) -> Vec<String> {
        let answer = self.host.answer(self.now.tick);
        let addresses = answer.into_iter().flat_map(|answer| answer.addresses);
        addresses.map(|address| address.to_string()).collect()
    }

    fn is_stale(&self) -> bool {
        self.host.answer(self.now.tick).unwrap().is_stale()
    }

    /// The seconds since the start of a moment.
    fn seconds(&self, moment: Instant) -> u64 {
        (moment - self.start.tick).as_secs()
    }

    fn due(&self) -> u64 {
        self.seconds(self.host.due())
    }
}

fn found(ttl: u64, addresses: &[&str]) -> Answer {
    Answer::Found {
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        ttl: Duration::from_secs(ttl),
    }
}

fn none() -> Answer {
    found(300, &[])
}

fn failed() -> Answer {
    Answer::Failed("AAAA: no answer".to_owned())
}

#[test]
fn nothing_is_said_of_a_host_before_somebody_has_answered() {
    let mut case = Case::new();
    assert_eq!(case.due(), 0);
    assert_eq!(case.host.answer(case.now.tick), None);
    case.hear(failed(), failed());
    assert_eq!(case.host.answer(case.now.tick), None);
    assert_eq!(case.host.error(), Some("AAAA: no answer"));
}

#[test]
fn both_families_count_and_the_shorter_ttl_says_when_to_ask_again() {
    let mut case = Case::new();
    case.hear(
        found(120, &["198.51.100.5"]),
        found(90, &["2001:db8:77::9"]),
    );
    assert_eq!(case.counts(), ["198.51.100.5", "2001:db8:77::9"]);
    assert_eq!(case.due(), 90);
    let answer = case.host.answer(case.now.tick).unwrap();
    let Freshness::Fresh { since, until } = answer.freshness else {
        panic!("{answer:?}");
    };
    assert_eq!(since, case.start.wall);
    assert_eq!(until, case.start.wall + Duration::from_secs(90));
}

#[test]
fn a_ttl_is_held_between_half_a_minute_and_an_hour() {
    for (ttl, due) in [(0, 30), (29, 30), (31, 31), (86_400, 3600)] {
        let mut case = Case::new();
        case.hear(found(ttl, &["198.51.100.5"]), none());
        assert_eq!(case.due(), due, "{ttl}");
    }
}

#[test]
fn a_family_without_addresses_has_no_say_in_when_to_ask() {
    let mut case = Case::new();
    case.hear(found(1800, &["198.51.100.5"]), found(30, &[]));
    assert_eq!(case.due(), 1800);
}

#[test]
fn a_host_without_any_address_is_asked_for_soon_again() {
    let mut case = Case::new();
    case.hear(found(86_400, &[]), found(86_400, &[]));
    assert_eq!(case.due(), 300);
    assert_eq!(case.counts(), [""; 0]);
    assert!(!case.is_stale(), "it is known to have none");
}

#[test]
fn a_vanished_address_counts_for_another_minute() {
    let mut case = Case::new();
    case.hear(found(30, &["198.51.100.5", "198.51.100.6"]), none());
    case.at(30).hear(found(30, &["198.51.100.6"]), none());
    assert_eq!(case.counts(), ["198.51.100.5", "198.51.100.6"]);
    let changes = case.host.changes(case.now.tick).unwrap();
    assert_eq!(case.seconds(changes), 90);
    assert_eq!(case.at(89).counts(), ["198.51.100.5", "198.51.100.6"]);
    assert_eq!(case.at(90).counts(), ["198.51.100.6"]);
    // the grace is not renewed by answers without it
    case.at(60).hear(found(30, &["198.51.100.6"]), none());
    assert_eq!(case.at(90).counts(), ["198.51.100.6"]);
}

#[test]
fn an_address_that_comes_back_within_the_minute_stays() {
    let mut case = Case::new();
    case.hear(found(30, &["198.51.100.5"]), none());
    case.at(30).hear(none(), none());
    case.at(60).hear(found(30, &["198.51.100.5"]), none());
    assert_eq!(case.at(1000).counts(), ["198.51.100.5"]);
    assert_eq!(case.host.changes(case.now.tick), None);
}

#[test]
fn a_name_that_is_gone_loses_its_addresses_after_a_minute() {
    let mut case = Case::new();
    case.hear(found(30, &["198.51.100.5"]), found(30, &["2001:db8:77::9"]));
    case.at(30).hear(none(), none());
    assert_eq!(case.at(89).counts().len(), 2);
    assert_eq!(case.at(90).counts(), [""; 0]);
    assert!(!case.is_stale());
}

#[test]
fn a_failing_resolver_keeps_the_last_answer_and_then_closes() {
    let mut case = Case::new();
    case.hear(found(60, &["198.51.100.5"]), none());
    case.at(60).hear(failed(), failed());
    case.at(3000).hear(failed(), failed());
    assert!(!case.at(60 + HOUR - 1).is_stale());
    let changes = case.host.changes(case.now.tick).unwrap();
    assert_eq!(case.seconds(changes), 60 + HOUR);
    assert!(case.at(60 + HOUR).is_stale());
    assert_eq!(case.counts(), ["198.51.100.5"], "for those who are in");
    case.at(2 * HOUR).hear(found(60, &["198.51.100.5"]), none());
    assert!(!case.is_stale(), "an answer opens it again");
    assert_eq!(case.host.error(), None);
}

#[test]
fn the_time_of_a_failing_resolver_is_counted_from_its_first_failure() {
    let mut case = Case::new();
    case.hear(found(3600, &["198.51.100.5"]), none());
    case.at(3600).hear(failed(), failed());
    assert!(!case.is_stale(), "an hour's answer has not ended at once");
    assert!(case.at(7200).is_stale());
}

#[test]
fn one_family_that_fails_takes_nothing_from_either() {
    let mut case = Case::new();
    case.hear(found(60, &["198.51.100.5"]), found(60, &["2001:db8:77::9"]));
    case.at(60).hear(found(60, &["198.51.100.7"]), failed());
    assert_eq!(
        case.counts(),
        ["198.51.100.5", "198.51.100.7", "2001:db8:77::9"]
    );
    assert_eq!(case.at(120).counts(), ["198.51.100.7", "2001:db8:77::9"]);
    // the other family goes on without it when its time is over
    case.at(60 + HOUR);
    assert_eq!(case.counts(), ["198.51.100.7"]);
    assert!(!case.is_stale());
}

#[test]
fn a_family_that_never_answered_does_not_make_the_other_stale() {
    let mut case = Case::new();
    case.hear(found(60, &["198.51.100.5"]), failed());
    case.at(10 * HOUR)
        .hear(found(60, &["198.51.100.5"]), failed());
    assert_eq!(case.counts(), ["198.51.100.5"]);
    assert!(!case.is_stale());
}

#[test]
fn a_failed_question_is_asked_again_ever_more_slowly() {
    let mut case = Case::new();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let now = case.seconds(case.now.tick);
        case.hear(failed(), none());
        pauses.push(case.due() - now);
        let due = case.due();
        case.at(due);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    case.hear(found(60, &["198.51.100.5"]), none());
    case.hear(failed(), none());
    assert_eq!(case.due(), case.seconds(case.now.tick) + 1);
}

#[test]
fn a_host_with_very_many_addresses_keeps_those_that_it_had() {
    let mut case = Case::new();
    case.hear(found(60, &["198.51.100.5"]), none());
    let many: Vec<_> = (0..33).map(|n| format!("198.51.100.{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let more: Vec<_> = (0..32).map(|n| format!("2001:db8::{n}")).collect();
    let more: Vec<_> = more.iter().map(String::as_str).collect();
    case.at(60).hear(found(60, &many), found(60, &more));
    assert_eq!(case.counts(), ["198.51.100.5"]);
    assert_eq!(
        case.host.error(),
        Some("it has 65 addresses; no more than 64 are taken")
    );
    case.at(61).hear(found(60, &many[1..]), found(60, &more));
    assert_eq!(case.counts().len(), 64);
}

#[test]
fn a_public_name_that_leads_inside_counts_only_where_a_rule_asks_for_it() {
    let mut case = Case::new();
    case.hear(
        found(60, &["10.0.0.5", "198.51.100.5", "127.0.0.1"]),
        found(60, &["fd00::1"]),
    );
    assert_eq!(case.counts(), ["198.51.100.5"]);
    let inward = case.host.answer(case.now.tick).unwrap().inward;
    assert_eq!(inward.len(), 3);
    let warning = case.host.warning(case.now.tick).unwrap();
    assert_eq!(
        warning,
        "10.0.0.5 is private: for a public name it counts only where a rule asks for it"
    );
}

#[test]
fn a_name_of_the_inside_may_lead_inside() {
    let mut case = Case::of("db.internal");
    case.hear(found(60, &["10.0.0.5"]), found(60, &["fd00::1"]));
    assert_eq!(case.counts(), ["10.0.0.5", "fd00::1"]);
    assert_eq!(case.host.warning(case.now.tick), None);
}

#[test]
fn what_can_be_nobodys_address_counts_nowhere() {
    let mut case = Case::of("db.internal");
    case.hear(
        found(60, &["0.0.0.0", "224.0.0.1", "10.0.0.5"]),
        found(60, &["::ffff:10.0.0.6"]),
    );
    assert_eq!(case.counts(), ["10.0.0.5"]);
    let warning = case.host.warning(case.now.tick).unwrap();
    assert!(warning.starts_with("0.0.0.0 is unspecified"), "{warning}");
}

#[test]
fn a_host_behind_a_cdn_is_warned_of() {
    let mut case = Case::new();
    case.hear(found(60, &["104.16.132.229"]), none());
    let warning = case.host.warning(case.now.tick).unwrap();
    assert!(
        warning.starts_with("104.16.132.229 is Cloudflare's: visitors reach the host there"),
        "{warning}"
    );
    assert_eq!(case.counts(), ["104.16.132.229"], "a warning is no verdict");
}

#[test]
fn somebody_who_waits_has_a_host_asked_for_again_but_not_at_once() {
    let mut case = Case::new();
    case.hear(found(3600, &["198.51.100.5"]), none());
    case.at(1).host.hurry();
    assert_eq!(case.due(), 2);
    case.at(2).hear(found(3600, &["198.51.100.5"]), none());
    assert_eq!(case.due(), 3602);
}

#[test]
fn a_lost_question_is_asked_again() {
    let mut case = Case::new();
    case.host.asked(case.now.tick);
    assert_eq!(case.due(), 60);
}
