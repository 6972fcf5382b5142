//! The receiving half of one connection: bytes as they arrive become requests, in order.
//!
//! Invariants: each byte is looked at once however the bytes are cut; between two calls the decoder holds at most one
//! head, one body within its limit, and what was pushed since it last asked for more; after an error it repeats that error
//! and reads nothing further. It sends nothing: answers, timeouts and closing belong to the caller.

use super::body::{ChunkedBody, Framing};
use super::head::{self, HeadScan, Scan};
use super::request::{Headers, Method, Request, Version};

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the request line with its line end. Full: 414. RFC 9112 section 3 recommends at least 8000.
    pub request_line_bytes_max: usize,
    /// Bytes of the head with its final empty line. Full: 431.
    pub head_bytes_max: usize,
    /// Header lines. Full: 431.
    pub headers_max: usize,
    /// Bytes of the content. Full: 413, before it is buffered.
    pub body_bytes_max: usize,
    /// Bytes of the content of an upload ([`Step::Oversized`]); as many as `body_bytes_max`, or more. Full: 413.
    pub upload_bytes_max: usize,
}

/// Why a request is refused. The caller answers with `status` and closes the connection: where the next request
/// would begin is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {reason}")]
pub struct RequestError {
    /// Status of the response: 400, 413, 414, 417, 431, 501 or 505.
    pub status: u16,
    /// What is wrong, for people.
    pub reason: &'static str,
}

pub(super) fn refuse(status: u16, reason: &'static str) -> RequestError {
    RequestError { status, reason }
}

/// What the decoder has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing until more bytes are pushed.
    NeedMore,
    /// The client waits for [`super::CONTINUE`] before it sends the content: write it, then ask on.
    SendContinue,
    /// The head of an upload whose content is over `body_bytes_max`: nothing of that is taken before [`RequestDecoder::allow`].
    Oversized,
    /// A whole request.
    Request(Request),
}

/// Bytes to requests. See the module's invariants.
#[derive(Debug)]
pub struct RequestDecoder {
    limits: Limits,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done with.
    start: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Head(HeadScan),
    /// The content of `request`, of which so many bytes are still to come.
    Sized(Box<Request>, usize),
    Chunked(Box<Request>, ChunkedBody),
    /// So many bytes are announced; whether their sender waits for a word.
    Oversized(Box<Request>, usize, bool),
    Failed(RequestError),
}

/// An emptied buffer larger than this is given back: ten thousand idle connections should not keep what one large
/// body needed.
const BUFFER_BYTES_KEPT: usize = 16 * 1024;

/// Room taken for content on the word of a head alone. More is taken as the content arrives.
const BODY_BYTES_TRUSTED: usize = 64 * 1024;

impl RequestDecoder {
    /// A decoder at the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: Vec::new(), start: 0, state: State::Head(HeadScan::default()) }
    }

    /// Takes bytes that arrived. To stay within the limits call [`Self::next`] until it needs more before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        if let State::Failed(_) = self.state {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next request, if it is complete. Errors are final.
    #[allow(clippy::should_implement_trait)] // the name of the house for every decoder; there is no end to iterate to
    pub fn next(&mut self) -> Result<Step, RequestError> {
        let result = self.decode();
        if let Err(error) = result {
            self.state = State::Failed(error);
            self.release(self.buffer.len());
        }
        result
    }

    /// The head behind [`Step::Oversized`].
    pub fn oversized(&self) -> Option<&Request> {
        match &self.state {
            State::Oversized(request, ..) => Some(request),
            _ => None,
        }
    }

    /// The content behind [`Step::Oversized`] is wanted. Whether its sender waits for [`super::CONTINUE`].
    pub fn allow(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Head(HeadScan::default())) {
            State::Oversized(request, bytes, expects_continue) => {
                self.state = State::Sized(request, bytes);
                expects_continue && self.start == self.buffer.len()
            }
            state => {
                self.state = state;
                false
            }
        }
    }

    /// Whether nothing of a next request has arrived: the connection may be closed without cutting one off.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Head(_)) && self.start == self.buffer.len()
    }

    /// The bytes behind the last request, for the protocol that takes over after an upgrade.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.drain(..self.start);
        self.buffer
    }

    fn decode(&mut self) -> Result<Step, RequestError> {
        loop {
            match std::mem::replace(&mut self.state, State::Head(HeadScan::default())) {
                State::Head(scan) => {
                    if let Some(step) = self.decode_head(scan)? {
                        return Ok(step);
                    }
                }
                State::Sized(request, missing) => return Ok(self.decode_sized(request, missing)),
                State::Chunked(request, chunks) => return self.decode_chunked(request, chunks),
                state @ State::Oversized(..) => {
                    self.state = state;
                    return Ok(Step::Oversized);
                }
                State::Failed(error) => return Err(error),
            }
        }
    }

    /// `None` when the head is complete and its content is the next thing to decode.
    fn decode_head(&mut self, mut scan: HeadScan) -> Result<Option<Step>, RequestError> {
        let length = loop {
            match scan.advance(&self.buffer[self.start..], &self.limits)? {
                Scan::Complete(length) => break length,
                Scan::Skip(length) => self.release(length),
                Scan::Partial => {
                    self.state = State::Head(scan);
                    return Ok(Some(Step::NeedMore));
                }
            }
        };
        let request = head::parse(&self.buffer[self.start..self.start + length], scan.header_lines())?;
        let limits = match is_upload(&request) {
            true => Limits { body_bytes_max: self.limits.upload_bytes_max, ..self.limits },
            false => self.limits,
        };
        let framing = Framing::of(&request.headers, request.version, &limits)?;
        let expects_continue = expects_continue(&request.headers, request.version)?;
        self.release(length);
        if let Framing::Length(bytes) = framing
            && bytes > self.limits.body_bytes_max
        {
            self.state = State::Oversized(Box::new(request), bytes, expects_continue);
            return Ok(Some(Step::Oversized));
        }
        Ok(self.begin_body(request, framing, expects_continue))
    }

    fn begin_body(&mut self, mut request: Request, framing: Framing, expects_continue: bool) -> Option<Step> {
        match framing {
            // The common case, a request that arrived whole: one copy, no state.
            Framing::Length(length) if length <= self.buffer.len() - self.start => {
                request.body = self.buffer[self.start..self.start + length].to_vec();
                self.release(length);
                return Some(Step::Request(request));
            }
            Framing::Length(length) => {
                request.body.reserve_exact(length.min(BODY_BYTES_TRUSTED));
                self.state = State::Sized(Box::new(request), length);
            }
            Framing::Chunked => self.state = State::Chunked(Box::new(request), ChunkedBody::new()),
        }
        // RFC 9110 section 10.1.1: not needed once some of the content is here.
        (expects_continue && self.start == self.buffer.len()).then_some(Step::SendContinue)
    }

    fn decode_sized(&mut self, mut request: Box<Request>, missing: usize) -> Step {
        let arrived = &self.buffer[self.start..];
        let part = arrived.len().min(missing);
        request.body.extend_from_slice(&arrived[..part]);
        self.release(part);
        if part == missing {
            return Step::Request(*request);
        }
        self.state = State::Sized(request, missing - part);
        Step::NeedMore
    }

    fn decode_chunked(&mut self, mut request: Box<Request>, mut chunks: ChunkedBody) -> Result<Step, RequestError> {
        let (used, is_complete) = chunks.advance(&self.buffer[self.start..], &mut request.body, &self.limits)?;
        self.release(used);
        if is_complete {
            return Ok(Step::Request(*request));
        }
        self.state = State::Chunked(request, chunks);
        Ok(Step::NeedMore)
    }

    /// Marks bytes as done with. An emptied buffer starts over.
    fn release(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.buffer.len());
        if self.start < self.buffer.len() {
            return;
        }
        self.start = 0;
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
    }
}

/// Whether the content may be a file. Only of a length that is said before.
fn is_upload(request: &Request) -> bool {
    request.method == Method::Post && request.path.ends_with("/upload")
}

/// RFC 9110 section 10.1.1: `100-continue` is the only expectation there is, any other is 417; HTTP/1.0 cannot expect.
fn expects_continue(headers: &Headers, version: Version) -> Result<bool, RequestError> {
    if version == Version::Http10 {
        return Ok(false);
    }
    let mut expects = false;
    for expectation in headers.list("expect") {
        if !expectation.eq_ignore_ascii_case("100-continue") {
            return Err(refuse(417, "unknown expectation"));
        }
        expects = true;
    }
    Ok(expects)
}
