//! A decoded request: method, target, headers, body.
//!
//! The head is kept as one text with positions into it, not as a string per header. Names compare without case. Nothing
//! here decides whether a request is acceptable: `head` and `body` did that before.

use std::fmt;

/// One whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, case-sensitive (RFC 9110 section 9.1).
    pub method: Method,
    /// The target's path as it came, percent-encoded, without the query. `*` for `OPTIONS *`.
    pub path: String,
    /// What followed the `?`, as it came; empty when there was none.
    pub query: String,
    /// The version the client speaks.
    pub version: Version,
    /// The head's fields in order of arrival. With an absolute-form target `host` is the target's authority.
    pub headers: Headers,
    /// The content, its chunked coding removed.
    pub body: Vec<u8>,
    /// Whether the client expects the connection to stay open after the response (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// As whom it acts, where somebody has made sure of that. Nothing that a client sends is ever put here.
    pub remote_user: Option<Box<RemoteUser>>,
}

/// The user behind a request, as CGI's `REMOTE_USER` (RFC 3875 section 4.1.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteUser {
    /// Its id.
    pub name: String,
    /// Among whose users it is one; blank where there is one kind of users only.
    pub realm: String,
    /// The request may act as no other; else this is whom it acts as when it names none.
    pub is_fixed: bool,
}

impl Request {
    /// A request as if it had come over HTTP/1.1, for callers without a connection and for tests. `target` is
    /// split at the first `?`.
    pub fn new(method: Method, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            version: Version::Http11,
            headers: Headers::default(),
            body: Vec::new(),
            keep_alive: true,
            remote_user: None,
        }
    }

    /// The same request with one more field.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same request with this content.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// A request method (RFC 9110 section 9, RFC 5789). Any other token is [`Method::Other`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the methods
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Connect,
    Trace,
    /// A method we give no meaning to.
    Other(String),
}

impl Method {
    /// The method with this exact name.
    pub fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "CONNECT" => Self::Connect,
            "TRACE" => Self::Trace,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Connect => "CONNECT",
            Self::Trace => "TRACE",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The versions we speak. Every other is refused with 505.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, closes unless asked to keep alive.
    Http10,
    /// HTTP/1.1: persistent unless asked to close.
    Http11,
}

/// Fields in order of arrival. Lookups ignore case and walk the list: heads are short.
///
/// A value that is not UTF-8 (RFC 9110 section 5.5 calls it opaque) has its stray bytes replaced by U+FFFD.
#[derive(Clone, Default)]
pub struct Headers {
    text: String,
    fields: Vec<Field>,
}

/// Where a field's name and value stand in the text.
#[derive(Clone, Copy)]
struct Field {
    name: Span,
    value: Span,
}

/// Byte range of the text. 32 bits, since a head is a few KiB.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let narrow = |position| u32::try_from(position).expect("a head is shorter than 4 GiB");
        Self { start: narrow(start), end: narrow(end) }
    }

    /// Where `part` lies within `whole`, of which it is a sub-slice.
    fn within(whole: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self::new(start, start + part.len())
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

impl Headers {
    /// The fields httparse found in `head`, sharing one copy of it.
    pub(super) fn parsed(head: &[u8], fields: &[httparse::Header<'_>]) -> Self {
        let Ok(text) = std::str::from_utf8(head) else {
            let mut headers = Self::default();
            for field in fields {
                headers.push(field.name, &String::from_utf8_lossy(field.value));
            }
            return headers;
        };
        let spans = |field: &httparse::Header<'_>| Field {
            name: Span::within(head, field.name.as_bytes()),
            value: Span::within(head, field.value),
        };
        Self { text: text.to_owned(), fields: fields.iter().map(spans).collect() }
    }

    /// The first value of a field.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a field, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = move |field: &&Field| {
            field.name.len() == name.len() && field.name.of(&self.text).eq_ignore_ascii_case(name)
        };
        self.fields.iter().filter(named).map(|field| field.value.of(&self.text))
    }

    /// The elements of a comma-separated list field over all its lines, blanks trimmed, empty elements left out
    /// (RFC 9110 section 5.6.1).
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }

    /// Whether a list field names this token, ignoring case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }

    /// Name and value of every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (field.name.of(&self.text), field.value.of(&self.text)))
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: &str, value: &str) {
        let name = self.store(name);
        let value = self.store(value);
        self.fields.push(Field { name, value });
    }

    /// Gives the first field of this name another value.
    pub(super) fn replace(&mut self, name: &str, value: &str) {
        let value = self.store(value);
        let text = &self.text;
        if let Some(field) = self.fields.iter_mut().find(|field| field.name.of(text).eq_ignore_ascii_case(name)) {
            field.value = value;
        }
    }

    fn store(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span::new(start, self.text.len())
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_without_regard_to_case_and_kept_in_order() {
        let request = Request::new(Method::Get, "/a?b?c").with_header("X-One", "1").with_header("x-ONE", "2");
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/a", "b?c"));
        assert_eq!(request.headers.first("x-one"), Some("1"));
        assert_eq!(request.headers.all("x-one").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(request.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["X-One", "x-ONE"]);
        assert_eq!(request.headers.first("x-two"), None);
    }

    #[test]
    fn a_list_runs_over_all_lines_and_skips_empty_elements() {
        let request =
            Request::new(Method::Get, "/").with_header("connection", "a, ,b").with_header("Connection", "\tUpgrade ");
        assert_eq!(request.headers.list("connection").collect::<Vec<_>>(), ["a", "b", "Upgrade"]);
        assert!(request.headers.lists("connection", "upgrade"));
        assert!(!request.headers.lists("connection", "close"));
    }

    #[test]
    fn every_method_survives_its_name() {
        for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", "BREW"] {
            assert_eq!(Method::parse(name).as_str(), name);
        }
        assert_eq!(Method::parse("get"), Method::Other("get".to_owned()));
    }
}
