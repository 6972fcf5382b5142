//! Appends over WebSocket: each connection writes to a session of its own.
//!
//! Measures from the send (closed loop) or from the time it was due (open loop) to its ack. Verifies that acks come in order with the
//! numbers 1, 2, 3, and that every acknowledged message comes back once, in order, with its content, after its ack.

use crate::clock::{Schedule, now_ns};
use crate::options::HotPath;
use crate::phoenix::{self, Incoming, MessageView, Reply, SendResponse};
use crate::provision::{self, Session, send_payload};
use crate::run::{Outcome, Window, Worker};
use crate::socket::Socket;
use crate::verify::{Messages, Violation};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::rc::Rc;

/// Sends in flight of an open loop; further ones wait here, and their latency counts from when they were due.
const IN_FLIGHT_MAX: usize = 4096;
/// The ref of the join; message n has the ref after it.
const JOIN_REF: u64 = 1;

pub async fn perform(worker: &Rc<Worker>, options: &HotPath) -> Result<()> {
    let numbers = worker.share(options.connections);
    let sessions = provision::create(worker, numbers.clone()).await?;
    let mut clients = Vec::with_capacity(sessions.len());
    for session in &sessions {
        clients.push(Client::connect(worker, session, options).await?);
    }
    let window = worker.window(1).await?;
    let load = async {
        let pace = |number| options.rate.map(|rate| Schedule::new(window.start_ns, rate, number, options.connections));
        worker.each(clients.into_iter().zip(numbers).map(|(client, number)| client.run(window, pace(number)))).await;
        Ok(())
    };
    worker.under_load(load).await?;
    provision::remove(&worker.target, &sessions).await;
    Ok(())
}

pub(super) struct Client {
    worker: Rc<Worker>,
    socket: Socket,
    session: Session,
    progress: Progress,
    depth: usize,
    bytes: usize,
    payload: Vec<u8>,
}

/// What a client knows of its session.
struct Progress {
    /// When the sends without an ack were due, oldest first.
    waiting: VecDeque<u64>,
    sent: u64,
    acked: u64,
    messages: Messages,
}

impl Client {
    pub(super) async fn connect(worker: &Rc<Worker>, session: &Session, options: &HotPath) -> Result<Self> {
        let mut socket = Socket::connect(&worker.target, &format!("user_id={}", session.user)).await?;
        socket.join(JOIN_REF, &session.topic, "{}", |_| Ok(())).await?;
        let messages = Messages::new(&session.topic, 1, session.tag, options.size);
        let depth = if options.rate.is_some() { IN_FLIGHT_MAX } else { options.depth };
        Ok(Self {
            worker: Rc::clone(worker),
            socket,
            session: session.clone(),
            progress: Progress { waiting: VecDeque::new(), sent: 0, acked: 0, messages },
            depth,
            bytes: options.size,
            payload: Vec::new(),
        })
    }

    pub(super) async fn run(mut self, window: Window, mut pace: Option<Schedule>) -> Result<()> {
        loop {
            let now_ns = now_ns();
            self.send(now_ns, &window, &mut pace);
            if now_ns >= window.drain_ns || (now_ns >= window.end_ns && self.progress.is_settled()) {
                break;
            }
            let next_ns = pace.as_ref().filter(|_| self.progress.waiting.len() < self.depth).map(Schedule::due_ns);
            // Between the end of load and the drain there is nothing more to send: only what is owed is waited for.
            let wake_ns = next_ns.filter(|due_ns| *due_ns < window.end_ns).unwrap_or(match now_ns < window.end_ns {
                true => window.end_ns,
                false => window.drain_ns,
            });
            self.socket.fill_until(wake_ns).await?;
            self.read(&window)?;
        }
        self.finish()
    }

    fn send(&mut self, now_ns: u64, window: &Window, pace: &mut Option<Schedule>) {
        while self.progress.waiting.len() < self.depth && now_ns < window.end_ns {
            let due_ns = match pace {
                None => now_ns,
                Some(pace) => match pace.take(now_ns) {
                    Some(due_ns) => due_ns,
                    None => return,
                },
            };
            let Self { progress, session, payload, socket, .. } = self;
            progress.sent += 1;
            progress.waiting.push_back(due_ns);
            send_payload(payload, session.tag, progress.sent, self.bytes);
            socket.push(JOIN_REF, JOIN_REF + progress.sent, &session.topic, "send", payload);
            if pace.is_some() && window.measures(due_ns) {
                self.worker.outcome.borrow_mut().latency("send lag", now_ns - due_ns);
            }
        }
    }

    /// Takes in everything that has arrived; all of it arrived by now.
    fn read(&mut self, window: &Window) -> Result<()> {
        let now_ns = now_ns();
        let mut outcome = self.worker.outcome.borrow_mut();
        let mut acks = 0;
        while let Some(incoming) = self.socket.pop()? {
            if incoming.topic != self.session.topic {
                continue;
            }
            match incoming.event {
                "phx_reply" => {
                    self.progress.ack(&incoming, now_ns, window, &mut outcome)?;
                    acks += 1;
                }
                "message" => self.progress.message(&incoming, now_ns, window, &mut outcome)?,
                "phx_error" | "phx_close" => bail!("the server ended the channel with {}", incoming.event),
                _ => {}
            }
        }
        self.worker.progress(acks);
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let mut outcome = self.worker.outcome.borrow_mut();
        let Progress { sent, acked, messages, .. } = self.progress;
        messages.finish(acked + 1, &mut outcome.integrity);
        if acked < sent {
            bail!("{} of {sent} sends were not acknowledged by the end of the run", sent - acked);
        }
        Ok(())
    }
}

impl Progress {
    fn is_settled(&self) -> bool {
        self.acked == self.sent && self.messages.next() > self.acked
    }

    fn ack(&mut self, incoming: &Incoming, now_ns: u64, window: &Window, outcome: &mut Outcome) -> Result<()> {
        let reply: Reply<SendResponse> =
            serde_json::from_str(incoming.payload).context("reading the reply to a send")?;
        let ("ok", Some(acked_seq)) = (reply.status, reply.response.seq) else {
            bail!("a send was refused: {}", incoming.payload);
        };
        let Some(due_ns) = self.waiting.pop_front() else { bail!("an ack for nothing: {}", incoming.reference) };
        self.acked += 1;
        outcome.integrity.checked += 1;
        let named = phoenix::number(incoming.reference);
        if named != Some(JOIN_REF + self.acked) || acked_seq != self.acked {
            let (topic, acked, seq) = (incoming.topic, self.acked, acked_seq);
            outcome
                .integrity
                .report(Violation::WrongAck, || format!("{topic}: ack {acked} has ref {named:?} and seq {seq}"));
        }
        if window.measures(due_ns) {
            outcome.latency("ack", now_ns - due_ns);
        }
        if window.measures(now_ns) {
            outcome.count("acks", 1);
        }
        Ok(())
    }

    fn message(&mut self, incoming: &Incoming, now_ns: u64, window: &Window, outcome: &mut Outcome) -> Result<()> {
        let message: MessageView = serde_json::from_str(incoming.payload).context("reading a message")?;
        self.messages.arrive(message.seq, message.content.get(), &mut outcome.integrity);
        if message.seq > self.acked {
            let (topic, seq) = (incoming.topic, message.seq);
            outcome.integrity.report(Violation::Reordered, || format!("{topic}: message {seq} came before its ack"));
        }
        if window.measures(now_ns) {
            outcome.count("messages", 1);
        }
        Ok(())
    }
}
