//! TLS between the gateway and PostgreSQL, with real servers and with some that are not what they should be.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    Authority, Gateway, Login, Postgres, Relay, Rogue,
    clients::psql_started,
    gateway::{Plan, SHOP},
    postgres::Release,
    process::signal,
    psql, python, raw, wait_until,
};

const ALL: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [app, by_text, tls_only, by_certificate], databases: [shop]}
";
const WHO: &str = "select current_user || ' ' || ssl || ' ' || version from pg_stat_ssl where pid = pg_backend_pid()";

fn verified() -> String {
    let root = Authority::shared().root();
    format!("mode: verify-full, ca: {}", root.display())
}

fn pin(server: &Postgres) -> String {
    format!(
        "mode: pin, pin: \"{}\"",
        fingerprint(&server.certificate().0)
    )
}

fn fingerprint(certificate: &Path) -> String {
    let mut openssl = std::process::Command::new("openssl");
    let openssl = openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let said = crate::harness::run(openssl.arg(certificate));
    let (_, fingerprint) = said.worked().split_once('=').unwrap();
    fingerprint.to_owned()
}

/// A gateway that shows the server's own certificate, so that logins can be bound to it, and speaks TLS to `upstream` so.
fn plan(server: &Postgres, upstream: &str, tls: &str) -> Plan {
    let mut plan = Plan::new(upstream);
    let keys = format!("scram: relay, upstream_tls: {{{tls}}}, upstream:");
    plan.head = plan.head.replacen("upstream:", &keys, 1);
    let (certificate, key) = server.certificate();
    for (from, to) in [("crt", certificate), ("key", key)] {
        let shown = plan.folder.path().join(format!("server.{from}"));
        fs::copy(to, shown).unwrap();
    }
    plan
}

fn before(server: &Postgres, tls: &str) -> Gateway {
    plan(server, &server.address(), tls).start(ALL)
}

fn failures(gateway: &Gateway) -> f64 {
    let labels = [("reason", "tls")];
    gateway.metric("doorward_upstream_connect_failures_total", &labels)
}

#[test]
fn clients_reach_a_server_that_proves_who_it_is() {
    for server in Postgres::all() {
        for tls in [
            verified(),
            format!("{}, name: localhost", verified()),
            format!("{}, negotiation: request", verified()),
            pin(server),
        ] {
            let gateway = before(server, &tls);
            for user in ["app", "tls_only"] {
                let login = Login::new(gateway.port, user, "shop");
                let asked = psql(&login, WHO);
                assert_eq!(asked.worked(), format!("{user} true TLSv1.3"), "{tls}");
            }
            let script = "import psycopg; print(psycopg.connect('').execute('select ssl from pg_stat_ssl where pid = pg_backend_pid()').fetchone()[0])";
            assert_eq!(python(&gateway.shop(), script).worked(), "True");
        }
    }
}

/// Of the session that is over.
fn turns_to_the_server(gateway: &Gateway) -> Value {
    wait_until("the session is told", || {
        let lines = gateway.command(&["latency", "--format", "json"]);
        let lines: Value = serde_json::from_str(lines.worked()).unwrap();
        let over = (&lines[0]["sessions"], &lines[0]["units"]) == (&0.into(), &1.into());
        over.then(|| lines[0]["connect_turns_upstream"].clone())
    })
}

#[test]
fn direct_tls_reaches_a_server_that_knows_it_and_names_the_fault_of_one_that_does_not() {
    for server in Postgres::all() {
        let tls = format!("{}, negotiation: direct", verified());
        let gateway = before(server, &tls);
        let asked = psql(&gateway.shop(), WHO);
        if server.release == Release::Newest {
            assert_eq!(asked.worked(), "app true TLSv1.3");
            // TCP, TLS, the startup packet and two answers
            assert_eq!(turns_to_the_server(&gateway), json!(5.0));
            let asking = before(server, &verified());
            psql(&asking.shop(), WHO).worked();
            assert_eq!(turns_to_the_server(&asking), json!(6.0));
        } else {
            let words = asked.failed();
            assert!(words.contains("[upstream_unreachable]"), "{words}");
            let line = gateway.logged(&[("reason", "upstream_unreachable")]);
            assert!(line.to_string().contains("negotiation: request"), "{line}");
        }
    }
}

#[test]
fn a_server_that_is_not_the_one_that_was_meant_hears_of_nobody() {
    let server = Postgres::shared();
    let stranger = crate::harness::client_ca::ClientCa::new();
    let zeros = "00".repeat(32);
    for (tls, cause) in [
        (format!("mode: pin, pin: \"{zeros}\""), "not the pinned one"),
        (
            format!("{}, name: elsewhere.example", verified()),
            "for another `name`",
        ),
        (
            format!(
                "mode: verify-full, ca: {}",
                stranger.certificate().display()
            ),
            "not from a CA of the file",
        ),
    ] {
        let relay = Relay::before(server.port);
        let gateway = plan(server, &relay.address(), &tls).start(ALL);
        let refused = psql(&Login::new(gateway.port, "tls_only", "shop"), WHO);
        let words = refused.failed();
        assert!(words.contains("[upstream_unreachable]"), "{words}");
        let line = gateway.logged(&[("reason", "upstream_unreachable")]);
        assert!(line.to_string().contains(cause), "{line}");
        let told = relay.brought().concat();
        let named = told.windows(8).any(|bytes| bytes == b"tls_only");
        assert!(!named && !told.is_empty());
        assert!(failures(&gateway) > 0.0);
        gateway.until_metric("doorward_upstream_up", &[], 0.0);
    }
}

#[test]
fn a_server_without_tls_is_told_from_one_that_is_down() {
    let server = Postgres::without_tls();
    let gateway = plan(Postgres::shared(), &server.address(), &verified()).start(SHOP);
    let refused = psql(&gateway.shop(), "select 1");
    assert!(refused.failed().contains("[upstream_unreachable]"));
    let line = gateway.logged(&[("reason", "upstream_unreachable")]);
    assert!(line.to_string().contains("offers no TLS"), "{line}");
}

#[test]
fn a_server_that_answers_otherwise_is_repeated_to_nobody() {
    const ANSWERS: [&[u8]; 5] = [
        b"ESFATAL\0VFATAL\0C28000\0Mcall 555-0100\0\0",
        b"N",
        b"HTTP/1.1 400 call 555-0100\r\n\r\n",
        b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I",
        b"",
    ];
    for answer in ANSWERS {
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let ledger = Arc::clone(&heard);
        let rogue = Rogue::playing(move |raw| {
            let mut request = vec![0; 8];
            if raw.stream.read_exact(&mut request).is_ok() {
                raw.try_send(answer).ok();
            }
            request.extend(raw.rest());
            ledger.lock().unwrap().push(request);
        });
        let mut plan = plan(Postgres::shared(), &rogue.address(), &verified());
        plan.head.push_str("limits: {dial: 1s}\n");
        let gateway = plan.start(SHOP);
        let began = Instant::now();
        let refused = psql(&gateway.shop(), "select 1");
        let words = refused.failed();
        assert!(words.contains("[upstream_unreachable]"), "{words}");
        assert!(!words.contains("555"), "{words}");
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(failures(&gateway) > 0.0);
        let said = gateway.said().concat();
        assert!(!said.contains("555"), "{said}");
        let heard = heard.lock().unwrap();
        assert!(!heard.is_empty(), "{answer:?}");
        assert!(
            heard.iter().all(|all| *all == raw::SSL_REQUEST),
            "{heard:?}"
        );
    }
}

#[test]
fn the_gateway_shows_a_certificate_of_its_own() {
    let server = Postgres::start(&[]);
    let hba = "local all all trust\nhostssl all by_certificate 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n";
    server.write_hba(hba);
    server.sql("select pg_reload_conf()");
    let papers = tempfile::tempdir().unwrap();
    let showing = |name: &str| {
        let (certificate, key) = Authority::shared().issue(papers.path(), name);
        let files = format!(
            "certificate: {}, key: {}",
            certificate.display(),
            key.display()
        );
        before(&server, &format!("{}, {files}", verified()))
    };
    let app = |gateway: &Gateway| psql(&gateway.shop(), WHO);
    let refused = app(&before(&server, &verified()));
    assert!(
        refused.failed().contains("valid client certificate"),
        "{refused:?}"
    );
    assert_eq!(app(&showing("app")).worked(), "app true TLSv1.3");
    let refused = app(&showing("other"));
    assert!(
        refused.failed().contains("authentication failed"),
        "{refused:?}"
    );
    // whom the server knows by the gateway's certificate has proved nothing himself
    let gateway = showing("by_certificate");
    let login = Login::new(gateway.port, "by_certificate", "shop");
    let refused = psql(&login, WHO);
    assert!(
        refused.failed().contains("[authentication_missing]"),
        "{refused:?}"
    );
    gateway.reload(&format!("require: {{authentication: false}}\n{ALL}"));
    assert_eq!(psql(&login, WHO).worked(), "by_certificate true TLSv1.3");
}

fn running(server: &Postgres, marker: &str) -> bool {
    server.sql(&format!("select count(*) from pg_stat_activity where state = 'active' and query like '%{marker}%' and pid <> pg_backend_pid()")) != "0"
}

/// A cancel request or a startup packet in clear would bear one of these at its fifth byte.
fn in_clear(brought: &[Vec<u8>]) -> bool {
    let codes = [raw::CANCEL_CODE, 0x0003_0000];
    brought.iter().any(|bytes| {
        let code = bytes
            .get(4..8)
            .map(|code| u32::from_be_bytes(code.try_into().unwrap()));
        code.is_some_and(|code| codes.contains(&code))
    })
}

#[test]
fn a_cancel_goes_to_the_server_as_its_session_does() {
    for server in Postgres::all() {
        let mut modes = vec![verified()];
        if server.release == Release::Newest {
            modes.push(format!("{}, negotiation: direct", verified()));
        }
        for tls in modes {
            let relay = Relay::before(server.port);
            let gateway = plan(server, &relay.address(), &tls).start(ALL);
            let login = Login::new(gateway.port, "tls_only", "shop");
            let psql = psql_started(&login, "select pg_sleep(91)");
            wait_until("the query runs", || {
                running(server, "pg_sleep(91)").then_some(())
            });
            signal("INT", psql.id());
            let ended = psql.end();
            assert!(ended.failed().contains("canceling statement"), "{ended:?}");
            gateway.until_metric("doorward_cancels_total", &[("result", "forwarded")], 1.0);
            let brought = relay.brought();
            assert!(brought.len() > 1 && !in_clear(&brought), "{tls}");
        }
    }
}

#[test]
fn the_statement_of_a_session_that_is_cut_is_stopped_over_tls_too() {
    let server = Postgres::shared();
    let relay = Relay::before(server.port);
    let gateway = plan(server, &relay.address(), &verified()).start(ALL);
    let psql = psql_started(&gateway.shop(), "select pg_sleep(92)");
    wait_until("the query runs", || {
        running(server, "pg_sleep(92)").then_some(())
    });
    gateway.reload("sessions: {on_revoke: close}\norigins: []\n");
    psql.end().failed();
    wait_until("it is stopped", || {
        (!running(server, "pg_sleep(92)")).then_some(())
    });
    assert!(!in_clear(&relay.brought()));
}

#[test]
fn a_changed_certificate_or_ca_is_taken_in_without_a_restart() {
    let server = Postgres::start(&[]);
    let papers = tempfile::tempdir().unwrap();
    let ca = papers.path().join("ca.pem");
    fs::copy(Authority::shared().root(), &ca).unwrap();
    let tls = format!("mode: verify-full, ca: {}", ca.display());
    let gateway = before(&server, &tls);
    let login = Login::new(gateway.port, "by_text", "shop").with("PGCHANNELBINDING", "disable");
    let asks = || psql(&login, "select 1");
    assert_eq!(asks().worked(), "1");
    // another certificate of the same CA
    let (certificate, _) = server.certificate();
    let folder = certificate.parent().unwrap();
    let owner = fs::metadata(folder.join("server.key")).unwrap();
    Authority::shared().issue(folder, "server");
    std::os::unix::fs::chown(
        folder.join("server.key"),
        Some(std::os::unix::fs::MetadataExt::uid(&owner)),
        None,
    )
    .unwrap();
    server.sql("select pg_reload_conf()");
    assert_eq!(asks().worked(), "1");
    // a CA that knows nothing of it, and its own again
    let stranger = crate::harness::client_ca::ClientCa::new();
    for (file, works) in [
        (stranger.certificate(), false),
        (Authority::shared().root(), true),
    ] {
        fs::copy(file, &ca).unwrap();
        wait_until("the files are taken in", || {
            ((asks().code() == 0) == works).then_some(())
        });
    }
    fs::write(&ca, "no certificate").unwrap();
    gateway.logged(&[("event", "file_refused")]);
    assert_eq!(asks().worked(), "1", "what was good goes on");
}

#[test]
fn check_says_which_pin_to_write_and_when_a_server_has_no_tls() {
    let server = Postgres::shared();
    let check = |upstream: &str, tls: &str| {
        let gateway = plan(server, upstream, tls).start(ALL);
        let file = gateway.file().display().to_string();
        let said = gateway.command(&["check", &file]);
        said.stdout.clone() + &said.stderr
    };
    let zeros = "00".repeat(32);
    let bare = fingerprint(&server.certificate().0)
        .replace(':', "")
        .to_lowercase();
    for wrong in [
        format!("mode: pin, pin: \"{zeros}\""),
        format!("{}, name: elsewhere.example", verified()),
    ] {
        let said = check(&server.address(), &wrong);
        assert!(
            said.contains("W-UPSTREAM-TLS") && said.contains(&bare),
            "{said}"
        );
    }
    let said = check(&server.address(), &pin(server));
    assert!(!said.contains("W-UPSTREAM"), "{said}");
    let said = check(&Postgres::without_tls().address(), &verified());
    assert!(
        said.contains("the server offers no TLS: it needs `ssl = on`"),
        "{said}"
    );
}
