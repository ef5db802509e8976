//! `networks`: address sets that rules name, written here or published by others. Floor 1: the lists themselves are read by `load`.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use ipnet::IpNet;

use super::{
    keys::NETWORK,
    networks,
    problems::{Fault, Report, Where},
    providers::{Format, KeyIs},
    raw::{Kind, Node},
    values,
    walk::{Fields, optional, scalar, shorten, word},
};

/// A set, whose list may still have to be read.
pub(super) struct Network {
    pub(super) name: Arc<str>,
    pub(super) shared: bool,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// Each with its place.
    Addresses(Vec<(IpNet, Where)>),
    File(ListFile),
}

/// A list that somebody else publishes.
pub(super) struct ListFile {
    pub(super) path: PathBuf,
    pub(super) at: Where,
    pub(super) format: Format,
    pub(super) key: Option<String>,
}

/// Reads the sets.
pub(super) fn read(node: &Node, report: &mut Report) -> Vec<Network> {
    let Kind::Map(entries) = &node.kind else {
        let fault = Fault::new("`networks` is a mapping of names")
            .label(format!("this is {}", node.what()))
            .hint("networks: {office: {addresses: [198.51.100.0/28]}}");
        report.error(&node.at, fault);
        return Vec::new();
    };
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut networks = Vec::new();
    for (key, value) in entries {
        let name = scalar(key, "a name", report)
            .and_then(|text| report.expect(&key.at, values::label(text)));
        let read = network(value, report);
        let Some(name) = name else { continue };
        if let Some(first) = seen.insert(name, key.at.line()) {
            let fault = Fault::new(format!("there are two networks \"{name}\""))
                .label(format!("the first is on line {first}"));
            report.error(&key.at, fault);
        } else if let Some((shared, content)) = read {
            networks.push(Network {
                name: name.into(),
                shared,
                content,
            });
        }
    }
    networks
}

fn network(node: &Node, report: &mut Report) -> Option<(bool, Content)> {
    let fields = Fields::read(node, &NETWORK, report)?;
    let shared = optional(&fields, "shared", report, values::boolean).unwrap_or(false);
    if let Some(note) = fields.get("note") {
        scalar(note, "a text", report);
    }
    let content = match (fields.get("addresses"), fields.get("file")) {
        (Some(addresses), None) => {
            stray(&fields, &["format", "key"], report);
            Content::Addresses(networks::plain(addresses, report))
        }
        (None, Some(file)) => Content::File(list_file(&fields, file, report)?),
        (Some(_), Some(file)) => {
            let fault = Fault::new("a network has `addresses` or a `file`, not both");
            report.error(&file.at, fault);
            return None;
        }
        (None, None) => {
            let fault = Fault::new("a network says which addresses it has")
                .label("neither `addresses` nor `file`");
            report.error(&node.at, fault);
            return None;
        }
    };
    Some((shared, content))
}

/// Keys that mean nothing without a file.
fn stray(fields: &Fields<'_>, keys: &[&str], report: &mut Report) {
    for key in keys {
        if let Some(node) = fields.get(key) {
            let fault = Fault::new(format!("`{key}` belongs to a `file`"));
            report.error(&node.at, fault);
        }
    }
}

fn list_file(fields: &Fields<'_>, file: &Node, report: &mut Report) -> Option<ListFile> {
    let path =
        scalar(file, "a path", report).and_then(|text| report.expect(&file.at, values::path(text)));
    let format = fields.demand("format", report).and_then(|node| {
        let text = scalar(node, "a format", report)?;
        report.expect(&node.at, word(text, "a format that is known", &Format::ALL))
    })?;
    let key = optional(fields, "key", report, |text| {
        values::name(text, &[]).map(str::to_owned)
    });
    match (format.key(), fields.get("key")) {
        (KeyIs::Unknown, Some(node)) => {
            let fault = Fault::new("this format has one list in its file: it takes no `key`");
            report.error(&node.at, fault);
        }
        (KeyIs::Obligatory(what), None) => {
            let fault =
                Fault::new("this format has several lists in its file: `key` names one").hint(what);
            report.error(fields.place("format"), fault);
            return None;
        }
        (KeyIs::Optional, _) | (KeyIs::Unknown, None) | (KeyIs::Obligatory(_), Some(_)) => {}
    }
    Some(ListFile {
        path: path?,
        at: file.at.clone(),
        format,
        key,
    })
}

/// Why a network cannot stand for a client who proves nothing.
pub(super) fn too_wide(network: &IpNet) -> Option<Fault> {
    let widest = networks::widest(network);
    (network.prefix_len() < widest).then(|| {
        Fault::new(format!(
            "`{}` is too wide without a proof of identity",
            shorten(&network.to_string())
        ))
        .label(format!("/{widest} is the widest"))
        .hint("add `proof: {certificate: {dns: ...}}`, or name narrower networks")
    })
}
