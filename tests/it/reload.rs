//! A changed file is in force at once, for live sessions too; a broken one changes nothing.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Gateway, Login, Postgres, Raw, Relay,
    gateway::SHOP,
    process::{run, signal},
    psql, raw, wait_until,
};

const NOBODY: &str = "origins: []\n";
/// A user whose password goes in clear, so that raw bytes can log in.
const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text], databases: [shop]}
";

fn session(gateway: &Gateway) -> Raw {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.log_in("by_text", "shop");
    client
}

fn gateway(policy: &str) -> Gateway {
    Gateway::start(&Postgres::shared().address(), policy)
}

/// The end that a revoked session must see: 57P01 as a whole message, then the end of the stream.
#[track_caller]
fn told_to_go(client: &mut Raw) -> String {
    let last = client.refusal();
    assert_eq!(last.field('C').as_deref(), Some("57P01"));
    last.field('M').unwrap()
}

#[test]
fn an_idle_session_is_told_when_its_rule_goes() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    gateway.until_metric("doorward_connections", &[], 1.0);
    let began = Instant::now();
    let answer = gateway.reload(NOBODY);
    let text = told_to_go(&mut client);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(text.contains("[no_origin]"), "{text}");
    assert!(
        answer.contains("generation 2 ") && !answer.contains("no session"),
        "{answer}"
    );
    let refused = psql(&Login::new(gateway.port, "by_text", "shop"), "select 1");
    assert!(
        refused.failed().contains("not allowed"),
        "now a stranger: {refused:?}"
    );
    gateway.until_metric("doorward_connections", &[], 0.0);
    // the origin is gone, and what happened to its sessions still bears its name
    let cause = [("origin", "shop"), ("cause", "no_origin")];
    gateway.until_metric("doorward_sessions_revoked_total", &cause, 1.0);
    let (_, reference) = text.rsplit_once("ref ").unwrap();
    gateway.logged(&[
        ("event", "closed"),
        ("reason", "no_origin"),
        ("ref", reference),
    ]);
}

#[test]
fn a_transaction_may_end_before_its_session_does() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    client.query("create temp table t (i int); begin; insert into t values (1)");
    client.expect('Z');
    gateway.reload(NOBODY);
    for _ in 0..3 {
        client.query("select count(*) from t");
        assert_eq!(
            client.expect('D').payload,
            b"\0\x01\0\0\0\x011",
            "still there"
        );
        client.expect('Z');
    }
    client.query("commit");
    assert_eq!(client.expect('C').payload, b"COMMIT\0");
    assert_eq!(client.expect('Z').payload, b"I");
    told_to_go(&mut client);
}

#[test]
fn a_session_that_does_not_come_to_an_end_is_cut_after_the_drain_time() {
    let gateway = gateway(&format!("{TEXT}sessions: {{drain: 1s}}\n"));
    let mut client = session(&gateway);
    client.query("begin");
    client.expect('Z');
    gateway.reload(&format!("{NOBODY}sessions: {{drain: 1s}}\n"));
    let began = Instant::now();
    let end = client.message();
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(700) && took < Duration::from_secs(10),
        "{took:?}"
    );
    assert!(end.is_none_or(|message| message.field('C').as_deref() == Some("57P01")));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_rule_can_say_that_sessions_end_at_once_or_stay() {
    let gateway = gateway(&format!("{TEXT}sessions: {{on_revoke: close}}\n"));
    let mut client = session(&gateway);
    client.query("begin");
    client.expect('Z');
    gateway.reload(NOBODY);
    assert!(
        client
            .message()
            .is_none_or(|message| message.field('C').as_deref() == Some("57P01"))
    );
    assert_eq!(client.rest(), b"");

    let keep = "sessions: {on_revoke: keep}\n";
    gateway.reload(&format!("{TEXT}{keep}"));
    let mut client = session(&gateway);
    gateway.reload(&format!("{NOBODY}{keep}"));
    client.query("select 1");
    client.expect('Z');
}

#[test]
fn of_an_old_and_a_new_way_to_end_the_stricter_holds() {
    let with = |users: &str, how: &str| {
        format!(
            "origins:\n  - {{name: shop, from: [127.0.0.1], users: [{users}], databases: [shop], on_revoke: {how}}}\n"
        )
    };
    let ways = [("close", "keep"), ("keep", "close"), ("drain", "close")];
    for (old, new) in ways {
        let gateway = gateway(&with("by_text", old));
        let mut client = session(&gateway);
        client.query("begin");
        client.expect('Z');
        let began = Instant::now();
        gateway.reload(&with("other", new));
        client.rest();
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{old}, {new}: cut inside its transaction"
        );
    }
    // what is kept by both stays, and is not held against a rule that is gone
    let gateway = gateway(&with("by_text", "keep"));
    let mut client = session(&gateway);
    gateway.reload(&with("other", "keep"));
    client.query("select 1");
    client.expect('Z');
}

#[test]
fn a_deny_rule_ends_a_session_in_the_middle() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    client.query("begin");
    client.expect('Z');
    gateway.reload(&format!(
        "{TEXT}deny:\n  - {{name: out, users: [by_text]}}\n"
    ));
    let began = Instant::now();
    client.message();
    client.rest();
    assert!(began.elapsed() < Duration::from_secs(5));
    gateway.until_metric(
        "doorward_sessions_revoked_total",
        &[("cause", "deny_rule")],
        1.0,
    );
}

#[test]
fn what_a_cut_session_was_running_does_not_go_on_in_the_database() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    client.query("select pg_sleep(63)");
    let active = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(63)%' and pid <> pg_backend_pid()";
    let running = |count: &str| (Postgres::shared().sql(active) == count).then_some(());
    wait_until("the statement runs", || running("1"));
    gateway.reload(&format!(
        "{TEXT}deny:\n  - {{name: out, users: [by_text]}}\n"
    ));
    wait_until("the statement is stopped", || running("0"));
}

#[test]
fn who_is_still_admitted_notices_nothing() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    client.query("begin");
    client.expect('Z');
    for number in 0..5 {
        gateway.reload(&format!(
            "{TEXT}  - {{name: new-{number}, from: [192.0.2.{number}]}}\n"
        ));
        client.query("select 1");
        client.expect('Z');
    }
    // another origin takes the session over
    gateway.reload("origins:\n  - {name: renamed, from: [127.0.0.0/8], users: [by_text]}\n");
    client.query("commit");
    client.expect('Z');
    gateway.until_metric("doorward_connections", &[("origin", "renamed")], 1.0);
    gateway.until_metric("doorward_connections", &[("origin", "shop")], 0.0);
}

#[test]
fn a_policy_that_changes_during_a_slow_login_is_not_missed() {
    let gateway = gateway(TEXT);
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
    client.expect('R');
    gateway.reload(NOBODY);
    client.try_send(&raw::framed(b'p', b"secret\0")).ok();
    let refusal = client.refusal();
    assert!(
        ["28000", "57P01"].contains(&&*refusal.field('C').unwrap()),
        "{refusal:?}"
    );
}

#[test]
fn a_broken_file_changes_nothing_and_says_where_it_is_broken() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    let broken =
        "origins:\n  - {name: shop, from: [10.0.0.300/24], users: [by_text]}\n  - {nmae: x}\n";
    gateway.rewrite(broken);
    let refused = gateway.command(&["reload"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    let text = format!("{}{}", refused.stdout, refused.stderr);
    let line = fs::read_to_string(gateway.file())
        .unwrap()
        .lines()
        .position(|line| line.contains("10.0.0.300"))
        .unwrap()
        + 1;
    assert!(text.contains(&format!("allowlist.yaml:{line}:")), "{text}");
    assert!(
        text.contains(&format!("allowlist.yaml:{}:", line + 1)),
        "all problems at once: {text}"
    );
    assert!(
        text.contains("10.0.0.300/24") && text.contains("name"),
        "{text}"
    );
    client.query("select 1");
    client.expect('Z');
    drop(session(&gateway));
    gateway.until_metric("doorward_config_last_reload_successful", &[], 0.0);
    gateway.until_metric("doorward_config_generation", &[], 1.0);
    gateway.reload(TEXT);
    gateway.until_metric("doorward_config_last_reload_successful", &[], 1.0);
    gateway.until_metric("doorward_config_generation", &[], 2.0);
}

#[test]
fn sighup_is_a_reload_too() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    gateway.rewrite("origins: [");
    gateway.signal("HUP");
    gateway.until_metric("doorward_config_last_reload_successful", &[], 0.0);
    client.query("select 1");
    client.expect('Z');
    gateway.rewrite(NOBODY);
    gateway.signal("HUP");
    told_to_go(&mut client);
}

#[test]
fn a_certificate_is_swapped_without_dropping_a_handshake() {
    let gateway = gateway(TEXT);
    let leaf = || {
        let mut raw = Raw::connect(gateway.port);
        raw.send(&raw::SSL_REQUEST);
        raw.byte();
        raw.handshake(crate::harness::tls::client(&[])).unwrap().1
    };
    let before = leaf();
    let mut live = session(&gateway);
    let mut halfway = Raw::connect(gateway.port);
    halfway.send(&raw::SSL_REQUEST);
    assert_eq!(halfway.byte(), b'S');
    crate::harness::Authority::shared().issue(gateway.folder.path(), "server");
    gateway.reload(TEXT);
    assert_ne!(leaf(), before);
    assert!(halfway.handshake(crate::harness::tls::client(&[])).is_ok());
    live.query("select 1");
    live.expect('Z');
    // a key that does not fit changes nothing
    let now = leaf();
    let (_, key) = crate::harness::Authority::shared().issue(gateway.folder.path(), "another");
    fs::copy(key, gateway.folder.path().join("server.key")).unwrap();
    let refused = gateway.command(&["reload"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    assert_eq!(leaf(), now);
}

#[test]
fn an_origin_that_expires_lets_its_sessions_go() {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let policy = format!(
        "origins:\n  - {{name: guest, from: [127.0.0.1], users: [by_text], databases: [shop], expires: \"{expires}\"}}\n"
    );
    let gateway = gateway(&policy);
    let mut client = session(&gateway);
    let text = told_to_go(&mut client);
    assert!(text.contains("[expired]"), "{text}");
}

#[test]
fn sigterm_lets_transactions_end_and_a_second_one_does_not() {
    let mut gateway = gateway(TEXT);
    let (mut idle, mut busy) = (session(&gateway), session(&gateway));
    busy.query("begin");
    busy.expect('Z');
    gateway.signal("TERM");
    assert!(told_to_go(&mut idle).contains("[shutting_down]"));
    wait_until("nobody is accepted", || {
        std::net::TcpStream::connect(("127.0.0.1", gateway.port))
            .is_err()
            .then_some(())
    });
    assert!(!gateway.has_ended());
    busy.query("commit");
    busy.expect('Z');
    told_to_go(&mut busy);
    assert_eq!(gateway.ended(), 0);

    let mut gateway = self::gateway(TEXT);
    let mut busy = session(&gateway);
    busy.query("begin");
    busy.expect('Z');
    gateway.signal("TERM");
    thread::sleep(Duration::from_millis(300));
    assert!(!gateway.has_ended());
    let began = Instant::now();
    signal("TERM", gateway.id());
    gateway.ended();
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_stop_does_not_wait_longer_than_the_drain_time() {
    let mut gateway = gateway(&format!("{TEXT}limits: {{drain: 1s}}\n"));
    let mut busy = session(&gateway);
    busy.query("begin");
    busy.expect('Z');
    gateway.signal("TERM");
    let began = Instant::now();
    assert_eq!(gateway.ended(), 0);
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(700) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

#[test]
fn a_gateway_that_was_killed_is_back_at_once() {
    let mut gateway = gateway(TEXT);
    let mut live = session(&gateway);
    gateway.signal("KILL");
    gateway.ended();
    live.rest();
    let began = Instant::now();
    let again = gateway.again();
    session(&again);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_start_with_a_broken_file_uses_the_last_good_one_and_says_so() {
    let mut gateway = gateway(TEXT);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), 0);
    gateway.rewrite("origins: [");
    let again = gateway.again();
    drop(session(&again));
    wait_until("the start says so", || {
        let said = again.said().join("\n");
        (said.contains("last") && said.contains("allowlist.yaml")).then_some(())
    });
    again.until_metric("doorward_config_last_reload_successful", &[], 0.0);
    assert!(
        again.command(&["status"]).worked().contains("last"),
        "status says it too"
    );
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    let gateway = gateway(TEXT);
    let pipe = |path: &Path| {
        fs::remove_file(path).ok();
        run(Command::new("mkfifo").arg(path)).worked();
    };
    pipe(&gateway.folder.path().join("more.yaml"));
    gateway.rewrite(&format!("include: [more.yaml]\n{TEXT}"));
    let refused = gateway.command(&["reload"]);
    assert!(
        refused.failed().contains("it is no file: a pipe"),
        "{refused:?}"
    );
    pipe(&gateway.file());
    let refused = gateway.command(&["reload"]);
    assert!(refused.failed().contains("reads no pipes"), "{refused:?}");
    let status = gateway.command(&["status"]);
    assert!(status.worked().contains("allowlist.yaml"), "{status:?}");
    fs::remove_file(gateway.file()).unwrap();
    gateway.reload(TEXT);
}

#[test]
fn a_list_of_addresses_is_taken_in_when_it_changes_and_the_file_that_is_being_edited_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("office.txt");
    fs::write(&list, "127.0.0.1\n").unwrap();
    let policy = format!(
        "networks:\n  office: {{file: {}, format: plain}}\n{}",
        list.display(),
        TEXT.replace("127.0.0.1", "{network: office}")
    );
    let mut gateway = gateway(&policy);
    let mut client = session(&gateway);
    gateway.rewrite("origins: [");
    for broken in ["", "127.0.0.300\n"] {
        fs::write(&list, broken).unwrap();
        wait_until("it is refused", || {
            let said = gateway.said();
            let refused = said.iter().filter(|line| line.contains("file_refused"));
            (refused.count() > usize::from(!broken.is_empty())).then_some(())
        });
    }
    drop(session(&gateway));
    fs::write(&list, "127.0.0.9\n").unwrap();
    let text = told_to_go(&mut client);
    assert!(text.contains("[no_origin]"), "{text}");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), 0);
    fs::write(&list, "").unwrap();
    // the file is broken by now, and so is the list: the last good copy has both
    let again = gateway.again();
    let refused = psql(&Login::new(again.port, "by_text", "shop"), "select 1");
    assert!(refused.failed().contains("not allowed"), "{refused:?}");
}

#[test]
fn live_sessions_survive_a_hundred_reloads_under_load() {
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), SHOP);
    let script = "import psycopg\nc = psycopg.connect('', autocommit=True)\n\
                  for i in range(3000): assert c.execute('select %s::int', [i]).fetchone()[0] == i\nprint('whole')";
    let load = crate::harness::clients::python_started(&gateway.shop(), script);
    for number in 0..100 {
        let broken = number % 2 == 1;
        gateway.rewrite(if broken { "nonsense: [" } else { SHOP });
        assert_eq!(
            gateway.command(&["reload"]).code(),
            if broken { 78 } else { 0 }
        );
    }
    assert_eq!(load.end().worked(), "whole");
}
