//! A Phoenix socket's side of the wire: the upgrade, masked text frames out, whole frames in.

use super::{Step, excerpt};
use anyhow::{Context, Result, bail, ensure};
use memchr::memmem::find;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

/// A longer frame is not believed.
const FRAME_BYTES_MAX: u64 = 256 << 20;
/// The event of a channel message stands within its first bytes.
const EVENT_WITHIN: usize = 160;
/// Any key will do where nothing reads along (RFC 6455 section 5.3 protects proxies); one that differs in all bytes is masked honestly.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A request to upgrade, and what its answer must carry.
pub fn upgrade(path: &str) -> (Vec<u8>, String) {
    let key = generate_key();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
    );
    (request.into_bytes(), derive_accept_key(key.as_bytes()))
}

/// Checks the head of the answer; its length when it is whole.
pub fn upgraded(bytes: &[u8], accept: &str) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).context("the answer to an upgrade")? else {
        return Ok(None);
    };
    let said = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    ensure!(
        response.code == Some(101) && said.is_some_and(|header| header.value == accept.as_bytes()),
        "no upgrade: {}",
        excerpt(bytes)
    );
    Ok(Some(head))
}

/// Appends a masked text frame.
pub fn text(payload: &[u8], out: &mut Vec<u8>) {
    head(0x80, payload.len(), out);
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// The first bytes of a text frame (RFC 6455 section 5.2); `mask` is the bit that says whether it is masked.
fn head(mask: u8, payload_bytes: usize, out: &mut Vec<u8>) {
    out.push(0x81);
    match payload_bytes {
        length @ 0..=125 => out.push(mask | length as u8),
        length @ 126..=0xffff => {
            out.push(mask | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(mask | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Where the payload of the frame at the start begins and ends; `None` when it is not whole.
pub fn frame(bytes: &[u8]) -> Result<Option<std::ops::Range<usize>>> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    ensure!(first & 0xf0 == 0x80 && second & 0x80 == 0, "a frame of the server that is in pieces, masked or reserved");
    let wide = |range: std::ops::Range<usize>| {
        let bytes = bytes.get(range)?;
        Some(bytes.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte)))
    };
    let (head, length) = match second {
        126 => (4, wide(2..4)),
        127 => (10, wide(2..10)),
        short => (2, Some(u64::from(short))),
    };
    let Some(length) = length else { return Ok(None) };
    ensure!(length <= FRAME_BYTES_MAX, "a frame claims {length} bytes");
    ensure!(first != 0x88, "the server closed the socket: {}", excerpt(&bytes[head..]));
    let end = head + length as usize;
    Ok((end <= bytes.len()).then_some(head..end))
}

/// [`super::Codec`] of Phoenix: `phx_reply` with status ok is a reply, another status an error, other events are other things.
pub fn reply(bytes: &[u8]) -> Result<Step> {
    let Some(payload) = frame(bytes)? else { return Ok(Step::Partial) };
    let (end, message) = (payload.end, &bytes[payload]);
    let head = &message[..message.len().min(EVENT_WITHIN)];
    if find(head, br#","phx_reply",{"status":"ok""#).is_some() {
        return Ok(Step::Reply(end));
    }
    if find(head, b"phx_error").is_some() || find(head, b"phx_reply").is_some() {
        bail!("refused: {}", excerpt(message));
    }
    Ok(Step::Other(end))
}

#[cfg(test)]
mod tests {
    use super::super::tests::steps_of;
    use super::*;

    fn served(payload: &str) -> Vec<u8> {
        let mut out = Vec::new();
        head(0, payload.len(), &mut out);
        out.extend_from_slice(payload.as_bytes());
        out
    }

    #[test]
    fn replies_and_events_are_told_apart_wherever_they_are_cut() {
        let answer = served(r#"["1","2","session:x","phx_reply",{"status":"ok","response":{"seq":1}}]"#);
        let event = served(&format!(r#"[null,null,"session:x","message",{{"text":"{}"}}]"#, "x".repeat(300)));
        let long = served(&format!(r#"[null,null,"t","e",{{"text":"{}"}}]"#, "x".repeat(70_000)));
        let stream = [answer.clone(), event.clone(), answer.clone()].concat();
        let (a, e) = (Step::Reply(answer.len()), Step::Other(event.len()));
        assert_eq!(steps_of(reply, &stream), [a, e, a]);
        assert_eq!(reply(&long).unwrap(), Step::Other(long.len()));
    }

    #[test]
    fn a_refusal_and_a_close_are_errors() {
        let refused = served(r#"["1","2","t","phx_reply",{"status":"error","response":{"reason":"unauthorized"}}]"#);
        assert!(reply(&refused).unwrap_err().to_string().contains("unauthorized"));
        assert!(reply(&served(r#"["1","1","t","phx_error",{}]"#)).is_err());
        assert!(reply(&[0x88, 2, 3, 0xe8]).unwrap_err().to_string().contains("closed"));
    }

    #[test]
    fn tungstenite_reads_the_frames_that_are_written() {
        use tungstenite::protocol::{Message, Role, WebSocket};
        for length in [0, 125, 126, 65_535, 65_536] {
            let mut bytes = Vec::new();
            text("y".repeat(length).as_bytes(), &mut bytes);
            let input = std::io::Cursor::new(bytes);
            let mut server = WebSocket::from_raw_socket(input, Role::Server, None);
            assert_eq!(server.read().unwrap(), Message::text("y".repeat(length)));
        }
    }
}
