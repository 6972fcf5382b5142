//! Which request is what: the paths and methods of the server, in the order in which the original looked at a request
//! (contract 1.1, 1.6, 3.6): sockets, preflights, the body, the method's override, the route, what the client accepts.
//!
//! What is refused is refused in the words of the dialect whose path it is.

use super::admin::{self, KeyRequest};
use super::ask_plan::{AskPlan, SocketPlan};
use super::chat;
use super::cors::Envelope;
use super::dialect::Dialect;
use super::error::{self, ApiError, Kind};
use super::fleetlm::{self, Ask, Plan};
use super::flow::Flow;
use super::hapi::all_events::AllPlan;
use super::hapi::events::EventsPlan;
use super::hapi::upload::FilePath;
use super::hapi::{self, Planned};
use super::longpoll::{self, LongPollRequest};
use super::openapi;
use super::params::Params;
use super::render::Render;
use super::storage::{self, StorageRequest};
use super::table::{Class, RouteRow, routes};
use super::{Context, JSON, Target, agenfleet, query, teammate};
use crate::console;
use crate::limits::NAME_BYTES_MAX;
use crate::protocol::channels::Vsn;
use crate::protocol::http::{Method, Request, Response};
use crate::session::SessionId;
use crate::shard::Command;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What is to be done for a request.
#[derive(Debug)]
pub enum Route {
    /// It is answered already.
    Respond(Response),
    /// One shard is asked; [`Render::one`] makes the response.
    Call {
        /// Which.
        to: Target,
        /// What.
        command: Command,
        /// How its reply is answered.
        render: Render,
    },
    /// Every shard is asked; [`Render::many`] makes the response.
    Gather {
        /// What.
        command: Command,
        /// How the replies are answered.
        render: Render,
    },
    /// Shards are asked in several steps, and the last one has the response.
    Flow(Box<dyn Flow>, Envelope),
    /// A message is appended and its answer awaited.
    Ask(Box<AskPlan>, Envelope),
    /// What happens in a session, as long as the client listens.
    Events(Box<EventsPlan>, Envelope),
    /// The same of all sessions of a user.
    AllEvents(Box<AllPlan>, Envelope),
    /// The request's body is a file for a session.
    Upload(SessionId, Envelope),
    /// A file of a session is sent.
    Download(FilePath, Envelope),
    /// A WebSocket, if the request's handshake is one.
    Socket(Connect, Envelope),
    /// A WebSocket of another dialect's, if the request's handshake is one.
    PlainSocket(SocketPlan, Envelope),
    /// A request of long polling.
    LongPoll(LongPollRequest, Envelope),
    /// Keys, for administrators.
    Keys(KeyRequest, Envelope),
    /// A token for a key: the body.
    Exchange(Exchange, Vec<u8>, Envelope),
    /// The server's own state.
    Health(Health, Envelope),
    /// The server's metrics.
    Metrics(Envelope),
    /// What is on the disk.
    Storage(StorageRequest, Envelope),
}

/// Which health is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Whether it runs.
    Live,
    /// Whether it takes work.
    Ready,
}

/// The two routes that give tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// HAPI's.
    AccessToken,
    /// AgenFleet's.
    Login,
}

impl Exchange {
    /// Whose it is.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::AccessToken => Dialect::Hapi,
            Self::Login => Dialect::Agenfleet,
        }
    }
}

/// Who connects a socket, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// `user_id`, else `agent_id`; not verified (contract 2.4).
    pub identity: String,
    /// The protocol version.
    pub vsn: Vsn,
}

/// Decides what `request` is.
pub fn route(request: &Request, context: &Context) -> Route {
    let envelope = Envelope::of(request, context);
    let segments = match Segments::of(&request.path) {
        Ok(segments) => segments,
        Err(error) => return Route::Respond(envelope.seal(error.response())),
    };
    let texts = segments.texts();
    let path = &texts[..segments.count];
    match path {
        ["socket", "websocket"] => socket(request, envelope),
        ["socket", "longpoll"] => long_poll(request, envelope),
        _ if request.method == Method::Options => Route::Respond(envelope.seal(Response::new(204))),
        _ => match plain(request, path, context) {
            Ok(Plain::Own(Own::Health(health))) => Route::Health(health, envelope),
            Ok(Plain::Own(Own::Metrics)) => Route::Metrics(envelope),
            Ok(Plain::Own(Own::Page(response))) => Route::Respond(envelope.seal(response)),
            Ok(Plain::Own(Own::OpenApi)) => Route::Respond(envelope.seal(openapi::respond(request))),
            Ok(Plain::Hapi(Planned::Respond(response))) => Route::Respond(envelope.seal(response)),
            Ok(Plain::Hapi(Planned::Flow(flow))) => Route::Flow(flow, envelope),
            Ok(Plain::Chat(chat::Plan::Ask(plan))) => Route::Ask(plan, envelope),
            Ok(Plain::Chat(chat::Plan::Flow(flow))) => Route::Flow(flow, envelope),
            Ok(Plain::Chat(chat::Plan::Socket(plan))) => Route::PlainSocket(plan, envelope),
            Ok(Plain::Hapi(Planned::Events(plan))) => Route::Events(plan, envelope),
            Ok(Plain::Hapi(Planned::AllEvents(plan))) => Route::AllEvents(plan, envelope),
            Ok(Plain::Hapi(Planned::Upload(session))) => Route::Upload(session, envelope),
            Ok(Plain::Hapi(Planned::Download(path))) => Route::Download(path, envelope),
            Ok(Plain::Storage(request)) => Route::Storage(request, envelope),
            Ok(Plain::Keys(request)) => Route::Keys(request, envelope),
            Ok(Plain::Exchange(exchange)) => Route::Exchange(exchange, request.body.clone(), envelope),
            Ok(Plain::Call(Plan { ask, success })) => {
                let render = Render { success, envelope };
                match ask {
                    Ask::One(to, command) => Route::Call { to, command, render },
                    Ask::Every(command) => Route::Gather { command, render },
                }
            }
            Err(error) => Route::Respond(envelope.seal(error.respond(Dialect::of_path(path)))),
        },
    }
}

/// Whether the content behind this head is a file for a session: the only one that may be over the bound of others.
///
/// # Errors
/// The answer to the head, which no content would change: what its route says without one, or 413.
pub fn expects_file(head: &Request, context: &Context) -> Result<(), Response> {
    match route(head, context) {
        Route::Upload(..) => Ok(()),
        Route::Respond(response) => Err(response),
        _ => Err(Envelope::of(head, context).seal(ApiError::from(Kind::BodyTooLarge).response())),
    }
}

/// The answer to bytes that were no request, or one over its bounds: `status` of the decoder's error.
pub fn refused(status: u16, context: &Context) -> Response {
    Envelope::of_none(context).seal(Response::new(status).with_body(JSON, error::detail(status)))
}

/// Who connects with these parameters. `None`: refused with 403.
pub fn connect(query: &Map<String, Value>) -> Option<Connect> {
    let text = |name| query.get(name).map(|value| value.as_str());
    let identity = text("user_id").or_else(|| text("agent_id"))??;
    let vsn = match text("vsn") {
        None => Vsn::parse(None)?,
        Some(vsn) => Vsn::parse(Some(vsn?))?,
    };
    (identity.len() <= NAME_BYTES_MAX).then(|| Connect { identity: identity.to_owned(), vsn })
}

/// What is neither a socket nor a preflight.
enum Plain {
    Own(Own),
    Storage(StorageRequest),
    Keys(KeyRequest),
    Exchange(Exchange),
    Call(Plan),
    Hapi(Planned),
    Chat(chat::Plan),
}

/// What the server answers of itself.
enum Own {
    Health(Health),
    Metrics,
    OpenApi,
    /// The console, or a file of it.
    Page(Response),
}

routes! {
    /// What `method` on a path is, if it is about the server itself.
    fn own<'a>(Fleetlm below "") -> Own;

    GET "health"/"live", Public => Own::Health(Health::Live);
    GET "health"/"ready", Public => Own::Health(Health::Ready);
    GET "metrics", Read => Own::Metrics;
    GET "api"/"openapi.json", Public => Own::OpenApi;
}

/// The rows of the sockets. They are matched by their paths alone, for they answer other methods in their own ways. What comes over them is
/// admitted message by message.
pub const SOCKETS: &[RouteRow] = &[
    socket_row("GET", "/socket/websocket", true),
    socket_row("GET", "/socket/longpoll", false),
    socket_row("POST", "/socket/longpoll", false),
];

/// The rows of the routes that give tokens, one of each of two dialects.
pub const EXCHANGES: &[RouteRow] =
    &[exchange_row("/api/auth", Dialect::Hapi), exchange_row("/api/auth/login", Dialect::Agenfleet)];

/// The rows of the console. They are matched by its own table of files.
pub const CONSOLE: &[RouteRow] = &[console_row("/"), console_row("/console/:file")];

const fn console_row(pattern: &'static str) -> RouteRow {
    RouteRow { method: "GET", pattern, dialect: Dialect::Fleetlm, class: Class::Public, streams: false }
}

const fn exchange_row(pattern: &'static str, dialect: Dialect) -> RouteRow {
    RouteRow { method: "POST", pattern, dialect, class: Class::Public, streams: false }
}

const fn socket_row(method: &'static str, pattern: &'static str, streams: bool) -> RouteRow {
    RouteRow { method, pattern, dialect: Dialect::Fleetlm, class: Class::Read, streams }
}

fn plain(request: &Request, path: &[&str], context: &Context) -> Result<Plain, ApiError> {
    if let Some(planned) = hapi::plan_unread(request, path) {
        return Ok(Plain::Hapi(planned));
    }
    if let Some(response) = console::respond(request, path) {
        return Ok(Plain::Own(Own::Page(response)));
    }
    let mut params = match Params::of(request) {
        Ok(params) => params,
        Err(error) => return hapi::malformed(request, path, &error).map(Plain::Hapi).ok_or(error),
    };
    if let Some(plan) = chat_plan(request, path, &params, context) {
        return plan.map(Plain::Chat);
    }
    let method = method(request, &params);
    if let Some(planned) = hapi::plan(request, &method, path, &params, context)? {
        return Ok(Plain::Hapi(planned));
    }
    if let Some((_, own)) = own(&method, path) {
        return Ok(Plain::Own(own));
    }
    let ["api", resource @ ..] = path else { return Err(Kind::NotFound.into()) };
    match (&method, resource) {
        (Method::Post, ["auth"]) => return Ok(Plain::Exchange(Exchange::AccessToken)),
        (Method::Post, ["auth", "login"]) => return Ok(Plain::Exchange(Exchange::Login)),
        _ => {}
    }
    if let Some((_, call)) = admin::endpoint(&method, resource) {
        return call.plan(&params).map(Plain::Keys);
    }
    if storage::endpoint(&method, resource).is_some() {
        return Ok(Plain::Storage(StorageRequest::of(&params)));
    }
    let (_, call) = fleetlm::endpoint(&method, resource).ok_or(Kind::NotFound)?;
    if !accepts_json(request) {
        return Err(Kind::NotAcceptable.into());
    }
    if let Some(user) = request.remote_user.as_ref().filter(|user| user.is_fixed && !call.names_an_agent(&params)) {
        params.default_name("user_id", &user.name);
    }
    call.plan(&params, request.headers.first("idempotency-key"), context).map(Plain::Call)
}

/// What the request is in one of the chat APIs, if it is of one. Neither the override of methods nor `Accept` is theirs.
fn chat_plan(
    request: &Request,
    path: &[&str],
    params: &Params<'_>,
    context: &Context,
) -> Option<Result<chat::Plan, ApiError>> {
    let method = if request.method == Method::Head { &Method::Get } else { &request.method };
    let resource = match path {
        ["api", resource @ ..] => resource,
        ["agents" | "teams", ..] => path, // the paths of seed 002 lack the prefix that its example has
        _ => return None,
    };
    if let Some((_, endpoint)) = teammate::endpoint(method, resource) {
        return Some(endpoint.plan(request, params, context));
    }
    if let Some((_, endpoint)) = teammate::teams::endpoint(method, resource) {
        return Some(endpoint.plan(request, params, context));
    }
    if let Some((_, endpoint)) = teammate::conversations::endpoint(method, resource) {
        return Some(endpoint.plan(request, params, context));
    }
    if let Some((_, endpoint)) = agenfleet::history::endpoint(method, resource) {
        return Some(endpoint.plan(request, params, context));
    }
    let (_, endpoint) = agenfleet::endpoint(method, resource)?;
    Some(endpoint.plan(request, params, context))
}

fn socket(request: &Request, envelope: Envelope) -> Route {
    if request.method != Method::Get {
        return Route::Respond(envelope.seal(ApiError::from(Kind::SocketMethod).response()));
    }
    match query::parse(&request.query).ok().and_then(|query| connect_as(request, query)) {
        Some(connect) => Route::Socket(connect, envelope),
        None => Route::Respond(envelope.seal(ApiError::from(Kind::SocketRefused).response())),
    }
}

/// Who connects; whoever is a user for sure need not say so.
fn connect_as(request: &Request, query: Map<String, Value>) -> Option<Connect> {
    connect(&with_identity(request, query))
}

fn with_identity(request: &Request, mut query: Map<String, Value>) -> Map<String, Value> {
    if let Some(user) = request.remote_user.as_ref().filter(|user| user.is_fixed)
        && !query.contains_key("agent_id")
    {
        query.entry("user_id").or_insert_with(|| user.name.as_str().into());
    }
    query
}

fn long_poll(request: &Request, envelope: Envelope) -> Route {
    let Ok(query) = query::parse(&request.query) else {
        return Route::Respond(envelope.seal(ApiError::from(Kind::BadRequest).response()));
    };
    match longpoll::request(request, &with_identity(request, query)) {
        Ok(request) => Route::LongPoll(request, envelope),
        Err(response) => Route::Respond(envelope.seal(response)),
    }
}

/// Segments of the longest path there is, and one more: with that many a path is none of ours, however it goes on.
const SEGMENTS_MAX: usize = 7;

/// A path's segments, decoded. Empty ones do not count, so `/api//agents/` is `/api/agents`.
pub(super) struct Segments<'a> {
    decoded: [Cow<'a, str>; SEGMENTS_MAX],
    count: usize,
}

impl<'a> Segments<'a> {
    /// Malformed encoding is refused wherever it stands.
    pub(super) fn of(path: &'a str) -> Result<Self, ApiError> {
        let mut segments = Self { decoded: [const { Cow::Borrowed("") }; SEGMENTS_MAX], count: 0 };
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let segment = query::decode(segment, false).map_err(|_| Kind::BadRequest)?;
            if let Some(place) = segments.decoded.get_mut(segments.count) {
                *place = segment;
                segments.count += 1;
            }
        }
        Ok(segments)
    }

    /// Those of them that are there come first.
    pub(super) fn texts(&self) -> [&str; SEGMENTS_MAX] {
        self.decoded.each_ref().map(Cow::as_ref)
    }

    /// How many are there.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// HEAD is served as GET, and a POST may name another method in its body (contract 1.1).
fn method(request: &Request, params: &Params<'_>) -> Method {
    match request.method {
        Method::Head => Method::Get,
        Method::Post => match params.body_text("_method").map(|name| name.to_ascii_uppercase()).as_deref() {
            Some(name @ ("PUT" | "PATCH" | "DELETE")) => Method::parse(name),
            _ => Method::Post,
        },
        ref method => method.clone(),
    }
}

/// Whether the client takes JSON: it names no range, or the most specific one that covers JSON has a weight above 0
/// (RFC 9110 section 12.5.1).
fn accepts_json(request: &Request) -> bool {
    if request.headers.list("accept").next().is_none() {
        return true;
    }
    let covering = request.headers.list("accept").filter_map(json_range);
    covering.max_by_key(|(specificity, _)| *specificity).is_some_and(|(_, weight)| weight > 0.0)
}

/// How specifically a range of `Accept` covers JSON, and its weight; `None` when it does not.
fn json_range(range: &str) -> Option<(u8, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let specificity = match parts.next()?.to_ascii_lowercase().as_str() {
        "*/*" | "*" => 1,
        "application/*" => 2,
        "application/json" => 3,
        kind if kind.starts_with("application/") && kind.ends_with("+json") => 3,
        _ => return None,
    };
    let weight =
        parts.filter_map(|parameter| parameter.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    Some((specificity, weight.map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(1.0))))
}

#[cfg(test)]
mod tests;
