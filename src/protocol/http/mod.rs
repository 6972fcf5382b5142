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
pub use request::{Headers, Method, RemoteUser, Request, Version};
pub use response::{Context, Response, Stream, reason_phrase};

/// What the caller writes when [`Step::SendContinue`] is returned (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The bytes of tokens, looked up: every field's name passes here byte by byte, in both directions.
static TOKEN_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others: &[u8] = b"!#$%&'*+-.^_`|~";
    while let [other, rest @ ..] = others {
        bytes[*other as usize] = true;
        others = rest;
    }
    bytes
};

/// A byte of a token (RFC 9110 section 5.6.2): methods, field names, parameter names.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

/// Whether `name` is a field's name. Ours are of small letters and dashes, which needs no table.
fn is_field_name(name: &str) -> bool {
    let is_plain = name.bytes().fold(true, |so_far, byte| so_far & (byte.is_ascii_lowercase() | (byte == b'-')));
    !name.is_empty() && (is_plain || name.bytes().all(is_token_byte))
}

/// Whether `value` may be a field's value. To its end in any case: without a way out in the middle the compiler looks at many bytes at
/// once.
fn is_field_value(value: &str) -> bool {
    value.bytes().fold(true, |so_far, byte| so_far & is_value_byte(byte))
}

/// A byte that may stand in a field value (RFC 9110 section 5.5): visible, blank, tab or beyond ASCII, never a control.
pub(crate) fn is_value_byte(byte: u8) -> bool {
    (byte == b'\t') | ((byte >= b' ') & (byte != 0x7f))
}

#[cfg(test)]
mod tests;
