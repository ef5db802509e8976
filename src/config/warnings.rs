//! What is allowed, and is probably not meant. Floor 1: the only place where the time matters, and it decides nothing.

use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use ipnet::IpNet;

use super::{
    meaning::Meaning,
    named_networks::Content,
    origins::Placed,
    problems::{Fault, Report, Where},
};
use crate::policy::{Deny, From, Names, Origin};

/// Reports every warning.
pub(super) fn find(meaning: &Meaning, now: SystemTime, report: &mut Report) {
    if meaning.origins.is_empty() && !report.failed() {
        let fault = Fault::new("nobody is admitted: there is no origin");
        report.warn("W-NOBODY", &meaning.origins_at, fault);
    }
    for placed in &meaning.origins {
        for (from, at) in placed.rule.from.iter().zip(&placed.from_at) {
            if let From::Network(network) = from {
                crowded(network, at, report);
            }
        }
    }
    for network in meaning.networks.iter().filter(|network| !network.shared) {
        if let Content::Addresses(addresses) = &network.content {
            for (address, at) in addresses {
                crowded(address, at, report);
            }
        }
    }
    let everybody = &meaning.everybody;
    if everybody
        .observe
        .as_ref()
        .is_some_and(|observe| observe.until <= now)
    {
        let fault = Fault::new("the time of observation is over: it lets nobody in any more")
            .hint("remove `observe`, or give it another `until`");
        report.warn("W-OBSERVED", &everybody.observe_at, fault);
    }
    unasked(meaning, report);
    one_family(meaning, report);
    rivals(&meaning.origins, report);
    reserved(meaning, now, report);
}

/// Addresses that stand for many.
fn crowded(network: &IpNet, at: &Where, report: &mut Report) {
    if DOCKER_RANGE.contains(network) && network.contains(&DOCKER_BRIDGE) {
        let fault =
            Fault::new("172.17.0.1 is Docker's bridge: it hides everybody who comes through it")
                .hint(
                    "publish the gateway's port with host networking, so that it sees its clients",
                );
        report.warn("W-DOCKER", at, fault);
    }
    if CARRIER_NAT.contains(network) {
        let fault = Fault::new(format!(
            "{network} is in 100.64.0.0/10: a carrier's customers share it"
        ));
        report.warn("W-CGNAT", at, fault);
    }
}

/// Certificates that are asked for by a rule and by no handshake.
fn unasked(meaning: &Meaning, report: &mut Report) {
    if meaning.settings.tls.client_ca.is_some() {
        return;
    }
    let of_origin = |placed: &&Placed<Origin>| placed.rule.proof.is_some();
    let of_deny = |placed: &&Placed<Deny>| !placed.rule.certificates.is_empty();
    let origin = meaning.origins.iter().find(of_origin);
    let deny = meaning.deny.iter().find(of_deny);
    let found = origin.map(|origin| (&origin.at, "nobody has the proof that it asks for"));
    let found = found.or_else(|| Some((&deny?.at, "it refuses nobody")));
    if let Some((at, effect)) = found {
        let fault = Fault::new("no client is asked for a certificate: there is no `tls.client_ca`")
            .label(effect)
            .hint("`doorward cert init` makes a CA for clients, and says what to write");
        report.warn("W-NO-CLIENT-CA", at, fault);
    }
}

/// Meaning all of IPv4 and forgetting IPv6, or the other way round.
fn one_family(meaning: &Meaning, report: &mut Report) {
    let origins = meaning
        .origins
        .iter()
        .map(|placed| (&placed.rule.from, &placed.from_at));
    let deny = meaning
        .deny
        .iter()
        .map(|placed| (&placed.rule.from, &placed.from_at));
    for (from, places) in origins.chain(deny) {
        let whole = |v4: bool| {
            from.iter().position(|from| {
                matches!(from, From::Network(n) if n.prefix_len() == 0 && n.addr().is_ipv4() == v4)
            })
        };
        let (found, other) = match (whole(true), whole(false)) {
            (Some(index), None) => (index, "::/0"),
            (None, Some(index)) => (index, "0.0.0.0/0"),
            (Some(_), Some(_)) | (None, None) => continue,
        };
        if let Some(at) = places.get(found) {
            let fault = Fault::new(format!("this leaves {other} out")).hint("everybody is `any`");
            report.warn("W-ONE-FAMILY", at, fault);
        }
    }
}

/// Origins that name the very same entry of `from`: one may hide the other, or the order of the file decides.
fn rivals(origins: &[Placed<Origin>], report: &mut Report) {
    let mut by_entry: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, placed) in origins.iter().enumerate() {
        for from in &placed.rule.from {
            by_entry
                .entry(entry(from, &placed.rule))
                .or_default()
                .push(index);
        }
    }
    let mut compared = HashSet::new();
    for (index, later) in origins.iter().enumerate() {
        let entries = later.rule.from.iter().map(|from| entry(from, &later.rule));
        let before: HashSet<usize> = entries
            .filter_map(|entry| by_entry.get(&entry))
            .flatten()
            .copied()
            .filter(|other| *other < index)
            .collect();
        let mut before: Vec<_> = before.into_iter().collect();
        before.sort_unstable();
        for other in before {
            // thousands of rivals for one address are one finding, not a quadratic one
            if compared.len() >= MAX_COMPARED || !compared.insert((other, index)) {
                return;
            }
            if let Some(earlier) = origins.get(other)
                && compare(earlier, later, report)
            {
                break;
            }
        }
    }
}

/// What rivals have in common. One `any` is another's rival only if it asks for the same proof: there may be one for each
/// public application.
fn entry(from: &From, origin: &Origin) -> String {
    match from {
        From::Any => format!("any {:?}", origin.proof),
        From::Network(network) => network.to_string(),
        From::Host { name, .. } => format!("host {name}"),
        From::Set(name) => format!("network {name}"),
    }
}

/// Whether something was said.
fn compare(earlier: &Placed<Origin>, later: &Placed<Origin>, report: &mut Report) -> bool {
    let (a, b) = (&earlier.rule, &later.rule);
    let meet = a.active
        && b.active
        && a.proof == b.proof
        && a.replication == b.replication
        && a.exclusive == b.exclusive
        && a.users.is_any() == b.users.is_any()
        && a.databases.is_any() == b.databases.is_any()
        && a.listeners.meets(&b.listeners)
        && a.users.meets(&b.users)
        && a.databases.meets(&b.databases);
    if !meet {
        return false;
    }
    let outlives = match (a.expires, b.expires) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => a >= b,
    };
    let limited = a.limits.connections.is_some() || a.limits.new_per_minute.is_some();
    let hidden = outlives
        && !limited
        && a.tls_min <= b.tls_min
        && covers(&a.listeners, &b.listeners)
        && covers(&a.users, &b.users)
        && covers(&a.databases, &b.databases)
        && b.from.iter().all(|from| a.from.contains(from));
    let at = report.line_of(&earlier.at, &later.at);
    if hidden {
        let fault = Fault::new(format!(
            "origin \"{}\" is never reached: \"{}\" ({at}) covers it",
            b.name, a.name
        ));
        report.warn("W-SHADOWED", &later.at, fault);
    } else if outlives || limited {
        let fault = Fault::new(format!(
            "origins \"{}\" ({at}) and \"{}\" admit some of the same sessions; the first of the file counts them",
            a.name, b.name
        ));
        report.warn("W-OVERLAP", &later.at, fault);
    }
    true
}

/// Users that nobody can be: reserved by exclusive origins of which none admits, or listed by an origin that may not have them.
fn reserved(meaning: &Meaning, now: SystemTime, report: &mut Report) {
    let mut by_user: HashMap<&str, Vec<&Placed<Origin>>> = HashMap::new();
    for placed in meaning
        .origins
        .iter()
        .filter(|placed| placed.rule.exclusive)
    {
        for user in listed(&placed.rule.users) {
            by_user.entry(user).or_default().push(placed);
        }
    }
    let lapsed = |origin: &Origin| !origin.active || origin.expires.is_some_and(|at| at <= now);
    let mut dead: Vec<_> = by_user
        .iter()
        .filter(|(_, all)| all.iter().all(|placed| lapsed(&placed.rule)))
        .filter_map(|(user, all)| Some((all.first()?, user)))
        .collect();
    dead.sort_by_key(|(placed, user)| (placed.rule.line, **user));
    for (placed, user) in dead {
        let name = &placed.rule.name;
        let fault = Fault::new(format!(
            "nobody can be user `{user}`: \"{name}\" reserves it, and has lapsed"
        ))
        .hint("an exclusive origin reserves its users until it is removed");
        report.warn("W-LAPSED", &placed.at, fault);
    }
    for placed in meaning
        .origins
        .iter()
        .filter(|placed| !placed.rule.exclusive)
    {
        for user in listed(&placed.rule.users) {
            let by = by_user.get(user.as_str()).into_iter().flatten();
            let by = by
                .into_iter()
                .find(|reserving| covers(&reserving.rule.listeners, &placed.rule.listeners));
            if let Some(by) = by {
                let fault = Fault::new(format!(
                    "origin \"{}\" never admits `{user}`: \"{}\" ({}) has it for itself",
                    placed.rule.name,
                    by.rule.name,
                    report.line_of(&by.at, &placed.at)
                ))
                .hint("add `exclusive: true` here too, or remove it there");
                report.warn("W-RESERVED", &placed.at, fault);
            }
        }
    }
}

fn listed(names: &Names) -> &[String] {
    match names {
        Names::Any => &[],
        Names::Listed(names) => names,
    }
}

/// Whether `wide` holds every name that `narrow` holds.
fn covers(wide: &Names, narrow: &Names) -> bool {
    match (wide, narrow) {
        (Names::Any, _) => true,
        (Names::Listed(_), Names::Any) => false,
        (Names::Listed(wide), Names::Listed(names)) => {
            let wide: HashSet<_> = wide.iter().collect();
            names.iter().all(|name| wide.contains(name))
        }
    }
}

const DOCKER_BRIDGE: std::net::IpAddr =
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(172, 17, 0, 1));

const DOCKER_RANGE: IpNet = net(std::net::Ipv4Addr::new(172, 16, 0, 0), 12);

const CARRIER_NAT: IpNet = net(std::net::Ipv4Addr::new(100, 64, 0, 0), 10);

const fn net(address: std::net::Ipv4Addr, prefix: u8) -> IpNet {
    IpNet::V4(ipnet::Ipv4Net::new_assert(address, prefix))
}

/// Pairs of origins that are held against each other.
const MAX_COMPARED: usize = 100_000;
