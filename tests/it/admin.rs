//! What the operator sees: metrics whose labels nobody outside can choose, health, status, and who may ask.

use std::{
    collections::{BTreeSet, HashMap},
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use crate::harness::{
    Gateway, Login, Postgres, Raw, gateway::doorward, http, process::run, psql, raw, tls,
    wait_until,
};

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text, app], databases: [shop]}
";

fn gateway(rest: &str) -> Gateway {
    Gateway::start(&Postgres::shared().address(), rest)
}

fn session(gateway: &Gateway) -> Raw {
    let mut client = Raw::encrypted([127, 0, 0, 1], gateway.port);
    client.log_in("by_text", "shop");
    client
}

#[test]
fn the_time_of_a_session_is_told_apart() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    for _ in 0..4 {
        client.query("select pg_sleep(0.25)");
        client.expect('Z');
    }
    drop(client);
    let labels = [("listener", "pg"), ("origin", "shop")];
    gateway.until_metric("doorward_connections", &labels, 0.0);
    gateway.until_metric("doorward_flights_total", &labels, 4.0);
    let database = gateway.metric("doorward_database_seconds_total", &labels);
    assert!(
        (1.0..1.8).contains(&database),
        "four times 250 ms: {database}"
    );
    let network = gateway.metric("doorward_network_seconds_total", &labels);
    assert!(network < 0.1, "loopback: {network}");
    assert_eq!(
        gateway.metric("doorward_database_duration_seconds_count", &labels),
        4.0
    );
    assert!(gateway.metric("doorward_client_rtt_seconds_count", &labels) >= 1.0);
    assert!(gateway.metric("doorward_receive_bytes_total", &labels) >= 4.0 * 20.0);
    assert!(gateway.metric("doorward_transmit_bytes_total", &labels) >= 4.0 * 20.0);
    assert_eq!(
        gateway.metric(
            "doorward_connections_closed_total",
            &[("cause", "client_left")]
        ),
        1.0
    );
    let allowed = [
        ("origin", "shop"),
        ("decision", "allow"),
        ("reason", "allowed"),
    ];
    assert_eq!(gateway.metric("doorward_decisions_total", &allowed), 1.0);
    for phase in ["tls", "opening", "dial", "login"] {
        let count = gateway.metric(
            "doorward_opening_duration_seconds_count",
            &[("phase", phase)],
        );
        assert_eq!(count, 1.0, "{phase}");
    }
    assert!(gateway.metric("doorward_connect_round_trips_total", &labels) >= 5.0);
}

#[test]
fn thinking_clients_show_neither_network_nor_database() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    for _ in 0..10 {
        client.query("select 1");
        client.expect('Z');
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(client);
    gateway.until_metric("doorward_flights_total", &[("origin", "shop")], 10.0);
    let of = |name| gateway.metric(name, &[("origin", "shop")]);
    assert!(of("doorward_network_seconds_total") < 0.05);
    assert!(of("doorward_database_seconds_total") < 0.3);
}

#[test]
fn no_label_comes_from_a_client() {
    // CVE-2022-21698
    let gateway = gateway(&format!(
        "{TEXT}strangers: {{ban: {{after: 1000000, within: 1m, for: 1s}}}}\n"
    ));
    let series = |gateway: &Gateway| -> BTreeSet<String> {
        let samples = gateway.metrics().into_iter();
        samples
            .map(|sample| format!("{}{:?}", sample.name, sample.labels))
            .collect()
    };
    let refuse = |source: [u8; 4], name: &str| {
        let mut client = Raw::connect_from(source, gateway.port);
        client.send(&raw::startup(&[
            ("user", name),
            ("database", name),
            ("application_name", name),
        ]));
        client.rest();
    };
    // the reasons' own series come with their first refusal
    for source in [[127, 0, 0, 1], [127, 0, 0, 8]] {
        refuse(source, "first");
        refuse(source, "and not logged");
    }
    session(&gateway);
    gateway.until_metric("doorward_connections_closed_total", &[], 1.0);
    let before = series(&gateway);
    for number in 0..1000_u32 {
        let source = if number % 2 == 0 {
            [127, 0, 0, 1]
        } else {
            [127, 0, 0, 8]
        };
        refuse(source, &format!("name-{number}\"}}{{"));
    }
    wait_until("all are counted", || {
        let refused = gateway.metric("doorward_decisions_total", &[("decision", "deny")]);
        (refused >= 1004.0).then_some(())
    });
    let after = series(&gateway);
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "1000 names made {new:#?}");
}

#[test]
fn every_label_is_of_a_closed_set() {
    let gateway = gateway(TEXT);
    session(&gateway);
    Raw::connect_from([127, 0, 0, 8], gateway.port).send(&raw::startup(&[("user", "zzz")]));
    gateway.until_metric("doorward_decisions_total", &[("reason", "no_origin")], 1.0);
    let closed: HashMap<&str, &[&str]> = HashMap::from([
        ("listener", &["pg"][..]),
        ("origin", &["shop", "_none", "_other"]),
        ("decision", &["allow", "deny"]),
        ("phase", &["tls", "opening", "dial", "login"]),
        ("leg", &["client", "upstream"]),
        (
            "result",
            &[
                "ok",
                "failed",
                "forwarded",
                "refused",
                "limited",
                "unreachable",
                "plain_refused",
                "success",
                "failure",
            ],
        ),
    ]);
    let mut names = BTreeSet::new();
    for sample in gateway.metrics() {
        assert!(
            sample.name.starts_with("doorward_") || sample.name.starts_with("process_"),
            "{sample:?}"
        );
        for (label, value) in &sample.labels {
            if let Some(allowed) = closed.get(label.as_str()) {
                assert!(
                    allowed.contains(&value.as_str()),
                    "{label}={value} in {}",
                    sample.name
                );
            }
            assert!(
                !["zzz", "127.0.0.8", "by_text"].contains(&value.as_str()),
                "{sample:?}"
            );
        }
        names.insert(sample.name);
    }
    for name in [
        "build_info",
        "config_generation",
        "config_last_reload_successful",
        "connections",
        "connections_accepted_total",
        "decisions_total",
        "client_rtt_seconds_bucket",
        "opening_duration_seconds_bucket",
        "database_duration_seconds_bucket",
        "network_seconds_total",
        "database_seconds_total",
        "receive_bytes_total",
        "transmit_bytes_total",
        "upstream_up",
        "tls_certificate_expiry_timestamp_seconds",
        "origin_last_seen_timestamp_seconds",
    ] {
        assert!(
            names.contains(&format!("doorward_{name}")),
            "{name} is not in {names:?}"
        );
    }
}

#[test]
fn the_page_is_small_and_starts_at_zero() {
    let gateway = gateway(TEXT);
    let page = http::get(gateway.admin, "/metrics").unwrap();
    assert!(
        page.head
            .to_lowercase()
            .contains("content-type: text/plain"),
        "{}",
        page.head
    );
    assert!(
        page.body.len() < 64 * 1024,
        "{} bytes for one origin",
        page.body.len()
    );
    assert!(
        page.body
            .contains("doorward_connections{listener=\"pg\",origin=\"shop\"} 0")
    );
    gateway.reload("origins: []\n");
    let page = http::get(gateway.admin, "/metrics").unwrap();
    assert!(!page.body.contains("origin=\"shop\""), "its origin is gone");
}

#[test]
fn health_and_readiness_are_two_questions() {
    let gateway = gateway(TEXT);
    assert_eq!(http::get(gateway.admin, "/healthz").unwrap().status, 200);
    wait_until("ready", || {
        http::get(gateway.admin, "/readyz").filter(|answer| answer.status == 200)
    });
    assert_eq!(http::get(gateway.admin, "/nothing").unwrap().status, 404);
}

#[test]
fn nothing_over_http_changes_anything_and_other_hosts_are_refused() {
    let gateway = gateway(TEXT);
    let status = |host: &str| {
        http::get_as(gateway.admin, "/metrics", host)
            .unwrap()
            .status
    };
    let port = gateway.admin.port();
    for host in [
        "127.0.0.1",
        "localhost",
        &format!("localhost:{port}"),
        &format!("127.0.0.1:{port}"),
        "[::1]",
    ] {
        assert_eq!(status(host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
    ] {
        assert!((400..500).contains(&status(host)), "{host}: DNS rebinding");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let text = format!(
            "{method} /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(http::request(gateway.admin, &text).unwrap().status, 405);
    }
}

#[test]
fn a_slow_or_greedy_scraper_is_put_off() {
    let gateway = gateway(TEXT);
    let began = Instant::now();
    let answer = http::request(gateway.admin, "GET /metrics HTTP/1.1\r\nHost: ");
    assert!(answer.is_none_or(|answer| answer.status >= 400));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let held: Vec<_> = (0..100)
        .filter_map(|_| std::net::TcpStream::connect(gateway.admin).ok())
        .collect();
    wait_until("metrics again", || {
        http::get(gateway.admin, "/metrics").filter(|answer| answer.status == 200)
    });
    drop(held);
}

#[test]
fn status_tells_who_is_connected_and_where_the_time_goes() {
    let gateway = gateway(TEXT);
    let mut client = session(&gateway);
    client.query("select pg_sleep(0.3)");
    client.expect('Z');
    let stranger = gateway.seen_from([127, 0, 0, 8]);
    psql(&Login::new(stranger.port, "app", "shop"), "select 1").failed();
    let json = wait_until("figures", || {
        let answer = gateway.command(&["status", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(answer.worked()).unwrap();
        (json["origins"][0]["database_seconds"].as_f64() > Some(0.2)).then_some(json)
    });
    let shop = &json["origins"][0];
    assert_eq!(
        (shop["origin"].as_str(), shop["sessions"].as_u64()),
        (Some("shop"), Some(1))
    );
    assert!(shop["rtt_p50_ms"].as_f64().unwrap() < 50.0, "{shop}");
    assert!(shop["network_share"].as_f64().unwrap() < 0.5, "{shop}");
    assert_eq!(json["refusals"][0]["reason"], "no_origin");
    assert_eq!(json["generation"], 1);
    let sessions = gateway.command(&["sessions", "--format", "json"]);
    let sessions: serde_json::Value = serde_json::from_str(sessions.worked()).unwrap();
    let own = |key: &str| sessions[0]["split"][key].as_f64().unwrap();
    assert!(own("database_seconds") > 0.2, "{sessions}");
    assert!(own("network_seconds") < 0.1 && own("transfer_seconds") < 0.1);
    assert!(own("flights") >= 1.0 && own("rtt_ms") > 0.0);
    let human = gateway.command(&["status"]).worked().to_owned();
    assert!(
        human.contains("shop") && human.contains("no_origin"),
        "{human}"
    );
}

#[test]
fn the_daemon_explains_its_own_decisions() {
    let gateway = gateway(TEXT);
    let why = |arguments: &[&str]| gateway.command(&[&["why"], arguments].concat());
    let ask = ["127.0.0.1", "--user", "app", "--database", "shop", "--tls"];
    assert_eq!(why(&ask).code(), 0);
    let denied = why(&[
        "127.0.0.1",
        "--user",
        "app",
        "--database",
        "hr",
        "--tls",
        "--format",
        "json",
    ]);
    assert_eq!(denied.code(), 3, "{denied:?}");
    let json: serde_json::Value = serde_json::from_str(&denied.stdout).unwrap();
    assert_eq!(
        (json["verdict"].as_str(), json["reason"].as_str()),
        (Some("deny"), Some("database_not_allowed"))
    );
    gateway.rewrite("origins: []\n");
    assert_eq!(why(&ask).code(), 0, "the file changed, the daemon did not");
    gateway.reload("origins: []\n");
    assert_eq!(why(&ask).code(), 3);
}

#[test]
fn the_control_socket_is_for_its_group_and_bounded() {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };
    let gateway = gateway(TEXT);
    let path = gateway.folder.path().join("admin.sock");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o660, "{mode:o}");
    for garbage in [
        &b"\n"[..],
        b"{}\n",
        b"{\"command\":\"stop\"}\n",
        &vec![b'x'; 300_000],
    ] {
        let mut socket = UnixStream::connect(&path).unwrap();
        socket
            .set_read_timeout(Some(crate::harness::PATIENCE))
            .unwrap();
        socket.write_all(garbage).ok();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).ok();
        assert!(!String::from_utf8_lossy(&answer).contains("reloaded"));
    }
    assert_eq!(gateway.command(&["status"]).code(), 0);
}

#[test]
fn a_daemon_that_is_asked_too_much_says_that_it_is_busy() {
    let gateway = gateway(TEXT);
    let socket = gateway.folder.path().join("admin.sock");
    let held: Vec<_> = (0..16)
        .map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap())
        .collect();
    let turned_away = gateway.command(&["sessions"]);
    assert_eq!(turned_away.code(), 69, "{turned_away:?}");
    assert!(turned_away.stderr.contains("busy"), "{turned_away:?}");
    drop(held);
    wait_until("room", || {
        (gateway.command(&["sessions"]).code() == 0).then_some(())
    });
}

#[test]
fn a_slip_of_the_pen_is_no_empty_answer() {
    let gateway = gateway(TEXT);
    let none = gateway.command(&["sessions", "--origin", "nope"]);
    assert_eq!(none.code(), 1, "{none:?}");
    assert!(
        none.stderr.contains("there is no origin \"nope\""),
        "{none:?}"
    );
    assert_eq!(gateway.command(&["sessions", "--origin", "shop"]).code(), 0);
    let lifted = gateway.command(&["bans", "remove", "xx"]);
    assert_eq!(lifted.code(), 1, "{lifted:?}");
    assert!(
        lifted.stderr.contains("`xx` is not an address"),
        "{lifted:?}"
    );
    let lifted = gateway.command(&["bans", "remove", "192.0.2.1"]);
    assert!(lifted.stderr.contains("is not banned"), "{lifted:?}");
}

#[test]
fn a_file_that_cannot_be_read_names_no_socket() {
    let asked = run(doorward().args(["reload", "--config", "/nonexistent/a.yaml"]));
    assert_eq!(asked.code(), 69, "{asked:?}");
    assert!(
        asked.stderr.contains("/nonexistent/a.yaml cannot be read")
            && asked.stderr.contains("--admin-socket"),
        "{asked:?}"
    );
}

#[test]
fn both_versions_of_tls_work_and_the_older_can_be_forbidden() {
    use tokio_rustls::rustls::{ProtocolVersion, version};
    let gateway = gateway(TEXT);
    let with = |port, versions: &[&'static tokio_rustls::rustls::SupportedProtocolVersion]| {
        let mut raw = Raw::connect(port);
        raw.send(&raw::SSL_REQUEST);
        assert_eq!(raw.byte(), b'S');
        raw.handshake(tls::client_with(&[], versions))
            .map(|(.., version)| version)
    };
    assert_eq!(
        with(gateway.port, &[&version::TLS12]).unwrap(),
        ProtocolVersion::TLSv1_2
    );
    assert_eq!(
        with(gateway.port, &[&version::TLS13]).unwrap(),
        ProtocolVersion::TLSv1_3
    );
    let mut plan = crate::harness::gateway::Plan::new(&Postgres::shared().address());
    plan.head = plan.head.replacen("tls: {", "tls: {min: \"1.3\", ", 1);
    let strict = plan.start(TEXT);
    assert!(with(strict.port, &[&version::TLS12]).is_err());
    assert_eq!(
        with(strict.port, &[&version::TLS13]).unwrap(),
        ProtocolVersion::TLSv1_3
    );
}
