//! The rules of one ordered log: identity, sequence, idempotency, cursors, notes. Pure.

mod agent_config;
mod agent_profile;
mod blob_note;
mod cast;
mod cursor;
mod feedback;
mod id;
mod idempotency;
mod json;
mod key_note;
mod main_id;
mod message;
mod namespace;
mod note;
mod run_note;
mod team_spec;
mod time;

pub use agent_config::{AgentConfig, AgentStatus, FieldErrors, HistoryMode, OnCrash, REDACTED};
pub use agent_profile::AgentProfile;
pub use blob_note::{BlobClaimed, BlobReleased, hash_of};
pub use cursor::{advance, unread};
pub use feedback::Feedback;
pub use id::{KeyId, MessageId, RunId, SessionId};
pub use idempotency::{Fingerprint, KeyHash, Lookup, Window};
pub use json::{Json, nests_deeper_than};
pub use key_note::{KeyPut, KeyScope, SecretHash};
pub use main_id::main_id;
pub use message::{MessageMeta, MessageParts, RunPart, RunSpan, Sender};
pub use namespace::{DEFAULT_NAMESPACE, Namespace, scoped, split};
pub use note::{
    AgentPut, CursorMoved, DirectoryNote, SessionCreated, SessionParts, SessionRenamed, SessionStatus, kind,
};
pub use run_note::{ChunkMeta, RunNote, SessionCompacted};
pub use team_spec::{TeamMode, TeamSpec};
pub use time::{push_rfc3339, rfc3339};
