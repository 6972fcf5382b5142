//! The subcommands that are clients: what a person types, and what comes back.

use crate::harness::guard::{Guarded, call_as, user_token};
use crate::harness::server::{Server, binary};
use crate::harness::{Agent, Folder, HANG, Options, Secured, Value, json, unique};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

/// Runs `fleetlm` against a server, to its end.
fn run(server: &Server, words: &[&str]) -> Output {
    binary().args(words).args(["--url", &url(server)]).output().expect("the binary runs")
}

#[track_caller]
fn said(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[track_caller]
fn refused(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(!text.contains("panicked") && last.starts_with("fleetlm: "), "{text}");
    last
}

/// A `fleetlm` that runs on, and its lines as they come. Ended with the test.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(words: &[&str], url: &str) -> Self {
        let mut child = binary().args(words).args(["--url", url]).stdout(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(HANG).expect("a line")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_question_to_echo_is_answered_in_a_new_session() {
    let server = Server::start();
    let output = run(&server, &["send", "hello there", "--agent", "echo"]);
    assert!(said(&output).contains("hello there"), "{}", said(&output));
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    let session = told.trim().strip_prefix("session ").expect("the session's id").to_owned();
    let output = run(&server, &["send", "and again", "--session", &session, "--json"]);
    let message: Value = serde_json::from_str(said(&output).trim()).expect("one message");
    assert_eq!((&message["seq"], &message["sender_id"]), (&json!(4), &json!("echo")));
    let tail = said(&run(&server, &["tail", &session, "--no-follow"]));
    let lines: Vec<&str> = tail.lines().collect();
    assert!(lines[0].starts_with("#1 default: hello there") && lines.len() == 4, "{tail}");
    let last = said(&run(&server, &["tail", &session, "--no-follow", "--last", "1"]));
    assert_eq!(last.lines().collect::<Vec<_>>(), lines[3..]);
}

#[test]
fn what_is_typed_into_it_is_said_once_whatever_is_retried() {
    let server = Server::start();
    let session = server.session("alice", "nobody");
    let words = ["send", "-", "--session", &session, "--idempotency-key", "k1", "--url", &url(&server)];
    for _ in 0..2 {
        let mut child = binary().args(words).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("piped").write_all(b"from a pipe\n").expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((said(&output).as_str(), String::from_utf8_lossy(&output.stderr).as_ref()), ("", "#1 is stored\n"));
    }
    assert_eq!(server.history(&session).len(), 1);
}

#[test]
fn an_agent_that_fails_is_named_and_the_exit_code_says_so() {
    let server = Server::start();
    let id = unique("agent");
    said(&run(&server, &["agents", "add", &id, "http://127.0.0.1:1", "--name", "Gone"]));
    let error = refused(&run(&server, &["send", "hi", "--agent", &id]));
    assert!(error.contains("connect"), "{error}");
}

#[test]
fn sessions_are_made_listed_renamed_archived_and_deleted() {
    let server = Server::start();
    let user = unique("user");
    let made = |title: &str| {
        let words = ["sessions", "new", "--user", &user, "--agent", "bot", "--title", title];
        said(&run(&server, &words)).trim().to_owned()
    };
    let (first, second) = (made("First"), made("Second"));
    said(&run(&server, &["sessions", "rename", &first, "Erste"]));
    said(&run(&server, &["sessions", "archive", &second]));
    let list = said(&run(&server, &["sessions", "list", "--user", &user]));
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "USER", "AGENT", "STATUS", "UPDATED", "TITLE"]);
    assert_eq!((lines[1][0], lines[1][3], lines[1][5]), (second.as_str(), "archived", "Second"));
    assert_eq!((lines[2][0], lines[2][3], lines[2][5]), (first.as_str(), "active", "Erste"));
    refused(&run(&server, &["sessions", "delete", &"0".repeat(26), "--permanently"]));
    said(&run(&server, &["sessions", "delete", &first, "--permanently"]));
    let list = said(&run(&server, &["sessions", "--json", "list", "--user", &user]));
    let ids: Vec<Value> =
        list.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].clone()).collect();
    assert_eq!(ids, [json!(second)]);
}

#[test]
fn agents_are_registered_switched_and_their_calls_looked_at() {
    let server = Server::start();
    let agent = Agent::serving(|call| {
        let text =
            [json!({ "type": "text-start", "id": "t" }), json!({ "type": "text-delta", "id": "t", "delta": "fine" })];
        call.answer(&[&text[..], &[json!({ "type": "text-end", "id": "t" }), json!({ "type": "finish" })]].concat());
    });
    let id = unique("agent");
    said(&run(&server, &["agents", "add", &id, &agent.url()]));
    assert_eq!(said(&run(&server, &["send", "hi", "--agent", &id])), "fine\n");
    let calls = said(&run(&server, &["agents", "deliveries", &id, "--json"]));
    assert_eq!(calls.lines().count(), 1, "{calls}");
    let row = |list: &str| list.lines().find(|line| line.starts_with(&id)).expect("a row").to_owned();
    said(&run(&server, &["agents", "disable", &id]));
    assert!(row(&said(&run(&server, &["agents"]))).contains("disabled"));
    said(&run(&server, &["agents", "enable", &id]));
    assert!(row(&said(&run(&server, &["agents", "list"]))).contains("enabled"));
}

#[test]
fn tail_goes_on_where_it_was_when_the_server_comes_back() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let (address, base) = (server.address(), url(&server));
    let session = server.session("alice", "bot");
    for n in 1..=3 {
        server.say(&session, "alice", &n.to_string());
    }
    let tail = Running::start(&["tail", &session, "--after", "1"], &base);
    assert_eq!([tail.line(), tail.line()], ["#2 alice: 2", "#3 alice: 3"]);
    server.say(&session, "alice", "4");
    assert_eq!(tail.line(), "#4 alice: 4");
    server.kill();
    let server = Server::on(folder.path(), &Options::default().listen(address));
    server.say(&session, "alice", "5\u{1b}[2J");
    server.say(&session, "alice", "6");
    assert_eq!([tail.line(), tail.line()], ["#5 alice: 5\u{fffd}[2J", "#6 alice: 6"]);
}

#[test]
fn tail_shows_answers_as_they_are_produced() {
    let server = Server::start();
    let session = server.session("alice", "echo");
    let people = Running::start(&["tail", &session, "--live"], &url(&server));
    let programs = Running::start(&["tail", &session, "--live", "--json"], &url(&server));
    // Each is joined once it has shown a message of somebody else's.
    server.answer_as(&session, "other", "ready");
    assert_eq!(people.line(), "#1 other: ready");
    let event = |line: String| serde_json::from_str::<Value>(&line).expect("JSON");
    assert_eq!(event(programs.line())["payload"]["seq"], 1);
    server.answer_as(&session, "other", "joined"); // perhaps the first came with the page before the join; this one is live
    assert_eq!(people.line(), "#2 other: joined");
    assert_eq!(event(programs.line())["event"], "message");
    server.say(&session, "alice", "one two three");
    assert_eq!(people.line(), "#3 alice: one two three");
    assert_eq!(people.line(), "~ echo: started");
    assert!(people.line().starts_with("~ echo: "), "the chunks' text");
    assert!(people.line().starts_with("#4 echo: "));
    assert_eq!(people.line(), "~ echo: finished");
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Value| event["payload"]["status"] != "finished") {
        events.push(event(programs.line()));
    }
    assert!(events.iter().any(|event| event["event"] == "stream_chunk" && event["payload"]["index"].is_u64()));
}

#[test]
fn a_token_is_taken_from_the_environment_or_a_file_and_its_refusal_is_said() {
    let guarded = Guarded::start(&[]);
    let server = &guarded.server;
    let token = user_token("acme", "alice", 600);
    let made = json!({ "user_id": "alice", "agent_id": "echo" });
    let answer = call_as(server, &token, "POST", "/api/sessions", Some(&made)).expect(201);
    let session = answer["session"]["id"].as_str().expect("an id").to_owned();
    let words = ["send", "hello", "--session", &session, "--url", &url(server)];
    let with = |name: &str, value: &str| binary().args(words).env(name, value).output().expect("the binary runs");
    assert!(refused(&binary().args(words).output().expect("it runs")).contains("Not authenticated (401)"));
    assert!(refused(&with("FLEETLM_TOKEN", "nonsense")).contains("(401)"));
    assert!(said(&with("FLEETLM_TOKEN", &token)).contains("hello"));
    let folder = Folder::new();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).expect("it can be written");
    let file = file.to_str().expect("UTF-8");
    assert!(said(&with("FLEETLM_TOKEN_FILE", file)).contains("hello"));
    for bad in [["FLEETLM_TOKEN_FILE", "/nowhere"], ["FLEETLM_TOKEN", "two words"]] {
        assert!(!refused(&with(bad[0], bad[1])).contains("two words"), "a token is never shown");
    }
}

#[test]
fn a_server_with_a_certificate_is_believed_when_its_issuer_is_trusted() {
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let session = server.session("alice", "echo");
    let folder = Folder::new();
    let ca = secured.authority().file(&folder);
    let url = format!("https://{}", server.address());
    let words = ["send", "hello", "--session", &session, "--url", &url];
    let output = binary().args(words).arg("--ca").arg(&ca).output().expect("it runs");
    assert!(said(&output).contains("hello"));
    let strange = refused(&binary().args(words).output().expect("it runs"));
    assert!(strange.contains("certificate"), "{strange}");
}

#[test]
fn what_cannot_be_reached_or_understood_is_said_in_a_line() {
    let server = Server::start();
    for (words, word) in [
        (vec!["tail", "01K6GR2EV9Z7PSMEVVJ5M954CH"], "not found"),
        (vec!["send", "hi", "--session", "../agents"], "not found"),
        (vec!["agents", "deliveries", "nobody/../x?y"], "not found"),
        (vec!["sessions", "new", "--user", "", "--agent", "x"], "user_id"),
    ] {
        let error = refused(&run(&server, &words)).to_lowercase();
        assert!(error.contains(word), "{words:?}: {error}");
    }
    assert_eq!(said(&run(&server, &["health"])), "ready\n");
    for bad in ["http://127.0.0.1:1", "ftp://127.0.0.1", "nonsense"] {
        refused(&binary().args(["sessions", "--url", bad]).output().expect("it runs"));
    }
}

#[test]
fn a_failure_says_each_of_its_causes_once() {
    let output = binary().args(["check", "/nowhere/at/all"]).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.lines().count() == 1, "{said}");
    assert_eq!(said.matches("No such file or directory").count(), 1, "{said}");
    assert!(said.contains("/nowhere/at/all"), "{said}");
}
