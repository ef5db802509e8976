//! The files that an allowlist names: included rules, lists of networks, and all of them kept.

use std::{fs, path::PathBuf};

use super::*;
use crate::config::{List, Lists, Texts, load_again};

/// An allowlist in a folder of its own.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(main: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("allowlist.yaml", main);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn load(&self) -> Result<Loaded, LoadError> {
        load(&self.path("allowlist.yaml"), &Overrides::default())
    }

    /// What is told, with the folder's name taken out.
    fn told(&self) -> String {
        let told = self.load().unwrap_err().to_string();
        told.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn main_with(more: &str) -> String {
    format!("{DOOR}{more}origins:\n  - {{name: web, from: [10.0.0.1]}}\n")
}

#[test]
fn included_rules_stand_beside_those_of_the_file() {
    let folder = Folder::new(&main_with("include: [team.yaml]\n"));
    folder.write(
        "team.yaml",
        "origins:\n  - {name: team, from: [10.0.0.2]}\ndeny:\n  - {name: bad, users: [eve]}\n",
    );
    let loaded = folder.load().unwrap();
    let team = folder.path("team.yaml").display().to_string();
    let rules = loaded.rules;
    let origins: Vec<_> = rules
        .origins
        .iter()
        .map(|origin| (&*origin.name, origin.line, origin.file.as_deref()))
        .collect();
    assert_eq!(origins, [("web", 6, None), ("team", 2, Some(&*team))]);
    assert_eq!(rules.deny[0].file.as_deref(), Some(&*team));
}

#[test]
fn a_problem_of_an_included_file_names_it() {
    let folder = Folder::new(&main_with("include: [a.yaml, b.yaml, none.yaml]\n"));
    folder.write("a.yaml", "origins:\n  - {name: web, from: [10.0.0.300]}\n");
    folder.write(
        "b.yaml",
        "origins:\n  - {name: web, from: [10.0.0.2]}\nadmin: {}\n",
    );
    assert_eq!(
        folder.told(),
        "error: cannot include none.yaml\n --> allowlist.yaml:4:27\n  |\n4 | include: [a.yaml, b.yaml, none.yaml]\n  |                           ^^^^^^^^^ No such file or directory (os error 2)\n\
         error: there are two origins \"web\"\n --> a.yaml:2:12\n  |\n2 |   - {name: web, from: [10.0.0.300]}\n  |            ^^^ the first is on line 6 of allowlist.yaml\n\
         error: `10.0.0.300` is not an address\n --> a.yaml:2:24\n  |\n2 |   - {name: web, from: [10.0.0.300]}\n  |                        ^^^^^^^^^^ octet 300 is larger than 255\n\
         error: there are two origins \"web\"\n --> b.yaml:2:12\n  |\n2 |   - {name: web, from: [10.0.0.2]}\n  |            ^^^ the first is on line 6 of allowlist.yaml\n\
         error: an included file has no key `admin`\n --> b.yaml:3:1\n  |\n3 | admin: {}\n  | ^^^^^\n  = hint: there are origins, deny\n\
         5 errors"
    );
}

#[test]
fn what_cannot_be_included_is_refused() {
    for (include, content, expected) in [
        ("[a.yaml]", "", "a.yaml:1:1"),
        ("[a.yaml]", "# deny: []\n", "the file is empty"),
        ("[a.yaml]", "origins: [\n", "this is not YAML"),
        ("[a.yaml]", "[x]", "an included file is a mapping"),
        ("[a.yaml, a.yaml]", "origins: []", "`a.yaml` is there twice"),
        ("['*.yaml']", "", "a pattern is none"),
        ("[allowlist.yaml]", "", "it is this file"),
        ("[.]", "", "Is a directory"),
        ("a.yaml", "origins: []", "write [a.yaml]"),
    ] {
        let folder = Folder::new(&main_with(&format!("include: {include}\n")));
        folder.write("a.yaml", content);
        let told = folder.told();
        assert!(told.contains(expected), "{include} {content:?}: {told}");
    }
}

#[test]
fn nobody_waits_for_the_other_end_of_an_included_pipe() {
    let folder = Folder::new(&main_with("include: [pipe]\n"));
    let path = folder.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    assert!(
        folder.told().contains("it is no file: a pipe"),
        "{}",
        folder.told()
    );
}

#[test]
fn what_was_read_can_be_read_again_when_the_files_are_gone() {
    let folder = Folder::new(&main_with(
        "include: [team.yaml]\nnetworks:\n  office: {file: LIST, format: plain}\n",
    ));
    let list = folder.path("office.txt");
    let main = fs::read_to_string(folder.path("allowlist.yaml")).unwrap();
    folder.write(
        "allowlist.yaml",
        &main.replace("LIST", &list.display().to_string()),
    );
    folder.write(
        "team.yaml",
        "origins:\n  - {name: team, from: [{network: office}]}\n",
    );
    folder.write("office.txt", "192.0.2.0/25\n192.0.2.128/25\n");
    let first = folder.load().unwrap();
    let texts = first.texts;
    let expected = List {
        path: list.clone(),
        addresses: vec!["192.0.2.0/24".parse().unwrap()],
    };
    assert_eq!(texts.lists["office"], expected);
    assert!(texts.differing().is_empty());
    let named: Vec<_> = texts.named().collect();
    assert_eq!(named, [folder.path("team.yaml"), list]);
    // kept as text and taken up again
    let kept = serde_json::to_string(&texts).unwrap();
    let texts: Texts = serde_json::from_str(&kept).unwrap();
    folder.write("office.txt", "192.0.2.7\n");
    folder.write("team.yaml", "half of a fi");
    assert_eq!(texts.differing(), [folder.path("team.yaml")]);
    let again = |lists| load_again(&texts, lists, &Overrides::default());
    let fresh = again(Lists::Fresh).unwrap();
    assert_eq!(fresh.rules.origins.len(), 2, "with the text that was kept");
    let office = &fresh.rules.networks[0];
    assert_eq!(office.addresses, ["192.0.2.7/32".parse().unwrap()]);
    for name in ["allowlist.yaml", "team.yaml", "office.txt"] {
        fs::remove_file(folder.path(name)).unwrap();
    }
    assert_eq!(texts.differing().len(), 2);
    let whole = again(Lists::Kept).unwrap();
    assert_eq!(whole.rules.networks, first.rules.networks);
    assert_eq!(whole.texts, texts);
    let missed = again(Lists::Fresh).unwrap_err().to_string();
    assert!(
        missed.contains("office.txt") && missed.contains("allowlist.yaml:6"),
        "{missed}"
    );
}
