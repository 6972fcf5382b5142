//! Phoenix Channels text: reading a client's `send`, writing a broadcast.

use crate::harness::Group;
use fleetlm::protocol::channels::{Vsn, decode_text, encode};
use serde_json::value::RawValue;
use std::hint::black_box;

const TOPIC: &str = "session:01K6GR2EV9Z7PSMEVVJ5M954CH";

fn payload(bytes: usize) -> String {
    format!(r#"{{"content":{{"kind":"text","content":{{"text":"{}"}}}}}}"#, "x".repeat(bytes))
}

/// Decoding, beside serde_json that splits the five elements and keeps nothing, and beside building the whole value.
pub fn decode(bytes: usize) -> Group<'static> {
    let text = format!(r#"["4","17","{TOPIC}","send",{}]"#, payload(bytes));
    let (borrowed, whole) = (text.clone(), text.clone());
    type Elements<'a> = (Option<&'a str>, Option<&'a str>, &'a str, &'a str, &'a RawValue);
    Group::new(format!("channel decode: a send of {} bytes", text.len()))
        .case("serde_json, five borrowed elements (reference)", move || {
            black_box(serde_json::from_str::<Elements<'_>>(black_box(&borrowed)).expect("five elements"));
        })
        .case("decode_text", move || {
            drop(black_box(decode_text(Vsn::V2, black_box(&text)).expect("a message")));
        })
        .case("serde_json, the whole value", move || {
            drop(black_box(serde_json::from_str::<serde_json::Value>(black_box(&whole)).expect("JSON")));
        })
}

/// Encoding, beside copying the payload.
pub fn encode(bytes: usize) -> Group<'static> {
    let payload = payload(bytes);
    let copied = payload.clone();
    let (mut copy, mut out) = (Vec::with_capacity(payload.len()), Vec::with_capacity(payload.len() + 128));
    Group::new(format!("channel encode: a broadcast of {} bytes of payload", payload.len()))
        .case("copy of the payload alone (reference)", move || {
            copy.clear();
            copy.extend_from_slice(black_box(copied.as_bytes()));
            black_box(&copy);
        })
        .case("encode::broadcast", move || {
            out.clear();
            encode::broadcast(Vsn::V2, black_box(TOPIC), "message", black_box(&payload), &mut out);
            black_box(&out);
        })
}
