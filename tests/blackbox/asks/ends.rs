//! Questions without an answer: each is refused in the body of its dialect, before the head of a stream by a status and behind it by
//! an event.

use super::{chat, delta, message, post_as, register, scripted, stream};
use crate::harness::{Absent, Server, Value, json, unique};

/// Status and text of an error, which is all that its body says.
#[track_caller]
fn fleet(server: &Server, body: &Value) -> (u16, String) {
    let answer = post_as(server, &unique("alice"), "/api/chat/message", body);
    let said = answer.json();
    assert_eq!(said, json!({"error": said["error"]}));
    (answer.status, said["error"].as_str().expect("a text").to_owned())
}

#[track_caller]
fn mate(server: &Server, path: &str, body: &Value) -> (u16, String) {
    let answer = post_as(server, &unique("alice"), path, body);
    let said = answer.json();
    assert_eq!(said, json!({"detail": said["detail"]}));
    (answer.status, said["detail"].as_str().expect("a text").to_owned())
}

fn said(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[test]
fn every_refusal_is_in_the_dialects_words() {
    let server = Server::shared();
    let disabled = register(&server, "http://127.0.0.1:1", json!({"status": "disabled"}));
    let blank = "message must be a non-empty string";
    for (body, status, text) in [
        (json!({"agentId": "echo"}), 400, blank),
        (json!({"message": " \n", "agentId": "echo"}), 400, blank),
        (json!({"message": 7, "agentId": "echo"}), 400, blank),
        (json!({"message": "hi", "agentId": 7}), 400, "agentId must be a non-empty string"),
        (json!({"message": "hi", "agentId": "nobody"}), 404, "Agent not found"),
        (json!({"message": "hi", "agentId": disabled}), 409, "Agent is disabled"),
        (json!({"message": "hi", "sessionId": "none"}), 404, "Session not found"),
    ] {
        assert_eq!(fleet(&server, &body), said(status, text), "{body}");
    }
    for (agent, body, status, text) in [
        ("echo", json!({}), 422, blank),
        ("echo", json!({"message": ""}), 422, blank),
        ("echo", json!({"message": "hi", "context": {}}), 422, "context must be a list"),
        ("nobody", json!({"message": "hi"}), 404, "Agent not found"),
        (&disabled, json!({"message": "hi"}), 409, "Agent is disabled"),
        ("echo", json!({"message": "hi", "conversation_id": "none"}), 404, "Session not found"),
    ] {
        for path in [format!("/agents/{agent}/chat"), format!("/api/agents/{agent}/chat/stream")] {
            assert_eq!(mate(&server, &path, &body), said(status, text), "{path} {body}");
        }
    }
    for (method, path) in [("GET", "/agents/echo/chat"), ("POST", "/agents/echo"), ("POST", "/teams/none/none")] {
        let answer = server.call(method, path, &[], None);
        assert_eq!((answer.status, answer.json()), (404, json!({"detail": "Not Found"})), "{method} {path}");
    }
    let answer = server.call("DELETE", "/api/chat/message", &[], None);
    assert_eq!((answer.status, answer.json()), (404, json!({"error": "Not Found"})));
}

#[test]
fn an_agent_that_fails_is_a_bad_gateway() {
    let server = Server::shared();
    let (_agent, id) = scripted(&server, json!({}), |call| call.respond(500, &[], "broken"));
    let text = "The agent failed to answer: the webhook answered with status 500";
    assert_eq!(message(&server, &unique("alice"), &id, "hi").expect(502), json!({ "error": text }));
    assert_eq!(chat(&server, &unique("alice"), &id, "hi").expect(502), json!({ "detail": text }));
    let events = stream(&server, &unique("alice"), &id, "hi");
    assert_eq!(events, [json!({"type": "error", "content": text}), json!("[DONE]")]);
    let absent = Absent::new();
    let id = register(&server, &absent.url(), json!({}));
    message(&server, &unique("alice"), &id, "hi").expect(502);
}

#[test]
fn an_agent_that_breaks_off_in_the_middle_ends_its_stream_with_an_error() {
    let server = Server::shared();
    let (_agent, id) = scripted(&server, json!({}), |mut call| {
        call.say(&json!({"type": "text-start", "id": "t"}));
        call.say(&delta("So far"));
        call.cut();
    });
    let events = stream(&server, &unique("alice"), &id, "hi");
    assert_eq!(events[0], json!({"type": "text", "content": "So far"}));
    assert_eq!((events[1]["type"].as_str(), &events[2], events.len()), (Some("error"), &json!("[DONE]"), 3));
    assert_eq!(message(&server, &unique("alice"), &id, "hi").status, 502);
}

#[test]
fn an_agent_that_falls_silent_is_a_gateway_that_timed_out() {
    let server = Server::shared();
    let agent = crate::harness::Agent::start();
    let id = register(&server, &agent.url(), json!({"timeout_ms": 400}));
    let mut asking = super::sent(&server, &unique("alice"), &format!("/agents/{id}/chat"), &json!({"message": "hi"}));
    let mut call = agent.call();
    call.say(&delta("So far"));
    let body = asking.answer().expect(504);
    let text = body["detail"].as_str().expect("a text");
    assert!(text.starts_with("The agent has not answered in time"), "{text}");
}

#[test]
fn a_stopped_answer_and_a_deleted_session_are_told_apart() {
    let server = Server::shared();
    let agent = crate::harness::Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    for (is_deleted, status) in [(false, 409), (true, 404)] {
        let user = unique("alice");
        let body = json!({"message": "hi", "agentId": id});
        let mut asking = super::sent(&server, &user, "/api/chat/message", &body);
        let call = agent.call();
        let session = call.json()["session_id"].as_str().expect("a session").to_owned();
        if is_deleted {
            let answer = server.delete(&format!("/api/sessions/{session}?permanent=true"));
            assert!(answer.status < 300, "{answer:?}");
        } else {
            let path = format!("/api/sessions/{session}/runs/{}/stop", call.run_id());
            server.post(&path, &json!({})).expect(200);
        }
        asking.answer().expect(status);
    }
}
