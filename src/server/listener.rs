//! Listening sockets: one for each shard on one port, and the accept loop.
//!
//! The main thread makes the sockets, so that a bad address or a taken port is one clear error before any shard starts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use glommio::timer::sleep;
use socket2::{Domain, Protocol, Socket, Type};

use super::handshakes::Handshakes;
use super::http;
use super::metrics::{CloseReason, Level, Which};
use super::net::{Listener, Poller, Stream, Transport};
use super::world::World;
use crate::limits;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Makes `shards` sockets that listen on one address; port 0 is resolved once for all of them.
///
/// # Errors
/// When the address cannot be bound, another process's use of it included.
pub fn listen(address: SocketAddr, shards: u16) -> Result<(SocketAddr, Vec<OwnedFd>), ListenError> {
    let failed = |source| ListenError { address, source };
    refuse_a_taken_port(address).map_err(failed)?;
    let first = listening_socket(address).map_err(failed)?;
    let bound = first.local_addr().and_then(|local| local.as_socket().ok_or(io::ErrorKind::AddrNotAvailable.into()));
    let bound = bound.map_err(failed)?;
    let mut sockets = vec![OwnedFd::from(first)];
    for _ in 1..shards {
        sockets.push(OwnedFd::from(listening_socket(bound).map_err(failed)?));
    }
    Ok((bound, sockets))
}

/// `SO_REUSEPORT` would let a second server of the same user share the port silently; a plain bind finds it.
///
/// The listening sockets of a process that was killed outlive it by the moment that the kernel needs to take its rings down,
/// so a port that is taken is asked for again for a while.
fn refuse_a_taken_port(address: SocketAddr) -> io::Result<()> {
    const ATTEMPTS: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(20);
    if address.port() == 0 {
        return Ok(());
    }
    for _ in 1..ATTEMPTS {
        match plain_bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    plain_bind(address)
}

fn plain_bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn listening_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // What is set here is inherited by every accepted connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(limits::SOCKET_SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(limits::UNANSWERED_S)))?;
    socket.bind(&address.into())?;
    socket.listen(limits::ACCEPT_BACKLOG)?;
    Ok(socket)
}

/// What a connection has to pass.
pub(super) struct Door {
    /// Connections of the whole server that may be open.
    pub(super) connections_max: usize,
    /// With a certificate.
    pub(super) handshakes: Option<Rc<Handshakes>>,
}

/// Accepts until the drain, each connection a task of its own.
pub(super) async fn accept(world: Rc<World>, poller: Rc<Poller>, listener: Listener, door: Door) {
    while !world.state.is_draining() {
        let accepted = or(async { Some(listener.accept(&poller).await) }, async {
            world.drain_bell.heard().await;
            None
        });
        match accepted.await {
            None => return,
            Some(Ok(stream)) => {
                admit(&world, stream, &door);
                glommio::yield_if_needed().await; // a crowd at the door must not keep those inside waiting
            }
            // Out of descriptors, or the peer was gone already. Without a pause the first would spin.
            Some(Err(error)) => {
                tracing::warn!(%error, "accept failed");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn admit(world: &Rc<World>, stream: Stream, door: &Door) {
    world.metrics.count(Which::Connections);
    if !world.state.admit(door.connections_max) {
        world.metrics.closed(CloseReason::TooMany);
        return;
    }
    world.metrics.rise(Level::ConnectionsOpen);
    let admitted = Admitted { world: Rc::clone(world) };
    let world = Rc::clone(world);
    match &door.handshakes {
        None => glommio::spawn_local(http::serve(world, Transport::Plain(stream), admitted)).detach(),
        Some(handshakes) => glommio::spawn_local(Rc::clone(handshakes).serve(world, stream, admitted)).detach(),
    };
}

/// A connection's place among those that may be open; given back when it is dropped.
pub(super) struct Admitted {
    world: Rc<World>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.world.metrics.fall(Level::ConnectionsOpen);
        self.world.state.leave();
    }
}
