//! Keys and tokens at every door: who is let in, what he may do there, and when he has to leave.

use crate::harness::guard::{ADMIN, Guarded, SECRET, call_as, now_s, signed, signed_text, user_token};
use crate::harness::http::request;
use crate::harness::websocket::upgrade_request;
use crate::harness::{Answer, Folder, HANG, Options, Server, Socket, Value, json, server, unique};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

const UPGRADE: &str = "user_id=alice&vsn=2.0.0";

fn upgraded(server: &Server, query: &str, more: &str) -> u16 {
    let mut connection = server.connect();
    connection.send(upgrade_request(query, more));
    connection.answer().status
}

fn polled(server: &Server, query: &str, headers: &[(&str, &str)]) -> Value {
    let mut connection = server.connect();
    connection.send(request("GET", &format!("/socket/longpoll?{query}"), headers, None));
    connection.answer().expect(200)
}

fn error_of(answer: &Answer) -> String {
    let body = answer.json();
    let text = if body["detail"].is_string() { &body["detail"] } else { &body["error"] };
    text.as_str().unwrap_or_else(|| panic!("an error has a text: {body}")).to_owned()
}

#[test]
fn an_open_server_on_an_address_for_all_does_not_start_unless_told_to() {
    let folder = Folder::new();
    let exposed = |flags: &[&str]| {
        let options = Options { listen: "0.0.0.0:0".to_owned(), ..Options::default() }.flags(flags);
        Server::try_on(folder.path(), &options)
    };
    let Err((status, log)) = exposed(&[]) else { panic!("it starts") };
    assert!(!status.success() && log.contains("--auth required") && log.contains("--insecure-open"), "{log}");
    assert!(exposed(&["--insecure-open"]).is_ok());
    assert!(exposed(&["--auth", "required"]).is_ok());
    let by_port = server::binary().env("PORT", "0").arg("--data-dir").arg(folder.path()).output().expect("it runs");
    assert!(String::from_utf8_lossy(&by_port.stderr).contains("--insecure-open"));
}

#[test]
fn without_a_token_every_door_is_closed_in_the_words_of_its_dialect() {
    let guarded = Guarded::start(&[]);
    for (method, path, text) in [
        ("GET", "/api/sessions", "Not authenticated"),
        ("GET", "/api/agents", "Not authenticated"),
        ("POST", "/api/agents/x/chat", "Not authenticated"),
        ("POST", "/teams/x/chat", "Not authenticated"),
        ("POST", "/api/chat/message", "Not authenticated"),
        ("GET", "/api/chat/ws", "Not authenticated"),
        ("GET", "/api/events", "Missing authorization token"),
        ("GET", "/api/sessions/x/messages?beforeSeq=1", "Missing authorization token"),
        ("GET", "/api/sessions/x/messages?after_seq=1", "Not authenticated"),
        ("GET", "/metrics", "Not authenticated"),
        ("GET", "/api/keys", "Not authenticated"),
        ("GET", "/no/such/path", "Not authenticated"),
    ] {
        let answer = guarded.server.call(method, path, &[], None);
        assert_eq!((answer.status, error_of(&answer).as_str()), (401, text), "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let is_teammate = path.contains("teams") || path.ends_with("/chat");
        assert_eq!(answer.json()["detail"].is_string(), is_teammate, "{path}");
    }
    assert_eq!(upgraded(&guarded.server, UPGRADE, ""), 401);
    assert_eq!(polled(&guarded.server, UPGRADE, &[])["status"], 403);
    assert_eq!(guarded.server.get("/health/ready").status, 200);
    assert_eq!(guarded.server.call("OPTIONS", "/api/sessions", &[], None).status, 204);
}

/// Each with what it is.
pub(super) fn bad_tokens() -> Vec<(&'static str, String)> {
    let claims = |more: Value| {
        let mut claims = json!({"sub": "alice", "exp": now_s() + 60});
        let more = more.as_object().expect("an object").clone();
        claims.as_object_mut().expect("an object").extend(more);
        signed(&json!({"alg": "HS256"}), &claims)
    };
    let good = user_token("default", "alice", 60);
    let exp = now_s() + 60;
    vec![
        ("nothing", String::new()),
        ("a word", "x".to_owned()),
        ("an unknown key", ADMIN.replace("M954CH", "M954CJ")),
        ("a key with another secret", ADMIN.replace("_AbCd", "_BbCd")),
        ("half a key", ADMIN[..40].to_owned()),
        ("no algorithm", signed(&json!({"alg": "none"}), &json!({"sub": "alice", "exp": exp}))),
        ("another algorithm", signed(&json!({"alg": "HS512"}), &json!({"sub": "alice", "exp": exp}))),
        ("a public key's algorithm", signed(&json!({"alg": "RS256"}), &json!({"sub": "alice", "exp": exp}))),
        ("critical extensions", signed(&json!({"alg": "HS256", "crit": ["b64"]}), &json!({"sub": "a", "exp": exp}))),
        ("another secret", signed_text(r#"{"alg":"HS256"}"#, &json!({"sub": "a", "exp": exp}).to_string(), "other")),
        ("no signature", good.rsplit_once('.').expect("it has dots").0.to_owned() + "."),
        ("a dot more", format!("{good}.")),
        ("bad base64", format!("{good}!")),
        ("an end long ago", signed(&json!({"alg": "HS256"}), &json!({"sub": "alice", "exp": 1}))),
        ("no end", signed(&json!({"alg": "HS256"}), &json!({"sub": "alice"}))),
        ("an end as text", claims(json!({"exp": "9999999999"}))),
        ("an end with a fraction", claims(json!({"exp": 9_999_999_999.5}))),
        ("a beginning far off", claims(json!({"nbf": exp + 600}))),
        ("somebody else's audience", claims(json!({"aud": "others"}))),
        ("no user", signed(&json!({"alg": "HS256"}), &json!({"exp": exp}))),
        ("a namespace that is none", claims(json!({"ns": "a/b"}))),
        ("a scope that is none", claims(json!({"scope": "admin"}))),
        ("a key that is not there", claims(json!({"key": "01K6GR2EV9Z7PSMEVVJ5M954CJ"}))),
        ("claims twice", signed_text(r#"{"alg":"HS256"}"#, &format!(r#"{{"sub":"a","sub":"b","exp":{exp}}}"#), SECRET)),
        ("nine kilobytes", claims(json!({"padding": "x".repeat(9 * 1024)}))),
    ]
}

#[test]
fn bad_tokens_of_every_kind_open_no_door() {
    let guarded = Guarded::start(&[]);
    let server = &guarded.server;
    for (what, token) in bad_tokens() {
        for path in ["/api/sessions", "/agents/x/history", "/api/chat/history", "/api/events"] {
            assert_eq!(guarded.call(&token, "GET", path, None).status, 401, "{what} at {path}");
        }
        if token.len() > 8 * 1024 {
            continue; // elsewhere an address or a field of that length is refused before anybody looks for a token in it
        }
        for path in ["/api/events", "/api/chat/ws"] {
            assert_eq!(server.get(&format!("{path}?token={token}")).status, 401, "{what} at {path}");
        }
        let (query, encoded) = (format!("{UPGRADE}&auth_token={token}"), STANDARD_NO_PAD.encode(&token));
        assert_eq!(upgraded(server, &query, ""), 401, "{what} in the socket's query");
        let offered = format!("sec-websocket-protocol: phoenix, base64url.bearer.phx.{encoded}\r\n");
        assert_eq!(upgraded(server, UPGRADE, &offered), 401, "{what} in the subprotocol");
        assert_eq!(polled(server, &query, &[])["status"], 403, "{what} in the poll's query");
        assert_eq!(polled(server, UPGRADE, &[("x-phoenix-authtoken", &token)])["status"], 403, "{what} in its header");
    }
    let basic = [("authorization", "Basic YTpi")];
    assert_eq!(server.call("GET", "/api/sessions", &basic, None).status, 401);
    let query = format!("/api/sessions?token={ADMIN}");
    assert_eq!(server.get(&query).status, 401, "addresses are written to logs");
}

#[test]
fn a_good_token_opens_the_socket_wherever_phoenix_puts_it() {
    let guarded = Guarded::start(&[]);
    let (server, token) = (&guarded.server, user_token("default", "alice", 600));
    assert_eq!(upgraded(server, &format!("{UPGRADE}&auth_token={token}"), ""), 101);
    let encoded = STANDARD_NO_PAD.encode(&token);
    let offered = format!("sec-websocket-protocol: phoenix, base64url.bearer.phx.{encoded}\r\n");
    assert_eq!(upgraded(server, UPGRADE, &offered), 101);
    assert_eq!(upgraded(server, "vsn=2.0.0", &offered), 101, "a user need not say who it is");
    assert_eq!(upgraded(server, "user_id=bob&vsn=2.0.0", &offered), 403, "and is nobody else");
    assert_eq!(upgraded(server, "agent_id=bot&vsn=2.0.0", &offered), 403);
    assert_eq!(polled(server, UPGRADE, &[("x-phoenix-authtoken", &token)])["status"], 410);
    assert_eq!(polled(server, "user_id=bob&vsn=2.0.0", &[("x-phoenix-authtoken", &token)])["status"], 403);
}

#[test]
fn a_user_is_itself_and_reaches_its_own_sessions_only() {
    let guarded = Guarded::start(&[]);
    let [alice, bob] = ["alice", "bob"].map(|user| user_token("default", user, 600));
    let made = guarded.call(&alice, "POST", "/api/sessions", Some(&json!({"agent_id": "bot"}))).expect(201);
    assert_eq!(made["session"]["user_id"], "alice");
    let session = made["session"]["id"].as_str().expect("an id");
    let path = format!("/api/sessions/{session}/messages");
    let say = |token: &str, body: Value| guarded.call(token, "POST", &path, Some(&body)).status;
    assert_eq!(say(&alice, json!({"content": {"text": "hi"}})), 200);
    assert_eq!(say(&alice, json!({"user_id": "bob", "content": {"text": "hi"}})), 403);
    assert_eq!(say(&alice, json!({"agent_id": "bot", "content": {"text": "hi"}})), 403);
    assert_eq!(say(&bob, json!({"content": {"text": "hi"}})), 403);
    assert_eq!(guarded.call(&bob, "GET", &path, None).status, 403);
    let other = json!({"user_id": "bob", "agent_id": "bot"});
    assert_eq!(guarded.call(&alice, "POST", "/api/sessions", Some(&other)).status, 403);
    let listed = |token: &str| {
        let list = guarded.call(token, "GET", "/api/sessions", None).expect(200);
        list["sessions"].as_array().expect("a list").len()
    };
    assert_eq!((listed(&alice), listed(&bob)), (1, 0));
    let agent = json!({"agent": {"id": "x", "name": "x", "origin_url": "http://localhost"}});
    assert_eq!(guarded.call(&alice, "POST", "/api/agents", Some(&agent)).status, 403);
    assert_eq!(guarded.call(&alice, "GET", "/metrics", None).status, 403);
    assert_eq!(guarded.call(&alice, "GET", "/api/keys", None).status, 403);
}

#[test]
fn a_key_opens_what_its_scope_says_lives_through_a_restart_and_dies_when_it_is_revoked() {
    let guarded = Guarded::start(&[]);
    let (id, all) = guarded.key(&json!({"name": "shop"}));
    let (_, read) = guarded.key(&json!({"name": "eyes", "scope": "read"}));
    let (_, agent) = guarded.key(&json!({"name": "bot", "scope": "agent:bot"}));
    let session = |agent_id: &str| json!({"user_id": "alice", "agent_id": agent_id});
    let status = |key: &str, body: &Value| guarded.call(key, "POST", "/api/sessions", Some(body)).status;
    assert_eq!([&all, &read, &agent].map(|key| status(key, &session("bot"))), [201, 403, 201]);
    assert_eq!([&all, &read, &agent].map(|key| status(key, &session("other"))), [201, 403, 403]);
    assert_eq!(guarded.call(&read, "GET", "/api/sessions", None).status, 200);
    assert_eq!(guarded.call(&all, "GET", "/api/keys", None).status, 403);
    let listed = guarded.call(ADMIN, "GET", "/api/keys", None).expect(200).to_string();
    assert!(listed.contains(&id) && !listed.contains("flk_") && !listed.contains("hash"), "{listed}");
    assert_eq!(guarded.call(ADMIN, "POST", "/api/keys", Some(&json!({"scope": "root"}))).status, 422);
    assert_eq!(guarded.call(ADMIN, "DELETE", "/api/keys/01K6GR2EV9Z7PSMEVVJ5M954CJ", None).status, 404);

    let Guarded { server, folder } = guarded;
    server.stop();
    let server = Guarded::on(folder.path(), &[]);
    assert_eq!(call_as(&server, &all, "GET", "/api/sessions", None).status, 200);
    let query = format!("user_id=alice&vsn=2.0.0&auth_token={all}");
    let mut socket = Socket::try_open(&server, &query).expect("the key opens it");
    let poll = polled(&server, &query, &[]);
    assert_eq!(call_as(&server, ADMIN, "DELETE", &format!("/api/keys/{id}"), None).status, 200);
    assert_eq!(call_as(&server, &all, "GET", "/api/sessions", None).status, 401);
    assert_eq!(socket.close_code(), Some(1008));
    let again =
        format!("user_id=alice&vsn=2.0.0&auth_token={ADMIN}&token={}", poll["token"].as_str().expect("a token"));
    assert_eq!(polled(&server, &again, &[])["status"], 410, "and it is nobody else's");
    server.stop();
    let server = Guarded::on(folder.path(), &[]);
    assert_eq!(call_as(&server, &all, "GET", "/api/sessions", None).status, 401, "it stays revoked");
    assert_eq!(call_as(&server, &read, "GET", "/api/sessions", None).status, 200);
}

#[test]
fn keys_are_made_and_revoked_in_a_folder_that_no_server_uses() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let data = data.to_str().expect("a path of ours is text");
    let keys = |words: &[&str]| {
        let output = server::run(&[&["keys", words[0], "--data-dir", data], &words[1..]].concat());
        (output.status.success(), String::from_utf8(output.stdout).expect("it prints text"))
    };
    let (is_made, made) = keys(&["create", "--name", "ops", "--admin"]);
    assert!(is_made, "{made}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let (id, secret) = (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    let guarded = Guarded { server: Guarded::on(folder.path(), &[]), folder };
    assert_eq!(guarded.call(secret, "GET", "/api/keys", None).status, 200);
    let (_, later) = guarded.key(&json!({"name": "later"}));
    assert!(!keys(&["list"]).0, "a server uses it");
    let Guarded { server, folder } = guarded;
    server.stop();
    assert!(keys(&["revoke", id]).0 && !keys(&["revoke", "x"]).0);
    let (_, listed) = keys(&["list"]);
    assert!(listed.lines().count() == 2 && !listed.contains("flk_"), "{listed}");
    let server = Guarded::on(folder.path(), &[]);
    assert_eq!(call_as(&server, secret, "GET", "/api/keys", None).status, 401);
    assert_eq!(call_as(&server, &later, "GET", "/api/sessions", None).status, 200);
}

#[test]
fn keys_of_a_running_server_are_made_listed_and_revoked_from_the_command_line() {
    let guarded = Guarded::start(&[]);
    let url = format!("http://{}", guarded.server.address());
    let file = guarded.folder.path().join("admin.key");
    let file = file.to_str().expect("a path of ours is text");
    let keys = |words: &[&str]| {
        let place = ["--url", &url, "--admin-key-file", file];
        let output = server::run(&[&["keys", words[0]], &place[..], &words[1..]].concat());
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (is_made, made, why) = keys(&["create", "--name", "shop", "--namespace", "acme", "--scope", "read"]);
    assert!(is_made, "{why}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let (id, secret) = (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    assert_eq!((&made["namespace"], &made["scope"]), (&json!("acme"), &json!("read")));
    assert_eq!(guarded.call(secret, "GET", "/api/sessions", None).status, 200);
    let (is_listed, listed, _) = keys(&["list"]);
    assert!(is_listed && listed.lines().count() == 1 && listed.contains(id) && !listed.contains("flk_"), "{listed}");
    assert!(keys(&["revoke", id]).0);
    assert_eq!(guarded.call(secret, "GET", "/api/sessions", None).status, 401);
    for (words, said) in [
        (&["revoke", "01K6GR2EV9Z7PSMEVVJ5M954CX"][..], "404"),
        (&["revoke", "../keys"], "Key not found"),
        (&["create", "--name", "x", "--scope", "none"], "422"),
        (&["create", "--name", "x", "--admin"], "data folder"),
    ] {
        let (is_done, _, why) = keys(words);
        assert!(!is_done && why.contains(said) && !why.contains(ADMIN), "{words:?}: {why}");
    }
    let plain = server::run(&["keys", "list", "--url", "http://keys.example", "--admin-key-file", file]);
    assert!(String::from_utf8_lossy(&plain.stderr).contains("https"));
    let proxied = server::binary()
        .args(["keys", "list", "--url", &url, "--admin-key-file", file])
        .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")))
        .output()
        .expect("it runs");
    assert!(proxied.status.success(), "a key goes through no proxy: {}", String::from_utf8_lossy(&proxied.stderr));
}

#[test]
fn live_connections_end_with_their_token() {
    let guarded = Guarded::start(&[]);
    let query = format!("user_id=alice&vsn=2.0.0&auth_token={}", user_token("default", "alice", 2));
    let mut socket = Socket::try_open(&guarded.server, &query).expect("it is good yet");
    let poll = polled(&guarded.server, &query, &[]);
    let (_, code) = socket.drain();
    assert_eq!(code, Some(1008));
    let fresh = format!("user_id=alice&vsn=2.0.0&auth_token={}", user_token("default", "alice", 60));
    let again = format!("{fresh}&token={}", poll["token"].as_str().expect("a token"));
    assert_eq!(polled(&guarded.server, &again, &[])["status"], 410);
}

#[test]
fn a_key_is_exchanged_for_a_token_that_works_and_dies_with_it() {
    let guarded = Guarded::start(&[]);
    let (id, key) = guarded.key(&json!({"name": "hub", "namespace": "acme"}));
    let exchange = |body: &Value| guarded.server.post("/api/auth", body);
    let given = exchange(&json!({"accessToken": format!("{key}:acme")})).expect(200);
    let token = given["token"].as_str().expect("a token");
    assert_eq!(guarded.call(token, "GET", "/api/sessions", None).status, 200);
    let refused = exchange(&json!({"accessToken": format!("{key}:other")}));
    assert_eq!((refused.status, error_of(&refused)), (401, "Invalid token".to_owned()));
    assert_eq!(exchange(&json!({})).status, 400);
    let login = json!({"email": "a@b.c", "password": key});
    let logged_in = guarded.server.post("/api/auth/login", &login).expect(200);
    assert_eq!(logged_in["user"]["email"], "a@b.c");
    assert_eq!(guarded.server.post("/api/auth/login", &json!({"email": "a@b.c", "password": "x"})).status, 401);
    assert_eq!(guarded.call(ADMIN, "DELETE", &format!("/api/keys/{id}"), None).status, 200);
    for token in [token, logged_in["token"].as_str().expect("a token")] {
        assert_eq!(guarded.call(token, "GET", "/api/sessions", None).status, 401);
    }
}

#[test]
fn no_secret_is_in_the_log() {
    let guarded = Guarded::start(&["--log", "trace"]);
    let (_, key) = guarded.key(&json!({"name": "shop"}));
    let token = user_token("default", "alice", 600);
    for token in [&key, &token, ADMIN] {
        guarded.call(token, "GET", "/api/sessions", None);
        guarded.server.get(&format!("/api/events?token={token}"));
        let query = format!("{UPGRADE}&auth_token={token}");
        polled(&guarded.server, &query, &[]);
        upgraded(&guarded.server, &query, "");
        guarded.server.post("/api/auth", &json!({"accessToken": token}));
    }
    guarded.server.hang_up();
    guarded.server.logged("what tokens are checked with was reloaded", 1);
    let log = guarded.server.stop();
    for secret in [&key[31..], &token[20..], &ADMIN[31..], SECRET, "token=", "Bearer"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again_in_every_dialect() {
    let guarded = Guarded::start(&["--rate-limit-principal", "2"]);
    let keys: Vec<String> = (0..4).map(|n| user_token("default", &format!("user-{n}"), 600)).collect();
    for (key, path) in keys.iter().zip(["/api/sessions", "/agents/x/none", "/api/chat/none", "/api/events/none"]) {
        let statuses: Vec<u16> = (0..3).map(|_| guarded.call(key, "GET", path, None).status).collect();
        assert!(statuses[..2].iter().all(|status| *status != 429) && statuses[2] == 429, "{path}: {statuses:?}");
        let refused = guarded.call(key, "GET", path, None);
        let retry_s: u64 = refused.header("retry-after").expect("when to come again").parse().expect("seconds");
        assert!((1..=30).contains(&retry_s));
        assert_eq!(error_of(&refused), "Too many requests");
    }
    assert_eq!(guarded.call(&user_token("default", "another", 60), "GET", "/api/sessions", None).status, 200);
}

#[test]
fn joins_count_like_requests() {
    let guarded = Guarded::start(&["--rate-limit-principal", "3"]);
    let query = format!("{UPGRADE}&auth_token={}", user_token("default", "alice", 600));
    let mut socket = Socket::try_open(&guarded.server, &query).expect("the first request");
    assert!(socket.join("inbox:alice", &json!({})).is_ok());
    assert_eq!(socket.join("inbox:bob", &json!({})), Err(json!({"reason": "unauthorized"})), "costs nothing");
    let unknown = "session:01ARZ3NDEKTSV4RRFFQ69G5FAV";
    assert_eq!(socket.join(unknown, &json!({})), Err(json!({"reason": "not found"})));
    let refused = socket.join(unknown, &json!({})).expect_err("one too many");
    assert_eq!(refused["reason"], "rate limited");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (1..=20_000).contains(&ms)), "{refused}");
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_rate_and_chooses_none() {
    let limited = |more: &[&str]| Server::with(&Options::default().flags(&["--rate-limit-address", "2"]).flags(more));
    let (behind, alone) = (limited(&["--trust-forwarded-for", "10.0.0.0/8,127.0.0.1"]), limited(&[]));
    let from =
        |server: &Server, hops: &str| server.call("GET", "/api/sessions", &[("x-forwarded-for", hops)], None).status;
    let one = ["203.0.113.1", "1.1.1.1, 203.0.113.1", "2.2.2.2, 203.0.113.1, 10.1.2.3"];
    assert_eq!(one.map(|hops| from(&behind, hops)), [200, 200, 429]);
    assert_eq!(from(&behind, "203.0.113.2"), 200);
    assert_eq!(["203.0.113.1", "203.0.113.2", "203.0.113.3"].map(|hops| from(&alone, hops)), [200, 200, 429]);
}

#[test]
fn who_guesses_is_shut_out_by_address_even_with_a_good_token() {
    let guarded = Guarded::start(&["--rate-limit-auth", "3"]);
    for _ in 0..3 {
        assert_eq!(guarded.call("x", "GET", "/api/sessions", None).status, 401);
    }
    assert_eq!(guarded.call(ADMIN, "GET", "/api/sessions", None).status, 429);
    assert_eq!(guarded.server.post("/api/auth", &json!({"accessToken": "x"})).status, 429);
    assert_eq!(guarded.server.get("/health/live").status, 200, "who watches the server guesses nothing");
}

#[test]
fn a_web_page_from_elsewhere_opens_no_socket() {
    let open = Server::start();
    let listed = Server::with(&Options::default().flags(&["--allow-origin", "https://a.example,https://b.example"]));
    for (server, origin, status) in [
        (&open, "http://localhost:5173", 101),
        (&open, "https://evil.example", 403),
        (&listed, "https://b.example", 101),
        (&listed, "http://localhost:5173", 403),
    ] {
        assert_eq!(upgraded(server, UPGRADE, &format!("origin: {origin}\r\n")), status, "{origin}");
    }
    assert_eq!(upgraded(&open, UPGRADE, ""), 101, "other clients have none");
}

#[test]
fn a_web_page_from_elsewhere_does_nothing_on_an_open_server() {
    let open = Server::start();
    let listed = Server::with(&Options::default().flags(&["--allow-origin", "https://a.example,https://b.example"]));
    let anybody = Server::with(&Options::default().flags(&["--allow-origin", "*"]));
    for (server, origin, shown) in [
        (&open, "http://localhost:3000", Some("*")),
        (&open, "http://127.0.0.1:3000", Some("*")),
        (&open, "https://evil.example", None),
        (&open, "null", None),
        (&listed, "https://b.example", Some("https://b.example")),
        (&listed, "https://evil.example", None),
        (&anybody, "https://evil.example", Some("*")),
    ] {
        // The one is asked for first by browsers, the other is not.
        let json = json!({"agent": {"id": unique("bot"), "name": "Bot", "origin_url": "http://127.0.0.1:1"}});
        let asked = [("origin", origin), ("access-control-request-method", "POST")];
        let preflight = server.call("OPTIONS", "/api/agents", &asked, None);
        let simple = server.call("GET", "/api/agents", &[("origin", origin)], None);
        let posted = server.call("POST", "/api/agents", &[("origin", origin)], Some(&json));
        let statuses = [preflight.status, simple.status, posted.status];
        assert_eq!(statuses, if shown.is_some() { [204, 200, 201] } else { [403; 3] }, "{origin}");
        for answer in [preflight, simple, posted] {
            assert_eq!(answer.header("access-control-allow-origin"), shown, "{origin}");
        }
    }
}

#[test]
fn an_open_server_answers_to_its_own_names_only() {
    let open = Server::start();
    let named = Server::with(&Options::default().flags(&["--allow-host", "chat.example"]));
    let listed = Server::with(&Options::default().flags(&["--allow-origin", "https://a.example"]));
    let guarded = Guarded::start(&[]);
    let vouched_for = Server::with(&Options::default().flags(&["--insecure-open"]));
    let both = Server::with(&Options::default().flags(&["--insecure-open", "--allow-host", "chat.example"]));
    for (server, host, status) in [
        (&vouched_for, "evil.example", 200),
        (&both, "chat.example", 200),
        (&both, "evil.example", 421),
        (&open, "127.0.0.1:4000", 200),
        (&open, "localhost:4000", 200),
        (&open, "fleetlm", 200),
        (&open, "evil.example:4000", 421),
        (&named, "chat.example", 200),
        (&named, "evil.example", 421),
        (&listed, "evil.example", 421),
        (&guarded.server, "chat.example", 200),
    ] {
        for path in ["/health/live", "/api/openapi.json"] {
            let mut connection = server.connect();
            connection.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
            assert_eq!(connection.answer().status, status, "{host}");
        }
    }
}

#[test]
fn flags_of_tokens_are_refused_where_no_token_is_looked_at() {
    let folder = Folder::new();
    let secret = Options::default().environment("FLEETLM_JWT_SECRET", SECRET);
    for options in [Options::default().flags(&["--jwks", "https://id.example/keys"]), secret] {
        let Err((status, log)) = Server::try_on(folder.path(), &options) else { panic!("it starts") };
        assert!(!status.success() && log.contains("--auth required") && !log.contains(SECRET), "{log}");
    }
}

/// A key pair and the set of its public key.
fn key_pair(kid: &str, seed: u8) -> (Ed25519KeyPair, String) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("any 32 bytes will do");
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    (pair, json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "use": "sig"}]}).to_string())
}

fn signed_by(pair: &Ed25519KeyPair, kid: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": "alice", "exp": now_s() + 600, "iss": "https://id.example", "aud": ["us"]});
    let message = format!("{}.{}", part(json!({"alg": "EdDSA", "kid": kid})), part(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())))
}

/// Asks until it is so: each shard takes over what has changed within its next heartbeats.
fn becomes(guarded: &Guarded, token: &str, status: u16) {
    let deadline = Instant::now() + HANG;
    let mut in_a_row = 0; // connections come to all shards
    while in_a_row < 20 {
        assert!(Instant::now() < deadline, "it does not become {status}");
        let is_so = guarded.call(token, "GET", "/api/sessions", None).status == status;
        in_a_row = if is_so { in_a_row + 1 } else { 0 };
    }
}

const CLAIMS: [&str; 4] = ["--jwt-issuer", "https://id.example", "--jwt-audience", "us"];

#[test]
fn tokens_of_an_issuer_are_verified_with_the_keys_of_its_file_which_may_change() {
    let folder = Folder::new();
    let file = folder.path().join("jwks.json");
    let path = file.to_str().expect("a path of ours is text");
    let ((old, old_set), (new, new_set)) = (key_pair("1", 1), key_pair("2", 2));
    std::fs::write(&file, old_set).expect("a file");
    let guarded = Guarded::start(&[&CLAIMS[..], &["--jwks", path]].concat());
    becomes(&guarded, &signed_by(&old, "1"), 200);
    becomes(&guarded, &signed_by(&new, "2"), 401);
    std::fs::write(&file, "no keys").expect("a file");
    guarded.server.hang_up();
    guarded.server.logged("was not reloaded", 1);
    becomes(&guarded, &signed_by(&old, "1"), 200);
    std::fs::write(&file, new_set).expect("a file");
    guarded.server.hang_up();
    becomes(&guarded, &signed_by(&new, "2"), 200);
    becomes(&guarded, &signed_by(&old, "1"), 401);
}

#[test]
fn keys_are_fetched_from_their_address() {
    let (pair, set) = key_pair("1", 1);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let issuer = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("the server asks");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).expect("a request");
            asked.extend(byte);
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", set.len());
        peer.write_all(format!("{head}{set}").as_bytes()).expect("it listens");
        String::from_utf8(asked).expect("a head is text")
    });
    let guarded = Guarded::start(&[&CLAIMS[..], &["--jwks", &url]].concat());
    let asked = issuer.join().expect("it answered");
    assert!(asked.starts_with("GET /keys HTTP/1.1\r\n") && !asked.to_lowercase().contains("content-length"), "{asked}");
    becomes(&guarded, &signed_by(&pair, "1"), 200);
    becomes(&guarded, &signed_by(&pair, "2"), 401);
}
