//! TCP sockets of one executor: which of them are ready, and reading, writing, accepting without waiting.
//!
//! The sockets stand in one epoll set, and only that set stands in the runtime's ring. A socket in the ring by itself costs a
//! submission for every wait, a completion for every wake-up, and an interrupt to a busy shard whenever the other side sends: more
//! than the reads and writes themselves (docs/decisions/0010). In the set it costs nothing while it waits, and a shard that is busy
//! is not disturbed: it finds all that became ready meanwhile with one call.
//!
//! `secure` puts TLS over such a socket, for the connections of a server that has a certificate.

mod poller;
mod secure;
mod stream;

pub use poller::Poller;
pub(super) use secure::{Tcp, Transport};
pub use stream::{Listener, Stream};
