//! The fan-out of answers that the server fetches itself: this program is the webhook. Each session has one running answer,
//! whose chunks are written when they are due.
//!
//! What readers verify and measure is `fanout`'s: latency is from the intended write of a chunk by the agent to a reader's read.

use super::fanout::{FINISH, Reader, counters};
use crate::clock::{Schedule, now_ns};
use crate::content::write_chunk;
use crate::http::Http;
use crate::options::Fanout;
use crate::provision::{self, Session};
use crate::run::{Window, Worker};
use anyhow::{Context, Result, bail, ensure};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::Timer;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Chunks that are written before others get their turn.
const BURST_MAX: usize = 256;
/// Bytes of a call's head and body at the most.
const CALL_BYTES_MAX: usize = 1 << 20;

pub async fn perform(worker: &Rc<Worker>, options: &Fanout) -> Result<()> {
    let numbers = worker.share(options.sessions);
    let agent = format!("loadtest-webhook-{:x}-{}", worker.shared.seed, numbers.start);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| anyhow::anyhow!("cannot listen: {error}"))?;
    let address = listener.local_addr().map_err(|error| anyhow::anyhow!("cannot listen: {error}"))?;
    if !numbers.is_empty() {
        register(worker, &agent, address).await?;
    }
    let own = provision::create_with(worker, numbers.clone(), &agent).await?;
    worker.shared.sessions.lock().expect("no worker panics").extend(numbers.clone().zip(own.iter().cloned()));
    worker.shared.chunks.get_or_init(|| (0..options.sessions).map(|_| Default::default()).collect());
    worker.meet(1).await?;
    let mut sessions = worker.shared.sessions.lock().expect("no worker panics").clone();
    sessions.sort_unstable_by_key(|(number, _)| *number);
    let sessions: Vec<Session> = sessions.into_iter().map(|(_, session)| session).collect();
    let mut readers = Vec::new();
    for number in worker.share(options.subscribers) {
        readers.push(Reader::connect(worker, &sessions, number % options.sessions, options).await?);
    }
    let answers = begin_answers(worker, &listener, &own).await?;
    let speaker = Speaker { worker: Rc::clone(worker), answers, numbers, sessions, options: options.clone(), turn: 0 };
    let window = worker.window(2).await?;
    let speakers = worker.shared.workers();
    let load = async {
        let readers = readers.into_iter().map(Role::Reader);
        let roles = readers.chain(std::iter::once(Role::Speaker(speaker)));
        worker.each(roles.map(|role| role.run(window, speakers))).await;
        Ok(())
    };
    worker.under_load(load).await?;
    worker.meet(3).await?;
    provision::remove(&worker.target, &own).await;
    Ok(())
}

async fn register(worker: &Worker, agent: &str, address: SocketAddr) -> Result<()> {
    let body = format!(
        r#"{{"agent":{{"id":"{agent}","name":"loadtest","origin_url":"http://{address}","debounce_window_ms":0,"timeout_ms":600000,"total_timeout_ms":86400000}}}}"#
    );
    let mut http = Http::connect(&worker.target).await?;
    http.post("/api/agents", body.as_bytes());
    http.flush().await?;
    let response = http.response().await?;
    ensure!(response.status == 201, "registering the webhook: status {}: {}", response.status, response.excerpt());
    Ok(())
}

/// Says something in every session; gives the connections over which the server asks for the answers, in their order.
async fn begin_answers(worker: &Worker, listener: &TcpListener, own: &[Session]) -> Result<Vec<TcpStream>> {
    let mut http = Http::connect(&worker.target).await?;
    let mut answers = Vec::with_capacity(own.len());
    for session in own {
        let body = format!(r#"{{"user_id":"{}","content":{{"text":"go"}}}}"#, session.user);
        http.post(&format!("/api/sessions/{}/messages", session.id), body.as_bytes());
        http.flush().await?;
        let response = http.response().await?;
        ensure!(response.status == 200, "a message: status {}: {}", response.status, response.excerpt());
        let mut stream = listener.accept().await.map_err(|error| anyhow::anyhow!("no call came: {error}"))?;
        let call = read_call(&mut stream).await?;
        ensure!(call.contains(&session.id), "the server calls for another session than {}", session.id);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.context("answering a call")?;
        answers.push(stream);
    }
    Ok(answers)
}

/// The body of a request whose length its head names.
async fn read_call(stream: &mut TcpStream) -> Result<String> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    loop {
        let read = stream.read(&mut piece).await.context("reading a call")?;
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.context("a call without a length")? <= body.len() {
                return Ok(body.to_owned());
            }
        }
        if read == 0 || bytes.len() > CALL_BYTES_MAX {
            bail!("a call that does not end");
        }
    }
}

enum Role {
    Speaker(Speaker),
    Reader(Reader),
}

impl Role {
    async fn run(self, window: Window, speakers: usize) -> Result<()> {
        match self {
            Self::Reader(reader) => reader.run(window, speakers).await,
            Self::Speaker(speaker) => {
                let shared = Rc::clone(&speaker.worker);
                let done = speaker.run(window).await;
                if done.is_err() {
                    shared.shared.agent_failed.store(true, Ordering::SeqCst);
                }
                shared.shared.agents_done.fetch_add(1, Ordering::SeqCst);
                done
            }
        }
    }
}

/// The agent of this thread's sessions, which writes into their answers in turn.
struct Speaker {
    worker: Rc<Worker>,
    answers: Vec<TcpStream>,
    numbers: Range<usize>,
    sessions: Vec<Session>,
    options: Fanout,
    turn: usize,
}

impl Speaker {
    async fn run(mut self, window: Window) -> Result<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        // This thread's part of the rate, by its part of the sessions.
        let rate = self.options.rate * self.answers.len() as f64 / self.options.sessions as f64;
        let mut schedule = Schedule::new(window.start_ns, rate, 0, 1);
        while now_ns() < window.end_ns {
            let now_ns = now_ns();
            for _ in 0..BURST_MAX {
                let Some(due_ns) = schedule.take(now_ns) else { break };
                if window.measures(due_ns) {
                    self.worker.outcome.borrow_mut().latency("send lag", now_ns - due_ns);
                }
                self.say(due_ns).await?;
            }
            let wake_ns = schedule.due_ns().min(window.end_ns);
            let pause = Duration::from_nanos(wake_ns.saturating_sub(crate::clock::now_ns()).max(1_000));
            Timer::new(pause).await;
        }
        for mut answer in self.answers {
            answer.write_all(FINISH.as_bytes()).await.context("ending an answer")?;
            answer.close().await.context("ending an answer")?;
        }
        Ok(())
    }

    async fn say(&mut self, due_ns: u64) -> Result<()> {
        let place = self.turn % self.answers.len();
        self.turn += 1;
        let number = self.numbers.start + place;
        let sent = &counters(&self.worker, number).0;
        let n = sent.load(Ordering::Relaxed);
        let mut line = Vec::with_capacity(self.options.size + 1);
        write_chunk(&mut line, self.sessions[number].tag, n, due_ns, self.options.size);
        line.push(b'\n');
        self.answers[place].write_all(&line).await.context("writing a chunk")?;
        sent.store(n + 1, Ordering::SeqCst);
        Ok(())
    }
}
