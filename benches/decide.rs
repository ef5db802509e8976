//! What a decision costs among ten thousand origins with networks of their own, ten thousand that take any address with a proof, and
//! a hundred thousand networks in sets: at most 2 us; a look at the address alone: at most 200 ns; the policy: at most 50 MB.
#![expect(clippy::unwrap_used, reason = "a bench may stop at a surprise")]
#![expect(clippy::print_stderr, reason = "the figure of memory is for a person")]

use std::{
    collections::BTreeSet,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use criterion::{Criterion, criterion_group, criterion_main};
use doorward::policy::{
    Answer, Ban, Ceiling, Certificate, Claim, From, Hosts, NamedNetwork, Names, OnRevoke, Origin,
    OriginLimits, Policy, Proof, Require, Rules, Strangers, TlsVersion, Unlimited, Validity,
};

const SETS: u32 = 100;
const NETWORKS_IN_A_SET: u32 = 1000;

fn network(text: &str) -> From {
    From::Network(text.parse().unwrap())
}

fn named(n: u32, from: Vec<From>) -> Origin {
    Origin {
        line: n,
        users: Names::Listed(vec![format!("app{n}"), "reader".to_owned()]),
        databases: Names::Listed(vec!["shop".to_owned()]),
        exclusive: n.is_multiple_of(10),
        limits: OriginLimits::default(),
        ..Origin::new(format!("origin-{n}"), from)
    }
}

/// A public application: any address, a certificate.
fn proved(n: u32) -> Origin {
    let mut proof = Proof::default();
    match n % 4 {
        0 => proof.dns = Some(format!("app{n}.example.org")),
        1 => proof.dns = Some(format!("*.app{n}.example.org")),
        2 => proof.uri = Some(format!("spiffe://example.org/ns/app{n}/")),
        _ => proof.sha256 = Some([7; 32]),
    }
    Origin {
        users: Names::Listed(vec![format!("web{n}")]),
        proof: Some(proof),
        ..named(n, vec![From::Any])
    }
}

/// Networks of provider files: of two sizes, and every other set in IPv6.
fn set(n: u32) -> NamedNetwork {
    let address = |m: u32| {
        let number = n * NETWORKS_IN_A_SET + m;
        let [_, b, c, d] = number.to_be_bytes();
        let prefix = if m.is_multiple_of(2) { 28 } else { 32 };
        if n.is_multiple_of(2) {
            let v4 = 0x6400_0000 + (number << 5);
            format!("{}/{prefix}", Ipv4Addr::from(v4)).parse().unwrap()
        } else {
            format!("2001:db8:{b:x}:{c:x}{d:02x}::/64").parse().unwrap()
        }
    };
    NamedNetwork {
        name: format!("set-{n}").into(),
        shared: n.is_multiple_of(3),
        addresses: (0..NETWORKS_IN_A_SET).map(address).collect(),
    }
}

fn rules(origins: u32) -> Rules {
    let own = |n: u32| {
        let [_, b, c, _] = (n << 8).to_be_bytes();
        named(n, vec![network(&format!("10.{b}.{c}.0/24"))])
    };
    let wide = ["10.0.0.0/8", "10.0.0.0/9", "10.0.0.0/12"].map(|wide| vec![network(wide)]);
    let wide = (origins..).zip(wide).map(|(n, from)| named(n, from));
    let any = (20_000..20_000 + origins).map(proved);
    let of_sets = (0..SETS).map(|n| Origin {
        proof: proved(n).proof,
        ..named(40_000 + n, vec![From::Set(format!("set-{n}").into())])
    });
    let all = (0..origins).map(own).chain(wide).chain(any).chain(of_sets);
    Rules {
        require: Require {
            tls: true,
            authentication: true,
        },
        protected_users: BTreeSet::from(["postgres".to_owned()]),
        networks: (0..SETS).map(set).collect(),
        origins: all.map(Arc::new).collect(),
        deny: Vec::new(),
        observe: None,
        strangers: Strangers {
            answer: Answer::Quiet,
            ban: Ban::default(),
        },
        on_revoke: OnRevoke::Drain,
        drain: Duration::from_secs(30),
        temporary: Ceiling::default(),
        tests: Vec::new(),
    }
}

fn certificate(name: &str) -> Certificate {
    Certificate {
        dns: vec![name.to_owned()],
        uri: Vec::new(),
        cn: None,
        sha256: [1; 32],
        issuers: vec![[2; 32]],
        ends: SystemTime::now() + Duration::from_secs(3600),
        validity: Validity::Valid,
        chain: Vec::new(),
    }
}

/// Megabytes of this process that stand in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse::<u64>().unwrap() / 1024
}

fn claim(address: IpAddr, user: &str) -> Claim {
    Claim {
        listener: "pg".into(),
        address,
        user: user.into(),
        database: Some("shop".into()),
        replication: None,
        tls: Some(TlsVersion::V1_3),
        certificate: None,
        application: None,
    }
}

fn decide(criterion: &mut Criterion) {
    let before = resident();
    let policy = Policy::new(rules(10_000), &Hosts::default(), 1);
    let taken = resident() - before;
    eprintln!("the policy with its rules, and what making it left behind: {taken} MB");
    assert!(taken < 50, "{taken} MB");
    let now = SystemTime::now();
    let inside = IpAddr::V4(Ipv4Addr::new(10, 19, 135, 7));
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let in_set = IpAddr::V4(Ipv4Addr::new(100, 0, 0, 5));
    let shown = |user: &str, name: &str| Claim {
        certificate: Some(Arc::new(certificate(name))),
        ..claim(stranger, user)
    };
    let mut group = criterion.benchmark_group("decide/20000");
    for (name, claim) in [
        ("allowed", claim(inside, "app4999")),
        ("wrong user", claim(inside, "app1")),
        ("reserved user", claim(inside, "app4990")),
        ("stranger", claim(stranger, "app4999")),
        ("set, user reserved 1000 times", claim(in_set, "reader")),
        ("proof", shown("web24000", "app24000.example.org")),
        ("wildcard", shown("web24001", "x.app24001.example.org")),
        ("wrong proof", shown("web24000", "other.example.org")),
        ("no proof", claim(stranger, "web24002")),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| policy.decide(black_box(&claim), now, &Unlimited).is_ok());
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("screen/20000");
    for (name, address) in [
        ("mentioned", inside),
        ("set", in_set),
        ("stranger", stranger),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| policy.screen(black_box(address)));
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
