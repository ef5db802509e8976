//! Where the time goes of MySQL's commands that the gateway holds until it has decided.

use std::{thread, time::Duration};

use crate::harness::{
    Client, Gateway, Rogue,
    mysql_raw::{COM_INIT_DB, Response},
};

const POLICY: &str = "\
require: {tls: false}
origins:
  - {name: shop, from: [127.0.0.1], users: [app, second], databases: [shop, spare]}
";

#[test]
fn a_command_that_comes_in_two_parts_is_no_time_of_the_gateway() {
    let server = Rogue::content();
    let gateway = Gateway::mysql(&server.address(), POLICY);
    let client = Client::greeted(gateway.port);
    let login = client.log_in(&Response::of("app", "shop"), "secret");
    let mut client = login.unwrap();
    client.send(&[6, 0, 0, 0, COM_INIT_DB]);
    thread::sleep(Duration::from_secs(1));
    client.send(b"spare");
    client.ok();
    let shop = [("origin", "shop")];
    gateway.until_metric("doorward_flights_total", &shop, 1.0);
    let asked = gateway.metric("doorward_request_seconds_total", &shop);
    let ours = gateway.metric("doorward_gateway_overhead_seconds_sum", &[]);
    let database = gateway.metric("doorward_database_seconds_total", &shop);
    assert!((0.9..2.0).contains(&asked), "{asked}");
    assert!(ours < 0.5 && database < 0.5, "{ours} {database}");
}
