//! A message as the chat dialects show it: its text, its role, its id, its time, the numbers beside it.
//!
//! Invariant: the text of an answer is the concatenation of what [`ChunkEvents`] told of it while it was produced, so that a
//! stream, a response and a history say the same. Nothing here chooses a dialect's field names.

pub use super::deltas::{AskEvent, ChunkEvents};

use crate::protocol::json;
use crate::session::{Json, SessionId, rfc3339};
use std::borrow::Cow;

/// What stands before the session in a message's id.
const MESSAGE_ID_PREFIX: &str = "msg_";

/// Bytes of a time up to its seconds: `2026-02-14T10:00:00`.
const TIME_S_BYTES: usize = 19;

/// A message taken apart: texts as they are, objects as they stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its place in the session.
    pub seq: u64,
    /// Who wrote it.
    pub sender_id: Cow<'a, str>,
    /// What its author called it: `text`, `assistant`, `system` or anything else.
    pub kind: Cow<'a, str>,
    /// A JSON object.
    pub content: &'a str,
    /// A JSON object.
    pub metadata: &'a str,
    /// When it was appended, microseconds since 1970.
    pub inserted_at_us: u64,
}

impl<'a> Message<'a> {
    /// Takes a message apart that a shard rendered (eight keys, contract 1.5). `None` for anything else.
    pub fn read(json: &'a Json) -> Option<Self> {
        let field = |name| member(json.as_str(), name);
        let text = |name| json::text(field(name)?).ok();
        Some(Self {
            seq: field("seq")?.parse().ok()?,
            sender_id: text("sender_id")?,
            kind: text("kind")?,
            content: field("content")?,
            metadata: field("metadata")?,
            inserted_at_us: unix_us(&text("inserted_at")?)?,
        })
    }

    /// What it says. See [`text_of`].
    pub fn text(&self) -> String {
        text_of(self.content)
    }

    /// Who speaks. `by_agent`: an agent sent it, whatever it calls itself.
    pub fn role(&self, by_agent: bool) -> Role {
        Role::of(&self.kind, by_agent)
    }

    /// A whole number in its metadata, 0 when there is none: tokens and durations are not always known.
    pub fn number(&self, name: &str) -> u64 {
        member(self.metadata, name).and_then(|raw| raw.parse().ok()).unwrap_or(0)
    }

    /// Whether its metadata names something.
    pub fn has(&self, name: &str) -> bool {
        member(self.metadata, name).is_some()
    }

    /// A text in its metadata.
    pub fn note(&self, name: &str) -> Option<Cow<'a, str>> {
        json::text(member(self.metadata, name)?).ok()
    }
}

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// An agent.
    Assistant,
    /// Neither.
    System,
}

impl Role {
    /// The role of a message of this kind.
    pub fn of(kind: &str, by_agent: bool) -> Self {
        match kind {
            "assistant" => Self::Assistant,
            _ if by_agent => Self::Assistant,
            "system" => Self::System,
            _ => Self::User,
        }
    }

    /// As most dialects call it; 004 says `agent` for [`Role::Assistant`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
        }
    }
}

/// What the content of a message says: all text parts without anything between them; else `text`; else the content's JSON. An answer
/// with parts of which none is text says nothing, as its stream did.
pub fn text_of(content: &str) -> String {
    let parts = member(content, "parts").filter(|parts| parts.starts_with('['));
    let mut texts = parts.into_iter().flat_map(json::elements).filter_map(text_part).peekable();
    if texts.peek().is_some() {
        return texts.collect();
    }
    match member(content, "text").and_then(whole_text) {
        Some(text) => text,
        None if parts.is_some() => String::new(),
        None => content.to_owned(),
    }
}

/// What a part says if it is text.
fn text_part(part: &str) -> Option<String> {
    let is_text = member(part, "type").is_some_and(|raw| json::text(raw).is_ok_and(|kind| kind == "text"));
    whole_text(member(part, "text").filter(|_| is_text)?)
}

/// The member of an object. Of several with one name the last counts, as everywhere. `object` is one valid JSON value.
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    json::members(object).filter_map(Result::ok).filter(|(known, _)| known == name).last().map(|(_, value)| value)
}

/// What the JSON string `raw` stands for; half a surrogate pair, which no text can hold, as U+FFFD. `None` for another value.
pub fn whole_text(raw: &str) -> Option<String> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    Some(unescaped(inside))
}

/// The inside of a valid JSON string, read like [`whole_text`].
pub(super) fn unescaped(inside: &str) -> String {
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return inside.to_owned();
    }
    let read = |inside: &str| serde_json::from_str(&format!("\"{inside}\""));
    read(inside).or_else(|_| read(&without_halves(inside))).unwrap_or_default()
}

/// The inside of a JSON string with U+FFFD for each half of a surrogate pair that stands alone.
fn without_halves(inside: &str) -> String {
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(start) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let bytes = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(Half::High), Some(Half::Low)) => 12,
            (Some(_), _) => {
                out.push(char::REPLACEMENT_CHARACTER);
                rest = &rest[6..];
                continue;
            }
            (None, _) => 2, // what follows `\u` is digits, which need no care
        };
        out.push_str(&rest[..bytes]);
        rest = &rest[bytes..];
    }
    out.push_str(rest);
    out
}

/// Half of a surrogate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    High,
    Low,
}

/// Which half `text` begins with as an escape, if any.
pub(super) fn surrogate(text: &str) -> Option<Half> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}

/// The id of a message outside FleetLM: it says where the message is, so that no index is needed to find it.
pub fn message_id(session: SessionId, seq: u64) -> String {
    format!("{MESSAGE_ID_PREFIX}{session}_{seq}")
}

/// The session and seq of a message's id. One message has one spelling; every other text names none.
pub fn parse_message_id(text: &str) -> Option<(SessionId, u64)> {
    let (session, seq) = text.strip_prefix(MESSAGE_ID_PREFIX)?.split_once('_')?;
    let place = (SessionId::parse(session)?, seq.parse().ok()?);
    (place.1 > 0 && message_id(place.0, place.1) == text).then_some(place)
}

/// `unix_us` microseconds since 1970 as 002 and 003 show it: `2026-02-14T10:00:00Z`.
pub fn time_s(unix_us: u64) -> String {
    let mut text = rfc3339(unix_us);
    text.truncate(TIME_S_BYTES);
    text.push('Z');
    text
}

/// `unix_us` microseconds since 1970 as 004 shows it: milliseconds.
pub fn time_ms(unix_us: u64) -> u64 {
    unix_us / 1000
}

/// Microseconds since 1970 of a message's `inserted_at`.
fn unix_us(time: &str) -> Option<u64> {
    let timestamp: jiff::Timestamp = time.parse().ok()?;
    u64::try_from(timestamp.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{MessageId, MessageParts};
    use proptest::prelude::*;

    fn session() -> SessionId {
        SessionId::from_parts(1_761_216_480_123, 42)
    }

    fn rendered(kind: &str, content: &str, metadata: &str) -> Json {
        MessageParts {
            id: MessageId::from_parts(1, 2),
            session: session(),
            seq: 7,
            sender_id: "a\"lice",
            kind,
            content: &Json::parse(content).unwrap(),
            metadata: &Json::parse(metadata).unwrap(),
            inserted_at_us: 1_761_216_480_123_456,
        }
        .render()
    }

    #[test]
    fn a_message_comes_apart_as_it_was_rendered() {
        let json = rendered("text", r#"{"seq":1,"text":"hi"}"#, r#"{"input_tokens":12,"run_id":"r","latency_ms":-1}"#);
        let message = Message::read(&json).unwrap();
        assert_eq!((message.seq, &*message.sender_id, &*message.kind), (7, "a\"lice", "text"));
        assert_eq!((message.text(), message.inserted_at_us), ("hi".to_owned(), 1_761_216_480_123_456));
        assert_eq!((message.number("input_tokens"), message.number("output_tokens")), (12, 0));
        assert_eq!((message.number("latency_ms"), message.number("run_id")), (0, 0));
        assert_eq!((message.note("run_id").as_deref(), message.note("input_tokens")), (Some("r"), None));
        for other in ["{}", "[]", "null", r#"{"seq":"x"}"#] {
            assert_eq!(Message::read(&Json::parse(other).unwrap()), None);
        }
    }

    #[test]
    fn a_message_says_its_text_parts_else_its_text_else_its_json() {
        for (content, text) in [
            (
                r#"{"parts":[{"type":"text","text":"Hel"},{"type":"step-start"},{"type":"text","text":"lo"}],"text":"x"}"#,
                "Hello",
            ),
            (r#"{"parts":[{"type":"reasoning","text":"hm"},{"type":"text","text":"a\nb","state":"done"}]}"#, "a\nb"),
            (r#"{"parts":[{"type":"text","text":7},{"text":"untyped"},"text",null]}"#, ""),
            (r#"{"parts":[]}"#, ""),
            (r#"{"parts":[{"type":"file"}],"text":"beside"}"#, "beside"),
            (r#"{"parts":"none","text":"t"}"#, "t"),
            (r#"{"type":"text","text":"first","text":"last"}"#, "last"),
            (r#"{"text":{"a":1}}"#, r#"{"text":{"a":1}}"#),
            (r#"{ "x" : [1] }"#, r#"{ "x" : [1] }"#),
            ("{}", "{}"),
        ] {
            assert_eq!(text_of(content), text, "{content}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_the_rest_of_its_text_stays() {
        for (inside, text) in [
            (r"\ud83d\ude00", "😀"),
            (r"a\ud83db", "a\u{fffd}b"),
            (r"\ude00\ud83d\ude00\ud83d", "\u{fffd}😀\u{fffd}"),
            (r"\ud83d\ud83d\ude00é\\ud83d", "\u{fffd}😀é\\ud83d"),
            (r#"\"\ud83d\n\u0041\"#.strip_suffix('\\').unwrap(), "\"\u{fffd}\nA"),
        ] {
            assert_eq!(whole_text(&format!("\"{inside}\"")).as_deref(), Some(text), "{inside}");
        }
        assert_eq!((whole_text("7"), whole_text("null"), whole_text("{}")), (None, None, None));
    }

    #[test]
    fn the_kind_or_the_author_makes_the_role() {
        for (kind, by_agent, role) in [
            ("assistant", false, Role::Assistant),
            ("text", true, Role::Assistant),
            ("system", true, Role::Assistant),
            ("system", false, Role::System),
            ("text", false, Role::User),
            ("anything", false, Role::User),
        ] {
            assert_eq!(Role::of(kind, by_agent), role, "{kind} {by_agent}");
        }
        assert_eq!([Role::User, Role::Assistant, Role::System].map(Role::as_str), ["user", "assistant", "system"]);
    }

    #[test]
    fn a_message_id_has_one_spelling() {
        let id = message_id(session(), 42);
        assert_eq!(id, format!("msg_{}_42", session()));
        assert_eq!(parse_message_id(&id), Some((session(), 42)));
        let lower = id.to_lowercase();
        for other in ["", "msg_", "msg_x_1", "42", &id[4..], &format!("{id} "), &format!("{id}_1"), &lower] {
            assert_eq!(parse_message_id(other), None, "{other}");
        }
        for seq in ["0", "01", "+1", "-1", "", "1.0", "18446744073709551616"] {
            assert_eq!(parse_message_id(&format!("msg_{}_{seq}", session())), None, "{seq}");
        }
    }

    #[test]
    fn times_have_seconds_or_are_milliseconds() {
        assert_eq!(time_s(1_771_063_200_999_999), "2026-02-14T10:00:00Z");
        assert_eq!(time_s(u64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(time_ms(1_761_216_480_123_456), 1_761_216_480_123);
    }

    proptest! {
        #[test]
        fn a_rendered_time_reads_back(at_us in 0..=253_402_207_200_000_000u64) {
            prop_assert_eq!(unix_us(&rfc3339(at_us)), Some(at_us));
        }

        #[test]
        fn a_message_id_reads_back(session in any::<u128>(), seq in 1..=u64::MAX) {
            let session = SessionId::from(session);
            prop_assert_eq!(parse_message_id(&message_id(session, seq)), Some((session, seq)));
        }

        #[test]
        fn a_text_reads_back_as_it_was_written(text in "[\\PC\\\\\"\\n]{0,40}") {
            let raw = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(whole_text(&raw), Some(text.clone()));
            prop_assert_eq!(text_of(&format!("{{\"parts\":[{{\"type\":\"text\",\"text\":{raw}}}]}}")), text);
        }
    }
}
