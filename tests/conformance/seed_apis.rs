//! What the published pages of AI Teammate and AgenFleet show (`seeds/`), byte for byte but for ids: their requests in, their answers
//! out, and the reader that one of them prints, run by Node.js.

use crate::harness::{Agent, Call, Server, Value, json};
use crate::node::Node;
use crate::packages::{missing, runs};
use std::path::Path;
use tungstenite::Message;

/// The agents of the pages.
const ASSISTANT: &str = "abc123";
const NOVA: &str = "550e8400-e29b-41d4-a716-446655440000";

/// The one thing that a page has and a script has not: an origin, to which the path of a `fetch` is relative.
const ORIGIN: &str = "const fetched = globalThis.fetch;
globalThis.fetch = (path, options) => fetched(new URL(path, process.env.ORIGIN), options);
";

/// A server with an agent of this id and name that says these pieces.
fn with_agent(id: &str, name: &str, pieces: &'static [&'static str]) -> (Server, Agent) {
    let (server, agent) = (Server::start(), Agent::serving(move |call| say(call, pieces)));
    let fields = json!({"id": id, "name": name, "origin_url": agent.url()});
    server.post("/api/agents", &json!({ "agent": fields })).expect(201);
    (server, agent)
}

fn say(call: Call, pieces: &[&str]) {
    let usage = json!({"inputTokens": 3840, "outputTokens": 612});
    let delta = |piece: &&str| json!({"type": "text-delta", "id": "t", "delta": piece});
    let mut chunks = vec![json!({"type": "start"}), json!({"type": "text-start", "id": "t"})];
    chunks.extend(pieces.iter().map(delta));
    chunks.push(json!({"type": "text-end", "id": "t"}));
    chunks.push(json!({"type": "finish", "messageMetadata": {"usage": usage}}));
    call.answer(&chunks);
}

/// Sends a printed body, as it is printed.
fn send(server: &Server, path: &str, body: &str) -> Value {
    let mut connection = server.connect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer YOUR_API_KEY\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head + body);
    connection.answer().expect(200)
}

/// The answer has what is printed: these fields as they are, all others of the same type.
#[track_caller]
fn is_as_printed(answer: &Value, printed: &str, same: &[&str]) {
    let printed: Value = serde_json::from_str(printed).expect("the page prints JSON");
    for (name, value) in printed.as_object().expect("an object") {
        let ours = &answer[name];
        assert_eq!(std::mem::discriminant(ours), std::mem::discriminant(value), "{name} of {answer}");
        assert!(!same.contains(&name.as_str()) || ours == value, "{name} of {answer}");
    }
}

#[test]
fn the_printed_chat_of_ai_teammate_is_answered_as_printed() {
    let (server, _agent) = with_agent(
        ASSISTANT,
        "My Assistant",
        &["I can help you find weather information.", " What city are you interested in?"],
    );
    let (request, printed) =
        (include_str!("seeds/teammate/chat.json"), include_str!("seeds/teammate/chat-answer.json"));
    for path in ["/agents/abc123/chat", "/api/agents/abc123/chat"] {
        is_as_printed(&send(&server, path, request), printed, &["response", "agent_id", "agent_name"]);
    }
}

#[test]
fn the_printed_stream_of_ai_teammate_comes_as_printed() {
    let (server, _agent) = with_agent(ASSISTANT, "My Assistant", &["Hello", " there!"]);
    let answer = server.post("/agents/abc123/chat/stream", &json!({"message": "Hello!"}));
    let lines: Vec<&str> = answer.text().lines().filter(|line| !line.is_empty()).collect();
    let printed: Vec<&str> = include_str!("seeds/teammate/stream.txt").lines().collect();
    assert_eq!(lines, printed);
}

/// Runs the printed reader; every line that it prints.
fn printed_reader(server: &Server) -> Option<Vec<String>> {
    if !runs("node", &["--version"]) {
        missing("Node.js is not installed: the printed reader of streams was not run");
        return None;
    }
    let scripts = [("reader.mjs", include_str!("seeds/teammate/stream.js")), ("origin.mjs", ORIGIN)];
    let origin = format!("http://{}", server.address());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    Some(Node::start(folder, &["--import", "./origin.mjs"], &scripts, &[("ORIGIN", &origin)]).output())
}

/// The tokens of what the reader printed, whose last line is the `done` event.
#[track_caller]
fn tokens(lines: &[String]) -> Vec<String> {
    let events: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} is whole"))).collect();
    let (done, texts) = events.split_last().expect("something was printed");
    assert_eq!(*done, json!({"type": "done", "content": ""}), "[DONE] is not printed, it ends the reading");
    assert!(texts.iter().all(|event| event["type"] == "text"), "{texts:?}");
    texts.iter().map(|event| event["content"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn the_printed_reader_prints_the_tokens_of_the_answer() {
    let (server, _agent) = with_agent(ASSISTANT, "My Assistant", &["Hello", " there!", "\nGrüße: ", "\"😀\"\n\n", "."]);
    let Some(lines) = printed_reader(&server) else { return };
    assert_eq!(tokens(&lines), ["Hello", " there!", "\nGrüße: ", "\"😀\"\n\n", "."]);
}

#[test]
fn the_printed_reader_reads_a_long_answer_that_comes_piece_by_piece() {
    let server = Server::start();
    let agent = Agent::start();
    let fields = json!({"id": ASSISTANT, "name": "My Assistant", "origin_url": agent.url()});
    server.post("/api/agents", &json!({ "agent": fields })).expect(201);
    let reader = std::thread::spawn({
        let server = std::sync::Arc::new(server);
        move || printed_reader(&server)
    });
    if !runs("node", &["--version"]) {
        return;
    }
    let mut call = agent.call();
    let text: String = (0..400).map(|n| format!("{n} öfter als einmal, ")).collect();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(37).max(1));
        call.say(&json!({"type": "text-delta", "id": "t", "delta": piece}));
        rest = after;
    }
    call.say(&json!({"type": "finish"}));
    call.finish();
    let lines = reader.join().expect("the reader ends").expect("node is there");
    assert_eq!(tokens(&lines).concat(), text);
}

#[test]
fn the_printed_message_of_agenfleet_is_answered_as_printed() {
    let (server, _agent) = with_agent(
        NOVA,
        "Nova",
        &["Here's a summary of key competitor moves last week:\n\n", "**LogiQ** announced..."],
    );
    let answer = send(&server, "/api/chat/message", include_str!("seeds/agenfleet/message.json"));
    let same = ["response", "agentId", "agentName", "inputTokens", "outputTokens"];
    is_as_printed(&answer, include_str!("seeds/agenfleet/message-answer.json"), &same);
    // Its agent is optional: there is only this one that is registered.
    let answer = send(&server, "/api/chat/message", r#"{"message": "Summarize"}"#);
    assert_eq!(answer["agentId"], NOVA);
}

#[test]
fn the_printed_frame_of_agenfleet_is_answered_in_chunks_and_a_final_frame() {
    let (server, _agent) = with_agent(NOVA, "Nova", &["All", " green"]);
    let url = format!("ws://{}/api/chat/ws?token=jwt", server.address());
    let (mut socket, _) =
        tungstenite::client(url, server.open().expect("the server accepts")).expect("the socket is accepted");
    socket.send(Message::text(include_str!("seeds/agenfleet/socket.json"))).expect("the socket is open");
    let mut frame = || -> Value {
        let text = socket.read().expect("the server sends").into_text().expect("a text");
        serde_json::from_str(&text).expect("a frame is JSON")
    };
    assert_eq!((frame()["content"].clone(), frame()["content"].clone()), (json!("All"), json!(" green")));
    let last = frame();
    assert_eq!((&last["type"], &last["response"]), (&json!("final"), &json!("All green")));
    assert_eq!(
        (&last["inputTokens"], &last["outputTokens"], &last["agentName"]),
        (&json!(3840), &json!(612), &json!("Nova"))
    );
}

/// The examples that ask with `curl -sf`.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("```").next().expect("a block ends"));
    blocks.filter(|block| block.contains("curl -sf")).collect()
}

#[test]
fn the_examples_of_our_own_page_work_as_printed() {
    if !runs("curl", &["--version"]) {
        return missing("curl is not installed: the examples of docs/apis.md were not run");
    }
    let server = Server::start();
    let examples = examples(include_str!("../../docs/apis.md"));
    assert!(examples.len() >= 3, "{examples:?}");
    for example in examples {
        let lines = example.replace("localhost:4000", &server.address().to_string());
        let output = std::process::Command::new("bash").arg("-ec").arg(&lines).output().expect("bash runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("Hello"), "{lines}\n{said}");
    }
}
