//! What one request comes to: who sends it is let in, what it is is done, and what is said goes back to its connection.
//!
//! Not here: bytes, and what goes before and behind a request on its connection (`http`).

use std::net::IpAddr;
use std::rc::Rc;

use super::ask::Asking;
use super::measure::Measure;
use super::places::Permit;
use super::promise::Promise;
use super::streaming::{Speech, Streaming};
use super::tenure::Lease;
use super::world::World;
use super::{all_events, authority, events, flow, folder, keys, longpoll, plain_socket, uploads, websocket};
use crate::api::admission::dialect_of;
use crate::api::ask_plan::{AskPlan, AskRender, Begin};
use crate::api::auth::Principal;
use crate::api::cors::Envelope;
use crate::api::error::{ApiError, Kind};
use crate::api::origin::Signature;
use crate::api::{self, Dialect, Health, Route, Target};
use crate::protocol::http::{Request, Response};
use crate::shard::{Access, Command, Refusal, Reply};

/// What a request comes to.
pub(super) enum Answer {
    Response(Response),
    /// An agent is asked for it.
    Awaited(Box<Awaited>),
    /// It is made while it is sent.
    Stream(Box<Streaming>),
    /// A handshake and the response that accepts it.
    Socket(Box<Opened>, Response),
}

/// An ask under way that is answered at its end.
pub(super) struct Awaited {
    pub(super) asking: Asking,
    pub(super) render: Box<dyn AskRender>,
    pub(super) envelope: Envelope,
    /// For which page the answer is, if answers say so.
    pub(super) signature: Option<Signature>,
    /// In whose words a refusal is told.
    pub(super) dialect: Dialect,
    /// How long whoever asked may wait for it; nobody's in open mode.
    pub(super) lease: Option<Lease>,
}

/// A connection that is to become a WebSocket.
pub(super) enum Opened {
    Phoenix(websocket::Opening),
    Plain(plain_socket::Opening),
}

/// Answers a request of whoever may send it, and says to which page's script the answer may go.
pub(super) async fn to(
    world: &Rc<World>,
    peer: Option<IpAddr>,
    mut request: Request,
    upload: Option<Permit>,
) -> Answer {
    let address = world.auth.client_of(peer, &request);
    let signature = world.auth.origins().signature(&request);
    let admitted = match &upload {
        // It was counted when its head was let in; who sent it may have lost his key since.
        Some(_) => authority::admit_again(world, &mut request),
        None => authority::admit(world, address, &mut request),
    };
    let answer = match admitted {
        Ok(principal) => held(world, address, &principal, request, upload).await,
        Err(refusal) => Answer::Response(refusal),
    };
    let Some(signature) = signature else { return answer };
    match answer {
        Answer::Response(response) => Answer::Response(signature.sign(response)),
        Answer::Awaited(awaited) => Answer::Awaited(Box::new(Awaited { signature: Some(signature), ..*awaited })),
        Answer::Socket(opened, response) => Answer::Socket(opened, signature.sign(response)),
        Answer::Stream(streaming) => Answer::Stream(Box::new(streaming.signed(&signature))),
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
        Answer::Awaited(awaited) if !principal.is_open => {
            Answer::Awaited(Box::new(Awaited { lease: Some(Lease::begin(world, principal)), ..*awaited }))
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
        Route::Ask(plan, envelope) => return ask(world, access, *plan, envelope, dialect_of(&request.path)).await,
        Route::Upload(session, envelope) => {
            envelope.seal(uploads::take(world, access, session, request.body, upload).await)
        }
        Route::Download(path, envelope) => return begun(uploads::fetch(world, access, path).await, envelope),
        Route::AllEvents(plan, envelope) => return begun(all_events::begin(world, access, *plan).await, envelope),
        Route::Events(plan, envelope) => return begun(events::begin(world, access, *plan).await, envelope),
        Route::Call { to, command, render } => {
            let measure = Measure::begin(world, &command);
            let reply = call(world, access, to, command).await;
            measure.end(world, &reply);
            render.one(reply)
        }
        Route::Gather { command, render } => render.many(gather(world, access, command).await),
        Route::Flow(flow, envelope) => match flow::run(world, access.clone(), flow).await {
            flow::Ended::Response(response) => envelope.seal(response),
            flow::Ended::Ask(plan) => return ask(world, access, *plan, envelope, dialect_of(&request.path)).await,
        },
        Route::LongPoll(request, envelope) => envelope.seal(longpoll::serve(world, holder(), request).await),
        Route::Storage(request, envelope) => envelope.seal(folder::serve(world, principal, request).await),
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
async fn ask(
    world: &Rc<World>,
    access: Option<Box<Access>>,
    plan: AskPlan,
    envelope: Envelope,
    dialect: Dialect,
) -> Answer {
    let AskPlan { append, reader, mut render } = plan;
    let asking = match Asking::begin(world, access, append, reader).await {
        Ok(asking) => asking,
        Err(outcome) => return Answer::Response(envelope.seal(render.respond(&outcome))),
    };
    let begin = asking.asked().map_or(Begin::Sync, |asked| render.begin(asked));
    match begin {
        Begin::Sync => {
            Answer::Awaited(Box::new(Awaited { asking, render, envelope, signature: None, dialect, lease: None }))
        }
        Begin::Stream(head) => {
            let source = Box::new(Speech::of_ask(asking, render));
            Answer::Stream(Box::new(Streaming { head: envelope.seal(head), length: None, source }))
        }
    }
}

/// A stream, or what is said in its place.
fn begun(streaming: Result<Streaming, Response>, envelope: Envelope) -> Answer {
    match streaming {
        Ok(streaming) => Answer::Stream(Box::new(Streaming { head: envelope.seal(streaming.head), ..streaming })),
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
