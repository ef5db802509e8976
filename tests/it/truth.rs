//! Where the time really goes: paths of known lengths, work of known lengths, and in which column each of them appears.

mod works;

use std::{
    collections::HashSet,
    io,
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use crate::harness::{
    Gateway, Kind, Mysql, Postgres,
    clients::Environ,
    drivers, free_port,
    gateway::{Plan, doorward},
    line::{Line, NEAR},
    network::{ELSEWHERE, in_own_network},
    process::Running,
    project, run, wait_until,
};
use works::{MYSQL, POSTGRES, Work};

const DELAYS: [f64; 4] = [0.0, 1.0, 10.0, 75.0];
const TRIES: usize = 4;

/// What the gateway says of one origin, in milliseconds and counts.
#[derive(Debug)]
struct Spent {
    rtt: f64,
    client: f64,
    upstream: f64,
    database: f64,
    transfer: f64,
    request: f64,
    connecting: f64,
    /// What of this is the way to the client, and to the database.
    connecting_client: f64,
    connecting_upstream: f64,
}

impl Spent {
    fn of(line: &Value) -> Self {
        let number = |name: &str| line[name].as_f64().unwrap_or_default();
        let units = number("units").max(1.0);
        let sum = |name: &str| number(name) * units;
        let upstream = sum("network_upstream_ms");
        let connecting_upstream = sum("connecting_network_upstream_ms");
        let connecting_client = sum("connecting_network_ms") - connecting_upstream;
        Self {
            rtt: number("rtt_p50_ms"),
            client: sum("network_ms") - upstream - connecting_client,
            upstream: upstream - connecting_upstream,
            database: sum("database_ms"),
            transfer: sum("transfer_ms"),
            request: sum("request_ms"),
            connecting: sum("connecting_ms"),
            connecting_client,
            connecting_upstream,
        }
    }
}

/// A gateway at one end of a line, before servers at this end.
struct Place {
    gateway: Gateway,
    host: String,
    ports: [u16; 2],
}

/// One origin for each kind of work, by the user's name.
fn rules(listener: &str, works: &[Work]) -> String {
    let origin = |work: &Work| {
        let name = work.name;
        format!(
            "  - {{name: {listener}-{name}, listeners: [{listener}], from: [10.77.0.0/24, 127.0.0.1], users: [w_{name}], databases: [shop]}}\n"
        )
    };
    works.iter().map(origin).collect()
}

fn policy() -> String {
    format!(
        "origins:\n{}{}",
        rules("pg", &POSTGRES),
        rules("my", &MYSQL)
    )
}

fn plan(host: &str, servers: &str, postgres: &Postgres, mysql: &Mysql) -> (Plan, [u16; 2]) {
    let ports = [free_port(), free_port()];
    let listener = |name: &str, protocol: &str, port: u16, server: u16| {
        format!(
            "name: {name}, protocol: {protocol}, listen: \"{host}:{port}\", upstream: \"{servers}:{server}\", upstream_tls: {{mode: off}}"
        )
    };
    let listeners = [
        listener("pg", "postgres", ports[0], postgres.port),
        listener("my", "mysql", ports[1], mysql.port),
    ];
    (Plan::listening(ports[0], &listeners), ports)
}

fn servers() -> (Postgres, Mysql) {
    let postgres = Postgres::start(&["listen_addresses=*"]);
    postgres.write_hba("local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n");
    postgres.sql("select pg_reload_conf()");
    let shop = "create table work_data (n int, words text); grant all on work_data to public";
    postgres.sql_in("shop", shop);
    for work in &POSTGRES {
        postgres.sql(&format!(
            "create role w_{} login password 'secret'",
            work.name
        ));
    }
    let mysql = Mysql::start(Kind::Debian, &["bind-address=0.0.0.0", "skip-name-resolve"]);
    for work in &MYSQL {
        let name = work.name;
        mysql.sql(&format!(
            "create user w_{name} identified by 'secret'; grant all on shop.* to w_{name}"
        ));
    }
    (postgres, mysql)
}

struct Addressed<'a>(&'a str, u16);

impl Environ for Addressed<'_> {
    fn environ<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("WORK_HOST", self.0)
            .env("WORK_PORT", self.1.to_string())
            .env("HOME", "/nonexistent")
    }
}

/// Has all kinds of work done at the far end, side by side, and tells what each of them took the client, in milliseconds.
fn worked(line: &Line, place: &Place) -> Value {
    let scripts = ["postgres", "mysql"];
    let started = scripts.iter().zip(place.ports).map(|(script, port)| {
        let mut command = Command::new(drivers("python").join("bin/python"));
        command.arg(project(&format!("tests/it/truth/work_{script}.py")));
        Addressed(&place.host, port).environ(&mut command);
        Running::start(&mut line.there(&command))
    });
    let started: Vec<_> = started.collect();
    let mut all = serde_json::Map::new();
    for (running, name) in started.into_iter().zip(["pg", "my"]) {
        let took: Value = serde_json::from_str(running.end().worked()).unwrap();
        for (work, millis) in took.as_object().unwrap() {
            all.insert(format!("{name}-{work}"), millis.clone());
        }
    }
    Value::Object(all)
}

fn told(place: &Place, origin: &str) -> Spent {
    wait_until("the session is told", || {
        let lines = place.gateway.command(&["latency", "--format", "json"]);
        let lines: Value = serde_json::from_str(lines.worked()).unwrap();
        let line = lines.as_array().unwrap().iter();
        let line = line.clone().find(|line| line["origin"] == origin)?.clone();
        (line["sessions"] == 0 && line["flights"].as_f64() > Some(0.0)).then(|| Spent::of(&line))
    })
}

/// Within a tenth, or a few hundred microseconds for each turn: the line's own copying takes as much where processors are few.
fn is_about(figure: f64, known: f64, turns: f64) -> bool {
    figure >= known * 0.95 && figure <= known * 1.1 + turns * 0.4
}

#[derive(Clone, Copy, PartialEq)]
enum Leg {
    Client,
    Upstream,
}

/// Each kind of work over paths of each length. A machine that is busy with something else shows as work of the database, so what
/// was wrong is tried again; what is wrongly accounted stays wrong.
fn each_appears_in_its_own_column(line: &mut Line, leg: Leg, start: impl Fn(&Line) -> Place) {
    for delay in DELAYS {
        line.takes(delay);
        let mut right = HashSet::new();
        let mut wrong = Vec::new();
        for _ in 0..TRIES {
            let place = start(line);
            let took = worked(line, &place);
            wrong.clear();
            for (protocol, works) in [("pg", &POSTGRES[..]), ("my", &MYSQL[..])] {
                for work in works {
                    let origin = format!("{protocol}-{}", work.name);
                    let spent = told(&place, &origin);
                    eprintln!("{delay:>4} ms {origin:<13} {spent:7.1?}");
                    let faults = faults(work, leg, delay, &spent, &took[&origin]);
                    if faults.is_empty() || right.contains(&origin) {
                        right.insert(origin);
                    } else {
                        wrong.push(format!("{delay} ms, {origin}: {faults:?}: {spent:?}"));
                    }
                }
            }
            if wrong.is_empty() {
                break;
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// The columns that are not as they are known to be.
fn faults(work: &Work, leg: Leg, delay: f64, spent: &Spent, took: &Value) -> Vec<&'static str> {
    let turns = work.turns;
    let of_client = (spent.client, spent.connecting_client);
    let of_upstream = (spent.upstream, spent.connecting_upstream);
    let (own, other) = match leg {
        Leg::Client => (of_client, of_upstream),
        Leg::Upstream => (of_upstream, of_client),
    };
    let opening = match leg {
        Leg::Client => work.opening.0,
        Leg::Upstream => work.opening.1,
    };
    let slack = 3.0 + turns;
    // a database that is not scheduled at once seems to work longer; at the longer paths it is far less than a delay would be
    let noise = 30.0 + 3.0 * turns;
    let least = |known: f64| known * 0.95 - 1.0;
    let transfer = work.rounds * delay;
    // on this side the server's rounds are told from its work by when its bytes come
    let estimate = match leg {
        Leg::Client => 0.0,
        Leg::Upstream => transfer * 0.2,
    };
    // the data of a COPY opens a window as well
    let request = work.request * 1.1 + noise + if work.request > 0.0 { 3.0 * delay } else { 0.0 };
    let connecting = took["connecting"].as_f64().unwrap() - work.setting_up * delay;
    let checks = [
        ("own column", is_about(own.0, turns * delay, turns)),
        ("other column", other.0 <= turns * 0.3),
        (
            "transfer",
            spent.transfer >= least(transfer) - estimate
                && spent.transfer <= transfer * 1.1 + slack,
        ),
        (
            "request",
            spent.request >= least(work.request) && spent.request <= request,
        ),
        (
            "database",
            spent.database >= least(work.database)
                && spent.database <= work.database * 1.1 + noise + estimate,
        ),
        (
            "round trip",
            leg == Leg::Upstream || is_about(spent.rtt, delay, 1.0),
        ),
        (
            "connecting",
            (spent.connecting - connecting).abs() <= connecting * 0.1 + 25.0,
        ),
        (
            "connecting, on the way",
            // of a connection so young the least round trip is less well known
            is_about(own.1, opening * delay, opening * 2.0) && other.1 <= 3.0,
        ),
    ];
    let wrong = checks.into_iter().filter(|(_, holds)| !holds);
    wrong.map(|(what, _)| what).collect()
}

#[test]
fn the_way_to_the_client_appears_in_its_own_column_and_in_no_other() {
    in_own_network(
        "truth::the_way_to_the_client_appears_in_its_own_column_and_in_no_other",
        || {
            let mut line = Line::new();
            let (postgres, mysql) = servers();
            each_appears_in_its_own_column(&mut line, Leg::Client, |_line| {
                let (plan, ports) = plan(NEAR, "127.0.0.1", &postgres, &mysql);
                Place {
                    gateway: plan.start(&policy()),
                    host: NEAR.to_owned(),
                    ports,
                }
            });
        },
    );
}

#[test]
fn the_way_to_the_database_appears_in_its_own_column_and_in_no_other() {
    in_own_network(
        "truth::the_way_to_the_database_appears_in_its_own_column_and_in_no_other",
        || {
            let mut line = Line::new();
            let (postgres, mysql) = servers();
            each_appears_in_its_own_column(&mut line, Leg::Upstream, |line| {
                let (plan, ports) = plan("127.0.0.1", NEAR, &postgres, &mysql);
                let file = plan.folder.path().join("allowlist.yaml");
                std::fs::write(&file, format!("{}{}", plan.head, policy())).unwrap();
                let mut command = doorward();
                command.arg("run").arg("--config").arg(file);
                let gateway = plan.spawn(&mut line.there(&command));
                wait_until("the gateway answers", || {
                    gateway.command(&["status"]).status.success().then_some(())
                });
                Place {
                    gateway,
                    host: "127.0.0.1".to_owned(),
                    ports,
                }
            });
        },
    );
}

/// One gateway at this end, and psql at the other.
fn asked_from_afar(line: &Line, host: &str, port: u16, sql: &str) -> usize {
    let mut command = Command::new("psql");
    command
        .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .arg(format!(
            "host={host} port={port} user=w_large dbname=shop sslmode=require"
        ))
        .env("PGPASSWORD", "secret");
    run(&mut line.there(&command)).worked().len()
}

#[test]
fn what_the_kernel_delivers_while_nobody_waits_for_it_is_transfer() {
    let name = "truth::what_the_kernel_delivers_while_nobody_waits_for_it_is_transfer";
    in_own_network(name, || {
        let mut line = Line::new();
        line.takes(75.0);
        let (postgres, mysql) = servers();
        let (plan, ports) = plan(NEAR, "127.0.0.1", &postgres, &mysql);
        let place = Place {
            gateway: plan.start(&policy()),
            host: NEAR.to_owned(),
            ports,
        };
        let begun = Instant::now();
        let sql = "select repeat('x', 1000000) from generate_series(1, 50)";
        let length = asked_from_afar(&line, &place.host, ports[0], sql);
        let wall = begun.elapsed().as_secs_f64() * 1000.0;
        assert!(length > 50_000_000);
        let spent = told(&place, "pg-large");
        eprintln!("{spent:?} of {wall}");
        // what is not accounted for is the last window, and the client's own
        let accounted = spent.connecting + spent.client + spent.database + spent.transfer;
        assert!(
            accounted <= wall * 1.02 + 10.0 && accounted >= wall * 0.6,
            "{accounted} of {wall}: {spent:?}"
        );
        assert!(spent.transfer >= 8.0 * 75.0, "{spent:?}");
        assert!(spent.database < spent.transfer, "{spent:?}");
    });
}

/// Ends TCP: whoever is behind it seems to be where it is.
fn proxy(host: &'static str, to: &'static str, port: u16) -> u16 {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect((to, port)).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                from.set_nodelay(true).unwrap();
                thread::spawn(move || {
                    io::copy(&mut from, &mut to).ok();
                    to.shutdown(Shutdown::Both).ok();
                });
            }
        }
    });
    own
}

/// A client 75 ms away comes to a gateway at `host` through a proxy on the gateway's own machine: what is said of it.
fn proxied_to(host: &'static str) {
    let mut line = Line::new();
    line.takes(75.0);
    let (postgres, mysql) = servers();
    let (plan, ports) = plan(host, "127.0.0.1", &postgres, &mysql);
    let rules = policy().replace("10.77.0.0/24", "10.77.0.0/24, 10.9.9.1");
    let gateway = plan.start(&rules);
    let proxied = proxy(NEAR, host, ports[0]);
    for _ in 0..3 {
        asked_from_afar(&line, NEAR, proxied, "select 1");
    }
    let lines = gateway.command(&["latency", "--format", "json"]);
    let lines: Value = serde_json::from_str(lines.worked()).unwrap();
    let mut lines = lines.as_array().unwrap().iter();
    let line = lines.find(|line| line["origin"] == "pg-large").unwrap();
    assert_eq!(
        (&line["scope"], &line["hop"]),
        (&json!("hop"), &json!("turns")),
        "{line:#}"
    );
    assert!(line["rtt_p50_ms"].as_f64() < Some(2.0), "{line:#}");
    let turn = line["turn_ms"].as_f64().unwrap();
    assert!((75.0..90.0).contains(&turn), "{line:#}");
    assert!(
        line["verdict"]
            .as_str()
            .unwrap()
            .contains("something that ends TCP"),
        "{line:#}"
    );
    assert_eq!(line["place"], "far", "{line:#}");
    let table = gateway.command(&["latency"]);
    let mut rows = table.worked().lines();
    let row = rows.find(|row| row.starts_with("pg-large")).unwrap();
    assert!(row.contains(" ms (turn) "), "{row}");
}

#[test]
fn a_proxy_that_ends_tcp_is_found_to_be_in_between() {
    in_own_network(
        "truth::a_proxy_that_ends_tcp_is_found_to_be_in_between",
        || proxied_to(ELSEWHERE),
    );
}

#[test]
fn a_proxy_on_the_gateway_s_own_loopback_hides_no_way() {
    in_own_network(
        "truth::a_proxy_on_the_gateway_s_own_loopback_hides_no_way",
        || proxied_to("127.0.0.1"),
    );
}
