//! The gateway's own binary, as a user runs it: a file, a port, a control socket, a state folder.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Account, Authority, Ended, Login, PATIENCE, Relay, free_port,
    http::{self, Sample},
    process::{run, signal},
    wait_until,
};

/// A gateway that has said it is ready. Killed by its id when dropped.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: TempDir,
    head: String,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// The one origin that most tests need.
pub(crate) const SHOP: &str = "\
origins:
  - {name: shop, from: [127.0.0.1], users: [app], databases: [shop]}
";

/// A gateway that is about to be started: its folder, its ports and the settings of its file.
pub(crate) struct Plan {
    pub(crate) folder: TempDir,
    /// Everything of the file that is not policy: what a rewrite keeps.
    pub(crate) head: String,
    pub(crate) port: u16,
    pub(crate) admin: u16,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Plan {
    /// One listener named `pg` before `upstream`, with a certificate of the tests' authority.
    pub(crate) fn new(upstream: &str) -> Self {
        Self::of("name: pg, protocol: postgres", upstream)
    }

    /// One listener named `my` before a MySQL or a MariaDB, with these further keys of it.
    pub(crate) fn mysql(upstream: &str, keys: &str) -> Self {
        Self::of(&format!("name: my, protocol: mysql{keys}"), upstream)
    }

    fn of(listener: &str, upstream: &str) -> Self {
        let port = free_port();
        let listener =
            format!("{listener}, listen: \"127.0.0.1:{port}\", upstream: \"{upstream}\"");
        Self::listening(port, &[listener])
    }

    /// Several listeners, with all the keys of each; `port` is that of the one that the tests mean if they say nothing.
    pub(crate) fn listening(port: u16, listeners: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        Authority::shared().issue(here, "server");
        let admin = free_port();
        let lines = listeners.iter().map(|keys| format!("  - {{{keys}}}\n"));
        let head = format!(
            "version: 1\n\
             listeners:\n{lines}\
             tls: {{certificate: {here}/server.crt, key: {here}/server.key}}\n\
             admin: {{http: \"127.0.0.1:{admin}\", socket: {here}/admin.sock}}\n\
             state_dir: {here}/state\n\
             log: {{format: json}}\n",
            lines = lines.collect::<String>(),
            here = here.display(),
        );
        Self {
            folder,
            head,
            port,
            admin,
            environment: Vec::new(),
        }
    }

    /// Started and serving.
    pub(crate) fn start(self, rest: &str) -> Gateway {
        let mut gateway = self.launch(rest);
        gateway.until_healthy();
        gateway
    }

    /// Started, but perhaps never serving: for tests of starting itself.
    pub(crate) fn launch(self, rest: &str) -> Gateway {
        let file = self.folder.path().join("allowlist.yaml");
        fs::write(&file, format!("{}{rest}", self.head)).unwrap();
        let mut command = doorward();
        command.arg("run").arg("--config").arg(file);
        self.spawn(&mut command)
    }

    /// Started by a command line of the test's own, which has to serve this plan's ports.
    pub(crate) fn spawn(self, command: &mut Command) -> Gateway {
        let mut child = command
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            listen_to(child.stdout.take().unwrap(), &said),
            listen_to(child.stderr.take().unwrap(), &said),
        ];
        Gateway {
            port: self.port,
            admin: SocketAddr::from(([127, 0, 0, 1], self.admin)),
            folder: self.folder,
            head: self.head,
            child,
            said,
            readers,
        }
    }
}

impl Gateway {
    /// In front of `upstream`, with these further keys of the file: policy and whatever else.
    pub(crate) fn start(upstream: &str, rest: &str) -> Self {
        Plan::new(upstream).start(rest)
    }

    pub(crate) fn until_healthy(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match http::get(self.admin, "/healthz") {
                Some(answer) if answer.status == 200 => return,
                _ => thread::sleep(Duration::from_millis(10)),
            }
            let hopeless = self.has_ended() || Instant::now() > deadline;
            assert!(!hopeless, "the gateway does not start: {:#?}", self.said());
        }
    }

    /// Another process on the same file, ports and state, once this one has ended.
    pub(crate) fn again(&mut self) -> Self {
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        let file = folder.path().join("allowlist.yaml");
        let plan = Plan {
            folder,
            head: self.head.clone(),
            port: self.port,
            admin: self.admin.port(),
            environment: Vec::new(),
        };
        let mut gateway = plan.spawn(doorward().arg("run").arg("--config").arg(file));
        gateway.until_healthy();
        gateway
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("allowlist.yaml")
    }

    /// Writes the file anew: the same settings, another policy.
    pub(crate) fn rewrite(&self, rest: &str) {
        fs::write(self.file(), format!("{}{rest}", self.head)).unwrap();
    }

    /// Rewrites, and asks for a reload that must be taken.
    #[track_caller]
    pub(crate) fn reload(&self, rest: &str) -> String {
        self.rewrite(rest);
        self.command(&["reload"]).worked().to_owned()
    }

    /// A command that talks to this gateway.
    pub(crate) fn command(&self, arguments: &[&str]) -> Ended {
        let socket = self.folder.path().join("admin.sock");
        run(doorward().args(arguments).arg("--admin-socket").arg(socket))
    }

    /// Sends a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// The exit status, once it has ended by itself and all its words are read.
    pub(crate) fn ended(&mut self) -> i32 {
        let status = wait_until("the gateway ends", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status.code().unwrap_or(-1)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The same before a MySQL or a MariaDB.
    pub(crate) fn mysql(upstream: &str, rest: &str) -> Self {
        Plan::mysql(upstream, "").start(rest)
    }

    /// A client that may come in by [`SHOP`].
    pub(crate) fn shop(&self) -> Login {
        Login::new(self.port, "app", "shop")
    }

    /// The same, where the gateway speaks MySQL.
    pub(crate) fn account(&self) -> Account {
        Account::new(self.port, "app", "shop")
    }

    /// The same door, seen from another address; clients go to the relay's port.
    pub(crate) fn seen_from(&self, source: [u8; 4]) -> Relay {
        Relay::from_address(source, self.port)
    }

    /// Every line it wrote so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Its log lines.
    pub(crate) fn log(&self) -> Vec<Value> {
        let said = self.said();
        said.iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The first log line, perhaps still to come, whose fields have these values.
    pub(crate) fn logged(&self, fields: &[(&str, &str)]) -> Value {
        self.logged_after(0, fields)
    }

    /// The same, behind so many lines of the log.
    pub(crate) fn logged_after(&self, lines: usize, fields: &[(&str, &str)]) -> Value {
        let what = format!("a log line with {fields:?}");
        wait_until(&what, || {
            self.log().into_iter().skip(lines).find(|line| {
                let has =
                    |(name, value): &(&str, &str)| field(line, name).as_deref() == Some(*value);
                fields.iter().all(has)
            })
        })
    }

    pub(crate) fn metrics(&self) -> Vec<Sample> {
        let answer = http::get(self.admin, "/metrics").expect("no metrics");
        assert_eq!(answer.status, 200);
        http::samples(&answer.body)
    }

    /// The sum over all series of a family whose labels have these values.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.metrics();
        let fits = samples.iter().filter(|sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.label(label) == Some(value))
        });
        fits.map(|sample| sample.value).sum()
    }

    /// Waits until a counter or gauge has a value.
    pub(crate) fn until_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        wait_until(&format!("{name}{labels:?} is {value}"), || {
            (self.metric(name, labels) - value)
                .abs()
                .lt(&1e-9)
                .then_some(())
        });
    }

    /// How many refusals had this reason.
    pub(crate) fn refused(&self, reason: &str) -> f64 {
        self.metric(
            "doorward_decisions_total",
            &[("decision", "deny"), ("reason", reason)],
        )
    }
}

/// A field of a log line, whether it stands at the top or in `fields`, as text.
pub(crate) fn field(line: &Value, name: &str) -> Option<String> {
    let value = line.get(name).or_else(|| line.get("fields")?.get(name))?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        let said = self.said();
        if thread::panicking() {
            eprintln!(
                "the gateway said: {:#?}",
                &said[said.len().saturating_sub(40)..]
            );
        } else {
            let panics = said.iter().find(|line| line.contains("panicked"));
            assert!(panics.is_none(), "the gateway panicked: {said:#?}");
        }
    }
}

/// The binary under test, in an environment that says nothing. It dies with the test that started it.
pub(crate) fn doorward() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_doorward")]);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

fn listen_to(stream: impl Read + Send + 'static, said: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            said.lock().unwrap().push(line);
        }
    })
}
