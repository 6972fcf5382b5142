//! An agent streams chunks into its sessions, and everybody on their channels reads them.
//!
//! A chunk carries the time at which it was due, so latency is from the agent's (intended) write to a reader's read, over
//! all threads. Verifies that each reader gets each chunk of its session once, in order, with its content: chunks are not
//! replayed, but a reader that keeps up must not miss one.

use crate::clock::{Schedule, nanos, now_ns};
use crate::content::{Comparison, read_chunk, write_chunk};
use crate::options::Fanout;
use crate::phoenix::ChunkView;
use crate::provision::{self, AGENT, Session};
use crate::run::{Window, Worker};
use crate::socket::Socket;
use crate::verify::{Sequence, Violation};
use anyhow::{Context, Result, bail};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sessions of one agent's socket; servers allow 100 channels on one.
const SESSIONS_PER_SOCKET: usize = 100;
/// How often an agent looks whether its readers have caught up (closed loop), and a reader whether the agents have ended.
const LOOK_NS: u64 = 200_000;
/// The chunk that ends an answer.
pub(super) const FINISH: &str = r#"{"type":"finish"}"#;
/// Chunks that an agent writes before it reads again.
const BURST_MAX: usize = 256;

pub async fn perform(worker: &Rc<Worker>, options: &Fanout) -> Result<()> {
    if options.webhook {
        return super::fanout_webhook::perform(worker, options).await;
    }
    let prepared = prepare(worker, options, 0).await?;
    let window = worker.window(2).await?;
    let load = async {
        worker.each(prepared.roles.into_iter().map(|role| role.run(window, prepared.agents))).await;
        Ok(())
    };
    worker.under_load(load).await?;
    worker.meet(3).await?;
    provision::remove(&worker.target, &prepared.own).await;
    Ok(())
}

/// This thread's part of a fan-out, connected.
pub(super) struct Prepared {
    /// Its sessions.
    pub(super) own: Vec<Session>,
    /// Its readers and agents.
    pub(super) roles: Vec<Role>,
    /// Agents of all threads.
    pub(super) agents: usize,
}

/// Creates the sessions, which are numbered from `first`, and connects everybody. Takes the first meeting.
pub(super) async fn prepare(worker: &Rc<Worker>, options: &Fanout, first: usize) -> Result<Prepared> {
    let numbers = worker.share(options.sessions);
    let own = provision::create(worker, first + numbers.start..first + numbers.end).await?;
    worker.shared.sessions.lock().expect("no worker panics").extend(numbers.zip(own.iter().cloned()));
    worker
        .shared
        .chunks
        .get_or_init(|| (0..options.sessions).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect());
    worker.meet(1).await?;
    let mut sessions = worker.shared.sessions.lock().expect("no worker panics").clone();
    sessions.sort_unstable_by_key(|(number, _)| *number);
    let sessions: Rc<[Session]> = sessions.into_iter().map(|(_, session)| session).collect::<Vec<_>>().into();

    let mut roles = Vec::new();
    for number in worker.share(options.subscribers) {
        roles.push(Role::Reader(Reader::connect(worker, &sessions, number % options.sessions, options).await?));
    }
    let agents = options.sessions.div_ceil(SESSIONS_PER_SOCKET);
    for number in worker.share(agents) {
        let agent = Agent::connect(worker, &sessions, number, agents, options).await?;
        roles.push(Role::Agent(Rc::clone(worker), agent));
    }
    Ok(Prepared { own, roles, agents })
}

/// Somebody in a fan-out.
pub(super) enum Role {
    /// Writes.
    Agent(Rc<Worker>, Agent),
    /// Reads.
    Reader(Reader),
}

impl Role {
    /// Until the load is over.
    pub(super) async fn run(self, window: Window, agents: usize) -> Result<()> {
        match self {
            Self::Reader(reader) => reader.run(window, agents).await,
            Self::Agent(worker, agent) => {
                let done = agent.run(window).await;
                if done.is_err() {
                    // What a broken agent wrote last may never have left: nobody can say that it was lost.
                    worker.shared.agent_failed.store(true, Ordering::SeqCst);
                }
                worker.shared.agents_done.fetch_add(1, Ordering::SeqCst);
                done
            }
        }
    }
}

/// Sent and received chunks of session `number`, over all threads.
pub(super) fn counters(worker: &Worker, number: usize) -> &(AtomicU64, AtomicU64) {
    &worker.shared.chunks.get().expect("set before anybody connects")[number]
}

/// How many of `subscribers` read session `number`.
fn readers_of(number: usize, subscribers: usize, sessions: usize) -> u64 {
    (subscribers / sessions + usize::from(number < subscribers % sessions)) as u64
}

/// The socket of an agent that answers in some of the sessions, in turn.
pub(super) struct Agent {
    worker: Rc<Worker>,
    socket: Socket,
    sessions: Rc<[Session]>,
    numbers: Vec<usize>,
    turn: usize,
    pace: Pace,
    options: Fanout,
    payload: Vec<u8>,
    references: u64,
}

enum Pace {
    /// Its part of the rate: sender of senders.
    Open(Range<usize>, f64),
    Window(u64),
}

impl Agent {
    async fn connect(
        worker: &Rc<Worker>,
        sessions: &Rc<[Session]>,
        number: usize,
        sockets: usize,
        options: &Fanout,
    ) -> Result<Self> {
        let mut socket = Socket::connect(&worker.target, &format!("agent_id={AGENT}")).await?;
        let numbers: Vec<usize> = (number..sessions.len()).step_by(sockets).collect();
        for own in &numbers {
            socket.join(*own as u64 + 1, &sessions[*own].topic, "{}", |_| Ok(())).await?;
        }
        let pace = match options.window {
            Some(window) => Pace::Window(window as u64),
            None => Pace::Open(number..sockets, options.rate),
        };
        let (worker, sessions, options) = (Rc::clone(worker), Rc::clone(sessions), options.clone());
        let references = sessions.len() as u64 + 1;
        Ok(Self { worker, socket, sessions, numbers, turn: 0, pace, options, payload: Vec::new(), references })
    }

    async fn run(mut self, window: Window) -> Result<()> {
        let mut schedule = match &self.pace {
            Pace::Open(place, rate) => Some(Schedule::new(window.start_ns, *rate, place.start, place.end)),
            Pace::Window(_) => None,
        };
        loop {
            let now_ns = now_ns();
            if now_ns >= window.end_ns {
                // What was written last must be on its way before the readers are told the total.
                return self.socket.flush().await;
            }
            let wake_ns = match &mut schedule {
                Some(schedule) => self.write_due(schedule, now_ns, &window),
                None => self.write_window(now_ns),
            };
            self.socket.fill_until(wake_ns.min(window.end_ns)).await?;
            self.read()?;
        }
    }

    /// Writes what is due; returns when the next is.
    fn write_due(&mut self, schedule: &mut Schedule, now_ns: u64, window: &Window) -> u64 {
        for _ in 0..BURST_MAX {
            let Some(due_ns) = schedule.take(now_ns) else { break };
            if window.measures(due_ns) {
                self.worker.outcome.borrow_mut().latency("send lag", now_ns - due_ns);
            }
            let number = self.numbers[self.turn % self.numbers.len()];
            self.turn += 1;
            self.write(number, due_ns);
        }
        schedule.due_ns()
    }

    /// Writes as much as the window of each session leaves room for; returns when to look again.
    fn write_window(&mut self, now_ns: u64) -> u64 {
        let Pace::Window(depth) = self.pace else { unreachable!("only without a schedule") };
        for _ in 0..BURST_MAX {
            let mut idle = true;
            for place in 0..self.numbers.len() {
                let number = self.numbers[place];
                let readers = readers_of(number, self.options.subscribers, self.options.sessions);
                let (sent, received) = counters(&self.worker, number);
                let on_their_way =
                    (sent.load(Ordering::Relaxed) * readers).saturating_sub(received.load(Ordering::Relaxed));
                if readers > 0 && on_their_way < depth * readers {
                    self.write(number, now_ns);
                    idle = false;
                }
            }
            if idle {
                break;
            }
        }
        now_ns + LOOK_NS
    }

    fn write(&mut self, number: usize, due_ns: u64) {
        let Self { worker, socket, sessions, payload, references, .. } = self;
        let sent = &counters(worker, number).0;
        let n = sent.load(Ordering::Relaxed);
        *references += 1;
        payload.clear();
        payload.extend_from_slice(br#"{"chunk":"#);
        write_chunk(payload, sessions[number].tag, n, due_ns, self.options.size);
        payload.push(b'}');
        socket.push(number as u64 + 1, *references, &sessions[number].topic, "stream_chunk", payload);
        sent.store(n + 1, Ordering::SeqCst);
    }

    /// The agent is on the channels, too: it gets its own chunks and replies. Only failures matter.
    fn read(&mut self) -> Result<()> {
        while let Some(incoming) = self.socket.pop()? {
            let refused = incoming.event == "phx_reply" && incoming.payload.contains(r#""status":"error""#);
            if refused || matches!(incoming.event, "phx_error" | "phx_close") {
                bail!("the agent's chunk was refused on {}: {} {}", incoming.topic, incoming.event, incoming.payload);
            }
        }
        Ok(())
    }
}

/// A socket on one session's channel.
pub(super) struct Reader {
    worker: Rc<Worker>,
    socket: Socket,
    number: usize,
    topic: String,
    tag: u64,
    bytes: usize,
    sequence: Sequence,
    comparison: Comparison,
}

impl Reader {
    pub(super) async fn connect(
        worker: &Rc<Worker>,
        sessions: &[Session],
        number: usize,
        options: &Fanout,
    ) -> Result<Self> {
        let Session { user, topic, tag, .. } = &sessions[number];
        let mut socket = Socket::connect(&worker.target, &format!("user_id={user}")).await?;
        socket.join(1, topic, "{}", |_| Ok(())).await?;
        Ok(Self {
            worker: Rc::clone(worker),
            socket,
            number,
            topic: topic.clone(),
            tag: *tag,
            bytes: options.size,
            sequence: Sequence::new(topic, 0),
            comparison: Comparison::default(),
        })
    }

    pub(super) async fn run(mut self, window: Window, agents: usize) -> Result<()> {
        loop {
            let now_ns = now_ns();
            // The order matters: only a total read after the agents' end is the total.
            let ended = self.worker.shared.agents_done.load(Ordering::SeqCst) == agents;
            let sent = counters(&self.worker, self.number).0.load(Ordering::SeqCst);
            if now_ns >= window.drain_ns || (ended && self.sequence.next() >= sent) {
                if !self.worker.shared.agent_failed.load(Ordering::SeqCst) {
                    self.sequence.finish(sent, &mut self.worker.outcome.borrow_mut().integrity);
                }
                return Ok(());
            }
            let wake_ns =
                if now_ns < window.end_ns { window.end_ns } else { now_ns + nanos(Duration::from_millis(20)) };
            self.socket.fill_until(wake_ns).await.with_context(|| format!("a reader of {}", self.topic))?;
            self.read(&window)?;
        }
    }

    fn read(&mut self, window: &Window) -> Result<()> {
        let now_ns = now_ns();
        let ended = now_ns >= window.end_ns;
        let mut outcome = self.worker.outcome.borrow_mut();
        let mut received = 0;
        while let Some(incoming) = self.socket.pop()? {
            if incoming.event != "stream_chunk" || incoming.topic != self.topic {
                if matches!(incoming.event, "phx_error" | "phx_close") {
                    bail!("the server ended the channel with {}", incoming.event);
                }
                continue;
            }
            received += 1;
            let view: ChunkView = serde_json::from_str(incoming.payload).context("reading a chunk")?;
            if view.chunk.get() == FINISH && ended {
                continue; // a webhook says that its answer is complete; over the agent's socket nothing does
            }
            let Some((n, due_ns)) = read_chunk(view.chunk.get()) else {
                outcome.integrity.report(Violation::Unreadable, || format!("{}: chunk {}", self.topic, view.chunk));
                continue;
            };
            self.sequence.arrive(n, &mut outcome.integrity);
            if !self.comparison.chunk(view.chunk.get(), self.tag, n, due_ns, self.bytes) {
                outcome.integrity.report(Violation::Altered, || format!("{}: chunk {n} is {}", self.topic, view.chunk));
            }
            if window.measures(due_ns) {
                outcome.latency("chunk", now_ns.saturating_sub(due_ns));
            }
            if window.measures(now_ns) {
                outcome.count("chunks delivered", 1);
            }
        }
        counters(&self.worker, self.number).1.fetch_add(received, Ordering::Relaxed);
        self.worker.progress(received);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::readers_of;

    #[test]
    fn every_subscriber_reads_one_session() {
        for (subscribers, sessions) in [(1000, 10), (7, 3), (2, 5)] {
            let all: u64 = (0..sessions).map(|number| readers_of(number, subscribers, sessions)).sum();
            assert_eq!(all, subscribers as u64);
            let mut counted = vec![0; sessions];
            (0..subscribers).for_each(|subscriber| counted[subscriber % sessions] += 1);
            assert!((0..sessions).all(|number| counted[number] == readers_of(number, subscribers, sessions)));
        }
    }
}
