//! HTTP/1.1, server side, without I/O: bytes in, [`Request`]s out; [`Response`]s in, bytes out.
//!
//! [`RequestDecoder`] owns the bytes of one connection until they are requests. It is strict where leniency lets two
//! parties see two different messages (RFC 9112 section 11.2): whatever is ambiguous is refused, and a refused request
//! ends its connection. It knows no route, no timeout and no socket.

mod body;
mod connection;
mod head;
mod request;
mod response;

pub use connection::{Limits, RequestDecoder, RequestError, Step};
pub use request::{Headers, Method, Request, Version};
pub use response::{Context, Response, Stream, reason_phrase};

/// What the caller writes when [`Step::SendContinue`] is returned (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A byte of a token (RFC 9110 section 5.6.2): methods, field names, parameter names.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A byte that may stand in a field value (RFC 9110 section 5.5): visible, blank, tab or beyond ASCII, never a control.
pub(crate) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests;
