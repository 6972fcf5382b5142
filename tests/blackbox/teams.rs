//! Teams: their members are real webhooks; the chat of AI Teammate, its management of teams, and what channels see of them.

use crate::harness::rest::{keys, list};
use crate::harness::{Agent, Answer, Call, Folder, Options, Server, Value, json, unique};

/// The chunks of an answer that says this.
fn spoken(text: &str) -> [Value; 3] {
    [
        json!({"type": "text-start", "id": "0"}),
        json!({"type": "text-delta", "id": "0", "delta": text}),
        json!({"type": "finish"}),
    ]
}

/// Registers a member at `url`; gives its id.
#[track_caller]
fn member(server: &Server, url: &str, name: &str) -> String {
    let id = unique("member");
    let agent = json!({"id": id, "name": name, "origin_url": url});
    server.post("/api/agents", &json!({ "agent": agent })).expect(201);
    id
}

/// Registers a team of these members; gives its id.
#[track_caller]
fn team(server: &Server, members: &[&str], more: Value) -> String {
    let id = unique("team");
    let mut team = json!({ "members": members });
    team.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    server.post("/api/agents", &json!({ "agent": {"id": id, "name": "A team", "team": team} })).expect(201);
    id
}

fn chat(server: &Server, user: &str, path: &str, body: &Value) -> Answer {
    server.call("POST", path, &[("x-user-id", user)], Some(body))
}

fn senders(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["sender_id"].as_str().expect("a sender")).collect()
}

#[test]
fn the_published_request_is_answered_by_every_member_and_summed_up() {
    let server = Server::shared();
    let ideas = Agent::serving(|call| call.answer(&spoken("Sell shovels. To everybody.")));
    let doubts = Agent::serving(|call| call.answer(&spoken("Nobody digs any more.")));
    let (a1, a2) = (member(&server, &ideas.url(), "Researcher"), member(&server, &doubts.url(), "Analyst"));
    let team = team(&server, &[&a1, &a2], json!({}));
    let user = unique("alice");
    for path in [format!("/teams/{team}/chat"), format!("/api/teams/{team}/chat")] {
        let body: Value =
            serde_json::from_str("{\n\"message\": \"Brainstorm startup ideas\",\n\"mode\": \"brainstorm\"\n}").unwrap();
        let answer = chat(&server, &user, &path, &body).expect(200);
        assert_eq!(keys(&answer), ["auto_selected", "conversation_id", "mode", "responses", "summary"]);
        let expected = json!([
            {"agent_id": a1, "agent_name": "Researcher", "content": "Sell shovels. To everybody."},
            {"agent_id": a2, "agent_name": "Analyst", "content": "Nobody digs any more."},
        ]);
        assert_eq!((&answer["responses"], &answer["mode"]), (&expected, &json!("brainstorm")));
        assert_eq!(answer["summary"], "Researcher: Sell shovels.\nAnalyst: Nobody digs any more.");
        assert_eq!(answer["auto_selected"], false);
        let session = answer["conversation_id"].as_str().expect("an id").to_owned();
        let messages = server.history(&session);
        let last = &messages[messages.len() - 4..];
        assert_eq!((senders(last)[0], senders(last)[3]), (user.as_str(), team.as_str()));
        assert_eq!(server.cursor(&session, &user), Some(messages.len() as u64), "what was given is read");
    }
    let auto = chat(&server, &user, &format!("/teams/{team}/chat"), &json!({"message": "Any ideas?"})).expect(200);
    assert_eq!((&auto["mode"], &auto["auto_selected"]), (&json!("brainstorm"), &json!(true)));
}

#[test]
fn members_in_turn_see_what_was_said_before_them_and_a_summarizer_sees_all() {
    let server = Server::shared();
    let count = |call: Call| {
        let text = format!("{} messages", call.texts().len());
        let body = call.json();
        assert_eq!(body["team"]["mode"], "round_robin", "{body}");
        call.answer(&spoken(&text));
    };
    let agent = Agent::serving(count);
    let ids: Vec<String> = ["One", "Two", "Sum"].iter().map(|name| member(&server, &agent.url(), name)).collect();
    let team = team(&server, &[&ids[0], &ids[1]], json!({"mode": "sequential", "summarizer": ids[2]}));
    let path = format!("/api/teams/{team}/chat");
    let answer = chat(&server, &unique("alice"), &path, &json!({"message": "count"})).expect(200);
    let said: Vec<&Value> = answer["responses"].as_array().expect("a list").iter().map(|one| &one["content"]).collect();
    assert_eq!(said, ["1 messages", "2 messages"]);
    assert_eq!((&answer["summary"], &answer["mode"]), (&json!("3 messages"), &json!("round_robin")));
}

#[test]
fn who_fails_is_left_out_and_when_all_fail_the_request_does() {
    let server = Server::shared();
    let good = Agent::serving(|call| call.answer(&spoken("Yes.")));
    let bad = Agent::serving(|call| call.respond(404, &[], "no"));
    let (good, bad) = (member(&server, &good.url(), "Good"), member(&server, &bad.url(), "Bad"));
    let both = team(&server, &[&bad, &good], json!({"mode": "parallel"}));
    let user = unique("alice");
    let hi = json!({"message": "hi"});
    let answer = chat(&server, &user, &format!("/teams/{both}/chat"), &hi).expect(200);
    assert_eq!(answer["responses"], json!([{"agent_id": good, "agent_name": "Good", "content": "Yes."}]));
    let only = team(&server, &[&bad], json!({"mode": "parallel"}));
    let failed = chat(&server, &user, &format!("/teams/{only}/chat"), &hi).expect(502);
    assert_eq!(keys(&failed), ["detail"]);
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_stands() {
    let server = Server::shared();
    let agent = Agent::serving(|call| call.answer(&spoken("Yes.")));
    let id = member(&server, &agent.url(), "One");
    let (empty, one) = (team(&server, &[], json!({})), team(&server, &[&id], json!({})));
    let user = unique("alice");
    let hi = json!({"message": "hi"});
    for (team, body, status) in [
        ("no-such-team", hi.clone(), 404),
        (id.as_str(), hi.clone(), 404),
        (empty.as_str(), hi.clone(), 409),
        (one.as_str(), json!({"message": "hi", "mode": "vote"}), 422),
        (one.as_str(), json!({"message": "hi", "mode": 7}), 422),
        (one.as_str(), json!({"message": " "}), 422),
    ] {
        let refused = chat(&server, &user, &format!("/teams/{team}/chat"), &body).expect(status);
        assert_eq!(keys(&refused), ["detail"], "{team} {body}");
    }
    let sessions = server.get(&format!("/api/sessions?user_id={user}")).expect(200);
    assert!(list(&sessions, "sessions").is_empty(), "{sessions}");
}

#[test]
fn a_team_is_made_filled_changed_and_given_up() {
    let server = Server::shared();
    let agent = Agent::serving(|call| call.answer(&spoken("Yes.")));
    let (a, b) = (member(&server, &agent.url(), "Ann"), member(&server, &agent.url(), "Bob"));
    let made = server.post("/api/teams", &json!({"name": "Board", "chat_mode": "debate"})).expect(200);
    assert_eq!(keys(&made), ["agents", "chat_mode", "created_at", "description", "id", "name"]);
    assert_eq!((&made["name"], &made["chat_mode"], &made["agents"]), (&json!("Board"), &json!("debate"), &json!([])));
    let id = made["id"].as_str().expect("an id").to_owned();
    let path = format!("/teams/{id}");
    server.call("POST", &format!("{path}/agents/{a}"), &[], None).expect(200);
    let both = server.post(&format!("/api{path}/agents"), &json!({"agent_id": b, "role": "x"})).expect(200);
    assert_eq!(both["agents"], json!([{"id": a, "name": "Ann"}, {"id": b, "name": "Bob"}]));
    let left = server.delete(&format!("{path}/agents/{a}")).expect(200);
    assert_eq!(left["agents"], json!([{"id": b, "name": "Bob"}]));
    let renamed = server.put(&path, &json!({"name": "Bench", "description": "who waits"})).expect(200);
    assert_eq!((&renamed["name"], &renamed["description"]), (&json!("Bench"), &json!("who waits")));
    assert_eq!((&renamed["agents"], &renamed["chat_mode"]), (&left["agents"], &json!("debate")));
    assert_eq!(server.get(&path).expect(200), renamed);
    let all = server.get("/api/teams").expect(200);
    assert!(all.as_array().expect("a bare list").contains(&renamed), "{all}");
    server.call("POST", &format!("{path}/agents/nobody"), &[], None).expect(404);
    server.delete(&format!("{path}/agents/nobody")).expect(404);
    server.put(&path, &json!({"description": 7})).expect(422);
    assert_eq!(server.get(&path).expect(200), renamed, "nothing was taken away");
    assert_eq!(server.put(&path, &json!({"description": null})).expect(200)["description"], Value::Null);
    server.post("/teams", &json!({"chat_mode": "debate"})).expect(422);
    server.post("/teams", &json!({"name": "X", "chat_mode": "vote"})).expect(422);
    server.post("/teams", &json!({"name": "X", "agents": ["nobody"]})).expect(422);
    assert_eq!(server.delete(&path).expect(200), json!({"ok": true, "id": id}));
    for gone in [server.get(&path), server.delete(&path), server.put(&path, &json!({"name": "Y"}))] {
        assert_eq!(gone.expect(404), json!({"detail": "Team not found"}));
    }
    let refused = chat(&server, &unique("alice"), &format!("{path}/chat"), &json!({"message": "hi"})).expect(404);
    assert_eq!(refused, json!({"detail": "Team not found"}));
    server.get(&format!("/teams/{a}")).expect(404);
}

#[test]
fn after_a_kill_who_has_answered_is_not_asked_again() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let (first, second) = (Agent::start(), Agent::start());
    let (a, b) = (member(&server, &first.url(), "Ann"), member(&server, &second.url(), "Bob"));
    let team = team(&server, &[&a, &b], json!({"mode": "parallel"}));
    let session = server.session("alice", &team);
    server.say(&session, "alice", "hi");
    first.call().answer(&spoken("A."));
    let mut cut = second.call();
    cut.say(&json!({"type": "text-delta", "id": "0", "delta": "half"}));
    while server.history(&session).len() < 2 {
        std::thread::yield_now();
    }
    server.kill();
    let server = Server::on(folder.path(), &Options::default());
    second.call().answer(&spoken("B."));
    while server.history(&session).len() < 4 {
        std::thread::yield_now();
    }
    let messages = server.history(&session);
    assert_eq!(senders(&messages), ["alice", a.as_str(), b.as_str(), team.as_str()]);
    assert_eq!(messages[3]["content"]["parts"][0]["text"], "Ann: A.\nBob: B.");
    assert_eq!(first.calls_waiting(), 0);
}
