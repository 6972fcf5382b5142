//! Phoenix Channels and what stands above them: messages, the life of one socket, routes and topics.

use crate::Random;
use fleetlm::api::topics::{self, Topic};
use fleetlm::api::{Context, Route, route};
use fleetlm::protocol::channels::longpoll::{BATCH_LINES_MAX, decode_batch};
use fleetlm::protocol::channels::{Action, Message, Payload, Socket, Status, Vsn, decode_binary, decode_text, encode};
use fleetlm::protocol::http::{Method, Request};
use fleetlm::session::SessionId;
use fleetlm::shard::Now;
use serde_json::Value;

const CHANNELS_MAX: usize = 3;
/// Bytes of a ref or an event's name at the most. A shorter text breaks no bound.
const FIELD_BYTES_MAX: usize = 255;
const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 0 }, random: 7, shards: 2 };

/// What is read is written back as the same; serde_json's own idea of the array agrees with ours.
pub fn channel_message(data: &[u8]) {
    if let Ok(message) = decode_binary(Vsn::V2, data) {
        assert!(matches!(message.payload, Payload::Binary(_)));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    for vsn in [Vsn::V1, Vsn::V2] {
        let message = decode_text(vsn, text);
        if let Ok(message) = &message {
            assert_eq!(read_back(vsn, message), *message);
        }
        if vsn == Vsn::V2
            && text.len() <= FIELD_BYTES_MAX
            && let Ok(value) = serde_json::from_str(text)
        {
            assert_eq!(message.is_ok(), is_five(&value), "{text}");
        }
    }
}

/// `message` written and read again. A server's V1 message has no join_ref, so it is put back.
fn read_back(vsn: Vsn, message: &Message<'_>) -> Message<'static> {
    let Payload::Json(payload) = &message.payload else { panic!("a text frame has a JSON payload") };
    let mut out = Vec::new();
    let Message { join_ref, reference, topic, event, .. } = message;
    encode::message(vsn, join_ref, reference, topic, event, &[payload], &mut out);
    let text = std::str::from_utf8(&out).expect("text stays text");
    let read = decode_text(vsn, text).expect("what is written can be read").into_owned();
    if vsn == Vsn::V1 { Message { join_ref: join_ref.clone(), ..read } } else { read }
}

/// The shape of a V2 message.
fn is_five(value: &Value) -> bool {
    let is_ref = |value: &Value| value.is_null() || value.is_number() || value.is_string();
    let Some([join_ref, reference, topic, event, _, ..]) = value.as_array().map(Vec::as_slice) else { return false };
    is_ref(join_ref) && is_ref(reference) && topic.is_string() && event.is_string()
}

/// A client's lines drive a socket whose owner grants, refuses and answers in any order: what it sends is always a message, no more
/// channels are open than allowed, and once all is answered nothing is owed.
pub fn channel_socket(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut random = Random::new(data.len() as u64);
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut socket = Socket::new(vsn, CHANNELS_MAX);
        let (mut out, mut owed) = (Vec::new(), Vec::new());
        for message in text.lines().filter_map(|line| decode_text(vsn, line).ok()) {
            let mut action = socket.take(message, &mut out);
            while let Some(next) = action {
                match next {
                    Action::Join { channel, .. } => match random.below(4) {
                        0 => socket.refused(channel, "{}", &mut out),
                        1 => socket.unmatched(channel, &mut out),
                        _ => socket.joined(channel, "{}", &mut out),
                    },
                    Action::Event { reply, .. } => owed.push(reply),
                    Action::Leave { .. } => {}
                }
                assert!(socket.channels().count() <= CHANNELS_MAX);
                action = socket.next(&mut out);
            }
            if !owed.is_empty() && random.below(3) == 0 {
                let reply = owed.swap_remove(random.below(owed.len()));
                let _ = socket.reply(reply, Status::Ok, "{}", &mut out);
            }
        }
        while !owed.is_empty() {
            let reply = owed.swap_remove(random.below(owed.len()));
            let _ = socket.reply(reply, Status::Error, "{}", &mut out);
        }
        assert_eq!(socket.unanswered(), 0);
        for sent in out {
            decode_text(vsn, std::str::from_utf8(&sent).expect("text")).expect("a socket sends messages");
        }
    }
}

/// `METHOD target content-type LF body`: whatever comes, an immediate answer carries the CORS headers, and so do topics survive
/// any name, event and payload.
pub fn api(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (line, body) = text.split_once('\n').unwrap_or((text, ""));
    let mut words = line.split(' ');
    let method = Method::parse(words.next().unwrap_or(""));
    let target = words.next().unwrap_or("/");
    let kind = words.next().unwrap_or("application/json");
    let request = Request::new(method, target).with_header("content-type", kind).with_body(body);
    if let Route::Respond(response) = route(&request, &CONTEXT) {
        assert!((200..600).contains(&response.status));
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    }
    if let Ok(topic) = topics::parse(target) {
        assert_eq!(topics::parse(&topic.to_string()).as_ref(), Ok(&topic));
    }
    if let Ok(Message { payload, event, .. }) = decode_text(Vsn::V2, body) {
        let session = Topic::Session(SessionId::from_parts(1, 1));
        let refusals = [
            topics::join(&session, "a", &payload).err(),
            topics::event(&session, &event, &payload, "a", &CONTEXT).err(),
            topics::event(&session, "send", &payload, "a", &CONTEXT).err(),
        ];
        for response in refusals.into_iter().flatten() {
            assert!(serde_json::from_str::<Value>(&response).is_ok_and(|response| response.is_object()), "{response}");
        }
    }
    if let Ok(messages) = decode_batch(Vsn::V2, true, body.as_bytes()) {
        assert!(messages.len() <= BATCH_LINES_MAX);
    }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        r#"["1","2","session:x","send",{"content":{"content":{"text":"h\u00e9 \ud83d\ude00"}}}]"#,
        r#"[null,7,"phoenix","heartbeat",null,"more"]"#,
        r#"{"topic":"t","event":"phx_join","payload":{"last_seq":"3"},"ref":"1","join_ref":null}"#,
    ]
    .map(Vec::from)
    .to_vec();
    seeds.push(b"\x00\x01\x02\x04\x01122t:\xc3\xa9e\xff\x00".to_vec());
    seeds
}

pub(crate) fn socket_seeds() -> Vec<Vec<u8>> {
    let lines = |lines: &[&str]| lines.join("\n").into_bytes();
    let v1 = |event: &str| format!(r#"{{"topic":"t","event":"{event}","payload":{{}},"ref":"1"}}"#);
    vec![
        lines(&[
            r#"["1","1","t","phx_join",{}]"#,
            r#"[null,"2","t","send",{}]"#,
            r#"["1","3","t","send",{}]"#,
            r#"["1","4","t","phx_leave",{}]"#,
            r#"["5","5","t","phx_join",{}]"#,
            r#"["5","6","t","send",{}]"#,
            r#"["6","6","t","phx_join",{}]"#,
            r#"[null,"7","phoenix","heartbeat",{}]"#,
        ]),
        lines(&[
            r#"["1","1","a","phx_join",{}]"#,
            r#"["2","2","b","phx_join",{}]"#,
            r#"["3","3","c","phx_join",{}]"#,
            r#"["4","4","d","phx_join",{}]"#,
            r#"["4","5","d","send",{}]"#,
            r#"["1","6","b","phx_leave",{}]"#,
        ]),
        lines(&[&v1("phx_join"), &v1("send"), &v1("send"), &v1("phx_leave"), &v1("phx_join")]),
    ]
}

pub(crate) fn api_seeds() -> Vec<Vec<u8>> {
    let id = SessionId::from_parts(1, 1);
    vec![
        format!("POST /api/sessions/{id}/messages\n{{\"user_id\":\"a\",\"content\":{{}},\"metadata\":{{}},\"expected_seq\":1}}").into(),
        format!("GET /api/sessions/{id}/messages?after_seq=7&limit=50&before_seq=9").into(),
        b"POST /api/agents application/x-www-form-urlencoded\n_method=PUT&agent[id]=a&agent[headers][x]=%41+b&t[]=1".to_vec(),
        b"GET /socket/websocket?user_id=a&vsn=2.0.0".to_vec(),
        b"POST /socket/longpoll?user_id=a&vsn=2.0.0&token=VVVVVVVVVVVVVVVVVVVVVQIB application/x-ndjson\n[1,1,\"t\",\"e\",{}]".to_vec(),
        b"X inbox:alice\n[null,\"1\",\"session:x\",\"send\",{\"content\":{\"kind\":\"k\",\"content\":{},\"metadata\":{}}}]".to_vec(),
        format!("X session:{id}\n[null,\"1\",\"t\",\"stream_chunk\",{{\"chunk\":{{}},\"last_seq\":\"3\",\"limit\":9}}]").into(),
    ]
}
