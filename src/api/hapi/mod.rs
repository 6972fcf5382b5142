//! The API of a HAPI hub (seed 004): which request of its is what, and the words that all of its answers share.
//!
//! Invariants: every refusal is `{"error": .., "code"?: ..}` with the status of the hub's own table; of several faults the session's
//! (404, 403, 409) are told before the body's (400), as the hub reads the body last.
//!
//! Two of its paths are FleetLM's too, `GET` and `POST /api/sessions/:id/messages`; [`super::dialect`] tells whose request it is, and
//! they stand among FleetLM's rows. Not here: sockets of agents (`/cli`), creation of sessions: those are FleetLM's.

pub mod events;
mod messages;
pub mod upload;

use super::dialect::Dialect;
use super::error::{ApiError, Kind};
use super::flow::{Answers, Flow, Next, To};
use super::params::Params;
use super::table::routes;
use super::{Context, JSON, Target};
use crate::protocol::http::{Method, Request, Response};
use crate::session::{SessionId, hash_of};
use crate::shard::{Command, Refusal};
use events::EventsPlan;
use upload::{FilePath, Release};

/// What a request of this API comes to.
#[derive(Debug)]
pub enum Planned {
    /// It is answered already.
    Respond(Response),
    /// Shards are asked, and the last step has the response.
    Flow(Box<dyn Flow>),
    /// What happens is told as long as the client listens.
    Events(Box<EventsPlan>),
    /// The body is a file for this session. It is not read yet: that takes its time.
    Upload(SessionId),
    /// A file is sent.
    Download(FilePath),
}

/// A method on a path of this API alone. Ids are as they stand in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// `GET /events`.
    Events,
    /// `POST /sessions/:id/abort`.
    Abort(&'a str),
    /// `POST /sessions/:id/upload`.
    Upload(&'a str),
    /// `POST /sessions/:id/upload/delete`.
    Release(&'a str),
    /// `GET /sessions/:id/files/:hash/:name`.
    Download(&'a str, &'a str, &'a str),
}

routes! {
    /// What `method` on a path below `/api` is, if anything.
    pub fn endpoint<'a>(Hapi below "/api") -> Endpoint<'a>;

    GET "events", Read streams => Endpoint::Events;
    POST "sessions"/id/"abort", Write => Endpoint::Abort(id);
    POST "sessions"/id/"upload", Write => Endpoint::Upload(id);
    POST "sessions"/id/"upload"/"delete", Write => Endpoint::Release(id);
    GET "sessions"/id/"files"/hash/name, Read => Endpoint::Download(id, hash, name);
}

/// What a request is here, if it is this API's at all. `method` is the one that it is served as.
///
/// # Errors
/// [`Kind::DialectUnclear`] for a request in the words of two APIs.
pub fn plan(
    request: &Request,
    method: &Method,
    path: &[&str],
    params: &Params<'_>,
    context: &Context,
) -> Result<Option<Planned>, ApiError> {
    match (method, path) {
        (Method::Get | Method::Post, ["api", "sessions", id, "messages"]) => {
            let is_ours = Dialect::of_messages_request(request, method, params, None)? == Dialect::Hapi;
            Ok(is_ours.then(|| match method {
                Method::Get => messages::read(id, params),
                _ => messages::say(id, params, context),
            }))
        }
        (_, ["api", below @ ..]) => {
            let Some((_, endpoint)) = endpoint(method, below) else { return Ok(None) };
            let planned = match endpoint {
                Endpoint::Events => {
                    EventsPlan::of(request, params, context).map(|plan| Planned::Events(Box::new(plan)))
                }
                Endpoint::Upload(id) => session(id).map(Planned::Upload),
                Endpoint::Release(id) => {
                    session(id).map(|session| Planned::Flow(Box::new(Release::of(session, params))))
                }
                Endpoint::Download(id, hash, name) => download(id, hash, name),
                Endpoint::Abort(id) => session(id).map(|session| Planned::Flow(Box::new(Abort { session }))),
            };
            Ok(Some(planned.unwrap_or_else(|error| refused(&error))))
        }
        _ => Ok(None),
    }
}

/// The same for a request whose body is not looked at for parameters.
pub fn plan_unread(request: &Request, path: &[&str]) -> Option<Planned> {
    let ["api", below @ ..] = path else { return None };
    match endpoint(&request.method, below) {
        Some((_, Endpoint::Upload(id))) => Some(session(id).map_or_else(|error| refused(&error), Planned::Upload)),
        _ => None,
    }
}

fn download(id: &str, hash: &str, name: &str) -> Result<Planned, ApiError> {
    let session = session(id)?;
    let hash = hash_of(hash).ok_or(Kind::BlobNotFound)?;
    Ok(Planned::Download(FilePath { session, hash, name: name.to_owned() }))
}

/// The same for a request whose parameters cannot be read.
pub fn malformed(request: &Request, path: &[&str], error: &ApiError) -> Option<Planned> {
    let ["api", "sessions", id, "messages"] = path else { return None };
    let dialect = Dialect::of_messages_request(request, &request.method, &Params::default(), None);
    if dialect != Ok(Dialect::Hapi) {
        return None;
    }
    Some(match request.method {
        Method::Post => messages::unsound(id, Kind::BodyInvalid.into()),
        _ => refused(error),
    })
}

/// The session of a path. A text that is no id names no session.
fn session(text: &str) -> Result<SessionId, ApiError> {
    SessionId::parse(text).ok_or_else(|| Kind::SessionNotFound.into())
}

fn refused(error: &ApiError) -> Planned {
    Planned::Respond(refused_response(error))
}

fn refused_response(error: &ApiError) -> Response {
    error.respond(Dialect::Hapi)
}

/// Ends the session's run. There being none is what was wanted too.
#[derive(Debug)]
struct Abort {
    session: SessionId,
}

impl Flow for Abort {
    fn step(&mut self, mut answers: Answers) -> Next {
        let session = self.session;
        match answers.pop().and_then(|mut answer| answer.pop()) {
            None => {
                let command = Command::StopRun { session, run: None, identity: None };
                Next::Ask(vec![(To::One(Target::Owner(session)), command)])
            }
            Some(Ok(_) | Err(Refusal::RunNotFound)) => {
                Next::Respond(Response::new(200).with_body(JSON, "{\"ok\":true}"))
            }
            Some(Err(refusal)) => Next::Respond(refused_response(&refusal.into())),
        }
    }
}
