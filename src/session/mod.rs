//! The rules of one ordered log: identity, sequence, idempotency, cursors, notes. Pure.

mod agent_config;
mod cast;
mod cursor;
mod id;
mod idempotency;
mod json;
mod key_note;
mod message;
mod note;
mod run_note;
mod time;

pub use agent_config::{AgentConfig, AgentStatus, FieldErrors, HistoryMode, OnCrash, REDACTED};
pub use cursor::{advance, unread};
pub use id::{KeyId, MessageId, RunId, SessionId};
pub use idempotency::{Fingerprint, KeyHash, Lookup, Window};
pub use json::{Json, nests_deeper_than};
pub use key_note::{KeyPut, KeyScope, SecretHash};
pub use message::{MessageMeta, MessageParts, RunPart, Sender};
pub use note::{AgentPut, CursorMoved, SessionCreated, SessionParts, SessionStatus, kind};
pub use run_note::{ChunkMeta, RunNote, SessionCompacted};
pub use time::{push_rfc3339, rfc3339};
