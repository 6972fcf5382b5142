//! The console in headless Chromium: what a reader does with it, by keys, through a crash of the server; with and without tokens.
//!
//! What it looked like lies in `target/conformance/console/shots`.

use crate::harness::guard::Guarded;
use crate::harness::{Folder, Options, Server, json};
use crate::node::Node;
use crate::packages;
use std::path::Path;

/// Messages of others while the reader has no server: more than a join brings.
const AWAY: usize = 150;

/// Runs a script beside the driver of the browser.
fn run(script: &str, server: &Server, environment: &[(&str, &str)]) -> Option<Node> {
    let (packages, chromium) = packages::browser()?;
    let (url, shots) = (format!("http://{}", server.address()), packages.join("shots"));
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (chromium, shots) = (text(&chromium), text(&shots));
    let own = [("URL_BASE", url.as_str()), ("CHROMIUM", &chromium), ("SHOTS", &shots)];
    Some(Node::start(&packages, &[], &[("script.mjs", script)], &[&own[..], environment].concat()))
}

/// A session with a long past, and how its reader finds it.
fn with_a_past(server: &Server) -> String {
    let session = server.session("alice", "bot");
    for number in 1..=90 {
        server.say(&session, "alice", &format!("question {number}"));
        server.answer_as(&session, "bot", &format!("answer {number}"));
    }
    server.mark_read(&session, "alice", 180);
    session
}

#[test]
fn a_reader_chats_through_a_crash_and_misses_nothing() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let (address, past) = (server.address(), with_a_past(&server));
    let Some(mut node) = run(include_str!("console.mjs"), &server, &[("HISTORY", &past), ("AWAY", &AWAY.to_string())])
    else {
        return;
    };
    node.until("kill please");
    server.kill();
    let asked = node.until("start please ");
    let session = asked.trim_start_matches("start please ").to_owned();
    let server = Server::on(folder.path(), &Options::default().listen(address));
    for number in 1..=AWAY {
        server.answer_as(&session, "echo", &format!("while you were away, {number}"));
    }
    node.until("say something please");
    server.answer_as(&past, "bot", "are you there?");
    node.finished();
}

#[test]
fn a_server_that_wants_tokens_is_asked_with_one() {
    let guarded = Guarded::start(&[]);
    let (_, token) = guarded.key(&json!({"name": "reader", "scope": "all", "user": "alice"}));
    let (_, other) = guarded.key(&json!({"name": "other", "namespace": "a", "user": "alice"}));
    let tokens = [("TOKEN", token.as_str()), ("OTHER", &other)];
    let Some(node) = run(include_str!("console_token.mjs"), &guarded.server, &tokens) else { return };
    node.finished();
}

/// Beside a list of pages that the console is not on.
#[test]
fn an_operator_registers_edits_and_deletes_and_sees_the_disk() {
    let server = Server::with(&Options::default().flags(&["--allow-origin", "https://app.example"]));
    let Some(node) = run(include_str!("console_edit.mjs"), &server, &[]) else { return };
    node.finished();
}
