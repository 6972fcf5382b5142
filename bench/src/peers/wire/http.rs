//! HTTP/1.1 requests and replies whose length their head names.

use super::{Step, excerpt};
use anyhow::{Context, Result, bail};
use std::io::Write;

const TYPE_JSON: &str = "application/json";

/// A request without a body.
pub fn bare(method: &str, path: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// A request whose body is JSON.
pub fn json(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    with_body(method, path, TYPE_JSON, body)
}

/// A request with a body of any type.
pub fn with_body(method: &str, path: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(160 + body.len());
    write!(
        out,
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .expect("a Vec takes all");
    out.extend_from_slice(body);
    out
}

/// [`super::Codec`] of responses; anything but 2xx is an error.
pub fn reply(bytes: &[u8]) -> Result<Step> {
    let Some((head, body)) = lengths(bytes)? else { return Ok(Step::Partial) };
    Ok(if head + body <= bytes.len() { Step::Reply(head + body) } else { Step::Partial })
}

/// The body of a whole response.
pub fn body(response: &[u8]) -> &[u8] {
    let head = memchr::memmem::find(response, b"\r\n\r\n").map_or(response.len(), |at| at + 4);
    &response[head..]
}

/// Bytes of the head and of the body at the start of `bytes`; `None` while the head is not whole.
fn lengths(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).context("no HTTP response")? else {
        return Ok(None);
    };
    let status = response.code.context("a response without status")?;
    if !(200..300).contains(&status) {
        bail!("refused: {}", excerpt(bytes));
    }
    if status == 204 {
        return Ok(Some((head, 0)));
    }
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.with_context(|| format!("a response without a length: {}", excerpt(bytes)))?;
    let body = std::str::from_utf8(length.value)?.trim().parse().context("content-length")?;
    Ok(Some((head, body)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::steps_of;
    use super::*;

    #[test]
    fn pipelined_responses_are_told_apart_wherever_they_are_cut() {
        let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 204 No Content\r\nx: y\r\n\r\n";
        assert_eq!(steps_of(reply, stream), [Step::Reply(43), Step::Reply(33)]);
        assert_eq!(body(&stream[..43]), b"hello");
    }

    #[test]
    fn a_refusal_is_an_error_before_its_body_came() {
        let error = reply(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 900\r\n\r\n").unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        assert!(reply(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "a response without end would be waited for for ever");
    }

    #[test]
    fn a_request_says_the_length_of_its_body() {
        let request = String::from_utf8(json("POST", "/x", b"{}")).unwrap();
        assert!(
            request.starts_with("POST /x HTTP/1.1\r\n") && request.ends_with("content-length: 2\r\n\r\n{}"),
            "{request}"
        );
    }
}
