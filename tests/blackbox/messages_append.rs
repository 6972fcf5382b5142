//! Appending over HTTP: the checks of the behaviour contract's 1.5 in their order, its checklist 8.3 (4-6), and
//! `expected_seq`.

use crate::harness::rest::{messages, seqs, texts};
use crate::harness::{Server, Value, json};

#[test]
fn the_first_message_of_a_user_has_seq_1_and_the_defaults() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let message = server.say(&session, "alice", "Hello");
    assert_eq!(message["seq"], 1);
    assert_eq!(message["session_id"], session.as_str());
    assert_eq!(message["kind"], "text");
    assert_eq!(message["metadata"], json!({}));
    assert_eq!(message["content"], json!({"text": "Hello"}));
}

#[test]
fn user_agent_and_strangers_share_one_sequence() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    server.say(&session, "alice", "question");
    server.answer_as(&session, "bot", "answer");
    server.say(&session, "a-stranger", "remark");
    let history = server.history(&session);
    assert_eq!(seqs(&history), [1, 2, 3]);
    assert_eq!(texts(&history), ["question", "answer", "remark"]);
    let senders: Vec<&Value> = history.iter().map(|message| &message["sender_id"]).collect();
    assert_eq!(senders, ["alice", "bot", "a-stranger"]);
    assert_eq!(history[1]["kind"], "assistant");
}

/// Each body breaks its own rule and all later ones, so the answer shows the order of the checks.
#[test]
fn the_checks_run_in_the_contracts_order_with_its_words() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let rows = [
        (
            json!({"user_id": "u", "agent_id": "a", "sender_id": "s", "kind": 1, "metadata": 1}),
            "Provide either user_id or agent_id when sending a message, not both",
        ),
        (
            json!({"user_id": null, "agent_id": null, "sender_id": "s"}),
            "Provide either user_id or agent_id when sending a message, not both",
        ),
        (
            json!({"sender_id": "s", "kind": 1, "metadata": 1}),
            "sender_id is deprecated; use user_id or agent_id to identify the sender",
        ),
        (
            json!({"user_id": "", "sender_id": "s", "kind": 1}),
            "sender_id is deprecated; use user_id or agent_id to identify the sender",
        ),
        (json!({"kind": 1, "metadata": 1}), "user_id or agent_id is required"),
        (json!({"user_id": "", "kind": 1}), "user_id or agent_id is required"),
        (json!({"agent_id": 5, "kind": 1}), "user_id or agent_id is required"),
        (json!({"user_id": "u", "kind": 1, "metadata": 1}), "kind must be a non-empty string"),
        (json!({"user_id": "u", "kind": "", "metadata": 1}), "kind must be a non-empty string"),
        (json!({"user_id": "u", "kind": null, "metadata": 1}), "kind must be a non-empty string"),
        (json!({"user_id": "u", "metadata": 1}), "content is required"),
        (json!({"user_id": "u", "content": "text", "metadata": 1}), "content must be a map"),
        (json!({"user_id": "u", "content": [1], "metadata": 1}), "content must be a map"),
        (json!({"user_id": "u", "content": null, "metadata": 1}), "content must be a map"),
        (json!({"user_id": "u", "content": {}, "metadata": 1}), "metadata must be a map"),
        (json!({"user_id": "u", "content": {}, "metadata": null}), "metadata must be a map"),
    ];
    for (body, error) in &rows {
        for session in [session.as_str(), "01K6GR2EV9Z7PSMEVVJ5M954CH"] {
            let answer = server.post(&messages(session), body);
            assert_eq!(answer.expect(422), json!({ "error": error }), "{body}");
        }
    }
    assert_eq!(server.history(&session).len(), 0, "a refused message takes no seq");
}

#[test]
fn either_author_field_alone_is_used_when_the_other_key_is_absent() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let sent = |body: Value| server.post(&messages(&session), &body).expect(200)["message"]["sender_id"].clone();
    assert_eq!(sent(json!({"user_id": "alice", "sender_id": "ignored", "content": {}})), "alice");
    assert_eq!(sent(json!({"agent_id": "bot", "content": {}})), "bot");
}

#[test]
fn the_path_wins_over_a_session_id_in_the_body() {
    let server = Server::shared();
    let (here, there) = (server.session("alice", "bot"), server.session("alice", "bot"));
    let body = json!({"id": there, "session_id": there, "user_id": "alice", "content": {"text": "x"}});
    server.post(&messages(&here), &body).expect(200);
    assert_eq!(server.history(&here).len(), 1);
    assert_eq!(server.history(&there).len(), 0);
}

#[test]
fn an_append_that_expects_another_seq_is_409_with_the_current_one() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let append = |expected: Value| {
        let body = json!({"user_id": "alice", "content": {"text": "x"}, "expected_seq": expected});
        server.post(&messages(&session), &body)
    };
    assert_eq!(append(json!(0)).expect(200)["message"]["seq"], 1);
    let conflict = append(json!(0)).expect(409);
    assert!(conflict["error"].is_string(), "{conflict}");
    assert_eq!(conflict["current_seq"], 1, "{conflict}");
    assert_eq!(append(json!(7)).expect(409)["current_seq"], 1);
    assert_eq!(append(json!(1)).expect(200)["message"]["seq"], 2);
    append(json!("one")).expect(422);
    assert_eq!(server.history(&session).len(), 2);
}

#[test]
fn of_many_appends_that_expect_the_same_seq_exactly_one_wins() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let append = || {
        let body = json!({"user_id": "alice", "content": {}, "expected_seq": 0});
        server.post(&messages(&session), &body).status
    };
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(append)).collect();
        racers.into_iter().map(|racer| racer.join().expect("a racer ends")).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
}

#[test]
fn a_body_of_almost_eight_million_bytes_is_stored_and_read_back() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let text = "x".repeat(7_900_000);
    server.say(&session, "alice", &text);
    assert_eq!(texts(&server.history(&session)), [text]);
}
