//! The lists that others publish, read into the networks that are named so. Floor 1.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    meaning::Meaning,
    named_networks::{Content, Network, too_wide},
    problems::{Fault, Report},
    texts::{Files, List},
};
use crate::policy::{Cidr, From, NamedNetwork};

/// The networks of the file with their addresses. What is wrong with a list is reported where the file names it.
pub(super) fn read(meaning: &Meaning, files: Files<'_>, report: &mut Report) -> Vec<NamedNetwork> {
    let networks: Vec<_> = meaning
        .networks
        .iter()
        .filter_map(|network| whole(network, files, report))
        .collect();
    hold(meaning, &networks, report);
    apart(meaning, &networks, report);
    networks
}

/// What was read from lists, to be kept.
pub(super) fn kept(meaning: &Meaning, networks: &[NamedNetwork]) -> BTreeMap<String, List> {
    let of_list = meaning.networks.iter().filter_map(|network| {
        let Content::File(file) = &network.content else {
            return None;
        };
        let read = networks.iter().find(|read| read.name == network.name)?;
        let list = List {
            path: file.path.clone(),
            addresses: read.addresses.clone(),
        };
        Some((network.name.to_string(), list))
    });
    of_list.collect()
}

fn whole(network: &Network, files: Files<'_>, report: &mut Report) -> Option<NamedNetwork> {
    let addresses = match &network.content {
        Content::Addresses(addresses) => addresses.iter().map(|(network, _)| *network).collect(),
        Content::File(file) => match files.list(&network.name, file) {
            Ok(addresses) => addresses,
            Err(error) => {
                let fault = Fault::new(error);
                report.error(&file.at, fault);
                return None;
            }
        },
    };
    Some(NamedNetwork {
        name: Arc::clone(&network.name),
        shared: network.shared,
        addresses,
    })
}

/// A list may be wider than an origin without a proof may be: that is seen only now.
fn hold(meaning: &Meaning, networks: &[NamedNetwork], report: &mut Report) {
    let unproved = meaning
        .origins
        .iter()
        .filter(|placed| placed.rule.proof.is_none() || placed.rule.observe);
    for placed in unproved {
        for (from, at) in placed.rule.from.iter().zip(&placed.from_at) {
            let From::Set(name) = from else { continue };
            let network = networks.iter().find(|network| network.name == *name);
            let fault = network.and_then(|network| network.addresses.iter().find_map(too_wide));
            if let Some(fault) = fault {
                report.error(at, fault);
            }
        }
    }
}

/// A balancer says of everybody who comes through it where he comes from: nobody's own address may be such a machine's.
fn apart(meaning: &Meaning, named: &[NamedNetwork], report: &mut Report) {
    for listener in &meaning.settings.listeners {
        let balancer = |one: &IpNet| {
            let mut balancers = listener.proxy_protocol.iter();
            balancers
                .find(|other| one.contains(*other) || other.contains(one))
                .copied()
        };
        if listener.proxy_protocol.is_empty() {
            continue;
        }
        let sets: HashMap<_, _> = named
            .iter()
            .filter_map(|set| Some((&*set.name, set.addresses.iter().find_map(balancer)?)))
            .collect();
        let here = meaning
            .origins
            .iter()
            .filter(|placed| placed.rule.listeners.contains(&listener.name));
        for placed in here {
            for (from, at) in placed.rule.from.iter().zip(&placed.from_at) {
                let found = match from {
                    From::Network(network) => balancer(network),
                    From::Set(name) => sets.get(&**name).copied(),
                    From::Any | From::Host { .. } => None,
                };
                if let Some(found) = found {
                    let fault = Fault::new(format!(
                        "{} is a balancer of listener \"{}\": an origin cannot name it",
                        Cidr(&found),
                        listener.name
                    ))
                    .hint("name the clients behind it, whom its PROXY header names");
                    report.error(at, fault);
                }
            }
        }
    }
}
