//! The long-poll transport: the behaviour contract's 3.8.

use crate::harness::http::request;
use crate::harness::rest::list;
use crate::harness::{Answer, Frame, Server, Value, json};

/// One long-poll session, asking with its token in the query or in the header.
pub(crate) struct Poll<'a> {
    server: &'a Server,
    query: String,
    token: String,
    in_header: bool,
}

impl<'a> Poll<'a> {
    pub(crate) fn open(server: &'a Server, identity: &str) -> Self {
        let query = format!("user_id={identity}&vsn=2.0.0");
        let body = server.get(&format!("/socket/longpoll?{query}")).expect(200);
        assert_eq!((&body["status"], &body["messages"]), (&json!(410), &json!([])));
        let token = body["token"].as_str().expect("a token").to_owned();
        Self { server, query, token, in_header: false }
    }

    fn call(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut path = format!("/socket/longpoll?{}", self.query);
        let mut headers = headers.to_vec();
        if self.in_header {
            headers.push(("x-phoenix-longpoll-token", &self.token));
        } else {
            path += &format!("&token={}", self.token);
        }
        let length = body.len().to_string();
        headers.push(("content-length", &length));
        let mut connection = self.server.connect();
        connection.send([request(method, &path, &headers, None), body.as_bytes().to_vec()].concat());
        connection.answer()
    }

    /// Posts one text frame or, with more, a batch of lines.
    fn post(&self, content_type: &str, body: &str) -> Value {
        self.call("POST", &[("content-type", content_type)], body).expect(200)
    }

    pub(crate) fn send(&self, frame: &Value) {
        assert_eq!(self.post("text/plain", &frame.to_string())["status"], 200);
    }

    /// Polls until there is something.
    fn receive(&self) -> Vec<Frame> {
        loop {
            let body = self.call("GET", &[], "").expect(200);
            let messages = list(&body, "messages");
            match body["status"].as_u64() {
                Some(200) => {
                    return messages.iter().map(|text| Frame::parse(text.as_str().expect("a frame's text"))).collect();
                }
                Some(204) => assert!(messages.is_empty()),
                _ => panic!("{body}"),
            }
        }
    }

    /// Polls until this many frames are there.
    pub(crate) fn frames(&self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.extend(self.receive());
        }
        assert_eq!(frames.len(), count, "{frames:?}");
        frames
    }
}

#[test]
fn without_a_token_a_get_connects_or_is_refused_by_the_bodys_status() {
    let server = Server::shared();
    for query in ["vsn=2.0.0", "user_id=u&vsn=9.9.9"] {
        let answer = server.get(&format!("/socket/longpoll?{query}"));
        assert_eq!(answer.expect(200)["status"], 403, "{query}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let one = Poll::open(&server, "alice").token;
    assert_ne!(one, Poll::open(&server, "alice").token);
}

#[test]
fn join_send_and_messages_travel_by_polls_with_the_token_in_query_or_header() {
    let server = Server::shared();
    for in_header in [false, true] {
        let session = server.session("alice", "bot");
        let topic = format!("session:{session}");
        let mut poll = Poll::open(&server, "alice");
        poll.in_header = in_header;
        poll.send(&json!(["1", "1", topic, "phx_join", {}]));
        let joined = &poll.frames(1)[0];
        assert!(joined.is_reply_to(&json!("1")));
        assert_eq!(joined.payload["response"]["session_id"], session.as_str());
        poll.send(&json!(["1", "2", topic, "send", {"content": {"content": {"text": "hi"}}}]));
        let frames = poll.frames(2);
        assert!(frames[0].is_reply_to(&json!("2")), "the ack comes first");
        assert_eq!((frames[1].event.as_str(), &frames[1].payload["content"]["text"]), ("message", &json!("hi")));
        let message = server.say(&session, "alice", "by REST");
        assert_eq!(poll.frames(1)[0].payload, message);
    }
}

#[test]
fn a_poll_that_waits_is_answered_by_the_next_message() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let topic = format!("session:{session}");
    let poll = Poll::open(&server, "alice");
    poll.send(&json!(["1", "1", topic, "phx_join", {}]));
    poll.frames(1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| poll.frames(1));
        let message = server.say(&session, "alice", "wake up");
        assert_eq!(waiting.join().expect("the poll ends")[0].payload, message);
    });
}

#[test]
fn a_poll_without_news_is_204_with_the_token() {
    let server = Server::shared();
    let poll = Poll::open(&server, "alice");
    let body = poll.call("GET", &[], "").expect(200);
    assert_eq!((&body["status"], &body["messages"]), (&json!(204), &json!([])));
    assert!(body["token"].is_string());
}

#[test]
fn a_batch_of_lines_is_read_in_order_with_base64_for_binary_frames() {
    let server = Server::shared();
    let session = server.session("alice", "bot");
    let topic = format!("session:{session}");
    let poll = Poll::open(&server, "alice");
    let join = json!(["1", "1", topic, "phx_join", {}]).to_string();
    let heartbeat = json!([null, "2", "phoenix", "heartbeat", {}]).to_string();
    let mut binary = vec![0, 1, 1, topic.len() as u8, 4];
    binary.extend(format!("13{topic}send").bytes());
    binary.extend([0, 255]);
    let batch = format!("{join}\n{heartbeat}\n{}", base64(&binary));
    assert_eq!(poll.post("application/x-ndjson", &batch)["status"], 200);
    let frames = poll.frames(3);
    for (frame, reference) in frames.iter().zip(["1", "2", "3"]) {
        assert!(frame.is_reply_to(&json!(reference)), "{frame:?}");
    }
    assert_eq!(frames[2].payload["response"]["error"], "invalid_message_format");
}

#[test]
fn an_unknown_token_is_410_for_polls_and_posts() {
    let server = Server::shared();
    let mut poll = Poll::open(&server, "alice");
    poll.token = "unknown".to_owned();
    assert_eq!(poll.post("text/plain", r#"[null,"1","phoenix","heartbeat",{}]"#)["status"], 410);
    let body = poll.call("GET", &[], "").expect(200);
    assert_eq!(body["status"], 410);
    assert_ne!(body["token"], "unknown", "a poll with an unusable token connects anew");
}

#[test]
fn a_token_of_another_life_of_the_server_is_410() {
    let folder = crate::harness::Folder::new();
    let server = Server::on(folder.path(), &Default::default());
    let Poll { query, token, in_header, .. } = Poll::open(&server, "alice");
    server.kill();
    let server = Server::on(folder.path(), &Default::default());
    let poll = Poll { server: &server, query, token, in_header };
    assert_eq!(poll.post("text/plain", r#"[null,"1","phoenix","heartbeat",{}]"#)["status"], 410);
}

#[test]
fn a_token_does_not_open_somebody_elses_session() {
    let server = Server::shared();
    let poll = Poll::open(&server, "alice");
    let mut forged = poll.token.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = Poll { token: String::from_utf8(forged).expect("ASCII"), query: poll.query.clone(), ..poll };
    assert_eq!(forged.post("text/plain", r#"[null,"1","phoenix","heartbeat",{}]"#)["status"], 410);
}

#[test]
fn options_is_200_and_other_verbs_are_400() {
    let server = Server::shared();
    let answer = server.call("OPTIONS", "/socket/longpoll", &[("origin", "http://localhost:3000")], None);
    // Any OPTIONS request is 204 by the REST contract and 200 by Phoenix's; browsers take both.
    assert!(answer.status == 200 || answer.status == 204, "{}", answer.status);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let deleted = server.delete("/socket/longpoll?user_id=u&vsn=2.0.0");
    assert!(deleted.status == 400 || deleted.json()["status"] == 400, "{deleted:?}");
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |group: &[u8]| {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        (0..4)
            .map(|n| if n <= group.len() { ALPHABET[(bits >> (18 - 6 * n) & 63) as usize] as char } else { '=' })
            .collect::<String>()
    };
    bytes.chunks(3).map(encode).collect()
}

#[test]
fn base64_of_the_standards_examples() {
    assert_eq!(
        ["", "f", "fo", "foo", "foobar"].map(|text| base64(text.as_bytes())),
        ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]
    );
}
