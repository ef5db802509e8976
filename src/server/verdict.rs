//! What a person should make of an origin's figures, in words. Floor 4: pure.
//!
//! A round trip bounds a distance from above: that an application is near can be claimed, that it is far only inferred. So a verdict
//! begins with what was measured, and what could be saved is said to be the most.

use super::latency::{Advice, LatencyLine, Remedy, Unit};

/// One sentence.
pub(super) fn of(line: &LatencyLine) -> String {
    if line.flights == 0 {
        return match line.rtt_p50_ms {
            Some(rtt) => format!(
                "the path takes {}; nothing was asked in this time",
                taken(rtt)
            ),
            None => "nothing has been measured yet".to_owned(),
        };
    }
    let broken = line.expected_rtt_ms.zip(line.likely_p90_ms);
    if let Some((expected, rtt)) = broken.filter(|(expected, rtt)| rtt > expected) {
        return format!(
            "{} takes {}, and {} is the longest that is expected: the application may have moved",
            if line.goes_by_turns() {
                "a turn"
            } else {
                "the path"
            },
            taken(rtt),
            taken(expected)
        );
    }
    match (line.hop.as_deref(), line.turn_ms) {
        (Some("loopback"), _) => behind_this_machine(line),
        (Some(hop), turn) => behind_a_hop(line, hop, turn),
        (None, _) => on_the_path(line),
    }
}

/// What could be done about it, the dearest first.
pub(super) fn advice(line: &LatencyLine) -> Vec<Advice> {
    let mut all = Vec::new();
    let saves = line.connecting_ms + line.set_up_ms;
    if line.unit == Unit::Connection && line.connecting_network_ms >= WORTH_A_WORD {
        let beyond = if line.connecting_network_upstream_ms >= WORTH_A_WORD {
            format!(", {:.0} more to the database", line.connect_turns_upstream)
        } else {
            String::new()
        };
        all.push(Advice {
            what: Remedy::Connecting,
            text: format!(
                "of which connecting {} ({:.0} turns{beyond}, a new connection for each page): CONN_MAX_AGE=60, or a pool, saves up to {}",
                taken(line.connecting_network_ms),
                line.connect_turns,
                taken(saves)
            ),
            saves_ms: saves,
        });
    }
    all.extend(line.repeated.first().map(|repeated| Advice {
        what: Remedy::Repeated,
        text: format!(
            "one query repeated {} times in a row: joining it saves up to {}",
            repeated.length,
            taken(repeated.saves_ms)
        ),
        saves_ms: repeated.saves_ms,
    }));
    let transfer = line.transfer_ms;
    if transfer >= WORTH_A_WORD && transfer > line.network_ms {
        all.push(Advice {
            what: Remedy::Transfer,
            text: format!(
                "answers wait {} until the client has taken them: fewer rows and columns come sooner",
                taken(transfer)
            ),
            saves_ms: transfer,
        });
    }
    all.sort_by(|a, b| b.saves_ms.total_cmp(&a.saves_ms));
    all
}

fn on_the_path(line: &LatencyLine) -> String {
    let share = line.network_share.unwrap_or_default();
    if line.network_ms < WORTH_A_WORD || share < SMALL_SHARE {
        return "fine".to_owned();
    }
    if line.network_upstream_ms * 2.0 > line.network_ms {
        return format!(
            "the way from here to the database costs {} of them: bring the gateway to the database, or cut round trips",
            taken(line.network_upstream_ms)
        );
    }
    format!(
        "the path takes {}: bring app and database together, or cut round trips",
        taken(line.rtt_p50_ms.unwrap_or_default())
    )
}

fn behind_this_machine(line: &LatencyLine) -> String {
    format!(
        "the path takes {} and begins on this machine: an application here, or the end of a tunnel that hides the rest",
        taken(line.rtt_p50_ms.unwrap_or_default())
    )
}

fn behind_a_hop(line: &LatencyLine, hop: &str, turn: Option<f64>) -> String {
    let rtt = taken(line.rtt_p50_ms.unwrap_or_default());
    let what = if hop == "balancer" {
        "a balancer"
    } else {
        "something that ends TCP (a proxy, a tunnel, a pooler)"
    };
    match turn {
        Some(turn) if turn >= WORTH_A_HOP => format!(
            "a turn takes {} and the path {rtt}: {what} is in between, and the rest of the way is behind it",
            taken(turn)
        ),
        Some(turn) => format!("the path takes {rtt} to {what}, and a turn {}", taken(turn)),
        None => format!("the path takes {rtt} to {what}; what is behind it cannot be seen"),
    }
}

/// Milliseconds for a person: two digits that count.
pub(crate) fn time(millis: f64) -> String {
    match millis {
        ms if ms >= 9_950.0 => format!("{:.0} s", ms / 1000.0),
        ms if ms >= 995.0 => format!("{:.1} s", ms / 1000.0),
        ms if ms >= 9.95 => format!("{ms:.0} ms"),
        ms if ms >= 0.995 => format!("{ms:.1} ms"),
        ms => format!("{} ms", hundredths(ms)),
    }
}

/// Two places, and never nothing for what is something.
pub(crate) fn hundredths(number: f64) -> String {
    if number > 0.0 && number < 0.01 {
        "< 0.01".to_owned()
    } else {
        format!("{number:.2}")
    }
}

/// A part of a whole, 0 to 1, in per cent: never nothing for what is something, nor all where something is missing. The status page
/// has the same rule.
pub(crate) fn per_cent(part: f64) -> String {
    match part {
        part if part > 0.0 && part < 0.01 => "< 1 %".to_owned(),
        part if (0.995..1.0).contains(&part) => "> 99 %".to_owned(),
        part => format!("{:.0} %", part * 100.0),
    }
}

/// The same time within a sentence.
fn taken(millis: f64) -> String {
    time(millis).replace("< ", "less than ")
}

/// Milliseconds of a piece of work that nobody notices.
const WORTH_A_WORD: f64 = 20.0;
/// Milliseconds of a turn that are not a client's slowness.
const WORTH_A_HOP: f64 = 2.0;
/// A network's part that is not worth a change.
const SMALL_SHARE: f64 = 0.3;

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
