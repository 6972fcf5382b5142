//! Compaction (contract 4.8): the agent's own webhook says what stands for older messages; when it fails the agent gets
//! its plain window.

use super::{Room, spoken, text_of};
use crate::harness::rest::{keys, list, seqs};
use crate::harness::{Agent, Folder, Options, Server, Value, json};

/// Twenty tokens for each of them: four characters are a token.
const TEXT: &str = "a text of forty characters is ten tokens, and eighty characters are twenty tokens";

/// An agent that is compacted from forty tokens on.
fn fields(compactor: &Agent) -> Value {
    json!({
        "compaction_enabled": true, "compaction_webhook_url": format!("{}/compact", compactor.url()),
        "compaction_token_budget": 50, "compaction_trigger_ratio": 0.8,
    })
}

/// One message and its answer, for which the agent is not compacted.
fn exchange(server: &Server, agent: &Agent, room: &mut Room) {
    room.say(server, TEXT);
    agent.call().answer(&spoken("ok"));
    room.until_the_end();
}

#[test]
fn older_messages_are_given_to_the_compaction_webhook_and_what_it_says_stands_for_them() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let (agent, compactor) = (Agent::start(), Agent::start());
    let mut room = Room::with(&server, &agent, fields(&compactor));
    exchange(&server, &agent, &mut room);
    room.say(&server, TEXT);
    let compaction = compactor.call();
    assert_eq!(compaction.target(), "POST /compact");
    let body = compaction.json();
    let expected = [
        "agent_id",
        "compacted",
        "messages",
        "range_end",
        "range_start",
        "session_id",
        "token_budget",
        "tokens",
        "user_id",
    ];
    assert_eq!(keys(&body), expected);
    assert_eq!(seqs(&compaction.messages()), [1, 2], "not the one that waits for its answer");
    assert_eq!((&body["range_start"], &body["range_end"]), (&json!(1), &json!(2)));
    assert_eq!((&body["compacted"], &body["token_budget"]), (&Value::Null, &json!(50)));
    assert!(body["tokens"].as_u64().expect("a number") >= 20, "{body}");
    assert_eq!(agent.calls_waiting(), 0, "the agent waits for its history");
    let compacted = json!([{"role": "system", "content": "They greeted.", "n": 1.0}]);
    compaction.respond(200, &[], &json!({ "compacted": compacted }).to_string());
    let call = agent.call();
    assert_eq!(keys(&call.json()), ["agent_id", "compacted", "messages", "session_id", "user_id"]);
    assert_eq!((seqs(&call.messages()), &call.json()["compacted"]), (vec![3], &compacted));
    call.answer(&spoken("ok"));
    room.until_the_end();
    assert_eq!(seqs(&server.history(&room.session)), [1, 2, 3, 4], "the whole session stays readable");
    server.kill();

    let server = Server::on(folder.path(), &Options::shards(3));
    let mut room = Room::enter(&server, &room.agent_id, &room.session);
    room.say(&server, TEXT);
    let compaction = compactor.call();
    let body = compaction.json();
    assert_eq!((seqs(&compaction.messages()), &body["compacted"]), (vec![3, 4], &compacted), "it survives a crash");
    let compacted = json!([{"role": "system", "content": "They still greet."}]);
    compaction.respond(200, &[], &json!({ "compacted": compacted }).to_string());
    let call = agent.call();
    assert_eq!((seqs(&call.messages()), &call.json()["compacted"]), (vec![5], &compacted));
    call.answer(&spoken("ok"));
    room.until_the_end();
}

#[test]
fn a_compaction_that_fails_costs_nothing_but_the_compaction() {
    let server = Server::shared();
    let (agent, compactor) = (Agent::start(), Agent::start());
    let answers = [
        (500, "{}"),
        (503, "{\"compacted\":[]}"),
        (200, "no JSON"),
        (200, "{}"),
        (200, "{\"compacted\":{}}"),
        (200, "{\"compacted\":[\"text\"]}"),
    ];
    let mut room = Room::with(&server, &agent, fields(&compactor));
    exchange(&server, &agent, &mut room);
    let mut last_seq = 2;
    for (status, body) in answers {
        room.say(&server, TEXT);
        compactor.call().respond(status, &[], body);
        let call = agent.call();
        assert_eq!(seqs(&call.messages()), (1..=last_seq + 1).collect::<Vec<u64>>(), "{status} {body}");
        assert!(call.json().get("compacted").is_none());
        call.answer(&spoken("ok"));
        assert_eq!(text_of(&room.answer()), "ok");
        last_seq += 2;
    }
    room.say(&server, TEXT);
    compactor.call().cut();
    agent.call().answer(&spoken("ok"));
    room.answer();
    let path = format!("/api/agents/{}/deliveries", room.agent_id);
    let deliveries = list(&server.get(&path).expect(200), "deliveries");
    let kinds: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["kind"]).collect();
    assert!(kinds.contains(&&json!("compaction")) && kinds.contains(&&json!("answer")), "{kinds:?}");
}

#[test]
fn an_agent_that_does_not_ask_for_it_is_not_compacted() {
    let server = Server::shared();
    let (agent, compactor) = (Agent::start(), Agent::start());
    let mut off = fields(&compactor);
    off["compaction_enabled"] = false.into();
    let mut generous = fields(&compactor);
    generous["compaction_token_budget"] = 50_000.into();
    for fields in [off, generous, json!({"compaction_enabled": true, "compaction_token_budget": 1})] {
        let mut room = Room::with(&server, &agent, fields);
        for _ in 0..4 {
            exchange(&server, &agent, &mut room);
        }
    }
    assert_eq!(compactor.calls_waiting(), 0);
}
