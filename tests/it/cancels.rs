//! Cancel requests reach the session they are meant for, and strangers open nothing with them.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Gateway, Postgres, Raw, Relay,
    client_ca::ClientCa,
    clients::psql_started,
    gateway::{Plan, SHOP},
    process::signal,
    python, raw, tls, wait_until,
};

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text, app], databases: [shop]}
  - {name: side, from: [127.0.0.2], users: [other], databases: [shop]}
";

fn running(server: &Postgres, marker: &str) -> bool {
    server.sql(&format!("select count(*) from pg_stat_activity where state = 'active' and query like '%{marker}%' and pid <> pg_backend_pid()")) != "0"
}

/// Runs a statement, and is gone in one of the ways in which clients go.
fn leave_in_the_middle(gateway: &Gateway, server: &Postgres, way: &str, sleep: &str) {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.log_in("by_text", "shop");
    client.query(&format!("select {sleep}"));
    wait_until("the query runs", || running(server, sleep).then_some(()));
    match way {
        "reset" => socket2::SockRef::from(&client.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap(),
        "goodbye" => client.send(&raw::framed(b'X', b"")),
        _ => assert_eq!(way, "close"),
    }
}

#[test]
fn the_statement_of_a_client_that_is_gone_is_stopped_only_where_that_is_asked_for() {
    let server = Postgres::shared();
    let mut plan = Plan::new(&server.address());
    plan.head = plan
        .head
        .replacen("upstream:", "cancel_on_disconnect: true, upstream:", 1);
    let gateway = plan.start(TEXT);
    for (number, way) in ["reset", "close", "goodbye"].into_iter().enumerate() {
        let sleep = format!("pg_sleep(7{number})");
        leave_in_the_middle(&gateway, server, way, &sleep);
        let gone = Instant::now();
        wait_until("it is stopped", || (!running(server, &sleep)).then_some(()));
        let took = gone.elapsed();
        assert!(took < Duration::from_secs(1), "{way}: {took:?}");
    }
    gateway.until_metric("doorward_connections", &[], 0.0);
    // a reload takes it back: the server goes on, as it would for a VACUUM that is meant to
    let text = std::fs::read_to_string(gateway.file()).unwrap();
    std::fs::write(
        gateway.file(),
        text.replace("cancel_on_disconnect: true, ", ""),
    )
    .unwrap();
    gateway.command(&["reload"]).worked();
    for (number, way) in ["reset", "close"].into_iter().enumerate() {
        let sleep = format!("pg_sleep(8{number})");
        leave_in_the_middle(&gateway, server, way, &sleep);
        thread::sleep(Duration::from_millis(1200));
        assert!(running(server, &sleep), "{way}");
        server.sql(&format!("select pg_terminate_backend(pid) from pg_stat_activity where query like '%{sleep}%' and pid <> pg_backend_pid()"));
    }
}

#[test]
fn ctrl_c_in_psql_cancels_the_query() {
    let server = Postgres::shared();
    let gateway = Gateway::start(&server.address(), SHOP);
    let began = Instant::now();
    let psql = psql_started(&gateway.shop(), "select pg_sleep(61)");
    wait_until("the query runs", || {
        running(server, "pg_sleep(61)").then_some(())
    });
    signal("INT", psql.id());
    let ended = psql.end();
    assert!(
        ended
            .failed()
            .contains("canceling statement due to user request"),
        "{ended:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    gateway.until_metric("doorward_cancels_total", &[("result", "forwarded")], 1.0);
}

#[test]
fn drivers_cancel_over_tls_and_in_clear() {
    let gateway = Gateway::start(&Postgres::shared().address(), SHOP);
    let script = "\
import psycopg, psycopg2, threading, time
def tried(connect, cancel, errors):
    c, believed = connect(''), []
    timer = threading.Timer(0.7, lambda: believed.append(cancel(c)))
    timer.start()
    try: c.cursor().execute('select pg_sleep(62)')
    except errors as e: timer.join(); print(type(e).__name__, len(believed))
tried(psycopg.connect, lambda c: c.cancel_safe(), psycopg.errors.QueryCanceled)
tried(psycopg.connect, lambda c: c.cancel(), psycopg.errors.QueryCanceled)
tried(psycopg2.connect, lambda c: c.cancel(), psycopg2.extensions.QueryCanceledError)";
    let said = python(&gateway.shop(), script);
    let each = "QueryCanceled 1\n";
    assert_eq!(
        said.worked(),
        each.repeat(3).trim_end(),
        "each heard that it was sent: {said:?}"
    );
}

#[test]
fn a_cancel_must_come_from_an_address_of_the_sessions_own_origin() {
    let server = Postgres::shared();
    let upstream = Relay::before(server.port);
    let gateway = Gateway::start(&upstream.address(), TEXT);
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    let key = client.log_in("by_text", "shop").payload;
    client.query("select pg_sleep(63)");
    wait_until("the query runs", || {
        running(server, "pg_sleep(63)").then_some(())
    });
    let before = upstream.spoken_to();
    for (source, result) in [([127, 0, 0, 9], "refused"), ([127, 0, 0, 2], "refused")] {
        let counted = gateway.metric("doorward_cancels_total", &[("result", result)]);
        let mut cancel = Raw::connect_from(source, gateway.port);
        cancel.send(&raw::cancel(&key));
        assert_eq!(cancel.rest(), b"", "a cancel is never answered");
        gateway.until_metric(
            "doorward_cancels_total",
            &[("result", result)],
            counted + 1.0,
        );
    }
    assert_eq!(upstream.spoken_to(), before);
    assert!(running(server, "pg_sleep(63)"));
    let mut cancel = Raw::encrypted([127, 0, 0, 1], gateway.port);
    cancel.send(&raw::cancel(&key));
    assert_eq!(cancel.rest(), b"");
    until_canceled(&mut client);
}

#[test]
fn unknown_keys_of_strangers_open_nothing_and_of_others_pass_a_budget() {
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), TEXT);
    for number in 0..300_u32 {
        let source = [127, 0, 3, u8::try_from(number % 250).unwrap() + 1];
        let mut cancel = Raw::connect_from(source, gateway.port);
        cancel.send(&raw::cancel(&[number.to_be_bytes(), [7; 4]].concat()));
        assert_eq!(cancel.rest(), b"");
    }
    assert_eq!(upstream.connected(), 0, "not even a socket");
    for number in 0..100_u32 {
        let mut cancel = Raw::connect(gateway.port);
        cancel.send(&raw::cancel(&[number.to_be_bytes(), [7; 4]].concat()));
        assert_eq!(cancel.rest(), b"");
    }
    let forwarded = gateway.metric("doorward_cancels_total", &[("result", "forwarded")]);
    assert!((1.0..90.0).contains(&forwarded), "{forwarded} of 100");
    assert!(gateway.metric("doorward_cancels_total", &[("result", "limited")]) >= 1.0);
}

/// In clear, after an `SSLRequest`, and by direct TLS.
fn ways(port: u16) -> [Raw; 3] {
    let direct = Raw::connect(port).handshake(tls::client(&["postgresql"]));
    [
        Raw::connect(port),
        Raw::encrypted([127, 0, 0, 1], port),
        direct.unwrap().0,
    ]
}

#[test]
fn cancels_of_impossible_lengths_are_closed() {
    let upstream = Relay::before(Postgres::shared().port);
    let gateway = Gateway::start(&upstream.address(), TEXT);
    for length in [15_u32, 269] {
        for mut cancel in ways(gateway.port) {
            let body = vec![1; usize::try_from(length).unwrap() - 8];
            cancel.send(&raw::opening(raw::CANCEL_CODE, &body));
            assert_eq!(cancel.rest(), b"");
        }
    }
    assert_eq!(upstream.connected(), 0);
    for length in [16_u32, 48, 268] {
        for mut cancel in ways(gateway.port) {
            let body = vec![1; usize::try_from(length).unwrap() - 8];
            cancel.send(&raw::opening(raw::CANCEL_CODE, &body));
            assert_eq!(cancel.rest(), b"");
        }
    }
    let brought = upstream.brought();
    let lengths: Vec<usize> = brought
        .iter()
        .map(Vec::len)
        .filter(|len| *len > 0)
        .collect();
    assert_eq!(
        lengths,
        [16, 16, 16, 48, 48, 48, 268, 268, 268],
        "passed on as they came"
    );
}

#[test]
fn plain_cancels_can_be_forbidden_and_deny_applies_to_all() {
    let server = Postgres::shared();
    let upstream = Relay::before(server.port);
    let mut plan = Plan::new(&upstream.address());
    plan.head = plan
        .head
        .replacen("upstream:", "allow_plain_cancel: false, upstream:", 1);
    let gateway = plan.start(TEXT);
    let key = [1, 2, 3, 4, 5, 6, 7, 8];
    Raw::connect(gateway.port).send(&raw::cancel(&key));
    gateway.until_metric("doorward_cancels_total", &[], 1.0);
    assert_eq!(upstream.connected(), 0);
    Raw::encrypted([127, 0, 0, 1], gateway.port).send(&raw::cancel(&key));
    wait_until("it is passed on", || {
        (upstream.spoken_to() == 1).then_some(())
    });
    gateway.reload(&format!(
        "{TEXT}deny:\n  - {{name: here, from: [127.0.0.1]}}\n"
    ));
    Raw::encrypted([127, 0, 0, 1], gateway.port).send(&raw::cancel(&key));
    gateway.until_metric("doorward_cancels_total", &[("result", "refused")], 1.0);
    assert_eq!(upstream.spoken_to(), 1);
}

#[test]
fn longer_keys_of_a_newer_protocol_cancel_too() {
    let Some(server) = Postgres::newest() else {
        return;
    };
    let gateway = Gateway::start(&server.address(), SHOP);
    let script = "\
import psycopg, threading
c = psycopg.connect('max_protocol_version=3.2')
threading.Timer(0.5, c.cancel_safe).start()
try: c.execute('select pg_sleep(64)')
except psycopg.errors.QueryCanceled: print('canceled', c.info.full_protocol_version)";
    assert_eq!(python(&gateway.shop(), script).worked(), "canceled 30002");

    let gateway = Gateway::start(&server.address(), TEXT);
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    let mut packet = raw::startup(&[("user", "by_text"), ("database", "shop")]);
    packet[7] = 2;
    client.send(&packet);
    client.expect('R');
    client.send(&raw::framed(b'p', b"secret\0"));
    let key = client.expect('K').payload;
    assert!(key.len() > 8, "{} bytes", key.len());
    client.expect('Z');
    // a strange address that has the key cannot use it
    let mut cancel = Raw::connect_from([127, 0, 0, 2], gateway.port);
    cancel.send(&raw::cancel(&key));
    assert_eq!(cancel.rest(), b"");
    gateway.until_metric("doorward_cancels_total", &[("result", "refused")], 1.0);
}

#[test]
fn where_a_proof_is_asked_for_a_cancel_comes_from_the_sessions_own_address() {
    let ca = ClientCa::new();
    let shop = ca.issue("shop.example.com", &[]);
    let policy = "\
origins:
  - name: shop
    from: [any]
    proof: {certificate: {dns: \"*.example.com\"}}
    users: [app]
    databases: [shop]
";
    let server = Postgres::shared();
    let upstream = Relay::before(server.port);
    let gateway = Plan::new(&upstream.address()).believing(&ca).start(policy);
    let login = gateway.shop().showing(&shop);
    let script = "\
import psycopg, threading
def tried(cancel):
    c = psycopg.connect('')
    threading.Timer(0.5, lambda: cancel(c)).start()
    try: c.execute('select pg_sleep(9)'); print('slept')
    except psycopg.errors.QueryCanceled as e: print('canceled')
tried(lambda c: c.cancel_safe())
tried(lambda c: c.cancel())";
    let said = python(&login, script);
    assert_eq!(
        said.worked(),
        "canceled\ncanceled",
        "in clear, too, which shows no certificate"
    );
    let result = |result| gateway.metric("doorward_cancels_total", &[("result", result)]);
    assert_eq!((result("forwarded"), result("refused")), (2.0, 0.0));
    // whoever has learnt the key, and has a certificate of the same kind
    let request = upstream
        .brought()
        .into_iter()
        .find(|said| said.len() == 16)
        .unwrap();
    let before = upstream.connected();
    for mut thief in [
        Raw::connect_from([127, 0, 0, 9], gateway.port),
        Raw::showing([127, 0, 0, 9], gateway.port, &shop),
    ] {
        thief.send(&request);
        assert_eq!(thief.rest(), b"");
    }
    assert_eq!(upstream.connected(), before);
}

#[test]
fn a_cancel_reaches_a_session_of_another_gateway_and_of_one_that_has_started_since() {
    let server = Postgres::shared();
    let [own, mut other] = [(); 2].map(|()| Gateway::start(&server.address(), TEXT));
    let mut client = Raw::encrypted([127, 0, 0, 1], own.port);
    let key = client.log_in("by_text", "shop").payload;
    let mut canceled_by = |gateway: &Gateway, sleep: &str| {
        client.query(&format!("select {sleep}"));
        wait_until("the query runs", || running(server, sleep).then_some(()));
        // a stranger there is still a stranger
        let mut cancel = Raw::connect_from([127, 0, 0, 7], gateway.port);
        cancel.send(&raw::cancel(&key));
        assert_eq!(cancel.rest(), b"");
        assert!(running(server, sleep));
        let mut cancel = Raw::connect(gateway.port);
        cancel.send(&raw::cancel(&key));
        assert_eq!(cancel.rest(), b"");
        until_canceled(&mut client);
    };
    canceled_by(&other, "pg_sleep(65)");
    other.signal("TERM");
    other.ended();
    let again = other.again();
    canceled_by(&again, "pg_sleep(66)");
}

/// Reads what the server says to its query being canceled.
fn until_canceled(client: &mut Raw) {
    let error = loop {
        let message = client.message().unwrap();
        if message.kind == 'E' {
            break message;
        }
    };
    assert_eq!(error.field('C').as_deref(), Some("57014"));
    client.expect('Z');
}

#[test]
fn a_flood_of_unknown_keys_opens_nothing_and_delays_no_cancel_that_counts() {
    flooded(3_000);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn soak_a_hundred_thousand_unknown_keys_open_nothing_and_delay_no_cancel_that_counts() {
    flooded(100_000);
}

/// Strangers and clients that guess keys, and a client that cancels its own session meanwhile.
fn flooded(guesses: u32) {
    let server = Postgres::shared();
    let upstream = Relay::before(server.port);
    let gateway = Gateway::start(&upstream.address(), TEXT);
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    let key = client.log_in("by_text", "shop").payload;
    let began = upstream.connected();
    let (left, port) = (AtomicU32::new(guesses), gateway.port);
    let guess = |source: [u8; 4], number: u32| {
        let mut cancel = Raw::connect_from(source, port);
        let key = [number.to_be_bytes(), [7; 4]].concat();
        // who is closed without a word may be closed before
        cancel.try_send(&raw::cancel(&key)).ok();
        assert_eq!(cancel.rest(), b"");
    };
    let next = || left.fetch_sub(1, Ordering::Relaxed).checked_sub(1);
    let mut times: Vec<Duration> = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(number) = next().filter(|number| *number < guesses) {
                    let [.., b, c] = number.to_be_bytes();
                    guess([127, 9, b, c.max(1)], number);
                }
            });
        }
        (0..9)
            .map(|_| {
                client.query("select pg_sleep(67)");
                wait_until("the query runs", || {
                    running(server, "pg_sleep(67)").then_some(())
                });
                let sent = Instant::now();
                let mut cancel = Raw::connect(port);
                cancel.send(&raw::cancel(&key));
                until_canceled(&mut client);
                let took = sent.elapsed();
                // the server signals twice, the process and its group: before the close the next query may be hit
                assert_eq!(cancel.rest(), b"");
                took
            })
            .collect()
    });
    times.sort();
    assert!(times[4] <= Duration::from_millis(50), "{times:?}");
    let for_strangers = upstream.connected() - began - times.len();
    // the gateway's own looks at the server bring no byte
    assert!(for_strangers <= 2, "{for_strangers} sockets for strangers");
    let spoken = upstream.brought();
    let spoken = spoken[began..].iter().filter(|said| !said.is_empty());
    assert_eq!(spoken.count(), times.len());
}
