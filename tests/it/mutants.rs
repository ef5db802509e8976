//! The faults that `tests/mutants/run` puts into our source, held against the source of today: a table that has gone stale tries
//! nothing.

use std::fs;

use crate::harness::project;

#[test]
fn every_fault_has_its_place_and_its_test() {
    let mut faults = 0;
    for table in fs::read_dir(project("tests/mutants")).unwrap() {
        let path = table.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "txt") {
            continue;
        }
        let table = fs::read_to_string(path).unwrap();
        let (mut file, mut source) = (String::new(), String::new());
        for line in table.lines() {
            match line.split_once(' ') {
                Some(("file", path)) => {
                    path.clone_into(&mut file);
                    source = fs::read_to_string(project(path)).unwrap();
                }
                Some(("-", sound)) => {
                    let places = source.matches(sound).count();
                    assert_eq!(places, 1, "{file}: `{sound}`");
                    faults += 1;
                }
                Some(("test", test)) => {
                    let (module, name) = test.rsplit_once("::").unwrap();
                    assert!(name == "tests" || has_test(module, name), "{test}");
                }
                _ => {}
            }
        }
    }
    assert!(faults >= 20, "{faults}");
}

/// Whether a module has a test function of this name, inside its file or beside it.
fn has_test(module: &str, name: &str) -> bool {
    let module = module.trim_end_matches("::tests").replace("::", "/");
    let places = [".rs", "_tests.rs", "/tests.rs", "/mod.rs"];
    places.iter().any(|place| {
        let text = fs::read_to_string(project(&format!("src/{module}{place}")));
        text.is_ok_and(|text| text.contains(&format!("fn {name}(")))
    })
}
