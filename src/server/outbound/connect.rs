//! A new connection: find the host's addresses, check them, connect to the first that answers, shake hands.
//!
//! The addresses that are checked are the ones that are connected to; a name is not looked up twice, so it cannot change its
//! mind in between.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::net::TcpStream;
use hyper::client::conn::http1;

use super::Policy;
use super::address::{interleaved, is_public};
use super::alarm::Alarms;
use super::error::CallError;
use super::pool::{Live, Slot};
use super::request::{Origin, Place};
use super::resolve::{Names, Resolver};
use super::stream::{HyperIo, Scratch, Stream, Tcp};
use super::tls::{Handshakes, Trust};
use crate::limits;

/// Makes connections for one shard.
pub(super) struct Connector {
    policy: Policy,
    names: Rc<Names>,
    handshakes: Handshakes,
    scratch: Scratch,
}

impl Connector {
    pub(super) fn new(policy: Policy, resolver: Resolver, trust: Trust, alarms: Rc<Alarms>) -> Self {
        let scratch = Scratch::new(vec![0; limits::WEBHOOK_READ_BYTES].into());
        Self { policy, names: Names::new(resolver), handshakes: Handshakes::new(trust, alarms), scratch }
    }

    /// Connects; `until` is when the caller gives up, so that several addresses can share the time.
    ///
    /// # Errors
    /// [`CallError`] for what went wrong first, or for the last address when none answered.
    pub(super) async fn connect(&self, origin: &Origin, slot: Slot, until: Instant) -> Result<Live, CallError> {
        let addresses = self.addresses(&origin.host).await?;
        let tcp = Tcp::new(first_that_answers(&addresses, origin.port, until).await?);
        let stream = if origin.is_tls {
            Stream::Tls(Box::new(self.handshakes.shake(&origin.host, tcp).await?))
        } else {
            Stream::Plain(tcp)
        };
        let io = HyperIo::new(stream, Rc::clone(&self.scratch));
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(limits::WEBHOOK_HEAD_BYTES_MAX)
            .max_header_size(limits::WEBHOOK_HEAD_BYTES_MAX)
            .handshake(io)
            .await
            .map_err(|error| CallError::of_exchange(&error))?;
        Ok(Live::new(sender, driver, slot))
    }

    async fn addresses(&self, host: &Place) -> Result<Vec<IpAddr>, CallError> {
        let addresses = match host {
            Place::Address(address) => vec![*address],
            Place::Name(name) => interleaved(&self.names.addresses(name).await?),
        };
        // One private address is enough to refuse: a name that has both is up to something.
        if self.policy.deny_private && !addresses.iter().copied().all(is_public) {
            return Err(CallError::AddressDenied);
        }
        Ok(addresses)
    }
}

async fn first_that_answers(addresses: &[IpAddr], port: u16, until: Instant) -> Result<TcpStream, CallError> {
    let tried = addresses.len().min(limits::WEBHOOK_ADDRESSES_MAX);
    let mut failure = CallError::Resolve { why: "the name has no address".to_owned() };
    for (at, address) in addresses.iter().take(tried).enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        // A silent address must leave time for those after it.
        let share = left / u32::try_from(tried - at).expect("few addresses are tried");
        match TcpStream::connect_timeout(SocketAddr::new(*address, port), share.max(Duration::from_millis(1))).await {
            Ok(stream) => {
                // Requests are written whole; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = not_connected(&io::Error::from(error)),
        }
    }
    Err(failure)
}

fn not_connected(error: &io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::TimedOut => CallError::ConnectTimeout,
        _ => CallError::Connect { why: error.to_string() },
    }
}
