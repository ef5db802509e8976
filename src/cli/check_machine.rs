//! What `doorward check` finds out about the machine around the gateway. Floor 5.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use tokio::time::timeout;

use super::said::Said;
use crate::{
    config::{Listener, Protocol, Settings, UpstreamAddress},
    net::{Owners, Upstream, kernel},
    policy::{From, Rules},
    protocol::postgres,
    server::kept::not_ours,
};

/// The ways to a PostgreSQL on this machine that do not lead through the gateway. A MySQL is not asked: it counts who hangs up.
pub(super) async fn past_the_gateway(listener: &Listener, settings: &Settings) -> Option<Said> {
    if listener.protocol != Protocol::Postgres {
        return None;
    }
    let own: Vec<_> = own_addresses().into_iter().map(|(_, ip)| ip).collect();
    let mut open = Vec::new();
    for way in ways(listener, settings, &own) {
        if answers(way).await {
            open.push(way.to_string());
        }
    }
    let message = format!(
        "the database answers at {} too, past the gateway and its rules",
        open.join(", ")
    );
    (!open.is_empty()).then(|| {
        Said::warning("W-EXPOSED", message).hint(
            "in postgresql.conf: listen_addresses = 'localhost', and a restart; or a firewall before that port",
        )
    })
}

/// Where it would answer: at each address of the machine's but loopback, where no door of ours is.
fn ways(listener: &Listener, settings: &Settings, own: &[IpAddr]) -> Vec<SocketAddr> {
    let port = match &listener.upstream {
        UpstreamAddress::Unix(path) => {
            let name = path.file_name().and_then(|name| name.to_str());
            let port = name.and_then(|name| name.strip_prefix(".s.PGSQL."));
            port.map_or(Some(USUAL_PORT), |port| port.parse().ok())
        }
        UpstreamAddress::Tcp { host, port } => {
            let is_here = host.parse().map_or(host == "localhost", |ip: IpAddr| {
                ip.is_loopback() || own.contains(&ip)
            });
            is_here.then_some(*port)
        }
    };
    let Some(port) = port else {
        return Vec::new();
    };
    let doors = settings.listeners.iter().flat_map(|door| &door.listen);
    let doors: Vec<_> = doors.collect();
    let is_ours = |ip: &IpAddr| {
        let mut doors = doors.iter();
        doors.any(|door| door.port() == port && (door.ip() == *ip || door.ip().is_unspecified()))
    };
    let outward = own
        .iter()
        .filter(|ip| !ip.is_loopback() && !is_link_local(ip) && !is_ours(ip));
    outward
        .take(MOST_WAYS)
        .map(|ip| SocketAddr::new(*ip, port))
        .collect()
}

async fn answers(way: SocketAddr) -> bool {
    let asking = async {
        let upstream = Upstream::tcp(&way.ip().to_string(), way.port());
        let mut stream = upstream.visit(PATIENCE).await.ok()?;
        Some(postgres::is_postgres(&mut stream).await)
    };
    matches!(timeout(PATIENCE, asking).await, Ok(Some(true)))
}

/// Origins that name the address by which a container's bridge shows everybody.
pub(super) fn bridges(rules: &Rules) -> Vec<Said> {
    shown_by_bridges(rules, &own_addresses())
}

/// Files of the gateway's that somebody else could have written.
pub(super) fn kept(state_dir: &Path) -> Vec<Said> {
    let faults = not_ours(state_dir, &Owners::of_folder(state_dir));
    let faults = faults.iter().map(|fault| {
        Said::error(format!("the gateway's state cannot be believed: {fault}")).hint(
            "temporary origins and the last good copy in it are not used as long as that is so",
        )
    });
    faults.collect()
}

fn shown_by_bridges(rules: &Rules, own: &[(String, IpAddr)]) -> Vec<Said> {
    let bridges = own.iter().filter(|(name, _)| is_bridge(name));
    let bridges: Vec<_> = bridges.map(|(_, ip)| *ip).collect();
    let mut said = Vec::new();
    for origin in &rules.origins {
        let hit = origin.from.iter().find_map(|from| match from {
            From::Network(network) => {
                let here = bridges.iter().copied().find(|ip| network.contains(ip));
                // inside a container the bridge is not seen
                let usual = network.prefix_len() == 32 && network.addr() == DOCKER;
                here.or_else(|| usual.then_some(DOCKER))
            }
            From::Any | From::Host { .. } | From::Set(_) => None,
        });
        if let Some(bridge) = hit {
            let message = format!(
                "origin \"{}\" names {bridge}, the address of a container bridge: a published port may show every client of the world by it",
                origin.name
            );
            said.push(Said::warning("W-BRIDGE", message).hint(
                "run the gateway in the host's network (--network host), or before the container; a container as a client has an address of its own",
            ));
        }
    }
    said
}

fn is_bridge(interface: &str) -> bool {
    let names = ["docker", "br-", "podman", "cni-podman"];
    names.iter().any(|name| interface.starts_with(name))
}

const fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Empty where the kernel does not tell.
fn own_addresses() -> Vec<(String, IpAddr)> {
    kernel::addresses().unwrap_or_default()
}

/// The bridge of a Docker whose networks nobody has set.
const DOCKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 17, 0, 1));
const USUAL_PORT: u16 = 5432;
/// Addresses that are tried.
const MOST_WAYS: usize = 16;
/// For one of them: it is this machine.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Overrides},
        policy::samples::{origin, rules},
    };

    fn settings(listen: &str, upstream: &str) -> Settings {
        let text = format!(
            "version: 1\nlisteners:\n  - {{name: pg, protocol: postgres, listen: '{listen}', upstream: '{upstream}', upstream_tls: {{mode: off}}}}\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let loaded = config::load(file.path(), &Overrides::default());
        loaded.unwrap().settings
    }

    fn tried(listen: &str, upstream: &str) -> Vec<String> {
        let own = [
            "127.0.0.1",
            "192.0.2.10",
            "::1",
            "2001:db8::10",
            "fe80::1",
            "169.254.7.7",
        ];
        let own = own.map(|ip| ip.parse().unwrap());
        let mut settings = settings(listen, upstream);
        settings.listeners.truncate(1);
        let ways = ways(&settings.listeners[0], &settings, &own);
        ways.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_database_of_this_machine_is_sought_wherever_no_door_of_ours_is() {
        let both = ["192.0.2.10:5432", "[2001:db8::10]:5432"];
        assert_eq!(tried("127.0.0.1:6432", "127.0.0.1:5432"), both);
        assert_eq!(tried("127.0.0.1:6432", "localhost:5432"), both);
        assert_eq!(tried("127.0.0.1:6432", "/run/postgresql"), both);
        let other = tried("127.0.0.1:6432", "/run/.s.PGSQL.5433");
        assert_eq!(other, ["192.0.2.10:5433", "[2001:db8::10]:5433"]);
        assert_eq!(tried("192.0.2.10:5432", "127.0.0.1:5432"), both[1..]);
        let nothing: [&str; 0] = [];
        assert_eq!(
            tried("0.0.0.0:6432", "198.51.100.7:5432"),
            nothing,
            "not ours"
        );
        let exposed = tried("0.0.0.0:6432", "192.0.2.10:5432");
        assert_eq!(exposed, both);
    }

    #[test]
    fn a_state_directory_for_everybody_is_an_error() {
        use std::os::unix::fs::PermissionsExt;

        use crate::config::Severity;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("temporary.json"), "{}").unwrap();
        assert_eq!(kept(folder.path()), []);
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let [said] = &kept(folder.path())[..] else {
            panic!("one thing is wrong");
        };
        let chmod = format!("chmod o-w {}", folder.path().display());
        assert!(said.message.ends_with(&chmod), "{said:?}");
        assert_eq!(said.severity, Severity::Error);
    }

    #[test]
    fn an_origin_that_names_a_containers_bridge_is_told() {
        let own = [
            ("lo", "127.0.0.1"),
            ("docker0", "172.18.0.1"),
            ("eth0", "192.0.2.10"),
        ];
        let own = own.map(|(name, ip)| (name.to_owned(), ip.parse().unwrap()));
        let origins = vec![
            origin("exact", &["172.17.0.1"]),
            origin("wide", &["10.0.0.1", "172.16.0.0/12"]),
            origin("container", &["172.17.0.2"]),
            origin("here", &["192.0.2.10"]),
        ];
        let said = shown_by_bridges(&rules(origins, Vec::new()), &own);
        let told: Vec<_> = said
            .iter()
            .map(|said| said.message.split(',').next().unwrap())
            .collect();
        assert_eq!(
            told,
            [
                "origin \"exact\" names 172.17.0.1",
                "origin \"wide\" names 172.18.0.1"
            ]
        );
    }
}
