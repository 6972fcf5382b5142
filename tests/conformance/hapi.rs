//! The curl lines of the hub's page (`seeds/hapi/`), as printed but for host and session id, run by a shell.

use crate::harness::{Server, Value, json};
use crate::packages::{missing, runs};
use std::process::Command;

/// Runs printed lines. The token stays as printed: the server is open.
fn shell(lines: &str, server: &Server, session: &str) -> Value {
    let host = "http://127.0.0.1:3006/api/sessions/abc123/";
    assert!(lines.contains(host), "{lines}");
    let lines = lines.replace(host, &format!("http://{}/api/sessions/{session}/", server.address()));
    let output = Command::new("bash").arg("-c").arg(&lines).output().expect("bash runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {lines}: {output:?}"))
}

#[test]
fn the_printed_curl_lines_send_fetch_and_page() {
    if !runs("curl", &["--version"]) {
        return missing("curl is not installed: the printed lines were not run");
    }
    let server = Server::shared();
    let session = server.session("alice", "echo");
    for lines in [include_str!("seeds/hapi/text.sh"), include_str!("seeds/hapi/attachment.sh")] {
        assert_eq!(shell(lines, &server, &session), json!({"ok": true}));
    }
    for lines in [include_str!("seeds/hapi/fetch.sh"), include_str!("seeds/hapi/older.sh")] {
        let page = shell(lines, &server, &session);
        let rows = page["messages"].as_array().expect("rows").clone();
        let seqs: Vec<_> = rows.iter().map(|row| row["seq"].as_u64().expect("a seq")).collect();
        assert!(seqs.is_sorted_by(|newer, older| newer > older) && seqs.ends_with(&[2, 1]), "{page}");
        assert_eq!(page["hasMore"], false);
        let [.., second, first] = &rows[..] else { panic!("{page}") };
        assert_eq!(first["content"], json!({"type": "text", "text": "Please add a new feature"}));
        assert_eq!(first["localId"], "local-456");
        assert_eq!(second["content"]["attachments"][0]["path"], "/tmp/hapi-upload-abc123-design.png");
    }
}
