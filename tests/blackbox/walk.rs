//! A walk of a stranger through every route that the served description names, with another tenant's ids in every place where an id can stand.
//!
//! The claim is stronger than "refused": an answer to an id of the other tenant's is the answer to an id that never was (same status, same
//! body but for the id), so that nobody learns even that it is there. A route without a door here fails the test.
//!
//! One exception is the hub's page's: it wants 403 for a session of another namespace and 404 for one that is not there. Its ids are 80
//! random bits, or a hash of names that a stranger would have to know; that one of them is taken is all that is told.

use crate::harness::agent::Agent;
use crate::harness::guard::{ADMIN, Guarded, call_as, signed, user_token};
use crate::harness::http::request;
use crate::harness::{Answer, Call, Connection, Value, json};
use std::collections::BTreeSet;

/// Stands in everything of the first tenant's.
const MARK: &str = "only-for-tenant-a";

/// What the hub's page wants for a session of another namespace, and for one that is not there.
const DENIED: &str = r#"403 {"error":"Session access denied"}"#;
const NOT_FOUND: &str = r#"404 {"error":"Session not found"}"#;

/// Names of things, one of each kind, in each place where a request can have one.
#[derive(Clone, Debug)]
struct Ids {
    /// One that FleetLM's API made, a conversation, a main session.
    sessions: [String; 3],
    /// The answer that was rated, in the first of them.
    message: String,
    run: String,
    agent: String,
    team: String,
    /// Of a file of the first session.
    hash: String,
    key: String,
}

impl Ids {
    /// The same kinds of names, of nothing that ever was.
    fn of_nothing(&self) -> Self {
        let other = |id: &String| {
            let (stem, last) = id.split_at(id.len() - 1);
            format!("{stem}{}", if last == "0" { '1' } else { '0' })
        };
        let sessions = self.sessions.each_ref().map(other);
        Self {
            message: self.message.replace(&self.sessions[0], &sessions[0]),
            sessions,
            run: other(&self.run),
            agent: "nob".to_owned(),
            team: "werc".to_owned(),
            hash: other(&self.hash),
            key: other(&self.key),
        }
    }

    fn all(&self) -> Vec<&String> {
        let mut all: Vec<&String> = vec![&self.message];
        all.extend(&self.sessions);
        all.extend([&self.run, &self.hash, &self.key, &self.agent, &self.team]);
        all
    }

    fn file(&self, session: &str) -> String {
        format!("api/sessions/{session}/files/{}/a.txt", self.hash)
    }

    /// The text with every name replaced by what it is a name of.
    fn without(&self, text: &str) -> String {
        self.all().iter().zip(0..).fold(text.to_owned(), |text, (id, at)| text.replace(*id, &format!("<{at}>")))
    }
}

/// What one request has behind its path: a query, a body, who speaks.
#[derive(Clone, Debug, Default)]
struct Knock {
    query: String,
    body: Option<Value>,
    dialect: Option<&'static str>,
}

fn plain() -> Knock {
    Knock::default()
}

fn with(body: Value) -> Knock {
    Knock { body: Some(body), ..plain() }
}

fn asked(query: String) -> Knock {
    Knock { query, ..plain() }
}

/// How to knock at a route. `None`: nobody has thought of it yet.
fn knocks(method: &str, route: &str, ids: &Ids, session: &str) -> Option<Vec<Knock>> {
    at_sessions(method, route, ids, session).or_else(|| at_agents(method, route, ids, session))
}

fn at_sessions(method: &str, route: &str, ids: &Ids, session: &str) -> Option<Vec<Knock>> {
    let agent = &ids.agent;
    let text = json!({"user_id": "alice", "content": {"text": "x"}});
    let spoken = |body: Value, dialect| Knock { dialect: Some(dialect), ..with(body) };
    let seen = |query: &str, dialect| Knock { dialect: Some(dialect), ..asked(query.to_owned()) };
    Some(match (method, route) {
        ("GET", "/sessions") => vec![asked(format!("?before={session}")), asked("?user_id=alice".to_owned())],
        ("POST", "/sessions") => vec![with(json!({"user_id": "alice", "agent_id": agent}))],
        ("GET", "/sessions/{id}" | "/sessions/{id}/cursors" | "/sessions/{id}/feedback" | "/sessions/{id}/read") => {
            vec![plain()]
        }
        ("PATCH", "/sessions/{id}") => vec![with(json!({"title": "x"}))],
        ("DELETE", "/sessions/{id}") => vec![plain(), asked("?permanent=true".to_owned())],
        ("GET", "/sessions/{id}/messages") => {
            vec![plain(), seen("?limit=9", "hapi"), seen("?after_seq=0", "fleetlm"), asked("?beforeSeq=9".to_owned())]
        }
        ("POST", "/sessions/{id}/messages") => vec![
            with(text.clone()),
            with(json!({"user_id": "alice", "content": {"text": MARK}, "idempotency_key": "first"})),
            with(json!({"agent_id": agent, "content": {}})),
            spoken(json!({"text": "x", "localId": "first"}), "hapi"),
            spoken(
                json!({"text": "x", "attachments": [{"id": "a", "filename": "a", "mimeType": "m", "size": 1,
                "path": ids.file(session)}]}),
                "hapi",
            ),
        ],
        ("POST", "/sessions/{id}/read") => vec![with(json!({"user_id": "alice", "last_seq": 1}))],
        ("POST", "/sessions/{id}/abort" | "/sessions/{id}/runs/{run_id}/stop") => vec![with(json!({}))],
        ("POST", "/sessions/{id}/upload") => {
            vec![with(json!({"filename": "a", "content": "eA==", "mimeType": "text/plain"}))]
        }
        ("POST", "/sessions/{id}/upload/delete") => vec![with(json!({"path": ids.file(session)}))],
        ("GET", "/sessions/{id}/files/{hash}/{name}") => vec![plain()],
        ("GET", "/events") => vec![asked(format!("?sessionId={session}"))],
        _ => return None,
    })
}

fn at_agents(method: &str, route: &str, ids: &Ids, session: &str) -> Option<Vec<Knock>> {
    let (agent, message) = (&ids.agent, &ids.message);
    let ask =
        |agent: &str| json!({"message": "hi", "agentId": agent, "sessionId": session, "conversation_id": session});
    let origin = "http://127.0.0.1:9";
    Some(match (method, route) {
        ("GET", "/agents") => vec![plain(), asked("?status=enabled".to_owned())],
        ("POST", "/agents") => vec![
            with(json!({"agent": {"id": agent, "name": "b's own", "origin_url": origin}})),
            with(json!({"agent": {"name": "team", "team": {"members": [agent], "summarizer": agent}}})),
        ],
        ("GET" | "DELETE", "/agents/{id}") | ("GET", "/agents/{id}/deliveries") => vec![plain()],
        ("PUT" | "PATCH", "/agents/{id}") => vec![with(json!({"agent": {"name": "taken"}}))],
        ("POST", "/agents/{id}/chat" | "/agents/{id}/chat/stream") => {
            vec![with(json!({"message": "hi"})), with(ask(agent))]
        }
        ("GET", "/agents/{id}/conversations" | "/agents/{id}/inbox") => vec![plain()],
        ("POST", "/agents/{id}/conversations") => vec![with(json!({"title": "x"}))],
        ("GET", "/agents/{id}/history") => vec![plain(), asked(format!("?conversation_id={session}"))],
        ("DELETE", "/agents/{id}/conversations/{conv_id}") => vec![plain()],
        ("PUT" | "PATCH", "/agents/{id}/conversations/{conv_id}") => vec![with(json!({"title": "x"}))],
        ("POST", "/agents/{id}/mark-read") => vec![
            plain(),
            with(json!({"conversation_id": session})),
            with(json!({"message_id": message})),
            with(json!({"conversation_id": session, "last_seq": 1})),
        ],
        ("GET", "/chat/history") => vec![asked(format!("?agentId={agent}")), asked(format!("?sessionId={session}"))],
        ("POST", "/chat/message") => {
            vec![
                with(ask(agent)),
                with(json!({"message": "hi", "sessionId": session})),
                with(json!({"message": "hi", "agentId": agent})),
            ]
        }
        ("POST", "/chat/feedback") => vec![with(json!({"messageId": message, "rating": 1}))],
        ("GET", "/keys" | "/teams" | "/teams/{id}") | ("DELETE", "/keys/{id}" | "/teams/{id}") => vec![plain()],
        ("POST", "/keys") => vec![with(json!({"name": "x", "namespace": "a"}))],
        ("POST", "/teams") => vec![with(json!({"name": "T", "agents": [agent]}))],
        ("PUT", "/teams/{id}") => vec![with(json!({"name": "taken", "agents": [agent]}))],
        ("POST", "/teams/{id}/agents") => vec![with(json!({"agent_id": agent}))],
        ("POST" | "DELETE", "/teams/{id}/agents/{agent_id}") => vec![plain()],
        ("POST", "/teams/{id}/chat") => {
            vec![with(json!({"message": "hi"})), with(json!({"message": "hi", "conversation_id": session}))]
        }
        // What has no tenant: the console's files are the same for everybody; numbers of the whole server are the default namespace's to read.
        (
            "GET",
            "/metrics" | "/storage" | "/health/live" | "/health/ready" | "/openapi.json" | "/" | "/console/{file}",
        )
        | ("POST", "/auth" | "/auth/login") => vec![],
        // `no_topic_leads_to_another_tenant`, `a_long_poll_is_its_openers_alone`, and the tests of sockets and streams below.
        ("GET", "/chat/ws" | "/socket/websocket") | ("GET" | "POST", "/socket/longpoll") => vec![],
        _ => return None,
    })
}

/// The knocks of a stranger who has an agent, a team and a session of its own at its own doors, with the other one's ids in them.
fn crossed(ids: &Ids, session: &str, own: &Own) -> Vec<(&'static str, String, Knock)> {
    let at = |below: &str| format!("/api/agents/echo/{below}");
    let attached = json!([{"id": "a", "filename": "a", "mimeType": "m", "size": 1, "path": ids.file(session)}]);
    let own_session = &own.session;
    let mut doors = vec![
        ("GET", at(&format!("history?conversation_id={session}")), plain()),
        ("POST", at("chat"), with(json!({"message": "hi", "conversation_id": session}))),
        ("POST", at("chat/stream"), with(json!({"message": "hi", "conversation_id": session}))),
        ("POST", at("mark-read"), with(json!({"conversation_id": session}))),
        ("POST", at("mark-read"), with(json!({"message_id": ids.message}))),
        (
            "POST",
            "/api/chat/message".to_owned(),
            with(json!({"message": "hi", "agentId": "echo", "sessionId": session})),
        ),
        ("POST", format!("/api/sessions/{own_session}/upload/delete"), with(json!({"path": ids.file(session)}))),
        ("GET", format!("/api/sessions/{own_session}/files/{}/a.txt", ids.hash), plain()),
        ("POST", format!("/api/sessions/{own_session}/messages"), with(json!({"text": "x", "attachments": attached}))),
        ("POST", format!("/api/sessions/{own_session}/runs/{}/stop", ids.run), with(json!({}))),
        ("POST", format!("/api/teams/{}/agents", own.team), with(json!({"agent_id": ids.agent}))),
        ("DELETE", format!("/api/teams/{}/agents/{}", own.team, ids.agent), plain()),
        ("POST", format!("/api/teams/{}/agents/{}", own.team, ids.agent), plain()),
        ("DELETE", format!("/api/teams/{}/agents/{}", own.team, ids.agent), plain()),
        ("PUT", format!("/api/teams/{}", own.team), with(json!({"agents": [ids.agent]}))),
        ("POST", format!("/api/teams/{}/chat", own.team), with(json!({"message": "hi", "conversation_id": session}))),
    ];
    for method in ["PUT", "PATCH", "DELETE"] {
        let body = (method != "DELETE").then(|| json!({"title": "x"}));
        doors.push((method, at(&format!("conversations/{session}")), Knock { body, ..plain() }));
    }
    doors
}

/// What the stranger has.
struct Own {
    session: String,
    team: String,
}

struct World {
    guarded: Guarded,
    _agent: Agent,
    /// An answer of the first tenant's that is under way.
    under_way: Call,
    /// Keys of the whole namespaces.
    a: String,
    b: String,
    ids: Ids,
    own: Own,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is a text")).to_owned()
}

/// One of everything for the first tenant.
fn world() -> World {
    let guarded = Guarded::start(&[]);
    let agent = Agent::start();
    let key = |namespace: &str| guarded.key(&json!({"name": MARK, "namespace": namespace, "user": "alice"}));
    let ((key_id, a), (_, b)) = (key("a"), key("b"));
    let as_a = |method: &str, path: &str, body: Value| guarded.call(&a, method, path, Some(&body));
    let fields = json!({"id": "bot", "name": MARK, "origin_url": agent.url(), "description": MARK,
        "debounce_window_ms": 0, "timeout_ms": 600_000});
    as_a("POST", "/api/agents", json!({ "agent": fields })).expect(201);
    let team = json!({"id": "crew", "name": MARK, "team": {"members": ["bot"]}});
    as_a("POST", "/api/agents", json!({ "agent": team })).expect(201);
    let made = json!({"user_id": "alice", "agent_id": "bot", "title": MARK, "metadata": {"x": MARK}});
    let session = text(&as_a("POST", "/api/sessions", made).expect(201)["session"]["id"]);
    let at = |below: &str| format!("/api/sessions/{session}{below}");
    let said = json!({"agent_id": "bot", "kind": "assistant", "content": {"text": MARK}, "idempotency_key": "first"});
    as_a("POST", &at("/messages"), said).expect(200);
    let message = format!("msg_{session}_1");
    as_a("POST", "/api/chat/feedback", json!({"messageId": message, "rating": 5, "comment": MARK})).expect(200);
    let file = json!({"filename": "a.txt", "content": "b25seQ==", "mimeType": "text/plain"});
    let path = text(&as_a("POST", &at("/upload"), file).expect(200)["path"]);
    let hash = path.rsplit('/').nth(1).expect("a hash").to_owned();
    let conversation = text(&as_a("POST", "/api/agents/bot/conversations", json!({"title": MARK})).expect(200)["id"]);
    let main = text(&as_a("POST", "/api/agents/echo/chat", json!({"message": MARK})).expect(200)["conversation_id"]);
    as_a("POST", &at("/messages"), json!({"user_id": "alice", "content": {"text": MARK}})).expect(200);
    let under_way = agent.call();
    let run = under_way.run_id();
    let own = guarded.call(&b, "POST", "/api/sessions", Some(&json!({"user_id": "alice", "agent_id": "echo"})));
    let board = guarded.call(&b, "POST", "/api/teams", Some(&json!({"name": "Board", "agents": ["echo"]})));
    let own = Own { session: text(&own.expect(201)["session"]["id"]), team: text(&board.expect(200)["id"]) };
    let sessions = [session, conversation, main];
    let ids = Ids { sessions, message, run, agent: "bot".into(), team: "crew".into(), hash, key: key_id };
    World { guarded, _agent: agent, under_way, a, b, ids, own }
}

impl World {
    fn knock(&self, token: &str, method: &str, path: &str, knock: &Knock) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(knock.dialect.map(|dialect| ("x-dialect", dialect)));
        let mut connection = self.guarded.server.connect();
        connection.send(request(method, &format!("{path}{}", knock.query), &headers, knock.body.as_ref()));
        connection.answer()
    }

    /// Everything of the first tenant's that can be read, as it reads it.
    fn holdings(&self) -> Vec<(String, String)> {
        let mut paths: Vec<String> = [
            "/api/agents",
            "/api/agents/bot",
            "/api/agents/crew",
            "/api/teams",
            "/api/teams/crew",
            "/api/sessions",
            "/api/sessions?user_id=alice",
            "/api/agents/bot/history",
            "/api/agents/bot/conversations",
            "/api/agents/bot/inbox",
            "/api/agents/echo/history",
            "/api/chat/history",
        ]
        .map(str::to_owned)
        .into();
        for session in &self.ids.sessions {
            let below = ["", "/messages", "/cursors", "/read", "/feedback"];
            paths.extend(below.map(|below| format!("/api/sessions/{session}{below}")));
        }
        paths.push(format!("/{}", self.ids.file(&self.ids.sessions[0])));
        let read = |path: String| {
            let answer = self.guarded.call(&self.a, "GET", &path, None);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            (path, answer.text().to_owned())
        };
        let mut all: Vec<_> = paths.into_iter().map(read).collect();
        all.push(("keys".to_owned(), call_as(&self.guarded.server, ADMIN, "GET", "/api/keys", None).text().to_owned()));
        all
    }

    /// All requests with these ids, in an order that does not depend on them.
    fn requests(&self, ids: &Ids) -> Vec<(String, String, Knock)> {
        let document = self.guarded.server.get("/api/openapi.json").expect(200);
        let mut requests = Vec::new();
        for (template, methods) in document["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys() {
                let method = method.to_uppercase();
                let route = template.strip_prefix("/api").unwrap_or(template);
                for session in &ids.sessions {
                    let knocks = knocks(&method, route, ids, session);
                    let knocks = knocks.unwrap_or_else(|| panic!("{method} {template} has no door in this test"));
                    let path = filled(template, ids, session);
                    requests.extend(knocks.into_iter().map(|knock| (method.clone(), path.clone(), knock)));
                }
            }
        }
        for session in &ids.sessions {
            let doors = crossed(ids, session, &self.own).into_iter();
            requests.extend(doors.map(|(method, path, knock)| (method.to_owned(), path, knock)));
        }
        requests
    }
}

/// The path of a route with these ids in it.
fn filled(template: &str, ids: &Ids, session: &str) -> String {
    let is_of = |kind: &str| template.contains(&format!("/{kind}/{{id}}"));
    let id = match () {
        () if is_of("sessions") => session,
        () if is_of("agents") => &ids.agent,
        () if is_of("teams") => &ids.team,
        () if is_of("keys") => &ids.key,
        () => "",
    };
    let names = [
        ("{conv_id}", session),
        ("{run_id}", &ids.run),
        ("{agent_id}", &ids.agent),
        ("{hash}", &ids.hash),
        ("{name}", "a.txt"),
        ("{file}", "console.css"),
    ];
    let path = names.iter().fold(template.replace("{id}", id), |path, (name, value)| path.replace(name, value));
    assert!(!path.contains('{'), "{template} has a place for an id that this test does not know");
    path
}

/// What of an answer must not depend on whose ids were asked with: of a refusal all of it, of a success its fields.
fn shape(ids: &Ids, answer: &Answer) -> String {
    fn fields(value: &Value) -> Value {
        match value {
            Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), fields(value))).collect(),
            // What a stranger has itself grows as it knocks.
            Value::Array(_) => json!("list"),
            Value::String(_) => json!("text"),
            other => json!(std::mem::discriminant(other) == std::mem::discriminant(&json!(0))),
        }
    }
    let body = match (answer.status, serde_json::from_slice::<Value>(&answer.body)) {
        (200..300, Ok(body)) => fields(&body).to_string(),
        _ => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    format!("{} {}", answer.status, ids.without(&body))
}

#[test]
fn what_is_anothers_is_answered_as_what_never_was_by_every_route_and_stays_as_it_is() {
    let world = world();
    let (ids, nothing) = (&world.ids, world.ids.of_nothing());
    let guarded = &world.guarded;
    let twins = [
        world.b.clone(),
        user_token("b", "alice", 600),
        user_token("default", "alice", 600),
        guarded.key(&json!({"name": "d", "user": "alice"})).1,
        guarded.key(&json!({"name": "r", "namespace": "b", "scope": "read"})).1,
    ];
    let lock =
        json!({"sub": "alice", "ns": "b", "session": ids.sessions[0], "exp": crate::harness::guard::now_s() + 600});
    let others = [
        guarded.key(&json!({"name": "x", "namespace": "b", "scope": "agent:bot"})).1,
        guarded.key(&json!({"name": "y", "namespace": "b", "scope": "team:crew"})).1,
        signed(&json!({"alg": "HS256"}), &lock),
    ];
    let before = world.holdings();
    assert!(before.iter().filter(|(_, body)| body.contains(MARK)).count() > 15, "{before:?}");
    let mut differ = BTreeSet::new();
    for (n, token) in twins.iter().chain(&others).enumerate() {
        for ((method, path, knock), (_, other, blank)) in world.requests(ids).into_iter().zip(world.requests(&nothing))
        {
            let answer = world.knock(token, &method, &path, &knock);
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            let is_told = |id: &String| id.len() > 8 && said.contains(id.as_str()) && answer.status < 300;
            assert!(!said.contains(MARK), "{n}: {method} {path} {knock:?}: {said}");
            assert!(!ids.all().into_iter().any(is_told), "{n}: {method} {path} {knock:?}: {said}");
            let expected = shape(&nothing, &world.knock(token, &method, &other, &blank));
            let ours = shape(ids, &answer);
            let is_as_printed = ours == DENIED && expected == NOT_FOUND;
            if n < twins.len() && ours != expected && !is_as_printed {
                differ.insert(format!("{n}: {method} {path} {knock:?}: {ours}, of nothing {expected}"));
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    for (was, is) in before.iter().zip(world.holdings()) {
        assert_eq!(*was, is, "nothing has changed");
    }
    assert!(
        { world.under_way }.say(&json!({"type": "text-delta", "id": "t", "delta": "still asked"})),
        "nor was it stopped"
    );
}

/// Reads a stream's bytes up to a text.
fn read_until(connection: &mut Connection, head: &mut String, wanted: &str) {
    while !head.contains(wanted) {
        *head += &connection.piece();
    }
}

#[test]
fn a_stream_of_all_events_tells_its_own_tenants_only() {
    let world = world();
    let (guarded, a, b) = (&world.guarded, &world.a, &world.b);
    let mut stream = guarded.server.connect();
    let bearer = format!("Bearer {b}");
    stream.send(request("GET", "/api/events?all=true", &[("authorization", &bearer), ("x-user-id", "alice")], None));
    let mut heard = String::new();
    read_until(&mut stream, &mut heard, "connection-changed");
    let say = |token: &str, session: &str, text: &str| {
        let body = json!({"user_id": "alice", "content": {"text": text}});
        guarded.call(token, "POST", &format!("/api/sessions/{session}/messages"), Some(&body)).expect(200);
    };
    world.ids.sessions.iter().for_each(|session| say(a, session, MARK));
    say(b, &world.own.session, "its own, said later");
    read_until(&mut stream, &mut heard, "its own, said later");
    assert!(!heard.contains(MARK), "{heard}");
    assert!(!world.ids.sessions.iter().any(|session| heard.contains(session.as_str())), "{heard}");
}

#[test]
fn a_chat_socket_reaches_neither_agents_nor_sessions_of_another_tenant() {
    let world = world();
    let nothing = world.ids.of_nothing();
    let server = &world.guarded.server;
    let url = format!("ws://{}/api/chat/ws?token={}", server.address(), user_token("b", "alice", 600));
    let (mut socket, _) =
        tungstenite::client(url, server.open().expect("the server accepts")).expect("the socket is accepted");
    let mut ask = |ids: &Ids, frame: Value| {
        socket.send(tungstenite::Message::text(frame.to_string())).expect("the socket is open");
        ids.without(socket.read().expect("the server answers").to_text().expect("a text"))
    };
    for at in 0..3 {
        let frames = |ids: &Ids| {
            let session = &ids.sessions[at];
            [
                json!({"message": "hi", "agentId": ids.agent}),
                json!({"message": "hi", "agentId": ids.team}),
                json!({"message": "hi", "sessionId": session}),
                json!({"message": "hi", "agentId": "echo", "sessionId": session}),
            ]
        };
        for (theirs, none) in frames(&world.ids).into_iter().zip(frames(&nothing)) {
            let told = ask(&world.ids, theirs.clone());
            assert!(told.contains("\"error\"") && !told.contains(MARK), "{theirs}: {told}");
            assert_eq!(told, ask(&nothing, none), "{theirs}");
        }
    }
}
