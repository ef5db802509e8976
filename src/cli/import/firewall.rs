//! What the lists of firewalls have in common: addresses without users. Floor 5: pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Found,
    region::{Addresses, Kind, NameSet, Region, Ways},
    rule::{Label, Place, Rule, Verdict},
};

/// What a firewall does not know, and the person who imports may.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) users: NameSet,
    pub(super) databases: NameSet,
    pub(super) ways: Ways,
    /// The port that the database listened on.
    pub(super) port: u16,
}

impl Scope {
    pub(super) fn rule(
        &self,
        place: Place,
        verdict: Verdict,
        networks: Vec<IpNet>,
        label: Option<Label>,
    ) -> Rule {
        Rule {
            place,
            verdict,
            sure: vec![Region {
                addresses: Addresses::Networks(networks),
                users: self.users.clone(),
                databases: self.databases.clone(),
                kind: Kind::Ordinary,
                ways: self.ways,
            }],
            in_clear: false,
            unsure: None,
            label,
        }
    }

    /// What is true of every list of this kind.
    pub(super) fn general(&self, others: usize, found: &mut Found) {
        let port = self.port;
        if found.rules.is_empty() {
            found.note(format!(
                "nothing in it is for port {port}: `--port` says another"
            ));
        } else if self.users == NameSet::all() {
            found.note(
                "a firewall knows no users: `--user` and `--database` say who these clients are, otherwise any user but the protected ones may come in",
            );
        }
        if others > 0 {
            let plural = if others == 1 { "rule is" } else { "rules are" };
            found.note(format!("{others} {plural} for other ports than {port}"));
        }
    }
}

/// An address or a network; bits beyond its prefix do not count.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>()
        .ok()
        .or_else(address)
        .map(|network| network.trunc())
}
