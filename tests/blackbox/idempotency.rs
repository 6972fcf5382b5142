//! A retry with the same key returns the first result: by header or field, by anybody's clock, and after a crash.

use crate::harness::http::request;
use crate::harness::rest::{messages, texts};
use crate::harness::{Answer, Folder, Server, Socket, json};

fn append(server: &Server, session: &str, user: &str, key: &str, text: &str) -> Answer {
    let body = json!({"user_id": user, "content": {"text": text}});
    server.call("POST", &messages(session), &[("idempotency-key", key)], Some(&body))
}

#[test]
fn a_retry_by_header_or_field_returns_the_first_message() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let first = append(&server, &session, "alice", "k1", "once").expect(200);
    assert_eq!(append(&server, &session, "alice", "k1", "once").expect(200), first);
    let body = json!({"user_id": "alice", "content": {"text": "once"}, "idempotency_key": "k1"});
    assert_eq!(server.post(&messages(&session), &body).expect(200), first);
    assert_eq!(append(&server, &session, "alice", "k2", "twice").expect(200)["message"]["seq"], 2);
    assert_eq!(texts(&server.history(&session)), ["once", "twice"]);
}

#[test]
fn a_key_belongs_to_its_author_and_its_session() {
    let server = Server::shared();
    let (one, two) = (server.session("alice", "bot"), server.session("alice", "bot"));
    for (session, user) in [(&one, "alice"), (&one, "bob"), (&two, "alice")] {
        append(&server, session, user, "same", user).expect(200);
    }
    assert_eq!(texts(&server.history(&one)), ["alice", "bob"]);
    assert_eq!(texts(&server.history(&two)), ["alice"]);
}

#[test]
fn a_key_used_with_another_message_is_refused() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    append(&server, &session, "alice", "k", "one").expect(200);
    let answer = append(&server, &session, "alice", "k", "another");
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert!(answer.json()["error"].is_string());
    assert_eq!(texts(&server.history(&session)), ["one"]);
}

#[test]
fn a_key_over_its_bound_or_of_the_wrong_type_is_refused() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    append(&server, &session, "alice", &"k".repeat(255), "longest").expect(200);
    append(&server, &session, "alice", &"k".repeat(256), "too long").expect(422);
    let body = json!({"user_id": "alice", "content": {"text": "x"}, "idempotency_key": 7});
    server.post(&messages(&session), &body).expect(422);
    assert_eq!(server.history(&session).len(), 1);
}

#[test]
fn a_retry_after_kill_9_and_restart_returns_the_first_message() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Default::default());
    let session = server.session("alice", "bot");
    let first = append(&server, &session, "alice", "k", "once").expect(200);
    server.kill();
    let server = Server::on(folder.path(), &Default::default());
    assert_eq!(append(&server, &session, "alice", "k", "once").expect(200), first);
    assert_eq!(texts(&server.history(&session)), ["once"]);
}

#[test]
fn a_retry_pipelined_behind_its_first_try_returns_the_same_message() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let body = json!({"user_id": "alice", "content": {"text": "x"}});
    let bytes = request("POST", &messages(&session), &[("idempotency-key", "k")], Some(&body));
    let mut connection = server.connect();
    connection.send(bytes.repeat(5));
    let first = connection.answer().expect(200);
    for _ in 0..4 {
        assert_eq!(connection.answer().expect(200), first);
    }
    assert_eq!(server.history(&session).len(), 1);
}

#[test]
fn a_retry_on_a_socket_returns_the_first_seq_and_pushes_nothing() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    let send = json!({"content": {"content": {"text": "x"}}, "idempotency_key": "k"});
    for _ in 0..2 {
        let reference = socket.push(&topic, "send", &send);
        assert_eq!(socket.reply(&reference).expect("accepted")["seq"], 1);
    }
    socket.say(&topic, "after");
    assert_eq!(socket.event(&topic, "message")["seq"], 1);
    assert_eq!(socket.event(&topic, "message")["seq"], 2);
    assert_eq!(server.history(&session).len(), 2);
}
