//! What is read from files of verifiers, and what is refused.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

const FILE: &str = "/etc/doorward/roles.sql";

fn parsed(text: &str) -> Verifiers {
    Verifiers::parse(Path::new(FILE), text).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    let error = Verifiers::parse(Path::new(FILE), text).unwrap_err();
    let error = error.to_string();
    error.strip_prefix(FILE).unwrap().to_owned()
}

/// A verifier's text that can be told from others by its salt.
fn kept(iterations: u32, salt: u8) -> String {
    let [salt, stored, server] =
        [&[salt; 16][..], &[1; 32], &[2; 32]].map(|bytes| BASE64_STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{server}")
}

/// As `pg_dumpall` of PostgreSQL 15 writes it.
fn dump() -> String {
    format!(
        r#"--
-- PostgreSQL database cluster dump
--

\restrict ybOJGDQvc6530PumB4Ylq3hKhaaKZd6IFETtF3LvqJzKcRrGEhM6W6HseZwVmcq

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE "We""ird Näme";
ALTER ROLE "We""ird Näme" WITH NOSUPERUSER INHERIT LOGIN NOBYPASSRLS PASSWORD '{}' VALID UNTIL '2030-01-01 00:00:00+00';
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD '{}';
COMMENT ON ROLE app IS E'it''s; a \\ back -- slash
PASSWORD ''x'';';
CREATE ROLE md5er;
ALTER ROLE md5er WITH LOGIN PASSWORD 'md53a4e9af7b430de1341e281919eadb3c2';
CREATE ROLE nopw;
ALTER ROLE nopw WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE taken;
ALTER ROLE taken WITH LOGIN PASSWORD NULL;

ALTER ROLE app SET search_path TO 'a', 'b';
ALTER ROLE app SET application_name TO 'password ''x''';
ALTER ROLE app IN DATABASE shop SET work_mem TO '4MB';

GRANT app TO nopw WITH ADMIN OPTION GRANTED BY postgres;

\unrestrict ybOJGDQvc6530PumB4Ylq3hKhaaKZd6IFETtF3LvqJzKcRrGEhM6W6HseZwVmcq

--
-- PostgreSQL database cluster dump complete
--
"#,
        kept(4096, 1),
        kept(4096, 2)
    )
}

#[test]
fn what_pg_dumpall_writes_is_read() {
    let verifiers = parsed(&dump());
    assert_eq!(verifiers.count(), 2);
    let salt = |role: &str| verifiers.find(role).map(|verifier| verifier.salt.clone());
    assert_eq!(salt("We\"ird Näme"), Some(vec![1; 16]));
    assert_eq!(salt("app"), Some(vec![2; 16]));
    for absent in [
        "md5er",
        "nopw",
        "taken",
        "postgres",
        "APP",
        "we\"ird näme",
        "",
    ] {
        assert_eq!(salt(absent), None, "{absent}");
    }
    assert_eq!(
        verifiers.warnings(),
        [format!(
            "{FILE}:23: of role \"md5er\" there is an md5 hash, which no SCRAM login can be checked with"
        )]
    );
}

#[test]
fn a_statement_by_hand_is_read_as_the_server_would() {
    let text = format!(
        "create user App encrypted password '{}'; ALTER USER \"App\" PASSWORD E'{}';",
        kept(4096, 1),
        kept(4096, 2)
    );
    let verifiers = parsed(&text);
    assert_eq!(verifiers.find("app").unwrap().salt, [1; 16]);
    assert_eq!(verifiers.find("App").unwrap().salt, [2; 16]);
}

#[test]
fn a_userlist_of_pgbouncer_is_read() {
    let text = format!(
        "; made by hand\n\n\"app\" \"{}\" and more\r\n  \"We\"\"ird\"\t\"{}\"\n\"old\" \"md5d6a35858d61d85e4a82ab1fb044aba9d\"\n\"clear\" \"sesame\"",
        kept(4096, 1),
        kept(4096, 2)
    );
    let verifiers = parsed(&text);
    assert_eq!(verifiers.find("app").unwrap().salt, [1; 16]);
    assert_eq!(verifiers.find("We\"ird").unwrap().salt, [2; 16]);
    let warnings = verifiers.warnings();
    assert!(warnings[0].contains(":5: of role \"old\" there is an md5 hash"));
    assert!(warnings[1].contains(":6: of role \"clear\" there is a password in clear"));
    assert!(!warnings.concat().contains("sesame"));
}

#[test]
fn each_fault_is_named_with_its_line_and_shows_no_secret() {
    for (text, said) in faults() {
        let told = refused(&text);
        assert_eq!(told, said, "{text}");
        assert!(!told.contains("sesame"));
    }
}

/// Texts with one fault each, and what is said of it.
fn faults() -> Vec<(String, &'static str)> {
    let good = kept(4096, 1);
    let role = |text: &str| format!("-- roles\nALTER ROLE app PASSWORD '{text}';\n");
    vec![
        (
            role("SCRAM-SHA-256$sesame"),
            ":2: of role \"app\" there is a SCRAM verifier that is cut off or garbled",
        ),
        (
            role(&kept(100_001, 1)),
            ":2: of role \"app\" there is a SCRAM verifier of no or more than 100000 iterations",
        ),
        (
            role(&good) + "\nALTER ROLE APP PASSWORD '" + &good + "';",
            ":4: role \"app\" stands in line 2 already",
        ),
        (
            format!("ALTER ROLE app PASSWORD '{good}"),
            ":1: a quote that is never closed",
        ),
        (
            format!("ALTER ROLE app PASSWORD '{good}'"),
            ":1: the statement has no end: the file is cut off",
        ),
        (
            role(&good) + "ALTER ROLE app PASSWORD 'a' PASSWORD 'b';",
            ":3: two passwords in one statement",
        ),
        (
            role(&good) + "ALTER ROLE app PASSWORD sesame;",
            ":3: a password that is no text",
        ),
        (role(&good) + "ALTER ROLE;", ":3: a role without a name"),
        (
            role(&good) + "DO $$ sesame $$;",
            ":3: a sign that pg_dumpall --roles-only does not write",
        ),
        (
            role(&good) + "/* sesame */",
            ":3: a comment that pg_dumpall --roles-only does not write",
        ),
        (
            role(&good) + "ALTER ROLE U&\"a\" PASSWORD 'b';",
            ":3: a text that pg_dumpall --roles-only does not write",
        ),
        (
            role(&good) + "ALTER ROLE b PASSWORD E'\\x41';",
            ":3: an escape that pg_dumpall --roles-only does not write",
        ),
        (
            role(&good) + "SET client_encoding = 'LATIN1';",
            ":3: it is not UTF-8: pg_dumpall --encoding=UTF8 --roles-only",
        ),
        (
            role(&good) + "ALTER ROLE \"\" PASSWORD 'b';",
            ":3: the name of the role is none that can log in here",
        ),
        (
            format!("\"{}\" \"{good}\"", "a".repeat(64)),
            ":1: the name of the role is none that can log in here",
        ),
        (
            format!("\"app\" \"{good}\"\n\"sesame\""),
            ":2: it is not \"role\" \"verifier\"",
        ),
        (
            format!("\"app\" \"{good}"),
            ":1: it is not \"role\" \"verifier\"",
        ),
    ]
}

#[test]
fn a_file_without_a_verifier_is_refused() {
    for text in [
        "",
        "\n\n",
        "-- nothing\n",
        "CREATE ROLE app;\nALTER ROLE app WITH LOGIN;",
    ] {
        assert!(
            refused(text).contains("there is no password in it"),
            "{text}"
        );
    }
    let md5 = "\"a\" \"md5d6a35858d61d85e4a82ab1fb044aba9d\"";
    assert!(refused(md5).contains("password_encryption = 'scram-sha-256'"));
}

#[test]
fn unknown_users_are_to_look_like_most() {
    let text: String = [(4096, 1), (10_000, 2), (10_000, 3)]
        .map(|(iterations, salt)| format!("\"{salt}\" \"{}\"\n", kept(iterations, salt)))
        .concat();
    let usual = parsed(&text).usual();
    assert_eq!((usual.iterations, usual.salt), (10_000, 16));
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roles.sql");
    fs::write(&path, dump()).unwrap();
    for mode in [0o644, 0o604, 0o602, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = Verifiers::read(&path).unwrap_err();
        assert!(error.is_permission(), "{error}");
        assert!(error.to_string().contains("chmod o="), "{error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(Verifiers::read(&path).unwrap().count(), 2);
}

#[test]
fn what_is_no_file_or_no_text_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roles.sql");
    let told = |path: &Path| Verifiers::read(path).unwrap_err().to_string();
    assert!(told(&path).ends_with("roles.sql: there is no such file"));
    assert!(told(Path::new("/dev/null")).contains("/dev/null"));
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    fs::set_permissions(&pipe, Permissions::from_mode(0o600)).unwrap();
    assert!(told(&pipe).ends_with("it is no file"));
    fs::write(&path, b"ALTER ROLE \xe4;").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(told(&path).contains("--encoding=UTF8"));
}

#[test]
fn verifiers_are_not_debug() {
    assert_eq!(format!("{:?}", parsed(&dump())), "Verifiers(2 roles)");
}
