//! WebSocket frames by hand, for what a well-behaved client refuses to send.

use super::{Connection, Server, Stream};
use std::io::{Read, Write};

/// Opcodes of RFC 6455, 5.2.
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The key of RFC 6455, 1.3, and the answer it must get.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An upgraded connection.
pub struct RawSocket {
    stream: Stream,
    unread: Vec<u8>,
}

/// The head of an upgrade request with these header lines added.
pub fn upgrade_request(query: &str, more: &str) -> String {
    format!(
        "GET /socket/websocket?{query} HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n{more}\r\n"
    )
}

impl RawSocket {
    pub fn open(server: &Server) -> Self {
        let mut connection = server.connect();
        connection.send(upgrade_request("user_id=raw&vsn=2.0.0", ""));
        let answer = connection.answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        Self::after(connection)
    }

    /// Takes over a connection whose upgrade was answered.
    pub fn after(connection: Connection) -> Self {
        let (stream, unread) = connection.into_parts();
        Self { stream, unread }
    }

    /// Sends bytes as they are. The server may have closed already, which shows when it is read.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes).and_then(|()| self.stream.flush()) {
            assert!(super::http::is_end(&error), "sending failed: {error}");
        }
    }

    /// Sends a masked frame.
    pub fn frame(&mut self, last: bool, opcode: u8, payload: &[u8]) {
        self.send(&masked(last, opcode, payload));
    }

    /// Reads one frame: opcode and payload. Server frames are never masked.
    pub fn read(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2);
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] & 0x7f {
            126 => usize::from(u16::from_be_bytes(self.take(2).try_into().expect("two bytes"))),
            127 => u64::from_be_bytes(self.take(8).try_into().expect("eight bytes")) as usize,
            length => usize::from(length),
        };
        (head[0] & 0x0f, self.take(length))
    }

    /// Reads up to the close frame and gives its code; the connection must then end.
    pub fn close_code(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.read();
            if opcode == CLOSE {
                self.send(&masked(true, CLOSE, &payload));
                let mut rest = Vec::new();
                // A reset is an end as well: bytes of ours may have been on their way.
                let _ = self.stream.read_to_end(&mut rest);
                return u16::from_be_bytes(payload[..2].try_into().expect("a close frame names its code"));
            }
        }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut chunk = [0; 16 * 1024];
        while self.unread.len() < bytes {
            let read = self.stream.read(&mut chunk).expect("the server sends");
            assert!(read > 0, "the connection ended within a frame");
            self.unread.extend_from_slice(&chunk[..read]);
        }
        self.unread.drain(..bytes).collect()
    }
}

/// The bytes of a masked frame.
pub fn masked(last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = head(last, opcode, payload.len(), 0x80);
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The bytes of a frame without a mask, which a client must not send.
pub fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(true, opcode, payload.len(), 0);
    frame.extend(payload);
    frame
}

/// The first bytes of a frame with the shortest length that fits.
pub fn head(last: bool, opcode: u8, length: usize, mask_bit: u8) -> Vec<u8> {
    let mut head = vec![u8::from(last) << 7 | opcode];
    match length {
        0..126 => head.push(mask_bit | length as u8),
        126..65_536 => {
            head.push(mask_bit | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(mask_bit | 127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head
}
