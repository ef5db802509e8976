//! A thousand reloads under load, half of them broken: nothing is lost, and no decision is made by halves of two policies.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use serde_json::Value;

use crate::harness::{Gateway, Postgres, clients::python_started, gateway::field, psql};

/// Two policies that admit the same session, each by another origin and with another database beside it.
const LEFT: &str =
    "origins:\n  - {name: left, from: [127.0.0.1], users: [app], databases: [shop, a]}\n";
const RIGHT: &str =
    "origins:\n  - {name: right, from: [127.0.0.0/8], users: [app], databases: [shop, b]}\n";
const RELOADS: usize = 1000;

fn reload(gateway: &Gateway) -> Value {
    let socket = gateway.folder.path().join("admin.sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .write_all(b"{\"command\":\"reload\",\"yes\":true}\n")
        .unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn a_thousand_reloads_lose_nothing_and_never_mix_two_policies() {
    let gateway = Gateway::start(&Postgres::shared().address(), LEFT);
    let done = gateway.folder.path().join("done");
    let script = format!(
        "import os, psycopg\n\
         kept, n = psycopg.connect('', autocommit=True), 0\n\
         while not os.path.exists({done:?}):\n\
         \x20   n += 1\n\
         \x20   assert kept.execute('select %s::int', [n]).fetchone()[0] == n\n\
         \x20   if n % 10 == 0:\n\
         \x20       with psycopg.connect('') as c: assert c.execute('select 1').fetchone()[0] == 1\n\
         print('whole', n)"
    );
    let load = python_started(&gateway.shop(), &script);
    let mut in_force = HashMap::from([(1, "left")]);
    for number in 0..RELOADS {
        if number % 2 == 1 {
            gateway.rewrite(if number % 4 == 1 {
                "origins: ["
            } else {
                "origns: []\n"
            });
            assert_eq!(reload(&gateway)["answer"], "refused", "{number}");
            continue;
        }
        let (text, origin) = if number % 4 == 0 {
            (RIGHT, "right")
        } else {
            (LEFT, "left")
        };
        gateway.rewrite(text);
        let answer = reload(&gateway);
        let generation = answer["generation"].as_u64();
        in_force.insert(generation.unwrap_or_else(|| panic!("{answer}")), origin);
        assert_eq!(answer["revoked"], 0, "{answer}");
    }
    std::fs::write(&done, "").unwrap();
    let said = load.end();
    assert!(said.worked().starts_with("whole"), "{said:?}");
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
    let closed: Vec<Value> = gateway
        .log()
        .into_iter()
        .filter(|line| line["event"] == "closed")
        .collect();
    assert!(closed.len() > 20, "{}", closed.len());
    for line in &closed {
        let generation = line["generation"].as_u64().unwrap();
        let origin = field(line, "origin").unwrap();
        assert_eq!(
            in_force.get(&generation).copied(),
            Some(origin.as_str()),
            "{line}"
        );
        assert_eq!(line["reason"], "allowed", "{line}");
    }
}
