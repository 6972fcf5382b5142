//! A client's connection with or without TLS, and a socket of the set as the TLS library wants it.
//!
//! TLS keeps what it has encrypted until the socket takes it, and says of it that it was written. So whoever has written the last of
//! something flushes; what the protocol itself has to say (answers to key updates, alerts) leaves with the read that made it, or with
//! the first one behind which the socket takes it. A plain connection pays nothing: no allocation, no word more than its socket.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::server::TlsStream;

use super::Stream;
use crate::limits;

/// What is encrypted at a time, and what the TLS library keeps at the most: a reader that takes as fast as we encrypt must not hold the
/// shard for the whole of a long answer.
const PIECE_BYTES: usize = 64 * 1024;

/// A socket for the TLS library. It reads until it has what makes sense, so a peer that sends what never does is put off after a bounded
/// number of bytes, and others get their turn.
pub(in crate::server) struct Tcp {
    stream: Stream,
    /// Bytes that may still be read in this turn.
    turn_bytes: usize,
}

impl Tcp {
    pub(in crate::server) fn new(stream: Stream) -> Self {
        Self { stream, turn_bytes: limits::READ_BYTES_PER_TURN }
    }

    pub(in crate::server) fn into_inner(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.turn_bytes == 0 {
            self.turn_bytes = limits::READ_BYTES_PER_TURN;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = buffer.len().min(self.turn_bytes);
        let poll = self.stream.poll_read(cx, &mut buffer[..count]);
        match &poll {
            Poll::Ready(Ok(count)) => self.turn_bytes -= count,
            // The turn ends by itself.
            Poll::Ready(Err(_)) | Poll::Pending => self.turn_bytes = limits::READ_BYTES_PER_TURN,
        }
        poll
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes)
    }

    /// Records lie in buffers of their own: without this each would be a system call.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write_vectored(cx, pieces)
    }

    /// The kernel has all that was written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

/// See the top of the file.
pub(in crate::server) enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Tcp>>),
}

impl Transport {
    /// Reads what is there; 0 bytes are the peer's end.
    ///
    /// # Errors
    /// As the system says; `InvalidData` for what is not TLS, `UnexpectedEof` for an end that TLS was not told of.
    pub(in crate::server) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let tls = match self {
            Self::Plain(stream) => return stream.poll_read(cx, buffer),
            Self::Tls(tls) => tls,
        };
        let read = Pin::new(&mut **tls).poll_read(cx, buffer);
        if tls.get_ref().1.wants_write() {
            // Where the socket takes nothing it wakes the task, which comes by here again; where it fails, so does the next read.
            let _ = Pin::new(&mut **tls).poll_flush(cx);
        }
        read
    }

    /// Writes what is taken of `bytes`, which with TLS may still be here: see [`Transport::poll_flush`].
    ///
    /// # Errors
    /// As the system says.
    pub(in crate::server) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, &bytes[..bytes.len().min(PIECE_BYTES)]),
        }
    }

    /// Ready when the kernel has all that was written.
    ///
    /// # Errors
    /// As the system says.
    pub(in crate::server) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    /// Where the peer is; `None` when it is gone.
    pub(in crate::server) fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Plain(stream) => stream.peer(),
            Self::Tls(tls) => tls.get_ref().0.stream.peer(),
        }
    }

    /// Ends one direction or both, now. With TLS the peer is told so in its own words first, as far as the socket takes them at once:
    /// this end does not wait.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub(in crate::server) fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown(how),
            Self::Tls(tls) => {
                if how != Shutdown::Read {
                    // Whether it leaves or not, the socket ends next.
                    let _ = Pin::new(&mut **tls).poll_close(&mut Context::from_waker(Waker::noop()));
                }
                tls.get_ref().0.stream.shutdown(how)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_connection_is_no_larger_than_its_socket() {
        assert_eq!(size_of::<Transport>(), size_of::<Stream>());
    }
}
