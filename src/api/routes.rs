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
mod tests {
    use super::*;
    use crate::api::longpoll::LongPollRequest;
    use crate::protocol::channels::longpoll::Token;
    use crate::session::{Json, MessageId};
    use crate::shard::{AgentCommand, Append, Author, Now, Page, PageFrom, Refusal, Reply};
    use std::collections::BTreeMap;

    const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };

    fn id() -> SessionId {
        SessionId::from_parts(1_761_216_480_123, 42)
    }

    fn get(target: &str) -> Request {
        Request::new(Method::Get, target)
    }

    fn with_json(method: Method, target: &str, body: &str) -> Request {
        Request::new(method, target).with_header("content-type", "application/json").with_body(body)
    }

    fn post(target: &str, body: &str) -> Request {
        with_json(Method::Post, target, body)
    }

    fn path(below: &str) -> String {
        format!("/api/sessions/{}{below}", id())
    }

    fn text(response: &Response) -> &str {
        std::str::from_utf8(&response.body).unwrap()
    }

    /// Status and body of a request that is answered at once.
    fn answered(request: &Request) -> (u16, String) {
        match route(request, &CONTEXT) {
            Route::Respond(response) => {
                assert_eq!(response.header("access-control-allow-origin"), Some("*"));
                assert!(response.header("x-request-id").is_some());
                (response.status, text(&response).to_owned())
            }
            route => panic!("{} {} is {route:?}", request.method, request.path),
        }
    }

    fn error(status: u16, message: &str) -> (u16, String) {
        (status, format!("{{\"error\":\"{message}\"}}"))
    }

    fn detail(status: u16, phrase: &str) -> (u16, String) {
        (status, format!("{{\"errors\":{{\"detail\":\"{phrase}\"}}}}"))
    }

    fn called(request: &Request) -> (Target, Command, Render) {
        match route(request, &CONTEXT) {
            Route::Call { to, command, render } => (to, command, render),
            route => panic!("{} {} is {route:?}", request.method, request.path),
        }
    }

    fn agents(request: &Request) -> (AgentCommand, Render) {
        match called(request) {
            (Target::Directory, Command::Agents(command), render) => (command, render),
            call => panic!("{call:?}"),
        }
    }

    fn appended(request: &Request) -> Append {
        match called(request) {
            (to, Command::Append(append), _) => {
                assert_eq!(to, Target::Owner(append.session));
                *append
            }
            call => panic!("{call:?}"),
        }
    }

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn a_session_is_created_with_a_fresh_id_and_answered_with_201() {
        let (to, command, render) =
            called(&post("/api/sessions", r#"{"user_id":"alice","agent_id":"bot","metadata":{"a":1}}"#));
        assert_eq!(to, Target::Owner(id()));
        let metadata = json(r#"{"a":1}"#);
        let expected =
            Command::CreateSession { id: id(), user_id: "alice".into(), agent_id: "bot".into(), title: None, metadata };
        assert_eq!(command, expected);
        let response = render.one(Ok(Reply::Session { json: json(r#"{"id":"x"}"#) }));
        assert_eq!((response.status, text(&response)), (201, r#"{"session":{"id":"x"}}"#));
        assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    }

    #[test]
    fn a_path_longer_than_any_is_not_found_and_is_looked_at_to_its_end() {
        let longest = path("/runs/x/stop");
        assert_ne!(answered(&post(&longest, "{}")), detail(404, "Not Found"), "a run of that name is looked for");
        for more in ["/y", "/y/z", "/y/z/%41"] {
            assert_eq!(answered(&post(&format!("{longest}{more}"), "{}")), detail(404, "Not Found"), "{more}");
        }
        assert_eq!(answered(&post(&format!("{longest}/y/z/%zz"), "{}")), detail(400, "Bad Request"));
    }

    #[test]
    fn a_session_needs_a_user_and_an_agent() {
        let long = "x".repeat(256);
        for (body, message) in [
            (r#"{"user_id":"a"}"#, "user_id and agent_id are required"),
            (r#"{"sender_id":"a","recipient_id":"b"}"#, "user_id and agent_id are required"),
            ("[]", "user_id and agent_id are required"),
            (r#"{"user_id":null,"agent_id":"b"}"#, "user_id must be a non-empty string"),
            (r#"{"user_id":" ","agent_id":"b"}"#, "user_id must be a non-empty string"),
            (r#"{"user_id":"a","agent_id":7}"#, "agent_id must be a non-empty string"),
            (r#"{"user_id":"a","agent_id":"b","metadata":null}"#, "metadata must be a map"),
            (r#"{"user_id":"a","agent_id":"b","metadata":[]}"#, "metadata must be a map"),
            (&format!(r#"{{"user_id":"{long}","agent_id":"b"}}"#), "user_id must be at most 255 bytes"),
            (&format!(r#"{{"user_id":"a","agent_id":"{long}"}}"#), "agent_id must be at most 255 bytes"),
        ] {
            assert_eq!(answered(&post("/api/sessions", body)), error(422, message), "{body}");
        }
        let without_type = Request::new(Method::Post, "/api/sessions").with_body(r#"{"user_id":"a","agent_id":"b"}"#);
        assert_eq!(answered(&without_type), error(422, "user_id and agent_id are required"));
    }

    #[test]
    fn a_session_is_read_archived_and_deleted_by_its_id() {
        let (to, command, render) = called(&get(&path("")));
        assert_eq!((to, command), (Target::Owner(id()), Command::ReadSession { id: id() }));
        assert_eq!(render.clone().one(Ok(Reply::Session { json: json("{}") })).status, 200);
        let response = render.one(Err(Refusal::SessionNotFound));
        assert_eq!((response.status, text(&response)), (404, r#"{"error":"Session not found"}"#));

        let (_, command, render) = called(&Request::new(Method::Delete, &path("")));
        assert_eq!(command, Command::ArchiveSession { id: id() });
        let response = render.one(Ok(Reply::Session { json: json("{}") }));
        assert_eq!((response.status, text(&response)), (204, ""));
        for (target, is_permanent) in [("?permanent=true", true), ("?permanent=1", true), ("?permanent=false", false)] {
            let (_, command, _) = called(&Request::new(Method::Delete, &path(target)));
            assert_eq!(command == Command::DeleteSession { id: id() }, is_permanent, "{target}");
        }
    }

    #[test]
    fn a_text_that_is_no_session_id_names_no_session() {
        let message = r#"{"user_id":"a","content":{}}"#;
        for request in [
            get("/api/sessions/x"),
            get("/api/sessions/x/messages"),
            get("/api/sessions/x/read"),
            get(&format!("/api/sessions/{}", id().to_string().to_lowercase())),
            Request::new(Method::Delete, "/api/sessions/x"),
            post("/api/sessions/x/messages", message),
            post("/api/sessions/x/read", r#"{"user_id":"a"}"#),
        ] {
            assert_eq!(answered(&request), error(404, "Session not found"), "{}", request.path);
        }
    }

    #[test]
    fn sessions_are_listed_over_all_shards_newest_first_with_paging() {
        let Route::Gather { command, render } = route(&get("/api/sessions?user_id=a+b&limit=2"), &CONTEXT) else {
            panic!()
        };
        assert_eq!(command, Command::ListSessions { user_id: Some("a b".into()), before: None, limit: 2 });
        let at = |ms: u64| SessionId::from_parts(ms, 0);
        let page = |ids: &[u64], has_more| {
            Ok(Reply::Sessions { sessions: ids.iter().map(|&ms| (at(ms), json(&ms.to_string()))).collect(), has_more })
        };
        let response = render.clone().many(vec![page(&[3, 1], false), page(&[4], false), page(&[], false)]);
        assert_eq!(text(&response), r#"{"sessions":[4,3],"has_more":true}"#);
        let response = render.clone().many(vec![page(&[3], true), page(&[], false)]);
        assert_eq!(text(&response), r#"{"sessions":[3],"has_more":true}"#);
        let response = render.clone().many(vec![page(&[1], false), page(&[2], false)]);
        assert_eq!(text(&response), r#"{"sessions":[2,1],"has_more":false}"#);
        let response = render.many(vec![page(&[1], false), Err(Refusal::Overloaded)]);
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    }

    #[test]
    fn a_page_of_sessions_is_bounded_and_begins_below_an_id() {
        for (query, limit) in [("", 50), ("?limit=7x", 7), ("?limit=-1", 50), ("?limit=100000", 500)] {
            let Route::Gather { command, .. } = route(&get(&format!("/api/sessions{query}")), &CONTEXT) else {
                panic!()
            };
            assert_eq!(command, Command::ListSessions { user_id: None, before: None, limit }, "{query}");
        }
        let Route::Gather { command, .. } = route(&get(&format!("/api/sessions?before={}", id())), &CONTEXT) else {
            panic!()
        };
        assert_eq!(command, Command::ListSessions { user_id: None, before: Some(id()), limit: 50 });
        assert_eq!(answered(&get("/api/sessions?before=x")), error(422, "before must be a session id"));
    }

    #[test]
    fn messages_are_read_upwards_or_backwards_leniently() {
        for (query, from, limit) in [
            ("", PageFrom::After(0), 50),
            ("?after_seq=7&limit=10000", PageFrom::After(7), 10_000),
            ("?after_seq=7x&limit=5.9", PageFrom::After(7), 5),
            ("?after_seq=-7&limit=0", PageFrom::After(0), 50),
            ("?after_seq=x&limit=-1", PageFrom::After(0), 50),
            ("?limit=99999999999999999999", PageFrom::After(0), 100_000),
            ("?before_seq=9", PageFrom::Before(9), 50),
            ("?before_seq=9&after_seq=3", PageFrom::Before(9), 50),
            ("?before_seq=0&after_seq=3", PageFrom::After(3), 50),
        ] {
            let (to, command, _) = called(&get(&path(&format!("/messages{query}"))));
            assert_eq!(to, Target::Owner(id()));
            assert_eq!(command, Command::ReadMessages { session: id(), from, limit }, "{query}");
        }
    }

    #[test]
    fn a_page_of_messages_says_whether_there_is_more() {
        let (_, _, render) = called(&get(&path("/messages")));
        let empty = render.clone().one(Ok(Reply::Messages(Page::default())));
        assert_eq!((empty.status, text(&empty)), (200, r#"{"messages":[],"has_more":false,"last_seq":0}"#));
        let page =
            Page { text: br#"{"seq":1},{"seq":2}"#.to_vec(), has_more: true, session_last_seq: 9, ..Page::default() };
        let response = render.one(Ok(Reply::Messages(page)));
        assert_eq!(text(&response), r#"{"messages":[{"seq":1},{"seq":2}],"has_more":true,"last_seq":9}"#);
    }

    #[test]
    fn a_message_is_appended_with_defaults_and_its_content_as_it_came() {
        let append = appended(&post(&path("/messages"), r#"{"user_id":"alice","content":{ "text" : "h\u00e9"}}"#));
        let expected = Append {
            session: id(),
            message: MessageId::from_parts(1_761_216_480_123, 42),
            author: Author::User("alice".into()),
            kind: "text".into(),
            content: json(r#"{ "text" : "h\u00e9"}"#),
            metadata: Json::empty_object(),
            idempotency_key: None,
            expected_seq: None,
            participants_only: false,
            echo: true,
            terms: None,
        };
        assert_eq!(append, expected);
        let body = r#"{"agent_id":"bot","kind":"assistant","content":{},"metadata":{"a":1}}"#;
        let append = appended(&post(&path("/messages"), body));
        assert_eq!((append.author, append.kind.as_str()), (Author::Agent("bot".into()), "assistant"));
        assert_eq!(append.metadata, json(r#"{"a":1}"#));
    }

    #[test]
    fn an_appended_message_is_answered_with_200_and_a_retry_says_so() {
        let (_, _, render) = called(&post(&path("/messages"), r#"{"user_id":"a","content":{}}"#));
        let reply = |replayed| Ok(Reply::Appended { seq: 1, json: Some(json(r#"{"seq":1}"#)), replayed });
        let response = render.clone().one(reply(false));
        assert_eq!((response.status, text(&response)), (200, r#"{"message":{"seq":1}}"#));
        assert_eq!(response.header("idempotent-replayed"), None);
        let again = render.clone().one(reply(true));
        assert_eq!((text(&again), again.header("idempotent-replayed")), (r#"{"message":{"seq":1}}"#, Some("true")));
        let conflict = render.clone().one(Err(Refusal::SeqConflict { current: 4 }));
        assert_eq!(conflict.status, 409);
        assert_eq!(text(&conflict), r#"{"error":"expected_seq does not match","current_seq":4}"#);
    }

    /// Contract 1.5. Each body breaks its own check and all later ones.
    #[test]
    fn a_message_is_checked_in_the_order_of_the_contract() {
        let rest = r#""kind":"","content":1,"metadata":1,"expected_seq":-1"#;
        for (body, message) in [
            (
                format!(r#"{{"user_id":null,"agent_id":null,"sender_id":"a",{rest}}}"#),
                "Provide either user_id or agent_id when sending a message, not both",
            ),
            (
                format!(r#"{{"sender_id":"a",{rest}}}"#),
                "sender_id is deprecated; use user_id or agent_id to identify the sender",
            ),
            (
                format!(r#"{{"user_id":"","sender_id":null,{rest}}}"#),
                "sender_id is deprecated; use user_id or agent_id to identify the sender",
            ),
            (format!("{{{rest}}}"), "user_id or agent_id is required"),
            (format!(r#"{{"user_id":"",{rest}}}"#), "user_id or agent_id is required"),
            (format!(r#"{{"agent_id":7,{rest}}}"#), "user_id or agent_id is required"),
            (format!(r#"{{"user_id":"a",{rest}}}"#), "kind must be a non-empty string"),
            (r#"{"user_id":"a","kind":null,"content":1}"#.into(), "kind must be a non-empty string"),
            (r#"{"user_id":"a","kind":7,"content":1}"#.into(), "kind must be a non-empty string"),
            (r#"{"user_id":"a","metadata":1}"#.into(), "content is required"),
            (r#"{"user_id":"a","content":null,"metadata":1}"#.into(), "content must be a map"),
            (r#"{"user_id":"a","content":[{}],"metadata":1}"#.into(), "content must be a map"),
            (r#"{"user_id":"a","content":{},"metadata":null,"expected_seq":-1}"#.into(), "metadata must be a map"),
            (r#"{"user_id":"a","content":{},"metadata":"{}","expected_seq":-1}"#.into(), "metadata must be a map"),
            (r#"{"user_id":"a","content":{},"expected_seq":-1}"#.into(), "expected_seq must be a non-negative integer"),
            (
                r#"{"user_id":"a","content":{},"expected_seq":null}"#.into(),
                "expected_seq must be a non-negative integer",
            ),
            (
                r#"{"user_id":"a","content":{},"expected_seq":"1x"}"#.into(),
                "expected_seq must be a non-negative integer",
            ),
            (
                r#"{"user_id":"a","content":{},"idempotency_key":7}"#.into(),
                "idempotency_key must be a string of 1 to 255 bytes",
            ),
            (
                format!(r#"{{"user_id":"a","content":{{}},"idempotency_key":"{}"}}"#, "k".repeat(256)),
                "idempotency_key must be a string of 1 to 255 bytes",
            ),
            (format!(r#"{{"user_id":"{}","content":{{}}}}"#, "u".repeat(256)), "user_id must be at most 255 bytes"),
            (format!(r#"{{"agent_id":"{}","content":{{}}}}"#, "u".repeat(256)), "agent_id must be at most 255 bytes"),
            (
                format!(r#"{{"user_id":"a","kind":"{}","content":{{}}}}"#, "k".repeat(256)),
                "kind must be at most 255 bytes",
            ),
            (
                format!(r#"{{"user_id":"a","content":{{"a":{}{}}}}}"#, "[".repeat(100), "]".repeat(100)),
                "content is nested too deeply",
            ),
            (
                format!(
                    r#"{{"user_id":"a","content":{{}},"metadata":{{"a":{}{}}}}}"#,
                    "[".repeat(100),
                    "]".repeat(100)
                ),
                "metadata is nested too deeply",
            ),
        ] {
            // The session is looked for last: this one cannot exist.
            assert_eq!(answered(&post("/api/sessions/x/messages", &body)), error(422, message), "{body}");
        }
        let last = answered(&post("/api/sessions/x/messages", r#"{"user_id":"a","content":{}}"#));
        assert_eq!(last, error(404, "Session not found"));
    }

    #[test]
    fn the_idempotency_key_comes_by_header_or_field() {
        let body = r#"{"user_id":"a","content":{},"idempotency_key":"k","expected_seq":"7"}"#;
        let append = appended(&post(&path("/messages"), body));
        assert_eq!((append.idempotency_key.as_deref(), append.expected_seq), (Some("k"), Some(7)));
        let plain = post(&path("/messages"), r#"{"user_id":"a","content":{},"idempotency_key":null,"expected_seq":0}"#);
        let append = appended(&plain.with_header("Idempotency-Key", "h"));
        assert_eq!((append.idempotency_key.as_deref(), append.expected_seq), (Some("h"), Some(0)));
        assert!(
            appended(&post(&path("/messages"), body).with_header("idempotency-key", "k")).idempotency_key.is_some()
        );
        let both = answered(&post(&path("/messages"), body).with_header("idempotency-key", "other"));
        assert_eq!(both, error(422, "The Idempotency-Key header and idempotency_key differ"));
    }

    #[test]
    fn a_read_mark_is_lenient_about_its_seq_and_strict_about_its_reader() {
        for (seq, last_seq) in [("42", 42), ("\"42\"", 42), ("-1", 0), ("null", 0), ("\"x\"", 0)] {
            let body = format!(r#"{{"user_id":"alice","last_seq":{seq}}}"#);
            let (to, command, _) = called(&post(&path("/read"), &body));
            assert_eq!(to, Target::Owner(id()));
            assert_eq!(command, Command::MarkRead { session: id(), user_id: "alice".into(), last_seq });
        }
        for body in ["{}", r#"{"user_id":" "}"#, r#"{"user_id":7}"#] {
            assert_eq!(answered(&post(&path("/read"), body)), error(422, "user_id is required"), "{body}");
        }
        let (_, _, render) = called(&post(&path("/read"), r#"{"user_id":"b","last_seq":3}"#));
        let reply =
            Reply::Cursors { cursors: vec![("a".into(), 9), ("b".into(), 3)], session: json("{}"), last_seq: 9 };
        let response = render.one(Ok(reply));
        assert_eq!((response.status, text(&response)), (200, r#"{"session":{},"last_seq":3}"#));
    }

    #[test]
    fn cursors_can_be_read_under_either_name() {
        for target in ["/read", "/cursors"] {
            let (_, command, render) = called(&get(&path(target)));
            assert_eq!(command, Command::ReadCursors { session: id() });
            let cursors = vec![("a".into(), 9), ("b\"".into(), 3)];
            let response = render.one(Ok(Reply::Cursors { cursors, session: json("{}"), last_seq: 9 }));
            assert_eq!(text(&response), r#"{"cursors":{"a":9,"b\"":3},"last_seq":9}"#);
        }
    }

    /// Contract 8.2 as far as it is decided here.
    #[test]
    fn agents_are_listed_read_created_changed_and_disabled() {
        for (query, enabled) in
            [("", None), ("?status=enabled", Some(true)), ("?status=disabled", Some(false)), ("?status=x", None)]
        {
            let (command, render) = agents(&get(&format!("/api/agents{query}")));
            assert_eq!(command, AgentCommand::List { enabled }, "{query}");
            assert_eq!(text(&render.one(Ok(Reply::Agents { agents: vec![] }))), r#"{"agents":[]}"#);
        }
        let (_, render) = agents(&get("/api/agents"));
        let response = render.one(Ok(Reply::Agents { agents: vec![json("1"), json("2")] }));
        assert_eq!((response.status, text(&response)), (200, r#"{"agents":[1,2]}"#));

        let (command, render) = agents(&get("/api/agents/a%20b"));
        assert_eq!(command, AgentCommand::Read { id: "a b".into() });
        assert_eq!(text(&render.clone().one(Ok(Reply::Agent { json: json("{}") }))), r#"{"agent":{}}"#);
        let response = render.one(Err(Refusal::AgentNotFound));
        assert_eq!((response.status, text(&response)), (404, r#"{"error":"Agent not found"}"#));

        let (command, render) = agents(&post("/api/agents", r#"{"agent":{"id":"a"}}"#));
        assert_eq!(command, AgentCommand::Create { fields: json(r#"{"id":"a"}"#) });
        assert_eq!(render.clone().one(Ok(Reply::Agent { json: json("{}") })).status, 201);
        let fields = BTreeMap::from([("id".to_owned(), vec!["can't be blank".to_owned()])]);
        let response = render.one(Err(Refusal::InvalidFields(fields)));
        assert_eq!((response.status, text(&response)), (422, r#"{"errors":{"id":["can't be blank"]}}"#));

        for method in [Method::Put, Method::Patch] {
            let (command, render) = agents(&with_json(method, "/api/agents/a", r#"{"agent":{"name":"n"}}"#));
            assert_eq!(command, AgentCommand::Update { id: "a".into(), fields: json(r#"{"name":"n"}"#) });
            assert_eq!(render.one(Ok(Reply::Agent { json: json("{}") })).status, 200);
        }
        let (command, render) = agents(&Request::new(Method::Delete, "/api/agents/a"));
        assert_eq!(command, AgentCommand::Disable { id: "a".into() });
        let response = render.one(Ok(Reply::Agent { json: json("{}") }));
        assert_eq!((response.status, text(&response)), (200, r#"{"agent":{},"message":"Agent disabled"}"#));
    }

    #[test]
    fn an_agent_comes_in_its_wrapper() {
        for body in ["", "{}", "[]", r#"{"agent":1}"#, r#"{"agent":null}"#, r#"{"id":"a"}"#] {
            assert_eq!(answered(&post("/api/agents", body)), detail(400, "Bad Request"), "{body}");
            let put = with_json(Method::Put, "/api/agents/a", body);
            assert_eq!(answered(&put), detail(400, "Bad Request"), "{body}");
        }
        let deep = format!(r#"{{"agent":{{"headers":{}{}}}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(answered(&post("/api/agents", &deep)), error(422, "agent is nested too deeply"));
    }

    #[test]
    fn unknown_routes_and_methods_are_not_found() {
        for request in [
            post("/", "{}"),
            get("/api"),
            get("/health"),
            get("/healthz"),
            get("/api/none"),
            get(&path("/none")),
            get("/socket"),
            post("/api/agents/a", "{}"),
            post("/metrics", "{}"),
            post("/health/live", "{}"),
            with_json(Method::Put, "/api/sessions", "{}"),
            Request::new(Method::Trace, "/api/agents"),
            Request::new(Method::Other("BREW".into()), "/api/agents"),
        ] {
            assert_eq!(answered(&request), detail(404, "Not Found"), "{} {}", request.method, request.path);
        }
    }

    #[test]
    fn a_path_of_another_dialect_is_refused_in_its_words() {
        for (request, status, body) in [
            (get("/teams/t/u"), 404, r#"{"detail":"Not Found"}"#),
            (post("/api/agents/a/none/chat", "{}"), 404, r#"{"errors":{"detail":"Not Found"}}"#),
            (post("/api/agents/a/chat/none", "{"), 422, r#"{"detail":"Bad Request"}"#),
            (get("/api/chat/none"), 404, r#"{"error":"Not Found"}"#),
            (post("/api/chat/none", "{"), 400, r#"{"error":"Bad Request"}"#),
            (get("/api/events/none"), 404, r#"{"errors":{"detail":"Not Found"}}"#),
            (get(&path("/upload/none")), 404, r#"{"error":"Not Found"}"#),
        ] {
            assert_eq!(answered(&request), (status, body.to_owned()), "{} {}", request.method, request.path);
        }
    }

    #[test]
    fn malformed_requests_are_bad_wherever_they_go() {
        assert_eq!(answered(&post("/api/none", "{")), detail(400, "Bad Request"));
        assert_eq!(answered(&get("/api/sessions?a=%zz")), detail(400, "Bad Request"));
        assert_eq!(answered(&get("/api/agents/%ff")), detail(400, "Bad Request"));
        assert_eq!(answered(&get("/socket/longpoll?a=%")), detail(400, "Bad Request"));
        let refused = refused(413, &CONTEXT);
        assert_eq!((refused.status, text(&refused)), (413, r#"{"errors":{"detail":"Request Entity Too Large"}}"#));
        assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    }

    #[test]
    fn empty_segments_do_not_count_and_head_is_get() {
        assert_eq!(agents(&get("//api///agents/")).0, AgentCommand::List { enabled: None });
        assert_eq!(agents(&Request::new(Method::Head, "/api/agents")).0, AgentCommand::List { enabled: None });
    }

    #[test]
    fn a_post_may_name_another_method_in_its_body() {
        let (command, _) = agents(&post("/api/agents/a", r#"{"_method":"delete"}"#));
        assert_eq!(command, AgentCommand::Disable { id: "a".into() });
        let form = Request::new(Method::Post, "/api/agents/a")
            .with_header("content-type", "application/x-www-form-urlencoded")
            .with_body("_method=PUT&agent[name]=n");
        assert_eq!(agents(&form).0, AgentCommand::Update { id: "a".into(), fields: json(r#"{"name":"n"}"#) });
        for request in [post("/api/agents/a", r#"{"_method":"GET"}"#), post("/api/agents/a?_method=DELETE", "{}")] {
            assert_eq!(answered(&request), detail(404, "Not Found"));
        }
    }

    #[test]
    fn what_excludes_json_is_not_acceptable() {
        for accept in [
            "*/*",
            "application/json",
            "text/html, application/*;q=0.5",
            "text/html,*/*;q=0.8",
            "application/vnd.api+json",
            "Application/JSON; q=1",
            "",
        ] {
            called(&get("/api/agents").with_header("accept", accept));
        }
        for accept in [
            "text/html",
            "application/xml",
            "text/html;q=1, application/json;q=0",
            "*/*;q=0",
            "application/json;q=0,*/*",
        ] {
            let request = get("/api/agents").with_header("accept", accept);
            assert_eq!(answered(&request), detail(406, "Not Acceptable"), "{accept}");
        }
        assert_eq!(answered(&get("/api/none").with_header("accept", "text/html")), detail(404, "Not Found"));
    }

    #[test]
    fn options_of_any_path_is_a_preflight() {
        for target in ["/", "/api/agents", "/none", "*"] {
            let request = Request::new(Method::Options, target).with_header("access-control-request-headers", "x-a");
            let Route::Respond(response) = route(&request, &CONTEXT) else { panic!("{target}") };
            assert_eq!((response.status, text(&response)), (204, ""));
            assert_eq!(response.header("access-control-allow-headers"), Some("x-a"));
            assert_eq!(response.header("access-control-allow-methods"), Some("GET,POST,PUT,PATCH,DELETE,OPTIONS"));
        }
    }

    #[test]
    fn health_and_metrics_are_the_servers() {
        assert!(matches!(route(&get("/health/live"), &CONTEXT), Route::Health(Health::Live, _)));
        assert!(matches!(route(&get("/health/ready"), &CONTEXT), Route::Health(Health::Ready, _)));
        let request = Request::new(Method::Head, "/metrics").with_header("accept", "text/plain");
        assert!(matches!(route(&request, &CONTEXT), Route::Metrics(_)));
    }

    #[test]
    fn a_socket_is_connected_by_user_or_agent_and_version() {
        for (query, identity, vsn) in [
            ("?user_id=alice&vsn=2.0.0", "alice", Vsn::V2),
            ("?agent_id=bot", "bot", Vsn::V1),
            ("?user_id=alice&agent_id=bot&vsn=1.0.3", "alice", Vsn::V1),
            ("?user_id=&vsn=2.0.0", "", Vsn::V2),
            ("?user_id=a%40b+c", "a@b c", Vsn::V1),
        ] {
            let Route::Socket(connect, _) = route(&get(&format!("/socket/websocket{query}")), &CONTEXT) else {
                panic!("{query}")
            };
            assert_eq!(connect, Connect { identity: identity.into(), vsn }, "{query}");
        }
        let long = format!("?user_id={}", "x".repeat(256));
        for query in [
            "",
            "?vsn=2.0.0",
            "?user_id=a&vsn=3.0.0",
            "?user_id=a&vsn=",
            "?user_id[x]=a&agent_id=b",
            "?user_id=%",
            &long,
        ] {
            assert_eq!(answered(&get(&format!("/socket/websocket{query}"))), (403, String::new()), "{query}");
        }
        for method in [Method::Post, Method::Head, Method::Options] {
            let request = Request::new(method, "/socket/websocket?user_id=a");
            assert_eq!(answered(&request), (400, String::new()));
        }
    }

    #[test]
    fn long_polling_opens_polls_and_posts() {
        let token = Token { random: 9, shard: 3 };
        let connect = Connect { identity: "a".into(), vsn: Vsn::V2 };
        let routed = |request: &Request| match route(request, &CONTEXT) {
            Route::LongPoll(request, _) => request,
            route => panic!("{route:?}"),
        };
        let query = "/socket/longpoll?user_id=a&vsn=2.0.0";
        for tail in ["", "&token=", "&token=null", "&token=abc"] {
            let opened = routed(&get(&format!("{query}{tail}")));
            assert_eq!(opened, LongPollRequest::Open(connect.clone()), "{tail}");
        }
        let poll = LongPollRequest::Poll { token, otherwise: Some(connect) };
        assert_eq!(routed(&get(&format!("{query}&token={token}"))), poll);
        assert_eq!(routed(&get(query).with_header("X-Phoenix-Longpoll-Token", &token.to_string())), poll);

        let heartbeat = r#"[null,"1","phoenix","heartbeat",{}]"#;
        let one = Request::new(Method::Post, &format!("{query}&token={token}")).with_body(heartbeat);
        let LongPollRequest::Batch { token: to, messages: Ok(messages) } = routed(&one) else { panic!() };
        assert_eq!((to, messages.len()), (token, 1));
        let two = Request::new(Method::Post, &format!("{query}&token={token}"))
            .with_header("content-type", "application/x-ndjson")
            .with_body(format!("{heartbeat}\n{heartbeat}"));
        assert!(matches!(routed(&two), LongPollRequest::Batch { messages: Ok(messages), .. } if messages.len() == 2));
        let broken = two.with_body("[]");
        assert!(matches!(routed(&broken), LongPollRequest::Batch { messages: Err(_), .. }));
    }

    #[test]
    fn long_polling_carries_its_status_in_the_body() {
        assert_eq!(answered(&get("/socket/longpoll")), (200, r#"{"status":403}"#.into()));
        assert_eq!(answered(&post("/socket/longpoll?user_id=a", "[]")), (200, r#"{"status":410}"#.into()));
        assert_eq!(answered(&with_json(Method::Put, "/socket/longpoll?user_id=a", "[]")), (400, String::new()));
        let Route::Respond(preflight) = route(&Request::new(Method::Options, "/socket/longpoll"), &CONTEXT) else {
            panic!()
        };
        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.header("access-control-allow-methods"), Some("get, post, options"));
        assert_eq!(preflight.header("access-control-max-age"), Some("3600"));
    }

    #[test]
    fn a_reply_that_does_not_fit_its_call_is_our_fault() {
        let (_, _, render) = called(&get(&path("")));
        let response = render.one(Ok(Reply::Done));
        assert_eq!((response.status, text(&response)), (500, r#"{"errors":{"detail":"Internal Server Error"}}"#));
    }
}
