//! A real PostgreSQL server, made by `tests/throwaway-postgres`. One is shared by the whole test process.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use super::{Ended, drivers, free_port, project, run};

/// Who must prove what. `trusted` is let in without a challenge, as a careless `pg_hba.conf` does.
const HBA: &str = "\
local all         postgres              trust
local all         all                   scram-sha-256
host  all         trusted  127.0.0.1/32 trust
host  all         by_md5   127.0.0.1/32 md5
host  all         by_text  127.0.0.1/32 password
host  replication all      127.0.0.1/32 scram-sha-256
host  all         all      127.0.0.1/32 scram-sha-256
";

/// Everybody's password is `secret`, the superuser's `super`.
const ROLES: &str = "\
ALTER ROLE postgres PASSWORD 'super';
CREATE ROLE app LOGIN PASSWORD 'secret';
CREATE ROLE other LOGIN PASSWORD 'secret';
CREATE ROLE trusted LOGIN PASSWORD 'secret';
CREATE ROLE by_text LOGIN PASSWORD 'secret';
CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'secret';
SET password_encryption = 'md5';
CREATE ROLE by_md5 LOGIN PASSWORD 'secret';
CREATE DATABASE shop;
CREATE DATABASE hr;
";

pub(crate) struct Postgres {
    pub(crate) port: u16,
    folder: PathBuf,
    guard: Child,
    /// The guard ends the server when this closes: when the test process ends, however it ends.
    _lifeline: ChildStdin,
}

impl Postgres {
    /// The server of this test process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&["max_connections=300", "wal_level=logical"]))
    }

    /// The newest PostgreSQL there is, from a Python package: protocol 3.2, but built without TLS.
    pub(crate) fn newest() -> &'static Self {
        static NEWEST: OnceLock<Postgres> = OnceLock::new();
        NEWEST.get_or_init(|| {
            let mut libraries = fs::read_dir(drivers("python").join("lib")).unwrap();
            let packages = libraries
                .next()
                .unwrap()
                .unwrap()
                .path()
                .join("site-packages");
            Self::start_with(&[], &[("POSTGRES_WHEEL", packages)])
        })
    }

    /// A server of one test's own, to be mistreated.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_with(settings, &[])
    }

    fn start_with(settings: &[&str], environment: &[(&str, PathBuf)]) -> Self {
        let papers = tempfile::Builder::new()
            .prefix("doorward-pg-")
            .tempdir()
            .unwrap();
        let (hba, sql) = (papers.path().join("hba"), papers.path().join("sql"));
        fs::write(&hba, HBA).unwrap();
        fs::write(&sql, ROLES).unwrap();
        let folder = papers.path().with_extension("server");
        let port = free_port();
        let mut guard = Command::new(project("tests/throwaway-postgres"))
            .arg(&folder)
            .arg(port.to_string())
            .args([&hba, &sql])
            .args(settings)
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // a group of its own: Ctrl-C ends the tests, and their end the server
            .process_group(0)
            .spawn()
            .unwrap();
        let lifeline = guard.stdin.take().unwrap();
        let mut said = String::new();
        BufReader::new(guard.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert_eq!(said, "ready\n", "PostgreSQL did not start");
        Self {
            port,
            folder,
            guard,
            _lifeline: lifeline,
        }
    }

    /// As a listener's `upstream:`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The folder of its unix socket.
    pub(crate) fn socket_folder(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Runs SQL as the superuser, past the gateway.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.psql(sql).worked().to_owned()
    }

    pub(crate) fn psql(&self, sql: &str) -> Ended {
        let mut command = Command::new("psql");
        run(command
            .args(["-X", "-A", "-t", "-q", "-U", "postgres", "-d", "postgres"])
            .args(["-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg("-h")
            .arg(self.socket_folder())
            .args(["-p", &self.port.to_string()]))
    }

    /// Gives the server another `pg_hba.conf`; what it reads is not in force until it reloads.
    pub(crate) fn write_hba(&self, text: &str) {
        fs::write(self.folder.join("data/pg_hba.conf"), text).unwrap();
    }

    /// The process id of the postmaster.
    pub(crate) fn process(&self) -> u32 {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        super::process::signal("TERM", self.guard.id());
        self.guard.wait().ok();
    }
}
