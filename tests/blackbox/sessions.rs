//! Sessions over HTTP: the behaviour contract's 1.4, its checklist 8.3 (1, 2), and paging of the list.

use crate::harness::rest::{keys, list, messages};
use crate::harness::{Folder, Server, Value, json, unique};

/// Session ids as the list must show them. Ids begin with their millisecond of creation; within one it is as good as any.
fn newest_first(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids
}

#[test]
fn creating_a_session_gives_its_seven_keys() {
    let server = Server::shared();
    let body = json!({"user_id": "alice", "agent_id": "no-such-agent", "metadata": {"topic": {"deep": [1, null]}}});
    let session = server.post("/api/sessions", &body).expect(201)["session"].clone();
    for key in ["id", "user_id", "agent_id", "status", "metadata", "inserted_at", "updated_at"] {
        assert!(keys(&session).contains(&key), "{key} is in {session}");
    }
    assert_eq!(session["user_id"], "alice");
    assert_eq!(session["agent_id"], "no-such-agent");
    assert_eq!(session["status"], "active");
    assert_eq!(session["metadata"], json!({"topic": {"deep": [1, null]}}));
    let id = session["id"].as_str().expect("an id");
    assert_eq!(server.get(&format!("/api/sessions/{id}")).expect(200)["session"], session);
}

#[test]
fn metadata_defaults_to_an_empty_object_and_must_be_one() {
    let server = Server::shared();
    let create =
        |metadata: Value| server.post("/api/sessions", &json!({"user_id": "u", "agent_id": "a", "metadata": metadata}));
    let body = server.post("/api/sessions", &json!({"user_id": "u", "agent_id": "a"})).expect(201);
    assert_eq!(body["session"]["metadata"], json!({}));
    for wrong in [json!("text"), json!([1]), json!(1)] {
        let error = create(wrong).expect(422)["error"].clone();
        assert!(error.is_string(), "{error}");
    }
    assert!(create(Value::Null).status < 500, "null is no failure of the server");
}

#[test]
fn user_id_and_agent_id_are_required() {
    let server = Server::shared();
    let required = json!({"error": "user_id and agent_id are required"});
    for body in [
        json!({}),
        json!({"user_id": "u"}),
        json!({"agent_id": "a"}),
        json!({"sender_id": "u", "recipient_id": "a"}),
        json!([1]),
    ] {
        assert_eq!(server.post("/api/sessions", &body).expect(422), required, "{body}");
    }
    for body in [
        json!({"user_id": "", "agent_id": "a"}),
        json!({"user_id": "u", "agent_id": null}),
        json!({"user_id": 7, "agent_id": "a"}),
        json!({"user_id": "u".repeat(256), "agent_id": "a"}),
    ] {
        let error = server.post("/api/sessions", &body).expect(422)["error"].clone();
        assert!(error.is_string(), "{error}");
    }
}

#[test]
fn an_unknown_session_is_404_everywhere() {
    let server = Server::shared();
    let not_found = json!({"error": "Session not found"});
    for id in ["01K6GR2EV9Z7PSMEVVJ5M954CH", "nonsense", "%00"] {
        let path = format!("/api/sessions/{id}");
        assert_eq!(server.get(&path).expect(404), not_found);
        assert_eq!(server.delete(&path).expect(404), not_found);
        assert_eq!(server.get(&format!("{path}/messages")).expect(404), not_found);
        assert_eq!(server.get(&format!("{path}/read")).expect(404), not_found);
        let message = json!({"user_id": "u", "content": {}});
        assert_eq!(server.post(&format!("{path}/messages"), &message).expect(404), not_found);
        let mark = json!({"user_id": "u", "last_seq": 1});
        assert_eq!(server.post(&format!("{path}/read"), &mark).expect(404), not_found);
    }
}

#[test]
fn deleting_archives_and_may_be_repeated_and_the_session_stays_usable() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let path = format!("/api/sessions/{session}");
    for _ in 0..2 {
        let answer = server.delete(&path);
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
    assert_eq!(server.get(&path).expect(200)["session"]["status"], "archived");
    assert_eq!(server.say(&session, "alice", "still here")["seq"], 1);
    assert_eq!(server.history(&session).len(), 1);
}

#[test]
fn deleting_for_good_removes_the_session_and_its_messages_also_after_a_crash() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Default::default());
    let (gone, kept) = (server.session("alice", "bot"), server.session("alice", "bot"));
    server.say(&gone, "alice", "bye");
    server.say(&kept, "alice", "hello");
    assert_eq!(server.delete(&format!("/api/sessions/{gone}?permanent=true")).status, 204);
    let check = |server: &Server| {
        server.get(&format!("/api/sessions/{gone}")).expect(404);
        server.get(&messages(&gone)).expect(404);
        let listed = list(&server.get("/api/sessions?user_id=alice").expect(200), "sessions");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["id"], kept.as_str());
        assert_eq!(server.history(&kept).len(), 1);
    };
    check(&server);
    server.kill();
    check(&Server::on(folder.path(), &Default::default()));
}

#[test]
fn the_list_is_newest_first_filters_by_user_and_includes_archived_ones() {
    let server = Server::shared();
    let (alice, bob) = (unique("alice"), unique("bob"));
    let first = server.session(&alice, "bot");
    let second = server.session(&alice, "bot");
    let other = server.session(&bob, "bot");
    server.delete(&format!("/api/sessions/{first}"));
    let ids = |query: &str| {
        let sessions = list(&server.get(&format!("/api/sessions?{query}")).expect(200), "sessions");
        sessions.iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&format!("user_id={alice}")), newest_first(vec![first, second]));
    assert_eq!(ids(&format!("user_id={bob}")), [other]);
    assert_eq!(ids(&format!("user_id={}", unique("nobody"))), [""; 0]);
}

#[test]
fn the_list_without_a_limit_has_fifty_and_pages_reach_every_session_once() {
    let server = Server::shared();
    let user = unique("collector");
    let created = newest_first((0..120).map(|_| server.session(&user, "bot")).collect());
    let page = |query: &str| server.get(&format!("/api/sessions?user_id={user}{query}")).expect(200);
    let ids = |page: &Value| {
        let sessions = list(page, "sessions");
        sessions.iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let first = page("");
    assert_eq!(ids(&first), created[..50]);
    assert_eq!(first["has_more"], true);
    let mut seen = ids(&first);
    loop {
        let last = seen.last().expect("a first page").clone();
        let next = page(&format!("&limit=40&before={last}"));
        seen.extend(ids(&next));
        if next["has_more"] == false {
            break;
        }
        assert_eq!(ids(&next).len(), 40);
    }
    assert_eq!(seen, created);
}

#[test]
fn the_list_without_a_user_holds_everybodys_sessions_newest_first() {
    let server = Server::with(&crate::harness::Options::shards(3));
    let created = newest_first((0..20).map(|n| server.session(&format!("user-{n}"), "bot")).collect());
    let sessions = list(&server.get("/api/sessions").expect(200), "sessions");
    let ids: Vec<&str> = sessions.iter().map(|session| session["id"].as_str().expect("an id")).collect();
    assert_eq!(ids, created);
}

#[test]
fn fields_may_come_in_the_query_or_urlencoded_and_the_body_wins_over_the_query() {
    let server = Server::shared();
    let session = |answer: crate::harness::Answer| answer.expect(201)["session"].clone();
    let mixed = session(server.post("/api/sessions?user_id=query&agent_id=bot", &json!({"user_id": "body"})));
    assert_eq!((&mixed["user_id"], &mixed["agent_id"]), (&json!("body"), &json!("bot")));

    let form = "user_id=a%20b&agent_id=c+d";
    let mut connection = server.connect();
    connection.send(format!(
        "POST /api/sessions HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    ));
    let urlencoded = session(connection.answer());
    assert_eq!((&urlencoded["user_id"], &urlencoded["agent_id"]), (&json!("a b"), &json!("c d")));
}

#[test]
fn a_body_of_another_content_type_counts_as_absent() {
    let server = Server::shared();
    let body = r#"{"user_id":"u","agent_id":"a"}"#;
    let mut connection = server.connect();
    connection.send(format!(
        "POST /api/sessions HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(connection.answer().expect(422), json!({"error": "user_id and agent_id are required"}));
}
