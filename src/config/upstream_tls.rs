//! `upstream_tls`: how the way from a listener to its server is encrypted. Floor 1.

use super::{
    keys::UPSTREAM_TLS,
    problems::{Fault, Report},
    raw::Node,
    settings::{Negotiation, Protocol, TlsFiles, UpstreamAddress, UpstreamTls},
    values,
    walk::{Fields, both, scalar, word},
};

/// Reads the mapping. `protocol` and `upstream` are those of the listener, where they could be read.
pub(super) fn read(
    node: &Node,
    protocol: Option<Protocol>,
    upstream: Option<&UpstreamAddress>,
    report: &mut Report,
) -> Option<UpstreamTls> {
    let fields = Fields::read(node, &UPSTREAM_TLS, report)?;
    let at = fields.demand("mode", report)?;
    let text = scalar(at, "a mode", report)?;
    let mode = report.expect(&at.at, word(text, "a mode", &MODES))?;
    let name = text_of("name", &fields, report, values::server_name);
    let ca = text_of("ca", &fields, report, values::path);
    let pin = text_of("pin", &fields, report, values::sha256);
    let identity = identity(&fields, report);
    let negotiation = negotiation(&fields, protocol, report);
    for key in mode.strange() {
        if let Some(node) = fields.get(key) {
            let fault = Fault::new(format!("`{key}` says nothing where the mode is `{text}`"))
                .hint("remove it, or write another mode");
            report.error(&node.at, fault);
        }
    }
    if mode == Mode::Off {
        return Some(UpstreamTls::Off);
    }
    let host = match upstream {
        Some(UpstreamAddress::Tcp { host, .. }) => Some(host.clone()),
        Some(UpstreamAddress::Unix(_)) => {
            let fault = Fault::new("there is no TLS over a unix socket")
                .label("nobody can listen there")
                .hint(match protocol {
                    Some(Protocol::Mysql) => {
                        "accounts that REQUIRE SSL are reached over TCP: upstream: 127.0.0.1:3306"
                    }
                    Some(Protocol::Postgres) | None => {
                        "remove it, or give the server's address and port"
                    }
                });
            report.error(&at.at, fault);
            return None;
        }
        None => None,
    };
    Some(match mode {
        Mode::Off => UpstreamTls::Off,
        Mode::VerifyFull => {
            fields.demand("ca", report);
            UpstreamTls::VerifyFull {
                name: name.or(host)?,
                ca: ca?,
                identity,
                negotiation,
            }
        }
        Mode::Pin => {
            fields.demand("pin", report);
            UpstreamTls::Pin {
                sha256: pin?,
                identity,
                negotiation,
            }
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Off,
    VerifyFull,
    Pin,
}

impl Mode {
    /// The keys that mean nothing beside it.
    const fn strange(self) -> &'static [&'static str] {
        match self {
            Self::Off => &["name", "ca", "pin", "certificate", "key", "negotiation"],
            Self::VerifyFull => &["pin"],
            Self::Pin => &["name", "ca"],
        }
    }
}

/// Whether a PostgreSQL server is asked for TLS, or is spoken to in TLS at once.
fn negotiation(
    fields: &Fields<'_>,
    protocol: Option<Protocol>,
    report: &mut Report,
) -> Negotiation {
    let Some(node) = fields.get("negotiation") else {
        return Negotiation::Request;
    };
    if protocol == Some(Protocol::Mysql) {
        let fault = Fault::new("`negotiation` is for postgres only")
            .label("this listener speaks another protocol")
            .hint("remove it: doorward never ignores a setting");
        report.error(&node.at, fault);
        return Negotiation::Request;
    }
    let text = scalar(node, "a single value", report);
    let read = text.and_then(|text| {
        let read = word(text, "a way to begin TLS", &NEGOTIATIONS);
        report.expect(&node.at, read)
    });
    read.unwrap_or_default()
}

fn identity(fields: &Fields<'_>, report: &mut Report) -> Option<TlsFiles> {
    let certificate = text_of("certificate", fields, report, values::path);
    let key = text_of("key", fields, report, values::path);
    both(fields, "without both, the server is shown nothing", report);
    certificate
        .zip(key)
        .map(|(certificate, key)| TlsFiles { certificate, key })
}

fn text_of<T>(
    key: &str,
    fields: &Fields<'_>,
    report: &mut Report,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Option<T> {
    let node = fields.get(key)?;
    let text = scalar(node, "a single value", report)?;
    report.expect(&node.at, parse(text))
}

pub(super) const MODES: [(&str, Mode); 3] = [
    ("off", Mode::Off),
    ("verify-full", Mode::VerifyFull),
    ("pin", Mode::Pin),
];

pub(super) const NEGOTIATIONS: [(&str, Negotiation); 2] = [
    ("request", Negotiation::Request),
    ("direct", Negotiation::Direct),
];
