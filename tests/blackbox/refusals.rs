//! Refusals in every dialect: what is wrong with a token, or with whose client asks at whose path, is told in the body of the API whose
//! path it is, and never says which part of a token was wrong.

use crate::harness::guard::{ADMIN, Guarded, now_s, signed, user_token};
use crate::harness::rest::keys;
use crate::harness::{Server, Socket, Value, json, unique};
use crate::tokens::bad_tokens;

/// Paths of each dialect with the one field of its refusals.
const PATHS: [(&str, &str, &str); 16] = [
    ("GET", "/api/sessions", "error"),
    ("GET", "/api/agents/bot", "error"),
    ("GET", "/api/sessions/x/messages?after_seq=0", "error"),
    ("GET", "/api/agents/bot/history", "detail"),
    ("GET", "/agents/bot/inbox", "detail"),
    ("POST", "/api/agents/bot/chat", "detail"),
    ("POST", "/agents/bot/chat/stream", "detail"),
    ("GET", "/teams", "detail"),
    ("POST", "/api/teams/crew/chat", "detail"),
    ("GET", "/api/chat/history", "error"),
    ("POST", "/api/chat/message", "error"),
    ("POST", "/api/chat/feedback", "error"),
    ("GET", "/api/chat/ws", "error"),
    ("GET", "/api/sessions/x/messages?beforeSeq=9", "error"),
    ("POST", "/api/sessions/x/upload", "error"),
    ("GET", "/api/events?sessionId=x", "error"),
];

/// The bad tokens that the operator's secret has signed.
const SIGNED: [&str; 11] = [
    "an end long ago",
    "no end",
    "an end as text",
    "an end with a fraction",
    "a beginning far off",
    "somebody else's audience",
    "no user",
    "a namespace that is none",
    "a scope that is none",
    "a key that is not there",
    "claims twice",
];

#[test]
fn a_bad_token_of_any_kind_is_refused_in_the_one_body_of_the_dialect() {
    let guarded = Guarded::start(&[]);
    let (id, revoked) = guarded.key(&json!({"name": "gone"}));
    assert_eq!(guarded.call(ADMIN, "DELETE", &format!("/api/keys/{id}"), None).status, 200);
    let mut bad = bad_tokens();
    bad.push(("a revoked key", revoked));
    for (method, path, field) in PATHS {
        let mut told: Option<Value> = None;
        for (what, token) in bad.iter().filter(|(_, token)| !token.is_empty()) {
            let answer = guarded.call(token, method, path, None);
            let body = answer.expect(401);
            assert_eq!(keys(&body), [field], "{what} at {method} {path}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what} at {method} {path}");
            // Whose signature is good is told why it is refused; whose is not, is told nothing.
            let is_signed = ["Token expired", "The token is not for this", "Invalid token payload"]
                .iter()
                .any(|text| body[field] == *text);
            assert!(
                is_signed || *told.get_or_insert_with(|| body.clone()) == body,
                "{what} at {method} {path}: {body}"
            );
            assert!(!is_signed || SIGNED.contains(what), "{what} at {method} {path}: {body}");
        }
    }
}

#[test]
fn a_good_token_of_another_scope_is_refused_in_the_body_of_the_dialect() {
    let guarded = Guarded::start(&[]);
    let read = guarded.key(&json!({"name": "r", "scope": "read", "user": "alice"})).1;
    let other = guarded.key(&json!({"name": "o", "scope": "agent:other", "user": "alice"})).1;
    let all = guarded.key(&json!({"name": "a", "user": "alice"})).1;
    let made = json!({"user_id": "alice", "agent_id": "echo"});
    let session = guarded.call(&all, "POST", "/api/sessions", Some(&made)).expect(201)["session"]["id"].clone();
    let at = format!("/api/sessions/{}", session.as_str().expect("an id"));
    let hi = json!({"message": "hi", "agentId": "echo"});
    for (path, field, body) in [
        (format!("{at}/messages"), "error", json!({"user_id": "alice", "content": {"text": "x"}})),
        (format!("{at}/messages"), "error", json!({"text": "x", "localId": "l"})),
        (format!("{at}/abort"), "error", json!({})),
        (format!("{at}/read"), "error", json!({"user_id": "alice", "last_seq": 0})),
        ("/api/agents/echo/chat".to_owned(), "detail", hi.clone()),
        ("/agents/echo/chat/stream".to_owned(), "detail", hi.clone()),
        ("/agents/echo/mark-read".to_owned(), "detail", json!({})),
        ("/teams".to_owned(), "detail", json!({"name": "T"})),
        ("/api/chat/message".to_owned(), "error", hi),
        (
            "/api/agents".to_owned(),
            "error",
            json!({"agent": {"id": "x", "name": "x", "origin_url": "http://localhost"}}),
        ),
    ] {
        for token in [&read, &other] {
            let refused = guarded.call(token, "POST", &path, Some(&body)).expect(403);
            assert_eq!(keys(&refused)[0], field, "{path}: {refused}");
        }
    }
}

#[test]
fn a_client_of_one_api_at_the_path_of_another_is_told_so_in_the_words_of_the_path() {
    let server = Server::shared();
    let agent = json!({"id": unique("agent"), "name": "A", "origin_url": "http://127.0.0.1:1"});
    server.post("/api/agents", &json!({ "agent": agent })).expect(201);
    let session = server.session("alice", agent["id"].as_str().expect("an id"));
    let bodies = [
        json!({"text": "HAPI's", "localId": "l"}),
        json!({"user_id": "alice", "content": {"text": "FleetLM's"}}),
        json!({"data": "nobody's"}),
        json!(["a list"]),
    ];
    for body in &bodies {
        for (path, field) in [
            ("/agents/echo/chat", "detail"),
            ("/api/agents/echo/chat", "detail"),
            ("/api/agents/echo/chat/stream", "detail"),
            ("/teams/echo/chat", "detail"),
            ("/api/chat/message", "error"),
            ("/api/chat/feedback", "error"),
            ("/api/sessions", "error"),
            ("/api/agents", "errors"),
        ] {
            let answer = server.post(path, body);
            assert!((400..500).contains(&answer.status), "{path} {body}: {}", answer.status);
            assert_eq!(keys(&answer.json())[0], field, "{path} {body}: {}", answer.text());
        }
    }
    for body in [json!({"message": "a question"}), json!({"message": "x", "agentId": "echo"}), json!(["a list"])] {
        let path = format!("/api/sessions/{session}/messages");
        let answer = server.post(&path, &body);
        assert!((400..500).contains(&answer.status) && answer.json()["error"].is_string(), "{body}: {}", answer.text());
        let hub = server.call("POST", &path, &[("x-dialect", "hapi")], Some(&body));
        assert_eq!((hub.status, hub.json()["error"].is_string()), (400, true), "{body}: {}", hub.text());
    }
    assert!(server.history(&session).is_empty(), "nothing of it was stored");
    for (path, field) in [
        ("/agents/echo/none", "detail"),
        ("/api/agents/echo/conversations/x/y", "detail"),
        ("/api/chat/none", "error"),
        ("/api/none", "errors"),
    ] {
        let answer = server.get(path);
        assert!([404, 405].contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(keys(&answer.json())[0], field, "{path}: {}", answer.text());
    }
}

#[test]
fn a_token_for_one_session_opens_that_one_and_nothing_else() {
    let guarded = Guarded::start(&[]);
    let alice = user_token("default", "alice", 600);
    let made = |agent: &str| {
        let body = json!({"user_id": "alice", "agent_id": agent});
        let made = guarded.call(&alice, "POST", "/api/sessions", Some(&body)).expect(201);
        made["session"]["id"].as_str().expect("an id").to_owned()
    };
    let (ours, other) = (made("echo"), made("echo"));
    let claims = json!({"sub": "alice", "session": ours, "exp": now_s() + 600});
    let lock = signed(&json!({"alg": "HS256"}), &claims);
    let status = |method: &str, path: &str, body: Option<&Value>| guarded.call(&lock, method, path, body).status;
    let text = json!({"user_id": "alice", "content": {"text": "x"}});
    for (session, is_open) in [(&ours, true), (&other, false)] {
        let at = |below: &str| format!("/api/sessions/{session}{below}");
        for (method, path, body) in [
            ("GET", at(""), None),
            ("GET", at("/messages"), None),
            ("GET", at("/messages?beforeSeq=9"), None),
            ("GET", at("/read"), None),
            ("POST", at("/messages"), Some(&text)),
            ("POST", at("/abort"), Some(&json!({}))),
            ("GET", format!("/api/chat/history?sessionId={session}"), None),
        ] {
            let answer = guarded.call(&lock, method, &path, body);
            let (status, said) = (answer.status, answer.text());
            assert_eq!(status == 200, is_open, "{method} {path} {body:?}: {status} {said}");
            assert!(is_open || [403, 404].contains(&status), "{method} {path}: {status} {said}");
        }
    }
    let ask = json!({"message": "hi", "agentId": "echo", "sessionId": other});
    for (method, path, body) in [
        ("GET", "/api/sessions".to_owned(), None),
        ("POST", "/api/sessions".to_owned(), Some(&json!({"user_id": "alice", "agent_id": "echo"}))),
        ("POST", "/api/chat/message".to_owned(), Some(&ask)),
        ("POST", "/agents/echo/chat".to_owned(), Some(&json!({"message": "hi"}))),
        ("GET", format!("/api/events?sessionId={other}"), None),
        ("GET", "/api/events?all=true".to_owned(), None),
        ("GET", "/agents/echo/conversations".to_owned(), None),
        ("GET", "/api/keys".to_owned(), None),
    ] {
        assert!([403, 404].contains(&status(method, &path, body)), "{method} {path}: {}", status(method, &path, body));
    }
    let query = format!("user_id=alice&vsn=2.0.0&auth_token={lock}");
    let mut socket = Socket::try_open(&guarded.server, &query).expect("the token is good");
    socket.join(&format!("session:{ours}"), &json!({})).expect("its own");
    socket.join(&format!("session:{other}"), &json!({})).expect_err("not this one");
    socket.join("inbox:alice", &json!({})).expect_err("nor what is about all of them");
}
