//! Longest-prefix look-up of addresses. Floor 0.
//!
//! Networks are either nested or disjoint, so they form a forest: sorted by first address, each knows the next
//! wider one that encloses it. A look-up is one binary search and a walk outwards, without allocation.

use std::net::IpAddr;

use ipnet::IpNet;

/// Maps networks to the rules that name them.
#[derive(Debug, Default)]
pub(super) struct AddressTable {
    v4: Vec<Block>,
    v6: Vec<Block>,
}

/// That a rule names a network, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The rule's place in the file.
    pub(super) rule: u32,
    /// Whoever comes from there is one of the rule's own: strangers have other addresses.
    pub(super) mentions: bool,
    /// The resolver has failed for too long to let new sessions in from there.
    pub(super) stale: bool,
}

#[derive(Debug)]
struct Block {
    first: u128,
    last: u128,
    prefix: u8,
    /// The index of the next wider block around this one.
    around: Option<u32>,
    entries: Box<[Entry]>,
}

impl AddressTable {
    pub(super) fn new(named: impl Iterator<Item = (IpNet, Entry)>) -> Self {
        let (v4, v6) = named.partition(|(network, _)| network.addr().is_ipv4());
        Self {
            v4: forest(v4),
            v6: forest(v6),
        }
    }

    /// The entries whose networks contain the address, narrowest network first, each with its prefix length.
    pub(super) fn matching(&self, address: IpAddr) -> impl Iterator<Item = (u8, &[Entry])> {
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
                    return Some((block.prefix, &*block.entries));
                }
            }
        })
    }
}

fn forest(mut named: Vec<(IpNet, Entry)>) -> Vec<Block> {
    named.sort_by_key(|(network, entry)| {
        let first = number(network.network());
        (first, network.prefix_len(), *entry)
    });
    named.dedup();
    let mut blocks: Vec<Block> = Vec::new();
    for same in named.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((network, _)) = same.first() else {
            continue;
        };
        let (first, last) = (number(network.network()), number(network.broadcast()));
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
            entries: same.iter().map(|(_, entry)| *entry).collect(),
        });
    }
    blocks.shrink_to_fit();
    blocks
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
