//! Two tenants on one server, with the same names for everything on purpose: names are two things, topics and polls are their owner's.
//! Every route is walked in `walk`.

use crate::harness::agent::Agent;
use crate::harness::guard::{ADMIN, Guarded, call_as};
use crate::harness::http::request;
use crate::harness::{Server, Socket, json};

/// Stands in everything of the first tenant's.
const MARK: &str = "only-for-tenant-a";

struct Tenants {
    guarded: Guarded,
    _agent: Agent,
    /// Keys of the whole namespaces.
    a: String,
    b: String,
    /// The first tenant's.
    session: String,
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
    guarded.call(&a, "POST", &format!("/api/sessions/{session}/messages"), Some(&said)).expect(200);
    Tenants { guarded, _agent: agent, a, b, session }
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
