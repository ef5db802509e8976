//! Every class of error and warning, with all of what it is told.

use super::*;

/// Blocks that stand behind a listener, and what `doorward check` says of each: `### class`, the block, `=>`, the words.
const TOLD: &str = include_str!("told.txt");

#[test]
fn each_class_of_problem_is_told_in_these_words() {
    let mut classes = 0;
    for case in TOLD.split("### ").skip(1) {
        let (class, rest) = case.split_once('\n').unwrap();
        let (block, expected) = rest.split_once("=>\n").unwrap();
        let (door, block) = match block.strip_prefix("version: 1\n") {
            Some(whole) => ("version: 1\n", whole),
            None => (DOOR, block),
        };
        let told = match read(&format!("{door}{block}")) {
            Ok(loaded) => {
                let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
                warnings.join("\n")
            }
            Err(problems) => problems.to_string(),
        };
        assert_eq!(told, expected.trim_end(), "### {class}\n{told}\n");
        classes += 1;
    }
    assert!(classes > 40, "{classes}");
}
