//! Unix sockets on this machine, by which the operator reaches the daemon, and the user that their other ends see in us. Floor 1.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use tokio::net::{UnixListener, UnixStream};

use super::kernel;

/// A listening unix socket that only root, this user and the socket's group may use; its file goes when dropped.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    group: u32,
}

impl LocalListener {
    /// Binds, with mode 0660. A file that is left of a process that died is replaced; one that somebody answers behind is
    /// an error of kind `AddrInUse`.
    ///
    /// Called inside a runtime, which the listener then belongs to.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                match StdUnixStream::connect(path) {
                    Err(dead) if dead.kind() == io::ErrorKind::ConnectionRefused => {}
                    Ok(_) | Err(_) => return Err(error),
                }
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            group: fs::metadata(path)?.gid(),
        })
    }

    /// The next connection, and whether the one who made it may be here.
    pub async fn accept(&self) -> io::Result<(UnixStream, bool)> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred()?;
        let may = peer.uid() == 0
            || peer.uid() == kernel::user_id()
            || peer.gid() == self.group
            || kernel::peer_groups(&stream).contains(&self.group);
        Ok((stream, may))
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // a leftover is replaced by the next start
        let _left = fs::remove_file(&self.path);
    }
}

/// Connects to a socket of [`LocalListener`], for a command that has no runtime. Reads and writes fail after `within`.
pub fn connect_local(path: &Path, within: Duration) -> io::Result<StdUnixStream> {
    let stream = StdUnixStream::connect(path)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    Ok(stream)
}

/// The name of this process's user, by which a server knows whoever comes by a unix socket. `None` where the machine's own list of
/// users does not have it. Read once.
pub fn user_name() -> Option<&'static str> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        name_of(kernel::user_id(), &users).map(str::to_owned)
    };
    NAME.get_or_init(read).as_deref()
}

/// Another user of this machine, for the record.
pub fn named_user(id: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    match name_of(id, &users) {
        Some(name) => format!("{name} (uid {id})"),
        None => format!("uid {id}"),
    }
}

/// Lines of `name:password:id:...`.
fn name_of(user: u32, users: &str) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nbroken\nmysql:x:103:106::/nonexistent:/bin/false\n";
        assert_eq!(name_of(0, users), Some("root"));
        assert_eq!(name_of(103, users), Some("mysql"));
        assert_eq!(name_of(106, users), None);
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a process that died left its file");
        let live = LocalListener::bind(&path).unwrap();
        let error = LocalListener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(live);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_owner_and_group_may_connect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let listener = LocalListener::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o660);
        let _client = connect_local(&path, Duration::from_secs(1)).unwrap();
        let (_, may) = listener.accept().await.unwrap();
        assert!(may, "the same user");
    }
}
