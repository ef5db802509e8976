//! Which certificate a client sees: by the name that it wants, from the first start on and after each change of the files.

use std::{fs, process::Command};

use serde_json::Value;

use crate::harness::{
    Authority, Gateway, Login, Mysql, Postgres,
    gateway::{Plan, SHOP},
    mariadb, newest_psql, psql, run, wait_until,
};

/// A gateway with a certificate for `localhost`, and beside it these, each for its names.
fn plan(upstream: Plan, further: &[(&str, &[&str])]) -> Plan {
    let mut plan = upstream;
    let here = plan.folder.path();
    let issue = |(file, names): &(&str, &[&str])| {
        let (certificate, key) = Authority::shared().issue_for(here, file, names);
        let (certificate, key) = (certificate.display(), key.display());
        format!("{{certificate: {certificate}, key: {key}}}")
    };
    let further: Vec<_> = further.iter().map(issue).collect();
    let keys = format!("tls: {{certificates: [{}], ", further.join(", "));
    plan.head = plan.head.replace("tls: {", &keys);
    plan
}

const FURTHER: [(&str, &[&str]); 2] = [
    ("shop", &["shop.example.org", "*.shop.example.org"]),
    ("other", &["other.example.net", "shop.example.org"]),
];

fn before_postgres() -> Gateway {
    let upstream = Plan::new(&Postgres::shared().address());
    plan(upstream, &FURTHER).start(SHOP)
}

fn wanting(gateway: &Gateway, name: &str) -> Login {
    gateway.shop().with("PGHOST", name)
}

/// The common name of what a client of this name sees; the empty name is none.
fn seen(gateway: &Gateway, name: &str) -> String {
    let mut openssl = Command::new("openssl");
    let to = format!("127.0.0.1:{}", gateway.port);
    openssl.args(["s_client", "-starttls", "postgres", "-connect", &to]);
    match name {
        "" => openssl.arg("-noservername"),
        name => openssl.args(["-servername", name]),
    };
    let said = run(openssl.stdin(std::process::Stdio::null()));
    let text = said.stdout;
    let subject = text.lines().find(|line| line.starts_with("subject="));
    let (_, name) = subject.unwrap().rsplit_once("CN = ").unwrap();
    name.to_owned()
}

#[test]
fn a_client_sees_the_certificate_of_the_name_that_it_wants() {
    let gateway = before_postgres();
    for (name, shown) in [
        ("", "server"),
        ("localhost", "server"),
        ("shop.example.org", "shop"),
        ("SHOP.example.org", "shop"),
        ("a.shop.example.org", "shop"),
        ("a.b.shop.example.org", "server"),
        ("other.example.net", "other"),
        ("elsewhere.example", "server"),
    ] {
        assert_eq!(seen(&gateway, name), shown, "{name}");
    }
}

#[test]
fn libpq_verifies_each_name_and_an_address_by_the_first_certificate() {
    let gateway = before_postgres();
    for name in [
        "localhost",
        "127.0.0.1",
        "shop.example.org",
        "db.shop.example.org",
        "other.example.net",
    ] {
        assert_eq!(psql(&wanting(&gateway, name), "select 1").worked(), "1");
    }
    let refused = psql(&wanting(&gateway, "elsewhere.example"), "select 1");
    let words = refused.failed();
    assert!(words.contains("does not match host name"), "{words}");
    if Postgres::newest().is_some() {
        let direct = wanting(&gateway, "shop.example.org").with("PGSSLNEGOTIATION", "direct");
        assert_eq!(newest_psql(&direct, "select 1").worked(), "1");
    }
}

#[test]
fn a_mysql_client_is_served_by_the_same_certificates() {
    let server = Mysql::all().remove(0);
    let gateway = plan(Plan::mysql(&server.address(), ""), &FURTHER).start(SHOP);
    assert_eq!(mariadb(&gateway.account(), "select 1").worked(), "1");
}

#[test]
fn a_certificate_that_changes_is_shown_to_the_next_client_of_its_name() {
    let gateway = before_postgres();
    let here = gateway.folder.path();
    Authority::shared().issue_for(here, "renewed", &["shop.example.org"]);
    // the key first, as with any pair: what does not fit is not taken in
    fs::rename(here.join("renewed.key"), here.join("shop.key")).unwrap();
    fs::rename(here.join("renewed.crt"), here.join("shop.crt")).unwrap();
    wait_until("it is shown", || {
        (seen(&gateway, "shop.example.org") == "renewed").then_some(())
    });
    assert_eq!(seen(&gateway, ""), "server");
    fs::write(here.join("shop.crt"), "no certificate").unwrap();
    gateway.logged(&[("event", "file_refused")]);
    assert_eq!(seen(&gateway, "shop.example.org"), "renewed");
}

#[test]
fn a_reload_takes_certificates_and_leaves_live_sessions_alone() {
    let gateway = before_postgres();
    let sleeping = crate::harness::clients::psql_started(&gateway.shop(), "select pg_sleep(2), 1");
    gateway.until_metric("doorward_connections", &[], 1.0);
    let text = fs::read_to_string(gateway.file()).unwrap();
    let (before, after) = text.split_once("certificates: [").unwrap();
    let (_, after) = after.split_once("], ").unwrap();
    fs::write(gateway.file(), format!("{before}{after}")).unwrap();
    gateway.command(&["reload"]).worked();
    assert_eq!(seen(&gateway, "shop.example.org"), "server");
    assert_eq!(sleeping.end().worked(), "|1");
}

#[test]
fn status_tells_the_end_of_each() {
    let gateway = before_postgres();
    let said = gateway.command(&["status", "--format", "json"]);
    let status: Value = serde_json::from_str(said.worked()).unwrap();
    let further = status["certificate"]["further"].as_array().unwrap();
    assert_eq!(further.len(), 2);
    assert_eq!(further[1]["names"][0], "other.example.net");
    assert!(further[1]["days_left"].as_i64().unwrap() > 300);
    let text = gateway.command(&["status"]);
    let text = text.worked();
    let line = "certificate for shop.example.org, *.shop.example.org:";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_certificate_of_our_own_making_may_be_the_first() {
    let mut plan = plan(Plan::new(&Postgres::shared().address()), &FURTHER);
    let here = plan.folder.path().display().to_string();
    let own = format!("certificate: {here}/server.crt, key: {here}/server.key");
    plan.head = plan.head.replace(&own, "names: [localhost]");
    let gateway = plan.start(SHOP);
    assert_eq!(seen(&gateway, ""), "Doorward");
    assert_eq!(seen(&gateway, "shop.example.org"), "shop");
    assert_eq!(
        psql(&wanting(&gateway, "shop.example.org"), "select 1").worked(),
        "1"
    );
    let ca = gateway.folder.path().join("state/tls/ca.crt");
    let login = Login {
        root: ca,
        ..gateway.shop()
    };
    assert_eq!(psql(&login, "select 1").worked(), "1");
}
