//! What the server has acknowledged, and the check that it is all there.

use super::writers::{Acknowledged, Plan, append, post};
use crate::harness::rest::seqs;
use crate::harness::{Connection, Server, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One session as acknowledged.
#[derive(Default)]
struct Session {
    /// Seq to id and text.
    messages: BTreeMap<u64, (String, String)>,
    /// Texts of keyed appends whose reply never came: at most one copy may be there, one after a retry.
    unanswered: BTreeSet<String>,
    /// Texts of posts that were acknowledged without a seq: each is there once.
    posted: BTreeSet<String>,
    /// The highest mark that was acknowledged, by reader.
    cursor: u64,
    archived: bool,
}

/// Everything that was acknowledged, in all lives of the server.
#[derive(Default)]
pub struct Oracle {
    active: VecDeque<String>,
    sessions: BTreeMap<String, Session>,
    deleted: BTreeSet<String>,
    /// Deletions that were asked for without an answer: the session may be there or not.
    unsure: BTreeSet<String>,
    acknowledged: u64,
}

impl Oracle {
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// What the writers of a cycle work on.
    pub fn plan(&self, cycle: u64) -> Plan {
        let mut sessions: Vec<String> = self.active.iter().cloned().collect();
        let doomed = if sessions.len() > 2 { sessions.remove(0) } else { String::new() };
        Plan { cycle, sessions, doomed }
    }

    /// Adds a session and retires the oldest when there are more than this many.
    pub fn rotate(&mut self, server: &Server, active: usize) {
        // The hub's API writes to sessions whose agent is registered; this one is not called while a test runs.
        let windows_ms = 600_000;
        let agent = json!({"id": "bot", "name": "B", "origin_url": "http://127.0.0.1:1",
            "debounce_window_ms": windows_ms, "debounce_max_wait_ms": windows_ms});
        let registered = server.post("/api/agents", &json!({ "agent": agent }));
        assert!([201, 409, 422].contains(&registered.status), "{}", registered.text());
        self.active.retain(|session| !self.deleted.contains(session) && !self.unsure.contains(session));
        while self.active.len() > active {
            self.active.pop_front();
        }
        loop {
            let session = server.session("alice", "bot");
            self.sessions.insert(session.clone(), Session::default());
            self.active.push_back(session);
            if self.active.len() >= active {
                return;
            }
        }
    }

    /// Remembers what a writer was told.
    pub fn record(&mut self, acknowledged: Acknowledged) {
        match acknowledged {
            Acknowledged::Message { session, seq, id, text } => {
                self.acknowledged += 1;
                let session = self.session(&session);
                session.unanswered.remove(&text);
                if let Some((known, _)) = session.messages.get(&seq) {
                    assert_eq!(*known, id, "seq {seq} was given to another message before");
                }
                session.messages.insert(seq, (id, text));
            }
            Acknowledged::Sent { session, seq, text } => {
                self.acknowledged += 1;
                let taken = self.session(&session).messages.insert(seq, (String::new(), text));
                assert!(taken.is_none(), "seq {seq} was given to another message before: {taken:?}");
            }
            Acknowledged::Unanswered { session, text } => drop(self.session(&session).unanswered.insert(text)),
            Acknowledged::Refused { session, text } => drop(self.session(&session).unanswered.remove(&text)),
            Acknowledged::Posted { session, text } => {
                self.acknowledged += 1;
                let session = self.session(&session);
                session.unanswered.remove(&text);
                session.posted.insert(text);
            }
            Acknowledged::Read { session, last_seq } => {
                let session = self.session(&session);
                session.cursor = session.cursor.max(last_seq);
            }
            Acknowledged::Archived { session } => self.session(&session).archived = true,
            Acknowledged::Deleting { session } => drop(self.unsure.insert(session)),
            Acknowledged::Deleted { session } => {
                self.unsure.remove(&session);
                self.deleted.insert(session);
            }
        }
    }

    /// Sends every keyed append whose reply never came once more, as a client does, and remembers the answer.
    pub fn retry_unanswered(&mut self, server: &Server) {
        let mut connection = Connection::open(server.address());
        let mut answers = Vec::new();
        for (id, session) in &self.sessions {
            if self.deleted.contains(id) || self.unsure.contains(id) {
                continue;
            }
            for text in &session.unanswered {
                if text.starts_with("hub-") {
                    connection.send(post(id, text));
                    let (session, text) = (id.clone(), text.clone());
                    answers.push(match connection.answer().status {
                        // A session that was archived after the post is replayed to as little as it is written to: the post may stand.
                        409 => Acknowledged::Refused { session, text },
                        status => {
                            assert_eq!(status, 200, "{text} in {session}");
                            Acknowledged::Posted { session, text }
                        }
                    });
                    continue;
                }
                connection.send(append(id, text));
                let message = connection.answer().expect(200)["message"].clone();
                answers.push(Acknowledged::message(id, &message));
            }
        }
        answers.into_iter().for_each(|answer| self.record(answer));
    }

    /// Checks the sessions of the last cycle and every deletion.
    pub fn check_active(&self, server: &Server) {
        self.active.iter().for_each(|session| self.check(server, session));
        for session in &self.deleted {
            assert_eq!(server.get(&format!("/api/sessions/{session}")).status, 404, "{session} was deleted");
        }
    }

    /// Checks every session there ever was.
    pub fn check_everything(&self, server: &Server) {
        self.sessions.keys().for_each(|session| self.check(server, session));
        self.check_active(server);
    }

    fn check(&self, server: &Server, id: &str) {
        if self.deleted.contains(id) || self.unsure.contains(id) {
            return;
        }
        let session = &self.sessions[id];
        let read = server.get(&format!("/api/sessions/{id}")).expect(200);
        assert!(!session.archived || read["session"]["status"] == "archived", "{id} was archived");
        let history = server.history(id);
        assert_eq!(seqs(&history), (1..=history.len() as u64).collect::<Vec<u64>>(), "{id} has no hole in its seq");
        session.check_messages(id, &history);
        let cursor = server.cursor(id, "alice").unwrap_or(0);
        assert!(cursor >= session.cursor, "{id}: the cursor went back from {} to {cursor}", session.cursor);
        assert!(cursor <= history.len() as u64, "{id}: the cursor {cursor} is beyond the last message");
    }

    fn session(&mut self, id: &str) -> &mut Session {
        self.sessions.get_mut(id).expect("writers use planned sessions")
    }
}

impl Session {
    fn check_messages(&self, session: &str, history: &[Value]) {
        let mut copies = BTreeSet::new();
        for message in history {
            let text = message["content"]["text"].as_str().expect("a text");
            assert!(copies.insert(text), "{session} has {text} twice");
        }
        for text in &self.posted {
            assert!(copies.contains(text.as_str()), "{session} lost {text}");
        }
        for (&seq, (id, text)) in &self.messages {
            let stored = history.get(seq as usize - 1).unwrap_or_else(|| panic!("{session} lost {seq} ({text})"));
            assert_eq!(stored["content"]["text"], text.as_str(), "{session} at {seq}");
            // An ack by socket does not tell the id.
            assert!(id.is_empty() || stored["id"] == id.as_str(), "{session} at {seq}: another id");
        }
    }
}
