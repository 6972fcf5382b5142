//! What happens in a session as a HAPI hub's clients hear it: `GET /api/events?sessionId=`, server-sent events.
//!
//! Invariants: every frame is one JSON object with `type` and `namespace`; a message's frame has its seq as id and no other frame has
//! one, so that the id a client comes back with is the last message it has. Whoever is too far behind is told that there is a gap, and
//! reads the messages by page.
//!
//! Not here: what is due when (`server::events`).

use super::messages::{Parties, row_of};
use super::refused_response;
use crate::api::Context;
use crate::api::error::{ApiError, Kind};
use crate::api::params::Params;
use crate::limits::{EVENTS_BEHIND_MAX, HUB_PAGE_MESSAGES_MAX};
use crate::protocol::http::{Request, Response};
use crate::protocol::sse;
use crate::session::{Json, Namespace, SessionId};
use crate::shard::{Command, PageFrom, Refusal, Reply, RunEvent, RunStatus};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

/// Whether a client goes on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It misses nothing.
    Ok,
    /// It misses messages that it will not be sent.
    Gap,
}

/// Up to where a client has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It does not say: it is told what comes.
    Nothing,
    /// It says what is no place in a session.
    Elsewhere,
    /// The message with this seq.
    Upto(u64),
}

/// A stream of a session's events.
#[derive(Debug)]
pub struct EventsPlan {
    /// The session.
    pub session: SessionId,
    heard: Heard,
    subscription: String,
    namespace: String,
    parties: Parties,
}

impl EventsPlan {
    /// Of a request. The header `Last-Event-ID`, which browsers send, wins over the query.
    ///
    /// # Errors
    /// [`Kind::EventsOfNothing`] without a session; [`Kind::SessionNotFound`] for what is no id.
    pub(super) fn of(request: &Request, params: &Params<'_>, context: &Context) -> Result<Self, ApiError> {
        let session = params.name("sessionId").ok_or(Kind::EventsOfNothing)?;
        let queried = params.name("lastEventId");
        let heard = request.headers.first("last-event-id").filter(|id| !id.is_empty()).or(queried.as_deref());
        Ok(Self {
            session: super::session(&session)?,
            heard: heard.map_or(Heard::Nothing, |id| id.parse().map_or(Heard::Elsewhere, Heard::Upto)),
            subscription: format!("{:032x}", xxh3_128(&context.random.to_le_bytes())),
            namespace: String::new(),
            parties: Parties::default(),
        })
    }

    /// The session is there for a caller of `namespace`, and this is it: the stream's head.
    ///
    /// # Errors
    /// The refusal to send instead.
    pub fn begin(&mut self, namespace: &Namespace, session: Result<Reply, Refusal>) -> Result<Response, Response> {
        match session {
            Ok(Reply::Session { json }) => {
                self.parties = Parties::of(&json);
                self.namespace = namespace.name().to_owned();
                Ok(Response::new(200)
                    .with_header("content-type", "text/event-stream")
                    .with_header("cache-control", "no-cache")
                    .with_header("x-accel-buffering", "no"))
            }
            Ok(_) => Err(refused_response(&Kind::Internal.into())),
            Err(refusal) => Err(refused_response(&refusal.into())),
        }
    }

    /// Subscribes; of the messages behind `after_seq` only what the reply has room for.
    pub fn watch(&self, after_seq: u64) -> Command {
        Command::Watch { session: self.session, after_seq, limit: HUB_PAGE_MESSAGES_MAX, resume: None }
    }

    /// The next messages.
    pub fn read_on(&self, after_seq: u64) -> Command {
        let from = PageFrom::After(after_seq);
        Command::ReadMessages { session: self.session, from, limit: HUB_PAGE_MESSAGES_MAX }
    }

    /// The seq behind which a new subscription asks: that of a client that says none is beyond all.
    pub fn first_after_seq(&self) -> u64 {
        match self.heard {
            Heard::Upto(seq) => seq,
            Heard::Nothing | Heard::Elsewhere => u64::MAX,
        }
    }

    /// Where a client goes on in a session that ends at `last_seq`, and how.
    pub fn resume(&self, last_seq: u64) -> (u64, Resume) {
        match self.heard {
            Heard::Nothing => (last_seq, Resume::Ok),
            Heard::Upto(seq) if seq <= last_seq => go_on(seq, last_seq),
            Heard::Upto(_) | Heard::Elsewhere => (last_seq, Resume::Gap),
        }
    }

    /// `connection-changed`, the first frame, and again where messages are left out.
    pub fn connected(&self, resume: Resume) -> Vec<u8> {
        let resume = match resume {
            Resume::Ok => "ok",
            Resume::Gap => "gap",
        };
        let said = json!({"status": "connected", "subscriptionId": self.subscription, "resume": resume});
        self.frame(None, "connection-changed", &format!("\"data\":{said}"))
    }

    /// `message-received`. Nothing for what is no message.
    pub fn message(&self, seq: u64, json: &Json) -> Vec<u8> {
        let Some(row) = row_of(self.session, &self.parties, json) else { return Vec::new() };
        self.frame(Some(seq), "message-received", &format!("\"sessionId\":\"{}\",\"message\":{row}", self.session))
    }

    /// `session-updated`: whether the agent is at work.
    pub fn thinking(&self, is_thinking: bool) -> Vec<u8> {
        let said = json!({ "thinking": is_thinking });
        self.frame(None, "session-updated", &format!("\"sessionId\":\"{}\",\"data\":{said}", self.session))
    }

    /// `session-removed`, the last frame.
    pub fn removed(&self) -> Vec<u8> {
        self.frame(None, "session-removed", &format!("\"sessionId\":\"{}\"", self.session))
    }

    /// `heartbeat`.
    pub fn heartbeat(&self, unix_us: u64) -> Vec<u8> {
        self.frame(None, "heartbeat", &format!("\"data\":{{\"timestamp\":{}}}", unix_us / 1000))
    }

    fn frame(&self, id: Option<u64>, kind: &str, fields: &str) -> Vec<u8> {
        let data = format!("{{\"type\":\"{kind}\",\"namespace\":{},{fields}}}", json!(self.namespace));
        let mut out = Vec::with_capacity(data.len() + 32);
        let id = id.map(|seq| seq.to_string());
        sse::encode_event(&mut out, id.as_deref(), None, &data).expect("a number has no line end");
        out
    }
}

/// Where a reader goes on who has heard all up to `seq`.
pub fn go_on(seq: u64, last_seq: u64) -> (u64, Resume) {
    if last_seq.saturating_sub(seq) > EVENTS_BEHIND_MAX { (last_seq, Resume::Gap) } else { (seq, Resume::Ok) }
}

/// Whether a run is under way behind this event.
pub fn is_thinking(event: &RunEvent) -> bool {
    matches!(event.status, RunStatus::Started | RunStatus::Retrying { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Method;
    use crate::shard::Now;

    const CONTEXT: Context = Context { now: Now { unix_us: 5_000_000, mono_us: 5 }, random: 42, shards: 4 };

    fn plan(query: &str, header: Option<&str>) -> Result<EventsPlan, ApiError> {
        let mut request = Request::new(Method::Get, &format!("/api/events{query}"));
        if let Some(id) = header {
            request = request.with_header("last-event-id", id);
        }
        EventsPlan::of(&request, &Params::of(&request).unwrap(), &CONTEXT)
    }

    fn of_session(more: &str, header: Option<&str>) -> EventsPlan {
        plan(&format!("?sessionId={}{more}", SessionId::from_parts(1, 2)), header).unwrap()
    }

    #[test]
    fn a_client_goes_on_behind_its_last_message_unless_it_is_too_far_behind() {
        for (more, header, last_seq, expected) in [
            ("", None, 7, (7, Resume::Ok)),
            ("&lastEventId=3", None, 7, (3, Resume::Ok)),
            ("&lastEventId=3", Some("5"), 7, (5, Resume::Ok)),
            ("&lastEventId=3", Some(""), 7, (3, Resume::Ok)),
            ("", Some("7"), 7, (7, Resume::Ok)),
            ("", Some("8"), 7, (7, Resume::Gap)),
            ("", Some("epoch:3:x"), 7, (7, Resume::Gap)),
            ("", Some("1"), EVENTS_BEHIND_MAX + 1, (1, Resume::Ok)),
            ("", Some("1"), EVENTS_BEHIND_MAX + 2, (EVENTS_BEHIND_MAX + 2, Resume::Gap)),
        ] {
            assert_eq!(of_session(more, header).resume(last_seq), expected, "{more} {header:?}");
        }
    }

    #[test]
    fn events_are_of_a_session() {
        assert_eq!(plan("", None).unwrap_err().kind(), Kind::EventsOfNothing);
        assert_eq!(plan("?sessionId=x", None).unwrap_err().kind(), Kind::SessionNotFound);
    }

    #[test]
    fn every_frame_names_its_type_and_namespace_and_only_messages_have_ids() {
        let mut plan = of_session("", None);
        let session = Json::parse(r#"{"user_id":"alice","agent_id":"bot"}"#).unwrap();
        let head = plan.begin(&Namespace::parse("acme").unwrap(), Ok(Reply::Session { json: session })).unwrap();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let json = Json::parse(
            r#"{"seq":7,"sender_id":"bot","kind":"text","content":{"text":"hi"},"metadata":{},"inserted_at":"1970-01-01T00:00:01.000000Z"}"#,
        );
        let id = plan.session;
        let subscription = plan.subscription.clone();
        for (frame, expected) in [
            (
                plan.connected(Resume::Gap),
                format!(
                    r#"data: {{"type":"connection-changed","namespace":"acme","data":{}}}"#,
                    json!({"status": "connected", "subscriptionId": subscription, "resume": "gap"})
                ),
            ),
            (
                plan.message(7, &json.unwrap()),
                format!(
                    "id: 7\ndata: {{\"type\":\"message-received\",\"namespace\":\"acme\",\"sessionId\":\"{id}\",\"message\":{{\"id\":\"msg_{id}_7\",\"seq\":7,\"content\":{{\"type\":\"text\",\"text\":\"hi\"}},\"createdAt\":1000,\"role\":\"agent\"}}}}"
                ),
            ),
            (
                plan.thinking(true),
                format!(
                    r#"data: {{"type":"session-updated","namespace":"acme","sessionId":"{id}","data":{{"thinking":true}}}}"#
                ),
            ),
            (plan.removed(), format!(r#"data: {{"type":"session-removed","namespace":"acme","sessionId":"{id}"}}"#)),
            (
                plan.heartbeat(5_000_000),
                r#"data: {"type":"heartbeat","namespace":"acme","data":{"timestamp":5000}}"#.to_owned(),
            ),
        ] {
            assert_eq!(String::from_utf8(frame).unwrap(), format!("{expected}\n\n"));
        }
    }
}
