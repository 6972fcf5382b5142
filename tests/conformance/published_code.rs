//! The client code of the published pages (`seeds/`), unmodified but for the URL, does what the pages say it does.

use crate::harness::{Server, Socket, json};
use crate::node::{Node, Transport};
use crate::packages::{PHOENIX_VERSIONS, phoenix};

/// The pages' client code.
pub const PAGES: [&str; 2] =
    [include_str!("seeds/rest-first/websocket.js"), include_str!("seeds/websocket-first/websocket.js")];

/// The one change that is allowed.
pub fn pointed_at(page: &str, server: &Server) -> String {
    let url = "ws://localhost:4000/socket";
    assert!(page.contains(url), "the page connects to {url}");
    page.replace(url, &format!("ws://{}/socket", server.address()))
}

fn does_what_it_says(page: &str, version: &str, transport: Transport) {
    let Some(packages) = phoenix(version) else { return };
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let environment = [("SESSION_ID", session.as_str()), ("AJAX", "XMLHttpRequest")];
    let mut node = Node::run(&packages, transport, &pointed_at(page, &server), &environment);
    // It sends and hears its own message.
    node.until("alice: { text: 'Hello!' }");
    // It shows an agent's live chunks and then the answer's parts.
    let mut agent = Socket::open(&server, "bot");
    let topic = agent.join_session(&session);
    agent.push(&topic, "stream_chunk", &json!({"chunk": {"type": "text-delta", "delta": "Thinking"}}));
    node.until("chunk from bot: { ");
    let parts = json!([{"type": "text", "text": "Thinking...", "state": "done"}]);
    let content = json!({"id": "msg_123", "role": "assistant", "parts": parts});
    let answer = json!({"agent_id": "bot", "kind": "assistant", "content": content});
    server.post(&format!("/api/sessions/{session}/messages"), &answer).expect(200);
    node.until("bot parts: [ { ");
    let history = server.history(&session);
    assert_eq!(history.len(), 2);
    assert_eq!((&history[0]["kind"], &history[0]["content"]), (&json!("text"), &json!({"text": "Hello!"})));
}

#[test]
fn the_published_code_works_as_printed_over_websocket() {
    for page in PAGES {
        for version in PHOENIX_VERSIONS {
            does_what_it_says(page, version, Transport::WebSocket);
        }
    }
}

#[test]
fn the_published_code_works_as_printed_where_there_are_no_websockets() {
    for page in PAGES {
        for version in PHOENIX_VERSIONS {
            does_what_it_says(page, version, Transport::LongPoll);
        }
    }
}
