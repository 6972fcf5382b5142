//! Many answers at a time: they need no threads, and each reaches its own room only.

use super::{delta, finish, register, start, text_of, text_start};
use crate::harness::{Agent, Options, Server, Socket, json};
use std::collections::BTreeMap;

const CROWD: usize = 200;
/// Channels of one socket, below the server's bound.
const CHANNELS: usize = 50;

/// The threads of a process, as the kernel counts them.
fn threads(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("the kernel counts threads");
    line.trim().parse().expect("a number")
}

/// One socket in all of these sessions.
fn join_all(server: &Server, sessions: &[String]) -> Socket {
    let mut socket = Socket::open(server, "alice");
    sessions.iter().for_each(|session| drop(socket.join_session(session)));
    socket
}

#[test]
fn two_hundred_answers_at_a_time_need_no_more_threads_than_one() {
    let server = Server::with(&Options::shards(2));
    let agent = Agent::start();
    let id = register(&server, &agent.url(), json!({}));
    let sessions: Vec<String> = (0..CROWD).map(|_| server.session("alice", &id)).collect();
    let mut sockets: Vec<Socket> = sessions.chunks(CHANNELS).map(|some| join_all(&server, some)).collect();
    // Everything that is started once is started by the first answer.
    let first = server.session("alice", &id);
    server.say(&first, "alice", "warm up");
    agent.call().answer(&[start(), finish()]);
    let before = threads(&server);
    for session in &sessions {
        server.say(session, "alice", session);
    }
    let mut calls: BTreeMap<String, _> = (0..CROWD)
        .map(|_| {
            let mut call = agent.call();
            call.say(&start());
            call.say(&text_start());
            (call.json()["session_id"].as_str().expect("an id").to_owned(), call)
        })
        .collect();
    assert_eq!(calls.len(), CROWD, "all of them are under way");
    for round in 0..5 {
        for (session, call) in &mut calls {
            call.say(&delta(&format!("{round}{session} ")));
        }
        for (n, session) in sessions.iter().enumerate() {
            let (socket, topic) = (&mut sockets[n / CHANNELS], format!("session:{session}"));
            while socket.event(&topic, "stream_chunk")["chunk"]["type"] != "text-delta" {}
        }
        assert_eq!(threads(&server), before, "with {CROWD} answers under way");
    }
    for (_, mut call) in calls {
        call.say(&finish());
        call.finish();
    }
    for (n, session) in sessions.iter().enumerate() {
        let (socket, topic) = (&mut sockets[n / CHANNELS], format!("session:{session}"));
        let message = socket
            .first(|frame| frame.topic == topic && frame.event == "message" && frame.payload["kind"] == "assistant");
        let expected: String = (0..5).map(|round| format!("{round}{session} ")).collect();
        assert_eq!(text_of(&message.payload), expected);
    }
    assert_eq!(threads(&server), before);
}
