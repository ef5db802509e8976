//! Real clients of `MySQL` and `MariaDB`: the command lines of both, and what the drivers are told. Each goes by the same
//! [`Account`].

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Authority, Ended, Kind,
    clients::Environ,
    process::{self, Running},
};

/// Where a client goes and as whom. TLS is verified in full unless a test says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// Empty: none.
    pub(crate) database: String,
    pub(crate) password: String,
    pub(crate) tls: Tls,
    pub(crate) root: PathBuf,
    /// Further words for a command line.
    pub(crate) more: Vec<String>,
}

/// What a client does about TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tls {
    Off,
    /// Chain and name are verified.
    Verified,
    /// Nothing is said: the command line does what it does by itself. Drivers do without TLS.
    Unsaid,
}

impl Account {
    pub(crate) fn new(port: u16, user: &str, database: &str) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port,
            user: user.to_owned(),
            database: database.to_owned(),
            password: "secret".to_owned(),
            tls: Tls::Verified,
            root: Authority::shared().root(),
            more: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    #[must_use]
    pub(crate) fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    #[must_use]
    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    #[must_use]
    pub(crate) fn with(mut self, words: &[&str]) -> Self {
        self.more.extend(words.iter().copied().map(str::to_owned));
        self
    }

    /// What every command line understands.
    fn arguments<'a>(&self, command: &'a mut Command, sql: &str) -> &'a mut Command {
        // the password is one of a throw-away server; a file of it would prove nothing
        command
            .args(["--protocol=tcp", "--batch", "--skip-column-names"])
            .args(["--connect-timeout=30", "--default-character-set=utf8mb4"])
            .arg(format!("--host={}", self.host))
            .arg(format!("--port={}", self.port))
            .arg(format!("--user={}", self.user))
            .arg(format!("--password={}", self.password))
            .arg(format!("--execute={sql}"))
            .args(&self.more);
        if !self.database.is_empty() {
            command.arg(format!("--database={}", self.database));
        }
        command
    }

    fn mariadb(&self, command: &mut Command, sql: &str) -> Running {
        self.arguments(command, sql);
        match self.tls {
            Tls::Off => command.arg("--skip-ssl"),
            Tls::Verified => command
                .arg(format!("--ssl-ca={}", self.root.display()))
                .arg("--ssl-verify-server-cert"),
            Tls::Unsaid => command,
        };
        Running::start(command)
    }
}

impl Environ for Account {
    /// `DB_CA` is there where the certificate is to be verified.
    fn environ<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("DB_HOST", &self.host)
            .env("DB_PORT", self.port.to_string())
            .env("DB_USER", &self.user)
            .env("DB_NAME", &self.database)
            .env("DB_PASSWORD", &self.password)
            .env("HOME", "/nonexistent");
        if self.tls == Tls::Verified {
            command.env("DB_CA", &self.root);
        }
        command
    }
}

/// `mysql --execute=SQL`, Oracle's own.
#[track_caller]
pub(crate) fn mysql(account: &Account, sql: &str) -> Ended {
    mysql_started(account, sql).end()
}

pub(crate) fn mysql_started(account: &Account, sql: &str) -> Running {
    let mut command = in_tree(Kind::Oracle, "mysql");
    account
        .arguments(&mut command, sql)
        .arg("--get-server-public-key");
    match account.tls {
        Tls::Off => command.arg("--ssl-mode=DISABLED"),
        Tls::Verified => command
            .arg("--ssl-mode=VERIFY_IDENTITY")
            .arg(format!("--ssl-ca={}", account.root.display())),
        Tls::Unsaid => &mut command,
    };
    Running::start(&mut command)
}

/// `mariadb --execute=SQL`, Debian's.
#[track_caller]
pub(crate) fn mariadb(account: &Account, sql: &str) -> Ended {
    mariadb_started(account, sql).end()
}

pub(crate) fn mariadb_started(account: &Account, sql: &str) -> Running {
    account.mariadb(Command::new("mariadb").arg("--no-defaults"), sql)
}

/// The newest `mariadb`, which verifies a certificate unless told not to, by the password if by nothing else.
#[track_caller]
pub(crate) fn newest_mariadb(account: &Account, sql: &str) -> Ended {
    account
        .mariadb(&mut in_tree(Kind::Newest, "mariadb"), sql)
        .end()
}

/// A script for PHP; `getenv` gives the account.
#[track_caller]
pub(crate) fn php(account: &Account, script: &str) -> Ended {
    let mut command = Command::new("php");
    command.args(["-d", "error_reporting=-1", "-r", script]);
    Running::start(account.environ(&mut command)).end()
}

/// A client of a tree, with its plugins.
pub(crate) fn in_tree(kind: Kind, program: &str) -> Command {
    let root = kind.root();
    let plugins = match kind {
        Kind::Debian | Kind::Newest => process::libraries(&root).join("libmariadb3/plugin"),
        Kind::Oracle => root.join("usr/lib/mysql/plugin"),
    };
    let mut command = process::of_tree(&root, Path::new("usr/bin").join(program));
    command
        .arg("--no-defaults")
        .arg(format!("--plugin-dir={}", plugins.display()));
    command
}
