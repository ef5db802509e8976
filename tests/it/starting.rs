//! How the gateway starts, or says in one sentence why it does not, with the right status.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Command};

use crate::harness::{
    Ended, Login, Postgres, free_port,
    gateway::{Plan, SHOP, doorward},
    psql, run, wait_until,
};

/// A start that must fail, and what was said.
fn refused(plan: Plan, rest: &str) -> (i32, String) {
    let mut gateway = plan.launch(rest);
    let code = gateway.ended();
    (code, gateway.said().join("\n"))
}

fn plan() -> Plan {
    Plan::new("127.0.0.1:1")
}

fn command(arguments: &[&str]) -> Ended {
    run(doorward().args(arguments))
}

#[test]
fn a_port_in_use_is_69() {
    let plan = plan();
    let _taken = TcpListener::bind(("127.0.0.1", plan.port)).unwrap();
    let port = plan.port.to_string();
    let (code, said) = refused(plan, SHOP);
    assert_eq!(code, 69, "{said}");
    assert!(said.contains(&port), "{said}");
    let plan = self::plan();
    let _taken = TcpListener::bind(("127.0.0.1", plan.admin)).unwrap();
    assert_eq!(refused(plan, SHOP).0, 69);
}

#[test]
fn a_key_that_cannot_be_used_is_said_so() {
    let plan = plan();
    let key = plan.folder.path().join("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = refused(plan, SHOP);
    assert!(code == 77 || code == 78, "world-readable: {code} {said}");
    assert!(said.contains("server.key"), "{said}");

    let plan = self::plan();
    fs::remove_file(plan.folder.path().join("server.key")).unwrap();
    let (code, said) = refused(plan, SHOP);
    assert!(code == 77 || code == 78, "absent: {code} {said}");
    assert!(said.contains("server.key"), "{said}");

    let plan = self::plan();
    let (_, other) = crate::harness::Authority::shared().issue(plan.folder.path(), "other");
    fs::rename(other, plan.folder.path().join("server.key")).unwrap();
    let (code, said) = refused(plan, SHOP);
    assert_eq!(code, 78, "it does not fit: {said}");
    assert!(said.contains("server."), "{said}");
}

#[test]
fn a_key_that_another_user_owns_is_77() {
    if !is_root() {
        return eprintln!("only root can try to be somebody else");
    }
    let plan = plan();
    let folder = plan.folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.join("allowlist.yaml");
    fs::write(&file, format!("{}{SHOP}", plan.head)).unwrap();
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    // the binary itself may lie where nobody may look
    let binary = folder.join("doorward");
    fs::copy(env!("CARGO_BIN_EXE_doorward"), &binary).unwrap();
    nobody.arg(binary).arg("run").arg("--config").arg(file);
    let ended = run(&mut nobody);
    assert_eq!(ended.code(), 77, "{ended:?}");
    assert!(ended.stderr.contains("server.key"), "{ended:?}");
}

#[test]
fn a_broken_file_is_78_with_its_place_and_an_absent_one_says_what_to_do() {
    let (code, said) = refused(plan(), "origins:\n  - {name: shop, form: [127.0.0.1]}\n");
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains("allowlist.yaml:") && said.contains("from"),
        "{said}"
    );
    let absent = command(&["run", "--config", "/nonexistent/allowlist.yaml"]);
    assert!([77, 78].contains(&absent.code()), "{absent:?}");
    assert!(
        absent.stderr.contains("/nonexistent/allowlist.yaml"),
        "{absent:?}"
    );
}

#[test]
fn a_wrong_command_line_is_2() {
    for arguments in [&["rnu"][..], &["run", "--nonsense"], &["why"], &[]] {
        assert_eq!(command(arguments).code(), 2, "{arguments:?}");
    }
}

#[test]
fn the_version_names_the_commit() {
    let version = command(&["--version"]).worked().to_owned();
    assert!(
        version.starts_with(&format!("doorward {} (", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    assert!(command(&["--help"]).worked().contains("run"));
}

#[test]
fn without_a_daemon_its_commands_are_69() {
    for arguments in [&["status"][..], &["reload"]] {
        let ended = command(&[arguments, &["--admin-socket", "/nonexistent/admin.sock"]].concat());
        assert_eq!(ended.code(), 69, "{ended:?}");
        assert!(!ended.stderr.is_empty());
    }
}

#[test]
fn a_gateway_can_be_started_without_a_file() {
    let server = Postgres::shared();
    let plan = Plan::new(&server.address());
    let state = plan.folder.path().join("state");
    let mut run = doorward();
    run.args([
        "run",
        "--protocol",
        "postgres",
        "--upstream",
        &server.address(),
    ])
    .args(["--listen", &format!("127.0.0.1:{}", plan.port)])
    .args(["--allow", "10.0.0.0/8", "--allow", "127.0.0.1"])
    .args(["--admin-http", &format!("127.0.0.1:{}", plan.admin)])
    .arg("--admin-socket")
    .arg(plan.folder.path().join("admin.sock"))
    .arg("--state-dir")
    .arg(&state);
    let mut gateway = plan.spawn(&mut run);
    gateway.until_healthy();
    let authority = state.join("tls/ca.crt");
    wait_until("the start prints the CA's path", || {
        let said = gateway.said().join("\n");
        said.contains(authority.to_str().unwrap()).then_some(())
    });
    let mut login = Login::new(gateway.port, "app", "shop");
    login.root = authority;
    assert_eq!(psql(&login, "select session_user").worked(), "app");
    let superuser = Login {
        user: "postgres".to_owned(),
        ..login.clone()
    };
    assert!(
        psql(&superuser, "select 1")
            .failed()
            .contains("[user_not_allowed]")
    );
    let stranger = gateway.seen_from([127, 0, 0, 9]);
    login.port = stranger.port;
    assert!(psql(&login, "select 1").failed().contains("not allowed"));
}

#[test]
fn a_certificate_of_ones_own_is_made_once_and_kept() {
    let plan = || {
        let mut plan = Plan::new(&Postgres::shared().address());
        let line = plan
            .head
            .lines()
            .find(|line| line.starts_with("tls:"))
            .unwrap()
            .to_owned();
        plan.head = plan
            .head
            .replace(&line, "tls: {names: [localhost, db.example.com]}");
        plan
    };
    let mut gateway = plan().start(SHOP);
    let tls = gateway.folder.path().join("state/tls");
    let mut login = gateway.shop();
    login.root = tls.join("ca.crt");
    assert_eq!(psql(&login, "select 1").worked(), "1");
    for entry in fs::read_dir(&tls).unwrap() {
        let path = entry.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            !text.contains("PRIVATE KEY") || mode == 0o600,
            "{}: {mode:o}",
            path.display()
        );
    }
    let before = fs::read(&login.root).unwrap();
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), 0);
    let gateway = gateway.again();
    assert_eq!(
        fs::read(gateway.folder.path().join("state/tls/ca.crt")).unwrap(),
        before
    );
    login.root = gateway.folder.path().join("state/tls/ca.crt");
    assert_eq!(psql(&login, "select 1").worked(), "1");
}

#[test]
fn the_environment_reaches_settings_but_never_policy() {
    let mut plan = Plan::new(&Postgres::shared().address());
    let elsewhere = free_port();
    plan.environment
        .push(("DOORWARD__ADMIN__HTTP", format!("127.0.0.1:{elsewhere}")));
    plan.admin = elsewhere;
    let gateway = plan.start(SHOP);
    assert_eq!(psql(&gateway.shop(), "select 1").worked(), "1");

    for (name, value) in [
        ("DOORWARD__REQUIRE__TLS", "false"),
        ("DOORWARD__ORIGINS", "[]"),
        ("DOORWARD__PROTECTED_USERS", "[]"),
    ] {
        let mut plan = self::plan();
        plan.environment.push((name, value.to_owned()));
        let (code, said) = refused(plan, SHOP);
        assert_eq!(code, 78, "{name}: {said}");
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn a_listener_may_have_several_addresses_of_both_families() {
    let inet6 = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    assert!(
        inet6.contains(" lo"),
        "this machine has no IPv6 loopback: sysctl net.ipv6.conf.lo.disable_ipv6=0"
    );
    let mut plan = Plan::new(&Postgres::shared().address());
    let port = plan.port;
    let (one, both) = (
        format!("\"127.0.0.1:{port}\""),
        format!("[\"127.0.0.1:{port}\", \"[::1]:{port}\"]"),
    );
    plan.head = plan.head.replacen(&one, &both, 1);
    let gateway = plan.start(&SHOP.replace("127.0.0.1", "\"::1\""));
    let by_six = gateway.shop().with("PGHOSTADDR", "::1");
    assert_eq!(psql(&by_six, "select 1").worked(), "1");
    assert!(
        psql(&gateway.shop(), "select 1")
            .failed()
            .contains("not allowed"),
        "127.0.0.1 is not ::1"
    );
}

#[test]
fn the_example_file_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let (list, example) = (folder.path().join("list"), folder.path().join("a.yaml"));
    fs::write(&list, r#"{"actions": ["192.30.252.0/22"]}"#).unwrap();
    let text = fs::read_to_string(crate::harness::project("allowlist.example.yaml")).unwrap();
    let here = text.replace("/etc/doorward/github-meta.json", list.to_str().unwrap());
    fs::write(&example, here).unwrap();
    let ended = command(&["check", "--offline", example.to_str().unwrap()]);
    assert_eq!(ended.code(), 0, "{ended:?}");
}

#[test]
fn check_names_all_problems_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let text = "\
version: 1
listeners:
  - {name: pg, protocol: postgres, listen: \"127.0.0.1:6432\", upstream: \"127.0.0.1:5432\"}
origins:
  - {name: a, from: [010.0.0.1], users: [x]}
  - {name: b, from: [10.0.0.1/8], users: [x]}
  - {name: a, from: [10.0.0.1], uesrs: [x]}
";
    fs::write(&file, text).unwrap();
    let ended = command(&["check", "--offline", file.to_str().unwrap()]);
    assert_eq!(ended.code(), 78);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for place in ["a.yaml:5:", "a.yaml:6:", "a.yaml:7:"] {
        assert!(said.contains(place), "{place} in {said}");
    }
    assert!(
        said.contains("10.0.0.0/8") && said.contains("users") && said.contains('^'),
        "{said}"
    );
}

#[test]
fn why_reads_a_file_where_no_daemon_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let listener = "version: 1\nlisteners:\n  - {name: pg, protocol: postgres, listen: \"127.0.0.1:6432\", upstream: \"127.0.0.1:5432\"}\n";
    fs::write(&file, format!("{listener}{SHOP}")).unwrap();
    let why = |arguments: &[&str]| {
        command(&[&["why"], arguments, &["--config", file.to_str().unwrap()]].concat())
    };
    assert_eq!(
        why(&["127.0.0.1", "--user", "app", "--database", "shop", "--tls"]).code(),
        0
    );
    let denied = why(&["127.0.0.1", "--user", "app", "--database", "shop"]);
    assert_eq!(denied.code(), 3);
    assert!(
        denied.stdout.contains("tls_required") && denied.stdout.contains("shop"),
        "{denied:?}"
    );
    assert_eq!(why(&["not-an-address", "--user", "app"]).code(), 2);
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
