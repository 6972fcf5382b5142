//! Reading messages and marking them read over HTTP: the behaviour contract's 1.5, and what goes beyond it.

use crate::harness::rest::{keys, list, messages, seqs};
use crate::harness::{Folder, Server, Socket, Value, json, unique};

/// `2025-10-23T10:48:00.123456Z` and nothing else.
#[track_caller]
pub fn assert_rfc3339_with_microseconds(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is a time"));
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{text}");
}

/// A session with this many messages `1`, `2`, ...
fn filled(server: &Server, count: u64) -> String {
    let session = server.session("alice", "bot");
    for n in 1..=count {
        assert_eq!(server.say(&session, "alice", &n.to_string())["seq"], n);
    }
    session
}

fn page(server: &Server, session: &str, query: &str) -> (Vec<u64>, Value) {
    let body = server.get(&format!("{}?{query}", messages(session))).expect(200);
    (seqs(&list(&body, "messages")), body["has_more"].clone())
}

#[test]
fn a_fresh_session_has_no_messages() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let body = server.get(&messages(&session)).expect(200);
    assert_eq!(body["messages"], json!([]));
    assert_eq!(body["has_more"], false);
}

#[test]
fn a_page_starts_above_after_seq_and_says_whether_there_is_more() {
    let server = Server::shared();
    let session = filled(&server, 60);
    let all: Vec<u64> = (1..=60).collect();
    assert_eq!(page(&server, &session, ""), (all[..50].to_vec(), json!(true)));
    assert_eq!(page(&server, &session, "after_seq=50"), (all[50..].to_vec(), json!(false)));
    assert_eq!(page(&server, &session, "after_seq=10&limit=3"), (vec![11, 12, 13], json!(true)));
    assert_eq!(page(&server, &session, "after_seq=57&limit=3"), (vec![58, 59, 60], json!(false)));
    assert_eq!(page(&server, &session, "after_seq=60"), (vec![], json!(false)));
    assert_eq!(page(&server, &session, "after_seq=1000"), (vec![], json!(false)));
    assert_eq!(page(&server, &session, "limit=100000"), (all, json!(false)));
}

#[test]
fn numbers_in_the_query_are_read_leniently() {
    let server = Server::shared();
    let session = filled(&server, 4);
    for (query, expected) in [
        ("after_seq=2abc", vec![3, 4]),
        ("after_seq=abc", vec![1, 2, 3, 4]),
        ("after_seq=-2", vec![1, 2, 3, 4]),
        ("after_seq=", vec![1, 2, 3, 4]),
        ("limit=2.9", vec![1, 2]),
        ("limit=0", vec![1, 2, 3, 4]),
        ("limit=-1", vec![1, 2, 3, 4]),
        ("limit=x", vec![1, 2, 3, 4]),
        ("after_seq=99999999999999999999999999", vec![]),
    ] {
        let found = page(&server, &session, query).0;
        // A number beyond any seq either counts as the largest or as no number; it is no error.
        let tolerated = query.len() > 30 && found == [1, 2, 3, 4];
        assert!(found == expected || tolerated, "{query}: {found:?}");
    }
}

#[test]
fn before_seq_pages_backwards_to_the_first_message_in_ascending_pages() {
    let server = Server::shared();
    let session = filled(&server, 25);
    assert_eq!(page(&server, &session, "before_seq=21&limit=3"), (vec![18, 19, 20], json!(true)));
    assert_eq!(page(&server, &session, "before_seq=4&limit=3"), (vec![1, 2, 3], json!(false)));
    assert_eq!(page(&server, &session, "before_seq=1"), (vec![], json!(false)));
    let (mut seen, mut before) = (Vec::new(), 26);
    loop {
        let (found, more) = page(&server, &session, &format!("before_seq={before}&limit=7"));
        before = found[0];
        seen = [found, seen].concat();
        if more == json!(false) {
            break;
        }
    }
    assert_eq!(seen, (1..=25).collect::<Vec<u64>>());
}

#[test]
fn a_message_has_its_eight_keys_and_content_and_metadata_come_back_byte_for_byte() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let content = r#"{"b":1.50,"a":[null,true,{"ü":"\u0000é\ud83d\ude00"}],"long":12345678901234567890123,"e":1E3}"#;
    let metadata = r#"{"client":{"x":null}}"#;
    let body = format!(r#"{{"user_id":"alice","kind":"custom","content":{content},"metadata":{metadata}}}"#);
    let mut connection = server.connect();
    connection.send(format!(
        "POST {} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        messages(&session),
        body.len()
    ));
    let answer = connection.answer();
    let message = answer.expect(200)["message"].clone();
    for key in ["id", "session_id", "seq", "sender_id", "kind", "content", "metadata", "inserted_at"] {
        assert!(keys(&message).contains(&key), "{key} is in {message}");
    }
    assert_eq!(message["session_id"], session.as_str());
    assert_eq!(message["sender_id"], "alice");
    assert_eq!(message["kind"], "custom");
    let replay = server.get(&messages(&session));
    for text in [answer.text(), replay.text()] {
        assert!(text.contains(content), "{text}");
        assert!(text.contains(metadata), "{text}");
    }
}

#[test]
fn id_and_inserted_at_are_the_same_in_the_reply_the_push_and_every_replay() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Default::default());
    let session = server.session("alice", "bot");
    let mut socket = Socket::open(&server, "alice");
    let topic = socket.join_session(&session);
    let replied = server.say(&session, "alice", "by REST");
    assert_rfc3339_with_microseconds(&replied["inserted_at"]);
    assert_eq!(socket.event(&topic, "message"), replied);
    let seq = socket.say(&topic, "by socket");
    let pushed = socket.event(&topic, "message");
    assert_eq!(pushed["seq"], seq);
    assert_rfc3339_with_microseconds(&pushed["inserted_at"]);
    let expected = vec![replied, pushed];
    assert_eq!(server.history(&session), expected);
    let joined = Socket::open(&server, "bot").join(&topic, &json!({})).expect("the agent joins");
    assert_eq!(list(&joined, "messages"), expected);
    server.kill();
    let server = Server::on(folder.path(), &Default::default());
    assert_eq!(server.history(&session), expected);
}

#[test]
fn times_of_sessions_and_agents_have_microseconds_and_a_zone_too() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let session = server.get(&format!("/api/sessions/{session}")).expect(200)["session"].clone();
    let agent = json!({"agent": {"id": unique("agent"), "name": "A", "origin_url": "http://a.test"}});
    let agent = server.post("/api/agents", &agent).expect(201)["agent"].clone();
    for time in ["inserted_at", "updated_at"] {
        assert_rfc3339_with_microseconds(&session[time]);
        assert_rfc3339_with_microseconds(&agent[time]);
    }
}

#[test]
fn marking_read_gives_the_session_and_keeps_one_readable_cursor_per_user_that_only_rises() {
    let server = Server::shared();
    let session = filled(&server, 5);
    assert_eq!(server.cursor(&session, "alice"), None);
    assert_eq!(server.mark_read(&session, "alice", 3)["session"]["id"], session.as_str());
    assert_eq!(server.cursor(&session, "alice"), Some(3));
    server.mark_read(&session, "alice", 2);
    assert_eq!(server.cursor(&session, "alice"), Some(3), "a lower mark changes nothing");
    server.mark_read(&session, "somebody-else", 1);
    assert_eq!(server.cursor(&session, "somebody-else"), Some(1));
    server.mark_read(&session, "alice", 99);
    assert_eq!(server.cursor(&session, "alice"), Some(5), "nobody has read what is not written");
    server.mark_read(&session, "alice", 5);
    assert_eq!(server.cursor(&session, "alice"), Some(5));
}

#[test]
fn a_mark_without_a_number_counts_as_zero_and_without_a_user_is_refused() {
    let server = Server::shared();
    let session = filled(&server, 2);
    let read = format!("/api/sessions/{session}/read");
    server.post(&read, &json!({"user_id": "alice"})).expect(200);
    server.post(&read, &json!({"user_id": "alice", "last_seq": -3})).expect(200);
    assert_eq!(server.cursor(&session, "alice").unwrap_or(0), 0);
    for body in [json!({"last_seq": 1}), json!({"user_id": "", "last_seq": 1}), json!({"user_id": null})] {
        let error = server.post(&read, &body).expect(422)["error"].clone();
        let text = error.as_str().expect("an error is a text");
        assert!(text.contains("user_id is required"), "{text}");
    }
}

#[test]
fn cursors_survive_a_crash() {
    let folder = Folder::new();
    let server = Server::on(folder.path(), &Default::default());
    let session = filled(&server, 3);
    server.mark_read(&session, "alice", 2);
    server.kill();
    let server = Server::on(folder.path(), &Default::default());
    assert_eq!(server.cursor(&session, "alice"), Some(2));
}
