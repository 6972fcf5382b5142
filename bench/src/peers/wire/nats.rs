//! The client protocol of NATS, as far as publishing with an acknowledgement and subscribing need it.

use super::{Step, excerpt};
use anyhow::{Context, Result, bail};
use std::io::Write;

/// What a client says first. Errors are told, successes are not.
pub const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"bench\"}\r\n";
/// Answered with `PONG`, which [`reply`] counts: a way to know that what went before was taken.
pub const PING: &[u8] = b"PING\r\n";

/// A message to `subject`, to be answered to `answer` if that is given.
pub fn publish(subject: &str, answer: Option<&str>, payload: &[u8], out: &mut Vec<u8>) {
    match answer {
        Some(answer) => write!(out, "PUB {subject} {answer} {}\r\n", payload.len()),
        None => write!(out, "PUB {subject} {}\r\n", payload.len()),
    }
    .expect("a Vec takes all");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Subscribes to `subject`.
pub fn subscribe(subject: &str) -> Vec<u8> {
    format!("SUB {subject} 1\r\n").into_bytes()
}

/// [`super::Codec`] where every message answers a request, as acknowledgements of JetStream and answers of its API do; the payload must not
/// speak of an error.
pub fn reply(bytes: &[u8]) -> Result<Step> {
    let Some(line) = memchr::memmem::find(bytes, b"\r\n") else { return Ok(Step::Partial) };
    let (head, end) = (&bytes[..line], line + 2);
    if !head.starts_with(b"MSG ") {
        return match head {
            b"PONG" => Ok(Step::Reply(end)),
            _ if head.starts_with(b"INFO ") || head == b"PING" || head == b"+OK" => Ok(Step::Other(end)),
            _ => bail!("refused: {}", excerpt(bytes)),
        };
    }
    let length = head.rsplit(|byte| *byte == b' ').next().and_then(super::number);
    let length = length.with_context(|| format!("a message without a length: {}", excerpt(bytes)))? as usize;
    let Some(payload) = bytes.get(end..end + length + 2) else { return Ok(Step::Partial) };
    if memchr::memmem::find(payload, br#""error":"#).is_some() {
        bail!("refused: {}", excerpt(payload));
    }
    Ok(Step::Reply(end + length + 2))
}

#[cfg(test)]
mod tests {
    use super::super::tests::steps_of;
    use super::*;

    #[test]
    fn messages_and_signals_are_told_apart_wherever_they_are_cut() {
        let stream = b"INFO {\"x\":1}\r\nMSG i 1 12\r\n{\"seq\":\r\n12}\r\nPONG\r\nPING\r\n";
        assert_eq!(steps_of(reply, stream), [Step::Other(14), Step::Reply(26), Step::Reply(6), Step::Other(6)]);
    }

    #[test]
    fn refusals_are_errors_whether_of_the_server_or_of_jetstream() {
        assert!(reply(b"-ERR 'Unknown'\r\n").is_err());
        assert!(reply(b"MSG i 1 20\r\n{\"error\":{\"code\":400\r\n").unwrap_err().to_string().contains("400"));
    }

    #[test]
    fn a_publication_names_its_length_and_where_to_answer() {
        let mut out = Vec::new();
        publish("m.1", Some("i"), b"abc", &mut out);
        publish("m.1", None, b"", &mut out);
        assert_eq!(out, b"PUB m.1 i 3\r\nabc\r\nPUB m.1 0\r\n\r\n");
    }
}
