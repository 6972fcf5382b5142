//! By which names a server knows itself, and so which page is its own where the operator has listed the pages that may connect.
//!
//! A browser says where a page came from (`Origin`) and by which name it reached this server (`Host`). That the two agree proves nothing:
//! whoever owns a name can have it lead to this machine (DNS rebinding), and his page is of the server's origin then. So a page is the
//! server's own only where the name is one that nobody else can make lead here, or that the operator has given:
//!
//! - an address: of this machine, or the one that the server listens on; any, where it listens on all (an address is not looked up);
//! - `localhost` and names below it, which browsers look up nowhere (RFC 6761 section 6.3);
//! - a name of `--allow-host`, or of a page that is listed, on whatever port.
//!
//! The scheme counts as well, as in RFC 6454: it is the server's own, which is HTTPS where it has a certificate. A name that is listed
//! with HTTPS only is not known over HTTP, where anybody on the way could make its page. Behind a proxy that ends TLS the server cannot
//! know its scheme: the console's address is listed there.
//!
//! Not here: names that are refused altogether (`origin::Hosts`).

use super::origin::{host_of, is_loopback};
use crate::protocol::http::Request;
use std::net::IpAddr;

/// What a server knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnOrigin {
    scheme: &'static str,
    listen: IpAddr,
    /// Hosts that the operator has named, in lower case, without ports.
    names: Vec<String>,
    /// Scheme and host of each page that is listed, in lower case.
    listed: Vec<(String, String)>,
}

impl OwnOrigin {
    /// Of a server that listens on `listen`, with a certificate or without. `*` is the name of nobody.
    pub fn new(is_tls: bool, listen: IpAddr, names: &[String], listed: &[String]) -> Self {
        let plain = |name: &String| host_of(name.trim()).trim_end_matches('.').to_ascii_lowercase();
        let scheme_of =
            |origin: &String| origin.split_once("://").map(|(scheme, _)| scheme.trim().to_ascii_lowercase());
        Self {
            scheme: if is_tls { "https" } else { "http" },
            listen,
            names: names.iter().map(plain).filter(|name| !name.is_empty() && name != "*").collect(),
            listed: listed.iter().filter_map(|origin| Some((scheme_of(origin)?, plain(origin)))).collect(),
        }
    }

    /// Whether the page of this origin came from this server, by a name that it knows.
    pub fn is_of(&self, request: &Request, origin: &str) -> bool {
        let Some(host) = request.headers.first("host").map(str::trim) else { return false };
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let is_same = scheme.eq_ignore_ascii_case(self.scheme)
            && self.without_default_port(authority).eq_ignore_ascii_case(self.without_default_port(host));
        is_same && self.knows(host_of(host).trim_end_matches('.'))
    }

    fn without_default_port<'a>(&self, authority: &'a str) -> &'a str {
        let port = if self.scheme == "https" { ":443" } else { ":80" };
        authority.strip_suffix(port).unwrap_or(authority)
    }

    fn knows(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return is_loopback(host) || self.listen.is_unspecified() || address == self.listen;
        }
        let mut of_pages = self.listed.iter().filter(|(_, name)| name.eq_ignore_ascii_case(host)).peekable();
        match of_pages.peek() {
            Some(_) => of_pages.any(|(scheme, _)| scheme == self.scheme),
            None => is_loopback(host) || self.names.iter().any(|name| name.eq_ignore_ascii_case(host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Method;

    fn own(is_tls: bool, listen: &str, names: &[&str], listed: &[&str]) -> OwnOrigin {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        OwnOrigin::new(is_tls, listen.parse().unwrap(), &owned(names), &owned(listed))
    }

    fn is_own(own: &OwnOrigin, host: &str, origin: &str) -> bool {
        own.is_of(&Request::new(Method::Get, "/socket/websocket").with_header("host", host), origin)
    }

    #[test]
    fn a_page_is_the_servers_own_by_names_that_nobody_else_can_make_lead_here() {
        let near = own(false, "127.0.0.1", &["chat.example:4000"], &["http://app.example:5173"]);
        let everywhere = own(false, "0.0.0.0", &[], &["http://app.example:5173"]);
        for (host, origin, passes, passes_everywhere) in [
            ("127.0.0.1:4000", "http://127.0.0.1:4000", true, true),
            ("127.0.0.9:4000", "http://127.0.0.9:4000", true, true),
            ("[::1]:4000", "http://[::1]:4000", true, true),
            ("localhost:4000", "http://localhost:4000", true, true),
            ("LOCALHOST:4000", "http://localhost:4000", true, true),
            ("console.localhost:4000", "http://console.localhost:4000", true, true),
            ("10.1.2.3:4000", "http://10.1.2.3:4000", false, true),
            ("chat.example:4000", "http://chat.example:4000", true, false),
            ("chat.example", "http://chat.example", true, false),
            ("app.example:4000", "http://app.example:4000", true, true),
        ] {
            assert_eq!(is_own(&near, host, origin), passes, "{host} {origin}");
            assert_eq!(is_own(&everywhere, host, origin), passes_everywhere, "{host} {origin}");
        }
    }

    /// Somebody else's name leads here: his page's origin and the name that the browser asked for agree.
    #[test]
    fn a_name_that_was_rebound_is_nobodys_own() {
        for listen in ["127.0.0.1", "0.0.0.0", "::", "10.0.0.5"] {
            let own = own(false, listen, &["chat.example"], &["http://app.example", "https://shop.example"]);
            for host in [
                "evil.example",
                "evil.example.",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "chat.example.evil.example",
                "evilchat.example",
                "fleetlm",
                "*",
                "",
            ] {
                for port in ["", ":80", ":4000"] {
                    let (host, origin) = (format!("{host}{port}"), format!("http://{host}{port}"));
                    assert!(!is_own(&own, &host, &origin), "{host} on {listen}");
                }
            }
        }
    }

    #[test]
    fn a_page_of_another_origin_is_not_the_servers_own_whatever_the_host() {
        let own = own(false, "127.0.0.1", &["chat.example"], &[]);
        for (host, origin) in [
            ("127.0.0.1:4000", "http://127.0.0.1:5173"),
            ("127.0.0.1:4000", "http://localhost:4000"),
            ("127.0.0.1:4000", "https://127.0.0.1:4000"),
            ("localhost:4000", "http://evil.example"),
            ("chat.example", "http://chat.example:8080"),
            ("chat.example", "http://evil.example"),
            ("localhost", "null"),
            ("localhost", ""),
            ("localhost", "localhost"),
            ("localhost", "http://localhost@evil.example"),
            ("localhost", "http://localhost/"),
        ] {
            assert!(!is_own(&own, host, origin), "{host} {origin}");
        }
        assert!(!own.is_of(&Request::new(Method::Get, "/"), "http://localhost"), "without a host");
    }

    #[test]
    fn the_scheme_is_the_servers_and_a_name_is_known_by_the_scheme_it_is_listed_with() {
        let tls = own(true, "0.0.0.0", &[], &["https://app.example"]);
        assert!(is_own(&tls, "app.example:4443", "https://app.example:4443"));
        assert!(is_own(&tls, "app.example:443", "https://app.example"));
        assert!(!is_own(&tls, "app.example", "http://app.example"));
        // A proxy ends TLS: whoever makes a page of the name over plain HTTP is not let in, named or not.
        let behind = own(false, "127.0.0.1", &["app.example"], &["https://app.example"]);
        assert!(!is_own(&behind, "app.example", "http://app.example"));
        assert!(!is_own(&behind, "app.example", "https://app.example"), "it is listed by the letter");
    }
}
