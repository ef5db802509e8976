//! Longest-prefix look-up of addresses. Floor 0.
//!
//! Networks are either nested or disjoint, so they form a forest: sorted by first address, each knows the next
//! wider one that encloses it. A look-up is one binary search and a walk outwards, without allocation.

use std::net::IpAddr;

use ipnet::IpNet;

use super::From;

/// Maps networks to the numbers of the rules that name them.
#[derive(Debug, Default)]
pub(super) struct AddressTable {
    v4: Vec<Block>,
    v6: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    first: u128,
    last: u128,
    prefix: u8,
    /// The index of the next wider block around this one.
    around: Option<u32>,
    rules: Vec<u32>,
}

impl AddressTable {
    /// Rule `n` is the `n`-th item; its [`From::Any`] entries are not addresses and are left out.
    pub(super) fn new<'a>(rules: impl Iterator<Item = &'a [From]>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (rule, froms) in (0..).zip(rules) {
            for from in froms {
                let From::Network(network) = from else {
                    continue;
                };
                let family = if network.addr().is_ipv4() {
                    &mut v4
                } else {
                    &mut v6
                };
                family.push((*network, rule));
            }
        }
        Self {
            v4: forest(v4),
            v6: forest(v6),
        }
    }

    /// The rules whose networks contain the address, narrowest network first, each with its prefix length.
    pub(super) fn matching(&self, address: IpAddr) -> impl Iterator<Item = (u8, &[u32])> {
        let blocks = match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        let number = number(address);
        let candidate = blocks.partition_point(|block| block.first <= number);
        let mut next = candidate.checked_sub(1);
        std::iter::from_fn(move || {
            loop {
                let block = blocks.get(next?)?;
                next = block.around.map(|index| index as usize);
                if number <= block.last {
                    return Some((block.prefix, block.rules.as_slice()));
                }
            }
        })
    }
}

fn forest(mut networks: Vec<(IpNet, u32)>) -> Vec<Block> {
    networks
        .sort_by_key(|(network, rule)| (number(network.network()), network.prefix_len(), *rule));
    let mut blocks: Vec<Block> = Vec::new();
    for (network, rule) in networks {
        let (first, last) = (number(network.network()), number(network.broadcast()));
        if let Some(same) = blocks
            .last_mut()
            .filter(|b| (b.first, b.last) == (first, last))
        {
            if same.rules.last() != Some(&rule) {
                same.rules.push(rule);
            }
            continue;
        }
        let mut around = blocks.len().checked_sub(1);
        while let Some(index) = around {
            let Some(block) = blocks.get(index) else {
                break;
            };
            if block.last >= last {
                break;
            }
            around = block.around.map(|wider| wider as usize);
        }
        blocks.push(Block {
            first,
            last,
            prefix: network.prefix_len(),
            around: around.and_then(|index| u32::try_from(index).ok()),
            rules: vec![rule],
        });
    }
    blocks
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
