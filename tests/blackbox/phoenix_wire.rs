//! Phoenix Channels serializer 2.0.0 on the wire: the behaviour contract's section 3.

use crate::harness::websocket::{TEXT, masked};
use crate::harness::{Frame, RawSocket, Server, Socket, Value, json};

fn ok(response: Value) -> Value {
    json!({"status": "ok", "response": response})
}

#[test]
fn a_heartbeat_is_answered_and_may_carry_null_for_its_ref_and_payload() {
    let server = Server::shared();
    let mut socket = Socket::open(&server, "alice");
    for (reference, payload) in [(json!("1"), json!({})), (json!(2), json!({})), (json!("3"), Value::Null)] {
        socket.send(&Value::Null, &reference, "phoenix", "heartbeat", &payload);
        let reply = socket.next();
        assert_eq!((reply.topic.as_str(), reply.event.as_str()), ("phoenix", "phx_reply"));
        assert_eq!((&reply.join_ref, &reply.reference), (&Value::Null, &reference));
        assert_eq!(reply.payload, ok(json!({})));
    }
    socket.send(&Value::Null, &Value::Null, "phoenix", "heartbeat", &Value::Null);
    assert_eq!(socket.next().reference, Value::Null);
}

#[test]
fn refs_are_echoed_as_they_came_strings_or_numbers() {
    let server = Server::shared();
    let topic = format!("session:{}", server.session("alice", "bot"));
    let mut socket = Socket::open(&server, "alice");
    let refs = [(json!("a\"b"), json!("ü")), (json!(1), json!(2)), (json!(1.50), json!(-3)), (json!("5"), json!("5"))];
    for (join_ref, reference) in refs {
        socket.send(&join_ref, &reference, &topic, "phx_join", &json!({}));
        let reply = socket.first(|frame| frame.event == "phx_reply");
        assert_eq!((&reply.join_ref, &reply.reference), (&join_ref, &reference));
        let sent = json!({"content": {"content": {}}});
        socket.send(&join_ref, &reference, &topic, "send", &sent);
        let reply = socket.first(|frame| frame.event == "phx_reply");
        assert_eq!((&reply.join_ref, &reply.reference), (&join_ref, &reference));
    }
}

#[test]
fn reused_refs_are_each_answered() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    let reference = json!("same");
    for _ in 0..3 {
        let sent = json!({"content": {"content": {}}});
        socket.send(&Value::Null, &reference, &topic, "send", &sent);
    }
    let acked: Vec<u64> =
        (0..3).map(|_| socket.reply(&reference).expect("accepted")["seq"].as_u64().expect("a seq")).collect();
    assert_eq!(acked, [1, 2, 3]);
}

#[test]
fn more_than_five_elements_are_ignored() {
    let server = Server::shared();
    let mut socket = Socket::open(&server, "alice");
    socket.send_text(r#"[null, "9", "phoenix", "heartbeat", {}, "more", [1]]"#);
    assert_eq!(socket.next().reference, "9");
}

#[test]
fn a_topic_that_is_not_joined_or_not_known_is_unmatched() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    for topic in [format!("session:{session}"), "nothing".to_owned(), "room:1".to_owned(), String::new()] {
        let reference = socket.push(&topic, "send", &json!({}));
        let reply = socket.next();
        assert_eq!((&reply.reference, reply.topic.as_str()), (&reference, topic.as_str()));
        assert_eq!(reply.payload, json!({"status": "error", "response": {"reason": "unmatched topic"}}));
    }
    for topic in ["nothing", "room:1", "conversation:1", "phoenix"] {
        assert_eq!(socket.join(topic, &json!({})), Err(json!({"reason": "unmatched topic"})), "{topic}");
    }
}

#[test]
fn a_second_join_is_answered_first_and_then_the_old_channel_closes_with_its_join_ref() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let topic = format!("session:{session}");
    let mut socket = Socket::open(&server, "alice");
    socket.send(&json!("1"), &json!("1"), &topic, "phx_join", &json!({}));
    assert!(socket.next().is_reply_to(&json!("1")));
    socket.send(&json!("2"), &json!("2"), &topic, "phx_join", &json!({}));
    let reply = socket.next();
    assert_eq!((&reply.join_ref, &reply.reference), (&json!("2"), &json!("2")));
    assert_eq!(reply.payload["status"], "ok");
    let closed = socket.next();
    assert_eq!(closed.event, "phx_close");
    assert_eq!((&closed.join_ref, &closed.reference), (&json!("1"), &json!("1")));
    assert_eq!((closed.topic.as_str(), closed.payload), (topic.as_str(), json!({})));
    server.say(&session, "alice", "heard once");
    assert_eq!(socket.event(&topic, "message")["seq"], 1);
    assert_eq!(socket.settle().len(), 0, "the old channel is gone");
}

#[test]
fn a_leave_is_answered_and_then_closes() {
    let server = Server::shared();
    let topic = format!("session:{}", server.session("alice", "bot"));
    let mut socket = Socket::open(&server, "alice");
    socket.send(&json!("1"), &json!("1"), &topic, "phx_join", &json!({}));
    assert!(socket.next().is_reply_to(&json!("1")));
    socket.send(&json!("1"), &json!("2"), &topic, "phx_leave", &json!({}));
    let reply = socket.next();
    assert!(reply.is_reply_to(&json!("2")));
    assert_eq!(reply.payload, ok(json!({})));
    let closed = socket.next();
    assert_eq!((closed.event.as_str(), &closed.join_ref, &closed.reference), ("phx_close", &json!("1"), &json!("1")));
}

#[test]
fn leaving_a_topic_that_is_not_joined_is_ok() {
    let server = Server::shared();
    let mut socket = Socket::open(&server, "alice");
    socket.send(&json!("4"), &json!("5"), "session:x", "phx_leave", &json!({}));
    let reply = socket.next();
    assert_eq!((&reply.join_ref, &reply.reference), (&json!("4"), &json!("5")));
    assert_eq!(reply.payload, ok(json!({})));
    assert_eq!(socket.settle().len(), 0);
}

#[test]
fn a_stale_join_ref_is_dropped_silently_for_leaves_and_events() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let topic = format!("session:{session}");
    let mut socket = Socket::open(&server, "alice");
    socket.send(&json!("7"), &json!("7"), &topic, "phx_join", &json!({}));
    assert!(socket.next().is_reply_to(&json!("7")));
    socket.send(&json!("6"), &json!("8"), &topic, "phx_leave", &json!({}));
    let send = json!({"content": {"content": {}}});
    socket.send(&json!("6"), &json!("9"), &topic, "send", &send);
    // Comparison is strict: the number is another ref than the string.
    socket.send(&json!(7), &json!("10"), &topic, "send", &send);
    assert_eq!(socket.settle().len(), 0);
    assert_eq!(server.history(&session).len(), 0);
    assert_eq!(socket.say(&topic, "still joined"), 1);
}

#[test]
fn a_null_join_ref_is_accepted_for_events_and_leaves() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    assert_eq!(socket.say(&topic, "null join_ref"), 1);
    socket.send(&Value::Null, &json!("l"), &topic, "phx_leave", &json!({}));
    socket.reply(&json!("l")).expect("left");
}

#[test]
fn pushes_carry_no_ref_and_no_join_ref_but_the_channels_own() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let topic = format!("session:{session}");
    let mut socket = Socket::open(&server, "alice");
    socket.send(&json!("3"), &json!("3"), &topic, "phx_join", &json!({}));
    assert!(socket.next().is_reply_to(&json!("3")));
    server.say(&session, "alice", "x");
    let push = socket.next();
    assert_eq!((push.event.as_str(), &push.reference), ("message", &Value::Null));
    assert!(push.join_ref == json!("3") || push.join_ref == Value::Null, "{push:?}");
}

#[test]
fn one_socket_carries_many_channels_up_to_its_bound() {
    let server = Server::shared();
    let mut socket = Socket::open(&server, "alice");
    let sessions: Vec<String> = (0..101).map(|_| server.session("alice", "bot")).collect();
    for session in &sessions[..100] {
        socket.join_session(session);
    }
    let refused = socket.join(&format!("session:{}", sessions[100]), &json!({}));
    assert_eq!(refused, Err(json!({"reason": "too many channels joined"})));
    for session in [&sessions[0], &sessions[99]] {
        server.say(session, "alice", "x");
        assert_eq!(socket.event(&format!("session:{session}"), "message")["session_id"], session.as_str());
    }
    let reference = socket.push(&format!("session:{}", sessions[0]), "phx_leave", &json!({}));
    socket.reply(&reference).expect("left");
    socket.join(&format!("session:{}", sessions[100]), &json!({})).expect("there is room again");
}

#[test]
fn a_malformed_frame_closes_its_own_socket_with_1011() {
    let server = Server::shared();
    let mut bystander = Socket::open(&server, "alice");
    for text in ["{", "[]", "nonsense", r#"[null,"1","phoenix","heartbeat"]"#, r#"{"topic":"phoenix"}"#, "7", ""] {
        let mut socket = Socket::open(&server, "alice");
        socket.send_text(text);
        assert_eq!(socket.close_code(), Some(1011), "{text:?}");
    }
    assert_eq!(bystander.settle().len(), 0);
}

/// The client's binary push: kind 0, four sizes, four texts, data.
fn binary_push(join_ref: &str, reference: &str, topic: &str, event: &str, data: &[u8]) -> Vec<u8> {
    let texts = [join_ref, reference, topic, event];
    let mut bytes = vec![0];
    bytes.extend(texts.iter().map(|text| text.len() as u8));
    texts.iter().for_each(|text| bytes.extend(text.as_bytes()));
    bytes.extend(data);
    bytes
}

#[test]
fn a_binary_send_is_invalid_message_format_and_a_binary_join_crashes() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    socket.send_binary(binary_push("", "b1", &topic, "send", &[0, 255, 7]));
    assert_eq!(socket.reply(&json!("b1")).expect_err("refused")["error"], "invalid_message_format");
    socket.send_binary(binary_push("b2", "b2", &topic, "phx_join", &[1, 2, 3]));
    assert_eq!(socket.reply(&json!("b2")), Err(json!({"reason": "join crashed"})));
    assert_eq!(server.history(&session).len(), 0);
}

#[test]
fn a_malformed_binary_frame_closes_with_1011() {
    let server = Server::shared();
    for bytes in [vec![9, 1, 2], vec![0, 255, 255, 255, 255, 1], vec![0], vec![]] {
        let mut socket = Socket::open(&server, "alice");
        socket.send_binary(bytes.clone());
        assert_eq!(socket.close_code(), Some(1011), "{bytes:?}");
    }
}

#[test]
fn a_join_in_flight_holds_back_the_frames_behind_it() {
    let server = Server::shared();
    let session = server.session("raw", "bot");
    let topic = format!("session:{session}");
    let mut socket = RawSocket::open(&server);
    let join = json!(["1", "1", topic, "phx_join", {}]).to_string();
    let send = json!(["1", "2", topic, "send", {"content": {"content": {}}}]).to_string();
    socket.send(&[join, send].map(|text| masked(true, TEXT, text.as_bytes())).concat());
    let mut next = || Frame::parse(std::str::from_utf8(&socket.read().1).expect("text"));
    assert!(next().is_reply_to(&json!("1")));
    let ack = next();
    assert!(ack.is_reply_to(&json!("2")));
    assert_eq!(ack.payload, ok(json!({"seq": 1})), "the send met the joined channel");
    assert_eq!(next().event, "message");
}
