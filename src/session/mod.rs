//! The rules of one ordered log: identity, sequence, idempotency, cursors. Pure.

mod agent_config;
mod id;
mod json;
mod time;

pub use agent_config::{AgentConfig, AgentStatus, FieldErrors, HistoryMode, REDACTED};
pub use id::{MessageId, SessionId};
pub use json::Json;
pub use time::rfc3339;
