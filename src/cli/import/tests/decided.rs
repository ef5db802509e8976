//! Random lists, decided by a first-match evaluator written from PostgreSQL's manual and by the policy that is imported.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use ipnet::{IpNet, Ipv4Net};
use proptest::{prelude::*, sample::select};

use super::*;
use crate::policy::{
    Certificate, Claim, Hosts, Policy, Replication, TlsVersion, Unlimited, Validity,
};

/// A line as it was meant, before it is text.
#[derive(Clone, Debug)]
struct Meant {
    kind: &'static str,
    databases: Vec<&'static str>,
    users: Vec<&'static str>,
    network: IpNet,
    method: &'static str,
}

impl Meant {
    fn line(&self) -> String {
        let Self {
            kind,
            network,
            method,
            ..
        } = self;
        let (databases, users) = (self.databases.join(","), self.users.join(", "));
        format!("{kind} {databases} {users} {network} {method}\n")
    }

    /// Whether it is the line for this connection; `member` tells who is in the group.
    fn fits(&self, claim: &Claim, member: bool) -> bool {
        let way = match self.kind {
            "host" => true,
            "hostssl" => claim.tls.is_some(),
            "hostnossl" => claim.tls.is_none(),
            _ => false,
        };
        let user = self.users.iter().any(|user| match *user {
            "all" => true,
            "+group" => member,
            name => name == &*claim.user,
        });
        let database = self
            .databases
            .iter()
            .any(|name| match (*name, &claim.database) {
                ("replication", None) | ("all", Some(_)) => true,
                (_, None) | ("replication", Some(_)) => false,
                ("sameuser", Some(database)) => *database == claim.user,
                (name, Some(database)) => name == &**database,
            });
        way && user && database && self.network.contains(&claim.address)
    }
}

/// The line that decides, if any.
fn first<'l>(lines: &'l [Meant], claim: &Claim, member: bool) -> Option<(usize, &'l Meant)> {
    let mut numbered = (1..).zip(lines);
    numbered.find(|(_, line)| line.fits(claim, member))
}

fn line() -> impl Strategy<Value = Meant> {
    let kind = select(vec!["host", "host", "host", "hostssl", "hostnossl"]);
    let database = select(vec![
        "all",
        "all",
        "all",
        "a",
        "b",
        "eve",
        "sameuser",
        "replication",
    ]);
    let user = select(vec![
        "all", "all", "all", "bob", "eve", "a", "postgres", "+group",
    ]);
    let network = prop_oneof![
        4 => (0_u32..64, 26_u8..=32).prop_map(|(bits, length)| {
            IpNet::V4(Ipv4Net::new((0x0a00_0000 + bits).into(), length).unwrap()).trunc()
        }),
        1 => Just("10.0.0.0/8".parse().unwrap()),
        1 => Just("0.0.0.0/0".parse().unwrap()),
    ];
    let method = select(vec![
        "md5",
        "scram-sha-256",
        "scram-sha-256",
        "reject",
        "reject",
        "ident",
        "trust",
    ]);
    let databases = prop::collection::vec(database, 1..3);
    let users = prop::collection::vec(user, 1..3);
    let parts = (kind, databases, users, network, method);
    parts.prop_map(|(kind, databases, users, network, method)| Meant {
        kind,
        databases,
        users,
        network,
        // certificates are for encrypted lines
        method: if kind == "hostssl" && method == "trust" {
            "cert"
        } else {
            method
        },
    })
}

/// Every seventh connection of a small world.
fn claims(seed: usize) -> Vec<Claim> {
    let mut all = Vec::new();
    for bits in 0..64 {
        for user in ["bob", "eve", "a", "zoe", "postgres"] {
            for database in [None, Some("a"), Some("b"), Some("eve"), Some("zoe")] {
                for (tls, shown) in [(None, None), (TLS, None), (TLS, Some(user))] {
                    all.push(Claim {
                        listener: "pg".into(),
                        address: Ipv4Addr::from_bits(0x0a00_0000 + bits).into(),
                        user: user.into(),
                        database: database.map(Box::from),
                        replication: database.is_none().then_some(Replication::Physical),
                        tls,
                        certificate: shown.map(certificate),
                        application: None,
                    });
                }
            }
        }
    }
    all.into_iter().skip(seed % 7).step_by(7).collect()
}

const TLS: Option<TlsVersion> = Some(TlsVersion::V1_3);

fn certificate(cn: &str) -> Arc<Certificate> {
    Arc::new(Certificate {
        dns: Vec::new(),
        uri: Vec::new(),
        cn: Some(cn.to_owned()),
        sha256: [0; 32],
        issuers: Vec::new(),
        ends: SystemTime::now() + Duration::from_secs(3600),
        validity: Validity::Valid,
        chain: Vec::new(),
    })
}

/// The policy of an import, and the lines that it says it has left out; `None` where it was stopped.
fn carried(lines: &[Meant], options: &str) -> Option<(Policy, BTreeSet<usize>)> {
    let text: String = lines.iter().map(Meant::line).collect();
    let (exit, out, err) = imported("pg-hba", &text, options);
    if exit != Exit::Fine {
        assert!(err.starts_with("stopped: list:"), "{err}");
        return None;
    }
    let nobody = (Environment::default(), Overrides::default());
    let loaded = config::parse("out", &out, &nobody.0, &nobody.1, SystemTime::now()).unwrap();
    let left_out = err
        .lines()
        .filter_map(|line| line.strip_prefix("left out: list:"));
    let left_out = left_out.map(|rest| rest.split(':').next().unwrap().parse().unwrap());
    let policy = Policy::new(loaded.rules, &Hosts::default(), 1);
    Some((policy, left_out.collect()))
}

fn admits(policy: &Policy, claim: &Claim) -> bool {
    let now = SystemTime::now();
    policy.decide(claim, now, &Unlimited).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_import_admits_nobody_more_and_names_every_line_that_it_leaves_out(
        lines in prop::collection::vec(line(), 1..9),
        seed in any::<usize>(),
        member in any::<bool>(),
        clear in any::<bool>(),
    ) {
        let Some((policy, left_out)) = carried(&lines, if clear { "--clear" } else { "" }) else {
            return Ok(());
        };
        for claim in &claims(seed) {
            let decided = first(&lines, claim, member);
            let original = decided.filter(|(_, line)| match line.method {
                "reject" | "ident" => false,
                "cert" => claim.certificate.is_some(),
                _ => true,
            });
            let ours = admits(&policy, claim);
            let text: String = lines.iter().map(Meant::line).collect();
            prop_assert!(!ours || original.is_some(), "admitted against\n{text}{claim:?}");
            let Some((number, line)) = original else { continue };
            let promised = !left_out.contains(&number)
                && (clear || claim.tls.is_some())
                // "any user" does not cover it
                && (&*claim.user != "postgres" || !line.users.contains(&"all"));
            prop_assert!(ours || !promised, "refused, line {number} of\n{text}{claim:?}");
        }
    }

    #[test]
    fn no_text_is_more_than_an_error(
        format in select(vec!["pg-hba", "mysql-users", "digitalocean", "aws-sg", "ufw"]),
        words in prop::collection::vec(
            prop_oneof![
                select(vec!["host", "all", "md5", "reject", "10.0.0.0/8", "ufw", "allow", "from", "port", "5432",
                    "\n", "\t", "|", "\"", "\\", ",", "{", "}", "[", "]", ":", "@x", "include", "%", "_", "/",
                    "\"rules\"", "\"type\"", "\"ip_addr\"", "\"value\"", "\"SecurityGroups\"", "any"]).prop_map(str::to_owned),
                "\\PC{0,4}",
            ],
            0..40,
        ),
    ) {
        let (exit, out, err) = imported(format, &words.join(" "), "");
        prop_assert!(exit == Exit::Fine || (exit == Exit::Failed && out.is_empty() && !err.is_empty()), "{exit:?} {out} {err}");
    }
}
