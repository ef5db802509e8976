//! What depends on the way to the server, with real servers: whom they take for safe, what they hear of the client, and whose
//! certificate the client sees.

use std::{fs, path::Path};

use rcgen::{CertificateParams, KeyPair};

use crate::harness::{
    Account, Authority, Gateway, Kind, Mysql, Relay,
    authority::write_private,
    free_port,
    gateway::{Plan, SHOP, field},
    mariadb, mysql,
    mysql_clients::{Tls, newest_mariadb},
    network::{ELSEWHERE, in_own_network},
    node, python,
};

const WHO: &str = "select concat(substring_index(user(), '@', 1), '@', coalesce(database(), '-'))";

/// Everybody may come in, with TLS and without.
const OPEN: &str = "\
require: {tls: false}
origins:
  - {name: all, from: [127.0.0.0/8], databases: [shop]}
";

fn verified() -> String {
    let root = Authority::shared().root();
    format!("mode: verify-full, ca: {}", root.display())
}

fn as_user(gateway: &Gateway, user: &str) -> Account {
    Account::new(gateway.port, user, "shop")
}

#[test]
fn an_account_that_requires_tls_needs_it_on_the_way_to_the_server() {
    for server in Mysql::all() {
        let folder = server.socket_folder();
        let gateways = [
            Gateway::mysql(&server.address(), OPEN),
            Gateway::mysql(folder.to_str().unwrap(), OPEN),
        ];
        for gateway in gateways {
            let refused = mysql(&as_user(&gateway, "tls_only"), WHO);
            let words = refused.failed();
            assert!(words.contains("ERROR 1045"), "{:?}: {words}", server.kind);
        }
        let keys = format!(", upstream_tls: {{{}}}", verified());
        let gateway = Plan::mysql(&server.address(), &keys).start(OPEN);
        for tls in [Tls::Verified, Tls::Off] {
            let account = as_user(&gateway, "tls_only").tls(tls);
            let asked = mysql(&account, WHO);
            assert_eq!(asked.worked(), "tls_only@shop", "{:?}", server.kind);
        }
    }
}

#[test]
fn an_account_that_requires_a_certificate_is_content_with_the_gateways() {
    for server in Mysql::all() {
        let with = |more: &str| {
            let keys = format!(", upstream_tls: {{{}{more}}}", verified());
            Plan::mysql(&server.address(), &keys)
        };
        let refused = mysql(&as_user(&with("").start(OPEN), "x509_only"), WHO);
        assert!(refused.failed().contains("ERROR 1045"), "{refused:?}");
        let papers = tempfile::tempdir().unwrap();
        let (certificate, key) = Authority::shared().issue(papers.path(), "gateway");
        let shown = format!(
            ", certificate: {}, key: {}",
            certificate.display(),
            key.display()
        );
        let asked = mysql(&as_user(&with(&shown).start(OPEN), "x509_only"), WHO);
        assert_eq!(asked.worked(), "x509_only@shop", "{:?}", server.kind);
    }
}

#[test]
fn a_server_that_is_not_the_one_that_was_meant_gets_no_name_and_no_password() {
    for server in Mysql::all() {
        let pin = "00".repeat(32);
        let wrong = [
            format!("mode: pin, pin: \"sha256:{pin}\""),
            format!("{}, name: elsewhere.example", verified()),
        ];
        for wrong in wrong {
            let relay = Relay::before(server.port);
            let keys = format!(", upstream_tls: {{{wrong}}}");
            let gateway = Plan::mysql(&relay.address(), &keys).start(OPEN);
            let refused = mysql(&as_user(&gateway, "tls_only"), WHO);
            assert!(refused.code() != 0, "{refused:?}");
            gateway.logged(&[("reason", "upstream_unreachable")]);
            let told = relay.brought().concat();
            let named = told.windows(8).any(|bytes| bytes == b"tls_only");
            assert!(!named, "{:?} has heard who it was", server.kind);
        }
    }
}

#[test]
fn nobody_gets_in_without_a_password_unless_that_is_allowed() {
    for server in Mysql::all() {
        let folder = server.socket_folder();
        for upstream in [&*server.address(), folder.to_str().unwrap()] {
            let gateway = Gateway::mysql(upstream, OPEN);
            let trusted = as_user(&gateway, "trusted").password("");
            let refused = mysql(&trusted, WHO);
            let words = refused.failed();
            let told = words.contains("ERROR 1045") && words.contains("authentication_missing");
            assert!(told, "{:?}: {words}", server.kind);
            let allowed = OPEN.replace("{tls: false}", "{tls: false, authentication: false}");
            gateway.reload(&allowed);
            assert_eq!(mysql(&trusted, WHO).worked(), "trusted@shop");
        }
    }
}

#[test]
fn a_password_goes_in_clear_over_no_leg_that_others_can_hear() {
    let name = "mysql_ways::a_password_goes_in_clear_over_no_leg_that_others_can_hear";
    in_own_network(name, || {
        let server = Mysql::start(Kind::Debian, &[]);
        let port = free_port();
        let listener = format!(
            "name: my, protocol: mysql, listen: \"{ELSEWHERE}:{port}\", upstream: \"{}\"",
            server.address()
        );
        let policy = OPEN.replace("127.0.0.0/8", ELSEWHERE);
        let gateway = Plan::listening(port, &[listener]).start(&policy);
        let by = |user| as_user(&gateway, user).host(ELSEWHERE).tls(Tls::Off);
        assert_eq!(mariadb(&by("app"), WHO).worked(), "app@shop");
        let clear = mariadb(&by("by_pam"), WHO);
        let words = clear.failed();
        assert!(words.contains("a password in clear"), "{words}");
        let ahead = [
            "--enable-cleartext-plugin",
            "--default-auth=mysql_clear_password",
        ];
        assert!(mysql(&by("by_pam").with(&ahead), WHO).code() != 0);
        // its certificate is for another name
        let encrypted = by("by_pam").tls(Tls::Unsaid).with(&["--ssl"]);
        assert_eq!(mariadb(&encrypted, WHO).worked(), "by_pam@shop");
    });
}

const FROM: &str = "select user()";

#[test]
fn a_mariadb_that_reads_headers_sees_the_client_itself() {
    for kind in Kind::all().iter().filter(|kind| kind.is_mariadb()) {
        let near = |papers: &Path| {
            let file = papers.join("init.sql");
            let more = "CREATE USER near@127.0.0.7 IDENTIFIED BY 'secret'; GRANT ALL ON shop.* TO near@127.0.0.7;\n";
            fs::write(&file, fs::read_to_string(&file).unwrap() + more).unwrap();
        };
        let setting = "proxy-protocol-networks=127.0.0.1,localhost";
        let server = Mysql::start_with(*kind, &[setting], near);
        let folder = server.socket_folder();
        for upstream in [&*server.address(), folder.to_str().unwrap()] {
            let plan = Plan::mysql(upstream, ", upstream_proxy_protocol: v2");
            let gateway = plan.start(OPEN);
            let seen = gateway.seen_from([127, 0, 0, 7]);
            for tls in [Tls::Verified, Tls::Off] {
                for user in ["app", "near"] {
                    let account = Account::new(seen.port, user, "shop").tls(tls);
                    let asked = mariadb(&account, FROM);
                    let there = format!("{user}@127.0.0.7");
                    assert_eq!(asked.worked(), there, "{kind:?} {upstream}");
                }
            }
            let elsewhere = mariadb(&as_user(&gateway, "near"), FROM);
            assert!(elsewhere.failed().contains("ERROR 1045"), "{elsewhere:?}");
        }
        let refused = server.superuser("show global status like 'Aborted_connects_preauth'");
        assert_eq!(refused.worked(), "Aborted_connects_preauth\t0", "{kind:?}");
    }
}

#[test]
fn a_server_that_refuses_headers_gets_none_and_the_log_says_what_would_allow_them() {
    for kind in Kind::all() {
        let server = Mysql::start(*kind, &[]);
        let plan = Plan::mysql(&server.address(), ", upstream_proxy_protocol: v2");
        let mut gateway = plan.start(OPEN);
        let client = if kind.is_mariadb() { mariadb } else { mysql };
        let asked = |gateway: &Gateway, from: &str| {
            let seen = gateway.seen_from([127, 0, 0, 7]);
            let account = Account::new(seen.port, "app", "shop").tls(Tls::Off);
            let there = client(&account, FROM).worked().to_owned();
            assert_eq!(there, format!("app@{from}"), "{kind:?}");
        };
        asked(&gateway, "127.0.0.1");
        let line = gateway.logged(&[("event", "upstream_refuses_headers")]);
        let mend = field(&line, "mend").unwrap();
        if !kind.is_mariadb() {
            assert!(mend.contains("`upstream_proxy_protocol: off`"), "{mend}");
            continue;
        }
        server.sql(&mend);
        gateway.signal("TERM");
        gateway.ended();
        asked(&gateway.again(), "127.0.0.7");
    }
}

#[test]
fn mysql_is_told_of_the_client_by_attributes_that_nobody_else_can_set() {
    let read = "select attr_name, attr_value from performance_schema.session_account_connect_attrs \
                where processlist_id = connection_id() and attr_name like '\\\\_doorward%' order by 1";
    let kept = "select attr_value v from performance_schema.session_account_connect_attrs \
                where processlist_id = connection_id() and attr_name = 'mine'";
    for server in Mysql::all() {
        let gateway = Gateway::mysql(&server.address(), OPEN);
        let seen = gateway.seen_from([127, 0, 0, 7]);
        let account = Account::new(seen.port, "app", "shop").tls(Tls::Off);
        let script = format!(
            "const e = process.env;\n\
             const to = {{host: e.DB_HOST, port: +e.DB_PORT, user: e.DB_USER, password: e.DB_PASSWORD, database: e.DB_NAME,\n\
             connectAttributes: {{_doorward_client: '192.0.2.1', _doorward_rank: 'king', mine: 'kept'}}}};\n\
             (async () => {{ const c = await require('mysql2/promise').createConnection(to);\n\
             const read = async () => console.log((await c.query(\"{read}\"))[0].map(a => Object.values(a).join(' ')).join(', '));\n\
             await read(); const [mine] = await c.query(\"{kept}\"); console.log(mine.map(a => a.v).join());\n\
             await c.changeUser({{user: 'other', password: 'secret', database: 'shop'}}); await read(); await c.end() }})()"
        );
        let said = node(&account, &script);
        let ours = "_doorward_client 127.0.0.7, _doorward_origin all";
        let expected = match server.kind {
            Kind::Oracle => format!("{ours}\nkept\n{ours}"),
            // they can be asked by a PROXY header; the performance schema is off there, too
            Kind::Debian | Kind::Newest => String::new(),
        };
        assert_eq!(said.worked().trim(), expected, "{:?}", server.kind);
    }
}

/// Of these the server keeps what proves, with the client's password, whose certificate it is.
const VOUCHING: [&str; 3] = ["native", "ed25519", "parsec"];

#[test]
fn mariadbs_password_vouches_for_the_gateway_that_has_its_servers_certificate() {
    if !Kind::all().contains(&Kind::Newest) {
        return;
    }
    let own = |folder: &Path| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([String::from("localhost")]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        fs::write(folder.join("server.crt"), certificate).unwrap();
        write_private(&folder.join("server.key"), &key.serialize_pem());
    };
    let server = Mysql::start_with(Kind::Newest, &[], own);
    let socket = server.socket_folder();
    let gateway = |upstream: &str, certify: &dyn Fn(&Path)| {
        let port = free_port();
        // the client verifies nothing on 127.0.0.1
        let listener = format!(
            "name: my, protocol: mysql, listen: \"127.0.0.2:{port}\", upstream: \"{upstream}\""
        );
        let plan = Plan::listening(port, &[listener]);
        certify(plan.folder.path());
        plan.start(OPEN)
    };
    let ask = |gateway: &Gateway, plugin: &str| {
        let account = as_user(gateway, &format!("by_{plugin}"));
        newest_mariadb(&account.host("127.0.0.2").tls(Tls::Unsaid), WHO)
    };
    for upstream in [&*server.address(), socket.to_str().unwrap()] {
        let servers = gateway(upstream, &|folder| {
            let (certificate, key) = server.certificate();
            fs::copy(certificate, folder.join("server.crt")).unwrap();
            fs::copy(key, folder.join("server.key")).unwrap();
        });
        let another = gateway(upstream, &own);
        for plugin in VOUCHING {
            let asked = ask(&servers, plugin);
            assert_eq!(asked.worked(), format!("by_{plugin}@shop"));
            let words = ask(&another, plugin);
            assert!(
                words.failed().contains("TLS/SSL error"),
                "{plugin}: {words:?}"
            );
        }
        // a password that the server does not keep vouches for nobody
        let words = ask(&servers, "pam");
        assert!(words.failed().contains("TLS/SSL error"), "{words:?}");
    }
}

#[test]
fn a_strict_gateway_bothers_the_server_only_with_clients_that_may_come_in() {
    for server in Mysql::all() {
        let relay = Relay::before(server.port);
        let plan = Plan::mysql(&relay.address(), ", protect_upstream: strict");
        let gateway = plan.start(&format!("require: {{tls: false}}\n{SHOP}"));
        let at_rest = relay.connected();
        for tls in [Tls::Verified, Tls::Off] {
            for client in [mysql, mariadb, newest_mariadb] {
                let stranger = client(&as_user(&gateway, "other").tls(tls), WHO);
                let words = stranger.failed();
                assert!(words.contains("ERROR 1045"), "{:?}: {words}", server.kind);
            }
        }
        assert_eq!(relay.connected(), at_rest, "{:?}", server.kind);
        for tls in [Tls::Verified, Tls::Off] {
            for client in [mysql, mariadb, newest_mariadb] {
                server.forget_passwords();
                for _cold_and_warm in 0..2 {
                    let asked = client(&gateway.account().tls(tls), WHO);
                    assert_eq!(asked.worked(), "app@shop", "{:?} {tls:?}", server.kind);
                }
            }
        }
        // the id that the client was greeted with is nobody's
        let script = "import os, pymysql\n\
                      e = os.environ; c = pymysql.connect(host=e['DB_HOST'], port=int(e['DB_PORT']), user=e['DB_USER'], password=e['DB_PASSWORD'])\n\
                      k = c.cursor(); k.execute('select connection_id()'); print(k.fetchone()[0] != c.thread_id())\n\
                      try: k.execute('kill %d' % c.thread_id())\n\
                      except pymysql.Error as wrong: print(wrong.args[0])";
        let said = python(&gateway.account().tls(Tls::Off), script);
        assert_eq!(said.worked(), "True\n1094", "{:?}", server.kind);
    }
}
