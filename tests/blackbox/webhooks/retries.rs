//! What is tried again, how often, and what is the agent's last word (contract 4.3).

use super::{Room, delta, names, of, register, spoken, start, text_of, text_start};
use crate::harness::{Absent, Agent, Server, json};
use std::time::{Duration, Instant};

#[test]
fn an_overloaded_agent_is_called_again_under_the_same_run() {
    let server = Server::shared();
    let agent = Agent::start();
    for status in [408, 429, 502, 503, 504] {
        let mut room = Room::with(&server, &agent, json!({}));
        room.say(&server, "Hello?");
        let first = agent.call();
        let (run_id, body) = (first.run_id(), first.body.clone());
        assert_eq!(first.header("x-fleetlm-delivery"), Some(format!("{run_id}-1").as_str()));
        first.respond(status, &[], "later");
        room.run("started");
        let retrying = room.run("retrying");
        assert_eq!((&retrying["run_id"], &retrying["reason"]), (&json!(run_id), &json!("http_status")));
        assert_eq!((&retrying["attempt"], &retrying["upto_seq"]), (&json!(1), &json!(1)));
        assert!((125..=250).contains(&retrying["retry_in_ms"].as_u64().expect("milliseconds")), "{retrying}");
        let second = agent.call();
        assert_eq!((second.run_id(), second.attempt(), &second.body), (run_id.clone(), 2, &body));
        assert_eq!(second.header("x-fleetlm-delivery"), Some(format!("{run_id}-2").as_str()));
        second.answer(&spoken("Hello!"));
        assert_eq!(text_of(&room.answer()), "Hello!");
        let finished = room.run("finished");
        assert_eq!((&finished["run_id"], &finished["attempt"]), (&json!(run_id), &json!(2)));
    }
}

#[test]
fn an_agent_that_asks_for_a_second_is_given_it() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let call = agent.call();
    let answered = Instant::now();
    call.respond(429, &[("retry-after", "1")], "");
    room.run("started");
    assert_eq!(room.run("retrying")["retry_in_ms"], 1_000);
    // What is said meanwhile goes with the second attempt.
    room.say(&server, "Are you there?");
    let call = agent.call();
    assert!(answered.elapsed() >= Duration::from_secs(1));
    assert_eq!((call.attempt(), call.texts()), (2, vec!["Hello?".to_owned(), "Are you there?".to_owned()]));
    call.answer(&spoken("Yes."));
    assert_eq!(room.answer()["metadata"]["reply_to"], 2);
    assert!(agent.is_idle_for(Duration::from_millis(300)), "both are answered");
}

#[test]
fn an_agent_that_asks_for_an_hour_has_failed() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    agent.call().respond(503, &[("retry-after", "3600")], "");
    room.run("started");
    assert_eq!(room.run("failed")["reason"], "http_status");
}

#[test]
fn an_agent_that_is_not_there_yet_is_called_until_it_is() {
    let server = Server::shared();
    let absent = Absent::new();
    let mut room = Room::open(&server, &register(&server, &absent.url(), json!({})));
    room.say(&server, "Hello?");
    room.run("started");
    assert_eq!(room.run("retrying")["reason"], "connect");
    let agent = absent.arrive();
    let call = agent.call();
    assert!(call.attempt() >= 2);
    call.answer(&spoken("Here I am."));
    assert_eq!(text_of(&room.answer()), "Here I am.");
}

#[test]
fn a_connection_that_ends_before_the_answer_is_tried_again() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    agent.call().cut();
    room.run("started");
    assert_eq!(room.run("retrying")["reason"], "network");
    let mut call = agent.call();
    call.raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n");
    call.cut();
    assert_eq!(room.run("retrying")["reason"], "network");
    agent.call().answer(&spoken("Hello!"));
    assert_eq!(room.answer()["seq"], 2);
    assert_eq!(room.run("finished")["attempt"], 3);
}

#[test]
fn every_other_status_is_the_agents_last_word() {
    let server = Server::shared();
    let agent = Agent::start();
    for status in [304, 400, 401, 404, 409, 410, 422, 500, 501, 505] {
        let mut room = Room::with(&server, &agent, json!({}));
        room.say(&server, "Hello?");
        agent.call().respond(status, &[], "");
        let seen = room.until_the_end();
        assert_eq!(names(&seen), ["run", "run"], "{status}");
        let failed = &seen[1].1;
        assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("http_status")), "{status}");
        assert!(failed["detail"].as_str().expect("a detail").contains(&status.to_string()), "{failed}");
    }
    assert!(agent.is_idle_for(Duration::from_millis(500)), "none of them is tried again");
}

#[test]
fn after_five_attempts_the_run_has_failed_and_the_next_message_begins_another() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "one");
    let mut run_ids = Vec::new();
    for attempt in 1..=5 {
        let call = agent.call();
        assert_eq!(call.attempt(), attempt);
        run_ids.push(call.run_id());
        call.respond(503, &[], "");
    }
    let seen = room.until_the_end();
    let statuses: Vec<&str> = of(&seen, "run").iter().map(|run| run["status"].as_str().expect("a status")).collect();
    assert_eq!(statuses, ["started", "retrying", "retrying", "retrying", "retrying", "failed"]);
    assert_eq!(seen.last().expect("an end").1["attempt"], 5);
    run_ids.dedup();
    assert_eq!(run_ids.len(), 1, "one run");
    room.say(&server, "two");
    let call = agent.call();
    assert_eq!((call.attempt(), call.texts()), (1, vec!["one".to_owned(), "two".to_owned()]));
    assert_ne!(call.run_id(), run_ids[0]);
    call.answer(&spoken("Hello!"));
    room.answer();
}

#[test]
fn what_was_shown_is_never_tried_again() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    for chunk in [start(), text_start(), delta("Hel")] {
        call.say(&chunk);
        room.chunk();
    }
    call.cut();
    let message = room.answer();
    assert_eq!((text_of(&message).as_str(), &message["metadata"]["termination"]), ("Hel", &json!("abort")));
    room.run("started");
    assert_eq!(room.run("failed")["seq"], message["seq"]);
    assert!(agent.is_idle_for(Duration::from_millis(500)));
}
