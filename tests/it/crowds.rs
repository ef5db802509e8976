//! Many at once: what a held opening costs, and that everything comes back to where it was.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use crate::harness::{Gateway, Postgres, Raw, Relay, raw, wait_until};

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text], databases: [shop]}
strangers: {ban: {after: 1000000, within: 1m, for: 1s}}
";

fn resident_kib(process: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// As the gateway counts them: it lets nobody look into its process.
fn descriptors(gateway: &Gateway) -> f64 {
    gateway.metric("process_open_fds", &[])
}

fn log_in(gateway: &Gateway) -> Duration {
    let began = Instant::now();
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.log_in("by_text", "shop");
    began.elapsed()
}

#[test]
fn held_openings_cost_little_and_keep_nobody_out() {
    const HELD: usize = 600;
    let upstream = Relay::before(Postgres::shared().port);
    let policy = format!(
        "{TEXT}limits: {{openings: 2000, per_source: 1000, first_byte: 3s, opening: 6s}}\n"
    );
    let gateway = Gateway::start(&upstream.address(), &policy);
    log_in(&gateway);
    let before = resident_kib(gateway.id());
    let crowd: Vec<TcpStream> = (0..HELD)
        .map(|number| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
            if number % 2 == 0 {
                std::io::Write::write_all(&mut &stream, &[0, 0, 1]).unwrap();
            }
            stream
        })
        .collect();
    wait_until("they are held", || {
        let held = gateway.metric("doorward_openings_in_progress", &[]);
        (held > 500.0).then_some(())
    });
    let each = (resident_kib(gateway.id()) - before) / i64::try_from(HELD).unwrap();
    assert!(each <= 8, "{each} KiB for each");
    let mut took: Vec<Duration> = (0..20).map(|_| log_in(&gateway)).collect();
    took.sort();
    assert!(took[10] < Duration::from_millis(500), "{took:?}");
    assert_eq!(upstream.spoken_to(), 21);
    gateway.until_metric("doorward_openings_in_progress", &[], 0.0);
    drop(crowd);
}

#[test]
fn connections_of_every_kind_leave_nothing_behind() {
    let gateway = Gateway::start(&Postgres::shared().address(), TEXT);
    let rounds = |count: u8| {
        for number in 0..count {
            match number % 5 {
                0 => drop(log_in(&gateway)),
                1 => drop(Raw::connect(gateway.port)),
                2 => drop(Raw::encrypted([127, 0, 0, 9], gateway.port)),
                3 => Raw::connect(gateway.port).send(&raw::SSL_REQUEST),
                _ => Raw::connect_from([127, 0, 0, 8], gateway.port)
                    .send(&raw::startup(&[("user", "x")])),
            }
        }
        for name in ["doorward_connections", "doorward_openings_in_progress"] {
            gateway.until_metric(name, &[], 0.0);
        }
    };
    rounds(20);
    let before = wait_until("a quiet moment", || {
        let count = descriptors(&gateway);
        std::thread::sleep(Duration::from_millis(100));
        (count == descriptors(&gateway)).then_some(count)
    });
    rounds(250);
    wait_until("the descriptors are back", || {
        (descriptors(&gateway) <= before).then_some(())
    });
}
