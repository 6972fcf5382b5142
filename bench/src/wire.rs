//! HTTP requests and WebSocket frames: our decoders beside the parser inside them, a bare loop, and tungstenite. And all that an
//! append over REST needs besides sockets and the shard.

use crate::harness::Group;
use fleetlm::protocol::http::{self, RequestDecoder};
use fleetlm::protocol::ws::{self, Decoder, Role};
use fleetlm::session::Json;
use fleetlm::shard::{Now, Reply};
use fleetlm::{api, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::hint::black_box;
use std::io::{Cursor, Read, Write};
use tungstenite::protocol::WebSocket;

/// Frames of one pass over an input: decoders are made for streams.
const FRAMES: u64 = 64;

/// A POST as an HTTP library sends it.
fn request(body_bytes: usize) -> Vec<u8> {
    let mut bytes = format!(
        "POST /api/sessions/01K6GR2EV9Z7PSMEVVJ5M954CH/messages HTTP/1.1\r\nHost: chat.example.com\r\nUser-Agent: node\r\n\
         Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: {body_bytes}\r\nConnection: keep-alive\r\n\r\n"
    )
    .into_bytes();
    bytes.resize(bytes.len() + body_bytes, b'x');
    bytes
}

/// The decoder of requests beside httparse, which finds the same fields and keeps nothing.
pub fn http_request() -> Group<'static> {
    let bytes = request(256);
    let name = format!("http request: head of {} bytes, body of 256", bytes.len() - 256);
    let limits = http::Limits {
        request_line_bytes_max: limits::HEAD_BYTES_MAX,
        head_bytes_max: limits::HEAD_BYTES_MAX,
        headers_max: limits::HEADERS_MAX,
        body_bytes_max: limits::BODY_BYTES_MAX,
        upload_bytes_max: limits::BODY_BYTES_MAX,
    };
    let mut decoder = RequestDecoder::new(limits);
    let copy = bytes.clone();
    Group::new(name)
        .case("httparse alone (reference)", move || {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            assert!(request.parse(black_box(&copy)).is_ok_and(|status| status.is_complete()));
            black_box(&request);
        })
        .case("RequestDecoder, head and body owned", move || {
            decoder.push(black_box(&bytes));
            let step = decoder.next();
            assert!(matches!(step, Ok(http::Step::Request(_))));
            drop(black_box(step));
        })
}

/// What of an append's body must be found at the least.
#[derive(Deserialize)]
struct Body<'a> {
    user_id: &'a str,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// An append over REST without sockets and shard: its request becomes a command, the reply to that a response. Beside the parsers of head
/// and body, which find the same fields and keep nothing, and a copy of the response.
pub fn rest_append() -> Group<'static> {
    let body = format!(r#"{{"user_id":"u","content":{{"text":"{}"}}}}"#, "x".repeat(245));
    let mut bytes = request(body.len());
    bytes.truncate(bytes.len() - body.len());
    let head_bytes = bytes.len();
    bytes.extend_from_slice(body.as_bytes());
    let session = "01K6GR2EV9Z7PSMEVVJ5M954CH";
    let message = format!(
        r#"{{"id":"{session}","session_id":"{session}","seq":7,"sender_id":"u","kind":"text","content":{{"text":"{}"}},"metadata":{{}},"inserted_at":"2026-11-22T17:46:15.761470Z"}}"#,
        "x".repeat(245)
    );
    let json = Json::parse(&message).expect("it is JSON");
    let limits = http::Limits {
        request_line_bytes_max: limits::HEAD_BYTES_MAX,
        head_bytes_max: limits::HEAD_BYTES_MAX,
        headers_max: limits::HEADERS_MAX,
        body_bytes_max: limits::BODY_BYTES_MAX,
        upload_bytes_max: limits::BODY_BYTES_MAX,
    };
    let now = Now { unix_us: 1_795_348_976_000_000, mono_us: 1_000_000 };
    let context = api::Context { now, random: 42, shards: 1 };
    let (mut decoder, copy, answered) = (RequestDecoder::new(limits), bytes.clone(), json.clone());
    let (mut reference, mut out) = (Vec::new(), Vec::new());
    Group::new(format!("rest append: head of {head_bytes} bytes, body of {}", body.len()))
        .case("httparse, serde_json, and a copy (reference)", move || {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            assert!(request.parse(black_box(&copy)).is_ok_and(|status| status.is_complete()));
            let body: Body<'_> = serde_json::from_slice(&copy[head_bytes..]).expect("two fields");
            black_box((&request, body.user_id, body.content));
            reference.clear();
            reference.extend_from_slice(answered.as_str().as_bytes());
            black_box(&reference);
        })
        .case("RequestDecoder, route, render, encode", move || {
            decoder.push(black_box(&bytes));
            let Ok(http::Step::Request(request)) = decoder.next() else { unreachable!("it is whole") };
            let api::Route::Call { command, render, .. } = api::route(&request, &context) else {
                unreachable!("it is an append")
            };
            drop(black_box(command));
            let reply = Reply::Appended { seq: 7, json: Some(black_box(json.clone())), replayed: false };
            let response = render.one(Ok(reply));
            out.clear();
            let context = http::Context {
                head_only: false,
                keep_alive: true,
                version: http::Version::Http11,
                date: "Sun, 22 Nov 2026 17:46:15 GMT",
            };
            response.encode(&mut out, &context);
            black_box(&out);
        })
}

/// Masked text frames as a client sends them.
fn frames(payload_bytes: usize) -> Vec<u8> {
    let mut client = WebSocket::from_raw_socket(Duplex::default(), tungstenite::protocol::Role::Client, None);
    for _ in 0..FRAMES {
        client.send(tungstenite::Message::text("x".repeat(payload_bytes))).expect("memory takes all");
    }
    std::mem::take(&mut client.get_mut().output)
}

/// A stream in memory.
#[derive(Default)]
struct Duplex {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Duplex {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(out)
    }
}

impl Write for Duplex {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reading client frames, beside copying and unmasking the same payload with nothing around it, and beside tungstenite.
pub fn ws_decode(payload_bytes: usize) -> Group<'static> {
    let bytes = frames(payload_bytes);
    let limits = ws::Limits { message_bytes_max: limits::BODY_BYTES_MAX, fragments_max: limits::WS_FRAGMENTS_MAX };
    let mut decoder = Decoder::new(Role::Server, limits, None);
    let source = bytes[..payload_bytes].to_vec();
    let mut copy = Vec::with_capacity(payload_bytes);
    let input = Duplex { input: Cursor::new(bytes.clone()), output: Vec::new() };
    let mut other = WebSocket::from_raw_socket(input, tungstenite::protocol::Role::Server, None);
    Group::new(format!("ws decode: {FRAMES} masked text frames of {payload_bytes} bytes in one read"))
        .case("copy and unmask alone (reference)", move || {
            copy.clear();
            copy.extend_from_slice(black_box(&source));
            ws::apply_mask(&mut copy, black_box([1, 2, 3, 4]), 0);
            black_box(&copy);
        })
        .batch("Decoder", FRAMES, move || {
            decoder.push(black_box(&bytes));
            for _ in 0..FRAMES {
                let event = decoder.next();
                assert!(matches!(event, Ok(Some(ws::Event::Text(_)))));
                drop(black_box(event));
            }
        })
        .batch("tungstenite", FRAMES, move || {
            other.get_mut().input.set_position(0);
            for _ in 0..FRAMES {
                drop(black_box(other.read().expect("whole frames")));
            }
        })
}

/// Writing a server frame, beside copying its payload.
pub fn ws_encode(payload_bytes: usize) -> Group<'static> {
    let payload = vec![b'x'; payload_bytes];
    let copied = payload.clone();
    let (mut copy, mut out) = (Vec::with_capacity(payload_bytes), Vec::with_capacity(payload_bytes + 16));
    Group::new(format!("ws encode: a text frame of {payload_bytes} bytes"))
        .case("copy alone (reference)", move || {
            copy.clear();
            copy.extend_from_slice(black_box(&copied));
            black_box(&copy);
        })
        .case("encode_text", move || {
            out.clear();
            ws::encode_text(black_box(&payload), &mut out);
            black_box(&out);
        })
}
