//! What operators load elsewhere: the alerts are raised when they should be, and nothing asks for a number that no gateway shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{
    Dns, Gateway, Postgres, Raw, free_port,
    gateway::{Plan, doorward},
    http, project, psql, raw, run, wait_until,
};

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const BOARD: &str = "deploy/grafana/doorward.json";

#[track_caller]
fn promtool(arguments: &[&str]) {
    let tried = run(Command::new("promtool")
        .args(arguments)
        .current_dir(project("deploy/prometheus")));
    assert!(tried.status.success(), "run tests/setup first? {tried:#?}");
}

#[test]
fn every_alert_is_raised_where_it_should_be_and_nowhere_else() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts-test.yaml", "alerts-days-test.yaml"]);
    let tried = ["alerts-test.yaml", "alerts-days-test.yaml"]
        .map(|file| fs::read_to_string(project("deploy/prometheus").join(file)).unwrap())
        .concat();
    let text = fs::read_to_string(project(ALERTS)).unwrap();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        let told = format!("alertname: {name}\n        exp_alerts:\n");
        assert!(tried.contains(&told), "no test in which {name} is raised");
    }
}

#[test]
fn every_alert_has_a_command_that_there_is() {
    let text = fs::read_to_string(project(ALERTS)).unwrap();
    let commands: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("command: "))
        .collect();
    assert_eq!(commands.len(), text.matches("- alert: ").count());
    for command in commands {
        let Some(words) = command.strip_prefix("doorward ") else {
            continue;
        };
        let verb = words.split(' ').next().unwrap();
        let help = run(doorward().args([verb, "--help"]));
        assert_eq!(help.code(), 0, "{command}");
        for flag in words.split(' ').filter(|word| word.starts_with("--")) {
            assert!(help.stdout.contains(flag), "{command}");
        }
    }
}

/// The expressions of the dashboard as a person's Prometheus gets them, each with what is written beside its line.
fn drawn() -> Vec<(String, String)> {
    let board: Value = serde_json::from_str(&fs::read_to_string(project(BOARD)).unwrap()).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let notes = board["annotations"]["list"].as_array().unwrap();
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    targets
        .chain(notes)
        .map(|one| {
            (
                text(one, "expr").replace("$__rate_interval", "5m"),
                text(one, "legendFormat"),
            )
        })
        .collect()
}

#[test]
fn every_expression_of_the_dashboard_is_one_that_prometheus_takes() {
    let drawn = drawn();
    assert!(drawn.len() >= 40, "{}", drawn.len());
    let rules = drawn.iter().enumerate().map(|(number, (expression, _))| {
        let quoted = serde_json::to_string(expression).unwrap();
        format!("      - {{record: drawn_{number}, expr: {quoted}}}\n")
    });
    let head = "groups:\n  - name: drawn\n    rules:\n".to_owned();
    let rules = head + &rules.collect::<String>();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drawn.yaml");
    fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

/// What an expression asks for.
#[derive(Debug, Default)]
struct Asked {
    metrics: Vec<Picked>,
    /// Labels that are kept or joined on.
    kept: Vec<String>,
}

/// A metric with the labels that it is picked by, and their values where these are plain.
#[derive(Debug)]
struct Picked {
    metric: String,
    labels: Vec<(String, Option<String>)>,
}

/// A small reader: names that begin as metrics of ours do, braces behind them, and parentheses behind `by`, `on` and the like.
fn asked(expression: &str) -> Asked {
    let mut asked = Asked::default();
    let mut rest = expression.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let word = rest.strip_suffix(after).unwrap();
        rest = after;
        if word == "up" || word.starts_with("doorward_") || word.starts_with("process_") {
            let braced = after.strip_prefix('{');
            let inside = braced.and_then(|inside| inside.split_once('}'));
            let (inside, after) = inside.unwrap_or(("", after));
            rest = after;
            let matchers = inside
                .split(", ")
                .filter_map(|one| one.split_once(['=', '!']));
            let labels = matchers.map(|(label, value)| {
                let plain = value.strip_prefix('"');
                let plain = plain.map(|value| value.trim_end_matches('"').to_owned());
                (label.to_owned(), plain)
            });
            asked.metrics.push(Picked {
                metric: word.to_owned(),
                labels: labels.collect(),
            });
        } else if ["by", "on", "without", "ignoring"].contains(&word) {
            let inside = after.trim_start().trim_start_matches('(');
            let (inside, after) = inside.split_once(')').unwrap();
            rest = after;
            asked.kept.extend(inside.split(", ").map(str::to_owned));
        }
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    }
    asked
}

/// Metrics that no quiet machine can be brought to show, and their labels.
const SELDOM: &[(&str, &[&str])] = &[
    ("accept_errors_total", &["reason"]),
    ("upstream_host_blocked", &["listener"]),
];
/// Labels that Prometheus gives to whatever it scrapes.
const ITS_OWN: &[&str] = &["job", "instance"];

/// The labels of each metric, with all their values, that a gateway shows to which a few things have happened.
fn shown() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let dns = Dns::new();
    dns.says("app.partner.example", &["127.0.0.9"], 60);
    let origins = |users: &str| {
        format!(
            "resolver: {{servers: [\"{}\"]}}\nsessions: {{drain: 1s}}\norigins:\n  \
             - {{name: shop, listeners: [pg, away], from: [127.0.0.1], users: [{users}], databases: [shop], expires: 2099-01-01T00:00:00Z, limits: {{connections: 9}}, expect: {{rtt: 1s}}}}\n  \
             - {{name: trial, listeners: [pg], observe: true, tls: {{min: \"1.3\"}}, from: [127.0.0.3], users: [by_text], databases: [shop], limits: {{connections: 1}}}}\n  \
             - {{name: partner, listeners: [pg], from: [{{host: app.partner.example, private: true}}], users: [app], databases: [shop]}}\n",
            dns.address
        )
    };
    let (port, away) = (free_port(), free_port());
    let listener = |name: &str, port: u16, upstream: &str| {
        format!(
            "name: {name}, protocol: postgres, listen: \"127.0.0.1:{port}\", upstream: \"{upstream}\""
        )
    };
    let nobody = format!("127.0.0.1:{}", free_port());
    let listeners = [
        listener("pg", port, &Postgres::shared().address()),
        listener("away", away, &nobody),
    ];
    let gateway = Plan::listening(port, &listeners).start(&origins("app, by_text"));
    let mut session = Raw::encrypted([127, 0, 0, 1], port);
    session.log_in("by_text", "shop");
    let trials = [0, 1].map(|_| {
        let mut trial = Raw::encrypted([127, 0, 0, 3], port);
        trial.log_in("by_text", "shop");
        trial
    });
    let mut nowhere = gateway.shop();
    nowhere.port = away;
    psql(&nowhere, "select 1").failed();
    let mut other = gateway.shop();
    other.database = "postgres".into();
    psql(&other, "select 1").failed();
    let mut stranger = Raw::connect_from([127, 0, 0, 66], port);
    stranger.send(&raw::startup(&[("user", "app")]));
    stranger.refusal();
    drop(stranger);
    wait_until("the stranger is counted", || {
        (gateway.refused("no_origin") > 0.0).then_some(())
    });
    let mut cancel = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    cancel.write_all(&raw::cancel(&[7; 8])).unwrap();
    gateway.until_metric("doorward_cancels_total", &[], 1.0);
    gateway.reload(&origins("app"));
    gateway.until_metric("doorward_sessions_revoked_total", &[], 1.0);
    drop(trials);
    wait_until("DNS was asked", || {
        (gateway.metric("doorward_dns_addresses", &[]) > 0.0).then_some(())
    });
    let mut shown: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for sample in gateway.metrics() {
        let labels = shown.entry(sample.name).or_default();
        for (label, value) in sample.labels {
            labels.entry(label).or_default().insert(value);
        }
    }
    let families = fs::read_to_string(project("src/meter/families.rs")).unwrap();
    for (name, labels) in SELDOM {
        assert!(families.contains(&format!("\"{name}\"")), "{name}");
        let labels = labels
            .iter()
            .map(|label| ((*label).to_owned(), BTreeSet::new()));
        let known = shown.insert(format!("doorward_{name}"), labels.collect());
        assert!(known.is_none(), "{name} is not so seldom");
    }
    shown.insert("up".into(), BTreeMap::new());
    shown
}

#[test]
fn dashboard_and_alerts_ask_for_nothing_but_what_a_gateway_shows() {
    let shown = shown();
    let alerts = fs::read_to_string(project(ALERTS)).unwrap();
    // an alert's expression is all between its `expr` and the next key
    let raised = alerts.split("\n        expr: ").skip(1).map(|rest| {
        let end = rest
            .find("\n        for: ")
            .or_else(|| rest.find("\n        labels: "));
        (rest.split_at(end.unwrap()).0.to_owned(), String::new())
    });
    let mut wrong = BTreeSet::new();
    for (expression, legend) in drawn().into_iter().chain(raised) {
        let asked = asked(&expression);
        assert!(!asked.metrics.is_empty(), "{expression}");
        let mut all: BTreeSet<&str> = ITS_OWN.iter().copied().collect();
        for Picked {
            metric,
            labels: picked,
        } in &asked.metrics
        {
            let Some(labels) = shown.get(metric) else {
                wrong.insert(format!("there is no {metric}"));
                continue;
            };
            all.extend(labels.keys().map(String::as_str));
            for (label, value) in picked
                .iter()
                .filter(|(label, _)| !ITS_OWN.contains(&label.as_str()))
            {
                match (labels.get(label), value) {
                    (None, _) => drop(wrong.insert(format!("{metric} has no label {label}"))),
                    (Some(values), Some(value)) if !values.contains(value) => {
                        wrong.insert(format!("{metric} has no {label}=\"{value}\""));
                    }
                    (Some(_), _) => {}
                }
            }
        }
        let written = legend
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split_once("}}"));
        let named = asked
            .kept
            .iter()
            .map(String::as_str)
            .chain(written.map(|(label, _)| label));
        for label in named.filter(|label| !all.contains(label)) {
            wrong.insert(format!("{label} in {expression} ({legend})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_that_strangers_and_clients_choose_add_no_series() {
    // in clear, for handshakes are most of the time
    let policy = format!("require: {{tls: false}}\n{}", crate::harness::gateway::SHOP);
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    let try_as = |name: &str| {
        let mut client = Raw::connect(gateway.port);
        client.send(&raw::startup(&[
            ("user", name),
            ("database", name),
            ("application_name", name),
        ]));
        client.refusal();
    };
    try_as("first");
    wait_until("it is counted", || {
        (gateway.refused("user_not_allowed") > 0.0).then_some(())
    });
    let series = || gateway.metrics().len();
    let before = series();
    for number in 0..5000 {
        try_as(&format!("random-{number}"));
    }
    wait_until("all are counted", || {
        (gateway.refused("user_not_allowed") > 5000.0).then_some(())
    });
    assert_eq!(series(), before);
}

#[test]
fn five_hundred_origins_are_scraped_quickly_and_in_few_bytes() {
    let origins = (0..500).map(|number| {
        let (high, low) = (number / 250, number % 250);
        format!("  - {{name: application-number-{number}, from: [10.9.{high}.{low}], users: [app], databases: [shop], limits: {{connections: 9}}, expires: 2099-01-01T00:00:00Z}}\n")
    });
    let policy = format!("origins:\n{}", origins.collect::<String>());
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    let scrape = || {
        let begun = Instant::now();
        let answer = http::get(gateway.admin, "/metrics").unwrap();
        (begun.elapsed(), answer.body)
    };
    let page = scrape().1;
    assert!(page.contains("application-number-499"), "not all are shown");
    assert!(page.len() < 6_000_000, "{} bytes", page.len());
    // other tests run beside this one, and a debug build is slow: the best of some, and more time
    let best = (0..20).map(|_| scrape().0).min().unwrap();
    let most = if cfg!(debug_assertions) { 300 } else { 100 };
    assert!(best < Duration::from_millis(most), "{best:?}");
}
