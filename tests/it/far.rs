//! Clients from addresses that nobody names: what they cost, and what they are taken for.

use crate::harness::{
    Gateway, Kind, Login, Mysql, Postgres, Raw, Relay,
    client_ca::ClientCa,
    free_port,
    gateway::{Plan, SHOP},
    mysql_raw::Response,
    psql,
};

/// The only far origin takes any address, with a certificate.
const PROVED: &str = "\
origins:
  - {name: near, from: [127.0.0.1], users: [app], databases: [shop]}
  - {name: far, from: [any], proof: {certificate: {dns: shop.example.com}}, users: [app], databases: [shop]}
strangers: {ban: {after: 100000, within: 1m, for: 1m}}
";

#[test]
fn two_hundred_scanners_open_nothing_at_a_database_that_speaks_first() {
    let relay = Relay::before(Mysql::shared(Kind::Debian).port);
    let ca = ClientCa::new();
    let gateway = Plan::mysql(&relay.address(), "")
        .believing(&ca)
        .start(PROVED);
    let at_rest = relay.connected();
    for number in 0..200_u8 {
        let mut scanner = Raw::connect_from([127, 0, 1, number], gateway.port);
        let greeting = scanner
            .packet()
            .expect("a stranger is greeted by the gateway");
        assert_eq!(greeting.payload.first(), Some(&10), "{greeting:?}");
        match number % 4 {
            0 => drop(scanner),
            1 => scanner.put(1, b"\x16\x03 what is this"),
            2 => scanner.put(1, &Response::of("root", "mysql").encode()),
            _ => {
                scanner.put(1, &Response::of("app", "shop").encode());
                let refusal = scanner.err();
                assert!(!refusal.text.contains("certificate"), "{refusal:?}");
            }
        }
    }
    let looks = gateway.metric("doorward_upstream_probes_total", &[]);
    let opened = relay.connected() - at_rest;
    // the gateway itself looks after its database now and then
    assert!(opened <= 2, "{opened} sockets, {looks} looks");
    let login = gateway.account();
    assert_eq!(
        crate::harness::mariadb(&login, "select 1").worked().trim(),
        "1"
    );
}

#[test]
fn a_mapped_peer_on_a_listener_of_ipv6_is_the_ipv4_client_that_it_is() {
    let server = Postgres::shared();
    let port = free_port();
    let listener = format!(
        "name: pg, protocol: postgres, listen: \"[::]:{port}\", upstream: \"{}\"",
        server.address()
    );
    let gateway = Plan::listening(port, &[listener]).start(SHOP);
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");
    gateway.logged(&[("event", "closed"), ("client", "127.0.0.1")]);
    let elsewhere = gateway.seen_from([127, 0, 0, 66]);
    let refused = psql(&Login::new(elsewhere.port, "app", "shop"), "select 1");
    assert!(refused.failed().contains("not allowed"), "{refused:?}");
}

#[test]
fn a_server_that_trusts_its_own_machine_lets_no_remote_client_stay_without_a_password() {
    let server = Postgres::start(&[]);
    server.write_hba(
        "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n",
    );
    server.sql("select pg_reload_conf()");
    let gateway = Gateway::start(
        &server.address(),
        "origins:\n  - {name: far, from: [127.0.0.0/8]}\n",
    );
    let remote = gateway.seen_from([127, 0, 7, 7]);
    let refused = psql(&Login::new(remote.port, "app", "shop"), "select 1");
    assert!(
        refused.failed().contains("authentication_missing"),
        "{refused:?}"
    );
}
