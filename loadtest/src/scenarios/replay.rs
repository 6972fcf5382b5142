//! Reads whole sessions from their first message to the last, page by page, again and again.
//!
//! First the sessions are filled. Then each reader takes one session after the other: by GET with `after_seq`, or by joining the channel
//! with `last_seq` and leaving it. Measures the time to the first byte of the first page and to the last message verified. Every message of
//! every replay is verified.

use crate::clock::{nanos, now_ns};
use crate::http::Http;
use crate::options::{By, Replay};
use crate::phoenix::{self, Page};
use crate::provision::{self, Session};
use crate::run::{Window, Worker};
use crate::socket::Socket;
use crate::verify::{Integrity, Messages};
use crate::wire::{ANSWER_TIMEOUT, Filled};
use anyhow::{Context, Result, bail};
use std::rc::Rc;

pub async fn perform(worker: &Rc<Worker>, options: &Replay) -> Result<()> {
    let own = provision::create(worker, worker.share(options.sessions)).await?;
    let fills = own.clone().into_iter().map(|session| {
        let (worker, messages, size) = (Rc::clone(worker), options.messages as u64, options.size);
        async move { provision::fill(&worker, &session, messages, size).await }
    });
    worker.each(fills).await;
    if let Some(failure) = worker.outcome.borrow().error_examples.first() {
        bail!("filling the sessions: {failure}");
    }
    worker.shared.sessions.lock().expect("no worker panics").extend(own.iter().cloned().enumerate());
    let numbers = worker.share(options.readers);
    let window = worker.window(1).await?;
    let sessions: Vec<Session> =
        worker.shared.sessions.lock().expect("no worker panics").iter().map(|(_, session)| session.clone()).collect();
    let sessions: Rc<[Session]> = sessions.into();
    let load = async {
        worker
            .each(numbers.map(|number| read(Rc::clone(worker), options.clone(), Rc::clone(&sessions), number, window)))
            .await;
        Ok(())
    };
    worker.under_load(load).await?;
    worker.meet(2).await?;
    provision::remove(&worker.target, &own).await;
    Ok(())
}

/// One reader: session after session until the window ends. What began before the end is finished, and counted by when it began.
async fn read(
    worker: Rc<Worker>,
    options: Replay,
    sessions: Rc<[Session]>,
    number: usize,
    window: Window,
) -> Result<()> {
    let last = options.messages as u64;
    let mut http = match options.by {
        By::Get => Some(Http::connect(&worker.target).await?),
        By::Join | By::Both => None,
    };
    for turn in number.. {
        let started_ns = now_ns();
        if started_ns >= window.end_ns {
            break;
        }
        let session = &sessions[turn % sessions.len()];
        let mut replay = Reading {
            messages: Messages::new(format!("replay of {}", session.topic), 1, session.tag, options.size),
            integrity: Integrity::default(),
            first_ns: None,
        };
        let bytes = match &mut http {
            Some(http) => by_get(http, session, options.page, last, &mut replay).await?,
            None => by_join(&worker, session, options.page, last, &mut replay).await?,
        };
        let done_ns = now_ns();
        replay.messages.finish(last + 1, &mut replay.integrity);
        let mut outcome = worker.outcome.borrow_mut();
        outcome.integrity.merge(replay.integrity);
        if window.measures(started_ns) {
            outcome.latency("first", replay.first_ns.unwrap_or(done_ns) - started_ns);
            outcome.latency("last", done_ns - started_ns);
        }
        if window.measures(done_ns) {
            outcome.count("replays", 1);
            outcome.count("messages", last);
            outcome.count("bytes", bytes);
        }
        drop(outcome);
        worker.progress(last);
    }
    Ok(())
}

/// One replay under way.
struct Reading {
    messages: Messages,
    integrity: Integrity,
    first_ns: Option<u64>,
}

impl Reading {
    /// Verifies a page. Whether there must be another one.
    fn page(&mut self, text: &str, last: u64) -> Result<bool> {
        let page: Page = serde_json::from_str(text).context("reading a page of messages")?;
        for message in &page.messages {
            self.messages.arrive(message.seq, message.content.get(), &mut self.integrity);
        }
        // An empty page before the end is a loss: the verifier tells, and asking again would not end.
        Ok(self.messages.next() <= last && !page.messages.is_empty() && page.has_more != Some(false))
    }
}

async fn by_get(http: &mut Http, session: &Session, limit: usize, last: u64, replay: &mut Reading) -> Result<u64> {
    let before = http.bytes_total();
    loop {
        let after = replay.messages.next() - 1;
        http.get(&format!("/api/sessions/{}/messages?after_seq={after}&limit={limit}", session.id));
        http.flush().await?;
        let response = http.response().await?;
        if response.status != 200 {
            bail!("GET of {}: status {}: {}", session.id, response.status, response.excerpt());
        }
        replay.first_ns.get_or_insert(response.first_ns);
        if !replay.page(std::str::from_utf8(response.body).context("a page is not UTF-8")?, last)? {
            return Ok(http.bytes_total() - before);
        }
    }
}

/// A replay by join is what a client does that comes back: its time includes connecting.
async fn by_join(worker: &Worker, session: &Session, limit: usize, last: u64, replay: &mut Reading) -> Result<u64> {
    let mut socket = Socket::connect(&worker.target, &format!("user_id={}", session.user)).await?;
    for reference in 1.. {
        let after = replay.messages.next() - 1;
        let payload = format!(r#"{{"last_seq":{after},"limit":{limit}}}"#);
        // The leave of the page before and this join travel together; join_refs tell their answers apart.
        if reference > 1 {
            socket.push(reference - 1, reference, &session.topic, "phx_leave", b"{}");
        }
        let join_ref = reference;
        socket.push(join_ref, join_ref, &session.topic, "phx_join", payload.as_bytes());
        if !joined(&mut socket, join_ref, last, replay).await? {
            break;
        }
    }
    Ok(socket.bytes_total())
}

/// Waits for the reply to the join of `join_ref` and verifies its page. Whether there must be another one.
async fn joined(socket: &mut Socket, join_ref: u64, last: u64, replay: &mut Reading) -> Result<bool> {
    loop {
        if socket.fill_until(now_ns() + nanos(ANSWER_TIMEOUT)).await? == Filled::Due {
            bail!("a join was not answered in 30 s");
        }
        replay.first_ns.get_or_insert_with(now_ns);
        while let Some(incoming) = socket.pop()? {
            let ours = incoming.event == "phx_reply" && phoenix::number(incoming.join_ref) == Some(join_ref);
            if !ours {
                continue;
            }
            let reply: phoenix::Reply = serde_json::from_str(incoming.payload)?;
            if reply.status != "ok" {
                bail!("a join was refused: {}", reply.response.get());
            }
            return replay.page(reply.response.get(), last);
        }
    }
}
