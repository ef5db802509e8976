//! systemd: what the service tells it, how it ends, how well the unit is sealed; and where `make install` puts things.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::{
    PATIENCE, Postgres, Raw,
    gateway::{Gateway, Plan},
    project, run, wait_until,
};

const TEXT: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [by_text], databases: [shop]}
";

/// A service manager made of one socket.
struct Manager {
    socket: UnixDatagram,
    gateway: Gateway,
}

impl Manager {
    fn start(watchdog: Option<Duration>) -> Self {
        let mut plan = Plan::new(&Postgres::shared().address());
        let path = plan.folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        plan.environment
            .push(("NOTIFY_SOCKET", path.display().to_string()));
        if let Some(interval) = watchdog {
            plan.environment
                .push(("WATCHDOG_USEC", interval.as_micros().to_string()));
        }
        let gateway = plan.launch(TEXT);
        Self { socket, gateway }
    }

    /// Waits for a line such as `READY=1`.
    fn told(&self, line: &str) -> String {
        loop {
            let mut message = [0; 4096];
            let length = self
                .socket
                .recv(&mut message)
                .unwrap_or_else(|error| panic!("no {line}: {error}"));
            let text = String::from_utf8(message[..length].to_vec()).unwrap();
            if text.lines().any(|told| told == line) {
                return text;
            }
        }
    }
}

#[test]
fn the_service_is_ready_when_it_serves() {
    let manager = Manager::start(None);
    manager.told("READY=1");
    let mut client = Raw::encrypted([127, 0, 0, 1], manager.gateway.port);
    client.log_in("by_text", "shop");
}

#[test]
fn the_watchdog_is_fed_in_time() {
    let manager = Manager::start(Some(Duration::from_millis(600)));
    manager.told("READY=1");
    manager.told("WATCHDOG=1");
    for _ in 0..3 {
        let began = Instant::now();
        manager.told("WATCHDOG=1");
        assert!(
            began.elapsed() < Duration::from_millis(600),
            "{:?}",
            began.elapsed()
        );
    }
}

#[test]
fn a_reload_is_announced() {
    let manager = Manager::start(None);
    manager.told("READY=1");
    manager.gateway.reload(TEXT);
    let text = manager.told("RELOADING=1");
    assert!(text.contains("MONOTONIC_USEC="), "{text}");
    manager.told("READY=1");
}

#[test]
fn a_stop_drains_and_says_so() {
    let mut manager = Manager::start(None);
    manager.told("READY=1");
    let mut client = Raw::encrypted([127, 0, 0, 1], manager.gateway.port);
    client.log_in("by_text", "shop");
    client.query("begin");
    client.expect('Z');
    manager.gateway.signal("TERM");
    manager.told("STOPPING=1");
    assert!(!manager.gateway.has_ended());
    client.query("commit");
    client.expect('Z');
    assert_eq!(client.refusal().field('C').as_deref(), Some("57P01"));
    assert_eq!(manager.gateway.ended(), 0);
}

#[test]
fn the_unit_is_sealed() {
    let unit = project("deploy/doorward.service");
    let mut analyze = Command::new("systemd-analyze");
    let ended = run(analyze
        .args(["security", "--no-pager", "--offline=true"])
        .arg(unit));
    let overall = ended
        .stdout
        .lines()
        .find(|line| line.contains("Overall exposure level"));
    let overall = overall.unwrap_or_else(|| panic!("{ended:?}"));
    let exposure = overall
        .split(": ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(exposure.parse::<f64>().unwrap() <= 1.2, "{overall}");
}

#[test]
fn the_unit_is_understood_by_systemd() {
    let verify = run(Command::new("systemd-analyze")
        .arg("verify")
        .arg(project("deploy/doorward.service")));
    let ours = verify
        .stderr
        .lines()
        .filter(|line| line.contains("doorward.service"));
    // the machine that tests need not have it installed
    let complaints: Vec<&str> = ours
        .filter(|line| !line.contains("is not executable"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn install_puts_everything_in_place_and_uninstall_takes_it_away() {
    let root = tempfile::tempdir().unwrap();
    let here = root.path();
    let make = |verb: &str| {
        let mut make = Command::new("make");
        make.args(["-s", verb, "--directory"]).arg(project("."));
        // the binary under test stands for the release build
        make.arg(format!("DESTDIR={}", here.display()))
            .env("DOORWARD_BINARY", env!("CARGO_BIN_EXE_doorward"));
        run(&mut make)
    };
    let said = make("install").worked().to_owned();
    assert!(
        said.contains("doorward check") && said.contains("systemctl enable --now doorward"),
        "{said}"
    );
    let mode = |path: &str| {
        here.join(path)
            .metadata()
            .unwrap_or_else(|_| panic!("{path}"))
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("usr/bin/doorward"), 0o755);
    assert_eq!(mode("usr/lib/systemd/system/doorward.service"), 0o644);
    assert_eq!(mode("usr/lib/sysusers.d/doorward.conf"), 0o644);
    assert_eq!(mode("usr/share/doc/doorward/allowlist.example.yaml"), 0o644);
    let allowlist = here.join("etc/doorward/allowlist.yaml");
    let unit = fs::read_to_string(here.join("usr/lib/systemd/system/doorward.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/doorward run"));
    let installed = run(Command::new(here.join("usr/bin/doorward")).arg("--version"));
    assert!(installed.worked().starts_with("doorward "));
    fs::write(&allowlist, "mine").unwrap();
    make("install").worked();
    assert_eq!(
        fs::read_to_string(&allowlist).unwrap(),
        "mine",
        "an allowlist is never overwritten"
    );
    make("uninstall").worked();
    let left = run(Command::new("find").arg(here).args(["-type", "f"]));
    assert_eq!(
        left.worked(),
        allowlist.display().to_string(),
        "what the operator wrote stays"
    );
    wait_until("gone", || {
        (!here.join("usr/bin/doorward").exists()).then_some(())
    });
}
