//! Lists of addresses and networks. Floor 1: pure.

use ipnet::IpNet;

use super::{
    addresses,
    problems::{Fault, Report, Where},
    raw::{Kind, Node},
    walk::{list, scalar},
};
use crate::policy::From;

/// Addresses and networks, and nothing else; one at least.
pub(super) fn plain(node: &Node, report: &mut Report) -> Vec<(IpNet, Where)> {
    let items = list(node, "addresses", report);
    if items.is_empty() && matches!(node.kind, Kind::List(_)) {
        let fault = Fault::new("the list is empty").hint("an address or a network");
        report.error(&node.at, fault);
    }
    let read = items.iter().filter_map(|item| {
        let text = scalar(item, "an address or a network", report)?;
        match report.expect(&item.at, addresses::from(text))? {
            From::Network(network) => Some((network, item.at.clone())),
            From::Any | From::Host { .. } | From::Set(_) => {
                let fault = Fault::new("`any` is no network").hint("addresses and networks only");
                report.error(&item.at, fault);
                None
            }
        }
    });
    read.collect()
}

/// The shortest prefix of a network that may be thought to have one owner.
pub(super) const fn widest(network: &IpNet) -> u8 {
    match network {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 24,
    }
}
