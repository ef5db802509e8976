//! What a PostgreSQL listener may say of logins.

use std::path::PathBuf;

use super::*;
use crate::config::{Listener, Scram};

fn listener(keys: &str) -> Listener {
    let door = DOOR.replace("upstream:", &format!("{keys} upstream:"));
    let loaded = good(&format!(
        "{door}origins:\n  - {{name: a, from: [10.0.0.1]}}\n"
    ));
    (*loaded.settings.listeners[0]).clone()
}

#[test]
fn scram_is_relayed_where_it_can_be_unless_something_else_is_said() {
    let read = |keys: &str| {
        let listener = listener(keys);
        (listener.scram, listener.verifiers)
    };
    let file = Some(PathBuf::from("/roles.sql"));
    assert_eq!(read(""), (Scram::Auto, None));
    assert_eq!(read("scram: relay,"), (Scram::Relay, None));
    assert_eq!(read("verifiers: /roles.sql,"), (Scram::Auto, file.clone()));
    let keys = "scram: terminate, verifiers: /roles.sql,";
    assert_eq!(read(keys), (Scram::Terminate, file));
}

#[test]
fn verifiers_are_an_absolute_path_and_mysql_has_none() {
    let door = |keys: &str| DOOR.replace("upstream:", &format!("{keys}, upstream:"));
    let found = problems(&door("verifiers: roles.sql"));
    assert!(found[0].contains("is not an absolute path"), "{found:?}");
    for key in ["scram: auto", "verifiers: /roles.sql"] {
        let found = problems(&door(key).replace("postgres", "mysql"));
        assert!(found[0].contains("is for postgres only"), "{found:?}");
    }
}
