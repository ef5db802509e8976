//! What the program is built from: nothing below a pin, nothing twice-made for the same job, one source.

use std::fs;

use crate::harness::project;

/// The least version of crates with a known fault below it.
const AT_LEAST: &[(&str, [u64; 3])] = &[("postgres-protocol", [0, 6, 12]), ("bytes", [1, 11, 1])];
/// TLS is rustls on aws-lc-rs.
const NEVER: &[&str] = &["openssl-sys", "native-tls"];

/// Name, version and source of every crate in the lock file.
fn locked() -> Vec<(String, [u64; 3], Option<String>)> {
    let lock = fs::read_to_string(project("Cargo.lock")).unwrap();
    let packages = lock.split("[[package]]").skip(1);
    packages
        .map(|package| {
            let value = |key: &str| {
                let line = package
                    .lines()
                    .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
                line.map(|value| value.trim_matches('"').to_owned())
            };
            let version = value("version").unwrap();
            let numbers = version.split(['-', '+']).next().unwrap().split('.');
            let numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
            (
                value("name").unwrap(),
                numbers.try_into().unwrap(),
                value("source"),
            )
        })
        .collect()
}

#[test]
fn pinned_crates_are_not_older_than_their_pin() {
    let locked = locked();
    for (name, least) in AT_LEAST {
        let versions: Vec<_> = locked.iter().filter(|(found, ..)| found == name).collect();
        assert!(!versions.is_empty(), "{name} is gone: drop its pin");
        assert!(
            versions.iter().all(|(_, version, _)| version >= least),
            "{versions:?}"
        );
    }
}

#[test]
fn there_is_one_implementation_of_tls_and_one_source_of_crates() {
    let locked = locked();
    assert!(locked.len() > 50, "is this test still reading the file?");
    for (name, _, source) in &locked {
        assert!(!NEVER.contains(&name.as_str()), "{name}");
        let source = source.as_deref().unwrap_or_default();
        assert!(
            source.is_empty() || source.starts_with("registry+"),
            "{name} from {source}"
        );
    }
}
