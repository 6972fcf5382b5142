//! What an agent is sent: the body, the headers, the signature, the address, the window of history (contract 4.4).

use super::{Room, register, spoken};
use crate::harness::rest::{keys, seqs};
use crate::harness::{Absent, Agent, Call, Options, Server, Value, json};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::SystemTime;

/// One message, one call with it, answered.
fn asked(server: &Server, agent: &Agent, fields: Value) -> (Room, Call) {
    let room = Room::with(server, agent, fields);
    room.say(server, "Hello?");
    let call = agent.call();
    (room, call)
}

#[test]
fn the_body_names_the_parties_and_carries_messages_of_five_keys() {
    let server = Server::shared();
    let agent = Agent::start();
    let (room, call) = asked(&server, &agent, json!({}));
    let body = call.json();
    assert_eq!(keys(&body), ["agent_id", "messages", "session_id", "user_id"]);
    let parties = (&body["session_id"], &body["agent_id"], &body["user_id"]);
    assert_eq!(parties, (&json!(room.session), &json!(room.agent_id), &json!("alice")));
    let stored = &server.history(&room.session)[0];
    let message = &call.messages()[0];
    assert_eq!(keys(message), ["content", "inserted_at", "kind", "sender_id", "seq"]);
    for key in keys(message) {
        assert_eq!(message[key], stored[key], "{key}");
    }
}

#[test]
fn content_travels_to_the_agent_as_it_was_written() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let odd = r#"{"n":1.50,"big":123456789012345678901234567890,"u":"\u00e9\ud83d\ude00","null":null,"a":[ 1 ,2]}"#;
    let text = format!(r#"{{"user_id":"alice","content":{odd}}}"#);
    let mut connection = server.connect();
    let path = crate::harness::rest::messages(&room.session);
    connection.send(format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    ));
    connection.answer().expect(200);
    let call = agent.call();
    let body = String::from_utf8(call.body.clone()).expect("UTF-8");
    for number in ["1.50", "123456789012345678901234567890"] {
        assert!(body.contains(number), "{body}");
    }
    call.answer(&spoken("Hello!"));
    room.answer();
}

#[test]
fn every_call_is_named_by_delivery_run_and_attempt_and_says_what_it_reads() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, call) = asked(&server, &agent, json!({}));
    let run_id = room.run("started")["run_id"].as_str().expect("a run has an id").to_owned();
    assert_eq!(call.target(), "POST /webhook");
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!(call.header("accept"), Some("application/json, text/event-stream"));
    assert_eq!(call.header("x-fleetlm-run"), Some(run_id.as_str()));
    assert_eq!(call.header("x-fleetlm-attempt"), Some("1"));
    assert_eq!(call.header("x-fleetlm-delivery"), Some(format!("{run_id}-1").as_str()));
    assert_eq!(call.header("x-fleetlm-signature"), None, "there is no secret to sign with");
    assert_eq!(call.header("host"), agent.url().strip_prefix("http://"));
    let timestamp: u64 = call.header("x-fleetlm-timestamp").expect("a time").parse().expect("seconds");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    assert!(now.abs_diff(timestamp) < 120, "{timestamp} is now, {now}");
}

#[test]
fn the_agents_own_headers_are_sent_with_lower_case_names_and_cannot_forge_ours() {
    let server = Server::shared();
    let agent = Agent::start();
    let headers = json!({
        "Authorization": "Bearer sk-1", "X-Api-Key": "k: 2", "X-FleetLM-Signature": "v1=forged", "x-fleetlm-run": "mine",
    });
    let (mut room, call) = asked(&server, &agent, json!({ "headers": headers }));
    let run = room.run("started");
    assert_eq!(call.header("authorization"), Some("Bearer sk-1"));
    assert_eq!(call.header("x-api-key"), Some("k: 2"));
    assert_eq!(call.header("x-fleetlm-signature"), None);
    assert_eq!(call.header("x-fleetlm-run"), run["run_id"].as_str());
}

#[test]
fn the_signature_is_the_hmac_of_timestamp_and_body_under_the_secret() {
    let server = Server::shared();
    let agent = Agent::start();
    for secret in ["s3cret", "another, with blanks and ünicode", "x"] {
        let (_, call) = asked(&server, &agent, json!({ "secret": secret }));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
        mac.update(call.header("x-fleetlm-timestamp").expect("a time").as_bytes());
        mac.update(b".");
        mac.update(&call.body);
        let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(call.header("x-fleetlm-signature"), Some(format!("v1={digits}").as_str()));
        call.answer(&spoken("Hello!"));
    }
}

#[test]
fn secrets_and_values_of_headers_are_shown_by_no_answer_and_no_log_line() {
    let server = Server::with(&Options::default().flags(&["--log", "debug"]));
    let agent = Agent::start();
    let hidden = ["sk-in-a-header", "sk-in-a-secret", "sk-in-an-update"];
    let fields = json!({"headers": {"authorization": hidden[0]}, "secret": hidden[1]});
    let id = register(&server, &agent.url(), fields);
    let path = format!("/api/agents/{id}");
    let update = json!({"agent": {"secret": hidden[2], "headers": {"x-key": hidden[0]}}});
    let shown = server.put(&path, &update);
    assert_eq!(shown.json()["agent"]["secret"], "[redacted]");
    let absent = Absent::new();
    let lost = register(&server, &absent.url(), json!({"headers": {"x-key": hidden[0]}, "secret": hidden[1]}));
    for (agent_id, url) in [(&id, &agent.url()), (&lost, &absent.url())] {
        let mut room = Room::open(&server, agent_id);
        room.say(&server, "Hello?");
        if *url == agent.url() {
            agent.call().respond(500, &[], "no");
            room.run("started");
            room.run("failed");
        } else {
            room.run("started");
            room.run("retrying");
        }
    }
    let deliveries = server.get(&format!("{path}/deliveries"));
    assert_eq!(deliveries.json()["deliveries"][0]["status"], 500);
    let answers = [shown, server.get(&path), server.get("/api/agents"), deliveries, server.delete(&path)];
    let metrics = server.get("/metrics");
    for text in answers.iter().chain([&metrics]).map(|answer| answer.text().to_owned()).chain([server.log()]) {
        for secret in hidden {
            assert!(!text.contains(secret), "{secret} is in:\n{text}");
        }
    }
    assert!(server.log().contains("a call failed"), "the log says that calls failed");
}

#[test]
fn the_address_is_made_of_origin_and_path() {
    let server = Server::shared();
    let agent = Agent::start();
    let other = Agent::start();
    for (base, path, target) in [
        ("", "/webhook", "/webhook"),
        ("/", "/webhook", "/webhook"),
        ("/base", "/webhook", "/base/webhook"),
        ("/base/", "/webhook", "/base/webhook"),
        ("/base/nested", "callback", "/base/nested/callback"),
        ("/base", "", "/base/webhook"),
        ("/base", "/hook?key=1&x=%20", "/base/hook?key=1&x=%20"),
        ("/gr%C3%BC%C3%9Fe", "/a b", "/gr%C3%BC%C3%9Fe/a%20b"),
    ] {
        let id = register(&server, &format!("{}{base}", agent.url()), json!({ "webhook_path": path }));
        Room::open(&server, &id).say(&server, "Hello?");
        let call = agent.call();
        assert_eq!(call.target(), format!("POST {target}"), "{base:?} and {path:?}");
        call.answer(&spoken("Hello!"));
    }
    let whole = json!({"webhook_path": format!("{}/elsewhere", other.url())});
    Room::with(&server, &agent, whole).say(&server, "Hello?");
    assert_eq!(other.call().target(), "POST /elsewhere", "a whole URL wins");
}

#[test]
fn what_is_no_address_fails_by_name_and_is_not_tried_again() {
    let server = Server::shared();
    for (origin_url, reason) in
        [("not a url", "invalid_url"), ("ftp://127.0.0.1/", "invalid_url"), ("builtin:parrot", "invalid_url")]
    {
        let id = register(&server, origin_url, json!({}));
        let mut room = Room::open(&server, &id);
        room.say(&server, "Hello?");
        room.run("started");
        assert_eq!(room.run("failed")["reason"], reason, "{origin_url}");
    }
}

#[test]
fn redirects_are_not_followed() {
    let server = Server::shared();
    let agent = Agent::start();
    let elsewhere = Agent::start();
    for status in [301, 302, 303, 307, 308] {
        let (mut room, call) = asked(&server, &agent, json!({}));
        call.respond(status, &[("location", &elsewhere.url())], "");
        room.run("started");
        let failed = room.run("failed");
        assert_eq!(failed["reason"], "http_status");
        assert!(failed["detail"].as_str().expect("a detail").contains(&status.to_string()), "{failed}");
    }
    assert_eq!((elsewhere.calls_waiting(), agent.calls_waiting()), (0, 0));
}

#[test]
fn the_second_request_carries_user_agent_user_in_order() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, call) = asked(&server, &agent, json!({}));
    call.answer(&spoken("Hello!"));
    room.until_the_end();
    room.say(&server, "And now?");
    let call = agent.call();
    let messages = call.messages();
    let senders: Vec<&Value> = messages.iter().map(|message| &message["sender_id"]).collect();
    assert_eq!(senders, ["alice", room.agent_id.as_str(), "alice"]);
    assert_eq!(seqs(&messages), [1, 2, 3]);
    assert_eq!(call.texts(), ["Hello?", "Hello!", "And now?"]);
    assert_eq!(messages[1]["kind"], "assistant");
}

#[test]
fn history_is_the_last_n_the_newest_or_all_of_it() {
    let server = Server::shared();
    let agent = Agent::start();
    const BEFORE: u64 = 130;
    for (fields, expected) in [
        (json!({"message_history_mode": "tail", "message_history_limit": 7}), BEFORE - 5..=BEFORE + 1),
        (json!({"message_history_mode": "tail"}), BEFORE - 48..=BEFORE + 1),
        (json!({"message_history_mode": "tail", "message_history_limit": 1000}), 1..=BEFORE + 1),
        (json!({"message_history_mode": "last", "message_history_limit": 7}), BEFORE + 1..=BEFORE + 1),
        (json!({"message_history_mode": "entire", "message_history_limit": 7}), 1..=BEFORE + 1),
    ] {
        let room = Room::with(&server, &agent, fields.clone());
        for n in 0..BEFORE {
            // The agent's own messages trigger nothing.
            server.answer_as(&room.session, &room.agent_id, &n.to_string());
        }
        room.say(&server, "Hello?");
        let call = agent.call();
        assert_eq!(seqs(&call.messages()), expected.collect::<Vec<u64>>(), "{fields}");
        call.answer(&spoken("Hello!"));
    }
}

#[test]
fn connections_are_kept_for_the_next_call() {
    let server = Server::with(&Options::shards(1));
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let mut peers = std::collections::BTreeSet::new();
    for _ in 0..5 {
        room.say(&server, "Hello?");
        let call = agent.call();
        peers.insert(call.peer());
        call.answer(&spoken("Hello!"));
        room.until_the_end();
    }
    assert_eq!(peers.len(), 1, "five calls over one connection: {peers:?}");
}
