//! AI Teammate's stream, byte by byte: the frames of the seed, its headers, and reads that hold whole events.

use super::{delta, events, post_as, register, sent, spoken, told};
use crate::harness::{Agent, RawSocket, Server, Value, json, unique};
use std::io::Read;

#[test]
fn a_stream_is_the_frames_of_the_seed_to_the_byte() {
    let server = Server::shared();
    let user = unique("alice");
    let answer = post_as(&server, &user, "/agents/echo/chat/stream", &json!({"message": "Hello there!"}));
    let expected = "data: {\"type\":\"text\",\"content\":\"Hello \"}\n\n\
                    data: {\"type\":\"text\",\"content\":\"there!\"}\n\n\
                    data: {\"type\":\"done\",\"content\":\"\"}\n\n\
                    data: [DONE]\n\n";
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let session = answer.header("x-conversation-id").expect("an id").to_owned();
    assert_eq!(answer.header("x-message-id"), Some(format!("msg_{session}_1").as_str()));
    assert_eq!(server.history(&session).len(), 2);
    assert_eq!(server.cursor(&session, &user), Some(2));
}

#[test]
fn tools_begin_and_end_between_the_texts_and_reasoning_is_not_told() {
    let server = Server::shared();
    let tool = |kind: &str, more: Value| {
        let mut chunk = json!({"type": kind, "toolCallId": "c1"});
        chunk.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        chunk
    };
    let (_agent, id) = super::scripted(&server, json!({}), move |call| {
        let mut chunks = vec![
            json!({"type": "start"}),
            json!({"type": "reasoning-start", "id": "r"}),
            json!({"type": "reasoning-delta", "id": "r", "delta": "Hm"}),
            json!({"type": "reasoning-end", "id": "r"}),
            tool("tool-input-available", json!({"toolName": "weather", "input": {"city": "Ulm"}})),
            tool("tool-output-available", json!({"output": {"rain": true}})),
        ];
        chunks.extend(spoken("It rains.").into_iter().skip(1));
        call.answer(&chunks);
    });
    let events = super::stream(&server, &unique("alice"), &id, "Weather?");
    let expected = [
        json!({"type": "tool_start", "tool": "weather", "args": {"city": "Ulm"}}),
        json!({"type": "tool_end", "tool": "weather", "content": "{\"rain\":true}"}),
        json!({"type": "text", "content": "It rains."}),
        json!({"type": "done", "content": ""}),
        json!("[DONE]"),
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_stream_is_followed_by_the_next_request_of_its_connection() {
    let server = Server::shared();
    let mut connection = server.connect();
    for text in ["one", "two"] {
        let bytes = crate::harness::http::request(
            "POST",
            "/agents/echo/chat/stream",
            &[("x-user-id", &unique("alice"))],
            Some(&json!({"message": text})),
        );
        connection.send(bytes);
        assert_eq!(told(&events(connection.answer().text())), text);
    }
}

/// What the seed's reader rests on: it reads, splits at line ends and carries nothing over.
#[test]
fn events_are_never_split_over_two_reads() {
    const DELTAS: usize = 60;
    let server = Server::shared();
    let agent = Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    let connection = sent(&server, &unique("alice"), &format!("/agents/{id}/chat/stream"), &json!({"message": "hi"}));
    let (mut stream, unread) = connection.into_parts();
    assert!(unread.is_empty());
    let mut call = agent.call();
    let mut bytes = vec![0; 1 << 20];
    let mut read = move || {
        let count = stream.read(&mut bytes).expect("the server sends");
        assert!(count > 0, "the stream is not over");
        String::from_utf8(bytes[..count].to_vec()).expect("no character is split")
    };
    assert!(read().starts_with("HTTP/1.1 200"), "the head is there before the first event");
    let mut heard = String::new();
    for n in 0..DELTAS {
        let text = format!("{n}:").repeat(2_000 + n * 100);
        call.say(&delta(&text));
        let mut arrived = String::new();
        while arrived.len() < text.len() {
            arrived += &whole_events(&read());
        }
        assert_eq!(arrived, text);
        heard += &arrived;
    }
    call.say(&json!({"type": "finish"}));
    call.finish();
    assert!(heard.len() > 500_000);
    let last = read();
    assert!(
        last.contains("data: {\"type\":\"done\",\"content\":\"\"}\n\n") && last.contains("data: [DONE]\n\n"),
        "{last}"
    );
}

/// The texts of what one read has brought: chunks of HTTP, each of whole events.
#[track_caller]
fn whole_events(read: &str) -> String {
    let mut rest = read;
    let mut text = String::new();
    while !rest.is_empty() {
        let (size, behind) = rest.split_once("\r\n").expect("a chunk begins with its size");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        let chunk =
            behind.get(..size).unwrap_or_else(|| panic!("a read ends within an event: {size} of {}", behind.len()));
        for event in events(chunk) {
            text += event["content"].as_str().expect("a text");
        }
        rest = behind[size..].strip_prefix("\r\n").expect("a chunk ends in a line end");
    }
    text
}

#[test]
fn a_stream_under_way_lives_through_a_drain() {
    let server = Server::start();
    let agent = Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    let mut asking = sent(&server, "alice", &format!("/agents/{id}/chat/stream"), &json!({"message": "hi"}));
    let mut call = agent.call();
    call.say(&delta("before "));
    server.terminate();
    server.logged("drain", 1);
    call.say(&delta("and after"));
    call.say(&json!({"type": "finish"}));
    call.finish();
    assert_eq!(told(&events(asking.answer().text())), "before and after");
    let (status, log) = server.wait();
    assert!(status.success(), "{status}: {log}");
}

#[test]
fn a_socket_of_another_kind_is_no_stream() {
    let server = Server::shared();
    let answer = server.get("/api/chat/ws");
    assert!((400..500).contains(&answer.status), "{answer:?}");
    drop(RawSocket::open(&server));
}
