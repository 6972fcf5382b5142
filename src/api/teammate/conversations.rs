//! Conversations of AI Teammate's users with an agent: sessions under another name. Also which method on which path is what of all that
//! is not asked of an agent.
//!
//! Invariant: a conversation of somebody else, or with another agent, is not there. Its clients take 200 with a body as success, and
//! nothing else.

use super::super::chat::{Actor, Plan};
use super::super::error::{ApiError, Kind};
use super::super::fleetlm;
use super::super::flow::{Answers, Flow, Next, To};
use super::super::params::Params;
use super::super::table::routes;
use super::super::timeline::known_agent;
use super::super::view::time_s;
use super::super::{Context, Dialect, JSON, Target};
use super::history;
use crate::limits::CHAT_ROWS_MAX;
use crate::protocol::http::{Request, Response};
use crate::session::{Json, SessionId};
use crate::shard::{Command, Reply, SessionRow};
use serde::Serialize;
use std::cmp::Reverse;

/// Conversations of a page when the caller names no limit.
const CONVERSATIONS_DEFAULT: usize = 20;

/// A method on a resource. Ids are as they stand in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// `GET /agents/:id/history`.
    History(&'a str),
    /// `GET /agents/:id/conversations`.
    List(&'a str),
    /// `POST /agents/:id/conversations`.
    Create(&'a str),
    /// `PUT` or `PATCH /agents/:id/conversations/:conv_id`.
    Rename(&'a str, &'a str),
    /// `DELETE /agents/:id/conversations/:conv_id`.
    Delete(&'a str, &'a str),
    /// `GET /agents/:id/inbox`.
    Inbox(&'a str),
    /// `POST /agents/:id/mark-read`.
    MarkRead(&'a str),
}

routes! {
    /// What `method` on a path is, if anything: one below `/api`, or one without it.
    pub fn endpoint<'a>(Teammate below "/api" or "") -> Endpoint<'a>;

    GET "agents"/id/"history", Read => Endpoint::History(id);
    GET "agents"/id/"conversations", Read => Endpoint::List(id);
    POST "agents"/id/"conversations", Write => Endpoint::Create(id);
    PUT "agents"/id/"conversations"/conv_id, Write => Endpoint::Rename(id, conv_id);
    PATCH "agents"/id/"conversations"/conv_id, Write => Endpoint::Rename(id, conv_id);
    DELETE "agents"/id/"conversations"/conv_id, Write => Endpoint::Delete(id, conv_id);
    GET "agents"/id/"inbox", Read => Endpoint::Inbox(id);
    POST "agents"/id/"mark-read", Write => Endpoint::MarkRead(id);
}

impl Endpoint<'_> {
    /// What the request comes to.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn plan(self, request: &Request, params: &Params<'_>, context: &Context) -> Result<Plan, ApiError> {
        let user_id = Actor::of(request)?.user_id;
        let flow: Box<dyn Flow> = match self {
            Self::History(agent) => Box::new(history::history(agent, user_id, params, context)?),
            Self::List(agent) => Box::new(List::of(agent, user_id, params)),
            Self::Create(agent) => Box::new(create(agent, user_id, params, context)?),
            Self::Rename(agent, id) => Box::new(rename(agent, user_id, conversation(id)?, params)?),
            Self::Delete(agent, id) => Box::new(delete(agent, user_id, conversation(id)?)),
            Self::Inbox(agent) => Box::new(history::Inbox::of(agent, user_id, params)),
            Self::MarkRead(agent) => Box::new(history::Marking::of(agent, user_id, params)?),
        };
        Ok(Plan::Flow(flow))
    }
}

/// The session of a path or a field. A text that is no id names none.
pub(super) fn conversation(text: &str) -> Result<SessionId, ApiError> {
    SessionId::parse(text).ok_or_else(|| Kind::SessionNotFound.into())
}

/// A number of the query, read leniently: what is none is the default, what is too large the most there is.
pub(super) fn limit(params: &Params<'_>, default: usize) -> usize {
    let limit = params.positive("limit").map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    limit.min(CHAT_ROWS_MAX)
}

/// The response with this body.
pub(super) fn ok(body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).expect("structs of plain fields always have a JSON form");
    Response::new(200).with_body(JSON, body)
}

/// A conversation as clients read it.
#[derive(Serialize)]
struct Conversation {
    id: String,
    agent_id: String,
    title: Option<String>,
    created_at: String,
    updated_at: String,
    message_count: u64,
    unread_count: u64,
}

impl From<SessionRow> for Conversation {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id.to_string(),
            agent_id: row.agent_id,
            title: row.title,
            created_at: time_s(row.created_us),
            updated_at: time_s(row.updated_us),
            message_count: row.messages,
            unread_count: row.unread,
        }
    }
}

/// Lists conversations, the most recently active first.
#[derive(Debug)]
struct List {
    agent_id: String,
    user_id: String,
    limit: usize,
    offset: usize,
}

impl List {
    fn of(agent: &str, user_id: String, params: &Params<'_>) -> Self {
        let offset = params.positive("offset").map_or(0, |offset| usize::try_from(offset).unwrap_or(usize::MAX));
        Self { agent_id: agent.to_owned(), user_id, limit: limit(params, CONVERSATIONS_DEFAULT), offset }
    }

    fn questions(&self) -> Vec<(To, Command)> {
        let (user_id, agent_id) = (Some(self.user_id.clone()), Some(self.agent_id.clone()));
        let (limit, offset) = (self.limit, self.offset);
        let rows = Command::ListRows { user_id, agent_id, session: None, limit, offset };
        vec![(To::Every, rows), (To::One(Target::Here), Command::DescribeAgents { ids: vec![self.agent_id.clone()] })]
    }

    fn respond(&self, mut answers: Answers) -> Result<Response, ApiError> {
        let known = answers.pop().ok_or(Kind::Internal)?;
        let (total, mut rows) = session_rows(answers)?;
        if total == 0 {
            known_agent(known)?;
        }
        rows.sort_by_key(|row| Reverse((row.active_us, row.id)));
        let rows = rows.into_iter().skip(self.offset).take(self.limit);
        #[derive(Serialize)]
        struct Body {
            conversations: Vec<Conversation>,
        }
        Ok(ok(&Body { conversations: rows.map(Conversation::from).collect() }))
    }
}

impl Flow for List {
    fn step(&mut self, answers: Answers) -> Next {
        if answers.is_empty() {
            return Next::Ask(self.questions());
        }
        Next::Respond(self.respond(answers).unwrap_or_else(|error| error.respond(Dialect::Teammate)))
    }
}

/// The rows of all shards and how many there are.
pub(super) fn session_rows(answers: Answers) -> Result<(u64, Vec<SessionRow>), ApiError> {
    let (mut total, mut all) = (0, Vec::new());
    for reply in answers.into_iter().flatten() {
        let Reply::SessionRows { total: here, rows } = reply? else { return Err(Kind::Internal.into()) };
        total += here;
        all.extend(rows);
    }
    Ok((total, all))
}

/// Checks, changes one conversation, and shows it.
#[derive(Debug)]
struct Change {
    session: SessionId,
    stage: Stage,
    check: (To, Command),
    deed: (To, Command),
    /// How it is looked at again; `None`: it is gone.
    look: Option<(To, Command)>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Begin,
    Checked,
    Done,
    Seen,
}

/// Asks for the row of a conversation, which is not found if it is not theirs.
fn look(session: SessionId, user_id: &str, agent: &str) -> (To, Command) {
    let (user_id, agent_id) = (Some(user_id.to_owned()), Some(agent.to_owned()));
    let rows = Command::ListRows { user_id, agent_id, session: Some(session), limit: 1, offset: 0 };
    (To::One(Target::Owner(session)), rows)
}

fn create(agent: &str, user_id: String, params: &Params<'_>, context: &Context) -> Result<Change, ApiError> {
    let (title, agent_id) = (title(params)?, agent.to_owned());
    let id = SessionId::from_parts(context.now.unix_us / 1000, context.random);
    let look = Some(look(id, &user_id, agent));
    let check = (To::One(Target::Here), Command::DescribeAgents { ids: vec![agent_id.clone()] });
    let create = Command::CreateSession { id, user_id, agent_id, title, metadata: Json::empty_object() };
    Ok(Change { session: id, stage: Stage::Begin, check, deed: (To::One(Target::Owner(id)), create), look })
}

fn rename(agent: &str, user_id: String, session: SessionId, params: &Params<'_>) -> Result<Change, ApiError> {
    let title = title(params)?.ok_or(Kind::TitleInvalid)?;
    let deed = (To::One(Target::Owner(session)), Command::RenameSession { id: session, title });
    let look = look(session, &user_id, agent);
    Ok(Change { session, stage: Stage::Begin, check: look.clone(), deed, look: Some(look) })
}

fn delete(agent: &str, user_id: String, session: SessionId) -> Change {
    let deed = (To::One(Target::Owner(session)), Command::DeleteSession { id: session });
    Change { session, stage: Stage::Begin, check: look(session, &user_id, agent), deed, look: None }
}

/// `title`, else `name`.
fn title(params: &Params<'_>) -> Result<Option<String>, ApiError> {
    match fleetlm::title(params, "title")? {
        Some(title) => Ok(Some(title)),
        None => fleetlm::title(params, "name"),
    }
}

impl Change {
    fn go_on(&mut self, mut answers: Answers) -> Result<Next, ApiError> {
        let answer = answers.pop();
        let next = match self.stage {
            Stage::Begin => {
                self.stage = Stage::Checked;
                return Ok(Next::Ask(vec![self.check.clone()]));
            }
            Stage::Checked => {
                let answer = answer.ok_or(Kind::Internal)?;
                match self.check.1 {
                    Command::DescribeAgents { .. } => known_agent(answer)?,
                    _ => drop(session_rows(vec![answer])?),
                }
                (Stage::Done, Some(self.deed.clone()))
            }
            Stage::Done => {
                answer.and_then(|mut answer| answer.pop()).ok_or(Kind::Internal)??;
                (Stage::Seen, self.look.clone())
            }
            Stage::Seen => {
                let (_, mut rows) = session_rows(vec![answer.ok_or(Kind::Internal)?])?;
                let row = rows.pop().ok_or(Kind::SessionNotFound)?;
                return Ok(Next::Respond(ok(&Conversation::from(row))));
            }
        };
        self.stage = next.0;
        Ok(match next.1 {
            Some(question) => Next::Ask(vec![question]),
            None => Next::Respond(ok(&Deleted { ok: true, id: self.session.to_string() })),
        })
    }
}

#[derive(Serialize)]
struct Deleted {
    ok: bool,
    id: String,
}

impl Flow for Change {
    fn step(&mut self, answers: Answers) -> Next {
        self.go_on(answers).unwrap_or_else(|error| Next::Respond(error.respond(Dialect::Teammate)))
    }
}
