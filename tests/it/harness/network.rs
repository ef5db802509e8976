//! Networks of a test's own: addresses of which nobody else knows, and no way out.

use std::{env, process::Command};

use super::process::Running;

/// An address that is no loopback address, and that servers with [`HOSTS`] resolve both ways.
pub(crate) const ELSEWHERE: &str = "10.9.9.1";
pub(crate) const HOSTS: &str = "127.0.0.1 localhost\n10.9.9.1 gateway.test\n";

/// Plays `test` in a process whose network has nothing but a loopback interface, with [`ELSEWHERE`] on it. `name` is the calling
/// test's own, with its module: that process is this program, asked for that one test.
#[track_caller]
pub(crate) fn in_own_network(name: &str, test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net"]);
    if !is_root() {
        command.arg("--map-root-user");
    }
    let prepare =
        format!("ip link set lo up && ip address add {ELSEWHERE}/32 dev lo && exec \"$@\"");
    command
        .args(["sh", "-c", &prepare, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1");
    let ended = Running::start(&mut command).end();
    let (said, complained) = (&ended.stdout, &ended.stderr);
    assert!(ended.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "there is no test {name}: {said}");
}

fn is_root() -> bool {
    let ended = super::run(Command::new("id").arg("-u"));
    ended.worked() == "0"
}

const INSIDE: &str = "DOORWARD_TEST_INSIDE";
