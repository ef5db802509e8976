//! `from`: where the clients of a rule connect from. Floor 1: pure.

use std::{net::IpAddr, sync::Arc};

use super::{
    addresses,
    keys::FROM,
    named_networks::{Network, too_wide},
    problems::{Fault, Report, Where},
    raw::{Kind, Node},
    values,
    walk::{Fields, list, nearest, optional, scalar, shorten},
};
use crate::policy::From;

/// Whose `from` it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Without a proof that counts, it may not mean everybody.
    Origin(Proved),
    Deny,
}

/// Whether an origin's clients prove who they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proved {
    Yes,
    /// Whoever cannot is let in all the same.
    OnTrial,
    No,
}

/// The entries that mean something, each with its place. `networks` are those that the file has; `None` where one of them cannot
/// be read.
pub(super) fn read(
    node: &Node,
    rule: Rule,
    networks: Option<&[Network]>,
    report: &mut Report,
) -> Vec<(From, Where)> {
    let items = list(node, "addresses", report);
    if items.is_empty() && matches!(node.kind, Kind::List(_)) {
        let fault = Fault::new("`from` names nobody")
            .hint("an address, a network, `any`, {host: NAME} or {network: NAME}");
        report.error(&node.at, fault);
    }
    let one = |item: &Node| {
        let from = if let Kind::Map(_) = item.kind {
            by_name(item, rule, networks, report)?
        } else {
            let text = scalar(item, "an address", report)?;
            report.expect(&item.at, addresses::from(text))?
        };
        if let Rule::Origin(proved @ (Proved::No | Proved::OnTrial)) = rule
            && let Some(fault) = unproved(&from, proved, networks)
        {
            report.error(&item.at, fault);
            return None;
        }
        Some((from, item.at.clone()))
    };
    items.iter().filter_map(one).collect()
}

/// `{host: NAME}` or `{network: NAME}`.
fn by_name(
    item: &Node,
    rule: Rule,
    networks: Option<&[Network]>,
    report: &mut Report,
) -> Option<From> {
    let fields = Fields::read(item, &FROM, report)?;
    match (fields.get("host"), fields.get("network")) {
        (Some(node), None) if rule == Rule::Deny => {
            let fault = Fault::new("a deny rule names no host")
                .label("it would let everybody in while DNS does not answer")
                .hint("name the addresses, or a user or certificate");
            report.error(&node.at, fault);
            None
        }
        (Some(node), None) => {
            let text = scalar(node, "a host name", report)?;
            let name = report.expect(&node.at, host(text))?;
            let inward = optional(&fields, "private", report, values::boolean);
            Some(From::Host {
                name,
                inward: inward.unwrap_or(false),
            })
        }
        (None, Some(node)) => {
            let text = scalar(node, "the name of a network", report)?;
            if let Some(private) = fields.get("private") {
                let fault = Fault::new("`private` belongs to a `host`");
                report.error(&private.at, fault);
            }
            report.expect(&node.at, set(text, networks?))
        }
        (Some(_), Some(node)) => {
            let fault = Fault::new("a host and a network are two entries")
                .hint("write {host: ...} and {network: ...}, each on its own");
            report.error(&node.at, fault);
            None
        }
        (None, None) => {
            let fault = Fault::new("this names neither a `host` nor a `network`");
            report.error(&item.at, fault);
            None
        }
    }
}

/// In small letters and without the final dot: the one form that it is resolved and looked up in.
fn host(text: &str) -> Result<Arc<str>, Fault> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(Fault::new(format!("`{text}` is an address, not a name"))
            .hint(format!("write it as it is: \"{text}\"")));
    }
    if !values::is_host_name(text) {
        let fault = Fault::new(format!("`{}` is not a host name", shorten(text)));
        return Err(match text.strip_prefix("*.") {
            Some(_) => fault.label("DNS has no addresses for a star"),
            None => fault,
        });
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    Ok(name.into())
}

fn set(text: &str, networks: &[Network]) -> Result<From, Fault> {
    if let Some(network) = networks.iter().find(|network| *network.name == *text) {
        return Ok(From::Set(Arc::clone(&network.name)));
    }
    let fault = Fault::new(format!("there is no network \"{}\"", shorten(text)));
    let names: Vec<_> = networks.iter().map(|network| &*network.name).collect();
    Err(match nearest(text, names.iter().copied()) {
        Some(meant) => fault.label(format!("did you mean `{meant}`?")),
        None if names.is_empty() => fault.hint("`networks` has none yet"),
        None => fault.hint(format!("there are {}", names.join(", "))),
    })
}

/// Why the entry needs a proof beside it.
fn unproved(from: &From, proved: Proved, networks: Option<&[Network]>) -> Option<Fault> {
    let fault = match from {
        From::Any => Some(
            Fault::new("`any` is everybody on the internet: it needs a proof of identity")
                .hint("add `proof: {certificate: {dns: ...}}`, or name the addresses that clients come from"),
        ),
        From::Network(network) => too_wide(network),
        From::Host { .. } => None,
        From::Set(name) => {
            let network = networks?.iter().find(|network| network.name == *name)?;
            // how wide it is, is seen when its list has been read
            network.shared.then(|| {
                Fault::new(format!(
                    "network \"{name}\" is shared with strangers: it needs a proof of identity"
                ))
                .hint("add `proof: {certificate: {dns: ...}}`")
            })
        }
    };
    match proved {
        Proved::OnTrial => fault
            .map(|fault| fault.label("its proof is on trial (`observe`), so it counts as none")),
        Proved::Yes | Proved::No => fault,
    }
}
