//! The tree becomes settings and rules. Floor 1: pure, no clock, no file.

use std::collections::BTreeSet;

use super::{
    Environment, LogFormat, Overrides,
    layering::Layers,
    listeners::{self, Door, meet},
    named_networks::{self, Network},
    origins::{self, Known, ON_REVOKE, Placed, TLS_VERSIONS},
    problems::{Fault, Report, Where},
    raw::{Kind, Node},
    reach,
    settings::{Admin, Audit, Limits, Log, Metrics, Resolver, Settings, Tls, TlsFiles},
    values,
    walk::{Fields, Schema, both, list, scalar, word},
};
use crate::policy::{Answer, Deny, OnRevoke, Origin, Require, TlsVersion};

/// Everything the file says, with the places that later questions ask for.
pub(super) struct Meaning {
    pub(super) settings: Settings,
    pub(super) require: Require,
    pub(super) protected_users: BTreeSet<String>,
    pub(super) networks: Vec<Network>,
    pub(super) origins: Vec<Placed<Origin>>,
    /// Where they are, or could be.
    pub(super) origins_at: Where,
    pub(super) deny: Vec<Placed<Deny>>,
    pub(super) answer: Answer,
    pub(super) on_revoke: OnRevoke,
    pub(super) drain: std::time::Duration,
}

/// Reads the whole tree. What it returns is of use only if the report has not failed.
pub(super) fn read(
    document: &Node,
    environment: &Environment,
    flags: &Overrides,
    report: &mut Report<'_>,
) -> Option<Meaning> {
    if matches!(document.kind, Kind::Null) {
        report.error(
            &document.at,
            Fault::new("the file is empty").hint("it needs `version: 1` and listeners"),
        );
        return None;
    }
    let top = Fields::read(document, &TOP, report)?;
    if let Some(node) = top.demand("version", report)
        && let Some(text) = scalar(node, "a version", report)
        && text != "1"
    {
        report.error(
            &node.at,
            Fault::new("this version of doorward reads `version: 1` only"),
        );
    }
    let (doors, complete) = top
        .demand("listeners", report)
        .map_or_else(|| (Vec::new(), false), |node| listeners::read(node, report));
    let layers = Layers::new(&top, environment, flags, report);
    let limits = limits(&layers, report);
    let state_dir = layers
        .read("state_dir", report, values::path)
        .unwrap_or_else(|| environment.state_dir());
    let settings = Settings {
        listeners: doors
            .iter()
            .map(|door| std::sync::Arc::clone(&door.listener))
            .collect(),
        tls: tls(&top, report).unwrap_or_else(no_files),
        admin: admin(&layers, environment, &doors, report),
        state_dir,
        limits,
        log: log(&layers, report),
        audit: audit(&layers, report),
        metrics: metrics(&layers, report),
        resolver: resolver(&top, &layers, report),
    };
    let (on_revoke, drain) = sessions(&top, limits, report);
    let protected_users = protected_users(&top, report);
    let networks = top
        .get("networks")
        .map_or_else(Vec::new, |node| named_networks::read(node, report));
    let known = Known {
        listeners: complete.then_some(&settings.listeners),
        networks: Some(&networks),
        protected_users: &protected_users,
    };
    let origins = top
        .get("origins")
        .map_or_else(Vec::new, |node| origins::origins(node, None, known, report));
    let deny = top
        .get("deny")
        .map_or_else(Vec::new, |node| origins::deny(node, None, known, report));
    origins::unlike(&origins, &deny, report);
    Some(Meaning {
        require: require(&top, report).unwrap_or(FLOORS),
        protected_users,
        networks,
        origins,
        origins_at: top
            .get("origins")
            .map_or_else(|| top.at(), |node| &node.at)
            .clone(),
        deny,
        answer: strangers(&top, report),
        on_revoke,
        drain,
        settings,
    })
}

fn limits(layers: &Layers, report: &mut Report<'_>) -> Limits {
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

fn admin(
    layers: &Layers,
    environment: &Environment,
    doors: &[Door],
    report: &mut Report<'_>,
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

fn log(layers: &Layers, report: &mut Report<'_>) -> Log {
    let format = |text: &str| {
        word(
            text,
            "a log format",
            &[
                ("auto", LogFormat::Auto),
                ("json", LogFormat::Json),
                ("text", LogFormat::Text),
            ],
        )
    };
    let level = |text: &str| {
        word(
            text,
            "a log level",
            &[
                ("error", tracing::Level::ERROR),
                ("warn", tracing::Level::WARN),
                ("info", tracing::Level::INFO),
                ("debug", tracing::Level::DEBUG),
                ("trace", tracing::Level::TRACE),
            ],
        )
    };
    Log {
        format: layers
            .read("log.format", report, format)
            .unwrap_or(LogFormat::Auto),
        level: layers
            .read("log.level", report, level)
            .unwrap_or(tracing::Level::INFO),
    }
}

fn audit(layers: &Layers, report: &mut Report<'_>) -> Audit {
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

fn metrics(layers: &Layers, report: &mut Report<'_>) -> Metrics {
    let most = layers.read("metrics.max_origins", report, |text| values::count(text, 1));
    most.map_or_else(Metrics::default, |max_origins| Metrics { max_origins })
}

fn resolver(top: &Fields<'_>, layers: &Layers, report: &mut Report<'_>) -> Resolver {
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
            .unwrap_or(Resolver::default().max_stale),
    }
}

fn tls(top: &Fields<'_>, report: &mut Report<'_>) -> Option<Tls> {
    let fields = Fields::read(top.get("tls")?, &TLS, report)?;
    let path = |key: &str, report: &mut Report<'_>| {
        let node = fields.get(key)?;
        let text = scalar(node, "a path", report)?;
        report.expect(&node.at, values::path(text))
    };
    let (certificate, key) = (path("certificate", report), path("key", report));
    both(&fields, "without both, doorward makes its own", report);
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
            word(text, "a version of TLS that is spoken here", TLS_VERSIONS),
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
        names,
        min: min.unwrap_or(TlsVersion::V1_2),
        client_ca,
        crl,
    })
}

const fn no_files() -> Tls {
    Tls {
        files: None,
        names: Vec::new(),
        min: TlsVersion::V1_2,
        client_ca: None,
        crl: None,
    }
}

fn require(top: &Fields<'_>, report: &mut Report<'_>) -> Option<Require> {
    let fields = Fields::read(top.get("require")?, &REQUIRE, report)?;
    let mut floor = |key: &str, otherwise| {
        fields.get(key).map_or(otherwise, |node| {
            scalar(node, "true or false", report)
                .and_then(|text| report.expect(&node.at, values::boolean(text)))
                .unwrap_or(otherwise)
        })
    };
    Some(Require {
        tls: floor("tls", FLOORS.tls),
        authentication: floor("authentication", FLOORS.authentication),
    })
}

fn protected_users(top: &Fields<'_>, report: &mut Report<'_>) -> BTreeSet<String> {
    let Some(node) = top.get("protected_users") else {
        return PROTECTED.map(str::to_owned).into();
    };
    let items = list(node, "users", report);
    items
        .iter()
        .filter_map(|item| {
            let text = scalar(item, "a user", report)?;
            let name = report.expect(&item.at, values::name(text, &[reach::MYSQL_USER]))?;
            Some(name.to_owned())
        })
        .collect()
}

fn strangers(top: &Fields<'_>, report: &mut Report<'_>) -> Answer {
    let answer = top.get("strangers").and_then(|node| {
        let fields = Fields::read(node, &STRANGERS, report)?;
        let node = fields.get("answer")?;
        let text = scalar(node, "an answer", report)?;
        report.expect(
            &node.at,
            word(
                text,
                "an answer",
                &[
                    ("quiet", Answer::Quiet),
                    ("explain", Answer::Explain),
                    ("drop", Answer::Drop),
                ],
            ),
        )
    });
    answer.unwrap_or(Answer::Quiet)
}

fn sessions(
    top: &Fields<'_>,
    limits: Limits,
    report: &mut Report<'_>,
) -> (OnRevoke, std::time::Duration) {
    let defaults = (OnRevoke::Drain, limits.drain);
    let Some(fields) = top
        .get("sessions")
        .and_then(|node| Fields::read(node, &SESSIONS, report))
    else {
        return defaults;
    };
    let on_revoke = fields.get("on_revoke").and_then(|node| {
        let text = scalar(node, "a word", report)?;
        report.expect(&node.at, word(text, "what happens to a session", ON_REVOKE))
    });
    let drain = fields.get("drain").and_then(|node| {
        let text = scalar(node, "a duration", report)?;
        report.expect(&node.at, values::duration(text))
    });
    (on_revoke.unwrap_or(defaults.0), drain.unwrap_or(defaults.1))
}

pub(super) const TOP: Schema = Schema {
    what: "an allowlist",
    keys: &[
        "version",
        "listeners",
        "tls",
        "admin",
        "state_dir",
        "limits",
        "log",
        "metrics",
        "resolver",
        "audit",
        "require",
        "protected_users",
        "networks",
        "origins",
        "deny",
        "strangers",
        "sessions",
    ],
    planned: &["include", "observe", "temporary", "tests"],
};

pub(super) const TLS: Schema = Schema {
    what: "`tls`",
    keys: &["certificate", "key", "names", "min", "client_ca", "crl"],
    planned: &[],
};

pub(super) const REQUIRE: Schema = Schema {
    what: "`require`",
    keys: &["tls", "authentication"],
    planned: &[],
};

pub(super) const STRANGERS: Schema = Schema {
    what: "`strangers`",
    keys: &["answer"],
    planned: &["ban"],
};

pub(super) const SESSIONS: Schema = Schema {
    what: "`sessions`",
    keys: &["on_revoke", "drain"],
    planned: &[],
};

const FLOORS: Require = Require {
    tls: true,
    authentication: true,
};

/// The users that may do everything, by the names that servers give them.
const PROTECTED: [&str; 7] = [
    "postgres",
    "root",
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "debian-sys-maint",
    "mariadb.sys",
];

const DEFAULT_HTTP: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9432);
