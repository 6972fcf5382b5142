//! One HTTP connection: requests in, responses out, in order, until it ends or becomes a WebSocket. What a request comes to is `answer`'s.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::answer::{self, Answer, Awaited, Opened};
use super::listener::Admitted;
use super::metrics::{CloseReason, Which};
use super::net::Transport;
use super::places::Permit;
use super::streaming::{Streaming, Way};
use super::watch::Ending;
use super::wire::{Wire, WireError};
use super::world::World;
use super::{plain_socket, uploads, websocket};
use crate::api;
use crate::api::error::ApiError;
use crate::limits;
use crate::protocol::Roomy;
use crate::protocol::http::{self, Method, Request, RequestDecoder, RequestError, Response, Step, Version};

/// Responses to pipelined requests are gathered up to here before they are written.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve(world: Rc<World>, stream: Transport, admitted: Admitted) {
    let limits = http::Limits {
        head_bytes_max: limits::HEAD_BYTES_MAX,
        request_line_bytes_max: limits::REQUEST_LINE_BYTES_MAX,
        headers_max: limits::HEADERS_MAX,
        body_bytes_max: world.config.body_bytes_max,
        upload_bytes_max: limits::UPLOAD_BODY_BYTES_MAX.max(world.config.body_bytes_max),
    };
    let address = if world.auth.limiter().counts_addresses() { stream.peer() } else { None };
    let connection = Connection {
        wire: Wire::new(Rc::clone(&world.io), stream),
        world,
        decoder: RequestDecoder::new(limits),
        out: Vec::new(),
        content: Roomy::default(),
        request_began: false,
        request_until_us: 0,
        upload: None,
        admitted,
        address,
    };
    connection.run().await;
}

struct Connection {
    world: Rc<World>,
    wire: Wire,
    decoder: RequestDecoder,
    out: Vec<u8>,
    /// A large content that goes behind `out`.
    content: Roomy,
    request_began: bool,
    request_until_us: u64,
    /// The content under way is an upload over the bound of others.
    upload: Option<Permit>,
    admitted: Admitted,
    /// Where the client is, if that matters.
    address: Option<IpAddr>,
}

/// What follows a request.
enum Next {
    Request,
    Close,
    /// The client is gone, or takes nothing.
    Gone,
    Socket(Box<Opened>),
}

impl Connection {
    async fn run(mut self) {
        loop {
            // A client whose next request is always there must not keep the others of this shard waiting.
            glommio::yield_if_needed().await;
            let next = match self.decoder.next() {
                Ok(Step::NeedMore) => match self.receive().await {
                    Ok(()) => continue,
                    Err(error) => return self.end(error).await,
                },
                Ok(Step::SendContinue) => {
                    self.out.extend_from_slice(http::CONTINUE);
                    continue;
                }
                Ok(Step::Oversized) => match uploads::let_in(&self.world, self.address, self.decoder.oversized()) {
                    Ok(permit) => {
                        self.expect_upload(permit);
                        continue;
                    }
                    Err(refusal) => {
                        encode(&self.world, &refusal, false, false, Version::Http11, &mut self.out);
                        Next::Close
                    }
                },
                Ok(Step::Request(request)) => self.answer(request).await,
                Err(error) => return self.refuse(error).await,
            };
            match next {
                Next::Request if self.out.len() < GATHERED_BYTES_MAX && self.content.is_empty() => {}
                Next::Request => {
                    if self.flush().await.is_err() {
                        return self.wire.close();
                    }
                }
                Next::Close => {
                    if self.flush().await.is_ok() {
                        self.wire.linger().await;
                    }
                    return self.wire.close();
                }
                Next::Gone => return self.wire.close(),
                Next::Socket(opened) => return self.become_socket(*opened),
            }
        }
    }

    /// Goes on as a task of its own: a socket that idles for hours does not keep the memory that a request needs.
    fn become_socket(self, opened: Opened) {
        let Self { world, wire, decoder, out, admitted, .. } = self;
        let rest = decoder.into_rest();
        match opened {
            Opened::Phoenix(opening) => {
                let socket = websocket::phoenix(world, wire, opening, &rest, out, admitted);
                glommio::spawn_local(socket).detach();
            }
            Opened::Plain(opening) => {
                let socket = plain_socket::converse(world, wire, opening, &rest, out, admitted);
                glommio::spawn_local(socket).detach();
            }
        }
    }

    /// Lets a file in that is larger than other contents may be, in more time than those have.
    fn expect_upload(&mut self, permit: Permit) {
        self.upload = Some(permit);
        self.request_began = true;
        self.request_until_us = self.world.now().mono_us + limits::UPLOAD_S * 1_000_000;
        if self.decoder.allow() {
            self.out.extend_from_slice(http::CONTINUE);
        }
    }

    /// Writes what is answered, then waits for more bytes.
    async fn receive(&mut self) -> Result<(), WireError> {
        self.flush().await?;
        if self.decoder.is_idle() {
            self.request_began = false;
            self.wire.expect_within(limits::HTTP_IDLE_S);
        } else {
            if !self.request_began {
                self.request_began = true;
                self.request_until_us = self.world.now().mono_us + limits::REQUEST_S * 1_000_000;
            }
            self.wire.watch.until(self.request_until_us);
        }
        let decoder = &mut self.decoder;
        match self.wire.read(&mut |bytes| decoder.push(bytes)).await? {
            0 => Err(WireError::Gone),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), WireError> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.wire.expect_within(limits::RESPONSE_S);
        let (mut out, mut content) = (std::mem::take(&mut self.out), std::mem::take(&mut self.content));
        if content.room() >= out.len() {
            content.prepend(&out);
            out.clear();
        }
        self.wire.write_all(&out).await?;
        self.wire.write_all(&content).await
    }

    async fn answer(&mut self, request: Request) -> Next {
        let world = Rc::clone(&self.world);
        world.metrics.count(Which::Requests);
        self.request_began = false;
        self.wire.watch.until(u64::MAX); // an answer takes the time it takes; sending it has a deadline again
        let head_only = request.method == Method::Head;
        let version = request.version;
        let mut keep_alive = request.keep_alive && !world.state.is_draining();
        let permit = self.upload.take();
        let answer = answer::to(&world, self.address, request, permit).await;
        let response = match answer {
            Answer::Response(response) => response,
            Answer::Awaited(awaited) => {
                // What was answered before does not wait for it.
                if self.flush().await.is_err() {
                    return Next::Gone;
                }
                self.wire.watch.until(u64::MAX);
                self.awaited(*awaited).await
            }
            Answer::Socket(opened, response) => {
                encode(&world, &response, head_only, true, version, &mut self.out);
                return Next::Socket(opened);
            }
            Answer::Stream(streaming) => return self.stream(*streaming, head_only, keep_alive, version).await,
        };
        keep_alive &= !world.state.is_draining();
        if response.body.len() < GATHERED_BYTES_MAX {
            encode(&world, &response, head_only, keep_alive, version, &mut self.out);
        } else {
            world.metrics.responded(response.status);
            let date = world.io.clock.http_date();
            let context = http::Context { head_only, keep_alive, version, date: &date };
            if response.encode_before_content(&mut self.out, &context) {
                self.content = response.body;
            }
        }
        if keep_alive { Next::Request } else { Next::Close }
    }

    /// Waits for the answer to an ask, as long as whoever asked may. A client that leaves meanwhile will not have read it; one that has
    /// only said that it sends nothing more looks the same, and is answered.
    async fn awaited(&mut self, awaited: Awaited) -> Response {
        let Awaited { asking, mut render, envelope, signature, dialect, lease } = awaited;
        let has_left = asking.reader_left();
        let mut done = pin!(asking.done());
        let outcome = poll_fn(|cx| {
            if let Some(over) = lease.as_ref().and_then(|lease| lease.poll_over(cx)) {
                return Poll::Ready(Err(over));
            }
            if !has_left.get() && self.poll_end(cx) {
                has_left.set(true);
            }
            done.as_mut().poll(cx).map(Ok)
        });
        let response = envelope.seal(match outcome.await {
            Ok(outcome) => render.respond(&outcome),
            Err(over) => ApiError::from(over.error()).respond(dialect),
        });
        match signature {
            Some(signature) => signature.sign(response),
            None => response,
        }
    }

    /// Whether the client has ended its side. What it sends before that goes to the decoder: up to the first bytes of a next request,
    /// then it is not read.
    fn poll_end(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        while self.decoder.is_idle() {
            let decoder = &mut self.decoder;
            match self.wire.poll_read(cx, &mut |bytes| decoder.push(bytes)) {
                Poll::Ready(Ok(0) | Err(WireError::Gone)) => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(WireError::Ended(_))) | Poll::Pending => return false,
            }
        }
        false
    }

    /// Sends an answer that is still being made, to its end. What was answered before leaves with its head.
    async fn stream(&mut self, streaming: Streaming, head_only: bool, keep_alive: bool, version: Version) -> Next {
        let world = Rc::clone(&self.world);
        let Streaming { head, length, mut source } = streaming;
        world.metrics.responded(head.status);
        let date = world.io.clock.http_date();
        let context = http::Context { head_only, keep_alive, version, date: &date };
        let framing = match length {
            Some(bytes) => head.encode_sized_stream(bytes, &mut self.out, &context),
            None => head.encode_stream(&mut self.out, &context),
        };
        let next = |keep_alive| if keep_alive { Next::Request } else { Next::Close };
        if head_only {
            return next(framing.keep_alive());
        }
        let out = std::mem::take(&mut self.out);
        let way = Way { wire: &mut self.wire, decoder: &mut self.decoder, framing };
        match way.send(out, &mut *source).await {
            Ok(()) => {
                self.wire.watch.rearm(u64::MAX);
                next(framing.keep_alive() && !world.state.is_draining())
            }
            Err(error) => {
                if let WireError::Ended(_) = error {
                    world.metrics.closed(CloseReason::SlowReader);
                }
                Next::Gone
            }
        }
    }

    /// A malformed request is answered and its connection ends: what follows on it cannot be trusted.
    async fn refuse(mut self, error: RequestError) {
        let world = Rc::clone(&self.world);
        world.metrics.closed(CloseReason::Malformed);
        let response = api::refused(error.status, &world.context());
        encode(&world, &response, false, false, Version::Http11, &mut self.out);
        if self.flush().await.is_ok() {
            self.wire.linger().await;
        }
        self.wire.close();
    }

    /// The peer left, was too slow, or the server shuts down.
    async fn end(mut self, error: WireError) {
        let world = Rc::clone(&self.world);
        match error {
            WireError::Ended(Ending::Late) if self.request_began => {
                world.metrics.closed(CloseReason::SlowRequest);
                let response = api::refused(408, &world.context());
                encode(&world, &response, false, false, Version::Http11, &mut self.out);
                self.wire.rearm_within(1);
                let out = std::mem::take(&mut self.out);
                if self.wire.write_all(&out).await.is_ok() {
                    self.wire.linger().await;
                }
            }
            WireError::Ended(Ending::Late) => world.metrics.closed(CloseReason::Idle),
            WireError::Ended(Ending::Drain) => world.metrics.closed(CloseReason::Drain),
            WireError::Gone => {}
        }
        self.wire.close();
    }
}

fn encode(world: &World, response: &Response, head_only: bool, keep_alive: bool, version: Version, out: &mut Vec<u8>) {
    world.metrics.responded(response.status);
    response.encode(out, &http::Context { head_only, keep_alive, version, date: &world.io.clock.http_date() });
}
