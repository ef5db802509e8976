//! Passwords that the gateway checks in the server's place, with real clients and servers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{
    Authority, Gateway, Login, Postgres, authority::write_private, gateway::Plan, gateway::SHOP,
    postgres::Release, psql, python, run, wait_until,
};

const WHO: &str = "select session_user || '@' || current_database()";

/// What a superuser's `pg_dumpall` writes of this server's roles.
fn roles(server: &Postgres) -> String {
    if server.release != Release::Debian {
        // its own program needs its own tree; the statements are the same
        let sql = "select format('ALTER ROLE %I PASSWORD %L;', rolname, rolpassword) from pg_authid where rolpassword is not null";
        return server.sql(sql);
    }
    let mut dump = Command::new("pg_dumpall");
    let dump = dump
        .args(["--roles-only", "-U", "postgres", "-h"])
        .arg(server.socket_folder())
        .args(["-p", &server.port.to_string()]);
    run(dump).worked().to_owned()
}

/// A gateway with a certificate of its own, and these keys of its listener.
fn plan(server: &Postgres, keys: &str) -> Plan {
    let mut plan = Plan::new(&server.address());
    let keys = format!("{keys}, upstream:");
    plan.head = plan.head.replacen("upstream:", &keys, 1);
    plan
}

/// One that checks proofs by a fresh dump; `more` are further keys.
fn terminating(server: &Postgres, more: &str, rest: &str) -> (Gateway, PathBuf) {
    let mut plan = Plan::new(&server.address());
    let file = plan.folder.path().join("roles.sql");
    write_private(&file, &roles(server));
    let keys = format!(
        "scram: terminate, verifiers: {}{more}, upstream:",
        file.display()
    );
    plan.head = plan.head.replacen("upstream:", &keys, 1);
    (plan.start(rest), file)
}

fn tls() -> String {
    let ca = Authority::shared().root();
    format!(
        ", upstream_tls: {{mode: verify-full, ca: {}, name: localhost}}",
        ca.display()
    )
}

fn rewritten(file: &Path, server: &Postgres) {
    fs::remove_file(file).unwrap();
    write_private(file, &roles(server));
}

#[test]
fn a_client_that_requires_channel_binding_gets_it_whatever_certificate_the_server_has() {
    for server in Postgres::all() {
        for more in [String::new(), tls()] {
            let (gateway, _file) = terminating(server, &more, SHOP);
            for binding in ["require", "prefer", "disable"] {
                let login = gateway.shop().with("PGCHANNELBINDING", binding);
                assert_eq!(psql(&login, WHO).worked(), "app@shop", "{binding} {more}");
            }
            let login = gateway.shop().with("PGCHANNELBINDING", "require");
            let script = format!(
                "import psycopg\nwith psycopg.connect('') as c: print(c.execute({WHO:?}).fetchone()[0])"
            );
            assert_eq!(python(&login, &script).worked(), "app@shop");
        }
    }
}

/// CVE-2015-6817 among others: the unknown are told no more than the mistaken.
#[test]
fn a_wrong_password_and_an_unknown_user_read_the_same() {
    let server = Postgres::shared();
    let policy =
        "origins:\n  - {name: all, from: [127.0.0.1], users: [app, ghost], databases: [shop]}\n";
    let (gateway, _file) = terminating(server, "", policy);
    let told = |user: &str| {
        let login = Login::new(gateway.port, user, "shop").password("guess");
        let ended = psql(&login, WHO);
        let text = ended.failed().to_owned();
        assert!(text.contains("the password was not proved"), "{text}");
        text.split("ref ").next().unwrap().to_owned()
    };
    assert_eq!(told("app"), told("ghost"));
    let line = gateway.logged(&[("event", "refused"), ("user", "ghost")]);
    assert_eq!(line["reason"], "upstream_refused");
    let login = Login::new(gateway.port, "app", "shop").password("guess");
    let script = "import psycopg2\ntry: psycopg2.connect('')\nexcept psycopg2.OperationalError as e: print(str(e))\n";
    assert!(python(&login, script).worked().contains("not proved"));
}

#[test]
fn a_password_that_has_changed_needs_the_file_anew_and_no_restart() {
    let server = Postgres::shared();
    server.sql("create role changing login password 'old'");
    let policy =
        "origins:\n  - {name: all, from: [127.0.0.1], users: [changing], databases: [shop]}\n";
    let (gateway, file) = terminating(server, "", policy);
    let login = |password: &str| Login::new(gateway.port, "changing", "shop").password(password);
    psql(&login("old"), WHO).worked();
    server.sql("alter role changing password 'new'");
    psql(&login("old"), WHO).failed();
    let line = gateway.logged(&[("event", "refused"), ("user", "changing")]);
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("pg_dumpall --roles-only"), "{cause}");
    psql(&login("new"), WHO).failed();
    rewritten(&file, server);
    wait_until("the new file is taken in", || {
        psql(&login("new"), WHO).status.success().then_some(())
    });
    psql(&login("old"), WHO).failed();
    // a file that is no good leaves the last good one where it is
    fs::write(&file, "nothing").unwrap();
    gateway.logged(&[("event", "file_refused")]);
    psql(&login("new"), WHO).worked();
}

/// CVE-2025-2291: a gateway that checks a password by itself forgets that it has expired.
#[test]
fn a_password_that_has_expired_lets_nobody_in() {
    let server = Postgres::shared();
    server.sql("create role lapsed login password 'secret' valid until '2020-01-01'");
    let policy =
        "origins:\n  - {name: all, from: [127.0.0.1], users: [lapsed], databases: [shop]}\n";
    let (gateway, _file) = terminating(server, "", policy);
    psql(&Login::new(gateway.port, "lapsed", "shop"), WHO).failed();
}

#[test]
fn a_gateway_that_would_shut_clients_out_by_their_binding_does_not_start() {
    let server = Postgres::shared();
    let keys = tls();
    let keys = keys.trim_start_matches(", ");
    let mut gateway = plan(server, keys).launch(SHOP);
    assert_eq!(gateway.ended(), 78);
    let said = gateway.said().join("\n");
    for fix in [
        "certificate and key",
        "verifiers",
        "unix socket",
        "channel_binding=disable",
    ] {
        assert!(said.contains(fix), "{fix}: {said}");
    }
    let relaying = plan(server, &format!("{keys}, scram: relay")).start(SHOP);
    let told = psql(&relaying.shop(), WHO);
    let told = told.failed();
    assert!(
        told.contains("channel binding") && told.contains("HINT:"),
        "{told}"
    );
    let login = relaying.shop().with("PGCHANNELBINDING", "disable");
    psql(&login, WHO).worked();
    let (terminating, _file) = terminating(server, &format!(", {keys}"), SHOP);
    terminating.logged(&[("event", "scram"), ("plan", "terminate")]);
}

#[test]
fn a_server_that_does_not_answer_at_the_start_is_no_reason_not_to_start() {
    let nowhere = Plan::new("127.0.0.1:1");
    let keys = tls();
    let mut plan = nowhere;
    plan.head = plan.head.replacen(
        "upstream:",
        &format!("{}, upstream:", keys.trim_start_matches(", ")),
        1,
    );
    let gateway = plan.start(SHOP);
    gateway.logged(&[("event", "scram_unknown")]);
}
