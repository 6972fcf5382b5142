//! The fan-out loop, the same for every contender: one publisher and its readers in one epoll loop.
//!
//! Readers look for the numbers of chunks in whatever frames the protocol has, and every reader must get every chunk once and in order; a
//! number out of place ends the run with an error. Saturated, the publisher keeps a window of chunks in flight; paced, chunks are due at fixed
//! times and latency counts from then, so a late publisher or a stalled server cannot hide.

use crate::closed::latencies;
use crate::proc::{cpu_s, own_cpu_s};
use crate::servers::{CHUNK_DIGITS, CHUNK_MARK, Fan, Publish};
use crate::wire::{Codec, Step, excerpt, number};
use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Events of one turn: few, so that chunks become due in time between them.
const EVENTS_MAX: usize = 64;
/// Read at once.
const READ_BYTES: usize = 256 * 1024;
/// How long the last chunks may take after the window.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Silence after which the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How fast chunks are published.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many are in flight.
    Window(u64),
    /// So many are due each second.
    PerSecond(f64),
}

/// What a run came to.
pub struct Outcome {
    /// Chunks that were published, and that all readers have got.
    pub chunks_total: u64,
    /// Chunks that reached a reader within the window, each reader counted.
    pub deliveries: u64,
    /// Length of the window in seconds.
    pub seconds: f64,
    /// From the time a chunk was due (saturated: written) to its reader's read, in nanoseconds.
    pub latency_ns: Histogram<u64>,
    /// CPU seconds of the server within the window.
    pub server_cpu_s: f64,
    /// CPU seconds of this client within the window.
    pub client_cpu_s: f64,
}

struct Reader {
    stream: TcpStream,
    /// The beginning of a mark or number that is not whole.
    rest: Vec<u8>,
    next: u64,
}

struct Loop {
    publisher: TcpStream,
    publish: Publish,
    codec: Codec,
    readers: Vec<Reader>,
    chunks_max: u64,
    mark: Finder<'static>,
    pace: Pace,
    /// When each published chunk was due.
    due: Vec<Instant>,
    unsent: Vec<u8>,
    answers: Vec<u8>,
    delivered_total: u64,
    begin: Instant,
    /// Start and end of what counts, once it has begun.
    window: Option<(Instant, Instant)>,
    deliveries: u64,
    latency_ns: Histogram<u64>,
}

/// Publishes at `pace`; the first `warm` does not count.
///
/// # Errors
/// See the module; and when chunks are still missing 30 s after the window.
pub fn run(fan: Fan, pace: Pace, warm: Duration, window: Duration, server: u32) -> Result<Outcome> {
    let Fan { publisher, publish, codec, readers, chunks_max } = fan;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let reader = |stream| Reader { stream, rest: Vec::new(), next: 0 };
    let readers: Vec<Reader> = readers.into_iter().map(reader).collect();
    for (place, stream) in readers.iter().map(|reader| &reader.stream).chain([&publisher]).enumerate() {
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, stream, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
    }
    let mut all = Loop {
        publisher,
        publish,
        codec,
        readers,
        chunks_max,
        mark: Finder::new(CHUNK_MARK),
        pace,
        due: Vec::new(),
        unsent: Vec::new(),
        answers: Vec::new(),
        delivered_total: 0,
        begin: Instant::now(),
        window: None,
        deliveries: 0,
        latency_ns: latencies(),
    };
    let (mut events, mut scratch) = (Vec::with_capacity(EVENTS_MAX), vec![0; READ_BYTES]);
    let (mut opened, mut closed) = (None, None);
    loop {
        let now = Instant::now();
        if opened.is_none() && now >= all.begin + warm {
            opened = Some((cpu_s(server)?, own_cpu_s()?));
            let start = Instant::now();
            all.window = Some((start, start + window));
        }
        let over = all.window.is_some_and(|(_, end)| now >= end);
        if over && closed.is_none() {
            closed = Some((now, cpu_s(server)?, own_cpu_s()?));
        }
        if let Some((end, ..)) = closed {
            if all.missing() == 0 {
                break;
            }
            ensure!(now < end + DRAIN_MAX, "{} deliveries are missing after {} s", all.missing(), DRAIN_MAX.as_secs());
        } else {
            all.publish_due(now)?;
        }
        all.flush()?;
        events.clear();
        let wait = all.wait(now, closed.is_some());
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
        for event in &events {
            all.turn(event.data.u64() as usize, &mut scratch)?;
        }
    }
    all.outcome(opened.context("the window never opened")?, closed.context("the window never closed")?)
}

impl Loop {
    fn missing(&self) -> u64 {
        self.due.len() as u64 * self.readers.len() as u64 - self.delivered_total
    }

    fn publish_due(&mut self, now: Instant) -> Result<()> {
        let readers = self.readers.len() as u64;
        loop {
            let n = self.due.len() as u64;
            let due = match self.pace {
                Pace::Window(chunks) if n * readers < self.delivered_total + chunks * readers => now,
                Pace::Window(_) => return Ok(()),
                Pace::PerSecond(rate) => self.begin + Duration::from_secs_f64(n as f64 / rate),
            };
            if due > now {
                return Ok(());
            }
            ensure!(n < self.chunks_max, "one answer takes {} chunks: measure for fewer seconds", self.chunks_max);
            (self.publish)(n, &mut self.unsent);
            self.due.push(due);
        }
    }

    /// How long nothing needs to be done.
    fn wait(&self, now: Instant, closed: bool) -> Timespec {
        let mut wait = LOOK_EVERY;
        if let (Pace::PerSecond(rate), false) = (self.pace, closed) {
            let due = self.begin + Duration::from_secs_f64(self.due.len() as f64 / rate);
            wait = wait.min(due.saturating_duration_since(now));
        }
        if !self.unsent.is_empty() {
            wait = wait.min(Duration::from_millis(1));
        }
        Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) }
    }

    fn flush(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match send(&self.publisher, &self.unsent, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("publishing"),
            }
        }
        Ok(())
    }

    fn turn(&mut self, place: usize, scratch: &mut [u8]) -> Result<()> {
        let Some(reader) = self.readers.get_mut(place) else { return self.publisher_turn(scratch) };
        let kept = reader.rest.len();
        scratch[..kept].copy_from_slice(&reader.rest);
        let read = match recv(&reader.stream, &mut scratch[kept..], RecvFlags::empty()) {
            Ok((0, _)) => bail!("the server closed reader {place} after {} chunks", reader.next),
            Ok((read, _)) => read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("reading as reader {place}")),
        };
        let now = Instant::now();
        let bytes = &scratch[..kept + read];
        let mut at = 0;
        while let Some(found) = self.mark.find(&bytes[at..]) {
            let digits = at + found + CHUNK_MARK.len();
            let Some(digits) = bytes.get(digits..digits + CHUNK_DIGITS) else { break };
            at += found + CHUNK_MARK.len() + CHUNK_DIGITS;
            let n = number(digits).with_context(|| excerpt(bytes))?;
            ensure!(n == reader.next, "reader {place} got chunk {n} instead of {}", reader.next);
            let due = *self.due.get(n as usize).context("a chunk that nobody published")?;
            reader.next += 1;
            self.delivered_total += 1;
            if let Some((start, end)) = self.window {
                self.deliveries += u64::from(now < end);
                if due >= start && due < end {
                    self.latency_ns.saturating_record((now - due).as_nanos() as u64);
                }
            }
        }
        let kept = (bytes.len() - at).min(CHUNK_MARK.len() + CHUNK_DIGITS - 1);
        reader.rest.clear();
        reader.rest.extend_from_slice(&bytes[bytes.len() - kept..]);
        Ok(())
    }

    fn publisher_turn(&mut self, scratch: &mut [u8]) -> Result<()> {
        match recv(&self.publisher, &mut *scratch, RecvFlags::empty()) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Ok((0, _)) => bail!("the server closed the publisher's connection"),
            Ok((read, _)) => self.answers.extend_from_slice(&scratch[..read]),
            Err(error) => return Err(error).context("reading the publisher's answers"),
        }
        let mut at = 0;
        loop {
            match (self.codec)(&self.answers[at..]).context("publishing")? {
                Step::Partial => break,
                Step::Reply(length) | Step::Other(length) => at += length,
            }
        }
        self.answers.drain(..at);
        Ok(())
    }

    fn outcome(self, opened: (f64, f64), (end, server, client): (Instant, f64, f64)) -> Result<Outcome> {
        let (start, _) = self.window.context("the window never opened")?;
        Ok(Outcome {
            chunks_total: self.due.len() as u64,
            deliveries: self.deliveries,
            seconds: (end - start).as_secs_f64(),
            latency_ns: self.latency_ns,
            server_cpu_s: server - opened.0,
            client_cpu_s: client - opened.1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::chunk;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    /// A fan whose server hands every line to all readers as `deliver` says: the line's number and the line to the bytes for a reader.
    fn fan(readers: usize, deliver: impl Fn(usize, u64, &[u8]) -> Vec<u8> + Send + 'static) -> Fan {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0);
        let (publisher, from_publisher) = connect();
        let (readers, mut to_readers): (Vec<_>, Vec<_>) = (0..readers).map(|_| connect()).unzip();
        thread::spawn(move || {
            for (n, line) in BufReader::new(from_publisher).split(b'\n').map_while(Result::ok).enumerate() {
                for (place, reader) in to_readers.iter_mut().enumerate() {
                    // The client may have gone by then, which is what it is tested for.
                    drop(reader.write_all(&deliver(place, n as u64, &line)));
                }
            }
        });
        let publish = |n, out: &mut Vec<u8>| {
            out.extend_from_slice(&chunk(n));
            out.push(b'\n');
        };
        Fan { publisher, publish: Box::new(publish), codec: |_| Ok(Step::Partial), readers, chunks_max: u64::MAX }
    }

    fn outcome(fan: Fan, pace: Pace) -> Result<Outcome> {
        run(fan, pace, Duration::from_millis(5), Duration::from_millis(40), std::process::id())
    }

    #[test]
    fn every_reader_gets_every_chunk_in_whatever_frames() {
        for pace in [Pace::Window(8), Pace::PerSecond(2_000.0)] {
            let framed = |_, _, line: &[u8]| [b"\x81\x7e\x00\xc8[null,", line, b"]"].concat();
            let outcome = outcome(fan(3, framed), pace).unwrap();
            assert!(outcome.chunks_total > 0 && outcome.deliveries <= 3 * outcome.chunks_total);
        }
    }

    #[test]
    fn a_chunk_that_is_lost_doubled_or_out_of_order_is_an_error() {
        let lost = |place, n, line: &[u8]| if (place, n) == (1, 4) { Vec::new() } else { line.to_vec() };
        let doubled = |place, n, line: &[u8]| if (place, n) == (1, 4) { line.repeat(2) } else { line.to_vec() };
        let other = |place, n, line: &[u8]| if (place, n) == (1, 4) { chunk(9) } else { line.to_vec() };
        let lost = outcome(fan(2, lost), Pace::Window(8)).err().unwrap();
        assert!(format!("{lost:#}").contains("reader 1 got chunk 5 instead of 4"), "{lost:#}");
        let doubled = outcome(fan(2, doubled), Pace::Window(8)).err().unwrap();
        assert!(format!("{doubled:#}").contains("reader 1 got chunk 4 instead of 5"), "{doubled:#}");
        assert!(outcome(fan(2, other), Pace::Window(8)).is_err());
    }
}
