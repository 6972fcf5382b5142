//! What scenarios need before they start: sessions, and sessions full of messages. And their removal afterwards.

use crate::clock::{nanos, now_ns};
use crate::content::{mix, write_content};
use crate::http::Http;
use crate::phoenix::{self, SendResponse};
use crate::run::Worker;
use crate::socket::Socket;
use crate::target::Target;
use crate::wire::{ANSWER_TIMEOUT, Filled};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::ops::Range;

/// The agent of all sessions. It is not registered, so nobody answers but the scenario.
pub const AGENT: &str = "loadtest-agent";
/// Requests in flight while sessions are created or removed.
const PIPELINE: usize = 32;
/// Sends in flight while a session is filled.
const FILL_DEPTH: u64 = 256;

/// A session of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// As the server named it.
    pub id: String,
    /// Its user.
    pub user: String,
    /// Its channel.
    pub topic: String,
    /// Of its contents.
    pub tag: u64,
}

#[derive(Deserialize)]
struct Created<'a> {
    #[serde(borrow)]
    session: CreatedSession<'a>,
}

#[derive(Deserialize)]
struct CreatedSession<'a> {
    id: &'a str,
    user_id: &'a str,
}

/// The user of session `number` of the run with `seed`.
pub fn user(seed: u64, number: usize) -> String {
    format!("loadtest-{seed:x}-{number}")
}

/// The body that creates the session of `user` and `agent`.
pub fn creation(user: &str, agent: &str) -> String {
    format!(r#"{{"user_id":"{user}","agent_id":"{agent}","metadata":{{"loadtest":true}}}}"#)
}

/// The id in the answer to a creation.
///
/// # Errors
/// When it is not a session of `user`.
pub fn created(status: u16, body: &[u8], user: &str) -> Result<String> {
    if status != 201 {
        bail!("creating a session: status {status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)]));
    }
    let created: Created = serde_json::from_slice(body).context("reading a created session")?;
    if created.session.user_id != user {
        bail!("a session for {user} was created for {}", created.session.user_id);
    }
    Ok(created.session.id.to_owned())
}

/// Creates the sessions `numbers` of the run.
///
/// # Errors
/// When one is not created.
pub async fn create(worker: &Worker, numbers: Range<usize>) -> Result<Vec<Session>> {
    create_with(worker, numbers, AGENT).await
}

/// Creates the sessions `numbers` of the run with this agent.
///
/// # Errors
/// When one is not created.
pub async fn create_with(worker: &Worker, numbers: Range<usize>, agent: &str) -> Result<Vec<Session>> {
    let mut sessions = Vec::with_capacity(numbers.len());
    if numbers.is_empty() {
        return Ok(sessions);
    }
    let seed = worker.shared.seed;
    let mut http = Http::connect(&worker.target).await?;
    let mut queued = numbers.clone();
    for number in numbers {
        while queued.start < queued.end && queued.start < number + PIPELINE {
            http.post("/api/sessions", creation(&user(seed, queued.start), agent).as_bytes());
            queued.start += 1;
        }
        http.flush().await?;
        let response = http.response().await?;
        let user = user(seed, number);
        let id = created(response.status, response.body, &user)?;
        let (topic, tag) = (phoenix::topic(&id), mix(seed ^ mix(number as u64)));
        sessions.push(Session { id, user, topic, tag });
    }
    Ok(sessions)
}

/// Removes sessions. A server that refuses is not complained about: the measurement is over.
pub async fn remove(target: &Target, sessions: &[Session]) {
    let removal = async {
        let mut http = Http::connect(target).await?;
        for batch in sessions.chunks(PIPELINE) {
            batch.iter().for_each(|session| http.delete(&format!("/api/sessions/{}", session.id)));
            http.flush().await?;
            for _ in batch {
                http.response().await?;
            }
        }
        anyhow::Ok(())
    };
    drop(removal.await);
}

/// The payload of a `send` of message `n`.
pub fn send_payload(out: &mut Vec<u8>, tag: u64, n: u64, bytes: usize) {
    out.clear();
    out.extend_from_slice(br#"{"content":{"kind":"text","content":"#);
    write_content(out, tag, n, bytes);
    out.extend_from_slice(b"}}");
}

/// Appends messages 1 to `messages` to an empty session and waits for all acks.
///
/// # Errors
/// When one is refused, numbered otherwise, or not answered.
pub async fn fill(worker: &Worker, session: &Session, messages: u64, bytes: usize) -> Result<()> {
    let mut socket = Socket::connect(&worker.target, &format!("user_id={}", session.user)).await?;
    socket.join(1, &session.topic, "{}", |_| Ok(())).await?;
    let (mut sent, mut acked) = (0, 0);
    let mut payload = Vec::new();
    while acked < messages {
        while sent < messages && sent - acked < FILL_DEPTH {
            sent += 1;
            send_payload(&mut payload, session.tag, sent, bytes);
            socket.push(1, sent + 1, &session.topic, "send", &payload);
        }
        if socket.fill_until(now_ns() + nanos(ANSWER_TIMEOUT)).await? == Filled::Due {
            bail!("{} of {messages} sends were acknowledged while a session was filled, then none for 30 s", acked);
        }
        while let Some(incoming) = socket.pop()? {
            if incoming.event != "phx_reply" {
                continue;
            }
            let reply: phoenix::Reply = serde_json::from_str(incoming.payload)?;
            let response: SendResponse = serde_json::from_str(reply.response.get())
                .with_context(|| format!("a send was answered {}", incoming.payload))?;
            acked += 1;
            if response.seq != Some(acked) {
                bail!("send {acked} of an empty session got seq {:?}", response.seq);
            }
        }
    }
    worker.progress(messages);
    Ok(())
}
