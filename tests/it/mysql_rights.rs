//! What a session may do beside its queries, with the programs that do it: compress, read the binary log, lend a file, stop a
//! statement. Each works where it is allowed, and says why where it is not.

use std::{fs, process::Command};

use crate::harness::{
    Account, Gateway, Kind, Mysql,
    gateway::{Plan, SHOP},
    mariadb, mysql,
    mysql_clients::{Tls, in_tree, mariadb_started, mysql_started, newest_mariadb},
    process::{Running, signal},
    wait_until,
};

const OPEN: &str = "\
require: {tls: false}
origins:
  - {name: all, from: [127.0.0.1], replication: true}
";

#[test]
fn a_session_is_compressed_only_where_it_is_passed_on_unread() {
    let state = "show session status like 'Compression'";
    for server in Mysql::all() {
        for (setting, compressed) in [("masked", "OFF"), ("passthrough", "ON")] {
            let keys = format!(", compression: {setting}");
            let gateway = Plan::mysql(&server.address(), &keys).start(OPEN);
            for tls in [Tls::Verified, Tls::Off] {
                let account = gateway.account().tls(tls);
                let zlib = account.clone().with(&["--compress"]);
                let by = |name: &str| {
                    let option = format!("--compression-algorithms={name}");
                    mysql(&account.clone().with(&[&option]), state)
                };
                let mut said = vec![mariadb(&zlib, state), newest_mariadb(&zlib, state)];
                said.push(by("zlib,uncompressed"));
                if server.kind == Kind::Oracle {
                    said.push(by("zstd,uncompressed"));
                }
                let expected = format!("Compression\t{compressed}");
                for said in said {
                    assert_eq!(said.worked(), expected, "{:?} {setting}", server.kind);
                }
                let large = mariadb(
                    &zlib,
                    "select sha2(repeat('x', 20000000), 256) = sha2(repeat('x', 20000000), 256), length(repeat(uuid(), 500000))",
                );
                assert_eq!(large.worked(), "1\t18000000", "{:?}", server.kind);
            }
        }
    }
}

#[test]
fn a_client_whose_server_cannot_compress_as_it_insists_is_told_by_itself() {
    let server = Mysql::shared(Kind::Debian);
    let gateway = Gateway::mysql(&server.address(), OPEN);
    let account = gateway.account().with(&["--compression-algorithms=zlib"]);
    let said = mysql(&account, "select 1");
    assert!(said.failed().contains("2066"), "{said:?}");
}

/// The program that reads a binary log from afar, as `user`.
fn read_log(server: &Mysql, gateway: &Gateway, user: &str, tls: Tls) -> crate::harness::Ended {
    let account = Account::new(gateway.port, user, "");
    let mut command = match server.kind {
        Kind::Oracle => {
            let mut command = in_tree(Kind::Oracle, "mysqlbinlog");
            command.arg(match tls {
                Tls::Off => "--ssl-mode=DISABLED",
                Tls::Verified | Tls::Unsaid => "--ssl-mode=VERIFY_IDENTITY",
            });
            command.arg("--get-server-public-key");
            command
        }
        Kind::Debian | Kind::Newest => {
            // one of an older house does not read the log of a newer
            let mut command = match server.kind {
                Kind::Newest => in_tree(Kind::Newest, "mariadb-binlog"),
                Kind::Debian | Kind::Oracle => Command::new("mariadb-binlog"),
            };
            if server.kind == Kind::Debian {
                command.arg("--no-defaults");
            }
            command.arg(match tls {
                Tls::Off => "--skip-ssl",
                Tls::Verified | Tls::Unsaid => "--ssl-verify-server-cert",
            });
            command
        }
    };
    if tls == Tls::Verified {
        command.arg(format!("--ssl-ca={}", account.root.display()));
    }
    command
        .args([
            "--read-from-remote-server",
            "--protocol=tcp",
            "--to-last-log",
        ])
        .args(["--host=127.0.0.1", "--password=secret"])
        .arg(format!("--port={}", account.port))
        .arg(format!("--user={user}"))
        .arg("binlog.000001");
    Running::start(&mut command).end()
}

#[test]
fn the_binary_log_is_read_by_whom_a_rule_allows_to_and_by_nobody_else() {
    let policy = "\
require: {tls: false}
origins:
  - {name: replica, from: [127.0.0.1], users: [replicator], replication: true}
  - {name: shop, from: [127.0.0.1], users: [app, other], databases: [any]}
";
    for server in Mysql::all() {
        server.sql("CREATE TABLE IF NOT EXISTS hr.seen_from_afar (a int); GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO other");
        let gateway = Gateway::mysql(&server.address(), policy);
        for tls in [Tls::Verified, Tls::Off] {
            let said = read_log(server, &gateway, "replicator", tls);
            let log = said.worked();
            assert!(log.contains("seen_from_afar"), "{:?}: {log}", server.kind);
            // the server would allow it
            let said = read_log(server, &gateway, "other", tls);
            let words = said.failed();
            assert!(
                words.contains("[replication_not_allowed]"),
                "{:?}: {words}",
                server.kind
            );
        }
        // the right is one beside ordinary sessions
        let account = Account::new(gateway.port, "replicator", "shop");
        assert_eq!(mysql(&account, "select 1").worked(), "1");
    }
}

#[test]
fn a_client_lends_its_file_where_its_rule_says_so_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lent");
    fs::write(&file, "1\n2\n3\n").unwrap();
    let load = format!(
        "create temporary table t (a int); load data local infile '{}' into table t; select sum(a) from t",
        file.display()
    );
    for server in Mysql::all() {
        let policy = format!("require: {{tls: false}}\n{SHOP}");
        let lending = policy.replace("databases: [shop]", "databases: [shop], local_infile: true");
        for (policy, allowed) in [(&policy, false), (&lending, true)] {
            let gateway = Gateway::mysql(&server.address(), policy);
            for client in [mysql, mariadb, newest_mariadb] {
                let account = gateway.account().with(&["--local-infile=1"]);
                let said = client(&account, &load);
                if allowed {
                    assert_eq!(said.worked(), "6", "{:?}", server.kind);
                } else {
                    let words = said.failed();
                    // the server sees a client that cannot
                    let refused = words.contains("ERROR 3948")
                        || words.contains("ERROR 1148")
                        || words.contains("ERROR 4166");
                    assert!(refused, "{:?}: {words}", server.kind);
                }
            }
        }
    }
}

#[test]
fn ctrl_c_stops_a_statement_even_where_the_rule_has_no_connection_left() {
    for server in Mysql::all() {
        let policy = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [app], databases: [shop], limits: {connections: 1}}
";
        let gateway = Gateway::mysql(&server.address(), policy);
        for client in [mysql_started, mariadb_started] {
            let account = gateway.account();
            let waiting = client(&account, "select sleep(40) as stop_me");
            wait_until("the statement runs", || {
                let list = server.sql("select count(*) from information_schema.processlist where info like '%sleep(40) as stop_me%' and user = 'app'");
                (list == "1").then_some(())
            });
            let another = mysql(&account, "select 1");
            let words = another.failed();
            assert!(
                words.contains("limit_connections"),
                "{:?}: {words}",
                server.kind
            );
            signal("INT", waiting.id());
            let stopped = waiting.end();
            let said =
                stopped.stdout.trim_end().ends_with('1') || stopped.stderr.contains("ERROR 1317");
            assert!(said, "{:?}: {stopped:?}", server.kind);
            gateway.until_metric("doorward_connections", &[("origin", "shop")], 0.0);
        }
    }
}
