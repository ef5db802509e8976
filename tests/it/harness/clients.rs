//! Real clients: psql, the Python and the Node drivers. Each is told where to go by the same [`Login`].

use std::{path::PathBuf, process::Command};

use super::{
    Authority, Ended, drivers, postgres,
    process::{Running, of_tree},
};

/// Where a client goes and as whom. TLS is verified in full unless a test says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) password: String,
    pub(crate) sslmode: &'static str,
    pub(crate) root: PathBuf,
    /// Further settings as libpq's environment names them.
    pub(crate) more: Vec<(&'static str, String)>,
}

impl Login {
    pub(crate) fn new(port: u16, user: &str, database: &str) -> Self {
        Self {
            port,
            user: user.to_owned(),
            database: database.to_owned(),
            password: "secret".to_owned(),
            sslmode: "verify-full",
            root: Authority::shared().root(),
            more: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn sslmode(mut self, mode: &'static str) -> Self {
        self.sslmode = mode;
        self
    }

    #[must_use]
    pub(crate) fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    /// A further setting of libpq's environment, such as `PGCHANNELBINDING`.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.more.push((name, value.to_owned()));
        self
    }
}

/// Who tells a client by its environment where to go.
pub(crate) trait Environ {
    fn environ<'a>(&self, command: &'a mut Command) -> &'a mut Command;
}

impl Environ for Login {
    /// libpq's own environment, which psycopg and node-postgres read too.
    fn environ<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("PGHOST", "localhost")
            .env("PGHOSTADDR", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGDATABASE", &self.database)
            .env("PGPASSWORD", &self.password)
            .env("PGSSLMODE", self.sslmode)
            .env("PGSSLROOTCERT", &self.root)
            .env("PGCONNECT_TIMEOUT", "30")
            .env("HOME", "/nonexistent")
            .envs(self.more.iter().map(|(name, value)| (*name, value)))
    }
}

/// `psql -c SQL`.
#[track_caller]
pub(crate) fn psql(login: &Login, sql: &str) -> Ended {
    psql_started(login, sql).end()
}

pub(crate) fn psql_started(login: &Login, sql: &str) -> Running {
    psql_by(Command::new("psql"), login, sql)
}

/// The same by the newest psql and libpq, of the tree.
#[track_caller]
pub(crate) fn newest_psql(login: &Login, sql: &str) -> Ended {
    let tree = postgres::tree();
    psql_by(of_tree(&tree, "usr/lib/postgresql/18/bin/psql"), login, sql).end()
}

fn psql_by(mut command: Command, login: &Login, sql: &str) -> Running {
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]);
    Running::start(login.environ(&mut command))
}

/// A script for the Python of `tests/setup`; `os.environ` holds the login.
#[track_caller]
pub(crate) fn python(login: &impl Environ, script: &str) -> Ended {
    python_started(login, script).end()
}

pub(crate) fn python_started(login: &impl Environ, script: &str) -> Running {
    let mut command = Command::new(drivers("python").join("bin/python"));
    command.args(["-c", script]);
    Running::start(login.environ(&mut command))
}

/// A script for Node; `process.env` holds the login.
#[track_caller]
pub(crate) fn node(login: &impl Environ, script: &str) -> Ended {
    let mut command = Command::new("node");
    command
        .args(["-e", script])
        .env("NODE_PATH", drivers("node").join("node_modules"));
    Running::start(login.environ(&mut command)).end()
}

/// A script for Debian's Ruby; `ENV` holds the login.
#[track_caller]
pub(crate) fn ruby(login: &impl Environ, script: &str) -> Ended {
    let mut command = Command::new("ruby");
    command.args(["-e", script]);
    Running::start(login.environ(&mut command)).end()
}
