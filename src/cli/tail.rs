//! `fleetlm tail`: a session's messages, then whatever comes. A connection that breaks is made again; the cursor sees to it that
//! nothing is printed twice or left out.

use anyhow::Context;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use super::print::{self, field, line, piece, plain};
use super::rest::Rest;
use super::socket::{Channel, Ended};
use crate::config::TailTask;

/// Between two attempts to come back: doubled up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Messages of a page. Pages end at 16 MiB too.
const PAGE: &str = "1000";

pub(super) fn run(task: &TailTask) -> anyhow::Result<ExitCode> {
    let rest = Rest::new(&task.at)?;
    let session = rest.get(&["api", "sessions", &task.session], &[])?["session"].take();
    let user = field(&session, "user_id").to_owned();
    let newest = rest.get(&["api", "sessions", &task.session, "messages"], &[("after_seq", "0"), ("limit", "1")])?;
    let last_seq = newest["last_seq"].as_u64().context("the server answers without a last seq")?;
    let cursor = task.after.unwrap_or(last_seq.saturating_sub(task.last));
    let mut tail = Tail { rest, session: task.session.clone(), user, cursor, task, line_is_open: false };
    if task.no_follow {
        tail.read_to_end()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut pause = PAUSES.0;
    loop {
        let before = tail.cursor;
        let mut was_joined = false;
        let Err(error) = tail.follow(&mut was_joined);
        tail.end_line()?;
        if error.downcast_ref::<Ended>().is_some_and(|ended| ended.for_good) || print::is_closed(&error) {
            return Err(error);
        }
        if was_joined || tail.cursor > before {
            pause = PAUSES.0;
        }
        eprintln!("fleetlm: {}; trying again", plain(&format!("{error:#}")));
        sleep(pause);
        pause = (2 * pause).min(PAUSES.1);
    }
}

struct Tail<'a> {
    rest: Rest,
    session: String,
    user: String,
    /// The last seq that was printed.
    cursor: u64,
    task: &'a TailTask,
    /// A running answer's text stands on the last line.
    line_is_open: bool,
}

impl Tail<'_> {
    /// Joins and prints until the connection ends.
    fn follow(&mut self, was_joined: &mut bool) -> anyhow::Result<std::convert::Infallible> {
        self.read_to_end()?;
        let mut params = json!({ "last_seq": self.cursor });
        if self.task.live {
            params["resume"] = true.into();
        }
        let (mut channel, joined) = Channel::join(&self.rest, &self.session, &self.user, params)?;
        *was_joined = true;
        for message in joined["messages"].as_array().map(Vec::as_slice).unwrap_or_default() {
            self.message(message)?;
        }
        if joined["has_more"] == true {
            self.read_to_end()?;
        }
        loop {
            let Some(event) = channel.next(None)? else { continue };
            match event.name.as_str() {
                "message" => self.message(&event.payload)?,
                "stream_chunk" if self.task.live => self.chunk(&event.payload)?,
                "run" if self.task.live => self.run(&event.payload)?,
                _ => {}
            }
        }
    }

    /// Prints page after page what stands above the cursor.
    fn read_to_end(&mut self) -> anyhow::Result<()> {
        loop {
            let after = self.cursor.to_string();
            let query = [("after_seq", after.as_str()), ("limit", PAGE)];
            let page = self.rest.get(&["api", "sessions", &self.session, "messages"], &query)?;
            for message in page["messages"].as_array().context("the server answers without messages")? {
                self.message(message)?;
            }
            if page["has_more"] != true {
                return Ok(());
            }
        }
    }

    /// Prints a message unless it was printed.
    fn message(&mut self, message: &Value) -> anyhow::Result<()> {
        let seq = message["seq"].as_u64().context("a message without a seq")?;
        if seq <= self.cursor {
            return Ok(());
        }
        self.cursor = seq;
        if self.task.at.json {
            return self.event("message", message);
        }
        self.end_line()?;
        Ok(line(&print::message(message))?)
    }

    fn chunk(&mut self, event: &Value) -> anyhow::Result<()> {
        if self.task.at.json {
            return self.event("stream_chunk", event);
        }
        if let ("text-delta", Some(delta)) = (field(&event["chunk"], "type"), event["chunk"]["delta"].as_str()) {
            if !self.line_is_open {
                piece(&format!("~ {}: ", plain(field(event, "agent_id"))))?;
            }
            self.line_is_open = true;
            piece(&plain(delta))?;
        }
        Ok(())
    }

    fn run(&mut self, run: &Value) -> anyhow::Result<()> {
        if self.task.at.json {
            return self.event("run", run);
        }
        self.end_line()?;
        let status = field(run, "status");
        let reason = run["reason"].as_str().map_or_else(String::new, |reason| format!(" ({reason})"));
        Ok(line(&format!("~ {}: {status}{reason}", plain(field(run, "agent_id"))))?)
    }

    fn event(&self, name: &str, payload: &Value) -> anyhow::Result<()> {
        let text =
            if self.task.live { json!({ "event": name, "payload": payload }).to_string() } else { payload.to_string() };
        Ok(line(&text)?)
    }

    fn end_line(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.line_is_open) {
            line("")?;
        }
        Ok(())
    }
}
