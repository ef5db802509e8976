//! `doorward sessions`: who is connected, and the end of one of them. Floor 5.

use super::{Exit, Global, Output, SessionsArgs, daemon, status::length, table::Table};
use crate::{
    policy::NO_ORIGIN,
    server::{
        control::{Listing, Request},
        people::SessionAnswer,
        status::Status,
        verdict::time,
    },
};

pub(super) fn run(arguments: &SessionsArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    if let Some(id) = arguments.end {
        let ended = daemon::ask_for::<()>(global, &Request::EndSession { id }, output);
        return match ended {
            Ok(()) => {
                let answer = serde_json::json!({"ended": id});
                output.answer(&answer, || format!("session {id} ends at its next message"));
                Exit::Fine
            }
            Err(exit) => exit,
        };
    }
    let asked = daemon::ask_for::<Listing<SessionAnswer>>(global, &Request::Sessions, output);
    let mut sessions = match asked {
        Ok(sessions) => sessions,
        Err(exit) => return exit,
    };
    if let Some(origin) = &arguments.origin {
        if let Err(exit) = known(origin, &sessions.items, global, output) {
            return exit;
        }
        sessions.items.retain(|session| session.origin == *origin);
    }
    output.answer(&sessions.items, || render(&sessions.items));
    Exit::Fine
}

/// An origin that is not there has no sessions because of a slip of the pen. One that is gone may still have some.
fn known(
    origin: &str,
    sessions: &[SessionAnswer],
    global: &Global,
    output: &mut Output<'_>,
) -> Result<(), Exit> {
    if origin == NO_ORIGIN || sessions.iter().any(|session| session.origin == origin) {
        return Ok(());
    }
    let status = daemon::ask_for::<Box<Status>>(global, &Request::Status, output)?;
    if status.origins.iter().any(|line| line.origin == origin) {
        return Ok(());
    }
    output.complain(format_args!(
        "error: there is no origin \"{}\": see `doorward status`",
        origin.escape_debug()
    ));
    Err(Exit::Failed)
}

fn render(sessions: &[SessionAnswer]) -> String {
    if sessions.is_empty() {
        return "no session is open".to_owned();
    }
    let mut table = Table::new(&[
        "ID",
        "ORIGIN",
        "LISTENER",
        "CLIENT",
        "USER",
        "DATABASE",
        "TLS",
        "PROVED BY",
        "SINCE",
        "RTT",
        "FLIGHTS",
        "DATABASE TIME",
        "NETWORK",
        "TRANSFER",
        "REQUEST",
        "IDLE IN TX",
    ]);
    for session in sessions {
        let who = &session.who;
        let proof = who.certificate.as_ref().and_then(|shown| {
            let names = shown.dns.first().or_else(|| shown.uri.first());
            names.or(shown.cn.as_ref()).cloned()
        });
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            session.id.to_string(),
            session.origin.clone(),
            who.listener.clone(),
            who.address.clone(),
            who.user.escape_debug().to_string(),
            or_none(
                who.database
                    .as_ref()
                    .map(|name| name.escape_debug().to_string()),
            ),
            or_none(who.tls.clone()),
            or_none(proof.map(|name| name.escape_debug().to_string())),
            length(session.seconds),
            or_none(session.split.rtt_ms.map(time)),
            session.split.flights.to_string(),
            spent(session.split.database_seconds),
            spent(session.split.network_seconds),
            spent(session.split.transfer_seconds),
            spent(session.split.request_seconds),
            spent(session.split.idle_in_transaction_seconds),
        ]);
    }
    table.to_string().trim_end().to_owned()
}

fn spent(seconds: f32) -> String {
    time(f64::from(seconds) * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::people::{SplitAnswer, Who};

    #[test]
    fn a_session_is_a_line_and_no_name_moves_the_cursor() {
        let session = SessionAnswer {
            id: 7,
            origin: "shop".to_owned(),
            who: Who {
                listener: "pg".to_owned(),
                address: "203.0.113.7".to_owned(),
                user: "a\u{1b}[2J".to_owned(),
                database: None,
                replication: None,
                tls: Some("1.3".to_owned()),
                application: None,
                certificate: None,
            },
            since: "2026-11-22T12:00:00Z".to_owned(),
            seconds: 61,
            split: SplitAnswer {
                rtt_ms: Some(0.21),
                flights: 42,
                database_seconds: 0.061,
                network_seconds: 0.0088,
                transfer_seconds: 0.0,
                request_seconds: 0.0,
                idle_in_transaction_seconds: 4.5,
            },
        };
        assert_eq!(
            render(&[session]),
            "ID  ORIGIN  LISTENER  CLIENT       USER        DATABASE  TLS  PROVED BY  SINCE      RTT      FLIGHTS  DATABASE TIME  NETWORK  TRANSFER  REQUEST  IDLE IN TX\n\
             7   shop    pg        203.0.113.7  a\\u{1b}[2J  -         1.3  -          1 min 1 s  0.21 ms  42       61 ms          8.8 ms   0.00 ms   0.00 ms  4.5 s"
        );
        assert_eq!(render(&[]), "no session is open");
    }
}
