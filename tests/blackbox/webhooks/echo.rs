//! The built-in agent: streaming with nothing else running.

use super::{Room, names, of, register, text_of};
use crate::harness::{Options, Server, Value, json};
use std::time::{Duration, Instant};

/// The deltas among what was seen.
fn deltas(seen: &[(String, Value)]) -> Vec<&str> {
    let text = |shown: &&'_ Value| shown["chunk"]["type"] == "text-delta";
    let chunks = of(seen, "stream_chunk").into_iter().filter(text);
    chunks.map(|shown| shown["chunk"]["delta"].as_str().expect("a text")).collect()
}

#[test]
fn echo_answers_without_registration_word_by_word() {
    let server = Server::shared();
    let mut room = Room::open(&server, "echo");
    room.say(&server, "Say it again, please");
    let seen = room.until_the_end();
    assert_eq!(deltas(&seen), ["Say ", "it ", "again, ", "please"]);
    assert_eq!(text_of(of(&seen, "message")[0]), "Say it again, please");
    assert_eq!(of(&seen, "message")[0]["sender_id"], "echo");
}

#[test]
fn its_speed_is_the_operators() {
    let server = Server::with(&Options::default().flags(&["--echo-chunks-per-s", "10"]));
    let mut room = Room::open(&server, "echo");
    let began = Instant::now();
    room.say(&server, "1 2 3 4 5 6");
    room.until_the_end();
    assert!(began.elapsed() >= Duration::from_millis(600), "six words take six tenths of a second");
}

#[test]
fn at_no_chunks_a_second_nobody_answers_to_that_name() {
    let server = Server::with(&Options::default().flags(&["--echo-chunks-per-s", "0"]));
    let mut room = Room::open(&server, "echo");
    room.say(&server, "Hello?");
    room.socket.event(&room.topic.clone(), "message");
    assert!(room.socket.is_silent_for(Duration::from_millis(1_000)));
    // Somebody may register under it then.
    let fields = json!({"id": "echo", "name": "Mine", "origin_url": "builtin:echo", "debounce_window_ms": 0});
    server.post("/api/agents", &json!({ "agent": fields })).expect(201);
    room.say(&server, "Hello?");
    assert_eq!(text_of(&room.answer()), "Hello?");
}

#[test]
fn a_registered_one_says_as_many_chunks_of_as_many_bytes_as_asked() {
    let server = Server::shared();
    let url = "builtin:echo?chunks_per_s=0&chunks=1000&bytes=16";
    let mut room = Room::open(&server, &register(&server, url, json!({})));
    room.say(&server, "Go");
    let seen = room.until_the_end();
    let deltas = deltas(&seen);
    assert_eq!((deltas.len(), deltas.iter().all(|delta| delta.len() == 16)), (1_000, true));
    assert_eq!(text_of(of(&seen, "message")[0]).len(), 16_000);
    assert_eq!(names(&seen).last_chunk(), Some(&["message", "run"]));
}

#[test]
fn it_stops_when_it_is_told_to() {
    let server = Server::shared();
    let url = "builtin:echo?chunks_per_s=50&chunks=100000&bytes=1";
    let mut room = Room::open(&server, &register(&server, url, json!({})));
    room.say(&server, "Go");
    let run_id = room.run("started")["run_id"].as_str().expect("an id").to_owned();
    while room.chunk()["index"] != 5 {}
    server.post(&format!("/api/sessions/{}/runs/{run_id}/stop", room.session), &json!({})).expect(200);
    assert_eq!(room.answer()["metadata"]["reason"], "stopped");
    room.run("stopped");
}
