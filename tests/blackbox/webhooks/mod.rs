//! Agents as webhooks: the real binary calls fake agents on plain threads, whose every piece is sent when the test says so.
//!
//! Here is what those tests share: registering an agent, a user's room with it, and the chunks of an answer.

mod answers;
mod compaction;
mod crash;
mod crowd;
mod dispatch;
mod echo;
mod hostile;
mod numbers;
mod requests;
mod resume;
mod retries;
mod secure;
mod stop;

use crate::harness::{Agent, Frame, Server, Socket, Value, json, unique};

/// Registers an agent at `url` that is called at once, with these fields besides; gives its id.
#[track_caller]
fn register(server: &Server, url: &str, fields: Value) -> String {
    let id = unique("agent");
    let mut agent = json!({"id": id, "name": "An agent", "origin_url": url, "debounce_window_ms": 0});
    let more = fields.as_object().expect("fields are an object").clone();
    agent.as_object_mut().expect("an object").extend(more);
    server.post("/api/agents", &json!({ "agent": agent })).expect(201);
    id
}

/// A session of a user with an agent, and the user's socket in it.
struct Room {
    agent_id: String,
    session: String,
    topic: String,
    socket: Socket,
}

impl Room {
    /// A new session with a registered agent.
    #[track_caller]
    fn open(server: &Server, agent_id: &str) -> Self {
        Self::enter(server, agent_id, &server.session("alice", agent_id))
    }

    /// A session that is there.
    #[track_caller]
    fn enter(server: &Server, agent_id: &str, session: &str) -> Self {
        let mut socket = Socket::open(server, "alice");
        let topic = socket.join_session(session);
        Self { agent_id: agent_id.to_owned(), session: session.to_owned(), topic, socket }
    }

    /// A new session with an agent that is registered for it.
    #[track_caller]
    fn with(server: &Server, agent: &Agent, fields: Value) -> Self {
        Self::open(server, &register(server, &agent.url(), fields))
    }

    /// The user says something by REST; gives its seq.
    #[track_caller]
    fn say(&self, server: &Server, text: &str) -> u64 {
        server.say(&self.session, "alice", text)["seq"].as_u64().expect("a seq")
    }

    /// The next `stream_chunk`.
    fn chunk(&mut self) -> Value {
        self.socket.event(&self.topic, "stream_chunk")
    }

    /// The next `run` event, which must be this one.
    #[track_caller]
    fn run(&mut self, status: &str) -> Value {
        let run = self.socket.event(&self.topic, "run");
        assert_eq!(run["status"], status, "{run}");
        run
    }

    /// The next message of the agent.
    fn answer(&mut self) -> Value {
        let topic = self.topic.clone();
        let is_answer =
            |frame: &Frame| frame.topic == topic && frame.event == "message" && frame.payload["kind"] == "assistant";
        self.socket.first(is_answer).payload
    }

    /// Everything up to the end of the run, as (event, payload); the user's own messages are left out.
    fn until_the_end(&mut self) -> Vec<(String, Value)> {
        let mut seen = Vec::new();
        loop {
            let frame = self.socket.next();
            let is_end = frame.event == "run" && ends(&frame.payload);
            if frame.topic == self.topic && frame.payload["sender_id"] != "alice" {
                seen.push((frame.event, frame.payload));
            }
            if is_end {
                return seen;
            }
        }
    }
}

/// Whether a `run` event is the last of its run.
fn ends(run: &Value) -> bool {
    ["finished", "stopped", "failed"].iter().any(|status| run["status"] == *status)
}

/// The payloads of one event.
fn of<'a>(seen: &'a [(String, Value)], event: &str) -> Vec<&'a Value> {
    seen.iter().filter(|(name, _)| name == event).map(|(_, payload)| payload).collect()
}

/// The names of the events, one after another.
fn names(seen: &[(String, Value)]) -> Vec<&str> {
    seen.iter().map(|(name, _)| name.as_str()).collect()
}

fn start() -> Value {
    json!({"type": "start"})
}

fn text_start() -> Value {
    json!({"type": "text-start", "id": "t"})
}

fn delta(text: &str) -> Value {
    json!({"type": "text-delta", "id": "t", "delta": text})
}

fn text_end() -> Value {
    json!({"type": "text-end", "id": "t"})
}

fn finish() -> Value {
    json!({"type": "finish"})
}

/// A whole answer.
fn spoken(text: &str) -> Vec<Value> {
    vec![start(), text_start(), delta(text), text_end(), finish()]
}

/// The text of an assistant's message: that of its text parts.
#[track_caller]
fn text_of(message: &Value) -> String {
    let parts = message["content"]["parts"].as_array().unwrap_or_else(|| panic!("{message} has parts"));
    parts.iter().filter(|part| part["type"] == "text").map(|part| part["text"].as_str().expect("a text")).collect()
}
