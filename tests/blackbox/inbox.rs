//! The inbox of a user: the behaviour contract's section 5 as corrected there (unread = messages by others above the
//! user's cursor; deltas never stop; a new session is visible at once), and its checklist's inbox rows.

use crate::harness::rest::{keys, list};
use crate::harness::{Folder, Options, Server, Socket, Value, json, unique};
use std::time::Duration;

/// A user's socket on the user's inbox.
struct Inbox {
    socket: Socket,
    topic: String,
    entries: Vec<Value>,
}

impl Inbox {
    fn open(server: &Server, user: &str) -> Self {
        let mut socket = Socket::open(server, user);
        let topic = format!("inbox:{user}");
        let joined = socket.join(&topic, &json!({})).expect("the inbox opens");
        Self { socket, topic, entries: list(&joined, "inbox") }
    }

    fn entry(&self, session: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry["session_id"] == session)
    }

    fn unread(&self, session: &str) -> Option<u64> {
        self.entry(session).and_then(|entry| entry["unread_count"].as_u64())
    }

    /// Takes deltas, each the whole inbox, until this holds.
    fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let delta = self.socket.event(&self.topic, "inbox_delta");
            self.entries = list(&delta, "inbox");
        }
    }
}

#[test]
fn an_inbox_holds_the_users_sessions_with_five_keys_each() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    let inbox = Inbox::open(&server, &user);
    let entry = inbox.entry(&session).expect("the session is there");
    for key in ["session_id", "agent_id", "unread_count", "last_activity_at", "last_sender_id"] {
        assert!(keys(entry).contains(&key), "{key} is in {entry}");
    }
    assert_eq!((&entry["agent_id"], &entry["unread_count"]), (&json!("bot"), &json!(0)));
    assert_eq!((&entry["last_activity_at"], &entry["last_sender_id"]), (&Value::Null, &Value::Null));
    assert_eq!(inbox.entries.len(), 1);
}

#[test]
fn a_message_from_the_other_side_counts_and_names_its_sender_and_time() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    let mut inbox = Inbox::open(&server, &user);
    let message = server.answer_as(&session, "bot", "hello");
    inbox.until(|inbox| inbox.unread(&session) == Some(1));
    let entry = inbox.entry(&session).expect("the session is there");
    assert_eq!(entry["last_sender_id"], "bot");
    assert_eq!(entry["last_activity_at"], message["inserted_at"]);
}

#[test]
fn the_users_own_messages_are_activity_but_not_unread() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    let mut inbox = Inbox::open(&server, &user);
    server.say(&session, &user, "by REST");
    inbox.until(|inbox| inbox.entry(&session).is_some_and(|entry| entry["last_sender_id"] == user.as_str()));
    let mut socket = Socket::open(&server, &user);
    let topic = socket.join_session(&session);
    socket.say(&topic, "by socket");
    server.answer_as(&session, "bot", "answer");
    inbox.until(|inbox| inbox.unread(&session) != Some(0));
    assert_eq!(inbox.unread(&session), Some(1));
}

#[test]
fn a_message_by_socket_counts_once() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    let mut inbox = Inbox::open(&server, &user);
    let mut bot = Socket::open(&server, "bot");
    let topic = bot.join_session(&session);
    bot.say(&topic, "one");
    inbox.until(|inbox| inbox.unread(&session) != Some(0));
    assert_eq!(inbox.unread(&session), Some(1));
    bot.say(&topic, "two");
    inbox.until(|inbox| inbox.unread(&session) != Some(1));
    assert_eq!(inbox.unread(&session), Some(2));
}

#[test]
fn reading_lowers_the_count_and_pushes_a_delta() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    for n in 0..5 {
        server.answer_as(&session, "bot", &n.to_string());
    }
    let mut inbox = Inbox::open(&server, &user);
    assert_eq!(inbox.unread(&session), Some(5));
    server.mark_read(&session, &user, 3);
    inbox.until(|inbox| inbox.unread(&session) == Some(2));
    server.mark_read(&session, "somebody-else", 5);
    server.mark_read(&session, &user, 5);
    inbox.until(|inbox| inbox.unread(&session) == Some(0));
}

#[test]
fn own_messages_among_the_unread_are_not_counted_whatever_the_cursor() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    // Seqs 1 3 5 are the user's, 2 4 6 the agent's.
    for n in 0..3 {
        server.say(&session, &user, &n.to_string());
        server.answer_as(&session, "bot", &n.to_string());
    }
    for (cursor, unread) in [(0, 3), (1, 3), (2, 2), (3, 2), (4, 1), (6, 0)] {
        server.mark_read(&session, &user, cursor);
        assert_eq!(Inbox::open(&server, &user).unread(&session), Some(unread), "cursor {cursor}");
    }
}

#[test]
fn deltas_never_stop_also_after_idle_seconds() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    let mut inbox = Inbox::open(&server, &user);
    for round in 1..=3 {
        assert!(inbox.socket.is_silent_for(Duration::from_millis(2500)), "an idle inbox says nothing");
        server.answer_as(&session, "bot", "after a pause");
        inbox.until(|inbox| inbox.unread(&session) == Some(round));
    }
}

#[test]
fn the_most_recently_active_session_is_first() {
    let server = Server::with(&Options::shards(3));
    let user = unique("user");
    let sessions: Vec<String> = (0..6).map(|_| server.session(&user, "bot")).collect();
    let mut inbox = Inbox::open(&server, &user);
    assert_eq!(inbox.entries.len(), 6);
    for session in [&sessions[3], &sessions[0], &sessions[5], &sessions[0]] {
        server.answer_as(session, "bot", "now");
        inbox.until(|inbox| inbox.entries[0]["session_id"] == session.as_str());
    }
    let joined = Inbox::open(&server, &user);
    let order = |inbox: &Inbox| inbox.entries.iter().map(|entry| entry["session_id"].clone()).collect::<Vec<_>>();
    assert_eq!(order(&joined)[..3], [&sessions[0], &sessions[5], &sessions[3]].map(|session| json!(session)));
    assert!(joined.entries[3..].iter().all(|entry| entry["last_activity_at"].is_null()));
}

#[test]
fn a_new_session_is_visible_at_once_and_an_archived_one_leaves() {
    let server = Server::shared();
    let user = unique("user");
    let mut inbox = Inbox::open(&server, &user);
    assert_eq!(inbox.entries.len(), 0);
    let session = server.session(&user, "bot");
    inbox.until(|inbox| inbox.unread(&session) == Some(0));
    let second = server.session(&user, "bot");
    inbox.until(|inbox| inbox.entries.len() == 2);
    server.delete(&format!("/api/sessions/{session}"));
    inbox.until(|inbox| inbox.entry(&session).is_none());
    server.delete(&format!("/api/sessions/{second}?permanent=true"));
    inbox.until(|inbox| inbox.entries.is_empty());
    assert_eq!(Inbox::open(&server, &user).entries.len(), 0);
}

#[test]
fn counts_and_activity_survive_a_crash_and_another_number_of_shards() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::shards(2));
    let sessions: Vec<String> = (0..4).map(|_| server.session("alice", "bot")).collect();
    for session in &sessions {
        server.say(session, "alice", "question");
        server.answer_as(session, "bot", "answer");
        server.answer_as(session, "bot", "more");
    }
    server.mark_read(&sessions[1], "alice", 2);
    let before = Inbox::open(&server, "alice").entries;
    server.kill();
    let server = Server::on(folder.path(), &Options::shards(3));
    let mut inbox = Inbox::open(&server, "alice");
    assert_eq!(inbox.entries, before);
    assert_eq!(inbox.unread(&sessions[0]), Some(2));
    assert_eq!(inbox.unread(&sessions[1]), Some(1));
    server.answer_as(&sessions[1], "bot", "after the crash");
    inbox.until(|inbox| inbox.unread(&sessions[1]) == Some(2));
}

#[test]
fn a_burst_is_folded_into_few_deltas_and_ends_at_the_right_count() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    let mut inbox = Inbox::open(&server, &user);
    let mut bot = Socket::open(&server, "bot");
    let topic = bot.join_session(&session);
    for n in 0..200 {
        bot.push(&topic, "send", &json!({"content": {"content": {"n": n}}}));
    }
    let mut deltas = 0;
    while inbox.unread(&session) != Some(200) {
        let delta = inbox.socket.event(&inbox.topic.clone(), "inbox_delta");
        inbox.entries = list(&delta, "inbox");
        deltas += 1;
    }
    assert!(deltas < 100, "{deltas} deltas for one session's burst");
}

#[test]
fn an_event_on_an_inbox_is_refused_and_the_inbox_goes_on() {
    let server = Server::shared();
    let user = unique("user");
    let session = server.session(&user, "bot");
    let mut inbox = Inbox::open(&server, &user);
    let reference = inbox.socket.push(&inbox.topic.clone(), "send", &json!({}));
    inbox.socket.reply(&reference).expect_err("an inbox takes no events");
    server.answer_as(&session, "bot", "x");
    inbox.until(|inbox| inbox.unread(&session) == Some(1));
}

#[test]
fn nobody_elses_inbox_opens() {
    let server = Server::shared();
    let user = unique("user");
    let mut socket = Socket::open(&server, &unique("other"));
    let refused = socket.join(&format!("inbox:{user}"), &json!({}));
    assert_eq!(refused, Err(json!({"reason": "unauthorized"})));
}
