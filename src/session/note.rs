//! Notes: what happens to a session besides its messages. They stand in the log, cost no seq, and are JSON so that an
//! export can be read by people.
//!
//! A note says what holds from then on, in absolute terms: folding one twice, or an older one before a newer one again,
//! ends in the same state.

use super::{AgentConfig, Json, KeyPut, Namespace, SessionId, message, time};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Kinds of records, part of the log's format. Below 64 they belong to a session, from 64 on they stand alone.
pub mod kind {
    /// A message, numbered.
    pub const MESSAGE: u8 = 1;
    /// A session came to be.
    pub const SESSION_CREATED: u8 = 2;
    /// A session was archived.
    pub const SESSION_ARCHIVED: u8 = 3;
    /// A session and its messages are gone.
    pub const SESSION_DELETED: u8 = 4;
    /// A reader's cursor moved.
    pub const CURSOR_MOVED: u8 = 5;
    /// A run began: its agent is about to be called.
    pub const RUN_OPENED: u8 = 6;
    /// A live piece of an answer. Transient: worthless once the run has ended.
    pub const RUN_CHUNK: u8 = 7;
    /// A run ended without a message.
    pub const RUN_CLOSED: u8 = 8;
    /// What stands in calls in the place of a session's older messages.
    pub const SESSION_COMPACTED: u8 = 9;
    /// A session has another title.
    pub const SESSION_RENAMED: u8 = 10;
    /// A message was rated.
    pub const FEEDBACK: u8 = 11;
    /// The session claims a file.
    pub const BLOB_CLAIMED: u8 = 12;
    /// The session gave a file up.
    pub const BLOB_RELEASED: u8 = 13;
    /// An agent was registered or changed.
    pub const AGENT_PUT: u8 = 64;
    /// An API key was made or revoked.
    pub const KEY_PUT: u8 = 65;
}

/// Status of a session (contract 1.4). `inactive` is not used: nothing here makes a session inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// In its user's inbox.
    Active,
    /// Out of the inbox; still reads and takes messages.
    Archived,
}

impl SessionStatus {
    /// As clients read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived => "archived",
        }
    }
}

/// Payload of [`kind::SESSION_CREATED`]. The record's key is the session, its time is `inserted_at`.
#[derive(Serialize, Deserialize)]
pub struct SessionCreated<'a> {
    /// The session's user.
    #[serde(borrow)]
    pub user_id: std::borrow::Cow<'a, str>,
    /// The session's agent.
    #[serde(borrow)]
    pub agent_id: std::borrow::Cow<'a, str>,
    /// A JSON object, as it came.
    #[serde(borrow)]
    pub metadata: &'a RawValue,
    /// Its namespace, as it is stored; left out for the default one.
    #[serde(borrow, default)]
    pub namespace: std::borrow::Cow<'a, str>,
    /// Its first title; left out when it has none.
    #[serde(borrow, default)]
    pub title: Option<std::borrow::Cow<'a, str>>,
}

impl<'a> SessionCreated<'a> {
    /// The payload's bytes.
    pub fn render(namespace: &Namespace, parties: [&str; 2], title: Option<&str>, metadata: &Json) -> Vec<u8> {
        let [user_id, agent_id] = parties;
        let mut out = Vec::with_capacity(48 + user_id.len() + agent_id.len() + metadata.as_str().len());
        out.extend_from_slice(b"{\"user_id\":");
        message::push_string(user_id, &mut out);
        out.extend_from_slice(b",\"agent_id\":");
        message::push_string(agent_id, &mut out);
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(metadata.as_str().as_bytes());
        if !namespace.is_default() {
            out.extend_from_slice(b",\"namespace\":");
            message::push_string(namespace.stored(), &mut out);
        }
        if let Some(title) = title {
            out.extend_from_slice(b",\"title\":");
            message::push_string(title, &mut out);
        }
        out.push(b'}');
        out
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

/// Payload of [`kind::SESSION_RENAMED`]: the title from now on.
#[derive(Serialize, Deserialize)]
pub struct SessionRenamed<'a> {
    /// The title.
    #[serde(borrow)]
    pub title: std::borrow::Cow<'a, str>,
}

impl<'a> SessionRenamed<'a> {
    /// The payload's bytes.
    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of plain fields always has a JSON form")
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

/// Payload of [`kind::CURSOR_MOVED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorMoved {
    /// The reader.
    pub user_id: String,
    /// The last seq it has processed.
    pub last_seq: u64,
    /// Messages by the session's user up to `last_seq`; only when the reader is that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_at: Option<u32>,
}

impl CursorMoved {
    /// The payload's bytes.
    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of plain fields always has a JSON form")
    }

    /// Reads a payload. `None`: it is not one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

/// Content of [`kind::AGENT_PUT`]: the payload is the agent, the meta bytes are the id it had before.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentPut {
    /// The id that the agent gives up; `None` when it is new or keeps its id.
    pub former_id: Option<String>,
    /// The agent from now on.
    pub agent: AgentConfig,
}

impl AgentPut {
    /// Payload and meta bytes.
    pub fn render(&self) -> (Vec<u8>, Vec<u8>) {
        (self.agent.to_note(), self.former_id.clone().unwrap_or_default().into_bytes())
    }

    /// Reads payload and meta bytes. `None`: they are not such a note's.
    pub fn parse(payload: &[u8], meta: &[u8]) -> Option<Self> {
        let former_id = (!meta.is_empty()).then(|| std::str::from_utf8(meta).map(str::to_owned)).transpose().ok()?;
        Some(Self { former_id, agent: AgentConfig::from_note(payload).ok()? })
    }
}

/// What the directory's shard keeps for all others.
#[derive(Clone, Debug, PartialEq)]
pub enum DirectoryNote {
    /// An agent was registered or changed.
    Agent(AgentPut),
    /// An API key was made or revoked.
    Key(KeyPut),
}

/// A session as clients read it.
#[derive(Clone, Copy, Debug)]
pub struct SessionParts<'a> {
    /// Its id.
    pub id: SessionId,
    /// Its user.
    pub user_id: &'a str,
    /// Its agent.
    pub agent_id: &'a str,
    /// Whether it is in the inbox.
    pub status: SessionStatus,
    /// A JSON object.
    pub metadata: &'a Json,
    /// Creation, microseconds since 1970.
    pub inserted_at_us: u64,
    /// Last change of the session itself (not of its messages), microseconds since 1970.
    pub updated_at_us: u64,
    /// What people call it, if anything.
    pub title: Option<&'a str>,
}

impl SessionParts<'_> {
    /// Seven keys in the order of contract 1.4, and `title` behind them where there is one.
    pub fn render(&self) -> Json {
        let mut out = Vec::with_capacity(224 + self.metadata.as_str().len());
        out.extend_from_slice(b"{\"id\":\"");
        message::push_ulid(self.id.0, &mut out);
        out.extend_from_slice(b"\",\"user_id\":");
        message::push_string(self.user_id, &mut out);
        out.extend_from_slice(b",\"agent_id\":");
        message::push_string(self.agent_id, &mut out);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.extend_from_slice(b"\",\"metadata\":");
        out.extend_from_slice(self.metadata.as_str().as_bytes());
        out.extend_from_slice(b",\"inserted_at\":\"");
        time::push_rfc3339(self.inserted_at_us, &mut out);
        out.extend_from_slice(b"\",\"updated_at\":\"");
        time::push_rfc3339(self.updated_at_us, &mut out);
        out.push(b'"');
        if let Some(title) = self.title {
            out.extend_from_slice(b",\"title\":");
            message::push_string(title, &mut out);
        }
        out.push(b'}');
        Json::from_rendered(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_seven_keys_in_contract_order() {
        let id = SessionId::from_parts(1_761_216_480_123, 7);
        let parts = SessionParts {
            id,
            user_id: "alice",
            agent_id: "a\"b",
            status: SessionStatus::Archived,
            metadata: &Json::parse(r#"{"topic": "x"}"#).unwrap(),
            inserted_at_us: 1_761_216_480_123_456,
            updated_at_us: 1_761_216_481_000_000,
            title: None,
        };
        let expected = format!(
            r#"{{"id":"{id}","user_id":"alice","agent_id":"a\"b","status":"archived","metadata":{{"topic": "x"}},"inserted_at":"2025-10-23T10:48:00.123456Z","updated_at":"2025-10-23T10:48:01.000000Z"}}"#
        );
        assert_eq!(parts.render().as_str(), expected);
        let titled = SessionParts { title: Some("Trip to \"Rome\""), ..parts };
        let expected = expected.strip_suffix('}').unwrap();
        assert_eq!(titled.render().as_str(), format!(r#"{expected},"title":"Trip to \"Rome\""}}"#));
    }

    #[test]
    fn a_title_stands_behind_the_namespace_and_alone_in_a_renamed_note() {
        let render = |name: &str, title| {
            SessionCreated::render(&Namespace::parse(name).unwrap(), ["alice", "bot"], title, &Json::empty_object())
        };
        let both = br#"{"user_id":"alice","agent_id":"bot","metadata":{},"namespace":"acme","title":"T"}"#;
        assert_eq!(render("acme", Some("T")), both);
        assert_eq!(SessionCreated::parse(both).unwrap().title.as_deref(), Some("T"));
        assert_eq!(render("default", Some("T")), br#"{"user_id":"alice","agent_id":"bot","metadata":{},"title":"T"}"#);
        assert!(SessionCreated::parse(&render("default", None)).unwrap().title.is_none());
        let renamed = SessionRenamed { title: "T".into() }.render();
        assert_eq!(renamed, br#"{"title":"T"}"#);
        assert_eq!(SessionRenamed::parse(&renamed).unwrap().title, "T");
        assert!(SessionRenamed::parse(b"{}").is_none());
    }

    #[test]
    fn a_created_note_keeps_escapes_and_raw_metadata() {
        let metadata = Json::parse(r#"{"n": 1.0e2}"#).unwrap();
        let payload = SessionCreated::render(&Namespace::default(), ["al\"ice", "bot\\"], None, &metadata);
        let note = SessionCreated::parse(&payload).unwrap();
        assert_eq!((note.user_id.as_ref(), note.agent_id.as_ref()), ("al\"ice", "bot\\"));
        assert_eq!(note.metadata.get(), metadata.as_str());
        assert!(SessionCreated::parse(b"{}").is_none());
    }

    #[test]
    fn a_created_note_names_its_namespace_unless_that_is_the_default_one() {
        let render = |name: &str| {
            let namespace = Namespace::parse(name).unwrap();
            SessionCreated::render(&namespace, ["alice", "bot"], None, &Json::empty_object())
        };
        let plain = br#"{"user_id":"alice","agent_id":"bot","metadata":{}}"#;
        assert_eq!(render("default"), plain);
        assert_eq!(SessionCreated::parse(plain).unwrap().namespace, "");
        let named = br#"{"user_id":"alice","agent_id":"bot","metadata":{},"namespace":"acme"}"#;
        assert_eq!(render("acme"), named);
        assert_eq!(SessionCreated::parse(named).unwrap().namespace, "acme");
    }

    #[test]
    fn a_cursor_note_reads_back_as_it_was_written() {
        for own_at in [None, Some(3)] {
            let note = CursorMoved { user_id: "alice".into(), last_seq: 7, own_at };
            assert_eq!(CursorMoved::parse(&note.render()), Some(note));
        }
        assert_eq!(CursorMoved::parse(b"[]"), None);
    }
}
