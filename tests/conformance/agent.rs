//! An agent written with the AI SDK (`ai_agent.mjs`), running: registered with a server, its gate opened, asked what it said.

use crate::harness::http::request;
use crate::harness::{Connection, Server, Value, json, unique};
use crate::node::Node;
use crate::packages::ai;
use std::net::SocketAddr;

const SECRET: &str = "it signs what it is sent";

/// The agent's process. Dropped: killed.
pub struct Agent {
    _node: Node,
    address: SocketAddr,
}

impl Agent {
    /// A new one, written with this release of the SDK; `None` where that cannot be had.
    pub fn start(version: &str) -> Option<Self> {
        let scripts = [("ai_agent.mjs", include_str!("ai_agent.mjs")), ("reducer.mjs", include_str!("reducer.mjs"))];
        let mut node = Node::start(&ai(version)?, &[], &scripts, &[("SECRET", SECRET)]);
        let line = node.until("listening on ");
        let port = line["listening on ".len()..].parse().expect("it says its port");
        Some(Self { _node: node, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers the way of answering behind this path, called at once, and gives the agent's id.
    #[track_caller]
    pub fn registered(&self, server: &Server, path: &str) -> String {
        let id = unique("ai");
        let agent = json!({
            "id": id, "name": id, "origin_url": self.url(), "webhook_path": path, "secret": SECRET, "debounce_window_ms": 0,
        });
        server.post("/api/agents", &json!({ "agent": agent })).expect(201);
        id
    }

    /// Lets a held answer of a session go on.
    #[track_caller]
    pub fn go(&self, session: &str) {
        self.asked(&format!("/go/{session}"), &json!({}));
    }

    /// The chunks of its last answer in a session, as the SDK has written them.
    #[track_caller]
    pub fn said(&self, session: &str) -> Value {
        self.asked(&format!("/said/{session}"), &json!({}))
    }

    /// Waits until the SDK has told the model that nobody wants the session's answer any more.
    #[track_caller]
    pub fn stopped(&self, session: &str) {
        self.asked(&format!("/stopped/{session}"), &json!({}));
    }

    /// The message that the SDK's own client makes of chunks.
    #[track_caller]
    pub fn reduced(&self, chunks: &Value) -> Value {
        self.asked("/reduce", chunks)
    }

    #[track_caller]
    fn asked(&self, path: &str, body: &Value) -> Value {
        let mut connection = Connection::open(self.address);
        connection.send(request("POST", path, &[], Some(body)));
        connection.answer().expect(200)
    }
}
