//! `doorward reload`: puts the changed allowlist in force, and says what that has cut. Floor 5.

use std::io::IsTerminal as _;

use super::{Exit, Format, Global, Output, ReloadArgs, daemon};
use crate::server::control::{Answer, Reloaded, Request};

/// Returns when the new configuration is in force, or nothing was changed.
pub(super) fn run(arguments: &ReloadArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    // systemctl and scripts are never asked: a revocation must work. Only somebody at a terminal can answer.
    let somebody_there = std::io::stdin().is_terminal();
    let request = Request::Reload {
        yes: arguments.yes || !somebody_there,
    };
    let answer = match daemon::ask(global, &request, output) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if output.format == Format::Json {
        output.say_json(&answer);
    }
    match Reloaded::try_from(answer) {
        Ok(reloaded) => {
            if output.format == Format::Human {
                tell(&reloaded, output);
            }
            Exit::Fine
        }
        Err(Answer::Refused { why, text }) => {
            if output.format == Format::Human {
                output.complain(&text);
                output.complain("Nothing was changed; the old configuration goes on.");
            }
            why.into()
        }
        Err(_) => daemon::something_else(output),
    }
}

fn tell(reloaded: &Reloaded, output: &mut Output<'_>) {
    for warning in &reloaded.warnings {
        output.complain(warning);
    }
    if !reloaded.needs_restart.is_empty() {
        output.complain(format_args!(
            "note: {} changed and waits for a restart",
            reloaded.needs_restart.join(", ")
        ));
    }
    if !output.quiet {
        output.say(sentence(reloaded));
    }
}

fn sentence(reloaded: &Reloaded) -> String {
    let Reloaded {
        generation,
        origins,
        decided_again,
        revoked,
        ..
    } = reloaded;
    let plural = |n: u64, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let origins = plural(*origins as u64, "origin");
    let sessions = match (*decided_again, *revoked) {
        (0, _) => "no session was open".to_owned(),
        (all, 0) => format!("{} decided again, all go on", plural(all, "session")),
        (all, gone) => format!(
            "{} decided again, {gone} admitted no longer",
            plural(all, "session")
        ),
    };
    format!("generation {generation} is in force: {origins}; {sessions}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_the_generation_and_what_it_cut() {
        let mut reloaded = Reloaded {
            generation: 13,
            origins: 1,
            decided_again: 7,
            revoked: 2,
            needs_restart: Vec::new(),
            warnings: Vec::new(),
        };
        assert_eq!(
            sentence(&reloaded),
            "generation 13 is in force: 1 origin; 7 sessions decided again, 2 admitted no longer"
        );
        reloaded.decided_again = 0;
        assert!(sentence(&reloaded).ends_with("no session was open"));
    }
}
