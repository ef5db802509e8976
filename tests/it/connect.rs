//! The lines of `doorward connect` are pasted as they stand, and work.

use std::process::Command;

use crate::harness::{
    Authority, Gateway, Kind, Mysql, Postgres,
    gateway::{Plan, SHOP},
    run,
};

/// What it prints for a client of the gateway, with the tests' own CA.
fn lines(gateway: &Gateway, client: &str, host: &str) -> String {
    let file = gateway.folder.path().join("allowlist.yaml");
    let (file, ca) = (file.display().to_string(), Authority::shared().root());
    let ca = ca.display().to_string();
    let words = [
        "connect", "--for", client, "--host", host, "--ca", &ca, "--config", &file,
    ];
    gateway.command(&words).worked().to_owned()
}

/// Runs a line in a shell, with more words behind it.
fn paste(line: &str, more: &str) -> String {
    let mut shell = Command::new("sh");
    let shell = shell.arg("-c").arg(format!("{line} {more}"));
    run(shell.env("PGPASSWORD", "secret")).worked().to_owned()
}

#[test]
fn psql_comes_in_by_the_line_that_is_printed() {
    let gateway = Plan::new(&Postgres::shared().address()).start(SHOP);
    let line = lines(&gateway, "psql", "localhost");
    let sql = "-X -A -t -c 'SELECT session_user, current_database()'";
    assert_eq!(paste(&line, sql), "app|shop", "{line}");
    let url = lines(&gateway, "express", "localhost");
    // libpq reads the same URL; only the password is still to be filled in
    let url = url
        .replace("DATABASE_URL=", "psql ")
        .replace("PASSWORD", "secret");
    assert_eq!(paste(&url, sql), "app|shop", "{url}");
}

#[test]
fn mariadb_comes_in_by_the_line_that_is_printed() {
    let server = Mysql::shared(Kind::Debian);
    let gateway = Plan::mysql(&server.address(), "").start(SHOP);
    let line = lines(&gateway, "mariadb", "127.0.0.1");
    let line = line.replace("--password", "--password=secret");
    let said = paste(&line, "-N -B -e 'SELECT database()'");
    assert_eq!(said, "shop", "{line}");
}
