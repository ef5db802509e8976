//! The PROXY header by which a MySQL server hears whom a connection is for. Floor 1.
//!
//! MariaDB and Percona Server read it where their `proxy_protocol_networks` lists us; anybody else takes it for a broken
//! packet. MariaDB reads it in one call and wants no more than 256 bytes (`vio_read` in its `parse_proxy_protocol_header`
//! stands in no loop), so it leaves here in one write, as the first thing after the connect.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use proxy_header::{ProxiedAddress, ProxyHeader};
use tokio::io::AsyncWriteExt;

use super::Stream;

/// Whom a connection to the server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBehalf {
    /// A client, and the address of ours that it came to.
    Client { from: SocketAddr, to: SocketAddr },
    /// Nobody: the gateway asks for itself. The server takes the connection as if there were no header.
    Gateway,
}

/// Writes the header. To be called once, before anything else is sent.
///
/// # Errors
/// The connection broke, or a fresh socket did not take these few bytes at once: nothing can be mended then.
pub async fn announce(stream: &mut Stream, whom: OnBehalf) -> io::Result<()> {
    let header = header(whom)?;
    if stream.write(&header).await? < header.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            "the PROXY header did not leave in one piece",
        ));
    }
    stream.flush().await
}

fn header(whom: OnBehalf) -> io::Result<Vec<u8>> {
    let header = match whom {
        OnBehalf::Client { from, to } => {
            let (from, to) = one_family(from, to);
            ProxyHeader::with_address(ProxiedAddress::stream(from, to))
        }
        OnBehalf::Gateway => ProxyHeader::with_local(),
    };
    let mut bytes = Vec::with_capacity(LONGEST);
    header
        .encode_v2(&mut bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(bytes)
}

/// A header holds two addresses of one family. The client's decides; mapped ones are IPv4.
fn one_family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let (client, here) = (from.ip().to_canonical(), to.ip().to_canonical());
    let here = match (client, here) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => here,
        (IpAddr::V4(_), IpAddr::V6(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), IpAddr::V4(_)) => Ipv6Addr::UNSPECIFIED.into(),
    };
    (
        SocketAddr::new(client, from.port()),
        SocketAddr::new(here, to.port()),
    )
}

/// Signature, version, family and length, and two IPv6 addresses with their ports.
const LONGEST: usize = 16 + 36;

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, UnixStream},
    };

    use super::*;

    fn client(from: &str, to: &str) -> Vec<u8> {
        header(OnBehalf::Client {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        })
        .unwrap()
    }

    #[test]
    fn a_mapped_client_is_told_as_ipv4() {
        let plain = client("203.0.113.7:4000", "192.0.2.1:3306");
        assert_eq!(plain[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(
            plain[16..],
            [203, 0, 113, 7, 192, 0, 2, 1, 0x0f, 0xa0, 0x0c, 0xea]
        );
        let mapped = client("[::ffff:203.0.113.7]:4000", "[::ffff:192.0.2.1]:3306");
        assert_eq!(mapped, plain);
    }

    #[test]
    fn no_header_is_longer_than_the_server_reads() {
        let longest = client("[2001:db8::7%3]:65535", "[2001:db8::1]:3306");
        assert_eq!(longest.len(), LONGEST);
        assert_eq!(longest[12..16], [0x21, 0x21, 0, 36]);
        assert!(longest.len() <= 256);
        let mixed = client("[2001:db8::7]:1", "192.0.2.1:3306");
        assert_eq!(mixed[32..48], [0; 16], "the families cannot be mixed");
    }

    #[tokio::test]
    async fn the_header_comes_first_over_tcp_and_unix() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        announce(&mut Stream::Tcp(tcp), OnBehalf::Gateway)
            .await
            .unwrap();
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");

        let (here, mut there) = UnixStream::pair().unwrap();
        announce(&mut Stream::Unix(here), OnBehalf::Gateway)
            .await
            .unwrap();
        let mut again = Vec::new();
        there.read_to_end(&mut again).await.unwrap();
        assert_eq!(again, read);
    }
}
