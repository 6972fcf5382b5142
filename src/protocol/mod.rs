//! Bytes to messages and back: HTTP/1.1, WebSocket, Phoenix Channels, server-sent events, streamed answers.
//!
//! Everything here is pure and without I/O: a decoder takes bytes as they arrive and says what they mean, an encoder appends
//! to a `Vec<u8>`. Limits, time and randomness are arguments. Nothing here knows a session, a route or a socket.

pub mod answer;
pub mod channels;
pub mod http;
pub mod json;
mod roomy;
pub mod sse;
pub mod ws;

pub use roomy::Roomy;
