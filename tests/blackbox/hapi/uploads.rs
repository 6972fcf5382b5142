//! Files of a session: kept before they are claimed, reached only through who claims them, gone when nobody does.

use super::{BEARER, active_session, ask, path, say};
use crate::harness::{Answer, Folder, Options, Server, Value, json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const UNKNOWN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn body(name: &str, bytes: &[u8]) -> Value {
    json!({"filename": name, "content": STANDARD.encode(bytes), "mimeType": "image/png"})
}

fn upload(server: &Server, session: &str, body: &Value) -> Answer {
    ask(server, "POST", &path(session, "/upload"), Some(body))
}

/// Uploads and gives the path.
#[track_caller]
fn uploaded(server: &Server, session: &str, name: &str, bytes: &[u8]) -> String {
    let answer = upload(server, session, &body(name, bytes)).expect(200);
    assert_eq!(answer["success"], true);
    answer["path"].as_str().expect("a path").to_owned()
}

fn fetch(server: &Server, path: &str) -> Answer {
    ask(server, "GET", &format!("/{path}"), None)
}

/// The files of all blobs in a data folder.
fn blobs(folder: &Path) -> Vec<PathBuf> {
    let folders =
        std::fs::read_dir(folder.join("blobs")).expect("the folder is there").map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|path| std::fs::read_dir(path).unwrap());
    files.map(|entry| entry.unwrap().path()).collect()
}

fn attachment(path: &str) -> Value {
    json!({"text": "look", "attachments": [{"id": "a", "filename": "f", "mimeType": "m", "size": 3, "path": path}]})
}

#[test]
fn a_file_is_kept_attached_fetched_and_given_up() {
    let server = Server::shared();
    let session = active_session(&server);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let file = uploaded(&server, &session, "a design/../.png", &bytes);
    assert!(
        file.starts_with(&format!("api/sessions/{session}/files/")) && file.ends_with("/a_design_.._.png"),
        "{file}"
    );
    let answer = fetch(&server, &file);
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"a_design_.._.png\""));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    say(&server, &session, &attachment(&file));
    say(&server, &session, &attachment(&format!("/{file}")));
    let delete = |of: &str, path: &str| {
        ask(&server, "POST", &super::path(of, "/upload/delete"), Some(&json!({ "path": path }))).expect(200)
    };
    let other = active_session(&server);
    assert_eq!(delete(&other, &file), json!({"success": false}));
    assert_eq!(delete(&session, "/tmp/x"), json!({"success": false}));
    assert_eq!(delete(&session, &file), json!({"success": true}));
    assert_eq!(delete(&session, &file), json!({"success": false}));
    fetch(&server, &file).expect(404);
    let gone = ask(&server, "POST", &path(&session, "/messages"), Some(&attachment(&file))).expect(400);
    assert_eq!(gone["error"], "The file of an attachment is not there");
}

#[test]
fn a_file_is_reached_only_through_a_session_that_claims_it() {
    let server = Server::shared();
    let (first, second) = (active_session(&server), active_session(&server));
    let file = uploaded(&server, &first, "same.txt", b"same");
    let elsewhere = file.replace(&first, &second);
    fetch(&server, &elsewhere).expect(404);
    assert_eq!(uploaded(&server, &second, "same.txt", b"same"), elsewhere, "the same bytes have one hash");
    assert_eq!(server.delete(&path(&first, "?permanent=true")).status, 204);
    fetch(&server, &file).expect(404);
    assert_eq!(fetch(&server, &elsewhere).body, b"same");
    for path in [elsewhere.replace("same.txt", "other.txt"), elsewhere.replace("/files/", "/files/0")] {
        fetch(&server, &path).expect(404);
    }
}

#[test]
fn an_upload_is_refused_for_its_session_first_then_for_its_body() {
    let server = Server::shared();
    let (active, archived) = (active_session(&server), active_session(&server));
    assert_eq!(server.delete(&path(&archived, "")).status, 204);
    let sound = body("f", b"x");
    upload(&server, &archived, &sound).expect(409);
    upload(&server, UNKNOWN, &sound).expect(404);
    let (without_agent, with_echo) = (server.session("alice", "nobody-registered-it"), server.session("alice", "echo"));
    upload(&server, &without_agent, &sound).expect(409);
    for wrong in [
        json!({}),
        json!([]),
        json!({"filename": "f", "content": "!", "mimeType": "m"}),
        body("", b"x"),
        body("f", b""),
    ] {
        let sessions = [(&*active, 400), (&with_echo, 400), (&archived, 409), (&without_agent, 409), (UNKNOWN, 404)];
        for (session, status) in sessions {
            upload(&server, session, &wrong).expect(status);
        }
    }
}

#[test]
fn a_file_may_be_larger_than_other_bodies_and_has_a_bound_too() {
    let server = Server::with(&Options::shards(1).flags(&["--body-bytes-max", "20000"]));
    let session = active_session(&server);
    let large = vec![7; 1_000_000];
    assert_eq!(fetch(&server, &uploaded(&server, &session, "large", &large)).body, large);
    let mut connection = server.connect();
    let length = 80 * 1024 * 1024;
    connection
        .send(format!("POST {} HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n", path(&session, "/upload")));
    assert_eq!(connection.answer().status, 413, "before a byte of it is sent");
    // Four that have begun keep a fifth out.
    let begin = || {
        let mut connection = server.connect();
        connection.send(format!(
            "POST {} HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 30000\r\n\r\n",
            path(&session, "/upload")
        ));
        connection
    };
    let mut begun: Vec<_> = (0..4).map(|_| begin()).collect();
    begun.iter_mut().for_each(|connection| assert_eq!(connection.answer().status, 100));
    let refused = begin().answer();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json(), json!({"success": false, "error": "Hub not connected"}));
    drop(begun.pop());
    let mut text = body("f", &[1; 21_000]).to_string().into_bytes();
    text.resize(30_000, b' ');
    let mut last = begun.pop().expect("three are left");
    last.send(text);
    assert_eq!(last.answer().status, 200);
}

#[test]
fn a_crash_loses_no_claimed_file_and_what_nobody_claims_goes_after_its_grace() {
    let folder = Folder::new();
    let options = Options::shards(2);
    let server = Server::on(folder.path(), &options);
    let sessions: Vec<String> = (0..6).map(|_| active_session(&server)).collect();
    let mut files = Vec::new();
    for round in 0..3 {
        for session in &sessions {
            files.push((uploaded(&server, session, "f", format!("{session} {round}").as_bytes()), session, round));
        }
    }
    let (released, ..) = files.pop().expect("a file");
    let body = json!({ "path": released });
    ask(&server, "POST", &path(&sessions[5], "/upload/delete"), Some(&body)).expect(200);
    server.kill();
    // All of them are past their grace, and one was never claimed.
    let folder_of_one = blobs(folder.path())[0].parent().expect("a folder").to_owned();
    let unclaimed =
        folder_of_one.join(format!("{}{}", folder_of_one.file_name().unwrap().to_str().unwrap(), "0".repeat(62)));
    std::fs::write(&unclaimed, b"nobody's").expect("it is written");
    let young =
        folder_of_one.join(format!("{}{}", folder_of_one.file_name().unwrap().to_str().unwrap(), "1".repeat(62)));
    let old = SystemTime::now() - Duration::from_secs(2 * 3600);
    for blob in blobs(folder.path()) {
        std::fs::File::options().write(true).open(blob).unwrap().set_modified(old).expect("a time");
    }
    std::fs::write(&young, b"on its way to a claim").expect("it is written");
    let server = Server::on(folder.path(), &options);
    server.logged("files that nobody claims are removed", 1);
    for (file, session, round) in &files {
        assert_eq!(fetch(&server, file).text(), format!("{session} {round}"));
    }
    fetch(&server, &released).expect(404);
    assert!(!unclaimed.exists() && young.exists());
    assert_eq!(blobs(folder.path()).len(), files.len() + 1, "the released one is gone too");
    let answer = server.call("HEAD", &format!("/{}", files[0].0), &[BEARER], None);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}
