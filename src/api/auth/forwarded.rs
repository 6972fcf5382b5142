//! Where a request comes from that proxies brought: `X-Forwarded-For`, as far as those who wrote it are trusted.
//!
//! Invariant: a client cannot choose its address. Each proxy writes whom it heard behind what it was sent, so the header is read from
//! its end, and only as long as whoever wrote the next entry is one of the operator's: the first one who is not is the client, whatever
//! stands before it.

use crate::protocol::http::Request;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// A network, or one address: what `--trust-forwarded-for` takes.
///
/// # Errors
/// When the text is neither.
pub fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = || text.parse::<IpAddr>().map(IpNet::from).ok();
    text.parse().ok().or_else(address).ok_or_else(|| format!("{text:?} is no address and no network"))
}

/// Whom `request` is from, which `peer` sent.
pub fn client_of(peer: IpAddr, request: &Request, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let lines: Vec<&str> = request.headers.all("x-forwarded-for").collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        // What is no address was not written by a proxy of the operator's, who writes addresses.
        match address_of(hop.trim()).filter(|_| is_trusted(client)) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// Some proxies add the port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = || hop.parse().ok();
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || hop.parse().ok().map(|address: SocketAddr| address.ip());
    bare().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Method;

    #[test]
    fn the_first_who_is_not_trusted_is_the_client() {
        let trusted = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"].map(|text| network(text).unwrap());
        let proxy = "10.0.0.1";
        for (peer, lines, client) in [
            (proxy, &["203.0.113.9"][..], "203.0.113.9"),
            (proxy, &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (proxy, &["1.1.1.1, 203.0.113.9, 10.9.9.9,192.0.2.7"], "203.0.113.9"),
            (proxy, &["1.1.1.1", "203.0.113.9", "10.9.9.9"], "203.0.113.9"),
            (proxy, &["203.0.113.9:4711"], "203.0.113.9"),
            (proxy, &["[2001:db8:1::1]:443, 2001:db8::1"], "2001:db8:1::1"),
            (proxy, &["[2001:dead::1]"], "2001:dead::1"),
            (proxy, &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            (proxy, &["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (proxy, &["203.0.113.9, unknown"], proxy),
            (proxy, &["203.0.113.9, 10.3.3.3, _hidden"], proxy),
            (proxy, &["unknown, 10.3.3.3"], "10.3.3.3"),
            (proxy, &[""], proxy),
            (proxy, &[], proxy),
            ("203.0.113.1", &["1.1.1.1"], "203.0.113.1"),
            ("192.0.2.8", &["1.1.1.1"], "192.0.2.8"),
        ] {
            let request = lines
                .iter()
                .fold(Request::new(Method::Get, "/"), |request, line| request.with_header("x-forwarded-for", line));
            let found = client_of(peer.parse().unwrap(), &request, &trusted);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
            assert_eq!(client_of(peer.parse().unwrap(), &request, &[]), peer.parse::<IpAddr>().unwrap().to_canonical());
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "proxy", "10.0.0", "10.0.0.0/", "*"] {
            assert!(network(text).is_err(), "{text}");
        }
        assert!(network(" ::1 ").unwrap().contains(&"::1".parse::<IpAddr>().unwrap()));
    }
}
