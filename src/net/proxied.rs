//! The PROXY header by which a balancer says for whom a connection is. Floor 1.
//!
//! Read to its last byte and no further: what follows may be a TLS handshake. The crate that parses is lax (`PROXYx`, a port `+1`,
//! lines of any length, a wrong checksum), and two readings of one header would be two opinions on who comes: a header of version 1
//! must be what the crate itself would write, and one of version 2 is held against the specification beforehand.
//! The format: HAProxy's `proxy-protocol.txt`.

use std::{io, net::SocketAddr};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// The connection is this client's.
    Client(SocketAddr),
    /// It is the balancer's own (`LOCAL`, `UNKNOWN`): it looks whether we are there.
    Probe,
}

/// Why a header is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ProxiedError {
    #[error("the balancer closed before its PROXY header was complete")]
    Left,
    #[error("a balancer's connection must begin with a PROXY header")]
    NoHeader,
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Broke(#[from] io::Error),
}

/// Reads the header, and not a byte more. Not cancel safe: what has been read is lost.
///
/// # Errors
/// There is none, it is malformed, or the connection broke.
pub async fn proxied<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Proxied, ProxiedError> {
    let mut header = Vec::with_capacity(LONGEST_V1);
    more(stream, &mut header, SIGNATURE.len()).await?;
    if header == SIGNATURE {
        more(stream, &mut header, 4).await?;
        let length = match header.get(14..16) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            Some(_) | None => 0,
        };
        if header.len() + length > LONGEST_V2 {
            return Err(ProxiedError::Malformed("it is longer than 536 bytes"));
        }
        more(stream, &mut header, length).await?;
        return version_2(&header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(ProxiedError::NoHeader);
    }
    // byte by byte: behind the line end begins what is not ours to read
    while !header.ends_with(b"\r\n") {
        if header.len() >= LONGEST_V1 {
            return Err(ProxiedError::Malformed("the line is longer than 107 bytes"));
        }
        more(stream, &mut header, 1).await?;
    }
    version_1(&header)
}

/// `count` more bytes; they are bounded by the caller.
async fn more<R: AsyncRead + Unpin>(
    stream: &mut R,
    header: &mut Vec<u8>,
    count: usize,
) -> Result<(), ProxiedError> {
    let begin = header.len();
    header.resize(begin + count, 0);
    let Some(into) = header.get_mut(begin..) else {
        return Ok(());
    };
    match stream.read_exact(into).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ProxiedError::Left),
        Err(error) => Err(error.into()),
    }
}

/// A line of text with its end.
fn version_1(line: &[u8]) -> Result<Proxied, ProxiedError> {
    // what follows `UNKNOWN` is to be ignored
    if line.starts_with(b"PROXY UNKNOWN\r\n") || line.starts_with(b"PROXY UNKNOWN ") {
        return Ok(Proxied::Probe);
    }
    let malformed = ProxiedError::Malformed;
    let (header, _) = ProxyHeader::parse(line, ParseConfig::default())
        .map_err(|_no_header| malformed("the line cannot be read"))?;
    let mut written = Vec::with_capacity(LONGEST_V1);
    let same = header.encode_v1(&mut written).is_ok() && written.eq_ignore_ascii_case(line);
    if !same || !line.starts_with(b"PROXY TCP") {
        return Err(malformed("the line is not in its one form"));
    }
    client(&header)
}

/// A whole binary header: signature, version and command, family, length, addresses, extensions.
fn version_2(header: &[u8]) -> Result<Proxied, ProxiedError> {
    let malformed = ProxiedError::Malformed;
    let (Some(command), Some(family)) = (header.get(12), header.get(13)) else {
        return Err(ProxiedError::Left);
    };
    match (command, family) {
        // the balancer's own, and one that it knows nothing of
        (0x20, _) | (0x21, 0x00) => return Ok(Proxied::Probe),
        (0x21, 0x11 | 0x21) => {}
        (0x21, _) => return Err(malformed("it is not of a TCP connection")),
        _ => return Err(malformed("it is of an unknown version")),
    }
    let (parsed, length) = ProxyHeader::parse(header, ParseConfig::default())
        .map_err(|_no_header| malformed("its addresses cannot be read"))?;
    if length != header.len() || parsed.tlvs().any(|extension| extension.is_err()) {
        return Err(malformed("its extensions do not fit its length"));
    }
    if parsed.crc32c().is_some_and(|sum| sum != checksum(header)) {
        return Err(malformed("its checksum is wrong"));
    }
    client(&parsed)
}

fn client(header: &ProxyHeader<'_>) -> Result<Proxied, ProxiedError> {
    let malformed = ProxiedError::Malformed;
    let address = header.proxied_address();
    let address = address.ok_or_else(|| malformed("it names no client"))?;
    if address.protocol != Protocol::Stream {
        return Err(malformed("it is not of a TCP connection"));
    }
    let ip = address.source.ip().to_canonical();
    // rules for this machine's own programs are not for whoever a balancer has met
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        return Err(malformed(
            "it names a client that cannot come through a balancer",
        ));
    }
    Ok(Proxied::Client(SocketAddr::new(ip, address.source.port())))
}

/// CRC32C of the header with the checksum itself as zeros.
fn checksum(header: &[u8]) -> u32 {
    let mut bytes = header.to_vec();
    let addresses = if header.get(13) == Some(&0x11) {
        12
    } else {
        36
    };
    let mut at = 16 + addresses;
    while let Some(&[kind, high, low]) = header.get(at..at + 3) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind == CHECKSUM
            && let Some(sum) = bytes.get_mut(at + 3..at + 3 + length)
        {
            sum.fill(0);
        }
        at += 3 + length;
    }
    crc32c::crc32c(&bytes)
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line that the specification knows, with its end.
const LONGEST_V1: usize = 107;
/// The signature's sixteen bytes, and 520 as a sender may use without being asked to.
const LONGEST_V2: usize = 536;
/// `PP2_TYPE_CRC32C`.
const CHECKSUM: u8 = 0x03;

#[cfg(test)]
mod tests {
    use proxy_header::{ProxiedAddress, Tlv};

    use super::*;

    async fn read(bytes: &[u8]) -> (Result<Proxied, ProxiedError>, usize) {
        let mut rest = bytes;
        let read = proxied(&mut rest).await;
        (read, rest.len())
    }

    fn binary(from: &str, to: &str) -> Vec<u8> {
        let address = ProxiedAddress::stream(from.parse().unwrap(), to.parse().unwrap());
        let mut bytes = Vec::new();
        ProxyHeader::with_address(address)
            .encode_v2(&mut bytes)
            .unwrap();
        bytes
    }

    fn client(address: &str) -> Proxied {
        Proxied::Client(address.parse().unwrap())
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_end_and_no_further() {
        let line = b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 5432\r\n\x16\x03";
        let (said, rest) = read(line).await;
        assert_eq!((said.unwrap(), rest), (client("203.0.113.7:4000"), 2));
        let mut header = binary("[2001:db8::7]:4000", "[2001:db8::1]:5432");
        header.push(0x16);
        let (said, rest) = read(&header).await;
        assert_eq!((said.unwrap(), rest), (client("[2001:db8::7]:4000"), 1));
        let mapped = binary("[::ffff:203.0.113.7]:4000", "[2001:db8::1]:5432");
        assert_eq!(read(&mapped).await.0.unwrap(), client("203.0.113.7:4000"));
        let upper = b"PROXY TCP6 2001:DB8::7 2001:db8::1 4000 5432\r\n";
        assert_eq!(read(upper).await.0.unwrap(), client("[2001:db8::7]:4000"));
    }

    #[tokio::test]
    async fn a_balancer_that_speaks_for_itself_is_a_probe() {
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";
        for probe in [
            local.as_slice(),
            unspecified,
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        ] {
            assert_eq!(read(probe).await.0.unwrap(), Proxied::Probe);
        }
    }

    #[tokio::test]
    async fn what_could_be_read_in_two_ways_is_no_header() {
        for line in [
            "PROXY TCP4 203.0.113.7  192.0.2.1 4000 5432\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 +4000 5432\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 04000 5432\r\n",
            "PROXY TCP4 203.0.113.07 192.0.2.1 4000 5432\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 4000 5432 x\r\n",
            "PROXY TCP4 2001:db8::7 192.0.2.1 4000 5432\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 4000\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY TCP4 127.0.0.1 192.0.2.1 4000 5432\r\n",
            "PROXY TCP6 ::1 2001:db8::1 4000 5432\r\n",
            "PROXY TCP6 ::ffff:127.0.0.1 2001:db8::1 4000 5432\r\n",
            "PROXY TCP4 0.0.0.0 192.0.2.1 4000 5432\r\n",
        ] {
            let (said, _) = read(line.as_bytes()).await;
            assert!(
                matches!(said, Err(ProxiedError::Malformed(_))),
                "{line} {said:?}"
            );
        }
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        let (said, rest) = read(long.as_bytes()).await;
        assert!(matches!(said, Err(ProxiedError::Malformed(_))));
        assert_eq!(long.len() - rest, LONGEST_V1, "and it is not read on");
    }

    #[tokio::test]
    async fn who_sends_none_or_half_of_one_is_told_apart() {
        let (said, _) = read(b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\0").await;
        assert!(matches!(said, Err(ProxiedError::NoHeader)));
        let (said, _) = read(b"PROXYx TCP4 203.0.113.7").await;
        assert!(matches!(said, Err(ProxiedError::NoHeader)));
        let whole = binary("203.0.113.7:4000", "192.0.2.1:5432");
        for end in 0..whole.len() {
            let (said, _) = read(&whole[..end]).await;
            assert!(matches!(said, Err(ProxiedError::Left)), "{end} {said:?}");
        }
    }

    #[tokio::test]
    async fn binary_headers_are_held_against_the_specification() {
        let sound = binary("203.0.113.7:4000", "192.0.2.1:5432");
        let with = |at: usize, byte: u8| {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            bytes
        };
        let mut cut = sound.clone();
        cut[15] = 11;
        let mut long = sound.clone();
        long[14] = 0x7f;
        let mut stray = sound.clone();
        stray.extend(*b"\x04\0");
        stray[15] += 2;
        for bytes in [
            with(12, 0x11),
            with(12, 0x22),
            with(13, 0x12),
            with(13, 0x31),
            with(16, 127),
            cut,
            long,
            stray,
        ] {
            let (said, _) = read(&bytes).await;
            assert!(
                matches!(said, Err(ProxiedError::Malformed(_))),
                "{bytes:?} {said:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_wrong_checksum_is_refused_and_the_right_one_is_not() {
        let address = ProxiedAddress::stream(
            "203.0.113.7:4000".parse().unwrap(),
            "192.0.2.1:5432".parse().unwrap(),
        );
        let mut header = ProxyHeader::with_address(address);
        header.append_tlv(Tlv::Crc32c(0));
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        let (said, _) = read(&bytes).await;
        assert!(matches!(said, Err(ProxiedError::Malformed(_))), "{said:?}");
        let sum = crc32c::crc32c(&bytes);
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(read(&bytes).await.0.unwrap(), client("203.0.113.7:4000"));
    }
}
