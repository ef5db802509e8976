//! The lists that others publish, read into the networks that are named so. Floor 1.

use std::sync::Arc;

use super::{
    meaning::Meaning,
    named_networks::{Content, ListFile, Network, too_wide},
    problems::{Fault, Report},
    providers,
};
use crate::policy::{From, NamedNetwork};

/// The networks of the file with their addresses. What is wrong with a list is reported where the file names it.
pub(super) fn read(meaning: &Meaning, report: &mut Report<'_>) -> Vec<NamedNetwork> {
    let networks: Vec<_> = meaning
        .networks
        .iter()
        .filter_map(|network| whole(network, report))
        .collect();
    hold(meaning, &networks, report);
    networks
}

fn whole(network: &Network, report: &mut Report<'_>) -> Option<NamedNetwork> {
    let addresses = match &network.content {
        Content::Addresses(addresses) => addresses.clone(),
        Content::File(file) => match list(file) {
            Ok(addresses) => addresses,
            Err(error) => {
                let fault = Fault::new(error.to_string());
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

fn list(file: &ListFile) -> Result<Vec<ipnet::IpNet>, providers::ProviderError> {
    let text = providers::read(&file.path)?;
    providers::parse(&file.path, file.format, file.key.as_deref(), &text)
}

/// A list may be wider than an origin without a proof may be: that is seen only now.
fn hold(meaning: &Meaning, networks: &[NamedNetwork], report: &mut Report<'_>) {
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
