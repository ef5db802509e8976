//! The status page: what it is served with, and how it looks and works in a real browser.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    Gateway, Postgres, Raw, drivers, gateway::Plan, http, project, raw, run, wait_until,
};

/// Names that a page which made them into marks of HTML would run.
const IMAGE: &str = "<img src=x onerror=pwned=1>";
const SCRIPT: &str = "</script><script>pwned=1</script>";

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text], databases: [shop]}
";

fn gateway() -> Gateway {
    Gateway::start(&Postgres::shared().address(), TEXT)
}

fn figures(gateway: &Gateway) -> Value {
    let answer = http::get(gateway.admin, "/status.json").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Chromium at this gateway, told what to try by a verb of `tests/page/browser.js`.
fn browser(gateway: &Gateway, verb: &str, more: &str) {
    let mut command = Command::new("node");
    command
        .arg(project("tests/page/browser.js"))
        .args([verb, &gateway.admin.to_string(), more])
        .env("NODE_PATH", drivers("node").join("node_modules"));
    run(&mut command).worked();
}

/// Logs in as an application of this name, and asks a few things.
fn session(gateway: &Gateway, application: &str) -> Raw {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.send(&raw::startup(&[
        ("user", "by_text"),
        ("database", "shop"),
        ("application_name", application),
    ]));
    client.expect('R');
    client.send(&raw::framed(b'p', b"secret\0"));
    client.expect('Z');
    for _ in 0..5 {
        client.query("select pg_sleep(0.01)");
        client.expect('Z');
    }
    gateway.until_metric("doorward_flights_total", &[("origin", "shop")], 5.0);
    client
}

fn refuse(gateway: &Gateway, source: [u8; 4], user: &str) {
    let mut client = Raw::connect_from(source, gateway.port);
    client.send(&raw::startup(&[("user", user), ("database", "shop")]));
    client.rest();
}

#[test]
fn a_real_gateway_shows_who_is_there_and_who_was_turned_away_and_runs_no_name() {
    let gateway = gateway();
    let _session = session(&gateway, IMAGE);
    refuse(&gateway, [127, 0, 0, 1], SCRIPT);
    refuse(&gateway, [127, 0, 0, 8], "stranger");
    let refused = wait_until("both are remembered", || {
        let refused = figures(&gateway)["refused"].take();
        (refused.as_array().unwrap().len() == 2).then_some(refused)
    });
    let reference = refused[0]["reference"].as_str().unwrap();
    let more = json!({
        "shown": ["shop", "by_text", "127.0.0.8", reference, "no_origin", "Generation 1"],
        "names": [IMAGE, SCRIPT],
    });
    browser(&gateway, "live", &more.to_string());
}

#[test]
fn every_figure_is_on_the_page_and_those_who_do_not_see_it_are_told() {
    browser(&gateway(), "contents", "");
}

#[test]
fn new_figures_move_nothing_that_is_read_and_silence_is_said() {
    browser(&gateway(), "refresh", "");
}

#[test]
fn what_is_wrong_stands_above_everything() {
    browser(&gateway(), "wrong", "");
}

#[test]
fn hundreds_of_origins_are_told_of() {
    browser(&gateway(), "many", "");
}

#[test]
fn the_page_is_legible_in_dark_and_light_and_on_a_phone() {
    browser(&gateway(), "sizes", "");
}

#[test]
fn the_page_needs_no_mouse() {
    browser(&gateway(), "keyboard", "");
}

#[test]
fn the_page_is_served_to_this_machine_alone_and_under_no_other_name() {
    let here = gateway();
    for path in ["/", "/status.json"] {
        let answer = http::get(here.admin, path).unwrap();
        assert_eq!(answer.status, 200, "{path}");
        for line in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(answer.head.contains(line), "{path}: {}", answer.head);
        }
        let rebound = http::get_as(here.admin, path, "attacker.example").unwrap();
        assert_eq!(rebound.status, 403, "{path}");
    }
    let page = http::get(here.admin, "/").unwrap();
    assert!(
        page.head
            .contains("content-security-policy: default-src 'none'; "),
        "{}",
        page.head
    );
    let mut plan = Plan::new(&Postgres::shared().address());
    let everywhere = format!("0.0.0.0:{}", plan.admin);
    plan.environment.push(("DOORWARD__ADMIN__HTTP", everywhere));
    let open = plan.start(TEXT);
    for (path, status) in [("/", 404), ("/status.json", 404), ("/metrics", 200)] {
        let answer = http::get(open.admin, path).unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
}

#[test]
fn the_figures_are_bounded_and_strangers_hide_nobody_known() {
    let text = "strangers: {ban: {after: 1000000, within: 1m, for: 1s}}\n";
    let gateway = Gateway::start(&Postgres::shared().address(), &format!("{TEXT}{text}"));
    refuse(&gateway, [127, 0, 0, 1], "known");
    for number in 0..40 {
        refuse(&gateway, [127, 0, 0, 8], &format!("stranger-{number}"));
    }
    let told = wait_until("the refusals are remembered", || {
        let told = figures(&gateway);
        (told["refused"].as_array().unwrap().len() == 26).then_some(told)
    });
    let refused = told["refused"].as_array().unwrap();
    let users = refused.iter().map(|one| one["who"]["user"].as_str());
    assert!(users.clone().any(|user| user == Some("known")), "{told:#}");
    assert_eq!(refused[0]["who"]["user"], "stranger-39");
    let names: Vec<_> = told.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["history", "latency", "now", "refused", "sessions", "status"]
    );
    assert_eq!(told["history"]["step_seconds"], 30);
    assert_eq!(told["latency"][0]["origin"], "shop");
}

/// Makes the README's picture anew: `cargo test --test it -- --ignored picture`.
#[test]
#[ignore = "writes deploy/status-page.png"]
fn picture_of_the_status_page() {
    let file = project("deploy/status-page.png");
    browser(&gateway(), "picture", file.to_str().unwrap());
}
