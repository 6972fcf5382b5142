//! Writes what a server sends on a socket (contract 3.1, 3.2). Each function appends one message to `out`, not a WebSocket
//! frame. Responses and payloads are JSON texts, spliced as they are; a broken one is the caller's fault.

use super::{Malformed, Ref, Vsn};
use crate::protocol::Roomy;

/// Answers a client's message.
pub fn reply(vsn: Vsn, join_ref: &Ref, reference: &Ref, topic: &str, is_ok: bool, response: &str, out: &mut Vec<u8>) {
    message(vsn, join_ref, reference, topic, "phx_reply", &[reply_head(is_ok), response, "}"], out);
}

/// As [`reply`], put around the response.
pub fn reply_around(vsn: Vsn, join_ref: &Ref, reference: &Ref, topic: &str, is_ok: bool, response: &mut Roomy) {
    let mut before = Vec::with_capacity(128 + topic.len());
    head(vsn, join_ref, reference, topic, "phx_reply", &mut before);
    before.extend_from_slice(reply_head(is_ok).as_bytes());
    response.prepend(&before);
    response.tail().extend_from_slice(&[b'}', end(vsn)]);
}

fn reply_head(is_ok: bool) -> &'static str {
    if is_ok { r#"{"status":"ok","response":"# } else { r#"{"status":"error","response":"# }
}

/// An event of one channel.
pub fn push(vsn: Vsn, join_ref: &Ref, topic: &str, event: &str, payload: &str, out: &mut Vec<u8>) {
    message(vsn, join_ref, &Ref::NULL, topic, event, &[payload], out);
}

/// An event in the form that is the same for every subscriber of a version.
pub fn broadcast(vsn: Vsn, topic: &str, event: &str, payload: &str, out: &mut Vec<u8>) {
    push(vsn, &Ref::NULL, topic, event, payload, out);
}

/// The channel that `join_ref` opened has closed.
pub fn close(vsn: Vsn, join_ref: &Ref, topic: &str, out: &mut Vec<u8>) {
    message(vsn, join_ref, join_ref, topic, "phx_close", &["{}"], out);
}

/// The channel that `join_ref` opened has failed; its client joins again.
pub fn error(vsn: Vsn, join_ref: &Ref, topic: &str, out: &mut Vec<u8>) {
    message(vsn, join_ref, join_ref, topic, "phx_error", &["{}"], out);
}

/// One text message of either version with all its fields; the payload is given in parts.
pub fn message(
    vsn: Vsn,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    event: &str,
    payload: &[&str],
    out: &mut Vec<u8>,
) {
    out.reserve(64 + topic.len() + payload.iter().map(|part| part.len()).sum::<usize>());
    head(vsn, join_ref, reference, topic, event, out);
    for part in payload {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(end(vsn));
}

/// What stands before the payload.
fn head(vsn: Vsn, join_ref: &Ref, reference: &Ref, topic: &str, event: &str, out: &mut Vec<u8>) {
    let mut raw = |text: &str| out.extend_from_slice(text.as_bytes());
    match vsn {
        Vsn::V2 => {
            raw("[");
            raw(join_ref.as_json());
            raw(",");
            raw(reference.as_json());
            raw(",");
            string(topic, out);
            out.push(b',');
            string(event, out);
            out.push(b',');
        }
        Vsn::V1 => {
            raw(r#"{"topic":"#);
            string(topic, out);
            out.extend_from_slice(br#","event":"#);
            string(event, out);
            out.extend_from_slice(br#","ref":"#);
            out.extend_from_slice(reference.as_json().as_bytes());
            out.extend_from_slice(br#","payload":"#);
        }
    }
}

/// What stands behind it.
fn end(vsn: Vsn) -> u8 {
    if vsn == Vsn::V2 { b']' } else { b'}' }
}

/// Appends `text` as a JSON string.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string serialises and a Vec takes it");
}

/// A binary event of one channel: kind 0, no ref.
///
/// # Errors
/// [`Malformed`] when a field is longer than its length byte can say.
pub fn binary_push(
    join_ref: &str,
    topic: &str,
    event: &str,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    binary(0, &[join_ref, topic, event], payload, out)
}

/// A binary reply: kind 1.
///
/// # Errors
/// [`Malformed`] when a field is longer than its length byte can say.
pub fn binary_reply(
    join_ref: &str,
    reference: &str,
    topic: &str,
    is_ok: bool,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    binary(1, &[join_ref, reference, topic, if is_ok { "ok" } else { "error" }], payload, out)
}

/// A binary event for every subscriber: kind 2.
///
/// # Errors
/// [`Malformed`] when a field is longer than its length byte can say.
pub fn binary_broadcast(topic: &str, event: &str, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    binary(2, &[topic, event], payload, out)
}

fn binary(kind: u8, fields: &[&str], payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = out.len();
    out.push(kind);
    for field in fields {
        let Ok(length) = u8::try_from(field.len()) else {
            out.truncate(start);
            return Err(Malformed("a field of a binary frame has at most 255 bytes"));
        };
        out.push(length);
    }
    fields.iter().for_each(|field| out.extend_from_slice(field.as_bytes()));
    out.extend_from_slice(payload);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"before".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn a_reply_around_its_response_is_the_same_message() {
        for (vsn, is_ok, room) in [(Vsn::V2, true, 0), (Vsn::V2, false, 500), (Vsn::V1, true, 500), (Vsn::V1, false, 3)]
        {
            let (join_ref, reference, topic) = (Ref::text("3"), Ref::text("4"), "session:\"x\"");
            let mut text = vec![b'.'; room];
            text.extend_from_slice(br#"{"seq":1}"#);
            let mut around = Roomy::new(text, room);
            reply_around(vsn, &join_ref, &reference, topic, is_ok, &mut around);
            let copied = written(|out| reply(vsn, &join_ref, &reference, topic, is_ok, r#"{"seq":1}"#, out));
            assert_eq!(String::from_utf8(around.into_vec()).unwrap(), copied);
        }
    }

    /// Every line of contract 3.2.
    #[test]
    fn v2_messages_have_the_shapes_of_the_contract() {
        let (join_ref, reference) = (&Ref::text("3"), &Ref::text("4"));
        for (shape, got) in [
            (
                r#"["3","4","session:x","phx_reply",{"status":"ok","response":{"seq":1}}]"#,
                written(|out| reply(Vsn::V2, join_ref, reference, "session:x", true, r#"{"seq":1}"#, out)),
            ),
            (
                r#"[null,"4","t","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#,
                written(|out| {
                    reply(Vsn::V2, &Ref::NULL, reference, "t", false, r#"{"reason":"unmatched topic"}"#, out)
                }),
            ),
            (
                r#"[null,null,"phoenix","phx_reply",{"status":"ok","response":{}}]"#,
                written(|out| reply(Vsn::V2, &Ref::NULL, &Ref::NULL, "phoenix", true, "{}", out)),
            ),
            (
                r#"["3",null,"session:x","message",{"seq":1}]"#,
                written(|out| push(Vsn::V2, join_ref, "session:x", "message", r#"{"seq":1}"#, out)),
            ),
            (
                r#"[null,null,"session:x","message",{"seq":1}]"#,
                written(|out| broadcast(Vsn::V2, "session:x", "message", r#"{"seq":1}"#, out)),
            ),
            (r#"["3","3","t","phx_close",{}]"#, written(|out| close(Vsn::V2, join_ref, "t", out))),
            (r#"["3","3","t","phx_error",{}]"#, written(|out| error(Vsn::V2, join_ref, "t", out))),
        ] {
            assert_eq!(got, shape);
        }
    }

    #[test]
    fn v1_messages_have_four_keys_and_no_join_ref() {
        let (join_ref, reference) = (&Ref::text("3"), &Ref::text("4"));
        for (shape, got) in [
            (
                r#"{"topic":"t","event":"phx_reply","ref":"4","payload":{"status":"ok","response":{}}}"#,
                written(|out| reply(Vsn::V1, join_ref, reference, "t", true, "{}", out)),
            ),
            (
                r#"{"topic":"t","event":"message","ref":null,"payload":{"seq":1}}"#,
                written(|out| broadcast(Vsn::V1, "t", "message", r#"{"seq":1}"#, out)),
            ),
            (
                r#"{"topic":"t","event":"phx_close","ref":"3","payload":{}}"#,
                written(|out| close(Vsn::V1, join_ref, "t", out)),
            ),
            (
                r#"{"topic":"t","event":"phx_error","ref":null,"payload":{}}"#,
                written(|out| error(Vsn::V1, &Ref::NULL, "t", out)),
            ),
        ] {
            assert_eq!(got, shape);
        }
    }

    #[test]
    fn topics_and_events_are_escaped() {
        let got = written(|out| broadcast(Vsn::V2, "inbox:\"a\\\n", "é", "{}", out));
        assert_eq!(got, r#"[null,null,"inbox:\"a\\\n","é",{}]"#);
    }

    #[test]
    fn binary_messages_have_the_sizes_of_the_contract() {
        let mut out = Vec::new();
        binary_push("1", "t:x", "ev", b"\xff", &mut out).unwrap();
        assert_eq!(out, b"\x00\x01\x03\x021t:xev\xff");
        out.clear();
        binary_reply("1", "22", "t:x", true, b"\xff", &mut out).unwrap();
        assert_eq!(out, b"\x01\x01\x02\x03\x02122t:xok\xff");
        out.clear();
        binary_reply("", "", "t", false, b"", &mut out).unwrap();
        assert_eq!(out, b"\x01\x00\x00\x01\x05terror");
        out.clear();
        binary_broadcast("t:x", "ev", b"\xff", &mut out).unwrap();
        assert_eq!(out, b"\x02\x03\x02t:xev\xff");
    }

    #[test]
    fn a_field_beyond_its_length_byte_writes_nothing() {
        let mut out = b"before".to_vec();
        assert!(binary_broadcast(&"x".repeat(256), "e", b"", &mut out).is_err());
        assert_eq!(out, b"before");
        assert!(binary_broadcast(&"x".repeat(255), "e", b"", &mut out).is_ok());
    }
}
