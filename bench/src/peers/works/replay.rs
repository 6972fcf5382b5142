//! Replay: one reader asks for all messages of a session, again and again.
//!
//! Two passes are parsed and checked; they also tell how many bytes come for each request. The measured passes count bytes only, so that the
//! client costs each contender alike. After the window one more pass is parsed.

use super::{Entrant, Heading, Plan, rounds, us};
use crate::child::Place;
use crate::closed::{Until, latencies, run};
use crate::proc::cpu_s;
use crate::report::{Column, Ratio, Sample, Table};
use crate::servers::{Bare, Contender, Door, DurableStreams, Mode, Nats, Ours, Postgres, Redis, Replay, Sessions};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const COLUMNS: [Column; 6] = [
    Column::ranged("messages_per_s", "messages/s", 0),
    Column::new("mb_per_s", "MB/s", 0),
    Column::new("p50_us", "last byte p50 us", 0),
    Column::new("p99_us", "p99 us", 0),
    Column::new("server_cpu_us_per_message", "server CPU us/message", 3),
    Column::new("mb", "MB", 2),
];

/// Read at once.
const READ_BYTES: usize = 256 * 1024;
/// Connections that fill the session.
const WRITERS: usize = 64;
/// How long a server may be silent in the middle of an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Both of ours, the others, and sendfile of the bytes of both of ours.
pub fn replay(plan: &Plan) -> Result<Table> {
    let messages = plan.sizes.replay_messages;
    let (get, join) = (plan.ours(Door::Rest), plan.ours(Door::Socket));
    let bare = |ours: &Ours, name| -> Result<Bare> {
        let bytes = everything(ours, &plan.place, messages).context("looking at our own answer")?;
        Ok(Bare::Sendfile { name, bytes: bytes.into(), messages })
    };
    let bare_get = bare(&get, "limit: sendfile of the GET")?;
    let bare_join = bare(&join, "limit: sendfile of the joins")?;
    let (json, postgres) = (DurableStreams { mode: Mode::Json }, Postgres::default());
    let contenders: [&dyn Contender; 8] = [&get, &join, &json, &Redis, &Nats, &postgres, &bare_get, &bare_join];
    let measure = |contender: &dyn Contender, place: &Place| measure(plan, contender, place);
    let entrants = contenders.into_iter().map(|one| Entrant::of(one, measure)).collect();
    let title = format!(
        "{messages} messages of 256 bytes of one session to one reader: ours by one GET, and over WebSocket by joins of 1,000 with \
         last_seq; durable-streams GET from the start, XRANGE, a JetStream push consumer without acks, SELECT by key."
    );
    let figure = "messages_per_s";
    let ratios = vec![Ratio::of(get.name(), figure), Ratio::over(bare_get.name(), figure)];
    let heading = Heading { work: "replay", title, columns: COLUMNS.to_vec(), ratios };
    Ok(rounds(plan, heading, entrants))
}

fn measure(plan: &Plan, contender: &dyn Contender, place: &Place) -> Result<Sample> {
    let messages = plan.sizes.replay_messages;
    let mut server = contender.start(place)?;
    fill(server.as_mut(), messages)?;
    let mut passes = Passes::new(server.replay(messages)?);
    passes.verify(messages).context("the first pass")?;
    let lengths = passes.verify(messages).context("the second pass")?;
    let pid = server.child().pid();
    let warm_end = Instant::now() + plan.warm;
    while Instant::now() < warm_end {
        passes.count(&lengths)?;
    }
    let mut latency_ns = latencies();
    let cpu_start = cpu_s(pid)?;
    let start = Instant::now();
    while start.elapsed() < plan.window {
        latency_ns.saturating_record(passes.count(&lengths)?.as_nanos() as u64);
    }
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_s(pid)? - cpu_start);
    passes.verify(messages).context("the last pass")?;
    let (all, megabytes) = ((latency_ns.len() * messages) as f64, lengths.iter().sum::<usize>() as f64 / 1e6);
    Ok(Sample::from([
        ("messages_per_s", all / seconds),
        ("mb_per_s", megabytes * latency_ns.len() as f64 / seconds),
        ("p50_us", us(&latency_ns, 0.5)),
        ("p99_us", us(&latency_ns, 0.99)),
        ("server_cpu_us_per_message", cpu * 1e6 / all),
        ("mb", megabytes),
    ]))
}

/// Appends all messages to the one session. Servers that append nothing have them already.
fn fill(server: &mut dyn crate::servers::Server, messages: u64) -> Result<()> {
    if let Ok(dialogue) = server.appenders(WRITERS, Sessions::One) {
        run(dialogue, 1, Until::Count(messages), server.child().pid())?;
        let stored = server.stored()?;
        ensure!(stored == Some(messages), "{messages} messages were acknowledged and {stored:?} are stored");
    }
    Ok(())
}

/// All bytes of one pass over our server.
fn everything(ours: &Ours, place: &Place, messages: u64) -> Result<Vec<u8>> {
    let mut server = ours.start(place)?;
    fill(server.as_mut(), messages)?;
    let mut passes = Passes::new(server.replay(messages)?);
    passes.verify(messages)?;
    passes.keep = Some(Vec::new());
    passes.verify(messages)?;
    passes.keep.context("it was just put there")
}

/// One pass after the other over one connection.
struct Passes {
    replay: Replay,
    /// What came behind the answer.
    input: Vec<u8>,
    scratch: Vec<u8>,
    /// Bytes that came too early for the pass that counts only.
    surplus: usize,
    /// Collects the bytes of verified passes, if wanted.
    keep: Option<Vec<u8>>,
}

impl Passes {
    fn new(replay: Replay) -> Self {
        Self { replay, input: Vec::new(), scratch: vec![0; READ_BYTES], surplus: 0, keep: None }
    }

    /// Reads all messages and checks them; the bytes that came for each request.
    fn verify(&mut self, messages: u64) -> Result<Vec<usize>> {
        let (mut lengths, mut count) = (Vec::new(), 0);
        // What the counting passes have read beyond their answers is gone; it belonged to no message.
        let mut owed = std::mem::take(&mut self.surplus);
        self.replay.stream.set_read_timeout(Some(SILENCE_MAX))?;
        for request in &self.replay.requests {
            self.replay.stream.write_all(request)?;
            let (length, more) = loop {
                // A whole answer is parsed at the cost of all its bytes, so it is tried when the stream pauses.
                if let Some(found) = (self.replay.answer)(&self.input)? {
                    break found;
                }
                let read = self.replay.stream.read(&mut self.scratch).context("in the middle of an answer")?;
                ensure!(read > 0, "the server closed the connection");
                self.input.extend_from_slice(&self.scratch[..read]);
            };
            let rest = self.input.split_off(length);
            let answer = std::mem::replace(&mut self.input, rest);
            if let Some(keep) = &mut self.keep {
                keep.extend_from_slice(&answer);
            }
            lengths.push(length + std::mem::take(&mut owed));
            count += more;
        }
        ensure!(count == messages, "{count} messages instead of {messages}");
        Ok(lengths)
    }

    /// Reads as many bytes as are known to come.
    fn count(&mut self, lengths: &[usize]) -> Result<Duration> {
        let start = Instant::now();
        self.surplus += std::mem::take(&mut self.input).len();
        for (request, length) in self.replay.requests.iter().zip(lengths) {
            self.replay.stream.write_all(request)?;
            while self.surplus < *length {
                let read = self.replay.stream.read(&mut self.scratch).context("in the middle of an answer")?;
                ensure!(read > 0, "the server closed the connection");
                self.surplus += read;
            }
            self.surplus -= length;
        }
        Ok(start.elapsed())
    }
}
