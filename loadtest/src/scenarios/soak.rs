//! Everything at once at a steady rate: sends over WebSocket, the REST mix, an agent's chunks to many readers, whole
//! replays by join, and sessions that are created, used and deleted.
//!
//! Each kind is the scenario of its name, verified as there; this file shares out the rate. Whether something grew or
//! slowed down is `drift`'s.

use super::fanout::{self, Role};
use super::{hot_path, replay, rest};
use crate::clock::{Schedule, now_ns};
use crate::content::{mix, write_content};
use crate::http::Http;
use crate::options::{Fanout, HotPath, Mix, Rest, Soak};
use crate::phoenix::Page;
use crate::provision::{self, AGENT, Session, created, creation};
use crate::run::{Window, Worker};
use crate::verify::Messages;
use anyhow::{Context, Result, bail};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;

/// Sessions in which the agent writes.
const FANOUT_SESSIONS: usize = 5;
/// Messages of a session that is replayed.
const REPLAY_MESSAGES: u64 = 1000;
/// Parts of the rate, in thousandths: sends, REST requests, chunks, sessions that come and go, replays.
const PARTS: [f64; 5] = [600.0, 250.0, 100.0, 48.0, 2.0];

type Task = Pin<Box<dyn Future<Output = Result<()>>>>;

pub async fn perform(worker: &Rc<Worker>, options: &Soak) -> Result<()> {
    let rate = |part: usize| options.rate * PARTS[part] / 1000.0;
    // Users are numbered through all kinds.
    let mut first = 0;
    let mut numbers = |count: usize| {
        let own = worker.share(count);
        let shifted = first + own.start..first + own.end;
        first += count;
        (own, shifted)
    };
    let [socket, rest, replayed, churned] =
        [options.sockets, options.rest, options.replayers, options.churners].map(&mut numbers);
    let fanout = Fanout {
        subscribers: options.subscribers,
        sessions: FANOUT_SESSIONS,
        size: options.size,
        rate: rate(2),
        window: None,
        webhook: false,
    };
    let prepared = fanout::prepare(worker, &fanout, first).await?;
    let mut own = prepared.own;
    let writers = writers(worker, options, socket.1, &mut own).await?;
    let requesters = requesters(worker, options, rest.1, &mut own).await?;
    let filled = filled(worker, options.size, replayed.1).await?;
    own.extend(filled.iter().cloned());

    let window = worker.window(2).await?;
    let pace = |part: usize, number: usize, of: usize| Schedule::new(window.start_ns, rate(part), number, of);
    let mut tasks: Vec<Task> = Vec::new();
    for (client, number) in writers.into_iter().zip(socket.0) {
        tasks.push(Box::pin(client.run(window, Some(pace(0, number, options.sockets)))));
    }
    for (client, number) in requesters.into_iter().zip(rest.0) {
        tasks.push(Box::pin(client.run(window, Some(pace(1, number, options.rest)))));
    }
    let agents = prepared.agents;
    tasks.extend(prepared.roles.into_iter().map(|role: Role| Box::pin(role.run(window, agents)) as Task));
    for (number, user_number) in churned.0.zip(churned.1) {
        tasks.push(Box::pin(churn(
            Rc::clone(worker),
            user_number,
            options.size,
            window,
            pace(3, number, options.churners),
        )));
    }
    for (session, number) in filled.into_iter().zip(replayed.0) {
        let pace = pace(4, number, options.replayers);
        tasks.push(Box::pin(replay::join_at_times(
            Rc::clone(worker),
            session,
            REPLAY_MESSAGES,
            options.size,
            window,
            pace,
        )));
    }
    let load = async {
        worker.each(tasks.into_iter()).await;
        Ok(())
    };
    worker.under_load(load).await?;
    worker.meet(3).await?;
    provision::remove(&worker.target, &own).await;
    Ok(())
}

async fn writers(
    worker: &Rc<Worker>,
    options: &Soak,
    numbers: Range<usize>,
    own: &mut Vec<Session>,
) -> Result<Vec<hot_path::Client>> {
    let hot_path = HotPath { connections: options.sockets, depth: 1, size: options.size, rate: Some(options.rate) };
    let mut clients = Vec::new();
    for session in provision::create(worker, numbers).await? {
        clients.push(hot_path::Client::connect(worker, &session, &hot_path).await?);
        own.push(session);
    }
    Ok(clients)
}

async fn requesters(
    worker: &Rc<Worker>,
    options: &Soak,
    numbers: Range<usize>,
    own: &mut Vec<Session>,
) -> Result<Vec<rest::Client>> {
    let rest =
        Rest { connections: options.rest, size: options.size, mix: Mix::Mixed, limit: 50, rate: Some(options.rate) };
    let mut clients = Vec::new();
    for session in provision::create(worker, numbers).await? {
        clients.push(rest::Client::connect(worker, &session, &rest).await?);
        own.push(session);
    }
    Ok(clients)
}

async fn filled(worker: &Rc<Worker>, size: usize, numbers: Range<usize>) -> Result<Vec<Session>> {
    let sessions = provision::create(worker, numbers).await?;
    for session in &sessions {
        provision::fill(worker, session, REPLAY_MESSAGES, size).await.context("filling a session")?;
    }
    Ok(sessions)
}

/// A client that creates a session, appends to it, reads it, and deletes it, each time that one is due.
async fn churn(worker: Rc<Worker>, number: usize, size: usize, window: Window, pace: Schedule) -> Result<()> {
    let mut http = Http::connect(&worker.target).await?;
    let mut pace = Some(pace);
    let user = provision::user(worker.shared.seed, number);
    for turn in 0_u64.. {
        let Some(due_ns) = rest::next(&window, &mut pace).await else { break };
        let tag = mix(worker.shared.seed ^ mix(number as u64) ^ mix(turn));
        http.post("/api/sessions", creation(&user, AGENT).as_bytes());
        http.flush().await?;
        let response = http.response().await?;
        let id = created(response.status, response.body, &user)?;
        let created_ns = now_ns();
        use_session(&worker, &mut http, &id, &user, tag, size).await?;
        let used_ns = now_ns();
        http.delete(&format!("/api/sessions/{id}"));
        http.flush().await?;
        let status = http.response().await?.status;
        if status != 204 && status != 200 {
            bail!("deleting a session: status {status}");
        }
        let deleted_ns = now_ns();
        let mut outcome = worker.outcome.borrow_mut();
        if window.measures(due_ns) {
            outcome.latency("create", created_ns - due_ns);
            outcome.latency("delete", deleted_ns - used_ns);
        }
        if window.measures(deleted_ns) {
            outcome.count("sessions", 1);
        }
        drop(outcome);
        worker.progress(1);
    }
    Ok(())
}

/// One message, and its reading back.
async fn use_session(worker: &Worker, http: &mut Http, id: &str, user: &str, tag: u64, size: usize) -> Result<()> {
    let mut body = format!(r#"{{"user_id":"{user}","kind":"text","content":"#).into_bytes();
    write_content(&mut body, tag, 1, size);
    body.push(b'}');
    let path = format!("/api/sessions/{id}/messages");
    http.post(&path, &body);
    http.flush().await?;
    let response = http.response().await?;
    if response.status != 200 {
        bail!("POST {path}: status {}: {}", response.status, response.excerpt());
    }
    http.get(&path);
    http.flush().await?;
    let response = http.response().await?;
    let page: Page = serde_json::from_slice(response.body).context("reading a page of messages")?;
    let integrity = &mut worker.outcome.borrow_mut().integrity;
    let mut messages = Messages::new(format!("new session {id}"), 1, tag, size);
    page.messages.iter().for_each(|message| messages.arrive(message.seq, message.content.get(), integrity));
    messages.finish(2, integrity);
    Ok(())
}
