//! Bytes to and from a webhook: the runtime's TCP stream, TLS over it, and both as hyper wants them. No unsafe code.
//!
//! A connection owns no read buffer here: bytes pass through the shard's one scratch buffer into hyper's. A peer that sends
//! faster than we read is put off after a bounded number of bytes, so that others get their turn. A dropped connection is shut
//! down first: without that its peer learns of the end only when the reactor next turns.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::client::TlsStream;
use glommio::net::TcpStream;
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::limits;

/// A TCP connection that takes turns and says goodbye.
pub(super) struct Tcp {
    stream: TcpStream,
    /// Bytes that may still be read in this turn.
    turn_bytes: usize,
}

impl Tcp {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, turn_bytes: limits::READ_BYTES_PER_TURN }
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
        let poll = Pin::new(&mut self.stream).poll_read(cx, &mut buffer[..count]);
        match &poll {
            Poll::Ready(Ok(count)) => self.turn_bytes -= count,
            // The turn ends by itself.
            Poll::Ready(Err(_)) | Poll::Pending => self.turn_bytes = limits::READ_BYTES_PER_TURN,
        }
        poll
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx, Shutdown::Write).map_err(io::Error::from)
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        // Does not wait. A socket that the peer has reset cannot be shut down; it is gone either way.
        let _ = self.stream.poll_shutdown(&mut Context::from_waker(Waker::noop()), Shutdown::Both);
    }
}

/// With or without TLS.
pub(super) enum Stream {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
}

/// Through which all connections of a shard read; empty between two reads.
pub(super) type Scratch = Rc<RefCell<Vec<u8>>>;

/// A stream as hyper wants it.
pub(super) struct HyperIo {
    stream: Stream,
    scratch: Scratch,
}

impl HyperIo {
    pub(super) fn new(stream: Stream, scratch: Scratch) -> Self {
        Self { stream, scratch }
    }
}

impl Read for HyperIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut scratch = this.scratch.borrow_mut();
        let count = scratch.len().min(cursor.remaining());
        let buffer = &mut scratch[..count];
        let poll = match &mut this.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        };
        poll.map_ok(|count| cursor.put_slice(&buffer[..count]))
    }
}

impl Write for HyperIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_close(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_close(cx),
        }
    }
}
