//! `kill -9` while agents are called and answer: every message of a user is answered once, and no client is left with a
//! stream that never ends.

use super::{Room, delta, finish, register, spoken, start, text_end, text_of, text_start};
use crate::harness::rest::seqs;
use crate::harness::{Absent, Agent, Call, Dice, Folder, Options, Server, Socket, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long nothing must happen where nothing is to happen.
const QUIET: Duration = Duration::from_millis(400);

/// A room on a folder whose agent has said `Hel`.
fn halfway(folder: &Folder, agent: &Agent, fields: Value) -> (Server, Room, Call) {
    let server = Server::on(folder.path(), &Options::default());
    let mut room = Room::with(&server, agent, fields);
    room.say(&server, "Hello?");
    let mut call = agent.call();
    for chunk in [start(), text_start(), delta("He"), delta("l")] {
        call.say(&chunk);
        room.chunk();
    }
    (server, room, call)
}

/// The agent's messages as soon as there are `count`.
fn answers(server: &Server, session: &str, count: usize) -> Vec<Value> {
    let mut socket = Socket::open(server, "alice");
    let topic = socket.join_session(session);
    loop {
        let mut history = server.history(session);
        history.retain(|message| message["kind"] == "assistant");
        if history.len() >= count {
            return history;
        }
        socket.event(&topic, "message");
    }
}

#[test]
fn a_half_shown_answer_is_kept_as_a_message_whatever_number_of_shards_comes_back() {
    for shards in [2, 1, 5] {
        let (folder, agent) = (Folder::new(), Agent::start());
        let (server, room, call) = halfway(&folder, &agent, json!({}));
        let run_id = call.run_id();
        server.kill();
        let server = Server::on(folder.path(), &Options::shards(shards));
        let message = answers(&server, &room.session, 1).remove(0);
        assert_eq!(text_of(&message), "Hel");
        assert_eq!(message["content"]["parts"][0]["state"], "done");
        let metadata = &message["metadata"];
        assert_eq!((&metadata["termination"], &metadata["reason"]), (&json!("abort"), &json!("crashed")), "{metadata}");
        assert_eq!((&metadata["recovered"], &metadata["reply_to"]), (&json!(true), &json!(1)));
        assert_eq!(metadata["run_id"], run_id);
        assert!(agent.is_idle_for(QUIET), "the message is answered, if not well");
        let mut room = Room::enter(&server, &room.agent_id, &room.session);
        room.say(&server, "And?");
        let call = agent.call();
        assert_eq!(call.texts(), ["Hello?", "Hel", "And?"]);
        call.answer(&spoken("Hello!"));
        assert_eq!(text_of(&room.answer()), "Hello!");
        server.kill();
        let server = Server::on(folder.path(), &Options::shards(shards));
        assert!(agent.is_idle_for(QUIET), "nothing is left to do");
        assert_eq!(seqs(&server.history(&room.session)), [1, 2, 3, 4]);
    }
}

#[test]
fn an_agent_that_wants_another_try_is_called_again_under_another_run() {
    for shards in [2, 3] {
        let (folder, agent) = (Folder::new(), Agent::start());
        let (server, room, call) = halfway(&folder, &agent, json!({"on_crash": "retry"}));
        server.kill();
        let server = Server::on(folder.path(), &Options::shards(shards));
        let again = agent.call();
        assert_ne!(again.run_id(), call.run_id(), "what was shown of the first is not its beginning");
        assert_eq!(again.texts(), ["Hello?"]);
        let run_id = again.run_id();
        again.answer(&spoken("Hello!"));
        let message = answers(&server, &room.session, 1).remove(0);
        assert_eq!((text_of(&message).as_str(), &message["metadata"]["termination"]), ("Hello!", &json!("finish")));
        assert_eq!(message["metadata"]["run_id"], run_id);
        assert_eq!(server.history(&room.session).len(), 2, "nothing is kept of the first");
    }
}

#[test]
fn a_client_that_was_there_before_the_crash_learns_how_the_answer_ended() {
    let (folder, agent) = (Folder::new(), Agent::start());
    let (server, room, call) = halfway(&folder, &agent, json!({}));
    server.kill();
    let server = Server::on(folder.path(), &Options::default());
    answers(&server, &room.session, 1);
    let mut socket = Socket::open(&server, "alice");
    let known = json!({"last_seq": 1, "run_id": call.run_id(), "index": 4});
    let reply = socket.join(&room.topic, &known).expect("joined");
    assert_eq!((&reply["run"], &reply["messages"][0]["metadata"]["recovered"]), (&Value::Null, &json!(true)));
}

#[test]
fn a_complete_message_before_the_crash_stays_and_only_the_rest_is_cut_off() {
    let (folder, agent) = (Folder::new(), Agent::start());
    let server = Server::on(folder.path(), &Options::default());
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    for chunk in spoken("One").iter().chain(&[start(), text_start(), delta("Tw")]) {
        call.say(chunk);
        room.chunk();
    }
    room.answer();
    server.kill();
    let server = Server::on(folder.path(), &Options::shards(1));
    let messages = answers(&server, &room.session, 2);
    let texts: Vec<String> = messages.iter().map(text_of).collect();
    assert_eq!(texts, ["One", "Tw"]);
    assert_eq!(messages[0]["metadata"]["termination"], "finish");
    assert_eq!(messages[1]["metadata"]["recovered"], true);
    assert!(agent.is_idle_for(QUIET));
}

#[test]
fn a_call_that_had_not_been_answered_is_made_again_under_the_same_run_and_answered_once() {
    let (folder, agent) = (Folder::new(), Agent::start());
    let server = Server::on(folder.path(), &Options::default());
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let call = agent.call();
    // Two more wait for the next call.
    room.say(&server, "Hello??");
    room.run("started");
    server.kill();
    let server = Server::on(folder.path(), &Options::shards(3));
    let again = agent.call();
    assert_eq!(again.run_id(), call.run_id());
    again.answer(&spoken("Hello!"));
    let messages = answers(&server, &room.session, 1);
    let covered = messages[0]["metadata"]["reply_to"].as_u64().expect("a seq");
    if covered == 1 {
        agent.call().answer(&spoken("Hello again!"));
        assert_eq!(answers(&server, &room.session, 2)[1]["metadata"]["reply_to"], 2);
    }
    assert!(agent.is_idle_for(QUIET), "both are answered");
}

#[test]
fn what_waited_for_quiet_when_the_server_died_is_answered_after_it() {
    let (folder, agent) = (Folder::new(), Agent::start());
    let server = Server::on(folder.path(), &Options::default());
    let room = Room::with(&server, &agent, json!({"debounce_window_ms": 5_000}));
    for text in ["one", "two"] {
        room.say(&server, text);
    }
    server.kill();
    let server = Server::on(folder.path(), &Options::shards(1));
    let call = agent.call();
    assert_eq!(call.texts(), ["one", "two"]);
    call.answer(&spoken("Hello!"));
    assert_eq!(answers(&server, &room.session, 1)[0]["metadata"]["reply_to"], 2);
}

#[test]
fn an_agent_that_was_down_with_the_server_is_called_when_both_are_back() {
    let (folder, absent) = (Folder::new(), Absent::new());
    let server = Server::on(folder.path(), &Options::default());
    let mut room = Room::open(&server, &register(&server, &absent.url(), json!({})));
    room.say(&server, "Hello?");
    room.run("started");
    room.run("retrying");
    server.kill();
    let server = Server::on(folder.path(), &Options::shards(3));
    let mut room = Room::enter(&server, &room.agent_id, &room.session);
    let agent = absent.arrive();
    agent.call().answer(&spoken("Hello!"));
    assert_eq!(room.answer()["metadata"]["reply_to"], 1);
}

#[test]
fn a_run_that_has_failed_or_was_stopped_stays_so() {
    let (folder, agent) = (Folder::new(), Agent::start());
    let server = Server::on(folder.path(), &Options::default());
    let id = register(&server, &agent.url(), json!({}));
    let (mut failed, mut stopped) = (Room::open(&server, &id), Room::open(&server, &id));
    failed.say(&server, "Hello?");
    agent.call().respond(404, &[], "");
    failed.run("started");
    failed.run("failed");
    stopped.say(&server, "Hello?");
    let call = agent.call();
    let path = format!("/api/sessions/{}/runs/{}/stop", stopped.session, call.run_id());
    server.post(&path, &json!({})).expect(200);
    stopped.run("started");
    stopped.run("stopped");
    server.kill();
    let server = Server::on(folder.path(), &Options::shards(1));
    assert!(agent.is_idle_for(QUIET));
    failed.say(&server, "And now?");
    assert_eq!(agent.call().texts(), ["Hello?", "And now?"]);
}

#[test]
fn an_orderly_end_lets_an_answer_finish() {
    let (folder, agent) = (Folder::new(), Agent::start());
    let (server, room, mut call) = halfway(&folder, &agent, json!({}));
    server.terminate();
    call.say(&delta("lo!"));
    call.answer(&[text_end(), finish()]);
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    let server = Server::on(folder.path(), &Options::default());
    let message = &server.history(&room.session)[1];
    assert_eq!((text_of(message).as_str(), &message["metadata"]["termination"]), ("Hello!", &json!("finish")));
    assert!(agent.is_idle_for(QUIET));
}

#[test]
fn an_answer_that_outlasts_an_orderly_end_is_kept_as_after_a_crash() {
    let (folder, agent) = (Folder::new(), Agent::start());
    let options = Options::default().flags(&["--drain-s", "1"]);
    let server = Server::on(folder.path(), &options);
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    for chunk in [start(), text_start(), delta("Hel")] {
        call.say(&chunk);
        room.chunk();
    }
    let waiting = Room::with(&server, &agent, json!({"debounce_window_ms": 60_000}));
    waiting.say(&server, "Later");
    server.stop();
    assert!(call.is_closed_by_server());
    let server = Server::on(folder.path(), &options);
    let call = agent.call();
    assert_eq!(call.texts(), ["Later"]);
    call.answer(&spoken("Hello!"));
    assert_eq!(text_of(&answers(&server, &waiting.session, 1)[0]), "Hello!");
    let message = answers(&server, &room.session, 1).remove(0);
    assert_eq!((text_of(&message).as_str(), &message["metadata"]["termination"]), ("Hel", &json!("abort")));
}

// ---- many kills -------------------------------------------------------------------------------------------------------

const KILLS: u64 = 10;
const SESSIONS_EACH: usize = 3;
const WORDS: usize = 30;

/// What the slow agent says to a call, word by word.
fn words(run_id: &str) -> Vec<String> {
    (0..WORDS).map(|n| format!("{run_id}/{n} ")).collect()
}

/// Answers a call with a pause before each word.
fn speak_slowly(mut call: Call) {
    let words = words(&call.run_id());
    call.say(&start());
    call.say(&text_start());
    for word in words {
        if call.is_closed_within(Duration::from_millis(1)) || !call.say(&delta(&word)) {
            return;
        }
    }
    call.answer(&[text_end(), finish()]);
}

/// Waits until the session owes nothing, then: each of its user's messages is covered by exactly one answer, each answer
/// is whole or a beginning of one, and which of both is as the agent wants it.
fn check(server: &Server, session: &str, last_said: u64, keeps_beginnings: bool) -> usize {
    let mut socket = Socket::open(server, "alice");
    let topic = socket.join_session(session);
    let history = loop {
        let history = server.history(session);
        let covered = history.iter().filter_map(|message| message["metadata"]["reply_to"].as_u64()).max();
        if covered.unwrap_or(0) >= last_said {
            break history;
        }
        socket.event(&topic, "message");
    };
    assert_eq!(seqs(&history), (1..=history.len() as u64).collect::<Vec<u64>>());
    let answers: Vec<&Value> = history.iter().filter(|message| message["kind"] == "assistant").collect();
    let reply_to: Vec<u64> =
        answers.iter().map(|answer| answer["metadata"]["reply_to"].as_u64().expect("a seq")).collect();
    // Each answers from behind the one before up to its own, so none is answered twice when these only grow.
    assert!(reply_to.is_sorted_by(|before, after| before < after), "{session}: {reply_to:?}");
    let runs: BTreeSet<&str> =
        answers.iter().map(|answer| answer["metadata"]["run_id"].as_str().expect("a run")).collect();
    assert_eq!(runs.len(), answers.len(), "one message of each run");
    let mut recovered = 0;
    for answer in answers {
        let metadata = &answer["metadata"];
        assert!(metadata["reply_to"].as_u64() < answer["seq"].as_u64(), "an answer stands behind what it answers");
        let whole = words(metadata["run_id"].as_str().expect("a run")).concat();
        let text = text_of(answer);
        if metadata["termination"] == "finish" {
            assert_eq!(text, whole);
        } else {
            assert!(keeps_beginnings, "{session}: {metadata}");
            assert!(whole.starts_with(&text), "{text:?} is a beginning of {whole:?}");
            assert_eq!((&metadata["reason"], &metadata["recovered"]), (&json!("crashed"), &json!(true)));
            recovered += 1;
        }
    }
    recovered
}

#[test]
fn over_many_kills_every_message_is_answered_exactly_once() {
    let mut dice = Dice::seeded("kills amid answers");
    let (folder, agent) = (Folder::new(), Agent::serving(speak_slowly));
    let mut said: BTreeMap<String, (u64, bool)> = BTreeMap::new();
    let server = Server::on(folder.path(), &Options::default());
    for on_crash in ["abort", "retry"] {
        let id = register(&server, &agent.url(), json!({"on_crash": on_crash, "debounce_window_ms": 5}));
        for _ in 0..SESSIONS_EACH {
            said.insert(server.session("alice", &id), (0, on_crash == "abort"));
        }
    }
    server.kill();
    let sessions: Vec<String> = said.keys().cloned().collect();
    for _ in 0..KILLS {
        let server = Server::on(folder.path(), &Options::shards(1 + dice.below(3) as u16));
        let mut socket = Socket::open(&server, "alice");
        sessions.iter().for_each(|session| drop(socket.join_session(session)));
        for _ in 0..5 + dice.below(60) {
            if dice.below(4) == 0 {
                let session = &sessions[dice.below(sessions.len() as u64) as usize];
                let seq = server.say(session, "alice", "Hello?")["seq"].as_u64().expect("a seq");
                said.get_mut(session).expect("one of ours").0 = seq;
            } else {
                socket.settle();
            }
        }
        server.kill();
    }
    let server = Server::on(folder.path(), &Options::shards(2));
    let recovered: usize =
        said.iter().map(|(session, &(last, keeps_beginnings))| check(&server, session, last, keeps_beginnings)).sum();
    eprintln!("{KILLS} kills, {recovered} answers kept as far as they had come");
    server.stop();
    let checked = crate::harness::server::run(&["check", folder.path().to_str().expect("a path in UTF-8")]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
