//! How long a request's content is, and the chunked coding.
//!
//! [`Framing::of`] decides from the head alone (RFC 9112 section 6.3), so that content over the limit is refused before a byte of
//! it is kept. [`ChunkedBody`] removes the chunked coding (section 7.1) byte by byte without a buffer of its own; extensions and
//! trailers are checked, bounded and dropped.

use super::connection::{Limits, RequestError, refuse};
use super::request::{Headers, Version};
use super::{is_token_byte, is_value_byte};

/// How the end of the content is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes; zero when the head names no length.
    Length(usize),
    /// The chunked coding.
    Chunked,
}

impl Framing {
    /// The framing a head asks for, or why it is refused.
    pub(super) fn of(headers: &Headers, version: Version, limits: &Limits) -> Result<Self, RequestError> {
        let mut lengths = headers.all("content-length");
        let length = lengths.next();
        let is_coded = headers.first("transfer-encoding").is_some();
        match (is_coded, length, lengths.next()) {
            (false, None, _) => Ok(Self::Length(0)),
            (false, Some(length), None) => content_length(length, limits),
            // RFC 9112 section 6.3 lets a recipient take equal repeated lengths as one; nobody honest sends them.
            (false, Some(_), Some(_)) => Err(refuse(400, "more than one Content-Length")),
            // RFC 9112 section 6.1, 6.3: both lengths ought to be handled as an error.
            (true, Some(_), _) => Err(refuse(400, "both Content-Length and Transfer-Encoding")),
            // RFC 9112 section 6.1: a 1.0 peer does not know the coding, so its framing is faulty.
            (true, None, _) if version == Version::Http10 => Err(refuse(400, "Transfer-Encoding in HTTP/1.0")),
            (true, None, _) => transfer_encoding(headers),
        }
    }
}

/// `1*DIGIT` (RFC 9110 section 8.6): no sign, no list, no overflow.
fn content_length(value: &str, limits: &Limits) -> Result<Framing, RequestError> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse(400, "malformed Content-Length"));
    }
    let length: u64 = value.parse().map_err(|_| refuse(400, "malformed Content-Length"))?;
    match usize::try_from(length) {
        Ok(length) if length <= limits.body_bytes_max => Ok(Framing::Length(length)),
        _ => Err(refuse(413, "content too large")),
    }
}

/// RFC 9112 section 6.1, 6.3: `chunked` exactly once and last, else 400; a coding before it that we do not know, 501.
///
/// Empty list elements are refused here although lists allow them elsewhere: `, chunked` is read differently by
/// different parties.
fn transfer_encoding(headers: &Headers) -> Result<Framing, RequestError> {
    let mut is_last = false;
    let mut others = 0;
    for coding in headers.all("transfer-encoding").flat_map(|value| value.split(',')) {
        let coding = coding.trim_matches([' ', '\t']);
        if is_last || coding.is_empty() {
            return Err(refuse(400, "malformed Transfer-Encoding"));
        }
        is_last = coding.eq_ignore_ascii_case("chunked");
        others += usize::from(!is_last);
    }
    match (is_last, others) {
        (true, 0) => Ok(Framing::Chunked),
        (true, _) => Err(refuse(501, "unknown transfer coding")),
        (false, _) => Err(refuse(400, "Transfer-Encoding does not end in chunked")),
    }
}

/// The chunked coding being removed.
#[derive(Debug)]
pub(super) struct ChunkedBody {
    state: State,
    /// Bytes of extensions and trailers seen so far.
    extra_bytes: usize,
    trailers: usize,
}

/// The byte expected next. Numbers are the current chunk's size, or what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    SizeFirst,
    Size(usize),
    /// Blanks between size and `;`.
    Blank(usize),
    Extension(usize),
    SizeLf(usize),
    Content(usize),
    ContentCr,
    ContentLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    FinalLf,
    Done,
}

impl ChunkedBody {
    pub(super) fn new() -> Self {
        Self { state: State::SizeFirst, extra_bytes: 0, trailers: 0 }
    }

    /// Appends the content found in `input` to `body`. Returns how much of `input` was used and whether the content is complete.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<(usize, bool), RequestError> {
        let mut used = 0;
        while self.state != State::Done && used < input.len() {
            if let State::Content(left) = self.state {
                let part = left.min(input.len() - used);
                body.extend_from_slice(&input[used..used + part]);
                used += part;
                self.state = if part == left { State::ContentCr } else { State::Content(left - part) };
            } else {
                self.state = self.framing_byte(input[used], body.len(), limits)?;
                used += 1;
            }
        }
        Ok((used, self.state == State::Done))
    }

    /// One byte outside of the content.
    fn framing_byte(&mut self, byte: u8, body_bytes: usize, limits: &Limits) -> Result<State, RequestError> {
        match (self.state, byte) {
            (State::SizeFirst, digit) if digit.is_ascii_hexdigit() => size_digit(0, digit, body_bytes, limits),
            (State::Size(size), digit) if digit.is_ascii_hexdigit() => {
                // Leading zeros do not change the size, so they are bounded like an extension.
                self.count_extra(usize::from(size == 0), limits)?;
                size_digit(size, digit, body_bytes, limits)
            }
            (State::Size(size) | State::Extension(size), b'\r') => Ok(State::SizeLf(size)),
            // RFC 9112 section 7.1.1: blanks around the semicolon are bad form, and to be accepted.
            (State::Size(size) | State::Blank(size), b' ' | b'\t') => self.extra(State::Blank(size), limits),
            (State::Size(size) | State::Blank(size), b';') => self.extra(State::Extension(size), limits),
            (State::Extension(size), byte) if is_value_byte(byte) => self.extra(State::Extension(size), limits),
            (State::SizeLf(0), b'\n') => Ok(State::TrailerStart),
            (State::SizeLf(size), b'\n') => Ok(State::Content(size)),
            (State::ContentCr, b'\r') => Ok(State::ContentLf),
            (State::ContentLf, b'\n') => Ok(State::SizeFirst),
            (State::ContentCr | State::ContentLf, _) => Err(refuse(400, "no CRLF after a chunk")),
            (state, byte) => self.trailer_byte(state, byte, limits),
        }
    }

    /// One byte of the trailer section (RFC 9112 section 7.1.2): field lines, then an empty line.
    fn trailer_byte(&mut self, state: State, byte: u8, limits: &Limits) -> Result<State, RequestError> {
        match (state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::FinalLf),
            (State::TrailerStart, byte) if is_token_byte(byte) => {
                self.trailers += 1;
                if self.trailers > limits.headers_max {
                    return Err(refuse(431, "too many trailer lines"));
                }
                self.extra(State::TrailerName, limits)
            }
            (State::TrailerName, byte) if is_token_byte(byte) => self.extra(State::TrailerName, limits),
            (State::TrailerName, b':') => self.extra(State::TrailerValue, limits),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if is_value_byte(byte) => self.extra(State::TrailerValue, limits),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::FinalLf, b'\n') => Ok(State::Done),
            _ => Err(refuse(400, "malformed chunked coding")),
        }
    }

    fn extra(&mut self, next: State, limits: &Limits) -> Result<State, RequestError> {
        self.count_extra(1, limits)?;
        Ok(next)
    }

    /// Extensions and trailers of a whole body get the room of one head: they carry nothing we use.
    fn count_extra(&mut self, bytes: usize, limits: &Limits) -> Result<(), RequestError> {
        self.extra_bytes += bytes;
        if self.extra_bytes > limits.head_bytes_max {
            return Err(refuse(431, "chunk extensions and trailers too long"));
        }
        Ok(())
    }
}

/// The size with one more hexadecimal digit. Whatever exceeds the limit is refused here, before the chunk arrives; that
/// also keeps the number far from overflow (RFC 9112 section 7.1).
fn size_digit(size: usize, digit: u8, body_bytes: usize, limits: &Limits) -> Result<State, RequestError> {
    let value = (digit as char).to_digit(16).ok_or(refuse(400, "malformed chunk size"))? as usize;
    let size = size.saturating_mul(16).saturating_add(value);
    if size > limits.body_bytes_max.saturating_sub(body_bytes) {
        return Err(refuse(413, "content too large"));
    }
    Ok(State::Size(size))
}
