//! Joining in the middle of an answer: with the flag everything that was missed and then what follows, without gap or
//! duplicate; without it chunks begin where they are, as the seeds have it.

use super::{Room, delta, finish, spoken, start, text_end, text_start};
use crate::harness::rest::keys;
use crate::harness::{Agent, Call, Dice, Options, Server, Socket, Value, json};

/// A room whose agent has said this many chunks, all of them seen.
fn after_chunks(server: &Server, agent: &Agent, chunks: usize) -> (Room, Call) {
    let mut room = Room::with(server, agent, json!({}));
    room.say(server, "Hello?");
    let mut call = agent.call();
    for n in 0..chunks {
        call.say(&nth(n));
        assert_eq!(room.chunk()["index"], n);
    }
    (room, call)
}

/// The chunk at an index of an answer that never ends by itself.
fn nth(index: usize) -> Value {
    match index {
        0 => start(),
        1 => text_start(),
        index => delta(&format!("{index} ")),
    }
}

/// Joins on a socket of its own; gives socket and reply.
#[track_caller]
fn join(server: &Server, room: &Room, payload: &Value) -> (Socket, Value) {
    let mut socket = Socket::open(server, "alice");
    let reply = socket.join(&room.topic, payload).expect("joined");
    (socket, reply)
}

/// The next chunks of a socket, which must be those at these indexes of the run.
#[track_caller]
fn assert_chunks(socket: &mut Socket, room: &Room, run_id: &str, indexes: std::ops::Range<usize>) {
    for index in indexes {
        let shown = socket.event(&room.topic, "stream_chunk");
        let place = (&shown["index"], &shown["run_id"], &shown["chunk"]);
        assert_eq!(place, (&json!(index), &json!(run_id), &nth(index)));
    }
}

#[test]
fn one_who_joins_in_the_middle_is_given_the_beginning_and_stays_live() {
    let server = Server::shared();
    let agent = Agent::start();
    let (room, mut call) = after_chunks(&server, &agent, 7);
    let run_id = call.run_id();
    let (mut socket, reply) = join(&server, &room, &json!({"resume": true}));
    let run = &reply["run"];
    assert_eq!(keys(run), ["agent_id", "index", "run_id", "state"]);
    assert_eq!((&run["run_id"], &run["agent_id"]), (&json!(run_id), &json!(room.agent_id)));
    assert_eq!((&run["state"], &run["index"]), (&json!("answering"), &json!(0)));
    assert_chunks(&mut socket, &room, &run_id, 0..7);
    for n in 7..10 {
        call.say(&nth(n));
    }
    assert_chunks(&mut socket, &room, &run_id, 7..10);
    call.say(&text_end());
    call.say(&finish());
    assert_eq!(socket.event(&room.topic, "message")["seq"], 2);
    let rest = socket.settle();
    assert_eq!(rest.iter().filter(|frame| frame.event == "stream_chunk").count(), 2, "those two and no other twice");
}

#[test]
fn a_long_answer_is_resumed_whole_however_much_was_missed() {
    const CHUNKS: usize = 20_000; // several times an outbox
    let server = Server::shared();
    let agent = Agent::start();
    let (mut room, mut call) = after_chunks(&server, &agent, 2);
    let run_id = call.run_id();
    for range in (2..CHUNKS).step_by(500).map(|from| from..(from + 500).min(CHUNKS)) {
        let lines: String = range.clone().map(|n| format!("{}\n", nth(n))).collect();
        call.piece(&lines);
        for n in range {
            assert_eq!(room.chunk()["index"], n);
        }
    }
    let (mut socket, reply) = join(&server, &room, &json!({"resume": true}));
    assert_eq!(reply["run"]["index"], 0);
    assert_chunks(&mut socket, &room, &run_id, 0..CHUNKS);
    call.say(&nth(CHUNKS));
    assert_chunks(&mut socket, &room, &run_id, CHUNKS..CHUNKS + 1);
}

#[test]
fn one_who_knows_the_first_chunks_is_given_the_others() {
    let server = Server::shared();
    let agent = Agent::start();
    let (room, mut call) = after_chunks(&server, &agent, 7);
    let run_id = call.run_id();
    for index in [0, 1, 4, 6, 7] {
        let (mut socket, reply) = join(&server, &room, &json!({"run_id": run_id, "index": index}));
        assert_eq!(reply["run"]["index"], index, "{reply}");
        assert_chunks(&mut socket, &room, &run_id, index..7);
        assert!(socket.settle().is_empty(), "nothing but that");
    }
    // Of another run it knows nothing of this one.
    let (mut socket, reply) = join(&server, &room, &json!({"run_id": "01K6GR2EV9Z7PSMEVVJ5M954CH", "index": 4}));
    assert_eq!((&reply["run"]["index"], &reply["run"]["run_id"]), (&json!(0), &json!(run_id)));
    assert_chunks(&mut socket, &room, &run_id, 0..7);
    call.say(&nth(7));
    assert_chunks(&mut socket, &room, &run_id, 7..8);
}

#[test]
fn without_the_flag_chunks_begin_where_they_are_as_in_the_seeds() {
    let server = Server::shared();
    let agent = Agent::start();
    let (room, mut call) = after_chunks(&server, &agent, 5);
    for payload in [json!({}), json!({"last_seq": 0}), json!({"resume": false}), json!({"index": 3})] {
        let (mut socket, reply) = join(&server, &room, &payload);
        assert!(!keys(&reply).contains(&"run"), "{payload}: {reply}");
        assert!(socket.settle().is_empty(), "{payload}: no history of chunks");
    }
    let (mut socket, _) = join(&server, &room, &json!({}));
    call.say(&nth(5));
    assert_chunks(&mut socket, &room, &call.run_id(), 5..6);
}

#[test]
fn where_nothing_runs_the_reply_says_so() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    let (_, reply) = join(&server, &room, &json!({"resume": true}));
    assert_eq!((keys(&reply).contains(&"run"), &reply["run"]), (true, &Value::Null));
    room.say(&server, "Hello?");
    let call = agent.call();
    let run_id = call.run_id();
    let (mut waiting, reply) = join(&server, &room, &json!({"resume": true}));
    assert_eq!((&reply["run"]["state"], &reply["run"]["run_id"]), (&json!("calling"), &json!(run_id)));
    call.answer(&spoken("Hello!"));
    room.until_the_end();
    assert_eq!(waiting.event(&room.topic, "stream_chunk")["index"], 0);
    for payload in [json!({"resume": true}), json!({"run_id": run_id, "index": 2})] {
        let (mut socket, reply) = join(&server, &room, &payload);
        assert_eq!(reply["run"], Value::Null, "it is over: the message says it all");
        assert_eq!(reply["messages"][1]["kind"], "assistant");
        assert!(socket.settle().is_empty());
    }
}

#[test]
fn chunks_of_a_message_that_stands_are_not_repeated() {
    let server = Server::shared();
    let agent = Agent::start();
    let mut room = Room::with(&server, &agent, json!({}));
    room.say(&server, "Hello?");
    let mut call = agent.call();
    for chunk in spoken("One") {
        call.say(&chunk);
    }
    room.answer();
    call.say(&start());
    call.say(&text_start());
    while room.chunk()["index"] != 6 {}
    let (mut socket, reply) = join(&server, &room, &json!({"resume": true}));
    assert_eq!(reply["messages"].as_array().expect("messages").len(), 2);
    assert_eq!(reply["run"]["index"], 5, "the first message covers five");
    assert_eq!(socket.event(&room.topic, "stream_chunk")["chunk"], start());
    assert_eq!(socket.event(&room.topic, "stream_chunk")["chunk"], text_start());
}

/// One client's way through an answer: it leaves whenever the dice say so and comes back with what it knows.
fn assembled(server: &Server, room: &Room, run_id: &str, total: usize, mut dice: Dice) -> Vec<Value> {
    let mut chunks: Vec<Value> = Vec::new();
    while chunks.len() < total {
        let known = if chunks.is_empty() && dice.below(2) == 0 {
            json!({"resume": true})
        } else {
            json!({"run_id": run_id, "index": chunks.len()})
        };
        let (mut socket, reply) = join(server, room, &known);
        assert_eq!(reply["run"]["index"], chunks.len(), "{reply}");
        for _ in 0..1 + dice.below(60) {
            let shown = socket.event(&room.topic, "stream_chunk");
            assert_eq!(shown["index"], chunks.len(), "no gap and no duplicate");
            chunks.push(shown["chunk"].clone());
            if chunks.len() == total {
                break;
            }
        }
    }
    chunks
}

#[test]
fn clients_that_come_and_go_during_a_long_answer_assemble_every_chunk_exactly_once() {
    const TOTAL: usize = 1_500;
    let server = Server::with(&Options::shards(3));
    let agent = Agent::start();
    let mut dice = Dice::seeded("coming and going");
    let (mut room, mut call) = after_chunks(&server, &agent, 2);
    let run_id = call.run_id();
    let seeds: Vec<u64> = (0..6).map(|_| dice.below(u64::MAX)).collect();
    let watched = Room::enter(&server, &room.agent_id, &room.session);
    std::thread::scope(|scope| {
        let (server, run_id, watched) = (&server, run_id.as_str(), &watched);
        let clients: Vec<_> = seeds
            .iter()
            .map(|&seed| scope.spawn(move || assembled(server, watched, run_id, TOTAL, Dice::new(seed))))
            .collect();
        for n in 2..TOTAL {
            call.say(&nth(n));
            // It speaks no faster than one who listens all the time.
            assert_eq!(room.chunk()["index"], n);
        }
        // The end waits for everybody, so that all of them come back to an answer that still runs.
        let expected: Vec<Value> = (0..TOTAL).map(nth).collect();
        for client in clients {
            assert!(client.join().expect("a client ends") == expected, "every chunk once, in order");
        }
    });
    call.say(&finish());
    room.answer();
}
