//! The audit file: every session's beginning and end, from the moment on at which the file is named.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::harness::{
    Gateway, Postgres,
    gateway::{SHOP, field},
    psql, wait_until,
};

/// How often each event of the shop's stands in these lines.
fn events(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut events = BTreeMap::new();
    for line in lines {
        if field(line, "origin").as_deref() == Some("shop") {
            *events.entry(field(line, "event").unwrap()).or_default() += 1;
        }
    }
    events
}

#[test]
fn an_audit_that_a_reload_begins_has_what_happens_from_then_on() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    let file = gateway.folder.path().join("audit.json");
    let session = || {
        let before = gateway.log().len();
        psql(&gateway.shop(), "select 1").worked();
        gateway.logged_after(before, &[("event", "closed")]);
    };
    // what the log says of a session is known by then to be of no use to an audit
    session();
    let audit = format!("audit: {{file: {}}}\n", file.display());
    gateway.reload(&format!("{SHOP}{audit}"));
    session();
    let lines = || {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let whole = wait_until("both lines of the session", || {
        Some(events(&lines())).filter(|events| events.contains_key("closed"))
    });
    let once = |name: &str| (name.to_owned(), 1);
    assert_eq!(whole, BTreeMap::from([once("opened"), once("closed")]));
    gateway.reload(SHOP);
    session();
    assert_eq!(events(&lines()), whole, "the audit has ended");
    let closed = ("closed".to_owned(), 3);
    assert_eq!(
        events(&gateway.log()),
        BTreeMap::from([closed]),
        "the log has one line for each session"
    );
}
