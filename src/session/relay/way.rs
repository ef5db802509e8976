//! One direction of a relay. Floor 3.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes on their way from a source to a sink. Holds none of its own but what a short write left over.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Boxed, for an idle session has none.
    left: Option<Box<Leftovers>>,
    /// The sink was written to since its last flush.
    unflushed: bool,
    source_ended: bool,
    sink_closed: bool,
}

#[derive(Debug)]
struct Leftovers {
    bytes: Vec<u8>,
    written: usize,
}

/// What a look at the source gave.
#[derive(Debug)]
pub(super) enum Taken<'a> {
    Bytes(&'a [u8]),
    Nothing,
    End,
    Broken,
}

/// The sink takes nothing, and never will.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deaf;

impl Way {
    /// Reads once. `buffer` is borrowed for one round only.
    #[inline]
    pub(super) fn take<'a>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut (impl AsyncRead + Unpin),
        buffer: &'a mut [u8],
    ) -> Taken<'a> {
        if self.source_ended {
            return Taken::Nothing;
        }
        let mut reading = ReadBuf::new(&mut *buffer);
        match Pin::new(source).poll_read(cx, &mut reading) {
            Poll::Pending => return Taken::Nothing,
            Poll::Ready(Ok(())) => {}
            // TLS without a goodbye: of many clients the usual way to leave
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Poll::Ready(Err(_)) => return Taken::Broken,
        }
        let filled = reading.filled().len();
        if filled == 0 {
            self.source_ended = true;
            return Taken::End;
        }
        Taken::Bytes(buffer.get(..filled).unwrap_or_default())
    }

    /// Writes once, and keeps what the sink did not take.
    #[inline]
    pub(super) fn give(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> Result<(), Deaf> {
        if bytes.is_empty() {
            return Ok(());
        }
        let taken = write(cx, sink, bytes)?;
        self.unflushed = true;
        if let Some(rest @ [_, ..]) = bytes.get(taken..) {
            self.left = Some(Box::new(Leftovers {
                bytes: rest.to_vec(),
                written: 0,
            }));
        }
        Ok(())
    }

    /// Writes once of what was kept. Tells whether the sink took any.
    pub(super) fn give_leftovers(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Result<bool, Deaf> {
        let Some(left) = &mut self.left else {
            return Ok(false);
        };
        let rest = left.bytes.get(left.written..).unwrap_or_default();
        let taken = write(cx, sink, rest)?;
        self.unflushed = true;
        left.written += taken;
        if left.written >= left.bytes.len() {
            self.left = None;
        }
        Ok(taken > 0)
    }

    /// Pushes out what the sink itself may still hold (TLS does). Call it when nothing else moves.
    #[inline]
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Deaf> {
        if self.unflushed {
            match Pin::new(sink).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(Deaf),
            }
        }
        Ok(())
    }

    /// Passes the end of the source on to the sink, once all before it is delivered.
    pub(super) fn pass_on_end(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Deaf> {
        if self.is_delivered() && !self.sink_closed {
            match Pin::new(sink).poll_shutdown(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.sink_closed = true,
                Poll::Ready(Err(_)) => return Err(Deaf),
            }
        }
        Ok(())
    }

    /// Takes nothing more from the source; what it gave is still delivered.
    pub(super) const fn end_source(&mut self) {
        self.source_ended = true;
    }

    /// Takes nothing more from the source, and forgets what it gave.
    pub(super) fn abandon(&mut self) {
        *self = Self {
            source_ended: true,
            sink_closed: true,
            ..Self::default()
        };
    }

    /// Whether bytes were taken from the source that the sink has not been given.
    pub(super) const fn has_leftovers(&self) -> bool {
        self.left.is_some()
    }

    /// Whether bytes wait for the sink to take them, in its own buffers too.
    pub(super) const fn is_blocked(&self) -> bool {
        self.has_leftovers() || self.unflushed
    }

    /// Whether the source gives no more and the sink has it all.
    pub(super) const fn is_delivered(&self) -> bool {
        self.source_ended && !self.is_blocked()
    }

    /// Whether the sink was told of the end.
    pub(super) const fn is_closed(&self) -> bool {
        self.sink_closed
    }

    /// What was taken from the source and not given to the sink.
    pub(super) fn into_leftovers(self) -> Vec<u8> {
        self.left.map_or_else(Vec::new, |mut left| {
            let written = left.written.min(left.bytes.len());
            left.bytes.split_off(written)
        })
    }
}

/// How much the sink takes now.
#[inline]
fn write(
    cx: &mut Context<'_>,
    sink: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Result<usize, Deaf> {
    match Pin::new(sink).poll_write(cx, bytes) {
        Poll::Pending => Ok(0),
        Poll::Ready(Ok(0) | Err(_)) => Err(Deaf),
        Poll::Ready(Ok(taken)) => Ok(taken),
    }
}
