//! Small rules for unit tests, here and on the floors above. Floor 0.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

use super::{
    Answer, Ban, Ceiling, Claim, Deny, From, Hosts, OnRevoke, Origin, Policy, Require, Rules,
    Strangers, TlsVersion,
};

/// An origin that asks for nothing but the address: `any`, an address or a network.
pub(crate) fn origin(name: &str, networks: &[&str]) -> Origin {
    Origin {
        line: 1,
        ..Origin::new(name, from(networks))
    }
}

/// Rules with the floors and answers of an empty file.
pub(crate) fn rules(origins: Vec<Origin>, deny: Vec<Deny>) -> Rules {
    Rules {
        require: Require {
            tls: true,
            authentication: true,
        },
        protected_users: BTreeSet::from(["postgres", "root"].map(str::to_owned)),
        networks: Vec::new(),
        origins: origins.into_iter().map(Arc::new).collect(),
        deny,
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

/// The first policy of these rules, without DNS.
pub(crate) fn policy(rules: Rules) -> Policy {
    Policy::new(rules, &Hosts::default(), 1)
}

/// Somebody with TLS and nothing else.
pub(crate) fn claim(listener: &str, address: &str, user: &str) -> Claim {
    Claim {
        listener: listener.into(),
        address: address.parse().unwrap(),
        user: user.into(),
        database: None,
        replication: None,
        tls: Some(TlsVersion::V1_3),
        certificate: None,
        application: None,
    }
}

pub(crate) fn from(texts: &[&str]) -> Vec<From> {
    let network = |text: &str| {
        text.parse()
            .unwrap_or_else(|_address| IpNet::from(text.parse::<IpAddr>().unwrap()))
    };
    let one = |text: &&str| match *text {
        "any" => From::Any,
        text => From::Network(network(text)),
    };
    texts.iter().map(one).collect()
}
