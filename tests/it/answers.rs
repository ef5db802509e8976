//! What the operator is told of a running gateway: why somebody was refused, what a changed file would change, what does not hold.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::Value;

use crate::harness::{
    Gateway, Postgres, Raw,
    gateway::{SHOP, doorward},
    psql, raw, wait_until,
};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_reference_that_a_client_reports_tells_the_reason_and_what_would_happen_now() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    let mut other = gateway.shop();
    other.database = "hr".to_owned();
    let refused = psql(&other, "select 1");
    let line = gateway.logged(&[("event", "refused"), ("reason", "database_not_allowed")]);
    let reference = crate::harness::gateway::field(&line, "ref").unwrap();
    assert!(refused.failed().contains(&reference), "{refused:#?}");

    let told = gateway.command(&["why", "--ref", &reference]);
    assert_eq!(told.code(), 3, "{told:#?}");
    for part in [
        "database_not_allowed, once",
        "user `app`, database `hr`",
        "now:\nDENY",
    ] {
        assert!(told.stdout.contains(part), "{part}\n{}", told.stdout);
    }
    gateway.reload(&SHOP.replace("[shop]}", "[shop, hr]}"));
    let now = gateway.command(&["why", "--ref", &reference, "--format", "json"]);
    let now = json(now.worked());
    assert_eq!(now["reason"], "database_not_allowed");
    assert_eq!(now["now"]["verdict"], "allow");
    let unknown = gateway.command(&["why", "--ref", "AAAAAAAA"]);
    assert!(unknown.failed().contains("no refusal is remembered"));
}

#[test]
fn a_changed_file_tells_whom_it_would_shut_out_before_it_holds() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
    let file = gateway.file();
    let check = |format: &str| {
        let file = file.to_str().unwrap();
        gateway.command(&["check", file, "--diff", "--format", format])
    };
    let same = check("human");
    assert!(
        same.worked().contains("diff: 0 of 1 decisions change"),
        "{same:#?}"
    );
    gateway.rewrite(&SHOP.replace("[app]", "[other]"));
    let changed = check("json");
    assert_eq!(changed.code(), 3, "{changed:#?}");
    let change = &json(&changed.stdout)["differences"]["changes"][0];
    assert_eq!(change["before"]["origin"], "shop");
    assert_eq!(change["after"]["reason"], "user_not_allowed");
    let shown = check("human");
    assert!(
        shown.stdout.contains(
            "127.0.0.1 user app database shop on pg: allow by \"shop\" -> deny user_not_allowed by \"shop\""
        ),
        "{shown:#?}"
    );
    assert_eq!(
        psql(&gateway.shop(), "select 1").worked(),
        "1",
        "nothing was loaded"
    );

    let status = json(gateway.command(&["status", "--format", "json"]).worked());
    assert_eq!(status["differs"][0], file.to_str().unwrap());
    gateway.until_metric("doorward_config_differs", &[], 1.0);
    gateway.command(&["reload", "--yes"]).worked();
    gateway.until_metric("doorward_config_differs", &[], 0.0);
}

#[test]
fn a_banned_source_is_listed_and_heard_again_when_an_operator_says_so() {
    let ban = "strangers: {ban: {after: 1, within: 1m, for: 15m}}\n";
    let gateway = Gateway::start(&Postgres::shared().address(), &format!("{SHOP}{ban}"));
    let startup = raw::startup(&[("user", "x"), ("database", "y")]);
    let mut stranger = Raw::connect_from([127, 0, 0, 9], gateway.port);
    stranger.try_send(&startup).ok();
    stranger.rest();
    let listed = wait_until("a ban", || {
        let listed = gateway.command(&["bans", "list", "--format", "json"]);
        let listed = json(listed.worked());
        (listed[0]["source"] == "127.0.0.9").then_some(listed)
    });
    assert_eq!(listed[0]["failures"], 1);
    let removed = gateway.command(&["bans", "remove", "127.0.0.9"]);
    assert_eq!(removed.worked(), "127.0.0.9 is heard again");
    let again = gateway.command(&["bans", "remove", "127.0.0.9"]);
    assert!(again.failed().contains("is not banned"));
    assert_eq!(
        gateway.command(&["bans", "list"]).worked(),
        "nobody is banned"
    );
}

#[test]
fn an_open_observation_and_hosts_without_an_address_are_in_the_metrics() {
    let more = "observe: {until: 2036-01-01T00:00:00Z}\n\
resolver: {servers: [\"127.0.0.1:9\"]}\n\
origins:\n  - {name: erp, from: [{host: erp.partner.example}], users: [erp]}\n";
    let gateway = Gateway::start(&Postgres::shared().address(), more);
    gateway.until_metric("doorward_policy_mode", &[("mode", "observe")], 1.0);
    gateway.until_metric("doorward_dns_hosts", &[("state", "unknown")], 1.0);
    let shows = |name: &str| gateway.metrics().iter().any(|sample| sample.name == name);
    wait_until("a look-up has failed", || {
        let failed = [("result", "failure")];
        (gateway.metric("doorward_dns_lookups_total", &failed) >= 1.0).then_some(())
    });
    assert!(shows("doorward_dns_addresses"));
    gateway.until_metric(
        "doorward_dns_last_success_timestamp_seconds",
        &[("origin", "erp")],
        0.0,
    );
    gateway.logged(&[("event", "observing")]);
    let status = gateway.command(&["status"]);
    assert!(
        status
            .worked()
            .contains("OBSERVING until 2036-01-01T00:00:00Z")
    );
    gateway.reload(SHOP);
    gateway.until_metric("doorward_policy_mode", &[("mode", "enforce")], 1.0);
    gateway.until_metric("doorward_dns_hosts", &[("state", "unknown")], 0.0);
    assert!(!shows("doorward_dns_addresses"));
}

#[test]
fn a_watched_status_is_a_line_for_each_look_and_ends_with_its_reader() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    let mut watching = doorward()
        .args(["status", "--watch", "--format", "json", "--config"])
        .arg(gateway.file())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut uptime = || {
        let line = lines.next().unwrap().unwrap();
        json(&line)["uptime_seconds"].as_u64().unwrap()
    };
    let first = uptime();
    assert!(uptime() > first);
    drop(lines);
    let ended = wait_until("its end", || watching.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}
