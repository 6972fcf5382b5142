//! The pages that one looks things up in: what they show of requests, answers and output is what the server and its commands say.

use super::{blocks, same_fields, shape, shell, text_of, was_printed};
use crate::harness::guard::Guarded;
use crate::harness::rest::{keys, messages};
use crate::harness::server::run;
use crate::harness::{Agent, Call, Folder, HANG, Options, Secured, Server, Socket, Value, json, unique};
use crate::packages::{missing, runs};
use std::collections::BTreeSet;
use std::path::Path;

fn has_curl() -> bool {
    let can = ["bash", "curl"].iter().all(|program| runs(program, &["--version"]));
    if !can {
        missing("bash or curl is not installed: the snippets were not run");
    }
    can
}

#[track_caller]
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The JSON block of a page that has this field first or anywhere.
#[track_caller]
fn json_with(page: &str, field: &str) -> Value {
    let text = blocks(&text_of(page), "json").into_iter().find(|text| text.contains(field)).expect("the page shows it");
    let text = text.trim();
    json_of(&if text.starts_with('{') { text.to_owned() } else { format!("{{{text}}}") })
}

/// What the commands say of an outcome, whichever it is: `check` ends with 1 when something is damaged.
fn printed(words: &[&str]) -> String {
    let output = run(words);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// The words of a line that starts a server, without those that say where it listens.
fn flags(line: &str, changes: &[(&str, &str)]) -> Vec<String> {
    let line = changes.iter().fold(line.to_owned(), |line, (shown, real)| line.replace(shown, real));
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let listen = words.iter().position(|word| *word == "--listen");
    let is_kept = |at: usize| listen.is_none_or(|listen| at != listen && at != listen + 1);
    words.iter().enumerate().filter(|(at, _)| is_kept(*at)).map(|(_, word)| (*word).to_owned()).collect()
}

#[test]
fn operations_shows_what_the_commands_print() {
    let page = text_of("docs/operations.md");
    let commands = blocks(&page, "sh");
    let command =
        |word: &str| commands.iter().find(|text| text.contains(word)).expect("the page has the command").clone();

    let (folder, secured, guarded) = (Folder::new(), Secured::new(), Guarded::start(&[]));
    let (certificate, key) = (secured.certificate(), secured.key());
    let admin = guarded.folder.path().join("admin.key");
    let tls = command("--tls-cert");
    assert_eq!(tls.lines().count(), 1, "{tls}");
    let changes = [("/etc/fleetlm/fullchain.pem", text(&certificate)), ("/etc/fleetlm/key.pem", text(&key))];
    let mut words = flags(&tls, &changes);
    words.extend(["--admin-key-file".to_owned(), text(&admin).to_owned()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let server = Server::on(folder.path(), &secured.options().flags(&without(&words, &["--tls-cert", "--tls-key"])));
    server.logged("listening on https://", 1);
    server.kill();

    // Sealed by a restart, unsealed by a kill, and with a key.
    let (folder, copies) = (Folder::new(), Folder::new());
    for round in 0..3 {
        let server = Server::on(folder.path(), &Options::default());
        let session = server.session("alice", "echo");
        (0..3).for_each(|at| drop(server.say(&session, "alice", &format!("{round} {at}"))));
        attach(&server, &session);
        if round < 2 {
            server.stop();
            printed(&["keys", "create", "--data-dir", text(folder.path()), "--name", "ops"]);
        } else {
            same_fields(&json_with("docs/operations.md", "bytes_free"), &server.get("/api/storage").expect(200));
            server.kill();
        }
    }
    let shown = |part: &str| {
        let outputs = blocks(&page, "");
        let output: Vec<String> = outputs.into_iter().filter(|text| text.contains(part)).collect();
        output.into_iter().next().expect("the page shows it")
    };
    was_printed(&shown(".snapshot shard"), &printed(&["check", text(folder.path())]));
    let copy = copies.path().join("copy");
    let line = command("fleetlm backup").replace("/var/lib/fleetlm", text(folder.path()));
    let line = line.replace("/backup/fleetlm-2026-11-23", text(&copy));
    let said = printed(&line.split_whitespace().skip(1).collect::<Vec<_>>());
    let plain = |said: &str, from: &str, to: &str| said.replace(from, "DIR").replace(to, "TO");
    let shown = plain(&shown("holds"), "/var/lib/fleetlm", "/backup/fleetlm-2026-11-23");
    was_printed(&shown, &plain(&said, text(folder.path()), text(&copy)));

    let warning = blocks(&page, "").into_iter().find(|text| text.starts_with("one sync")).expect("the page shows it");
    let source = text_of("src/server/mod.rs");
    for part in shape(&warning).split(" N ").filter(|part| part.len() > 5) {
        assert!(source.contains(part), "the server does not say {part:?}");
    }
}

/// A file for the session.
#[track_caller]
fn attach(server: &Server, session: &str) {
    let file = json!({"filename": "a.txt", "content": "aGVsbG8=", "mimeType": "text/plain"});
    server.post(&format!("/api/sessions/{session}/upload"), &file).expect(200);
}

/// Words without these flags and what follows them.
fn without<'a>(words: &[&'a str], flags: &[&str]) -> Vec<&'a str> {
    let mut left = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if flags.contains(word) {
            words.next();
        } else {
            left.push(*word);
        }
    }
    left
}

#[test]
fn the_command_line_answers_as_its_page_shows() {
    let session = blocks(&text_of("docs/cli.md"), "").pop().expect("the page shows a session");
    let (server, folder) = (Server::start(), Folder::new());
    let mut id = String::new();
    let mut said = String::new();
    let mut shown = String::new();
    for line in session.lines() {
        let Some(command) = line.strip_prefix("$ ") else {
            shown.push_str(line);
            shown.push('\n');
            continue;
        };
        // The id that is typed is the one that was printed.
        let shown_id = command.split_whitespace().find(|word| word.len() == 26);
        let command = shown_id.map_or(command.to_owned(), |shown| command.replace(shown, &id));
        let output = shell(&format!("{command} 2>&1"), &server, folder.path());
        let printed = output.split_whitespace().find(|word| word.len() == 26 && word.starts_with('0'));
        id = printed.map_or(id, str::to_owned);
        said.push_str(&output);
    }
    assert!(shown.lines().count() >= 5, "{session}");
    was_printed(&shown, &said);
}

#[test]
fn keys_are_made_and_revoked_as_the_page_says() {
    if !has_curl() {
        return;
    }
    let page = blocks(&text_of("docs/auth.md"), "sh");
    let [offline, start, online] = &page[..] else { panic!("three blocks: {page:?}") };
    let (folder, guarded) = (Folder::new(), Guarded::start(&[]));
    let lines = offline.replace("/var/lib/fleetlm", text(folder.path()));
    let shown = lines.split_whitespace().find(|word| word.len() == 26).expect("a key is revoked by its id").to_owned();
    let (made, rest) = lines.split_once('\n').expect("a key is made first");
    let made = json_of(shell(made, &guarded.server, folder.path()).trim());
    assert_eq!((&made["is_admin"], &made["name"]), (&json!(true), &json!("ops")));
    let said = shell(&rest.replace(&shown, made["id"].as_str().expect("an id")), &guarded.server, folder.path());
    assert!(said.lines().last().is_some_and(|line| json_of(line)["revoked_at"].is_string()), "{said}");

    let admin = guarded.folder.path().join("admin.key");
    let changes = [("/etc/fleetlm/admin.key", text(&admin))];
    let words = flags(start, &changes);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let server = Server::with(&Options::default().flags(&words));
    let lines = online.replace(changes[0].0, changes[0].1);
    assert!(lines.contains("http://127.0.0.1:4000"));
    let lines = lines.replace("127.0.0.1:4000", &server.address().to_string());
    let said = shell(&lines, &server, folder.path());
    assert!(said.contains("\"secret\":\"flk_") && said.contains("\"namespace\":\"acme\""), "{said}");
    assert_eq!(said.matches("\"shop\"").count() % 2, 0, "it is made, and then listed: {said}");
}

#[test]
fn a_webhook_is_called_as_the_page_shows_and_its_answer_understood() {
    if !has_curl() {
        return;
    }
    let page = text_of("docs/webhooks.md");
    let (server, folder, agent) = (Server::start(), Folder::new(), Agent::start());
    let lines = blocks(&page, "sh").concat();
    assert!(lines.contains("https://agents.example"));
    let lines = lines.replace("localhost:4000", &server.address().to_string());
    let said = shell(&lines.replace("https://agents.example", &agent.url()), &server, folder.path());
    assert!(said.contains("\"session\":") && said.contains("\"id\":\"support\""), "{said}");
    let session = server.session("alice", "support");
    server.say(&session, "alice", "Hello!");
    let mut call = agent.call_within(HANG).expect("the agent is called");
    is_called_as_shown(&call, &blocks(&page, "http").pop().expect("the page shows a call"));
    if runs("python3", &["--version"]) {
        signature_holds(
            &call,
            &blocks(&page, "python").pop().expect("the page checks a signature"),
            &server,
            folder.path(),
        );
    } else {
        missing("Python is not installed: the check of signatures was not tried");
    }
    let answer = blocks(&page, "jsonl").pop().expect("the page shows an answer");
    call.head(200, &[("content-type", "text/plain")]);
    call.piece(answer);
    call.finish();
    let stored = wait_for(&server, &session, 2);
    assert_eq!(stored["content"]["parts"][0]["text"], "Hello, Alice.", "{stored}");
    assert_eq!(stored["metadata"]["termination"], "finish", "{stored}");
}

/// The page's function takes the real call for real, and neither another body, nor another secret, nor an old one.
#[track_caller]
fn signature_holds(call: &Call, function: &str, server: &Server, folder: &Path) {
    let cases = "
import json
headers, body = json.load(open('headers.json')), open('body', 'rb').read()
signed = 'v1=' + hmac.new(b's3cret', b'1700000000.' + body, hashlib.sha256).hexdigest()
old = dict(headers, **{'x-fleetlm-timestamp': '1700000000', 'x-fleetlm-signature': signed})
print(is_from_fleetlm(b's3cret', headers, body), is_from_fleetlm(b's3cret', headers, body + b' '),
      is_from_fleetlm(b'secret', headers, body), is_from_fleetlm(b's3cret', old, body), is_from_fleetlm(b's3cret', {}, body))
";
    let headers: serde_json::Map<String, Value> =
        call.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("it can be written");
    write("headers.json", Value::from(headers).to_string().as_bytes());
    write("body", &call.body);
    write("check.py", format!("{function}\n{cases}").as_bytes());
    assert_eq!(shell("python3 check.py", server, folder).trim(), "True False False False False");
}

/// The call has the shown request line, and headers and fields of the shown names.
#[track_caller]
fn is_called_as_shown(call: &Call, shown: &str) {
    let (head, body) = shown.split_once("\n\n").expect("a head and a body");
    let mut head = head.lines();
    assert_eq!(Some(call.request_line.as_str()), head.next());
    for line in head {
        let (name, value) = line.split_once(": ").expect("a header");
        let real = call.header(name).unwrap_or_else(|| panic!("no {name}"));
        match value.split_once("..") {
            Some((stem, _)) => {
                let prefix = stem.split_once('=').expect("a version").0;
                assert!(real.starts_with(&format!("{prefix}=")) && real.len() == prefix.len() + 65, "{name}: {real}");
            }
            None => assert_eq!(shape(real), shape(value), "{name}"),
        }
    }
    same_fields(&json_of(body), &call.json());
}

/// The session's message with this seq, once it is there: the socket says so.
#[track_caller]
fn wait_for(server: &Server, session: &str, seq: u64) -> Value {
    let mut socket = Socket::open(server, "alice");
    let joined = socket.join(&format!("session:{session}"), &json!({"last_seq": seq - 1})).expect("it is alice's");
    match joined["messages"].as_array().and_then(|messages| messages.first()) {
        Some(message) => message.clone(),
        None => socket.event(&format!("session:{session}"), "message"),
    }
}

#[test]
fn compactions_and_teams_are_told_what_the_page_shows() {
    let (server, agent) = (Server::start(), Agent::start());
    let register = |fields: Value| {
        let mut all = json!({"id": unique("agent"), "name": "An agent", "debounce_window_ms": 0});
        all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        server.post("/api/agents", &json!({ "agent": all })).expect(201);
        all["id"].as_str().expect("an id").to_owned()
    };
    let done = |call: Call| {
        let text = json!({"type": "text-delta", "id": "1", "delta": "ok"});
        call.answer(&[json!({"type": "text-start", "id": "1"}), text, json!({"type": "finish"})]);
    };
    let long = register(json!({
        "origin_url": agent.url(), "compaction_enabled": true, "compaction_webhook_url": format!("{}/compact", agent.url()),
        "compaction_token_budget": 20, "compaction_trigger_ratio": 0.5,
    }));
    let session = server.session("alice", &long);
    server.say(
        &session,
        "alice",
        "a message of a hundred characters is twenty-five tokens, and that is above what is allowed here, now",
    );
    done(agent.call());
    wait_for(&server, &session, 2);
    server.say(&session, "alice", "and one more");
    let compaction = agent.call();
    assert_eq!(compaction.target(), "POST /compact");
    same_fields(&json_with("docs/webhooks.md", "token_budget"), &compaction.json());
    compaction.respond(200, &[], r#"{"compacted": [{"role": "system", "content": "They talked."}]}"#);
    done(agent.call());

    let member = |name: &str| register(json!({"name": name, "origin_url": agent.url()}));
    let members = [member("Researcher"), member("Analyst")];
    let team = json!({"members": members, "mode": "debate"});
    let board = json!({"agent": {"id": unique("board"), "name": "Board", "team": team}});
    server.post("/api/agents", &board).expect(201);
    let session = server.session("alice", board["agent"]["id"].as_str().expect("an id"));
    server.say(&session, "alice", "Shovels?");
    let call = agent.call();
    let (shown, real) = (json_with("docs/webhooks.md", "\"stance\""), call.json());
    same_fields(&shown["team"], &real["team"]);
    assert_eq!((&shown["team"]["mode"], &shown["team"]["stance"]), (&real["team"]["mode"], &real["team"]["stance"]));
}

#[test]
fn sessions_messages_and_inboxes_have_the_shapes_of_the_page() {
    let page = "docs/protocol.md";
    let server = Server::start();
    let made = server.post("/api/sessions", &json!({"user_id": "alice", "agent_id": "bot"})).expect(201);
    same_fields(&json_with(page, "\"status\""), &made["session"]);
    let session = made["session"]["id"].as_str().expect("an id");
    let message =
        server.post(&messages(session), &json!({"user_id": "alice", "content": {"text": "Hello!"}})).expect(200);
    same_fields(&json_with(page, "\"sender_id\""), &message["message"]);
    server.answer_as(session, "bot", "Hi Alice.");
    let inbox = Socket::open(&server, "alice").join("inbox:alice", &json!({})).expect("it is alice's");
    same_fields(&json_with(page, "\"inbox\""), &inbox);
}

#[test]
fn the_other_apis_answer_as_their_page_shows() {
    if !has_curl() {
        return;
    }
    let page = text_of("docs/apis.md");
    let (server, folder) = (Server::start(), Folder::new());
    let stream = blocks(&page, "sh").into_iter().find(|text| text.contains("/chat/stream")).expect("the page streams");
    let stream = stream.replace("localhost:4000", &server.address().to_string());
    let shown = blocks(&page, "").pop().expect("the page shows a stream");
    assert_eq!(shell(&stream, &server, folder.path()).trim(), shown.trim());

    let asked = json_with("docs/apis.md", "requestId");
    let url = format!("ws://{}/api/chat/ws", server.address());
    let opened = tungstenite::client(url, server.open().expect("the server accepts"));
    let (mut socket, _) = opened.expect("the socket is accepted");
    socket.send(tungstenite::Message::text(asked.to_string())).expect("the socket is open");
    let mut kinds = BTreeSet::new();
    loop {
        let frame = json_of(&socket.read().expect("the server sends").into_text().expect("a text"));
        assert_eq!(frame["requestId"], asked["requestId"], "{frame}");
        let kind = frame["type"].as_str().expect("a type").to_owned();
        let is_last = kind == "final";
        kinds.insert(kind);
        if is_last {
            assert!(keys(&frame).contains(&"response"), "{frame}");
            break;
        }
    }
    assert!(kinds.contains("chunk"), "{kinds:?}");
}
