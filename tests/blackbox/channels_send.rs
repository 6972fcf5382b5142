//! `send` on a session's channel: the behaviour contract's 2.2.

use crate::harness::rest::{seqs, texts};
use crate::harness::{Server, Socket, Value, json};

/// Alice on a channel of a new session.
fn joined(server: &Server) -> (String, Socket, String) {
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(server, "alice");
    let topic = socket.join_session(&session);
    (session, socket, topic)
}

#[test]
fn kind_content_and_metadata_are_used_as_given_or_replaced_by_the_contracts_rules() {
    let server = Server::shared();
    let (session, mut socket, topic) = joined(&server);
    let rows = [
        (json!({"kind": "k", "content": {"a": 1}, "metadata": {"m": 1}}), "k", json!({"m": 1})),
        (json!({"kind": "k", "content": {"a": 1}}), "k", json!({})),
        (json!({"kind": "k", "content": {"a": 1}, "metadata": "bad"}), "k", json!({})),
        (json!({"content": {"a": 1}}), "text", json!({})),
        (json!({"kind": 7, "content": {"a": 1}, "metadata": {"m": 1}}), "text", json!({})),
        (json!({"kind": "", "content": {"a": 1}}), "", json!({})),
    ];
    for (content, _, _) in &rows {
        let reference = socket.push(&topic, "send", &json!({ "content": content }));
        socket.reply(&reference).expect("accepted");
    }
    let history = server.history(&session);
    assert_eq!(history.len(), rows.len());
    for (message, (content, kind, metadata)) in history.iter().zip(&rows) {
        assert_eq!(message["kind"], *kind, "{content}");
        assert_eq!(message["metadata"], *metadata, "{content}");
        assert_eq!(message["content"], json!({"a": 1}), "{content}");
        assert_eq!(message["sender_id"], "alice");
    }
}

#[test]
fn content_that_is_no_object_is_invalid_message_format() {
    let server = Server::shared();
    let (session, mut socket, topic) = joined(&server);
    for payload in [
        json!({}),
        json!({"content": "text"}),
        json!({"content": {}}),
        json!({"content": {"kind": "k", "content": "text"}}),
        json!({"content": {"kind": "k", "content": [1]}}),
        json!({"content": null}),
        json!([1]),
        json!("text"),
    ] {
        let reference = socket.push(&topic, "send", &payload);
        let error = socket.reply(&reference).expect_err("refused");
        assert_eq!(error["error"], "invalid_message_format", "{payload}");
        assert_eq!(error["details"], "content must be a map, metadata must be a map");
    }
    assert_eq!(server.history(&session).len(), 0);
    assert_eq!(socket.say(&topic, "the channel goes on"), 1);
}

#[test]
fn the_sender_is_the_socket_whatever_the_payload_says() {
    let server = Server::shared();
    let (session, mut socket, topic) = joined(&server);
    let claim = json!({"user_id": "bob", "content": {"content": {"text": "x"}, "sender_id": "bob"}});
    let reference = socket.push(&topic, "send", &claim);
    socket.reply(&reference).expect("accepted");
    assert_eq!(server.history(&session)[0]["sender_id"], "alice");
}

#[test]
fn the_ack_comes_before_the_senders_own_message_which_comes_once() {
    let server = Server::shared();
    let (_, mut socket, topic) = joined(&server);
    for n in 1..=20 {
        let reference = socket.push(&topic, "send", &json!({"content": {"content": {"n": n}}}));
        let ack = socket.next();
        assert!(ack.is_reply_to(&reference), "{ack:?}");
        assert_eq!(ack.payload, json!({"status": "ok", "response": {"seq": n}}));
        let message = socket.next();
        assert_eq!((message.event.as_str(), &message.payload["seq"]), ("message", &json!(n)));
    }
    assert_eq!(socket.settle().len(), 0);
}

#[test]
fn pipelined_sends_are_numbered_and_answered_in_order() {
    let server = Server::shared();
    let (session, mut socket, topic) = joined(&server);
    let send = |socket: &mut Socket, n: u64| {
        socket.push(&topic, "send", &json!({"content": {"content": {"text": n.to_string()}}}))
    };
    let references: Vec<Value> = (1..=200).map(|n| send(&mut socket, n)).collect();
    let mut answered = Vec::new();
    let mut pushed = Vec::new();
    while answered.len() < 200 || pushed.len() < 200 {
        let frame = socket.next();
        match frame.event.as_str() {
            "phx_reply" => {
                answered.push((frame.reference, frame.payload["response"]["seq"].as_u64().expect("a seq")));
            }
            "message" => {
                let seq = frame.payload["seq"].as_u64().expect("a seq");
                assert!(answered.iter().any(|&(_, acked)| acked == seq), "message {seq} came before its ack");
                pushed.push(seq);
            }
            other => panic!("{other}"),
        }
    }
    let expected: Vec<u64> = (1..=200).collect();
    assert_eq!(answered, references.into_iter().zip(1..=200).collect::<Vec<_>>());
    assert_eq!(pushed, expected);
    assert_eq!(seqs(&server.history(&session)), expected);
    assert_eq!(texts(&server.history(&session))[199], "200");
}

#[test]
fn a_message_by_rest_is_pushed_to_both_parties_once() {
    let server = Server::shared();
    let (session, mut alice, topic) = joined(&server);
    let mut bot = Socket::open(&server, "bot");
    bot.join_session(&session);
    let message = server.say(&session, "alice", "by REST");
    for socket in [&mut alice, &mut bot] {
        assert_eq!(socket.event(&topic, "message"), message);
        // Another push would come before the next message's.
        assert_eq!(socket.settle().len(), 0);
    }
    server.say(&session, "alice", "again");
    for socket in [&mut alice, &mut bot] {
        assert_eq!(socket.event(&topic, "message")["seq"], 2);
    }
}

#[test]
fn a_send_that_expects_another_seq_is_refused() {
    let server = Server::shared();
    let (session, mut socket, topic) = joined(&server);
    let send = |socket: &mut Socket, expected: u64| {
        let reference = socket.push(&topic, "send", &json!({"content": {"content": {}}, "expected_seq": expected}));
        socket.reply(&reference)
    };
    assert_eq!(send(&mut socket, 0).expect("accepted")["seq"], 1);
    send(&mut socket, 0).expect_err("the session is at 1");
    assert_eq!(send(&mut socket, 1).expect("accepted")["seq"], 2);
    assert_eq!(server.history(&session).len(), 2);
}

#[test]
fn an_unknown_event_is_answered_with_an_error_and_the_channel_goes_on() {
    let server = Server::shared();
    let (_, mut socket, topic) = joined(&server);
    let reference = socket.push(&topic, "typing", &json!({}));
    socket.reply(&reference).expect_err("an unknown event");
    assert_eq!(socket.say(&topic, "still joined"), 1);
}

#[test]
fn after_leaving_a_channel_gets_nothing_and_sends_are_unmatched() {
    let server = Server::shared();
    let (session, mut socket, topic) = joined(&server);
    let reference = socket.push(&topic, "phx_leave", &json!({}));
    socket.reply(&reference).expect("left");
    socket.event(&topic, "phx_close");
    server.say(&session, "alice", "unheard");
    let reference = socket.push(&topic, "send", &json!({"content": {"content": {}}}));
    assert_eq!(socket.reply(&reference), Err(json!({"reason": "unmatched topic"})));
    assert_eq!(socket.settle().len(), 0);
}
