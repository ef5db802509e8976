//! Child processes with a deadline and their output captured.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// The output of a program that must have worked.
    #[track_caller]
    pub(crate) fn worked(&self) -> &str {
        assert!(self.status.success(), "{self:#?}");
        self.stdout.trim_end()
    }

    /// The words of a program that must have failed.
    #[track_caller]
    pub(crate) fn failed(&self) -> &str {
        assert!(!self.status.success(), "{self:#?}");
        self.stderr.trim_end()
    }
}

/// A program that was started and will be awaited later; killed by its id if it is not.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Self {
            child,
            stdout,
            stderr,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end; a program that takes longer than a minute fails the test.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("a program hangs: {:#?}", self.said());
            }
            thread::sleep(Duration::from_millis(2));
        };
        let (stdout, stderr) = self.said();
        Ended {
            status,
            stdout,
            stderr,
        }
    }

    fn said(&mut self) -> (String, String) {
        let join = |thread: Option<JoinHandle<String>>| thread.unwrap().join().unwrap();
        (join(self.stdout.take()), join(self.stderr.take()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ended {
    Running::start(command).end()
}

/// Sends a signal, by name, to one process of the test's own.
pub(crate) fn signal(name: &str, process: u32) {
    // the shell's own: a small machine has no other
    run(Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{name} {process}")))
    .worked();
}

/// A program of a tree of `tests/setup`, run outside it, so that it finds our files, by the tree's own loader and libraries.
pub(crate) fn of_tree(root: &Path, program: impl AsRef<Path>) -> Command {
    let libraries = libraries(root);
    let mut command = Command::new(entry(&libraries, |name| name.starts_with("ld-linux")));
    command
        .arg("--library-path")
        .arg(&libraries)
        .arg(root.join(program));
    command
}

/// Where a tree keeps its libraries.
pub(crate) fn libraries(root: &Path) -> PathBuf {
    entry(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))
}

/// The one entry of a folder with such a name.
fn entry(folder: &Path, fits: impl Fn(&str) -> bool) -> PathBuf {
    let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let entry = entries.find(|entry| entry.file_name().to_str().is_some_and(&fits));
    entry.unwrap().path()
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
