//! How sessions of MySQL end when a rule goes or the gateway does: told at the end of an answer, outside a transaction, soon.

use std::{
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Client, Gateway, Raw, Rogue,
    mysql_raw::{
        self as mysql, AUTOCOMMIT, COM_CHANGE_USER, COM_PING, COM_QUERY, COM_QUIT, Greeting,
        IN_TRANSACTION, Refusal, Response, ok, packet,
    },
    process::signal,
    rogue, wait_until,
};

const POLICY: &str = "\
require: {tls: false}
origins:
  - {name: shop, from: [127.0.0.1], users: [app], databases: [shop]}
  - {name: second, from: [127.0.0.1], users: [second], databases: [shop]}
";
const NOBODY: &str = "require: {tls: false}\norigins: []\n";

/// Knows `begin` and `commit`, says half a row to `half` and nothing to `hang`, and is content with the rest.
fn server() -> Rogue {
    Rogue::answering(|raw, heard| {
        let answer = match heard.payload.as_slice() {
            [COM_QUERY, b'b' | b'i', ..] => ok(AUTOCOMMIT | IN_TRANSACTION),
            [COM_QUERY, b'h', b'a', b'l', ..] => {
                let columns = [
                    packet(1, &[1]),
                    packet(2, &[3, b'd', b'e', b'f'])[..6].to_vec(),
                ];
                raw.try_send(&columns.concat()).ok();
                return;
            }
            [COM_QUERY, b'h', ..] | [COM_QUIT] => return,
            _ => ok(AUTOCOMMIT),
        };
        raw.try_send(&packet(heard.sequence + 1, &answer)).ok();
    })
}

fn begun(policy: &str) -> (Rogue, Gateway) {
    let server = server();
    let gateway = Gateway::mysql(&server.address(), policy);
    (server, gateway)
}

fn session_of(gateway: &Gateway, user: &str) -> Raw {
    let client = Client::greeted(gateway.port);
    client
        .log_in(&Response::of(user, "shop"), "secret")
        .unwrap()
}

fn session(gateway: &Gateway) -> Raw {
    session_of(gateway, "app")
}

/// The end that a session must see when it is not to go on: 1053 as a whole packet, then the end of the stream.
#[track_caller]
fn told_to_go(client: &mut Raw) -> Refusal {
    let last = client.err();
    assert_eq!(
        (last.number, last.state.as_deref()),
        (1053, Some("08S01")),
        "{last:?}"
    );
    last
}

#[test]
fn an_idle_session_is_told_within_a_second_when_its_rule_goes() {
    let (server, gateway) = begun(POLICY);
    for encrypted in [false, true] {
        gateway.reload(POLICY);
        let mut client = if encrypted {
            let client = Client::encrypted(gateway.port);
            client
                .log_in(&Response::of("app", "shop"), "secret")
                .unwrap()
        } else {
            session(&gateway)
        };
        client.command(COM_PING, b"");
        client.ok();
        let began = Instant::now();
        gateway.reload(NOBODY);
        let last = told_to_go(&mut client);
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        assert!(last.text.contains("[no_origin]"), "{last:?}");
        // as an answer to a command that the client is about to send
        assert_eq!(last.sequence, 1);
    }
    // the server is not left hanging
    wait_until("a goodbye", || {
        (server
            .commands()
            .iter()
            .filter(|said| **said == [COM_QUIT])
            .count()
            == 2)
            .then_some(())
    });
    let cause = [("origin", "shop"), ("cause", "no_origin")];
    assert!(gateway.metric("doorward_sessions_revoked_total", &cause) >= 1.0);
    gateway.until_metric("doorward_connections", &[], 0.0);
}

#[test]
fn a_transaction_may_end_before_its_session_does() {
    let (_server, gateway) = begun(POLICY);
    let mut client = session(&gateway);
    client.command(COM_QUERY, b"begin");
    client.ok();
    gateway.reload(NOBODY);
    for _ in 0..3 {
        client.command(COM_QUERY, b"insert into t values (1)");
        assert_eq!(client.ok(), AUTOCOMMIT | IN_TRANSACTION);
    }
    client.command(COM_QUERY, b"commit");
    assert_eq!(client.ok(), AUTOCOMMIT);
    told_to_go(&mut client);
}

#[test]
fn an_answer_arrives_whole_before_its_session_ends() {
    let server = Rogue::answering(|raw, heard| {
        thread::sleep(Duration::from_millis(500));
        raw.try_send(&packet(heard.sequence + 1, &ok(AUTOCOMMIT)))
            .ok();
    });
    let gateway = Gateway::mysql(&server.address(), POLICY);
    let mut client = session(&gateway);
    client.command(COM_QUERY, b"do sleep(1)");
    wait_until("the statement is on its way", || {
        server.has_heard(b"\x03do").then_some(())
    });
    gateway.reload(NOBODY);
    client.ok();
    told_to_go(&mut client);
}

#[test]
fn a_session_that_does_not_come_to_an_end_is_cut_after_the_drain_time() {
    for statement in [&b"begin"[..], b"hang", b"half a result"] {
        let drain = "sessions: {drain: 1s}\n";
        let (_server, gateway) = begun(&format!("{POLICY}{drain}"));
        let mut client = session(&gateway);
        client.command(COM_QUERY, statement);
        if statement == b"begin" {
            client.ok();
        }
        gateway.until_metric("doorward_connections", &[], 1.0);
        let began = Instant::now();
        gateway.reload(&format!("{NOBODY}{drain}"));
        let rest = client.rest();
        let took = began.elapsed();
        assert!(
            took > Duration::from_millis(700) && took < Duration::from_secs(5),
            "{took:?}"
        );
        if statement == b"half a result" {
            // nothing is put into the middle of a packet
            assert_eq!(rest.len(), 11, "{rest:?}");
        }
    }
}

#[test]
fn a_rule_can_say_that_sessions_end_at_once_or_stay() {
    let close = "sessions: {on_revoke: close}\n";
    let (_server, gateway) = begun(&format!("{POLICY}{close}"));
    let mut client = session(&gateway);
    client.command(COM_QUERY, b"begin");
    client.ok();
    let began = Instant::now();
    gateway.reload(&format!("{NOBODY}{close}"));
    told_to_go(&mut client);
    assert!(began.elapsed() < Duration::from_secs(1));
    let keep = "sessions: {on_revoke: keep}\n";
    gateway.reload(&format!("{POLICY}{keep}"));
    let mut client = session(&gateway);
    gateway.reload(&format!("{NOBODY}{keep}"));
    client.command(COM_PING, b"");
    client.ok();
}

#[test]
fn a_session_is_decided_again_as_whom_it_has_become() {
    let (_server, gateway) = begun(POLICY);
    let mut client = session(&gateway);
    client.put(0, &mysql::change_user(&Response::of("second", "shop")));
    client.ok();
    gateway.until_metric("doorward_connections", &[("origin", "second")], 1.0);
    gateway.until_metric("doorward_connections", &[("origin", "shop")], 0.0);
    // the rule by which it came in may go
    let (head, second) = POLICY.split_once("  - {name: second").unwrap();
    let origins = head.split_once("  - {name: shop").unwrap().0;
    gateway.reload(&format!("{origins}  - {{name: second{second}"));
    client.command(COM_PING, b"");
    client.ok();
    // and that of whom it has become may not
    gateway.reload(head);
    told_to_go(&mut client);
}

#[test]
fn a_rule_that_goes_during_a_change_of_user_ends_the_session() {
    let server = Rogue::answering(|raw, heard| {
        if heard.payload[0] == COM_CHANGE_USER {
            thread::sleep(Duration::from_millis(600));
        }
        raw.try_send(&packet(heard.sequence + 1, &ok(AUTOCOMMIT)))
            .ok();
    });
    let gateway = Gateway::mysql(&server.address(), POLICY);
    let mut client = session(&gateway);
    client.put(0, &mysql::change_user(&Response::of("second", "shop")));
    wait_until("the command is on its way", || {
        server.has_heard(&[COM_CHANGE_USER]).then_some(())
    });
    gateway.reload(NOBODY);
    let rest = client.rest();
    assert!(rest.len() > 11, "it is told: {rest:?}");
    client.try_send(&packet(0, &[COM_PING])).ok();
    assert!(!server.has_heard(&[COM_PING]));
    gateway.until_metric("doorward_connections", &[], 0.0);
}

#[test]
fn a_rule_that_goes_during_a_login_ends_it() {
    let server = Rogue::playing(|raw| {
        thread::sleep(Duration::from_millis(50));
        if let Some(claim) = rogue::hear(raw, &Greeting::rogue()) {
            thread::sleep(Duration::from_millis(600));
            raw.try_send(&packet(claim.sequence + 1, &ok(AUTOCOMMIT)))
                .ok();
            raw.rest();
        }
    });
    let gateway = Gateway::mysql(&server.address(), POLICY);
    let mut client = Client::greeted(gateway.port);
    client.claim(&Response::of("app", "shop"));
    thread::sleep(Duration::from_millis(200));
    gateway.reload(NOBODY);
    let refusal = client.raw.err();
    assert!([1045, 1053].contains(&refusal.number), "{refusal:?}");
}

#[test]
fn the_end_of_the_gateway_is_told_and_waits_for_transactions() {
    let (_server, mut gateway) = begun(POLICY);
    let mut idle = session(&gateway);
    let mut busy = session(&gateway);
    busy.command(COM_QUERY, b"begin");
    busy.ok();
    gateway.until_metric("doorward_connections", &[], 2.0);
    let began = Instant::now();
    signal("TERM", gateway.id());
    told_to_go(&mut idle);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    busy.command(COM_QUERY, b"commit");
    assert_eq!(busy.ok(), AUTOCOMMIT);
    told_to_go(&mut busy);
    wait_until("the gateway has ended", || {
        gateway.has_ended().then_some(())
    });
}

#[test]
fn a_new_client_is_not_greeted_while_the_gateway_ends() {
    let (_server, gateway) = begun(POLICY);
    let mut busy = session(&gateway);
    busy.command(COM_QUERY, b"begin");
    busy.ok();
    let mut waiting = Client::greeted(gateway.port);
    signal("TERM", gateway.id());
    waiting
        .raw
        .try_send(&packet(1, &Response::of("app", "shop").encode()))
        .ok();
    let answer = waiting.raw.packet();
    let refusal = answer.and_then(|packet| packet.refusal());
    assert!(refusal.is_none_or(|refusal| refusal.number == 1053));
}

#[test]
fn a_server_that_goes_is_announced_where_it_owes_an_answer() {
    let server = Rogue::answering(|raw, heard| {
        if heard.payload == [COM_PING] {
            raw.try_send(&packet(heard.sequence + 1, &ok(AUTOCOMMIT)))
                .ok();
        }
        raw.socket.shutdown(Shutdown::Both).ok();
    });
    let gateway = Gateway::mysql(&server.address(), POLICY);
    let mut client = session(&gateway);
    client.command(COM_QUERY, b"select 1");
    assert_eq!(told_to_go(&mut client).sequence, 1);
    // drivers know what the bare close of an idle session means; a word of ours they would take for their next answer
    let mut client = session(&gateway);
    client.command(COM_PING, b"");
    client.ok();
    assert_eq!(client.rest(), b"");
}
