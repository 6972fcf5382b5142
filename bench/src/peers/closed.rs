//! The closed loop, the same for every contender: C connections with D requests in flight each, one epoll loop, one read and one write per
//! connection and turn.
//!
//! So the client costs each contender alike, and what differs is the server. A request is sent when an answer came, so latencies are those of
//! a saturated server; a stall shows in the throughput and the maximum. An answer that is no success, a closed connection or 30 s of silence
//! ends the run with an error.

use crate::proc::{cpu_s, own_cpu_s};
use crate::wire::{Codec, Step};
use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Events of one turn.
const EVENTS_MAX: usize = 512;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// Silence that ends the run.
const SILENCE_MAX: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Writes the next request of the connection with this number.
pub type Requests = Box<dyn FnMut(usize, &mut Vec<u8>)>;

/// What one side of a conversation needs to know.
pub struct Dialogue {
    /// Connections that are logged in and quiet.
    pub streams: Vec<TcpStream>,
    /// Writes the next request of a connection.
    pub request: Requests,
    /// Understands what comes back.
    pub codec: Codec,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many answers.
    Count(u64),
    /// The window begins after `warm` and lasts `window`.
    Time {
        /// Not counted.
        warm: Duration,
        /// Counted.
        window: Duration,
    },
}

/// What a run came to.
pub struct Outcome {
    /// Answers within the window.
    pub answers: u64,
    /// All answers, also those before and after the window.
    pub answers_total: u64,
    /// Length of the window in seconds.
    pub seconds: f64,
    /// From sending to the whole answer, in nanoseconds, of the answers in the window.
    pub latency_ns: Histogram<u64>,
    /// CPU seconds of the server within the window.
    pub server_cpu_s: f64,
    /// CPU seconds of this client within the window.
    pub client_cpu_s: f64,
}

struct Connection {
    stream: TcpStream,
    /// The beginning of an answer that is not whole.
    rest: Vec<u8>,
    /// What the kernel did not take.
    unsent: Vec<u8>,
    /// When the requests without an answer were sent, oldest first.
    sent: VecDeque<Instant>,
}

struct Loop<'a> {
    connections: Vec<Connection>,
    request: &'a mut dyn FnMut(usize, &mut Vec<u8>),
    codec: Codec,
    depth: usize,
    server: u32,
    window: Window,
}

/// The part of a run that counts.
struct Window {
    until: Until,
    start: Instant,
    end: Option<Instant>,
    asked: u64,
    opened: Option<(Instant, f64, f64)>,
    closed: Option<(Instant, f64, f64)>,
    answers: u64,
    answers_total: u64,
    latency_ns: Histogram<u64>,
}

/// An empty histogram of nanoseconds. Up to a minute, which is longer than the silence that ends a run; three digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("these bounds are allowed")
}

/// Runs the dialogue with `depth` requests in flight on each connection against the server with process id `server`.
///
/// # Errors
/// See the module.
pub fn run(dialogue: Dialogue, depth: usize, until: Until, server: u32) -> Result<Outcome> {
    let Dialogue { streams, mut request, codec } = dialogue;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(streams.len());
    for (place, stream) in streams.into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, &stream, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
        connections.push(Connection {
            stream,
            rest: Vec::new(),
            unsent: Vec::new(),
            sent: VecDeque::with_capacity(depth),
        });
    }
    let window = Window::new(until)?;
    let mut all = Loop { connections, request: &mut *request, codec, depth, server, window };
    all.first_requests()?;
    let mut scratch = vec![0; READ_BYTES];
    let mut events = Vec::with_capacity(EVENTS_MAX);
    while !all.over() {
        events.clear();
        let ready = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&SILENCE_MAX))?;
        ensure!(ready > 0, "nothing came for {} s with {} requests in flight", SILENCE_MAX.tv_sec, all.in_flight());
        all.window.tick(server)?;
        for event in &events {
            all.turn(event.data.u64() as usize, &mut scratch)?;
        }
        // When these were the last answers no event will come after them.
        all.window.tick(server)?;
    }
    all.finish()
}

impl Loop<'_> {
    fn first_requests(&mut self) -> Result<()> {
        self.window.tick(self.server)?;
        for place in 0..self.connections.len() {
            self.ask(place, self.depth, Instant::now())?;
        }
        Ok(())
    }

    /// Reads what came for one connection, and asks again as often as it was answered.
    fn turn(&mut self, place: usize, scratch: &mut Vec<u8>) -> Result<()> {
        let connection = &mut self.connections[place];
        let kept = connection.rest.len();
        if scratch.len() < kept + READ_BYTES {
            scratch.resize(kept + READ_BYTES, 0);
        }
        scratch[..kept].copy_from_slice(&connection.rest);
        let read = match recv(&connection.stream, &mut scratch[kept..], RecvFlags::empty()) {
            Ok((0, _)) => bail!("the server closed connection {place}"),
            Ok((read, _)) => read,
            Err(Errno::AGAIN | Errno::INTR) => return self.flush(place),
            Err(error) => return Err(error).with_context(|| format!("reading from connection {place}")),
        };
        let now = Instant::now();
        let answered = self.understand(place, &scratch[..kept + read], now)?;
        self.ask(place, answered, now)
    }

    fn understand(&mut self, place: usize, bytes: &[u8], now: Instant) -> Result<usize> {
        let connection = &mut self.connections[place];
        let (mut at, mut answered) = (0, 0);
        loop {
            match (self.codec)(&bytes[at..]).with_context(|| format!("connection {place}"))? {
                Step::Partial => break,
                Step::Other(length) => at += length,
                Step::Reply(length) => {
                    at += length;
                    answered += 1;
                    let sent = connection.sent.pop_front().context("an answer that nobody asked for")?;
                    self.window.answered(sent, now);
                }
            }
        }
        connection.rest.clear();
        connection.rest.extend_from_slice(&bytes[at..]);
        Ok(answered)
    }

    fn ask(&mut self, place: usize, count: usize, now: Instant) -> Result<()> {
        let count = self.window.more(count, now);
        let connection = &mut self.connections[place];
        for _ in 0..count {
            (self.request)(place, &mut connection.unsent);
            connection.sent.push_back(now);
        }
        self.flush(place)
    }

    /// Sends what is there to send; requests are small, so the kernel takes them unless the server has long stopped reading.
    fn flush(&mut self, place: usize) -> Result<()> {
        let Connection { stream, unsent, .. } = &mut self.connections[place];
        while !unsent.is_empty() {
            match send(&*stream, unsent, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(unsent.drain(..sent)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).with_context(|| format!("writing to connection {place}")),
            }
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.connections.iter().map(|connection| connection.sent.len()).sum()
    }

    fn over(&self) -> bool {
        self.window.closed.is_some() && self.window.answers_total == self.window.asked
    }

    fn finish(self) -> Result<Outcome> {
        let Window { opened, closed, answers, answers_total, latency_ns, .. } = self.window;
        let (start, server_start, client_start) = opened.context("the window never opened")?;
        let (end, server_end, client_end) = closed.context("the window never closed")?;
        Ok(Outcome {
            answers,
            answers_total,
            seconds: (end - start).as_secs_f64(),
            latency_ns,
            server_cpu_s: server_end - server_start,
            client_cpu_s: client_end - client_start,
        })
    }
}

impl Window {
    fn new(until: Until) -> Result<Self> {
        Ok(Self {
            until,
            start: Instant::now(),
            end: None,
            asked: 0,
            opened: None,
            closed: None,
            answers: 0,
            answers_total: 0,
            latency_ns: latencies(),
        })
    }

    /// Opens or closes when it is time. Each looks at the accounts of both sides.
    fn tick(&mut self, server: u32) -> Result<()> {
        let now = Instant::now();
        let (opens, closes) = match self.until {
            Until::Count(count) => (true, self.answers_total >= count),
            Until::Time { warm, .. } => (now >= self.start + warm, self.end.is_some_and(|end| now >= end)),
        };
        if self.opened.is_none() && opens {
            let accounts = (cpu_s(server)?, own_cpu_s()?);
            let now = Instant::now();
            self.opened = Some((now, accounts.0, accounts.1));
            if let Until::Time { window, .. } = self.until {
                self.end = Some(now + window);
            }
        } else if self.opened.is_some() && self.closed.is_none() && closes {
            self.closed = Some((now, cpu_s(server)?, own_cpu_s()?));
        }
        Ok(())
    }

    /// Looking at the accounts takes the client a moment, so what was under way then has no honest latency.
    fn answered(&mut self, sent: Instant, now: Instant) {
        self.answers_total += 1;
        if let (Some((opened, ..)), None) = (self.opened, self.closed) {
            self.answers += 1;
            if sent >= opened {
                self.latency_ns.saturating_record((now - sent).as_nanos() as u64);
            }
        }
    }

    /// How many of `count` requests may still be made.
    fn more(&mut self, count: usize, now: Instant) -> usize {
        let count = match self.until {
            Until::Count(all) => count.min((all - self.asked) as usize),
            Until::Time { .. } if self.end.is_some_and(|end| now >= end) => 0,
            Until::Time { .. } => count,
        };
        self.asked += count as u64;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// Connections to a server that answers `good` requests of each well and the next one with `then`; nothing there: it closes.
    fn dialogue(connections: usize, good: usize, then: &'static [u8]) -> Dialogue {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let streams = (0..connections).map(|_| TcpStream::connect(address).unwrap()).collect();
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            thread::spawn(move || {
                let mut request = [0; REQUEST.len()];
                for n in 0..=good {
                    if stream.read_exact(&mut request).is_err() {
                        return;
                    }
                    // The client may have gone by then, which is what it is tested for.
                    drop(stream.write_all(if n < good { ANSWER } else { then }));
                }
            });
        }
        Dialogue { streams, request: Box::new(|_, out| out.extend_from_slice(REQUEST)), codec: http::reply }
    }

    fn outcome(dialogue: Dialogue, count: u64) -> Result<Outcome> {
        run(dialogue, 3, Until::Count(count), std::process::id())
    }

    #[test]
    fn every_answer_is_counted_and_no_request_beyond_the_count_is_made() {
        let outcome = outcome(dialogue(4, 1_000, b""), 250).unwrap();
        assert_eq!((outcome.answers, outcome.answers_total), (250, 250));
        assert_eq!(outcome.latency_ns.len(), 250);
    }

    #[test]
    fn a_window_counts_only_what_falls_into_it() {
        let window = |warm, window| Window::new(Until::Time { warm, window }).unwrap();
        let (server, sent) = (std::process::id(), Instant::now());
        let mut early = window(Duration::from_secs(3_600), Duration::ZERO);
        early.tick(server).unwrap();
        early.answered(sent, sent);
        assert_eq!((early.answers, early.answers_total), (0, 1), "it has not begun");
        let mut open = window(Duration::ZERO, Duration::ZERO);
        open.tick(server).unwrap();
        open.answered(sent, Instant::now());
        assert_eq!((open.answers, open.latency_ns.len()), (1, 0), "sent before it began");
        let sent = Instant::now();
        open.answered(sent, Instant::now());
        assert_eq!((open.answers, open.latency_ns.len()), (2, 1));
        assert_eq!(open.more(3, Instant::now()), 0, "it is over");
        open.tick(server).unwrap();
        open.answered(sent, Instant::now());
        assert_eq!((open.answers, open.answers_total), (2, 3), "after its end");
    }

    #[test]
    fn a_refusal_and_an_early_end_are_errors() {
        let refused = outcome(dialogue(2, 5, REFUSAL), 1_000).err().unwrap();
        assert!(format!("{refused:#}").contains("503"), "{refused:#}");
        let ended = outcome(dialogue(2, 5, b""), 1_000).err().unwrap();
        assert!(format!("{ended:#}").contains("connection"), "{ended:#}");
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_an_error() {
        let twice = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let error = outcome(dialogue(1, 0, twice), 1_000).err().unwrap();
        assert!(format!("{error:#}").contains("nobody asked"), "{error:#}");
    }
}
