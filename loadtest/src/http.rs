//! An HTTP/1.1 client connection: keep-alive, pipelining, bodies by length or in chunks.
//!
//! Requests are queued and flushed together; responses come back in order, borrowed from the input buffer. Does not
//! reconnect.

use crate::clock::now_ns;
use crate::target::Target;
use crate::wire::Wire;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::ops::Range;

/// Bytes of a response that are taken at the most.
const BODY_BYTES_MAX: usize = 256 << 20;

/// A keep-alive connection.
pub struct Http {
    wire: Wire,
    host: String,
    /// Bytes of the response last returned, still in the buffer.
    answered: usize,
    /// The body of a response in chunks, joined.
    joined: Vec<u8>,
}

/// One response.
#[derive(Debug)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// The whole body.
    pub body: &'a [u8],
    /// When its first byte, or the head of a response without body, had arrived.
    pub first_ns: u64,
}

impl Response<'_> {
    /// The body as text for a message to people, shortened.
    pub fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned()
    }
}

enum Length {
    Known(usize),
    Chunked,
}

struct Head {
    status: u16,
    bytes: usize,
    length: Length,
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn connect(target: &Target) -> Result<Self> {
        let wire = Wire::connect(target.address).await.with_context(|| format!("connecting to {}", target.address))?;
        Ok(Self { wire, host: target.host.clone(), answered: 0, joined: Vec::new() })
    }

    /// Queues a GET.
    pub fn get(&mut self, path: &str) {
        let Self { wire, host, .. } = self;
        write!(wire.output, "GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\n\r\n")
            .expect("a Vec takes all");
    }

    /// Queues a DELETE.
    pub fn delete(&mut self, path: &str) {
        let Self { wire, host, .. } = self;
        write!(wire.output, "DELETE {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").expect("a Vec takes all");
    }

    /// Queues a POST of JSON.
    pub fn post(&mut self, path: &str, body: &[u8]) {
        let Self { wire, host, .. } = self;
        let length = body.len();
        write!(
            wire.output,
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
        .expect("a Vec takes all");
        wire.output.extend_from_slice(body);
    }

    /// Writes what was queued.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn flush(&mut self) -> Result<()> {
        Ok(self.wire.flush().await?)
    }

    /// Bytes that ever arrived.
    pub fn bytes_total(&self) -> u64 {
        self.wire.bytes_total()
    }

    /// Waits for the response to the oldest request without one.
    ///
    /// # Errors
    /// Of the connection, after 30 s of silence, and when it is no HTTP/1.1 response.
    pub async fn response(&mut self) -> Result<Response<'_>> {
        self.wire.consume(std::mem::take(&mut self.answered));
        let head = loop {
            match parse_head(self.wire.bytes())? {
                Some(head) => break head,
                None => self.wire.fill().await?,
            }
        };
        let (first_ns, body) = match head.length {
            Length::Known(length) => {
                let first_ns = self.fill_to(head.bytes + length.min(1)).await?;
                self.fill_to(head.bytes + length).await?;
                self.answered = head.bytes + length;
                (first_ns, &self.wire.bytes()[head.bytes..head.bytes + length])
            }
            Length::Chunked => {
                let first_ns = self.join_chunks(head.bytes).await?;
                (first_ns, &self.joined[..])
            }
        };
        Ok(Response { status: head.status, body, first_ns })
    }

    /// Waits until `count` bytes stand in the buffer; returns when that was so.
    async fn fill_to(&mut self, count: usize) -> Result<u64> {
        while self.wire.bytes().len() < count {
            self.wire.fill().await?;
        }
        Ok(now_ns())
    }

    async fn join_chunks(&mut self, mut at: usize) -> Result<u64> {
        self.joined.clear();
        let mut first_ns = None;
        loop {
            let chunk = loop {
                match chunk_at(self.wire.bytes(), at)? {
                    Some(chunk) => break chunk,
                    None => self.wire.fill().await?,
                }
            };
            first_ns.get_or_insert_with(now_ns);
            self.fill_to(chunk.end + 2).await?;
            at = chunk.end + 2;
            if chunk.is_empty() {
                self.answered = at;
                return Ok(first_ns.unwrap_or_else(now_ns));
            }
            if self.joined.len() + chunk.len() > BODY_BYTES_MAX {
                bail!("a response is longer than {BODY_BYTES_MAX} bytes");
            }
            self.joined.extend_from_slice(&self.wire.bytes()[chunk]);
        }
    }
}

/// Where the data of the chunk at `at` stands; empty for the last one (trailers are not understood).
fn chunk_at(bytes: &[u8], at: usize) -> Result<Option<Range<usize>>> {
    match httparse::parse_chunk_size(&bytes[at.min(bytes.len())..]) {
        Ok(httparse::Status::Complete((line, size))) => {
            let size =
                usize::try_from(size).ok().filter(|size| *size <= BODY_BYTES_MAX).context("a chunk is too long")?;
            Ok(Some(at + line..at + line + size))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => bail!("the server sent a bad chunk size"),
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).context("the server's response head")? else {
        return Ok(None);
    };
    let status = response.code.context("a response without status")?;
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let body = if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        Length::Chunked
    } else if matches!(status, 100..=199 | 204 | 304) {
        Length::Known(0)
    } else {
        let text = value("content-length").context("a response with neither length nor chunks")?;
        let bytes: usize = text.parse().context("content-length is no number")?;
        if bytes > BODY_BYTES_MAX {
            bail!("a response is longer than {BODY_BYTES_MAX} bytes");
        }
        Length::Known(bytes)
    };
    Ok(Some(Head { status, bytes: length, length: body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_response_is_what_its_head_says() {
        let known = |head: &str| match parse_head(head.as_bytes()).unwrap().unwrap().length {
            Length::Known(length) => Some(length),
            Length::Chunked => None,
        };
        assert_eq!(known("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"), Some(12));
        assert_eq!(known("HTTP/1.1 204 No Content\r\n\r\n"), Some(0));
        assert_eq!(known("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), None);
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n").unwrap().is_none());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "a body without end would be read for ever");
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").is_err());
        assert!(parse_head(b"SMTP ready\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_are_found_and_bad_sizes_refused() {
        assert_eq!(chunk_at(b"xx5\r\nhello\r\n0\r\n\r\n", 2).unwrap(), Some(5..10));
        assert_eq!(chunk_at(b"0\r\n\r\n", 0).unwrap(), Some(3..3));
        assert_eq!(chunk_at(b"5", 0).unwrap(), None);
        assert_eq!(chunk_at(b"5\r\n", 9).unwrap(), None);
        assert!(chunk_at(b"zz\r\n", 0).is_err());
    }
}
