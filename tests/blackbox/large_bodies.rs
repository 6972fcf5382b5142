//! Bodies over the bound of others: whose they must be, and where they must go, before a byte of them is read.

use crate::harness::guard::{ADMIN, Guarded, user_token};
use crate::harness::{Connection, Server, Value, json};

/// Uploads that one shard lets in at a time.
const UPLOADS_MAX: usize = 4;

/// Sends the head of a large body and waits for leave to send it.
fn asked(server: &Server, path: &str, token: Option<&str>) -> Connection {
    let mut connection = server.connect();
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = "host: t\r\nexpect: 100-continue\r\ncontent-length: 30000\r\n";
    connection.send(format!("POST {path} HTTP/1.1\r\n{head}{token}\r\n"));
    connection
}

/// The agent `bot` that is never called, and a session of this user with it.
fn session_of(guarded: &Guarded, user: &str) -> String {
    let agent = json!({"agent": {"id": "bot", "name": "Bot", "origin_url": "http://127.0.0.1:1"}});
    guarded.call(ADMIN, "POST", "/api/agents", Some(&agent)).expect(201);
    let body: Value = json!({"user_id": user, "agent_id": "bot"});
    let made = guarded.call(ADMIN, "POST", "/api/sessions", Some(&body)).expect(201);
    made["session"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn without_a_token_or_a_route_no_large_body_is_read_and_no_place_is_taken() {
    let guarded = Guarded::single(&["--body-bytes-max", "20000"]);
    let session = session_of(&guarded, "alice");
    let own = format!("/api/sessions/{session}/upload");
    let alice = user_token("default", "alice", 600);
    let mut held = Vec::new();
    for (path, token, status) in [
        (own.as_str(), None, 401),
        (&own, Some("nonsense"), 401),
        ("/api/sessions/%/upload", None, 400),
        ("/api/sessions/%ff/upload", Some(alice.as_str()), 400),
        ("/%zz/upload", None, 400),
        ("/upload", None, 401),
        ("/upload", Some(&alice), 404),
        ("/api/agents/bot/upload", None, 401),
        ("/api/agents/bot/upload", Some(&alice), 404),
        ("/api/sessions/no-session/upload", Some(&alice), 404),
    ] {
        for _ in 0..=UPLOADS_MAX {
            let mut connection = asked(&guarded.server, path, token);
            assert_eq!(connection.answer().status, status, "{path} {token:?}");
            held.push(connection);
        }
    }
    let mut let_in: Vec<_> = (0..UPLOADS_MAX).map(|_| asked(&guarded.server, &own, Some(&alice))).collect();
    let_in.iter_mut().for_each(|connection| assert_eq!(connection.answer().status, 100));
    assert_eq!(asked(&guarded.server, &own, Some(&alice)).answer().status, 503, "these were all the places");
}

#[test]
fn a_large_upload_counts_once() {
    let guarded = Guarded::single(&["--body-bytes-max", "20000", "--rate-limit-principal", "2"]);
    let agent = json!({"agent": {"id": "bot", "name": "Bot", "origin_url": "http://127.0.0.1:1"}});
    guarded.call(ADMIN, "POST", "/api/agents", Some(&agent)).expect(201);
    let body: Value = json!({"user_id": "alice", "agent_id": "bot"});
    let made = guarded.call(ADMIN, "POST", "/api/sessions", Some(&body)).expect(201);
    let session = made["session"]["id"].as_str().expect("an id");
    let alice = user_token("default", "alice", 600);
    let file = json!({"filename": "f", "content": "eHh4".repeat(10_000), "mimeType": "text/plain"});
    let path = format!("/api/sessions/{session}/upload");
    let path = guarded.call(&alice, "POST", &path, Some(&file)).expect(200)["path"].clone();
    let fetched = guarded.call(&alice, "GET", &format!("/{}", path.as_str().expect("a path")), None);
    assert_eq!((fetched.status, fetched.body.len()), (200, 30_000));
    assert_eq!(fetched.header("content-length"), Some("30000"));
    assert_eq!(guarded.call(&alice, "GET", "/api/sessions", None).status, 429);
}

#[test]
fn so_many_files_are_fetched_at_a_time_and_who_comes_later_is_told_to_come_again() {
    const DOWNLOADS_MAX: usize = 256;
    let server = Server::with(&crate::harness::Options::shards(1));
    let agent = json!({"agent": {"id": "bot", "name": "Bot", "origin_url": "http://127.0.0.1:1"}});
    server.post("/api/agents", &agent).expect(201);
    let session = server.session("alice", "bot");
    let file = json!({"filename": "f", "content": "eHh4".repeat(4_000_000), "mimeType": "text/plain"});
    let path = server.post(&format!("/api/sessions/{session}/upload"), &file).expect(200)["path"].clone();
    let path = format!("/{}", path.as_str().expect("a path"));
    // Nobody of them reads: what does not fit into the sockets waits.
    let begin = || {
        let mut connection = server.connect();
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n"));
        connection
    };
    let held: Vec<_> = (0..DOWNLOADS_MAX).map(|_| begin()).collect();
    let refused = loop {
        // The last of them may not have been looked at yet.
        let mut connection = begin();
        let answer = connection.answer_to_head();
        if answer.status != 200 {
            break (answer, connection);
        }
    };
    assert_eq!((refused.0.status, refused.0.header("retry-after")), (503, Some("1")));
    drop(held);
    while begin().answer_to_head().status != 200 {}
}
