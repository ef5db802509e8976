//! `doorward latency`: whether an application is near its database, and what the way between them costs. Floor 5.

use std::{fmt::Write as _, thread, time::Duration};

use tokio::{runtime, signal, time::timeout};

use super::{Exit, Global, LatencyArgs, Output, daemon, status::length, table::Table};
use crate::server::{
    control::{Listing, Request},
    latency::{Confidence, LatencyLine, Unit},
    verdict::{hundredths, per_cent, time},
};

/// Shows all origins in a table, or watches one of them and explains it.
pub(super) fn run(arguments: &LatencyArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    if let (None, Some(seconds)) = (&arguments.origin, arguments.seconds) {
        output.complain(format_args!(
            "error: `--for` watches one origin: name it, as in `doorward latency shop --for {seconds}`"
        ));
        return Exit::Usage;
    }
    let asked = ask(global, output);
    let all = match asked {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let Some(origin) = &arguments.origin else {
        output.answer(&all, || table(&all));
        return Exit::Fine;
    };
    if !all.iter().any(|line| line.origin == *origin) {
        output.complain(unknown(origin, &all));
        return Exit::Failed;
    }
    match watched(origin, arguments, global, output) {
        Ok(lines) => {
            output.answer(&lines, || {
                let each: Vec<_> = lines.iter().map(explain).collect();
                each.join("\n\n")
            });
            Exit::Fine
        }
        Err(exit) => exit,
    }
}

fn ask(global: &Global, output: &mut Output<'_>) -> Result<Vec<LatencyLine>, Exit> {
    let asked = daemon::ask_for::<Listing<LatencyLine>>(global, &Request::Latency, output);
    asked.map(|listing| listing.items)
}

/// Its lines after a while in which the gateway has looked closer.
fn watched(
    origin: &str,
    arguments: &LatencyArgs,
    global: &Global,
    output: &mut Output<'_>,
) -> Result<Vec<LatencyLine>, Exit> {
    let seconds = arguments.seconds.unwrap_or(USUAL);
    if seconds > 0 {
        let watch = Request::Watch {
            origin: origin.to_owned(),
            seconds: seconds + LEEWAY,
        };
        daemon::ask_for::<()>(global, &watch, output)?;
        if output.is_for_a_person() {
            output.complain(format_args!("watching \"{origin}\" for {seconds} s"));
        }
        wait(Duration::from_secs(seconds));
    }
    let mut lines = ask(global, output)?;
    lines.retain(|line| line.origin == origin);
    Ok(lines)
}

/// So long, or until Ctrl-C says that it is enough.
fn wait(long: Duration) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        return thread::sleep(long);
    };
    let _enough = runtime.block_on(async { timeout(long, signal::ctrl_c()).await });
}

fn unknown(origin: &str, all: &[LatencyLine]) -> String {
    let mut names: Vec<_> = all.iter().map(|line| line.origin.as_str()).collect();
    names.dedup();
    let there = if names.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    format!(
        "error: there is no origin \"{}\": {there}",
        origin.escape_debug()
    )
}

fn table(all: &[LatencyLine]) -> String {
    if all.is_empty() {
        return "no origin: nobody is admitted".to_owned();
    }
    let several = all.iter().any(|line| {
        let mut others = all.iter().filter(|other| other.origin == line.origin);
        others.any(|other| other.listener != line.listener)
    });
    let units =
        [Unit::Connection, Unit::Burst].map(|unit| all.iter().any(|line| line.unit == unit));
    let flights = match units {
        [true, false] => "FLIGHTS/CONN",
        [false, _] => "FLIGHTS/BURST",
        [true, true] => "FLIGHTS",
    };
    let mut header = vec![
        "ORIGIN",
        "RTT p50/p90",
        "PLACE",
        flights,
        "DATABASE",
        "NETWORK",
        "VERDICT",
    ];
    if several {
        header.insert(1, "LISTENER");
    }
    let mut table = Table::new(&header);
    for line in all {
        let mut cells = vec![
            line.origin.clone(),
            rtts(line),
            place(line),
            flights_cell(line, units == [true, true]),
            if line.flights == 0 {
                nothing()
            } else {
                time(line.database_ms)
            },
            network(line),
            verdict(line),
        ];
        if several {
            cells.insert(1, line.listener.clone());
        }
        table.row(cells);
        for advice in &line.advice {
            table.note(advice.text.clone());
        }
    }
    table.to_string().trim_end().to_owned()
}

fn rtts(line: &LatencyLine) -> String {
    let mark = if line.goes_by_turns() { " (turn)" } else { "" };
    match (line.likely_p50_ms, line.likely_p90_ms) {
        (Some(half), Some(most)) => format!("{}/{} ms{mark}", digits(half), digits(most)),
        _ => nothing(),
    }
}

fn digits(millis: f64) -> String {
    if millis < 9.95 {
        hundredths(millis)
    } else {
        format!("{millis:.0}")
    }
}

fn place(line: &LatencyLine) -> String {
    let words = |label: &String| label.replace('_', " ");
    match (&line.place, &line.place_p90, &line.hop) {
        (Some(half), Some(most), _) => format!("{}, {}", words(half), words(most)),
        (Some(half), None, _) => words(half),
        (None, _, Some(_)) => "behind a hop".to_owned(),
        (None, _, None) => nothing(),
    }
}

fn flights_cell(line: &LatencyLine, says_unit: bool) -> String {
    if line.flights == 0 {
        return nothing();
    }
    let count = format!("{:.0}", line.flights_per_unit);
    match line.unit {
        Unit::Connection if says_unit => format!("{count}/conn"),
        Unit::Burst if says_unit => format!("{count}/burst"),
        Unit::Connection | Unit::Burst => count,
    }
}

fn network(line: &LatencyLine) -> String {
    line.network_share.map_or_else(nothing, |share| {
        format!("{} ({})", time(line.network_ms), per_cent(share))
    })
}

/// With what it is founded on, where that is not enough to go without saying.
fn verdict(line: &LatencyLine) -> String {
    let confidence = match line.confidence {
        Confidence::None | Confidence::Good => return line.verdict.clone(),
        Confidence::Low => "low",
        Confidence::Fair => "fair",
    };
    format!("{} ({confidence} confidence)", line.verdict)
}

fn nothing() -> String {
    "-".to_owned()
}

/// All that is known of one origin on one listener.
fn explain(line: &LatencyLine) -> String {
    let mut rows = vec![("path", path(line)), ("place", place_in_words(line))];
    if line.flights > 0 {
        rows.extend(work(line));
    }
    rows.push(("sent again", format!("{} segments", line.retransmits)));
    if let Some(expected) = line.expected_rtt_ms {
        rows.push(("expected path", format!("{} at most", time(expected))));
    }
    rows.push(("confidence", confidence(line)));
    let width = rows.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = format!(
        "{} on listener {}, the last {}\n\n",
        line.origin,
        line.listener,
        length(line.window_seconds)
    );
    for (name, value) in &rows {
        let _infallible = writeln!(text, "{name:<width$}  {value}");
    }
    let _infallible = write!(text, "\n{}", line.verdict);
    for advice in &line.advice {
        let _infallible = write!(text, "\n  {}", advice.text);
    }
    text
}

/// Where the time of one piece of work goes.
fn work(line: &LatencyLine) -> Vec<(&'static str, String)> {
    let (these, each) = match line.unit {
        Unit::Connection => ("connections", "of each connection"),
        Unit::Burst => ("bursts", "of each burst"),
    };
    let part = |whole: f64, part: f64, words: &str| {
        format!("{}, {} of it {words}", time(whole), time(part))
    };
    let connecting = part(line.connecting_ms, line.connecting_network_ms, "network");
    vec![
        (these, units(line)),
        (each, flights(line.flights_per_unit)),
        ("  database", time(line.database_ms)),
        (
            "  network",
            format!(
                "{}, {} of it between gateway and database",
                network(line),
                time(line.network_upstream_ms)
            ),
        ),
        (
            "  connecting",
            format!(
                "{connecting}: {:.1} turns, and {:.1} to the database",
                line.connect_turns, line.connect_turns_upstream
            ),
        ),
        (
            "  transfer",
            part(line.transfer_ms, line.transfer_estimated_ms, "estimated"),
        ),
        ("  request", time(line.request_ms)),
        ("  thinking", time(line.think_ms)),
        (
            "  idle in transactions",
            format!(
                "{}; {} transactions in all",
                time(line.idle_in_transaction_ms),
                line.transactions
            ),
        ),
        (
            "pipelined",
            format!("{} of {} flights", line.pipelined, line.flights),
        ),
    ]
}

fn flights(each: f64) -> String {
    match format!("{each:.1}").as_str() {
        "1.0" => "1 flight".to_owned(),
        many => format!("{many} flights"),
    }
}

fn path(line: &LatencyLine) -> String {
    let Some(half) = line.rtt_p50_ms else {
        return "no connection has been measured yet".to_owned();
    };
    let mut text = format!("{} at half of the flights", time(half));
    let mut part = |value: Option<f64>, words: &str| {
        if let Some(value) = value {
            let _infallible = write!(text, ", {} {words}", time(value));
        }
    };
    part(line.rtt_p90_ms, "at nine tenths");
    part(line.rtt_least_ms, "at least");
    part(line.jitter_ms, "apart among new connections");
    part(line.turn_ms, "for a turn without thinking");
    if let Some(age) = line.rtt_age_seconds {
        let _infallible = write!(text, "; measured {} ago", length(age));
    }
    text
}

fn place_in_words(line: &LatencyLine) -> String {
    let place = place(line);
    match line.hop.as_deref() {
        Some("loopback") => "the clients are on this machine, or come through it".to_owned(),
        Some("balancer") => format!("{place}: a balancer names the clients"),
        Some(_) => format!("{place}: no turn of an opening came near the round trip of the path"),
        None => place,
    }
}

fn units(line: &LatencyLine) -> String {
    let what = match line.unit {
        Unit::Connection => "a new one for each piece of work",
        Unit::Burst => "runs of flights without a longer pause; one may join several pages",
    };
    let side_by_side = if line.overlap {
        "; sessions ran side by side, so sums are more than the time that passed"
    } else {
        ""
    };
    format!("{}: {what}{side_by_side}", line.units)
}

fn confidence(line: &LatencyLine) -> String {
    let founded = format!(
        "{} flights, {} recent connections",
        line.flights, line.connections
    );
    match line.confidence {
        Confidence::None => format!("none: {founded}"),
        Confidence::Low => format!("low: {founded}"),
        Confidence::Fair => format!("fair: {founded}"),
        Confidence::Good => format!("good: {founded}"),
    }
}

/// Seconds for which an origin is watched.
const USUAL: u64 = 10;

/// Seconds for which the gateway goes on watching after the command has asked for the last time.
const LEEWAY: u64 = 2;

#[cfg(test)]
#[path = "latency_tests.rs"]
mod tests;
