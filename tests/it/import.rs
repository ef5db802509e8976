//! What is imported decides as the original did: held against the manual's first match, and against PostgreSQL itself.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use doorward::{
    config::{self, Environment, Overrides},
    policy::{Certificate, Claim, Hosts, Policy, Replication, TlsVersion, Unlimited, Validity},
};
use ipnet::IpNet;
use serde_json::Value;

use crate::harness::{Dice, Ended, Postgres, Raw, gateway::doorward, raw, run};

/// More than forty lines, as they grow over the years. The first keeps the tests' own way in.
const HBA: &str = "\
local     all             postgres                                 trust
local     all             all                                      scram-sha-256
host      all             mallory         127.0.0.0/8              reject
host      shop            shop_app        127.20.0.11/32           scram-sha-256
host      shop            shop_app        127.20.0.12 255.255.255.255 scram-sha-256
host      shop,archive    reports         127.20.0.0/24            scram-sha-256
host      all             all             127.20.9.0/24            reject
host      all             shop_admin      127.20.0.0/16            scram-sha-256
host      sameuser        alice,bob       127.20.0.0/16            scram-sha-256
host      hr              all             127.20.0.0/16            reject
host      hr,payroll      hr_app          127.20.5.0/24            scram-sha-256
hostssl   warehouse       etl             127.40.0.0/16            scram-sha-256
hostnossl all             etl             127.40.0.0/16            reject
host      warehouse,shop  etl             127.40.1.0/24            md5
host      replication     replicator      127.20.0.20/32           scram-sha-256
host      replication     all             127.0.0.0/8              reject
host      replication     backup          127.20.0.0/16            scram-sha-256
hostssl   all             dba              127.50.0.0/24           cert
host      all             dba              127.50.0.0/16           reject
host      all             +staff           127.60.0.0/24           scram-sha-256
host      all             eve              127.60.0.0/16           reject
host      all             all              127.80.0.0/30           reject
host      blog            blog             127.80.0.0/24           scram-sha-256
host      all             blog             127.80.1.0/24           ident
host      all             blog             127.80.0.0/16           scram-sha-256
host      forum           forum            samehost                scram-sha-256
host      wiki            /^wiki_          127.90.0.0/24           scram-sha-256
hostgssenc all            all              127.90.0.0/16           gss
host      all             all              ::1/128                 scram-sha-256
host      metrics         metrics          127.21.0.0 255.255.0.0  scram-sha-256
host      all             all              127.30.0.0/16           scram-sha-256
host      all             carol,dave       127.31.0.0/16           reject
host      forum,wiki      all              127.31.0.0/16           scram-sha-256
host      shop,hr         postgres         127.20.0.5/32           scram-sha-256
host      all             postgres         127.0.0.0/8             reject
host      all             all              127.32.0.0/16           password
host      shop            guest            127.33.0.0/17           scram-sha-256
host      shop            guest            127.33.0.0/16           reject
host      shop            guest            127.0.0.0/8             scram-sha-256
host      shop            app              0.0.0.0/0               scram-sha-256
host      all             all              all                     reject
";

/// A line, read once more and by other means: fields between blanks, nothing quoted.
struct Line<'t> {
    number: usize,
    kind: &'t str,
    databases: Vec<&'t str>,
    users: Vec<&'t str>,
    networks: Vec<IpNet>,
    method: &'t str,
}

impl<'t> Line<'t> {
    fn all() -> Vec<Self> {
        let numbered = (1..).zip(HBA.lines());
        numbered
            .filter_map(|(number, text)| Self::of(number, text))
            .collect()
    }

    /// `None` for the unix socket's, and for what no connection of these tests can match.
    fn of(number: usize, text: &'t str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (networks, method) = match *words.get(3)? {
            "all" => (
                vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
                words[4],
            ),
            "samehost" => (vec!["127.0.0.1/32".parse().unwrap()], words[4]),
            cidr if cidr.contains('/') => (vec![cidr.parse().unwrap()], words[4]),
            _ if words[0] == "local" => return None,
            address => {
                let (address, mask) = (address.parse().unwrap(), words[4].parse().unwrap());
                (vec![IpNet::with_netmask(address, mask).unwrap()], words[5])
            }
        };
        Some(Self {
            number,
            kind: words[0],
            databases: words[1].split(',').collect(),
            users: words[2].split(',').collect(),
            networks,
            method,
        })
    }

    fn fits(&self, claim: &Claim) -> bool {
        let way = match self.kind {
            "host" => true,
            "hostssl" => claim.tls.is_some(),
            "hostnossl" => claim.tls.is_none(),
            _ => false,
        };
        let database = self.databases.iter().any(|name| match &claim.database {
            None => *name == "replication",
            Some(database) => match *name {
                "all" => true,
                "sameuser" => *database == claim.user,
                "replication" => false,
                name => name == &**database,
            },
        });
        let user = self.users.iter().any(|name| match *name {
            "all" => true,
            "+staff" => STAFF.contains(&&*claim.user),
            name => name == &*claim.user,
        });
        way && database
            && user
            && self
                .networks
                .iter()
                .any(|network| network.contains(&claim.address))
    }

    /// Whether the method can let somebody in who knows his password.
    fn admits(&self, claim: &Claim) -> bool {
        let named = |certificate: &Arc<Certificate>| certificate.cn.as_deref() == Some(&claim.user);
        match self.method {
            // nobody answers for the clients of these tests
            "reject" | "ident" => false,
            "cert" => claim.certificate.as_ref().is_some_and(named),
            _ => true,
        }
    }
}

const STAFF: [&str; 2] = ["alice", "eve"];

/// The middle of the addresses that the file speaks of, and of a few more, in 127.0.0.0/8.
const NETWORKS: &str = "20.0 20.5 20.9 20.77 21.3 30.1 31.1 32.1 33.0 33.200 40.0 40.1 50.0 50.1 60.0 60.1 80.0 80.1 80.2 90.0 99.9";

const USERS: &str = "mallory shop_app reports shop_admin alice bob hr_app etl replicator backup dba eve blog forum wiki_bot \
    metrics carol postgres guest app zoe";

/// The last one, which is none, is for replication.
const DATABASES: &str = "shop,archive,hr,payroll,warehouse,blog,forum,wiki,metrics,zoe,";

/// Connections about which the file has something to say.
fn claim(dice: &mut Dice) -> Claim {
    let words: Vec<&str> = USERS.split_whitespace().collect();
    let user = *dice.pick(&words);
    let networks: Vec<&str> = NETWORKS.split(' ').collect();
    let (second, third) = dice.pick(&networks).split_once('.').unwrap();
    let last = *dice.pick(&[1, 2, 5, 11, 12, 20, 200]);
    let address = Ipv4Addr::new(127, second.parse().unwrap(), third.parse().unwrap(), last);
    let databases: Vec<&str> = DATABASES.split(',').collect();
    let database = if dice.one_in(6) {
        user
    } else {
        *dice.pick(&databases)
    };
    let replication = database.is_empty();
    let certificate = dice
        .one_in(2)
        .then(|| certificate(if dice.one_in(4) { "zoe" } else { user }));
    Claim {
        listener: "pg".into(),
        address: IpAddr::V4(address),
        user: user.into(),
        database: (!replication).then(|| database.into()),
        replication: replication.then_some(Replication::Physical),
        tls: (!dice.one_in(4)).then_some(TlsVersion::V1_3),
        certificate,
        application: None,
    }
}

fn certificate(cn: &str) -> Arc<Certificate> {
    Arc::new(Certificate {
        dns: Vec::new(),
        uri: Vec::new(),
        cn: Some(cn.to_owned()),
        sha256: [7; 32],
        issuers: Vec::new(),
        ends: SystemTime::now() + Duration::from_secs(3600),
        validity: Validity::Valid,
        chain: Vec::new(),
    })
}

/// `doorward import` of a text.
pub(crate) fn import(format: &str, text: &str, options: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list");
    fs::write(&file, text).unwrap();
    run(doorward().args(["import", format]).arg(file).args(options))
}

/// The imported policy, and the lines that the import says it has left out.
fn imported(text: &str, options: &[&str]) -> (Policy, BTreeSet<usize>, String) {
    let ended = import("pg-hba", text, &[&["--format", "json"], options].concat());
    let answer: Value = serde_json::from_str(ended.worked()).unwrap();
    let yaml = answer["yaml"].as_str().unwrap().to_owned();
    let remarks = answer["remarks"].as_array().unwrap().iter();
    let left_out = remarks
        .filter(|remark| remark["weight"] == "left out")
        .map(|remark| usize::try_from(remark["places"][0]["line"].as_u64().unwrap()).unwrap());
    let left_out = left_out.collect();
    let nobody = (Environment::default(), Overrides::default());
    let now = SystemTime::now();
    let loaded = config::parse("import", &yaml, &nobody.0, &nobody.1, now).unwrap();
    (
        Policy::new(loaded.rules, &Hosts::default(), 1),
        left_out,
        yaml,
    )
}

fn is_admitted(policy: &Policy, claim: &Claim) -> bool {
    policy.decide(claim, SystemTime::now(), &Unlimited).is_ok()
}

/// A superuser is admitted by name only, see `protected_users`.
fn is_named(line: &Line<'_>, claim: &Claim) -> bool {
    &*claim.user != "postgres" || line.users.contains(&"postgres")
}

#[test]
fn forty_lines_with_rejects_decide_ten_thousand_claims_as_their_first_match_does() {
    let lines = Line::all();
    for (options, clear) in [(&[][..], false), (&["--clear"], true)] {
        let (policy, left_out, _) = imported(HBA, options);
        let named: Vec<_> = left_out.iter().copied().collect();
        assert_eq!(named, [20, 24, 26, 27, 28, 40]);
        let mut dice = Dice::new(7);
        let (mut yes, mut no) = (0, 0);
        for _ in 0..10_000 {
            let claim = claim(&mut dice);
            let first = lines.iter().find(|line| line.fits(&claim));
            let original = first.filter(|line| line.admits(&claim));
            let ours = is_admitted(&policy, &claim);
            let promised = original.is_some_and(|line| {
                !left_out.contains(&line.number)
                    && is_named(line, &claim)
                    && (clear || claim.tls.is_some())
            });
            assert_eq!(
                ours,
                promised,
                "{claim:?} by line {:?}",
                first.map(|line| line.number)
            );
            if ours { yes += 1 } else { no += 1 }
        }
        assert!(
            yes > 500 && no > 500,
            "{yes} and {no}: the claims ask too little"
        );
    }
}

#[test]
fn postgresql_itself_decides_as_the_import_of_its_file_does() {
    let server = Postgres::start(&[]);
    server.sql("CREATE ROLE staff; CREATE ROLE alice LOGIN IN ROLE staff; CREATE ROLE eve LOGIN IN ROLE staff");
    server.write_hba(HBA);
    assert_eq!(
        server.sql(
            "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL AND type <> 'hostssl'"
        ),
        "0"
    );
    // the server of the tests has no TLS: what is held against it are connections in clear
    let plain: String = HBA
        .lines()
        .map(|line| {
            if line.starts_with("hostssl") {
                "\n"
            } else {
                line
            }
            .to_owned()
                + "\n"
        })
        .collect();
    let plain = plain.replace("\n\n\n", "\n\n");
    server.write_hba(&plain);
    server.sql("SELECT pg_reload_conf()");
    let (policy, left_out, _) = imported(&plain, &["--clear"]);
    let lines = Line::all();
    let mut dice = Dice::new(11);
    let mut admitted = 0;
    for _ in 0..1_000 {
        let claim = Claim {
            tls: None,
            certificate: None,
            ..claim(&mut dice)
        };
        let theirs = asks_for_proof(&server, &claim);
        let ours = is_admitted(&policy, &claim);
        let first = lines
            .iter()
            .filter(|line| line.kind != "hostssl")
            .find(|line| line.fits(&claim));
        let excused =
            first.is_some_and(|line| left_out.contains(&line.number) || !is_named(line, &claim));
        assert!(
            ours == theirs || (theirs && excused),
            "PostgreSQL says {theirs}, the import {ours}: {claim:?}"
        );
        admitted += usize::from(ours);
    }
    assert!(admitted > 50, "{admitted}");
}

/// Whether the server has a line for the connection: then it asks for a password.
fn asks_for_proof(server: &Postgres, claim: &Claim) -> bool {
    let IpAddr::V4(source) = claim.address else {
        panic!("{claim:?}")
    };
    let mut client = Raw::connect_from(source.octets(), server.port);
    let database = claim.database.as_deref();
    let mut parameters = vec![("user", &*claim.user)];
    match database {
        Some(database) => parameters.push(("database", database)),
        None => parameters.push(("replication", "true")),
    }
    client.send(&raw::startup(&parameters));
    let message = client.message().expect("closed without a word");
    let text = message.field('M').unwrap_or_default();
    match message.kind {
        'R' => true,
        'E' if text.contains("Ident authentication failed") => false,
        'E' => {
            assert!(text.contains("pg_hba.conf"), "{text}");
            false
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_reject_that_no_origin_can_say_stops_the_import_with_both_lines() {
    let text = HBA.replace(
        "host      shop,hr         postgres",
        "host      all             postgres",
    );
    let ended = import("pg-hba", &text, &[]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (1, ""));
    let first = ended.stderr.lines().next().unwrap();
    assert!(
        first.starts_with("stopped: list:10 and list:34: "),
        "{first}"
    );
    assert!(first.ends_with("every database but `hr`"), "{first}");
    let last = ended.stderr.lines().last().unwrap();
    assert_eq!(
        last,
        "nothing was imported from list: 1 thing must be changed in a copy of it first"
    );
}

#[test]
fn what_is_imported_is_checked_and_asked_as_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("allowlist.yaml");
    fs::write(&file, import("pg-hba", HBA, &[]).worked()).unwrap();
    let ask = |words: &str| {
        let command = &mut doorward();
        run(command.args(words.split(' ')).arg("--config").arg(&file))
    };
    assert_eq!(
        ask("check --offline").code(),
        0,
        "{:?}",
        ask("check --offline")
    );
    assert_eq!(
        ask("why 127.20.0.12 --user shop_app --database shop --tls").code(),
        0
    );
    let denied = ask("why 127.30.0.1 --user mallory --database shop --tls --format json");
    let answer: Value = serde_json::from_str(&denied.stdout).unwrap();
    assert_eq!((denied.code(), &answer["reason"]), (3, &"deny_rule".into()));
    assert_eq!(answer["origin"], "rejected-by-line-3");
}
