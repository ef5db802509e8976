//! Listening sockets, and how both legs are set. Floor 1.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// Which clients a socket of IPv6's unspecified address takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4's too: they come as mapped addresses, as anybody expects of `[::]`.
    Both,
    /// IPv6's alone: something else listens for IPv4 on this port.
    Own,
}

/// Binds one address and listens.
///
/// Called inside a runtime, which the listener then belongs to.
pub fn bind(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        let both = families == Families::Both && address.ip().is_unspecified();
        socket.set_only_v6(!both)?;
    }
    // a restart must not wait for the old connections' TIME_WAIT
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // accepted sockets inherit what their listener has
    set(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sets a connection to a server as [`bind`] sets those of clients. A server on this machine does not die without a word, so it
/// is not asked: five calls less for a connection.
pub fn tune(socket: &TcpStream, server: SocketAddr) -> io::Result<()> {
    if server.ip().to_canonical().is_loopback() {
        socket.set_nodelay(true)
    } else {
        set(&SockRef::from(socket))
    }
}

/// No delay for small messages, and a dead peer is noticed: after two minutes where nothing is under way, otherwise when the kernel
/// gives up sending again (`tcp_retries2`, a quarter of an hour). No `TCP_USER_TIMEOUT`: Linux counts the time of a closed window
/// too, so it would cut off a living client that reads the first page of its answer and lets the rest wait.
fn set(socket: &Socket) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive)
}

/// Connections the kernel completes ahead of `accept`; the kernel caps it by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_an_error_and_not_shared() {
        let first = bind("127.0.0.1:0".parse().unwrap(), Families::Own).unwrap();
        let error = bind(first.local_addr().unwrap(), Families::Own).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn both_families_listen_on_one_port() {
        let v6 = bind("[::]:0".parse().unwrap(), Families::Own).unwrap();
        let port = v6.local_addr().unwrap().port();
        bind(SocketAddr::from(([0, 0, 0, 0], port)), Families::Own).unwrap();
    }

    #[tokio::test]
    async fn everybody_comes_to_the_unspecified_address_of_ipv6() {
        let both = bind("[::]:0".parse().unwrap(), Families::Both).unwrap();
        let port = both.local_addr().unwrap().port();
        let over_ipv4 = TcpStream::connect(("127.0.0.1", port));
        let (dialled, accepted) = tokio::join!(over_ipv4, both.accept());
        dialled.unwrap();
        assert_eq!(accepted.unwrap().1.ip().to_string(), "::ffff:127.0.0.1");
    }

    /// A connection on this machine, from both ends.
    async fn pair() -> [TcpStream; 2] {
        let listener = bind("127.0.0.1:0".parse().unwrap(), Families::Own).unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(connecting, listener.accept());
        [dialled.unwrap(), accepted.unwrap().0]
    }

    #[tokio::test]
    async fn both_legs_send_small_messages_at_once_and_notice_a_dead_peer() {
        let both = pair().await;
        tune(&both[0], "192.0.2.7:5432".parse().unwrap()).unwrap();
        for socket in &both {
            assert!(socket.nodelay().unwrap());
            let socket = SockRef::from(socket);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 60);
            assert_eq!(socket.tcp_keepalive_interval().unwrap().as_secs(), 10);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 6);
            assert_eq!(
                socket.tcp_user_timeout().unwrap(),
                None,
                "a pause is no death"
            );
        }
    }

    #[tokio::test]
    async fn a_server_on_this_machine_is_not_asked_whether_it_lives() {
        for local in ["127.0.0.1:5432", "[::1]:5432", "[::ffff:127.0.0.2]:5432"] {
            let [socket, _peer] = pair().await;
            tune(&socket, local.parse().unwrap()).unwrap();
            assert!(socket.nodelay().unwrap());
            assert!(!SockRef::from(&socket).keepalive().unwrap());
        }
    }
}
