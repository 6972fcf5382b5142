//! The pure parts of Phoenix's long polling (contract 3.8): batches in, bodies out, the token.
//!
//! Every body is sent with HTTP status 200 and carries the real status inside. Sessions, waiting and expiry are the
//! server's.

use super::{Malformed, Message, Vsn, decode_binary, decode_text, encode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::fmt;

/// Lines of one batch (Phoenix from 1.8.7). More: the batch is refused whole, so that none is lost in silence.
pub const BATCH_LINES_MAX: usize = 100;

/// Names a long-poll session: 128 random bits that nobody guesses, and the shard that holds it, so that any shard can ask it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// From a cryptographic source.
    pub random: u128,
    /// The holder.
    pub shard: u16,
}

const TOKEN_BYTES: usize = 18;

impl Token {
    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        // Its length first: base64 texts of other lengths must not be decoded into the array.
        let is_whole = text.len() == TOKEN_BYTES / 3 * 4;
        if !is_whole || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(TOKEN_BYTES) {
            return None;
        }
        let (random, shard) = bytes.split_at(16);
        Some(Self {
            random: u128::from_be_bytes(random.try_into().ok()?),
            shard: u16::from_be_bytes(shard.try_into().ok()?),
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..16].copy_from_slice(&self.random.to_be_bytes());
        bytes[16..].copy_from_slice(&self.shard.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// A token is a secret: logs show its holder only.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(.., shard {})", self.shard)
    }
}

/// Reads the body of a POST: one text frame, or with `is_ndjson` a frame per line, text if it begins like one and base64 of a
/// binary frame if not. Empty lines are passed over.
///
/// # Errors
/// [`Malformed`] for the first line that is no message, and for more than [`BATCH_LINES_MAX`] lines; nothing of
/// the batch is to be handled then.
pub fn decode_batch(vsn: Vsn, is_ndjson: bool, body: &[u8]) -> Result<Vec<Message<'static>>, Malformed> {
    if !is_ndjson {
        return Ok(vec![decode_text(vsn, text(body)?)?.into_owned()]);
    }
    let mut messages = Vec::new();
    for line in body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        if messages.len() == BATCH_LINES_MAX {
            return Err(Malformed("more than 100 lines in a batch"));
        }
        messages.push(decode_line(vsn, line)?);
    }
    Ok(messages)
}

fn decode_line(vsn: Vsn, line: &[u8]) -> Result<Message<'static>, Malformed> {
    if vsn == Vsn::V1 || line[0] == b'[' {
        return decode_text(vsn, text(line)?).map(Message::into_owned);
    }
    let frame = STANDARD.decode(line).map_err(|_| Malformed("a line is neither a text frame nor base64"))?;
    decode_binary(vsn, &frame).map(Message::into_owned)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("not UTF-8"))
}

/// The answer to a GET that opened a session: 410 stands for "a new session, this is its token".
pub fn opened(token: Token) -> Vec<u8> {
    with_messages::<&[u8]>(410, token, &[])
}

/// The answer to a GET of a session: its messages, or 204 when the wait was in vain.
pub fn polled(token: Token, messages: &[impl AsRef<[u8]>]) -> Vec<u8> {
    with_messages(if messages.is_empty() { 204 } else { 200 }, token, messages)
}

/// A bare status: 200 for a batch that was taken, 403 refused, 408 no answer in time, 410 no such session.
pub fn status(status: u16) -> Vec<u8> {
    format!(r#"{{"status":{status}}}"#).into_bytes()
}

fn with_messages<M: AsRef<[u8]>>(status: u16, token: Token, messages: &[M]) -> Vec<u8> {
    let mut out = format!(r#"{{"status":{status},"token":"{token}","messages":["#).into_bytes();
    for (place, message) in messages.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        encode::string(&String::from_utf8_lossy(message.as_ref()), &mut out);
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::*;
    use proptest::prelude::*;

    const TOKEN: Token = Token { random: u128::MAX / 3, shard: 513 };

    #[test]
    fn a_token_is_24_url_safe_characters_and_reads_back() {
        let text = TOKEN.to_string();
        assert_eq!(text, "VVVVVVVVVVVVVVVVVVVVVQIB");
        assert_eq!(Token::parse(&text), Some(TOKEN));
        for wrong in [
            "",
            "null",
            "VVVVVVVVVVVVVVVVVVVVVQI",
            "VVVVVVVVVVVVVVVVVVVVVQIBB",
            "VVVVVVVVVVVVVVVVVVVVVQI=",
            "VVVV+VVVVVVVVVVVVVVVVQIB",
        ] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_log_line_does_not_tell_the_token() {
        assert_eq!(format!("{TOKEN:?}"), "Token(.., shard 513)");
    }

    #[test]
    fn a_body_without_lines_is_one_text_frame() {
        let messages = decode_batch(Vsn::V2, false, br#"[null,"1","phoenix","heartbeat",{}]"#).unwrap();
        assert_eq!(messages.len(), 1);
        assert!(decode_batch(Vsn::V2, false, b"").is_err());
        assert!(decode_batch(Vsn::V2, false, b"\xff").is_err());
    }

    #[test]
    fn lines_are_text_frames_or_base64_of_binary_ones() {
        let binary = STANDARD.encode(b"\x00\x01\x01\x01\x0112te\xff");
        let body = format!("[null,\"1\",\"phoenix\",\"heartbeat\",{{}}]\r\n\n{binary}\n");
        let messages = decode_batch(Vsn::V2, true, body.as_bytes()).unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].event, "heartbeat");
        assert_eq!(messages[1].payload, Payload::Binary(vec![0xff].into()));
        assert_eq!(decode_batch(Vsn::V2, true, b"").unwrap(), []);
        for wrong in [&b"{}"[..], b"****", b"AQ==", b"[]", b"[1,2,3,4,5]\n[]"] {
            assert!(decode_batch(Vsn::V2, true, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_v1_line_is_an_object() {
        let line = br#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#;
        assert_eq!(decode_batch(Vsn::V1, true, line).unwrap().len(), 1);
    }

    #[test]
    fn a_batch_of_more_than_100_lines_is_refused_whole() {
        let line = "[null,null,\"phoenix\",\"heartbeat\",null]\n";
        assert_eq!(decode_batch(Vsn::V2, true, line.repeat(100).as_bytes()).unwrap().len(), 100);
        assert!(decode_batch(Vsn::V2, true, line.repeat(101).as_bytes()).is_err());
    }

    #[test]
    fn bodies_have_the_shapes_of_the_contract() {
        let text = |body: Vec<u8>| String::from_utf8(body).unwrap();
        let nothing: [&str; 0] = [];
        assert_eq!(text(opened(TOKEN)), r#"{"status":410,"token":"VVVVVVVVVVVVVVVVVVVVVQIB","messages":[]}"#);
        assert_eq!(text(polled(TOKEN, &nothing)), r#"{"status":204,"token":"VVVVVVVVVVVVVVVVVVVVVQIB","messages":[]}"#);
        assert_eq!(
            text(polled(TOKEN, &[r#"[null,"1"]"#, "é\n"])),
            r#"{"status":200,"token":"VVVVVVVVVVVVVVVVVVVVVQIB","messages":["[null,\"1\"]","é\n"]}"#
        );
        for code in [200, 403, 408, 410] {
            assert_eq!(text(status(code)), format!(r#"{{"status":{code}}}"#));
        }
    }

    proptest! {
        #[test]
        fn every_token_reads_back(random in any::<u128>(), shard in any::<u16>()) {
            let token = Token { random, shard };
            prop_assert_eq!(Token::parse(&token.to_string()), Some(token));
        }

        #[test]
        fn no_body_brings_a_batch_down(body in prop::collection::vec(any::<u8>(), 0..200), is_ndjson in any::<bool>()) {
            for vsn in [Vsn::V1, Vsn::V2] {
                prop_assert!(decode_batch(vsn, is_ndjson, &body).map_or(true, |messages| messages.len() <= BATCH_LINES_MAX));
            }
        }
    }
}
