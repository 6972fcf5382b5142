//! When an agent is called, and when not: debounce, batches, one call at a time (contract 4.1, 4.3, 8.7).

use super::{Room, register, spoken};
use crate::harness::rest::seqs;
use crate::harness::{Agent, Options, Server, Socket, Value, json};
use std::time::{Duration, Instant};

/// How long nothing must happen where nothing is to happen.
const QUIET: Duration = Duration::from_millis(300);

#[test]
fn messages_of_one_breath_are_answered_by_one_call() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({"debounce_window_ms": 2_000, "debounce_max_wait_ms": 60_000}));
    let began = Instant::now();
    for text in ["one", "two", "three"] {
        room.say(&server, text);
    }
    let call = agent.call();
    assert!(began.elapsed() >= Duration::from_millis(2_000), "it waits for quiet");
    assert_eq!(call.texts(), ["one", "two", "three"]);
    call.answer(&spoken("Hello!"));
    let message = room.answer();
    assert_eq!((&message["seq"], &message["metadata"]["reply_to"]), (&json!(4), &json!(3)));
    assert_eq!(room.run("started")["upto_seq"], 3);
    room.run("finished");
    assert!(agent.is_idle_for(QUIET), "one call for all of them");
}

#[test]
fn one_who_never_stops_talking_is_answered_after_the_longest_wait() {
    let server = Server::shared();
    let agent = Agent::start();
    let room = Room::with(&server, &agent, json!({"debounce_window_ms": 1_500, "debounce_max_wait_ms": 3_000}));
    let began = Instant::now();
    let mut said = 0;
    let call = loop {
        room.say(&server, "and");
        said += 1;
        if let Some(call) = agent.call_within(Duration::from_millis(100)) {
            break call;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "nobody answers after {said} messages");
    };
    assert!(began.elapsed() >= Duration::from_millis(3_000), "not before the longest wait");
    assert!(call.messages().len() > 3, "all that was said meanwhile: {}", call.messages().len());
}

#[test]
fn what_is_said_during_an_answer_makes_exactly_one_next_call() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "one");
    let call = agent.call();
    for text in ["two", "three", "four"] {
        room.say(&server, text);
    }
    assert!(agent.is_idle_for(QUIET), "one call of a session is under way at a time");
    call.answer(&spoken("first"));
    assert_eq!(room.answer()["metadata"]["reply_to"], 1);
    let call = agent.call();
    assert_eq!(call.texts(), ["one", "two", "three", "four", "first"]);
    assert_eq!(seqs(&call.messages()), [1, 2, 3, 4, 5]);
    call.answer(&spoken("second"));
    let message = room.answer();
    assert_eq!((&message["seq"], &message["metadata"]["reply_to"]), (&json!(6), &json!(4)));
    let upto: Vec<Value> =
        ["started", "finished", "started", "finished"].map(|status| room.run(status)["upto_seq"].clone()).into();
    assert_eq!(upto, [1, 1, 4, 4]);
    assert!(agent.is_idle_for(QUIET), "everything is answered");
}

#[test]
fn messages_one_after_another_and_their_answers_alternate() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    for n in 0..3 {
        room.say(&server, &format!("question {n}"));
        agent.call().answer(&spoken(&format!("answer {n}")));
        room.until_the_end();
    }
    let history = server.history(&room.session);
    let senders: Vec<bool> = history.iter().map(|message| message["sender_id"] == "alice").collect();
    assert_eq!(senders, [true, false, true, false, true, false]);
}

#[test]
fn the_agents_and_other_peoples_messages_call_nobody() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    server.answer_as(&room.session, &room.agent_id, "unasked");
    server.say(&room.session, "mallory", "let me in");
    assert!(agent.is_idle_for(QUIET));
    assert!(room.socket.settle().iter().all(|frame| frame.event != "run"));
    room.say(&server, "Hello?");
    let call = agent.call();
    assert_eq!(call.texts(), ["unasked", "let me in", "Hello?"]);
    call.answer(&spoken("Hello!"));
    assert_eq!(room.answer()["metadata"]["reply_to"], 3);
}

#[test]
fn an_agent_that_is_its_own_user_is_not_called() {
    let server = Server::shared();
    let agent = Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    let session = server.session(&id, &id);
    server.say(&session, &id, "monologue");
    assert!(agent.is_idle_for(QUIET));
}

#[test]
fn a_message_over_the_channel_calls_the_agent_too() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let topic = room.topic.clone();
    room.socket.say(&topic, "Hello?");
    let call = agent.call();
    assert_eq!(call.messages()[0]["content"], json!({"text": "Hello?"}));
    call.answer(&spoken("Hello!"));
    room.answer();
}

#[test]
fn a_disabled_agent_is_not_called_and_owes_nothing_when_it_comes_back() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let path = format!("/api/agents/{}", room.agent_id);
    server.delete(&path).expect(200);
    room.say(&server, "one");
    assert!(agent.is_idle_for(QUIET));
    server.put(&path, &json!({"agent": {"status": "enabled"}})).expect(200);
    assert!(agent.is_idle_for(QUIET), "what was said to nobody is not answered later");
    assert!(room.socket.settle().iter().all(|frame| frame.event != "run"));
    room.say(&server, "two");
    assert_eq!(agent.call().texts(), ["one", "two"]);
}

#[test]
fn an_agent_that_nobody_registered_is_left_to_its_socket() {
    let server = Server::shared();
    let session = server.session("alice", "socket-agent");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    server.say(&session, "alice", "Hello?");
    socket.event(&topic, "message");
    assert!(socket.is_silent_for(QUIET), "no run, no failure");
    server.answer_as(&session, "socket-agent", "Hello!");
    assert_eq!(socket.event(&topic, "message")["seq"], 2);
}

#[test]
fn a_registration_and_its_end_are_known_to_every_shard_when_they_are_answered() {
    let server = Server::with(&Options::shards(4));
    let agent = Agent::start();
    let id = crate::harness::unique("everywhere");
    let sessions: Vec<String> = (0..16).map(|_| server.session("alice", &id)).collect();
    for round in 0..3 {
        let fields = json!({"agent": {"id": id, "name": "A", "origin_url": agent.url(), "debounce_window_ms": 0}});
        if round == 0 {
            server.post("/api/agents", &fields).expect(201);
        } else {
            server.put(&format!("/api/agents/{id}"), &json!({"agent": {"status": "enabled"}})).expect(200);
        }
        sessions.iter().for_each(|session| drop(server.say(session, "alice", "Hello?")));
        for _ in &sessions {
            agent.call().answer(&spoken("Hello!"));
        }
        server.delete(&format!("/api/agents/{id}")).expect(200);
        sessions.iter().for_each(|session| drop(server.say(session, "alice", "Still there?")));
        assert!(agent.is_idle_for(QUIET), "none of them calls any more");
    }
}

#[test]
fn sessions_of_one_agent_are_answered_side_by_side() {
    let server = Server::shared();
    let agent = Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    let rooms: Vec<Room> = (0..5).map(|_| Room::open(&server, &id)).collect();
    for room in &rooms {
        room.say(&server, "Hello?");
    }
    // All five stand open before the first is answered.
    let calls: Vec<_> = rooms.iter().map(|_| agent.call()).collect();
    let mut sessions: Vec<String> = calls.iter().map(|call| call.json()["session_id"].to_string()).collect();
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), 5);
    calls.into_iter().for_each(|call| call.answer(&spoken("Hello!")));
    for mut room in rooms {
        room.answer();
    }
}
