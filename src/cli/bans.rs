//! `doorward bans`: strangers that are not heard now, and hearing them again. Floor 5.

use super::{BansCommand, Exit, Global, Output, daemon, table::Table};
use crate::server::{
    control::{Listing, Request},
    people::BanAnswer,
};

pub(super) fn run(command: &BansCommand, global: &Global, output: &mut Output<'_>) -> Exit {
    match command {
        BansCommand::List => {
            match daemon::ask_for::<Listing<BanAnswer>>(global, &Request::Bans, output) {
                Ok(bans) => {
                    output.answer(&bans.items, || render(&bans.items));
                    Exit::Fine
                }
                Err(exit) => exit,
            }
        }
        BansCommand::Remove { source } => {
            let request = Request::LiftBan {
                source: source.clone(),
            };
            match daemon::ask_for::<()>(global, &request, output) {
                Ok(()) => {
                    let answer = serde_json::json!({"heard_again": source});
                    output.answer(&answer, || format!("{source} is heard again"));
                    Exit::Fine
                }
                Err(exit) => exit,
            }
        }
    }
}

fn render(bans: &[BanAnswer]) -> String {
    if bans.is_empty() {
        return "nobody is banned".to_owned();
    }
    let mut table = Table::new(&["SOURCE", "FAILURES", "UNTIL"]);
    for ban in bans {
        table.row([
            ban.source.clone(),
            ban.failures.to_string(),
            ban.until.clone(),
        ]);
    }
    table.to_string().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_a_line() {
        let ban = BanAnswer {
            source: "192.0.2.1".to_owned(),
            failures: 10,
            until: "2026-11-22T12:15:00Z".to_owned(),
        };
        assert_eq!(
            render(&[ban]),
            "SOURCE     FAILURES  UNTIL\n192.0.2.1  10        2026-11-22T12:15:00Z"
        );
        assert_eq!(render(&[]), "nobody is banned");
    }
}
