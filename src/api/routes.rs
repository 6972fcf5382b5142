//! Which request is what: the paths and methods of the server, in the order in which the original looked at a request
//! (contract 1.1, 1.6, 3.6): sockets, preflights, the body, the method's override, the route, what the client accepts.

use super::cors::Envelope;
use super::error::{self, ApiError, Kind};
use super::fleetlm::{self, Ask, Plan};
use super::longpoll::{self, LongPollRequest};
use super::params::Params;
use super::render::Render;
use super::{Context, JSON, Target, query};
use crate::limits::NAME_BYTES_MAX;
use crate::protocol::channels::Vsn;
use crate::protocol::http::{Method, Request, Response};
use crate::shard::Command;
use serde_json::{Map, Value};

/// What is to be done for a request.
#[derive(Debug, PartialEq)]
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
    /// A WebSocket, if the request's handshake is one.
    Socket(Connect, Envelope),
    /// A request of long polling.
    LongPoll(LongPollRequest, Envelope),
    /// The server's own state.
    Health(Health, Envelope),
    /// The server's metrics.
    Metrics(Envelope),
}

/// Which health is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Whether it runs.
    Live,
    /// Whether it takes work.
    Ready,
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
    let segments = match segments(&request.path) {
        Ok(segments) => segments,
        Err(error) => return Route::Respond(envelope.seal(error.response())),
    };
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match path[..] {
        ["socket", "websocket"] => socket(request, envelope),
        ["socket", "longpoll"] => long_poll(request, envelope, context),
        _ if request.method == Method::Options => Route::Respond(envelope.seal(Response::new(204))),
        _ => match plain(request, &path, &envelope, context) {
            Ok(route) => route,
            Err(error) => Route::Respond(envelope.seal(error.response())),
        },
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
    let vsn = Vsn::parse(text("vsn").unwrap_or(Some("1.0.0")).or(Some("")))?;
    (identity.len() <= NAME_BYTES_MAX).then(|| Connect { identity: identity.to_owned(), vsn })
}

fn plain(request: &Request, path: &[&str], envelope: &Envelope, context: &Context) -> Result<Route, ApiError> {
    let params = Params::of(request)?;
    let method = method(request, &params);
    let envelope = envelope.clone();
    match (&method, path) {
        (Method::Get, ["health", "live"]) => return Ok(Route::Health(Health::Live, envelope)),
        (Method::Get, ["health", "ready"]) => return Ok(Route::Health(Health::Ready, envelope)),
        (Method::Get, ["metrics"]) => return Ok(Route::Metrics(envelope)),
        _ => {}
    }
    let ["api", resource @ ..] = path else { return Err(Kind::NotFound.into()) };
    let call = fleetlm::endpoint(&method, resource).ok_or(Kind::NotFound)?;
    if !accepts_json(request) {
        return Err(Kind::NotAcceptable.into());
    }
    let Plan { ask, success } = call.plan(&params, request.headers.first("idempotency-key"), context)?;
    let render = Render { success, envelope };
    Ok(match ask {
        Ask::One(to, command) => Route::Call { to, command, render },
        Ask::Every(command) => Route::Gather { command, render },
    })
}

fn socket(request: &Request, envelope: Envelope) -> Route {
    if request.method != Method::Get {
        return Route::Respond(envelope.seal(ApiError::from(Kind::SocketMethod).response()));
    }
    match query::parse(&request.query).ok().and_then(|query| connect(&query)) {
        Some(connect) => Route::Socket(connect, envelope),
        None => Route::Respond(envelope.seal(ApiError::from(Kind::SocketRefused).response())),
    }
}

fn long_poll(request: &Request, envelope: Envelope, context: &Context) -> Route {
    let Ok(query) = query::parse(&request.query) else {
        return Route::Respond(envelope.seal(ApiError::from(Kind::BadRequest).response()));
    };
    match longpoll::request(request, &query, context) {
        Ok(request) => Route::LongPoll(request, envelope),
        Err(response) => Route::Respond(envelope.seal(response)),
    }
}

/// The path's segments, decoded. Empty ones do not count, so `/api//agents/` is `/api/agents`.
fn segments(path: &str) -> Result<Vec<String>, ApiError> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| query::decode(segment, false).map_err(|_| Kind::BadRequest.into())).collect()
}

/// HEAD is served as GET, and a POST may name another method in its body (contract 1.1).
fn method(request: &Request, params: &Params<'_>) -> Method {
    match request.method {
        Method::Head => Method::Get,
        Method::Post => match params.text("_method").map(|name| name.to_ascii_uppercase()).as_deref() {
            Some(name @ ("PUT" | "PATCH" | "DELETE")) => Method::parse(name),
            _ => Method::Post,
        },
        ref method => method.clone(),
    }
}

/// Whether the client takes JSON (RFC 9110 section 12.5.1): no `Accept`, or one of its ranges covers JSON.
fn accepts_json(request: &Request) -> bool {
    let mut ranges = request.headers.list("accept").peekable();
    ranges.peek().is_none() || ranges.any(is_json_range)
}

fn is_json_range(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or("").to_ascii_lowercase();
    let is_refused = parts.any(|parameter| {
        let (name, weight) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0)
    });
    let is_json = matches!(kind.as_str(), "*/*" | "application/*" | "application/json" | "*")
        || kind.starts_with("application/") && kind.ends_with("+json");
    is_json && !is_refused
}
