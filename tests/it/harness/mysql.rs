//! Real MySQL and MariaDB servers, made by `tests/throwaway-mysql`. One of each kind is shared by the whole test process.

use std::{
    fmt::Write,
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    thread,
};

use super::{Authority, Ended, cache, free_port, project, run};

/// Which server. The first is the machine's own, the others live in the trees of `tests/setup`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// `MariaDB` as Debian has it.
    Debian,
    /// Oracle's own `MySQL`.
    Oracle,
    /// The newest `MariaDB`.
    Newest,
}

impl Kind {
    /// All kinds; without the trees, by the word of whoever runs the tests, only the first.
    pub(crate) fn all() -> &'static [Self] {
        const ALL: [Kind; 3] = [Kind::Debian, Kind::Oracle, Kind::Newest];
        if std::env::var_os("DOORWARD_SKIP_ORACLE_MYSQL").is_none() {
            return &ALL;
        }
        eprintln!(
            "NOT TRIED with Oracle's MySQL and the newest MariaDB: DOORWARD_SKIP_ORACLE_MYSQL is set"
        );
        &ALL[..1]
    }

    pub(crate) const fn is_mariadb(self) -> bool {
        !matches!(self, Self::Oracle)
    }

    /// Where its programs are.
    pub(crate) fn root(self) -> PathBuf {
        let name = match self {
            Self::Debian => return PathBuf::from("/"),
            Self::Oracle => "mysql",
            Self::Newest => "mariadb",
        };
        let tree = cache("trees").join(name);
        assert!(
            tree.join("made-from").exists(),
            "no {name} in {}: run tests/setup first, or set DOORWARD_SKIP_ORACLE_MYSQL=1 to do without",
            tree.display()
        );
        tree
    }

    /// The accounts beside those of [`ACCOUNTS`], each named after its plugin.
    const fn accounts(self) -> &'static str {
        match self {
            Self::Debian => MARIADB_ACCOUNTS,
            Self::Newest => NEWEST_ACCOUNTS,
            Self::Oracle => {
                "CREATE USER by_caching_sha2 IDENTIFIED WITH caching_sha2_password BY 'secret';\n\
                 CREATE USER by_sha256 IDENTIFIED WITH sha256_password BY 'secret';\n"
            }
        }
    }

    const fn settings(self) -> &'static [&'static str] {
        match self {
            // asks for a PAM password by mysql_clear_password, the other by dialog
            Self::Debian => &[
                "plugin-load-add=auth_ed25519",
                "plugin-load-add=auth_pam_v1",
                "pam-use-cleartext-plugin=ON",
            ],
            Self::Newest => &[
                "plugin-load-add=auth_ed25519",
                "plugin-load-add=auth_pam_v1",
                "plugin-load-add=auth_parsec",
                "plugin-load-add=auth_mysql_sha2",
                "loose-caching-sha2-password-auto-generate-rsa-keys=ON",
            ],
            Self::Oracle => &[],
        }
    }
}

/// Everybody's password is `secret`; `app` proves it by what the server does if nothing is said. `trusted` has none.
const ACCOUNTS: &str = "\
CREATE DATABASE shop CHARACTER SET utf8mb4;
CREATE DATABASE hr CHARACTER SET utf8mb4;
CREATE USER app IDENTIFIED BY 'secret';
CREATE USER other IDENTIFIED BY 'secret';
CREATE USER trusted;
CREATE USER tls_only IDENTIFIED BY 'secret' REQUIRE SSL;
CREATE USER x509_only IDENTIFIED BY 'secret' REQUIRE X509;
CREATE USER replicator IDENTIFIED BY 'secret';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO replicator;
";

const MARIADB_ACCOUNTS: &str = "\
CREATE USER by_native IDENTIFIED VIA mysql_native_password USING PASSWORD('secret');
CREATE USER by_ed25519 IDENTIFIED VIA ed25519 USING PASSWORD('secret');
CREATE USER by_pam IDENTIFIED VIA pam USING 'doorward';
";

const NEWEST_ACCOUNTS: &str = "\
CREATE USER by_native IDENTIFIED VIA mysql_native_password USING PASSWORD('secret');
CREATE USER by_ed25519 IDENTIFIED VIA ed25519 USING PASSWORD('secret');
CREATE USER by_pam IDENTIFIED VIA pam USING 'doorward';
CREATE USER by_parsec IDENTIFIED VIA parsec USING PASSWORD('secret');
CREATE USER by_caching_sha2 IDENTIFIED VIA caching_sha2_password USING PASSWORD('secret');
";

pub(crate) struct Mysql {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    folder: PathBuf,
    guard: Child,
    /// The guard ends the server when this closes: when the test process ends, however it ends.
    _lifeline: ChildStdin,
}

impl Mysql {
    /// The server of this kind of this test process.
    pub(crate) fn shared(kind: Kind) -> &'static Self {
        static SHARED: [OnceLock<Mysql>; 3] = [const { OnceLock::new() }; 3];
        SHARED[kind as usize].get_or_init(|| {
            let mut settings = vec!["max-connections=500", "log-bin=binlog", "server-id=1"];
            settings.extend(["local-infile=ON", "max-allowed-packet=256M"]);
            Self::start(kind, &settings)
        })
    }

    /// The shared servers of every kind, started side by side.
    pub(crate) fn all() -> Vec<&'static Self> {
        thread::scope(|scope| {
            let start = |kind: &Kind| {
                let kind = *kind;
                scope.spawn(move || Self::shared(kind))
            };
            let starting: Vec<_> = Kind::all().iter().map(start).collect();
            starting
                .into_iter()
                .map(|server| server.join().unwrap())
                .collect()
        })
    }

    /// A server of one test's own, to be mistreated.
    pub(crate) fn start(kind: Kind, settings: &[&str]) -> Self {
        Self::start_with(kind, settings, |_papers| {})
    }

    /// The same, once the test has seen to its papers: `server.crt` and `server.key`, `init.sql`, `hosts`.
    pub(crate) fn start_with(kind: Kind, settings: &[&str], edit: impl FnOnce(&Path)) -> Self {
        let papers = tempfile::Builder::new()
            .prefix("doorward-my-")
            .tempdir()
            .unwrap();
        let folder = papers.path().with_extension("server");
        let inside = folder.join("papers").display().to_string();
        write_papers(kind, papers.path(), &inside);
        edit(papers.path());
        let port = free_port();
        let mut guard = Command::new(project("tests/throwaway-mysql"))
            .arg(kind.root())
            .arg(&folder)
            .arg(port.to_string())
            .arg(papers.path())
            .arg(format!("ssl-cert={inside}/server.crt"))
            .arg(format!("ssl-key={inside}/server.key"))
            .arg(format!("ssl-ca={inside}/ca.crt"))
            .args(kind.settings())
            .args(settings)
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
        assert_eq!(said, "ready\n", "{kind:?} did not start");
        Self {
            kind,
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

    /// The folder of its unix socket, which is named `mysqld.sock`.
    pub(crate) fn socket_folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// The certificate that it shows, and the key to it.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        let papers = self.folder.join("papers");
        (papers.join("server.crt"), papers.join("server.key"))
    }

    /// Runs SQL as the superuser, past the gateway: the rows, columns parted by tabs.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.superuser(sql).worked().to_owned()
    }

    pub(crate) fn superuser(&self, sql: &str) -> Ended {
        let mut command = Command::new("mariadb");
        run(command
            .args([
                "--no-defaults",
                "--batch",
                "--skip-column-names",
                "--user=root",
            ])
            .arg("--socket")
            .arg(self.folder.join("mysqld.sock"))
            .args(["--execute", sql]))
    }

    /// Makes the server forget which passwords it has checked: the next login by `caching_sha2_password` is a full one.
    pub(crate) fn forget_passwords(&self) {
        self.sql("FLUSH PRIVILEGES");
    }

    /// The process id of the server.
    pub(crate) fn process(&self) -> u32 {
        let file = fs::read_to_string(self.folder.join("mysqld.pid")).unwrap();
        file.trim().parse().unwrap()
    }
}

impl Drop for Mysql {
    fn drop(&mut self) {
        super::process::signal("TERM", self.guard.id());
        self.guard.wait().ok();
    }
}

/// What the server is given: its accounts, a certificate of the tests' authority, and a PAM service that knows one password.
fn write_papers(kind: Kind, papers: &Path, inside: &str) {
    let mut sql = String::from(ACCOUNTS) + kind.accounts();
    let users: Vec<String> = sql
        .lines()
        .filter_map(|line| line.strip_prefix("CREATE USER ")?.split([' ', ';']).next())
        .map(str::to_owned)
        .collect();
    for user in users {
        for database in ["shop", "hr"] {
            writeln!(sql, "GRANT ALL ON {database}.* TO {user};").unwrap();
        }
    }
    fs::write(papers.join("init.sql"), sql).unwrap();
    Authority::shared().issue(papers, "server");
    fs::copy(Authority::shared().root(), papers.join("ca.crt")).unwrap();
    let check = papers.join("check-password");
    fs::write(&check, "#!/bin/sh\n[ \"$(tr -d '\\0')\" = secret ]\n").unwrap();
    fs::set_permissions(&check, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(papers.join("pam.d")).unwrap();
    let service = format!(
        "auth required pam_exec.so quiet expose_authtok {inside}/check-password\n\
         account required pam_permit.so\n"
    );
    fs::write(papers.join("pam.d/doorward"), service).unwrap();
}
