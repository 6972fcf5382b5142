//! The channels of the server: `session:<id>` and `inbox:<user>` (contract 2.2, 2.3, 5): what a join or an event asks of the
//! shards, how it is answered, and what is pushed.

use super::error::{ApiError, Kind};
use super::fleetlm::Ask;
use super::message::{Draft, Via, binary_format};
use super::{Context, Target, params, render, runs};
use crate::limits::{INBOX_ENTRIES_MAX, JOIN_MESSAGES_DEFAULT, JOIN_MESSAGES_MAX};
use crate::protocol::Roomy;
use crate::protocol::channels::Payload;
use crate::session::{Json, RunId, SessionId, rfc3339};
use crate::shard::{Command, InboxEntry, Page, Push, Refusal, Reply, Resumed};
use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::io::Write as _;

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
pub fn join(topic: &Topic, identity: &str, payload: &Payload<'_>) -> Result<Ask, String> {
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
                resume: runs::resume(params.resume, params.run_id, params.index),
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
pub fn joined(topic: &Topic, replies: Vec<Result<Reply, Refusal>>) -> Result<Roomy, String> {
    let replies: Result<Vec<Reply>, Refusal> = replies.into_iter().collect();
    let mut replies = replies.map_err(|refusal| ApiError::from(refusal).join_response())?;
    match topic {
        Topic::Session(session) => match replies.pop() {
            Some(Reply::Joined { page, resumed }) => Ok(history(*session, page, &resumed)),
            _ => Err(ApiError::from(Kind::Internal).join_response()),
        },
        Topic::Inbox(_) => {
            let entries = replies.into_iter().flat_map(|reply| match reply {
                Reply::Inbox { entries } => entries,
                _ => Vec::new(),
            });
            Ok(inbox_delta(&entries.collect::<Vec<_>>()).into())
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
    payload: &Payload<'_>,
    identity: &str,
    context: &Context,
) -> Result<(Target, Command), String> {
    let Topic::Session(session) = topic else { return Err(unknown_event(event)) };
    let command = match event {
        "send" => send(*session, payload, identity, context),
        "read" => read(*session, payload, identity),
        "stream_chunk" => stream_chunk(*session, payload, identity),
        "stop" => stop(*session, payload, identity),
        _ => return Err(unknown_event(event)),
    };
    command.map(|command| (Target::Owner(*session), command)).map_err(|error| error.event_response())
}

/// The response to an event from the shard's reply.
///
/// # Errors
/// The response of the refusal.
pub fn event_reply(identity: &str, reply: Result<Reply, Refusal>) -> Result<CompactString, CompactString> {
    match reply {
        Ok(Reply::Appended { seq, replayed: false, .. }) => Ok(appended(seq)),
        Ok(Reply::Appended { seq, replayed: true, .. }) => Ok(format_compact!("{{\"seq\":{seq},\"replayed\":true}}")),
        Ok(Reply::Run(event)) => Ok(runs::event(&event).into()),
        Ok(Reply::Cursors { cursors, .. }) => {
            Ok(format_compact!("{{\"last_seq\":{}}}", render::cursor_of(identity, &cursors)))
        }
        Ok(_) => Ok(CompactString::const_new("{}")),
        Err(refusal) => Err(ApiError::from(refusal).event_response().into()),
    }
}

/// The busiest of all answers: in place, without a formatter.
fn appended(seq: u64) -> CompactString {
    let mut response = CompactString::const_new("{\"seq\":");
    response.push_str(itoa::Buffer::new().format(seq));
    response.push('}');
    response
}

/// An event for everybody on a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast<'a> {
    /// The topic's name.
    pub topic: String,
    /// The event's name.
    pub event: &'static str,
    /// A JSON object.
    pub payload: Cow<'a, str>,
}

/// The event that clients see of a push. `None`: they see none, their channels close or rejoin, or the inbox is sent whole by
/// [`inbox_delta`].
pub fn push(push: &Push) -> Option<Broadcast<'_>> {
    let (session, event, payload) = match push {
        Push::Message { session, json, .. } => (session, "message", json.as_str().into()),
        Push::Chunk { session, agent_id, chunk, place } => {
            (session, "stream_chunk", runs::stream_chunk(agent_id, chunk, *place).into())
        }
        Push::Run { session, event } => (session, "run", runs::event(event).into()),
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
    #[serde(borrow, default)]
    resume: Option<&'a RawValue>,
    #[serde(borrow, default)]
    run_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StopParams<'a> {
    #[serde(borrow, default)]
    run_id: Option<&'a RawValue>,
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
    let Payload::Json(json) = payload else { return None };
    json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}

/// `last_seq` is the session's: what lies between it and the last message is more, or comes as events. `run` only when the
/// client asked to resume.
fn history(session: SessionId, page: Page, resumed: &Resumed) -> Roomy {
    let Page { text, room, has_more, session_last_seq, .. } = page;
    let mut response = Roomy::new(text, room);
    response.prepend(format!("{{\"session_id\":\"{session}\",\"messages\":[").as_bytes());
    let run = if resumed.asked { format!(",\"run\":{}", runs::running(resumed)) } else { String::new() };
    write!(response.tail(), "],\"has_more\":{has_more},\"last_seq\":{session_last_seq}{run}}}")
        .expect("a Vec takes all");
    response
}

/// Without a run, whichever is under way.
fn stop(session: SessionId, payload: &Payload<'_>, identity: &str) -> Result<Command, ApiError> {
    let StopParams { run_id } = fields(payload).ok_or(Kind::PayloadInvalid)?;
    let run = match run_id.filter(|raw| raw.get() != "null") {
        None => None,
        Some(raw) => Some(params::text(raw).and_then(|id| RunId::parse(&id)).ok_or(Kind::RunNotFound)?),
    };
    Ok(Command::StopRun { session, run, identity: Some(identity.to_owned()) })
}

fn send(session: SessionId, payload: &Payload<'_>, identity: &str, context: &Context) -> Result<Command, ApiError> {
    match payload {
        Payload::Binary(bytes) => Err(binary_format(bytes.len())),
        Payload::Json(json) => {
            let draft = Draft::of_send(json, identity)?;
            Ok(Command::Append(Box::new(draft.addressed(session, Via::Channel, context))))
        }
    }
}

fn read(session: SessionId, payload: &Payload<'_>, identity: &str) -> Result<Command, ApiError> {
    let ReadParams { last_seq } = fields(payload).ok_or(Kind::PayloadInvalid)?;
    let last_seq = last_seq.and_then(params::positive).unwrap_or(0);
    Ok(Command::MarkRead { session, user_id: identity.to_owned(), last_seq })
}

fn stream_chunk(session: SessionId, payload: &Payload<'_>, identity: &str) -> Result<Command, ApiError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Append, Author, Now};

    const CONTEXT: Context = Context { now: Now { unix_us: 1_761_216_480_123_456, mono_us: 5 }, random: 42, shards: 4 };
    const ID: &str = "01K6GR2EV9Z7PSMEVVJ5M954CH";

    fn id() -> SessionId {
        SessionId::parse(ID).unwrap()
    }

    fn session() -> Topic {
        Topic::Session(id())
    }

    fn payload(text: &str) -> Payload<'_> {
        Payload::Json(text.into())
    }

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn idle() -> Box<Resumed> {
        Box::new(Resumed { run: RunId::default(), next_index: u32::MAX, running: None, asked: false })
    }

    fn join_of(text: &str) -> Result<Ask, String> {
        join(&session(), "alice", &payload(text))
    }

    fn sent(text: &str) -> Result<Append, String> {
        match event(&session(), "send", &payload(text), "alice", &CONTEXT)? {
            (Target::Owner(owner), Command::Append(append)) => {
                assert_eq!((owner, append.session), (id(), id()));
                Ok(*append)
            }
            call => panic!("{call:?}"),
        }
    }

    #[test]
    fn there_are_sessions_and_inboxes() {
        assert_eq!(parse(&format!("session:{ID}")), Ok(session()));
        assert_eq!(parse("inbox:alice"), Ok(Topic::Inbox("alice".into())));
        assert_eq!(parse("inbox:user:x"), Ok(Topic::Inbox("user:x".into())));
        assert_eq!(parse("inbox:"), Ok(Topic::Inbox(String::new())));
        assert_eq!(parse("session:x"), Err(NoTopic::NotFound));
        for topic in ["", "session", "phoenix", "room:1", "user:alice", "Session:x"] {
            assert_eq!(parse(topic), Err(NoTopic::Unmatched), "{topic}");
        }
        for topic in [session(), Topic::Inbox("user:x".into())] {
            assert_eq!(parse(&topic.to_string()), Ok(topic));
        }
        assert_eq!(not_found(), r#"{"reason":"not found"}"#);
    }

    #[test]
    fn a_join_is_lenient_about_its_cursor() {
        for (params, after_seq, limit) in [
            ("{}", 0, 100),
            (r#"{"last_seq":7}"#, 7, 100),
            (r#"{"last_seq":"7"}"#, 7, 100),
            (r#"{"last_seq":-7}"#, 0, 100),
            (r#"{"last_seq":null,"limit":null}"#, 0, 100),
            (r#"{"last_seq":"x","other":[]}"#, 0, 100),
            (r#"{"last_seq":1,"limit":5}"#, 1, 5),
            (r#"{"limit":100000}"#, 0, 1000),
        ] {
            let command = Command::Join { session: id(), identity: "alice".into(), after_seq, limit, resume: None };
            assert_eq!(join_of(params), Ok(Ask::One(Target::Owner(id()), command)), "{params}");
        }
    }

    #[test]
    fn join_parameters_that_are_no_object_crash_the_join() {
        for params in ["[]", "null", "\"x\"", "7"] {
            assert_eq!(join_of(params), Err(r#"{"reason":"join crashed"}"#.to_owned()), "{params}");
        }
        let binary = Payload::Binary(b"{}".into());
        assert_eq!(join(&session(), "alice", &binary), Err(r#"{"reason":"join crashed"}"#.to_owned()));
    }

    /// Contract 8.4.1.
    #[test]
    fn a_join_is_answered_with_the_session_and_its_history() {
        let page = Page {
            text: br#"..{"seq":8},{"seq":9}"#.to_vec(),
            room: 2,
            count: 2,
            first_seq: 8,
            last_seq: 9,
            has_more: true,
            session_last_seq: 30,
        };
        assert_eq!(
            joined(&session(), vec![Ok(Reply::Joined { page, resumed: idle() })]).unwrap(),
            format!(r#"{{"session_id":"{ID}","messages":[{{"seq":8}},{{"seq":9}}],"has_more":true,"last_seq":30}}"#)
                .into()
        );
        assert_eq!(
            joined(&session(), vec![Ok(Reply::Joined { page: Page::default(), resumed: idle() })]).unwrap(),
            format!(r#"{{"session_id":"{ID}","messages":[],"has_more":false,"last_seq":0}}"#).into()
        );
    }

    /// Contract 8.4.2.
    #[test]
    fn a_refused_join_has_a_reason() {
        for (refusal, reason) in [
            (Refusal::SessionNotFound, r#"{"reason":"not found"}"#),
            (Refusal::Unauthorized, r#"{"reason":"unauthorized"}"#),
            (Refusal::Overloaded, r#"{"reason":"overloaded","retry_after_ms":1000}"#),
        ] {
            assert_eq!(joined(&session(), vec![Err(refusal)]), Err(reason.to_owned()));
        }
    }

    #[test]
    fn an_inbox_opens_to_its_user_only() {
        let inbox = Topic::Inbox("alice".into());
        for params in ["{}", "null", "[]"] {
            let ask = join(&inbox, "alice", &payload(params));
            assert_eq!(ask, Ok(Ask::Every(Command::WatchInbox { user_id: "alice".into() })));
        }
        assert_eq!(join(&inbox, "bob", &payload("{}")), Err(r#"{"reason":"unauthorized"}"#.to_owned()));
    }

    fn entry(ms: u64, last_activity_us: Option<u64>, gone: bool) -> InboxEntry {
        InboxEntry {
            session: SessionId::from_parts(ms, 0),
            agent_id: "bot".into(),
            unread_count: 2,
            last_activity_us,
            last_sender_id: last_activity_us.map(|_| "bot".into()),
            last_seq: 0,
            gone,
            as_of: 0,
        }
    }

    #[test]
    fn an_inbox_lists_its_entries_by_activity_and_quiet_sessions_last() {
        let entries = vec![entry(1, None, false), entry(2, Some(5), false), entry(3, Some(9), true)];
        let replies = vec![
            Ok(Reply::Inbox { entries }),
            Ok(Reply::Inbox { entries: vec![entry(4, Some(7), false), entry(5, None, false)] }),
        ];
        let inbox = joined(&Topic::Inbox("alice".into()), replies).unwrap();
        let inbox: serde_json::Value = serde_json::from_slice(&inbox).unwrap();
        let sessions: Vec<_> = inbox["inbox"].as_array().unwrap().iter().map(|entry| &entry["session_id"]).collect();
        let expected: Vec<_> = [4, 2, 5, 1].map(|ms| SessionId::from_parts(ms, 0).to_string()).to_vec();
        assert_eq!(sessions, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn an_entry_has_the_five_keys_of_the_contract() {
        let inbox: serde_json::Value =
            serde_json::from_str(&inbox_delta(&[entry(1, Some(1_761_216_480_123_456), false), entry(1, None, false)]))
                .unwrap();
        let session = SessionId::from_parts(1, 0).to_string();
        let expected = json!({"inbox": [
            {"session_id": session, "agent_id": "bot", "unread_count": 2,
             "last_activity_at": "2025-10-23T10:48:00.123456Z", "last_sender_id": "bot"},
            {"session_id": session, "agent_id": "bot", "unread_count": 2, "last_activity_at": null, "last_sender_id": null},
        ]});
        assert_eq!(inbox, expected);
        assert_eq!(inbox_delta(&[]), r#"{"inbox":[]}"#);
    }

    #[test]
    fn an_inbox_is_bounded_and_keeps_the_most_active() {
        let entries: Vec<_> = (0..INBOX_ENTRIES_MAX as u64 + 1).map(|at| entry(at, Some(at), false)).collect();
        let inbox: serde_json::Value = serde_json::from_str(&inbox_delta(&entries)).unwrap();
        let inbox = inbox["inbox"].as_array().unwrap();
        assert_eq!(inbox.len(), INBOX_ENTRIES_MAX);
        assert_eq!(inbox.last().unwrap()["session_id"], SessionId::from_parts(1, 0).to_string());
    }

    #[test]
    fn a_send_is_a_message_of_the_identity_for_participants() {
        let append = sent(r#"{"content":{"kind":"note","content":{"text":"hi"},"metadata":{"a":1}}}"#).unwrap();
        assert_eq!(
            (append.author, append.participants_only, append.echo),
            (Author::Identity("alice".into()), true, false)
        );
        assert_eq!(
            (append.kind.as_str(), append.content, append.metadata),
            ("note", json(r#"{"text":"hi"}"#), json(r#"{"a":1}"#))
        );
        assert_eq!((append.idempotency_key, append.expected_seq), (None, None));
    }

    /// Contract 2.2, rules 1 to 3; metadata beside no kind is kept.
    #[test]
    fn a_send_is_forgiving_about_kind_and_metadata() {
        for (content, kind, metadata) in [
            (r#"{"content":{}}"#, "text", "{}"),
            (r#"{"kind":"k","content":{}}"#, "k", "{}"),
            (r#"{"kind":"","content":{}}"#, "", "{}"),
            (r#"{"kind":"k","content":{},"metadata":7}"#, "k", "{}"),
            (r#"{"kind":"k","content":{},"metadata":null}"#, "k", "{}"),
            (r#"{"kind":7,"content":{},"metadata":{"a":1}}"#, "text", "{}"),
            (r#"{"kind":null,"content":{},"metadata":7}"#, "text", "{}"),
            (r#"{"content":{},"metadata":{"a":1}}"#, "text", r#"{"a":1}"#),
        ] {
            let append = sent(&format!("{{\"content\":{content}}}")).unwrap();
            assert_eq!((append.kind.as_str(), append.metadata.as_str()), (kind, metadata), "{content}");
        }
    }

    #[test]
    fn a_send_takes_key_and_expected_seq_beside_or_inside_its_content() {
        for text in [
            r#"{"content":{"content":{}},"idempotency_key":"k","expected_seq":4}"#,
            r#"{"content":{"content":{},"idempotency_key":"k","expected_seq":4}}"#,
            r#"{"content":{"content":{},"idempotency_key":"inner","expected_seq":9},"idempotency_key":"k","expected_seq":4}"#,
        ] {
            let append = sent(text).unwrap();
            assert_eq!((append.idempotency_key.as_deref(), append.expected_seq), (Some("k"), Some(4)), "{text}");
        }
        for (text, error) in [
            (r#"{"content":{"content":{}},"expected_seq":"x"}"#, r#"{"error":"expected_seq invalid"}"#),
            (r#"{"content":{"content":{}},"idempotency_key":""}"#, r#"{"error":"idempotency_key invalid"}"#),
        ] {
            assert_eq!(sent(text), Err(error.to_owned()));
        }
    }

    /// Contract 2.2, rule 4.
    #[test]
    fn a_send_without_an_object_as_content_is_told_what_came() {
        for (text, received) in [
            ("[]", "array"),
            ("null", "null"),
            ("\"x\"", "string"),
            ("7", "number"),
            ("true", "boolean"),
            ("{}", "object without content"),
            (r#"{"content":null}"#, "object without content"),
            (r#"{"content":"hi"}"#, "object with string as content"),
            (r#"{"content":[{}]}"#, "object with array as content"),
            (r#"{"content":{"text":"hi"}}"#, "object without content.content"),
            (r#"{"content":{"kind":"k","content":"hi"}}"#, "object with string as content.content"),
            (r#"{"content":{"content":false}}"#, "object with boolean as content.content"),
        ] {
            let expected = format!(
                r#"{{"error":"invalid_message_format","details":"content must be a map, metadata must be a map","received":"{received}"}}"#
            );
            assert_eq!(sent(text), Err(expected), "{text}");
        }
        let binary = event(&session(), "send", &Payload::Binary(vec![1, 2].into()), "alice", &CONTEXT).unwrap_err();
        assert!(binary.contains(r#""received":"binary of 2 bytes""#), "{binary}");
    }

    #[test]
    fn a_send_is_bounded() {
        let long = format!(r#"{{"content":{{"kind":"{}","content":{{}}}}}}"#, "k".repeat(256));
        assert_eq!(sent(&long), Err(r#"{"error":"name too long"}"#.to_owned()));
        let deep = format!(r#"{{"content":{{"content":{{"a":{}{}}}}}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(sent(&deep), Err(r#"{"error":"nested too deeply"}"#.to_owned()));
    }

    #[test]
    fn an_event_is_answered_with_what_it_did() {
        let appended = |replayed| Ok(Reply::Appended { seq: 7, json: None, replayed });
        assert_eq!(event_reply("alice", appended(false)), Ok(r#"{"seq":7}"#.into()));
        assert_eq!(event_reply("alice", appended(true)), Ok(r#"{"seq":7,"replayed":true}"#.into()));
        let cursors = Reply::Cursors { cursors: vec![("alice".into(), 3)], session: json("{}"), last_seq: 9 };
        assert_eq!(event_reply("alice", Ok(cursors)), Ok(r#"{"last_seq":3}"#.into()));
        assert_eq!(event_reply("alice", Ok(Reply::Done)), Ok("{}".into()));
        let conflict = event_reply("alice", Err(Refusal::SeqConflict { current: 4 }));
        assert_eq!(conflict, Err(r#"{"error":"seq conflict","current_seq":4}"#.into()));
    }

    #[test]
    fn a_reader_marks_what_it_has_read() {
        for (text, last_seq) in [(r#"{"last_seq":7}"#, 7), (r#"{"last_seq":"7"}"#, 7), ("{}", 0)] {
            let call = event(&session(), "read", &payload(text), "alice", &CONTEXT);
            let command = Command::MarkRead { session: id(), user_id: "alice".into(), last_seq };
            assert_eq!(call, Ok((Target::Owner(id()), command)));
        }
        let call = event(&session(), "read", &payload("[]"), "alice", &CONTEXT);
        assert_eq!(call, Err(r#"{"error":"invalid payload"}"#.to_owned()));
    }

    #[test]
    fn an_agent_streams_objects() {
        let call = event(&session(), "stream_chunk", &payload(r#"{"chunk":{"type":"text-delta"}}"#), "bot", &CONTEXT);
        let chunk = json(r#"{"type":"text-delta"}"#);
        let command = Command::Chunk { session: id(), agent_id: "bot".into(), chunk };
        assert_eq!(call, Ok((Target::Owner(id()), command)));
        for text in ["{}", "[]", r#"{"chunk":"x"}"#, r#"{"chunk":null}"#] {
            let call = event(&session(), "stream_chunk", &payload(text), "bot", &CONTEXT);
            assert_eq!(call, Err(r#"{"error":"invalid payload"}"#.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_unknown_event_is_refused_by_name() {
        let unknown = Err(r#"{"reason":"unknown event","event":"typing"}"#.to_owned());
        assert_eq!(event(&session(), "typing", &payload("{}"), "alice", &CONTEXT), unknown);
        let inbox = Topic::Inbox("alice".into());
        assert!(event(&inbox, "send", &payload("{}"), "alice", &CONTEXT).is_err());
    }

    /// Contract 8.4.3.
    #[test]
    fn messages_and_chunks_are_pushed_unchanged() {
        let topic = format!("session:{ID}");
        let message = json(r#"{ "seq":7,"content":{"text":"h\u00e9"}}"#);
        let event = Push::Message { session: id(), seq: 7, json: message.clone() };
        let broadcast = push(&event).unwrap();
        assert_eq!((broadcast.topic.as_str(), broadcast.event), (topic.as_str(), "message"));
        assert_eq!(broadcast.payload, message.as_str());
        let chunk = json(r#"{"type":"text-delta","delta":"h"}"#);
        let event = Push::Chunk { session: id(), agent_id: "b\"t".into(), chunk, place: None };
        let broadcast = push(&event).unwrap();
        assert_eq!((broadcast.topic.as_str(), broadcast.event), (topic.as_str(), "stream_chunk"));
        assert_eq!(broadcast.payload, r#"{"agent_id":"b\"t","chunk":{"type":"text-delta","delta":"h"}}"#);
        assert_eq!(push(&Push::Closed { session: id() }), None);
        assert_eq!(push(&Push::Gap { session: id() }), None);
        assert_eq!(push(&Push::InboxGap { user: "alice".into() }), None);
    }
}
