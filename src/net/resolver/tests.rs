//! What the resolver makes of answers and of silence, by a made clock.

use super::*;

fn wanted(names: &[&str]) -> Wanted {
    Wanted {
        hosts: names.iter().map(|name| Arc::from(*name)).collect(),
        servers: Vec::new(),
        max_stale: Duration::from_secs(3600),
    }
}

fn book(names: &[&str], now: Instant) -> Book {
    let mut book = Book::default();
    book.want(&wanted(names), now);
    book
}

fn failed() -> [Answer; 2] {
    [(); 2].map(|()| Answer::Failed("A: no answer".to_owned()))
}

fn found(address: &str) -> [Answer; 2] {
    let ttl = Duration::from_secs(60);
    let found = |addresses| Answer::Found { addresses, ttl };
    [found(vec![address.parse().unwrap()]), found(Vec::new())]
}

fn after(start: Instant, seconds: u64) -> Moment {
    let time = Duration::from_secs(seconds);
    Moment {
        tick: start + time,
        wall: SystemTime::UNIX_EPOCH + time,
    }
}

#[test]
fn who_has_waited_longest_is_asked_for_first() {
    let start = Instant::now();
    let mut book = book(&["a.example", "b.example", "c.example"], start);
    assert_eq!(book.ask(start, 1), [Arc::from("a.example")]);
    book.hear("a.example", failed(), after(start, 1));
    // the first fails and is due again, but the others were due before
    let later = after(start, 3).tick;
    let order: Vec<_> = (0..3).flat_map(|_| book.ask(later, 1)).collect();
    assert_eq!(
        order,
        ["b.example", "c.example", "a.example"].map(Arc::from)
    );
    assert!(book.ask(later, 1).is_empty(), "all are being asked for");
}

#[test]
fn the_task_wakes_for_what_is_due_and_for_what_ends() {
    let start = Instant::now();
    let mut book = book(&["a.example", "b.example"], start);
    book.ask(start, 2);
    assert_eq!(book.next(start), start + Duration::from_secs(60), "lost");
    book.hear("a.example", found("198.51.100.5"), after(start, 0));
    book.hear("b.example", found("198.51.100.6"), after(start, 30));
    let now = after(start, 30).tick;
    assert_eq!(book.next(now), start + Duration::from_secs(60));
    book.hear("b.example", found("198.51.100.7"), after(start, 31));
    book.hear("a.example", found("198.51.100.5"), after(start, 60));
    let now = after(start, 60).tick;
    assert_eq!(book.next(now), start + Duration::from_secs(91), "the grace");
    // without anything to do it does not sleep for ever
    let idle = Book::default();
    assert_eq!(idle.next(start), start + IDLE);
}

#[test]
fn it_is_complete_when_every_host_was_asked_for() {
    let start = Instant::now();
    let mut book = book(&["a.example", "b.example"], start);
    book.hear("a.example", found("198.51.100.5"), after(start, 0));
    assert!(!book.resolved(start).complete);
    book.hear("b.example", failed(), after(start, 0));
    let resolved = book.resolved(start);
    assert!(resolved.complete);
    assert!(resolved.covers(&wanted(&["a.example", "b.example"]).hosts));
    assert!(!resolved.covers(&wanted(&["c.example"]).hosts));
    assert!(resolved.hosts.get("b.example").is_none());
    let state = &resolved.states["b.example"];
    assert_eq!((state.answered, state.failed), (0, 1));
    assert_eq!(state.error.as_deref(), Some("A: no answer"));
    book.want(&wanted(&["a.example", "c.example"]), start);
    assert!(!book.resolved(start).complete, "one is new");
}

#[test]
fn a_name_is_never_completed_by_a_search_list() {
    for name in ["web-1", "erp.partner.example", "erp.partner.example."] {
        let name = absolute(name).unwrap();
        assert!(name.is_fqdn(), "{name}");
    }
    assert!(absolute(&"a".repeat(64)).is_err());
    assert!(absolute("a..b").is_err());
}
