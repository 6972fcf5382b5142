//! One chunk as the assembler reads it: the fields of an object, each the text it came as.
//!
//! Nothing is built: values are slices of the chunk, and strings are read without their quotes and escapes untouched, so that they
//! can be spliced into a message as they are.

use crate::limits::CHUNK_DEPTH_MAX;
use crate::session::{Json, nests_deeper_than};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Why a chunk is not shown. It has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Valid JSON of another kind.
    #[error("a chunk is an object")]
    NotAnObject,
    /// No `type`, or one that is not a string.
    #[error("a chunk has a type")]
    NoType,
    /// A field that a chunk of its type needs is missing or of the wrong kind.
    #[error("{0} of the chunk is missing or of the wrong kind")]
    Invalid(&'static str),
    /// Arrays and objects stand in each other deeper than [`CHUNK_DEPTH_MAX`].
    #[error("a chunk nests deeper than {CHUNK_DEPTH_MAX}")]
    TooDeep,
    /// The message would become larger than allowed. What there is can still be ended.
    #[error("the answer has more than {max} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The bound, from `limits`.
        max: usize,
    },
}

/// The fields of an object in their order.
pub(super) type Fields<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// A chunk's fields.
pub(super) struct Chunk<'a> {
    pub(super) fields: Fields<'a>,
}

impl<'a> Chunk<'a> {
    pub(super) fn read(chunk: &'a Json) -> Result<Self, ChunkError> {
        if !chunk.is_object() {
            return Err(ChunkError::NotAnObject);
        }
        if nests_deeper_than(chunk.as_str(), CHUNK_DEPTH_MAX) {
            return Err(ChunkError::TooDeep);
        }
        // Valid JSON fails here by a name with half a surrogate pair only.
        let fields = fields(chunk.as_str()).ok_or(ChunkError::Invalid("the name of a field"))?;
        Ok(Self { fields })
    }

    /// The field's text. Of several with one name the last counts, as everywhere.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().rev().find(|(known, _)| known == name).map(|(_, raw)| *raw)
    }

    /// The field's text unless it is null.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|raw| *raw != "null")
    }

    /// Whether the field is there and not false.
    pub(super) fn is(&self, name: &str) -> bool {
        self.value(name).is_some_and(|raw| !matches!(raw, "false" | "0" | "\"\""))
    }

    /// The inside of a string that may be missing.
    pub(super) fn inside(&self, name: &'static str) -> Result<Option<&'a str>, ChunkError> {
        let inside = |raw: &'a str| inside(raw).ok_or(ChunkError::Invalid(name));
        self.value(name).map(inside).transpose()
    }

    /// The inside of a string that must be there.
    pub(super) fn text(&self, name: &'static str) -> Result<&'a str, ChunkError> {
        self.inside(name)?.ok_or(ChunkError::Invalid(name))
    }

    /// A string that must be there, with its quotes.
    pub(super) fn quoted(&self, name: &'static str) -> Result<&'a str, ChunkError> {
        self.text(name)?;
        self.raw(name).ok_or(ChunkError::Invalid(name))
    }

    /// The decoded string by which chunks name each other, if it is there.
    pub(super) fn id(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, ChunkError> {
        let decoded = |inside: &'a str| decoded(inside).ok_or(ChunkError::Invalid(name));
        self.inside(name)?.map(decoded).transpose()
    }

    pub(super) fn kind(&self) -> Result<Cow<'a, str>, ChunkError> {
        self.id("type").ok().flatten().ok_or(ChunkError::NoType)
    }
}

/// A string without its quotes.
pub(super) fn inside(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

/// What the inside of a string stands for. Half a surrogate pair is no text.
fn decoded(inside: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(&format!("\"{inside}\"")).ok().map(Cow::Owned)
}

/// The fields of an object; `None` for anything else.
pub(super) fn fields(object: &str) -> Option<Fields<'_>> {
    serde_json::Deserializer::from_str(object).deserialize_map(FieldVisitor).ok()
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Vec::new();
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            fields.push((name, value.get()));
        }
        Ok(fields)
    }
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
