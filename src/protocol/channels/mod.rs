//! Phoenix Channels, server side: the messages of both protocol versions, one socket's channels, and long polling.
//!
//! [`decode_text`] and [`decode_binary`] turn a WebSocket message (or a line of a long-poll batch) into a [`Message`],
//! [`Socket`] decides what it means, [`encode`] writes what is sent back. Everything is pure: no I/O, no time, no topic of
//! ours is known here, and payloads pass through as the bytes they came in.

pub mod encode;
pub mod longpoll;
mod message;
mod socket;

pub use message::{Malformed, Message, Payload, Ref, Vsn, decode_binary, decode_text};
pub use socket::{Action, ReplyTo, Socket, Status};
