//! Which web pages may connect: the origin check of sockets and streams, and what CORS tells the others.
//!
//! A browser sends a page's origin (RFC 6454) along and lets the page open a WebSocket anywhere, so it is the server that says no. Other
//! clients send none and are not concerned. Where tokens are required any page may try: it has to bring one, there are no cookies.

use crate::protocol::http::{Request, Response};

/// The origins whose pages may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any.
    Any,
    /// Those of this machine and of the server's own host: a page from elsewhere must not drive a developer's server.
    Near,
    /// These, as browsers spell them.
    Listed(Vec<String>),
}

impl Origins {
    /// What the operator has listed; `*` among them is any. `None`: nothing is listed.
    pub fn listed(listed: &[String]) -> Option<Self> {
        let plain = |origin: &String| origin.trim().trim_end_matches('/').to_ascii_lowercase();
        match listed {
            [] => None,
            _ if listed.iter().any(|origin| origin.trim() == "*") => Some(Self::Any),
            _ => Some(Self::Listed(listed.iter().map(plain).collect())),
        }
    }

    /// Whether answers must say whom they are for.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// Whether a page may send this request to a socket or a stream.
    pub fn admit(&self, request: &Request) -> bool {
        let Some(origin) = request.headers.first("origin") else { return true };
        match self {
            Self::Any => true,
            Self::Near => {
                let host = host_of(origin);
                is_loopback(host) || request.headers.first("host").is_some_and(|own| host_of(own) == host)
            }
            Self::Listed(listed) => is_listed(listed, origin),
        }
    }

    /// What CORS tells the page behind a request: with a list, only the listed ones that they may read the answer.
    pub fn sign(&self, origin: Option<&str>, response: Response) -> Response {
        let Self::Listed(listed) = self else { return response };
        let mut response = response;
        response.headers.retain(|(name, _)| *name != "access-control-allow-origin");
        let response = response.with_header("vary", "origin");
        match origin.filter(|origin| is_listed(listed, origin)) {
            Some(origin) => response.with_header("access-control-allow-origin", origin.to_owned()),
            None => response,
        }
    }
}

fn is_listed(listed: &[String], origin: &str) -> bool {
    listed.iter().any(|known| known.eq_ignore_ascii_case(origin))
}

/// Whether a path is one that pages open without asking first (CORS knows no WebSockets), or keep open.
pub fn is_concerned(path: &str) -> bool {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    match (segments.next(), segments.next(), segments.next()) {
        (Some("socket"), ..) | (Some("api"), Some("events"), None) => true,
        (Some("api"), Some("chat"), Some("ws")) => true,
        // Encoded letters stand for themselves: whoever writes so is looked at as well.
        _ => path.contains('%'),
    }
}

/// Without scheme and port, in lower case where letters have one.
fn host_of(origin: &str) -> &str {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(host: &str) -> bool {
    let is_address = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_address || host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Method;

    fn request(origin: Option<&str>) -> Request {
        let request = Request::new(Method::Get, "/socket/websocket").with_header("host", "chat.example.com:4000");
        match origin {
            Some(origin) => request.with_header("origin", origin),
            None => request,
        }
    }

    #[test]
    fn pages_from_near_pass_and_others_do_not() {
        for (origin, passes) in [
            (None, true),
            (Some("http://localhost:5173"), true),
            (Some("http://app.localhost"), true),
            (Some("http://127.0.0.1:3000"), true),
            (Some("http://[::1]:3000"), true),
            (Some("https://chat.example.com"), true),
            (Some("https://evil.example.com"), false),
            (Some("https://localhost.evil.com"), false),
            (Some("https://127.0.0.1.evil.com"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            assert_eq!(Origins::Near.admit(&request(origin)), passes, "{origin:?}");
            assert!(Origins::Any.admit(&request(origin)));
        }
    }

    #[test]
    fn a_list_is_taken_by_the_letter_and_echoed() {
        let listed =
            |origins: &[&str]| Origins::listed(&origins.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>());
        assert_eq!((listed(&[]), listed(&["https://a", "*"])), (None, Some(Origins::Any)));
        let origins = listed(&["https://Good.example/"]).unwrap();
        for (origin, passes) in [
            ("https://good.example", true),
            ("http://good.example", false),
            ("https://good.example:444", false),
            ("http://localhost", false),
        ] {
            assert_eq!(origins.admit(&request(Some(origin))), passes, "{origin}");
            let answer = Response::new(200).with_header("access-control-allow-origin", "*");
            let signed = origins.sign(Some(origin), answer);
            assert_eq!(signed.header("access-control-allow-origin"), passes.then_some(origin));
            assert_eq!(signed.header("vary"), Some("origin"));
        }
    }

    #[test]
    fn what_a_page_keeps_open_is_concerned() {
        for path in
            ["/socket/websocket", "/socket/longpoll", "//socket/x", "/api/chat/ws", "/api/events/", "/%61pi/events"]
        {
            assert!(is_concerned(path), "{path}");
        }
        for path in ["/api/sessions", "/api/chat/message", "/health/live"] {
            assert!(!is_concerned(path), "{path}");
        }
    }
}
