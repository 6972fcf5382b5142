//! What a caller says about a message to append, over REST (contract 1.5) and on a channel (2.2): the same checks, two
//! temperaments. REST refuses by name, in the original's order; a channel is as forgiving as the original was.

use super::Context;
use super::error::{ApiError, Kind};
use super::params::{self, Params};
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, JSON_DEPTH_MAX, NAME_BYTES_MAX};
use crate::protocol::json::{members, text};
use crate::session::{Json, MessageId, SessionId, nests_deeper_than};
use crate::shard::{Append, Author};
use compact_str::{CompactString, ToCompactString};
use serde_json::json;
use serde_json::value::RawValue;

const KIND_DEFAULT: CompactString = CompactString::const_new("text");
const SEND_DETAILS: &str = "content must be a map, metadata must be a map";

/// How a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Anybody may write, and is answered with the message.
    Rest,
    /// Only the session's parties write, and are answered with its seq.
    Channel,
}

/// A message as a REST caller gives it. Checked before the session is looked for, like the original.
pub struct Draft {
    author: Author,
    kind: CompactString,
    content: Json,
    metadata: Json,
    idempotency_key: Option<CompactString>,
    expected_seq: Option<u64>,
}

impl Draft {
    /// Reads the parameters. `header_key` is the `Idempotency-Key` header.
    ///
    /// # Errors
    /// The first of the checks of contract 1.5 that fails, in its order; then our own on keys, seqs and depth.
    pub fn of(params: &Params<'_>, header_key: Option<&str>) -> Result<Self, ApiError> {
        let author = author(params)?;
        let kind = match params.raw("kind") {
            None => KIND_DEFAULT,
            Some(raw) => params::text(raw).filter(|kind| !kind.is_empty()).ok_or(Kind::KindInvalid)?.into(),
        };
        let content = params.raw("content").ok_or(Kind::ContentMissing)?;
        let content = object(content.get()).ok_or(Kind::ContentInvalid)?;
        let metadata = match params.raw("metadata") {
            None => Json::empty_object(),
            Some(raw) => object(raw.get()).ok_or(Kind::MetadataInvalid)?,
        };
        let idempotency_key = idempotency_key(params.raw("idempotency_key").map(RawValue::get), header_key)?;
        let expected_seq = params.raw("expected_seq").map(RawValue::get).map(expected_seq).transpose()?;
        let draft = Self { author, kind, content, metadata, idempotency_key, expected_seq };
        draft.bounded()
    }

    /// The message for `session`.
    pub fn addressed(self, session: SessionId, via: Via, context: &Context) -> Append {
        Append {
            session,
            message: MessageId::from_parts(context.now.unix_us / 1000, context.random),
            author: self.author,
            kind: self.kind,
            content: self.content,
            metadata: self.metadata,
            idempotency_key: self.idempotency_key,
            expected_seq: self.expected_seq,
            participants_only: via == Via::Channel,
            echo: via == Via::Rest,
            terms: None,
        }
    }

    /// A message as the event `send` carries it, by the rules of contract 2.2: a kind or metadata of the wrong type is
    /// replaced by the default. Unlike the original, metadata is kept when no kind stands beside it.
    ///
    /// # Errors
    /// [`Kind::InvalidMessageFormat`] without an object as content; the bounds of names, keys and depth.
    pub fn of_send(payload: &str, identity: &str) -> Result<Self, ApiError> {
        let outer = SendFields::of(payload).ok_or_else(|| invalid_format(payload))?;
        let inner = outer.content.and_then(SendFields::of).ok_or_else(|| invalid_format(payload))?;
        let content = inner.content.and_then(object).ok_or_else(|| invalid_format(payload))?;
        let kind = inner.kind.map(|kind| text(kind).ok());
        let metadata = inner.metadata.and_then(object).filter(|_| kind != Some(None));
        let key = outer.idempotency_key.or(inner.idempotency_key);
        let draft = Self {
            author: Author::Identity(identity.into()),
            kind: kind.flatten().map_or(KIND_DEFAULT, |kind| kind.to_compact_string()),
            content,
            metadata: metadata.unwrap_or_else(Json::empty_object),
            idempotency_key: idempotency_key(key, None)?,
            expected_seq: outer.expected_seq.or(inner.expected_seq).map(expected_seq).transpose()?,
        };
        draft.bounded()
    }

    fn bounded(self) -> Result<Self, ApiError> {
        let author = if matches!(self.author, Author::Agent(_)) { "agent_id" } else { "user_id" };
        bounded_name(author, self.author.id())?;
        bounded_name("kind", &self.kind)?;
        for (field, json) in [("content", &self.content), ("metadata", &self.metadata)] {
            bounded_depth(field, json.as_str())?;
        }
        Ok(self)
    }
}

/// Refuses a name that is longer than the log keeps.
///
/// # Errors
/// [`Kind::NameTooLong`] of `field`.
pub fn bounded_name(field: &str, name: &str) -> Result<(), ApiError> {
    if name.len() > NAME_BYTES_MAX { Err(ApiError::about(Kind::NameTooLong, "{field}", field)) } else { Ok(()) }
}

/// Refuses JSON that readers would choke on.
///
/// # Errors
/// [`Kind::NestedTooDeep`] of `field`.
pub fn bounded_depth(field: &str, json: &str) -> Result<(), ApiError> {
    if nests_deeper_than(json, JSON_DEPTH_MAX) {
        Err(ApiError::about(Kind::NestedTooDeep, "{field}", field))
    } else {
        Ok(())
    }
}

fn author(params: &Params<'_>) -> Result<Author, ApiError> {
    if params.has("user_id") && params.has("agent_id") {
        return Err(Kind::AuthorAmbiguous.into());
    }
    match (params.name("user_id"), params.name("agent_id")) {
        (Some(user), _) => Ok(Author::User(user.into())),
        (None, Some(agent)) => Ok(Author::Agent(agent.into())),
        (None, None) if params.has("sender_id") => Err(Kind::SenderIdDeprecated.into()),
        (None, None) => Err(Kind::AuthorMissing.into()),
    }
}

/// The caller's key from field or header; null is none.
///
/// # Errors
/// [`Kind::IdempotencyKeyInvalid`], or two keys that differ.
pub fn idempotency_key(field: Option<&str>, header: Option<&str>) -> Result<Option<CompactString>, ApiError> {
    let field = match field.filter(|&json| json != "null") {
        None => None,
        Some(json) => Some(text(json).map_err(|_| Kind::IdempotencyKeyInvalid)?),
    };
    let key = match (field, header) {
        (Some(field), Some(header)) if field != header => return Err(Kind::IdempotencyKeyAmbiguous.into()),
        (field, header) => field.as_deref().or(header).map(CompactString::from),
    };
    match key {
        Some(key) if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX => Err(Kind::IdempotencyKeyInvalid.into()),
        key => Ok(key),
    }
}

/// Strict where pages are lenient: a wrong guess would be taken for a promise. 0 stands for an empty session; null is refused.
fn expected_seq(json: &str) -> Result<u64, ApiError> {
    text(json).as_deref().unwrap_or(json).parse().map_err(|_| Kind::ExpectedSeqInvalid.into())
}

/// `json` is a valid value.
fn object(json: &str) -> Option<Json> {
    json.starts_with('{').then(|| Json::from_valid(json))
}

/// The fields of `send`'s payload, and of the object `content` in it: valid JSON values.
#[derive(Default)]
struct SendFields<'a> {
    kind: Option<&'a str>,
    content: Option<&'a str>,
    metadata: Option<&'a str>,
    idempotency_key: Option<&'a str>,
    expected_seq: Option<&'a str>,
}

impl<'a> SendFields<'a> {
    /// `json` is a valid value. `None` when it is no object, or one with a field twice; null is no field.
    fn of(json: &'a str) -> Option<Self> {
        if !json.starts_with('{') {
            return None;
        }
        let mut fields = Self::default();
        let mut found = 0u8;
        for member in members(json) {
            let (name, value) = member.ok()?;
            let (bit, field) = match name.as_ref() {
                "kind" => (1, &mut fields.kind),
                "content" => (2, &mut fields.content),
                "metadata" => (4, &mut fields.metadata),
                "idempotency_key" => (8, &mut fields.idempotency_key),
                "expected_seq" => (16, &mut fields.expected_seq),
                _ => continue,
            };
            if found & bit != 0 {
                return None;
            }
            found |= bit;
            *field = Some(value).filter(|&value| value != "null");
        }
        Some(fields)
    }
}

/// The error of rule 4. `received` tells the type of what came; the original dumped it.
fn invalid_format(payload: &str) -> ApiError {
    format_error(&describe(payload))
}

/// The same for a binary payload.
pub fn binary_format(bytes: usize) -> ApiError {
    format_error(&format!("binary of {bytes} bytes"))
}

fn format_error(received: &str) -> ApiError {
    ApiError::from(Kind::InvalidMessageFormat).with("details", json!(SEND_DETAILS)).with("received", json!(received))
}

fn describe(payload: &str) -> String {
    let Some(outer) = SendFields::of(payload) else { return type_name(payload).to_owned() };
    let Some(content) = outer.content else { return "object without content".to_owned() };
    match SendFields::of(content).map(|inner| inner.content) {
        None => format!("object with {} as content", type_name(content)),
        Some(None) => "object without content.content".to_owned(),
        Some(Some(inner)) => format!("object with {} as content.content", type_name(inner)),
    }
}

fn type_name(json: &str) -> &'static str {
    match json.as_bytes()[0] {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "boolean",
        b'n' => "null",
        _ => "number",
    }
}
