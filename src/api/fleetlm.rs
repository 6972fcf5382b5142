//! The REST resources of contract 1.3 to 1.5: which method on which path is what, and the rules of each call.

use super::error::{ApiError, Kind};
use super::message::{Draft, Via, bounded_depth, bounded_name};
use super::params::Params;
use super::render::Success;
use super::table::routes;
use super::{Context, Target};
use crate::limits::{
    DELIVERIES_MAX, PAGE_MESSAGES_DEFAULT, PAGE_MESSAGES_MAX, PAGE_SESSIONS_DEFAULT, PAGE_SESSIONS_MAX, TITLE_BYTES_MAX,
};
use crate::session::{Json, RunId, SessionId};
use crate::shard::{AgentCommand, Command, PageFrom};

/// Who is asked what.
#[derive(Debug, PartialEq)]
pub enum Ask {
    /// One shard.
    One(Target, Command),
    /// Every shard.
    Every(Command),
}

/// A call that passed all checks which need no session.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// The question.
    pub ask: Ask,
    /// What the reply becomes.
    pub success: Success,
}

/// A method on a resource. Ids are as they stand in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// `GET /agents`.
    ListAgents,
    /// `POST /agents`.
    CreateAgent,
    /// `GET /agents/:id`.
    ReadAgent(&'a str),
    /// `PUT` or `PATCH /agents/:id`: both change what the body names.
    UpdateAgent(&'a str),
    /// `DELETE /agents/:id`.
    DisableAgent(&'a str),
    /// `GET /sessions`.
    ListSessions,
    /// `POST /sessions`.
    CreateSession,
    /// `GET /sessions/:id`.
    ReadSession(&'a str),
    /// `PATCH /sessions/:id`.
    RenameSession(&'a str),
    /// `DELETE /sessions/:id`.
    DeleteSession(&'a str),
    /// `GET /sessions/:id/feedback`.
    ReadFeedback(&'a str),
    /// `GET /sessions/:id/messages`.
    ReadMessages(&'a str),
    /// `POST /sessions/:id/messages`.
    Append(&'a str),
    /// `GET /sessions/:id/read` or `/cursors`.
    ReadCursors(&'a str),
    /// `POST /sessions/:id/read`.
    MarkRead(&'a str),
    /// `POST /sessions/:id/runs/:run_id/stop`.
    StopRun(&'a str, &'a str),
    /// `GET /agents/:id/deliveries`.
    ReadDeliveries(&'a str),
}

routes! {
    /// What `method` on a path below `/api` is, if anything.
    pub fn endpoint<'a>(Fleetlm below "/api") -> Endpoint<'a>;

    GET "agents", Read => Endpoint::ListAgents;
    POST "agents", Manage => Endpoint::CreateAgent;
    GET "agents"/id, Read => Endpoint::ReadAgent(id);
    PUT "agents"/id, Manage => Endpoint::UpdateAgent(id);
    PATCH "agents"/id, Manage => Endpoint::UpdateAgent(id);
    DELETE "agents"/id, Manage => Endpoint::DisableAgent(id);
    GET "sessions", Read => Endpoint::ListSessions;
    POST "sessions", Write => Endpoint::CreateSession;
    GET "sessions"/id, Read => Endpoint::ReadSession(id);
    PATCH "sessions"/id, Write => Endpoint::RenameSession(id);
    DELETE "sessions"/id, Write => Endpoint::DeleteSession(id);
    GET "sessions"/id/"feedback", Read => Endpoint::ReadFeedback(id);
    GET "sessions"/id/"messages", Read => Endpoint::ReadMessages(id);
    POST "sessions"/id/"messages", Write => Endpoint::Append(id);
    GET "sessions"/id/"read", Read => Endpoint::ReadCursors(id);
    GET "sessions"/id/"cursors", Read => Endpoint::ReadCursors(id);
    POST "sessions"/id/"read", Write => Endpoint::MarkRead(id);
    POST "sessions"/id/"runs"/run_id/"stop", Write => Endpoint::StopRun(id, run_id);
    GET "agents"/id/"deliveries", Read => Endpoint::ReadDeliveries(id);
}

impl Endpoint<'_> {
    /// Whether the request is an agent's own: a message in its name has no user beside it.
    pub(super) fn names_an_agent(self, params: &Params<'_>) -> bool {
        matches!(self, Self::Append(_)) && params.has("agent_id")
    }

    /// The call with these parameters. `key` is the `Idempotency-Key` header.
    ///
    /// # Errors
    /// The first check that fails, in the order of the contract.
    pub fn plan(self, params: &Params<'_>, key: Option<&str>, context: &Context) -> Result<Plan, ApiError> {
        match self {
            Self::ListAgents => Ok(list_agents(params)),
            Self::CreateAgent => {
                Ok(agents(AgentCommand::Create { fields: agent_fields(params)? }, Success::Agent(201)))
            }
            Self::ReadAgent(id) => Ok(agents(AgentCommand::Read { id: id.to_owned() }, Success::Agent(200))),
            Self::UpdateAgent(id) => {
                let update = AgentCommand::Update { id: id.to_owned(), fields: agent_fields(params)? };
                Ok(agents(update, Success::Agent(200)))
            }
            Self::DisableAgent(id) => Ok(agents(AgentCommand::Disable { id: id.to_owned() }, Success::AgentDisabled)),
            Self::ListSessions => list_sessions(params),
            Self::CreateSession => create_session(params, context),
            Self::ReadSession(id) => {
                let id = session(id)?;
                Ok(owned(id, Command::ReadSession { id }, Success::Session(200)))
            }
            Self::RenameSession(id) => {
                let title = title(params, "title")?.ok_or(Kind::TitleInvalid)?;
                let id = session(id)?;
                Ok(owned(id, Command::RenameSession { id, title }, Success::Session(200)))
            }
            Self::DeleteSession(id) => delete_session(session(id)?, params),
            Self::ReadFeedback(id) => {
                let session = session(id)?;
                Ok(owned(session, Command::ReadRatings { session }, Success::Feedback))
            }
            Self::ReadMessages(id) => Ok(read_messages(session(id)?, params)),
            Self::Append(id) => {
                let draft = Draft::of(params, key)?;
                let session = session(id)?;
                let append = Box::new(draft.addressed(session, Via::Rest, context));
                Ok(owned(session, Command::Append(append), Success::Appended))
            }
            Self::ReadCursors(id) => {
                let session = session(id)?;
                Ok(owned(session, Command::ReadCursors { session }, Success::Cursors))
            }
            Self::MarkRead(id) => mark_read(id, params),
            Self::StopRun(id, run) => {
                let session = session(id)?;
                let run = Some(RunId::parse(run).ok_or(Kind::RunNotFound)?);
                Ok(owned(session, Command::StopRun { session, run, identity: None }, Success::Run))
            }
            Self::ReadDeliveries(id) => {
                let limit = limit(params, DELIVERIES_MAX, DELIVERIES_MAX);
                let ask = Ask::Every(Command::ReadDeliveries { agent_id: id.to_owned() });
                Ok(Plan { ask, success: Success::Deliveries(limit) })
            }
        }
    }
}

/// The session of a path. A text that is no id names no session.
fn session(text: &str) -> Result<SessionId, ApiError> {
    SessionId::parse(text).ok_or_else(|| Kind::SessionNotFound.into())
}

fn owned(session: SessionId, command: Command, success: Success) -> Plan {
    Plan { ask: Ask::One(Target::Owner(session), command), success }
}

fn agents(command: AgentCommand, success: Success) -> Plan {
    Plan { ask: Ask::One(Target::Directory, Command::Agents(command)), success }
}

/// Any other `status` than the two is ignored.
fn list_agents(params: &Params<'_>) -> Plan {
    let enabled = match params.text("status").as_deref() {
        Some("enabled") => Some(true),
        Some("disabled") => Some(false),
        _ => None,
    };
    agents(AgentCommand::List { enabled }, Success::Agents)
}

fn agent_fields(params: &Params<'_>) -> Result<Json, ApiError> {
    let fields = params.object("agent").ok_or(Kind::BadRequest)?;
    bounded_depth("agent", fields.as_str())?;
    Ok(fields)
}

fn limit(params: &Params<'_>, default: usize, max: usize) -> usize {
    params.positive("limit").map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX)).min(max)
}

fn list_sessions(params: &Params<'_>) -> Result<Plan, ApiError> {
    let limit = limit(params, PAGE_SESSIONS_DEFAULT, PAGE_SESSIONS_MAX);
    let before = match params.name("before") {
        None => None,
        Some(id) => Some(SessionId::parse(&id).ok_or(Kind::BeforeInvalid)?),
    };
    let command = Command::ListSessions { user_id: params.text("user_id"), before, limit };
    Ok(Plan { ask: Ask::Every(command), success: Success::Sessions(limit) })
}

fn create_session(params: &Params<'_>, context: &Context) -> Result<Plan, ApiError> {
    if !params.has("user_id") || !params.has("agent_id") {
        return Err(Kind::SessionFieldsMissing.into());
    }
    let is_blank = |text: &String| text.trim().is_empty();
    let user_id = params.text("user_id").filter(|id| !is_blank(id)).ok_or(Kind::UserIdInvalid)?;
    let agent_id = params.text("agent_id").filter(|id| !is_blank(id)).ok_or(Kind::AgentIdInvalid)?;
    let metadata = match params.has("metadata") {
        false => Json::empty_object(),
        true => params.object("metadata").ok_or(Kind::MetadataInvalid)?,
    };
    bounded_name("user_id", &user_id)?;
    bounded_name("agent_id", &agent_id)?;
    bounded_depth("metadata", metadata.as_str())?;
    let title = title(params, "title")?;
    let id = SessionId::from_parts(context.now.unix_us / 1000, context.random);
    Ok(owned(id, Command::CreateSession { id, user_id, agent_id, title, metadata }, Success::Session(201)))
}

/// What people call a session, in the parameter `name`. Null is none.
///
/// # Errors
/// [`Kind::TitleInvalid`] for what is no text, blank or too long.
pub(super) fn title(params: &Params<'_>, name: &str) -> Result<Option<String>, ApiError> {
    if params.raw(name).is_none_or(|raw| raw.get() == "null") {
        return Ok(None);
    }
    let is_sound = |title: &String| !title.trim().is_empty() && title.len() <= TITLE_BYTES_MAX;
    params.text(name).filter(is_sound).map(Some).ok_or_else(|| Kind::TitleInvalid.into())
}

/// Archives; with `permanent=true` deletes for good.
fn delete_session(id: SessionId, params: &Params<'_>) -> Result<Plan, ApiError> {
    let is_permanent = params.raw("permanent").is_some_and(|raw| matches!(raw.get(), "true" | "\"true\"" | "\"1\""));
    let command = if is_permanent { Command::DeleteSession { id } } else { Command::ArchiveSession { id } };
    Ok(owned(id, command, Success::NoContent))
}

/// `before_seq` wins over `after_seq`.
fn read_messages(session: SessionId, params: &Params<'_>) -> Plan {
    let from = match params.positive("before_seq") {
        Some(before) => PageFrom::Before(before),
        None => PageFrom::After(params.positive("after_seq").unwrap_or(0)),
    };
    let limit = limit(params, PAGE_MESSAGES_DEFAULT, PAGE_MESSAGES_MAX);
    owned(session, Command::ReadMessages { session, from, limit }, Success::Messages)
}

fn mark_read(id: &str, params: &Params<'_>) -> Result<Plan, ApiError> {
    let user_id = params.text("user_id").filter(|id| !id.trim().is_empty()).ok_or(Kind::ReaderMissing)?;
    bounded_name("user_id", &user_id)?;
    let session = session(id)?;
    let last_seq = params.positive("last_seq").unwrap_or(0);
    Ok(owned(session, Command::MarkRead { session, user_id: user_id.clone(), last_seq }, Success::Cursor(user_id)))
}
