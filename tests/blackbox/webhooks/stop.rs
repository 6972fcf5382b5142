//! An answer that somebody stops: it ends for everybody, what was produced is kept, the agent is hung up on.

use super::{Room, delta, names, of, spoken, start, text_of, text_start};
use crate::harness::{Agent, Answer, Call, Server, Socket, Value, json};
use std::time::Duration;

/// Two who watch an agent that has said `Hel`.
fn halfway(server: &Server, agent: &Agent) -> (Room, Room, Call) {
    let mut room = Room::with(server, agent, json!({}));
    let mut other = Room::enter(server, &room.agent_id, &room.session);
    room.say(server, "Hello?");
    let mut call = agent.call();
    for chunk in [start(), text_start(), delta("Hel")] {
        call.say(&chunk);
        room.chunk();
        other.chunk();
    }
    room.run("started");
    other.run("started");
    (room, other, call)
}

fn stop(server: &Server, room: &Room, run_id: &str) -> Answer {
    server.post(&format!("/api/sessions/{}/runs/{run_id}/stop", room.session), &json!({}))
}

/// Abort, message, `run` stopped, for this one.
#[track_caller]
fn assert_stopped(room: &mut Room, run_id: &str) {
    let seen = room.until_the_end();
    assert_eq!(names(&seen).last_chunk(), Some(&["stream_chunk", "message", "run"]));
    assert_eq!(of(&seen, "stream_chunk").last().expect("a chunk")["chunk"], json!({"type": "abort"}));
    let message = of(&seen, "message")[0];
    assert_eq!(text_of(message), "Hel");
    let metadata = &message["metadata"];
    assert_eq!((&metadata["termination"], &metadata["reason"]), (&json!("abort"), &json!("stopped")));
    assert_eq!((&metadata["run_id"], &metadata["reply_to"]), (&json!(run_id), &json!(1)));
    let end = &seen.last().expect("an end").1;
    assert_eq!((&end["status"], &end["run_id"], &end["seq"]), (&json!("stopped"), &json!(run_id), &json!(2)));
}

#[test]
fn a_stop_by_rest_ends_the_answer_for_everybody_and_keeps_what_was_produced() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, mut other, mut call) = halfway(&server, &agent);
    let run_id = call.run_id();
    let stopped = stop(&server, &room, &run_id).expect(200)["run"].clone();
    assert_eq!((&stopped["status"], &stopped["run_id"]), (&json!("stopped"), &json!(run_id)));
    assert_eq!(server.history(&room.session).len(), 2, "the reply comes when the message stands");
    assert_stopped(&mut room, &run_id);
    assert_stopped(&mut other, &run_id);
    assert!(call.is_closed_by_server());
    assert_eq!(stop(&server, &room, &run_id).expect(404), json!({"error": "Run not found"}), "it runs no more");
    room.say(&server, "Go on");
    agent.call().answer(&spoken("Yes."));
    assert_eq!(text_of(&room.answer()), "Yes.");
}

#[test]
fn a_stop_over_the_channel_does_the_same_with_or_without_the_runs_id() {
    let server = Server::shared();
    let agent = Agent::start();
    for named in [true, false] {
        let (mut room, mut other, mut call) = halfway(&server, &agent);
        let run_id = call.run_id();
        let payload = if named { json!({ "run_id": run_id }) } else { json!({}) };
        let topic = room.topic.clone();
        let sent = room.socket.push(&topic, "stop", &payload);
        let reply = room.socket.reply(&sent).expect("it is stopped");
        assert_eq!((&reply["status"], &reply["run_id"]), (&json!("stopped"), &json!(run_id)), "{reply}");
        assert_stopped(&mut room, &run_id);
        assert_stopped(&mut other, &run_id);
        assert!(call.is_closed_by_server());
        let sent = room.socket.push(&topic, "stop", &payload);
        assert_eq!(room.socket.reply(&sent), Err(json!({"error": "run not found"})));
    }
}

#[test]
fn a_run_that_is_not_there_cannot_be_stopped() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, _other, mut call) = halfway(&server, &agent);
    let not_found = json!({"error": "Run not found"});
    for run_id in ["01K6GR2EV9Z7PSMEVVJ5M954CH", "nonsense", "%20"] {
        assert_eq!(stop(&server, &room, run_id).expect(404), not_found, "{run_id}");
    }
    let unknown =
        server.post(&format!("/api/sessions/01K6GR2EV9Z7PSMEVVJ5M954CH/runs/{}/stop", call.run_id()), &json!({}));
    assert_eq!(unknown.status, 404);
    let idle = server.session("alice", &room.agent_id);
    let other = server.post(&format!("/api/sessions/{idle}/runs/{}/stop", call.run_id()), &json!({}));
    assert_eq!(other.expect(404), not_found, "a run belongs to its session");
    call.say(&json!({"type": "finish"}));
    assert_eq!(text_of(&room.answer()), "Hel", "nothing of that has stopped it");
}

#[test]
fn strangers_cannot_stop_over_a_channel_and_the_agent_can() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, _other, mut call) = halfway(&server, &agent);
    let mut stranger = Socket::open(&server, "mallory");
    let topic = room.topic.clone();
    stranger.join(&topic, &json!({})).expect_err("a stranger may not join");
    let sent = stranger.push(&topic, "stop", &json!({}));
    stranger.reply(&sent).expect_err("nor stop what it has not joined");
    call.say(&delta("lo"));
    assert_eq!(room.chunk()["chunk"], delta("lo"));
    let mut itself = Socket::open(&server, &room.agent_id);
    itself.join_session(&room.session);
    let sent = itself.push(&topic, "stop", &json!({ "run_id": call.run_id() }));
    itself.reply(&sent).expect("the agent may");
    assert_eq!(text_of(&room.answer()), "Hello");
}

#[test]
fn a_stop_before_the_first_chunk_leaves_no_message() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    stop(&server, &room, &call.run_id()).expect(200);
    let seen = room.until_the_end();
    assert_eq!(names(&seen), ["run", "run"]);
    assert_eq!((&seen[1].1["status"], seen[1].1.get("seq")), (&json!("stopped"), None));
    assert!(call.is_closed_by_server());
    assert_eq!(server.history(&room.session).len(), 1);
    assert!(agent.is_idle_for(Duration::from_millis(500)), "what was stopped is not called again");
}

#[test]
fn a_stop_while_the_next_attempt_waits_ends_the_run() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let call = agent.call();
    let run_id = call.run_id();
    call.respond(503, &[("retry-after", "1")], "");
    room.run("started");
    room.run("retrying");
    stop(&server, &room, &run_id).expect(200);
    assert_eq!(room.run("stopped")["run_id"], run_id);
    assert!(agent.is_idle_for(Duration::from_millis(1_500)), "there is no second attempt");
}

#[test]
fn a_stop_within_the_debounce_window_keeps_the_agent_from_being_called() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({"debounce_window_ms": 700}));
    room.say(&server, "Never mind");
    let topic = room.topic.clone();
    let sent = room.socket.push(&topic, "stop", &json!({}));
    room.socket.reply(&sent).expect("what waits can be stopped");
    room.run("stopped");
    assert!(agent.is_idle_for(Duration::from_millis(1_200)));
}

#[test]
fn what_was_said_during_a_stopped_answer_is_answered_next() {
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, _other, call) = halfway(&server, &agent);
    room.say(&server, "No, the other one");
    stop(&server, &room, &call.run_id()).expect(200);
    room.run("stopped");
    let next = agent.call();
    assert_ne!(next.run_id(), call.run_id());
    let last: Value = next.messages().last().expect("messages").clone();
    assert_eq!(next.texts(), ["Hello?", "No, the other one", "Hel"], "{last}");
    next.answer(&spoken("Yes."));
    room.answer();
    assert_eq!(room.answer()["metadata"]["reply_to"], 2);
}
