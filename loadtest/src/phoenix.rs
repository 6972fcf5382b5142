//! Phoenix Channels V2 text as a client writes and reads it, and the payloads of FleetLM's events that the scenarios look at.
//!
//! Written independently of the server's codec. The four leading elements are split by hand, so that the payload, which is nearly
//! all of a frame, is parsed once and only by who wants it.

use serde::Deserialize;
use serde_json::value::RawValue;

/// One frame of the server, borrowed from the read buffer. `reference` and the payload are raw JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Raw JSON: `null`, or the client's own string or number.
    pub join_ref: &'a str,
    /// Raw JSON: `null`, or the client's own string or number.
    pub reference: &'a str,
    /// The channel's topic.
    pub topic: &'a str,
    /// The event's name.
    pub event: &'a str,
    /// Raw JSON.
    pub payload: &'a str,
}

/// Reads a frame. `None` when it is none, or when a name is written with escapes (this tool uses no such names).
pub fn parse(text: &[u8]) -> Option<Incoming<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    let rest = text.strip_prefix('[')?;
    let (join_ref, rest) = element(rest)?;
    let (reference, rest) = element(rest)?;
    let (topic, rest) = element(rest)?;
    let (event, rest) = element(rest)?;
    let payload = rest.trim_ascii_end().strip_suffix(']')?;
    Some(Incoming { join_ref, reference, topic: unquote(topic)?, event: unquote(event)?, payload })
}

/// Splits `element,rest`; an element is a string without escapes or anything without a comma.
fn element(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_start();
    let bytes = text.as_bytes();
    let end = match bytes {
        [b'"', inside @ ..] => memchr::memchr(b'"', inside)? + 2,
        _ => memchr::memchr(b',', bytes)?,
    };
    let (element, rest) = text.split_at(end);
    if memchr::memchr(b'\\', element.as_bytes()).is_some() {
        return None;
    }
    Some((element.trim_ascii_end(), rest.trim_ascii_start().strip_prefix(',')?))
}

fn unquote(element: &str) -> Option<&str> {
    element.strip_prefix('"')?.strip_suffix('"')
}

/// The number in a `reference` that this tool gave out (`"17"` or `17`).
pub fn number(reference: &str) -> Option<u64> {
    unquote(reference).unwrap_or(reference).parse().ok()
}

/// Payload of `phx_reply`, with its response raw or as one type.
#[derive(Debug, Deserialize)]
pub struct Reply<'a, T = &'a RawValue> {
    /// `ok` or `error`.
    pub status: &'a str,
    /// What the event's rules say.
    #[serde(bound(deserialize = "T: Deserialize<'de>"))]
    pub response: T,
}

/// Response to `send`.
#[derive(Debug, Deserialize)]
pub struct SendResponse {
    /// The number that the message got. `None` in a refusal.
    pub seq: Option<u64>,
}

/// A message as every reader gets it; the fields that are verified.
#[derive(Debug, Deserialize)]
pub struct MessageView<'a> {
    /// Its place.
    pub seq: u64,
    /// Its content, raw.
    #[serde(borrow)]
    pub content: &'a RawValue,
}

/// A page of messages: the body of a GET and the response to a join.
#[derive(Debug, Deserialize)]
pub struct Page<'a> {
    /// Ascending by seq.
    #[serde(borrow)]
    pub messages: Vec<MessageView<'a>>,
    /// Whether there are later ones. A server may leave it out.
    pub has_more: Option<bool>,
}

/// Payload of `stream_chunk`.
#[derive(Debug, Deserialize)]
pub struct ChunkView<'a> {
    /// The chunk, raw.
    #[serde(borrow)]
    pub chunk: &'a RawValue,
}

/// The topic of a session.
pub fn topic(session: &str) -> String {
    format!("session:{session}")
}

/// Appends a frame with a payload that is JSON already. `join_ref` of 0 is written as null.
pub fn write(out: &mut Vec<u8>, join_ref: u64, reference: u64, topic: &str, event: &str, payload: &[u8]) {
    let mut digits = itoa::Buffer::new();
    if join_ref == 0 {
        out.extend_from_slice(b"[null,\"");
    } else {
        out.extend_from_slice(b"[\"");
        out.extend_from_slice(digits.format(join_ref).as_bytes());
        out.extend_from_slice(b"\",\"");
    }
    out.extend_from_slice(digits.format(reference).as_bytes());
    for name in [topic, event] {
        out.extend_from_slice(b"\",\"");
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\",");
    out.extend_from_slice(payload);
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_whatever_its_refs_and_spaces() {
        let expected = Incoming {
            join_ref: "null",
            reference: "\"7\"",
            topic: "session:A",
            event: "message",
            payload: "{\"a\":[1,2]}",
        };
        assert_eq!(parse(br#"[null,"7","session:A","message",{"a":[1,2]}]"#), Some(expected));
        let spaced = parse(br#"[ null , "7" , "session:A" , "message" , {"a":[1,2]}]"#).unwrap();
        assert_eq!(spaced.payload.trim(), expected.payload);
        assert_eq!((spaced.reference, spaced.event), ("\"7\"", "message"));
        assert_eq!(number("\"7\""), Some(7));
        assert_eq!(number("7"), Some(7));
        assert_eq!(number("null"), None);
    }

    #[test]
    fn what_is_no_frame_is_not_read_as_one() {
        for text in
            ["", "[", "[]", "{}", "[null,null,\"t\",\"e\"]", "[null,null,\"t\",\"e\",{}", "[null,null,1,\"e\",{}]"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"[null,null,\"t\",\"\xff\",{}]"), None);
    }

    #[test]
    fn what_we_write_is_json_of_five_elements() {
        let mut out = Vec::new();
        write(&mut out, 0, 3, "session:A", "send", b"{}");
        assert_eq!(out, br#"[null,"3","session:A","send",{}]"#);
        out.clear();
        write(&mut out, 1, 1, "session:A", "phx_join", b"{}");
        assert_eq!(parse(&out).unwrap().join_ref, "\"1\"");
    }

    #[test]
    fn payloads_are_read_with_unknown_fields() {
        let page: Page =
            serde_json::from_str(r#"{"session_id":"A","messages":[{"id":"x","seq":4,"content":{"a":1}}]}"#).unwrap();
        assert_eq!((page.messages[0].seq, page.messages[0].content.get(), page.has_more), (4, r#"{"a":1}"#, None));
    }
}
