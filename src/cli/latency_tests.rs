//! What a person sees of the figures.

use super::*;

fn line() -> LatencyLine {
    LatencyLine {
        origin: "blog".to_owned(),
        listener: "pg".to_owned(),
        window_seconds: 720,
        scope: "path".to_owned(),
        hop: None,
        rtt_p50_ms: Some(148.0),
        rtt_p90_ms: Some(151.2),
        rtt_least_ms: Some(147.0),
        turn_ms: Some(149.0),
        likely_p50_ms: Some(148.0),
        likely_p90_ms: Some(151.2),
        jitter_ms: Some(0.4),
        rtt_age_seconds: Some(3),
        connections: 20,
        place: Some("another_continent".to_owned()),
        place_p90: None,
        unit: Unit::Connection,
        units: 20,
        flights: 840,
        flights_per_unit: 42.0,
        database_ms: 58.0,
        network_ms: 7104.0,
        network_upstream_ms: 0.0,
        connecting_ms: 908.0,
        connecting_network_ms: 888.0,
        connecting_network_upstream_ms: 0.0,
        connect_turns: 6.0,
        connect_turns_upstream: 4.0,
        transfer_ms: 0.0,
        transfer_estimated_ms: 0.0,
        request_ms: 0.1,
        think_ms: 30.0,
        idle_in_transaction_ms: 0.0,
        network_share: Some(0.9919),
        pipelined: 0,
        transactions: 840,
        retransmits: 0,
        sessions: 0,
        overlap: false,
        expected_rtt_ms: None,
        repeated: Vec::new(),
        set_up_statements: 0.0,
        set_up_ms: 0.0,
        confidence: Confidence::Good,
        verdict: "the path takes 148 ms: cut round trips".to_owned(),
        advice: vec![crate::server::latency::Advice {
            what: crate::server::latency::Remedy::Connecting,
            text: "of which connecting 888 ms".to_owned(),
            saves_ms: 908.0,
        }],
    }
}

#[test]
fn an_origin_is_a_row_with_what_could_be_done_beneath() {
    assert_eq!(
        table(&[line()]),
        "ORIGIN  RTT p50/p90  PLACE              FLIGHTS/CONN  DATABASE  NETWORK        VERDICT\n\
         blog    148/151 ms   another continent  42            58 ms     7.1 s (99 %)  the path takes 148 ms: cut round trips\n        \
         of which connecting 888 ms"
            .replace("NETWORK        VERDICT", "NETWORK       VERDICT")
    );
}

#[test]
fn behind_a_hop_the_turn_is_shown_and_marked() {
    let hop = LatencyLine {
        scope: "hop".to_owned(),
        hop: Some("turns".to_owned()),
        rtt_p50_ms: Some(0.05),
        rtt_p90_ms: Some(0.06),
        ..line()
    };
    let table = table(&[hop]);
    assert!(table.contains("148/151 ms (turn)"), "{table}");
}

#[test]
fn a_verdict_that_is_founded_on_little_says_so() {
    for (confidence, words) in [
        (Confidence::None, "cut round trips\n"),
        (Confidence::Low, "cut round trips (low confidence)\n"),
        (Confidence::Fair, "cut round trips (fair confidence)\n"),
        (Confidence::Good, "cut round trips\n"),
    ] {
        let line = LatencyLine {
            confidence,
            ..line()
        };
        let table = table(&[line]);
        assert!(table.contains(words), "{table}");
    }
}

#[test]
fn bursts_are_not_called_connections() {
    let burst = LatencyLine {
        unit: Unit::Burst,
        ..line()
    };
    assert!(table(std::slice::from_ref(&burst)).contains("FLIGHTS/BURST"));
    let both = table(&[line(), burst]);
    assert!(
        both.contains("42/conn") && both.contains("42/burst"),
        "{both}"
    );
}

#[test]
fn one_origin_is_explained_in_all_its_parts() {
    let text = explain(&line());
    for part in [
        "blog on listener pg, the last 12 min",
        "148 ms at half of the flights, 151 ms at nine tenths, 147 ms at least",
        "42.0 flights",
        "908 ms, 888 ms of it network: 6.0 turns, and 4.0 to the database",
        "good: 840 flights, 20 recent connections",
        "the path takes 148 ms",
        "  of which connecting",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_name_that_is_not_there_is_answered_with_those_that_are() {
    assert_eq!(
        unknown("x\n", &[line()]),
        "error: there is no origin \"x\\n\": there are blog"
    );
    assert_eq!(
        unknown("x", &[]),
        "error: there is no origin \"x\": there is none"
    );
}

#[test]
fn what_is_little_is_never_told_as_nothing() {
    let near = LatencyLine {
        likely_p50_ms: Some(0.004),
        likely_p90_ms: Some(0.02),
        network_ms: 0.004,
        network_share: Some(0.005),
        ..line()
    };
    let table = table(&[near]);
    assert!(table.contains("< 0.01/0.02 ms"), "{table}");
    assert!(table.contains("< 0.01 ms (< 1 %)"), "{table}");
}

#[test]
fn one_flight_is_one_flight() {
    let alone = LatencyLine {
        flights_per_unit: 1.02,
        ..line()
    };
    let text = explain(&alone);
    assert!(
        text.contains("of each connection      1 flight\n"),
        "{text}"
    );
}

#[test]
fn a_time_to_watch_without_an_origin_is_told_how() {
    use clap::Parser as _;

    let cli = crate::cli::Cli::try_parse_from(["doorward", "latency", "--for", "3"]).unwrap();
    let crate::cli::Command::Latency(arguments) = &cli.command else {
        panic!("not latency");
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = Output::new(&cli.global, &mut out, &mut err);
    assert_eq!(run(arguments, &cli.global, &mut output), Exit::Usage);
    let told = String::from_utf8(err).unwrap();
    assert!(told.contains("`doorward latency shop --for 3`"), "{told}");
}
