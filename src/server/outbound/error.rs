//! Why a call did not end well: what an operator reads, a stable name for metrics and clients, and whether to try again.
//!
//! No variant carries a header's value, a body or the address with its credentials.

use std::error::Error;
use std::io;

/// Why a call did not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum CallError {
    /// The address cannot be called.
    #[error("the address is not a URL that can be called: {why}")]
    InvalidUrl { why: String },
    /// Only `http` and `https` are spoken.
    #[error("only http and https addresses can be called")]
    UnsupportedScheme,
    /// A header of the caller cannot be sent.
    #[error("the header {name} cannot be sent")]
    InvalidHeader { name: String },
    /// The name of the host has no address, or was not found out.
    #[error("the host was not found: {why}")]
    Resolve { why: String },
    /// The operator forbids private addresses and the host has one.
    #[error("the host has a private address, which this server does not call")]
    AddressDenied,
    /// The bounds of connections are reached.
    #[error("too many connections to webhooks are open")]
    TooManyConnections,
    /// No address of the host took the connection.
    #[error("cannot connect: {why}")]
    Connect { why: String },
    /// The peer is not whom it should be, or does not speak TLS as we do.
    #[error("no secure connection: {why}")]
    Tls { why: String },
    /// Resolving, connecting and the TLS handshake took too long.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// No head of a response came in time.
    #[error("no response in time")]
    HeadTimeout,
    /// The response paused for too long.
    #[error("the response paused for too long")]
    GapTimeout,
    /// The whole call took too long.
    #[error("the call as a whole took too long")]
    TotalTimeout,
    /// The connection failed during the exchange, or ended before the response did.
    #[error("the connection failed: {why}")]
    Network { why: String },
    /// What came is not HTTP/1.1, or a head over its bound.
    #[error("the response is not valid: {why}")]
    BadResponse { why: String },
    /// The body is larger than the caller takes.
    #[error("the response is larger than {bytes_max} bytes")]
    ResponseTooLarge { bytes_max: u64 },
    /// The owner of the call ended it.
    #[error("the call was stopped")]
    Stopped,
}

impl CallError {
    /// The error's stable name for clients and metrics.
    pub(in crate::server) fn reason(&self) -> &'static str {
        match self {
            Self::InvalidUrl { .. } => "invalid_url",
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::InvalidHeader { .. } => "invalid_header",
            Self::Resolve { .. } => "resolve",
            Self::AddressDenied => "address_denied",
            Self::TooManyConnections => "too_many_connections",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::ConnectTimeout => "connect_timeout",
            Self::HeadTimeout => "head_timeout",
            Self::GapTimeout => "gap_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::Network { .. } => "network",
            Self::BadResponse { .. } => "bad_response",
            Self::ResponseTooLarge { .. } => "response_too_large",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the same call may end otherwise a little later.
    pub(in crate::server) fn is_retryable(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::TooManyConnections
            | Self::Connect { .. }
            | Self::ConnectTimeout
            | Self::HeadTimeout
            | Self::GapTimeout
            | Self::TotalTimeout
            | Self::Network { .. } => true,
            Self::InvalidUrl { .. }
            | Self::UnsupportedScheme
            | Self::InvalidHeader { .. }
            | Self::AddressDenied
            | Self::Tls { .. }
            | Self::BadResponse { .. }
            | Self::ResponseTooLarge { .. }
            | Self::Stopped => false,
        }
    }

    /// An error of the exchange: either the network's, or of a peer that does not speak HTTP.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        let why = chain(error);
        // The decoder of bodies reports what is malformed as invalid input.
        let malformed = source_io(error).is_some_and(|source| source.kind() == io::ErrorKind::InvalidInput);
        if error.is_parse() || malformed { Self::BadResponse { why } } else { Self::Network { why } }
    }
}

/// The error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn source_io(error: &hyper::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_tried_again_and_what_is_wrong_for_good_is_not() {
        let why = String::new;
        for (error, reason) in [
            (CallError::Resolve { why: why() }, "resolve"),
            (CallError::TooManyConnections, "too_many_connections"),
            (CallError::Connect { why: why() }, "connect"),
            (CallError::ConnectTimeout, "connect_timeout"),
            (CallError::HeadTimeout, "head_timeout"),
            (CallError::GapTimeout, "gap_timeout"),
            (CallError::TotalTimeout, "total_timeout"),
            (CallError::Network { why: why() }, "network"),
        ] {
            assert_eq!((error.reason(), error.is_retryable()), (reason, true));
        }
        for (error, reason) in [
            (CallError::InvalidUrl { why: why() }, "invalid_url"),
            (CallError::UnsupportedScheme, "unsupported_scheme"),
            (CallError::InvalidHeader { name: why() }, "invalid_header"),
            (CallError::AddressDenied, "address_denied"),
            (CallError::Tls { why: why() }, "tls"),
            (CallError::BadResponse { why: why() }, "bad_response"),
            (CallError::ResponseTooLarge { bytes_max: 1 }, "response_too_large"),
            (CallError::Stopped, "stopped"),
        ] {
            assert_eq!((error.reason(), error.is_retryable()), (reason, false));
        }
    }
}
