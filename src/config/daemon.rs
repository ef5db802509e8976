//! What the daemon itself is told: TLS, its own door, limits, log, audit, metrics, distances, resolver. Floor 1: pure.

use std::time::Duration;

use super::{
    Environment, LogFormat,
    keys::{FURTHER, LATENCY, PLACES, TLS},
    layering::Layers,
    listeners::{Door, meet},
    origins::TLS_VERSIONS,
    problems::{Fault, Report},
    raw::Node,
    settings::{Admin, Audit, Distances, Limits, Log, Metrics, Resolver, Tls, TlsFiles},
    values,
    walk::{Fields, both, list, optional, scalar, word},
};
use crate::policy::TlsVersion;

pub(super) fn limits(layers: &Layers, report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    let counts = [
        ("limits.openings", &mut limits.openings),
        ("limits.per_source", &mut limits.per_source),
    ];
    for (key, value) in counts {
        if let Some(read) = layers.read(key, report, |text| values::count(text, 1)) {
            *value = read;
        }
    }
    let times = [
        ("limits.first_byte", &mut limits.first_byte),
        ("limits.opening", &mut limits.opening),
        ("limits.login", &mut limits.login),
        ("limits.dial", &mut limits.dial),
    ];
    for (key, value) in times {
        if let Some(read) = layers.read(key, report, values::some_time) {
            *value = read;
        }
    }
    if let Some(drain) = layers.read("limits.drain", report, values::duration) {
        limits.drain = drain;
    }
    if let Some(rate) = layers.read("limits.refusals_explained", report, values::per_second) {
        limits.refusals_explained = rate;
    }
    limits
}

pub(super) fn admin(
    layers: &Layers,
    environment: &Environment,
    doors: &[Door],
    report: &mut Report,
) -> Admin {
    let http = layers
        .read("admin.http", report, values::listen)
        .unwrap_or(DEFAULT_HTTP);
    let sockets = doors.iter().flat_map(|door| &door.listener.listen);
    if let Some(taken) = sockets.into_iter().find(|socket| meet(**socket, http)) {
        let fault = Fault::new(format!(
            "admin.http {http} and the listener on {taken} cannot both be listened on"
        ));
        let at = layers
            .place("admin.http")
            .or_else(|| doors.first().map(|door| &door.at));
        if let Some(at) = at {
            report.error(at, fault);
        }
    }
    if let (false, Some(at)) = (http.ip().is_loopback(), layers.place("admin.http")) {
        let fault = Fault::new("metrics are served to other machines")
            .label("without TLS, and to whoever asks")
            .hint("127.0.0.1 unless a firewall stands before it");
        report.warn("W-ADMIN-PUBLIC", at, fault);
    }
    Admin {
        http,
        socket: layers
            .read("admin.socket", report, values::socket_path)
            .unwrap_or_else(|| environment.admin_socket()),
    }
}

pub(super) fn log(layers: &Layers, report: &mut Report) -> Log {
    let format = |text: &str| word(text, "a log format", &LOG_FORMATS);
    let level = |text: &str| word(text, "a log level", &LOG_LEVELS);
    Log {
        format: layers
            .read("log.format", report, format)
            .unwrap_or(LogFormat::Auto),
        level: layers
            .read("log.level", report, level)
            .unwrap_or(tracing::Level::INFO),
    }
}

pub(super) fn audit(layers: &Layers, report: &mut Report) -> Audit {
    let file = layers.read("audit.file", report, values::path);
    let required = layers.read("audit.required", report, values::boolean);
    if let (None, Some(true), Some(at)) = (&file, required, layers.place("audit.required")) {
        let fault = Fault::new("an audit that is required needs a file").hint("add `file`");
        report.error(at, fault);
    }
    Audit {
        file,
        required: required.unwrap_or(false),
    }
}

pub(super) fn metrics(layers: &Layers, report: &mut Report) -> Metrics {
    let most = layers.read("metrics.max_origins", report, |text| {
        let most = values::count(text, 1)?;
        if most > MOST_ORIGINS {
            return Err(Fault::new(format!("`{most}` is too much"))
                .label(format!("{MOST_ORIGINS} at most"))
                .hint("each has some dozens of series: nobody could read the page"));
        }
        Ok(most)
    });
    most.map_or_else(Metrics::default, |max_origins| Metrics { max_origins })
}

/// `latency: {places}`.
pub(super) fn distances(top: &Fields<'_>, report: &mut Report) -> Distances {
    let mut distances = Distances::default();
    let latency = top.get("latency");
    let latency = latency.and_then(|node| Fields::read(node, &LATENCY, report));
    let given = latency.and_then(|latency| Fields::read(latency.get("places")?, &PLACES, report));
    let Some(given) = given else {
        return distances;
    };
    let mut nearer = ("nowhere", Duration::ZERO);
    for (key, limit) in [
        ("same_site", &mut distances.same_site),
        ("same_region", &mut distances.same_region),
        ("near", &mut distances.near),
        ("same_continent", &mut distances.same_continent),
        ("far", &mut distances.far),
    ] {
        if let Some(read) = optional(&given, key, report, values::some_time) {
            *limit = read;
        }
        if *limit <= nearer.1 {
            let fault = Fault::new(format!("`{key}` is not beyond `{}`", nearer.0))
                .label(format!("{limit:?} and {:?}", nearer.1))
                .hint("each place is farther than the one before: same_site, same_region, near, same_continent, far");
            report.error(given.place(key), fault);
        }
        nearer = (key, *limit);
    }
    distances
}

pub(super) fn resolver(top: &Fields<'_>, layers: &Layers, report: &mut Report) -> Resolver {
    // its keys were held against the schema when the settings were layered
    let servers = top.get("resolver").and_then(|node| node.entry("servers"));
    let servers = servers.map_or_else(Vec::new, |node| {
        let items = list(node, "addresses and ports", report);
        let read = items.iter().filter_map(|item| {
            let text = scalar(item, "an address and a port", report)?;
            report.expect(&item.at, values::server(text))
        });
        read.collect()
    });
    Resolver {
        servers,
        max_stale: layers
            .read("resolver.max_stale", report, values::duration)
            .unwrap_or_else(|| Resolver::default().max_stale),
    }
}

pub(super) fn tls(top: &Fields<'_>, report: &mut Report) -> Tls {
    files_and_names(top, report).unwrap_or_else(no_files)
}

fn files_and_names(top: &Fields<'_>, report: &mut Report) -> Option<Tls> {
    let fields = Fields::read(top.get("tls")?, &TLS, report)?;
    let path = |key: &str, report: &mut Report| {
        let node = fields.get(key)?;
        let text = scalar(node, "a path", report)?;
        report.expect(&node.at, values::path(text))
    };
    let (certificate, key) = (path("certificate", report), path("key", report));
    both(&fields, "without both, doorward makes its own", report);
    let further = fields.get("certificates").map_or_else(Vec::new, |node| {
        let items = list(node, "certificates and their keys", report);
        items.iter().filter_map(|item| pair(item, report)).collect()
    });
    let names = fields.get("names").map_or_else(Vec::new, |node| {
        let items = list(node, "host names and addresses", report);
        items
            .iter()
            .filter_map(|item| {
                let text = scalar(item, "a host name", report)?;
                let name = report.expect(&item.at, values::certificate_name(text))?;
                Some(name.to_owned())
            })
            .collect()
    });
    let min = fields.get("min").and_then(|node| {
        let text = scalar(node, "a version of TLS", report)?;
        report.expect(
            &node.at,
            word(text, "a version of TLS that is spoken here", &TLS_VERSIONS),
        )
    });
    let (client_ca, crl) = (path("client_ca", report), path("crl", report));
    if let (None, Some(node)) = (fields.get("client_ca"), fields.get("crl")) {
        let fault = Fault::new("a revocation list says nothing without the CA that made it")
            .hint("add `client_ca`");
        report.error(&node.at, fault);
    }
    Some(Tls {
        files: certificate
            .zip(key)
            .map(|(certificate, key)| TlsFiles { certificate, key }),
        further,
        names,
        min: min.unwrap_or(TlsVersion::V1_2),
        client_ca,
        crl,
    })
}

/// A certificate beside the first, which is nothing without its key.
fn pair(node: &Node, report: &mut Report) -> Option<TlsFiles> {
    let fields = Fields::read(node, &FURTHER, report)?;
    let mut path = |key: &str| {
        let text = scalar(fields.demand(key, report)?, "a path", report)?;
        report.expect(&node.at, values::path(text))
    };
    let (certificate, key) = (path("certificate"), path("key"));
    Some(TlsFiles {
        certificate: certificate?,
        key: key?,
    })
}

const fn no_files() -> Tls {
    Tls {
        files: None,
        further: Vec::new(),
        names: Vec::new(),
        min: TlsVersion::V1_2,
        client_ca: None,
        crl: None,
    }
}

/// With series of their own.
const MOST_ORIGINS: u32 = 5000;

const DEFAULT_HTTP: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9432);

pub(super) const LOG_FORMATS: [(&str, LogFormat); 3] = [
    ("auto", LogFormat::Auto),
    ("json", LogFormat::Json),
    ("text", LogFormat::Text),
];

pub(super) const LOG_LEVELS: [(&str, tracing::Level); 5] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];
