//! Clients that prove by a certificate who they are, and what becomes of them when it is worth nothing any more.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Gateway, Login, Mysql, Postgres, Relay,
    client_ca::{ClientCa, Shown},
    clients::psql_started,
    gateway::{Plan, SHOP, doorward},
    mariadb, mysql, node, psql, python, run, wait_until,
};

/// From anywhere, with a certificate: the only far origin is such a one.
const PROVED: &str = "\
origins:
  - name: shop
    from: [any]
    proof: {certificate: {dns: shop.example.com}}
    users: [app]
    databases: [shop]
";
const WHO: &str = "select current_user || '@' || current_database()";

/// A gateway before PostgreSQL that believes this CA.
fn before_postgres(ca: &ClientCa, policy: &str) -> Gateway {
    let plan = Plan::new(&Postgres::shared().address());
    plan.believing(ca).start(policy)
}

/// A session that sleeps until somebody ends it.
fn asleep(gateway: &Gateway, login: &Login) -> crate::harness::process::Running {
    let running = psql_started(login, "select pg_sleep(60)");
    gateway.until_metric("doorward_connections", &[], 1.0);
    running
}

/// psql's words for a session that was put out, within this time.
#[track_caller]
fn put_out_within(limit: Duration, running: crate::harness::process::Running) -> String {
    let began = Instant::now();
    let said = running.end().failed().to_owned();
    assert!(began.elapsed() < limit, "{:?}: {said}", began.elapsed());
    said
}

#[test]

fn who_has_the_certificate_comes_in_and_nobody_else() {
    let (ca, elsewhere) = (ClientCa::new(), ClientCa::new());
    let shop = ca.issue("shop.example.com", &[]);
    let other = ca.issue("other.example.com", &[]);
    let foreign = elsewhere.issue("shop.example.com", &[]);
    let gateway = before_postgres(&ca, PROVED);
    let login = gateway.shop();
    assert_eq!(
        psql(&login.clone().showing(&shop), WHO).worked(),
        "app@shop"
    );
    let refused = |login: &Login, reason: &str| {
        let before = gateway.refused(reason);
        let words = psql(login, WHO).failed().to_owned();
        wait_until(&format!("{reason}: {words}"), || {
            (gateway.refused(reason) > before).then_some(())
        });
        words
    };
    let none = refused(&login, "certificate_missing");
    assert!(
        none.contains("connection not allowed"),
        "a stranger: {none}"
    );
    refused(&login.clone().showing(&other), "certificate_mismatch");
    let stranger = refused(&login.showing(&foreign), "certificate_mismatch");
    assert!(stranger.contains("connection not allowed"), "{stranger}");
}

#[test]
fn who_is_known_hears_what_is_wrong_with_its_certificate_and_so_does_the_log() {
    let (ca, elsewhere) = (ClientCa::new(), ClientCa::new());
    let foreign = elsewhere.issue("shop.example.com", &[]);
    let ended = short_lived(&ca, "shop.example.com", Duration::ZERO);
    let policy = PROVED.replace("from: [any]", "from: [127.0.0.1]");
    let gateway = before_postgres(&ca, &policy);
    thread::sleep(Duration::from_millis(1100));
    for (shown, fault) in [
        (&ended, "the client's certificate has ended"),
        (&foreign, "the client's certificate is not from a CA"),
    ] {
        let refused = psql(&gateway.shop().showing(shown), WHO);
        assert!(refused.failed().contains(fault), "{refused:?}");
        let line = gateway.logged(&[("reason", "certificate_mismatch")]);
        assert!(line.to_string().contains("\"cause\""), "{line}");
    }
}

#[test]
fn a_stranger_with_a_certificate_of_ours_is_told_why() {
    let ca = ClientCa::new();
    let other = ca.issue("other.example.com", &[]);
    let gateway = before_postgres(&ca, PROVED);
    let refused = psql(&gateway.shop().showing(&other), WHO);
    let words = refused.failed();
    assert!(words.contains("[certificate_mismatch]"), "{words}");
}

#[test]

fn every_driver_shows_its_certificate() {
    let ca = ClientCa::new();
    let shop = ca.issue("shop.example.com", &[]);
    let gateway = before_postgres(&ca, PROVED);
    let login = gateway.shop().showing(&shop);
    let script =
        "import psycopg; print(psycopg.connect().execute('select current_user').fetchone()[0])";
    assert_eq!(python(&login, script).worked(), "app");
    let script = "const {Client} = require('pg'), fs = require('fs'), e = process.env;\n\
         (async () => {\n\
           const ssl = {ca: fs.readFileSync(e.PGSSLROOTCERT), cert: fs.readFileSync(e.PGSSLCERT), key: fs.readFileSync(e.PGSSLKEY)};\n\
           const c = new Client({host: 'localhost', ssl}); await c.connect();\n\
           console.log((await c.query('select current_user as u')).rows[0].u); await c.end();\n\
         })()";
    assert_eq!(node(&login, script).worked(), "app");
}

#[test]

fn a_mysql_client_proves_itself_before_the_server_hears_of_it() {
    let ca = ClientCa::new();
    let shop = ca.issue("shop.example.com", &[]);
    for server in Mysql::all() {
        let upstream = Relay::before(server.port);
        let plan = Plan::mysql(&upstream.address(), "").believing(&ca);
        let gateway = plan.start(PROVED);
        let account = gateway.account();
        // the gateway itself has asked how the server greets
        let before = upstream.connected();
        mariadb(&account, "select 1").failed();
        mysql(&account, "select 1").failed();
        let since = upstream.connected() - before;
        assert_eq!(since, 0, "{:?}: not even a socket", server.kind);
        let account = account.showing(&shop);
        assert_eq!(
            mariadb(&account, "select 1").worked(),
            "1",
            "{:?}",
            server.kind
        );
        assert_eq!(
            mysql(&account, "select 1").worked(),
            "1",
            "{:?}",
            server.kind
        );
    }
}

#[test]

fn a_revoked_certificate_ends_its_session_at_once() {
    let ca = ClientCa::new();
    let shop = ca.issue("shop.example.com", &[]);
    let gateway = before_postgres(&ca, PROVED);
    let login = gateway.shop().showing(&shop);
    let session = asleep(&gateway, &login);
    ca.revoke("shop.example.com");
    // in a statement without end: it is cut, not drained
    put_out_within(Duration::from_secs(3), session);
    let said = psql(&login, WHO);
    said.failed();
    wait_until("a refusal by the list", || {
        (gateway.refused("certificate_revoked") >= 1.0).then_some(())
    });
}

#[test]

fn a_ca_that_is_taken_away_takes_its_sessions_along() {
    let (ca, other) = (ClientCa::new(), ClientCa::new());
    let shop = ca.issue("shop.example.com", &[]);
    let gateway = before_postgres(&ca, PROVED);
    let login = gateway.shop().showing(&shop);
    let session = asleep(&gateway, &login);
    fs::copy(other.list(), ca.list()).unwrap();
    fs::copy(other.certificate(), ca.certificate()).unwrap();
    gateway.until_metric("doorward_sessions_revoked_total", &[], 1.0);
    psql(&login, WHO).failed();
    let new = other.issue("shop.example.com", &[]);
    assert_eq!(
        psql(&gateway.shop().showing(&new), WHO).worked(),
        "app@shop"
    );
    drop(session);
}

#[test]

fn a_list_that_cannot_be_read_leaves_the_last_good_one_in_force() {
    let ca = ClientCa::new();
    let [shop, old] = ["shop.example.com", "old.example.com"].map(|name| ca.issue(name, &[]));
    ca.revoke("old.example.com");
    let policy = PROVED.replace("shop.example.com", "\"*.example.com\"");
    let gateway = before_postgres(&ca, &policy);
    let (shop, old) = (gateway.shop().showing(&shop), gateway.shop().showing(&old));
    psql(&old, WHO).failed();
    let good = fs::read(ca.list()).unwrap();
    for broken in ["", "no list"] {
        fs::write(ca.list(), broken).unwrap();
        thread::sleep(Duration::from_secs(2));
        assert_eq!(psql(&shop, WHO).worked(), "app@shop");
        psql(&old, WHO).failed();
    }
    assert!(gateway.refused("certificate_revoked") >= 3.0);
    gateway.until_metric("doorward_config_last_reload_successful", &[], 0.0);
    fs::write(ca.list(), good).unwrap();
    ca.revoke("shop.example.com");
    wait_until("the next good list is taken in", || {
        (!psql(&shop, WHO).status.success()).then_some(())
    });
    gateway.until_metric("doorward_config_last_reload_successful", &[], 1.0);
    let reloads = gateway.metric("doorward_config_reloads_total", &[("result", "success")]);
    assert!((reloads - 1.0).abs() < 1e-9, "of the start: {reloads}");
}

#[test]

fn a_certificate_that_ends_ends_its_session() {
    let ca = ClientCa::new();
    let shown = short_lived(&ca, "shop.example.com", Duration::from_secs(8));
    let gateway = before_postgres(&ca, PROVED);
    let login = gateway.shop().showing(&shown);
    assert_eq!(psql(&login, WHO).worked(), "app@shop");
    let session = psql_started(
        &login,
        "select pg_sleep(1); select pg_sleep(1); select pg_sleep(30)",
    );
    gateway.until_metric("doorward_sessions_revoked_total", &[], 1.0);
    psql(&login, WHO).failed();
    drop(session);
}

/// A certificate of this CA with another life than days, by its key.
fn short_lived(ca: &ClientCa, name: &str, life: Duration) -> Shown {
    let key = fs::read_to_string(ca.key()).unwrap();
    let pem = fs::read_to_string(ca.certificate()).unwrap();
    let signs = rcgen::KeyPair::from_pem(&key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&pem, signs).unwrap();
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + life).into();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let folder = ca.certificate().parent().unwrap().to_owned();
    let shown = Shown {
        certificate: folder.join("short.crt"),
        key: folder.join("short.key"),
    };
    fs::write(&shown.certificate, certificate.pem()).unwrap();
    crate::harness::authority::write_private(&shown.key, &key.serialize_pem());
    shown
}

#[test]
fn openssl_believes_what_we_issue_until_we_take_it_back() {
    let ca = ClientCa::new();
    let [shop, old] = ["shop.example.com", "old.example.com"].map(|name| ca.issue(name, &[]));
    ca.revoke("old.example.com");
    let verified = |shown: &Shown| {
        let mut command = Command::new("openssl");
        command
            .args([
                "verify",
                "-x509_strict",
                "-crl_check",
                "-purpose",
                "sslclient",
            ])
            .arg("-CAfile")
            .arg(ca.certificate())
            .arg("-CRLfile")
            .arg(ca.list())
            .arg(&shown.certificate);
        run(&mut command)
    };
    verified(&shop).worked();
    assert!(verified(&old).failed().contains("revoked"));
}

#[test]
fn without_a_word_about_it_the_ca_is_in_the_state_folder() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    let cert = |words: &[&str]| {
        let mut command = doorward();
        command
            .arg("cert")
            .args(words)
            .env("STATE_DIRECTORY", &here);
        run(&mut command)
    };
    let said = cert(&["init", "--config", "/nonexistent"]);
    assert!(said.failed().contains("/nonexistent"));
    assert!(!folder.path().join("clients").exists());
    let file = folder.path().join("allowlist.yaml");
    fs::write(&file, "version: 1\n").unwrap();
    let said = cert(&["init", "--config", &file.display().to_string()]);
    assert!(
        said.worked()
            .contains(&format!("client_ca: {here}/clients/ca.crt"))
    );
    fs::write(&file, format!("version: 1\nstate_dir: {here}/named\n")).unwrap();
    let said = cert(&["init", "--config", &file.display().to_string()]);
    assert!(
        said.worked()
            .contains(&format!("client_ca: {here}/named/clients/ca.crt"))
    );
}

#[test]
fn who_needs_no_certificate_is_let_in_with_any_and_with_none() {
    let (ca, elsewhere) = (ClientCa::new(), ClientCa::new());
    let shown = [
        ca.issue("other.example.com", &[]),
        elsewhere.issue("shop.example.com", &[]),
    ];
    let gateway = before_postgres(&ca, SHOP);
    assert_eq!(psql(&gateway.shop(), WHO).worked(), "app@shop");
    for shown in &shown {
        let login = gateway.shop().showing(shown);
        assert_eq!(psql(&login, WHO).worked(), "app@shop");
    }
    for server in Mysql::all() {
        let plan = Plan::mysql(&server.address(), "").believing(&ca);
        let gateway = plan.start(SHOP);
        let account = gateway.account();
        let with_one = gateway.account().showing(&shown[1]);
        for account in [account, with_one] {
            assert_eq!(mariadb(&account, "select 1").worked(), "1");
            assert_eq!(mysql(&account, "select 1").worked(), "1");
        }
    }
}
