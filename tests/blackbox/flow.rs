//! A session's life as its parties see it: the behaviour contract's checklist 8.6, items 1-9 and 14.

use crate::harness::rest::{list, messages, seqs, texts};
use crate::harness::{Folder, Options, Server, Socket, json, unique};

#[test]
fn an_append_has_seq_1_reaches_subscribers_and_is_readable_at_once() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let mut bot = Socket::open(&server, "bot");
    let topic = bot.join_session(&session);
    let message = server.say(&session, "alice", "Hello");
    assert_eq!(message["seq"], 1);
    let pushed = bot.event(&topic, "message");
    assert_eq!((&pushed["session_id"], &pushed["sender_id"]), (&json!(session), &json!("alice")));
    assert_eq!(pushed["content"], json!({"text": "Hello"}));
    assert_eq!(server.history(&session), [pushed]);
}

#[test]
fn two_parties_and_three_messages_are_replayed_in_order() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    server.say(&session, "alice", "one");
    server.answer_as(&session, "bot", "two");
    server.say(&session, "alice", "three");
    let history = server.history(&session);
    assert_eq!(seqs(&history), [1, 2, 3]);
    assert_eq!(texts(&history), ["one", "two", "three"]);
}

#[test]
fn the_inbox_shows_unread_and_sender_and_the_session_spoken_in_last_is_first() {
    let server = Server::shared();
    let user = unique("user");
    let (first, second) = (server.session(&user, "bot"), server.session(&user, "other-bot"));
    let mut socket = Socket::open(&server, &user);
    let topic = format!("inbox:{user}");
    socket.join(&topic, &json!({})).expect("the inbox opens");
    for (session, agent) in [(&first, "bot"), (&second, "other-bot")] {
        server.answer_as(session, agent, "hello");
        loop {
            let entry = list(&socket.event(&topic, "inbox_delta"), "inbox")[0].clone();
            if entry["session_id"] == session.as_str() && entry["unread_count"] == 1 {
                assert_eq!(entry["last_sender_id"], agent);
                break;
            }
        }
    }
}

#[test]
fn parallel_appends_to_several_sessions_all_succeed() {
    let server = Server::with(&Options::shards(3));
    let sessions: Vec<String> = (0..6).map(|_| server.session("alice", "bot")).collect();
    std::thread::scope(|scope| {
        for session in &sessions {
            let server = &server;
            scope.spawn(move || (0..20).for_each(|n| drop(server.say(session, "alice", &n.to_string()))));
        }
    });
    for session in &sessions {
        let history = server.history(session);
        assert_eq!(seqs(&history), (1..=20).collect::<Vec<u64>>());
        assert_eq!(texts(&history)[19], "19");
    }
}

#[test]
fn messages_are_readable_after_a_graceful_drain() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options::default());
    let session = server.session("alice", "bot");
    let before: Vec<_> = (0..3).map(|n| server.say(&session, "alice", &n.to_string())).collect();
    server.stop();
    let server = Server::on(folder.path(), &Options::default());
    assert_eq!(server.history(&session), before);
}

#[test]
fn five_appends_are_replayed_in_order_and_after_seq_3_come_4_and_5() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    for n in 1..=5 {
        server.say(&session, "alice", &n.to_string());
    }
    assert_eq!(texts(&server.history(&session)), ["1", "2", "3", "4", "5"]);
    let rest = server.get(&format!("{}?after_seq=3", messages(&session))).expect(200);
    assert_eq!(seqs(&list(&rest, "messages")), [4, 5]);
}

#[test]
fn an_unknown_session_is_refused_for_writing_and_reading() {
    let server = Server::shared();
    let unknown = messages("01K6GR2EV9Z7PSMEVVJ5M954CH");
    server.post(&unknown, &json!({"user_id": "alice", "content": {}})).expect(404);
    server.get(&unknown).expect(404);
}

#[test]
fn after_kill_9_and_restart_seq_goes_on_and_both_sides_of_the_crash_are_there() {
    let folder = Folder::new();
    let mut session = None;
    for life in 1..=3u64 {
        let server = Server::on(folder.path(), &Options::shards(life as u16));
        let session = session.get_or_insert_with(|| server.session("alice", "bot"));
        assert_eq!(server.say(session, "alice", &life.to_string())["seq"], life);
        assert_eq!(seqs(&server.history(session)), (1..=life).collect::<Vec<u64>>());
        let mut socket = Socket::open(&server, "alice");
        let joined = socket.join(&format!("session:{session}"), &json!({"last_seq": life - 1})).expect("joined");
        assert_eq!(texts(&list(&joined, "messages")), [life.to_string()]);
        server.kill();
    }
}

#[test]
fn reads_page_through_ten_thousand_messages_and_a_restart_finds_them_all() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Options { durability: "memory", ..Options::default() });
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "bot");
    let topic = socket.join_session(&session);
    for batch in 0..100 {
        for n in 0..100 {
            let text = (batch * 100 + n + 1).to_string();
            socket.push(&topic, "send", &json!({"content": {"content": {"text": text}}}));
        }
        // Each batch is read back before the next, so that this reader is never a slow one.
        while socket.event(&topic, "message")["seq"] != (batch + 1) * 100 {}
    }
    let check = |server: &Server| {
        let all = list(&server.get(&format!("{}?limit=100000", messages(&session))).expect(200), "messages");
        assert_eq!(seqs(&all), (1..=10_000).collect::<Vec<u64>>());
        assert!(texts(&all).iter().zip(1..).all(|(text, n)| *text == n.to_string()));
    };
    check(&server);
    server.stop();
    check(&Server::on(folder.path(), &Options::shards(1)));
}
