//! One message of Phoenix Channels and how it is read.
//!
//! V2 is a JSON array of five, V1 a JSON object, V2 binary a frame with byte-sized lengths. A ref is whatever null, number or
//! string the client chose and goes back byte for byte as it came. A payload stays raw: it is validated here, once,
//! and never serialised again.
//! Not here: what events mean ([`super::Socket`]), how messages are written ([`super::encode`]).

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
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
pub struct Ref(Option<Box<str>>);

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

    fn from_raw(raw: &RawValue) -> Result<Self, Malformed> {
        let text = raw.get();
        match text.as_bytes()[0] {
            _ if text.len() > FIELD_BYTES_MAX => Err(Malformed("ref too long")),
            b'n' => Ok(Self::NULL),
            b'"' | b'-' | b'0'..=b'9' => Ok(Self(Some(text.into()))),
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
#[derive(Clone, Debug)]
pub enum Payload {
    /// Any JSON value, as it came.
    Json(Box<RawValue>),
    /// The bytes of a binary frame.
    Binary(Vec<u8>),
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(left), Self::Json(right)) => left.get() == right.get(),
            (Self::Binary(left), Self::Binary(right)) => left == right,
            _ => false,
        }
    }
}

/// A message from a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The incarnation of the channel that it belongs to, if it says so.
    pub join_ref: Ref,
    /// What the reply will carry.
    pub reference: Ref,
    /// The topic.
    pub topic: String,
    /// The event's name.
    pub event: String,
    /// The payload.
    pub payload: Payload,
}

/// Input that is no message. The connection is closed with 1011 (contract 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed channel message: {0}")]
pub struct Malformed(pub &'static str);

/// Reads a text frame.
///
/// # Errors
/// [`Malformed`] when it is not JSON of the version's shape or a field is over its bound.
pub fn decode_text(vsn: Vsn, text: &str) -> Result<Message, Malformed> {
    let fields: Fields<'_> = match vsn {
        Vsn::V1 => serde_json::from_str::<V1<'_>>(text).map(Fields::from),
        Vsn::V2 => serde_json::from_str::<V2<'_>>(text).map(|V2(fields)| fields),
    }
    .map_err(|_| Malformed("not JSON of the right shape"))?;
    checked(Message {
        join_ref: fields.join_ref.map_or(Ok(Ref::NULL), Ref::from_raw)?,
        reference: Ref::from_raw(fields.reference)?,
        topic: fields.topic,
        event: fields.event,
        payload: Payload::Json(fields.payload.to_owned()),
    })
}

/// Reads a binary frame: kind 0, four lengths of one byte, four texts, the rest is the payload.
///
/// # Errors
/// [`Malformed`] on a V1 socket, for another kind, lengths beyond the end and texts that are not UTF-8.
pub fn decode_binary(vsn: Vsn, frame: &[u8]) -> Result<Message, Malformed> {
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
    let (topic, event) = (text(topic)?.to_owned(), text(event)?.to_owned());
    checked(Message {
        join_ref: ref_of_size(join_ref),
        reference: ref_of_size(reference),
        topic,
        event,
        payload: Payload::Binary(rest.to_vec()),
    })
}

/// A ref of a binary frame: size 0 stands for null.
fn ref_of_size(text: &str) -> Ref {
    if text.is_empty() { Ref::NULL } else { Ref::text(text) }
}

fn checked(message: Message) -> Result<Message, Malformed> {
    match &message {
        Message { topic, .. } if topic.len() > TOPIC_BYTES_MAX => Err(Malformed("topic too long")),
        Message { event, .. } if event.len() > FIELD_BYTES_MAX => Err(Malformed("event too long")),
        _ => Ok(message),
    }
}

struct Fields<'a> {
    join_ref: Option<&'a RawValue>,
    reference: &'a RawValue,
    topic: String,
    event: String,
    payload: &'a RawValue,
}

/// All keys but join_ref are required, further ones are passed over.
#[derive(Deserialize)]
struct V1<'a> {
    #[serde(borrow, default)]
    join_ref: Option<&'a RawValue>,
    #[serde(borrow, rename = "ref")]
    reference: &'a RawValue,
    topic: String,
    event: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl<'a> From<V1<'a>> for Fields<'a> {
    fn from(V1 { join_ref, reference, topic, event, payload }: V1<'a>) -> Self {
        Self { join_ref, reference, topic, event, payload }
    }
}

/// An array of at least five; what follows is passed over.
struct V2<'a>(Fields<'a>);

impl<'de> Deserialize<'de> for V2<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Five;
        impl<'de> Visitor<'de> for Five {
            type Value = V2<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[join_ref, ref, topic, event, payload]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<V2<'de>, A::Error> {
                let fields = Fields {
                    join_ref: Some(required(&mut array)?),
                    reference: required(&mut array)?,
                    topic: required(&mut array)?,
                    event: required(&mut array)?,
                    payload: required(&mut array)?,
                };
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(V2(fields))
            }
        }
        deserializer.deserialize_seq(Five)
    }
}

fn required<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(array: &mut A) -> Result<T, A::Error> {
    array.next_element()?.ok_or_else(|| A::Error::custom("fewer than five elements"))
}
