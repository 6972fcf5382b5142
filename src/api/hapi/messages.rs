//! Messages of a session as a HAPI hub gives and takes them: `GET` and `POST /api/sessions/:id/messages`.
//!
//! Invariants: a page goes from the newest message down; a row has the seed's keys in the seed's order, with `role` behind them; what a
//! client sent here reads back as it was sent, what came over another API as `{"type": "text", "text": ..}`. A `localId` is the
//! message's idempotency key, whatever else a retry says.
//!
//! Numbers of a query never fail: what cannot be read is not there, what is out of bounds is moved into them.

use super::{Planned, refused, session};
use crate::api::dialect::Dialect;
use crate::api::error::{ApiError, Kind};
use crate::api::flow::{Answers, Flow, Next, To};
use crate::api::message::bounded_depth;
use crate::api::params::Params;
use crate::api::view::{Message, Role, member, message_id, time_ms};
use crate::api::{Context, JSON, Target};
use crate::limits::{HUB_PAGE_MESSAGES_DEFAULT, HUB_PAGE_MESSAGES_MAX, IDEMPOTENCY_KEY_BYTES_MAX};
use crate::protocol::http::Response;
use crate::protocol::json::{elements, text};
use crate::session::{Json, MessageId, SessionId};
use crate::shard::{Append, Author, BlobCommand, Command, Page, PageFrom, Refusal, Reply, Requires, Terms};
use serde_json::json;
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// `GET`: the page below `beforeSeq`.
pub(super) fn read(id: &str, params: &Params<'_>) -> Planned {
    match session(id) {
        Ok(session) => {
            let limit = number(params, "limit").map_or(HUB_PAGE_MESSAGES_DEFAULT, |limit: i128| {
                limit.clamp(1, HUB_PAGE_MESSAGES_MAX as i128) as usize
            });
            Planned::Flow(Box::new(Read { session, limit, before_seq: number(params, "beforeSeq") }))
        }
        Err(error) => refused(&error),
    }
}

/// A whole number of the query. Any other text is none.
fn number<N: std::str::FromStr>(params: &Params<'_>, name: &str) -> Option<N> {
    params.text(name)?.parse().ok()
}

/// Reads a page, and who the session is between: a row says who speaks.
#[derive(Debug)]
struct Read {
    session: SessionId,
    limit: usize,
    before_seq: Option<u64>,
}

impl Flow for Read {
    fn step(&mut self, answers: Answers) -> Next {
        let &mut Self { session, limit, before_seq } = self;
        if answers.is_empty() {
            let to = To::One(Target::Owner(session));
            let from = PageFrom::Before(before_seq.unwrap_or(u64::MAX));
            let page = Command::ReadMessages { session, from, limit };
            return Next::Ask(vec![(to, Command::ReadSession { id: session }), (to, page)]);
        }
        let mut replies = answers.into_iter().flatten();
        Next::Respond(match (replies.next(), replies.next()) {
            (Some(Ok(Reply::Session { json })), Some(Ok(Reply::Messages(page)))) => {
                self.page(&Parties::of(&json), page)
            }
            (Some(Err(refusal)), _) | (_, Some(Err(refusal))) => respond(refusal.into()),
            _ => respond(Kind::Internal.into()),
        })
    }
}

impl Read {
    fn page(&self, parties: &Parties, page: Page) -> Response {
        let (first_seq, has_more) = (page.first_seq, page.has_more);
        let Ok(messages) = String::from_utf8(page.into_messages()) else { return respond(Kind::Internal.into()) };
        let mut body = String::with_capacity(messages.len() + 128);
        body.push_str("{\"messages\":[");
        let listed = format!("[{messages}]");
        let rows: Vec<&str> = elements(&listed).collect();
        for (n, row) in rows.into_iter().rev().enumerate() {
            if n > 0 {
                body.push(',');
            }
            match row_of(self.session, parties, &Json::from_valid(row)) {
                Some(row) => body.push_str(&row),
                None => return respond(Kind::Internal.into()),
            }
        }
        let next = has_more.then_some(first_seq);
        let page =
            json!({"limit": self.limit, "beforeSeq": self.before_seq, "nextBeforeSeq": next, "hasMore": has_more});
        write!(body, "],\"hasMore\":{has_more},\"page\":{page}}}").expect("a String takes it");
        Response::new(200).with_body(JSON, body)
    }
}

/// The two that a session is between.
#[derive(Debug, Default)]
pub(super) struct Parties {
    user_id: String,
    agent_id: String,
}

impl Parties {
    /// These two.
    pub(super) fn between(user_id: &str, agent_id: &str) -> Self {
        Self { user_id: user_id.to_owned(), agent_id: agent_id.to_owned() }
    }

    /// Of a session as clients read it.
    pub(super) fn of(session: &Json) -> Self {
        let field =
            |name| member(session.as_str(), name).and_then(|raw| text(raw).ok()).unwrap_or_default().into_owned();
        Self { user_id: field("user_id"), agent_id: field("agent_id") }
    }

    /// `user`, `agent` or `system`.
    fn role(&self, message: &Message<'_>) -> &'static str {
        let by_agent = message.sender_id == self.agent_id && message.sender_id != self.user_id;
        match message.role(by_agent) {
            Role::Assistant => "agent",
            role => role.as_str(),
        }
    }
}

/// A message as this API shows it. `None`: it is none.
pub(super) fn row_of(session: SessionId, parties: &Parties, json: &Json) -> Option<String> {
    let message = Message::read(json)?;
    let mut row = format!("{{\"id\":\"{}\",\"seq\":{}", message_id(session, message.seq), message.seq);
    if let Some(local_id) = message.note("localId") {
        write!(row, ",\"localId\":{}", json!(local_id)).expect("a String takes it");
    }
    row.push_str(",\"content\":");
    push_content(&message, &mut row);
    let created_at = time_ms(message.inserted_at_us);
    write!(row, ",\"createdAt\":{created_at},\"role\":\"{}\"}}", parties.role(&message)).expect("a String takes it");
    Some(row)
}

/// A content that says of itself that it is text stays as it is. Of any other the text is shown, and beside it the parts of an answer.
fn push_content(message: &Message<'_>, row: &mut String) {
    let says_text = member(message.content, "type") == Some("\"text\"");
    if says_text && member(message.content, "text").is_some_and(|raw| raw.starts_with('"')) {
        return row.push_str(message.content);
    }
    write!(row, "{{\"type\":\"text\",\"text\":{}", json!(message.text())).expect("a String takes it");
    if let Some(parts) = member(message.content, "parts") {
        row.push_str(",\"parts\":");
        row.push_str(parts);
    }
    row.push('}');
}

/// `POST`: what the session's user says.
pub(super) fn say(id: &str, params: &Params<'_>, context: &Context) -> Planned {
    let session = match session(id) {
        Ok(session) => session,
        Err(error) => return refused(&error),
    };
    match draft(session, params, context) {
        Ok(append) => Planned::Flow(Box::new(Say { append: Some(append) })),
        Err(error) => unsound(id, error),
    }
}

/// A `POST` whose body is not in order: told only when nothing is the matter with the session.
pub(super) fn unsound(id: &str, error: ApiError) -> Planned {
    match session(id) {
        Ok(session) => Planned::Flow(Box::new(Unsound { session, error })),
        Err(missing) => refused(&missing),
    }
}

/// The append that a sound body is.
fn draft(session: SessionId, params: &Params<'_>, context: &Context) -> Result<Append, ApiError> {
    let invalid = || ApiError::from(Kind::BodyInvalid);
    let given = |name| params.raw(name).filter(|raw| raw.get() != "null");
    let attachments = given("attachments").map(Attachments::read).transpose()?.unwrap_or_default();
    let said = given("text").map(|raw| text(raw.get()).map(|_| raw.get()).map_err(|_| invalid())).transpose()?;
    if said.is_none_or(|said| said == "\"\"") && attachments.count == 0 {
        return Err(Kind::MessageEmpty.into());
    }
    let local_id = given("localId").map(|raw| text(raw.get()).map_err(|_| invalid())).transpose()?;
    if local_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        return Err(invalid());
    }
    let mut content = format!("{{\"type\":\"text\",\"text\":{}", said.unwrap_or("\"\""));
    if let Some(raw) = attachments.raw {
        write!(content, ",\"attachments\":{raw}").expect("a String takes it");
    }
    content.push('}');
    bounded_depth("attachments", &content)?;
    let metadata = match &local_id {
        Some(id) => format!("{{\"localId\":{},\"sentFrom\":\"hapi\"}}", json!(id)),
        None => "{\"sentFrom\":\"hapi\"}".to_owned(),
    };
    let claims = attachments.claims(session);
    let terms = Terms { answer_from: Requires::ActiveSession, same_key_replays: true, claims, ..Terms::default() };
    Ok(Append {
        session,
        message: MessageId::from_parts(context.now.unix_us / 1000, context.random),
        author: Author::SessionUser,
        kind: "text".into(),
        content: Json::from_valid(&content),
        metadata: Json::from_valid(&metadata),
        idempotency_key: local_id.map(Into::into),
        expected_seq: None,
        participants_only: false,
        echo: false,
        terms: Some(Box::new(terms)),
    })
}

/// The attachments of a message: what the client says of files, which the server opens none of.
#[derive(Default)]
struct Attachments<'a> {
    /// As they stand in the body.
    raw: Option<&'a str>,
    count: usize,
    paths: Vec<String>,
}

impl<'a> Attachments<'a> {
    /// Five keys each; more are kept.
    fn read(raw: &'a RawValue) -> Result<Self, ApiError> {
        let invalid = || ApiError::from(Kind::BodyInvalid);
        if !raw.get().starts_with('[') {
            return Err(invalid());
        }
        let mut read = Self { raw: Some(raw.get()), ..Self::default() };
        for attachment in elements(raw.get()) {
            let texts = ["id", "filename", "mimeType", "path"].map(|name| member(attachment, name).map(text));
            let [Some(Ok(_)), Some(Ok(_)), Some(Ok(_)), Some(Ok(path))] = texts else { return Err(invalid()) };
            let size = member(attachment, "size").and_then(|raw| raw.parse::<f64>().ok());
            if size.is_none_or(|size| size < 0.0) {
                return Err(invalid());
            }
            read.count += 1;
            read.paths.push(path.into_owned());
        }
        Ok(read)
    }

    /// The contents of files of this server that are named: those must be there. Any other path is a text like another.
    fn claims(&self, session: SessionId) -> Vec<[u8; 32]> {
        self.paths
            .iter()
            .filter_map(|path| super::upload::FilePath::parse(path))
            .filter(|path| path.session == session)
            .map(|path| path.hash)
            .collect()
    }
}

/// Appends.
#[derive(Debug)]
struct Say {
    append: Option<Append>,
}

impl Flow for Say {
    fn step(&mut self, mut answers: Answers) -> Next {
        if let Some(append) = self.append.take() {
            return Next::Ask(vec![(To::One(Target::Owner(append.session)), Command::Append(Box::new(append)))]);
        }
        Next::Respond(match answers.pop().and_then(|mut answer| answer.pop()) {
            Some(Ok(Reply::Appended { .. })) => Response::new(200).with_body(JSON, "{\"ok\":true}"),
            Some(Err(Refusal::BlobNotFound)) => respond(Kind::AttachmentGone.into()),
            Some(Err(refusal)) => respond(refusal.into()),
            _ => respond(Kind::Internal.into()),
        })
    }
}

/// Looks for a reason to refuse that goes before `error`: no such session, not this caller's, not active.
#[derive(Debug)]
struct Unsound {
    session: SessionId,
    error: ApiError,
}

impl Flow for Unsound {
    fn step(&mut self, mut answers: Answers) -> Next {
        let session = self.session;
        match answers.pop().and_then(|mut answer| answer.pop()) {
            // A session that takes no files takes no messages of a hub's client either.
            None => {
                let command = Command::Blob { session, command: BlobCommand::Check };
                Next::Ask(vec![(To::One(Target::Owner(session)), command)])
            }
            Some(Ok(_)) => Next::Respond(respond(self.error.clone())),
            Some(Err(refusal)) => Next::Respond(respond(refusal.into())),
        }
    }
}

fn respond(error: ApiError) -> Response {
    error.respond(Dialect::Hapi)
}
