//! How problems are shown, and what is only warned of.

use super::*;

#[test]
fn all_problems_are_told_at_once_and_in_the_order_of_the_file() {
    let found = problems(
        "version: 2\nlimits: {dial: 1}\norigins:\n  - {name: a, from: [1, 2]}\nlog: {level: x}\n",
    );
    let places: Vec<_> = found
        .iter()
        .map(|problem| problem.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        places,
        ["1:1", "1:10", "2:16", "4:22", "4:25", "5:14"],
        "{found:#?}"
    );
}

#[test]
fn a_problem_shows_its_line_and_points_at_the_cause() {
    let text = format!("{DOOR}origins:\n  - name: shop\n    from:\n      - 10.0.0.300/24\n");
    let shown = read(&text).unwrap_err().to_string();
    assert_eq!(
        shown,
        "error: `10.0.0.300/24` is not an address range\n --> file.yaml:7:9\n  |\n7 |       - 10.0.0.300/24\n  |         ^^^^^^^^^^^^^ octet 300 is larger than 255\n1 error"
    );
}

#[test]
fn a_file_cannot_move_the_cursor_of_who_reads_its_problems() {
    let shown = read("version: 1\n\"\\e[2Jx\": 1\n# \u{1b}[2J\n")
        .unwrap_err()
        .to_string();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn warnings_and_errors_are_counted_apart() {
    let text = format!("{DOOR}origins:\n  - {{name: a, from: [172.17.0.1, x]}}\n");
    let problems = read(&text).unwrap_err();
    let severities: Vec<_> = problems.as_slice().iter().map(|p| p.severity).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Error]);
    assert!(problems.to_string().ends_with("\n1 error, 1 warning"));
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let two = |a: &str, b: &str| format!("origins:\n  - {{name: a, {a}}}\n  - {{name: b, {b}}}");
    for (block, code) in [
        ("origins: []".to_owned(), "W-NOBODY"),
        (origin("from: [172.17.0.1]"), "W-DOCKER"),
        (origin("from: [172.17.0.0/16]"), "W-DOCKER"),
        (origin("from: [100.64.3.0/24]"), "W-CGNAT"),
        (
            two("from: [10.0.0.1]", "from: [10.0.0.1], active: true"),
            "W-SHADOWED",
        ),
        (
            two(
                "from: [10.0.0.1, 10.0.0.2], users: [x, y]",
                "from: [10.0.0.2], users: [y]",
            ),
            "W-SHADOWED",
        ),
        (
            two(
                "from: [10.0.0.1], users: [x, y]",
                "from: [10.0.0.1], users: [y, z]",
            ),
            "W-OVERLAP",
        ),
        (
            two(
                "from: [10.0.0.1], users: [x], exclusive: true",
                "from: [10.0.0.2], users: [x]",
            ),
            "W-RESERVED",
        ),
        (
            origin("from: [10.0.0.1], users: [x], exclusive: true, expires: 1969-01-01T00:00:00Z"),
            "W-LAPSED",
        ),
        (
            origin("from: [10.0.0.1], users: [x], exclusive: true, active: false"),
            "W-LAPSED",
        ),
        (
            format!(
                "{}\ndeny:\n  - {{name: d, from: [0.0.0.0/0], users: [x]}}",
                origin("from: [10.0.0.1]")
            ),
            "W-ONE-FAMILY",
        ),
        (
            format!(
                "admin: {{http: '0.0.0.0:9432'}}\n{}",
                origin("from: [10.0.0.1]")
            ),
            "W-ADMIN-PUBLIC",
        ),
    ] {
        warned(&block, code);
    }
}

/// Holds a block after the listener against the one warning it must have.
fn warned(block: &str, code: &str) {
    let warnings = good(&format!("{DOOR}{block}\n")).warnings;
    let codes: Vec<_> = warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, [Some(code)], "{block}");
}

#[test]
fn what_has_no_effect_is_a_warning() {
    for (block, code) in [
        (
            format!(
                "observe: {{until: 1969-01-01T00:00:00Z}}\n{}",
                origin("from: [10.0.0.1]")
            ),
            "W-OBSERVED",
        ),
        (
            origin("from: [any], proof: {certificate: {dns: a.example}}"),
            "W-NO-CLIENT-CA",
        ),
        (
            format!(
                "{}\ndeny:\n  - {{name: d, certificates: ['{}']}}",
                origin("from: [10.0.0.1]"),
                "ab".repeat(32)
            ),
            "W-NO-CLIENT-CA",
        ),
        (
            format!(
                "tls: {{client_ca: /ca}}\n{}",
                origin("from: [10.0.0.1], proof: {certificate: {cn: a}}")
            ),
            "W-COMMON-NAME",
        ),
    ] {
        warned(&block, code);
    }
}

#[test]
fn what_may_well_be_meant_is_no_warning() {
    let two = |a: &str, b: &str| format!("origins:\n  - {{name: a, {a}}}\n  - {{name: b, {b}}}");
    for block in [
        // the narrower network wins, whatever the order
        two("from: [10.0.0.0/24]", "from: [10.0.0.1]"),
        // where the first is full, the second takes the session
        two(
            "from: [10.0.0.1], users: [x], limits: {connections: 1}",
            "from: [10.0.0.1], databases: [d]",
        ),
        two(
            "from: [10.0.0.1], users: [x]",
            "from: [10.0.0.1], users: [y]",
        ),
        two("from: [10.0.0.1]", "from: [10.0.0.1], users: [y]"),
        // whoever cannot prove it is the other one's
        two(
            "from: [10.0.0.1], proof: {certificate: {dns: a.example}}",
            "from: [10.0.0.1]",
        ),
        // one public application each
        two(
            "from: [any], proof: {certificate: {dns: a.example}}",
            "from: [any], proof: {certificate: {dns: b.example}}",
        ),
        two(
            "from: [10.0.0.1], tls: {min: '1.3'}, users: [x]",
            "from: [10.0.0.1], users: [y]",
        ),
        origin("from: [10.0.0.0/8, 172.16.0.0/12, 172.17.0.2]").replace(", 172.16.0.0/12", ""),
    ] {
        let warnings = good(&format!("{DOOR}tls: {{client_ca: /ca}}\n{block}\n")).warnings;
        assert!(warnings.is_empty(), "{block}\n{warnings:?}");
    }
}

#[test]
fn a_file_that_was_good_on_friday_is_good_on_sunday() {
    let text = format!(
        "{DOOR}{}",
        origin("from: [10.0.0.1], users: [x], exclusive: true, expires: 2026-01-01T00:00:00Z")
    );
    for year in [0, 60, 1000] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(year * 365 * 86_400);
        parse(
            "f",
            &text,
            &Environment::default(),
            &Overrides::default(),
            now,
        )
        .unwrap();
    }
}
