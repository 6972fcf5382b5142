//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), without I/O.
//!
//! [`accept`] turns an HTTP request into an upgrade or a refusal, [`Decoder`] turns bytes into [`Event`]s, the `encode_*` functions
//! append frames. The server's frames are not masked and keep no compression context between messages, so the bytes of
//! one frame fit every reader: a broadcast is encoded once. Answering pings, the closing handshake and timeouts belong to the
//! caller.

mod deflate;
mod frame;
mod handshake;
mod mask;
mod message;
mod text;

pub use deflate::{Compressor, Deflate};
pub use frame::{Header, Opcode, Role};
pub use handshake::{HandshakeOptions, Upgrade, accept};
pub use mask::apply_mask;
pub use message::{Decoder, Event, Limits};

/// Close codes by name, as tungstenite has them.
pub use tungstenite::protocol::frame::coding::CloseCode;

use crate::protocol::Roomy;

/// Why a connection must fail (RFC 6455 section 7.1.7): send a close frame with this code, then close. The connection reads
/// nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Failure {
    /// 1002 (protocol), 1007 (not UTF-8, or not DEFLATE) or 1009 (too big).
    pub code: u16,
    /// What is wrong; fits into a close frame.
    pub reason: &'static str,
}

fn fail(code: CloseCode, reason: &'static str) -> Failure {
    Failure { code: code.into(), reason }
}

fn protocol_error(reason: &'static str) -> Failure {
    fail(CloseCode::Protocol, reason)
}

fn invalid(reason: &'static str) -> Failure {
    fail(CloseCode::Invalid, reason)
}

fn too_big(reason: &'static str) -> Failure {
    fail(CloseCode::Size, reason)
}

/// Appends a text message in one unmasked frame. `payload` must be UTF-8: the caller has it from a `str` or built it.
pub fn encode_text(payload: &[u8], out: &mut Vec<u8>) {
    encode(Opcode::Text, payload, out);
}

/// Appends the text message that `write` appends, in one unmasked frame: [`encode_text`] without a copy.
pub fn encode_text_with(write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    /// The header of a message of 126 to 65,535 bytes, which most are; others are moved.
    const EXPECTED_BYTES: usize = 4;
    let start = out.len();
    out.resize(start + EXPECTED_BYTES, 0);
    write(out);
    let length = (out.len() - start - EXPECTED_BYTES) as u64;
    let header = Header { fin: true, rsv1: false, opcode: Opcode::Text, mask: None, length };
    let mut bytes = [0; frame::HEADER_BYTES_MAX];
    let header = header.encode_in(&mut bytes);
    match header.len() {
        EXPECTED_BYTES => out[start..start + EXPECTED_BYTES].copy_from_slice(header),
        _ => drop(out.splice(start..start + EXPECTED_BYTES, header.iter().copied())),
    }
}

/// Makes a message the one unmasked text frame that carries it. It must be UTF-8.
pub fn frame_text(message: &mut Roomy) {
    let header = Header { fin: true, rsv1: false, opcode: Opcode::Text, mask: None, length: message.len() as u64 };
    message.prepend(header.encode_in(&mut [0; frame::HEADER_BYTES_MAX]));
}

/// Appends a binary message in one unmasked frame.
pub fn encode_binary(payload: &[u8], out: &mut Vec<u8>) {
    encode(Opcode::Binary, payload, out);
}

/// Appends a ping. A payload over 125 bytes (RFC 6455 section 5.5) is cut.
pub fn encode_ping(payload: &[u8], out: &mut Vec<u8>) {
    encode(Opcode::Ping, frame::control_payload(payload), out);
}

/// Appends a pong. A payload over 125 bytes is cut.
pub fn encode_pong(payload: &[u8], out: &mut Vec<u8>) {
    encode(Opcode::Pong, frame::control_payload(payload), out);
}

/// Appends a close frame. A reason over 123 bytes is cut at a character (RFC 6455 section 5.5, 7.1.6). A code that must not
/// be sent (section 7.4.1: 1005, 1006, 1015) becomes a close frame without code.
pub fn encode_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    encode(Opcode::Close, &frame::close_payload(code, reason), out);
}

/// Appends a close frame without code and reason.
pub fn encode_close_empty(out: &mut Vec<u8>) {
    encode(Opcode::Close, &[], out);
}

/// Appends a text message in one compressed, unmasked frame. Any reader with [`Deflate::reads`]`(payload.len())`
/// understands it. What does not compress grows by a few bytes, and short messages are not worth the reader's time: the caller
/// may send any message plain instead.
pub fn encode_text_deflated(payload: &[u8], compressor: &mut Compressor, out: &mut Vec<u8>) {
    encode_deflated(Opcode::Text, payload, compressor, out);
}

/// [`encode_text_deflated`] for a binary message.
pub fn encode_binary_deflated(payload: &[u8], compressor: &mut Compressor, out: &mut Vec<u8>) {
    encode_deflated(Opcode::Binary, payload, compressor, out);
}

/// One text frame in a buffer of exactly its size, to be shared by all who read it.
pub fn text_frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame::encoded_bytes(payload.len()));
    encode_text(payload, &mut out);
    out
}

fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(frame::encoded_bytes(payload.len()));
    Header { fin: true, rsv1: false, opcode, mask: None, length: payload.len() as u64 }.encode(out);
    out.extend_from_slice(payload);
}

fn encode_deflated(opcode: Opcode, payload: &[u8], compressor: &mut Compressor, out: &mut Vec<u8>) {
    let compressed = compressor.compress(payload);
    out.reserve(frame::encoded_bytes(compressed.len()));
    // RFC 7692 section 6.1: RSV1 marks a compressed message.
    Header { fin: true, rsv1: true, opcode, mask: None, length: compressed.len() as u64 }.encode(out);
    out.extend_from_slice(compressed);
}

#[cfg(test)]
mod tests;
