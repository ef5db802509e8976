//! Small rules for unit tests, here and on the floors above. Floor 0.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{Answer, Deny, From, Names, OnRevoke, Origin, Require, Rules};

/// An origin that asks for nothing but the address: `any`, an address or a network.
pub(crate) fn origin(name: &str, networks: &[&str]) -> Origin {
    Origin {
        name: name.into(),
        line: 1,
        from: from(networks),
        listeners: Names::Any,
        users: Names::Any,
        databases: Names::Any,
        replication: None,
        local_infile: false,
        exclusive: false,
        active: true,
        expires: None,
        connections: None,
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
        origins,
        deny,
        answer: Answer::Quiet,
        on_revoke: OnRevoke::Drain,
        drain: Duration::from_secs(30),
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
