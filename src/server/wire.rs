//! A connection, with or without TLS, with a deadline: reads through the shard's one scratch buffer, writes whole.
//!
//! An idle connection owns no buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::clock::Clock;
use super::net::Transport;
use super::watch::{Ending, Watch, Watches};
use crate::limits;

/// Why a read or a write did not happen.
#[derive(Debug)]
pub(super) enum WireError {
    /// The peer is gone or the network failed.
    Gone,
    /// The deadline passed or the server shuts down.
    Ended(Ending),
}

impl From<io::Error> for WireError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// What the connections of one shard share.
pub(super) struct WireIo {
    pub(super) clock: Clock,
    pub(super) watches: Watches,
    scratch: RefCell<Vec<u8>>,
}

impl Default for WireIo {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            watches: Watches::default(),
            scratch: RefCell::new(vec![0; limits::READ_BYTES_PER_TURN]),
        }
    }
}

/// See the top of the file.
pub(super) struct Wire {
    stream: Transport,
    pub(super) watch: Watch,
    io: Rc<WireIo>,
}

impl Wire {
    pub(super) fn new(io: Rc<WireIo>, stream: Transport) -> Self {
        let watch = io.watches.add();
        Self { stream, watch, io }
    }

    /// Sets the deadline `seconds` from now.
    pub(super) fn expect_within(&self, seconds: u64) {
        self.watch.until(self.io.clock.now().mono_us + seconds * 1_000_000);
    }

    /// Whether the server shuts down.
    pub(super) fn is_draining(&self) -> bool {
        self.io.watches.is_draining()
    }

    /// Gives a fresh deadline to a connection that was told to end, to say goodbye.
    pub(super) fn rearm_within(&self, seconds: u64) {
        self.watch.rearm(self.io.clock.now().mono_us + seconds * 1_000_000);
    }

    /// Reads once and hands the bytes to `take`; 0 bytes are the peer's end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<usize, WireError>> {
        if let Some(ending) = self.watch.poll_ending(cx) {
            return Poll::Ready(Err(WireError::Ended(ending)));
        }
        let io = Rc::clone(&self.io);
        let mut scratch = io.scratch.borrow_mut();
        match self.stream.poll_read(cx, &mut scratch) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Err(WireError::Gone)),
            Poll::Ready(Ok(count)) => {
                io.clock.read();
                take(&scratch[..count]);
                Poll::Ready(Ok(count))
            }
        }
    }

    /// Writes what the socket takes of `bytes` at once. What TLS has taken may still be here: [`Wire::poll_flush`] behind the last.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, WireError>> {
        match self.stream.poll_write(cx, bytes) {
            // A drain lets a response finish; only its deadline ends it.
            Poll::Pending if self.watch.poll_late(cx) => Poll::Ready(Err(WireError::Ended(Ending::Late))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_) | Ok(0)) => Poll::Ready(Err(WireError::Gone)),
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(count)),
        }
    }

    /// Ready when all that was written is with the kernel.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        match self.stream.poll_flush(cx) {
            Poll::Pending if self.watch.poll_late(cx) => Poll::Ready(Err(WireError::Ended(Ending::Late))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Err(WireError::Gone)),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        }
    }

    /// Reads once.
    pub(super) async fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<usize, WireError> {
        poll_fn(|cx| self.poll_read(cx, take)).await
    }

    /// Writes all of `bytes`, to the kernel.
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = &bytes[count..];
            if !bytes.is_empty() {
                // A large answer to a fast reader must not keep the others of this shard waiting.
                glommio::yield_if_needed().await;
            }
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Ends a connection whose peer may still be sending: a close with unread bytes would reset it and destroy the answer on
    /// its way. Reads and drops a bounded amount until the peer ends too.
    pub(super) async fn linger(&mut self) {
        let mut linger = self.begin_linger();
        poll_fn(|cx| self.poll_linger(cx, &mut linger)).await;
    }

    /// See [`Self::linger`]: says that nothing more is sent; then [`Self::poll_linger`] to its end.
    pub(super) fn begin_linger(&mut self) -> Linger {
        const BYTES_MAX: usize = 1024 * 1024;
        const SECONDS: u64 = 2;
        self.rearm_within(SECONDS);
        Linger { bytes_left: if self.stream.shutdown(Shutdown::Write).is_ok() { BYTES_MAX } else { 0 } }
    }

    /// See [`Self::linger`].
    pub(super) fn poll_linger(&mut self, cx: &mut Context<'_>, linger: &mut Linger) -> Poll<()> {
        while linger.bytes_left > 0 {
            match ready!(self.poll_read(cx, &mut |_| {})) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(count) => linger.bytes_left = linger.bytes_left.saturating_sub(count),
            }
        }
        Poll::Ready(())
    }

    /// Tells the peer at once that this is the end.
    pub(super) fn close(&mut self) {
        // A socket that the peer has reset cannot be shut down; it is gone either way.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// How much more is read from a peer that was told goodbye.
#[derive(Debug)]
pub(super) struct Linger {
    bytes_left: usize,
}
