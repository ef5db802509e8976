//! What an application's configuration has to say so that it reaches the gateway and checks whom it reached. Floor 5: pure.

use clap::ValueEnum;

use crate::config::Protocol;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// PostgreSQL's psql, and everything on libpq
    Psql,
    /// Oracle's mysql
    Mysql,
    /// MariaDB's mariadb
    Mariadb,
    Django,
    Rails,
    /// Node with pg or mysql2
    Express,
    Pymysql,
}

impl Client {
    /// The one protocol that it speaks; `None` for one of either.
    pub(super) const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Psql => Some(Protocol::Postgres),
            Self::Mysql | Self::Mariadb | Self::Pymysql => Some(Protocol::Mysql),
            Self::Django | Self::Rails | Self::Express => None,
        }
    }
}

/// Where a client goes, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: String,
    /// The CA's file on the client's machine.
    pub(super) ca: String,
    /// The client's own certificate and its key, where the origin asks for one.
    pub(super) identity: Option<(String, String)>,
}

impl Target {
    /// The lines to write.
    pub(super) fn lines(&self, client: Client) -> Vec<String> {
        use Protocol::{Mysql, Postgres};
        match (client, self.protocol) {
            (Client::Psql, _) => vec![format!("psql {}", shell(&self.conninfo()))],
            (Client::Mysql, _) => vec![self.command("mysql", "--ssl-mode=VERIFY_IDENTITY")],
            (Client::Mariadb, _) => vec![self.command("mariadb", "--ssl-verify-server-cert")],
            (Client::Pymysql, _) => self.pymysql(),
            (Client::Django, Postgres) => self.django_postgres(),
            (Client::Django, Mysql) => self.django_mysql(),
            (Client::Rails, Postgres) => {
                self.rails("postgresql", "sslmode: verify-full", "sslrootcert")
            }
            (Client::Rails, Mysql) => self.rails("mysql2", "ssl_mode: verify_identity", "sslca"),
            (Client::Express, Postgres) => vec![format!("DATABASE_URL={}", shell(&self.url()))],
            (Client::Express, Mysql) => self.mysql2(),
        }
    }

    fn conninfo(&self) -> String {
        let Self {
            host,
            port,
            user,
            database,
            ca,
            ..
        } = self;
        let mut text = format!(
            "host={} port={port} user={} dbname={} sslmode=verify-full sslrootcert={}",
            conninfo_value(host),
            conninfo_value(user),
            conninfo_value(database),
            conninfo_value(ca),
        );
        if let Some((certificate, key)) = &self.identity {
            let (certificate, key) = (conninfo_value(certificate), conninfo_value(key));
            text.extend([" sslcert=", &certificate, " sslkey=", &key]);
        }
        text
    }

    fn url(&self) -> String {
        let Self {
            host,
            port,
            user,
            database,
            ca,
            ..
        } = self;
        // brackets around an IPv6 address
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let (user, database) = (percent(user), percent(database));
        let mut url = format!(
            "postgres://{user}:PASSWORD@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={ca}"
        );
        if let Some((certificate, key)) = &self.identity {
            url.extend(["&sslcert=", certificate, "&sslkey=", key]);
        }
        url
    }

    fn command(&self, program: &str, check: &str) -> String {
        let Self {
            host,
            port,
            user,
            database,
            ca,
            ..
        } = self;
        let mut words = vec![
            program.to_owned(),
            format!("--host={host}"),
            format!("--port={port}"),
            format!("--user={user}"),
            "--password".to_owned(),
            check.to_owned(),
            format!("--ssl-ca={ca}"),
        ];
        if let Some((certificate, key)) = &self.identity {
            words.extend([
                format!("--ssl-cert={certificate}"),
                format!("--ssl-key={key}"),
            ]);
        }
        words.push(database.clone());
        let words: Vec<_> = words.iter().map(|word| shell(word)).collect();
        words.join(" ")
    }

    fn pymysql(&self) -> Vec<String> {
        let Self {
            host,
            port,
            user,
            database,
            ca,
            ..
        } = self;
        let mut lines = vec![
            "pymysql.connect(".to_owned(),
            format!(
                "    host={}, port={port}, user={}, password=\"...\", database={},",
                code(host),
                code(user),
                code(database)
            ),
            format!(
                "    ssl_ca={}, ssl_verify_cert=True, ssl_verify_identity=True,",
                code(ca)
            ),
        ];
        if let Some((certificate, key)) = &self.identity {
            lines.push(format!(
                "    ssl_cert={}, ssl_key={},",
                code(certificate),
                code(key)
            ));
        }
        lines.push(")".to_owned());
        lines
    }

    fn django_postgres(&self) -> Vec<String> {
        let mut options = vec![
            "\"sslmode\": \"verify-full\"".to_owned(),
            format!("\"sslrootcert\": {}", code(&self.ca)),
        ];
        if let Some((certificate, key)) = &self.identity {
            options.push(format!("\"sslcert\": {}", code(certificate)));
            options.push(format!("\"sslkey\": {}", code(key)));
        }
        self.django("postgresql", &options)
    }

    fn django_mysql(&self) -> Vec<String> {
        let mut files = vec![format!("\"ca\": {}", code(&self.ca))];
        if let Some((certificate, key)) = &self.identity {
            files.push(format!("\"cert\": {}", code(certificate)));
            files.push(format!("\"key\": {}", code(key)));
        }
        let options = [
            "\"ssl_mode\": \"VERIFY_IDENTITY\"".to_owned(),
            format!("\"ssl\": {{{}}}", files.join(", ")),
        ];
        self.django("mysql", &options)
    }

    fn django(&self, engine: &str, options: &[String]) -> Vec<String> {
        let Self {
            host,
            port,
            user,
            database,
            ..
        } = self;
        vec![
            "DATABASES = {\"default\": {".to_owned(),
            format!("    \"ENGINE\": \"django.db.backends.{engine}\","),
            format!("    \"HOST\": {}, \"PORT\": \"{port}\",", code(host)),
            format!(
                "    \"USER\": {}, \"PASSWORD\": \"...\", \"NAME\": {},",
                code(user),
                code(database)
            ),
            format!("    \"OPTIONS\": {{{}}},", options.join(", ")),
            "}}".to_owned(),
        ]
    }

    fn rails(&self, adapter: &str, check: &str, ca_key: &str) -> Vec<String> {
        let Self {
            host,
            port,
            user,
            database,
            ca,
            ..
        } = self;
        let mut lines = vec![
            "production:".to_owned(),
            format!("  adapter: {adapter}"),
            format!("  host: {}", code(host)),
            format!("  port: {port}"),
            format!("  username: {}", code(user)),
            "  password: <%= ENV[\"DATABASE_PASSWORD\"] %>".to_owned(),
            format!("  database: {}", code(database)),
            format!("  {check}"),
            format!("  {ca_key}: {}", code(ca)),
        ];
        if let Some((certificate, key)) = &self.identity {
            lines.push(format!("  sslcert: {}", code(certificate)));
            lines.push(format!("  sslkey: {}", code(key)));
        }
        lines
    }

    fn mysql2(&self) -> Vec<String> {
        let Self {
            host,
            port,
            user,
            database,
            ca,
            ..
        } = self;
        let file = |path: &str| format!("fs.readFileSync({})", code(path));
        let mut options = vec![format!("ca: {}", file(ca))];
        if let Some((certificate, key)) = &self.identity {
            options.push(format!("cert: {}", file(certificate)));
            options.push(format!("key: {}", file(key)));
        }
        options.push("verifyIdentity: true".to_owned());
        vec![
            "mysql.createPool({".to_owned(),
            format!(
                "  host: {}, port: {port}, user: {}, password: process.env.DATABASE_PASSWORD, database: {},",
                code(host),
                code(user),
                code(database)
            ),
            format!("  ssl: {{{}}},", options.join(", ")),
            "})".to_owned(),
        ]
    }
}

/// What goes wrong with this client, and does not look wrong.
pub(super) const fn traps(client: Client, protocol: Protocol) -> &'static [&'static str] {
    match (client, protocol) {
        (Client::Psql, _) => {
            &["`sslmode=require` encrypts and checks nothing: anybody in between may answer"]
        }
        (Client::Mysql, _) => {
            &["`--host=localhost` means the unix socket: give a name, or `--protocol=tcp`"]
        }
        (Client::Mariadb, _) => &[
            "`--host=localhost` means the unix socket: give a name, or `--protocol=tcp`",
            "to 127.0.0.1 it checks no certificate: try it by the name",
        ],
        (Client::Django, Protocol::Postgres) => &[
            "dj-database-url's `ssl_require=True` verifies nothing: say `sslmode=verify-full`",
            "workers that live long need `close_old_connections()` around each task",
        ],
        (Client::Django, Protocol::Mysql) => &[
            "without `ssl_mode` the host name is not checked",
            "workers that live long need `close_old_connections()` around each task",
        ],
        (Client::Rails, Protocol::Postgres) => &[
            "the default application name is `$0`: set `variables: {application_name: ...}` to tell apps apart in the log",
        ],
        (Client::Rails, Protocol::Mysql) => {
            &["old mysql2 gems, and new ones over MariaDB's client library, check no name"]
        }
        (Client::Express, Protocol::Postgres) => &[
            "`pool.on('error', ...)` is obligatory: an idle connection that ends would end the process",
            "`sslrootcert=system` fails: it is read as a file",
        ],
        (Client::Express, Protocol::Mysql) => {
            &["without `verifyIdentity` the host name is not checked"]
        }
        (Client::Pymysql, _) => &["without `ssl_verify_identity` the host name is not checked"],
    }
}

/// A string of Python, JavaScript, Ruby and YAML.
fn code(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value of libpq's keyword form.
fn conninfo_value(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// A word of a shell's command line.
fn shell(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if text.contains(['\'', '"', '\\', '$', '`', '!']) {
        format!("'{}'", text.replace('\'', "'\\''"))
    } else {
        format!("\"{text}\"")
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./:@=".contains(c))
}

/// As a part of a URL.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(format!("%{byte:02X}").chars());
        }
    }
    out
}
