//! What the server writes about itself never holds what people said, nor the secrets of agents.

use crate::harness::http::request;
use crate::harness::{Options, Server, Socket, json};

#[test]
fn payloads_and_agents_headers_do_not_appear_in_the_logs() {
    for format in ["text", "json"] {
        let options = Options::default().flags(&["--log-format", format]).environment("RUST_LOG", "debug");
        let server = Server::with(&options);
        let secret = |place: &str| format!("very-secret-{place}");
        let session = server.session("alice", "bot");
        server.say(&session, "alice", &secret("rest"));
        let mut socket = Socket::open(&server, "alice");
        let topic = socket.join_session(&session);
        socket.say(&topic, &secret("socket"));
        let agent =
            json!({"id": "bot", "name": "Bot", "origin_url": "http://a.test", "headers": {"x-key": secret("key")}});
        server.post("/api/agents", &json!({ "agent": agent })).expect(201);
        // What is malformed must not be quoted either.
        socket.send_text(&format!("[null, \"1\", {:?}", secret("frame")));
        socket.close_code();
        let mut connection = server.connect();
        let mut bytes = request("POST", "/api/sessions", &[], Some(&json!({"x": secret("body")})));
        let end = bytes.len() - 1;
        bytes[end] = b']';
        connection.send(bytes);
        assert_eq!(connection.answer().status, 400);
        let log = server.stop();
        assert!(!log.is_empty());
        assert!(!log.contains("very-secret"), "{log}");
    }
}

#[test]
fn a_start_says_where_it_listens_how_many_shards_it_has_and_how_durable_it_is() {
    let server = Server::with(&Options::shards(3));
    let address = server.address().to_string();
    let log = server.stop().to_lowercase();
    for word in [address.as_str(), "3", "shard", "disk"] {
        assert!(log.contains(word), "{word} is in {log}");
    }
}

#[test]
fn json_logs_are_json_line_by_line() {
    let server = Server::with(&Options::default().flags(&["--log-format", "json"]));
    let log = server.stop();
    let lines = log.lines().filter(|line| line.starts_with('{'));
    let parsed = lines.map(|line| serde_json::from_str::<crate::harness::Value>(line).expect("a line is JSON"));
    assert!(parsed.count() > 0, "{log}");
}
