//! `doorward latency` as an operator uses it: the table, one origin watched, and what is not there.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    Gateway, Postgres, Raw,
    clients::psql,
    gateway::{SHOP, doorward},
    process::{Running, run, signal},
    raw, wait_until,
};

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [app, by_text], databases: [shop]}
  - {name: blog, from: [192.0.2.1], users: [app], databases: [shop]}
";

fn gateway() -> Gateway {
    Gateway::start(&Postgres::shared().address(), TEXT)
}

fn lines(gateway: &Gateway) -> Vec<Value> {
    let said = gateway.command(&["latency", "--format", "json"]);
    serde_json::from_str(said.worked()).unwrap()
}

/// The words of the row that begins with this name.
fn row<'a>(table: &'a str, origin: &str) -> Vec<&'a str> {
    let mut rows = table.lines().map(|row| row.split_whitespace().collect());
    rows.find(|row: &Vec<_>| row.first() == Some(&origin))
        .unwrap_or_else(|| panic!("no {origin}: {table}"))
}

/// A query for each of eight things, after one for what there is of them.
fn asks_for_each(client: &mut Raw) {
    client.query("select 1");
    client.expect('Z');
    for n in 0..8 {
        client.query(&format!("select pg_sleep(0.02), {n}"));
        client.expect('Z');
    }
    client.query("select 'that was all'");
    client.expect('Z');
}

#[test]
fn each_origin_has_a_row_and_only_what_was_measured_is_in_it() {
    let gateway = gateway();
    // on a busy machine not every one of them is quick
    for _ in 0..5 {
        psql(&gateway.shop(), "select 1").worked();
    }
    gateway.until_metric("doorward_flights_total", &[("origin", "shop")], 5.0);
    let said = gateway.command(&["latency"]);
    let table = said.worked();
    assert!(table.starts_with("ORIGIN"), "{table}");
    let shop = row(table, "shop").join(" ");
    assert!(shop.contains("begins on this machine"), "{table}");
    assert!(!table.contains("same site"), "{table}");
    let blog = row(table, "blog").join(" ");
    assert_eq!(
        blog, "blog - - - - - nothing has been measured yet",
        "{table}"
    );
    let all = lines(&gateway);
    let names: Vec<_> = all.iter().map(|line| &line["origin"]).collect();
    assert_eq!(names, ["blog", "shop"]);
    assert_eq!(
        (&all[0]["confidence"], &all[0]["network_share"]),
        (&json!("none"), &Value::Null)
    );
    assert_eq!(
        (&all[1]["hop"], &all[1]["flights"], &all[1]["place"]),
        (&json!("loopback"), &json!(5), &Value::Null)
    );
}

#[test]
fn who_watches_an_origin_reads_what_was_repeated_and_may_end_it_when_he_has_seen_enough() {
    let gateway = gateway();
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
    client.expect('R');
    client.send(&raw::framed(b'p', b"secret\0"));
    client.expect('Z');
    asks_for_each(&mut client);
    let mut command: Command = doorward();
    command.args(["latency", "shop", "--for", "3600", "--admin-socket"]);
    command.arg(gateway.folder.path().join("admin.sock"));
    let watching = Running::start(&mut command);
    wait_until("a repeated query is seen", || {
        asks_for_each(&mut client);
        let all = lines(&gateway);
        let repeated = all[1]["repeated"].as_array().unwrap();
        repeated
            .iter()
            .find(|seen| seen["length"] == 8 && seen["saves_ms"].as_f64() > Some(140.0))
            .map(|_seen| ())
    });
    signal("INT", watching.id());
    let said = watching.end();
    let text = said.worked();
    assert!(text.starts_with("shop on listener pg, the last "), "{text}");
    assert!(
        text.contains("one query repeated 8 times in a row: joining it saves up to 1"),
        "{text}"
    );
    assert!(!text.contains("pg_sleep"), "{text}");
    assert!(said.stderr.contains("watching \"shop\""), "{}", said.stderr);
}

#[test]
fn an_origin_that_is_not_there_is_answered_with_those_that_are() {
    let gateway = gateway();
    let said = gateway.command(&["latency", "shopp"]);
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(said.stdout, "");
    assert!(
        said.stderr.contains("there are blog, shop"),
        "{}",
        said.stderr
    );
    // one that has gone is not there either
    gateway.reload(SHOP);
    let known = gateway.command(&["latency", "shop", "--for", "0"]);
    assert!(known.worked().contains("confidence"), "{}", known.stdout);
    let gone = gateway.command(&["latency", "blog", "--for", "0"]);
    assert_eq!(gone.status.code(), Some(1), "{}", gone.stderr);
}

#[test]
fn where_no_gateway_runs_latency_says_so() {
    let mut command = doorward();
    command.args(["latency", "--admin-socket", "/nonexistent/admin.sock"]);
    let said = run(&mut command);
    assert_eq!(said.status.code(), Some(69), "{}", said.stderr);
    assert_eq!(said.stdout, "");
}
