//! Two tenants on one server, with the same names for everything on purpose: neither reaches anything of the other, whatever it names.

use crate::harness::agent::Agent;
use crate::harness::guard::{ADMIN, Guarded, call_as, user_token};
use crate::harness::http::request;
use crate::harness::{Server, Socket, Value, json};

/// Stands in everything of the first tenant's.
const MARK: &str = "only-for-tenant-a";

/// The routes that read or change something by an id, with what a request to each would send.
fn doors(session: &str, message: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let at = |below: &str| format!("/api/sessions/{session}{below}");
    let text = json!({"user_id": "alice", "content": {"text": "x"}});
    let retry = json!({"user_id": "alice", "content": {"text": MARK}, "idempotency_key": "first"});
    let agent = json!({"agent": {"name": "taken"}});
    let ask = json!({"message": "hi", "agentId": "bot", "conversation_id": session});
    vec![
        ("GET", at(""), None),
        ("DELETE", at(""), None),
        ("DELETE", at("?permanent=true"), None),
        ("PATCH", at(""), Some(json!({"title": "x"}))),
        ("GET", at("/messages"), None),
        ("GET", at("/messages?beforeSeq=9"), None),
        ("POST", at("/messages"), Some(text)),
        ("POST", at("/messages"), Some(retry)),
        ("POST", at("/messages"), Some(json!({"agent_id": "bot", "content": {}}))),
        ("POST", at("/messages"), Some(json!({"text": "x", "localId": "first"}))),
        ("GET", at("/read"), None),
        ("GET", at("/cursors"), None),
        ("POST", at("/read"), Some(json!({"user_id": "alice", "last_seq": 1}))),
        ("POST", at("/runs/01K6GR2EV9Z7PSMEVVJ5M954CH/stop"), Some(json!({}))),
        ("POST", at("/upload"), Some(json!({"filename": "a", "content": "eA==", "mimeType": "text/plain"}))),
        ("POST", at("/upload/delete"), Some(json!({"path": format!("{session}/x")}))),
        ("GET", at("/files/x/y"), None),
        ("POST", at("/abort"), Some(json!({}))),
        ("GET", format!("/api/events?sessionId={session}"), None),
        ("GET", format!("/api/agents/bot/conversations/{session}"), None),
        ("PUT", format!("/api/agents/bot/conversations/{session}"), Some(json!({"title": "x"}))),
        ("DELETE", format!("/api/agents/bot/conversations/{session}"), None),
        ("GET", format!("/api/agents/bot/history?conversation_id={session}"), None),
        ("POST", "/api/agents/bot/chat".to_owned(), Some(ask.clone())),
        ("POST", "/api/chat/message".to_owned(), Some(ask)),
        ("POST", "/api/chat/feedback".to_owned(), Some(json!({"messageId": message, "rating": 1}))),
        ("GET", "/api/agents/bot".to_owned(), None),
        ("PUT", "/api/agents/bot".to_owned(), Some(agent.clone())),
        ("PATCH", "/api/agents/bot".to_owned(), Some(agent)),
        ("DELETE", "/api/agents/bot".to_owned(), None),
        ("GET", "/api/agents/bot/deliveries".to_owned(), None),
        ("GET", "/api/keys".to_owned(), None),
    ]
}

/// Lists: answered, without anything of the other tenant's.
const LISTS: &[&str] = &[
    "/api/agents",
    "/api/sessions",
    "/api/sessions?user_id=alice",
    "/api/agents/bot/history",
    "/api/agents/bot/conversations",
    "/api/agents/bot/inbox",
    "/api/chat/history",
    "/api/teams",
];

struct Tenants {
    guarded: Guarded,
    _agent: Agent,
    /// Keys of the whole namespaces.
    a: String,
    b: String,
    /// The first tenant's.
    session: String,
    message: String,
}

fn tenants() -> Tenants {
    let guarded = Guarded::start(&[]);
    let agent = Agent::start();
    let key = |namespace: &str| guarded.key(&json!({"name": namespace, "namespace": namespace, "user": "alice"})).1;
    let (a, b) = (key("a"), key("b"));
    let fields = json!({"agent": {"id": "bot", "name": MARK, "origin_url": agent.url(), "description": MARK}});
    guarded.call(&a, "POST", "/api/agents", Some(&fields)).expect(201);
    let made = json!({"user_id": "alice", "agent_id": "bot", "metadata": {"x": MARK}});
    let made = guarded.call(&a, "POST", "/api/sessions", Some(&made)).expect(201);
    let session = made["session"]["id"].as_str().expect("an id").to_owned();
    let said = json!({"agent_id": "bot", "content": {"text": MARK}, "idempotency_key": "first"});
    let said = guarded.call(&a, "POST", &format!("/api/sessions/{session}/messages"), Some(&said)).expect(200);
    let message = said["message"]["id"].as_str().expect("an id").to_owned();
    Tenants { guarded, _agent: agent, a, b, session, message }
}

impl Tenants {
    fn seen(&self, token: &str) -> Vec<String> {
        let at = |below: &str| format!("/api/sessions/{}{below}", self.session);
        let paths = [at(""), at("/messages"), at("/cursors"), "/api/agents/bot".to_owned(), "/api/agents".to_owned()];
        paths.map(|path| self.guarded.call(token, "GET", &path, None).text().to_owned()).into()
    }
}

#[test]
fn a_tenant_reaches_nothing_of_another_by_any_route() {
    let tenants = tenants();
    let before = tenants.seen(&tenants.a);
    assert!(before.iter().any(|body| body.contains(MARK)), "{before:?}");
    let strangers = [
        tenants.b.clone(),
        user_token("b", "alice", 600),
        user_token("default", "alice", 600),
        tenants.guarded.key(&json!({"name": "d", "user": "alice"})).1,
        tenants.guarded.key(&json!({"name": "r", "namespace": "b", "scope": "read"})).1,
        tenants.guarded.key(&json!({"name": "x", "namespace": "b", "scope": "agent:bot"})).1,
    ];
    for stranger in &strangers {
        for (method, path, body) in doors(&tenants.session, &tenants.message) {
            let answer = tenants.guarded.call(stranger, method, &path, body.as_ref());
            let is_refused = (400..500).contains(&answer.status);
            let is_empty = answer.status == 200 && method == "GET" && !path.contains("/api/sessions/");
            assert!(is_refused || is_empty, "{method} {path}: {}", answer.status);
            assert!(!answer.text().contains(MARK), "{method} {path}: {}", answer.text());
        }
        for path in LISTS {
            let answer = tenants.guarded.call(stranger, "GET", path, None);
            assert!(!answer.text().contains(MARK) && !answer.text().contains(&tenants.session), "{path}");
        }
    }
    assert_eq!(tenants.seen(&tenants.a), before, "and has changed nothing");
}

#[test]
fn the_same_names_are_two_things_in_two_namespaces() {
    let tenants = tenants();
    let agent = json!({"agent": {"id": "bot", "name": "b's own", "origin_url": "http://127.0.0.1:9"}});
    tenants.guarded.call(&tenants.b, "POST", "/api/agents", Some(&agent)).expect(201);
    let name = |token: &str| {
        let read = tenants.guarded.call(token, "GET", "/api/agents/bot", None).expect(200);
        read["agent"]["name"].as_str().expect("a name").to_owned()
    };
    assert_eq!((name(&tenants.a).as_str(), name(&tenants.b).as_str()), (MARK, "b's own"));
    let made = json!({"user_id": "alice", "agent_id": "bot"});
    tenants.guarded.call(&tenants.b, "POST", "/api/sessions", Some(&made)).expect(201);
    let listed = |token: &str| {
        let list = tenants.guarded.call(token, "GET", "/api/sessions?user_id=alice", None).expect(200);
        list["sessions"].as_array().expect("a list").len()
    };
    assert_eq!((listed(&tenants.a), listed(&tenants.b)), (1, 1));
}

fn socket(server: &Server, identity: &str, token: &str) -> Socket {
    let query = format!("user_id={identity}&vsn=2.0.0&auth_token={token}");
    Socket::try_open(server, &query).expect("the token opens it")
}

#[test]
fn no_topic_leads_to_another_tenant() {
    let tenants = tenants();
    let (server, session) = (&tenants.guarded.server, format!("session:{}", tenants.session));
    let mut theirs = socket(server, "alice", &tenants.b);
    let refused = theirs.join(&session, &json!({})).expect_err("it is not there");
    assert_eq!(refused["reason"], "not found");
    let empty = theirs.join("inbox:alice", &json!({})).expect("it is alice's own, of b");
    assert_eq!(empty["inbox"], json!([]));
    // Spelled as the server would scope it.
    let forged = "%1Fa%1Falice";
    let mut forger = socket(server, forged, &tenants.b);
    let inbox = forger.join("inbox:\u{1f}a\u{1f}alice", &json!({})).expect("the inbox of somebody with a strange name");
    assert_eq!(inbox["inbox"], json!([]));

    let mut own = socket(server, "alice", &tenants.a);
    own.join_session(&tenants.session);
    own.join("inbox:alice", &json!({})).expect("its own");
    let said = json!({"user_id": "alice", "content": {"text": MARK}});
    let path = format!("/api/sessions/{}/messages", tenants.session);
    tenants.guarded.call(&tenants.a, "POST", &path, Some(&said)).expect(200);
    assert_eq!(own.event(&session, "message")["content"]["text"], MARK);
    assert!(own.event("inbox:alice", "inbox_delta").to_string().contains(&tenants.session));
    assert!(theirs.settle().is_empty() && forger.settle().is_empty());
}

#[test]
fn a_long_poll_is_its_openers_alone() {
    let tenants = tenants();
    let query = "user_id=alice&vsn=2.0.0";
    let poll = |method: &str, token: &str, more: &str| {
        let mut connection = tenants.guarded.server.connect();
        let headers = [("x-phoenix-authtoken", token), ("content-length", "0")];
        connection.send(request(method, &format!("/socket/longpoll?{query}{more}"), &headers, None));
        connection.answer().expect(200)
    };
    let opened = poll("GET", &tenants.a, "");
    let token = format!("&token={}", opened["token"].as_str().expect("a token"));
    assert_eq!(poll("POST", &tenants.b, &token)["status"], 410);
    let again = poll("GET", &tenants.b, &token);
    assert_eq!(again["status"], 410);
    assert_ne!(again["token"], opened["token"], "it is another session");
}

#[test]
fn an_administrator_acts_in_the_default_namespace() {
    let tenants = tenants();
    let path = format!("/api/sessions/{}", tenants.session);
    assert_eq!(call_as(&tenants.guarded.server, ADMIN, "GET", &path, None).status, 404);
}
