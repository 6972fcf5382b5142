//! The npm `phoenix` client, oldest and newest supported, over WebSocket and long poll, through a crash of the server.

use crate::harness::guard::{Guarded, user_token};
use crate::harness::{Folder, Options, Secured, Server, json};
use crate::node::{Node, Transport};
use crate::packages::{PHOENIX_VERSIONS, phoenix};

/// A server on a folder with a session of two messages.
fn prepared(folder: &Folder, options: &Options) -> (Server, String) {
    let server = Server::on(folder.path(), options);
    let session = server.session("alice", "bot");
    server.say(&session, "alice", "one");
    server.answer_as(&session, "bot", "two");
    (server, session)
}

/// Releases that know no fetch poll by XMLHttpRequest.
fn ajax(version: &str) -> &'static str {
    if version.starts_with("1.7") { "XMLHttpRequest" } else { "fetch" }
}

fn live_through_a_crash(version: &str, transport: Transport) {
    live_through_a_crash_of(&Options::default(), "ws", "", version, transport);
}

/// `trusted` is a file with a certificate that the client trusts.
fn live_through_a_crash_of(options: &Options, scheme: &str, trusted: &str, version: &str, transport: Transport) {
    let Some(packages) = phoenix(version) else { return };
    let folder = Folder::new();
    let (server, session) = prepared(&folder, options);
    let address = server.address();
    let url = format!("{scheme}://{address}/socket");
    let environment = [
        ("URL_BASE", url.as_str()),
        ("SESSION_ID", &session),
        ("AJAX", ajax(version)),
        ("NODE_EXTRA_CA_CERTS", trusted),
    ];
    let mut node = Node::run(&packages, transport, include_str!("client.mjs"), &environment);
    node.until("kill and restart please");
    server.kill();
    let server = Server::on(folder.path(), &options.clone().listen(address));
    assert_eq!(server.answer_as(&session, "bot", "while you were away")["seq"], 6);
    node.finished();
    assert_eq!(server.history(&session).len(), 7);
}

#[test]
fn the_oldest_client_lives_through_a_crash_over_websocket() {
    live_through_a_crash(PHOENIX_VERSIONS[0], Transport::WebSocket);
}

#[test]
fn the_newest_client_lives_through_a_crash_over_websocket() {
    live_through_a_crash(PHOENIX_VERSIONS[1], Transport::WebSocket);
}

#[test]
fn the_oldest_client_lives_through_a_crash_over_long_poll() {
    live_through_a_crash(PHOENIX_VERSIONS[0], Transport::LongPoll);
}

#[test]
fn the_newest_client_lives_through_a_crash_over_long_poll() {
    live_through_a_crash(PHOENIX_VERSIONS[1], Transport::LongPoll);
}

#[test]
fn the_newest_client_lives_through_a_crash_over_tls() {
    let secured = Secured::new();
    let folder = Folder::new();
    let trusted = secured.authority().file(&folder);
    let trusted = trusted.to_str().expect("a path in UTF-8");
    for transport in [Transport::WebSocket, Transport::LongPoll] {
        live_through_a_crash_of(&secured.options(), "wss", trusted, PHOENIX_VERSIONS[1], transport);
    }
}

#[test]
fn a_client_without_websockets_falls_back_to_long_poll_by_itself() {
    for version in PHOENIX_VERSIONS {
        let Some(packages) = phoenix(version) else { return };
        let folder = Folder::new();
        let (server, session) = prepared(&folder, &Options::default());
        let url = format!("ws://{}/socket", server.address());
        let environment = [("URL_BASE", url.as_str()), ("SESSION_ID", &session), ("AJAX", ajax(version))];
        Node::run(&packages, Transport::WebSocket, include_str!("fallback.mjs"), &environment).finished();
    }
}

#[test]
fn the_newest_client_connects_with_its_own_auth_token_and_not_with_a_bad_one_or_none() {
    let Some(packages) = phoenix(PHOENIX_VERSIONS[1]) else { return };
    let guarded = Guarded::start(&[]);
    let good = user_token("default", "alice", 600);
    let made = guarded.call(&good, "POST", "/api/sessions", Some(&json!({"user_id": "alice", "agent_id": "bot"})));
    let session = made.expect(201)["session"]["id"].as_str().expect("an id").to_owned();
    let url = format!("ws://{}/socket", guarded.server.address());
    let bad = format!("{good}x");
    let environment = [("URL_BASE", url.as_str()), ("SESSION_ID", &session), ("GOOD", &good), ("BAD", &bad)];
    for transport in [Transport::WebSocket, Transport::LongPoll] {
        Node::run(&packages, transport, include_str!("auth.mjs"), &environment).finished();
    }
}
