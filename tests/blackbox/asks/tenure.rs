//! Who waits for answers with a key: how often he may ask, and what he gets when the key goes meanwhile.

use super::socket::Client;
use super::spoken;
use crate::harness::guard::{ADMIN, Guarded, user_token};
use crate::harness::http::request;
use crate::harness::{Agent, json};

/// A guarded server with the agent `bot`, which a test plays, and a key of a user: its id and text.
fn with_bot(flags: &[&str]) -> (Guarded, Agent, (String, String)) {
    let (guarded, agent) = (Guarded::start(flags), Agent::start());
    let bot = json!({"agent": {"id": "bot", "name": "Bot", "origin_url": agent.url(), "debounce_window_ms": 0}});
    guarded.call(ADMIN, "POST", "/api/agents", Some(&bot)).expect(201);
    let key = guarded.key(&json!({"name": "k", "user": "alice"}));
    (guarded, agent, key)
}

fn revoke(guarded: &Guarded, id: &str) {
    guarded.call(ADMIN, "DELETE", &format!("/api/keys/{id}"), None).expect(200);
}

#[test]
fn whoever_waits_for_an_answer_is_told_when_his_key_goes_and_the_run_goes_on() {
    for (path, body, said) in [
        ("/agents/bot/chat", json!({"message": "hi"}), json!({"detail": "Invalid token"})),
        ("/api/chat/message", json!({"message": "hi", "agentId": "bot"}), json!({"error": "Invalid token"})),
    ] {
        let (guarded, agent, (id, key)) = with_bot(&[]);
        let mut waiting = guarded.server.connect();
        waiting.send(request("POST", path, &[("authorization", &format!("Bearer {key}"))], Some(&body)));
        let call = agent.call();
        revoke(&guarded, &id);
        let answer = waiting.answer();
        assert_eq!((answer.status, answer.json()), (401, said), "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        call.answer(&spoken("late"));
        let sessions = guarded.call(ADMIN, "GET", "/api/sessions?user_id=alice", None).expect(200);
        let session = sessions["sessions"][0]["id"].as_str().expect("the session is there");
        let page = format!("/api/sessions/{session}/messages?after_seq=0");
        while guarded.call(ADMIN, "GET", &page, None).expect(200)["messages"].as_array().map_or(0, Vec::len) < 2 {}
    }
}

#[test]
fn asks_that_wait_on_a_socket_are_not_asked_when_its_key_goes() {
    let (guarded, agent, (id, key)) = with_bot(&[]);
    let mut client = Client::try_open(&guarded.server, &key, None).expect("the key is good");
    client.ask("bot", "first", 1);
    let call = agent.call();
    client.ask("bot", "second", 2);
    revoke(&guarded, &id);
    assert_eq!(client.close_code(), Some(1008));
    let session = call.json()["session_id"].as_str().expect("a call names its session").to_owned();
    call.answer(&spoken("done"));
    let page = format!("/api/sessions/{session}/messages?after_seq=0");
    let messages = || guarded.call(ADMIN, "GET", &page, None).expect(200)["messages"].as_array().unwrap().clone();
    while messages().len() < 2 {}
    assert_eq!(guarded.call(ADMIN, "GET", &page, None).expect(200)["messages"][1]["sender_id"], "bot");
    assert_eq!((messages().len(), agent.calls_waiting()), (2, 0));
}

#[test]
fn asks_of_a_socket_count_and_are_refused_in_their_turn_but_a_stop_is_not() {
    let guarded = Guarded::start(&["--rate-limit-principal", "3"]);
    let token = user_token("default", "alice", 600);
    let mut client = Client::try_open(&guarded.server, &token, None).expect("the first request");
    for id in [1, 2] {
        client.ask("nobody", "hi", id);
        assert_eq!(client.answer()[0]["status"], 404);
    }
    client.ask("nobody", "hi", 3);
    let refused = client.answer().remove(0);
    let retry_ms = refused["retryAfterMs"].as_u64().expect("when to come again");
    assert!((1..=20_000).contains(&retry_ms), "{refused}");
    let mut expected = json!({"type": "error", "error": "Too many requests", "status": 429, "requestId": 3});
    expected["retryAfterMs"] = retry_ms.into();
    assert_eq!(refused, expected);
    assert_eq!(guarded.call(&token, "GET", "/api/sessions", None).status, 429, "there is one count for all");
}
