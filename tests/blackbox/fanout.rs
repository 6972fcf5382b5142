//! One topic, many readers on every shard, writers by REST and by socket: each reader sees each message once, in
//! order, whenever it came and however often it left.

use crate::harness::rest::{list, seqs};
use crate::harness::{Options, Server, Socket, Value, json};
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;

const WRITERS: u64 = 4;
const EACH: u64 = 100;
const TOTAL: u64 = WRITERS * EACH;

/// Appends `EACH` messages: even writers by REST, odd ones by socket with several in flight.
fn write(server: &Server, session: &str, writer: u64) {
    let text = |n: u64| format!("{writer}/{n}");
    if writer.is_multiple_of(2) {
        (0..EACH).for_each(|n| drop(server.say(session, "alice", &text(n))));
        return;
    }
    let mut socket = Socket::open(server, "alice");
    let topic = socket.join_session(session);
    let refs: Vec<Value> =
        (0..EACH).map(|n| socket.push(&topic, "send", &json!({"content": {"content": {"text": text(n)}}}))).collect();
    let acked: Vec<u64> =
        refs.iter().map(|sent| socket.reply(sent).expect("accepted")["seq"].as_u64().expect("a seq")).collect();
    assert!(acked.is_sorted(), "one channel's sends are numbered in order");
}

/// A reader's view: the messages in order from seq 1, checked as they come.
#[derive(Default)]
struct View(Vec<Value>);

impl View {
    fn last(&self) -> u64 {
        self.0.len() as u64
    }

    #[track_caller]
    fn take(&mut self, message: Value) {
        assert_eq!(message["seq"], self.last() + 1, "no gap and no duplicate");
        self.0.push(message);
    }

    /// Pages up by REST, then joins from there, until the join leaves nothing out.
    fn join(&mut self, server: &Server, session: &str) -> (Socket, String) {
        let topic = format!("session:{session}");
        loop {
            let page = server.get(&format!("/api/sessions/{session}/messages?after_seq={}", self.last())).expect(200);
            list(&page, "messages").into_iter().for_each(|message| self.take(message));
            let mut socket = Socket::open(server, "alice");
            let joined = socket.join(&topic, &json!({"last_seq": self.last()})).expect("joined");
            list(&joined, "messages").into_iter().for_each(|message| self.take(message));
            if joined["has_more"] == false {
                return (socket, topic);
            }
        }
    }

    /// Takes live messages up to this seq.
    fn follow(&mut self, socket: &mut Socket, topic: &str, upto: u64) {
        while self.last() < upto {
            self.take(socket.event(topic, "message"));
        }
    }
}

/// Every message of every writer once, and each writer's own in its order.
fn assert_complete(view: &[Value]) {
    assert_eq!(seqs(view), (1..=TOTAL).collect::<Vec<u64>>());
    let texts: Vec<String> =
        view.iter().map(|message| message["content"]["text"].as_str().expect("a text").to_owned()).collect();
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len() as u64, TOTAL);
    for writer in 0..WRITERS {
        let own: Vec<&String> = texts.iter().filter(|text| text.starts_with(&format!("{writer}/"))).collect();
        let expected: Vec<String> = (0..EACH).map(|n| format!("{writer}/{n}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn every_reader_on_every_shard_sees_every_message_in_order_without_gap_or_duplicate() {
    let server = Server::with(&Options::shards(4));
    let session = server.session("alice", "bot");
    let (ready, joined) = mpsc::channel();
    let views: Vec<Vec<Value>> = thread::scope(|scope| {
        let (server, session) = (&server, session.as_str());
        // Twelve that are there before the first message: with four shards all of them have readers, very likely.
        let early = (0..12).map(|_| {
            let ready = ready.clone();
            scope.spawn(move || {
                let mut view = View::default();
                let (mut socket, topic) = view.join(server, session);
                ready.send(()).expect("the test waits");
                view.follow(&mut socket, &topic, TOTAL);
                assert!(socket.settle().iter().all(|frame| frame.event != "message"), "nothing comes twice");
                view.0
            })
        });
        let early: Vec<_> = early.collect();
        (0..12).for_each(|_| joined.recv().expect("a reader joined"));
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(server, session, writer))).collect();
        // Four that join while messages arrive, leave after a few and come back with their cursor.
        let flapping = (1..=4).map(|stride| {
            scope.spawn(move || {
                let mut view = View::default();
                while view.last() < TOTAL {
                    let (mut socket, topic) = view.join(server, session);
                    let upto = TOTAL.min(view.last() + stride * 7);
                    view.follow(&mut socket, &topic, upto);
                }
                view.0
            })
        });
        let flapping: Vec<_> = flapping.collect();
        writers.into_iter().for_each(|writer| writer.join().expect("a writer ends"));
        early.into_iter().chain(flapping).map(|reader| reader.join().expect("a reader ends")).collect()
    });
    let history = server.history(&session);
    assert_complete(&history);
    for view in views {
        assert_eq!(view, history, "every reader saw the very same messages");
    }
}

#[test]
fn a_socket_on_many_sessions_of_many_shards_gets_each_ones_messages_in_order() {
    let server = Server::with(&Options::shards(3));
    let sessions: Vec<String> = (0..12).map(|_| server.session("alice", "bot")).collect();
    let mut reader = Socket::open(&server, "alice");
    sessions.iter().for_each(|session| drop(reader.join_session(session)));
    thread::scope(|scope| {
        for half in sessions.chunks(6) {
            let server = &server;
            scope.spawn(move || {
                for n in 0..10 {
                    half.iter().for_each(|session| drop(server.answer_as(session, "bot", &n.to_string())));
                }
            });
        }
        for seq in 1..=10 {
            for session in &sessions {
                assert_eq!(reader.event(&format!("session:{session}"), "message")["seq"], seq);
            }
        }
    });
    assert!(reader.settle().iter().all(|frame| frame.event != "message"), "ten messages each and no more");
    for session in &sessions {
        assert_eq!(seqs(&server.history(session)), (1..=10).collect::<Vec<u64>>());
    }
}
