//! The examples of the published pages that read back, and the table of all examples of those pages with the test that replays each.
//!
//! An answer is held against the printed one as a whole: every printed field is there, with the same type and, but for what no two servers
//! have in common (ids, times), with the same value. What the page elides (`...`) is free behind what it prints.

use crate::harness::guard::Guarded;
use crate::harness::{Agent, Call, Options, Server, Value, json};
use crate::packages::{missing, runs};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Each example: its file below `seeds/`, the heading of its page under which it stands, the test that replays it.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("teammate/chat.json", "POST /agents/:id/chat", "the_printed_chat_of_ai_teammate_is_answered_as_printed"),
    ("teammate/chat-answer.json", "POST /agents/:id/chat", "the_printed_chat_of_ai_teammate_is_answered_as_printed"),
    ("teammate/stream.js", "POST /agents/:id/chat/stream", "the_printed_reader_prints_the_tokens_of_the_answer"),
    ("teammate/stream.txt", "SSE Chunk Format", "the_printed_stream_of_ai_teammate_comes_as_printed"),
    ("teammate/history-answer.json", "GET /agents/:id/history", "the_printed_history_of_ai_teammate_is_read_back"),
    ("teammate/team.json", "POST /teams/:id/chat", "the_printed_team_chat_is_answered_as_printed"),
    ("teammate/team-answer.json", "POST /teams/:id/chat", "the_printed_team_chat_is_answered_as_printed"),
    (
        "teammate/management.txt",
        "Conversation Management",
        "the_printed_management_of_conversations_works_in_its_order",
    ),
    ("agenfleet/message.json", "POST /api/chat/message", "the_printed_message_of_agenfleet_is_answered_as_printed"),
    (
        "agenfleet/message-answer.json",
        "POST /api/chat/message",
        "the_printed_message_of_agenfleet_is_answered_as_printed",
    ),
    (
        "agenfleet/history-answer.json",
        "GET /api/chat/history",
        "the_printed_history_and_feedback_of_agenfleet_are_served",
    ),
    ("agenfleet/feedback.json", "POST /api/chat/feedback", "the_printed_history_and_feedback_of_agenfleet_are_served"),
    (
        "agenfleet/socket.json",
        "wss://../api/chat/ws",
        "the_printed_frame_of_agenfleet_is_answered_in_chunks_and_a_final_frame",
    ),
    ("hapi/fetch.sh", "GET /api/sessions/:id/messages", "the_printed_page_of_the_hub_is_read_as_printed"),
    ("hapi/fetch-answer.json", "GET /api/sessions/:id/messages", "the_printed_page_of_the_hub_is_read_as_printed"),
    ("hapi/older.sh", "Pagination", "the_printed_page_of_the_hub_is_read_as_printed"),
    ("hapi/text.sh", "Example: Text Message", "the_printed_curl_lines_send_fetch_and_page"),
    ("hapi/attachment.sh", "Example: Message with Attachment", "the_printed_curl_lines_send_fetch_and_page"),
    ("hapi/sent-answer.json", "Response", "the_printed_errors_of_the_hub_are_told_and_its_token_is_asked_for"),
    ("hapi/flow.txt", "Message Flow", "the_printed_flow_of_a_message_with_a_file_runs_to_its_response"),
];

/// Where replays stand.
const SOURCES: [&str; 3] = [include_str!("seed_apis.rs"), include_str!("seed_pages.rs"), include_str!("hapi.rs")];

const NOVA: &str = "550e8400-e29b-41d4-a716-446655440000";

/// What differs from server to server, and from run to run.
const FREE: [&str; 6] = ["id", "created_at", "createdAt", "sessionId", "durationMs", "messageId"];

#[test]
fn every_example_of_the_pages_has_a_replay() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/seeds");
    let mut files = BTreeSet::new();
    for page in ["teammate", "agenfleet", "hapi"] {
        for file in std::fs::read_dir(folder.join(page)).expect("a page has examples") {
            files.insert(format!("{page}/{}", file.expect("a file").file_name().to_str().expect("a name")));
        }
    }
    let rows: BTreeSet<String> = EXAMPLES.iter().map(|(file, ..)| (*file).to_owned()).collect();
    assert_eq!(rows, files, "the table names every example, and no other");
    for (file, heading, replay) in EXAMPLES {
        let claim = format!("#[test]\nfn {replay}()");
        let source = SOURCES.iter().find(|source| source.contains(&claim));
        let source = source.unwrap_or_else(|| panic!("{heading}: {replay} is no test"));
        assert!(source.contains(&format!("seeds/{file}")), "{heading}: nobody replays {file}");
    }
}

/// Every printed field is in `ours`, with its type and, unless it is free, its value.
#[track_caller]
fn is_as_printed(ours: &Value, printed: &Value, name: &str) {
    assert_eq!(std::mem::discriminant(ours), std::mem::discriminant(printed), "{name}: {ours}, printed {printed}");
    match printed {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| is_as_printed(&ours[name], value, name)),
        Value::Array(rows) => rows.iter().enumerate().for_each(|(at, row)| is_as_printed(&ours[at], row, name)),
        Value::String(text) if FREE.contains(&name) => {
            assert_eq!(text.ends_with('Z'), is_time(ours), "{name}: {ours}, printed {printed}");
        }
        Value::Number(_) if FREE.contains(&name) => assert!(ours.is_u64(), "{name}: {ours}"),
        Value::String(text) => match text.strip_suffix("...") {
            Some(stem) => assert!(ours.as_str().is_some_and(|ours| ours.starts_with(stem)), "{name}: {ours}"),
            None => assert_eq!(ours, printed, "{name}"),
        },
        _ => assert_eq!(ours, printed, "{name}"),
    }
}

/// `2026-02-14T10:00:00Z`.
fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T')
}

fn printed(text: &str) -> Value {
    serde_json::from_str(text).expect("the page prints JSON")
}

fn say(call: Call, text: &str) {
    let usage = json!({"inputTokens": 3840, "outputTokens": 612});
    call.answer(&[
        json!({"type": "start"}),
        json!({"type": "text-start", "id": "t"}),
        json!({"type": "text-delta", "id": "t", "delta": text}),
        json!({"type": "text-end", "id": "t"}),
        json!({"type": "finish", "messageMetadata": {"usage": usage}}),
    ]);
}

/// Registers an agent of this id and name that says this.
fn register(server: &Server, id: &str, name: &str, text: &'static str) -> Agent {
    let agent = Agent::serving(move |call| say(call, text));
    let fields = json!({"id": id, "name": name, "origin_url": agent.url(), "debounce_window_ms": 0});
    server.post("/api/agents", &json!({ "agent": fields })).expect(201);
    agent
}

/// Sends a printed body, byte for byte.
fn send(server: &Server, path: &str, body: &str) -> crate::harness::Answer {
    let mut connection = server.connect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer YOUR_API_KEY\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head + body);
    connection.answer()
}

#[test]
fn the_printed_history_of_ai_teammate_is_read_back() {
    let server = Server::start();
    let _agent = register(&server, "abc123", "My Assistant", "Hi there! How can I help you today?");
    server.post("/agents/abc123/chat", &json!({"message": "Hello!"})).expect(200);
    for path in ["/agents/abc123/history", "/api/agents/abc123/history", "/agents/abc123/history?limit=20"] {
        let history = server.get(path).expect(200);
        is_as_printed(&history, &printed(include_str!("seeds/teammate/history-answer.json")), path);
        assert_eq!(history["messages"].as_array().expect("a list").len(), 2, "{history}");
    }
}

#[test]
fn the_printed_team_chat_is_answered_as_printed() {
    let server = Server::start();
    let _members = [
        register(&server, "a1", "Researcher", "Shovels."),
        register(&server, "a2", "Analyst", "Nobody digs."),
        register(&server, "sum", "Secretary", "The team identified several promising ideas, all of them shovels."),
    ];
    let team = json!({"members": ["a1", "a2"], "summarizer": "sum"});
    server.post("/api/agents", &json!({"agent": {"id": "t1", "name": "Founders", "team": team}})).expect(201);
    for path in ["/teams/t1/chat", "/api/teams/t1/chat"] {
        let answer = send(&server, path, include_str!("seeds/teammate/team.json")).expect(200);
        is_as_printed(&answer, &printed(include_str!("seeds/teammate/team-answer.json")), path);
        assert_eq!(answer["responses"].as_array().expect("a list").len(), 2, "{answer}");
    }
}

#[test]
fn the_printed_management_of_conversations_works_in_its_order() {
    let server = Server::start();
    let _agent = register(&server, "abc123", "My Assistant", "Hi.");
    let mut conversation = String::new();
    let mut served = 0;
    for line in include_str!("seeds/teammate/management.txt").lines() {
        let (method, pattern) = line.split_once(' ').expect("a method and a path");
        let path = pattern.replace(":id", "abc123").replace(":conv_id", &conversation);
        let body = match (method, pattern.rsplit('/').next()) {
            ("POST", Some("conversations")) => Some(json!({"title": "Trip"})),
            ("PUT", _) => Some(json!({"title": "Rome"})),
            ("POST", _) => Some(json!({ "conversation_id": conversation })),
            _ => None,
        };
        for mount in ["", "/api"] {
            let answer = server.call(method, &format!("{mount}{path}"), &[], body.as_ref());
            if method == "DELETE" && mount == "/api" {
                assert_eq!(answer.status, 404, "{line}: it is gone");
                continue;
            }
            let answer = answer.expect(200);
            match (method, pattern.rsplit('/').next()) {
                ("GET", Some("conversations")) => assert!(answer["conversations"].is_array(), "{answer}"),
                ("GET", _) => assert!(answer["messages"].is_array() && answer["unread_count"].is_u64(), "{answer}"),
                ("POST", Some("conversations")) => conversation = answer["id"].as_str().expect("an id").to_owned(),
                ("PUT", _) => assert_eq!(answer["title"], "Rome"),
                ("DELETE", _) => assert_eq!(answer, json!({"ok": true, "id": conversation})),
                _ => assert_eq!(answer["ok"], true),
            }
        }
        served += 1;
    }
    assert_eq!(served, 6);
}

#[test]
fn the_printed_history_and_feedback_of_agenfleet_are_served() {
    let server = Server::start();
    let _agent = register(&server, NOVA, "Nova", "Here's a summary of key competitor moves last week.");
    let session = server.session("default", NOVA);
    (0..45).for_each(|n| drop(server.answer_as(&session, NOVA, &format!("earlier {n}"))));
    let mut question = printed(include_str!("seeds/agenfleet/message.json"));
    question["sessionId"] = json!(session);
    server.post("/api/chat/message", &question).expect(200);
    let expected = printed(include_str!("seeds/agenfleet/history-answer.json"));
    let mut rated = Value::Null;
    for query in [String::new(), format!("?agentId={NOVA}"), format!("?sessionId={session}&limit=50&offset=0")] {
        let page = server.get(&format!("/api/chat/history{query}")).expect(200);
        is_as_printed(&page, &expected, &query);
        assert_eq!(page["data"].as_array().expect("a list").len(), 47);
        rated = page["data"][0]["id"].clone();
    }
    let body = include_str!("seeds/agenfleet/feedback.json");
    send(&server, "/api/chat/feedback", body).expect(404); // the page elides the id
    let body = body.replace("msg-uuid-...", rated.as_str().expect("an id"));
    send(&server, "/api/chat/feedback", &body).expect(200);
}

/// Runs printed curl lines with this session and token; status and body.
fn shell(lines: &str, server: &Server, session: &str, token: &str) -> (u16, Value) {
    let host = "http://127.0.0.1:3006/api/sessions/abc123/";
    assert!(lines.contains(host) && lines.contains("<token>"), "{lines}");
    let lines = lines.replace(host, &format!("http://{}/api/sessions/{session}/", server.address()));
    let lines = lines.replace("<token>", token).replacen("curl", "curl -s -w '\\n%{http_code}'", 1);
    let output = Command::new("bash").arg("-c").arg(&lines).output().expect("bash runs");
    let said = String::from_utf8(output.stdout).expect("text");
    let (body, status) = said.rsplit_once('\n').unwrap_or_else(|| panic!("{lines}: {said}"));
    (status.parse().expect("a status"), serde_json::from_str(body).unwrap_or_else(|_| panic!("{lines}: {said}")))
}

/// An agent that is registered and is not called while a test runs.
fn quiet_agent(server: &Server) {
    let windows_ms = 60_000;
    let agent = json!({"id": "bot", "name": "B", "origin_url": "http://127.0.0.1:1",
        "debounce_window_ms": windows_ms, "debounce_max_wait_ms": windows_ms});
    server.post("/api/agents", &json!({ "agent": agent })).expect(201);
}

#[test]
fn the_printed_page_of_the_hub_is_read_as_printed() {
    if !runs("curl", &["--version"]) {
        return missing("curl is not installed: the printed lines were not run");
    }
    let server = Server::start();
    quiet_agent(&server);
    let session = server.session("alice", "bot");
    (0..40).for_each(|n| drop(server.answer_as(&session, "bot", &format!("earlier {n}"))));
    let path = format!("/api/sessions/{session}/messages");
    server.post(&path, &json!({"text": "User message", "localId": "local-123"})).expect(200);
    server.answer_as(&session, "bot", "Hello from the agent");
    let (status, page) = shell(include_str!("seeds/hapi/fetch.sh"), &server, &session, "t");
    assert_eq!(status, 200);
    is_as_printed(&page, &printed(include_str!("seeds/hapi/fetch-answer.json")), "fetch");
    let seqs = |page: &Value| -> Vec<u64> {
        page["messages"].as_array().expect("rows").iter().map(|row| row["seq"].as_u64().expect("a seq")).collect()
    };
    assert_eq!(seqs(&page), (23..=42).rev().collect::<Vec<_>>());
    assert!(page["messages"][0].get("localId").is_none(), "the answer was not sent by a client: {page}");
    let (_, older) = shell(include_str!("seeds/hapi/older.sh"), &server, &session, "t");
    assert_eq!((seqs(&older), &older["hasMore"]), ((21..=40).rev().collect(), &json!(true)));
}

#[test]
fn the_printed_errors_of_the_hub_are_told_and_its_token_is_asked_for() {
    if !runs("curl", &["--version"]) {
        return missing("curl is not installed: the printed lines were not run");
    }
    let (fetch, text) = (include_str!("seeds/hapi/fetch.sh"), include_str!("seeds/hapi/text.sh"));
    let sent = printed(include_str!("seeds/hapi/sent-answer.json"));
    let guarded = Guarded::start(&[]);
    let server = &guarded.server;
    let key = |namespace: &str| guarded.key(&json!({"name": "k", "namespace": namespace, "user": "alice"})).1;
    let (ours, theirs) = (key("acme"), key("other"));
    let agent = json!({"agent": {"id": "bot", "name": "B", "origin_url": "http://127.0.0.1:1",
        "debounce_window_ms": 60_000, "debounce_max_wait_ms": 60_000}});
    guarded.call(&ours, "POST", "/api/agents", Some(&agent)).expect(201);
    let made =
        guarded.call(&ours, "POST", "/api/sessions", Some(&json!({"user_id": "alice", "agent_id": "bot"}))).expect(201);
    let session = made["session"]["id"].as_str().expect("an id");
    assert_eq!(shell(text, server, session, &ours), (200, sent));
    let refused = |lines: &str, session: &str, token: &str| {
        let (status, body) = shell(lines, server, session, token);
        assert!(body["error"].is_string(), "{body}");
        status
    };
    assert_eq!(refused(fetch, session, "<token>"), 401, "the token as it is printed is nobody's");
    let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for lines in [fetch, text] {
        assert_eq!(refused(lines, session, &theirs), 403, "Access denied");
        assert!([403, 404].contains(&refused(lines, unknown, &ours)), "Session not found");
    }
    let nothing = text.replace("\"text\"", "\"no\"");
    assert_eq!(refused(&nothing, session, &ours), 400, "missing text/attachments");
    guarded.call(&ours, "DELETE", &format!("/api/sessions/{session}"), None);
    assert_eq!(refused(text, session, &ours), 409, "Session not active");
    assert_eq!(shell(fetch, server, session, &ours).0, 200);
}

#[test]
fn the_printed_flow_of_a_message_with_a_file_runs_to_its_response() {
    let steps: Vec<&str> = include_str!("seeds/hapi/flow.txt").lines().collect();
    assert_eq!(steps.len(), 3);
    let server = Server::with(&Options::default());
    let _agent = register(&server, "bot", "B", "A fine design.");
    let session = server.session("alice", "bot");
    let mut events = server.connect();
    events.send(format!("GET /api/events?sessionId={session} HTTP/1.1\r\nhost: test\r\n\r\n"));
    let (stream, _) = events.into_parts();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    let mut until = |text: &str| loop {
        let line = lines.next().expect("the stream goes on").expect("text");
        if line.contains(text) {
            return line;
        }
    };
    until("connection-changed");
    let file = json!({"filename": "design.png", "content": "iVBORw0KGgo=", "mimeType": "image/png"});
    let uploaded = server.post(&format!("/api/sessions/{session}/upload"), &file).expect(200);
    let attachment = json!({"id": "att_123", "filename": "design.png", "mimeType": "image/png", "size": 8,
        "path": uploaded["path"]});
    let message = json!({"text": "Here is the design", "attachments": [attachment]});
    let path = format!("/api/sessions/{session}/messages");
    assert_eq!(server.post(&path, &message).expect(200), json!({"ok": true}));
    assert!(until("message-received").contains("att_123"), "{}", steps[1]);
    assert!(until("message-received").contains("A fine design."), "{}", steps[2]);
}
