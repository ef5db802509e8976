//! The modules form floors, and nothing looks up: the architecture as a test.

use std::{fs, path::Path};

/// Each top-level module and those it may name. Floor 1's modules do not know each other.
const FLOORS: &[(&str, &[&str])] = &[
    ("policy", &[]),
    ("wire", &[]),
    ("net", &["policy", "wire"]),
    ("config", &["policy", "wire"]),
    ("meter", &["policy", "wire"]),
    ("protocol", &["policy", "wire", "net", "config", "meter"]),
    (
        "session",
        &["policy", "wire", "net", "config", "meter", "protocol"],
    ),
    (
        "server",
        &[
            "policy", "wire", "net", "config", "meter", "protocol", "session",
        ],
    ),
    (
        "cli",
        &[
            "policy", "wire", "net", "config", "meter", "protocol", "session", "server",
        ],
    ),
];

/// Where the code of a file ends and its unit tests begin; those may look anywhere.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

pub(crate) fn source_files(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|suffix| suffix == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The module on a floor that a file belongs to; none for `lib.rs` and `main.rs`.
fn module_of(root: &Path, file: &Path) -> Option<String> {
    let inside = file.strip_prefix(root).unwrap();
    let first = inside.iter().next().unwrap().to_str().unwrap();
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (module != "lib" && module != "main").then(|| module.to_owned())
}

/// The code without comments (a doc link upwards is no dependency), spaces and unit tests.
pub(crate) fn code_of(source: &str) -> String {
    let before_tests = source.split(TESTS).next().unwrap();
    before_tests
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect()
}

/// The top-level modules that code names after `crate::`, grouped imports included.
fn modules_named(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for after in code.split("crate::").skip(1) {
        let Some(group) = after.strip_prefix('{') else {
            named.push(leading_name(after));
            continue;
        };
        let mut depth = 0_usize;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    named.push(leading_name(&item));
                    item.clear();
                    continue;
                }
                _ => {}
            }
            item.push(c);
        }
        named.push(leading_name(&item));
    }
    named.retain(|name| !name.is_empty());
    named
}

fn leading_name(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn modules_look_only_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut upward = Vec::new();
    for file in source_files(&root) {
        let Some(module) = module_of(&root, &file) else {
            continue;
        };
        let Some((_, below)) = FLOORS.iter().find(|(name, _)| *name == module) else {
            panic!("{module} has no floor: add it to the table or move it");
        };
        for named in modules_named(&code_of(&fs::read_to_string(&file).unwrap())) {
            let on_a_floor = FLOORS.iter().any(|(name, _)| *name == named);
            if on_a_floor && named != module && !below.contains(&named.as_str()) {
                upward.push(format!("{} uses {named}", file.display()));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn unit_tests_in_a_file_of_their_own_are_bound_to_the_floors_too() {
    let root = Path::new("/s");
    let module = |file| module_of(root, &root.join(file));
    assert_eq!(module("policy/tests.rs").as_deref(), Some("policy"));
    assert_eq!(module("wire.rs").as_deref(), Some("wire"));
    assert_eq!(module("main.rs"), None);
}

#[test]
fn grouped_imports_are_seen_and_comments_are_not() {
    let source = "//! see [`crate::cli`]\nuse crate::{\n    meter::{Meter, Meters},\n    policy::Permit,\n};\nuse crate::wire::Opening;\n\
                  #[cfg(test)]\nmod tests {\n    use crate::server::Tasks;\n}\n";
    assert_eq!(modules_named(&code_of(source)), ["meter", "policy", "wire"]);
}

#[test]
fn no_source_file_has_two_subjects_in_it() {
    const LONGEST: usize = 500;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut long = Vec::new();
    for folder in ["src", "tests/it", "benches"] {
        if !manifest.join(folder).is_dir() {
            continue;
        }
        for file in source_files(&manifest.join(folder)) {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            if lines > LONGEST {
                long.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}
