//! What the clients of AI Teammate and AgenFleet read back over all sessions: histories, conversations, inboxes, marks, feedback; and the
//! titles that FleetLM's clients see of it. On several shards, so that every list is merged.

use crate::harness::rest::{keys, list, messages};
use crate::harness::{Answer, Folder, Options, Server, Value, json, unique};

/// Somebody, and an agent that is registered.
struct Person<'a> {
    server: &'a Server,
    user: String,
    agent: String,
}

impl<'a> Person<'a> {
    fn new(server: &'a Server) -> Self {
        let (user, agent) = (unique("user"), unique("agent"));
        let fields = json!({"id": agent, "name": "Nova", "origin_url": "http://127.0.0.1:9", "status": "disabled"});
        server.post("/api/agents", &json!({"agent": fields})).expect(201);
        Self { server, user, agent }
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.server.call(method, path, &[("x-user-id", &self.user)], body)
    }

    fn get(&self, path: &str) -> Value {
        self.call("GET", path, None).expect(200)
    }

    fn below(&self, path: &str) -> String {
        format!("/api/agents/{}/{path}", self.agent)
    }

    fn conversation(&self, title: Option<&str>) -> String {
        let body = title.map_or(json!({}), |title| json!({ "title": title }));
        let made = self.call("POST", &self.below("conversations"), Some(&body)).expect(200);
        made["id"].as_str().expect("a conversation has an id").to_owned()
    }

    fn say(&self, session: &str, text: &str) {
        self.server.say(session, &self.user, text);
    }

    fn answer(&self, session: &str, text: &str) {
        let body = json!({"agent_id": self.agent, "kind": "assistant", "content": {"text": text},
            "metadata": {"input_tokens": 3840, "output_tokens": 612}});
        self.server.post(&messages(session), &body).expect(200);
    }

    /// Four conversations, one message after the other in turn; the texts, oldest first.
    fn talk(&self, count: usize) -> (Vec<String>, Vec<String>) {
        let sessions: Vec<String> = (0..4).map(|_| self.conversation(None)).collect();
        let texts: Vec<String> = (0..count).map(|n| format!("text {n}")).collect();
        for (n, text) in texts.iter().enumerate() {
            let session = &sessions[n * 7 % 4];
            if n % 2 == 0 { self.say(session, text) } else { self.answer(session, text) }
        }
        (sessions, texts)
    }
}

fn contents(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["content"].as_str().expect("a message has a content")).collect()
}

fn is_time_s(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T')
}

#[test]
fn a_history_is_oldest_first_and_merged_over_conversations_and_shards() {
    let server = Server::with(&Options::shards(2));
    let person = Person::new(&server);
    let (sessions, texts) = person.talk(30);
    let history = person.get(&person.below("history"));
    assert_eq!(keys(&history), ["messages"]);
    let rows = list(&history, "messages");
    assert_eq!(contents(&rows), texts[10..]);
    assert_eq!((&rows[0]["role"], &rows[1]["role"]), (&json!("user"), &json!("assistant")));
    assert!(rows.iter().all(|row| is_time_s(&row["created_at"])), "{history}");
    for (limit, count) in [("5", 5), ("0", 20), ("x", 20), ("-3", 20), ("200", 30), ("99999999999999999999", 30)] {
        let rows = list(&person.get(&person.below(&format!("history?limit={limit}"))), "messages");
        assert_eq!(contents(&rows), texts[30 - count..], "limit {limit}");
    }
    let bare = person.get(&format!("/agents/{}/history", person.agent));
    assert_eq!(bare, history);
    let one =
        list(&person.get(&person.below(&format!("history?conversation_id={}&limit=100", sessions[0]))), "messages");
    let of_first: Vec<_> = (0..30).filter(|n| n * 7 % 4 == 0).map(|n| texts[n].as_str()).collect();
    assert_eq!(contents(&one), of_first);
}

#[test]
fn what_is_not_the_callers_is_not_there() {
    let server = Server::with(&Options::shards(2));
    let (alice, zoe) = (Person::new(&server), Person::new(&server));
    let session = alice.conversation(Some("Mine"));
    alice.answer(&session, "hi");
    let (own, foreign) = (|path: &str| format!("/api/agents/{}/{path}", alice.agent), &zoe);
    let asked = [
        ("GET", own(&format!("history?conversation_id={session}")), None),
        ("PUT", own(&format!("conversations/{session}")), Some(json!({"title": "x"}))),
        ("PATCH", own(&format!("conversations/{session}")), Some(json!({"title": "x"}))),
        ("DELETE", own(&format!("conversations/{session}")), None),
        ("POST", own("mark-read"), Some(json!({"conversation_id": session}))),
        ("GET", format!("/api/chat/history?sessionId={session}"), None),
        ("POST", "/api/chat/feedback".to_owned(), Some(json!({"messageId": format!("msg_{session}_1"), "rating": 5}))),
    ];
    for (method, path, body) in &asked {
        let answer = foreign.call(method, path, body.as_ref());
        let error = if path.starts_with("/api/chat") { "error" } else { "detail" };
        let body = answer.expect(404);
        assert!(body[error].is_string() && keys(&body).len() == 1, "{method} {path}: {body}");
    }
    // With another agent of the same user neither.
    let other = format!("/api/agents/{}/conversations/{session}", zoe.agent);
    alice.call("DELETE", &other, None).expect(404);
    for path in ["history", "conversations", "inbox"] {
        alice.call("GET", &format!("/api/agents/nobody-{}/{path}", alice.agent), None).expect(404);
    }
    alice.call("POST", "/api/agents/nobody/conversations", Some(&json!({}))).expect(404);
    alice.call("POST", "/api/agents/nobody/mark-read", None).expect(404);
    alice.call("GET", "/api/chat/history?agentId=nobody", None).expect(404);
    alice.call("GET", "/api/chat/history?sessionId=nonsense", None).expect(404);
    assert_eq!(alice.get(&alice.below("conversations"))["conversations"][0]["title"], "Mine");
    assert_eq!(zoe.get("/api/chat/history")["pagination"]["total"], 0);
}

#[test]
fn conversations_are_made_listed_renamed_and_deleted_with_their_messages() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::shards(2));
    let person = Person::new(&server);
    let made = person.call("POST", &person.below("conversations"), Some(&json!({"title": "Trip"}))).expect(200);
    assert_eq!(
        keys(&made),
        ["agent_id", "created_at", "id", "message_count", "title", "unread_count", "updated_at"],
        "{made}"
    );
    assert_eq!(
        (&made["title"], &made["message_count"], &made["agent_id"]),
        (&json!("Trip"), &json!(0), &json!(person.agent))
    );
    assert!(is_time_s(&made["created_at"]) && is_time_s(&made["updated_at"]));
    let trip = made["id"].as_str().unwrap().to_owned();
    let other = person.call("POST", &person.below("conversations"), None).expect(200);
    assert_eq!(other["title"], Value::Null);
    let other = other["id"].as_str().unwrap().to_owned();
    person.answer(&trip, "one");
    person.say(&other, "two");
    person.answer(&trip, "three");
    let ids = |path: &str| {
        let rows = list(&person.get(&person.below(path)), "conversations");
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("conversations"), [trip.clone(), other.clone()]);
    assert_eq!(
        (ids("conversations?limit=1"), ids("conversations?offset=1")),
        (vec![trip.clone()], vec![other.clone()])
    );
    let path = person.below(&format!("conversations/{other}"));
    let renamed = person.call("PUT", &path, Some(&json!({"title": "Rome"}))).expect(200);
    assert_eq!(
        (&renamed["title"], &renamed["message_count"], &renamed["unread_count"]),
        (&json!("Rome"), &json!(1), &json!(0))
    );
    assert_eq!(person.call("PATCH", &path, Some(&json!({"name": "Paris"}))).expect(200)["title"], "Paris");
    for body in [json!({}), json!({"title": ""}), json!({"title": 7}), json!({"title": "x".repeat(256)})] {
        assert!(person.call("PUT", &path, Some(&body)).expect(422)["detail"].is_string());
    }
    let session = server.get(&format!("/api/sessions/{other}")).expect(200);
    assert_eq!(session["session"]["title"], "Paris");
    let (user, agent) = (person.user.clone(), person.agent.clone());
    server.kill();
    let server = Server::on(folder.path(), &Options::shards(3));
    let person = Person { server: &server, user, agent };
    let rows = list(&person.get(&person.below("conversations")), "conversations");
    assert_eq!((&rows[0]["title"], &rows[1]["title"]), (&json!("Trip"), &json!("Paris")));
    assert_eq!((&rows[0]["message_count"], &rows[0]["unread_count"]), (&json!(2), &json!(2)));
    let gone = person.call("DELETE", &person.below(&format!("conversations/{trip}")), None).expect(200);
    assert_eq!(gone, json!({"ok": true, "id": trip}));
    person.call("DELETE", &person.below(&format!("conversations/{trip}")), None).expect(404);
    assert_eq!(contents(&list(&person.get(&person.below("history")), "messages")), ["two"]);
    server.get(&format!("/api/sessions/{trip}")).expect(404);
}

#[test]
fn an_inbox_holds_what_is_unread_oldest_first_until_it_is_marked() {
    let server = Server::with(&Options::shards(2));
    let person = Person::new(&server);
    let (sessions, texts) = person.talk(12);
    let unread: Vec<&str> = texts.iter().map(String::as_str).skip(1).step_by(2).collect();
    let inbox = person.get(&person.below("inbox"));
    assert_eq!(keys(&inbox), ["messages", "unread_count"]);
    let rows = list(&inbox, "messages");
    assert_eq!((contents(&rows), &inbox["unread_count"]), (unread.clone(), &json!(6)));
    assert!(rows.iter().all(|row| row["role"] == "assistant" && is_time_s(&row["created_at"])));
    let first = person.get(&person.below("inbox?limit=2"));
    assert_eq!((contents(&list(&first, "messages")), &first["unread_count"]), (unread[..2].to_vec(), &json!(6)));
    let mark = |body: Option<&Value>| person.call("POST", &person.below("mark-read"), body);
    let upto = json!({"message_id": rows[0]["id"]});
    assert_eq!(mark(Some(&upto)).expect(200), json!({"ok": true, "unread_count": 5}));
    assert!(mark(Some(&json!({"last_seq": 3}))).expect(422)["detail"].is_string());
    mark(Some(&json!({"message_id": "msg_x_1"}))).expect(404);
    let one = json!({"conversation_id": sessions[1]});
    let left = mark(Some(&one)).expect(200)["unread_count"].as_u64().unwrap();
    assert!(left < 5);
    assert_eq!(mark(None).expect(200), json!({"ok": true, "unread_count": 0}));
    assert_eq!(person.get(&person.below("inbox")), json!({"messages": [], "unread_count": 0}));
    person.answer(&sessions[2], "again");
    assert_eq!(contents(&list(&person.get(&person.below("inbox")), "messages")), ["again"]);
}

#[test]
fn agenfleets_history_is_newest_first_with_exact_totals_page_by_page() {
    let server = Server::with(&Options::shards(2));
    let person = Person::new(&server);
    let (sessions, texts) = person.talk(23);
    let newest: Vec<&str> = texts.iter().rev().map(String::as_str).collect();
    let page = person.get("/api/chat/history");
    assert_eq!(keys(&page), ["data", "pagination"]);
    assert_eq!(page["pagination"], json!({"total": 23, "limit": 50, "offset": 0, "hasMore": false}));
    let rows = list(&page, "data");
    assert_eq!(contents(&rows), newest);
    let answer = &rows[1];
    for (name, value) in [("role", json!("assistant")), ("agentId", json!(person.agent)), ("agentName", json!("Nova"))]
    {
        assert_eq!(answer[name], value, "{answer}");
    }
    assert_eq!((&answer["inputTokens"], &answer["outputTokens"]), (&json!(3840), &json!(612)));
    assert_eq!(rows[0]["role"], "user");
    assert!(rows[0].get("agentId").is_none() && rows[0].get("inputTokens").is_none(), "{}", rows[0]);
    assert!(rows.iter().all(|row| is_time_s(&row["createdAt"]) && row["id"].is_string()));
    for offset in (0..30).step_by(4) {
        let page = person.get(&format!("/api/chat/history?limit=4&offset={offset}&agentId={}", person.agent));
        let (from, to) = (offset.min(23), (offset + 4).min(23));
        assert_eq!(contents(&list(&page, "data")), newest[from..to], "offset {offset}");
        assert_eq!(page["pagination"], json!({"total": 23, "limit": 4, "offset": offset, "hasMore": offset + 4 < 23}));
    }
    let one = person.get(&format!("/api/chat/history?sessionId={}", sessions[3]));
    assert_eq!(one["pagination"]["total"], (0..23).filter(|n| n * 7 % 4 == 3).count());
    let odd = person.get("/api/chat/history?limit=1000&offset=-2");
    assert_eq!(odd["pagination"], json!({"total": 23, "limit": 200, "offset": 0, "hasMore": false}));
    let beyond = person.get("/api/chat/history?offset=10000");
    assert_eq!(beyond["pagination"], json!({"total": 23, "limit": 50, "offset": 10000, "hasMore": false}));
}

#[test]
fn answers_are_rated_once_by_each_rater_and_the_last_word_counts() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::shards(2));
    let person = Person::new(&server);
    let session = person.conversation(None);
    person.say(&session, "question");
    person.answer(&session, "42");
    let rows = list(&person.get("/api/chat/history"), "data");
    let (answer, question) = (rows[0]["id"].clone(), rows[1]["id"].clone());
    let rate = |body: Value| person.call("POST", "/api/chat/feedback", Some(&body));
    assert_eq!(rate(json!({"messageId": answer, "rating": 2, "comment": "hm"})).expect(200), json!({"ok": true}));
    rate(json!({"messageId": answer, "rating": 5, "comment": "Concise."})).expect(200);
    for (body, status) in [
        (json!({"rating": 5}), 400),
        (json!({"messageId": " ", "rating": 5}), 400),
        (json!({"messageId": answer}), 400),
        (json!({"messageId": answer, "rating": 0}), 400),
        (json!({"messageId": answer, "rating": 6}), 400),
        (json!({"messageId": answer, "rating": "5"}), 400),
        (json!({"messageId": answer, "rating": 4.5}), 400),
        (json!({"messageId": answer, "rating": 5, "comment": 7}), 400),
        (json!({"messageId": answer, "rating": 5, "comment": "x".repeat(4097)}), 400),
        (json!({"messageId": question, "rating": 5}), 400),
        (json!({"messageId": "msg-1", "rating": 5}), 404),
        (json!({"messageId": format!("msg_{session}_9"), "rating": 5}), 404),
    ] {
        let refused = rate(body.clone()).expect(status);
        assert!(refused["error"].is_string() && keys(&refused).len() == 1, "{body}: {refused}");
    }
    let path = format!("/api/sessions/{session}/feedback");
    let given = server.get(&path).expect(200);
    let rows = list(&given, "feedback");
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["seq"], &rows[0]["rating"], &rows[0]["comment"]), (&json!(2), &json!(5), &json!("Concise.")));
    assert_eq!(rows[0]["rater"], person.user.as_str());
    server.kill();
    let server = Server::on(folder.path(), &Options::shards(1));
    assert_eq!(server.get(&path).expect(200), given);
}

#[test]
fn fleetlms_sessions_have_titles_where_they_were_given_some() {
    let server = Server::shared();
    let user = unique("user");
    let body = json!({"user_id": user, "agent_id": "bot", "title": "First"});
    let made = server.post("/api/sessions", &body).expect(201);
    assert_eq!(made["session"]["title"], "First");
    let path = format!("/api/sessions/{}", made["session"]["id"].as_str().unwrap());
    let renamed = server.call("PATCH", &path, &[], Some(&json!({"title": "Second"}))).expect(200);
    assert_eq!(renamed["session"]["title"], "Second");
    assert_eq!(server.get(&path).expect(200), renamed);
    for title in [json!(null), json!(""), json!(7), json!("x".repeat(256))] {
        server.call("PATCH", &path, &[], Some(&json!({ "title": title }))).expect(422);
    }
    let plain = server.session(&user, "bot");
    assert!(server.get(&format!("/api/sessions/{plain}")).expect(200)["session"].get("title").is_none());
    server.call("PATCH", "/api/sessions/x", &[], Some(&json!({"title": "T"}))).expect(404);
    assert_eq!(server.get(&format!("{path}/feedback")).expect(200), json!({"feedback": []}));
}
