//! The decided examples of the example file, with real clients: each row of `tests/decisions.tsv` from its own address, with a
//! real certificate where it has one, as a login at a real PostgreSQL.

use std::{collections::HashMap, fs, process::Command};

use serde_json::Value;

use crate::harness::{
    Dns, Ended, Gateway, Login, Postgres,
    client_ca::{ClientCa, Shown},
    clients::Environ,
    free_port,
    gateway::{Plan, field},
    network::in_own_network,
    project, run, wait_until,
};

/// Every role and database of the rows that a yes leads to.
const ROLES: [&str; 9] = [
    "CREATE ROLE shop_app LOGIN PASSWORD 'secret'",
    "CREATE ROLE shop_worker LOGIN PASSWORD 'secret'",
    "CREATE ROLE blog LOGIN PASSWORD 'secret'",
    "CREATE ROLE erp_reader LOGIN PASSWORD 'secret'",
    "CREATE ROLE etl LOGIN PASSWORD 'secret'",
    "CREATE ROLE anna_ro LOGIN PASSWORD 'secret'",
    "ALTER ROLE postgres PASSWORD 'secret'",
    "CREATE DATABASE blog",
    "CREATE DATABASE warehouse",
];
/// When the temporary origin of the example ends, a moment before any test of it, and one after all.
const EXPIRES: &str = "2026-11-22T18:00:00Z";
const LONG_AGO: &str = "2016-11-22T18:00:00Z";
const FAR_OFF: &str = "2126-11-22T18:00:00Z";
/// Where the example's partner is, according to a name server of the test's own.
const PARTNER: [&str; 2] = ["198.18.5.5", "2001:db8:77::9"];

/// One row: who connects, and what must come of it.
struct Row {
    case: String,
    after_expiry: bool,
    connection: Value,
    verdict: String,
    reason: String,
    origin: String,
    would_deny: String,
}

impl Row {
    fn of(line: &str) -> Self {
        let fields: Vec<_> = line.split('\t').collect();
        let [case, at, connection, verdict, reason, origin, would_deny] = fields.as_slice() else {
            panic!("seven fields: {line}");
        };
        Self {
            case: (*case).to_owned(),
            after_expiry: *at > EXPIRES,
            connection: serde_json::from_str(connection).unwrap(),
            verdict: (*verdict).to_owned(),
            reason: (*reason).to_owned(),
            origin: (*origin).to_owned(),
            would_deny: (*would_deny).to_owned(),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.connection[key].as_str()
    }

    /// The address without its mapping, and whether it is to arrive mapped.
    fn address(&self) -> (&str, bool) {
        let address = self.text("ip").unwrap();
        address
            .strip_prefix("::ffff:")
            .map_or((address, false), |inner| (inner, true))
    }
}

/// The example's policy behind the settings of `plan`, with the temporary origin's end at `expires`.
fn policy(dns: &Dns, list: &str, expires: &str) -> String {
    let example = fs::read_to_string(project("allowlist.example.yaml")).unwrap();
    let (_, policy) = example.split_once("# ---- policy").unwrap();
    // they are about the day of the example
    let (policy, _tests) = policy.split_once("\ntests:").unwrap();
    let policy = policy
        .replace("/etc/doorward/github-meta.json", list)
        .replace(EXPIRES, expires);
    format!("resolver: {{servers: [\"{}\"]}}\n# {policy}", dns.address)
}

/// A listener of the example that no row goes to.
fn idle(name: &str, protocol: &str) -> String {
    let (listen, upstream) = (free_port(), free_port());
    format!(
        "name: {name}, protocol: {protocol}, upstream: \"127.0.0.1:{upstream}\", listen: \"127.0.0.1:{listen}\""
    )
}

/// Connects to the client's own address, so that it is where the connection comes from.
fn connect(row: &Row, ports: [u16; 2], shown: &HashMap<String, Shown>) -> Ended {
    let (address, mapped) = row.address();
    let user = row.text("user").unwrap();
    let port = ports[usize::from(mapped)];
    let replicates = row.connection["replication"] == 1;
    let mut login =
        Login::new(port, user, row.text("db").unwrap_or(user)).with("PGHOSTADDR", address);
    if row.connection["tls"] != 1 {
        login = login.sslmode("disable");
    }
    if let Some(name) = row.connection["cert"]["dns"][0].as_str() {
        login = login.showing(&shown[name]);
    }
    let (options, sql) = if replicates {
        ("replication=1", "IDENTIFY_SYSTEM")
    } else {
        ("", "select current_user || '@' || current_database()")
    };
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-q", "-c", sql, "-d", options]);
    run(login.environ(&mut command))
}

#[test]
fn every_decided_example_is_decided_so_for_a_real_client_at_its_address() {
    let name = concat!(
        module_path!(),
        "::every_decided_example_is_decided_so_for_a_real_client_at_its_address"
    );
    let (_, name) = name.split_once("::").unwrap();
    in_own_network(name, || {
        let table = fs::read_to_string(project("tests/decisions.tsv")).unwrap();
        let rows: Vec<_> = table.lines().skip(1).map(Row::of).collect();
        for row in &rows {
            let (address, _) = row.address();
            // many rows share an address
            run(Command::new("ip").args(["address", "replace", address, "dev", "lo", "nodad"]))
                .worked();
        }
        let server = Postgres::shared();
        for sql in ROLES {
            server.sql(sql);
        }
        let ca = ClientCa::new();
        let names = ["blog.example.org", "evil.example", "eva.admin.example.com"];
        let shown = names.map(|name| (name.to_owned(), ca.issue(name, &[])));
        let shown = HashMap::from(shown);
        let dns = Dns::new();
        dns.says("erp.partner.example", &PARTNER, 300);

        let ports = [free_port(), free_port()];
        let at = server.address();
        let [port, mapped] = ports;
        let everywhere =
            format!("\"0.0.0.0:{port}\", \"[2001:db8:77::9]:{port}\", \"[::]:{mapped}\"");
        let listeners = [
            format!("name: pg, protocol: postgres, upstream: \"{at}\", listen: [{everywhere}]"),
            idle("pg-replica", "postgres"),
            idle("mysql", "mysql"),
            idle("mysql-replica", "mysql"),
        ];
        let plan = Plan::listening(port, &listeners).believing(&ca);
        let list = plan.folder.path().join("github.json");
        fs::write(&list, r#"{"actions": ["192.30.252.0/22"]}"#).unwrap();
        let list = list.display().to_string();
        let gateway = plan.start(&policy(&dns, &list, FAR_OFF));

        for row in rows.iter().filter(|row| !row.after_expiry) {
            holds(row, &gateway, ports, &shown);
        }
        gateway.reload(&policy(&dns, &list, LONG_AGO));
        for row in rows.iter().filter(|row| row.after_expiry) {
            holds(row, &gateway, ports, &shown);
        }
    });
}

/// What came of a row, according to the client and to the gateway.
#[track_caller]
fn holds(row: &Row, gateway: &Gateway, ports: [u16; 2], shown: &HashMap<String, Shown>) {
    let before = gateway.log().len();
    let ended = connect(row, ports, shown);
    let case = &row.case;
    let expected = (
        row.reason.as_str(),
        row.origin.as_str(),
        row.would_deny.as_str(),
    );
    let allowed = row.verdict == "allow";
    assert_eq!(ended.status.success(), allowed, "{case}: {ended:#?}");
    let (address, _) = row.address();
    let said = if allowed {
        let fields = [
            ("event", "closed"),
            ("client", address),
            ("user", row.text("user").unwrap()),
        ];
        gateway.logged_after(before, &fields)
    } else {
        // the reference is all that a stranger is told, and all that the operator needs
        let (_, reference) = ended.stderr.rsplit_once("ref ").expect(case);
        let reference = reference.split_whitespace().next().unwrap();
        // the client is told first
        wait_until(case, || {
            let told = gateway.command(&["why", "--ref", reference, "--format", "json"]);
            serde_json::from_str(&told.stdout).ok()
        })
    };
    let told = |name: &str| {
        field(&said, name)
            .filter(|text| text != "null")
            .unwrap_or_else(|| "-".to_owned())
    };
    let (reason, origin, would_deny) = (
        told("reason"),
        told(if allowed { "origin" } else { "rule" }),
        told("would_deny"),
    );
    assert_eq!(
        (reason.as_str(), origin.as_str(), would_deny.as_str()),
        expected,
        "{case}: {said}"
    );
}
