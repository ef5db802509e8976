//! A line between two networks whose length is known, as the kernel sees it. Only inside [`in_own_network`](super::network).

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
};

use super::project;

/// Our end of it.
pub(crate) const NEAR: &str = "10.77.0.1";

pub(crate) struct Line {
    copier: Child,
    orders: Option<ChildStdin>,
    inhabitant: u32,
}

impl Line {
    pub(crate) fn new() -> Self {
        let mut copier = Command::new("python3")
            .arg(project("tests/it/harness/line.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut out = BufReader::new(copier.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        Self {
            orders: copier.stdin.take(),
            inhabitant: said.trim().parse().expect("the line is not up"),
            copier,
        }
    }

    /// From now on a packet needs so many milliseconds there and back.
    pub(crate) fn takes(&mut self, millis: f64) {
        let orders = self.orders.as_mut().unwrap();
        // in one piece, as it is read
        orders.write_all(format!("{millis}\n").as_bytes()).unwrap();
    }

    /// The same command, at the other end.
    pub(crate) fn there(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered
            .arg(format!("--net=/proc/{}/ns/net", self.inhabitant))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => entered.env(name, value),
                None => entered.env_remove(name),
            };
        }
        entered
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.copier.wait().ok();
    }
}
