//! `tests`: what the file itself says that its rules must decide. Floor 1: pure.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    addresses,
    keys::{SHOWN, TEST},
    origins::REPLICATIONS,
    problems::{Fault, Report},
    raw::{Kind, Node},
    settings::{Listener, Protocol},
    values,
    walk::{Fields, list, nearest, optional, scalar, shorten, word},
};
use crate::policy::{
    Certificate, Claim, Expected, Reason, Rehearsal, Replication, TlsVersion, Validity, Verdict,
};

/// Reads the tests. `listeners` are those that the file has; `None` where one of them cannot be read.
pub(super) fn read(
    node: &Node,
    listeners: Option<&[Arc<Listener>]>,
    report: &mut Report,
) -> Vec<Rehearsal> {
    let items = list(node, "tests", report);
    items
        .iter()
        .filter_map(|item| test(item, listeners, report))
        .collect()
}

fn test(
    node: &Node,
    listeners: Option<&[Arc<Listener>]>,
    report: &mut Report,
) -> Option<Rehearsal> {
    let fields = Fields::read(node, &TEST, report)?;
    for key in ["from", "user", "expect"] {
        fields.demand(key, report);
    }
    let at = optional(&fields, "at", report, values::time);
    let address = optional(&fields, "from", report, |text| {
        addresses::address(text).map_err(|cause| {
            Fault::new(format!("`{}` is not an address", shorten(text))).label(cause)
        })
    });
    let name = |key, report: &mut Report| {
        optional(&fields, key, report, |text| {
            values::name(text, &[]).map(str::to_owned)
        })
    };
    let (user, database) = (name("user", report), name("database", report));
    let shown = fields.get("certificate");
    let certificate = shown.map(|node| certificate(node, report));
    let tls = optional(&fields, "tls", report, |text| {
        word(text, "whether a connection is encrypted", &SHOWN_TLS)
    });
    if let (Some(None), Some(node)) = (tls, shown) {
        let fault = Fault::new("a certificate is shown in an encrypted connection")
            .hint("`tls: true`, or no certificate");
        report.error(&node.at, fault);
    }
    let expected = expected(&fields, report);
    let listener = listener(&fields, listeners?, report)?;
    let replication = replication(&fields, listener, report);
    let user = user?;
    let opened = match listener.protocol {
        Protocol::Postgres if replication != Some(Replication::Physical) => Some(user.clone()),
        Protocol::Postgres | Protocol::Mysql => None,
    };
    Some(Rehearsal {
        line: fields.at().line(),
        file: None,
        at,
        claim: Claim {
            listener: listener.name.clone(),
            address: address?,
            database: database.or(opened).map(Box::from),
            user: user.into(),
            replication,
            tls: tls.unwrap_or_else(|| shown.map(|_| TlsVersion::V1_3)),
            certificate: match certificate {
                Some(read) => Some(Arc::new(read?)),
                None => None,
            },
            application: None,
        },
        expected: expected?,
    })
}

/// The first of the file where the test does not say.
fn listener<'l>(
    fields: &Fields<'_>,
    listeners: &'l [Arc<Listener>],
    report: &mut Report,
) -> Option<&'l Listener> {
    let Some(node) = fields.get("listener") else {
        return listeners.first().map(|listener| &**listener);
    };
    let text = scalar(node, "the name of a listener", report)?;
    let found = listeners.iter().find(|listener| *listener.name == *text);
    if found.is_none() {
        let fault = Fault::new(format!("there is no listener \"{}\"", shorten(text)));
        let names = listeners.iter().map(|listener| &*listener.name);
        let fault = match nearest(text, names) {
            Some(meant) => fault.label(format!("did you mean `{meant}`?")),
            None => fault,
        };
        report.error(&node.at, fault);
    }
    found.map(|listener| &**listener)
}

/// In the words of the listener's protocol.
fn replication(
    fields: &Fields<'_>,
    listener: &Listener,
    report: &mut Report,
) -> Option<Replication> {
    let kind = optional(fields, "replication", report, |text| {
        word(text, "a kind of replication", &REPLICATIONS)
    })?;
    match (listener.protocol, kind) {
        (Protocol::Postgres, Replication::Commands) => Some(Replication::Physical),
        (Protocol::Mysql, Replication::Physical | Replication::Logical) => {
            let fault = Fault::new("this kind of replication is PostgreSQL's")
                .label(format!("listener \"{}\" speaks MySQL", listener.name))
                .hint("MySQL's is `replication: true`");
            report.error(fields.place("replication"), fault);
            None
        }
        (Protocol::Postgres | Protocol::Mysql, kind) => Some(kind),
    }
}

fn expected(fields: &Fields<'_>, report: &mut Report) -> Option<Expected> {
    let verdict = optional(fields, "expect", report, |text| {
        word(text, "what is expected", &VERDICTS)
    });
    let reason = optional(fields, "reason", report, |text| {
        word(text, "a reason", &REASONS)
    });
    if let (Some(verdict), Some(reason)) = (verdict, reason)
        && (verdict == Verdict::Allow) != (reason == Reason::Allowed)
    {
        let fault = Fault::new(format!(
            "`{}` cannot be why this is expected",
            reason.label()
        ))
        .hint("whoever is let in has the reason `allowed`, whoever is not has another");
        report.error(fields.place("reason"), fault);
    }
    Some(Expected {
        verdict: verdict?,
        origin: optional(fields, "origin", report, |text| {
            values::label(text).map(str::to_owned)
        }),
        reason: reason.map(|reason| reason.label().to_owned()),
    })
}

/// A certificate that is valid and says this.
fn certificate(node: &Node, report: &mut Report) -> Option<Certificate> {
    let fields = Fields::read(node, &SHOWN, report)?;
    let hash = |key, report: &mut Report| optional(&fields, key, report, values::sha256);
    let mut dns = names(&fields, "dns", report)?;
    for name in &mut dns {
        name.make_ascii_lowercase();
    }
    Some(Certificate {
        dns,
        uri: names(&fields, "uri", report)?,
        cn: optional(&fields, "cn", report, |text| {
            values::name(text, &[]).map(str::to_owned)
        }),
        sha256: hash("sha256", report).unwrap_or_default(),
        issuers: hash("issuer", report).into_iter().collect(),
        ends: SystemTime::UNIX_EPOCH + NO_END,
        validity: Validity::Valid,
        chain: Vec::new(),
    })
}

/// One name, or several.
fn names(fields: &Fields<'_>, key: &str, report: &mut Report) -> Option<Vec<String>> {
    let Some(node) = fields.get(key) else {
        return Some(Vec::new());
    };
    let items = match &node.kind {
        Kind::Scalar(_) => std::slice::from_ref(node),
        Kind::Null | Kind::List(_) | Kind::Map(_) => list(node, "names", report),
    };
    let one = |item: &Node| {
        let text = scalar(item, "a name", report)?;
        let name = report.expect(&item.at, values::name(text, &[]))?;
        Some(name.to_owned())
    };
    let read: Vec<_> = items.iter().map(one).collect();
    read.into_iter().collect()
}

pub(super) const SHOWN_TLS: [(&str, Option<TlsVersion>); 4] = [
    ("true", Some(TlsVersion::V1_3)),
    ("false", None),
    ("1.2", Some(TlsVersion::V1_2)),
    ("1.3", Some(TlsVersion::V1_3)),
];

pub(super) const VERDICTS: [(&str, Verdict); 2] =
    [("allow", Verdict::Allow), ("deny", Verdict::Deny)];

/// Until the year 9999.
const NO_END: Duration = Duration::from_secs(253_402_300_799);

/// Each by its label.
pub(super) const REASONS: [(&str, Reason); 26] = {
    let mut reasons = [("", Reason::Allowed); 26];
    let (mut left, mut open): (&[Reason], &mut [_]) = (&Reason::ALL, &mut reasons);
    while let (Some((reason, rest)), Some((first, behind))) =
        (left.split_first(), open.split_first_mut())
    {
        *first = (reason.label(), *reason);
        left = rest;
        open = behind;
    }
    reasons
};
