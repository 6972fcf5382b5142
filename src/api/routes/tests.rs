//! Which request is what, over all APIs: paths, methods, bodies, refusals.

use super::*;
use crate::api::longpoll::LongPollRequest;
use crate::protocol::channels::longpoll::Token;
use crate::session::{Json, MessageId};
use crate::shard::{AgentCommand, Append, Author, Now, Page, PageFrom, Refusal, Reply};
use std::collections::BTreeMap;

const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };

fn id() -> SessionId {
    SessionId::from_parts(1_761_216_480_123, 42)
}

fn get(target: &str) -> Request {
    Request::new(Method::Get, target)
}

fn with_json(method: Method, target: &str, body: &str) -> Request {
    Request::new(method, target).with_header("content-type", "application/json").with_body(body)
}

fn post(target: &str, body: &str) -> Request {
    with_json(Method::Post, target, body)
}

fn path(below: &str) -> String {
    format!("/api/sessions/{}{below}", id())
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

/// Status and body of a request that is answered at once.
fn answered(request: &Request) -> (u16, String) {
    match route(request, &CONTEXT) {
        Route::Respond(response) => {
            assert_eq!(response.header("access-control-allow-origin"), Some("*"));
            assert!(response.header("x-request-id").is_some());
            (response.status, text(&response).to_owned())
        }
        route => panic!("{} {} is {route:?}", request.method, request.path),
    }
}

fn error(status: u16, message: &str) -> (u16, String) {
    (status, format!("{{\"error\":\"{message}\"}}"))
}

fn detail(status: u16, phrase: &str) -> (u16, String) {
    (status, format!("{{\"errors\":{{\"detail\":\"{phrase}\"}}}}"))
}

fn called(request: &Request) -> (Target, Command, Render) {
    match route(request, &CONTEXT) {
        Route::Call { to, command, render } => (to, command, render),
        route => panic!("{} {} is {route:?}", request.method, request.path),
    }
}

fn agents(request: &Request) -> (AgentCommand, Render) {
    match called(request) {
        (Target::Directory, Command::Agents(command), render) => (command, render),
        call => panic!("{call:?}"),
    }
}

fn appended(request: &Request) -> Append {
    match called(request) {
        (to, Command::Append(append), _) => {
            assert_eq!(to, Target::Owner(append.session));
            *append
        }
        call => panic!("{call:?}"),
    }
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

#[test]
fn a_session_is_created_with_a_fresh_id_and_answered_with_201() {
    let (to, command, render) =
        called(&post("/api/sessions", r#"{"user_id":"alice","agent_id":"bot","metadata":{"a":1}}"#));
    assert_eq!(to, Target::Owner(id()));
    let metadata = json(r#"{"a":1}"#);
    let expected =
        Command::CreateSession { id: id(), user_id: "alice".into(), agent_id: "bot".into(), title: None, metadata };
    assert_eq!(command, expected);
    let response = render.one(Ok(Reply::Session { json: json(r#"{"id":"x"}"#) }));
    assert_eq!((response.status, text(&response)), (201, r#"{"session":{"id":"x"}}"#));
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
}

#[test]
fn a_path_longer_than_any_is_not_found_and_is_looked_at_to_its_end() {
    let longest = path("/runs/x/stop");
    assert_ne!(answered(&post(&longest, "{}")), detail(404, "Not Found"), "a run of that name is looked for");
    for more in ["/y", "/y/z", "/y/z/%41"] {
        assert_eq!(answered(&post(&format!("{longest}{more}"), "{}")), detail(404, "Not Found"), "{more}");
    }
    assert_eq!(answered(&post(&format!("{longest}/y/z/%zz"), "{}")), detail(400, "Bad Request"));
}

#[test]
fn a_session_needs_a_user_and_an_agent() {
    let long = "x".repeat(256);
    for (body, message) in [
        (r#"{"user_id":"a"}"#, "user_id and agent_id are required"),
        (r#"{"sender_id":"a","recipient_id":"b"}"#, "user_id and agent_id are required"),
        ("[]", "user_id and agent_id are required"),
        (r#"{"user_id":null,"agent_id":"b"}"#, "user_id must be a non-empty string"),
        (r#"{"user_id":" ","agent_id":"b"}"#, "user_id must be a non-empty string"),
        (r#"{"user_id":"a","agent_id":7}"#, "agent_id must be a non-empty string"),
        (r#"{"user_id":"a","agent_id":"b","metadata":null}"#, "metadata must be a map"),
        (r#"{"user_id":"a","agent_id":"b","metadata":[]}"#, "metadata must be a map"),
        (&format!(r#"{{"user_id":"{long}","agent_id":"b"}}"#), "user_id must be at most 255 bytes"),
        (&format!(r#"{{"user_id":"a","agent_id":"{long}"}}"#), "agent_id must be at most 255 bytes"),
    ] {
        assert_eq!(answered(&post("/api/sessions", body)), error(422, message), "{body}");
    }
    let without_type = Request::new(Method::Post, "/api/sessions").with_body(r#"{"user_id":"a","agent_id":"b"}"#);
    assert_eq!(answered(&without_type), error(422, "user_id and agent_id are required"));
}

#[test]
fn a_session_is_read_archived_and_deleted_by_its_id() {
    let (to, command, render) = called(&get(&path("")));
    assert_eq!((to, command), (Target::Owner(id()), Command::ReadSession { id: id() }));
    assert_eq!(render.clone().one(Ok(Reply::Session { json: json("{}") })).status, 200);
    let response = render.one(Err(Refusal::SessionNotFound));
    assert_eq!((response.status, text(&response)), (404, r#"{"error":"Session not found"}"#));

    let (_, command, render) = called(&Request::new(Method::Delete, &path("")));
    assert_eq!(command, Command::ArchiveSession { id: id() });
    let response = render.one(Ok(Reply::Session { json: json("{}") }));
    assert_eq!((response.status, text(&response)), (204, ""));
    for (target, is_permanent) in [("?permanent=true", true), ("?permanent=1", true), ("?permanent=false", false)] {
        let (_, command, _) = called(&Request::new(Method::Delete, &path(target)));
        assert_eq!(command == Command::DeleteSession { id: id() }, is_permanent, "{target}");
    }
}

#[test]
fn a_text_that_is_no_session_id_names_no_session() {
    let message = r#"{"user_id":"a","content":{}}"#;
    for request in [
        get("/api/sessions/x"),
        get("/api/sessions/x/messages"),
        get("/api/sessions/x/read"),
        get(&format!("/api/sessions/{}", id().to_string().to_lowercase())),
        Request::new(Method::Delete, "/api/sessions/x"),
        post("/api/sessions/x/messages", message),
        post("/api/sessions/x/read", r#"{"user_id":"a"}"#),
    ] {
        assert_eq!(answered(&request), error(404, "Session not found"), "{}", request.path);
    }
}

#[test]
fn sessions_are_listed_over_all_shards_newest_first_with_paging() {
    let Route::Gather { command, render } = route(&get("/api/sessions?user_id=a+b&limit=2"), &CONTEXT) else {
        panic!()
    };
    assert_eq!(command, Command::ListSessions { user_id: Some("a b".into()), before: None, limit: 2 });
    let at = |ms: u64| SessionId::from_parts(ms, 0);
    let page = |ids: &[u64], has_more| {
        Ok(Reply::Sessions { sessions: ids.iter().map(|&ms| (at(ms), json(&ms.to_string()))).collect(), has_more })
    };
    let response = render.clone().many(vec![page(&[3, 1], false), page(&[4], false), page(&[], false)]);
    assert_eq!(text(&response), r#"{"sessions":[4,3],"has_more":true}"#);
    let response = render.clone().many(vec![page(&[3], true), page(&[], false)]);
    assert_eq!(text(&response), r#"{"sessions":[3],"has_more":true}"#);
    let response = render.clone().many(vec![page(&[1], false), page(&[2], false)]);
    assert_eq!(text(&response), r#"{"sessions":[2,1],"has_more":false}"#);
    let response = render.many(vec![page(&[1], false), Err(Refusal::Overloaded)]);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
}

#[test]
fn a_page_of_sessions_is_bounded_and_begins_below_an_id() {
    for (query, limit) in [("", 50), ("?limit=7x", 7), ("?limit=-1", 50), ("?limit=100000", 500)] {
        let Route::Gather { command, .. } = route(&get(&format!("/api/sessions{query}")), &CONTEXT) else { panic!() };
        assert_eq!(command, Command::ListSessions { user_id: None, before: None, limit }, "{query}");
    }
    let Route::Gather { command, .. } = route(&get(&format!("/api/sessions?before={}", id())), &CONTEXT) else {
        panic!()
    };
    assert_eq!(command, Command::ListSessions { user_id: None, before: Some(id()), limit: 50 });
    assert_eq!(answered(&get("/api/sessions?before=x")), error(422, "before must be a session id"));
}

#[test]
fn messages_are_read_upwards_or_backwards_leniently() {
    for (query, from, limit) in [
        ("", PageFrom::After(0), 50),
        ("?after_seq=7&limit=10000", PageFrom::After(7), 10_000),
        ("?after_seq=7x&limit=5.9", PageFrom::After(7), 5),
        ("?after_seq=-7&limit=0", PageFrom::After(0), 50),
        ("?after_seq=x&limit=-1", PageFrom::After(0), 50),
        ("?limit=99999999999999999999", PageFrom::After(0), 100_000),
        ("?before_seq=9", PageFrom::Before(9), 50),
        ("?before_seq=9&after_seq=3", PageFrom::Before(9), 50),
        ("?before_seq=0&after_seq=3", PageFrom::After(3), 50),
    ] {
        let (to, command, _) = called(&get(&path(&format!("/messages{query}"))));
        assert_eq!(to, Target::Owner(id()));
        assert_eq!(command, Command::ReadMessages { session: id(), from, limit }, "{query}");
    }
}

#[test]
fn a_page_of_messages_says_whether_there_is_more() {
    let (_, _, render) = called(&get(&path("/messages")));
    let empty = render.clone().one(Ok(Reply::Messages(Page::default())));
    assert_eq!((empty.status, text(&empty)), (200, r#"{"messages":[],"has_more":false,"last_seq":0}"#));
    let page =
        Page { text: br#"{"seq":1},{"seq":2}"#.to_vec(), has_more: true, session_last_seq: 9, ..Page::default() };
    let response = render.one(Ok(Reply::Messages(page)));
    assert_eq!(text(&response), r#"{"messages":[{"seq":1},{"seq":2}],"has_more":true,"last_seq":9}"#);
}

#[test]
fn a_message_is_appended_with_defaults_and_its_content_as_it_came() {
    let append = appended(&post(&path("/messages"), r#"{"user_id":"alice","content":{ "text" : "h\u00e9"}}"#));
    let expected = Append {
        session: id(),
        message: MessageId::from_parts(1_761_216_480_123, 42),
        author: Author::User("alice".into()),
        kind: "text".into(),
        content: json(r#"{ "text" : "h\u00e9"}"#),
        metadata: Json::empty_object(),
        idempotency_key: None,
        expected_seq: None,
        participants_only: false,
        echo: true,
        terms: None,
    };
    assert_eq!(append, expected);
    let body = r#"{"agent_id":"bot","kind":"assistant","content":{},"metadata":{"a":1}}"#;
    let append = appended(&post(&path("/messages"), body));
    assert_eq!((append.author, append.kind.as_str()), (Author::Agent("bot".into()), "assistant"));
    assert_eq!(append.metadata, json(r#"{"a":1}"#));
}

#[test]
fn an_appended_message_is_answered_with_200_and_a_retry_says_so() {
    let (_, _, render) = called(&post(&path("/messages"), r#"{"user_id":"a","content":{}}"#));
    let reply = |replayed| Ok(Reply::Appended { seq: 1, json: Some(json(r#"{"seq":1}"#)), replayed });
    let response = render.clone().one(reply(false));
    assert_eq!((response.status, text(&response)), (200, r#"{"message":{"seq":1}}"#));
    assert_eq!(response.header("idempotent-replayed"), None);
    let again = render.clone().one(reply(true));
    assert_eq!((text(&again), again.header("idempotent-replayed")), (r#"{"message":{"seq":1}}"#, Some("true")));
    let conflict = render.clone().one(Err(Refusal::SeqConflict { current: 4 }));
    assert_eq!(conflict.status, 409);
    assert_eq!(text(&conflict), r#"{"error":"expected_seq does not match","current_seq":4}"#);
}

/// Contract 1.5. Each body breaks its own check and all later ones.
#[test]
fn a_message_is_checked_in_the_order_of_the_contract() {
    let rest = r#""kind":"","content":1,"metadata":1,"expected_seq":-1"#;
    for (body, message) in [
        (
            format!(r#"{{"user_id":null,"agent_id":null,"sender_id":"a",{rest}}}"#),
            "Provide either user_id or agent_id when sending a message, not both",
        ),
        (
            format!(r#"{{"sender_id":"a",{rest}}}"#),
            "sender_id is deprecated; use user_id or agent_id to identify the sender",
        ),
        (
            format!(r#"{{"user_id":"","sender_id":null,{rest}}}"#),
            "sender_id is deprecated; use user_id or agent_id to identify the sender",
        ),
        (format!("{{{rest}}}"), "user_id or agent_id is required"),
        (format!(r#"{{"user_id":"",{rest}}}"#), "user_id or agent_id is required"),
        (format!(r#"{{"agent_id":7,{rest}}}"#), "user_id or agent_id is required"),
        (format!(r#"{{"user_id":"a",{rest}}}"#), "kind must be a non-empty string"),
        (r#"{"user_id":"a","kind":null,"content":1}"#.into(), "kind must be a non-empty string"),
        (r#"{"user_id":"a","kind":7,"content":1}"#.into(), "kind must be a non-empty string"),
        (r#"{"user_id":"a","metadata":1}"#.into(), "content is required"),
        (r#"{"user_id":"a","content":null,"metadata":1}"#.into(), "content must be a map"),
        (r#"{"user_id":"a","content":[{}],"metadata":1}"#.into(), "content must be a map"),
        (r#"{"user_id":"a","content":{},"metadata":null,"expected_seq":-1}"#.into(), "metadata must be a map"),
        (r#"{"user_id":"a","content":{},"metadata":"{}","expected_seq":-1}"#.into(), "metadata must be a map"),
        (r#"{"user_id":"a","content":{},"expected_seq":-1}"#.into(), "expected_seq must be a non-negative integer"),
        (r#"{"user_id":"a","content":{},"expected_seq":null}"#.into(), "expected_seq must be a non-negative integer"),
        (r#"{"user_id":"a","content":{},"expected_seq":"1x"}"#.into(), "expected_seq must be a non-negative integer"),
        (
            r#"{"user_id":"a","content":{},"idempotency_key":7}"#.into(),
            "idempotency_key must be a string of 1 to 255 bytes",
        ),
        (
            format!(r#"{{"user_id":"a","content":{{}},"idempotency_key":"{}"}}"#, "k".repeat(256)),
            "idempotency_key must be a string of 1 to 255 bytes",
        ),
        (format!(r#"{{"user_id":"{}","content":{{}}}}"#, "u".repeat(256)), "user_id must be at most 255 bytes"),
        (format!(r#"{{"agent_id":"{}","content":{{}}}}"#, "u".repeat(256)), "agent_id must be at most 255 bytes"),
        (format!(r#"{{"user_id":"a","kind":"{}","content":{{}}}}"#, "k".repeat(256)), "kind must be at most 255 bytes"),
        (
            format!(r#"{{"user_id":"a","content":{{"a":{}{}}}}}"#, "[".repeat(100), "]".repeat(100)),
            "content is nested too deeply",
        ),
        (
            format!(r#"{{"user_id":"a","content":{{}},"metadata":{{"a":{}{}}}}}"#, "[".repeat(100), "]".repeat(100)),
            "metadata is nested too deeply",
        ),
    ] {
        // The session is looked for last: this one cannot exist.
        assert_eq!(answered(&post("/api/sessions/x/messages", &body)), error(422, message), "{body}");
    }
    let last = answered(&post("/api/sessions/x/messages", r#"{"user_id":"a","content":{}}"#));
    assert_eq!(last, error(404, "Session not found"));
}

#[test]
fn the_idempotency_key_comes_by_header_or_field() {
    let body = r#"{"user_id":"a","content":{},"idempotency_key":"k","expected_seq":"7"}"#;
    let append = appended(&post(&path("/messages"), body));
    assert_eq!((append.idempotency_key.as_deref(), append.expected_seq), (Some("k"), Some(7)));
    let plain = post(&path("/messages"), r#"{"user_id":"a","content":{},"idempotency_key":null,"expected_seq":0}"#);
    let append = appended(&plain.with_header("Idempotency-Key", "h"));
    assert_eq!((append.idempotency_key.as_deref(), append.expected_seq), (Some("h"), Some(0)));
    assert!(appended(&post(&path("/messages"), body).with_header("idempotency-key", "k")).idempotency_key.is_some());
    let both = answered(&post(&path("/messages"), body).with_header("idempotency-key", "other"));
    assert_eq!(both, error(422, "The Idempotency-Key header and idempotency_key differ"));
}

#[test]
fn a_read_mark_is_lenient_about_its_seq_and_strict_about_its_reader() {
    for (seq, last_seq) in [("42", 42), ("\"42\"", 42), ("-1", 0), ("null", 0), ("\"x\"", 0)] {
        let body = format!(r#"{{"user_id":"alice","last_seq":{seq}}}"#);
        let (to, command, _) = called(&post(&path("/read"), &body));
        assert_eq!(to, Target::Owner(id()));
        assert_eq!(command, Command::MarkRead { session: id(), user_id: "alice".into(), last_seq });
    }
    for body in ["{}", r#"{"user_id":" "}"#, r#"{"user_id":7}"#] {
        assert_eq!(answered(&post(&path("/read"), body)), error(422, "user_id is required"), "{body}");
    }
    let (_, _, render) = called(&post(&path("/read"), r#"{"user_id":"b","last_seq":3}"#));
    let reply = Reply::Cursors { cursors: vec![("a".into(), 9), ("b".into(), 3)], session: json("{}"), last_seq: 9 };
    let response = render.one(Ok(reply));
    assert_eq!((response.status, text(&response)), (200, r#"{"session":{},"last_seq":3}"#));
}

#[test]
fn cursors_can_be_read_under_either_name() {
    for target in ["/read", "/cursors"] {
        let (_, command, render) = called(&get(&path(target)));
        assert_eq!(command, Command::ReadCursors { session: id() });
        let cursors = vec![("a".into(), 9), ("b\"".into(), 3)];
        let response = render.one(Ok(Reply::Cursors { cursors, session: json("{}"), last_seq: 9 }));
        assert_eq!(text(&response), r#"{"cursors":{"a":9,"b\"":3},"last_seq":9}"#);
    }
}

/// Contract 8.2 as far as it is decided here.
#[test]
fn agents_are_listed_read_created_changed_and_disabled() {
    for (query, enabled) in
        [("", None), ("?status=enabled", Some(true)), ("?status=disabled", Some(false)), ("?status=x", None)]
    {
        let (command, render) = agents(&get(&format!("/api/agents{query}")));
        assert_eq!(command, AgentCommand::List { enabled }, "{query}");
        assert_eq!(text(&render.one(Ok(Reply::Agents { agents: vec![] }))), r#"{"agents":[]}"#);
    }
    let (_, render) = agents(&get("/api/agents"));
    let response = render.one(Ok(Reply::Agents { agents: vec![json("1"), json("2")] }));
    assert_eq!((response.status, text(&response)), (200, r#"{"agents":[1,2]}"#));

    let (command, render) = agents(&get("/api/agents/a%20b"));
    assert_eq!(command, AgentCommand::Read { id: "a b".into() });
    assert_eq!(text(&render.clone().one(Ok(Reply::Agent { json: json("{}") }))), r#"{"agent":{}}"#);
    let response = render.one(Err(Refusal::AgentNotFound));
    assert_eq!((response.status, text(&response)), (404, r#"{"error":"Agent not found"}"#));

    let (command, render) = agents(&post("/api/agents", r#"{"agent":{"id":"a"}}"#));
    assert_eq!(command, AgentCommand::Create { fields: json(r#"{"id":"a"}"#) });
    assert_eq!(render.clone().one(Ok(Reply::Agent { json: json("{}") })).status, 201);
    let fields = BTreeMap::from([("id".to_owned(), vec!["can't be blank".to_owned()])]);
    let response = render.one(Err(Refusal::InvalidFields(fields)));
    assert_eq!((response.status, text(&response)), (422, r#"{"errors":{"id":["can't be blank"]}}"#));

    for method in [Method::Put, Method::Patch] {
        let (command, render) = agents(&with_json(method, "/api/agents/a", r#"{"agent":{"name":"n"}}"#));
        assert_eq!(command, AgentCommand::Update { id: "a".into(), fields: json(r#"{"name":"n"}"#) });
        assert_eq!(render.one(Ok(Reply::Agent { json: json("{}") })).status, 200);
    }
    let (command, render) = agents(&Request::new(Method::Delete, "/api/agents/a"));
    assert_eq!(command, AgentCommand::Disable { id: "a".into() });
    let response = render.one(Ok(Reply::Agent { json: json("{}") }));
    assert_eq!((response.status, text(&response)), (200, r#"{"agent":{},"message":"Agent disabled"}"#));
}

#[test]
fn an_agent_comes_in_its_wrapper() {
    for body in ["", "{}", "[]", r#"{"agent":1}"#, r#"{"agent":null}"#, r#"{"id":"a"}"#] {
        assert_eq!(answered(&post("/api/agents", body)), detail(400, "Bad Request"), "{body}");
        let put = with_json(Method::Put, "/api/agents/a", body);
        assert_eq!(answered(&put), detail(400, "Bad Request"), "{body}");
    }
    let deep = format!(r#"{{"agent":{{"headers":{}{}}}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(answered(&post("/api/agents", &deep)), error(422, "agent is nested too deeply"));
}

#[test]
fn unknown_routes_and_methods_are_not_found() {
    for request in [
        post("/", "{}"),
        get("/api"),
        get("/health"),
        get("/healthz"),
        get("/api/none"),
        get(&path("/none")),
        get("/socket"),
        post("/api/agents/a", "{}"),
        post("/metrics", "{}"),
        post("/health/live", "{}"),
        with_json(Method::Put, "/api/sessions", "{}"),
        Request::new(Method::Trace, "/api/agents"),
        Request::new(Method::Other("BREW".into()), "/api/agents"),
    ] {
        assert_eq!(answered(&request), detail(404, "Not Found"), "{} {}", request.method, request.path);
    }
}

#[test]
fn a_path_of_another_dialect_is_refused_in_its_words() {
    for (request, status, body) in [
        (get("/teams/t/u"), 404, r#"{"detail":"Not Found"}"#),
        (post("/api/agents/a/none/chat", "{}"), 404, r#"{"errors":{"detail":"Not Found"}}"#),
        (post("/api/agents/a/chat/none", "{"), 422, r#"{"detail":"Bad Request"}"#),
        (get("/api/chat/none"), 404, r#"{"error":"Not Found"}"#),
        (post("/api/chat/none", "{"), 400, r#"{"error":"Bad Request"}"#),
        (get("/api/events/none"), 404, r#"{"errors":{"detail":"Not Found"}}"#),
        (get(&path("/upload/none")), 404, r#"{"error":"Not Found"}"#),
    ] {
        assert_eq!(answered(&request), (status, body.to_owned()), "{} {}", request.method, request.path);
    }
}

#[test]
fn malformed_requests_are_bad_wherever_they_go() {
    assert_eq!(answered(&post("/api/none", "{")), detail(400, "Bad Request"));
    assert_eq!(answered(&get("/api/sessions?a=%zz")), detail(400, "Bad Request"));
    assert_eq!(answered(&get("/api/agents/%ff")), detail(400, "Bad Request"));
    assert_eq!(answered(&get("/socket/longpoll?a=%")), detail(400, "Bad Request"));
    let refused = refused(413, &CONTEXT);
    assert_eq!((refused.status, text(&refused)), (413, r#"{"errors":{"detail":"Request Entity Too Large"}}"#));
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn empty_segments_do_not_count_and_head_is_get() {
    assert_eq!(agents(&get("//api///agents/")).0, AgentCommand::List { enabled: None });
    assert_eq!(agents(&Request::new(Method::Head, "/api/agents")).0, AgentCommand::List { enabled: None });
}

#[test]
fn a_post_may_name_another_method_in_its_body() {
    let (command, _) = agents(&post("/api/agents/a", r#"{"_method":"delete"}"#));
    assert_eq!(command, AgentCommand::Disable { id: "a".into() });
    let form = Request::new(Method::Post, "/api/agents/a")
        .with_header("content-type", "application/x-www-form-urlencoded")
        .with_body("_method=PUT&agent[name]=n");
    assert_eq!(agents(&form).0, AgentCommand::Update { id: "a".into(), fields: json(r#"{"name":"n"}"#) });
    for request in [post("/api/agents/a", r#"{"_method":"GET"}"#), post("/api/agents/a?_method=DELETE", "{}")] {
        assert_eq!(answered(&request), detail(404, "Not Found"));
    }
}

#[test]
fn what_excludes_json_is_not_acceptable() {
    for accept in [
        "*/*",
        "application/json",
        "text/html, application/*;q=0.5",
        "text/html,*/*;q=0.8",
        "application/vnd.api+json",
        "Application/JSON; q=1",
        "",
    ] {
        called(&get("/api/agents").with_header("accept", accept));
    }
    for accept in
        ["text/html", "application/xml", "text/html;q=1, application/json;q=0", "*/*;q=0", "application/json;q=0,*/*"]
    {
        let request = get("/api/agents").with_header("accept", accept);
        assert_eq!(answered(&request), detail(406, "Not Acceptable"), "{accept}");
    }
    assert_eq!(answered(&get("/api/none").with_header("accept", "text/html")), detail(404, "Not Found"));
}

#[test]
fn options_of_any_path_is_a_preflight() {
    for target in ["/", "/api/agents", "/none", "*"] {
        let request = Request::new(Method::Options, target).with_header("access-control-request-headers", "x-a");
        let Route::Respond(response) = route(&request, &CONTEXT) else { panic!("{target}") };
        assert_eq!((response.status, text(&response)), (204, ""));
        assert_eq!(response.header("access-control-allow-headers"), Some("x-a"));
        assert_eq!(response.header("access-control-allow-methods"), Some("GET,POST,PUT,PATCH,DELETE,OPTIONS"));
    }
}

#[test]
fn health_and_metrics_are_the_servers() {
    assert!(matches!(route(&get("/health/live"), &CONTEXT), Route::Health(Health::Live, _)));
    assert!(matches!(route(&get("/health/ready"), &CONTEXT), Route::Health(Health::Ready, _)));
    let request = Request::new(Method::Head, "/metrics").with_header("accept", "text/plain");
    assert!(matches!(route(&request, &CONTEXT), Route::Metrics(_)));
    assert!(matches!(route(&get("/api/storage?limit=3"), &CONTEXT), Route::Storage(..)));
}

#[test]
fn a_socket_is_connected_by_user_or_agent_and_version() {
    for (query, identity, vsn) in [
        ("?user_id=alice&vsn=2.0.0", "alice", Vsn::V2),
        ("?agent_id=bot", "bot", Vsn::V1),
        ("?user_id=alice&agent_id=bot&vsn=1.0.3", "alice", Vsn::V1),
        ("?user_id=&vsn=2.0.0", "", Vsn::V2),
        ("?user_id=a%40b+c", "a@b c", Vsn::V1),
    ] {
        let Route::Socket(connect, _) = route(&get(&format!("/socket/websocket{query}")), &CONTEXT) else {
            panic!("{query}")
        };
        assert_eq!(connect, Connect { identity: identity.into(), vsn }, "{query}");
    }
    let long = format!("?user_id={}", "x".repeat(256));
    for query in
        ["", "?vsn=2.0.0", "?user_id=a&vsn=3.0.0", "?user_id=a&vsn=", "?user_id[x]=a&agent_id=b", "?user_id=%", &long]
    {
        assert_eq!(answered(&get(&format!("/socket/websocket{query}"))), (403, String::new()), "{query}");
    }
    for method in [Method::Post, Method::Head, Method::Options] {
        let request = Request::new(method, "/socket/websocket?user_id=a");
        assert_eq!(answered(&request), (400, String::new()));
    }
}

#[test]
fn long_polling_opens_polls_and_posts() {
    let token = Token { random: 9, shard: 3 };
    let connect = Connect { identity: "a".into(), vsn: Vsn::V2 };
    let routed = |request: &Request| match route(request, &CONTEXT) {
        Route::LongPoll(request, _) => request,
        route => panic!("{route:?}"),
    };
    let query = "/socket/longpoll?user_id=a&vsn=2.0.0";
    for tail in ["", "&token=", "&token=null", "&token=abc"] {
        let opened = routed(&get(&format!("{query}{tail}")));
        assert_eq!(opened, LongPollRequest::Open(connect.clone()), "{tail}");
    }
    let poll = LongPollRequest::Poll { token, otherwise: Some(connect) };
    assert_eq!(routed(&get(&format!("{query}&token={token}"))), poll);
    assert_eq!(routed(&get(query).with_header("X-Phoenix-Longpoll-Token", &token.to_string())), poll);

    let heartbeat = r#"[null,"1","phoenix","heartbeat",{}]"#;
    let one = Request::new(Method::Post, &format!("{query}&token={token}")).with_body(heartbeat);
    let LongPollRequest::Batch { token: to, messages: Ok(messages) } = routed(&one) else { panic!() };
    assert_eq!((to, messages.len()), (token, 1));
    let two = Request::new(Method::Post, &format!("{query}&token={token}"))
        .with_header("content-type", "application/x-ndjson")
        .with_body(format!("{heartbeat}\n{heartbeat}"));
    assert!(matches!(routed(&two), LongPollRequest::Batch { messages: Ok(messages), .. } if messages.len() == 2));
    let broken = two.with_body("[]");
    assert!(matches!(routed(&broken), LongPollRequest::Batch { messages: Err(_), .. }));
}

#[test]
fn long_polling_carries_its_status_in_the_body() {
    assert_eq!(answered(&get("/socket/longpoll")), (200, r#"{"status":403}"#.into()));
    assert_eq!(answered(&post("/socket/longpoll?user_id=a", "[]")), (200, r#"{"status":410}"#.into()));
    assert_eq!(answered(&with_json(Method::Put, "/socket/longpoll?user_id=a", "[]")), (400, String::new()));
    let Route::Respond(preflight) = route(&Request::new(Method::Options, "/socket/longpoll"), &CONTEXT) else {
        panic!()
    };
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("get, post, options"));
    assert_eq!(preflight.header("access-control-max-age"), Some("3600"));
}

#[test]
fn a_reply_that_does_not_fit_its_call_is_our_fault() {
    let (_, _, render) = called(&get(&path("")));
    let response = render.one(Ok(Reply::Done));
    assert_eq!((response.status, text(&response)), (500, r#"{"errors":{"detail":"Internal Server Error"}}"#));
}
