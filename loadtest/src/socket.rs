//! A Phoenix socket of one client: handshake, frames, heartbeats, joins.
//!
//! The handshake's key and its answer are tungstenite's; frames are [`crate::frame`]'s. A message is borrowed from the input buffer; a
//! fragmented one is joined first.

use crate::clock::{nanos, now_ns};
use crate::content::mix;
use crate::frame::{self, Opcode};
use crate::phoenix::{self, Incoming};
use crate::target::Target;
use crate::wire::{Filled, Wire};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::ops::Range;
use std::time::Duration;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

/// Silence towards the server that a heartbeat breaks: half of Phoenix's idle timeout, as the npm client does.
const HEARTBEAT_NS: u64 = 30_000_000_000;
/// Bytes of a fragmented message at the most.
const JOINED_BYTES_MAX: usize = 64 << 20;
/// The ref of heartbeats; scenarios number theirs from 1.
const HEARTBEAT_REF: u64 = 0;

/// An open socket.
pub struct Socket {
    wire: Wire,
    fragments: Vec<u8>,
    fragmented: bool,
    frames: u64,
    flushed_ns: u64,
    text: Vec<u8>,
}

enum Place {
    Input(Range<usize>),
    Fragments,
}

impl Socket {
    /// Opens a socket; `identity` is `user_id=ID` or `agent_id=ID`.
    ///
    /// # Errors
    /// Of the connection, after 30 s of silence, and when the server does not upgrade as RFC 6455 section 4.2.2 says.
    pub async fn connect(target: &Target, identity: &str) -> Result<Self> {
        let mut wire =
            Wire::connect(target.address).await.with_context(|| format!("connecting to {}", target.address))?;
        let key = generate_key();
        write!(
            wire.output,
            "GET /socket/websocket?{identity}&vsn=2.0.0 HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n",
            target.host
        )
        .expect("a Vec takes all");
        wire.flush().await?;
        let head = loop {
            match accepted(wire.bytes(), &key)? {
                Some(head) => break head,
                None => wire.fill().await.context("waiting for the WebSocket upgrade")?,
            }
        };
        wire.consume(head);
        Ok(Self { wire, fragments: Vec::new(), fragmented: false, frames: 0, flushed_ns: now_ns(), text: Vec::new() })
    }

    /// Queues a channel message. `join_ref` of 0 is null.
    pub fn push(&mut self, join_ref: u64, reference: u64, topic: &str, event: &str, payload: &[u8]) {
        self.text.clear();
        phoenix::write(&mut self.text, join_ref, reference, topic, event, payload);
        self.frames += 1;
        frame::encode(Opcode::Text, &self.text, mix(self.frames), &mut self.wire.output);
    }

    /// Writes what was queued, and a heartbeat when nothing was written for long.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn flush(&mut self) -> Result<()> {
        let now_ns = now_ns();
        if now_ns - self.flushed_ns > HEARTBEAT_NS {
            self.push(0, HEARTBEAT_REF, "phoenix", "heartbeat", b"{}");
        }
        if !self.wire.output.is_empty() {
            self.flushed_ns = now_ns;
            self.wire.flush().await?;
        }
        Ok(())
    }

    /// Waits for input until `deadline_ns` at the most, and keeps the socket alive meanwhile.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn fill_until(&mut self, deadline_ns: u64) -> Result<Filled> {
        self.flush().await?;
        Ok(self.wire.fill_until(deadline_ns).await?)
    }

    /// Bytes that ever arrived.
    pub fn bytes_total(&self) -> u64 {
        self.wire.bytes_total()
    }

    /// The next channel message that has arrived in full. Answers pings on the way.
    ///
    /// # Errors
    /// When the server closes, breaks RFC 6455, or sends what is no channel message.
    pub fn pop(&mut self) -> Result<Option<Incoming<'_>>> {
        let Some(place) = self.next_message()? else { return Ok(None) };
        let text = match place {
            Place::Input(taken) => self.wire.taken(taken),
            Place::Fragments => &self.fragments,
        };
        let Some(incoming) = phoenix::parse(text) else {
            bail!("no channel message: {}", String::from_utf8_lossy(&text[..text.len().min(200)]));
        };
        Ok(Some(incoming))
    }

    fn next_message(&mut self) -> Result<Option<Place>> {
        while let Some(frame) = frame::decode(self.wire.bytes())? {
            let payload = frame.payload.clone();
            match frame.opcode {
                Opcode::Text if frame.fin && !self.fragmented => {
                    return Ok(Some(Place::Input(self.wire.take(payload))));
                }
                Opcode::Text if !self.fragmented => {
                    self.fragments.clear();
                    self.fragments.extend_from_slice(&self.wire.bytes()[payload]);
                    self.fragmented = true;
                }
                Opcode::Continuation if self.fragmented => {
                    self.fragments.extend_from_slice(&self.wire.bytes()[payload]);
                    if self.fragments.len() > JOINED_BYTES_MAX {
                        bail!("a message is longer than {JOINED_BYTES_MAX} bytes");
                    }
                    self.fragmented = !frame.fin;
                }
                Opcode::Ping => {
                    let echo = self.wire.bytes()[payload].to_vec();
                    self.frames += 1;
                    frame::encode(Opcode::Pong, &echo, mix(self.frames), &mut self.wire.output);
                }
                Opcode::Pong => {}
                Opcode::Close => bail!("the server closed the socket: {}", close_reason(&self.wire.bytes()[payload])),
                Opcode::Text | Opcode::Continuation | Opcode::Binary => {
                    bail!("a frame out of order: {:?}", frame.opcode)
                }
            }
            self.wire.consume(frame.payload.end);
            if frame.opcode == Opcode::Continuation && frame.fin {
                return Ok(Some(Place::Fragments));
            }
        }
        Ok(None)
    }

    /// Joins `topic` with `reference` as join_ref and ref and hands the response to `read`. Events that come before the reply are refused:
    /// a channel is silent until it is joined.
    ///
    /// # Errors
    /// When the join is refused or not answered, and of the connection.
    pub async fn join<T>(
        &mut self,
        reference: u64,
        topic: &str,
        payload: &str,
        read: impl FnOnce(&str) -> Result<T>,
    ) -> Result<T> {
        self.push(reference, reference, topic, "phx_join", payload.as_bytes());
        let deadline_ns = now_ns() + nanos(Duration::from_secs(30));
        loop {
            while let Some(incoming) = self.pop()? {
                if incoming.topic != topic {
                    continue;
                }
                if incoming.event != "phx_reply" {
                    bail!("{} on {topic} before it was joined", incoming.event);
                }
                let reply: phoenix::Reply = serde_json::from_str(incoming.payload)?;
                if reply.status != "ok" {
                    bail!("join of {topic} was refused: {}", reply.response.get());
                }
                return read(reply.response.get());
            }
            if self.fill_until(deadline_ns).await? == Filled::Due {
                bail!("join of {topic} was not answered in 30 s");
            }
        }
    }
}

/// Checks the server's answer to the handshake with `key`; its length when it is there in full.
///
/// # Errors
/// When it does not upgrade, or does not answer this key.
pub fn accepted(bytes: &[u8], key: &str) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).context("the answer to the WebSocket handshake")?
    else {
        return Ok(None);
    };
    let status = response.code.context("a response without status")?;
    if status != 101 {
        bail!("the server does not upgrade to WebSocket: status {status}");
    }
    let accept = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    if accept.is_none_or(|header| header.value != derive_accept_key(key.as_bytes()).as_bytes()) {
        bail!("the server's sec-websocket-accept does not answer our key");
    }
    Ok(Some(length))
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!("code {} {}", u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason))
        }
        _ => "no code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_to_our_key_is_accepted() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let head = |status: &str, accept: &str| {
            format!(
                "HTTP/1.1 {status}\r\nupgrade: websocket\r\nconnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )
        };
        let good = head("101 Switching Protocols", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accepted(good.as_bytes(), key).unwrap(), Some(good.len()));
        assert_eq!(accepted(&good.as_bytes()[..40], key).unwrap(), None);
        assert!(accepted(head("101 Switching Protocols", "other").as_bytes(), key).is_err());
        assert!(accepted(head("403 Forbidden", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").as_bytes(), key).is_err());
    }

    #[test]
    fn a_close_is_told_with_its_code() {
        assert_eq!(close_reason(&[0x03, 0xf4, b'b', b'y', b'e']), "code 1012 bye");
        assert_eq!(close_reason(&[]), "no code");
    }
}
