//! `doorward allow`: somebody is let in for a while, without a change of the file. Floor 5.

use std::{io::IsTerminal as _, net::IpAddr, time::Duration};

use clap::Args;

use super::{Exit, Format, Global, Output, daemon, status::length};
use crate::{
    config::{Environment, spoken_length},
    policy::canonical,
    server::{
        control::Request, grants::AllowRequest, people::RefusalAnswer, status::rfc3339,
        temporary::Given,
    },
};

#[derive(Clone, Debug, Args)]
pub struct AllowArgs {
    /// An address, a network, or `me`: where this SSH session comes from
    #[arg(required_unless_present = "reference", conflicts_with = "reference")]
    pub address: Option<String>,
    /// What a refusal with this reference asked for
    #[arg(long = "ref", value_name = "REF", conflicts_with_all = ["user", "database", "listener"])]
    pub reference: Option<String>,
    /// The user that may log in; must be given, except with --ref
    #[arg(long, required_unless_present = "reference")]
    pub user: Option<String>,
    /// The database that may be opened; must be given, except with --ref
    #[arg(long, required_unless_present = "reference")]
    pub database: Option<String>,
    /// May be left out when there is one
    #[arg(long)]
    pub listener: Option<String>,
    /// For how long, such as 30m or 2h; `temporary.max` of the file is the most
    #[arg(long = "for", value_name = "LENGTH", value_parser = spoken_length)]
    pub length: Duration,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Do not ask whether that is meant
    #[arg(long)]
    pub yes: bool,
}

pub(super) fn run(arguments: &AllowArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    let given = match &arguments.reference {
        Some(reference) => by_reference(arguments, reference, global, output),
        None => by_address(arguments, global, output),
    };
    match given {
        Ok(given) => {
            output.answer(&given, || {
                format!(
                    "{}\nhint: `doorward revoke {}` takes it back",
                    sentence(&given),
                    given.name
                )
            });
            Exit::Fine
        }
        Err(exit) => exit,
    }
}

fn by_address(
    arguments: &AllowArgs,
    global: &Global,
    output: &mut Output<'_>,
) -> Result<Given, Exit> {
    let named = arguments.address.as_deref().unwrap_or_default();
    let address = if named == "me" {
        let environment = Environment::of_process();
        let Some(address) = environment.get("SSH_CONNECTION").and_then(client) else {
            output.complain("error: `me` is the other end of an SSH session, and there is none");
            output.complain("hint: sudo hides it, see `sudo env | grep SSH`: give the address");
            return Err(Exit::Usage);
        };
        address.to_string()
    } else {
        named.to_owned()
    };
    let request = AllowRequest {
        address,
        user: arguments.user.clone().unwrap_or_default(),
        database: arguments.database.clone(),
        listener: arguments.listener.clone(),
        seconds: arguments.length.as_secs(),
        note: arguments.note.clone(),
        rehearse: false,
    };
    daemon::ask_for(global, &Request::Allow(request), output)
}

/// The first word of `client port server port`.
fn client(connection: &str) -> Option<IpAddr> {
    let address = connection.split(' ').next()?;
    let bare = address.split('%').next()?;
    bare.parse().ok().map(canonical)
}

/// What a client reports is its own words: a person looks at them first.
fn by_reference(
    arguments: &AllowArgs,
    reference: &str,
    global: &Global,
    output: &mut Output<'_>,
) -> Result<Given, Exit> {
    let question = Request::Refusal {
        reference: reference.to_owned(),
    };
    let refusal = daemon::ask_for::<Box<RefusalAnswer>>(global, &question, output)?;
    let request = match wanted(&refusal, arguments) {
        Ok(request) => request,
        Err(text) => {
            output.complain(format_args!("error: {text}"));
            return Err(Exit::Failed);
        }
    };
    if !arguments.yes {
        let rehearsal = AllowRequest {
            rehearse: true,
            ..request.clone()
        };
        let would: Given = daemon::ask_for(global, &Request::Allow(rehearsal), output)?;
        output.complain(format_args!("It was refused: {}", refusal.cause));
        output.complain(sentence(&would));
        if let Some(note) = unhelped(&refusal.reason) {
            output.complain(format_args!("note: {note}"));
        }
        if !meant(output) {
            return Err(Exit::Failed);
        }
    }
    daemon::ask_for(global, &Request::Allow(request), output)
}

fn wanted(refusal: &RefusalAnswer, arguments: &AllowArgs) -> Result<AllowRequest, String> {
    let Some(who) = &refusal.who else {
        return Err(format!(
            "the connection of {} ended before anybody said who it was ({}): name the user yourself",
            refusal.address, refusal.reason
        ));
    };
    if who.replication.is_some() {
        return Err(
            "it asked for replication, which only an origin of the file can give".to_owned(),
        );
    }
    Ok(AllowRequest {
        address: who.address.clone(),
        user: who.user.clone(),
        database: who.database.clone(),
        listener: Some(who.listener.clone()),
        seconds: arguments.length.as_secs(),
        note: arguments.note.clone(),
        rehearse: false,
    })
}

/// What stands above any origin.
fn unhelped(reason: &str) -> Option<&'static str> {
    match reason {
        "deny_rule" => Some("a deny rule refused it, and still will"),
        "banned" => Some("its address is banned: see `doorward bans list`"),
        "tls_required" => Some("it came without TLS, and will be refused without it"),
        _ => None,
    }
}

/// Asks on the terminal. Without one nobody can answer.
fn meant(output: &mut Output<'_>) -> bool {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || output.format == Format::Json {
        output.complain("error: nobody is here to ask whether that is meant: give --yes");
        return false;
    }
    output.complain("Is that meant? [y/N]");
    let mut line = String::new();
    let said = stdin.read_line(&mut line).is_ok();
    let yes = said && matches!(line.trim(), "y" | "Y" | "yes");
    if !yes {
        output.complain("Nothing was changed.");
    }
    yes
}

fn sentence(given: &Given) -> String {
    let left = given.expires.duration_since(given.given);
    format!(
        "{name} lets \"{user}\" from {address} into {database} on {listener} until {until} ({left})",
        name = given.name,
        user = given.user.escape_debug(),
        address = given.address,
        database = given.database.as_ref().map_or_else(
            || "any database".to_owned(),
            |name| format!("database \"{}\"", name.escape_debug())
        ),
        listener = given.listener,
        until = rfc3339(given.expires),
        left = length(left.unwrap_or_default().as_secs()),
    )
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        server::people::Who,
    };

    fn given() -> Given {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_370_400);
        Given {
            name: "tmp-anna-7f3a".to_owned(),
            address: "203.0.113.9".to_owned(),
            user: "an\u{1b}na".to_owned(),
            database: Some("shop".to_owned()),
            listener: "pg".to_owned(),
            expires: now + Duration::from_secs(7200),
            given: now,
            by: "root (uid 0)".to_owned(),
            note: None,
        }
    }

    fn arguments(line: &str) -> Result<AllowArgs, String> {
        let words = ["doorward", "allow"].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Allow(arguments) = cli.command else {
            panic!("another command");
        };
        Ok(arguments)
    }

    fn refusal() -> RefusalAnswer {
        RefusalAnswer {
            reference: "4k7q2m9x".to_owned(),
            listener: "pg".to_owned(),
            address: "203.0.113.9".to_owned(),
            who: Some(Who {
                listener: "pg".to_owned(),
                address: "203.0.113.9".to_owned(),
                user: "anna".to_owned(),
                database: Some("shop".to_owned()),
                replication: None,
                tls: Some("1.3".to_owned()),
                application: None,
                certificate: None,
            }),
            reason: "no_origin".to_owned(),
            rule: None,
            cause: "no origin names it".to_owned(),
            times: 1,
            first: "2026-11-22T12:00:00Z".to_owned(),
            last: "2026-11-22T12:00:00Z".to_owned(),
            now: None,
        }
    }

    #[test]
    fn what_was_given_is_a_sentence_and_no_name_moves_the_cursor() {
        assert_eq!(
            sentence(&given()),
            "tmp-anna-7f3a lets \"an\\u{1b}na\" from 203.0.113.9 into database \"shop\" on pg until 2026-11-22T20:00:00Z (2 h 0 min)"
        );
        let any = Given {
            database: None,
            ..given()
        };
        assert!(sentence(&any).contains("into any database on"));
    }

    #[test]
    fn an_address_needs_a_user_and_a_database_and_a_reference_brings_its_own() {
        assert!(arguments("203.0.113.9 --user anna --database shop --for 2h").is_ok());
        assert!(arguments("--ref 4k7q2m9x --for 2h").is_ok());
        for wrong in [
            "203.0.113.9 --user anna --for 2h",
            "203.0.113.9 --database shop --for 2h",
            "203.0.113.9 --user anna --database shop",
            "203.0.113.9 --user anna --database shop --for 2",
            "203.0.113.9 --ref 4k7q2m9x --for 2h",
            "--ref 4k7q2m9x --user anna --for 2h",
            "--user anna --database shop --for 2h",
        ] {
            assert!(arguments(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn me_is_the_client_of_the_ssh_session() {
        let me = |text: &str| client(text).map(|address| address.to_string());
        assert_eq!(
            me("203.0.113.9 50122 192.0.2.1 22").as_deref(),
            Some("203.0.113.9")
        );
        assert_eq!(
            me("::ffff:203.0.113.9 1 ::1 22").as_deref(),
            Some("203.0.113.9")
        );
        assert_eq!(me("fe80::1%eth0 1 ::1 22").as_deref(), Some("fe80::1"));
        assert_eq!(me(""), None);
    }

    #[test]
    fn a_refusal_is_wanted_as_it_was_claimed() {
        let arguments = arguments("--ref 4k7q2m9x --for 30m").unwrap();
        let request = wanted(&refusal(), &arguments).unwrap();
        assert_eq!(
            (&*request.address, &*request.user, request.seconds),
            ("203.0.113.9", "anna", 1800)
        );
        assert_eq!(request.database.as_deref(), Some("shop"));
        let unnamed = RefusalAnswer {
            who: None,
            ..refusal()
        };
        let error = wanted(&unnamed, &arguments).unwrap_err();
        assert!(error.contains("name the user"), "{error}");
        let mut replica = refusal();
        replica.who.as_mut().unwrap().replication = Some("physical".to_owned());
        let error = wanted(&replica, &arguments).unwrap_err();
        assert!(error.contains("replication"), "{error}");
    }
}
