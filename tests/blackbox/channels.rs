//! Sockets and joins: the behaviour contract's 2.1, 2.2 and its checklist 8.4.

use crate::harness::rest::{list, seqs, texts};
use crate::harness::websocket::{ACCEPT, upgrade_request};
use crate::harness::{Options, RawSocket, Server, Socket, Value, json};

#[test]
fn a_socket_needs_an_identity_which_may_be_empty_or_an_agents() {
    let server = Server::shared();
    for query in ["user_id=alice&vsn=2.0.0", "agent_id=bot&vsn=2.0.0", "user_id=&vsn=2.0.0", "user_id=a%20b&vsn=2.0.0"]
    {
        assert!(Socket::try_open(&server, query).is_ok(), "{query}");
    }
    assert_eq!(Socket::try_open(&server, "vsn=2.0.0").err(), Some(403));
    let mut connection = server.connect();
    connection.send(upgrade_request("vsn=2.0.0", ""));
    let answer = connection.answer();
    assert_eq!((answer.status, answer.body.len()), (403, 0));
}

#[test]
fn a_user_id_wins_over_an_agent_id() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::try_open(&server, "agent_id=stranger&user_id=alice&vsn=2.0.0").expect("accepted");
    let topic = socket.join_session(&session);
    socket.say(&topic, "hello");
    assert_eq!(socket.event(&topic, "message")["sender_id"], "alice");
}

#[test]
fn vsn_1_0_x_and_2_0_x_are_spoken_and_any_other_is_403() {
    let server = Server::shared();
    for vsn in ["1.0.0", "1.0.7", "2.0.0", "2.0.9"] {
        assert!(Socket::try_open(&server, &format!("user_id=u&vsn={vsn}")).is_ok(), "{vsn}");
    }
    assert!(Socket::try_open(&server, "user_id=u").is_ok(), "no vsn is V1");
    for vsn in ["3.0.0", "2.1.0", "1.1.0", "x", ""] {
        assert_eq!(Socket::try_open(&server, &format!("user_id=u&vsn={vsn}")).err(), Some(403), "{vsn:?}");
    }
}

#[test]
fn the_websocket_path_takes_upgrades_by_get_only() {
    let server = Server::shared();
    let post = server.post("/socket/websocket?user_id=u&vsn=2.0.0", &json!({}));
    assert_eq!((post.status, post.body.len()), (400, 0));
    let plain = server.get("/socket/websocket?user_id=u&vsn=2.0.0");
    assert_eq!(plain.status, 400);
    assert!(!plain.body.is_empty(), "the reason is a plain text");
    let mut connection = server.connect();
    connection.send(upgrade_request("user_id=u&vsn=2.0.0", "").replace("version: 13", "version: 12"));
    let status = connection.answer().status;
    assert!(status == 400 || status == 426, "{status}");
}

#[test]
fn the_handshake_answers_the_key_and_picks_the_phoenix_subprotocol() {
    let server = Server::shared();
    let mut connection = server.connect();
    let token = "sec-websocket-protocol: phoenix, base64url.bearer.phx.dG9rZW4\r\n";
    connection.send(upgrade_request("user_id=u&vsn=2.0.0", token));
    let answer = connection.answer();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("phoenix"));
}

#[test]
fn frames_sent_right_behind_the_upgrade_request_are_not_lost() {
    use crate::harness::websocket::{TEXT, masked};
    let server = Server::shared();
    let mut connection = server.connect();
    let mut bytes = upgrade_request("user_id=u&vsn=2.0.0", "").into_bytes();
    bytes.extend(masked(true, TEXT, br#"[null,"7","phoenix","heartbeat",{}]"#));
    connection.send(bytes);
    assert_eq!(connection.answer().status, 101);
    let (opcode, payload) = RawSocket::after(connection).read();
    let frame: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(opcode, TEXT);
    let reply = json!({"status": "ok", "response": {}});
    assert_eq!(frame, json!([null, "7", "phoenix", "phx_reply", reply]));
}

#[test]
fn a_join_returns_the_session_id_and_the_history() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let said = vec![server.say(&session, "alice", "one"), server.answer_as(&session, "bot", "two")];
    for identity in ["alice", "bot"] {
        let mut socket = Socket::open(&server, identity);
        let response = socket.join(&format!("session:{session}"), &json!({})).expect("a participant joins");
        assert_eq!(response["session_id"], session.as_str());
        assert_eq!(response["messages"], json!(said));
        assert_eq!(response["has_more"], false);
    }
}

#[test]
fn a_stranger_is_unauthorized_and_an_unknown_session_not_found() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "mallory");
    let refused = socket.join(&format!("session:{session}"), &json!({}));
    assert_eq!(refused, Err(json!({"reason": "unauthorized"})));
    for id in ["01K6GR2EV9Z7PSMEVVJ5M954CH", "nonsense", ""] {
        let refused = socket.join(&format!("session:{id}"), &json!({}));
        assert_eq!(refused, Err(json!({"reason": "not found"})), "{id:?}");
    }
    assert_eq!(socket.settle().len(), 0);
}

#[test]
fn a_refused_join_receives_nothing_of_the_session() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut eavesdropper = Socket::open(&server, "mallory");
    eavesdropper.join(&format!("session:{session}"), &json!({})).expect_err("a stranger");
    let mut alice = Socket::open(&server, "alice");
    let topic = alice.join_session(&session);
    alice.say(&topic, "secret");
    alice.event(&topic, "message");
    assert_eq!(eavesdropper.settle().len(), 0);
}

#[test]
fn last_seq_is_a_number_or_a_numeric_string_and_anything_else_is_the_beginning() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    for n in 1..=4 {
        server.say(&session, "alice", &n.to_string());
    }
    let mut socket = Socket::open(&server, "alice");
    for (payload, expected) in [
        (json!({"last_seq": 2}), vec![3, 4]),
        (json!({"last_seq": "3"}), vec![4]),
        (json!({"last_seq": 4}), vec![]),
        (json!({"last_seq": 400}), vec![]),
        (json!({"last_seq": -1}), vec![1, 2, 3, 4]),
        (json!({"last_seq": "x"}), vec![1, 2, 3, 4]),
        (json!({"last_seq": null}), vec![1, 2, 3, 4]),
        (json!({}), vec![1, 2, 3, 4]),
    ] {
        let response = socket.join(&format!("session:{session}"), &payload).expect("joined");
        assert_eq!(seqs(&list(&response, "messages")), expected, "{payload}");
    }
}

#[test]
fn a_join_payload_that_is_no_object_is_join_crashed() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    for payload in [json!([]), json!("text"), json!(1), Value::Null] {
        let refused = socket.join(&format!("session:{session}"), &payload);
        assert_eq!(refused, Err(json!({"reason": "join crashed"})), "{payload}");
    }
}

#[test]
fn a_join_has_at_most_100_messages_says_that_there_are_more_and_goes_on_live() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    for n in 1..=130 {
        server.say(&session, "alice", &n.to_string());
    }
    let mut socket = Socket::open(&server, "alice");
    let topic = format!("session:{session}");
    let response = socket.join(&topic, &json!({})).expect("joined");
    assert_eq!(seqs(&list(&response, "messages")), (1..=100).collect::<Vec<u64>>());
    assert_eq!(response["has_more"], true);
    let response = socket.join(&topic, &json!({"last_seq": 100})).expect("joined");
    assert_eq!(seqs(&list(&response, "messages")), (101..=130).collect::<Vec<u64>>());
    assert_eq!(response["has_more"], false);
    server.say(&session, "alice", "131");
    assert_eq!(socket.event(&topic, "message")["seq"], 131);
}

#[test]
fn an_agents_chunk_reaches_everybody_on_the_session_unchanged_and_is_not_stored() {
    let server = Server::with(&Options::shards(3));
    let session = server.session("alice", "bot");
    let mut readers: Vec<Socket> = (0..6).map(|_| Socket::open(&server, "alice")).collect();
    let topic = format!("session:{session}");
    readers.iter_mut().for_each(|reader| assert_eq!(reader.join_session(&session), topic));
    let mut agent = Socket::open(&server, "bot");
    agent.join_session(&session);
    let chunks = [
        json!({"type": "start", "messageId": "m1"}),
        json!({"type": "text-delta", "id": "t", "delta": "Hé\u{1F600}", "providerMetadata": {"x": [null, 1.5]}}),
        json!({"type": "finish"}),
    ];
    for chunk in &chunks {
        agent.push(&topic, "stream_chunk", &json!({ "chunk": chunk }));
    }
    for reader in readers.iter_mut().chain([&mut agent]) {
        for chunk in &chunks {
            assert_eq!(reader.event(&topic, "stream_chunk"), json!({"agent_id": "bot", "chunk": chunk}));
        }
    }
    assert_eq!(server.history(&session).len(), 0);
}

#[test]
fn a_user_cannot_speak_as_the_agent_in_chunks() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut alice = Socket::open(&server, "alice");
    let topic = alice.join_session(&session);
    let reference = alice.push(&topic, "stream_chunk", &json!({"chunk": {"type": "start"}}));
    alice.reply(&reference).expect_err("only the session's agent sends chunks");
    assert!(alice.settle().iter().all(|frame| frame.event != "stream_chunk"));
}

#[test]
fn an_archived_session_can_be_joined_and_written_to() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    server.delete(&format!("/api/sessions/{session}"));
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    assert_eq!(socket.say(&topic, "still open"), 1);
    assert_eq!(texts(&server.history(&session)), ["still open"]);
}

#[test]
fn a_session_deleted_for_good_closes_its_channels() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    assert_eq!(server.delete(&format!("/api/sessions/{session}?permanent=true")).status, 204);
    let closed = socket.first(|frame| frame.topic == topic && frame.event == "phx_close");
    assert_eq!(closed.payload, json!({}));
    let refused = socket.join(&topic, &json!({}));
    assert_eq!(refused, Err(json!({"reason": "not found"})));
}

#[test]
fn after_a_large_reply_the_socket_is_read_on_and_stays_live() {
    let server = Server::shared();
    // Above what a socket may have queued while it is read, and above a whole outbox.
    for text_bytes in [3_000, 30_000] {
        let session = server.session("alice", "bot");
        for _ in 0..100 {
            server.say(&session, "alice", &"x".repeat(text_bytes));
        }
        let mut socket = Socket::open(&server, "alice");
        let topic = format!("session:{session}");
        let reference = json!("1");
        socket.send(&reference, &reference, &topic, "phx_join", &json!({}));
        let pushed = server.say(&session, "bot", "while the reply was on its way");
        let joined = socket.reply(&reference).expect("the join is accepted");
        assert_eq!(list(&joined, "messages").len(), 100);
        if joined["last_seq"] == 100 {
            assert_eq!(socket.event(&topic, "message"), pushed); // it was committed behind the join
        }
        assert!(socket.settle().is_empty(), "the heartbeat is answered");
    }
}
