//! Real PostgreSQL servers, made by `tests/throwaway-postgres`. One of each release is shared by the whole test process.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    thread,
};

use super::{Authority, Ended, cache, drivers, free_port, project, run};

/// Which server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Release {
    /// As Debian has it, on this very machine.
    Debian,
    /// The newest there is, in the tree of `tests/setup`: protocol 3.2, direct TLS.
    Newest,
    /// A newest one from a Python package, built without TLS: it says so when asked.
    WithoutTls,
}

impl Release {
    /// Those that speak TLS; without the tree, by the word of whoever runs the tests, only the first.
    fn all() -> &'static [Self] {
        const ALL: [Release; 2] = [Release::Debian, Release::Newest];
        if std::env::var_os("DOORWARD_SKIP_NEWEST_POSTGRESQL").is_none() {
            return &ALL;
        }
        eprintln!("NOT TRIED with the newest PostgreSQL: DOORWARD_SKIP_NEWEST_POSTGRESQL is set");
        &ALL[..1]
    }

    /// What tells the script which server it shall be.
    fn environment(self) -> Option<(&'static str, PathBuf)> {
        match self {
            Self::Debian => None,
            Self::Newest => Some(("POSTGRES_TREE", tree())),
            Self::WithoutTls => {
                let mut libraries = fs::read_dir(drivers("python").join("lib")).unwrap();
                let library = libraries.next().unwrap().unwrap().path();
                Some(("POSTGRES_WHEEL", library.join("site-packages")))
            }
        }
    }
}

/// The tree with the newest server and its clients.
pub(crate) fn tree() -> PathBuf {
    let tree = cache("trees").join("postgresql");
    assert!(
        tree.join("made-from").exists(),
        "no postgresql in {}: run tests/setup first, or set DOORWARD_SKIP_NEWEST_POSTGRESQL=1 to do without",
        tree.display()
    );
    tree
}

/// Who must prove what. `trusted` is let in without a challenge, as a careless `pg_hba.conf` does.
const HBA: &str = "\
local all         postgres              trust
local all         all                   scram-sha-256
host  all         trusted  127.0.0.1/32 trust
host  all         by_md5   127.0.0.1/32 md5
host  all         by_text  127.0.0.1/32 password
host  replication all      127.0.0.1/32 scram-sha-256
";

/// Who must come by TLS, and one who must show a certificate of the tests' authority in his name.
const HBA_TLS: &str = "\
hostssl   all tls_only       127.0.0.1/32 scram-sha-256
hostssl   all by_certificate 127.0.0.1/32 cert
hostnossl all tls_only,by_certificate 127.0.0.1/32 reject
";

const HBA_REST: &str = "host  all         all      127.0.0.1/32 scram-sha-256\n";

/// Everybody's password is `secret`, the superuser's `super`.
const ROLES: &str = "\
ALTER ROLE postgres PASSWORD 'super';
CREATE ROLE app LOGIN PASSWORD 'secret';
CREATE ROLE other LOGIN PASSWORD 'secret';
CREATE ROLE trusted LOGIN PASSWORD 'secret';
CREATE ROLE by_text LOGIN PASSWORD 'secret';
CREATE ROLE tls_only LOGIN PASSWORD 'secret';
CREATE ROLE by_certificate LOGIN;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'secret';
SET client_min_messages = 'error';
SET password_encryption = 'md5';
CREATE ROLE by_md5 LOGIN PASSWORD 'secret';
CREATE DATABASE shop;
CREATE DATABASE hr;
";

pub(crate) struct Postgres {
    pub(crate) release: Release,
    pub(crate) port: u16,
    folder: PathBuf,
    guard: Child,
    /// The guard ends the server when this closes: when the test process ends, however it ends.
    _lifeline: ChildStdin,
}

impl Postgres {
    /// Debian's server, for the whole test process.
    pub(crate) fn shared() -> &'static Self {
        Self::shared_of(Release::Debian)
    }

    /// The newest server, for the whole test process, unless whoever runs the tests does without it.
    pub(crate) fn newest() -> Option<&'static Self> {
        let has = Release::all().contains(&Release::Newest);
        has.then(|| Self::shared_of(Release::Newest))
    }

    /// A server that answers no to a request for TLS, for the whole test process.
    pub(crate) fn without_tls() -> &'static Self {
        Self::shared_of(Release::WithoutTls)
    }

    /// The shared servers of every release that speaks TLS, started side by side.
    pub(crate) fn all() -> Vec<&'static Self> {
        thread::scope(|scope| {
            let start = |release: &Release| {
                let release = *release;
                scope.spawn(move || Self::shared_of(release))
            };
            let starting: Vec<_> = Release::all().iter().map(start).collect();
            starting
                .into_iter()
                .map(|server| server.join().unwrap())
                .collect()
        })
    }

    fn shared_of(release: Release) -> &'static Self {
        static SHARED: [OnceLock<Postgres>; 3] = [const { OnceLock::new() }; 3];
        SHARED[release as usize]
            .get_or_init(|| Self::start_of(release, &["max_connections=300", "wal_level=logical"]))
    }

    /// A server of one test's own, to be mistreated.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_of(Release::Debian, settings)
    }

    /// The same, of this release.
    pub(crate) fn start_of(release: Release, settings: &[&str]) -> Self {
        let papers = tempfile::Builder::new()
            .prefix("doorward-pg-")
            .tempdir()
            .unwrap();
        let folder = papers.path().with_extension("server");
        let [hba, sql, shown] = ["hba", "sql", "shown"].map(|name| papers.path().join(name));
        let speaks_tls = release != Release::WithoutTls;
        let tls = if speaks_tls { HBA_TLS } else { "" };
        fs::write(&hba, [HBA, tls, HBA_REST].concat()).unwrap();
        fs::write(&sql, ROLES).unwrap();
        fs::create_dir(&shown).unwrap();
        Authority::shared().issue(&shown, "server");
        fs::copy(Authority::shared().root(), shown.join("ca.crt")).unwrap();
        let inside = folder.join("papers").display().to_string();
        let tls = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={inside}/server.crt"),
            format!("ssl_key_file={inside}/server.key"),
            format!("ssl_ca_file={inside}/ca.crt"),
        ];
        let port = free_port();
        let mut guard = Command::new(project("tests/throwaway-postgres"))
            .arg(&folder)
            .arg(port.to_string())
            .args([&hba, &sql])
            .args(tls.iter().filter(|_setting| speaks_tls))
            .args(settings)
            .env("POSTGRES_PAPERS", &shown)
            .envs(release.environment())
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
        assert_eq!(said, "ready\n", "{release:?} did not start");
        Self {
            release,
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

    /// The certificate that it shows, and the key to it.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        let papers = self.folder.join("papers");
        (papers.join("server.crt"), papers.join("server.key"))
    }

    /// Runs SQL as the superuser, past the gateway.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.psql(sql).worked().to_owned()
    }

    /// The same, in another database than the superuser's own.
    #[track_caller]
    pub(crate) fn sql_in(&self, database: &str, sql: &str) -> String {
        self.psql_in(database, sql).worked().to_owned()
    }

    pub(crate) fn psql(&self, sql: &str) -> Ended {
        self.psql_in("postgres", sql)
    }

    fn psql_in(&self, database: &str, sql: &str) -> Ended {
        let mut command = Command::new("psql");
        run(command
            .args(["-X", "-A", "-t", "-q", "-U", "postgres", "-d", database])
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
