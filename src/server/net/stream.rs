//! A TCP connection and a listening socket, non-blocking, in a [`Poller`]'s set.
//!
//! One task uses a connection at a time. Dropping it closes it at once: no ring holds on to it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::poller::{Place, Poller};

/// Never waits, and a peer that is gone is an error and not a signal.
const SENDING: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// A connection.
pub struct Stream {
    // Fields are dropped in order: the socket leaves the set before its place is given to another one.
    socket: OwnedFd,
    place: Place,
}

impl Stream {
    /// Takes over a connected, non-blocking socket.
    ///
    /// # Errors
    /// When the set takes no more (`fs.epoll.max_user_watches`).
    pub fn new(poller: &Rc<Poller>, socket: OwnedFd) -> io::Result<Self> {
        let place = poller.add(&socket)?;
        Ok(Self { socket, place })
    }

    /// Connects, without Nagle's delay, from any address or from `source`.
    ///
    /// # Errors
    /// As the system says; `TimedOut` after `timeout`.
    pub async fn connect(
        poller: &Rc<Poller>,
        address: SocketAddr,
        source: Option<SocketAddr>,
        timeout: Duration,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&source.into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let stream = Self::new(poller, OwnedFd::from(socket))?;
        let late = async {
            glommio::timer::sleep(timeout).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "the connection was not made in time"))
        };
        futures_lite::future::or(poll_fn(|cx| stream.poll_connected(cx)), late).await?;
        Ok(stream)
    }

    /// Where the peer is; `None` when it is gone.
    pub fn peer(&self) -> Option<IpAddr> {
        let address = SockRef::from(&self.socket).peer_addr().ok()?;
        address.as_socket().map(|address| address.ip())
    }

    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::getpeername(&self.socket) {
            Ok(_) => Poll::Ready(Ok(())),
            Err(Errno::NOTCONN) => match rustix::net::sockopt::socket_error(&self.socket)? {
                Err(error) => Poll::Ready(Err(error.into())),
                Ok(()) => {
                    self.place.readiness.wait(cx);
                    Poll::Pending
                }
            },
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    /// Reads what is there; 0 bytes are the peer's end.
    ///
    /// # Errors
    /// As the system says.
    pub fn poll_read(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let readiness = &self.place.readiness;
        loop {
            if !readiness.is_readable() {
                readiness.wait(cx);
                return Poll::Pending;
            }
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((count, _)) => {
                    if count < buffer.len() {
                        readiness.was_read_empty();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => readiness.refused_read(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// As the system says; a peer that is gone is an error, not a signal.
    pub fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, || rustix::net::send(&self.socket, bytes, SENDING))
    }

    /// As [`Stream::poll_write`], of several pieces in a row.
    ///
    /// # Errors
    /// As there.
    pub fn poll_write_vectored(&self, cx: &Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, || rustix::net::sendmsg(&self.socket, pieces, &mut SendAncillaryBuffer::default(), SENDING))
    }

    fn poll_send(&self, cx: &Context<'_>, send: impl Fn() -> rustix::io::Result<usize>) -> Poll<io::Result<usize>> {
        let readiness = &self.place.readiness;
        loop {
            if !readiness.is_writable() {
                readiness.wait(cx);
                return Poll::Pending;
            }
            match send() {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::AGAIN) => readiness.refused_write(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        Ok(rustix::net::shutdown(&self.socket, how)?)
    }
}

/// A listening socket.
pub struct Listener {
    socket: OwnedFd,
    place: Place,
}

impl Listener {
    /// Takes over a listening, non-blocking socket.
    ///
    /// # Errors
    /// When the set takes no more.
    pub fn new(poller: &Rc<Poller>, socket: OwnedFd) -> io::Result<Self> {
        let place = poller.add(&socket)?;
        Ok(Self { socket, place })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// As the system says: out of descriptors, or a peer that was gone already. The next call may succeed.
    pub async fn accept(&self, poller: &Rc<Poller>) -> io::Result<Stream> {
        let socket = poll_fn(|cx| self.poll_accept(cx)).await?;
        Stream::new(poller, socket)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let readiness = &self.place.readiness;
        loop {
            if !readiness.is_readable() {
                readiness.wait(cx);
                return Poll::Pending;
            }
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => return Poll::Ready(Ok(socket)),
                Err(Errno::AGAIN) => readiness.refused_read(),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}
