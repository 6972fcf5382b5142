//! `GET /api/events?sessionId=`: nothing lost and nothing twice, however often a client comes back.

use super::{BEARER, active_session, path, say};
use crate::harness::http::request;
use crate::harness::{HANG, Options, Server, Socket, Stream, Value, json};
use std::io::{BufRead, BufReader, Read};

/// A client of the events of a session.
struct Events {
    reader: BufReader<Stream>,
    /// The id of the last event that had one.
    last_id: Option<String>,
}

impl Events {
    #[track_caller]
    fn open(server: &Server, session: &str, last_id: Option<&str>) -> Self {
        let mut headers = vec![BEARER];
        headers.extend(last_id.map(|id| ("last-event-id", id)));
        let mut connection = server.connect();
        connection.send(request("GET", &format!("/api/events?sessionId={session}"), &headers, None));
        let (stream, read) = connection.into_parts();
        assert!(read.is_empty());
        stream.tcp().set_read_timeout(Some(HANG)).expect("a timeout");
        let mut events = Self { reader: BufReader::new(stream), last_id: last_id.map(str::to_owned) };
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(events.reader.read_line(&mut head).expect("a head") > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        events
    }

    /// The next chunk of the response; `None` is its end.
    fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.reader.read_line(&mut size).expect("a chunk");
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).expect("a whole chunk");
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).expect("UTF-8"))
    }

    /// The next event, of which every chunk is one.
    fn try_next(&mut self) -> Option<Value> {
        loop {
            let chunk = self.chunk()?;
            assert!(chunk.ends_with("\n\n") && chunk.matches("\n\n").count() == 1, "an event is whole: {chunk:?}");
            for line in chunk.lines() {
                if let Some(id) = line.strip_prefix("id: ") {
                    self.last_id = Some(id.to_owned());
                }
            }
            let data: Vec<&str> = chunk.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            if !data.is_empty() {
                let event: Value = serde_json::from_str(&data.join("\n")).expect("JSON");
                assert_eq!(event["namespace"], "default");
                return Some(event);
            }
        }
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        self.try_next().expect("an event")
    }

    #[track_caller]
    fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next();
            if event["type"] == kind {
                return event;
            }
        }
    }

    #[track_caller]
    fn connected(&mut self) -> String {
        let event = self.next();
        assert_eq!((&event["type"], &event["data"]["status"]), (&json!("connection-changed"), &json!("connected")));
        assert!(event["data"]["subscriptionId"].is_string());
        event["data"]["resume"].as_str().expect("a word").to_owned()
    }

    /// The seqs of the next messages.
    #[track_caller]
    fn seqs(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.next_of("message-received")["message"]["seq"].as_u64().expect("a seq")).collect()
    }
}

#[test]
fn a_message_is_told_as_a_page_shows_it() {
    let server = Server::shared();
    let session = active_session(&server);
    server.say(&session, "alice", "before");
    let mut events = Events::open(&server, &session, None);
    assert_eq!(events.connected(), "ok");
    say(&server, &session, &json!({"text": "live", "localId": "l-1"}));
    let event = events.next_of("message-received");
    let shown = super::page(&server, &session, "limit=1")["messages"][0].clone();
    assert_eq!((&event["sessionId"], &event["message"]), (&json!(session), &shown));
    assert_eq!(events.last_id.as_deref(), Some("2"), "what was there before is not told");
}

#[test]
fn clients_that_come_back_miss_nothing_and_hear_nothing_twice() {
    let server = Server::with(&Options::shards(3));
    let session = active_session(&server);
    const MESSAGES: u64 = 600;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..MESSAGES).for_each(|n| drop(server.say(&session, "alice", &n.to_string()))));
        // Two at once, one of which leaves again and again.
        scope.spawn(|| {
            let mut steady = Events::open(&server, &session, Some("0"));
            assert_eq!(steady.connected(), "ok");
            assert_eq!(steady.seqs(MESSAGES as usize), (1..=MESSAGES).collect::<Vec<_>>());
        });
        let (mut heard, mut last_id) = (Vec::new(), "0".to_owned());
        while (heard.len() as u64) < MESSAGES {
            let mut events = Events::open(&server, &session, Some(&last_id));
            assert_eq!(events.connected(), "ok");
            heard.extend(events.seqs(7.min(MESSAGES as usize - heard.len())));
            last_id = events.last_id.expect("a message has an id");
        }
        assert_eq!(heard, (1..=MESSAGES).collect::<Vec<_>>());
    });
}

#[test]
fn a_place_that_is_none_is_a_gap_and_what_comes_is_told() {
    let server = Server::shared();
    let session = active_session(&server);
    server.say(&session, "alice", "1");
    for id in ["2", "epoch:1:tag", "-1"] {
        assert_eq!(Events::open(&server, &session, Some(id)).connected(), "gap", "{id}");
    }
    let mut events = Events::open(&server, &session, Some("7"));
    assert_eq!(events.connected(), "gap");
    server.say(&session, "alice", "2");
    assert_eq!(events.seqs(1), [2]);
}

#[test]
fn a_reader_that_is_slow_loses_nothing() {
    let server = Server::with(&Options::shards(2).flags(&["--outbox-bytes-max", "65536"]));
    let session = active_session(&server);
    let mut events = Events::open(&server, &session, Some("0"));
    assert_eq!(events.connected(), "ok");
    let text = "x".repeat(100_000);
    (0..60).for_each(|_| drop(server.say(&session, "alice", &text)));
    assert_eq!(events.seqs(60), (1..=60).collect::<Vec<_>>());
}

#[test]
fn an_agent_at_work_thinks_until_its_answer_stands() {
    let server = Server::shared();
    let session = server.session("alice", "echo");
    let mut events = Events::open(&server, &session, None);
    assert_eq!(events.connected(), "ok");
    say(&server, &session, &json!({"text": "hello"}));
    assert_eq!(events.next()["message"]["role"], "user");
    assert_eq!(events.next()["data"], json!({"thinking": true}));
    let (answer, end) = (events.next(), events.next());
    let [answer, end] = if answer["type"] == "message-received" { [answer, end] } else { [end, answer] };
    assert_eq!(answer["message"]["role"], "agent");
    assert_eq!(end["data"], json!({"thinking": false}));
}

#[test]
fn a_run_is_aborted_and_aborting_none_is_fine() {
    let server = Server::with(&Options::shards(1).flags(&["--echo-chunks-per-s", "1"]));
    let session = server.session("alice", "echo");
    let abort = || super::ask(&server, "POST", &path(&session, "/abort"), Some(&json!({}))).expect(200);
    assert_eq!(abort(), json!({"ok": true}));
    let mut events = Events::open(&server, &session, None);
    events.connected();
    say(&server, &session, &json!({"text": "a long text of many words that takes a minute to echo at this speed"}));
    while events.next_of("session-updated")["data"]["thinking"] != true {}
    assert_eq!(abort(), json!({"ok": true}));
    while events.next_of("session-updated")["data"]["thinking"] != false {}
}

#[test]
fn what_cannot_be_listened_to_is_refused_before_the_stream_and_a_deleted_session_ends_it() {
    let server = Server::shared();
    assert_eq!(server.get("/api/events").expect(400)["error"], "sessionId is required");
    for id in ["x", "01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        server.get(&format!("/api/events?sessionId={id}")).expect(404);
    }
    let session = active_session(&server);
    let mut events = Events::open(&server, &session, None);
    events.connected();
    assert_eq!(server.delete(&path(&session, "?permanent=true")).status, 204);
    let removed = events.next();
    assert_eq!((&removed["type"], &removed["sessionId"]), (&json!("session-removed"), &json!(session)));
    assert!(events.try_next().is_none());
}

#[test]
fn a_drain_ends_the_stream_whole() {
    let server = Server::start();
    let session = active_session(&server);
    let mut events = Events::open(&server, &session, None);
    events.connected();
    let mut socket = Socket::open(&server, "alice");
    socket.join_session(&session);
    server.terminate();
    assert!(events.try_next().is_none(), "the response has its end");
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}
