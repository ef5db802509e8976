//! `doorward status`: who is connected, where the time goes, and what is not as it should be. Floor 5.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

use super::{Exit, Format, Global, Output, StatusArgs, daemon, table::Table};
use crate::server::{
    control::Request,
    status::{Lasts, OriginLine, Status},
    verdict::{hundredths, per_cent},
};

/// Asks the daemon and shows what it says, once or until nobody listens.
pub(super) fn run(arguments: &StatusArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    loop {
        let status = match daemon::ask_for::<Box<Status>>(global, &Request::Status, output) {
            Ok(status) => status,
            Err(exit) => return exit,
        };
        let human = || render(&status, SystemTime::now());
        let shown = match (output.format, arguments.watch) {
            (Format::Json, true) => output.say_json_line(&status),
            (Format::Json, false) => {
                output.say_json(&status);
                true
            }
            (Format::Human | Format::Github, true) => output.say_in_place(human()),
            (Format::Human | Format::Github, false) => {
                output.say(human());
                true
            }
        };
        if !arguments.watch || !shown {
            return Exit::Fine;
        }
        thread::sleep(BETWEEN);
    }
}

/// Between two looks.
const BETWEEN: Duration = Duration::from_secs(2);

fn render(status: &Status, now: SystemTime) -> String {
    let mut text = format!(
        "doorward {}, up {}, generation {} loaded {} from {}\n",
        status.version,
        length(status.uptime_seconds),
        status.generation,
        status.loaded,
        status.source,
    );
    if let Some(problem) = &status.problem {
        text.push_str("\nTHE FILE HAS ERRORS; the configuration in force is an older one:\n");
        text.push_str(problem.trim_end());
        text.push('\n');
    }
    if !status.differs.is_empty() && status.problem.is_none() {
        text.push_str(&differs(status));
    }
    text.push_str(&observed(status));
    text.push('\n');
    text.push_str(&listeners(status).to_string());
    text.push_str(&certificate(status));
    text.push('\n');
    if status.origins.is_empty() {
        text.push_str("no origin: nobody is admitted\n");
    } else {
        text.push_str(&origins(&status.origins, now).to_string());
        text.push_str(&farther(&status.origins));
    }
    if !status.hosts.is_empty() {
        let mut hosts = Table::new(&["HOST", "ADDRESSES", "STATE", "TROUBLE"]);
        for host in &status.hosts {
            hosts.row([
                host.host.clone(),
                host.addresses.join(" "),
                host.state.clone(),
                host.trouble.clone().unwrap_or_else(nothing),
            ]);
        }
        text.push('\n');
        text.push_str(&hosts.to_string());
    }
    if !status.refusals.is_empty() {
        let mut refusals = Table::new(&["REFUSED", "TIMES"]);
        for refusal in &status.refusals {
            refusals.row([refusal.reason.clone(), refusal.count.to_string()]);
        }
        text.push('\n');
        text.push_str(&refusals.to_string());
    }
    text.trim_end().to_owned()
}

/// What is written and does not hold.
fn differs(status: &Status) -> String {
    format!(
        "\nNOT IN FORCE: what {} says now; `doorward reload` puts it in force\n",
        status.differs.join(", ")
    )
}

/// Who is let in that the rules would refuse, and who is not heard.
fn observed(status: &Status) -> String {
    let mut text = String::new();
    if let Some(until) = &status.observing.until {
        text.push_str("\nOBSERVING until ");
        text.push_str(until);
        text.push_str(": refusals are recorded only, see `observe`\n");
    }
    if !status.observing.origins.is_empty() {
        text.push_str("\non trial: ");
        text.push_str(&status.observing.origins.join(", "));
        text.push('\n');
    }
    match status.bans {
        0 => {}
        1 => text.push_str("\n1 source is banned, see `doorward bans list`\n"),
        _ => {
            text.push('\n');
            text.push_str(&status.bans.to_string());
            text.push_str(" sources are banned, see `doorward bans list`\n");
        }
    }
    text
}

fn listeners(status: &Status) -> Table {
    let mut table = Table::new(&["LISTENER", "ADDRESS", "UPSTREAM", "STATE"]);
    for listener in &status.listeners {
        table.row([
            listener.name.clone(),
            listener.listen.join(" "),
            listener.upstream.clone(),
            if listener.upstream_up { "up" } else { "DOWN" }.to_owned(),
        ]);
    }
    table
}

fn certificate(status: &Status) -> String {
    let certificate = &status.certificate;
    let ca = certificate.ca.as_ref();
    let ca = ca.map_or_else(String::new, |path| format!("; clients trust {path}"));
    let mut text = format!("certificate: {}{ca}\n", lasts(&certificate.lasts));
    for further in &certificate.further {
        let names = further.names.join(", ");
        let _infallible = writeln!(text, "certificate for {names}: {}", lasts(&further.lasts));
    }
    text
}

fn lasts(lasts: &Lasts) -> String {
    let left = match lasts.days_left {
        days if days < 0 => "HAS ENDED".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    };
    format!("{left} ({})", lasts.ends)
}

fn origins(origins: &[OriginLine], now: SystemTime) -> Table {
    let mut table = Table::new(&[
        "ORIGIN",
        "LISTENER",
        "SESSIONS",
        "RTT p50",
        "FLIGHTS",
        "DATABASE",
        "NETWORK",
        "SHARE",
        "LAST SEEN",
    ]);
    for origin in origins {
        table.row([
            origin.origin.clone(),
            origin.listener.clone(),
            origin.sessions.to_string(),
            origin
                .rtt_p50_ms
                .map_or_else(nothing, |rtt| format!("{} ms", hundredths(rtt))),
            origin.flights.to_string(),
            seconds(origin.database_seconds),
            seconds(origin.network_seconds),
            origin.network_share.map_or_else(nothing, per_cent),
            last_seen(origin, now),
        ]);
    }
    table
}

/// Origins that are not where they are thought to be.
fn farther(origins: &[OriginLine]) -> String {
    let mut text = String::new();
    for origin in origins.iter().filter(|origin| origin.rtt_exceeded) {
        let expected = origin.expected_rtt_ms.unwrap_or_default();
        let _infallible = writeln!(
            text,
            "FARTHER THAN EXPECTED: {} on {}; `expect` says {expected} ms at most",
            origin.origin, origin.listener
        );
    }
    text
}

fn last_seen(origin: &OriginLine, now: SystemTime) -> String {
    if origin.sessions > 0 {
        return "now".to_owned();
    }
    let at = origin.last_seen.as_ref();
    let at = at.and_then(|at| at.parse::<Timestamp>().ok());
    let ago = at.and_then(|at| now.duration_since(SystemTime::from(at)).ok());
    ago.map_or_else(
        || "never".to_owned(),
        |ago| format!("{} ago", length(ago.as_secs())),
    )
}

fn nothing() -> String {
    "-".to_owned()
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.1} s")
    }
}

/// In the two largest units.
pub(super) fn length(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::lookout::Observing;
    use crate::server::status::{
        CertificateStatus, FurtherCertificate, ListenerStatus, RefusalLine,
    };

    fn status() -> Status {
        Status {
            version: "0.1.0 (abc)".to_owned(),
            generation: 12,
            loaded: "2026-11-22T09:14:00Z".to_owned(),
            source: "/etc/doorward/allowlist.yaml".to_owned(),
            problem: None,
            differs: Vec::new(),
            observing: Observing::default(),
            bans: 0,
            uptime_seconds: 3700,
            sessions: 3,
            listeners: vec![ListenerStatus {
                name: "pg".to_owned(),
                protocol: "postgres".to_owned(),
                listen: vec!["0.0.0.0:6432".to_owned()],
                upstream: "127.0.0.1:5432".to_owned(),
                upstream_up: false,
            }],
            certificate: CertificateStatus {
                lasts: Lasts {
                    ends: "2027-11-22T00:00:00Z".to_owned(),
                    days_left: 364,
                },
                ca: Some("/var/lib/doorward/tls/ca.crt".to_owned()),
                further: vec![FurtherCertificate {
                    names: vec!["shop.example.org".to_owned(), "*.example.net".to_owned()],
                    lasts: Lasts {
                        ends: "2026-11-21T00:00:00Z".to_owned(),
                        days_left: -2,
                    },
                }],
            },
            origins: vec![OriginLine {
                origin: "blog".to_owned(),
                listener: "pg".to_owned(),
                sessions: 0,
                rtt_p50_ms: Some(148.0),
                rtt_least_ms: Some(147.0),
                expected_rtt_ms: Some(1.0),
                rtt_exceeded: true,
                flights: 42,
                database_seconds: 0.058,
                network_seconds: 7.1,
                network_share: Some(0.9919),
                receive_bytes: 1,
                transmit_bytes: 2,
                last_seen: Some("1970-01-01T00:16:40Z".to_owned()),
            }],
            hosts: Vec::new(),
            refusals: vec![RefusalLine {
                reason: "no_origin".to_owned(),
                count: 7,
            }],
        }
    }

    #[test]
    fn a_person_sees_where_the_time_goes_and_what_is_down() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1060);
        let text = render(&status(), now);
        for part in [
            "generation 12",
            "up 1 h 1 min",
            "DOWN",
            "364 days left",
            "/var/lib/doorward/tls/ca.crt",
            "certificate for shop.example.org, *.example.net: HAS ENDED (2026-11-21",
            "148.00 ms",
            "FARTHER THAN EXPECTED: blog on pg; `expect` says 1 ms at most",
            "58.0 ms",
            "7.1 s",
            "99 %",
            "1 min 0 s ago",
            "no_origin",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("ERRORS"));
    }

    #[test]
    fn what_does_not_hold_and_what_is_on_trial_is_said() {
        let mut status = status();
        status.differs = vec!["/etc/doorward/allowlist.yaml".to_owned()];
        status.observing.until = Some("2026-12-01T00:00:00Z".to_owned());
        status.observing.origins = vec!["reports".to_owned()];
        status.bans = 2;
        let text = render(&status, SystemTime::UNIX_EPOCH);
        for part in [
            "NOT IN FORCE: what /etc/doorward/allowlist.yaml says now",
            "OBSERVING until 2026-12-01T00:00:00Z",
            "on trial: reports",
            "2 sources are banned",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_broken_file_is_the_first_thing_that_is_seen() {
        let mut status = status();
        status.problem = Some("error: the file is empty".to_owned());
        let text = render(&status, SystemTime::UNIX_EPOCH);
        let (errors, listeners) = (text.find("HAS ERRORS"), text.find("LISTENER"));
        assert!(errors.is_some() && errors < listeners, "{text}");
    }
}
