//! Where the server is.

use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, ToSocketAddrs};

/// A server's address, resolved once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// For the Host header.
    pub host: String,
}

impl Target {
    /// Reads `http://HOST:PORT`, with or without a final slash.
    ///
    /// # Errors
    /// When it is another scheme, has a path, or the name does not resolve.
    pub fn parse(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("{url}: only http:// is understood; put the generator beside the server, not behind TLS");
        };
        let host = rest.strip_suffix('/').unwrap_or(rest);
        if host.contains(['/', '?', '@']) {
            bail!("{url}: only http://HOST:PORT is understood");
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let address = with_port.to_socket_addrs().with_context(|| format!("resolving {host}"))?.next();
        Ok(Self { address: address.with_context(|| format!("{host} has no address"))?, host: host.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        let target = Target::parse("http://127.0.0.1:4000/").unwrap();
        assert_eq!((target.address.to_string(), target.host.as_str()), ("127.0.0.1:4000".into(), "127.0.0.1:4000"));
        assert_eq!(Target::parse("http://127.0.0.1").unwrap().address.port(), 80);
        assert_eq!(Target::parse("http://[::1]:4000").unwrap().address.to_string(), "[::1]:4000");
        for bad in ["https://a", "127.0.0.1:4000", "http://127.0.0.1:4000/api"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
