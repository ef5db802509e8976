//! Finding the daemon and asking it. Floor 5.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use libc::O_NONBLOCK;

use super::{Exit, Global, Output};
use crate::{
    config::{self, Environment, Overrides},
    server::control::{self, Answer, AskError, Request},
};

/// Asks the daemon; an error has been complained of.
///
/// The socket is the one named on the command line, else that of the named file, else where daemons usually have theirs.
pub(super) fn ask(
    global: &Global,
    request: &Request,
    output: &mut Output<'_>,
) -> Result<Answer, Exit> {
    let sockets = sockets(global);
    let mut last = None;
    for socket in &sockets {
        match control::ask(socket, request) {
            Ok(answer) => return Ok(answer),
            Err(AskError::NoDaemon(_)) if last.is_some() => {}
            Err(error) => {
                let found = !matches!(error, AskError::NoDaemon(_));
                last = Some((socket, error));
                if found {
                    break;
                }
            }
        }
    }
    let Some((socket, error)) = last else {
        output.complain("error: there is nowhere to look for a daemon: give --admin-socket");
        return Err(Exit::Unavailable);
    };
    let path = socket.display();
    match error {
        AskError::NoDaemon(cause) => {
            output.complain(format_args!("error: no daemon answers at {path}: {cause}"));
            match unread(global) {
                Some(why) => output.complain(format_args!(
                    "hint: {why}, so no `admin.socket` is known from it: name the daemon's with --admin-socket"
                )),
                None => output.complain(
                    "hint: start one with `systemctl start doorward` or `doorward run`, or name its socket with --admin-socket",
                ),
            }
            Err(Exit::Unavailable)
        }
        AskError::NotPermitted => {
            output.complain(format_args!(
                "error: {path} is not for this user: ask as root or as a member of the daemon's group"
            ));
            Err(Exit::NotPermitted)
        }
        AskError::NoAnswer(cause) => {
            output.complain(format_args!(
                "error: {path}: no answer that can be read: {cause}"
            ));
            Err(Exit::Unavailable)
        }
    }
}

/// Asks the daemon for one kind of answer; anything else has been complained of.
pub(super) fn ask_for<T: TryFrom<Answer, Error = Answer>>(
    global: &Global,
    request: &Request,
    output: &mut Output<'_>,
) -> Result<T, Exit> {
    match T::try_from(ask(global, request, output)?) {
        Ok(answer) => Ok(answer),
        Err(Answer::Refused { why, text }) => {
            output.complain(format_args!("error: {text}"));
            Err(why.into())
        }
        Err(_) => Err(something_else(output)),
    }
}

/// Complains of an answer to another question.
pub(super) fn something_else(output: &mut Output<'_>) -> Exit {
    output.complain("error: the daemon answered something else: is it another version?");
    Exit::Failed
}

/// Why the named file does not say where its daemon has its socket.
fn unread(global: &Global) -> Option<String> {
    let file = global
        .config
        .as_deref()
        .filter(|_| global.admin_socket.is_none())?;
    // a pipe must not be waited for
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(O_NONBLOCK).open(file);
    let is_folder = |file: File| file.metadata().is_ok_and(|found| found.is_dir());
    match opened {
        Ok(opened) => is_folder(opened).then(|| format!("{} is a folder", file.display())),
        Err(error) => Some(format!("{} cannot be read ({error})", file.display())),
    }
}

fn sockets(global: &Global) -> Vec<PathBuf> {
    if let Some(socket) = &global.admin_socket {
        return vec![socket.clone()];
    }
    let environment = Environment::of_process();
    global.config.as_deref().map_or_else(
        || config::admin_sockets(&environment),
        |file| vec![config::places(file, &environment, &Overrides::default()).admin_socket],
    )
}
