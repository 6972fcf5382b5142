//! The protocols of all contenders as small pure codecs: bytes of requests, and what stands at the start of the bytes that arrived.
//!
//! They know as much of each protocol as the comparison needs, are written independently of the server's own codecs, and do no I/O. A reply
//! that is not a success is an error here, so no loop can count one.

pub mod http;
pub mod nats;
pub mod postgres;
pub mod resp;
pub mod websocket;

use anyhow::Result;

/// What stands at the start of the bytes that arrived, with its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing whole.
    Partial,
    /// The successful answer to the oldest request without one.
    Reply(usize),
    /// Something that answers nothing: a push, a heartbeat.
    Other(usize),
}

/// Reads the start of the bytes that arrived.
///
/// # Errors
/// When the answer is a refusal, or the bytes are not of the protocol.
pub type Codec = fn(&[u8]) -> Result<Step>;

/// A few of these bytes for a message to people.
pub fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

/// The whole number that `digits` begin with; `None` without one or with more than 18 digits.
pub fn number(digits: &[u8]) -> Option<u64> {
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 18 {
        return None;
    }
    Some(digits[..count].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// The whole number behind the first `mark`.
pub fn number_after(bytes: &[u8], mark: &str) -> Option<u64> {
    let at = memchr::memmem::find(bytes, mark.as_bytes())?;
    number(&bytes[at + mark.len()..])
}

/// The text between the first `mark` and the quote behind it.
pub fn text_after<'a>(bytes: &'a [u8], mark: &str) -> Option<&'a str> {
    let at = memchr::memmem::find(bytes, mark.as_bytes())? + mark.len();
    let end = memchr::memchr(b'"', &bytes[at..])?;
    std::str::from_utf8(&bytes[at..at + end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps through `stream` cut at every place: a codec must find the same whatever arrives together.
    pub fn steps_of(codec: Codec, stream: &[u8]) -> Vec<Step> {
        let whole = walk(codec, stream, stream.len());
        for cut in 0..stream.len() {
            assert_eq!(walk(codec, stream, cut), whole, "cut at {cut}");
        }
        whole
    }

    fn walk(codec: Codec, stream: &[u8], cut: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = 0;
        for end in [cut, stream.len()] {
            loop {
                match codec(&stream[at..end]).unwrap() {
                    Step::Partial => break,
                    step @ (Step::Reply(bytes) | Step::Other(bytes)) => {
                        assert!(bytes > 0 && at + bytes <= end, "a step stays within what arrived");
                        at += bytes;
                        steps.push(step);
                    }
                }
            }
        }
        assert_eq!(at, stream.len(), "everything was understood");
        steps
    }

    #[test]
    fn numbers_and_texts_are_found_behind_their_marks() {
        assert_eq!(number_after(br#"{"seq":42,"seq":7}"#, r#""seq":"#), Some(42));
        assert_eq!(number_after(br#"{"seq":x}"#, r#""seq":"#), None);
        assert_eq!(number(b"9999999999999999999"), None);
        assert_eq!(text_after(br#"{"id":"abc","x":1}"#, r#""id":""#), Some("abc"));
        assert_eq!(text_after(br#"{"id":"abc"#, r#""id":""#), None);
    }
}
