//! A server that counts connections which end too early shuts the gateway's address out after a few of them, and so everybody. It
//! must never come to that, whatever clients do; and where it has come to that, everybody must hear of it.
//!
//! Each test has a network of its own, since servers count only addresses that are not loopback and have a name.

use std::{
    fs,
    io::Read,
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Client, Gateway, Kind, Mysql, Raw,
    gateway::Plan,
    mysql_raw::{COM_QUIT, Response, change_user, packet},
    network::{ELSEWHERE, HOSTS, in_own_network},
    process::signal,
    raw::connect_from,
    wait_until,
};

const POLICY: &str = "\
require: {tls: false}
origins:
  - {name: shop, from: [127.0.0.0/8], users: [app], databases: [shop]}
";

/// Shuts an address out after five connections that ended too early.
fn touchy(kind: Kind) -> Mysql {
    let settings = [
        "max-connect-errors=5",
        "skip-name-resolve=OFF",
        "bind-address=0.0.0.0",
        "performance-schema=ON",
        "max-connections=500",
    ];
    Mysql::start_with(kind, &settings, |papers| {
        fs::write(papers.join("hosts"), HOSTS).unwrap();
    })
}

fn gateway(server: &Mysql, keys: &str) -> Gateway {
    let upstream = format!("{ELSEWHERE}:{}", server.port);
    Plan::mysql(&upstream, &format!(", upstream_tls: {{mode: off}}{keys}")).start(POLICY)
}

fn log_in(gateway: &Gateway) -> Raw {
    let client = Client::encrypted(gateway.port);
    client
        .log_in(&Response::of("app", "shop"), "secret")
        .unwrap()
}

/// What the server holds against addresses that have a name.
fn held_against_us(server: &Mysql) -> String {
    server.sql(
        "select host, sum_connect_errors, count_host_blocked_errors from performance_schema.host_cache where host is not null",
    )
}

/// Plays this from many addresses at a time.
fn crowd(count: u32, play: impl Fn(u32, [u8; 4]) + Sync) {
    thread::scope(|scope| {
        for lane in 0..8 {
            let play = &play;
            scope.spawn(move || {
                for number in (lane..count).step_by(8) {
                    let [_, _, high, low] = number.to_be_bytes();
                    play(number, [127, 1, high + 1, low]);
                }
            });
        }
    });
}

/// Leaves a handshake in one of the ways in which scanners, balancers and broken clients do.
fn leave_half_open(number: u32, mut client: Client) {
    let claim = Response::of("app", "shop");
    match number % 7 {
        // a look, and off
        0 => {}
        1 => client.raw.send(&packet(1, &claim.encode())[..30]),
        2 => client.put(&claim.ssl_request()),
        3 => client = client.encrypt(&claim),
        4 => client.put(&[COM_QUIT]),
        5 => client.put(b"GET / HTTP/1.1"),
        _ => socket2::SockRef::from(&client.raw.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap(),
    }
    if number.is_multiple_of(2) {
        client.raw.socket.shutdown(Shutdown::Both).ok();
    }
}

/// A client before which the server's question lies.
fn asked(source: [u8; 4], port: u16) -> Client {
    let mut client = Client::greeted_from(source, port);
    let mut claim = Response::of("app", "shop");
    "another_plugin".clone_into(&mut claim.plugin);
    client.claim(&claim);
    let question = client.raw.packet().unwrap();
    assert_eq!(question.payload[0], 0xfe, "{question:?}");
    client.next = question.sequence + 1;
    client
}

fn stays_open(kind: Kind, keys: &str) {
    if !Kind::all().contains(&kind) {
        return;
    }
    let server = touchy(kind);
    let gateway = gateway(&server, keys);
    let port = gateway.port;
    // the gateway is known by its name, so that it would be counted
    log_in(&gateway);
    let known = held_against_us(&server);
    assert!(known.contains("gateway.test\t0\t0"), "{known:?}");
    crowd(300, |_, source| {
        let mut client = Client::greeted_from(source, port);
        client.claim(&Response::of("other", "shop"));
        assert_eq!(client.raw.err().number, 1045);
    });
    crowd(300, |number, source| {
        leave_half_open(number, Client::greeted_from(source, port));
    });
    crowd(300, |number, source| {
        // the server asks something else, and nobody is there any more
        let mut client = asked(source, port);
        if number % 3 == 0 {
            client.raw.send(&packet(client.next, &[b'x'; 20])[..10]);
        }
    });
    crowd(100, |number, source| {
        // an answer of a length that the server takes for a broken handshake
        let mut client = asked(source, port);
        client.put(&vec![b'x'; [1, 19, 21, 33, 300][number as usize % 5]]);
        client.raw.rest();
    });
    crowd(20, |number, source| {
        // the same in the middle of a session that wants to be somebody else's
        let client = Client::greeted_from(source, port).encrypt(&Response::of("app", "shop"));
        let mut session = client
            .log_in(&Response::of("app", "shop"), "secret")
            .unwrap();
        let mut claim = Response::of("app", "shop");
        "another_plugin".clone_into(&mut claim.plugin);
        session.put(0, &change_user(&claim));
        let question = session.packet().unwrap();
        assert_eq!(question.payload[0], 0xfe, "{question:?}");
        if number % 2 == 0 {
            session.put(2, b"x");
            session.rest();
        }
    });
    gateway.until_metric("doorward_openings_in_progress", &[], 0.0);
    let mut session = log_in(&gateway);
    let row = session.row(0, "select 1");
    assert_eq!(row, Some(vec!["1".to_owned()]));
    let known = held_against_us(&server);
    assert_eq!(known, "gateway.test\t0\t0");
    assert_eq!(gateway.metric("doorward_upstream_host_blocked", &[]), 0.0);
}

#[test]
fn nothing_that_clients_do_is_held_against_the_gateway_by_debians_mariadb() {
    in_own_network(
        "mysql_unblocked::nothing_that_clients_do_is_held_against_the_gateway_by_debians_mariadb",
        || stays_open(Kind::Debian, ""),
    );
}

#[test]
fn nothing_that_clients_do_is_held_against_the_gateway_by_mysql() {
    in_own_network(
        "mysql_unblocked::nothing_that_clients_do_is_held_against_the_gateway_by_mysql",
        || stays_open(Kind::Oracle, ""),
    );
}

#[test]
fn nothing_that_clients_do_is_held_against_the_gateway_by_the_newest_mariadb() {
    in_own_network(
        "mysql_unblocked::nothing_that_clients_do_is_held_against_the_gateway_by_the_newest_mariadb",
        || stays_open(Kind::Newest, ""),
    );
}

#[test]
fn nor_where_the_gateway_greets_by_itself() {
    in_own_network(
        "mysql_unblocked::nor_where_the_gateway_greets_by_itself",
        || stays_open(Kind::Debian, ", protect_upstream: strict"),
    );
}

#[test]
fn not_even_the_end_of_the_gateway_is_held_against_it() {
    in_own_network(
        "mysql_unblocked::not_even_the_end_of_the_gateway_is_held_against_it",
        || {
            let server = touchy(Kind::Debian);
            let mut gateway = gateway(&server, "");
            log_in(&gateway);
            let held: Vec<Client> = (1..=20)
                .map(|last| Client::greeted_from([127, 2, 0, last], gateway.port))
                .collect();
            signal("TERM", gateway.id());
            wait_until("the gateway has ended", || {
                gateway.has_ended().then_some(())
            });
            drop(held);
            assert_eq!(held_against_us(&server), "gateway.test\t0\t0");
        },
    );
}

#[test]
fn a_server_that_has_shut_the_gateway_out_is_told_of_and_left_alone_for_a_while() {
    in_own_network(
        "mysql_unblocked::a_server_that_has_shut_the_gateway_out_is_told_of_and_left_alone_for_a_while",
        || {
            let server = touchy(Kind::Debian);
            let gateway = gateway(&server, "");
            log_in(&gateway);
            // somebody else on the gateway's machine, who does not know how to behave
            let server_address = format!("{ELSEWHERE}:{}", server.port).parse().unwrap();
            wait_until("it is shut out", || {
                let mut rude = connect_from(ELSEWHERE.parse().unwrap(), server_address).unwrap();
                let mut first = [0; 7];
                rude.read_exact(&mut first).unwrap();
                // ERR 1129 in place of a greeting
                (first[4..] == [0xff, 0x69, 4]).then_some(())
            });
            let refusal = Raw::connect(gateway.port).err();
            assert_eq!((refusal.number, refusal.state.as_deref()), (1105, None));
            let why = "the server has shut the gateway's address out";
            assert!(refusal.text.contains(why), "{refusal:?}");
            gateway.until_metric("doorward_upstream_host_blocked", &[("listener", "my")], 1.0);
            let said = gateway
                .logged(&[("event", "upstream_host_blocked")])
                .to_string();
            assert!(
                said.contains("FLUSH HOSTS") || said.contains("host_cache"),
                "{said}"
            );
            // the server is spared what comes next, and clients are told at once
            let counted = || -> u32 {
                held_against_us(&server)
                    .rsplit('\t')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap()
            };
            let before = counted();
            let began = Instant::now();
            for _ in 0..50 {
                Raw::connect(gateway.port).err();
            }
            let knocks = counted() - before;
            assert!(
                knocks < 25 || began.elapsed() > Duration::from_secs(20),
                "{knocks}"
            );
            server.sql("FLUSH HOSTS");
            wait_until("it is let in again", || {
                let mut client = Raw::connect(gateway.port);
                let first = client.packet()?;
                if first.refusal().is_some() {
                    thread::sleep(Duration::from_millis(200));
                    return None;
                }
                Some(())
            });
            log_in(&gateway);
            gateway.until_metric("doorward_upstream_host_blocked", &[("listener", "my")], 0.0);
        },
    );
}
