//! `doorward schema`: the shape of the allowlist, for editors. Floor 5.

use super::{Exit, Output};
use crate::config;

/// Writes it as JSON, whatever format is asked for: there is no other.
pub(super) fn run(output: &mut Output<'_>) -> Exit {
    output.say_json(&config::json_schema());
    Exit::Fine
}

#[cfg(test)]
mod tests {
    use crate::config::json_schema;

    #[test]
    fn the_schema_that_is_shipped_is_the_one_that_is_printed() {
        let printed = format!("{:#}\n", json_schema());
        let shipped = include_str!("../../deploy/allowlist.schema.json");
        assert!(
            shipped == printed,
            "make it anew: doorward schema > deploy/allowlist.schema.json"
        );
    }
}
