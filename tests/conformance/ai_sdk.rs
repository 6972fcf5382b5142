//! Agents written with the AI SDK behind the published client code: chunks are shown while the answer is going on, and the
//! message that stays is the one that the SDK's own client makes of them.

use crate::agent::Agent;
use crate::harness::{Server, Socket, Value, json};
use crate::node::{Node, Transport};
use crate::packages::{AI_VERSIONS, PHOENIX_VERSIONS, phoenix};
use crate::published_code::{PAGES, pointed_at};

/// The agent's ways of answering.
const WAYS: [&str; 3] = ["/response", "/stream", "/lines"];

/// What the server adds to the metadata of an answer that ended by itself.
const OURS: [&str; 6] = ["termination", "_finish_chunk", "run_id", "reply_to", "duration_ms", "latency_ms"];

/// The published code on the page of a user who has a session with an agent. It says "Hello!" by itself.
struct Page {
    node: Node,
    agent_id: String,
}

impl Page {
    fn open(
        page: &str,
        version: &str,
        transport: Transport,
        server: &Server,
        session: &str,
        agent_id: &str,
    ) -> Option<Self> {
        let environment = [("SESSION_ID", session), ("AJAX", "XMLHttpRequest"), ("CONSOLE", "JSON")];
        let mut node = Node::run(&phoenix(version)?, transport, &pointed_at(page, server), &environment);
        node.until("alice: {\"text\":\"Hello!\"}");
        Some(Self { node, agent_id: agent_id.to_owned() })
    }

    /// The chunks it shows, up to one of this type.
    #[track_caller]
    fn chunks_until(&mut self, kind: &str) -> Vec<Value> {
        let shown = format!("chunk from {}: ", self.agent_id);
        let mut chunks: Vec<Value> = Vec::new();
        while chunks.last().is_none_or(|chunk| chunk["type"] != kind) {
            let line = self.node.line().expect("the page goes on");
            let chunk = line.strip_prefix(&shown).unwrap_or_else(|| panic!("a chunk and not {line}"));
            chunks.push(serde_json::from_str(chunk).expect("the page shows JSON"));
        }
        chunks
    }

    /// The parts of the message that it shows next.
    #[track_caller]
    fn parts(&mut self) -> Value {
        let line = self.node.line().expect("the page goes on");
        let shown = format!("{} parts: ", self.agent_id);
        let parts = line.strip_prefix(&shown).unwrap_or_else(|| panic!("the message and not {line}"));
        serde_json::from_str(parts).expect("the page shows JSON")
    }
}

/// The last message of a session, which is an answer.
#[track_caller]
fn answer(server: &Server, session: &str) -> Value {
    let message = server.history(session).pop().expect("a message");
    assert_eq!(message["kind"], "assistant", "{message}");
    message
}

/// An answer's metadata without what the server adds.
#[track_caller]
fn merged_metadata(message: &Value) -> Value {
    let mut metadata = message["metadata"].clone();
    let fields = metadata.as_object_mut().expect("metadata is an object");
    for name in OURS {
        assert!(fields.remove(name).is_some(), "{name} in {message}");
    }
    metadata
}

/// What stays of an answer is what the SDK makes of the chunks as they were shown, and those are the ones it sent.
#[track_caller]
fn stays_as_the_sdk_has_it(agent: &Agent, server: &Server, session: &str, chunks: Vec<Value>, parts: &Value) {
    let chunks = Value::Array(chunks);
    assert_eq!(chunks, agent.said(session), "all chunks in order and unchanged");
    let reduced = agent.reduced(&chunks);
    let message = answer(server, session);
    let content = &message["content"];
    assert_eq!((parts, &content["parts"]), (&reduced["parts"], &reduced["parts"]));
    assert_eq!(content["role"], "assistant");
    // The SDK's client makes an id up where the agent gives none, and so does the server.
    let id = if reduced["id"] == "" { &message["metadata"]["run_id"] } else { &reduced["id"] };
    assert_eq!(content["id"], *id);
    let metadata = reduced.get("metadata").cloned().unwrap_or_else(|| json!({}));
    assert_eq!(merged_metadata(&message), metadata);
    assert_eq!(message["metadata"]["termination"], "finish");
}

/// Every way of answering is tried with both pages, clients and releases of the SDK: one of each makes a pair.
fn answered(way: &str, pair: usize, transport: Transport) {
    let (page, version) = (PAGES[pair], PHOENIX_VERSIONS[pair]);
    let Some(agent) = Agent::start(AI_VERSIONS[pair]) else { return };
    let server = Server::shared();
    let agent_id = agent.registered(&server, way);
    let session = server.session("alice", &agent_id);
    let Some(mut page) = Page::open(page, version, transport, &server, &session, &agent_id) else { return };
    // The tool runs until the gate opens: what is shown by then is shown while the answer is going on.
    let mut chunks = page.chunks_until("tool-input-available");
    assert_eq!(server.history(&session).len(), 1);
    agent.go(&session);
    chunks.extend(page.chunks_until("finish"));
    let parts = page.parts();
    stays_as_the_sdk_has_it(&agent, &server, &session, chunks, &parts);
    assert_eq!(said(&parts), "user assistant tool: \"Hello!\" 21.5\u{a0}°C 😀\n");
    // Its own message comes back to it as history which the SDK takes for its own.
    server.say(&session, "alice", "again");
    let line = page.node.line().expect("the page goes on");
    assert_eq!(line, "alice: {\"text\":\"again\"}");
    agent.go(&session);
    let chunks = page.chunks_until("finish");
    let parts = page.parts();
    stays_as_the_sdk_has_it(&agent, &server, &session, chunks, &parts);
    let roles = "user assistant tool assistant user assistant tool";
    assert_eq!(said(&parts), format!("{roles}: \"again\" 21.5\u{a0}°C 😀\n"));
}

/// The text among parts.
fn said(parts: &Value) -> &str {
    let parts = parts.as_array().expect("parts are a list");
    let text = parts.iter().find(|part| part["type"] == "text").expect("it says something");
    text["text"].as_str().expect("a text part has a text")
}

#[test]
fn an_answer_of_the_ai_sdk_is_shown_live_and_stays_as_the_sdk_has_it_over_websocket() {
    for (place, way) in WAYS.iter().enumerate() {
        answered(way, place % 2, Transport::WebSocket);
    }
}

#[test]
fn an_answer_of_the_ai_sdk_is_shown_live_and_stays_as_the_sdk_has_it_over_long_poll() {
    for (place, way) in WAYS.iter().enumerate() {
        answered(way, (place + 1) % 2, Transport::LongPoll);
    }
}

#[test]
fn a_stopped_answer_of_the_ai_sdk_stays_as_far_as_it_went_and_its_model_is_told() {
    let Some(agent) = Agent::start(AI_VERSIONS[1]) else { return };
    let server = Server::shared();
    let agent_id = agent.registered(&server, "/long");
    let session = server.session("alice", &agent_id);
    let version = PHOENIX_VERSIONS[1];
    let opened = Page::open(PAGES[0], version, Transport::WebSocket, &server, &session, &agent_id);
    let Some(mut page) = opened else { return };
    let mut chunks = page.chunks_until("text-delta");
    let mut alice = Socket::open(&server, "alice");
    let topic = alice.join_session(&session);
    let reference = alice.push(&topic, "stop", &json!({}));
    alice.reply(&reference).expect("there is a run to stop");
    chunks.extend(page.chunks_until("abort"));
    let parts = page.parts();
    let message = answer(&server, &session);
    assert_eq!(parts, message["content"]["parts"]);
    assert_eq!(message["metadata"]["termination"], "abort");
    // The SDK's client leaves a text open that was cut off; what is stored is closed.
    let mut reduced = agent.reduced(&Value::Array(chunks));
    let open = reduced["parts"].as_array_mut().and_then(|parts| parts.last_mut()).expect("a part");
    assert_eq!(open["state"].take(), "streaming");
    open["state"] = json!("done");
    assert_eq!(parts, reduced["parts"]);
    agent.stopped(&session);
}
