//! The clients of a durability run: each appends to a session of its own until the server dies, comes back, reads,
//! resolves, and goes on.
//!
//! Every second one sends with idempotency keys, and sends again what was in flight. A connection that breaks before a
//! kill is a failure.

use super::ledger::{Ledger, Reading};
use crate::clock::{nanos, now_ns};
use crate::content::write_content;
use crate::http::Http;
use crate::options::Durability;
use crate::phoenix::{self, Page, Reply, SendResponse};
use crate::provision::Session;
use crate::run::Worker;
use crate::socket::Socket;
use crate::wire::{ANSWER_TIMEOUT, Filled};
use anyhow::{Context, Result, anyhow, bail};
use glommio::timer::Timer;
use serde::Deserialize;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// Messages of a page when a session is read back.
const PAGE: u64 = 1000;
/// A server that was killed is back after so long, or the run has failed.
const BACK_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether it is, and whether the load is over.
const LOOK: Duration = Duration::from_millis(5);
/// The ref of the join; pushes have those after it.
const JOIN_REF: u64 = 1;

#[derive(Deserialize)]
struct Posted {
    message: PostedMessage,
}

#[derive(Deserialize)]
struct PostedMessage {
    seq: u64,
}

/// How a client appends.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// With so many sends in flight.
    Socket(usize),
    Rest,
}

/// One client and its session.
pub struct Client {
    /// Its thread.
    pub worker: Rc<Worker>,
    session: Session,
    ledger: Ledger,
    way: Way,
    keyed: bool,
    size: usize,
    /// It has had an acknowledgement in this life of the server.
    loaded: bool,
    body: Vec<u8>,
}

impl Client {
    /// Client `number` of all.
    pub fn new(worker: &Rc<Worker>, session: &Session, number: usize, options: &Durability) -> Self {
        Self {
            worker: Rc::clone(worker),
            session: session.clone(),
            ledger: Ledger::new(&session.topic, session.tag, options.size),
            way: if number < options.sockets { Way::Socket(options.depth) } else { Way::Rest },
            keyed: number.is_multiple_of(2),
            size: options.size,
            loaded: false,
            body: Vec::new(),
        }
    }

    /// Until the load is over and everything was read for the last time.
    pub async fn run(mut self) -> Result<()> {
        loop {
            let life = self.worker.shared.kills.life();
            self.loaded = false;
            let done = match self.way {
                Way::Socket(depth) => self.load_by_socket(depth).await,
                Way::Rest => self.load_by_rest().await,
            };
            match done {
                Ok(()) => break,
                Err(error) => self.wait_for_restart(life, error).await?,
            }
            let in_flight = self.ledger.in_flight();
            self.read_back().await.context("reading back after a kill")?;
            if self.keyed {
                self.retry(&in_flight).await.context("sending again what was in flight")?;
            }
        }
        self.read_back().await.context("reading back at the end")
    }

    /// A broken connection is what a kill does to it, unless it broke before the kill.
    async fn wait_for_restart(&self, life: u64, error: anyhow::Error) -> Result<()> {
        let kills = &self.worker.shared.kills;
        let broke_ns = now_ns();
        while kills.life() == life {
            if kills.has_ended() || kills.has_given_up() || now_ns() > broke_ns + nanos(BACK_TIMEOUT) {
                return Err(error);
            }
            Timer::new(LOOK).await;
        }
        if broke_ns < kills.killed_ns() {
            return Err(error.context("before the server was killed"));
        }
        Ok(())
    }

    fn over(&self) -> bool {
        self.worker.shared.kills.has_ended() || self.worker.shared.kills.has_given_up()
    }

    fn acknowledged(&mut self, n: u64, seq: u64, sent_ns: u64) {
        let now_ns = now_ns();
        let mut outcome = self.worker.outcome.borrow_mut();
        self.ledger.acknowledge(n, seq, &mut outcome.integrity);
        outcome.latency("ack", now_ns - sent_ns);
        outcome.count("acks", 1);
        if !std::mem::replace(&mut self.loaded, true)
            && let Some(started_ns) = self.worker.shared.kills.load()
        {
            outcome.latency("restart to first ack", now_ns - started_ns);
        }
        drop(outcome);
        self.worker.shared.kills.acknowledge(1);
        self.worker.progress(1);
    }

    /// The payload of a `send`, or the body of a POST, of message `n`.
    fn write_message(&mut self, n: u64) {
        let Self { session, way, body, .. } = self;
        body.clear();
        match way {
            Way::Socket(_) => body.extend_from_slice(br#"{"content":{"kind":"text","content":"#),
            Way::Rest => {
                body.extend_from_slice(format!(r#"{{"user_id":"{}","kind":"text","content":"#, session.user).as_bytes())
            }
        }
        write_content(body, session.tag, n, self.size);
        if matches!(way, Way::Socket(_)) {
            body.push(b'}');
        }
        if self.keyed {
            body.extend_from_slice(format!(r#","idempotency_key":"{:x}-{n}""#, session.tag).as_bytes());
        }
        body.push(b'}');
    }

    async fn open_socket(&self) -> Result<Socket> {
        let mut socket = Socket::connect(&self.worker.target, &format!("user_id={}", self.session.user)).await?;
        let payload = format!(r#"{{"last_seq":{},"limit":1}}"#, self.ledger.last_seq());
        socket.join(JOIN_REF, &self.session.topic, &payload, |_| Ok(())).await?;
        Ok(socket)
    }

    /// Keeps `depth` sends in flight until the load is over.
    async fn load_by_socket(&mut self, depth: usize) -> Result<()> {
        let mut socket = self.open_socket().await?;
        let mut waiting = VecDeque::new();
        let mut reference = JOIN_REF;
        loop {
            while waiting.len() < depth && !self.over() {
                let n = self.ledger.send();
                self.write_message(n);
                reference += 1;
                socket.push(JOIN_REF, reference, &self.session.topic, "send", &self.body);
                waiting.push_back((n, reference, now_ns()));
            }
            if waiting.is_empty() {
                return Ok(());
            }
            self.take_acks(&mut socket, &mut waiting).await?;
        }
    }

    /// Waits for input and takes in the acknowledgements in it.
    async fn take_acks(&mut self, socket: &mut Socket, waiting: &mut VecDeque<(u64, u64, u64)>) -> Result<()> {
        if socket.fill_until(now_ns() + nanos(ANSWER_TIMEOUT)).await? == Filled::Due {
            bail!("{} sends were not acknowledged in 30 s", waiting.len());
        }
        let mut acks = Vec::new();
        while let Some(incoming) = socket.pop()? {
            match incoming.event {
                "phx_reply" => {
                    let seq = acknowledged_seq(incoming.payload)?;
                    acks.push((phoenix::number(incoming.reference), seq));
                }
                "phx_error" | "phx_close" => bail!("the server ended the channel with {}", incoming.event),
                _ => {}
            }
        }
        for (reference, seq) in acks {
            let Some((n, expected, sent_ns)) = waiting.pop_front() else { bail!("an ack for nothing: {reference:?}") };
            if reference != Some(expected) {
                bail!("an ack out of order: ref {reference:?}, and {expected} was next");
            }
            self.acknowledged(n, seq, sent_ns);
        }
        Ok(())
    }

    async fn load_by_rest(&mut self) -> Result<()> {
        let mut http = Http::connect(&self.worker.target).await?;
        while !self.over() {
            let n = self.ledger.send();
            let sent_ns = now_ns();
            let seq = self.post(&mut http, n).await?;
            self.acknowledged(n, seq, sent_ns);
        }
        Ok(())
    }

    async fn post(&mut self, http: &mut Http, n: u64) -> Result<u64> {
        self.write_message(n);
        http.post(&format!("/api/sessions/{}/messages", self.session.id), &self.body);
        http.flush().await?;
        let response = http.response().await?;
        if response.status != 200 {
            bail!("POST: status {}: {}", response.status, response.excerpt());
        }
        let posted: Posted = serde_json::from_slice(response.body).context("reading the answer to a POST")?;
        Ok(posted.message.seq)
    }

    /// Sends the messages `numbers` again with the keys of their first time.
    async fn retry(&mut self, numbers: &[u64]) -> Result<()> {
        let mut http = Http::connect(&self.worker.target).await?;
        let way = std::mem::replace(&mut self.way, Way::Rest);
        for n in numbers {
            let seq = self.post(&mut http, *n).await?;
            let integrity = &mut self.worker.outcome.borrow_mut().integrity;
            self.ledger.acknowledge(*n, seq, integrity);
        }
        self.way = way;
        self.worker.shared.kills.resolve(0, 0, numbers.len() as u64);
        self.worker.shared.kills.acknowledge(numbers.len() as u64);
        Ok(())
    }

    /// Reads the whole session and judges it.
    async fn read_back(&mut self) -> Result<()> {
        let mut http = Http::connect(&self.worker.target).await?;
        let mut reading = Reading::default();
        let in_flight = self.ledger.in_flight().len() as u64;
        while self.read_page(&mut http, &mut reading).await? {}
        self.worker.shared.kills.read_back(reading.len());
        let resolved = self.ledger.judge(reading, self.keyed, &mut self.worker.outcome.borrow_mut().integrity);
        self.worker.shared.kills.resolve(in_flight, resolved.stored, 0);
        Ok(())
    }

    /// Whether there is another page.
    async fn read_page(&mut self, http: &mut Http, reading: &mut Reading) -> Result<bool> {
        let after = reading.last_seq();
        http.get(&format!("/api/sessions/{}/messages?after_seq={after}&limit={PAGE}", self.session.id));
        http.flush().await?;
        let response = http.response().await?;
        if response.status == 404 {
            return Ok(false); // a session that is gone has lost all its messages, which the ledger tells
        }
        if response.status != 200 {
            return Err(anyhow!("GET: status {}: {}", response.status, response.excerpt()));
        }
        let page: Page = serde_json::from_slice(response.body).context("reading a page of messages")?;
        let integrity = &mut self.worker.outcome.borrow_mut().integrity;
        for message in &page.messages {
            self.ledger.read(reading, message.seq, message.content.get(), integrity);
        }
        // A page that does not get on would be asked for again and again.
        Ok(reading.last_seq() > after && page.has_more != Some(false))
    }
}

fn acknowledged_seq(payload: &str) -> Result<u64> {
    let reply: Reply<SendResponse> = serde_json::from_str(payload).context("reading the reply to a send")?;
    match (reply.status, reply.response.seq) {
        ("ok", Some(seq)) => Ok(seq),
        _ => bail!("a send was refused: {payload}"),
    }
}
