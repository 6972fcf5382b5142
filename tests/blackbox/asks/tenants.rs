//! Questions of who has a key or a token: as whom they are asked, in which namespace, and who is not let in.

use super::socket::Client;
use crate::harness::guard::{Guarded, now_s, signed, user_token};
use crate::harness::http::request;
use crate::harness::{Answer, Value, json};

const PATHS: [&str; 3] = ["/api/chat/message", "/agents/echo/chat", "/api/agents/echo/chat/stream"];

fn ask(guarded: &Guarded, token: &str, path: &str) -> Answer {
    guarded.call(token, "POST", path, Some(&json!({"message": "hi", "agentId": "echo"})))
}

/// Asks on behalf of a user.
fn ask_for(guarded: &Guarded, token: &str, user: &str) -> Answer {
    let mut connection = guarded.server.connect();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("x-user-id", user)];
    connection.send(request("POST", "/agents/echo/chat", &headers, Some(&json!({"message": "hi"}))));
    connection.answer()
}

#[test]
fn a_question_is_asked_in_its_keys_namespace_as_its_keys_user() {
    let guarded = Guarded::start(&[]);
    let key = |namespace: &str| guarded.key(&json!({"name": namespace, "namespace": namespace, "user": "alice"})).1;
    let (acme, other) = (key("acme"), key("other"));
    let session = |answer: Answer, field: &str| answer.expect(200)[field].as_str().expect("an id").to_owned();
    let ours = session(ask(&guarded, &acme, PATHS[0]), "sessionId");
    assert_eq!(session(ask(&guarded, &acme, PATHS[1]), "conversation_id"), ours);
    assert_eq!(ask(&guarded, &acme, PATHS[2]).header("x-conversation-id"), Some(ours.as_str()));
    let theirs = session(ask(&guarded, &other, PATHS[0]), "sessionId");
    assert_ne!(ours, theirs, "the same names are two conversations in two namespaces");
    let read = guarded.call(&acme, "GET", &format!("/api/sessions/{ours}"), None).expect(200);
    assert_eq!((&read["session"]["user_id"], &read["session"]["agent_id"]), (&json!("alice"), &json!("echo")));
    for (path, error) in [(PATHS[0], "error"), (PATHS[1], "detail"), (PATHS[2], "detail")] {
        for foreign in [&ours, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            let body = json!({"message": "hi", "sessionId": foreign, "conversation_id": foreign});
            let answer = guarded.call(&other, "POST", path, Some(&body));
            assert_eq!(answer.expect(404), json!({ error: "Session not found" }), "{path} {foreign}");
        }
    }
}

#[test]
fn who_may_not_ask_is_told_so_in_the_words_of_the_dialect() {
    let guarded = Guarded::start(&[]);
    let key = |scope: &str| guarded.key(&json!({"name": scope, "scope": scope})).1;
    let (read, echo, other) = (key("read"), key("agent:echo"), key("agent:other"));
    for path in PATHS {
        let error = if path == PATHS[0] { "error" } else { "detail" };
        for (token, status) in [("", 401), ("flk_rubbish", 401), (&read, 403), (&other, 403)] {
            let said = ask(&guarded, token, path).expect(status);
            assert!(said[error].is_string() && said.as_object().is_some_and(|body| body.len() == 1), "{path}: {said}");
        }
        assert_eq!(ask(&guarded, &echo, path).status, 200, "{path}");
    }
    let alice = user_token("default", "alice", 600);
    assert_eq!(ask_for(&guarded, &alice, "alice").status, 200);
    assert_eq!(ask_for(&guarded, &alice, "bob").status, 403);
    let all = key("all");
    let bobs = ask_for(&guarded, &all, "bob").expect(200)["conversation_id"].clone();
    let body = json!({"message": "hi", "sessionId": bobs});
    let refused = guarded.call(&alice, "POST", PATHS[0], Some(&body)).status;
    assert!(matches!(refused, 403 | 404), "{refused}");
}

#[test]
fn a_socket_opens_with_a_token_in_its_query_and_ends_with_it() {
    let guarded = Guarded::start(&[]);
    let ended = signed(&json!({"alg": "HS256"}), &json!({"sub": "alice", "exp": now_s() - 100}));
    for token in ["", "rubbish", ended.as_str()] {
        assert_eq!(Client::try_open(&guarded.server, token, None).err(), Some(401), "{token}");
    }
    let mut client = Client::try_open(&guarded.server, &user_token("acme", "alice", 3), None).expect("it is good yet");
    client.ask("echo", "hello", 1);
    let last: Value = client.answer().pop().expect("an end");
    assert_eq!((&last["type"], &last["response"]), (&json!("final"), &json!("hello")));
    assert_eq!(client.close_code(), Some(1008));
}
