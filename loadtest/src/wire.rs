//! One TCP connection to the server: bytes out in one write per turn, bytes in through one growing buffer.
//!
//! A write never waits for the server alone: while the kernel takes no more, input is read, so that two full socket
//! buffers cannot hold both ends for ever. Knows nothing of HTTP or WebSocket.

use crate::clock::{nanos, now_ns};
use fleetlm::server::net::{Poller, Stream};
use futures_lite::future;
use glommio::timer::Timer;
use std::cell::OnceCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// How long a connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may be silent when something is owed.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// First size of the input buffer: an idle connection should cost the generator little.
const INPUT_BYTES_FIRST: usize = 2 * 1024;
/// A buffer that reads fill grows to this; only a longer message lets it grow further.
const INPUT_BYTES_EAGER: usize = 256 * 1024;

/// What a wait for input ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// There are new bytes.
    Bytes,
    /// The deadline passed first.
    Due,
}

/// The set of this thread's sockets. A thread runs one executor.
fn poller() -> io::Result<Rc<Poller>> {
    thread_local!(static POLLER: OnceCell<Rc<Poller>> = const { OnceCell::new() });
    POLLER.with(|poller| match poller.get() {
        Some(poller) => Ok(Rc::clone(poller)),
        None => {
            let started = Poller::start()?;
            Ok(Rc::clone(poller.get_or_init(|| started)))
        }
    })
}

/// Bytes that arrived and were not consumed yet.
struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    total: u64,
}

impl Input {
    async fn fill(&mut self, stream: &Stream) -> io::Result<()> {
        self.make_room();
        let read = poll_fn(|cx| stream.poll_read(cx, &mut self.bytes[self.end..])).await?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        self.end += read;
        self.total += read as u64;
        Ok(())
    }

    /// A read that filled the buffer had more to bring: the next one gets twice the room, so that a busy connection needs one read
    /// where it would need several.
    fn make_room(&mut self) {
        let filled_up = self.end == self.bytes.len();
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if filled_up && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() || (filled_up && self.bytes.len() < INPUT_BYTES_EAGER) {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
    }
}

/// A connection.
pub struct Wire {
    stream: Stream,
    input: Input,
    /// What the next [`Wire::flush`] writes.
    pub output: Vec<u8>,
    /// `flush` read something that nobody has looked at.
    fresh: bool,
}

impl Wire {
    /// Connects, without Nagle's delay.
    ///
    /// # Errors
    /// As the system says, or after 10 s.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = Stream::connect(&poller()?, address, None, CONNECT_TIMEOUT).await?;
        let input = Input { bytes: vec![0; INPUT_BYTES_FIRST], start: 0, end: 0, total: 0 };
        Ok(Self { stream, input, output: Vec::new(), fresh: false })
    }

    /// What arrived and was not consumed.
    pub fn bytes(&self) -> &[u8] {
        &self.input.bytes[self.input.start..self.input.end]
    }

    /// Bytes that ever arrived.
    pub fn bytes_total(&self) -> u64 {
        self.input.total
    }

    /// Gives up the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.input.end - self.input.start, "only what arrived is consumed");
        self.input.start += count;
    }

    /// Gives up everything up to the end of `range` of [`Wire::bytes`], whose bytes can still be seen by [`Wire::taken`]
    /// until the next read.
    pub fn take(&mut self, range: Range<usize>) -> Range<usize> {
        let taken = self.input.start + range.start..self.input.start + range.end;
        self.consume(range.end);
        taken
    }

    /// The bytes that [`Wire::take`] gave up.
    pub fn taken(&self, taken: Range<usize>) -> &[u8] {
        &self.input.bytes[taken]
    }

    /// Writes all output.
    ///
    /// # Errors
    /// Of the connection, of either direction.
    pub async fn flush(&mut self) -> io::Result<()> {
        let Self { stream, input, output, fresh } = self;
        let mut sent = 0;
        while sent < output.len() {
            let write = async { poll_fn(|cx| stream.poll_write(cx, &output[sent..])).await.map(Some) };
            let read = async { input.fill(stream).await.map(|()| None) };
            match future::or(write, read).await? {
                Some(written) => sent += written,
                None => *fresh = true,
            }
        }
        output.clear();
        Ok(())
    }

    /// Waits for input, until `deadline_ns` of [`now_ns`] at the most; what has already arrived comes before the deadline.
    ///
    /// # Errors
    /// Of the connection; its end is one.
    pub async fn fill_until(&mut self, deadline_ns: u64) -> io::Result<Filled> {
        if std::mem::take(&mut self.fresh) {
            return Ok(Filled::Bytes);
        }
        let left = Duration::from_nanos(deadline_ns.saturating_sub(now_ns()));
        let read = async { self.input.fill(&self.stream).await.map(|()| Filled::Bytes) };
        let due = async {
            if !left.is_zero() {
                Timer::new(left).await;
            }
            Ok(Filled::Due)
        };
        let filled = future::or(read, due).await;
        // A connection whose input is always there must not keep the others of this thread waiting.
        glommio::yield_if_needed().await;
        filled
    }

    /// Waits for input that is owed.
    ///
    /// # Errors
    /// Of the connection, or `TimedOut` after [`ANSWER_TIMEOUT`].
    pub async fn fill(&mut self) -> io::Result<()> {
        match self.fill_until(now_ns() + nanos(ANSWER_TIMEOUT)).await? {
            Filled::Bytes => Ok(()),
            Filled::Due => Err(io::Error::new(io::ErrorKind::TimedOut, "the server did not answer in 30 s")),
        }
    }
}
