//! `origins` and `deny`: who may come in, and who never. Floor 1.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use super::{
    from::{self, Proved, Rule},
    keys::{DENY, EXPECT, ORIGIN, ORIGIN_LIMITS, ORIGIN_TLS},
    named_networks::Network,
    problems::{Fault, Report, Where},
    proof,
    raw::{Kind, Node},
    reach::{self, MYSQL_DATABASE, MYSQL_SURE_USER, MYSQL_USER, Reach},
    settings::{Listener, Protocol},
    values::{self, Longest},
    walk::{Fields, list, nearest, optional, scalar, shorten, word},
};
use crate::policy::{Deny, From, Names, OnRevoke, Origin, OriginLimits, Replication, TlsVersion};

/// A rule and where its name stands.
pub(super) struct Placed<T> {
    pub(super) rule: T,
    pub(super) at: Where,
    /// Beside `from`.
    pub(super) from_at: Vec<Where>,
}

/// What else the file has that rules name; `None` where a part of it cannot be read.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) listeners: Option<&'a [Arc<Listener>]>,
    pub(super) networks: Option<&'a [Network]>,
    pub(super) protected_users: &'a BTreeSet<String>,
}

/// Reads the origins of a file; `file` is its name if it is not the main one.
pub(super) fn origins(
    node: &Node,
    file: Option<&Arc<str>>,
    known: Known<'_>,
    report: &mut Report,
) -> Vec<Placed<Origin>> {
    let items = list(node, "origins", report);
    let origins: Vec<_> = items
        .iter()
        .filter_map(|item| origin(item, file, known, report))
        .collect();
    origins
}

/// Reads the entries of `deny` of a file. They hold on every listener.
pub(super) fn deny(
    node: &Node,
    file: Option<&Arc<str>>,
    known: Known<'_>,
    report: &mut Report,
) -> Vec<Placed<Deny>> {
    let items = list(node, "deny rules", report);
    let longest = [Reach::everywhere(known.listeners).widest()];
    let entries = items
        .iter()
        .filter_map(|item| entry(item, file, (&longest, known.networks), report));
    entries.collect()
}

/// Reports rules that have one name.
pub(super) fn unlike(origins: &[Placed<Origin>], deny: &[Placed<Deny>], report: &mut Report) {
    let names = origins
        .iter()
        .map(|placed| (&*placed.rule.name, &placed.at));
    twins(names, "origins", report);
    let names = deny.iter().map(|placed| (&*placed.rule.name, &placed.at));
    twins(names, "deny rules", report);
}

fn origin(
    node: &Node,
    file: Option<&Arc<str>>,
    known: Known<'_>,
    report: &mut Report,
) -> Option<Placed<Origin>> {
    let fields = Fields::read(node, &ORIGIN, report)?;
    let (name, at) = rule_name(&fields, report);
    let observe = optional(&fields, "observe", report, values::boolean).unwrap_or(false);
    let given = fields.get("proof");
    let proof = given.map(|node| proof::read(node, report));
    let proved = match proof {
        None => Proved::No,
        Some(_) if observe => Proved::OnTrial,
        Some(_) => Proved::Yes,
    };
    let from = fields
        .demand("from", report)
        .map(|node| from::read(node, Rule::Origin(proved), known.networks, report));
    let on = on_listeners(&fields, known.listeners, report);
    let reach = Reach::of(on.as_ref(), known.listeners);
    let users = names(&fields, "users", &reach.longest(MYSQL_USER), report);
    let databases = names(&fields, "databases", &reach.longest(MYSQL_DATABASE), report);
    if reach.first(Protocol::Mysql).is_some() {
        users_of_mariadb_alone(&fields, report);
    }
    let replication = optional(&fields, "replication", report, |text| {
        word(text, "a kind of replication", &REPLICATIONS)
    });
    let local_infile = optional(&fields, "local_infile", report, values::boolean);
    let exclusive = optional(&fields, "exclusive", report, values::boolean);
    let active = optional(&fields, "active", report, values::boolean);
    let expires = optional(&fields, "expires", report, values::time);
    let on_revoke = optional(&fields, "on_revoke", report, |text| {
        word(text, "what happens to a session", &ON_REVOKE)
    });
    let (tls_min, limits) = (tls_min(&fields, report), limits(&fields, report));
    let expected_rtt = expected_rtt(&fields, report);
    let words = note(&fields, report);
    let (from, from_at): (Vec<_>, Vec<_>) = from?.into_iter().unzip();
    let rule = Origin {
        name: name?.into(),
        line: fields.at().line(),
        file: file.map(Arc::clone),
        temporary: false,
        from,
        // one that cannot be read must not make an origin without any
        proof: match proof {
            Some(read) => Some(read?),
            None => None,
        },
        listeners: on?,
        users: users?,
        databases: databases?,
        replication,
        local_infile: local_infile.unwrap_or(false),
        exclusive: exclusive.unwrap_or(false),
        active: active.unwrap_or(true),
        expires,
        observe,
        tls_min,
        limits,
        expected_rtt,
        on_revoke,
        note: words,
    };
    agree(&rule, &fields, known, report);
    let places = reach::Places {
        origin: fields.at(),
        replication: fields.place("replication"),
        local_infile: fields.place("local_infile"),
    };
    reach.hold(&rule, &places, report);
    Some(Placed { rule, at, from_at })
}

/// Reports keys that cannot stand beside each other.
fn agree(rule: &Origin, fields: &Fields<'_>, known: Known<'_>, report: &mut Report) {
    if rule.exclusive && rule.users.is_any() {
        let fault = Fault::new("an exclusive origin names its users")
            .label("it would reserve every user for itself")
            .hint("add `users: [...]`");
        report.error(fields.place("exclusive"), fault);
    }
    if rule.replication == Some(Replication::Logical) && rule.databases.is_any() {
        let fault = Fault::new("logical replication names its databases")
            .label("it runs ordinary SQL in them")
            .hint("add `databases: [...]`");
        report.error(fields.place("replication"), fault);
    }
    let by_host = rule.from.iter().find_map(|from| match from {
        From::Host { name, .. } => Some(name),
        From::Network(_) | From::Any | From::Set(_) => None,
    });
    let protected = match &rule.users {
        Names::Any => None,
        Names::Listed(users) => users
            .iter()
            .find(|user| known.protected_users.contains(*user)),
    };
    let unproved = rule.proof.is_none() || rule.observe;
    if let (Some(host), Some(user), true) = (by_host, protected, unproved) {
        let fault = Fault::new(format!(
            "`{user}` is protected: the word of DNS for {host} is not enough for it"
        ))
        .hint("add `proof: {certificate: {dns: ...}}`, or name addresses");
        report.error(fields.place("users"), fault);
    }
}

/// Warns of users that MySQL has not room for.
fn users_of_mariadb_alone(fields: &Fields<'_>, report: &mut Report) {
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

fn entry(
    node: &Node,
    file: Option<&Arc<str>>,
    (longest, networks): (&[Longest], Option<&[Network]>),
    report: &mut Report,
) -> Option<Placed<Deny>> {
    let fields = Fields::read(node, &DENY, report)?;
    let (name, at) = rule_name(&fields, report);
    let from = fields
        .get("from")
        .map(|node| from::read(node, Rule::Deny, networks, report));
    let users = names(&fields, "users", longest, report);
    let certificates = fields
        .get("certificates")
        .map_or_else(|| Some(Vec::new()), |node| fingerprints(node, report));
    note(&fields, report);
    let means = ["from", "users", "certificates"];
    if means.iter().all(|key| fields.get(key).is_none()) {
        let fault = Fault::new("a deny rule says whom it means")
            .label("neither `from` nor `users` nor `certificates`")
            .hint("everybody is `from: [any]`");
        report.error(fields.at(), fault);
    }
    let (from, from_at): (Vec<_>, Vec<_>) = from.unwrap_or_default().into_iter().unzip();
    Some(Placed {
        rule: Deny {
            name: name?.into(),
            line: fields.at().line(),
            file: file.map(Arc::clone),
            from,
            users: match users? {
                Names::Any => Vec::new(),
                Names::Listed(users) => users,
            },
            certificates: certificates?,
        },
        at,
        from_at,
    })
}

/// SHA-256 of certificates; `None` where one cannot be read, for the rule would mean others.
fn fingerprints(node: &Node, report: &mut Report) -> Option<Vec<[u8; 32]>> {
    let items = list(node, "SHA-256 of certificates", report);
    if items.is_empty() {
        if matches!(node.kind, Kind::List(_)) {
            report.error(&node.at, Fault::new("`certificates` is empty"));
        }
        return None;
    }
    let read: Vec<_> = items
        .iter()
        .map(|item| {
            let text = scalar(item, "a SHA-256", report)?;
            report.expect(&item.at, values::sha256(text))
        })
        .collect();
    read.into_iter().collect()
}

fn rule_name<'n>(fields: &Fields<'n>, report: &mut Report) -> (Option<&'n str>, Where) {
    let Some(node) = fields.demand("name", report) else {
        return (None, fields.at().clone());
    };
    let name = scalar(node, "a name", report)
        .and_then(|text| report.expect(&node.at, values::label(text)));
    (name, node.at.clone())
}

/// A list of users or databases. Absent or `[any]` is any.
pub(super) fn names(
    fields: &Fields<'_>,
    key: &str,
    longest: &[Longest],
    report: &mut Report,
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
    report: &mut Report,
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

fn limits(fields: &Fields<'_>, report: &mut Report) -> OriginLimits {
    let mut limits = OriginLimits::default();
    let Some(node) = fields.get("limits") else {
        return limits;
    };
    let Some(fields) = Fields::read(node, &ORIGIN_LIMITS, report) else {
        return limits;
    };
    let count = |text: &str| {
        let number = values::count(text, 1);
        number.map_err(|fault| fault.hint("an origin is switched off by `active: false`"))
    };
    limits.connections = optional(&fields, "connections", report, count);
    limits.new_per_minute = optional(&fields, "new_per_minute", report, count);
    limits.session = optional(&fields, "session", report, values::long_time);
    if let Some(failures) = optional(&fields, "failed_auth_per_minute", report, count) {
        limits.failed_auth_per_minute = failures;
    }
    limits
}

/// `tls: {min}`.
fn tls_min(fields: &Fields<'_>, report: &mut Report) -> Option<TlsVersion> {
    let fields = Fields::read(fields.get("tls")?, &ORIGIN_TLS, report)?;
    optional(&fields, "min", report, |text| {
        word(text, "a version of TLS that is spoken here", &TLS_VERSIONS)
    })
}

/// `expect: {rtt}`.
fn expected_rtt(fields: &Fields<'_>, report: &mut Report) -> Option<Duration> {
    let fields = Fields::read(fields.get("expect")?, &EXPECT, report)?;
    optional(&fields, "rtt", report, values::some_time)
}

fn note(fields: &Fields<'_>, report: &mut Report) -> Option<Arc<str>> {
    scalar(fields.get("note")?, "a text", report).map(Arc::from)
}

fn twins<'r>(rules: impl Iterator<Item = (&'r str, &'r Where)>, what: &str, report: &mut Report) {
    let mut seen: HashMap<&str, &Where> = HashMap::new();
    for (name, at) in rules {
        if let Some(first) = seen.get(name) {
            let fault = Fault::new(format!("there are two {what} \"{name}\""))
                .label(format!("the first is on {}", report.line_of(first, at)));
            report.error(at, fault);
        } else {
            seen.insert(name, at);
        }
    }
}

pub(super) const REPLICATIONS: [(&str, Replication); 3] = [
    ("physical", Replication::Physical),
    ("logical", Replication::Logical),
    ("true", Replication::Commands),
];

pub(super) const ON_REVOKE: [(&str, OnRevoke); 3] = [
    ("drain", OnRevoke::Drain),
    ("close", OnRevoke::Close),
    ("keep", OnRevoke::Keep),
];

pub(super) const TLS_VERSIONS: [(&str, TlsVersion); 2] =
    [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
