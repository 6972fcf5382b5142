//! A WebSocket server that echoes messages: nothing but this server's handshake, codec and connection code.
//!
//! It exists so that conformance suites can be run against them (`examples/ws-echo.rs`).

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};

use anyhow::anyhow;
use glommio::{LocalExecutorBuilder, Placement};

use super::link::Goodbye;
use super::metrics::CloseReason;
use super::net::{Listener, Poller, Stream, Transport};
use super::websocket::{Conversation, Peer};
use super::wire::{Wire, WireIo};
use crate::limits;
use crate::protocol::Roomy;
use crate::protocol::http::{self, RequestDecoder, Step, Version};
use crate::protocol::ws::{self, Compressor, Decoder, Deflate, HandshakeOptions, Role};

/// Message bound: the suites send up to 16 MiB.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Echoes on `address` until the process ends. `listening` is told the address, for port 0.
///
/// # Errors
/// When io_uring or the address cannot be used.
pub fn run(address: SocketAddr, listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    super::ring::probe()?;
    let (address, mut sockets) = super::listener::listen(address, 1)?;
    let socket = sockets.pop().ok_or_else(|| anyhow!("no socket"))?;
    listening(address);
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(limits::RING_DEPTH)
        .io_memory(limits::RING_MEMORY_BYTES)
        .spawn(move || async move {
            let io = Rc::new(WireIo::default());
            let poller = Poller::start()?;
            let listener = Listener::new(&poller, socket)?;
            while let Ok(stream) = listener.accept(&poller).await {
                glommio::spawn_local(serve(Rc::clone(&io), stream)).detach();
            }
            Ok(())
        })
        .map_err(|error| anyhow!("cannot start: {error}"))?;
    executor.join().map_err(|error| anyhow!("ended: {error}"))?
}

async fn serve(io: Rc<WireIo>, stream: Stream) {
    let mut wire = Wire::new(io, Transport::Plain(stream));
    let limits = http::Limits {
        head_bytes_max: limits::HEAD_BYTES_MAX,
        request_line_bytes_max: limits::REQUEST_LINE_BYTES_MAX,
        headers_max: limits::HEADERS_MAX,
        body_bytes_max: 0,
        upload_bytes_max: 0,
    };
    let mut requests = RequestDecoder::new(limits);
    let request = loop {
        match requests.next() {
            Ok(Step::Request(request)) => break request,
            Ok(_) => match wire.read(&mut |bytes| requests.push(bytes)).await {
                Ok(1..) => {}
                _ => return wire.close(),
            },
            Err(_) => return wire.close(),
        }
    };
    let options = HandshakeOptions { deflate: true, subprotocols: &[] };
    let (upgrade, response) = match ws::accept(&request, &options) {
        Ok((upgrade, response)) => (Some(upgrade), response),
        Err(refusal) => (None, refusal),
    };
    let mut out = Vec::new();
    let date = "Thu, 01 Jan 1970 00:00:00 GMT"; // an echo has no clock
    response.encode(&mut out, &http::Context { head_only: false, keep_alive: true, version: Version::Http11, date });
    let Some(upgrade) = upgrade else {
        let _ = wire.write_all(&out).await; // the refusal is all that this connection gets, whether it arrives or not
        return wire.close();
    };
    let limits = ws::Limits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: limits::WS_FRAGMENTS_MAX };
    let mut decoder = Decoder::new(Role::Server, limits, upgrade.deflate);
    decoder.push(&requests.into_rest());
    let echo = Echo {
        frames: RefCell::new(out.into()),
        unsent: Cell::new(0),
        deflate: upgrade.deflate,
        compressor: RefCell::new(upgrade.deflate.map_or_else(Compressor::new, Compressor::of)),
        waker: RefCell::new(None),
    };
    Conversation::new(wire, decoder, limits::SOCKET_IDLE_S, echo).await;
}

struct Echo {
    frames: RefCell<Roomy>,
    unsent: Cell<usize>,
    deflate: Option<Deflate>,
    compressor: RefCell<Compressor>,
    waker: RefCell<Option<Waker>>,
}

impl Peer for Echo {
    fn takes_messages(&self) -> bool {
        self.unsent.get() + self.frames.borrow().len() < limits::SOCKET_READ_PAUSE_BYTES
    }

    fn text(&self, text: String) {
        let mut frames = self.frames.borrow_mut();
        match self.deflate {
            Some(_) => {
                ws::encode_text_deflated(text.as_bytes(), &mut self.compressor.borrow_mut(), frames.tail());
            }
            _ => ws::encode_text(text.as_bytes(), frames.tail()),
        }
    }

    fn binary(&self, bytes: Vec<u8>) {
        let mut frames = self.frames.borrow_mut();
        match self.deflate {
            Some(_) => {
                ws::encode_binary_deflated(&bytes, &mut self.compressor.borrow_mut(), frames.tail());
            }
            _ => ws::encode_binary(&bytes, frames.tail()),
        }
    }

    fn frames(&self) -> &RefCell<Roomy> {
        &self.frames
    }

    fn unsent(&self) -> &Cell<usize> {
        &self.unsent
    }

    fn unanswered(&self) -> usize {
        0
    }

    fn flushed(&self) {}

    fn goodbye(&self) -> Option<Goodbye> {
        None
    }

    fn register(&self, cx: &Context<'_>) {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
    }

    fn closed(&self, _: CloseReason) {}

    fn running<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }

    fn ended(&self) {}
}
