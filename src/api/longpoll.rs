//! The requests of Phoenix's long polling (contract 3.8). The server holds the sessions; this file says what is asked.

use super::JSON;
use super::routes::{Connect, connect};
use crate::protocol::channels::longpoll::{Token, decode_batch, status};
use crate::protocol::channels::{Malformed, Message, Vsn};
use crate::protocol::http::{Method, Request, Response};
use serde_json::{Map, Value};

/// What a long-poll client asks for.
#[derive(Debug, PartialEq)]
pub enum LongPollRequest {
    /// A new session, to be answered with its token.
    Open(Connect),
    /// The messages of a session. When there is no such session one is opened, if the client may.
    Poll {
        /// The session.
        token: Token,
        /// What opens another.
        otherwise: Option<Connect>,
    },
    /// Messages of the client. A malformed batch ends the session, like a malformed frame a WebSocket.
    Batch {
        /// The session.
        token: Token,
        /// The messages in order.
        messages: Result<Vec<Message<'static>>, Malformed>,
    },
}

/// The request, or its immediate answer.
pub fn request(request: &Request, query: &Map<String, Value>) -> Result<LongPollRequest, Response> {
    let token = token(request, query);
    match request.method {
        Method::Options => Err(preflight()),
        Method::Get => match (token, connect(query)) {
            (Some(token), otherwise) => Ok(LongPollRequest::Poll { token, otherwise }),
            (None, Some(connect)) => Ok(LongPollRequest::Open(connect)),
            (None, None) => Err(answer(status(403))),
        },
        Method::Post => match token {
            Some(token) => Ok(LongPollRequest::Batch { token, messages: batch(request, query) }),
            None => Err(answer(status(410))),
        },
        _ => Err(Response::new(400)),
    }
}

/// The response with a body of [`crate::protocol::channels::longpoll`]: its status stands in the body, HTTP's is always 200.
pub fn answer(body: Vec<u8>) -> Response {
    Response::new(200).with_body(JSON, body)
}

fn preflight() -> Response {
    Response::new(200)
        .with_header("access-control-allow-methods", "get, post, options")
        .with_header("access-control-max-age", "3600")
}

/// Whether the request brings messages of a session that it names. The name is 128 bits that only its opener was told, and so is leave
/// enough: phoenix.js sends its `authToken` with polls and not with what it publishes.
pub fn publishes(request: &Request) -> bool {
    request.method == Method::Post
        && super::query::parse(&request.query).is_ok_and(|query| token(request, &query).is_some())
}

fn token(request: &Request, query: &Map<String, Value>) -> Option<Token> {
    let header = request.headers.first("x-phoenix-longpoll-token");
    Token::parse(header.or_else(|| query.get("token").and_then(Value::as_str))?)
}

fn batch(request: &Request, query: &Map<String, Value>) -> Result<Vec<Message<'static>>, Malformed> {
    let vsn = Vsn::parse(query.get("vsn").and_then(Value::as_str)).ok_or(Malformed("unknown vsn"))?;
    let kind = request.headers.first("content-type").and_then(|kind| kind.split(';').next()).unwrap_or("");
    decode_batch(vsn, kind.trim().eq_ignore_ascii_case("application/x-ndjson"), &request.body)
}
