//! Questions whose answers are awaited: AI Teammate's and AgenFleet's chat, on the built-in agent and on webhooks.
//!
//! Here is what those tests share: agents that answer by a script, requests of both dialects, a stream read event by event.

mod chat;
mod ends;
mod same;
mod socket;
mod stream;
mod tenants;
mod tenure;

use crate::harness::http::request;
use crate::harness::{Agent, Answer, Call, Connection, Server, Value, json, unique};

/// Registers an agent that answers each call with this script.
#[track_caller]
fn scripted(server: &Server, fields: Value, script: impl Fn(Call) + Send + Sync + 'static) -> (Agent, String) {
    let agent = Agent::serving(script);
    let id = register(server, &agent.url(), fields);
    (agent, id)
}

/// Registers an agent at `url` with these fields besides; gives its id.
#[track_caller]
fn register(server: &Server, url: &str, fields: Value) -> String {
    let id = unique("agent");
    let mut agent = json!({"id": id, "name": format!("{id} by name"), "origin_url": url});
    let more = fields.as_object().expect("fields are an object").clone();
    agent.as_object_mut().expect("an object").extend(more);
    server.post("/api/agents", &json!({ "agent": agent })).expect(201);
    id
}

/// A POST as this user.
fn post_as(server: &Server, user: &str, path: &str, body: &Value) -> Answer {
    server.call("POST", path, &[("x-user-id", user)], Some(body))
}

/// AgenFleet's message to an agent.
fn message(server: &Server, user: &str, agent: &str, text: &str) -> Answer {
    post_as(server, user, "/api/chat/message", &json!({"message": text, "agentId": agent}))
}

/// AI Teammate's message to an agent.
fn chat(server: &Server, user: &str, agent: &str, text: &str) -> Answer {
    post_as(server, user, &format!("/agents/{agent}/chat"), &json!({"message": text}))
}

/// The data of AI Teammate's stream of an answer, line by line: whatever is not JSON stands as text.
fn stream(server: &Server, user: &str, agent: &str, text: &str) -> Vec<Value> {
    let answer = post_as(server, user, &format!("/api/agents/{agent}/chat/stream"), &json!({"message": text}));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")), "{answer:?}");
    events(answer.text())
}

/// The events of a stream. Comments stand between them or not.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    assert!(text.ends_with("\n\n"), "{text:?} ends in an event");
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    let data = |block: &str| {
        let data = block.strip_prefix("data: ").unwrap_or_else(|| panic!("{block:?} is one line of data"));
        assert!(!data.contains('\n'), "{block:?} is one line of data");
        serde_json::from_str(data).unwrap_or_else(|_| Value::from(data))
    };
    blocks.map(data).collect()
}

/// The text of a stream that ends well.
#[track_caller]
fn told(events: &[Value]) -> String {
    let end = &events[events.len() - 2..];
    assert_eq!(end, [json!({"type": "done", "content": ""}), json!("[DONE]")], "{events:?}");
    let texts = events.iter().filter(|event| event["type"] == "text");
    texts.map(|event| event["content"].as_str().expect("a text")).collect()
}

/// The text of a stored message.
#[track_caller]
fn text_of(message: &Value) -> String {
    match message["content"]["parts"].as_array() {
        Some(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        None => message["content"]["text"].as_str().unwrap_or_else(|| panic!("{message} has a text")).to_owned(),
    }
}

/// A connection over which this request has gone.
fn sent(server: &Server, user: &str, path: &str, body: &Value) -> Connection {
    let mut connection = server.connect();
    connection.send(request("POST", path, &[("x-user-id", user)], Some(body)));
    connection
}

/// The chunks of an answer that is one message.
fn spoken(text: &str) -> Vec<Value> {
    vec![
        json!({"type": "start"}),
        json!({"type": "text-start", "id": "t"}),
        delta(text),
        json!({"type": "text-end", "id": "t"}),
        json!({"type": "finish"}),
    ]
}

fn delta(text: &str) -> Value {
    json!({"type": "text-delta", "id": "t", "delta": text})
}
