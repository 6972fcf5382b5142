//! One message of Phoenix Channels and how it is read.
//!
//! V2 is a JSON array of five, V1 a JSON object, V2 binary a frame with byte-sized lengths. A ref is whatever null, number or
//! string the client chose and goes back byte for byte as it came. A payload stays raw: it is validated here, once, with the whole
//! message, and never serialised again. A [`Message`] borrows from the frame; only one that has to wait is copied.
//! Not here: what events mean ([`super::Socket`]), how messages are written ([`super::encode`]).

use crate::protocol::json;
use compact_str::CompactString;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Bytes of a ref or an event name. More: [`Malformed`]. The binary form has one byte for their lengths.
pub const FIELD_BYTES_MAX: usize = 255;
/// Bytes of a topic, which a channel keeps while it is joined. More: [`Malformed`].
pub const TOPIC_BYTES_MAX: usize = 1024;

/// The protocol version a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vsn {
    /// `1.0.x`: objects of four keys, no join_ref on the way out.
    V1,
    /// `2.0.x`: arrays of five, and binary frames.
    V2,
}

impl Vsn {
    /// The version that the query parameter `vsn` asks for; without one it is V1. `None`: not spoken here.
    pub fn parse(vsn: Option<&str>) -> Option<Self> {
        let mut parts = vsn.unwrap_or("1.0.0").splitn(3, '.');
        let version = match (parts.next(), parts.next()) {
            (Some("1"), Some("0")) => Self::V1,
            (Some("2"), Some("0")) => Self::V2,
            _ => return None,
        };
        let patch = parts.next()?;
        (!patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())).then_some(version)
    }
}

/// A client's reference: null, a number or a string, kept as its JSON text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Ref(Option<CompactString>); // nearly every ref is short, and then no allocation

impl Ref {
    /// No reference.
    pub const NULL: Self = Self(None);

    /// The reference that this text stands for.
    pub fn text(text: &str) -> Self {
        Self(Some(serde_json::to_string(text).expect("a string always serialises").into()))
    }

    /// Its JSON text.
    pub fn as_json(&self) -> &str {
        self.0.as_deref().unwrap_or("null")
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// Whether both stand for the same value, however their strings are escaped.
    pub fn matches(&self, other: &Self) -> bool {
        self == other || (self.is_escaped() || other.is_escaped()) && self.decoded() == other.decoded()
    }

    fn is_escaped(&self) -> bool {
        self.as_json().contains('\\')
    }

    fn decoded(&self) -> Option<String> {
        serde_json::from_str(self.as_json()).ok()
    }

    /// `json` is the text of a valid value.
    fn from_json(json: &str) -> Result<Self, Malformed> {
        match json.as_bytes()[0] {
            _ if json.len() > FIELD_BYTES_MAX => Err(Malformed("ref too long")),
            b'n' => Ok(Self::NULL),
            b'"' | b'-' | b'0'..=b'9' => Ok(Self(Some(json.into()))),
            _ => Err(Malformed("a ref must be null, a number or a string")),
        }
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// The text of any valid JSON value, as it came.
    Json(Cow<'a, str>),
    /// The bytes of a binary frame.
    Binary(Cow<'a, [u8]>),
}

/// A message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The incarnation of the channel that it belongs to, if it says so.
    pub join_ref: Ref,
    /// What the reply will carry.
    pub reference: Ref,
    /// The topic.
    pub topic: Cow<'a, str>,
    /// The event's name.
    pub event: Cow<'a, str>,
    /// The payload.
    pub payload: Payload<'a>,
}

impl Message<'_> {
    /// The same, apart from its frame.
    pub fn into_owned(self) -> Message<'static> {
        Message {
            join_ref: self.join_ref,
            reference: self.reference,
            topic: Cow::Owned(self.topic.into_owned()),
            event: Cow::Owned(self.event.into_owned()),
            payload: match self.payload {
                Payload::Json(text) => Payload::Json(Cow::Owned(text.into_owned())),
                Payload::Binary(bytes) => Payload::Binary(Cow::Owned(bytes.into_owned())),
            },
        }
    }
}

/// Input that is no message. The connection is closed with 1011 (contract 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed channel message: {0}")]
pub struct Malformed(pub &'static str);

/// Reads a text frame.
///
/// # Errors
/// [`Malformed`] when it is not JSON of the version's shape or a field is over its bound.
pub fn decode_text(vsn: Vsn, text: &str) -> Result<Message<'_>, Malformed> {
    const SHAPE: Malformed = Malformed("not JSON of the right shape");
    let text = serde_json::from_str::<&RawValue>(text).map_err(|_| SHAPE)?.get();
    let fields = match vsn {
        Vsn::V1 => Fields::of_object(text),
        Vsn::V2 => Fields::of_array(text),
    };
    fields.ok_or(SHAPE)?.read()
}

/// Reads a binary frame: kind 0, four lengths of one byte, four texts, the rest is the payload.
///
/// # Errors
/// [`Malformed`] on a V1 socket, for another kind, lengths beyond the end and texts that are not UTF-8.
pub fn decode_binary(vsn: Vsn, frame: &[u8]) -> Result<Message<'_>, Malformed> {
    if vsn == Vsn::V1 {
        return Err(Malformed("binary frame on a V1 socket"));
    }
    let [0, join_ref, reference, topic, event, rest @ ..] = frame else {
        return Err(Malformed("unknown binary frame"));
    };
    let mut rest = rest;
    let mut text = |length: &u8| {
        let (text, behind) = rest.split_at_checked(usize::from(*length)).ok_or(Malformed("binary frame cut short"))?;
        rest = behind;
        std::str::from_utf8(text).map_err(|_| Malformed("binary frame with a text that is not UTF-8"))
    };
    let (join_ref, reference) = (text(join_ref)?, text(reference)?);
    let (topic, event) = (text(topic)?.into(), text(event)?.into());
    checked(Message {
        join_ref: ref_of_size(join_ref),
        reference: ref_of_size(reference),
        topic,
        event,
        payload: Payload::Binary(rest.into()),
    })
}

/// A ref of a binary frame: size 0 stands for null.
fn ref_of_size(text: &str) -> Ref {
    if text.is_empty() { Ref::NULL } else { Ref::text(text) }
}

fn checked(message: Message<'_>) -> Result<Message<'_>, Malformed> {
    match &message {
        Message { topic, .. } if topic.len() > TOPIC_BYTES_MAX => Err(Malformed("topic too long")),
        Message { event, .. } if event.len() > FIELD_BYTES_MAX => Err(Malformed("event too long")),
        _ => Ok(message),
    }
}

/// The texts of a message's fields, each a valid JSON value.
struct Fields<'a> {
    join_ref: Option<&'a str>,
    reference: &'a str,
    topic: &'a str,
    event: &'a str,
    payload: &'a str,
}

impl<'a> Fields<'a> {
    /// V1: all keys but join_ref are required, none may come twice, further ones are passed over.
    fn of_object(text: &'a str) -> Option<Self> {
        let [mut join_ref, mut reference, mut topic, mut event, mut payload] = [None; 5];
        for member in json::members(text) {
            let (name, value) = member.ok()?;
            let field = match name.as_ref() {
                "join_ref" => &mut join_ref,
                "ref" => &mut reference,
                "topic" => &mut topic,
                "event" => &mut event,
                "payload" => &mut payload,
                _ => continue,
            };
            if field.replace(value).is_some() {
                return None;
            }
        }
        Some(Self { join_ref, reference: reference?, topic: topic?, event: event?, payload: payload? })
    }

    /// V2: an array of at least five; what follows is passed over.
    fn of_array(text: &'a str) -> Option<Self> {
        let mut elements = json::elements(text);
        Some(Self {
            join_ref: Some(elements.next()?),
            reference: elements.next()?,
            topic: elements.next()?,
            event: elements.next()?,
            payload: elements.next()?,
        })
    }

    fn read(self) -> Result<Message<'a>, Malformed> {
        checked(Message {
            join_ref: self.join_ref.map_or(Ok(Ref::NULL), Ref::from_json)?,
            reference: Ref::from_json(self.reference)?,
            topic: json::text(self.topic).map_err(|_| Malformed("a topic must be a string"))?,
            event: json::text(self.event).map_err(|_| Malformed("an event must be a string"))?,
            payload: Payload::Json(Cow::Borrowed(self.payload)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;
    use proptest::prelude::*;

    const V2_JOIN: &str = r#"["1","1","session:x","phx_join",{"last_seq":0}]"#;
    const V1_SEND: &str =
        r#"{"topic":"session:x","event":"send","payload":{"a":[1]},"ref":7,"join_ref":"3","more":null}"#;
    /// Kind 0, join_ref "1", ref "22", topic "t:é", event "e", payload 0xff 0x00.
    const BINARY_SEND: &[u8] = b"\x00\x01\x02\x04\x01122t:\xc3\xa9e\xff\x00";

    fn json(text: &str) -> Payload<'_> {
        Payload::Json(text.into())
    }

    #[test]
    fn a_version_is_spoken_by_its_first_two_numbers() {
        for (vsn, version) in [
            (None, Some(Vsn::V1)),
            (Some("1.0.0"), Some(Vsn::V1)),
            (Some("1.0.7"), Some(Vsn::V1)),
            (Some("2.0.0"), Some(Vsn::V2)),
            (Some("2.0.19"), Some(Vsn::V2)),
            (Some("2.1.0"), None),
            (Some("3.0.0"), None),
            (Some("2.0"), None),
            (Some("2.0."), None),
            (Some("2.0.x"), None),
            (Some(""), None),
        ] {
            assert_eq!(Vsn::parse(vsn), version, "{vsn:?}");
        }
    }

    #[test]
    fn a_v2_message_is_an_array_of_five_and_more_elements_do_not_count() {
        let message = decode_text(Vsn::V2, V2_JOIN).unwrap();
        assert_eq!((&message.join_ref, &message.reference), (&Ref::text("1"), &Ref::text("1")));
        assert_eq!((&*message.topic, &*message.event), ("session:x", "phx_join"));
        assert_eq!(message.payload, json(r#"{"last_seq":0}"#));
        let longer = r#"["1","1","session:x","phx_join",{"last_seq":0},6,{"seven":7}]"#;
        assert_eq!(decode_text(Vsn::V2, longer).unwrap(), message);
    }

    #[test]
    fn a_v1_message_is_an_object_whose_join_ref_is_optional() {
        let message = decode_text(Vsn::V1, V1_SEND).unwrap();
        assert_eq!((message.join_ref.as_json(), message.reference.as_json()), ("\"3\"", "7"));
        assert_eq!(message.payload, json(r#"{"a":[1]}"#));
        let raw = r#"{"topic":"phoenix","event":"heartbeat","payload":null,"ref":null}"#;
        let heartbeat = decode_text(Vsn::V1, raw).unwrap();
        assert!(heartbeat.join_ref.is_null() && heartbeat.reference.is_null());
    }

    #[test]
    fn a_ref_goes_back_as_it_came() {
        for reference in ["null", "1", "-0", "1.50e3", "18446744073709551616", "\"1\"", "\"\\u0031\"", "\"\"", "\"é\""]
        {
            let text = format!("[{reference}, {reference} ,\"t\",\"e\",{{}}]");
            let message = decode_text(Vsn::V2, &text).unwrap();
            assert_eq!((message.join_ref.as_json(), message.reference.as_json()), (reference, reference));
        }
    }

    #[test]
    fn refs_are_compared_as_values_and_a_number_is_no_string() {
        let of = |text: &str| decode_text(Vsn::V2, &format!("[{text},1,\"t\",\"e\",{{}}]")).unwrap().join_ref;
        assert!(of("\"1\"").matches(&of("\"\\u0031\"")));
        assert!(of("1").matches(&of("1")));
        assert!(!of("1").matches(&of("\"1\"")));
        assert!(!of("1").matches(&of("1.0")));
        assert!(!of("\"\\u0031\"").matches(&of("\"2\"")));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (long, topic) = ("x".repeat(FIELD_BYTES_MAX + 1), "x".repeat(TOPIC_BYTES_MAX + 1));
        for text in [
            "",
            "null",
            "{}",
            "[]",
            r#"["1","1","t","e"]"#,
            r#"["1","1","t","e",{}]x"#,
            r#"["1","1","t","e",{}"#,
            r#"["1","1","t","e",{},]"#,
            r#"["1","1",1,"e",{}]"#,
            r#"["1","1",null,"e",{}]"#,
            r#"["1","1","t",null,{}]"#,
            r#"[{},"1","t","e",{}]"#,
            r#"["1",[],"t","e",{}]"#,
            r#"["1",true,"t","e",{}]"#,
            r#"["1","1","t","e",{"a":}]"#,
            r#"["1","1","\ud800","e",{}]"#,
            r#"{"topic":"t","event":"e","payload":{},"ref":"1"}"#,
            &format!(r#"["{long}","1","t","e",{{}}]"#),
            &format!(r#"["1","{long}","t","e",{{}}]"#),
            &format!(r#"["1","1","{topic}","e",{{}}]"#),
            &format!(r#"["1","1","t","{long}",{{}}]"#),
        ] {
            assert!(decode_text(Vsn::V2, text).is_err(), "{text}");
        }
        for text in [
            V2_JOIN,
            "[]",
            r#"{"event":"e","payload":{},"ref":"1"}"#,
            r#"{"topic":"t","payload":{},"ref":"1"}"#,
            r#"{"topic":"t","event":"e","ref":"1"}"#,
            r#"{"topic":"t","event":"e","payload":{}}"#,
            r#"{"topic":"t","topic":"t","event":"e","payload":{},"ref":"1"}"#,
        ] {
            assert!(decode_text(Vsn::V1, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_refused() {
        for end in 0..V2_JOIN.len() {
            assert!(decode_text(Vsn::V2, &V2_JOIN[..end]).is_err(), "{end}");
        }
        for end in 0..V1_SEND.len() {
            assert!(decode_text(Vsn::V1, &V1_SEND[..end]).is_err(), "{end}");
        }
        for end in 0..BINARY_SEND.len() - 2 {
            assert!(decode_binary(Vsn::V2, &BINARY_SEND[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_binary_push_has_four_lengths_and_the_rest_is_its_payload() {
        let message = decode_binary(Vsn::V2, BINARY_SEND).unwrap();
        assert_eq!((message.join_ref.as_json(), message.reference.as_json()), ("\"1\"", "\"22\""));
        assert_eq!((&*message.topic, &*message.event), ("t:é", "e"));
        assert_eq!(message.payload, Payload::Binary(vec![0xff, 0x00].into()));
        let empty = decode_binary(Vsn::V2, &[0; 5]).unwrap();
        assert!(empty.join_ref.is_null() && empty.reference.is_null());
        assert_eq!(empty.payload, Payload::Binary(Vec::new().into()));
    }

    #[test]
    fn a_binary_frame_of_another_kind_version_or_coding_is_refused() {
        assert!(decode_binary(Vsn::V1, BINARY_SEND).is_err());
        for kind in 1..=255 {
            assert!(decode_binary(Vsn::V2, &[kind, 0, 0, 0, 0]).is_err(), "{kind}");
        }
        assert!(decode_binary(Vsn::V2, b"\x00\x00\x00\x01\x00\xff").is_err());
    }

    #[test]
    fn payloads_nested_beyond_any_stack_are_only_passed_through() {
        let depth = 200_000;
        let payload = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!("[null,null,\"t\",\"e\",{payload}]");
        let message = decode_text(Vsn::V2, &text).unwrap();
        assert_eq!(message.payload, json(&payload));
    }

    fn any_ref() -> impl Strategy<Value = Ref> {
        prop_oneof![
            Just(Ref::NULL),
            "\\PC{0,20}".prop_map(|text| Ref::text(&text)),
            any::<i64>().prop_map(|number| Ref(Some(number.to_string().into()))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(
            join_ref in any_ref(), reference in any_ref(), topic in "\\PC{0,60}", event in "\\PC{0,60}", payload in "\\PC{0,60}",
        ) {
            let payload = serde_json::to_string(&[payload]).unwrap();
            for vsn in [Vsn::V1, Vsn::V2] {
                let mut out = Vec::new();
                encode::message(vsn, &join_ref, &reference, &topic, &event, &[&payload], &mut out);
                let read = decode_text(vsn, std::str::from_utf8(&out).unwrap()).unwrap();
                let join_ref = if vsn == Vsn::V1 { Ref::NULL } else { join_ref.clone() };
                let written =
                    Message { join_ref, reference: reference.clone(), topic: (&topic).into(), event: (&event).into(), payload: json(&payload) };
                prop_assert_eq!(read, written);
            }
        }

        #[test]
        fn binary_frames_read_back_the_same(fields in prop::array::uniform4("[^\\x00]{0,63}"), payload in prop::collection::vec(any::<u8>(), 0..99)) {
            let mut frame = vec![0];
            frame.extend(fields.iter().map(|field| u8::try_from(field.len()).unwrap()));
            fields.iter().for_each(|field| frame.extend_from_slice(field.as_bytes()));
            frame.extend_from_slice(&payload);
            let [join_ref, reference, topic, event] = &fields;
            let of = |text: &str| if text.is_empty() { Ref::NULL } else { Ref::text(text) };
            // A ref grows when it is written as JSON.
            prop_assume!(of(join_ref).as_json().len() <= FIELD_BYTES_MAX && of(reference).as_json().len() <= FIELD_BYTES_MAX);
            let written = Message {
                join_ref: of(join_ref), reference: of(reference), topic: topic.into(), event: event.into(), payload: Payload::Binary(payload.into()),
            };
            prop_assert_eq!(decode_binary(Vsn::V2, &frame).unwrap(), written);
        }

        #[test]
        fn no_bytes_bring_the_decoders_down(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,60}") {
            let _ = decode_binary(Vsn::V2, &bytes);
            for vsn in [Vsn::V1, Vsn::V2] {
                if let Ok(message) = decode_text(vsn, &text) {
                    prop_assert!(message.topic.len() <= TOPIC_BYTES_MAX);
                }
            }
        }
    }
}
