//! Responses to bytes: status line, fields, framing, content.
//!
//! The encoder alone writes `date`, `connection`, `content-length` and `transfer-encoding`, so that the framing on the wire is
//! always what was sent. A field whose name or value could end its line early never reaches the wire: such a
//! response is replaced by a bare 500 (RFC 9110 section 5.5; response splitting).

use super::request::Version;
use super::{is_field_name, is_field_value};
use crate::protocol::Roomy;
use std::borrow::Cow;

/// Fields of most responses: their list grows once.
const FIELDS_USUAL: usize = 8;

/// A response before it is put on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100 to 599.
    pub status: u16,
    /// Fields in order. Framing fields are the encoder's: here they are ignored, but for `connection` of a 101.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// The content. Not sent to HEAD, nor with 1xx, 204 and 304.
    pub body: Roomy,
}

/// What the connection and the request ask of a response.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The request was HEAD: fields as for GET, no content (RFC 9110 section 9.3.2).
    pub head_only: bool,
    /// Whether the connection stays open behind this response.
    pub keep_alive: bool,
    /// The version of the request.
    pub version: Version,
    /// The time in the form of RFC 9110 section 5.6.7, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub date: &'a str,
}

impl Response {
    /// A response without fields and content.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::with_capacity(FIELDS_USUAL), body: Roomy::default() }
    }

    /// The same response with one more field.
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same response with this content.
    pub fn with_body(mut self, content_type: &'static str, body: impl Into<Roomy>) -> Self {
        self.body = body.into();
        self.with_header("content-type", content_type)
    }

    /// The first value of a field, ignoring case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }

    /// Appends the whole response to `out`.
    pub fn encode(&self, out: &mut Vec<u8>, context: &Context<'_>) {
        out.reserve(512 + self.body.len());
        if self.encode_before_content(out, context) {
            out.extend_from_slice(&self.body);
        }
    }

    /// Appends the response up to its content. True: the content follows, and is the caller's to send; large ones need no copy then.
    #[must_use]
    pub fn encode_before_content(&self, out: &mut Vec<u8>, context: &Context<'_>) -> bool {
        if !self.is_sendable() {
            let _ = Self::new(500).encode_before_content(out, context);
            return false; // the content was that of the other response
        }
        self.encode_head(out, context);
        if !self.forbids_content() {
            encode_field(out, "content-length", itoa::Buffer::new().format(self.body.len()));
        }
        out.extend_from_slice(b"\r\n");
        !context.head_only && !self.forbids_content()
    }

    /// Appends the head of a response whose content is produced piece by piece, and returns what encodes the pieces. `body` is
    /// ignored. An HTTP/1.0 client knows no chunks: its content ends with the connection (RFC 9112 section 6.3).
    pub fn encode_stream(&self, out: &mut Vec<u8>, context: &Context<'_>) -> Stream {
        self.encode_stream_head(None, out, context)
    }

    /// The same for a content of `bytes` bytes: its pieces must be as many, or the connection end behind them.
    pub fn encode_sized_stream(&self, bytes: u64, out: &mut Vec<u8>, context: &Context<'_>) -> Stream {
        self.encode_stream_head(Some(bytes), out, context)
    }

    fn encode_stream_head(&self, length: Option<u64>, out: &mut Vec<u8>, context: &Context<'_>) -> Stream {
        if !self.is_sendable() {
            Self::new(500).encode(out, &Context { keep_alive: false, ..*context });
            return Stream { framing: StreamFraming::Silent, keep_alive: false };
        }
        let is_chunked = length.is_none() && context.version == Version::Http11;
        let keep_alive = context.keep_alive && (is_chunked || length.is_some());
        self.encode_head(out, &Context { keep_alive, ..*context });
        let has_content = !self.forbids_content();
        match length {
            Some(bytes) if has_content => encode_field(out, "content-length", itoa::Buffer::new().format(bytes)),
            None if has_content && is_chunked => encode_field(out, "transfer-encoding", "chunked"),
            _ => {}
        }
        out.extend_from_slice(b"\r\n");
        let framing = match (has_content && !context.head_only, is_chunked) {
            (false, _) => StreamFraming::Silent,
            (true, true) => StreamFraming::Chunked,
            (true, false) => StreamFraming::Plain,
        };
        Stream { framing, keep_alive }
    }

    fn encode_head(&self, out: &mut Vec<u8>, context: &Context<'_>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(itoa::Buffer::new().format(self.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(reason_phrase(self.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.headers {
            if !self.is_encoders(name) {
                encode_field(out, name, value);
            }
        }
        encode_field(out, "date", context.date);
        // RFC 9112 section 9.3, 9.6. A 101 carries its own `connection: upgrade`.
        match (self.status, context.keep_alive, context.version) {
            (101, ..) | (_, true, Version::Http11) => {}
            (_, true, Version::Http10) => encode_field(out, "connection", "keep-alive"),
            (_, false, _) => encode_field(out, "connection", "close"),
        }
    }

    /// RFC 9110 section 8.6 and 15.4.5: 1xx and 204 have neither content nor length; a 304 has no content, and its length would have
    /// to be that of the 200.
    fn forbids_content(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }

    fn is_encoders(&self, name: &str) -> bool {
        let is_connection = name.eq_ignore_ascii_case("connection") && self.status != 101;
        is_connection
            || ["date", "content-length", "transfer-encoding"].iter().any(|own| name.eq_ignore_ascii_case(own))
    }

    fn is_sendable(&self) -> bool {
        (100..600).contains(&self.status)
            && self.headers.iter().all(|(name, value)| is_field_name(name) && is_field_value(value))
    }
}

fn encode_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Encodes the content of a response begun with [`Response::encode_stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    framing: StreamFraming,
    keep_alive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamFraming {
    /// No content may be sent: HEAD, 204, 304, or a refused head.
    Silent,
    Chunked,
    /// As it is: it ends after a length that was said, or with the connection.
    Plain,
}

impl Stream {
    /// Whether the connection may stay open behind [`Self::encode_end`].
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Appends a piece of the content to `out`. An empty piece is nothing: an empty chunk would be the end.
    pub fn encode_piece(&self, piece: &[u8], out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        match self.framing {
            StreamFraming::Silent => {}
            StreamFraming::Plain => out.extend_from_slice(piece),
            StreamFraming::Chunked => {
                encode_hex(piece.len(), out);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends the end of the content to `out`.
    pub fn encode_end(&self, out: &mut Vec<u8>) {
        if self.framing == StreamFraming::Chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

/// A chunk size (RFC 9112 section 7.1) without leading zeros.
fn encode_hex(size: usize, out: &mut Vec<u8>) {
    let digits = size.max(1).ilog2() / 4 + 1;
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[size >> (4 * digit) & 15]));
}

/// The phrase that goes with a status (RFC 9110 section 15 and the registry); empty for one we never send.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        // The contract's error bodies (1.1) spell it as RFC 2616 did.
        413 => "Request Entity Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}
