//! Phoenix Channels serializer 1.0.0: the same server in objects instead of arrays (the behaviour contract's 3.1).

use crate::harness::rest::keys;
use crate::harness::websocket::{CLOSE, TEXT, upgrade_request};
use crate::harness::{RawSocket, Server, Value, json};

/// A V1 socket of a user.
struct Socket(RawSocket);

impl Socket {
    fn open(server: &Server, query: &str) -> Self {
        let mut connection = server.connect();
        connection.send(upgrade_request(query, ""));
        assert_eq!(connection.answer().status, 101);
        Self(RawSocket::after(connection))
    }

    fn send(&mut self, message: &Value) {
        self.0.frame(true, TEXT, message.to_string().as_bytes());
    }

    fn next(&mut self) -> Value {
        let (opcode, payload) = self.0.read();
        assert_eq!(opcode, TEXT, "{payload:?}");
        let message: Value = serde_json::from_slice(&payload).expect("JSON");
        assert_eq!(keys(&message), ["event", "payload", "ref", "topic"]);
        message
    }
}

#[test]
fn join_send_heartbeat_and_leave_work_in_objects_of_four_keys() {
    let server = Server::shared();
    for query in ["user_id=alice", "user_id=alice&vsn=1.0.0"] {
        let session = server.session("alice", "bot");
        let topic = format!("session:{session}");
        let mut socket = Socket::open(&server, query);
        socket.send(&json!({"topic": topic, "event": "phx_join", "payload": {}, "ref": "1"}));
        let reply = socket.next();
        assert_eq!((&reply["event"], &reply["ref"]), (&json!("phx_reply"), &json!("1")));
        assert_eq!(reply["payload"]["response"]["session_id"], session.as_str());

        let send = json!({"content": {"kind": "text", "content": {"text": "hi"}}});
        socket.send(&json!({"topic": topic, "event": "send", "payload": send, "ref": 2}));
        let ack = socket.next();
        assert_eq!((&ack["ref"], &ack["payload"]["response"]), (&json!(2), &json!({"seq": 1})));
        let message = socket.next();
        assert_eq!((&message["event"], &message["ref"]), (&json!("message"), &Value::Null));
        assert_eq!(message["payload"]["content"], json!({"text": "hi"}));

        socket.send(&json!({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "3"}));
        assert_eq!(socket.next()["payload"], json!({"status": "ok", "response": {}}));

        socket.send(&json!({"topic": topic, "event": "phx_leave", "payload": {}, "ref": "4"}));
        assert_eq!(socket.next()["ref"], "4");
        let closed = socket.next();
        assert_eq!((&closed["event"], &closed["topic"]), (&json!("phx_close"), &json!(topic)));
    }
}

#[test]
fn an_unjoined_topic_is_unmatched() {
    let server = Server::shared();
    let mut socket = Socket::open(&server, "user_id=alice");
    socket.send(&json!({"topic": "room:1", "event": "phx_join", "payload": {}, "ref": "1", "join_ref": "1"}));
    let response = json!({"status": "error", "response": {"reason": "unmatched topic"}});
    assert_eq!(socket.next()["payload"], response);
}

#[test]
fn an_array_or_a_missing_key_closes_with_1011() {
    let server = Server::shared();
    for text in [r#"[null,"1","phoenix","heartbeat",{}]"#, r#"{"topic":"phoenix","event":"heartbeat","ref":"1"}"#] {
        let mut socket = Socket::open(&server, "user_id=alice");
        socket.0.frame(true, TEXT, text.as_bytes());
        let (opcode, payload) = socket.0.read();
        assert_eq!((opcode, &payload[..2]), (CLOSE, &1011u16.to_be_bytes()[..]), "{text}");
    }
}
