//! The API of a HAPI hub, over the same sessions that FleetLM's clients use.

mod events;
mod messages;
mod uploads;

use crate::harness::{Answer, Server, Value, json, unique};

const BEARER: (&str, &str) = ("authorization", "Bearer of-nobody");

/// Registers an agent that is not called while a test runs; gives its id.
#[track_caller]
fn quiet_agent(server: &Server) -> String {
    let id = unique("agent");
    let waits_ms = json!({"debounce_window_ms": 60_000, "debounce_max_wait_ms": 60_000});
    let mut agent = json!({"id": id, "name": "Quiet", "origin_url": "http://127.0.0.1:1"});
    agent.as_object_mut().expect("an object").extend(waits_ms.as_object().expect("an object").clone());
    server.post("/api/agents", &json!({ "agent": agent })).expect(201);
    id
}

/// A session of `alice` with an agent that is not called while a test runs.
#[track_caller]
fn active_session(server: &Server) -> String {
    server.session("alice", &quiet_agent(server))
}

fn path(session: &str, below: &str) -> String {
    format!("/api/sessions/{session}{below}")
}

/// Asks as a client of the hub does, with a token.
fn ask(server: &Server, method: &str, path: &str, body: Option<&Value>) -> Answer {
    server.call(method, path, &[BEARER], body)
}

#[track_caller]
fn say(server: &Server, session: &str, body: &Value) {
    assert_eq!(ask(server, "POST", &path(session, "/messages"), Some(body)).expect(200), json!({"ok": true}));
}

#[track_caller]
fn page(server: &Server, session: &str, query: &str) -> Value {
    ask(server, "GET", &path(session, &format!("/messages?{query}")), None).expect(200)
}
