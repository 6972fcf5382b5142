//! From a caller's URL, headers and body to a request and where it goes; and from a head to when to come back. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use super::error::CallError;

/// Whom a connection leads to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) is_tls: bool,
    pub(super) host: Place,
    pub(super) port: u16,
}

/// A name to look up, or an address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// A URL, taken apart.
pub(super) struct Target {
    pub(super) origin: Origin,
    /// The value of `Host`.
    authority: String,
    /// The request's target in origin form; fragments are not sent.
    path_and_query: String,
    /// `Authorization` from `user:password@` in the URL.
    credentials: Option<String>,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`CallError::InvalidUrl`] and [`CallError::UnsupportedScheme`].
    pub(super) fn parse(url: &str) -> Result<Self, CallError> {
        let url = Url::parse(url).map_err(|error| CallError::InvalidUrl { why: error.to_string() })?;
        let is_tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(CallError::UnsupportedScheme),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => Place::Name(name.to_owned()),
            Some(Host::Ipv4(address)) => Place::Address(address.into()),
            Some(Host::Ipv6(address)) => Place::Address(address.into()),
            None => return Err(CallError::InvalidUrl { why: "it names no host".to_owned() }),
        };
        let port = url.port_or_known_default().unwrap_or(if is_tls { 443 } else { 80 });
        let authority = authority(&host, url.port());
        let path_and_query = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        Ok(Self { origin: Origin { is_tls, host, port }, authority, path_and_query, credentials: credentials(&url) })
    }

    /// The request to send. Headers that frame the message are the connection's own; all others go as the caller gave them.
    ///
    /// # Errors
    /// [`CallError::InvalidHeader`], and [`CallError::InvalidUrl`] for a path that cannot stand in a request line.
    pub(super) fn request(
        &self,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        const USER_AGENT: &str = concat!("fleetlm/", env!("CARGO_PKG_VERSION"));
        let content_length = HeaderValue::from(body.len());
        let mut request = Request::post(&self.path_and_query)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| CallError::InvalidUrl { why: error.to_string() })?;
        let map = request.headers_mut();
        for (name, value) in headers {
            add(map, name, value)?;
        }
        let invalid = |_| CallError::InvalidUrl { why: "its host cannot stand in a header".to_owned() };
        map.insert(header::HOST, HeaderValue::from_str(&self.authority).map_err(invalid)?);
        map.insert(header::CONTENT_LENGTH, content_length);
        map.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        if let Some(credentials) = &self.credentials {
            let value = HeaderValue::from_str(credentials).expect("base64 can stand in a header");
            map.entry(header::AUTHORIZATION).or_insert(value);
        }
        Ok(request)
    }
}

fn add(map: &mut HeaderMap, name: &str, value: &str) -> Result<(), CallError> {
    let invalid = || CallError::InvalidHeader { name: name.to_owned() };
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    if !frames_the_message(&key) {
        let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    Ok(())
}

/// Headers that only whoever writes the message can set right (RFC 9110, 7.6.1; RFC 9112, 6). Two opinions on them are how
/// requests are smuggled.
fn frames_the_message(name: &HeaderName) -> bool {
    const FRAMING: [HeaderName; 8] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    FRAMING.contains(name) || name == "keep-alive" || name == "proxy-connection"
}

fn authority(host: &Place, port: Option<u16>) -> String {
    let host = match host {
        Place::Address(IpAddr::V6(address)) => bracketed(*address),
        place => place.to_string(),
    };
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

fn bracketed(address: Ipv6Addr) -> String {
    format!("[{address}]")
}

/// RFC 7617.
fn credentials(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair = unescaped(url.username());
    pair.push(b':');
    pair.extend(unescaped(url.password().unwrap_or_default()));
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

/// Undoes percent-encoding; what is not one stands for itself.
fn unescaped(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut plain = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let decoded = if byte == b'%' { hexadecimal(after) } else { None };
        plain.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    plain
}

fn hexadecimal(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Milliseconds from `now_unix_s` until when `Retry-After` says: seconds or a date in any of the three forms of RFC 9110, 5.6.7.
/// A date that has passed is 0.
pub(super) fn retry_after_ms(value: &str, now_unix_s: i64) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let at = FORMS.iter().find_map(|form| jiff::civil::DateTime::strptime(form, value).ok())?;
    let at_unix_s = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    Some(u64::try_from(at_unix_s.saturating_sub(now_unix_s)).unwrap_or(0).saturating_mul(1000))
}

/// Seconds for which the peer says it keeps an idle connection (`Keep-Alive: timeout=5`), if it does.
pub(super) fn keep_alive_s(value: &str) -> Option<u64> {
    value.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(url: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Target::parse(url).unwrap().request(&headers, b"{}".to_vec()).unwrap()
    }

    #[track_caller]
    fn assert_header(request: &Request<Full<Bytes>>, name: &str, values: &[&str]) {
        let found: Vec<_> = request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(found, values, "{name}");
    }

    #[test]
    fn a_url_becomes_a_host_a_target_and_credentials() {
        for (url, host, target, port) in [
            ("http://example.com", "example.com", "/", 80),
            ("https://example.com/a/b?c=d#e", "example.com", "/a/b?c=d", 443),
            ("http://example.com:8080/?q", "example.com:8080", "/?q", 8080),
            ("http://0x7f.1/", "127.0.0.1", "/", 80),
            ("https://[::1]:4/x", "[::1]:4", "/x", 4),
            ("HTTP://B\u{fc}cher.example/", "xn--bcher-kva.example", "/", 80),
        ] {
            let request = sent(url, &[]);
            assert_header(&request, "host", &[host]);
            assert_header(&request, "authorization", &[]);
            assert_eq!(request.uri(), target, "{url}");
            assert_eq!(Target::parse(url).unwrap().origin.port, port, "{url}");
        }
        let request = sent("https://us%65r:p%40ss%zz@example.com/", &[]);
        assert_header(&request, "authorization", &[&format!("Basic {}", STANDARD.encode("user:p@ss%zz"))]);
        let request = sent("https://user@example.com/", &[("Authorization", "Bearer x")]);
        assert_header(&request, "authorization", &["Bearer x"]);
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        for url in ["", "example.com/x", "/x", "http://", "http://a b/", "http://[::1", "http://a:99999/"] {
            assert!(matches!(Target::parse(url), Err(CallError::InvalidUrl { .. })), "{url}");
        }
        for url in ["ftp://a/", "file:///etc/passwd", "unix:/x", "javascript:1"] {
            assert_eq!(Target::parse(url).err(), Some(CallError::UnsupportedScheme), "{url}");
        }
    }

    #[test]
    fn the_callers_headers_go_as_given_but_for_framing() {
        let headers = [
            ("X-Key", "s"),
            ("x-key", "t"),
            ("Content-Length", "9"),
            ("transfer-encoding", "chunked"),
            ("Host", "evil"),
        ];
        let request = sent("http://a/", &headers);
        assert_header(&request, "x-key", &["s", "t"]);
        assert_header(&request, "content-length", &["2"]);
        assert_header(&request, "transfer-encoding", &[]);
        assert_header(&request, "host", &["a"]);
        assert_header(&request, "user-agent", &[concat!("fleetlm/", env!("CARGO_PKG_VERSION"))]);
        assert!(!format!("{request:?}").contains("\"s\""), "values are not printed");
        for (name, value) in [("a b", "c"), ("", "c"), ("a", "b\r\nc: d")] {
            let headers = [(name.to_owned(), value.to_owned())];
            let refused = Target::parse("http://a/").unwrap().request(&headers, Vec::new()).err();
            assert_eq!(refused, Some(CallError::InvalidHeader { name: name.to_owned() }));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        const NOW: i64 = 784_111_777;
        for (value, expected) in [
            ("120", Some(120_000)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10_000)),
            ("Sun Nov  6 08:49:47 1994", Some(10_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after_ms(value, NOW), expected, "{value}");
        }
    }

    #[test]
    fn the_peers_patience_is_read() {
        for (value, expected) in
            [("timeout=5", Some(5)), ("max=10, Timeout = 7", Some(7)), ("max=1", None), ("timeout=x", None), ("", None)]
        {
            assert_eq!(keep_alive_s(value), expected, "{value}");
        }
    }
}
