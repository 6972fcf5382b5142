//! From the bytes of a head to a [`Request`] without content: httparse reads it, this file refuses what httparse lets
//! pass and RFC 9110 and 9112 do not.
//!
//! Two steps, so that bytes may arrive one by one at no extra cost: [`HeadScan`] looks at each byte once and finds the
//! end of the head, refusing bare line ends and whatever exceeds a limit; [`parse`] reads a complete head.

use super::connection::{Limits, RequestError, refuse};
use super::request::{Headers, Method, Request, Version};
use memchr::{memchr, memchr_iter};
use std::mem::MaybeUninit;

/// Empty lines skipped before a request line. RFC 9112 section 2.2 asks for at least one; old clients send it after a
/// POST.
const LEADING_LINES_MAX: usize = 2;

/// Header lines parsed without touching the heap; longer heads pay for one allocation.
const FIELDS_ON_STACK: usize = 32;

/// How far the search for the end of a head has come. Positions count from the first byte of the head.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    scanned: usize,
    line_start: usize,
    lines: usize,
    leading_lines: usize,
}

/// What a scan found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The head goes on.
    Partial,
    /// An empty line before the request line: this many bytes are to be dropped.
    Skip(usize),
    /// The head is complete; its length with the final empty line.
    Complete(usize),
}

impl HeadScan {
    /// Continues over `bytes`, which begin with the head and are at least as long as at the last call.
    pub(super) fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scan, RequestError> {
        loop {
            // Nothing beyond a limit is looked at, so the verdict is the same however the bytes were cut.
            let line_limit = if self.lines == 0 { limits.request_line_bytes_max } else { limits.head_bytes_max };
            let window = &bytes[..bytes.len().min(line_limit).min(limits.head_bytes_max)];
            let Some(found) = memchr(b'\n', &window[self.scanned..]) else {
                self.scanned = window.len();
                return if window.len() < bytes.len() { Err(self.too_long()) } else { Ok(Scan::Partial) };
            };
            let end = self.scanned + found;
            let line = complete_line(&window[self.line_start..end])?;
            self.scanned = end + 1;
            self.line_start = end + 1;
            match (line.is_empty(), self.lines) {
                (true, 0) => return self.skip_line(),
                (true, _) => return Ok(Scan::Complete(end + 1)),
                (false, 0) => check_request_line(line)?,
                (false, lines) if lines > limits.headers_max => return Err(refuse(431, "too many header lines")),
                (false, _) => {}
            }
            self.lines += 1;
        }
    }

    /// Header lines of a completed head.
    pub(super) fn header_lines(&self) -> usize {
        self.lines.saturating_sub(1)
    }

    fn too_long(&self) -> RequestError {
        if self.lines == 0 { refuse(414, "request line too long") } else { refuse(431, "head too long") }
    }

    fn skip_line(&mut self) -> Result<Scan, RequestError> {
        self.leading_lines += 1;
        if self.leading_lines > LEADING_LINES_MAX {
            return Err(refuse(400, "empty lines before the request line"));
        }
        let length = self.scanned;
        (self.scanned, self.line_start) = (0, 0);
        Ok(Scan::Skip(length))
    }
}

/// A line without its CRLF. RFC 9112 section 2.2 lets a recipient accept a bare LF and makes it refuse or replace a bare CR;
/// we refuse both, since every second opinion about where a line ends is a way to smuggle.
fn complete_line(line: &[u8]) -> Result<&[u8], RequestError> {
    let Some(content) = line.strip_suffix(b"\r") else {
        return Err(refuse(400, "bare LF in the head"));
    };
    if memchr(b'\r', content).is_some() {
        return Err(refuse(400, "bare CR in the head"));
    }
    Ok(content)
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3), judged as soon as the line is there so that a client
/// of another version is told at once.
fn check_request_line(line: &[u8]) -> Result<(), RequestError> {
    let mut spaces = memchr_iter(b' ', line);
    let (Some(first), Some(second), None) = (spaces.next(), spaces.next(), spaces.next()) else {
        return Err(refuse(400, "malformed request line"));
    };
    let (method, target, version) = (&line[..first], &line[first + 1..second], &line[second + 1..]);
    if method.is_empty() || !method.iter().copied().all(super::is_token_byte) {
        return Err(refuse(400, "malformed method"));
    }
    // RFC 3986 has ASCII only; browsers send some visible characters raw that it would encode, and those are harmless. A
    // fragment is never sent (RFC 9110 section 7.1).
    // To the end in any case: without a way out in the middle the compiler looks at many bytes at once.
    let is_visible = target.iter().fold(true, |so_far, &byte| so_far & byte.is_ascii_graphic() & (byte != b'#'));
    if target.is_empty() || !is_visible {
        return Err(refuse(400, "malformed request target"));
    }
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"))
        }
        _ => Err(refuse(400, "malformed version")),
    }
}

/// Reads a complete head that [`HeadScan`] let pass. The request has no content yet.
pub(super) fn parse(head: &[u8], header_lines: usize) -> Result<Request, RequestError> {
    if header_lines <= FIELDS_ON_STACK {
        return parse_with(head, &mut [const { MaybeUninit::uninit() }; FIELDS_ON_STACK]);
    }
    parse_with(head, &mut vec![MaybeUninit::uninit(); header_lines])
}

fn parse_with<'a>(head: &'a [u8], fields: &mut [MaybeUninit<httparse::Header<'a>>]) -> Result<Request, RequestError> {
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, fields) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        // Field names that are no tokens, blanks before the colon, folded lines (RFC 9112 section 5.1, 5.2), controls in values
        // (RFC 9110 section 5.5).
        Ok(_) | Err(_) => return Err(refuse(400, "malformed header line")),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(refuse(400, "malformed request line"));
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let mut headers = Headers::parsed(head, parsed.headers);
    check_host(&headers, version)?;
    let method = Method::parse(method);
    let target = Target::parse(target, &method)?;
    if let Some(authority) = target.authority {
        // RFC 9112 section 3.2.2: the target's authority counts and the Host field is ignored.
        headers.replace("host", authority);
    }
    let keep_alive = keep_alive(&headers, version);
    let (path, query) = (target.path.to_owned(), target.query.to_owned());
    Ok(Request { method, path, query, version, headers, body: Vec::new(), keep_alive, remote_user: None })
}

/// RFC 9112 section 3.2: no Host in HTTP/1.1, several, or an invalid one: 400.
fn check_host(headers: &Headers, version: Version) -> Result<(), RequestError> {
    let mut hosts = headers.all("host");
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::Http10 => Ok(()),
        (None, _) => Err(refuse(400, "no Host")),
        (Some(_), Some(_)) => Err(refuse(400, "more than one Host")),
        // Empty is what a client sends whose target has no authority (RFC 9110 section 7.2).
        (Some(host), None) if host.is_empty() || is_authority(host) => Ok(()),
        (Some(_), None) => Err(refuse(400, "malformed Host")),
    }
}

/// `uri-host [":" port]` (RFC 9110 section 7.2, RFC 3986 section 3.2.2), no user information.
fn is_authority(text: &str) -> bool {
    let (host_is_valid, port) = if let Some(literal) = text.strip_prefix('[') {
        let Some((address, after)) = literal.split_once(']') else { return false };
        let is_literal = |byte: u8| byte.is_ascii_alphanumeric() || b":.-_~!$&'()*+,;=".contains(&byte);
        (address.contains(':') && address.bytes().all(is_literal), after)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (is_registered_name(host), port)
    };
    let port_is_valid =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    host_is_valid && port_is_valid
}

/// `reg-name` (RFC 3986 section 3.2.2), not empty. IPv4 addresses are among them.
fn is_registered_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    let is_valid = |(at, &byte): (usize, &u8)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        _ => is_plain(byte),
    };
    !bytes.is_empty() && bytes.iter().enumerate().all(is_valid)
}

/// The parts of a request target (RFC 9112 section 3.2).
struct Target<'a> {
    authority: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl<'a> Target<'a> {
    fn parse(target: &'a str, method: &Method) -> Result<Self, RequestError> {
        match target.as_bytes() {
            // Authority-form is for proxies, and we are none (RFC 9112 section 3.2.3).
            _ if *method == Method::Connect => Err(refuse(400, "this server is no proxy")),
            [b'/', ..] => Ok(Self::origin(None, target)),
            // RFC 9112 section 3.2.4: asterisk-form is for OPTIONS alone.
            b"*" if *method == Method::Options => Ok(Self::origin(None, target)),
            _ => Self::absolute(target),
        }
    }

    /// RFC 9112 section 3.2.2: a server accepts absolute-form although clients send it to proxies only.
    fn absolute(target: &'a str) -> Result<Self, RequestError> {
        let malformed = || refuse(400, "malformed request target");
        let (scheme, rest) = target.split_once("://").ok_or_else(malformed)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(malformed());
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // An empty host is invalid in http(s) (RFC 9110 section 4.2.1), user information is refused (section 4.2.4).
        if !is_authority(authority) {
            return Err(malformed());
        }
        Ok(Self::origin(Some(authority), path))
    }

    /// Splits `path?query`. An empty path is `/` (RFC 9110 section 4.2.3).
    fn origin(authority: Option<&'a str>, text: &'a str) -> Self {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        Self { authority, path: if path.is_empty() { "/" } else { path }, query }
    }
}

/// RFC 9112 section 9.3: `close` always wins, 1.1 stays open, 1.0 stays open when it asks to.
fn keep_alive(headers: &Headers, version: Version) -> bool {
    !headers.lists("connection", "close") && (version == Version::Http11 || headers.lists("connection", "keep-alive"))
}
