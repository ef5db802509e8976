//! Verdicts on figures that real networks gave, or could.

use std::time::{Duration, SystemTime};

use super::*;
use crate::{
    meter::{Bands, Hop, OriginFigures, Path, Repeated, Scope, SetUp, Totals, Turns},
    server::latency::line,
};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Twenty pages of 42 queries with a connection each, so far away.
fn pages(rtt: Duration) -> OriginFigures {
    let connecting = rtt.as_secs_f64() * 6.0;
    let turns = rtt.as_secs_f64() * 42.0;
    OriginFigures {
        listener: "pg".to_owned(),
        origin: "blog".to_owned(),
        window: ms(600_000),
        happened: Totals {
            sessions: 20,
            closed: 20,
            pages: 20,
            flights_of_pages: 20 * 42,
            flights: 20 * 42,
            turns: 20 * 42,
            bursts: 20,
            connect_turns: 20 * 6,
            connecting_seconds: 20.0 * (connecting + 0.02),
            connecting_network_seconds: 20.0 * connecting,
            network_client_seconds: 20.0 * (connecting + turns),
            database_seconds: 20.0 * 0.058,
            ..Totals::default()
        },
        path: Path {
            least: Some(rtt),
            p50: Some(rtt),
            p90: Some(rtt + ms(3)),
            connections: 20,
            ..Path::default()
        },
        sessions: 0,
        overlaps: false,
        repeated: Vec::new(),
        set_up: SetUp::default(),
    }
}

fn judged(figures: &OriginFigures) -> LatencyLine {
    line(figures, &Bands::default(), None)
}

#[test]
fn a_far_app_reads_what_its_path_takes_and_what_keeping_connections_saves() {
    let line = judged(&pages(ms(148)));
    assert_eq!(
        line.verdict,
        "the path takes 148 ms: bring app and database together, or cut round trips"
    );
    let texts: Vec<_> = line
        .advice
        .iter()
        .map(|advice| advice.text.as_str())
        .collect();
    assert_eq!(
        texts,
        [
            "of which connecting 888 ms (6 turns, a new connection for each page): CONN_MAX_AGE=60, or a pool, saves up to 908 ms"
        ]
    );
    assert_eq!(line.unit, Unit::Connection);
    assert!(
        (line.network_ms - 7104.0).abs() < 1.0,
        "{}",
        line.network_ms
    );
    assert!(line.network_share > Some(0.99));
    assert_eq!(line.place.as_deref(), Some("another_continent"));
}

#[test]
fn a_page_that_connects_to_a_far_database_is_told_so_wherever_the_app_is() {
    let mut figures = pages(Duration::from_micros(210));
    let connecting = 20.0 * 4.0 * 0.075;
    let happened = &mut figures.happened;
    happened.connect_turns_upstream = 20 * 4;
    happened.connecting_seconds += connecting;
    happened.connecting_network_seconds += connecting;
    happened.connecting_upstream_seconds = connecting;
    happened.network_upstream_seconds = connecting + 20.0 * 42.0 * 0.075;
    let line = judged(&figures);
    let advice = line.advice.first().expect("some advice");
    assert_eq!(
        advice.text,
        "of which connecting 301 ms (6 turns, 4 more to the database, a new connection for each page): CONN_MAX_AGE=60, or a pool, saves up to 321 ms"
    );
}

#[test]
fn what_was_asked_in_a_row_could_be_asked_once() {
    let mut figures = pages(ms(148));
    figures.repeated = vec![Repeated {
        length: 37,
        times: 20,
        saves: ms(5328),
        seen: SystemTime::UNIX_EPOCH,
    }];
    figures.set_up = SetUp {
        sessions: 2,
        statements: 2,
        took: ms(300),
    };
    let line = judged(&figures);
    assert_eq!(
        line.advice[0].text,
        "one query repeated 37 times in a row: joining it saves up to 5.3 s"
    );
    // a connection that is kept needs no setting up, too
    assert!(
        (line.advice[1].saves_ms - 1058.0).abs() < 1.0,
        "{:?}",
        line.advice
    );
}

#[test]
fn a_near_app_is_fine() {
    let line = judged(&pages(Duration::from_micros(210)));
    assert_eq!((line.verdict.as_str(), line.advice.len()), ("fine", 0));
}

#[test]
fn a_persistent_connection_has_bursts_and_no_pages() {
    let mut figures = pages(ms(148));
    figures.happened = Totals {
        pages: 0,
        flights_of_pages: 0,
        sessions: 1,
        closed: 0,
        ..figures.happened
    };
    let line = judged(&figures);
    assert_eq!((line.unit, line.units), (Unit::Burst, 20));
    assert!(line.advice.is_empty(), "{:?}", line.advice);
}

#[test]
fn behind_a_hop_nothing_near_is_claimed() {
    let mut figures = pages(Duration::from_micros(50));
    figures.path.scope = Scope::Hop(Hop::Turns);
    figures.path.turn = Some(Turns {
        least: ms(75),
        p50: ms(76),
        p90: ms(80),
    });
    let line = judged(&figures);
    assert!(
        line.verdict
            .starts_with("a turn takes 76 ms and the path 0.05 ms: "),
        "{}",
        line.verdict
    );
    assert_eq!(line.place.as_deref(), Some("far"));
    let moved = super::super::latency::line(&figures, &Bands::default(), Some(ms(1)));
    assert!(
        moved.verdict.starts_with("a turn takes 80 ms, and 1.0 ms"),
        "{}",
        moved.verdict
    );
    figures.path.scope = Scope::Hop(Hop::Loopback);
    figures.path.turn = None;
    let line = judged(&figures);
    assert_eq!(line.place, None);
    assert!(
        line.verdict.contains("begins on this machine"),
        "{}",
        line.verdict
    );
}

#[test]
fn the_way_to_the_database_is_told_from_the_way_to_the_app() {
    let mut figures = pages(Duration::from_micros(210));
    figures.happened.network_upstream_seconds = 20.0 * 42.0 * 0.01;
    let line = judged(&figures);
    assert!(
        line.verdict.contains("bring the gateway to the database"),
        "{}",
        line.verdict
    );
}

#[test]
fn nothing_measured_is_nothing_claimed() {
    let figures = OriginFigures {
        happened: Totals::default(),
        path: Path::default(),
        ..pages(ms(1))
    };
    let line = judged(&figures);
    assert_eq!(line.verdict, "nothing has been measured yet");
    assert_eq!((line.place, line.network_share), (None, None));
}

#[test]
fn an_app_that_has_moved_is_found_by_what_was_expected_of_it() {
    let line = line(&pages(ms(20)), &Bands::default(), Some(ms(1)));
    assert!(
        line.verdict
            .starts_with("the path takes 23 ms, and 1.0 ms is the longest"),
        "{}",
        line.verdict
    );
}

#[test]
fn a_path_of_some_microseconds_takes_more_than_nothing() {
    let figures = OriginFigures {
        happened: Totals::default(),
        ..pages(Duration::from_micros(4))
    };
    assert_eq!(
        judged(&figures).verdict,
        "the path takes less than 0.01 ms; nothing was asked in this time"
    );
}

#[test]
fn a_part_is_nothing_or_all_only_where_it_is() {
    for (part, words) in [
        (0.0, "0 %"),
        (0.000_1, "< 1 %"),
        (0.009_9, "< 1 %"),
        (0.01, "1 %"),
        (0.991_9, "99 %"),
        (0.999, "> 99 %"),
        (1.0, "100 %"),
    ] {
        assert_eq!(per_cent(part), words);
    }
}
