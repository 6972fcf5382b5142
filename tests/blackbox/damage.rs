//! Damaged folders: a corrupt record is named by file and offset, is never served, and stops nobody else; and what
//! `check` and `export` say about sound ones.

use crate::harness::server::run;
use crate::harness::{Folder, Options, Server, Value};
use std::path::Path;

fn words(folder: &Path) -> &str {
    folder.to_str().expect("a path in UTF-8")
}

/// Three sessions with three messages each; the second one's second message has this text.
fn filled(folder: &Folder, marked: &str) -> Vec<String> {
    let server = Server::on(folder.path(), &Options::shards(1));
    let sessions: Vec<String> = (0..3).map(|_| server.session("alice", "bot")).collect();
    for n in 1..=3 {
        for (place, session) in sessions.iter().enumerate() {
            let text = if (place, n) == (1, 2) { marked.to_owned() } else { format!("{place}/{n}") };
            server.say(session, "alice", &text);
        }
    }
    server.stop();
    sessions
}

#[test]
fn check_accepts_a_sound_folder_and_says_what_it_holds() {
    let folder = Folder::new();
    filled(&folder, "marked");
    let output = run(&["check", words(folder.path())]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!output.stdout.is_empty());
}

#[test]
fn check_accepts_the_folder_of_a_killed_server() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let session = server.session("alice", "bot");
    server.say(&session, "alice", "x");
    server.kill();
    let output = run(&["check", words(folder.path())]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn export_prints_a_session_as_json_lines() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let (session, other) = (server.session("alice", "bot"), server.session("alice", "bot"));
    let said: Vec<Value> = (0..3).map(|n| server.say(&session, "alice", &n.to_string())).collect();
    server.say(&other, "alice", "not this one");
    server.stop();
    let output = run(&["export", words(folder.path()), "--session", &session]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let exported: Vec<&Value> = lines.iter().filter(|line| line.get("seq").is_some()).collect();
    assert_eq!(exported, said.iter().collect::<Vec<_>>());
    let unknown = run(&["export", words(folder.path()), "--session", "01K6GR2EV9Z7PSMEVVJ5M954CH"]);
    assert!(!unknown.status.success() && !unknown.stderr.is_empty(), "an unknown session is said to be unknown");
}

#[test]
fn check_of_something_that_is_no_data_folder_fails_by_name() {
    let folder = Folder::new();
    for path in [folder.path().join("missing"), Path::new("/proc/version").to_path_buf()] {
        let output = run(&["check", words(&path)]);
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(words(&path)) && !text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_flipped_byte_is_named_by_check_with_file_and_offset_and_by_the_server_which_serves_the_rest() {
    let folder = Folder::new();
    let marked = "the-marked-payload-0123456789";
    let sessions = filled(&folder, marked);
    let (file, at) = folder.holding(marked).into_iter().next().expect("the payload stands in a segment");
    Folder::flip(&file, at + 5);
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();

    let output = run(&["check", words(folder.path())]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.contains(&name) && names_record_at(line, at));
    assert!(line.is_some(), "{name} is corrupt in the record around {at}:\n{text}");

    let server = Server::on(folder.path(), &Options::shards(1));
    for (place, session) in sessions.iter().enumerate().filter(|(place, _)| *place != 1) {
        let history = server.history(session);
        let expected: Vec<String> = (1..=3).map(|n| format!("{place}/{n}")).collect();
        assert_eq!(crate::harness::rest::texts(&history), expected);
        assert_eq!(server.say(session, "alice", "goes on")["seq"], 4);
    }
    let damaged = server.get(&format!("/api/sessions/{}/messages", sessions[1]));
    assert!(damaged.status >= 500, "a damaged page is an error and not a shorter page: {damaged:?}");
    let said = server.log() + damaged.text();
    assert!(said.contains(&name), "the server names the file: {said}");
    assert_eq!(server.get("/health/live").status, 200);
}

/// A line names the offset of the record that holds the byte at `at`: the start of its header or a bit before it.
fn names_record_at(line: &str, at: u64) -> bool {
    let numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u64>().ok());
    numbers.into_iter().any(|number| number <= at && at - number < 1024)
}

#[test]
fn an_offset_is_found_in_a_line() {
    assert!(names_record_at("segment-0000000001.log: offset 4096: bad checksum", 4200));
    assert!(!names_record_at("segment-0000000001.log: offset 4096: bad checksum", 40_000));
    assert!(!names_record_at("segment.log: offset 4096: bad checksum", 4000));
}
