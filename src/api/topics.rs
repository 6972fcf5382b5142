//! The channels of the server: `session:<id>` and `inbox:<user>` (contract 2.2, 2.3, 5): what a join or an event asks of the
//! shards, how it is answered, and what is pushed.

use super::error::{ApiError, Kind};
use super::fleetlm::Ask;
use super::message::{Draft, binary_format};
use super::{Context, Target, params, render};
use crate::limits::{INBOX_ENTRIES_MAX, JOIN_MESSAGES_DEFAULT, JOIN_MESSAGES_MAX};
use crate::protocol::channels::Payload;
use crate::session::{Json, SessionId, rfc3339};
use crate::shard::{Command, InboxEntry, Page, Push, Refusal, Reply};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use std::cmp::Reverse;
use std::fmt;

/// A topic that exists, or may.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// One session.
    Session(SessionId),
    /// A user's sessions.
    Inbox(String),
}

/// Why a text is no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTopic {
    /// Nothing has such a name: `Socket::unmatched`.
    Unmatched,
    /// A session that cannot exist: `Socket::refused` with [`not_found`].
    NotFound,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => write!(f, "session:{session}"),
            Self::Inbox(user) => write!(f, "inbox:{user}"),
        }
    }
}

/// Reads a topic's name.
///
/// # Errors
/// [`NoTopic`], by which a join is answered.
pub fn parse(topic: &str) -> Result<Topic, NoTopic> {
    match topic.split_once(':') {
        Some(("session", id)) => SessionId::parse(id).map(Topic::Session).ok_or(NoTopic::NotFound),
        Some(("inbox", user)) => Ok(Topic::Inbox(user.to_owned())),
        _ => Err(NoTopic::Unmatched),
    }
}

/// The response to a join of a session that does not exist.
pub fn not_found() -> String {
    ApiError::from(Kind::SessionNotFound).join_response()
}

/// What a join asks. The `Err` is the response of its refusal.
///
/// # Errors
/// `join crashed` for parameters that are no object, `unauthorized` for the inbox of somebody else.
pub fn join(topic: &Topic, identity: &str, payload: &Payload) -> Result<Ask, String> {
    match topic {
        Topic::Session(session) => {
            let params: JoinParams<'_> =
                fields(payload).ok_or_else(|| ApiError::from(Kind::JoinCrashed).join_response())?;
            let limit =
                params.limit.and_then(params::positive).map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let command = Command::Join {
                session: *session,
                identity: identity.to_owned(),
                after_seq: params.last_seq.and_then(params::positive).unwrap_or(0),
                limit: limit.unwrap_or(JOIN_MESSAGES_DEFAULT).min(JOIN_MESSAGES_MAX),
            };
            Ok(Ask::One(Target::Owner(*session), command))
        }
        // The original let anybody in.
        Topic::Inbox(user) if user != identity => Err(ApiError::from(Kind::Unauthorized).join_response()),
        Topic::Inbox(user) => Ok(Ask::Every(Command::WatchInbox { user_id: user.clone() })),
    }
}

/// The response to a join from the replies of the shards that were asked.
///
/// # Errors
/// The response of the refusal, of any of them.
pub fn joined(topic: &Topic, replies: Vec<Result<Reply, Refusal>>) -> Result<String, String> {
    let replies: Result<Vec<Reply>, Refusal> = replies.into_iter().collect();
    let mut replies = replies.map_err(|refusal| ApiError::from(refusal).join_response())?;
    match topic {
        Topic::Session(session) => match replies.pop() {
            Some(Reply::Joined(page)) => Ok(history(*session, &page)),
            _ => Err(ApiError::from(Kind::Internal).join_response()),
        },
        Topic::Inbox(_) => {
            let entries = replies.into_iter().flat_map(|reply| match reply {
                Reply::Inbox { entries } => entries,
                _ => Vec::new(),
            });
            Ok(inbox_delta(&entries.collect::<Vec<_>>()))
        }
    }
}

/// What an event on a joined channel asks. The `Err` is the response of its refusal; the channel stays open.
///
/// # Errors
/// `unknown event`, and whatever is wrong with the event's payload.
pub fn event(
    topic: &Topic,
    event: &str,
    payload: &Payload,
    identity: &str,
    context: &Context,
) -> Result<(Target, Command), String> {
    let Topic::Session(session) = topic else { return Err(unknown_event(event)) };
    let command = match event {
        "send" => send(*session, payload, identity, context),
        "read" => read(*session, payload, identity),
        "stream_chunk" => stream_chunk(*session, payload, identity),
        _ => return Err(unknown_event(event)),
    };
    command.map(|command| (Target::Owner(*session), command)).map_err(|error| error.event_response())
}

/// The response to an event from the shard's reply.
///
/// # Errors
/// The response of the refusal.
pub fn event_reply(identity: &str, reply: Result<Reply, Refusal>) -> Result<String, String> {
    match reply {
        Ok(Reply::Appended { seq, replayed: false, .. }) => Ok(format!("{{\"seq\":{seq}}}")),
        Ok(Reply::Appended { seq, replayed: true, .. }) => Ok(format!("{{\"seq\":{seq},\"replayed\":true}}")),
        Ok(Reply::Cursors { cursors, .. }) => Ok(format!("{{\"last_seq\":{}}}", render::cursor_of(identity, &cursors))),
        Ok(_) => Ok("{}".to_owned()),
        Err(refusal) => Err(ApiError::from(refusal).event_response()),
    }
}

/// The response to an event whose shard did not answer in time.
pub fn timed_out() -> String {
    ApiError::from(Kind::Timeout).event_response()
}

/// An event for everybody on a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// The topic's name.
    pub topic: String,
    /// The event's name.
    pub event: &'static str,
    /// A JSON object.
    pub payload: String,
}

/// The event that clients see of a push. `None`: they see none, their channels close or rejoin, or the inbox is sent whole by
/// [`inbox_delta`].
pub fn push(push: &Push) -> Option<Broadcast> {
    let (session, event, payload) = match push {
        Push::Message { session, json, .. } => (session, "message", json.as_str().to_owned()),
        Push::Chunk { session, agent_id, chunk } => {
            let agent_id = serde_json::to_string(agent_id).expect("a string always serialises");
            (session, "stream_chunk", format!("{{\"agent_id\":{agent_id},\"chunk\":{}}}", chunk.as_str()))
        }
        Push::Inbox { .. } | Push::Closed { .. } | Push::Gap { .. } | Push::InboxGap { .. } => return None,
    };
    Some(Broadcast { topic: Topic::Session(*session).to_string(), event, payload })
}

/// The payload of `inbox_delta`, and of the reply to an inbox's join: always the whole inbox, most recently active first,
/// sessions without a message last.
pub fn inbox_delta(entries: &[InboxEntry]) -> String {
    let mut entries: Vec<&InboxEntry> = entries.iter().filter(|entry| !entry.gone).collect();
    entries.sort_unstable_by_key(|entry| Reverse((entry.last_activity_us, entry.session)));
    entries.truncate(INBOX_ENTRIES_MAX);
    let entries: Vec<_> = entries.into_iter().map(RenderedEntry::from).collect();
    json!({ "inbox": entries }).to_string()
}

#[derive(Serialize)]
struct RenderedEntry<'a> {
    session_id: String,
    agent_id: &'a str,
    unread_count: u64,
    last_activity_at: Option<String>,
    last_sender_id: Option<&'a str>,
}

impl<'a> From<&'a InboxEntry> for RenderedEntry<'a> {
    fn from(entry: &'a InboxEntry) -> Self {
        Self {
            session_id: entry.session.to_string(),
            agent_id: &entry.agent_id,
            unread_count: entry.unread_count,
            last_activity_at: entry.last_activity_us.map(rfc3339),
            last_sender_id: entry.last_sender_id.as_deref(),
        }
    }
}

#[derive(Deserialize)]
struct JoinParams<'a> {
    #[serde(borrow, default)]
    last_seq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    limit: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ReadParams<'a> {
    #[serde(borrow, default)]
    last_seq: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChunkParams<'a> {
    #[serde(borrow)]
    chunk: &'a RawValue,
}

/// The named fields of a payload that is an object.
fn fields<'a, T: Deserialize<'a>>(payload: &'a Payload) -> Option<T> {
    let Payload::Json(raw) = payload else { return None };
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// `last_seq` is the session's: what lies between it and the last message is more, or comes as events.
fn history(session: SessionId, page: &Page) -> String {
    let Page { joined, has_more, session_last_seq, .. } = page;
    format!(
        "{{\"session_id\":\"{session}\",\"messages\":[{joined}],\"has_more\":{has_more},\"last_seq\":{session_last_seq}}}"
    )
}

fn send(session: SessionId, payload: &Payload, identity: &str, context: &Context) -> Result<Command, ApiError> {
    match payload {
        Payload::Binary(bytes) => Err(binary_format(bytes.len())),
        Payload::Json(raw) => {
            let draft = Draft::of_send(raw, identity)?;
            Ok(Command::Append(Box::new(draft.addressed(session, true, context))))
        }
    }
}

fn read(session: SessionId, payload: &Payload, identity: &str) -> Result<Command, ApiError> {
    let ReadParams { last_seq } = fields(payload).ok_or(Kind::PayloadInvalid)?;
    let last_seq = last_seq.and_then(params::positive).unwrap_or(0);
    Ok(Command::MarkRead { session, user_id: identity.to_owned(), last_seq })
}

fn stream_chunk(session: SessionId, payload: &Payload, identity: &str) -> Result<Command, ApiError> {
    let ChunkParams { chunk } = fields(payload).ok_or(Kind::PayloadInvalid)?;
    let chunk = Json::from_raw(chunk);
    if !chunk.is_object() {
        return Err(Kind::PayloadInvalid.into());
    }
    super::message::bounded_depth("chunk", chunk.as_str())?;
    Ok(Command::Chunk { session, agent_id: identity.to_owned(), chunk })
}

/// The original's channel crashed on it.
fn unknown_event(event: &str) -> String {
    ApiError::from(Kind::UnknownEvent).with("event", event).join_response()
}
