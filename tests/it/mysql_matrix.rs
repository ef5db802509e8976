//! Every way of proving a password, over every pair of ways to client and server, by clients that real people use: one table.
//!
//! Each cell is up to three logins at a real server: one when the server has forgotten whom it knows (`cold`), one when it knows
//! (`warm`), and one by `COM_CHANGE_USER` in another user's session when it has forgotten again (`other`).

use std::{fmt::Write, thread};

use doorward::net::Fingerprint;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::harness::{
    Account, Authority, Ended, Gateway, Kind, Mysql, free_port,
    gateway::Plan,
    mysql_clients::{self, Tls},
    node,
};

/// What got in, for each server, password, client: behind TLS before the line, in clear behind it; and there before a server by
/// TCP in clear, by TLS with its pin, by TLS with its name, by its unix socket. A login that fails shows its error number.
const TABLE: &str = "\
Debian  native        mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Debian  native        node mariadb  cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Debian  native        node mysql2   cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Debian  ed25519       mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Debian  ed25519       node mariadb  cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Debian  pam           mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Debian  pam           mysql clear   cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Debian  pam           node mariadb  cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Oracle  caching_sha2  mysql         cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Oracle  caching_sha2  mysql sha256  cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Oracle  caching_sha2  mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Oracle  caching_sha2  node mariadb  cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Oracle  caching_sha2  node mysql2   cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Oracle  sha256        mysql         cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Oracle  sha256        mysql sha256  cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Oracle  sha256        mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Oracle  sha256        node mysql2   cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Newest  native        mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Newest  native        node mariadb  cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Newest  ed25519       mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Newest  ed25519       node mariadb  cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Newest  parsec        mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Newest  caching_sha2  mysql         cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Newest  caching_sha2  mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Newest  caching_sha2  node mysql2   cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
Newest  pam           mariadb       cold warm        cold warm        cold warm        cold warm        | cold warm        cold warm        cold warm        cold warm
Newest  pam           node mariadb  cold warm other  cold warm other  cold warm other  cold warm other  | cold warm other  cold warm other  cold warm other  cold warm other
";

#[test]
fn every_password_gets_through_every_pair_of_ways() {
    let servers = Mysql::all();
    let gateway = gateway(&servers);
    let filled: Vec<String> = thread::scope(|scope| {
        let ports = gateway.ports.iter().copied();
        let start = |(server, ports): (&&'static Mysql, _)| {
            let server = *server;
            scope.spawn(move || fill(server, ports))
        };
        let filling: Vec<_> = servers.iter().zip(ports).map(start).collect();
        filling.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let kinds: Vec<String> = servers.iter().map(|it| format!("{:?}", it.kind)).collect();
    let tried = |row: &&str| kinds.iter().any(|kind| row.starts_with(kind));
    let expected: Vec<&str> = TABLE.lines().filter(tried).collect();
    let filled = filled.concat();
    assert_eq!(filled.lines().collect::<Vec<_>>(), expected, "\n{filled}");
}

/// One gateway, and its ports before each server by each of [`upstreams`].
struct Doors {
    _gateway: Gateway,
    ports: Vec<[u16; 4]>,
}

fn gateway(servers: &[&Mysql]) -> Doors {
    let (mut listeners, mut names, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for server in servers {
        let here = [(); 4].map(|()| free_port());
        for ((way, keys), port) in upstreams(server).iter().zip(here) {
            let kind = format!("{:?}", server.kind).to_lowercase();
            names.push(format!("{kind}-{way}"));
            listeners.push(format!(
                "name: {kind}-{way}, protocol: mysql, listen: \"127.0.0.1:{port}\", {keys}"
            ));
        }
        ports.push(here);
    }
    let policy = format!(
        "require: {{tls: false}}\n\
         origins:\n  - {{name: all, listeners: [{}], from: [127.0.0.1], databases: [shop]}}\n",
        names.join(", ")
    );
    Doors {
        _gateway: Plan::listening(ports[0][0], &listeners).start(&policy),
        ports,
    }
}

/// The four ways to a server: their names, and the keys of a listener.
fn upstreams(server: &Mysql) -> [(&'static str, String); 4] {
    let tcp = server.address();
    let certificate = CertificateDer::from_pem_file(server.certificate().0).unwrap();
    let pin = Fingerprint::of(&certificate);
    let ca = Authority::shared().root();
    let folder = server.socket_folder();
    [
        ("tcp", format!("upstream: \"{tcp}\"")),
        (
            "pin",
            format!("upstream: \"{tcp}\", upstream_tls: {{mode: pin, pin: \"sha256:{pin}\"}}"),
        ),
        (
            "name",
            format!(
                "upstream: \"{tcp}\", upstream_tls: {{mode: verify-full, name: localhost, ca: {}}}",
                ca.display()
            ),
        ),
        ("unix", format!("upstream: {}", folder.display())),
    ]
}

/// The rows of the table that begin with this server's kind, filled by trying.
fn fill(server: &Mysql, ports: [u16; 4]) -> String {
    let mut filled = String::new();
    let rows = TABLE.lines().map(|row| row.split("  ").map(str::trim));
    for mut row in rows.map(|row| row.filter(|cell| !cell.is_empty())) {
        let [kind, plugin, client] = [(); 3].map(|()| row.next().unwrap());
        if kind != format!("{:?}", server.kind) {
            continue;
        }
        let user = format!("by_{plugin}");
        let command = |client: fn(&Account, &str) -> Ended, more: &[&str]| {
            by_command(server, &user, ports, client, more)
        };
        let cells = match client {
            "mysql" => command(mysql_clients::mysql, &[]),
            "mysql sha256" => command(mysql_clients::mysql, &["--default-auth=sha256_password"]),
            "mysql clear" => command(
                mysql_clients::mysql,
                &[
                    "--enable-cleartext-plugin",
                    "--default-auth=mysql_clear_password",
                ],
            ),
            "mariadb" => command(mysql_clients::newest_mariadb, &[]),
            driver => by_node(server, &user, ports, driver.strip_prefix("node ").unwrap()),
        };
        write!(filled, "{kind:8}{plugin:14}{client:14}").unwrap();
        for (at, cell) in cells.iter().enumerate() {
            let rule = if at == ports.len() { "| " } else { "" };
            write!(filled, "{rule}{cell:17}").unwrap();
        }
        filled = filled.trim_end().to_owned() + "\n";
    }
    filled
}

const WHO: &str = "select concat(substring_index(user(), '@', 1), '@', coalesce(database(), '-'))";

fn by_command(
    server: &Mysql,
    user: &str,
    ports: [u16; 4],
    client: impl Fn(&Account, &str) -> Ended,
    more: &[&str],
) -> Vec<String> {
    let mut cells = Vec::new();
    for tls in [Tls::Verified, Tls::Off] {
        for port in ports {
            server.forget_passwords();
            let account = Account::new(port, user, "shop").tls(tls).with(more);
            let logins = ["cold", "warm"].map(|login| {
                let ended = client(&account, WHO);
                if ended.stdout.trim_end() == format!("{user}@shop") {
                    return login.to_owned();
                }
                let code = ended.stderr.split("ERROR ").nth(1);
                let code = code.and_then(|it| it.split(' ').next());
                code.unwrap_or(&ended.stderr).to_owned()
            });
            cells.push(logins.join(" "));
        }
    }
    cells
}

/// The same by a driver of Node, and a change of user.
fn by_node(server: &Mysql, user: &str, ports: [u16; 4], driver: &str) -> Vec<String> {
    let account = Account::new(0, user, "shop");
    let socket = server.socket_folder().join("mysqld.sock");
    let logins = match (driver, server.kind) {
        // it says that MySQL's own change of user is broken, and does without
        ("mariadb", Kind::Oracle) => "[['cold', e.DB_USER], ['warm', e.DB_USER]]",
        _ => "[['cold', e.DB_USER], ['warm', e.DB_USER], ['other', 'other', become]]",
    };
    let script = NODE
        .replace("$LOGINS", logins)
        .replace("$DRIVER", driver)
        .replace("$PORTS", &format!("{ports:?}"))
        .replace("$SOCKET", socket.to_str().unwrap());
    let ended = node(&account, &script);
    ended.worked().lines().map(str::to_owned).collect()
}

/// Prints a line for each cell.
const NODE: &str = r#"
const { createConnection } = require('$DRIVER/promise'), e = process.env, ca = require('fs').readFileSync(e.DB_CA);
const WHO = "select concat(substring_index(user(), '@', 1), '@', coalesce(database(), '-')) as who";
const who = async c => [await c.query(WHO)].flat(2)[0].who;
(async () => {
  const root = await createConnection({socketPath: '$SOCKET', user: 'root'});
  for (const ssl of [{ca}, undefined]) for (const port of $PORTS) {
    const to = {host: '127.0.0.1', port, password: 'secret', database: 'shop', ssl, allowPublicKeyRetrieval: true};
    const become = c => root.query('FLUSH PRIVILEGES').then(() => c.changeUser({user: e.DB_USER, password: 'secret', database: 'shop'}));
    await root.query('FLUSH PRIVILEGES');
    const cell = [];
    for (const [at, user, next] of $LOGINS) {
      let c;
      try {
        c = await createConnection({...to, user});
        if (next) await next(c);
        if (await who(c) !== e.DB_USER + '@shop') throw 'somebody else';
        cell.push(at);
      } catch (error) { cell.push(error.errno || error) }
      finally { if (c) c.destroy() }
    }
    console.log(cell.join(' '));
  }
  root.destroy();
})()
"#;
