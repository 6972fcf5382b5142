//! One HTTP connection: requests in, responses out, in order, until it ends or becomes a WebSocket.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::ask::Asking;
use super::listener::Admitted;
use super::metrics::{CloseReason, Which};
use super::net::Transport;
use super::promise::Promise;
use super::streaming::{Speech, Streaming, Way};
use super::uploads::Permit;
use super::watch::Ending;
use super::wire::{Wire, WireError};
use super::world::World;
use super::{all_events, authority, events, flow, keys, longpoll, plain_socket, uploads, websocket};
use crate::api::ask_plan::{AskPlan, AskRender, Begin};
use crate::api::auth::Principal;
use crate::api::cors::Envelope;
use crate::api::error::{ApiError, Kind};
use crate::api::{self, Health, Route, Target};
use crate::limits;
use crate::protocol::Roomy;
use crate::protocol::http::{self, Method, Request, RequestDecoder, RequestError, Response, Step, Version};
use crate::shard::{Access, Command, Refusal, Reply};

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

/// A connection that is to become a WebSocket.
enum Opened {
    Phoenix(websocket::Opening),
    Plain(plain_socket::Opening),
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
        let answer = let_in(&world, self.address, request, permit).await;
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

    /// Waits for the answer to an ask. A client that leaves meanwhile will not have read it; one that has only said that it sends
    /// nothing more looks the same, and is answered.
    async fn awaited(&mut self, awaited: Awaited) -> Response {
        let Awaited { asking, mut render, envelope, page } = awaited;
        let has_left = asking.reader_left();
        let mut done = pin!(asking.done());
        let outcome = poll_fn(|cx| {
            if !has_left.get() && self.poll_end(cx) {
                has_left.set(true);
            }
            done.as_mut().poll(cx)
        });
        let outcome = outcome.await;
        let response = envelope.seal(render.respond(&outcome));
        self.world.auth.origins().sign(page.as_deref(), response)
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
        let Streaming { head, mut source } = streaming;
        world.metrics.responded(head.status);
        let date = world.io.clock.http_date();
        let framing = head.encode_stream(&mut self.out, &http::Context { head_only, keep_alive, version, date: &date });
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

enum Answer {
    Response(Response),
    /// An agent is asked for it.
    Awaited(Box<Awaited>),
    /// It is made while it is sent.
    Stream(Box<Streaming>),
    /// A handshake and the response that accepts it.
    Socket(Box<Opened>, Response),
}

/// An ask under way that is answered at its end.
struct Awaited {
    asking: Asking,
    render: Box<dyn AskRender>,
    envelope: Envelope,
    page: Option<String>,
}

/// Answers a request of whoever may send it, and says to which page's script the answer may go.
async fn let_in(world: &Rc<World>, address: Option<IpAddr>, mut request: Request, upload: Option<Permit>) -> Answer {
    let origins = world.auth.origins();
    let origin = request.headers.first("origin").filter(|_| origins.is_list()).map(str::to_owned);
    let answer = match authority::admit(world, address, &mut request) {
        Ok(principal) => held(world, address, &principal, request, upload).await,
        Err(refusal) => Answer::Response(refusal),
    };
    match answer {
        Answer::Response(response) => Answer::Response(origins.sign(origin.as_deref(), response)),
        Answer::Awaited(awaited) => Answer::Awaited(Box::new(Awaited { page: origin, ..*awaited })),
        Answer::Socket(opened, response) => Answer::Socket(opened, origins.sign(origin.as_deref(), response)),
        Answer::Stream(streaming) => Answer::Stream(Box::new(streaming.signed(origins, origin.as_deref()))),
    }
}

/// What of an answer goes on ends when whoever asked may no longer.
async fn held(
    world: &Rc<World>,
    address: Option<IpAddr>,
    principal: &Rc<Principal>,
    request: Request,
    upload: Option<Permit>,
) -> Answer {
    match respond(world, address, principal, request, upload).await {
        Answer::Stream(streaming) if !principal.is_open => {
            Answer::Stream(Box::new(streaming.held_by(world, principal)))
        }
        answer => answer,
    }
}

async fn respond(
    world: &Rc<World>,
    address: Option<IpAddr>,
    principal: &Rc<Principal>,
    request: Request,
    upload: Option<Permit>,
) -> Answer {
    let access = principal.access();
    let holder = || (!principal.is_open).then(|| Rc::clone(principal));
    Answer::Response(match api::route(&request, &world.context()) {
        Route::Socket(connect, envelope) => match websocket::Opening::accept(world, holder(), &request, connect) {
            Ok((opening, response)) => return Answer::Socket(Box::new(Opened::Phoenix(opening)), response),
            Err(refusal) => envelope.seal(refusal),
        },
        Route::PlainSocket(plan, envelope) => match plain_socket::Opening::accept(world, holder(), &request, plan) {
            Ok((opening, response)) => return Answer::Socket(Box::new(Opened::Plain(opening)), response),
            Err(refusal) => envelope.seal(refusal),
        },
        Route::Respond(response) => response,
        Route::Ask(plan, envelope) => return ask(world, access, *plan, envelope).await,
        Route::Upload(session, envelope) => {
            envelope.seal(uploads::take(world, access, session, request.body, upload).await)
        }
        Route::Download(path, envelope) => return begun(uploads::fetch(world, access, path).await, envelope),
        Route::AllEvents(plan, envelope) => return begun(all_events::begin(world, access, *plan).await, envelope),
        Route::Events(plan, envelope) => return begun(events::begin(world, access, *plan).await, envelope),
        Route::Call { to, command, render } => {
            let started = world.now().mono_us;
            let is_append = matches!(command, Command::Append(_));
            let reply = call(world, access, to, command).await;
            if is_append && reply.is_ok() {
                world.metrics.appended_us(world.now().mono_us.saturating_sub(started));
            }
            render.one(reply)
        }
        Route::Gather { command, render } => render.many(gather(world, access, command).await),
        Route::Flow(flow, envelope) => match flow::run(world, access.clone(), flow).await {
            flow::Ended::Response(response) => envelope.seal(response),
            flow::Ended::Ask(plan) => return ask(world, access, *plan, envelope).await,
        },
        Route::LongPoll(request, envelope) => envelope.seal(longpoll::serve(world, holder(), request).await),
        Route::Keys(request, envelope) => envelope.seal(keys::serve(world, principal, request).await),
        Route::Exchange(exchange, body, envelope) => envelope.seal(keys::exchanged(world, address, exchange, &body)),
        Route::Health(probe, envelope) => {
            let troubles = if probe == Health::Ready { world.state.troubles() } else { Vec::new() };
            envelope.seal(api::health::health(probe, &troubles))
        }
        Route::Metrics(envelope) if !principal.may_see_the_server() => {
            envelope.seal(ApiError::from(Kind::Forbidden).response())
        }
        Route::Metrics(envelope) => {
            // Each shard publishes what it counted before it answers; a refusal leaves its last second's numbers.
            gather(world, None, Command::ReadStatus).await;
            let text = world.metrics.render();
            envelope.seal(Response::new(200).with_body("text/plain; version=0.0.4; charset=utf-8", text))
        }
    })
}

/// Appends a message; the answer is that of its agent.
async fn ask(world: &Rc<World>, access: Option<Box<Access>>, plan: AskPlan, envelope: Envelope) -> Answer {
    let AskPlan { append, reader, mut render } = plan;
    let asking = match Asking::begin(world, access, append, reader).await {
        Ok(asking) => asking,
        Err(outcome) => return Answer::Response(envelope.seal(render.respond(&outcome))),
    };
    let begin = asking.asked().map_or(Begin::Sync, |asked| render.begin(asked));
    match begin {
        Begin::Sync => Answer::Awaited(Box::new(Awaited { asking, render, envelope, page: None })),
        Begin::Stream(head) => {
            let source = Box::new(Speech::of_ask(asking, render));
            Answer::Stream(Box::new(Streaming { head: envelope.seal(head), source }))
        }
    }
}

/// A stream, or what is said in its place.
fn begun(streaming: Result<Streaming, Response>, envelope: Envelope) -> Answer {
    match streaming {
        Ok(Streaming { head, source }) => Answer::Stream(Box::new(Streaming { head: envelope.seal(head), source })),
        Err(refusal) => Answer::Response(envelope.seal(refusal)),
    }
}

/// Sends a command and waits for its answer. The shard answers every command once, so this ends.
pub(super) async fn call(
    world: &Rc<World>,
    access: Option<Box<Access>>,
    to: Target,
    command: Command,
) -> Result<Reply, Refusal> {
    let promise = Promise::new();
    let keeper = Rc::clone(&promise);
    world.call(access, to, command, Box::new(move |_, reply| keeper.keep(reply)));
    promise.kept().await
}

pub(super) async fn gather(
    world: &Rc<World>,
    access: Option<Box<Access>>,
    command: Command,
) -> Vec<Result<Reply, Refusal>> {
    let promise = Promise::new();
    let keeper = Rc::clone(&promise);
    world.gather(access, &command, move |_, replies| keeper.keep(replies));
    promise.kept().await
}
