//! The API of a HAPI hub (seed 004): which request of its is what, and the words that all of its answers share.
//!
//! Invariants: every refusal is `{"error": .., "code"?: ..}` with the status of the hub's own table; of several faults the session's
//! (404, 403, 409) are told before the body's (400), as the hub reads the body last.
//!
//! Two of its paths are FleetLM's too, `GET` and `POST /api/sessions/:id/messages`; [`super::dialect`] tells whose request it is, and
//! they stand among FleetLM's rows. Not here: sockets of agents (`/cli`), creation of sessions: those are FleetLM's.

mod messages;
mod upload;

use super::Context;
use super::dialect::Dialect;
use super::error::{ApiError, Kind};
use super::flow::Flow;
use super::params::Params;
use crate::protocol::http::{Method, Request, Response};
use crate::session::SessionId;

/// What a request of this API comes to.
#[derive(Debug)]
pub enum Planned {
    /// It is answered already.
    Respond(Response),
    /// Shards are asked, and the last step has the response.
    Flow(Box<dyn Flow>),
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
        _ => Ok(None),
    }
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
    Planned::Respond(error.respond(Dialect::Hapi))
}
