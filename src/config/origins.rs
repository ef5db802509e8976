//! `origins` and `deny`: who may come in, and who never. Floor 1.

use std::{collections::HashMap, sync::Arc};

use super::{
    addresses,
    problems::{Fault, Report, Where},
    raw::{Kind, Node},
    reach::{self, MYSQL_DATABASE, MYSQL_SURE_USER, MYSQL_USER, Reach},
    settings::{Listener, Protocol},
    values::{self, Longest},
    walk::{Fields, Schema, list, nearest, scalar, shorten, word},
};
use crate::policy::{Deny, From, Names, Origin, OriginLimits, Replication};

/// A rule and where its name stands.
pub(super) struct Placed<T> {
    pub(super) rule: T,
    pub(super) at: Where,
    /// Beside `from`.
    pub(super) from_at: Vec<Where>,
}

/// Reads the origins. `listeners` are those that the file has; `None` where one of them cannot be read.
pub(super) fn origins(
    node: &Node,
    listeners: Option<&[Arc<Listener>]>,
    report: &mut Report<'_>,
) -> Vec<Placed<Origin>> {
    let items = list(node, "origins", report);
    let origins: Vec<_> = items
        .iter()
        .filter_map(|item| origin(item, listeners, report))
        .collect();
    twins(
        origins.iter().map(|o| (&*o.rule.name, &o.at)),
        "origins",
        report,
    );
    origins
}

/// Reads the entries of `deny`. They hold on every one of the `listeners`, see [`origins`].
pub(super) fn deny(
    node: &Node,
    listeners: Option<&[Arc<Listener>]>,
    report: &mut Report<'_>,
) -> Vec<Placed<Deny>> {
    let items = list(node, "deny rules", report);
    let longest = [Reach::everywhere(listeners).widest()];
    let entries: Vec<_> = items
        .iter()
        .filter_map(|item| entry(item, &longest, report))
        .collect();
    twins(
        entries.iter().map(|d| (&*d.rule.name, &d.at)),
        "deny rules",
        report,
    );
    entries
}

fn origin(
    node: &Node,
    listeners: Option<&[Arc<Listener>]>,
    report: &mut Report<'_>,
) -> Option<Placed<Origin>> {
    let fields = Fields::read(node, &ORIGIN, report)?;
    let (name, at) = rule_name(&fields, report);
    let from = fields
        .demand("from", report)
        .map(|node| networks(node, true, report));
    let on = on_listeners(&fields, listeners, report);
    let reach = Reach::of(on.as_ref(), listeners);
    let users = names(&fields, "users", &reach.longest(MYSQL_USER), report);
    let databases = names(&fields, "databases", &reach.longest(MYSQL_DATABASE), report);
    if reach.first(Protocol::Mysql).is_some() {
        users_of_mariadb_alone(&fields, report);
    }
    let replication = optional(&fields, "replication", report, |text| {
        word(text, "a kind of replication", REPLICATIONS)
    });
    let local_infile = optional(&fields, "local_infile", report, values::boolean);
    let exclusive = optional(&fields, "exclusive", report, values::boolean);
    let active = optional(&fields, "active", report, values::boolean);
    let expires = optional(&fields, "expires", report, values::time);
    let connections = connections(&fields, report);
    note(&fields, report);
    if let (Some(true), Some(Names::Any)) = (exclusive, &users) {
        let place = fields.place("exclusive");
        let fault = Fault::new("an exclusive origin names its users")
            .label("it would reserve every user for itself")
            .hint("add `users: [...]`");
        report.error(place, fault);
    }
    if let (Some(Replication::Logical), Some(Names::Any)) = (replication, &databases) {
        let place = fields.place("replication");
        let fault = Fault::new("logical replication names its databases")
            .label("it runs ordinary SQL in them")
            .hint("add `databases: [...]`");
        report.error(place, fault);
    }
    let (from, from_at) = from?.into_iter().unzip();
    let rule = Origin {
        name: name?.into(),
        line: fields.at().line(),
        file: None,
        temporary: false,
        from,
        proof: None,
        listeners: on?,
        users: users?,
        databases: databases?,
        replication,
        local_infile: local_infile.unwrap_or(false),
        exclusive: exclusive.unwrap_or(false),
        active: active.unwrap_or(true),
        expires,
        observe: false,
        tls_min: None,
        limits: OriginLimits {
            connections,
            ..OriginLimits::default()
        },
        expected_rtt: None,
        on_revoke: None,
        note: None,
    };
    let places = reach::Places {
        origin: fields.at(),
        replication: fields.place("replication"),
        local_infile: fields.place("local_infile"),
    };
    reach.hold(&rule, &places, report);
    Some(Placed { rule, at, from_at })
}

/// Warns of users that MySQL has not room for.
fn users_of_mariadb_alone(fields: &Fields<'_>, report: &mut Report<'_>) {
    let Some(Kind::List(items)) = fields.get("users").map(|node| &node.kind) else {
        return;
    };
    for item in items {
        if let Kind::Scalar(name) = &item.kind
            && name.chars().count() > MYSQL_SURE_USER
        {
            let fault = Fault::new(format!(
                "MySQL's users have {MYSQL_SURE_USER} characters at most; only MariaDB's may be longer"
            ));
            report.warn("W-LONG-USER", &item.at, fault);
        }
    }
}

fn entry(node: &Node, longest: &[Longest], report: &mut Report<'_>) -> Option<Placed<Deny>> {
    let fields = Fields::read(node, &DENY, report)?;
    let (name, at) = rule_name(&fields, report);
    let from = fields.get("from").map(|node| networks(node, false, report));
    let users = names(&fields, "users", longest, report);
    note(&fields, report);
    if from.is_none() && fields.get("users").is_none() {
        let fault = Fault::new("a deny rule says whom it means")
            .label("neither `from` nor `users`")
            .hint("everybody is `from: [any]`");
        report.error(fields.at(), fault);
    }
    let (from, from_at): (Vec<_>, Vec<_>) = from.unwrap_or_default().into_iter().unzip();
    Some(Placed {
        rule: Deny {
            name: name?.into(),
            line: fields.at().line(),
            file: None,
            from,
            users: match users? {
                Names::Any => Vec::new(),
                Names::Listed(users) => users,
            },
            certificates: Vec::new(),
        },
        at,
        from_at,
    })
}

fn rule_name<'n>(fields: &Fields<'n>, report: &mut Report<'_>) -> (Option<&'n str>, Where) {
    let Some(node) = fields.demand("name", report) else {
        return (None, fields.at().clone());
    };
    let name = scalar(node, "a name", report)
        .and_then(|text| report.expect(&node.at, values::label(text)));
    (name, node.at.clone())
}

/// The entries of `from` that mean something. An origin's may not mean everybody.
fn networks(node: &Node, proof: bool, report: &mut Report<'_>) -> Vec<(From, Where)> {
    let items = list(node, "addresses", report);
    if items.is_empty() && matches!(node.kind, Kind::List(_)) {
        report.error(
            &node.at,
            Fault::new("`from` names nobody").hint("an address, a network, or `any`"),
        );
    }
    let read = |item: &Node| {
        if let Kind::Map(entries) = &item.kind {
            let keys = entries.iter().filter_map(|(key, _)| match &key.kind {
                Kind::Scalar(name) => Some(name.as_str()),
                Kind::Null | Kind::List(_) | Kind::Map(_) => None,
            });
            let known = keys
                .into_iter()
                .find(|key| ["host", "network"].contains(key));
            let fault = match known {
                Some(key) => Fault::new(format!("`{{{key}: ...}}` is not built yet"))
                    .label("this version takes addresses, networks and `any`"),
                None => Fault::new("this is a mapping; an address was expected"),
            };
            report.error(&item.at, fault);
            return None;
        }
        let text = scalar(item, "an address", report)?;
        let from = report.expect(&item.at, addresses::from(text))?;
        if proof && let Some(fault) = too_wide(text, &from) {
            report.error(&item.at, fault);
            return None;
        }
        Some((from, item.at.clone()))
    };
    items.iter().filter_map(read).collect()
}

fn too_wide(text: &str, from: &From) -> Option<Fault> {
    let From::Network(network) = from else {
        return Some(
            Fault::new("`any` is everybody on the internet: it needs a proof of identity")
                .label("`proof` is not built yet")
                .hint("name the addresses or networks that clients come from"),
        );
    };
    let narrowest = if network.addr().is_ipv4() { 8 } else { 24 };
    (network.prefix_len() < narrowest).then(|| {
        Fault::new(format!(
            "`{}` is too wide without a proof of identity",
            shorten(text)
        ))
        .label(format!("/{narrowest} is the widest"))
        .hint("`proof` is not built yet; name narrower networks")
    })
}

/// A list of users or databases. Absent or `[any]` is any.
fn names(
    fields: &Fields<'_>,
    key: &str,
    longest: &[Longest],
    report: &mut Report<'_>,
) -> Option<Names> {
    let Some(node) = fields.get(key) else {
        return Some(Names::Any);
    };
    let Kind::List(items) = &node.kind else {
        list(node, key, report);
        return None;
    };
    if items.is_empty() {
        let fault = Fault::new(format!("`{key}` is empty"))
            .label("nobody would fit")
            .hint("name some, or write [any]");
        report.error(&node.at, fault);
        return None;
    }
    let mut listed = Vec::with_capacity(items.len());
    let mut sound = true;
    for item in items {
        let name = scalar(item, "a name", report)
            .and_then(|text| report.expect(&item.at, values::name(text, longest)));
        match name {
            Some("any") if items.len() == 1 => return Some(Names::Any),
            Some("any") => {
                let fault = Fault::new(format!("`any` stands beside other {key}"))
                    .hint("either [any] or names");
                report.error(&item.at, fault);
                sound = false;
            }
            Some(name) => listed.push(name.to_owned()),
            None => sound = false,
        }
    }
    sound.then_some(Names::Listed(listed))
}

/// Obligatory when there are several, so that a rule for one server never opens another.
fn on_listeners(
    fields: &Fields<'_>,
    listeners: Option<&[Arc<Listener>]>,
    report: &mut Report<'_>,
) -> Option<Names> {
    // nothing can be said about listeners that are not all known
    let listeners = listeners?;
    let Some(node) = fields.get("listeners") else {
        if listeners.len() > 1 {
            let fault = Fault::new("an origin says which listeners it may use")
                .label("`listeners` is missing")
                .hint(format!("there are {}", known(listeners)));
            report.error(fields.at(), fault);
            return None;
        }
        return Some(Names::Any);
    };
    let items = list(node, "listeners", report);
    if items.is_empty() {
        if matches!(node.kind, Kind::List(_)) {
            let fault =
                Fault::new("`listeners` is empty").hint(format!("there are {}", known(listeners)));
            report.error(&node.at, fault);
        }
        return None;
    }
    let mut listed = Vec::with_capacity(items.len());
    for item in items {
        let text = scalar(item, "the name of a listener", report)?;
        if listeners.iter().any(|listener| *listener.name == *text) {
            listed.push(text.to_owned());
            continue;
        }
        let fault = Fault::new(format!("there is no listener \"{}\"", shorten(text)));
        let names = listeners.iter().map(|listener| &*listener.name);
        report.error(
            &item.at,
            match nearest(text, names) {
                Some(meant) => fault.label(format!("did you mean `{meant}`?")),
                None => fault.hint(format!("there are {}", known(listeners))),
            },
        );
    }
    Some(Names::Listed(listed))
}

fn known(listeners: &[Arc<Listener>]) -> String {
    let names: Vec<_> = listeners
        .iter()
        .take(8)
        .map(|listener| &*listener.name)
        .collect();
    names.join(", ")
}

fn connections(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<u32> {
    let limits = Fields::read(fields.get("limits")?, &LIMITS, report)?;
    optional(&limits, "connections", report, |text| {
        let number = values::count(text, 1);
        number.map_err(|fault| fault.hint("an origin is switched off by `active: false`"))
    })
}

/// `None` for an absent key, and for one whose fault is reported.
fn optional<T>(
    fields: &Fields<'_>,
    key: &str,
    report: &mut Report<'_>,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Option<T> {
    let node = fields.get(key)?;
    let text = scalar(node, "a single value", report)?;
    report.expect(&node.at, parse(text))
}

fn note(fields: &Fields<'_>, report: &mut Report<'_>) {
    if let Some(node) = fields.get("note") {
        scalar(node, "a text", report);
    }
}

fn twins<'r>(
    rules: impl Iterator<Item = (&'r str, &'r Where)>,
    what: &str,
    report: &mut Report<'_>,
) {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for (name, at) in rules {
        if let Some(first) = seen.get(name) {
            let fault = Fault::new(format!("there are two {what} \"{name}\""))
                .label(format!("the first is on line {first}"));
            report.error(at, fault);
        } else {
            seen.insert(name, at.line());
        }
    }
}

pub(super) const ORIGIN: Schema = Schema {
    what: "an origin",
    keys: &[
        "name",
        "from",
        "users",
        "databases",
        "listeners",
        "exclusive",
        "expires",
        "active",
        "replication",
        "local_infile",
        "limits",
        "note",
    ],
    planned: &["proof", "observe", "tls", "expect", "on_revoke"],
};

pub(super) const LIMITS: Schema = Schema {
    what: "an origin's `limits`",
    keys: &["connections"],
    planned: &["new_per_minute", "session", "failed_auth_per_minute"],
};

pub(super) const DENY: Schema = Schema {
    what: "a deny rule",
    keys: &["name", "from", "users", "note"],
    planned: &["certificates"],
};

const REPLICATIONS: &[(&str, Replication)] = &[
    ("physical", Replication::Physical),
    ("logical", Replication::Logical),
    ("true", Replication::Commands),
];
