//! The task of one WebSocket: frames in to a peer, the peer's frames out, close handshakes, deadlines.
//!
//! What the messages mean is the peer's affair: the Phoenix socket of `link` or the echo of `echo`. One task per connection
//! reads, handles and writes; whoever queues something for it wakes it, so that all of a turn leaves with one send.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::link::{Carrier, Goodbye, Link};
use super::listener::Admitted;
use super::metrics::CloseReason;
use super::watch::Ending;
use super::wire::{Linger, Wire, WireError};
use super::world::World;
use crate::api::admission;
use crate::api::auth::Principal;
use crate::api::error::{ApiError, Kind};
use crate::api::routes::Connect;
use crate::limits;
use crate::protocol::Roomy;
use crate::protocol::http::{Request, Response};
use crate::protocol::ws::{self, Decoder, Event, HandshakeOptions, Role};

/// Close codes that the server itself sends.
pub(super) mod code {
    pub(in crate::server) const PROTOCOL_ERROR: u16 = 1002;
    pub(in crate::server) const POLICY_VIOLATION: u16 = 1008;
    pub(in crate::server) const INTERNAL_ERROR: u16 = 1011;
    pub(in crate::server) const SERVICE_RESTART: u16 = 1012;
    pub(in crate::server) const TRY_AGAIN_LATER: u16 = 1013;
}

/// Seconds in which a close frame must leave and the peer's must arrive.
const GOODBYE_S: u64 = 2;

/// Who talks over a WebSocket.
pub(super) trait Peer {
    /// Whether more of the client's messages may be taken in now; the peer wakes the task when that changes.
    fn takes_messages(&self) -> bool;
    fn text(&self, text: String);
    fn binary(&self, bytes: Vec<u8>);
    /// Frames that wait to be sent.
    fn frames(&self) -> &RefCell<Roomy>;
    /// Bytes that the task took from the frames and the socket has not taken yet.
    fn unsent(&self) -> &Cell<usize>;
    /// Events of the client that wait for their reply.
    fn unanswered(&self) -> usize;
    /// The outbox is empty: all that was queued is with the kernel.
    fn flushed(&self);
    /// Set when the peer wants to end.
    fn goodbye(&self) -> Option<Goodbye>;
    /// Remembers the task to wake.
    fn register(&self, cx: &Context<'_>);
    /// Counts an end that the server chose.
    fn closed(&self, reason: CloseReason);
    /// Runs `work` of the task itself, during which queueing needs no wake-up.
    fn running<R>(&self, work: impl FnOnce() -> R) -> R;
    /// The connection is closed.
    fn ended(&self);
}

/// An accepted handshake.
pub(super) struct Opening {
    upgrade: ws::Upgrade,
    connect: Connect,
    principal: Option<Rc<Principal>>,
}

impl Opening {
    /// Checks the handshake; the response accepts it.
    ///
    /// # Errors
    /// The refusal to send instead.
    pub(super) fn accept(
        world: &World,
        principal: Option<Rc<Principal>>,
        request: &Request,
        connect: Connect,
    ) -> Result<(Self, Response), Response> {
        if let Some(principal) = &principal {
            let admitted = admission::admit_identity(principal, &connect.identity);
            admitted.map_err(|_| ApiError::from(Kind::SocketRefused).response())?;
        }
        let options = HandshakeOptions { deflate: world.config.ws_deflate, subprotocols: &["phoenix"] };
        let (upgrade, response) = ws::accept(request, &options)?;
        Ok((Self { upgrade, connect, principal }, response))
    }
}

/// A Phoenix socket, to its end. `rest` came behind the handshake, `out` is to be written first.
pub(super) fn phoenix(
    world: Rc<World>,
    wire: Wire,
    opening: Opening,
    rest: &[u8],
    out: Vec<u8>,
    admitted: Admitted,
) -> Conversation<PhoenixPeer> {
    let Opening { upgrade, connect, principal } = opening;
    let carrier = Carrier::web_socket(out, upgrade.deflate);
    let link = Link::open(&world, connect, carrier, principal);
    let limits = ws::Limits { message_bytes_max: world.config.body_bytes_max, fragments_max: limits::WS_FRAGMENTS_MAX };
    let mut decoder = Decoder::new(Role::Server, limits, upgrade.deflate);
    decoder.push(rest);
    let idle_s = world.config.socket_idle_s;
    Conversation::new(wire, decoder, idle_s, PhoenixPeer { world, link, _admitted: admitted })
}

/// A socket of this server's clients.
pub(super) struct PhoenixPeer {
    world: Rc<World>,
    link: Rc<Link>,
    /// Given back when the task ends.
    _admitted: Admitted,
}

impl Peer for PhoenixPeer {
    fn takes_messages(&self) -> bool {
        self.link.takes_messages()
    }

    fn text(&self, text: String) {
        self.link.take_text(&self.world, &text);
    }

    fn binary(&self, bytes: Vec<u8>) {
        self.link.take_binary(&self.world, &bytes);
    }

    fn frames(&self) -> &RefCell<Roomy> {
        self.link.frames()
    }

    fn unsent(&self) -> &Cell<usize> {
        self.link.unsent()
    }

    fn unanswered(&self) -> usize {
        self.link.unanswered()
    }

    fn flushed(&self) {
        self.link.flushed();
    }

    fn goodbye(&self) -> Option<Goodbye> {
        self.link.goodbye()
    }

    fn register(&self, cx: &Context<'_>) {
        self.link.register(cx);
    }

    fn closed(&self, reason: CloseReason) {
        self.world.metrics.closed(reason);
    }

    fn running<R>(&self, work: impl FnOnce() -> R) -> R {
        self.link.running(work)
    }

    fn ended(&self) {
        self.link.close(&self.world);
    }
}

/// How a WebSocket ends.
enum End {
    /// The peer is gone, or too far behind for a last word.
    Gone,
    /// The close frame is out.
    Closed,
}

/// The task of a WebSocket, to its end.
///
/// It is polled by hand and not an `async fn`: that would keep room for what it is given, for what it makes of it and for every step that it
/// awaits, side by side, in each of the thousands of sockets that idle.
pub(super) struct Conversation<P> {
    wire: Wire,
    peer: P,
    talk: Talk,
}

impl<P: Peer> Conversation<P> {
    /// A conversation right behind the handshake.
    pub(super) fn new(wire: Wire, decoder: Decoder, idle_s: u64, peer: P) -> Self {
        wire.expect_within(idle_s);
        let talk = Talk { decoder, idle_s, writing: Vec::new(), written: 0, stage: Stage::Open };
        Self { wire, peer, talk }
    }
}

impl<P: Peer + Unpin> Future for Conversation<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { wire, peer, talk } = self.get_mut();
        if !matches!(talk.stage, Stage::Lingering(_))
            && let End::Closed = ready!(talk.poll(cx, wire, peer))
        {
            talk.stage = Stage::Lingering(wire.begin_linger());
        }
        if let Stage::Lingering(linger) = &mut talk.stage {
            ready!(wire.poll_linger(cx, linger));
        }
        wire.close();
        peer.ended();
        Poll::Ready(())
    }
}

struct Talk {
    decoder: Decoder,
    idle_s: u64,
    writing: Vec<u8>,
    written: usize,
    stage: Stage,
}

/// How far the end has come.
#[derive(Debug)]
enum Stage {
    Open,
    /// The server shuts down; what the client has asked for is still answered.
    Draining,
    /// The close frame is in `writing`; nothing is read any more and nothing is sent behind it.
    Closing,
    /// The close frame is out; the peer's is read and dropped.
    Lingering(Linger),
}

/// What is left to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    /// Nothing that has arrived.
    No,
    /// Its share of this turn is used up.
    Yes,
    /// Perhaps; the peer takes nothing now.
    Paused,
}

impl Talk {
    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining)
    }

    fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing | Stage::Lingering(_))
    }

    fn poll<P: Peer>(&mut self, cx: &mut Context<'_>, wire: &mut Wire, peer: &P) -> Poll<End> {
        peer.register(cx);
        let taken = peer.running(|| self.poll_messages(cx, wire, peer));
        let more = match taken {
            Ok(more) => more,
            Err(WireError::Gone) => return Poll::Ready(End::Gone),
            Err(WireError::Ended(ending)) => {
                self.end(wire, peer, ending);
                More::No
            }
        };
        if self.is_draining() && (peer.unanswered() == 0 || wire.watch.poll_late(cx)) {
            self.queue_close(wire, peer, code::SERVICE_RESTART, "service restart");
        }
        if let Some(goodbye) = peer.goodbye()
            && !self.is_closing()
        {
            if goodbye.at_once {
                return Poll::Ready(End::Gone);
            }
            self.queue_close(wire, peer, goodbye.code, goodbye.reason);
        }
        let flushed = self.poll_flush(cx, wire, peer);
        if flushed.is_ready() && more == More::No && peer.unanswered() == 0 {
            self.decoder.shrink(); // it may rest for hours
        }
        match flushed {
            Poll::Ready(Err(_)) => Poll::Ready(End::Gone),
            Poll::Ready(Ok(())) if self.is_closing() => Poll::Ready(End::Closed),
            _ => {
                // A pause for a full outbox that this very flush has emptied ends here: nobody else would end it.
                let resumed = more == More::Paused && self.is_open() && peer.takes_messages();
                if more == More::Yes || resumed {
                    cx.waker().wake_by_ref(); // others first
                }
                Poll::Pending
            }
        }
    }

    /// Takes in what has arrived, up to this connection's share of a turn.
    fn poll_messages<P: Peer>(&mut self, cx: &mut Context<'_>, wire: &mut Wire, peer: &P) -> Result<More, WireError> {
        let mut bytes = 0;
        while self.is_open() {
            if !peer.takes_messages() {
                // Nothing is read, but a drain or a missed deadline still ends the wait.
                return match wire.watch.poll_ending(cx) {
                    Some(ending) => Err(WireError::Ended(ending)),
                    None => Ok(More::Paused),
                };
            }
            match self.decoder.next() {
                Ok(Some(event)) => self.take(wire, peer, event),
                Ok(None) if bytes >= limits::READ_BYTES_PER_TURN => return Ok(More::Yes),
                Ok(None) => {
                    let decoder = &mut self.decoder;
                    match wire.poll_read(cx, &mut |arrived| decoder.push(arrived)) {
                        Poll::Pending => return Ok(More::No),
                        Poll::Ready(Err(error)) => return Err(error),
                        Poll::Ready(Ok(0)) => return Err(WireError::Gone),
                        Poll::Ready(Ok(count)) => bytes += count,
                    }
                    wire.expect_within(self.idle_s);
                }
                Err(failure) => {
                    peer.closed(CloseReason::Malformed);
                    self.queue_close(wire, peer, failure.code, failure.reason);
                }
            }
        }
        Ok(More::No)
    }

    fn take<P: Peer>(&mut self, wire: &Wire, peer: &P, event: Event) {
        match event {
            Event::Text(text) => peer.text(text),
            Event::Binary(bytes) => peer.binary(bytes),
            Event::Ping(payload) => ws::encode_pong(&payload, peer.frames().borrow_mut().tail()),
            Event::Pong(_) => {}
            // RFC 6455, 5.5.1: the close is answered with the code it carried; without one, with an empty close.
            Event::Close(Some((code, _))) => self.queue_close(wire, peer, code, ""),
            Event::Close(None) => self.end_output(wire, peer, ws::encode_close_empty),
        }
    }

    fn end<P: Peer>(&mut self, wire: &Wire, peer: &P, ending: Ending) {
        if self.is_closing() {
            return;
        }
        match ending {
            Ending::Late => {
                peer.closed(CloseReason::Idle);
                self.queue_close(wire, peer, code::PROTOCOL_ERROR, "idle"); // as the original's server (contract 3.4)
            }
            Ending::Drain => {
                peer.closed(CloseReason::Drain);
                self.stage = Stage::Draining;
                wire.rearm_within(GOODBYE_S);
            }
        }
    }

    fn queue_close<P: Peer>(&mut self, wire: &Wire, peer: &P, code: u16, reason: &str) {
        self.end_output(wire, peer, |out| ws::encode_close(code, reason, out));
    }

    /// Takes what is queued and the close frame behind it; what is queued later stays unsent (RFC 6455, 5.5.1).
    fn end_output<P: Peer>(&mut self, wire: &Wire, peer: &P, encode_close: impl FnOnce(&mut Vec<u8>)) {
        self.stage = Stage::Closing;
        wire.rearm_within(GOODBYE_S);
        self.writing.extend_from_slice(&peer.frames().take());
        encode_close(&mut self.writing);
    }

    /// Sends what is queued; ready when all of it is with the kernel.
    fn poll_flush<P: Peer>(&mut self, cx: &mut Context<'_>, wire: &mut Wire, peer: &P) -> Poll<Result<(), WireError>> {
        loop {
            if self.written == self.writing.len() {
                let queued = peer.frames().take();
                // What was queued behind the close frame is not sent.
                let queued = if self.is_closing() { Roomy::default() } else { queued };
                (self.writing, self.written) = queued.into_parts();
                if self.written == self.writing.len() {
                    peer.unsent().set(0);
                    ready!(wire.poll_flush(cx))?;
                    peer.flushed();
                    return Poll::Ready(Ok(()));
                }
            }
            peer.unsent().set(self.writing.len() - self.written);
            match wire.poll_write(cx, &self.writing[self.written..]) {
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole of an idle socket that is joined to one session is measured by `peers idle`: at most 2,560 bytes. These are its two largest
    /// parts, which grow unseen when a field is added, or when the task becomes an `async fn` that keeps what it has moved on.
    #[test]
    fn an_idle_socket_takes_less_than_700_bytes_in_the_task_and_the_link() {
        const TASK_HEADER_BYTES: usize = 40; // the runtime's
        const COUNTS_BYTES: usize = 2 * size_of::<usize>(); // those of an `Rc`
        let task = TASK_HEADER_BYTES + size_of::<Conversation<PhoenixPeer>>();
        let link = COUNTS_BYTES + size_of::<Link>();
        // The allocator's classes, above which the next one is a fifth larger.
        assert!(task <= 320, "{task} bytes for the task");
        assert!(link <= 384, "{link} bytes for the link");
    }
}
