//! What a file may say, and what it is told when it says it wrong.

mod bounds;
mod files;
mod layers;
mod mysql;
mod postgres;
mod refused;
mod rules;
mod shown;
mod table;
mod told;

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::{
    Environment, FlagListener, LoadError, Loaded, Overrides, Problem, Problems, Severity,
    from_flags,
    keys::TOP,
    load, parse,
    walk::{Schema, Shape},
};
use crate::policy::{Answer, From, Names, OnRevoke, Replication, TlsVersion};

/// A listener, so that the rest of a file can be read.
const DOOR: &str = "version: 1\nlisteners:\n  - {name: pg, protocol: postgres, listen: '127.0.0.1:6432', upstream: '127.0.0.1:5432'}\n";

fn read(text: &str) -> Result<Loaded, Problems> {
    let nobody = (Environment::default(), Overrides::default());
    parse(
        "file.yaml",
        text,
        &nobody.0,
        &nobody.1,
        SystemTime::UNIX_EPOCH,
    )
}

fn good(text: &str) -> Loaded {
    read(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// `line:column message / label / hint` of every problem.
fn problems(text: &str) -> Vec<String> {
    let problems = match read(text) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.as_slice().to_vec(),
    };
    problems.iter().map(brief).collect()
}

fn brief(problem: &Problem) -> String {
    let mut text = problem.place.as_ref().map_or_else(
        || format!("{} ", problem.source),
        |place| format!("{}:{} ", place.line, place.column),
    );
    text.push_str(&problem.message);
    for more in problem.label.iter().chain(&problem.hint) {
        write!(text, " / {more}").unwrap();
    }
    text
}

/// Holds one origin (or another block after the listener) against the one problem it must have.
fn refuses(block: &str, expected: &str) {
    let found = problems(&format!("{DOOR}{block}\n"));
    assert!(
        found.iter().any(|problem| problem.contains(expected)),
        "{block}\nexpected: {expected}\nfound: {found:#?}"
    );
    assert!(
        read(&format!("{DOOR}{block}\n")).is_err(),
        "{block} was let through"
    );
}

fn origin(keys: &str) -> String {
    format!("origins:\n  - {{name: shop, {keys}}}")
}

#[test]
fn the_smallest_useful_file_admits_one_application() {
    let loaded = good(
        "version: 1\nlisteners:\n  - {name: pg, protocol: postgres, listen: \"0.0.0.0:6432\", upstream: \"127.0.0.1:5432\"}\norigins:\n  - {name: shop, from: [203.0.113.7], users: [shop_app], databases: [shop]}\n",
    );
    let [origin] = loaded.rules.origins.as_slice() else {
        panic!("one origin");
    };
    assert_eq!((&*origin.name, origin.line), ("shop", 5));
    assert_eq!(
        origin.from,
        [From::Network("203.0.113.7/32".parse().unwrap())]
    );
    assert_eq!(origin.users, Names::Listed(vec!["shop_app".into()]));
    assert_eq!(origin.listeners, Names::Any);
    assert!(loaded.rules.require.tls && loaded.rules.require.authentication);
    assert!(loaded.rules.protected_users.contains("postgres"));
    assert_eq!(loaded.rules.strangers.answer, Answer::Quiet);
    assert_eq!(loaded.rules.on_revoke, OnRevoke::Drain);
    assert_eq!(loaded.settings.tls.min, TlsVersion::V1_2);
    assert_eq!(loaded.settings.limits, super::Limits::default());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn the_example_file_is_good_and_has_every_key_that_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("github-meta.json");
    std::fs::write(&list, r#"{"actions": ["192.30.252.0/22"]}"#).unwrap();
    let text = include_str!("../../../allowlist.example.yaml");
    let here = text.replace("/etc/doorward/github-meta.json", list.to_str().unwrap());
    let loaded = good(&here);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let keys = schemas().into_iter().flat_map(Schema::names);
    let hidden: Vec<_> = keys
        .filter(|key| !text.contains(&format!("{key}:")))
        .collect();
    assert!(hidden.is_empty(), "not shown: {hidden:?}");
    let (limits, defaults) = (loaded.settings.limits, super::Limits::default());
    assert_eq!(limits, defaults, "the example shows the defaults");
    assert_eq!(loaded.rules.drain, Duration::from_secs(30));
}

#[test]
fn every_part_of_the_settings_is_read() {
    let loaded = good(&format!(
        "{}tls: {{client_ca: /ca, crl: /crl}}\nmetrics: {{max_origins: 7}}\nresolver: {{servers: ['127.0.0.1:53', '[::1]:54'], max_stale: 5m}}\naudit: {{file: /a, required: true}}\n\
latency: {{places: {{same_site: 300us, near: 5ms}}}}\norigins:\n",
        DOOR.replace(
            "upstream:",
            "proxy_protocol: {from: [192.0.2.1, 10.0.0.0/24]}, upstream:"
        )
    ));
    let settings = loaded.settings;
    assert_eq!(settings.tls.client_ca.as_deref(), Some(Path::new("/ca")));
    assert_eq!(settings.tls.crl.as_deref(), Some(Path::new("/crl")));
    assert_eq!(settings.metrics.max_origins, 7);
    let servers = ["127.0.0.1:53", "[::1]:54"].map(|text| text.parse().unwrap());
    assert_eq!(settings.resolver.servers, servers);
    assert_eq!(settings.resolver.max_stale, Duration::from_secs(300));
    let distances = settings.distances;
    assert_eq!(distances.same_site, Duration::from_micros(300));
    assert_eq!(distances.near, Duration::from_millis(5));
    assert_eq!(distances.far, Duration::from_millis(100));
    let audit = settings.audit;
    assert!(audit.required && audit.file.as_deref() == Some(Path::new("/a")));
    let balancers = ["192.0.2.1/32", "10.0.0.0/24"].map(|text| text.parse().unwrap());
    assert_eq!(settings.listeners[0].proxy_protocol, balancers);
}

#[test]
fn scalars_mean_what_is_written() {
    let loaded = good(&format!(
        "{DOOR}origins:\n  - {{name: '007', from: [10.0.0.1], users: [007, yes, 1.50, 'null', 0x10, 1_000], databases: [any]}}\n"
    ));
    let origin = &loaded.rules.origins[0];
    let users = ["007", "yes", "1.50", "null", "0x10", "1_000"].map(str::to_owned);
    assert_eq!(origin.users, Names::Listed(users.to_vec()));
    assert!(origin.databases.is_any());
}

#[test]
fn every_part_of_an_origin_is_read() {
    let loaded = good(&format!(
        "{DOOR}{}",
        origin(
            "from: [10.0.0.0/24, '::1'], users: [a], databases: [b], listeners: [pg], exclusive: true, active: false, expires: 2026-11-22T18:00:00+01:00, replication: physical, limits: {connections: 7}, note: n"
        )
    ));
    let origin = &loaded.rules.origins[0];
    assert!(origin.exclusive && !origin.active);
    assert_eq!(origin.replication, Some(Replication::Physical));
    assert_eq!(origin.limits.connections, Some(7));
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_366_800);
    assert_eq!(origin.expires, Some(expires));
    let more = good(&format!(
        "{DOOR}limits: {{drain: 0s}}\nsessions: {{on_revoke: close}}\nstrangers: {{answer: drop}}\ndeny:\n  - {{name: d, from: [any], users: [root]}}\nprotected_users: []\norigins:\n"
    ));
    assert_eq!(
        more.rules.drain,
        Duration::ZERO,
        "sessions.drain follows limits.drain"
    );
    assert_eq!(
        (more.rules.on_revoke, more.rules.strangers.answer),
        (OnRevoke::Close, Answer::Drop)
    );
    assert_eq!(more.rules.deny[0].from, [From::Any]);
    assert!(more.rules.protected_users.is_empty() && more.rules.origins.is_empty());
}

/// Every mapping that a file may have.
fn schemas() -> Vec<&'static Schema> {
    fn within(shape: Shape, found: &mut Vec<&'static Schema>) {
        if let Shape::Map(schema) | Shape::Named(schema) = shape {
            found.push(schema);
            for key in schema.keys {
                within(key.shape, found);
            }
        } else if let Shape::List(shape) = shape {
            within(*shape, found);
        } else if let Shape::Either(shapes) = shape {
            for shape in shapes {
                within(*shape, found);
            }
        }
    }
    let mut found = Vec::new();
    within(Shape::Map(&TOP), &mut found);
    found
}
