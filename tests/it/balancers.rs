//! A balancer before the gateway: its clients are known by the PROXY header, and nobody else may write one.

use std::io::{Read, Write};

use proxy_header::{ProxiedAddress, ProxyHeader};

use crate::harness::{
    Gateway, Postgres, Raw, Relay, free_port,
    gateway::Plan,
    raw::{self, connect_from},
    wait_until,
};

const POLICY: &str = "\
require: {tls: false}
origins:
  - {name: shop, from: [203.0.113.7], users: [by_text, app], databases: [shop]}
";

const BALANCER: [u8; 4] = [127, 0, 0, 9];

fn balanced() -> (Relay, Gateway) {
    let upstream = Relay::before(Postgres::shared().port);
    let port = free_port();
    let listener = format!(
        "name: pg, protocol: postgres, listen: \"127.0.0.1:{port}\", upstream: \"{}\", \
         proxy_protocol: {{from: [127.0.0.9]}}",
        upstream.address()
    );
    let gateway = Plan::listening(port, &[listener]).start(POLICY);
    (upstream, gateway)
}

fn for_client(address: &str) -> Vec<u8> {
    let proxied = ProxiedAddress::stream(
        format!("{address}:4000").parse().unwrap(),
        "192.0.2.1:5432".parse().unwrap(),
    );
    let mut header = Vec::new();
    ProxyHeader::with_address(proxied)
        .encode_v2(&mut header)
        .unwrap();
    header
}

fn startup() -> Vec<u8> {
    raw::startup(&[("user", "app"), ("database", "shop")])
}

#[test]
fn the_client_that_a_balancer_names_is_the_one_that_is_decided() {
    let (_upstream, gateway) = balanced();
    let mut client = Raw::connect_from(BALANCER, gateway.port);
    // the header in pieces, and the opening in the same segment as its end
    let header = for_client("203.0.113.7");
    client.send(&header[..20]);
    client.send(&[&header[20..], &startup()].concat());
    client.expect('R');
    drop(client);
    gateway.logged(&[("event", "left"), ("client", "203.0.113.7")]);
    let mut stranger = Raw::connect_from(BALANCER, gateway.port);
    let line = b"PROXY TCP4 203.0.113.8 192.0.2.1 4000 5432\r\n";
    stranger.send(&[line.as_slice(), &startup()].concat());
    assert_eq!(stranger.refusal().field('C').as_deref(), Some("28000"));
    gateway.logged(&[("reason", "no_origin"), ("client", "203.0.113.8")]);
}

#[test]
fn a_header_is_obligatory_for_a_balancer_and_refused_from_anybody_else() {
    let (upstream, gateway) = balanced();
    let mut silent = Raw::connect_from(BALANCER, gateway.port);
    silent.send(&startup());
    assert_eq!(silent.rest(), b"", "a balancer's own word is nobody's");
    gateway.logged(&[("reason", "malformed_opening"), ("client", "127.0.0.9")]);
    let mut liar = Raw::connect_from([127, 0, 0, 8], gateway.port);
    liar.send(&[for_client("203.0.113.7"), startup()].concat());
    liar.rest();
    gateway.logged(&[("client", "127.0.0.8")]);
    // CVE-2026-48772: the source may not be smuggled past the check of who sends it
    let mut twice = Raw::connect_from(BALANCER, gateway.port);
    let headers = [for_client("203.0.113.8"), for_client("203.0.113.7")].concat();
    twice.send(&[headers, startup()].concat());
    twice.rest();
    gateway.logged(&[("reason", "malformed_opening"), ("client", "203.0.113.8")]);
    assert_eq!(upstream.connected(), 0);
}

#[test]
fn a_password_in_clear_does_not_cross_a_balancer_on_this_machine() {
    let (_upstream, gateway) = balanced();
    let mut client = Raw::connect_from(BALANCER, gateway.port);
    let opening = raw::startup(&[("user", "by_text"), ("database", "shop")]);
    client.send(&[for_client("203.0.113.7"), opening].concat());
    let refusal = client.refusal();
    let message = refusal.field('M').unwrap();
    assert!(message.contains("not private"), "{message}");
}

#[test]
fn a_balancer_that_looks_whether_we_are_there_is_decided_by_nobody() {
    let (_upstream, gateway) = balanced();
    for probe in [
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".as_slice(),
        b"PROXY UNKNOWN\r\n",
    ] {
        let mut socket =
            connect_from(BALANCER.into(), ([127, 0, 0, 1], gateway.port).into()).unwrap();
        socket.write_all(probe).unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    }
    wait_until("two probes", || {
        (gateway.metric("doorward_probes_total", &[]) == 2.0).then_some(())
    });
    assert_eq!(gateway.metric("doorward_decisions_total", &[]), 0.0);
}
