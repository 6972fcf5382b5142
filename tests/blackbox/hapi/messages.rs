//! `GET` and `POST /api/sessions/:id/messages` as the hub's clients know them, on the path that FleetLM's use too.

use super::{BEARER, active_session, ask, page, path, quiet_agent, say};
use crate::harness::rest::{keys, list, messages, seqs, texts};
use crate::harness::{Folder, Options, Server, Value, json};

const UNKNOWN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[test]
fn a_page_goes_down_from_the_newest_message_and_says_whether_there_is_more() {
    let server = Server::shared();
    let session = active_session(&server);
    for n in 1..=5 {
        say(&server, &session, &json!({"text": n.to_string(), "localId": format!("local-{n}")}));
    }
    let first = page(&server, &session, "limit=2");
    let rows = list(&first, "messages");
    assert_eq!((seqs(&rows), &first["hasMore"]), (vec![5, 4], &json!(true)));
    assert_eq!(first["page"], json!({"limit": 2, "beforeSeq": null, "nextBeforeSeq": 4, "hasMore": true}));
    assert_eq!(keys(&rows[0]), ["content", "createdAt", "id", "localId", "role", "seq"]);
    assert_eq!(rows[0]["content"], json!({"type": "text", "text": "5"}));
    assert_eq!((&rows[0]["localId"], &rows[0]["role"]), (&json!("local-5"), &json!("user")));
    assert!(rows[0]["createdAt"].as_u64().expect("a number") > 1_700_000_000_000, "milliseconds");
    assert!(rows[0]["id"].as_str().expect("an id").starts_with("msg_"));
    let second = page(&server, &session, "limit=3&beforeSeq=4");
    assert_eq!((seqs(&list(&second, "messages")), &second["hasMore"]), (vec![3, 2, 1], &json!(false)));
    let none = page(&server, &session, "beforeSeq=1");
    assert_eq!((&none["messages"], &none["hasMore"]), (&json!([]), &json!(false)));
}

#[test]
fn numbers_of_a_query_never_fail() {
    let server = Server::shared();
    let session = active_session(&server);
    for n in 1..=201 {
        server.say(&session, "alice", &n.to_string());
    }
    for (query, count) in
        [("", 50), ("limit=0", 1), ("limit=-7", 1), ("limit=999", 200), ("limit=x", 50), ("limit=3&beforeSeq=x", 3)]
    {
        assert_eq!(list(&page(&server, &session, query), "messages").len(), count, "{query}");
    }
}

#[test]
fn the_two_apis_read_each_others_messages() {
    let server = Server::shared();
    let agent = quiet_agent(&server);
    let session = server.session("alice", &agent);
    let attachment =
        json!({"id": "a", "filename": "d.png", "mimeType": "image/png", "size": 7, "path": "/tmp/d.png", "more": [1]});
    say(&server, &session, &json!({"text": "look", "localId": "l-1", "attachments": [attachment]}));
    server.say(&session, "alice", "from the other side");
    server.answer_as(&session, &agent, "an answer");
    let parts = json!({"agent_id": agent, "content": {"parts": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}});
    server.post(&messages(&session), &parts).expect(200);
    let history = server.history(&session);
    let sent = json!({"type": "text", "text": "look", "attachments": [attachment]});
    assert_eq!((&history[0]["sender_id"], &history[0]["kind"]), (&json!("alice"), &json!("text")));
    assert_eq!(
        (&history[0]["content"], &history[0]["metadata"]),
        (&sent, &json!({"localId": "l-1", "sentFrom": "hapi"}))
    );
    let rows = list(&page(&server, &session, "limit=9"), "messages");
    assert_eq!(texts(&rows), ["in parts", "an answer", "from the other side", "look"]);
    let roles: Vec<_> = rows.iter().map(|row| row["role"].as_str().expect("a role")).collect();
    assert_eq!(roles, ["agent", "agent", "user", "user"]);
    assert_eq!(rows[0]["content"]["parts"], parts["content"]["parts"]);
    assert_eq!(rows[1]["content"], json!({"type": "text", "text": "an answer"}));
    assert!(rows[2].get("localId").is_none(), "absent where there is none");
    assert_eq!(rows[3]["content"], sent);
}

#[test]
fn a_local_id_is_sent_once_whatever_the_retry_says() {
    let server = Server::shared();
    let session = active_session(&server);
    for text in ["first", "first", "another text"] {
        say(&server, &session, &json!({"text": text, "localId": "same"}));
    }
    say(&server, &session, &json!({"text": "first"}));
    assert_eq!(texts(&server.history(&session)), ["first", "first"]);
}

#[test]
fn what_is_wrong_with_the_session_is_told_before_what_is_wrong_with_the_body() {
    let server = Server::shared();
    let (active, archived) = (active_session(&server), active_session(&server));
    assert_eq!(server.delete(&path(&archived, "")).status, 204);
    let without_agent = server.session("alice", "nobody-registered-it");
    let file = json!({"id": "a", "filename": "f", "mimeType": "m", "size": 1, "path": "p"});
    let without = |key: &str| {
        let mut file = file.clone();
        file.as_object_mut().expect("an object").remove(key);
        json!({"text": "", "attachments": [file]})
    };
    let mut bodies = vec![
        json!({"text": ""}),
        json!({"text": 7}),
        json!({"text": "x", "localId": ""}),
        json!({"text": "x", "localId": "l".repeat(256)}),
        json!({"attachments": []}),
        json!({"text": "x", "attachments": {}}),
        json!([1]),
    ];
    bodies.extend(["id", "filename", "mimeType", "size", "path"].map(without));
    for body in &bodies {
        for (session, status) in
            [(active.as_str(), 400), (&archived, 409), (&without_agent, 409), (UNKNOWN, 404), ("x", 404)]
        {
            let answer = ask(&server, "POST", &path(session, "/messages"), Some(body)).expect(status);
            assert!(answer["error"].is_string(), "{body} {answer}");
            assert_eq!(answer.get("code").is_some(), status == 409, "{answer}");
        }
    }
    for session in [&archived, &without_agent] {
        let answer = ask(&server, "POST", &path(session, "/messages"), Some(&json!({"text": "x"}))).expect(409);
        assert_eq!(answer, json!({"error": "Session is inactive", "code": "session_inactive"}));
        page(&server, session, "limit=1");
    }
    assert_eq!(server.history(&active), Vec::<Value>::new());
}

#[test]
fn malformed_json_is_400_behind_the_session_too() {
    let server = Server::shared();
    let (session, built_in) = (active_session(&server), server.session("alice", "echo"));
    ask(&server, "POST", &path(&built_in, "/messages"), Some(&json!({"text": ""}))).expect(400);
    for (session, status) in [(session.as_str(), 400), (&built_in, 400), (UNKNOWN, 404)] {
        let mut connection = server.connect();
        connection.send(format!(
            "POST {} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{]",
            path(session, "/messages")
        ));
        connection.answer().expect(status);
    }
}

#[test]
fn words_of_both_apis_are_refused_and_a_header_decides() {
    let server = Server::shared();
    let session = active_session(&server);
    let both = json!({"text": "hi", "user_id": "alice", "content": {"text": "hello"}});
    let refused = server.post(&messages(&session), &both).expect(400);
    assert!(
        refused["error"].as_str().is_some_and(|text| text.contains("content") && text.contains("text")),
        "{refused}"
    );
    server.call("GET", &path(&session, "/messages?after_seq=0&beforeSeq=4"), &[BEARER], None).expect(400);
    let pinned = |dialect| server.call("POST", &messages(&session), &[("x-dialect", dialect)], Some(&both)).expect(200);
    assert_eq!(pinned("hapi"), json!({"ok": true}));
    assert_eq!(pinned("fleetlm")["message"]["seq"], 2);
    assert_eq!(texts(&server.history(&session)), ["hi", "hello"]);
    let ascending = server.call("GET", &messages(&session), &[BEARER, ("x-dialect", "fleetlm")], None).expect(200);
    assert_eq!(seqs(&list(&ascending, "messages")), [1, 2]);
}

#[test]
fn what_was_acknowledged_is_there_once_after_a_kill_whatever_was_retried() {
    let folder = Folder::new();
    let options = Options::shards(2);
    let server = Server::on(folder.path(), &options);
    let session = active_session(&server);
    for n in 0..20 {
        say(&server, &session, &json!({"text": n.to_string(), "localId": format!("l-{n}")}));
    }
    server.kill();
    let server = Server::on(folder.path(), &options);
    for n in 0..25 {
        say(&server, &session, &json!({"text": n.to_string(), "localId": format!("l-{n}")}));
    }
    let expected: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    assert_eq!(texts(&server.history(&session)), expected);
}
