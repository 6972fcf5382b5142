//! WebSocket frames (RFC 6455), client side, as far as a load generator needs: written independently of the server's codec.
//!
//! Decoding copies nothing. No extension is offered, so a reserved bit is an error.

use crate::content::mix;
use std::ops::Range;

/// Bytes of one frame that are believed at the most; a longer length is an error, not an allocation.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with a fragmented message.
    Continuation,
    /// Begins a message of text.
    Text,
    /// Begins a message of bytes.
    Binary,
    /// Says that the connection ends.
    Close,
    /// Wants a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// A whole frame at the start of the bytes given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The last one of its message.
    pub fin: bool,
    /// What it is.
    pub opcode: Opcode,
    /// Where its payload stands. It ends where the frame ends.
    pub payload: Range<usize>,
}

/// A server that breaks RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Section 5.2: reserved bits are zero without an extension.
    #[error("a reserved bit is set in a frame")]
    Reserved,
    /// Section 5.2: opcodes 3 to 7 and 11 to 15 are reserved.
    #[error("a frame has unknown opcode {0}")]
    Opcode(u8),
    /// Section 5.1: a server does not mask.
    #[error("a frame of the server is masked")]
    Masked,
    /// Section 5.5: control frames are short and whole.
    #[error("a control frame is long or fragmented")]
    Control,
    /// More than this tool takes.
    #[error("a frame claims {0} bytes")]
    Long(u64),
}

/// Reads the frame at the start of `bytes`; `None` when it is not there in full.
pub fn decode(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::Reserved);
    }
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        unknown => return Err(FrameError::Opcode(unknown)),
    };
    if second & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let fin = first & 0x80 != 0;
    if first & 0x08 != 0 && (second > 125 || !fin) {
        return Err(FrameError::Control);
    }
    let (head, length) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, u64::from(u16::from_be_bytes(length.try_into().expect("two bytes")))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10) {
            Some(length) => (10, u64::from_be_bytes(length.try_into().expect("eight bytes"))),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let length = usize::try_from(length).ok().filter(|l| *l <= PAYLOAD_BYTES_MAX).ok_or(FrameError::Long(length))?;
    let payload = head..head + length;
    Ok((payload.end <= bytes.len()).then_some(Frame { fin, opcode, payload }))
}

/// Appends one masked frame. `mask` seeds its key (section 5.3); any numbers that differ will do for a tool.
pub fn encode(opcode: Opcode, payload: &[u8], mask: u64, out: &mut Vec<u8>) {
    let opcode = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let key = (mix(mask) as u32).to_ne_bytes();
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    let wide = u64::from_ne_bytes([key, key].concat().try_into().expect("eight bytes"));
    let mut words = out[start..].chunks_exact_mut(8);
    for word in &mut words {
        let masked = u64::from_ne_bytes((&*word).try_into().expect("eight bytes")) ^ wide;
        word.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip([key, key].as_flattened()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read, Write};
    use tungstenite::protocol::{Message, Role, WebSocket};

    /// What tungstenite reads from and writes to.
    struct Wire {
        input: Cursor<Vec<u8>>,
        output: Vec<u8>,
    }

    impl Read for Wire {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.input.read(out)
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.output.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn tungstenite_server(input: Vec<u8>) -> WebSocket<Wire> {
        WebSocket::from_raw_socket(Wire { input: Cursor::new(input), output: Vec::new() }, Role::Server, None)
    }

    const LENGTHS: [usize; 9] = [0, 1, 7, 8, 125, 126, 127, 65_535, 65_536];

    #[test]
    fn tungstenite_reads_what_we_write() {
        let mut bytes = Vec::new();
        for (i, length) in LENGTHS.iter().enumerate() {
            encode(Opcode::Text, "x".repeat(*length).as_bytes(), i as u64, &mut bytes);
        }
        let mut server = tungstenite_server(bytes);
        for length in LENGTHS {
            assert_eq!(server.read().unwrap(), Message::text("x".repeat(length)));
        }
    }

    #[test]
    fn we_read_what_tungstenite_writes_whole_and_cut_anywhere() {
        for length in LENGTHS {
            let mut server = tungstenite_server(Vec::new());
            server.send(Message::text("y".repeat(length))).unwrap();
            let mut bytes = std::mem::take(&mut server.get_mut().output);
            let end = bytes.len();
            for cut in (0..end.min(20)).chain([end - 1]) {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "{length} cut at {cut}");
            }
            bytes.extend_from_slice(b"trailing");
            let frame = decode(&bytes).unwrap().unwrap();
            assert_eq!((frame.fin, frame.opcode, frame.payload), (true, Opcode::Text, end - length..end));
        }
    }

    #[test]
    fn a_server_that_breaks_the_framing_is_named() {
        assert_eq!(decode(&[0xc1, 0]), Err(FrameError::Reserved));
        assert_eq!(decode(&[0x83, 0]), Err(FrameError::Opcode(3)));
        assert_eq!(decode(&[0x81, 0x80, 0, 0, 0, 0]), Err(FrameError::Masked));
        assert_eq!(decode(&[0x08, 0]), Err(FrameError::Control));
        assert_eq!(decode(&[0x88, 126, 0, 126]), Err(FrameError::Control));
        assert_eq!(decode(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]), Err(FrameError::Long(1 << 40)));
    }
}
