//! The harness itself, straight at the real MySQL and MariaDB servers: what the other tests take for granted.

use std::fs;

use crate::harness::{
    Account, Gateway, Kind, Mysql,
    gateway::{Plan, SHOP},
    mariadb, mysql,
    mysql_clients::{Tls, newest_mariadb, php},
    node, python,
};

const WHO: &str = "select concat(substring_index(user(), '@', 1), '@', coalesce(database(), '-'))";

fn direct(server: &Mysql, user: &str) -> Account {
    Account::new(server.port, user, "shop")
}

#[test]
fn the_servers_are_the_ones_they_should_be() {
    for server in Mysql::all() {
        let version = server.sql("select version()");
        let fits = match server.kind {
            Kind::Debian => version.contains("-MariaDB"),
            Kind::Oracle => version.starts_with("9."),
            Kind::Newest => version.starts_with("11.") && version.contains("-MariaDB"),
        };
        assert!(fits, "{:?} is {version}", server.kind);
    }
}

#[test]
fn every_command_line_reaches_every_server_with_tls_and_without() {
    for server in Mysql::all() {
        for tls in [Tls::Off, Tls::Verified, Tls::Unsaid] {
            let account = direct(server, "app").tls(tls);
            assert_eq!(
                mysql(&account, WHO).worked(),
                "app@shop",
                "{:?}",
                server.kind
            );
            assert_eq!(
                newest_mariadb(&account, WHO).worked(),
                "app@shop",
                "{:?}",
                server.kind
            );
            assert_eq!(
                mariadb(&account, WHO).worked(),
                "app@shop",
                "{:?}",
                server.kind
            );
        }
    }
}

#[test]
fn every_plugin_proves_its_password() {
    for server in Mysql::all() {
        let plugins: &[&str] = match server.kind {
            Kind::Debian => &["native", "ed25519", "pam"],
            Kind::Oracle => &["caching_sha2", "sha256"],
            Kind::Newest => &["native", "ed25519", "pam", "parsec", "caching_sha2"],
        };
        for plugin in plugins {
            let user = format!("by_{plugin}");
            let account = direct(server, &user);
            let client = if server.kind.is_mariadb() {
                newest_mariadb
            } else {
                mysql
            };
            assert_eq!(
                client(&account, WHO).worked(),
                format!("{user}@shop"),
                "{:?}",
                server.kind
            );
            let wrong = client(&account.password("wrong"), WHO);
            assert!(wrong.failed().contains("Access denied"), "{wrong:?}");
        }
    }
}

#[test]
fn a_server_lets_in_only_by_tls_whom_it_should_and_trusts_only_whom_it_should() {
    for server in Mysql::all() {
        let account = direct(server, "tls_only");
        let client = if server.kind.is_mariadb() {
            mariadb
        } else {
            mysql
        };
        assert_eq!(client(&account, WHO).worked(), "tls_only@shop");
        let clear = client(&account.tls(Tls::Off), WHO);
        assert!(clear.failed().contains("Access denied"), "{clear:?}");
        let trusted = direct(server, "trusted").password("").tls(Tls::Off);
        assert_eq!(client(&trusted, WHO).worked(), "trusted@shop");
        assert!(client(&direct(server, "app").password(""), WHO).code() != 0);
    }
}

#[test]
fn every_driver_reaches_every_server() {
    for server in Mysql::all() {
        let account = direct(server, "app");
        let script = format!(
            "import os, pymysql, MySQLdb, mysql.connector\n\
             e = os.environ; to = dict(host=e['DB_HOST'], port=int(e['DB_PORT']), user=e['DB_USER'], password=e['DB_PASSWORD'], database=e['DB_NAME'])\n\
             for c in (pymysql.connect(ssl_ca=e['DB_CA'], **to), MySQLdb.connect(ssl=dict(ca=e['DB_CA']), **to),\n\
             \x20         mysql.connector.connect(ssl_ca=e['DB_CA'], ssl_verify_identity=True, **to)):\n\
             \x20   k = c.cursor(); k.execute({WHO:?}); print(k.fetchone()[0])"
        );
        assert_eq!(
            python(&account, &script).worked(),
            "app@shop\n".repeat(3).trim_end()
        );
        let script = format!(
            "const e = process.env, ca = require('fs').readFileSync(e.DB_CA);\n\
             const to = {{host: e.DB_HOST, port: +e.DB_PORT, user: e.DB_USER, password: e.DB_PASSWORD, database: e.DB_NAME, ssl: {{ca}}}};\n\
             (async () => {{ for (const name of ['mysql2/promise', 'mariadb']) {{\n\
             const c = await require(name).createConnection(to); const r = await c.query({WHO:?});\n\
             console.log(Object.values([r].flat(2)[0])[0]); await c.end() }} }})()"
        );
        assert_eq!(node(&account, &script).worked(), "app@shop\napp@shop");
        let script = format!(
            "$c = mysqli_init(); $c->ssl_set(null, null, getenv('DB_CA'), null, null);\n\
             $c->real_connect(getenv('DB_HOST'), getenv('DB_USER'), getenv('DB_PASSWORD'), getenv('DB_NAME'), (int)getenv('DB_PORT'), null, MYSQLI_CLIENT_SSL);\n\
             echo $c->query({WHO:?})->fetch_row()[0];"
        );
        assert_eq!(php(&account, &script).worked(), "app@shop");
    }
}

#[test]
fn a_server_of_ones_own_ends_with_its_owner() {
    for kind in Kind::all() {
        let server = Mysql::start(*kind, &[]);
        let process = server.process();
        assert_eq!(server.sql("select 1"), "1");
        let folder = server.socket_folder();
        drop(server);
        assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
        assert!(!folder.exists());
    }
}

#[test]
fn an_unknown_certificate_is_verified_by_the_password_and_only_by_the_right_one() {
    for server in Mysql::all() {
        // 127.0.0.1 would not be verified at all
        let account = direct(server, "app").tls(Tls::Unsaid).host("127.0.0.2");
        let asked = newest_mariadb(&account, WHO);
        if server.kind == Kind::Newest {
            assert_eq!(asked.worked(), "app@shop");
        } else {
            assert!(asked.failed().contains("TLS/SSL error"), "{asked:?}");
        }
    }
}

#[test]
fn a_full_login_is_to_be_had_again_and_again() {
    for server in Mysql::all() {
        for tls in [Tls::Verified, Tls::Off, Tls::Off] {
            server.forget_passwords();
            assert_eq!(
                mysql(&direct(server, "app").tls(tls), WHO).worked(),
                "app@shop"
            );
        }
    }
}

#[test]
fn a_gateway_starts_before_every_server_and_may_have_its_certificate() {
    for server in Mysql::all() {
        let (certificate, key) = server.certificate();
        let plan = Plan::mysql(&server.address(), "");
        fs::copy(certificate, plan.folder.path().join("server.crt")).unwrap();
        fs::copy(key, plan.folder.path().join("server.key")).unwrap();
        let gateway = plan.start(SHOP);
        assert_eq!(gateway.account().port, gateway.port);
        drop(Gateway::mysql(&server.address(), SHOP));
    }
}
