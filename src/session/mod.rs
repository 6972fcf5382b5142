//! The rules of one ordered log: identity, sequence, idempotency, cursors, notes. Pure.

mod agent_config;
mod cursor;
mod id;
mod idempotency;
mod json;
mod message;
mod note;
mod time;

pub use agent_config::{AgentConfig, AgentStatus, FieldErrors, HistoryMode, REDACTED};
pub use cursor::{advance, unread};
pub use id::{MessageId, RunId, SessionId};
pub use idempotency::{Fingerprint, KeyHash, Lookup, Window};
pub use json::Json;
pub use message::{MessageMeta, MessageParts, Sender};
pub use note::{AgentPut, CursorMoved, SessionCreated, SessionParts, SessionStatus, kind};
pub use time::{push_rfc3339, rfc3339};
