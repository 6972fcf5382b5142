//! Replies of shards to HTTP responses. The bodies' exact shapes are those of contract 1.3 to 1.5, with keys added where the
//! original left its readers in the dark (`has_more`, `last_seq`).

use super::JSON;
use super::cors::Envelope;
use super::error::{ApiError, Kind};
use super::runs;
use crate::protocol::Roomy;
use crate::protocol::http::Response;
use crate::session::{Feedback, Json, SessionId, rfc3339};
use crate::shard::{Page, RatingRow, Refusal, Reply};
use serde_json::json;
use std::io::Write as _;

/// What a call's reply becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    /// `{"session": ..}` with this status.
    Session(u16),
    /// `{"sessions": [..], "has_more": ..}` of all shards, at most so many.
    Sessions(usize),
    /// 204.
    NoContent,
    /// `{"message": ..}`.
    Appended,
    /// `{"messages": [..], "has_more": .., "last_seq": ..}`.
    Messages,
    /// `{"cursors": {reader: seq}, "last_seq": ..}`.
    Cursors,
    /// `{"session": .., "last_seq": ..}` with the seq of this reader's cursor.
    Cursor(String),
    /// `{"agent": ..}` with this status.
    Agent(u16),
    /// `{"agent": .., "message": "Agent disabled"}`.
    AgentDisabled,
    /// `{"agents": [..]}`.
    Agents,
    /// `{"run": ..}`.
    Run,
    /// `{"feedback": [..]}`.
    Feedback,
    /// `{"deliveries": [..]}` of all shards, at most so many.
    Deliveries(usize),
}

/// Turns the reply to a call into its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Render {
    /// How.
    pub success: Success,
    /// What the response goes into.
    pub envelope: Envelope,
}

impl Render {
    /// The response to a call of one shard.
    pub fn one(self, reply: Result<Reply, Refusal>) -> Response {
        let response = reply.map_err(ApiError::from).and_then(|reply| self.success.one(reply));
        self.envelope.seal(response.unwrap_or_else(|error| error.response()))
    }

    /// The response to a call of every shard. One refusal refuses the whole: a list with holes would look complete.
    pub fn many(self, replies: Vec<Result<Reply, Refusal>>) -> Response {
        let replies = replies.into_iter().collect::<Result<Vec<_>, _>>().map_err(ApiError::from);
        let response = replies.and_then(|replies| self.success.many(replies));
        self.envelope.seal(response.unwrap_or_else(|error| error.response()))
    }
}

impl Success {
    fn many(self, mut replies: Vec<Reply>) -> Result<Response, ApiError> {
        match self {
            Self::Sessions(limit) => sessions(replies, limit),
            Self::Deliveries(limit) => deliveries(replies, limit),
            _ => self.one(replies.pop().ok_or(Kind::Internal)?),
        }
    }

    /// A reply of another kind than the command's is a fault of ours, not of the caller.
    fn one(self, reply: Reply) -> Result<Response, ApiError> {
        Ok(match (self, reply) {
            (Self::Session(status), Reply::Session { json }) => body(status, &["{\"session\":", json.as_str(), "}"]),
            (Self::NoContent, Reply::Done | Reply::Session { .. }) => Response::new(204),
            (Self::Appended, Reply::Appended { json: Some(json), replayed, .. }) => appended(&json, replayed),
            (Self::Messages, Reply::Messages(page)) => Response::new(200).with_body(JSON, messages(page)),
            (Self::Cursors, Reply::Cursors { cursors, last_seq, .. }) => {
                let cursors: serde_json::Map<_, _> =
                    cursors.into_iter().map(|(user, seq)| (user, seq.into())).collect();
                ok(&json!({ "cursors": cursors, "last_seq": last_seq }).to_string())
            }
            (Self::Cursor(reader), Reply::Cursors { cursors, session, .. }) => {
                let last_seq = cursor_of(&reader, &cursors);
                ok(&format!("{{\"session\":{},\"last_seq\":{last_seq}}}", session.as_str()))
            }
            (Self::Agent(status), Reply::Agent { json }) => body(status, &["{\"agent\":", json.as_str(), "}"]),
            (Self::AgentDisabled, Reply::Agent { json }) => {
                body(200, &["{\"agent\":", json.as_str(), ",\"message\":\"Agent disabled\"}"])
            }
            (Self::Feedback, Reply::Ratings(rows)) => ok(&feedback(&rows)),
            (Self::Run, Reply::Run(event)) => body(200, &["{\"run\":", &runs::event(&event), "}"]),
            (Self::Agents, Reply::Agents { agents }) => body(200, &["{\"agents\":[", &joined(agents.iter()), "]}"]),
            _ => return Err(Kind::Internal.into()),
        })
    }
}

fn feedback(rows: &[RatingRow]) -> String {
    let ratings = rows.iter().map(|RatingRow { feedback, time_us }| {
        let Feedback { seq, rater, rating, comment } = feedback;
        let mut row = json!({"seq": seq, "rater": rater, "rating": rating, "inserted_at": rfc3339(*time_us)});
        if let Some(comment) = comment {
            row["comment"] = comment.as_str().into();
        }
        row
    });
    json!({ "feedback": ratings.collect::<Vec<_>>() }).to_string()
}

/// The newest `limit` sessions of all shards. Ids begin with their time of creation.
fn sessions(replies: Vec<Reply>, limit: usize) -> Result<Response, ApiError> {
    let mut all: Vec<(SessionId, Json)> = Vec::new();
    let mut is_more = false;
    for reply in replies {
        let Reply::Sessions { sessions, has_more } = reply else { return Err(Kind::Internal.into()) };
        all.extend(sessions);
        is_more |= has_more;
    }
    all.sort_unstable_by(|(left, _), (right, _)| right.cmp(left));
    is_more |= all.len() > limit;
    all.truncate(limit);
    let sessions = joined(all.iter().map(|(_, json)| json));
    Ok(body(200, &["{\"sessions\":[", &sessions, "],\"has_more\":", bool_text(is_more), "}"]))
}

fn deliveries(replies: Vec<Reply>, limit: usize) -> Result<Response, ApiError> {
    let mut all = Vec::new();
    for reply in replies {
        let Reply::Deliveries(reports) = reply else { return Err(Kind::Internal.into()) };
        all.extend(reports);
    }
    Ok(ok(&runs::deliveries(all, limit)))
}

/// A page is megabytes: what goes around it is put around it where it lies.
fn messages(page: Page) -> Roomy {
    let Page { text, room, has_more, session_last_seq, .. } = page;
    let mut body = Roomy::new(text, room);
    body.prepend(b"{\"messages\":[");
    write!(body.tail(), "],\"has_more\":{has_more},\"last_seq\":{session_last_seq}}}").expect("a Vec takes all");
    body
}

/// A retry is answered like the first time, and says so in a header.
fn appended(message: &Json, replayed: bool) -> Response {
    let response = body(200, &["{\"message\":", message.as_str(), "}"]);
    if replayed { response.with_header("idempotent-replayed", "true") } else { response }
}

/// The seq up to which `reader` has read, 0 without a cursor.
pub fn cursor_of(reader: &str, cursors: &[(String, u64)]) -> u64 {
    cursors.iter().find(|(user, _)| user == reader).map_or(0, |(_, seq)| *seq)
}

fn joined<'a>(values: impl Iterator<Item = &'a Json>) -> String {
    values.map(Json::as_str).collect::<Vec<_>>().join(",")
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn ok(json: &str) -> Response {
    body(200, &[json])
}

fn body(status: u16, parts: &[&str]) -> Response {
    Response::new(status).with_body(JSON, parts.concat())
}
