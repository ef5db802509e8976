//! `listeners`: the sockets we accept on, and what stands behind each. Floor 1.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use ipnet::IpNet;

use super::{
    keys::{LISTENER, PROXY_PROTOCOL},
    networks,
    problems::{Fault, Report, Where},
    raw::{Kind, Node},
    settings::{
        Compression, Identify, Listener, ProtectUpstream, Protocol, Scram, UpstreamAddress,
        UpstreamProxyProtocol, UpstreamTls,
    },
    upstream_tls, values,
    walk::{Fields, list, scalar, word},
};

/// A listener with the places of its parts, for what must hold between listeners.
pub(super) struct Door {
    pub(super) listener: Arc<Listener>,
    pub(super) at: Where,
    /// Beside [`Listener::listen`].
    pub(super) listen_at: Vec<Where>,
    pub(super) upstream_at: Where,
}

/// Reads them all, and what must hold between them. The flag tells whether every one could be read.
pub(super) fn read(node: &Node, report: &mut Report) -> (Vec<Door>, bool) {
    let mut doors: Vec<Door> = Vec::new();
    let items = list(node, "listeners", report);
    if items.is_empty() && matches!(node.kind, Kind::List(_)) {
        report.error(
            &node.at,
            Fault::new("there is no listener").hint("one at least"),
        );
    }
    if items.len() > MAX_LISTENERS {
        let fault = Fault::new(format!("more than {MAX_LISTENERS} listeners"));
        report.error(&node.at, fault);
    }
    for item in items.iter().take(MAX_LISTENERS) {
        let Some(door) = door(item, report) else {
            continue;
        };
        let twin = doors
            .iter()
            .find(|other| other.listener.name == door.listener.name);
        if let Some(twin) = twin {
            let fault = Fault::new(format!(
                "there are two listeners \"{}\"",
                door.listener.name
            ))
            .label(format!("the first is on line {}", twin.at.line()));
            report.error(&door.at, fault);
        }
        doors.push(door);
    }
    collisions(&doors, report);
    loops(&doors, report);
    let complete = !items.is_empty() && doors.len() == items.len();
    (doors, complete)
}

fn door(node: &Node, report: &mut Report) -> Option<Door> {
    let fields = Fields::read(node, &LISTENER, report)?;
    let name = fields.demand("name", report);
    let at = name.map_or_else(|| fields.at().clone(), |name| name.at.clone());
    let name = name.and_then(|node| {
        let text = scalar(node, "a name", report)?;
        report.expect(&node.at, values::label(text))
    });
    let protocol = fields.demand("protocol", report).and_then(|node| {
        let text = scalar(node, "a protocol", report)?;
        report.expect(&node.at, protocol(text))
    });
    let listen = fields
        .demand("listen", report)
        .map(|node| listen(node, report));
    let upstream = fields.demand("upstream", report).and_then(|node| {
        let text = scalar(node, "an address", report)?;
        Some((
            report.expect(&node.at, values::upstream(text))?,
            node.at.clone(),
        ))
    });
    let address = upstream.as_ref().map(|(address, at)| (address, at));
    let upstream_tls = tls_of(&fields, protocol, address, report);
    let mut own = Own {
        fields: &fields,
        protocol,
        report,
    };
    let postgres = own.postgres();
    let mysql = own.mysql();
    let proxy_protocol = balancers(&fields, report);
    let (listen, listen_at) = listen?.into_iter().unzip();
    let (upstream, upstream_at) = upstream?;
    let (postgres, mysql) = (postgres?, mysql?);
    Some(Door {
        listener: Arc::new(Listener {
            name: name?.into(),
            protocol: protocol?,
            listen,
            upstream,
            upstream_tls: upstream_tls?,
            scram: postgres.scram,
            verifiers: postgres.verifiers,
            allow_plain_cancel: postgres.allow_plain_cancel,
            cancel_on_disconnect: postgres.cancel_on_disconnect,
            identify: postgres.identify,
            protect_upstream: mysql.protect_upstream,
            proxy_protocol,
            upstream_proxy_protocol: mysql.upstream_proxy_protocol,
            compression: mysql.compression,
        }),
        at,
        listen_at,
        upstream_at,
    })
}

/// The machines whose PROXY header is believed.
fn balancers(fields: &Fields<'_>, report: &mut Report) -> Vec<IpNet> {
    let inner = fields
        .get("proxy_protocol")
        .and_then(|node| Fields::read(node, &PROXY_PROTOCOL, report));
    let from = inner.and_then(|inner| inner.demand("from", report));
    let from = from.map_or_else(Vec::new, |node| networks::plain(node, report));
    let few = from.into_iter().filter_map(|(network, at)| {
        let widest = networks::widest(&network);
        if network.prefix_len() >= widest {
            return Some(network);
        }
        let fault = Fault::new(format!("{network} is too wide for balancers"))
            .label(format!("/{widest} is the widest"))
            .hint("whoever is there says of himself where he comes from");
        report.error(&at, fault);
        None
    });
    few.collect()
}

/// TLS to the server, of which something must be said where it is on another machine.
fn tls_of(
    fields: &Fields<'_>,
    protocol: Option<Protocol>,
    upstream: Option<(&UpstreamAddress, &Where)>,
    report: &mut Report,
) -> Option<UpstreamTls> {
    if let Some(node) = fields.get("upstream_tls") {
        let address = upstream.map(|(address, _)| address);
        return upstream_tls::read(node, protocol, address, report);
    }
    if let Some((_, at)) = upstream.filter(|(upstream, _)| is_remote(upstream)) {
        let fault = Fault::new(
            "the upstream is on another machine, and nothing is said of TLS to it",
        )
        .label("passwords and data would cross the network in clear")
        .hint("write `upstream_tls: {mode: off}` beside it if the network between is your own");
        report.error(at, fault);
    }
    Some(UpstreamTls::Off)
}

/// Reads the keys that only one protocol knows.
struct Own<'f, 'n, 'r> {
    fields: &'f Fields<'n>,
    protocol: Option<Protocol>,
    report: &'r mut Report,
}

/// What a listener says of PostgreSQL alone.
struct PostgresKeys {
    scram: Scram,
    verifiers: Option<PathBuf>,
    allow_plain_cancel: bool,
    cancel_on_disconnect: bool,
    identify: Identify,
}

/// What a listener says of MySQL alone.
struct MysqlKeys {
    protect_upstream: ProtectUpstream,
    upstream_proxy_protocol: UpstreamProxyProtocol,
    compression: Compression,
}

impl Own<'_, '_, '_> {
    fn postgres(&mut self) -> Option<PostgresKeys> {
        let owner = Protocol::Postgres;
        let scram = self.word(owner, "scram", "what becomes of it", &SCRAMS);
        let verifiers = self.value(owner, "verifiers", None, |text| {
            values::path(text).map(Some)
        });
        self.scram_fits(scram);
        let allow_plain_cancel = self.value(owner, "allow_plain_cancel", true, values::boolean);
        let cancel_on_disconnect =
            self.value(owner, "cancel_on_disconnect", false, values::boolean);
        let told = "a way to tell the client's address";
        let identify = self.word(owner, "identify", told, &IDENTIFIES);
        Some(PostgresKeys {
            scram: scram?,
            verifiers: verifiers?,
            allow_plain_cancel: allow_plain_cancel?,
            cancel_on_disconnect: cancel_on_disconnect?,
            identify: identify?,
        })
    }

    /// Verifiers and what they are for.
    fn scram_fits(&mut self, scram: Option<Scram>) {
        let verifiers = self.fields.get("verifiers");
        match (scram, self.fields.get("scram"), verifiers) {
            (Some(Scram::Terminate), Some(node), None) => {
                let fault = Fault::new("`scram: terminate` needs `verifiers`")
                    .label("no proof could be checked")
                    .hint("pg_dumpall --roles-only > FILE; chmod 640 FILE; and `verifiers: FILE` beside it");
                self.report.error(&node.at, fault);
            }
            (Some(Scram::Relay), _, Some(node)) => {
                let fault = Fault::new("`verifiers` says nothing where `scram` is `relay`")
                    .hint("remove it, or write `scram: terminate`");
                self.report.error(&node.at, fault);
            }
            _ => {}
        }
    }

    fn mysql(&mut self) -> Option<MysqlKeys> {
        let owner = Protocol::Mysql;
        let protect_upstream =
            self.word(owner, "protect_upstream", "what is protected", &PROTECTED);
        let header = "a version of the PROXY header that is sent";
        let upstream_proxy_protocol =
            self.word(owner, "upstream_proxy_protocol", header, &PROXY_HEADERS);
        let compression = self.word(owner, "compression", "what becomes of it", &COMPRESSIONS);
        let node = self.fields.get("compression");
        if let (Some(Compression::Passthrough), Some(node)) = (compression, node) {
            let fault = Fault::new("compressed sessions are passed on unread")
                .label("they may become any user that the server lets them be")
                .hint("`protected_users` and `deny` hold at the login only");
            self.report.warn("W-UNREAD", &node.at, fault);
        }
        Some(MysqlKeys {
            protect_upstream: protect_upstream?,
            upstream_proxy_protocol: upstream_proxy_protocol?,
            compression: compression?,
        })
    }

    fn value<T>(
        &mut self,
        owner: Protocol,
        key: &str,
        absent: T,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let Some(node) = self.fields.get(key) else {
            return Some(absent);
        };
        if self.protocol.is_some_and(|protocol| protocol != owner) {
            let fault = Fault::new(format!("`{key}` is for {} only", owner.label()))
                .label("this listener speaks another protocol")
                .hint("remove it: doorward never ignores a setting");
            self.report.error(&node.at, fault);
            return None;
        }
        let text = scalar(node, "a single value", self.report)?;
        self.report.expect(&node.at, parse(text))
    }

    /// One of a few words.
    fn word<T: Copy + Default>(
        &mut self,
        owner: Protocol,
        key: &str,
        what: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        self.value(owner, key, T::default(), |text| word(text, what, words))
    }
}

fn listen(node: &Node, report: &mut Report) -> Vec<(SocketAddr, Where)> {
    let items = match &node.kind {
        Kind::Scalar(_) => std::slice::from_ref(node),
        Kind::List(items) if items.is_empty() => {
            report.error(&node.at, Fault::new("there is no address to listen on"));
            &[]
        }
        Kind::List(_) | Kind::Null | Kind::Map(_) => list(node, "addresses", report),
    };
    items
        .iter()
        .filter_map(|item| {
            let text = scalar(item, "an address and a port", report)?;
            Some((
                report.expect(&item.at, values::listen(text))?,
                item.at.clone(),
            ))
        })
        .collect()
}

/// No two sockets on one address.
fn collisions(doors: &[Door], report: &mut Report) {
    let mut seen: Vec<(SocketAddr, &Where)> = Vec::new();
    for (address, at) in doors.iter().flat_map(Door::sockets).take(MAX_SOCKETS) {
        let twin = seen.iter().find(|(other, _)| meet(*other, address));
        if let Some((other, first)) = twin {
            let fault = Fault::new(format!("{address} and {other} cannot both be listened on"))
                .label(format!("the other is on line {}", first.line()));
            report.error(at, fault);
        }
        seen.push((address, at));
    }
    if doors.iter().flat_map(Door::sockets).count() > MAX_SOCKETS
        && let Some(door) = doors.last()
    {
        let fault = Fault::new(format!("more than {MAX_SOCKETS} addresses to listen on"));
        report.error(&door.at, fault);
    }
}

/// No upstream that is one of our own doors.
fn loops(doors: &[Door], report: &mut Report) {
    for door in doors.iter().take(MAX_SOCKETS) {
        let UpstreamAddress::Tcp { host, port } = &door.listener.upstream else {
            continue;
        };
        let host = if host == "localhost" {
            "127.0.0.1"
        } else {
            host
        };
        let Ok(address) = host.parse() else { continue };
        let upstream = SocketAddr::new(address, *port);
        let own = doors.iter().flat_map(Door::sockets).take(MAX_SOCKETS);
        for (socket, at) in own.filter(|(socket, _)| meet(*socket, upstream)) {
            if address.is_loopback() || !socket.ip().is_unspecified() {
                let fault = Fault::new(format!("a listener would dial itself: the upstream {upstream} is {socket} of line {}", at.line()))
                    .hint(format!("listen on a concrete address, or on another port: {socket} cannot be bound beside a database on {upstream}"));
                report.error(&door.upstream_at, fault);
            } else {
                let fault = Fault::new(format!(
                    "if {address} is this machine, a listener dials itself: {socket} takes port {port} on every address"
                ))
                .hint("listen on a concrete address");
                report.warn("W-SAME-PORT", &door.upstream_at, fault);
            }
        }
    }
}

impl Door {
    fn sockets(&self) -> impl Iterator<Item = (SocketAddr, &Where)> {
        self.listener.listen.iter().copied().zip(&self.listen_at)
    }
}

/// Whether a socket on one address takes what is sent to the other. Port 0 is a free port, so it meets nobody.
pub(super) fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port()
        && one.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (a == b || a.is_unspecified() || b.is_unspecified())
}

fn is_remote(upstream: &UpstreamAddress) -> bool {
    match upstream {
        UpstreamAddress::Unix(_) => false,
        UpstreamAddress::Tcp { host, .. } => {
            host != "localhost"
                && !host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn protocol(text: &str) -> Result<Protocol, Fault> {
    word(text, "a protocol", &PROTOCOLS)
}

pub(super) const PROTOCOLS: [(&str, Protocol); 2] =
    [("postgres", Protocol::Postgres), ("mysql", Protocol::Mysql)];

pub(super) const IDENTIFIES: [(&str, Identify); 2] = [
    ("off", Identify::Off),
    ("application_name", Identify::ApplicationName),
];

pub(super) const SCRAMS: [(&str, Scram); 3] = [
    ("auto", Scram::Auto),
    ("relay", Scram::Relay),
    ("terminate", Scram::Terminate),
];

pub(super) const PROTECTED: [(&str, ProtectUpstream); 2] = [
    ("greeting", ProtectUpstream::Greeting),
    ("strict", ProtectUpstream::Strict),
];

pub(super) const PROXY_HEADERS: [(&str, UpstreamProxyProtocol); 2] = [
    ("off", UpstreamProxyProtocol::Off),
    ("v2", UpstreamProxyProtocol::V2),
];

pub(super) const COMPRESSIONS: [(&str, Compression); 2] = [
    ("masked", Compression::Masked),
    ("passthrough", Compression::Passthrough),
];

const MAX_LISTENERS: usize = 64;

/// Of all listeners together.
const MAX_SOCKETS: usize = 256;
