//! FleetLM: a session server for AI chat.
//!
//! Every session is one durable, ordered log. Bytes flow one way:
//!
//! ```text
//! bytes -> protocol (decode) -> api (command) -> [mailbox] -> shard: session decides and numbers
//!       -> storage appends -> sync -> commit -> reply to the sender, push to the tails
//!       -> protocol (encode) -> outbox -> bytes
//! ```
//!
//! Reading order: [`session`] (the rules of one log), [`shard`] (one thread's world), the `storage` crate
//! (segments, records, recovery), [`protocol`] (bytes and messages), [`console`] (the page at `/`), [`api`]
//! (routes, topics, errors), [`server`] (sockets, threads, the ring). Use goes down that line only; `tests/tidy.rs` checks it.

pub mod agent;
pub mod api;
pub mod cli;
pub mod config;
pub mod console;
pub mod inspect;
pub mod limits;
pub mod protocol;
pub mod server;
pub mod session;
pub mod shard;
