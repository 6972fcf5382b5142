//! Agents that are slow, silent, huge or mad: the run ends by name, what was shown is kept, nobody else notices.

use super::{Room, delta, finish, names, of, spoken, start, text_of, text_start};
use crate::harness::{Agent, Call, Server, Value, json};

/// A room whose agent has said `Hel` and is about to go on.
fn halfway(server: &Server, agent: &Agent, fields: Value) -> (Room, Call) {
    let mut room = Room::with(server, agent, fields);
    room.say(server, "Hello?");
    let mut call = agent.call();
    for chunk in [start(), text_start(), delta("Hel")] {
        call.say(&chunk);
        room.chunk();
    }
    room.run("started");
    (room, call)
}

/// The answer was cut off for everybody: an abort, the text as far as it came, the failure by name.
#[track_caller]
fn assert_cut_off(room: &mut Room, text: &str, reason: &str) -> Value {
    let seen = room.until_the_end();
    let chunks = of(&seen, "stream_chunk");
    assert_eq!(chunks.last().expect("a chunk")["chunk"], json!({"type": "abort"}));
    let message = of(&seen, "message")[0];
    assert_eq!(text_of(message), text);
    let metadata = &message["metadata"];
    assert_eq!((&metadata["termination"], &metadata["reason"]), (&json!("abort"), &json!(reason)), "{metadata}");
    let (event, end) = seen.last().expect("an end");
    assert_eq!((event.as_str(), &end["status"], &end["reason"]), ("run", &json!("failed"), &json!(reason)), "{end}");
    assert_eq!(end["seq"], message["seq"]);
    message.clone()
}

/// The run failed without anything to show.
#[track_caller]
fn assert_failed(room: &mut Room, reason: &str) {
    let seen = room.until_the_end();
    let end = &seen.last().expect("an end").1;
    assert_eq!((&end["status"], &end["reason"]), (&json!("failed"), &json!(reason)), "{end}");
    assert_eq!(names(&seen), ["run", "run"], "nothing was shown, nothing tried again");
}

#[test]
fn an_agent_that_never_answers_is_hung_up_on_and_called_again() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({"timeout_ms": 300}));
    room.say(&server, "Hello?");
    let mut silent = agent.call();
    room.run("started");
    assert_eq!(room.run("retrying")["reason"], "head_timeout");
    assert!(silent.is_closed_by_server());
    agent.call().answer(&spoken("Sorry."));
    assert_eq!(text_of(&room.answer()), "Sorry.");
}

#[test]
fn an_agent_that_falls_silent_after_its_head_is_called_again() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({"timeout_ms": 300}));
    room.say(&server, "Hello?");
    let mut silent = agent.call();
    silent.head(200, &[]);
    room.run("started");
    assert_eq!(room.run("retrying")["reason"], "gap_timeout");
    assert!(silent.is_closed_by_server());
    agent.call().answer(&spoken("Sorry."));
    assert_eq!(text_of(&room.answer()), "Sorry.");
}

#[test]
fn an_agent_that_falls_silent_in_the_middle_is_cut_off() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, mut call) = halfway(&server, &agent, json!({"timeout_ms": 500}));
    assert_cut_off(&mut room, "Hel", "gap_timeout");
    assert!(call.is_closed_by_server());
    room.say(&server, "Are you there?");
    agent.call().answer(&spoken("Yes."));
    assert_eq!(text_of(&room.answer()), "Yes.", "the next message is a new chance");
}

#[test]
fn an_agent_that_dribbles_is_cut_off_when_its_whole_time_is_over() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({"timeout_ms": 30_000, "total_timeout_ms": 1_500}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    call.say(&start());
    call.say(&text_start());
    // It says a letter as soon as the one before was seen, for ever.
    let said = std::thread::scope(|scope| {
        let (seen, more) = std::sync::mpsc::channel();
        let dribbling = scope.spawn(move || {
            while call.say(&delta("x")) && more.recv().is_ok() {}
            assert!(call.is_closed_by_server());
        });
        let mut said = 0;
        let topic = room.topic.clone();
        loop {
            let frame = room.socket.first(|frame| frame.topic == topic && frame.event != "run");
            match frame.payload["chunk"]["type"].as_str() {
                Some("text-delta") => {
                    said += 1;
                    // It may have given up by now.
                    let _ = seen.send(());
                }
                Some("abort") => break,
                _ => {}
            }
        }
        drop(seen);
        dribbling.join().expect("it was hung up on");
        said
    });
    let message = room.answer();
    assert_eq!(text_of(&message), "x".repeat(said), "everything that was shown is kept");
    assert_eq!(message["metadata"]["reason"], "total_timeout");
    room.run("started");
    assert_eq!(room.run("failed")["reason"], "total_timeout");
}

#[test]
fn an_endless_line_is_dropped_and_the_answer_goes_on_behind_it() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    call.piece("{\"type\":\"text-delta\",\"id\":\"t\",\"delta\":\"");
    let megabyte = "x".repeat(1 << 20);
    (0..6).for_each(|_| assert!(call.piece(&megabyte)));
    call.piece("\"}\n");
    call.answer(&spoken("Hello!"));
    let seen = room.until_the_end();
    assert_eq!(of(&seen, "stream_chunk").len(), 5);
    assert_eq!(text_of(of(&seen, "message")[0]), "Hello!");
    let deliveries = server.get(&format!("/api/agents/{}/deliveries", room.agent_id)).expect(200);
    assert_eq!(deliveries["deliveries"][0]["lines_dropped"], 1);
}

#[test]
fn an_answer_over_its_bound_ends_with_what_fits() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    for chunk in [start(), text_start()] {
        call.say(&chunk);
        room.chunk();
    }
    let megabyte = "x".repeat(1_000_000);
    // Nine are over the eight that a message may have. Each is seen before the next, or the socket would fall behind.
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|chunk: &Value| chunk["type"] == "abort") {
        call.say(&delta(&megabyte));
        seen.push(room.chunk()["chunk"].clone());
        assert!(seen.len() < 20, "it goes on and on");
    }
    let seen = room.until_the_end();
    let end = &seen.last().expect("an end").1;
    assert_eq!((&end["status"], &end["reason"]), (&json!("failed"), &json!("answer_too_large")), "{end}");
    let text = text_of(of(&seen, "message")[0]);
    assert!((6_000_000..=8_000_000).contains(&text.len()), "{}", text.len());
    assert!(call.is_closed_by_server());
}

#[test]
fn an_endless_body_without_a_chunk_is_bounded_too() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    let blank = vec![b'\n'; 1 << 20];
    let taken = (0..1_000).take_while(|_| call.piece(&blank)).count();
    assert!(taken < 1_000, "the server hangs up after {taken} MiB");
    assert_failed(&mut room, "response_too_large");
}

#[test]
fn what_is_not_http_fails_by_name() {
    let server = Server::shared();
    let agent = Agent::start();
    for garbage in ["\0\x01\x02 garbage\r\n\r\n", "HTTP/1.1 abc Bad\r\n\r\n", "SSH-2.0-OpenSSH_9.9\r\n\r\n"] {
        let mut room = Room::with(&server, &agent, json!({}));
        room.say(&server, "Hello?");
        let mut call = agent.call();
        call.raw(garbage);
        assert_failed(&mut room, "bad_response");
        assert!(call.is_closed_by_server());
    }
}

#[test]
fn a_head_without_end_fails_by_name() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    call.raw("HTTP/1.1 200 OK\r\n");
    let header = format!("x-more: {}\r\n", "x".repeat(1_000));
    let taken = (0..10_000).take_while(|_| call.raw(&header)).count();
    assert!(taken < 10_000, "the server hangs up after {taken} headers");
    assert_failed(&mut room, "bad_response");
}

#[test]
fn a_body_that_breaks_its_framing_keeps_what_came_before() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, mut call) = halfway(&server, &agent, json!({}));
    call.raw("zz\r\nnot a size\r\n");
    assert_cut_off(&mut room, "Hel", "bad_response");
}

#[test]
fn nothing_of_an_error_response_is_shown_however_much_it_looks_like_an_answer() {
    let server = Server::shared();
    let agent = Agent::start();
    for status in [400, 404, 500] {
        let mut room = Room::with(&server, &agent, json!({}));
        room.say(&server, "Hello?");
        let mut call = agent.call();
        call.head(status, &[("content-type", "application/x-ndjson")]);
        call.answer(&spoken("An error page"));
        assert_failed(&mut room, "http_status");
        assert_eq!(server.history(&room.session).len(), 1);
    }
}

#[test]
fn a_connection_that_ends_within_a_chunk_keeps_the_chunks_before_it() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, mut call) = halfway(&server, &agent, json!({}));
    call.raw("ff\r\n{\"type\":\"text-del");
    call.cut();
    assert_cut_off(&mut room, "Hel", "network");
}

#[test]
fn a_body_that_ends_without_a_terminal_chunk_is_an_abort_that_keeps_the_text() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, call) = halfway(&server, &agent, json!({}));
    call.finish();
    let message = assert_cut_off(&mut room, "Hel", "answer_incomplete");
    assert_eq!(message["metadata"]["reply_to"], 1);
    assert_eq!(message["content"]["parts"][0]["state"], "done");
}

#[test]
fn a_second_message_that_is_cut_off_leaves_the_first_complete() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    for chunk in spoken("One").iter().chain(&[start(), text_start(), delta("Tw")]) {
        call.say(chunk);
        room.chunk();
    }
    call.cut();
    let first = room.answer();
    assert_eq!((text_of(&first).as_str(), &first["metadata"]["termination"]), ("One", &json!("finish")));
    let message = assert_cut_off(&mut room, "Tw", "network");
    assert_eq!(message["seq"], 3);
}

#[test]
fn what_comes_behind_the_last_terminal_chunk_does_not_matter() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    for chunk in spoken("Hello!") {
        call.say(&chunk);
    }
    assert_eq!(text_of(&room.answer()), "Hello!");
    call.cut();
    room.run("started");
    assert_eq!(room.run("finished")["seq"], 2, "it has said everything: a broken end is no failure");
}

#[test]
fn a_mad_agent_does_not_hurt_its_neighbours() {
    let server = Server::shared();
    let (mad, sane) = (Agent::start(), Agent::start());
    let (mut broken, mut call) = halfway(&server, &mad, json!({}));
    let mut room = Room::with(&server, &sane, json!({}));
    let blank = vec![b' '; 1 << 20];
    (0..20).for_each(|_| assert!(call.piece(&blank)));
    room.say(&server, "Hello?");
    sane.call().answer(&spoken("Hello!"));
    assert_eq!(text_of(&room.answer()), "Hello!");
    call.say(&json!(null));
    call.say(&finish());
    call.finish();
    assert_eq!(text_of(&broken.answer()), "Hel");
}
