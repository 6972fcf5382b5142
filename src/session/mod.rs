//! The rules of one ordered log: identity, sequence, idempotency, cursors. Pure.

mod id;
mod json;

pub use id::{MessageId, SessionId};
pub use json::Json;
