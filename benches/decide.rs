//! What a decision costs among ten thousand origins: at most 2 us; a look at the address alone: at most 200 ns.
#![expect(clippy::unwrap_used, reason = "a bench may stop at a surprise")]

use std::{
    collections::BTreeSet,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use criterion::{Criterion, criterion_group, criterion_main};
use doorward::policy::{
    Answer, Ban, Ceiling, Claim, From, Hosts, Names, OnRevoke, Origin, OriginLimits, Policy,
    Require, Rules, Strangers, TlsVersion, Unlimited,
};

/// Each origin with a network of its own inside a few wide ones, and two users.
fn policy(origins: u32) -> Policy {
    let network = |n: u32| -> From {
        let [_, b, c, _] = (n << 8).to_be_bytes();
        From::Network(format!("10.{b}.{c}.0/24").parse().unwrap())
    };
    let named = |n: u32, from: Vec<From>| Origin {
        name: format!("origin-{n}").into(),
        line: n,
        file: None,
        temporary: false,
        from,
        proof: None,
        listeners: Names::Any,
        users: Names::Listed(vec![format!("app{n}"), "reader".to_owned()]),
        databases: Names::Listed(vec!["shop".to_owned()]),
        replication: None,
        local_infile: false,
        exclusive: n.is_multiple_of(10),
        active: true,
        expires: None,
        observe: false,
        tls_min: None,
        limits: OriginLimits::default(),
        expected_rtt: None,
        on_revoke: None,
        note: None,
    };
    let wide = ["10.0.0.0/8", "10.0.0.0/9", "10.0.0.0/12"];
    let wide = (origins..).zip(wide.map(|wide| vec![From::Network(wide.parse().unwrap())]));
    let all = (0..origins).map(|n| (n, vec![network(n)])).chain(wide);
    let rules = Rules {
        require: Require {
            tls: true,
            authentication: true,
        },
        protected_users: BTreeSet::from(["postgres".to_owned()]),
        networks: Vec::new(),
        origins: all.map(|(n, from)| Arc::new(named(n, from))).collect(),
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
    };
    Policy::new(rules, &Hosts::default(), 1)
}

fn claim(address: IpAddr, user: &str) -> Claim {
    Claim {
        listener: "pg".into(),
        address,
        user: user.to_owned(),
        database: Some("shop".to_owned()),
        replication: None,
        tls: Some(TlsVersion::V1_3),
        certificate: None,
        application: None,
    }
}

fn decide(criterion: &mut Criterion) {
    let policy = policy(10_000);
    let now = SystemTime::now();
    let inside = IpAddr::V4(Ipv4Addr::new(10, 19, 135, 7));
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let mut group = criterion.benchmark_group("decide/10000");
    for (name, claim) in [
        ("allowed", claim(inside, "app4999")),
        ("wrong user", claim(inside, "app1")),
        ("reserved user", claim(inside, "app4990")),
        ("stranger", claim(stranger, "app4999")),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| policy.decide(black_box(&claim), now, &Unlimited).is_ok());
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("screen/10000");
    for (name, address) in [("mentioned", inside), ("stranger", stranger)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| policy.screen(black_box(address)));
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
