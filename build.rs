//! Tells the binary which commit it was built from and when that was made; `unknown` outside a checkout.

use std::{path::Path, process::Command, time::SystemTime};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // in a worktree HEAD and the refs are not under .git: git knows where they are
    for name in head_and_its_ref() {
        if let Some(path) = git(&["rev-parse", "--git-path", &name])
            && Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=DOORWARD_COMMIT={commit}");
    // the commit's date and not the clock's: the same commit makes the same program
    let built = git(&["log", "-1", "--format=%ct"]).unwrap_or_else(seconds_now);
    println!("cargo:rustc-env=DOORWARD_BUILT={built}");
}

fn head_and_its_ref() -> Vec<String> {
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    // the reflog grows with every commit, also where the branch has been packed
    let mut names = ["HEAD", "logs/HEAD", "packed-refs"]
        .map(str::to_owned)
        .to_vec();
    names.extend(branch);
    names
}

fn seconds_now() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs().to_string()
}

/// What git answers; `None` without git, and where the checkout is not this crate's own.
fn git(arguments: &[&str]) -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    let output = Command::new("git").args(arguments).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    let answer = answer.trim();
    (output.status.success() && !answer.is_empty()).then(|| answer.to_owned())
}
