//! Frame headers (RFC 6455 section 5.2): decoding with every rule that one header alone can break, and encoding.
//!
//! Rules that need the message before it (continuations, RSV1 of a fragment) are `message`'s.

use super::{CloseCode, Failure, protocol_error};

/// Which side of a connection decodes (RFC 6455 section 5.1): a server takes only masked frames, a client only unmasked ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the sides
pub enum Role {
    Server,
    Client,
}

/// What a frame is (RFC 6455 section 11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the registry's
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, Failure> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            _ => Err(protocol_error("reserved opcode")),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Control frames stand between the fragments of a message, are short and never fragmented (RFC 6455 section 5.5).
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// Marks a compressed message (RFC 7692 section 6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key the payload is masked with.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub length: u64,
}

/// Payload bytes of a control frame at the most (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Bytes of a header at the most: two, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// Lengths up to here stand in the second byte itself.
const LENGTH_7_MAX: u64 = 125;
const LENGTH_16_MAX: u64 = u16::MAX as u64;

impl Header {
    /// The header at the beginning of `bytes` and its own size in bytes, or `None` when more bytes are needed. Rules are checked in the
    /// order of the bytes, so the verdict does not depend on how they arrive.
    pub fn decode(bytes: &[u8], role: Role, allows_rsv1: bool) -> Result<Option<(Self, usize)>, Failure> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
        if first & 0x30 != 0 || (rsv1 && !allows_rsv1) {
            return Err(protocol_error("reserved bit set"));
        }
        let opcode = Opcode::from_bits(first & 0x0f)?;
        if opcode.is_control() && rsv1 {
            // RFC 7692 section 6.1: control frames are never compressed.
            return Err(protocol_error("compressed control frame"));
        }
        if opcode.is_control() && !fin {
            return Err(protocol_error("fragmented control frame"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let is_masked = second & 0x80 != 0;
        match (role, is_masked) {
            (Role::Server, false) => return Err(protocol_error("frame of a client is not masked")),
            (Role::Client, true) => return Err(protocol_error("frame of a server is masked")),
            _ => {}
        }
        if opcode.is_control() && usize::from(second & 0x7f) > CONTROL_BYTES_MAX {
            return Err(protocol_error("control frame too long"));
        }
        let Some((length, mask_at)) = decode_length(second & 0x7f, bytes)? else { return Ok(None) };
        let mask = match is_masked.then(|| bytes[mask_at..].first_chunk::<4>()) {
            None => None,
            Some(Some(key)) => Some(*key),
            Some(None) => return Ok(None),
        };
        let header_bytes = mask_at + if is_masked { 4 } else { 0 };
        Ok(Some((Self { fin, rsv1, opcode, mask, length }, header_bytes)))
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.encode_in(&mut [0; HEADER_BYTES_MAX]));
    }

    /// The header's bytes, written into `room`.
    pub fn encode_in<'a>(&self, room: &'a mut [u8; HEADER_BYTES_MAX]) -> &'a [u8] {
        room[0] = u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6 | self.opcode.bits();
        let mask_bit = u8::from(self.mask.is_some()) << 7;
        let end = if self.length <= LENGTH_7_MAX {
            room[1] = mask_bit | self.length as u8;
            2
        } else if let Ok(length) = u16::try_from(self.length) {
            room[1] = mask_bit | 126;
            room[2..4].copy_from_slice(&length.to_be_bytes());
            4
        } else {
            room[1] = mask_bit | 127;
            room[2..10].copy_from_slice(&self.length.to_be_bytes());
            10
        };
        let mask = self.mask.as_ref().map_or(&[][..], |key| key);
        room[end..end + mask.len()].copy_from_slice(mask);
        &room[..end + mask.len()]
    }
}

/// The payload length and the position behind it.
fn decode_length(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Failure> {
    let after = &bytes[2..];
    let (length, end, shortest) = match short {
        126 => match after.first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4, LENGTH_7_MAX + 1),
            None => return Ok(None),
        },
        127 => match after.first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 10, LENGTH_16_MAX + 1),
            None => return Ok(None),
        },
        short => (u64::from(short), 2, 0),
    };
    // RFC 6455 section 5.2: the most significant bit must be 0, and the minimal number of bytes must be used.
    if length > i64::MAX as u64 {
        return Err(protocol_error("payload length over 63 bits"));
    }
    if length < shortest {
        return Err(protocol_error("payload length not in its shortest form"));
    }
    Ok(Some((length, end)))
}

/// Bytes of an unmasked frame with this payload.
pub(super) fn encoded_bytes(payload_bytes: usize) -> usize {
    let length = payload_bytes as u64;
    2 + payload_bytes + if length > LENGTH_16_MAX { 8 } else { 2 * usize::from(length > LENGTH_7_MAX) }
}

pub(super) fn control_payload(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_BYTES_MAX)]
}

/// Code and reason of a close frame as they go on the wire (RFC 6455 section 5.5.1).
pub(super) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    if !is_close_code(code) {
        return Vec::new();
    }
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// Whether a code may stand in a close frame (RFC 6455 section 7.4): the registered ones but for those that only describe what
/// happened locally, and the ranges for libraries and applications.
pub(super) fn is_close_code(code: u16) -> bool {
    // 1014 (bad gateway) is in the IANA registry; tungstenite does not know it.
    code == 1014 || CloseCode::from(code).is_allowed()
}
