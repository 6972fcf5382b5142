//! The curl lines of the published pages (`seeds/`), as printed but for host and session id, run by a shell.

use crate::harness::{Folder, Secured, Server, Value, json};
use crate::packages::{missing, runs};
use std::process::Command;

const PAGES: [[&str; 3]; 2] = [
    [
        include_str!("seeds/rest-first/send.sh"),
        include_str!("seeds/rest-first/fetch.sh"),
        include_str!("seeds/rest-first/read.sh"),
    ],
    [
        include_str!("seeds/websocket-first/send.sh"),
        include_str!("seeds/websocket-first/fetch.sh"),
        include_str!("seeds/websocket-first/read.sh"),
    ],
];

/// Runs printed lines. The `&` within the printed URL puts curl into the background, so the shell waits at the end.
fn shell(lines: &str, server: &Server, session: &str) -> Value {
    let host = "http://localhost:4000";
    assert!(lines.contains(host) && lines.contains("{session_id}"), "{lines}");
    let lines = lines.replace(host, &format!("http://{}", server.address())).replace("{session_id}", session);
    let output = Command::new("bash").arg("-c").arg(format!("{lines}\nwait")).output().expect("bash runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_printed_curl_lines_send_fetch_and_mark_read() {
    if !runs("curl", &["--version"]) {
        return missing("curl is not installed: the printed lines were not run");
    }
    let server = Server::shared();
    for [send, fetch, read] in PAGES {
        let session = server.session("alice", "bot");
        let sent = shell(send, &server, &session);
        assert_eq!(sent["message"]["seq"], 1);
        assert_eq!(sent["message"]["content"], json!({"text": "Hello"}));
        let fetched = shell(fetch, &server, &session);
        assert_eq!(fetched["messages"], json!([sent["message"]]));
        let marked = shell(read, &server, &session);
        assert_eq!(marked["session"]["id"], session.as_str());
        assert_eq!(server.cursor(&session, "alice"), Some(1));
    }
}

#[test]
fn curl_speaks_tls_with_the_server_when_it_trusts_the_certificate_and_only_then() {
    if !runs("curl", &["--version"]) {
        return missing("curl is not installed: it did not speak TLS");
    }
    let secured = Secured::new();
    let server = Server::with(&secured.options());
    let url = format!("https://{}/health/live", server.address());
    let folder = Folder::new();
    let trusted = secured.authority().file(&folder);
    let ask = |words: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--output", "-", "--write-out", "%{http_code}"]).args(words);
        curl.arg(&url).output().expect("curl runs")
    };
    let trusted = trusted.to_str().expect("a path in UTF-8");
    for version in ["1.2", "1.3"] {
        let output = ask(&["--cacert", trusted, "--tls-max", version]);
        assert!(output.status.success() && output.stdout.ends_with(b"200"), "{output:?}");
    }
    assert_eq!(ask(&[]).status.code(), Some(60), "curl's code for a certificate that nobody it trusts has issued");
}
