//! Which web pages may connect, by which names a server is reached, and what CORS tells the others.
//!
//! A browser sends a page's origin (RFC 6454) along and lets the page open a WebSocket anywhere, so it is the server that says no. Other
//! clients send none and are not concerned. Where tokens are required any page may try: it has to bring one, there are no cookies.
//! Where none are, a page needs no answer to do harm, and one whose own name is made to lead to this machine (DNS rebinding) is of the
//! server's origin: so the names are looked at as well.

use super::own_origin::OwnOrigin;
use crate::protocol::http::{Request, Response};

/// The origins whose pages may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any.
    Any,
    /// Those of this machine and of the server's own host: a page from elsewhere must not drive a developer's server.
    Near,
    /// These, as browsers spell them, and the server's own.
    Listed(Vec<String>, OwnOrigin),
}

impl Origins {
    /// What the operator has listed, beside a server's `own`; `*` among them is any. `None`: nothing is listed.
    pub fn listed(listed: &[String], own: OwnOrigin) -> Option<Self> {
        let plain = |origin: &String| origin.trim().trim_end_matches('/').to_ascii_lowercase();
        match listed {
            [] => None,
            _ if listed.iter().any(|origin| origin.trim() == "*") => Some(Self::Any),
            _ => Some(Self::Listed(listed.iter().map(plain).collect(), own)),
        }
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
            Self::Listed(listed, own) => is_listed(listed, origin) || own.is_of(request, origin),
        }
    }

    /// What CORS tells the page behind a request, where that is not what it tells all: of a list only its pages may read the answer, and none
    /// that is not near.
    pub fn signature(&self, request: &Request) -> Option<Signature> {
        let origin = request.headers.first("origin");
        match self {
            Self::Any => None,
            Self::Near => (!self.admit(request)).then_some(Signature { origin: None }),
            // The server's own page needs no permission to read its answers.
            Self::Listed(listed, _) => {
                let origin = origin.filter(|origin| is_listed(listed, origin)).map(str::to_owned);
                Some(Signature { origin })
            }
        }
    }
}

/// The one origin whose page may read an answer, if any may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    origin: Option<String>,
}

impl Signature {
    /// The same answer, for that page.
    pub fn sign(&self, mut response: Response) -> Response {
        response.headers.retain(|(name, _)| *name != "access-control-allow-origin");
        let response = response.with_header("vary", "origin");
        match &self.origin {
            Some(origin) => response.with_header("access-control-allow-origin", origin.clone()),
            None => response,
        }
    }
}

/// The names by which a server may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Any.
    Any,
    /// Addresses, this machine's names and those without a dot, which nobody else can make lead anywhere; and these, in lower case.
    Near(Vec<String>),
}

impl Hosts {
    /// Those near and what the operator has named; `*` among them is any.
    pub fn near(named: &[String]) -> Self {
        match named.iter().any(|name| name.trim() == "*") {
            true => Self::Any,
            false => Self::Near(named.iter().map(|name| host_of(name.trim()).to_ascii_lowercase()).collect()),
        }
    }

    /// Whether a request was meant for this server. One without a name is no browser's.
    pub fn admit(&self, request: &Request) -> bool {
        let (Self::Near(named), Some(host)) = (self, request.headers.first("host")) else { return true };
        let host = host_of(host).trim_end_matches('.');
        is_loopback(host)
            || host.parse::<std::net::IpAddr>().is_ok()
            || !host.contains('.')
            || named.iter().any(|name| name.eq_ignore_ascii_case(host))
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
pub(super) fn host_of(origin: &str) -> &str {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
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
            assert_eq!(Origins::Near.signature(&request(origin)).is_none(), passes, "{origin:?}");
            assert!(Origins::Any.admit(&request(origin)));
        }
    }

    #[test]
    fn a_list_is_taken_by_the_letter_and_echoed() {
        let listed = |origins: &[&str]| {
            let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
            let own = OwnOrigin::new(false, [127, 0, 0, 1].into(), &[], &origins);
            Origins::listed(&origins, own)
        };
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
            let signed = origins.signature(&request(Some(origin))).unwrap().sign(answer);
            assert_eq!(signed.header("access-control-allow-origin"), passes.then_some(origin));
            assert_eq!(signed.header("vary"), Some("origin"));
        }
        let own = Request::new(Method::Get, "/socket/websocket").with_header("host", "localhost:4000");
        assert!(origins.admit(&own.clone().with_header("origin", "http://localhost:4000")), "the console");
        assert!(!origins.admit(&own.with_header("origin", "http://localhost:5173")));
    }

    #[test]
    fn a_name_that_somebody_else_can_lead_here_is_not_ours_unless_it_is_named() {
        let hosts = Hosts::near(&["Chat.example:443".to_owned()]);
        let of = |host| Request::new(Method::Get, "/").with_header("host", host);
        for (host, passes) in [
            ("127.0.0.1:4000", true),
            ("10.1.2.3", true),
            ("[::1]:4000", true),
            ("[2001:db8::1]", true),
            ("localhost:4000", true),
            ("app.localhost", true),
            ("fleetlm:4000", true),
            ("CHAT.example:4000", true),
            ("chat.example.", true),
            ("evil.example", false),
            ("evil.example:4000", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example.", false),
            ("evil.example.", false),
        ] {
            assert_eq!(hosts.admit(&of(host)), passes, "{host}");
            assert!(Hosts::Any.admit(&of(host)));
        }
        assert!(hosts.admit(&Request::new(Method::Get, "/")), "HTTP/1.0");
        assert_eq!(Hosts::near(&["a.b".to_owned(), "*".to_owned()]), Hosts::Any);
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
