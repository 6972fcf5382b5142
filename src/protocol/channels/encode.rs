//! Writes what a server sends on a socket (contract 3.1, 3.2). Each function appends one message to `out`, not a WebSocket
//! frame. Responses and payloads are JSON texts, spliced as they are; a broken one is the caller's fault.

use super::{Malformed, Ref, Vsn};

/// Answers a client's message.
pub fn reply(vsn: Vsn, join_ref: &Ref, reference: &Ref, topic: &str, is_ok: bool, response: &str, out: &mut Vec<u8>) {
    let before = if is_ok { r#"{"status":"ok","response":"# } else { r#"{"status":"error","response":"# };
    message(vsn, join_ref, reference, topic, "phx_reply", &[before, response, "}"], out);
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
    for part in payload {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(if vsn == Vsn::V2 { b']' } else { b'}' });
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
