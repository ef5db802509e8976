//! `upstream_tls`: how the way from a listener to its server is encrypted. Floor 1.

use super::{
    keys::UPSTREAM_TLS,
    problems::{Fault, Report},
    raw::Node,
    settings::{Protocol, TlsFiles, UpstreamAddress, UpstreamTls},
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
    if protocol == Some(Protocol::Postgres) {
        let fault = Fault::new(format!("`{text}` is not built yet for PostgreSQL"))
            .label("this version speaks in clear to it")
            .hint("put the gateway on the database's machine, or write `off` for a network of your own");
        report.error(&at.at, fault);
        return None;
    }
    let host = match upstream {
        Some(UpstreamAddress::Tcp { host, .. }) => Some(host.clone()),
        Some(UpstreamAddress::Unix(_)) => {
            let fault = Fault::new("there is no TLS over a unix socket")
                .label("nobody can listen there")
                .hint("accounts that REQUIRE SSL are reached over TCP: upstream: 127.0.0.1:3306");
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
            }
        }
        Mode::Pin => {
            fields.demand("pin", report);
            UpstreamTls::Pin {
                sha256: pin?,
                identity,
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
            Self::Off => &["name", "ca", "pin", "certificate", "key"],
            Self::VerifyFull => &["pin"],
            Self::Pin => &["name", "ca"],
        }
    }
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
