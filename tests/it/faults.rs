//! Life and death: half-closed, reset, killed, gone. Each end is told as well as the protocol allows, and soon.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Gateway, Login, PATIENCE, Postgres, Raw, Relay, free_port, gateway::SHOP, http,
    process::signal, psql, raw, wait_until,
};

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text], databases: [shop]}
";

fn session(gateway: &Gateway) -> Raw {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.log_in("by_text", "shop");
    client
}

#[test]
fn the_answer_to_a_half_closed_client_arrives_whole() {
    let policy = format!("{TEXT}require: {{tls: false}}\n");
    let gateway = Gateway::start(&Postgres::shared().address(), &policy);
    for mut client in [
        Raw::connect(gateway.port),
        Raw::encrypted([127, 0, 0, 1], gateway.port),
    ] {
        client.log_in("by_text", "shop");
        client.query("select repeat('x', 1000) from generate_series(1, 5000), pg_sleep(0.2)");
        client.half_close();
        let mut rows = 0;
        while let Some(message) = client.message() {
            rows += usize::from(message.kind == 'D');
            if message.kind == 'Z' {
                break;
            }
        }
        assert_eq!(rows, 5000);
    }
}

#[test]
fn a_reset_on_one_side_closes_the_other_soon() {
    let server = Postgres::shared();
    let upstream = Relay::before(server.port);
    let gateway = Gateway::start(&upstream.address(), TEXT);
    let client = session(&gateway);
    let sessions = || {
        server.sql("select count(*) from pg_stat_activity where usename = 'by_text' and application_name = ''")
    };
    let before: u32 = sessions().parse().unwrap();
    assert!(before >= 1);
    socket2::SockRef::from(&client.socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let began = Instant::now();
    gateway.until_metric("doorward_connections", &[], 0.0);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let line = gateway.logged(&[("event", "closed")]);
    assert!(line.to_string().contains("client_"), "{line}");

    let mut client = session(&gateway);
    upstream.cut();
    client.message();
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_database_that_is_killed_between_messages_is_announced() {
    let server = Postgres::start(&[]);
    let gateway = Gateway::start(&server.address(), TEXT);
    let mut clients = [session(&gateway), session(&gateway)];
    signal("KILL", server.process());
    for client in &mut clients {
        let last = client.message().expect("closed without a word");
        assert_eq!(
            (last.kind, last.field('C').as_deref()),
            ('E', Some("57P01")),
            "{last:?}"
        );
        assert_eq!(client.rest(), b"");
    }
    gateway.until_metric("doorward_connections", &[], 0.0);
}

#[test]
fn a_database_that_says_goodbye_is_quoted() {
    let server = Postgres::start(&[]);
    let gateway = Gateway::start(&server.address(), TEXT);
    let mut client = session(&gateway);
    server.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'by_text'");
    let last = client.refusal();
    assert_eq!(last.field('C').as_deref(), Some("57P01"));
    assert_eq!(
        last.field('M').as_deref(),
        Some("terminating connection due to administrator command")
    );
}

#[test]
fn nothing_is_injected_into_the_middle_of_a_message() {
    // an upstream that dies in the middle of a row
    let upstream = fake(|mut socket| {
        let mut buffer = [0; 1024];
        let _startup = socket.read(&mut buffer).unwrap();
        socket.write_all(&raw::framed(b'R', &[0, 0, 0, 3])).unwrap();
        let _password = socket.read(&mut buffer).unwrap();
        let ready = [
            raw::framed(b'R', &[0; 4]),
            raw::framed(b'K', &[7; 8]),
            raw::framed(b'Z', b"I"),
        ];
        socket.write_all(&ready.concat()).unwrap();
        let _query = socket.read(&mut buffer).unwrap();
        socket
            .write_all(&raw::framed(b'D', &[b'x'; 100])[..50])
            .unwrap();
        thread::sleep(Duration::from_millis(100));
    });
    let gateway = Gateway::start(&format!("127.0.0.1:{upstream}"), TEXT);
    let mut client = session(&gateway);
    client.query("select 1");
    let rest = client.rest();
    assert_eq!(rest, raw::framed(b'D', &[b'x'; 100])[..50]);
}

#[test]
fn a_database_that_is_down_is_reported_within_the_dial_time() {
    let gateway = Gateway::start(&format!("127.0.0.1:{}", free_port()), SHOP);
    let began = Instant::now();
    let refused = psql(&gateway.shop(), "select 1");
    assert!(began.elapsed() < Duration::from_secs(6));
    assert!(
        refused.failed().contains("[upstream_unreachable]"),
        "{refused:?}"
    );
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.send(&raw::startup(&[("user", "app"), ("database", "shop")]));
    let code = client.refusal().field('C').unwrap();
    assert!(["08006", "57P03"].contains(&&*code), "{code}");
    wait_until("not ready", || {
        http::get(gateway.admin, "/readyz").filter(|answer| answer.status == 503)
    });
    assert_eq!(
        http::get(gateway.admin, "/healthz").unwrap().status,
        200,
        "the gateway is well"
    );
    gateway.until_metric("doorward_upstream_up", &[("listener", "pg")], 0.0);
}

#[test]
fn a_database_that_never_answers_is_given_up() {
    let upstream = fake(|mut socket| {
        socket.read_to_end(&mut Vec::new()).ok();
    });
    let policy = format!("{SHOP}limits: {{login: 1s}}\n");
    let gateway = Gateway::start(&format!("127.0.0.1:{upstream}"), &policy);
    let began = Instant::now();
    assert!(!psql(&gateway.shop(), "select 1").status.success());
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    gateway.until_metric("doorward_openings_in_progress", &[], 0.0);
}

#[test]
fn a_database_that_talks_nonsense_during_login_is_not_quoted() {
    let nonsense: [&[u8]; 6] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"N",
        b"R\0\0\0\x03",
        b"R\xff\xff\xff\xff\0\0\0\0",
        b"E\0\0\0\x05\0",
        b"Z\0\0\0\x05I",
    ];
    for answer in nonsense {
        let upstream = fake(move |mut socket| {
            let _startup = socket.read(&mut [0; 1024]).unwrap();
            socket.write_all(answer).unwrap();
            thread::sleep(Duration::from_millis(50));
        });
        let gateway = Gateway::start(&format!("127.0.0.1:{upstream}"), TEXT);
        let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
        client.send(&raw::startup(&[("user", "by_text"), ("database", "shop")]));
        let first = client.message();
        assert!(
            first.is_none_or(|message| message.kind == 'E'),
            "{answer:?}"
        );
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn a_slow_reader_costs_no_memory() {
    let gateway = Gateway::start(&Postgres::shared().address(), TEXT);
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    let mut client = session(&gateway);
    let before = resident();
    client.query("select repeat('x', 100000) from generate_series(1, 2000)");
    for _ in 0..50 {
        client.message().unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let grown = resident() - before;
    assert!(grown < 2048, "{grown} KiB for a result of 200 MB");
}

#[test]
fn a_database_that_comes_back_is_found_again() {
    let port = free_port();
    let gateway = Gateway::start(&format!("127.0.0.1:{port}"), SHOP);
    assert!(!psql(&gateway.shop(), "select 1").status.success());
    let relay = Relay::at(port, Postgres::shared().port);
    let login = Login::new(gateway.port, "app", "shop");
    wait_until("it is back", || {
        psql(&login, "select 1").status.success().then_some(())
    });
    wait_until("ready", || {
        http::get(gateway.admin, "/readyz").filter(|answer| answer.status == 200)
    });
    drop(relay);
}

/// An upstream of the test's own: one behaviour for each connection that speaks.
fn fake(behaviour: impl Fn(std::net::TcpStream) + Send + Sync + Copy + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            thread::spawn(move || {
                let mut first = [0];
                // a look of the gateway brings no byte
                if socket.peek(&mut first).is_ok_and(|count| count > 0) {
                    behaviour(socket);
                }
            });
        }
    });
    port
}
