//! Origins that are given for a while: they let in, survive a restart, end by themselves, and never go over the ceiling.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{
    Dice, Ended, Gateway, Login, Postgres, Raw, gateway::doorward, process::run, psql,
};

const NOBODY: &str = "origins: []\n";

fn gateway(policy: &str) -> Gateway {
    Gateway::start(&Postgres::shared().address(), policy)
}

fn login(gateway: &Gateway) -> Login {
    Login::new(gateway.port, "by_text", "shop")
}

fn session(gateway: &Gateway) -> Raw {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.log_in("by_text", "shop");
    client
}

/// Asks for somebody to be let in.
fn ask(gateway: &Gateway, address: &str, user: &str, length: &str) -> Ended {
    gateway.command(&[
        "allow",
        address,
        "--user",
        user,
        "--database",
        "shop",
        "--for",
        length,
        "--format",
        "json",
    ])
}

/// The same where it must be given: its name.
#[track_caller]
fn allow(gateway: &Gateway, length: &str) -> String {
    let answer = ask(gateway, "127.0.0.1", "by_text", length);
    let answer: Value = serde_json::from_str(answer.worked()).unwrap();
    answer["name"].as_str().unwrap().to_owned()
}

#[track_caller]
fn told_to_go(client: &mut Raw, word: &str) {
    let last = client.refusal();
    assert_eq!(last.field('C').as_deref(), Some("57P01"));
    let text = last.field('M').unwrap();
    assert!(text.contains(word), "{text}");
}

#[test]
fn who_is_given_an_origin_comes_in_and_does_after_a_restart() {
    let mut gateway = gateway(NOBODY);
    assert!(
        psql(&login(&gateway), "select 1")
            .failed()
            .contains("not allowed")
    );
    let name = allow(&gateway, "1h");
    assert!(name.starts_with("tmp-by-text-"), "{name}");
    assert_eq!(psql(&login(&gateway), "select 1").worked(), "1");
    let audit = gateway.logged(&[("event", "origin_allowed"), ("origin", &name)]);
    assert!(audit.to_string().contains("(uid "), "{audit}");
    let file = gateway.folder.path().join("state/temporary.json");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    gateway.reload("origins: [{name: other, from: [192.0.2.1]}]\n");
    assert_eq!(psql(&login(&gateway), "select 1").worked(), "1");
    gateway.signal("KILL");
    gateway.ended();
    let again = gateway.again();
    assert_eq!(psql(&login(&again), "select 1").worked(), "1");
    let listed = fs::read_to_string(again.file()).unwrap();
    assert!(!listed.contains("tmp-"), "a person's file stays as it is");
}

#[test]
fn what_is_given_and_taken_back_is_no_reload() {
    let gateway = gateway(NOBODY);
    let told = || {
        let of = |name| gateway.metric(name, &[]);
        let success = [("result", "success")];
        let count = gateway.metric("doorward_config_reloads_total", &success);
        let at = of("doorward_config_last_reload_success_timestamp_seconds");
        (count.to_bits(), at.to_bits())
    };
    let before = told();
    // the time has whole seconds
    thread::sleep(Duration::from_millis(1_100));
    let name = allow(&gateway, "1h");
    gateway.until_metric("doorward_config_generation", &[], 2.0);
    gateway.command(&["revoke", &name]).worked();
    gateway.until_metric("doorward_config_generation", &[], 3.0);
    assert_eq!(told(), before);
}

#[test]
fn it_ends_by_itself_and_takes_its_session_with_it() {
    let gateway = gateway(NOBODY);
    allow(&gateway, "3s");
    let given = Instant::now();
    let mut client = session(&gateway);
    told_to_go(&mut client, "[expired]");
    assert!(
        given.elapsed() < Duration::from_secs(4),
        "{:?}",
        given.elapsed()
    );
    psql(&login(&gateway), "select 1").failed();
    crate::harness::wait_until("it leaves the state file", || {
        let file = gateway.folder.path().join("state/temporary.json");
        let text = fs::read_to_string(file).unwrap();
        (!text.contains("tmp-")).then_some(())
    });
}

#[test]
fn what_was_given_can_be_taken_back_with_its_sessions() {
    let gateway = gateway("origins: [{name: other, from: [192.0.2.1]}]\n");
    let name = allow(&gateway, "1h");
    assert_eq!(allow(&gateway, "2h"), name, "the same again is the same");
    let mut client = session(&gateway);
    let answer = gateway.command(&["revoke", &name]);
    assert!(answer.worked().contains("1 session is"), "{answer:?}");
    told_to_go(&mut client, "[no_origin]");
    psql(&login(&gateway), "select 1").failed();
    gateway.logged(&[("event", "origin_revoked"), ("origin", &name)]);

    let again = gateway.command(&["revoke", &name]);
    assert_eq!(again.code(), 1, "{again:?}");
    let of_the_file = gateway.command(&["revoke", "other"]);
    assert_eq!(of_the_file.code(), 3, "{of_the_file:?}");
    assert!(
        of_the_file.stdout.contains("allowlist.yaml:"),
        "{of_the_file:?}"
    );
    let misspelt = gateway.command(&["revoke", "othr"]);
    assert!(misspelt.stderr.contains("did you mean other?"));
}

#[test]
fn a_refusal_that_a_client_reports_can_be_answered_by_its_reference() {
    let gateway = gateway(NOBODY);
    let refused = psql(&login(&gateway), "select 1").failed().to_owned();
    let (_, reference) = refused.rsplit_once("ref ").unwrap();
    let reference: String = reference.chars().take(8).collect();
    let unasked = gateway.command(&["allow", "--ref", &reference, "--for", "1h"]);
    assert_eq!(unasked.code(), 1, "nobody is there to ask: {unasked:?}");
    let words = &unasked.stderr;
    assert!(
        words.contains("\"by_text\" from 127.0.0.1") && words.contains("--yes"),
        "{words}"
    );
    psql(&login(&gateway), "select 1").failed();
    gateway
        .command(&["allow", "--ref", &reference, "--for", "1h", "--yes"])
        .worked();
    assert_eq!(psql(&login(&gateway), "select 1").worked(), "1");
}

#[test]
fn the_ceiling_is_not_gone_over() {
    let gateway =
        gateway("origins: [{name: hr, from: [192.0.2.1], users: [payroll], exclusive: true}]\n");
    for (address, user, length, words) in [
        ("127.0.0.1", "postgres", "1h", "protected_users"),
        ("127.0.0.1", "payroll", "1h", "\"hr\""),
        ("127.0.0.0/23", "by_text", "1h", "at most a /24"),
        ("127.0.0.1", "by_text", "9h", "at most 8h"),
    ] {
        let refused = ask(&gateway, address, user, length);
        assert_eq!(refused.code(), 3, "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    for address in ["any", "127.0.0.1/24", "db.example"] {
        let refused = ask(&gateway, address, "by_text", "1h");
        assert_ne!(refused.code(), 0, "{refused:?}");
    }
    let state = gateway.folder.path().join("state/temporary.json");
    assert!(!state.exists());
    psql(&login(&gateway), "select 1").failed();
}

#[test]
fn what_a_deny_rule_forbids_is_not_promised() {
    let gateway = gateway("origins: []\ndeny:\n  - {name: bad, from: [127.0.0.66]}\n");
    let refused = ask(&gateway, "127.0.0.66", "by_text", "1h");
    assert_eq!(refused.code(), 3, "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
    assert!(
        refused.stderr.contains("the deny rule \"bad\" (line "),
        "{refused:?}"
    );
}

#[test]
fn a_temporary_origin_stands_in_no_line() {
    let gateway = gateway(NOBODY);
    let name = allow(&gateway, "1h");
    let asked = [
        "why",
        "127.0.0.1",
        "--user",
        "by_text",
        "--database",
        "shop",
    ];
    let why = gateway.command(&asked);
    assert!(
        why.stdout.contains(&format!("  temporary  {name}")),
        "{why:?}"
    );
    let elsewhere = gateway.command(&["why", "127.0.0.1", "--user", "app", "--tls"]);
    let mend = format!("mend: \"{name}\" (temporary) needs");
    assert!(elsewhere.stdout.contains(&mend), "{elsewhere:?}");
}

#[test]
fn a_user_who_becomes_protected_loses_what_was_given() {
    let gateway = gateway(NOBODY);
    allow(&gateway, "1h");
    let mut client = session(&gateway);
    gateway.reload("origins: []\nprotected_users: [by_text]\n");
    told_to_go(&mut client, "[no_origin]");
    gateway.logged(&[("event", "temporary_lapsed")]);
}

#[test]
fn a_damaged_state_file_loses_only_permissions() {
    let mut gateway = gateway("origins: [{name: app, from: [127.0.0.1], users: [app]}]\n");
    allow(&gateway, "1h");
    gateway.signal("KILL");
    gateway.ended();
    let state = gateway.folder.path().join("state/temporary.json");
    let text = fs::read(&state).unwrap();
    fs::write(&state, &text[..text.len() / 2]).unwrap();
    let again = gateway.again();
    again.logged(&[("event", "temporary_damaged")]);
    psql(&login(&again), "select 1").failed();
    assert_eq!(psql(&again.shop(), "select 1").worked(), "1");
    assert!(
        again
            .folder
            .path()
            .join("state/temporary.json.damaged")
            .exists()
    );
}

#[test]
fn a_daemon_that_is_killed_while_it_writes_leaves_a_file_that_can_be_read() {
    let mut gateway = gateway(NOBODY);
    let mut dice = Dice::new(7);
    for _ in 0..6 {
        let stop = Arc::new(AtomicBool::new(false));
        let socket = gateway.folder.path().join("admin.sock");
        let asking = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let address = format!("192.0.2.{}", number % 200 + 1);
                    let words = ["--user", "a", "--database", "b", "--for", "1h"];
                    run(doorward()
                        .args(["allow", &address])
                        .args(words)
                        .arg("--admin-socket")
                        .arg(&socket));
                }
            })
        };
        thread::sleep(Duration::from_millis(100 + dice.bits() % 300));
        gateway.signal("KILL");
        gateway.ended();
        stop.store(true, Ordering::Relaxed);
        asking.join().unwrap();
        let state = gateway.folder.path().join("state/temporary.json");
        if let Ok(text) = fs::read(state) {
            serde_json::from_slice::<Value>(&text).unwrap();
        }
        gateway = gateway.again();
        let damaged = gateway.said();
        assert!(
            !damaged
                .iter()
                .any(|line| line.contains("temporary_damaged"))
        );
    }
    assert!(gateway.folder.path().join("state/temporary.json").exists());
}
