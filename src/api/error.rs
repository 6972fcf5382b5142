//! THE table of wire errors: every way in which the server says no, with its name, its HTTP status and body, its reason on
//! a channel, and whether the same request may be sent again.
//!
//! A row says what FleetLM's clients read; [`Kind::status`], [`Kind::text`] and [`Kind::code`] say where another dialect differs.
//!
//! Invariant: no other file chooses a status or an error's text. `docs/errors.md` is this table rendered; a test keeps
//! them in step.

use super::auth::AuthError;
use super::auth::exchange::ExchangeError;
use super::dialect::Dialect;
use crate::protocol::http::{Response, reason_phrase};
use crate::session::FieldErrors;
use crate::shard::Refusal;
use serde_json::json;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The shapes of an error's HTTP body (contract 1.1). The other dialects have one shape each, whatever went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error": text}`, and details beside it.
    Error,
    /// `{"errors": {field: [text]}}`.
    Fields,
    /// `{"errors": {"detail": reason phrase}}`.
    Detail,
    /// None: the status says it all.
    Empty,
    /// Not over HTTP: only on a channel.
    Channel,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name, for people and metrics.
    pub name: &'static str,
    /// HTTP status; 0 on a channel only.
    pub status: u16,
    /// Shape of the HTTP body.
    pub shape: Shape,
    /// The text of `error`. In braces: what is filled in.
    pub text: &'static str,
    /// `reason` of a refused join, `error` of a refused event; empty over HTTP only.
    pub reason: &'static str,
    /// Whether the same request may succeed later. Over HTTP it carries `retry-after` then.
    pub retryable: bool,
}

macro_rules! table {
    ($($name:ident: $status:literal $shape:ident $text:literal, $reason:literal, $retryable:literal;)*) => {
        /// Names a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // the rows say it
        pub enum Kind { $($name,)* }

        /// Every kind, in the table's order.
        pub const KINDS: &[Kind] = &[$(Kind::$name,)*];

        impl Kind {
            /// Its row.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        name: stringify!($name),
                        status: $status,
                        shape: Shape::$shape,
                        text: $text,
                        reason: $reason,
                        retryable: $retryable,
                    },)*
                }
            }
        }
    };
}

table! {
    // Refusals of a shard.
    SessionNotFound: 404 Error "Session not found", "not found", false;
    AgentNotFound: 404 Error "Agent not found", "agent not found", false;
    RunNotFound: 404 Error "Run not found", "run not found", false;
    SessionExists: 409 Error "Session id already exists", "session exists", true;
    Unauthorized: 403 Error "Not a participant of the session", "unauthorized", false;
    InvalidFields: 422 Fields "{field}: {messages}", "invalid fields", false;
    SeqConflict: 409 Error "expected_seq does not match", "seq conflict", false;
    IdempotencyMismatch: 422 Error "The idempotency key was used with another request", "idempotency mismatch", false;
    MessageTooLarge: 413 Error "The message is too large", "message too large", false;
    Full: 422 Error "{what} is full", "full", false;
    Overloaded: 503 Error "Overloaded", "overloaded", true;
    DiskFull: 507 Error "The disk is full", "disk full", true;
    LogPoisoned: 503 Error "The log takes no more appends", "log poisoned", false;
    Corrupt: 500 Error "Stored data is corrupt", "corrupt", false;
    AgentDisabled: 409 Error "Agent is disabled", "agent disabled", false;
    SessionInactive: 409 Error "Session is inactive", "session inactive", false;
    OtherNamespace: 404 Error "Session not found", "not found", false;
    Forbidden: 403 Error "Forbidden", "forbidden", false;
    MessageNotFound: 404 Error "Message not found", "message not found", false;
    NotAnAnswer: 422 Error "The message is no answer of an agent", "not an answer", false;
    BlobNotFound: 404 Error "File not found", "file not found", false;
    TeamEmpty: 409 Error "The team has no enabled member", "team empty", false;
    KeyNotFound: 404 Error "Key not found", "key not found", false;

    // Fields of a session (contract 1.4).
    SessionFieldsMissing: 422 Error "user_id and agent_id are required", "", false;
    UserIdInvalid: 422 Error "user_id must be a non-empty string", "", false;
    AgentIdInvalid: 422 Error "agent_id must be a non-empty string", "", false;
    BeforeInvalid: 422 Error "before must be a session id", "", false;

    // Fields of a message (contract 1.5, 2.2).
    AuthorAmbiguous: 422 Error "Provide either user_id or agent_id when sending a message, not both", "", false;
    SenderIdDeprecated: 422 Error "sender_id is deprecated; use user_id or agent_id to identify the sender", "", false;
    AuthorMissing: 422 Error "user_id or agent_id is required", "", false;
    KindInvalid: 422 Error "kind must be a non-empty string", "", false;
    ContentMissing: 422 Error "content is required", "", false;
    ContentInvalid: 422 Error "content must be a map", "", false;
    MetadataInvalid: 422 Error "metadata must be a map", "", false;
    NameTooLong: 422 Error "{field} must be at most 255 bytes", "name too long", false;
    NestedTooDeep: 422 Error "{field} is nested too deeply", "nested too deeply", false;
    IdempotencyKeyInvalid: 422 Error "idempotency_key must be a string of 1 to 255 bytes", "idempotency_key invalid", false;
    IdempotencyKeyAmbiguous: 422 Error "The Idempotency-Key header and idempotency_key differ", "", false;
    ExpectedSeqInvalid: 422 Error "expected_seq must be a non-negative integer", "expected_seq invalid", false;
    ReaderMissing: 422 Error "user_id is required", "", false;

    // Titles, feedback, marks of what was read.
    TitleInvalid: 422 Error "title must be a string of 1 to 255 bytes that is not blank", "", false;
    RatingInvalid: 422 Error "rating must be a whole number from 1 to 5", "", false;
    CommentInvalid: 422 Error "comment must be a string of at most 4096 bytes", "", false;
    MessageIdMissing: 422 Error "messageId is required", "", false;
    ConversationMissing: 422 Error "last_seq needs a conversation_id", "", false;

    // Requests that no route takes.
    BadRequest: 400 Detail "Bad Request", "", false;
    NotFound: 404 Detail "Not Found", "", false;
    HostUnknown: 421 Error "The server is not known by this name: --allow-host names it", "", false;
    NotAcceptable: 406 Detail "Not Acceptable", "", false;
    BodyTooLarge: 413 Detail "Request Entity Too Large", "", false;
    Internal: 500 Detail "Internal Server Error", "internal error", false;
    SocketRefused: 403 Empty "", "", false;
    SocketMethod: 400 Empty "", "", false;

    // Chat dialects: who asks, how often, and what became of the question.
    Unauthenticated: 401 Error "Not authenticated", "unauthenticated", false;
    TokenInvalid: 401 Error "Invalid token", "invalid token", false;
    TokenRejected: 401 Error "The token is not for this", "token rejected", false;
    TokenExpired: 401 Error "Token expired", "token expired", false;
    RateLimited: 429 Error "Too many requests", "rate limited", true;
    AgentFailed: 502 Error "The agent failed to answer", "agent failed", false;
    AgentTimedOut: 504 Error "The agent has not answered in time", "agent timed out", false;
    DialectUnclear: 400 Error "{fleetlm} and {hapi} belong to different APIs: send one of them, or the header x-dialect", "", false;

    TeamNotFound: 404 Error "Team not found", "team not found", false;
    ModeInvalid: 422 Error "mode must be auto, round_robin, parallel, debate, brainstorm or expert", "", false;
    // Messages to a HAPI hub.
    BodyInvalid: 400 Error "Invalid body", "", false;
    MessageEmpty: 400 Error "Message requires text or attachments", "", false;
    AttachmentGone: 400 Error "The file of an attachment is not there", "", false;
    FileTooLarge: 413 Error "File too large", "", false;
    TextInvalid: 422 Error "{field} must be a non-empty string", "", false;
    ContextInvalid: 422 Error "context must be a list", "", false;
    FrameInvalid: 400 Error "A frame must be a JSON object", "", false;
    NobodyToAsk: 404 Error "There is no agent to answer: register one, or name one", "", false;
    AnswerStopped: 409 Error "The answer was stopped", "", false;
    Draining: 503 Error "The server shuts down", "draining", true;
    EventsOfNothing: 400 Error "sessionId or all is required", "", false;

    // Channels only (contract 2.2, 3.2, 3.3).
    UnmatchedTopic: 0 Channel "", "unmatched topic", false;
    JoinCrashed: 0 Channel "", "join crashed", false;
    TooManyChannels: 0 Channel "", "too many channels joined", false;
    UnknownEvent: 0 Channel "", "unknown event", false;
    PayloadInvalid: 0 Channel "", "invalid payload", false;
    InvalidMessageFormat: 0 Channel "", "invalid_message_format", false;
}

impl Kind {
    /// Its HTTP status in a dialect; 0 on a channel only. What no arm names is as in FleetLM.
    pub const fn status(self, dialect: Dialect) -> u16 {
        match (self, self.row().status, dialect) {
            // A session of somebody else is there for HAPI's clients, and closed to them; for all others it is not there.
            (Self::OtherNamespace, _, Dialect::Hapi) => 403,
            (Self::BadRequest, _, Dialect::Teammate) => 422,
            (_, 422, Dialect::Agenfleet | Dialect::Hapi) => 400,
            (Self::DiskFull, _, Dialect::Hapi) => 503,
            (_, status, _) => status,
        }
    }

    /// Its text in a dialect, with what is filled in still in braces.
    pub const fn text(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Self::OtherNamespace, Dialect::Hapi) => "Session access denied",
            (Self::Unauthenticated, Dialect::Hapi) => "Missing authorization token",
            (Self::TokenRejected, Dialect::Hapi) => "Invalid token payload",
            (Self::TokenExpired, Dialect::Hapi) => "Invalid token",
            (Self::Overloaded | Self::LogPoisoned | Self::DiskFull, Dialect::Hapi) => "Hub not connected",
            _ => self.row().text,
        }
    }

    /// What HAPI's clients tell it by beside its status.
    pub const fn code(self) -> Option<&'static str> {
        match self {
            Self::SessionInactive => Some("session_inactive"),
            _ => None,
        }
    }
}

/// Seconds that a client should wait before it sends a refused request again: a commit takes milliseconds, a restart a few
/// seconds, and one is the least that the header can say.
const RETRY_AFTER_S: u64 = 1;

/// A refusal on its way out: a row of the table with what is filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    kind: Kind,
    /// Where the row's text has a place to fill in, that text filled in.
    filled: Option<String>,
    fields: FieldErrors,
    /// Of what may succeed later.
    retry_after_s: u64,
    /// Beside `error`, in the HTTP body and in the reply on a channel.
    details: serde_json::Map<String, serde_json::Value>,
}

impl From<Kind> for ApiError {
    fn from(kind: Kind) -> Self {
        let (fields, details) = (FieldErrors::new(), serde_json::Map::new());
        Self { kind, filled: None, fields, retry_after_s: RETRY_AFTER_S, details }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::SessionNotFound => Kind::SessionNotFound.into(),
            Refusal::AgentNotFound => Kind::AgentNotFound.into(),
            Refusal::RunNotFound => Kind::RunNotFound.into(),
            Refusal::SessionExists => Kind::SessionExists.into(),
            Refusal::Unauthorized => Kind::Unauthorized.into(),
            Refusal::InvalidFields(fields) => Self { fields, ..Kind::InvalidFields.into() },
            Refusal::SeqConflict { current } => Self::from(Kind::SeqConflict).with("current_seq", current),
            Refusal::IdempotencyMismatch => Kind::IdempotencyMismatch.into(),
            Refusal::MessageTooLarge { bytes, bytes_max } => {
                Self::from(Kind::MessageTooLarge).with("bytes", bytes).with("bytes_max", bytes_max)
            }
            Refusal::Full { what, max } => Self::about(Kind::Full, "{what}", what).with("max", max),
            Refusal::Overloaded => Kind::Overloaded.into(),
            Refusal::DiskFull => Kind::DiskFull.into(),
            Refusal::LogPoisoned => Kind::LogPoisoned.into(),
            Refusal::Corrupt { file, offset } => Self::from(Kind::Corrupt).with("file", file).with("offset", offset),
            Refusal::AgentDisabled => Kind::AgentDisabled.into(),
            Refusal::SessionInactive => Kind::SessionInactive.into(),
            Refusal::OtherNamespace => Kind::OtherNamespace.into(),
            Refusal::Forbidden => Kind::Forbidden.into(),
            Refusal::MessageNotFound => Kind::MessageNotFound.into(),
            Refusal::NotAnAnswer => Kind::NotAnAnswer.into(),
            Refusal::BlobNotFound => Kind::BlobNotFound.into(),
            Refusal::TeamEmpty => Kind::TeamEmpty.into(),
            Refusal::KeyNotFound => Kind::KeyNotFound.into(),
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing => Kind::Unauthenticated,
            AuthError::Invalid | AuthError::UnknownKey | AuthError::Revoked => Kind::TokenInvalid,
            AuthError::Claims | AuthError::NotYet => Kind::TokenRejected,
            AuthError::Expired => Kind::TokenExpired,
            AuthError::Forbidden => Kind::Forbidden,
        }
        .into()
    }
}

impl From<ExchangeError> for ApiError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Body => Kind::BadRequest.into(),
            ExchangeError::Auth(error) => error.into(),
        }
    }
}

impl ApiError {
    /// A row whose text names something: `place`, e.g. `{field}`, stands for `name`.
    pub fn about(kind: Kind, place: &str, name: &str) -> Self {
        Self::from(kind).fill(place, name)
    }

    /// The same with one more place filled in.
    #[must_use]
    pub fn fill(mut self, place: &str, name: &str) -> Self {
        self.filled = Some(self.filled.as_deref().unwrap_or(self.kind.row().text).replace(place, name));
        self
    }

    /// The same with what is behind it.
    #[must_use]
    pub fn because(mut self, detail: &str) -> Self {
        let text = self.filled.as_deref().unwrap_or(self.kind.row().text);
        self.filled = Some(format!("{text}: {detail}"));
        self
    }

    /// Too many requests; one more is let in after so many seconds, at least one.
    pub fn rate_limited(retry_after_s: u64) -> Self {
        Self { retry_after_s: retry_after_s.max(RETRY_AFTER_S), ..Kind::RateLimited.into() }
    }

    /// Seconds behind which the same request may succeed, if it may.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.kind.row().retryable.then_some(self.retry_after_s)
    }

    /// The row.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The HTTP response to a client of FleetLM.
    pub fn response(&self) -> Response {
        self.respond(Dialect::Fleetlm)
    }

    /// The HTTP response in a dialect.
    pub fn respond(&self, dialect: Dialect) -> Response {
        let row = self.kind.row();
        let status = self.kind.status(dialect);
        if matches!(row.shape, Shape::Empty | Shape::Channel) {
            return Response::new(status.max(400));
        }
        let body = match (dialect, row.shape) {
            (Dialect::Fleetlm, Shape::Fields) => json!({ "errors": self.fields }).to_string(),
            (Dialect::Fleetlm, Shape::Detail) => detail(status),
            (Dialect::Fleetlm, _) => self.object("error", &self.said(dialect)),
            (Dialect::Teammate, _) => json!({ "detail": self.said(dialect) }).to_string(),
            (Dialect::Agenfleet, _) => json!({ "error": self.said(dialect) }).to_string(),
            (Dialect::Hapi, _) => match self.kind.code() {
                None => json!({ "error": self.said(dialect) }).to_string(),
                Some(code) => format!("{{\"error\":{},\"code\":\"{code}\"}}", json!(self.said(dialect))),
            },
        };
        let response = Response::new(status).with_body(super::JSON, body);
        match self.kind {
            _ if status == 401 => response.with_header("www-authenticate", "Bearer"), // RFC 9110 section 15.5.2
            _ if row.retryable => response.with_header("retry-after", self.retry_after_s.to_string()),
            _ => response,
        }
    }

    /// What is wrong, in one line.
    pub fn said(&self, dialect: Dialect) -> Cow<'_, str> {
        if let Some(filled) = &self.filled {
            return filled.into();
        }
        if self.kind == Kind::InvalidFields {
            let fields = self.fields.iter().map(|(field, texts)| format!("{field}: {}", texts.join(", ")));
            return fields.collect::<Vec<_>>().join("; ").into();
        }
        self.kind.text(dialect).into()
    }

    /// The response of a refused join, `{"reason": ..}`.
    pub fn join_response(&self) -> String {
        self.timed().object("reason", self.kind.row().reason)
    }

    /// The response of a refused event, `{"error": ..}`. Where a channel has no word of its own it says what HTTP says.
    pub fn event_response(&self) -> String {
        let reason = self.kind.row().reason;
        let text = if reason.is_empty() { self.said(Dialect::Fleetlm) } else { reason.into() };
        self.timed().object("error", &text)
    }

    /// On a channel there is no header to say when to try again.
    fn timed(&self) -> Self {
        let is_timed = self.kind.row().retryable;
        if is_timed { self.clone().with("retry_after_ms", self.retry_after_s * 1000) } else { self.clone() }
    }

    /// The same refusal with one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }

    /// The text under `key`, then the details.
    fn object(&self, key: &str, text: &str) -> String {
        let mut out = format!("{{\"{key}\":{}", serde_json::Value::from(text));
        for (name, value) in &self.details {
            write!(out, ",{}:{value}", serde_json::Value::from(name.as_str())).expect("a String takes it");
        }
        out.push('}');
        out
    }
}

/// The body of an error that the framework of the original would have answered.
pub fn detail(status: u16) -> String {
    json!({ "errors": { "detail": reason_phrase(status) } }).to_string()
}

/// The table as it stands in `docs/errors.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "| name | HTTP | body | text | AI Teammate | AgenFleet | HAPI | on a channel | retry |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for &kind in KINDS {
        let row = kind.row();
        let status = if row.status == 0 { "–".into() } else { row.status.to_string() };
        let shape = match row.shape {
            Shape::Error => "`{\"error\"}`",
            Shape::Fields => "`{\"errors\": {field: [..]}}`",
            Shape::Detail => "`{\"errors\": {\"detail\"}}`",
            Shape::Empty => "empty",
            Shape::Channel => "–",
        };
        let retry = if row.retryable { "yes" } else { "no" };
        let text = if row.text.is_empty() { "–" } else { row.text };
        let reason = if row.reason.is_empty() { "–".into() } else { format!("`{}`", row.reason) };
        let [teammate, agenfleet, hapi] =
            [Dialect::Teammate, Dialect::Agenfleet, Dialect::Hapi].map(|dialect| otherwise(kind, dialect));
        writeln!(
            out,
            "| {} | {status} | {shape} | {text} | {teammate} | {agenfleet} | {hapi} | {reason} | {retry} |",
            row.name
        )
        .expect("a String takes it");
    }
    out
}

/// What the table says of a kind in another dialect than FleetLM: its status, its text where that differs, its code.
fn otherwise(kind: Kind, dialect: Dialect) -> String {
    let status = kind.status(dialect);
    if status == 0 {
        return "–".to_owned();
    }
    let text = kind.text(dialect);
    let text = if text == kind.row().text { String::new() } else { format!(" {text}") };
    let code = kind.code().filter(|_| dialect == Dialect::Hapi).map(|code| format!(" `{code}`"));
    format!("{status}{text}{}", code.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};

    #[test]
    fn the_documentation_holds_the_table_as_it_is() {
        let docs = include_str!("../../docs/errors.md");
        assert!(docs.contains(&markdown()), "docs/errors.md lacks this table:\n{}", markdown());
    }

    #[test]
    fn rows_have_names_of_their_own_and_statuses_that_fit_their_shape() {
        let names: HashSet<_> = KINDS.iter().map(|kind| kind.row().name).collect();
        assert_eq!(names.len(), KINDS.len());
        for row in KINDS.iter().map(|kind| kind.row()) {
            match row.shape {
                Shape::Channel => assert!(row.status == 0 && !row.reason.is_empty(), "{row:?}"),
                Shape::Empty => assert!((400..600).contains(&row.status) && row.text.is_empty(), "{row:?}"),
                Shape::Detail => assert_eq!(row.text, reason_phrase(row.status)),
                Shape::Error | Shape::Fields => {
                    assert!((400..600).contains(&row.status) && !row.text.is_empty(), "{row:?}");
                }
            }
        }
    }

    #[test]
    fn bodies_have_the_three_shapes_of_the_contract() {
        let body = |error: ApiError| String::from_utf8(error.response().body.into_vec()).unwrap();
        assert_eq!(body(Kind::SessionNotFound.into()), r#"{"error":"Session not found"}"#);
        let fields = BTreeMap::from([("id".to_owned(), vec!["can't be blank".to_owned()])]);
        assert_eq!(body(Refusal::InvalidFields(fields).into()), r#"{"errors":{"id":["can't be blank"]}}"#);
        assert_eq!(body(Kind::BodyTooLarge.into()), r#"{"errors":{"detail":"Request Entity Too Large"}}"#);
        assert_eq!(detail(404), r#"{"errors":{"detail":"Not Found"}}"#);
        assert_eq!(body(Kind::SocketRefused.into()), "");
    }

    /// Each refusal: its HTTP status and body, and the reply on a channel.
    #[test]
    fn every_refusal_of_a_shard_has_its_row() {
        let corrupt = Refusal::Corrupt { file: "s1.log".into(), offset: 64 };
        for (refusal, status, body, event) in [
            (Refusal::SessionNotFound, 404, r#"{"error":"Session not found"}"#, r#"{"error":"not found"}"#),
            (Refusal::AgentNotFound, 404, r#"{"error":"Agent not found"}"#, r#"{"error":"agent not found"}"#),
            (Refusal::RunNotFound, 404, r#"{"error":"Run not found"}"#, r#"{"error":"run not found"}"#),
            (
                Refusal::SessionExists,
                409,
                r#"{"error":"Session id already exists"}"#,
                r#"{"error":"session exists","retry_after_ms":1000}"#,
            ),
            (
                Refusal::Unauthorized,
                403,
                r#"{"error":"Not a participant of the session"}"#,
                r#"{"error":"unauthorized"}"#,
            ),
            (
                Refusal::SeqConflict { current: 7 },
                409,
                r#"{"error":"expected_seq does not match","current_seq":7}"#,
                r#"{"error":"seq conflict","current_seq":7}"#,
            ),
            (
                Refusal::IdempotencyMismatch,
                422,
                r#"{"error":"The idempotency key was used with another request"}"#,
                r#"{"error":"idempotency mismatch"}"#,
            ),
            (
                Refusal::MessageTooLarge { bytes: 9, bytes_max: 8 },
                413,
                r#"{"error":"The message is too large","bytes":9,"bytes_max":8}"#,
                r#"{"error":"message too large","bytes":9,"bytes_max":8}"#,
            ),
            (
                Refusal::Full { what: "the session", max: 3 },
                422,
                r#"{"error":"the session is full","max":3}"#,
                r#"{"error":"full","max":3}"#,
            ),
            (Refusal::Overloaded, 503, r#"{"error":"Overloaded"}"#, r#"{"error":"overloaded","retry_after_ms":1000}"#),
            (
                Refusal::DiskFull,
                507,
                r#"{"error":"The disk is full"}"#,
                r#"{"error":"disk full","retry_after_ms":1000}"#,
            ),
            (Refusal::LogPoisoned, 503, r#"{"error":"The log takes no more appends"}"#, r#"{"error":"log poisoned"}"#),
            (
                corrupt,
                500,
                r#"{"error":"Stored data is corrupt","file":"s1.log","offset":64}"#,
                r#"{"error":"corrupt","file":"s1.log","offset":64}"#,
            ),
        ] {
            let error = ApiError::from(refusal);
            let response = error.response();
            assert_eq!(
                (response.status, String::from_utf8(response.body.to_vec()).unwrap()),
                (status, body.to_owned())
            );
            assert_eq!(response.header("retry-after").is_some(), error.kind().row().retryable);
            assert_eq!(error.event_response(), event);
            assert_eq!(error.join_response(), event.replace("\"error\"", "\"reason\""));
        }
    }

    /// Status and body in the four dialects.
    fn said(error: impl Into<ApiError>) -> [(u16, String); 4] {
        let error = error.into();
        Dialect::ALL.map(|dialect| {
            let response = error.respond(dialect);
            let asks = response.header("www-authenticate");
            assert_eq!(asks, (response.status == 401).then_some("Bearer"));
            (response.status, String::from_utf8(response.body.into_vec()).unwrap())
        })
    }

    fn bodies(expected: [(u16, &str); 4]) -> [(u16, String); 4] {
        expected.map(|(status, body)| (status, body.to_owned()))
    }

    #[test]
    fn each_dialect_has_its_body() {
        let inactive = bodies([
            (409, r#"{"error":"Session is inactive"}"#),
            (409, r#"{"detail":"Session is inactive"}"#),
            (409, r#"{"error":"Session is inactive"}"#),
            (409, r#"{"error":"Session is inactive","code":"session_inactive"}"#),
        ]);
        assert_eq!(said(Refusal::SessionInactive), inactive);
        let fields = BTreeMap::from([("id".to_owned(), vec!["is blank".to_owned(), "is short".to_owned()])]);
        let invalid = bodies([
            (422, r#"{"errors":{"id":["is blank","is short"]}}"#),
            (422, r#"{"detail":"id: is blank, is short"}"#),
            (400, r#"{"error":"id: is blank, is short"}"#),
            (400, r#"{"error":"id: is blank, is short"}"#),
        ]);
        assert_eq!(said(Refusal::InvalidFields(fields)), invalid);
        let full = bodies([
            (422, r#"{"error":"the session is full","max":3}"#),
            (422, r#"{"detail":"the session is full"}"#),
            (400, r#"{"error":"the session is full"}"#),
            (400, r#"{"error":"the session is full"}"#),
        ]);
        assert_eq!(said(Refusal::Full { what: "the session", max: 3 }), full);
        let bad = bodies([
            (400, r#"{"errors":{"detail":"Bad Request"}}"#),
            (422, r#"{"detail":"Bad Request"}"#),
            (400, r#"{"error":"Bad Request"}"#),
            (400, r#"{"error":"Bad Request"}"#),
        ]);
        assert_eq!(said(Kind::BadRequest), bad);
    }

    #[test]
    fn some_refusals_have_another_status_or_text_in_another_dialect() {
        let elsewhere = bodies([
            (404, r#"{"error":"Session not found"}"#),
            (404, r#"{"detail":"Session not found"}"#),
            (404, r#"{"error":"Session not found"}"#),
            (403, r#"{"error":"Session access denied"}"#),
        ]);
        assert_eq!(said(Refusal::OtherNamespace), elsewhere);
        let no_room = bodies([
            (507, r#"{"error":"The disk is full"}"#),
            (507, r#"{"detail":"The disk is full"}"#),
            (507, r#"{"error":"The disk is full"}"#),
            (503, r#"{"error":"Hub not connected"}"#),
        ]);
        assert_eq!(said(Refusal::DiskFull), no_room);
        for kind in [Kind::Unauthenticated, Kind::Forbidden, Kind::AgentFailed, Kind::AgentTimedOut] {
            let status = kind.row().status;
            assert_eq!(said(kind).map(|(said, _)| said), [status; 4], "{kind:?}");
        }
    }

    #[test]
    fn whoever_asks_too_often_is_told_when_to_ask_again_in_every_dialect() {
        for (retry_after_s, header) in [(0, "1"), (1, "1"), (75, "75")] {
            let error = ApiError::rate_limited(retry_after_s);
            for dialect in Dialect::ALL {
                let response = error.respond(dialect);
                assert_eq!((response.status, response.header("retry-after")), (429, Some(header)), "{dialect:?}");
            }
        }
        let event = ApiError::rate_limited(75).event_response();
        assert_eq!(event, r#"{"error":"rate limited","retry_after_ms":75000}"#);
    }

    #[test]
    fn an_error_without_a_word_for_channels_says_what_http_says() {
        assert_eq!(ApiError::from(Kind::ContentMissing).event_response(), r#"{"error":"content is required"}"#);
        let long = ApiError::about(Kind::NameTooLong, "{field}", "kind");
        assert_eq!(
            String::from_utf8(long.response().body.into_vec()).unwrap(),
            r#"{"error":"kind must be at most 255 bytes"}"#
        );
    }
}
