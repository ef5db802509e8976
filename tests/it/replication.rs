//! Replication is a right of its own, by PostgreSQL's own programs: who has it copies and follows, who has not hears nothing.

use std::{fs, path::Path, process::Command};

use crate::harness::{
    Gateway, Login, Postgres, clients::Environ, process::Running, process::signal, psql, python,
    run, wait_until,
};

const BOTH: &str = "\
origins:
  - {name: replica, from: [127.0.0.1], users: [replicator], replication: physical}
  - {name: changes, from: [127.0.0.1], users: [replicator], databases: [shop], replication: logical}
";
const NONE: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [replicator], databases: [shop]}
";

/// One of PostgreSQL's programs, told by its environment where to go.
fn program(name: &str, login: &Login, arguments: &[&str]) -> Running {
    let mut command = Command::new(name);
    login.environ(command.args(arguments));
    // these name their database themselves, or have none
    Running::start(command.env_remove("PGDATABASE"))
}

fn replicator(gateway: &Gateway) -> Login {
    Login::new(gateway.port, "replicator", "shop")
}

/// As a superuser, in the database `shop`.
fn sql(server: &Postgres, text: &str) {
    let login = Login::new(server.port, "postgres", "shop").password("super");
    psql(&login.sslmode("prefer"), text).worked();
}

/// Whether the server sends changes to a program that calls itself so.
fn follows(server: &Postgres, name: &str) -> bool {
    let asked = format!(
        "select count(*) from pg_stat_replication where application_name = '{name}' and state = 'streaming'"
    );
    server.sql(&asked) != "0"
}

#[test]
fn a_whole_server_is_copied_and_verified() {
    let server = Postgres::shared();
    let gateway = Gateway::start(&server.address(), BOTH);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let to = copy.to_str().unwrap();
    let arguments = [
        "--checkpoint=fast",
        "--wal-method=stream",
        "--no-sync",
        "-D",
        to,
    ];
    program("pg_basebackup", &replicator(&gateway), &arguments)
        .end()
        .worked();
    let mut verify = Command::new("/usr/lib/postgresql/15/bin/pg_verifybackup");
    run(verify.arg(&copy)).worked();
    let [one, other] = ["pg_basebackup", "pg_basebackup"].map(|name| {
        gateway.logged(&[
            ("event", "closed"),
            ("origin", "replica"),
            ("application", name),
        ])
    });
    assert_eq!(one["fields"]["user"], other["fields"]["user"]);
}

/// A file of at least one whole page, whose name ends so.
fn has_file(folder: &Path, end: &str) -> bool {
    let mut files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.any(|file| {
        let name = file.file_name().into_string().unwrap();
        name.ends_with(end) && file.metadata().unwrap().len() >= 8192
    })
}

#[test]
fn a_log_is_received_until_its_right_goes() {
    // of its own: a shared one writes much, and may have removed by now what is asked for again
    let server = &Postgres::start(&["wal_level=logical"]);
    let gateway = Gateway::start(&server.address(), BOTH);
    let login = replicator(&gateway).with("PGAPPNAME", "receiver");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let arguments = [
        "--no-loop",
        "--synchronous",
        "--status-interval=1",
        "-D",
        to,
    ];
    let receiving = program("pg_receivewal", &login, &arguments);
    wait_until("it follows", || follows(server, "receiver").then_some(()));
    sql(
        server,
        "create table if not exists kept (it int); insert into kept select generate_series(1, 1000)",
    );
    wait_until("the log has come", || {
        has_file(folder.path(), ".partial").then_some(())
    });
    signal("INT", receiving.id());
    receiving.end().worked();

    let receiving = program("pg_receivewal", &login, &arguments);
    wait_until("it follows again", || {
        follows(server, "receiver").then_some(())
    });
    gateway.reload(&format!("{NONE}sessions: {{drain: 1s}}\n"));
    // there is no quiet moment in a stream: it is told at the end of its time
    let ended = receiving.end();
    let told = ended.failed();
    assert!(
        told.contains("session ended") && told.contains("[replication_not_allowed]"),
        "{told}"
    );
    let line = gateway.logged(&[("event", "closed"), ("end", "revoked")]);
    assert!(line.to_string().contains("replica"), "{line}");
    wait_until("the server is rid of it", || {
        (!follows(server, "receiver")).then_some(())
    });
}

#[test]
fn changes_are_followed_until_the_operator_ends_it() {
    let server = Postgres::start(&["wal_level=logical"]);
    let gateway = Gateway::start(&server.address(), BOTH);
    let login = replicator(&gateway).with("PGAPPNAME", "follower");
    let slot = [
        "-d",
        "shop",
        "--slot",
        "it",
        "--create-slot",
        "-P",
        "test_decoding",
    ];
    program("pg_recvlogical", &login, &slot).end().worked();
    sql(&server, "create table said (it text)");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changes");
    let to = file.to_str().unwrap();
    let follow = [
        "-d",
        "shop",
        "--slot",
        "it",
        "--start",
        "--no-loop",
        "-F",
        "1",
        "-s",
        "1",
        "-f",
        to,
    ];
    let following = program("pg_recvlogical", &login, &follow);
    wait_until("it follows", || follows(&server, "follower").then_some(()));
    sql(
        &server,
        "insert into said select 'line ' || i from generate_series(1, 20000) i",
    );
    wait_until("the last change has come", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.contains("'line 20000'").then_some(())
    });
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| line.contains("INSERT"));
    assert_eq!(lines.count(), 20_000);
    let listed = gateway.command(&["sessions", "--format", "json"]);
    let sessions: serde_json::Value = serde_json::from_str(listed.worked()).unwrap();
    let id = sessions[0]["id"].to_string();
    gateway.command(&["sessions", "--end", &id]).worked();
    let ended = following.end();
    assert!(
        ended.failed().contains("the operator has ended it"),
        "{ended:?}"
    );
}

#[test]
fn who_has_not_the_right_is_told_so_and_the_server_hears_nothing() {
    let server = Postgres::shared();
    let gateway = Gateway::start(&server.address(), NONE);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy").to_str().unwrap().to_owned();
    fs::create_dir(&to).unwrap();
    let login = replicator(&gateway);
    for (name, arguments) in [
        ("pg_basebackup", &["-D", &to][..]),
        ("pg_receivewal", &["--no-loop", "-D", &to]),
        (
            "pg_recvlogical",
            &[
                "-d",
                "shop",
                "--slot",
                "x",
                "--start",
                "--no-loop",
                "-f",
                "-",
            ],
        ),
    ] {
        let ended = program(name, &login, arguments).end();
        let told = ended.failed();
        assert!(told.contains("[replication_not_allowed]"), "{name}: {told}");
    }
    // and the right is no more than that
    gateway.reload(BOTH);
    let told = psql(&login, "select 1");
    assert!(
        told.failed().contains("[replication_not_allowed]"),
        "{told:?}"
    );
    let changes = BOTH.lines().filter(|line| !line.contains("physical"));
    let changes: Vec<&str> = changes.collect();
    gateway.reload(&changes.join("\n"));
    let other = Login::new(gateway.port, "replicator", "hr");
    let logical = ["-d", "hr", "--slot", "x", "--start", "--no-loop", "-f", "-"];
    let told = program("pg_recvlogical", &other, &logical).end();
    assert!(
        told.failed().contains("[database_not_allowed]"),
        "its databases are named: {told:?}"
    );
}

#[test]
fn every_spelling_of_the_servers_boolean_means_the_same_to_both() {
    let server = Postgres::shared();
    let physical = "origins:\n  - {name: replica, from: [127.0.0.1], users: [replicator], replication: physical}\n";
    let right = Gateway::start(&server.address(), physical);
    let none = Gateway::start(&server.address(), NONE);
    let script = "\
import os, psycopg
def ask(port, word, root):
    try: c = psycopg.connect('', port=port, replication=word, sslrootcert=root, sslmode='verify-full' if root else 'prefer')
    except psycopg.OperationalError as e:
        return 'replication' if 'replication_not_allowed' in str(e) else 'invalid' if 'invalid value' in str(e) or 'replication' in str(e) else str(e)
    c.close()
    return 'in'
def reads(word):
    # IDENTIFY_SYSTEM is SQL to nobody but a replication connection
    try: c = psycopg.pq.PGconn.connect(('port=%s user=replicator password=secret dbname=shop host=127.0.0.1 replication=%s' % (os.environ['SERVER'], word)).encode())
    except Exception as e: return str(e)
    if c.status != psycopg.pq.ConnStatus.OK: return 'invalid'
    return c.exec_(b'IDENTIFY_SYSTEM').status == psycopg.pq.ExecStatus.TUPLES_OK
words = 't tr tru true f fa fal fals false y ye yes n no on of off 1 0'.split()
words += [w.upper() for w in words if not w.isdigit()] + ['o', 'truee', 'yess', '2', '01', 'onn', 'offf', 'maybe']
for word in words:
    server = reads(word)
    seen = ask(os.environ['PGPORT'], word, os.environ['PGSSLROOTCERT']), ask(os.environ['NONE'], word, os.environ['PGSSLROOTCERT'])
    expected = {True: ('in', 'replication'), False: ('replication', 'in'), 'invalid': ('invalid', 'invalid')}[server]
    print(word, server, seen, 'as the server' if seen == expected else 'OTHERWISE')";
    let login = Login::new(right.port, "replicator", "shop")
        .with("NONE", &none.port.to_string())
        .with("SERVER", &server.port.to_string());
    let said = python(&login, script);
    let lines: Vec<_> = said.worked().lines().collect();
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert!(!said.stdout.contains("OTHERWISE"), "{}", said.stdout);
    assert_eq!(
        (of(" True "), of(" False "), of(" invalid ")),
        (17, 19, 8),
        "{}",
        said.stdout
    );
}
