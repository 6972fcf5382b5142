//! `fleetlm send`: one message, and the answer to it as it is produced.
//!
//! The message is sent over REST with an idempotency key, so that it is said once; the answer is heard on the session's channel, which
//! is joined before. What was shown of the answer is the answer: what no chunk brought is printed from its message.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::print::{self, field, line, piece, plain, text_of};
use super::rest::Rest;
use super::sessions;
use super::socket::Channel;
use crate::config::SendTask;

/// Who speaks in a new session when nobody is named, as in the APIs that name no user.
const DEFAULT_USER: &str = "default";
/// The agent of every server, which is registered nowhere. It can be switched off.
const BUILT_IN: &str = "echo";
/// A run begins when the agent's debounce is over and a call is free; if none has begun by then nobody will answer soon.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn run(task: &SendTask) -> anyhow::Result<ExitCode> {
    let rest = Rest::new(&task.at)?;
    let text = text(&task.text)?;
    let session = session(&rest, task)?;
    let (id, agent) = (field(&session, "id").to_owned(), field(&session, "agent_id").to_owned());
    let user = task.user.clone().unwrap_or_else(|| field(&session, "user_id").to_owned());
    let is_asked = !task.no_wait && user == field(&session, "user_id");
    let debounce = if is_asked { debounce(&rest, &agent) } else { None };
    let channel = debounce.map(|_| Channel::join(&rest, &id, &user, json!({ "limit": 1 }))).transpose()?;
    let body = json!({ "user_id": user, "kind": "text", "content": { "text": text } });
    let key = task.idempotency_key.clone().unwrap_or_else(|| ulid::Ulid::generate().to_string());
    let path = ["api", "sessions", &id, "messages"];
    let answer = rest.call("POST", &path, &[], Some(&body), Some(&key))?;
    let seq = answer["message"]["seq"].as_u64().context("the server answers without a seq")?;
    match channel {
        None if task.at.json => line(&answer["message"].to_string())?,
        None => eprintln!("#{seq} is stored"),
        Some((channel, _)) => {
            let answering = Answering { json: task.at.json, seq, agent, run: None, told: String::new() };
            let begun_by = Instant::now() + debounce.unwrap_or_default() + BEGINS_WITHIN;
            return answering.hear(channel, begun_by, Instant::now() + Duration::from_secs(task.timeout));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(given: &str) -> anyhow::Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

fn session(rest: &Rest, task: &SendTask) -> anyhow::Result<Value> {
    if let Some(id) = &task.session {
        return Ok(rest.get(&["api", "sessions", id], &[])?["session"].take());
    }
    let agent = task.agent.as_deref().context("a session or an agent is needed")?;
    let session = sessions::make(rest, task.user.as_deref().unwrap_or(DEFAULT_USER), agent, None)?;
    eprintln!("session {}", field(&session, "id"));
    Ok(session)
}

/// How long the agent waits for more before it is called. `None`: it is not called.
fn debounce(rest: &Rest, agent: &str) -> Option<Duration> {
    match rest.get(&["api", "agents", agent], &[]) {
        Ok(answer) if answer["agent"]["status"] == "enabled" => {
            Some(Duration::from_millis(answer["agent"]["debounce_max_wait_ms"].as_u64().unwrap_or(0)))
        }
        Err(_) if agent == BUILT_IN => Some(Duration::ZERO),
        _ => None,
    }
}

/// The answer to message `seq` on its way.
struct Answering {
    json: bool,
    seq: u64,
    agent: String,
    run: Option<String>,
    /// What was printed of the message that is being said.
    told: String,
}

impl Answering {
    fn hear(mut self, mut channel: Channel, begun_by: Instant, over_by: Instant) -> anyhow::Result<ExitCode> {
        loop {
            let by = if self.run.is_some() { over_by } else { over_by.min(begun_by) };
            let Some(event) = channel.next(Some(by))? else {
                bail!("#{} is stored, and not answered in time: an answer will stand in the session", self.seq);
            };
            match event.name.as_str() {
                "stream_chunk" => self.chunk(&event.payload)?,
                "message" => self.message(&event.payload)?,
                "run" if self.is_ours(&event.payload) => {
                    if let Some(code) = self.run(&event.payload)? {
                        return Ok(code);
                    }
                }
                _ => {}
            }
        }
    }

    fn is_ours(&self, run: &Value) -> bool {
        run["upto_seq"].as_u64().is_some_and(|upto| upto >= self.seq)
    }

    /// Teams speak with several voices: theirs are printed whole, one behind the other.
    fn chunk(&mut self, event: &Value) -> anyhow::Result<()> {
        let is_ours = self.run.is_some() && event["run_id"].as_str() == self.run.as_deref();
        if let (true, false, Some(delta)) = (is_ours, self.json, event["chunk"]["delta"].as_str())
            && event["chunk"]["type"] == "text-delta"
            && event["agent_id"] == self.agent.as_str()
        {
            self.told.push_str(delta);
            piece(&plain(delta))?;
        }
        Ok(())
    }

    fn message(&mut self, message: &Value) -> anyhow::Result<()> {
        if self.run.is_none() || message["metadata"]["run_id"].as_str() != self.run.as_deref() {
            return Ok(());
        }
        if self.json {
            return Ok(line(&message.to_string())?);
        }
        if message["sender_id"] != self.agent.as_str() {
            return Ok(line(&print::message(message))?);
        }
        let text = text_of(message);
        match text.strip_prefix(self.told.as_str()) {
            Some(rest) => line(&plain(rest))?,
            None => line(&format!("\n{}", plain(&text)))?, // an attempt that failed had begun otherwise
        }
        self.told.clear();
        Ok(())
    }

    /// The exit code, when the run is over.
    fn run(&mut self, run: &Value) -> anyhow::Result<Option<ExitCode>> {
        match run["status"].as_str().unwrap_or_default() {
            "started" => self.run = run["run_id"].as_str().map(str::to_owned),
            "retrying" => {
                eprintln!("{} failed ({}), it is called again", plain(&self.agent), plain(field(run, "reason")))
            }
            "finished" => return Ok(Some(ExitCode::SUCCESS)),
            "stopped" => bail!("the answer was stopped"),
            "failed" => bail!("{} did not answer: {} {}", self.agent, field(run, "reason"), field(run, "detail")),
            _ => {}
        }
        Ok(None)
    }
}
