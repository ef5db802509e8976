//! `doorward revoke`: a temporary origin ends, or the line to take out is named. Floor 5.

use clap::Args;

use super::{Exit, Global, Output, daemon};
use crate::server::{control::Request, grants::RevokeAnswer};

#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    /// The origin
    pub name: String,
}

pub(super) fn run(arguments: &RevokeArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    let request = Request::Revoke {
        name: arguments.name.clone(),
    };
    let answer: RevokeAnswer = match daemon::ask_for(global, &request, output) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    output.answer(&answer, || sentence(&answer));
    match answer {
        RevokeAnswer::Revoked { .. } => Exit::Fine,
        RevokeAnswer::InFile { .. } => Exit::No,
    }
}

fn sentence(answer: &RevokeAnswer) -> String {
    match answer {
        RevokeAnswer::Revoked {
            name,
            generation,
            sessions,
        } => {
            let sessions = match sessions {
                0 => "no session depended on it".to_owned(),
                1 => "1 session is admitted no longer".to_owned(),
                several => format!("{several} sessions are admitted no longer"),
            };
            format!("{name} is revoked, generation {generation} is in force: {sessions}")
        }
        RevokeAnswer::InFile { name, file, line } => format!(
            "{name} stands in a file that is yours to edit, and nothing was changed:\n  \
             {file}:{line}\n\
             hint: take the origin \"{name}\" out there, or write `active: false` into it; then `doorward reload`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_counted() {
        let mut answer = RevokeAnswer::Revoked {
            name: "tmp-anna-7f3a".to_owned(),
            generation: 9,
            sessions: 1,
        };
        assert_eq!(
            sentence(&answer),
            "tmp-anna-7f3a is revoked, generation 9 is in force: 1 session is admitted no longer"
        );
        if let RevokeAnswer::Revoked { sessions, .. } = &mut answer {
            *sessions = 0;
        }
        assert!(sentence(&answer).ends_with(": no session depended on it"));
    }

    #[test]
    fn an_origin_of_the_file_is_named_by_its_line() {
        let answer = RevokeAnswer::InFile {
            name: "shop".to_owned(),
            file: "/etc/doorward/allowlist.yaml".to_owned(),
            line: 12,
        };
        assert_eq!(
            sentence(&answer),
            "shop stands in a file that is yours to edit, and nothing was changed:\n  \
             /etc/doorward/allowlist.yaml:12\n\
             hint: take the origin \"shop\" out there, or write `active: false` into it; then `doorward reload`"
        );
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(
            json,
            r#"{"outcome":"in_file","name":"shop","file":"/etc/doorward/allowlist.yaml","line":12}"#
        );
    }
}
