//! Files that are none, too large, or made to hurt.

use super::*;

#[test]
fn a_file_that_is_none_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "1:1 the file is empty"),
        ("# nothing\n", "the file is empty"),
        (
            "just words",
            "1:1 an allowlist is a mapping / this is a single value",
        ),
        ("a: [1\nb: 2", "2:2 this is not YAML"),
        (
            "version: 1\n---\nversion: 1\n",
            "3:1 there is more than one document",
        ),
        ("version: !ruby x", "this is not YAML / unsupported tag"),
        ("a: &a [*a]", "1:8 this is not YAML"),
        ("a: *b", "this is not YAML"),
    ] {
        let found = problems(text);
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{text:?}: {found:?}"
        );
    }
}

#[test]
fn files_on_disk_are_bounded_and_must_be_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("allowlist.yaml");
    let told = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        load(&path, &Overrides::default()).unwrap_err().to_string()
    };
    assert!(told(&vec![b'#'; 50 << 20]).contains("the file is larger than 1048576 bytes"));
    let latin1 = told(b"version: 1\n# caf\xe9\n");
    assert!(
        latin1.contains(":2:6\n") && latin1.contains("the file is not UTF-8"),
        "{latin1}"
    );
    let told = |path: &str| {
        load(Path::new(path), &Overrides::default())
            .unwrap_err()
            .to_string()
    };
    let place = folder.path().display().to_string();
    assert_eq!(
        told(&place),
        format!("cannot read {place}: Is a directory (os error 21)")
    );
    // says that it is empty, and is not
    let changing = "/proc/self/status";
    assert_eq!(
        told(changing),
        format!("cannot read {changing}: it changed while it was read")
    );
    let missing = load(&folder.path().join("none"), &Overrides::default()).unwrap_err();
    assert!(matches!(missing, LoadError::Unreadable { .. }), "{missing}");
}

#[test]
fn a_small_file_cannot_become_a_large_one() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let items = vec![format!("*a{}", n - 1); 9].join(", ");
        writeln!(bomb, "a{n}: &a{n} [{items}]").unwrap();
    }
    assert!(
        problems(&bomb)[0].contains("the file is too deep or too large"),
        "{:?}",
        problems(&bomb)
    );
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(read(&deep).is_err());
    let wide = format!("{DOOR}{}", "x: 1\n".repeat(100_000));
    let found = problems(&wide);
    assert!(found.len() < 150, "{}", found.len());
    assert!(
        found.last().unwrap().contains("more problems"),
        "{:?}",
        found.last()
    );
}

#[test]
fn a_large_honest_file_is_read() {
    let mut text = format!("{DOOR}origins:\n");
    for n in 0..8000 {
        let (a, b) = (n / 250, n % 250);
        writeln!(
            text,
            "  - {{name: o{n}, from: [10.1.{a}.{b}], users: [u{n}], databases: [d]}}"
        )
        .unwrap();
    }
    assert_eq!(good(&text).rules.origins.len(), 8000);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z0-9:\\-\\[\\]{}, \n\"'#&*!|>%@\t.é/]{0,200}") {
        let _read = read(&text);
        let _inside = read(&format!("{DOOR}origins:\n  - {text}"));
    }

    #[test]
    fn every_network_that_is_written_well_is_read_as_it_is(bits: u32, prefix in 8_u8..=32) {
        let network = ipnet::Ipv4Net::new(bits.into(), prefix).unwrap().trunc();
        prop_assume!(!network.addr().is_unspecified());
        let loaded = good(&format!("{DOOR}{}", origin(&format!("from: [{network}]"))));
        prop_assert_eq!(&loaded.rules.origins[0].from, &[From::Network(network.into())]);
    }

    #[test]
    fn host_bits_are_never_let_through(bits: u32, prefix in 8_u8..=31) {
        let written = ipnet::Ipv4Net::new(bits.into(), prefix).unwrap();
        prop_assume!(written.addr() != written.network());
        let text = format!("{DOOR}{}", origin(&format!("from: [{written}]")));
        prop_assert!(read(&text).is_err());
    }
}
