//! The npm `phoenix` client loses its connection in the middle of an answer, again and again, and misses nothing of it.

use crate::agent::Agent;
use crate::harness::{Server, Socket};
use crate::node::{Node, Transport};
use crate::packages::{AI_VERSIONS, PHOENIX_VERSIONS, phoenix};

fn every_chunk_once(version: &str, transport: Transport) {
    let (Some(agent), Some(packages)) = (Agent::start(AI_VERSIONS[0]), phoenix(version)) else { return };
    let server = Server::shared();
    let session = server.session("alice", &agent.registered(&server, "/long"));
    // The client comes when the answer is under way.
    let mut witness = Socket::open(&server, "alice");
    let topic = witness.join_session(&session);
    server.say(&session, "alice", "Talk to me");
    while witness.event(&topic, "stream_chunk")["chunk"]["delta"] != "word-20 " {}
    let (url, agent) = (format!("ws://{}/socket", server.address()), agent.url());
    let ajax = if version.starts_with("1.7") { "XMLHttpRequest" } else { "fetch" };
    let environment = [("URL_BASE", url.as_str()), ("SESSION_ID", &session), ("AGENT", &agent), ("AJAX", ajax)];
    Node::run(&packages, transport, include_str!("resume.mjs"), &environment).finished();
}

#[test]
fn a_client_that_resumes_sees_every_chunk_once_over_websocket() {
    for version in PHOENIX_VERSIONS {
        every_chunk_once(version, Transport::WebSocket);
    }
}

#[test]
fn a_client_that_resumes_sees_every_chunk_once_over_long_poll() {
    for version in PHOENIX_VERSIONS {
        every_chunk_once(version, Transport::LongPoll);
    }
}
