//! One side of a login: packets in and out of a stream, and the count of their sequence ids. Floor 2.
//!
//! Not a byte is read beyond the packet in hand, so that nothing is left over when a login ends or TLS begins. What is read or
//! written here may be a password: it is wiped when dropped.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::wire::mysql::{HEADER, Packet};

/// The payload of one packet.
pub(super) type Payload = Zeroizing<Vec<u8>>;

/// A stream whose packets are counted. Each side counts on from the other's last packet; a login that is mediated counts
/// differently on its two legs, which is why nothing but this knows the number.
#[derive(Debug)]
pub(super) struct Leg<S> {
    stream: S,
    /// The id of the next packet, whoever sends it.
    sequence: u8,
    header: Header,
    /// What has come of the payload that is being read.
    incoming: Payload,
    /// What is still to be written.
    outgoing: Zeroizing<Vec<u8>>,
    written: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LegError {
    #[error("it closed the connection")]
    Closed,
    #[error("a packet came out of order")]
    OutOfOrder,
    #[error("a packet is too long")]
    TooLong,
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug, Default)]
struct Header {
    bytes: [u8; HEADER],
    come: usize,
}

impl<S> Leg<S> {
    /// A leg on which the next packet bears `sequence`.
    pub(super) fn new(stream: S, sequence: u8) -> Self {
        Self {
            stream,
            sequence,
            header: Header::default(),
            incoming: Payload::default(),
            outgoing: Zeroizing::default(),
            written: 0,
        }
    }

    pub(super) const fn stream(&self) -> &S {
        &self.stream
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// The id of the next packet.
    pub(super) const fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Whether a part of a packet has come.
    pub(super) const fn is_inside(&self) -> bool {
        self.header.come > 0
    }

    /// Counts a packet that is not there: the request for TLS, in tests without any.
    #[cfg(test)]
    pub(super) const fn skip(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Begins a new exchange, as every command does.
    pub(super) const fn restart(&mut self) {
        self.sequence = 0;
    }

    /// The same leg over what `with` makes of the stream.
    pub(super) async fn changed<T, E>(
        self,
        with: impl AsyncFnOnce(S) -> Result<T, E>,
    ) -> Result<Leg<T>, E> {
        let sequence = self.sequence;
        Ok(Leg::new(with(self.stream).await?, sequence))
    }
}

impl<S: AsyncRead + Unpin> Leg<S> {
    /// Reads one packet of at most `limit` bytes. Cancel safe: what has been read stays here.
    ///
    /// # Errors
    /// A stream that ends, a packet that is longer or bears another number than it is its turn to.
    pub(super) async fn receive(&mut self, limit: usize) -> Result<Payload, LegError> {
        while self.header.come < HEADER {
            let rest = self.header.bytes.get_mut(self.header.come..);
            match self.stream.read(rest.unwrap_or_default()).await? {
                0 => return Err(LegError::Closed),
                read => self.header.come += read,
            }
        }
        let [low, middle, high, sequence] = self.header.bytes;
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        if sequence != self.sequence {
            return Err(LegError::OutOfOrder);
        }
        if length > limit {
            return Err(LegError::TooLong);
        }
        while self.incoming.len() < length {
            let missing = length - self.incoming.len();
            make_room(&mut self.incoming, missing);
            let mut rest = (&mut self.stream).take(missing as u64);
            if rest.read_buf(&mut *self.incoming).await? == 0 {
                return Err(LegError::Closed);
            }
        }
        self.header = Header::default();
        self.sequence = sequence.wrapping_add(1);
        Ok(std::mem::take(&mut self.incoming))
    }
}

impl<S: AsyncWrite + Unpin> Leg<S> {
    /// Writes one packet; what is sent here is far shorter than one can be. Cancel safe: what is not yet written goes before all that is sent later.
    pub(super) async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let size = self.outgoing.len() + HEADER + payload.len();
        let mut whole = Zeroizing::new(Vec::with_capacity(size));
        whole.extend_from_slice(&self.outgoing);
        Packet::append(&mut whole, self.sequence, payload);
        self.outgoing = whole;
        self.sequence = self.sequence.wrapping_add(1);
        self.finish().await
    }

    /// Writes what an earlier [`Leg::send`] that was dropped has left.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        while let Some(rest) = self.outgoing.get(self.written..) {
            if rest.is_empty() {
                break;
            }
            match self.stream.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        self.stream.flush().await?;
        self.outgoing = Zeroizing::default();
        self.written = 0;
        Ok(())
    }

    /// Takes leave without a word.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

/// Room for what has come and not for what is announced; what was there is not left behind in memory.
fn make_room(buffer: &mut Payload, missing: usize) {
    if buffer.capacity() > buffer.len() {
        return;
    }
    let more = missing.min(buffer.len().max(FIRST_ROOM));
    let mut larger = Payload::new(Vec::with_capacity(buffer.len() + more));
    larger.extend_from_slice(buffer);
    *buffer = larger;
}

/// Enough for most packets of a login.
const FIRST_ROOM: usize = 512;

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, task::yield_now, time::Duration};

    use super::*;

    #[tokio::test]
    async fn packets_are_read_whole_and_nothing_beyond() {
        let (mut far, near) = duplex(1 << 20);
        far.write_all(b"\x02\0\0\x03hi\0\0\0\x04\x01\0\0")
            .await
            .unwrap();
        let mut leg = Leg::new(near, 3);
        assert_eq!(**leg.receive(10).await.unwrap(), *b"hi");
        assert!(leg.receive(10).await.unwrap().is_empty());
        assert_eq!(leg.sequence(), 5);
        let mut rest = [0; 3];
        leg.into_stream().read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"\x01\0\0");
    }

    #[tokio::test]
    async fn a_packet_with_another_number_or_too_long_is_an_error() {
        let (mut far, near) = duplex(64);
        far.write_all(b"\x02\0\0\x01hi").await.unwrap();
        let mut leg = Leg::new(near, 0);
        let received = leg.receive(10).await;
        assert!(
            matches!(received, Err(LegError::OutOfOrder)),
            "{received:?}"
        );
        let (mut far, near) = duplex(64);
        far.write_all(b"\xff\xff\xff\0hi").await.unwrap();
        let mut leg = Leg::new(near, 0);
        assert!(matches!(leg.receive(10).await, Err(LegError::TooLong)));
    }

    #[tokio::test]
    async fn reading_and_writing_go_on_where_they_were_dropped() {
        let long = vec![7; 3000];
        let (mut far, near) = duplex(5);
        let mut leg = Leg::new(near, 255);
        {
            let mut send = std::pin::pin!(leg.send(&long));
            tokio::select! {
                biased;
                _ = &mut send => panic!("it cannot end"),
                () = yield_now() => {}
            }
        }
        let mut come = vec![0; 4 + 3000];
        let (finished, read) = tokio::join!(leg.finish(), far.read_exact(&mut come));
        finished.unwrap();
        read.unwrap();
        assert_eq!(come, [&b"\xb8\x0b\0\xff"[..], &long].concat());
        assert_eq!(leg.sequence(), 0, "it wraps");

        let come = [&b"\xb8\x0b\0\0"[..], &long].concat();
        let (write, read) = tokio::join!(far.write_all(&come), async {
            loop {
                let piece = tokio::time::timeout(Duration::ZERO, leg.receive(4000));
                if let Ok(read) = piece.await {
                    return read;
                }
            }
        });
        write.unwrap();
        assert_eq!(*read.unwrap(), long);
    }

    #[tokio::test]
    async fn memory_grows_with_what_has_come() {
        let (mut far, near) = duplex(64);
        far.write_all(b"\xff\xff\0\0a").await.unwrap();
        let mut leg = Leg::new(near, 0);
        tokio::select! {
            biased;
            _ = leg.receive(1 << 20) => panic!("it cannot end"),
            () = yield_now() => {}
        }
        assert!(
            leg.incoming.capacity() <= 1024,
            "{}",
            leg.incoming.capacity()
        );
    }
}
